"""Run a migration's SQL as it is written."""

from typing import LiteralString, cast

import psycopg
from alembic import op


def execute(statement: LiteralString) -> None:
    """Run SQL on the driver's connection, where neither `:name` nor `%` has a second meaning."""
    connection = op.get_bind().connection.driver_connection
    cast("psycopg.Connection", connection).execute(statement)

"""Run a migration's SQL as it is written."""

from typing import LiteralString, cast

import psycopg
from alembic import op


def driver_connection() -> psycopg.Connection:
    """Return the driver's connection, where neither `:name` nor a lone `%` has a second meaning."""
    return cast("psycopg.Connection", op.get_bind().connection.driver_connection)


def execute(statement: LiteralString) -> None:
    """Run SQL without parameters."""
    driver_connection().execute(statement)

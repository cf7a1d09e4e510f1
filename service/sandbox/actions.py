"""Enter sandbox mode, and move its clock."""

from __future__ import annotations

from datetime import datetime

import psycopg

from service.database import Database
from service.errors import SandboxRefused
from service.sandbox import queries
from service.sandbox.queries import Clock


def enter_sandbox(database: Database) -> None:
    """Mark the database as a sandbox, or raise `SandboxRefused` when it holds orders that came outside sandbox mode.

    Moving the clock of a database with real orders would cancel them.
    """
    with database.operator_transaction() as connection:
        _mark(connection)


def _mark(connection: psycopg.Connection) -> None:
    if queries.is_sandbox(connection):
        return
    if queries.has_orders(connection):
        raise SandboxRefused("the database holds orders that were not made in a sandbox; unset MANAGE_ORDERS_SANDBOX")
    queries.set_clock(connection, None)


def move_clock(database: Database, now: datetime | None) -> Clock:
    """Move the clock of every process to `now`, or back to real time when None."""
    with database.operator_transaction() as connection:
        _mark(connection)
        queries.set_clock(connection, now)
    with database.connection() as connection:
        return queries.find_clock(connection)

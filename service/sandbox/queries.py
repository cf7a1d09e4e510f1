"""The clock that sandbox mode moves, and the mark that says a database is a sandbox."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import psycopg
from psycopg.rows import class_row


@dataclass(frozen=True, slots=True)
class Clock:
    """What `app_now()` reads, and how far that is from the database's own clock."""

    now: datetime
    clock_offset: timedelta


def find_clock(connection: psycopg.Connection) -> Clock:
    """Return the clock."""
    with connection.cursor(row_factory=class_row(Clock)) as cursor:
        clock = cursor.execute("SELECT app_now() AS now, app_now() - statement_timestamp() AS clock_offset").fetchone()
    if clock is None:
        raise LookupError("the clock has no time")
    return clock


def set_clock(connection: psycopg.Connection, now: datetime | None) -> None:
    """Move the clock to `now`, from where it goes on; back to real time when None."""
    connection.execute(
        """
        INSERT INTO sandbox_clock (clock_offset)
        VALUES (COALESCE(%(now)s::timestamptz - clock_timestamp(), interval '0'))
        ON CONFLICT ON CONSTRAINT sandbox_clock_pkey DO UPDATE SET clock_offset = EXCLUDED.clock_offset
        """,
        {"now": now},
    )


def is_sandbox(connection: psycopg.Connection) -> bool:
    """Tell whether the database has been marked as a sandbox."""
    return connection.execute("SELECT 1 FROM sandbox_clock").fetchone() is not None


def has_orders(connection: psycopg.Connection) -> bool:
    """Tell whether the database holds any order; none comes in before the transaction ends."""
    connection.execute("LOCK TABLE orders IN SHARE MODE")
    return connection.execute("SELECT 1 FROM orders LIMIT 1").fetchone() is not None

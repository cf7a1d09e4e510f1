from __future__ import annotations

from datetime import datetime

import psycopg


def read_clock(connection: psycopg.Connection) -> datetime:
    """Return the service's clock."""
    row = connection.execute("SELECT app_now()").fetchone()
    if row is None:
        raise LookupError("the clock has no time")
    return row[0]

"""What is stored of an order's window, and who has moved it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row

from service.deadlines.window_rules import WindowOrder

MAX_EXTENSIONS = 100


@dataclass(frozen=True, slots=True)
class Extension:
    """A change that moved the deadline to later, as its event tells it."""

    event_time: datetime
    details: Mapping[str, Any]


def find_window_order(connection: psycopg.Connection, seller_id: str, order_id: str) -> WindowOrder | None:
    """Return what is stored of an order's window, None when the seller has no such order."""
    with connection.cursor(row_factory=class_row(WindowOrder)) as cursor:
        return cursor.execute(
            """
            SELECT o.marketplace_id, o.policy_version, o.fulfilled_by, o.ship_by_latest, o.confirm_by,
                o.extended_until, app_now() AS now
            FROM orders o
            WHERE o.seller_id = %(seller_id)s AND o.order_id = %(order_id)s
            """,
            {"seller_id": seller_id, "order_id": order_id},
        ).fetchone()


def find_extensions(connection: psycopg.Connection, seller_id: str, order_id: str) -> list[Extension]:
    """Return the newest of what moved an order's deadline, the newest first."""
    with connection.cursor(row_factory=class_row(Extension)) as cursor:
        return cursor.execute(
            """
            SELECT e.event_time, e.details
            FROM order_events e
            WHERE e.seller_id = %(seller_id)s AND e.order_id = %(order_id)s AND e.event_type = 'DEADLINE_EXTENDED'
            ORDER BY e.version DESC LIMIT %(limit)s
            """,
            {"seller_id": seller_id, "order_id": order_id, "limit": MAX_EXTENSIONS},
        ).fetchall()

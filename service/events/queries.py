"""The history of an order, as its changes wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import class_row


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One change of an order; how the order stood afterwards is not known of the oldest ones."""

    version: int
    event_type: str
    event_time: datetime
    actor: str
    cancellation_run_id: UUID | None
    details: Mapping[str, Any]
    fulfillment_status: str | None
    shipment_is_late: bool | None


def find_events(
    connection: psycopg.Connection, seller_id: str, order_id: str, after_version: int, limit: int
) -> list[Event]:
    """Return the changes of an order behind a version, the oldest first."""
    with connection.cursor(row_factory=class_row(Event)) as cursor:
        return cursor.execute(
            """
            SELECT e.version, e.event_type, e.event_time, e.actor, e.cancellation_run_id, e.details,
                e.fulfillment_status, e.shipment_is_late
            FROM order_events e
            WHERE e.seller_id = %(seller_id)s AND e.order_id = %(order_id)s AND e.version > %(after_version)s
            ORDER BY e.version LIMIT %(limit)s
            """,
            {"seller_id": seller_id, "order_id": order_id, "after_version": after_version, "limit": limit},
        ).fetchall()

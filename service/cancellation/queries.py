"""Orders whose confirmation window is over, and what the cancellation of an order, or a request for it, writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

import psycopg
from psycopg.rows import class_row

from service.cancellation.ledger import CancellationRun
from service.cancellation.rules import BuyerRequest
from service.orders.rules import OrderState


@dataclass(frozen=True, slots=True)
class DueOrder:
    """An order whose `confirmBy` has come and of which nothing is confirmed."""

    confirm_by: datetime
    seller_id: str
    order_id: str


_IS_OPEN: LiteralString = "fulfillment_status = 'UNSHIPPED' AND fulfilled_by = 'MERCHANT'"


def find_due_orders(
    connection: psycopg.Connection, cutoff: datetime, after: DueOrder | None, limit: int
) -> list[DueOrder]:
    """Return the orders due at the cutoff and still due now, first deadline first, unlocked, a page at a time."""
    with connection.cursor(row_factory=class_row(DueOrder)) as cursor:
        return cursor.execute(
            f"""
            SELECT confirm_by, seller_id, order_id FROM orders
            WHERE {_IS_OPEN} AND confirm_by <= LEAST(%(cutoff)s, (SELECT app_now()))
                AND (confirm_by, seller_id, order_id) > (
                    COALESCE(%(after_confirm_by)s, '-infinity'::timestamptz), %(after_seller_id)s, %(after_order_id)s
                )
            ORDER BY confirm_by, seller_id, order_id LIMIT %(limit)s
            """,
            {
                "cutoff": cutoff,
                "after_confirm_by": after.confirm_by if after else None,
                "after_seller_id": after.seller_id if after else "",
                "after_order_id": after.order_id if after else "",
                "limit": limit,
            },
        ).fetchall()


# The claim names one seller, so that a database distributed by seller can lock it where the rows are. An order that
# is locked by a confirmation is left for later; one that was confirmed, extended or cancelled meanwhile is not due.
# Whatever happens between the look and this statement, it alone decides, by the rows as it locks them (D2, D3).
CANCEL_ORDERS: LiteralString = f"""
WITH due AS (
    SELECT seller_id, order_id FROM orders
    WHERE seller_id = %(seller_id)s AND order_id = ANY(%(order_ids)s)
        AND {_IS_OPEN} AND confirm_by <= LEAST(%(cutoff)s, (SELECT app_now()))
    ORDER BY order_id
    FOR UPDATE SKIP LOCKED
), cancelled AS (
    UPDATE orders SET
        version = version + 1, fulfillment_status = 'CANCELLED', payment_status = 'UNPAID',
        last_updated_time = (SELECT app_now()), cancelled_time = (SELECT app_now()),
        cancel_reason = 'NOT_CONFIRMED_IN_TIME', cancellation_run_id = %(run_id)s
    FROM due
    WHERE orders.seller_id = %(seller_id)s AND orders.order_id = due.order_id
    RETURNING orders.seller_id, orders.order_id, orders.version, orders.cancelled_time, orders.confirm_by,
        orders.ship_by_sort, orders.confirm_by_sort, orders.grand_total_sort
), events AS (
    INSERT INTO order_events (
        seller_id, order_id, version, event_type, event_time, actor, cancellation_run_id,
        ship_by_sort, confirm_by_sort, grand_total_sort, fulfillment_status, shipment_is_late, details
    )
    SELECT seller_id, order_id, version, 'ORDER_CANCELLED', cancelled_time, %(actor)s, %(run_id)s,
        ship_by_sort, confirm_by_sort, grand_total_sort, 'CANCELLED', false,
        json_build_object(
            'cancelReason', 'NOT_CONFIRMED_IN_TIME', 'confirmBy', confirm_by,
            'fulfillmentStatus', json_build_object('was', 'UNSHIPPED', 'is', 'CANCELLED'),
            'paymentStatus', json_build_object('was', 'AUTHORIZED', 'is', 'UNPAID'))
    FROM cancelled
)
SELECT order_id FROM cancelled
"""


def cancel_orders(
    connection: psycopg.Connection, run: CancellationRun, seller_id: str, order_ids: Sequence[str]
) -> set[str]:
    """Cancel those of one seller's orders that are due and not locked; return the ids of the cancelled ones (R9)."""
    rows = connection.execute(
        CANCEL_ORDERS,
        {
            "run_id": run.run_id,
            "seller_id": seller_id,
            "order_ids": list(order_ids),
            "cutoff": run.cutoff,
            "actor": f"cancellation-run:{run.run_id}",
        },
    )
    return {row[0] for row in rows}


def wait_for_order(connection: psycopg.Connection, seller_id: str, order_id: str) -> None:
    """Wait until whoever holds the order is done, at most as long as the lock limit."""
    connection.execute(
        "SELECT order_id FROM orders WHERE seller_id = %(seller_id)s AND order_id = %(order_id)s FOR UPDATE",
        {"seller_id": seller_id, "order_id": order_id},
    )


def save_cancelled(connection: psycopg.Connection, order: OrderState, cancel_reason: str, now: datetime) -> None:
    """Write that a seller has cancelled the order: nothing of it is ever charged."""
    connection.execute(
        """
        UPDATE orders SET
            version = version + 1, last_updated_time = %(now)s, fulfillment_status = 'CANCELLED',
            payment_status = 'UNPAID', cancelled_time = %(now)s, cancel_reason = %(cancel_reason)s
        WHERE seller_id = %(seller_id)s AND order_id = %(order_id)s
        """,
        {"seller_id": order.seller_id, "order_id": order.order_id, "cancel_reason": cancel_reason, "now": now},
    )


def save_request(
    connection: psycopg.Connection, order: OrderState, request: BuyerRequest | None, now: datetime
) -> None:
    """Write the buyer's request as it now stands, or that there is none."""
    connection.execute(
        """
        UPDATE orders SET
            version = version + 1, last_updated_time = %(now)s,
            cancellation_requested_time = %(requested_time)s, cancellation_request_reason = %(cancel_reason)s
        WHERE seller_id = %(seller_id)s AND order_id = %(order_id)s
        """,
        {
            "seller_id": order.seller_id,
            "order_id": order.order_id,
            "requested_time": request.requested_time if request else None,
            "cancel_reason": request.cancel_reason if request else None,
            "now": now,
        },
    )

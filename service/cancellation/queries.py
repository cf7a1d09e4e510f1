"""What the cancellation of an order, or a request for it, writes."""

from __future__ import annotations

from datetime import datetime

import psycopg

from service.cancellation.rules import BuyerRequest
from service.orders.rules import OrderState


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

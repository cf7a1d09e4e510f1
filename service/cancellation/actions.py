"""Cancel an order for its seller, and keep a buyer's request for it (R9)."""

from __future__ import annotations

from datetime import datetime

import psycopg

from service.cancellation import queries
from service.cancellation.rules import (
    BuyerRequest,
    CancelReason,
    buyer_request,
    decide_cancellation,
    decide_request,
    decide_withdrawal,
)
from service.database import Database
from service.errors import OrderNotFound
from service.orders.queries import find_order, insert_events, lock_order, read_locked_order
from service.orders.rules import EventType, OrderState


def cancel_order(database: Database, seller_id: str, order_id: str, reason: CancelReason, actor: str) -> str:
    """Cancel an order of which nothing is confirmed, and return it; the same again changes nothing.

    The order is locked first and the clock read afterwards, as a confirmation does it (D2). Raises the `Problem` that
    refuses it.
    """
    with database.seller_transaction(seller_id) as connection:
        order, now = _locked(connection, seller_id, order_id)
        if decide_cancellation(order, reason, now):
            queries.save_cancelled(connection, order, reason, now)
            details = {
                "cancelReason": reason,
                "fulfillmentStatus": {"was": order.fulfillment_status, "is": "CANCELLED"},
                "paymentStatus": {"was": order.payment_status, "is": "UNPAID"},
            }
            event = (seller_id, order_id, order.version + 1, details)
            insert_events(connection, EventType.ORDER_CANCELLED, now, actor, [event])
        return _shown(connection, seller_id, order_id)


def request_cancellation(
    database: Database, seller_id: str, order_id: str, cancel_reason: str | None, actor: str
) -> str:
    """Keep that the buyer asks to cancel an order, and return it; the same again changes nothing."""
    with database.seller_transaction(seller_id) as connection:
        order, now = _locked(connection, seller_id, order_id)
        _save_request(connection, order, decide_request(order, cancel_reason, now), now, actor)
        return _shown(connection, seller_id, order_id)


def withdraw_request(database: Database, seller_id: str, order_id: str, actor: str) -> str:
    """Forget that the buyer asks to cancel an order, and return it; without a request nothing changes."""
    with database.seller_transaction(seller_id) as connection:
        order, now = _locked(connection, seller_id, order_id)
        if decide_withdrawal(order, now):
            _save_request(connection, order, None, now, actor)
        return _shown(connection, seller_id, order_id)


def _locked(connection: psycopg.Connection, seller_id: str, order_id: str) -> tuple[OrderState, datetime]:
    if not lock_order(connection, seller_id, order_id):
        raise OrderNotFound(f"the seller has no order {order_id}")
    return read_locked_order(connection, seller_id, order_id)


def _save_request(
    connection: psycopg.Connection, order: OrderState, request: BuyerRequest | None, now: datetime, actor: str
) -> None:
    standing = buyer_request(order)
    if request == standing:
        return
    queries.save_request(connection, order, request, now)
    told = {"was": standing and standing.as_json(), "is": request and request.as_json()}
    event = (order.seller_id, order.order_id, order.version + 1, {"cancellationRequest": told})
    insert_events(connection, EventType.CANCELLATION_REQUESTED, now, actor, [event])


def _shown(connection: psycopg.Connection, seller_id: str, order_id: str) -> str:
    document = find_order(connection, seller_id, order_id)
    if document is None:
        raise LookupError("the locked order is gone")
    return document

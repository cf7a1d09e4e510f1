"""Refund an order, in part or whole, and show its refunds."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import orjson
import psycopg

from service.database import Database
from service.errors import FieldError, OrderNotFound
from service.orders.queries import find_order, insert_events, lock_order, read_locked_order
from service.orders.rules import EventType, OrderState
from service.payments import refund_queries as queries
from service.payments.errors import IdempotencyKeyReused, RefundNotFound
from service.payments.refund_rules import RefundDecision, RefundRequest, decide_refund


@dataclass(frozen=True, slots=True)
class Refunded:
    """The refund as it stands, and whether this call asked for it first."""

    refund_id: UUID
    refund_json: bytes
    created: bool


def refund_order(  # noqa: PLR0913  # who refunds what, and how
    database: Database, seller_id: str, order_id: str, request: RefundRequest, actor: str, *, settles_outside: bool
) -> Refunded:
    """Give back some of what the buyer was charged, or all.

    The order is locked first, so that one key on one order is worked once; the unique key decides between orders.
    Raises the `Problem` that refuses the refund.
    """
    with database.seller_transaction(seller_id) as connection:
        if not lock_order(connection, seller_id, order_id):
            raise OrderNotFound(f"the seller has no order {order_id}")
        known = queries.find_refund_of_key(connection, seller_id, request.idempotency_key)
        if known is None:
            order, now = read_locked_order(connection, seller_id, order_id)
            refund_id = _insert(connection, order, request, actor, now, settles_outside=settles_outside)
        else:
            refund_id, digest = known
            if digest != request.digest(order_id):
                raise _reused()
        return Refunded(refund_id, _shown(connection, seller_id, order_id, refund_id), created=known is None)


def _insert(  # noqa: PLR0913  # the same, of an order that is locked
    connection: psycopg.Connection,
    order: OrderState,
    request: RefundRequest,
    actor: str,
    now: datetime,
    *,
    settles_outside: bool,
) -> UUID:
    charge = queries.read_charge(connection, order.seller_id, order.order_id)
    currency = charge.total.currency_code if charge else ""
    items = queries.read_refundable_items(connection, order.seller_id, order.order_id, currency)
    decision = decide_refund(order, charge, items, request, settles_outside=settles_outside)
    refund_id = uuid.uuid4()
    if not queries.insert_refund(connection, order, refund_id, request, decision, actor=actor, now=now):
        raise _reused()  # by a request of this moment, for another order: this one is locked
    _tell(connection, order, refund_id, request, decision, actor=actor, now=now)
    return refund_id


def _reused() -> IdempotencyKeyReused:
    return IdempotencyKeyReused(
        "the key belongs to another refund; a new one needs another key",
        FieldError("came with other content", header="Idempotency-Key"),
    )


def _tell(  # noqa: PLR0913  # all that the event tells
    connection: psycopg.Connection,
    order: OrderState,
    refund_id: UUID,
    request: RefundRequest,
    decision: RefundDecision,
    *,
    actor: str,
    now: datetime,
) -> None:
    """Write the change to the order and to its history."""
    currency = decision.amount.currency_code
    details: dict[str, object] = {
        "refundId": str(refund_id),
        "amount": {"amount": format(decision.amount.amount, "f"), "currencyCode": currency},
        "refundReason": request.reason,
    }
    if decision.items:
        details["orderItems"] = [
            {"orderItemId": item.order_item_id}
            | ({} if item.quantity is None else {"quantity": item.quantity})
            | {"amount": {"amount": format(item.amount, "f"), "currencyCode": currency}}
            for item in decision.items
        ]
    details |= queries.save_order_of_refund(connection, order, now)
    event_type = EventType.REFUND_SUCCEEDED if decision.settled_outside else EventType.REFUND_REQUESTED
    insert_events(connection, event_type, now, actor, [(order.seller_id, order.order_id, order.version + 1, details)])


def show_refund(database: Database, seller_id: str, order_id: str, refund_id: UUID) -> bytes:
    """Return the JSON of one refund."""
    with database.seller_reading(seller_id) as connection:
        return _shown(connection, seller_id, order_id, refund_id)


def show_refunds(database: Database, seller_id: str, order_id: str) -> bytes:
    """Return the JSON of an order's refunds."""
    with database.seller_reading(seller_id) as connection:
        refunds = queries.find_refunds(connection, seller_id, order_id)
    if refunds is None:
        raise OrderNotFound(f"the seller has no order {order_id}")
    return b'{"refunds":' + refunds.encode() + b"}"


def _shown(connection: psycopg.Connection, seller_id: str, order_id: str, refund_id: UUID) -> bytes:
    """Return a refund and the warnings of its order, of which it ends none (R12)."""
    has_order, refund = queries.find_refund(connection, seller_id, order_id, refund_id)
    warnings = find_order(connection, seller_id, order_id, {"warnings"})
    if not has_order or warnings is None:
        raise OrderNotFound(f"the seller has no order {order_id}")
    if refund is None:
        raise RefundNotFound(f"the order has no refund {refund_id}")
    return orjson.dumps(orjson.loads(refund) | orjson.loads(warnings))

"""Refunds: what has been given back of an order, and each as it is shown."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import LiteralString
from uuid import UUID

import orjson
import psycopg

from service.money import Money
from service.orders.rules import OrderState
from service.payments.refund_rules import ChargeState, RefundableItem, RefundDecision, RefundRequest, worth_of
from service.payments.rules import PaymentStatus

# A refund `r`, as JSON text.
_REFUND: LiteralString = """
'{"refundId":"' || r.refund_id || '","amount":{"amount":"' || r.amount || '","currencyCode":"' || r.currency_code
|| '"},"refundStatus":"' || r.refund_status || '","refundReason":"' || r.refund_reason || '"'
|| json_time('requestedTime', r.requested_time) || json_time('refundedTime', r.refunded_time)
|| ',"settledOutside":' || r.settled_outside || json_text('declineReason', r.decline_reason)
|| json_member('orderItems', (
    SELECT '[' || string_agg(
        '{"orderItemId":' || to_json(ri.order_item_id)::text || json_member('quantity', ri.quantity::text)
        || ',"amount":{"amount":"' || ri.amount || '","currencyCode":"' || r.currency_code || '"}}',
        ',' ORDER BY ri.order_item_id) || ']'
    FROM refund_items ri
    WHERE ri.seller_id = r.seller_id AND ri.order_id = r.order_id AND ri.refund_id = r.refund_id))
|| '}'
"""


def find_refund(
    connection: psycopg.Connection, seller_id: str, order_id: str, refund_id: UUID
) -> tuple[bool, str | None]:
    """Tell whether the seller has the order, and return the JSON text of its refund, None when it has no such one."""
    row = connection.execute(
        f"""
        SELECT (
            SELECT {_REFUND} FROM refunds r
            WHERE r.seller_id = o.seller_id AND r.order_id = o.order_id AND r.refund_id = %(refund_id)s
        )
        FROM orders o WHERE o.seller_id = %(seller_id)s AND o.order_id = %(order_id)s
        """,
        {"seller_id": seller_id, "order_id": order_id, "refund_id": refund_id},
    ).fetchone()
    return row is not None, row[0] if row else None


def find_refunds(connection: psycopg.Connection, seller_id: str, order_id: str) -> str | None:
    """Return the JSON list of an order's refunds, the oldest first; None when the seller has no such order."""
    row = connection.execute(
        f"""
        SELECT '[' || COALESCE((
            SELECT string_agg({_REFUND}, ',' ORDER BY r.requested_time, r.refund_id) FROM refunds r
            WHERE r.seller_id = o.seller_id AND r.order_id = o.order_id
        ), '') || ']'
        FROM orders o WHERE o.seller_id = %(seller_id)s AND o.order_id = %(order_id)s
        """,
        {"seller_id": seller_id, "order_id": order_id},
    ).fetchone()
    return row[0] if row else None


def find_refund_of_key(
    connection: psycopg.Connection, seller_id: str, idempotency_key: str
) -> tuple[UUID, bytes] | None:
    """Return the refund that came with a key, and the digest of what was asked for."""
    return connection.execute(
        """
        SELECT refund_id, request_digest FROM refunds
        WHERE seller_id = %(seller_id)s AND idempotency_key = %(idempotency_key)s
        """,
        {"seller_id": seller_id, "idempotency_key": idempotency_key},
    ).fetchone()


def read_charge(connection: psycopg.Connection, seller_id: str, order_id: str) -> ChargeState | None:
    """Return the charge of an order that is locked, None when it has none. A refund that is declined counts nothing."""
    row = connection.execute(
        """
        SELECT c.amount, c.currency_code, c.charge_status, c.settled_outside, count(r.refund_id),
            COALESCE(sum(r.amount) FILTER (WHERE r.refund_status <> 'DECLINED'), 0),
            COALESCE(bool_or(r.refund_status = 'SUCCEEDED'), false)
        FROM charges c LEFT JOIN refunds r ON r.seller_id = c.seller_id AND r.order_id = c.order_id
        WHERE c.seller_id = %(seller_id)s AND c.order_id = %(order_id)s
        GROUP BY c.seller_id, c.order_id
        """,
        {"seller_id": seller_id, "order_id": order_id},
    ).fetchone()
    if row is None:
        return None
    amount, currency_code, status, settled_outside, refund_count, refunded, was_refunded = row
    return ChargeState(
        total=Money(amount, currency_code),
        status=PaymentStatus(status),
        settled_outside=settled_outside,
        refunded=refunded,
        refund_count=refund_count,
        was_refunded=was_refunded,
    )


def read_refundable_items(
    connection: psycopg.Connection, seller_id: str, order_id: str, currency: str
) -> dict[str, RefundableItem]:
    """Return the items of an order that is locked, with what has been given back for each."""
    rows = connection.execute(
        """
        SELECT i.order_item_id, i.quantity_ordered, '{' || substr(i.details, 2) || '}',
            COALESCE(sum(ri.amount), 0), COALESCE(sum(ri.quantity), 0),
            COALESCE(sum(ri.amount) FILTER (WHERE ri.quantity IS NOT NULL), 0)
        FROM order_items i LEFT JOIN (
            SELECT ri.order_item_id, ri.quantity, ri.amount
            FROM refund_items ri JOIN refunds r USING (seller_id, order_id, refund_id)
            WHERE ri.seller_id = %(seller_id)s AND ri.order_id = %(order_id)s AND r.refund_status <> 'DECLINED'
        ) AS ri ON ri.order_item_id = i.order_item_id
        WHERE i.seller_id = %(seller_id)s AND i.order_id = %(order_id)s
        GROUP BY i.seller_id, i.order_id, i.order_item_id
        ORDER BY i.order_item_id
        """,
        {"seller_id": seller_id, "order_id": order_id},
    )
    return {
        order_item_id: RefundableItem(
            quantity_ordered=ordered,
            worth=worth_of(orjson.loads(details), ordered, currency),
            refunded=refunded,
            refunded_units=int(units),
            refunded_for_units=for_units,
        )
        for order_item_id, ordered, details, refunded, units, for_units in rows
    }


def insert_refund(  # noqa: PLR0913  # all that a refund is, by name
    connection: psycopg.Connection,
    order: OrderState,
    refund_id: UUID,
    request: RefundRequest,
    decision: RefundDecision,
    *,
    actor: str,
    now: datetime,
) -> bool:
    """Write a refund, made at once when it is settled outside; False when its key was taken at this moment."""
    is_made = decision.settled_outside
    key = {"seller_id": order.seller_id, "order_id": order.order_id, "refund_id": refund_id}
    inserted = connection.execute(
        """
        INSERT INTO refunds (
            seller_id, order_id, refund_id, idempotency_key, request_digest, amount, currency_code, refund_reason,
            refund_status, settled_outside, requested_time, requested_by, refunded_time, next_attempt_time
        ) VALUES (
            %(seller_id)s, %(order_id)s, %(refund_id)s, %(idempotency_key)s, %(digest)s, %(amount)s, %(currency_code)s,
            %(reason)s, %(status)s, %(settled_outside)s, %(now)s, %(actor)s, %(refunded_time)s, %(next_attempt_time)s
        )
        ON CONFLICT ON CONSTRAINT refunds_idempotency_key_key DO NOTHING
        """,
        key
        | {
            "idempotency_key": request.idempotency_key,
            "digest": request.digest(order.order_id),
            "amount": decision.amount.amount,
            "currency_code": decision.amount.currency_code,
            "reason": request.reason,
            "status": PaymentStatus.SUCCEEDED if is_made else PaymentStatus.REQUESTED,
            "settled_outside": is_made,
            "now": now,
            "actor": actor,
            "refunded_time": now if is_made else None,
            "next_attempt_time": None if is_made else now,
        },
    )
    if not inserted.rowcount:
        return False
    connection.execute(
        """
        INSERT INTO refund_items (seller_id, order_id, refund_id, order_item_id, quantity, amount)
        SELECT %(seller_id)s, %(order_id)s, %(refund_id)s, order_item_id, quantity, amount
        FROM unnest(%(order_item_ids)s::text[], %(quantities)s::integer[], %(amounts)s::numeric[])
            AS item (order_item_id, quantity, amount)
        """,
        key
        | {
            "order_item_ids": [item.order_item_id for item in decision.items],
            "quantities": [item.quantity for item in decision.items],
            "amounts": [item.amount for item in decision.items],
        },
    )
    return True


def save_order_of_refund(
    connection: psycopg.Connection, order: OrderState, now: datetime
) -> Mapping[str, Mapping[str, str | None]]:
    """Note on the order how much of its charge has been given back, and return what changed by that."""
    row = connection.execute(
        """
        UPDATE orders o SET
            version = version + 1, last_updated_time = %(now)s,
            payment_status = CASE
                WHEN refunded.amount IS NULL THEN o.payment_status
                WHEN refunded.amount < c.amount THEN 'PARTIALLY_REFUNDED'
                ELSE 'REFUNDED' END
        FROM charges c, (
            SELECT sum(r.amount) AS amount FROM refunds r
            WHERE r.seller_id = %(seller_id)s AND r.order_id = %(order_id)s AND r.refund_status = 'SUCCEEDED'
        ) AS refunded
        WHERE o.seller_id = %(seller_id)s AND o.order_id = %(order_id)s
            AND c.seller_id = %(seller_id)s AND c.order_id = o.order_id
        RETURNING o.payment_status
        """,
        {"seller_id": order.seller_id, "order_id": order.order_id, "now": now},
    ).fetchone()
    if row is None:
        raise LookupError("the order of a refund has no charge")
    is_same = row[0] == order.payment_status
    return {} if is_same else {"paymentStatus": {"was": order.payment_status, "is": row[0]}}

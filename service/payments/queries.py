"""Charges and refunds that a payment service has to make: found, claimed, and written as it answers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from psycopg.rows import class_row, dict_row

from service.orders.rules import OrderState
from service.payments.rules import (
    Answer,
    Claim,
    PaymentRequest,
    PaymentState,
    PaymentStatus,
    charge_key,
    refund_key,
)


@dataclass(frozen=True, slots=True)
class DuePayment:
    """A charge that is to be tried, or a refund when it has an id."""

    seller_id: str
    order_id: str
    refund_id: UUID | None


def note_payment_service(connection: psycopg.Connection) -> None:
    """Keep that charges are made by a payment service."""
    connection.execute("INSERT INTO payment_service DEFAULT VALUES ON CONFLICT DO NOTHING")


def find_due_payments(connection: psycopg.Connection, limit: int) -> list[DuePayment]:
    """Return what is due now, of all sellers, the longest waiting first; unlocked, for the claim looks again."""
    with connection.cursor(row_factory=class_row(DuePayment)) as cursor:
        return cursor.execute(
            """
            SELECT seller_id, order_id, refund_id FROM (
                (SELECT next_attempt_time, seller_id, order_id, NULL::uuid AS refund_id FROM charges
                 WHERE next_attempt_time <= (SELECT app_now())
                 ORDER BY next_attempt_time, seller_id, order_id LIMIT %(limit)s)
                UNION ALL
                (SELECT next_attempt_time, seller_id, order_id, refund_id FROM refunds
                 WHERE next_attempt_time <= (SELECT app_now())
                 ORDER BY next_attempt_time, seller_id, order_id, refund_id LIMIT %(limit)s)
            ) AS due
            ORDER BY next_attempt_time, seller_id, order_id, refund_id LIMIT %(limit)s
            """,
            {"limit": limit},
        ).fetchall()


def count_waiting_payments(connection: psycopg.Connection) -> int:
    """Return how many charges and refunds of all sellers a payment service has yet to make."""
    row = connection.execute(
        """
        SELECT (SELECT count(*) FROM charges WHERE next_attempt_time IS NOT NULL)
            + (SELECT count(*) FROM refunds WHERE next_attempt_time IS NOT NULL)
        """
    ).fetchone()
    return row[0] if row else 0


def claim_payment(connection: psycopg.Connection, due: DuePayment, lease: timedelta) -> Claim | None:
    """Take a payment for the time of the lease; None when another worker has it, or it is due no more.

    The claim names one seller, so that a database distributed by seller can lock it where the row is.
    """
    row = (_claim_charge if due.refund_id is None else _claim_refund)(connection, due, lease)
    if row is None:
        return None
    amount = {"amount": format(row["amount"], "f"), "currencyCode": row["currency_code"]}
    body = {"sellerId": due.seller_id, "orderId": due.order_id, "amount": amount}
    key = charge_key(due.seller_id, due.order_id, row["decline_count"])
    if due.refund_id is None:
        request = PaymentRequest("charges", key, body)
    else:
        of_refund = {
            "refundId": str(due.refund_id),
            "reason": row["refund_reason"],
            "chargeKey": key,
            "paymentReference": row["charge_reference"],
        }
        request = PaymentRequest("refunds", refund_key(due.refund_id), body | of_refund)
    return Claim(
        seller_id=due.seller_id,
        order_id=due.order_id,
        refund_id=due.refund_id,
        state=_state(row, 0 if due.refund_id else row["decline_count"]),
        request=request,
    )


def _claim_charge(connection: psycopg.Connection, due: DuePayment, lease: timedelta) -> dict[str, Any] | None:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            WITH due AS (
                SELECT seller_id, order_id FROM charges
                WHERE seller_id = %(seller_id)s AND order_id = %(order_id)s
                    AND next_attempt_time <= (SELECT app_now())
                FOR UPDATE SKIP LOCKED
            )
            UPDATE charges c SET
                attempt_count = c.attempt_count + 1, next_attempt_time = (SELECT app_now()) + %(lease)s
            FROM due
            WHERE c.seller_id = %(seller_id)s AND c.order_id = due.order_id
            RETURNING c.charge_status AS status, c.attempt_count, c.decline_count, c.next_attempt_time, c.amount,
                c.currency_code
            """,
            {"seller_id": due.seller_id, "order_id": due.order_id, "lease": lease},
        ).fetchone()


def _claim_refund(connection: psycopg.Connection, due: DuePayment, lease: timedelta) -> dict[str, Any] | None:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(
            """
            WITH due AS (
                SELECT seller_id, order_id, refund_id FROM refunds
                WHERE seller_id = %(seller_id)s AND order_id = %(order_id)s AND refund_id = %(refund_id)s
                    AND next_attempt_time <= (SELECT app_now())
                FOR UPDATE SKIP LOCKED
            )
            UPDATE refunds r SET
                attempt_count = r.attempt_count + 1, next_attempt_time = (SELECT app_now()) + %(lease)s
            FROM due JOIN charges c ON c.seller_id = %(seller_id)s AND c.order_id = due.order_id
            WHERE r.seller_id = %(seller_id)s AND r.order_id = due.order_id AND r.refund_id = due.refund_id
            RETURNING r.refund_status AS status, r.attempt_count, r.next_attempt_time, r.amount, r.currency_code,
                r.refund_reason, c.decline_count, c.payment_reference AS charge_reference
            """,
            {"seller_id": due.seller_id, "order_id": due.order_id, "refund_id": due.refund_id, "lease": lease},
        ).fetchone()


def lock_payment(connection: psycopg.Connection, claim: Claim) -> PaymentState:
    """Lock what was claimed, below its order, and return how it stands now."""
    with connection.cursor(row_factory=dict_row) as cursor:
        if claim.refund_id is None:
            cursor.execute(
                """
                SELECT charge_status AS status, attempt_count, decline_count, next_attempt_time FROM charges
                WHERE seller_id = %(seller_id)s AND order_id = %(order_id)s
                FOR UPDATE
                """,
                {"seller_id": claim.seller_id, "order_id": claim.order_id},
            )
        else:
            cursor.execute(
                """
                SELECT refund_status AS status, attempt_count, next_attempt_time FROM refunds
                WHERE seller_id = %(seller_id)s AND order_id = %(order_id)s AND refund_id = %(refund_id)s
                FOR UPDATE
                """,
                {"seller_id": claim.seller_id, "order_id": claim.order_id, "refund_id": claim.refund_id},
            )
        row = cursor.fetchone()
    if row is None:
        raise LookupError("what was claimed is gone")
    return _state(row, row.get("decline_count", 0))


def _state(row: dict[str, Any], decline_count: int) -> PaymentState:
    return PaymentState(PaymentStatus(row["status"]), row["attempt_count"], decline_count, row["next_attempt_time"])


def bring_charge_forward(connection: psycopg.Connection, seller_id: str, order_id: str) -> bool:
    """Make a declined charge due now; False when it is not declined.

    One that has been claimed since the decline is left as it is: another worker would charge beside the first.
    """
    updated = connection.execute(
        """
        UPDATE charges SET
            next_attempt_time = CASE WHEN attempt_count = 0 THEN (SELECT app_now()) ELSE next_attempt_time END
        WHERE seller_id = %(seller_id)s AND order_id = %(order_id)s AND charge_status = 'DECLINED'
        """,
        {"seller_id": seller_id, "order_id": order_id},
    )
    return updated.rowcount == 1


# An attempt that decided nothing leaves the reason of the decline before it.
_SAVE_CHARGE: LiteralString = """
UPDATE charges SET
    charge_status = %(status)s, attempt_count = %(attempt_count)s, decline_count = %(decline_count)s,
    next_attempt_time = %(next_attempt_time)s, charged_time = %(settled_time)s, payment_reference = %(reference)s,
    decline_reason = CASE WHEN charge_status = %(status)s AND decline_count = %(decline_count)s
        THEN decline_reason ELSE %(decline_reason)s END
WHERE seller_id = %(seller_id)s AND order_id = %(order_id)s
"""
_SAVE_REFUND: LiteralString = """
UPDATE refunds SET
    refund_status = %(status)s, attempt_count = %(attempt_count)s, next_attempt_time = %(next_attempt_time)s,
    refunded_time = %(settled_time)s, payment_reference = %(reference)s, decline_reason = %(decline_reason)s
WHERE seller_id = %(seller_id)s AND order_id = %(order_id)s AND refund_id = %(refund_id)s
"""


def save_payment(
    connection: psycopg.Connection, claim: Claim, settled: PaymentState, answer: Answer, now: datetime
) -> None:
    """Write how the charge or the refund stands."""
    connection.execute(
        _SAVE_CHARGE if claim.refund_id is None else _SAVE_REFUND,
        {
            "seller_id": claim.seller_id,
            "order_id": claim.order_id,
            "refund_id": claim.refund_id,
            "status": settled.status,
            "attempt_count": settled.attempt_count,
            "decline_count": settled.decline_count,
            "next_attempt_time": settled.next_attempt_time,
            "settled_time": now if settled.status is PaymentStatus.SUCCEEDED else None,
            "reference": answer.reference,
            "decline_reason": answer.decline_reason,
        },
    )


def save_order_of_charge(
    connection: psycopg.Connection, order: OrderState, *, is_declined: bool, now: datetime
) -> None:
    """Note on the order whether its charge is declined."""
    connection.execute(
        """
        UPDATE orders SET
            version = version + 1, last_updated_time = %(now)s,
            charge_declined_time = CASE WHEN %(is_declined)s THEN %(now)s::timestamptz END
        WHERE seller_id = %(seller_id)s AND order_id = %(order_id)s
        """,
        {"seller_id": order.seller_id, "order_id": order.order_id, "is_declined": is_declined, "now": now},
    )

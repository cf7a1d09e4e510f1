"""Make a payment: claim it, call the payment service with no transaction open, then record what it answered.

A process may die between any two lines of this. Before the claim is committed nothing has happened. After it the lease
ends, another worker sees that an attempt came before, and looks the payment up under the same key before it asks for it
again. An answer is recorded once: whoever comes second finds the payment settled.
"""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from typing import Protocol

import psycopg
import structlog

from service.database import Database
from service.errors import OrderNotFound
from service.orders.queries import find_order, insert_events, lock_order, read_locked_order
from service.orders.rules import EventType, OrderState
from service.payments import queries
from service.payments.errors import ChargeNotDeclined, PaymentServiceMissing
from service.payments.queries import DuePayment
from service.payments.refund_queries import save_order_of_refund
from service.payments.rules import (
    Answer,
    Claim,
    PaymentRequest,
    PaymentStatus,
    Verdict,
    contradicts,
    settle,
    stands_as_claimed,
)

ACTOR = "payments"

_log = structlog.stdlib.get_logger(__name__)


class PaymentService(Protocol):
    """What is needed of a payment service."""

    @property
    def lease(self) -> timedelta:
        """Return how long a payment is kept from other workers: longer than an attempt can take."""
        ...

    def send(self, request: PaymentRequest) -> Answer:
        """Ask for a payment."""
        ...

    def look_up(self, request: PaymentRequest) -> Answer | None:
        """Ask what became of a payment that may have been asked for; None when it never arrived."""
        ...


def make_payment(database: Database, service: PaymentService, due: DuePayment) -> Verdict | None:
    """Try a charge or a refund once; None when another worker has it, or it is due no more."""
    with database.seller_transaction(due.seller_id) as connection:
        claim = queries.claim_payment(connection, due, service.lease)
    if claim is None:
        return None
    answer = call(service, claim)
    record_answer(database, claim, answer)
    return answer.verdict


def call(service: PaymentService, claim: Claim) -> Answer:
    """Ask for a payment once; what may have been asked for before is looked up, and sent only if it never arrived."""
    found = service.look_up(claim.request) if claim.may_have_been_sent else None
    return found or service.send(claim.request)


def record_answer(database: Database, claim: Claim, answer: Answer) -> None:
    """Write what the payment service answered, if it is news."""
    with database.seller_transaction(claim.seller_id) as connection:
        lock_order(connection, claim.seller_id, claim.order_id)
        order, now = read_locked_order(connection, claim.seller_id, claim.order_id)
        state = queries.lock_payment(connection, claim)
        if not stands_as_claimed(state, claim, answer.verdict):
            if contradicts(state, claim, answer.verdict):
                _warn_of_contradiction(claim, answer)
            return
        jitter = random.uniform(-1, 1)  # noqa: S311  # spreads the look-ups, no secret
        settled = settle(state, answer.verdict, now, jitter, may_retry=claim.refund_id is None)
        queries.save_payment(connection, claim, settled, answer, now)
        if settled.status is not state.status or settled.decline_count != state.decline_count:
            _tell(connection, order, claim, state.status, settled.status, answer, now)


def _warn_of_contradiction(claim: Claim, answer: Answer) -> None:
    """Say that money may have moved, or not, against what is recorded: only a person can settle that."""
    _log.error(
        "payment_contradicted",
        seller_id=claim.seller_id,
        order_id=claim.order_id,
        key=claim.request.key,
        answer=answer.verdict,
        reference=answer.reference,
    )


def _tell(  # noqa: PLR0913, PLR0917  # all that the event tells
    connection: psycopg.Connection,
    order: OrderState,
    claim: Claim,
    was: PaymentStatus,
    becomes: PaymentStatus,
    answer: Answer,
    now: datetime,
) -> None:
    """Write the change to the order and to its history."""
    details: dict[str, object] = {"amount": claim.request.body["amount"]}
    if becomes is PaymentStatus.DECLINED and answer.decline_reason:
        details["declineReason"] = answer.decline_reason
    if claim.refund_id is None:
        kind = "CHARGE"
        details["chargeStatus"] = {"was": was, "is": becomes}
        queries.save_order_of_charge(connection, order, is_declined=becomes is PaymentStatus.DECLINED, now=now)
    else:
        kind = "REFUND"
        details |= {"refundId": str(claim.refund_id), "refundStatus": {"was": was, "is": becomes}}
        details |= save_order_of_refund(connection, order, now)
    event = (order.seller_id, order.order_id, order.version + 1, details)
    insert_events(connection, EventType(f"{kind}_{becomes}"), now, ACTOR, [event])


def retry_charge(database: Database, seller_id: str, order_id: str, *, settles_outside: bool) -> str:
    """Have a declined charge tried now, whatever was planned, and return the order, of which nothing changes yet.

    Raises the `Problem` that refuses it.
    """
    with database.seller_transaction(seller_id) as connection:
        if not lock_order(connection, seller_id, order_id):
            raise OrderNotFound(f"the seller has no order {order_id}")
        if not queries.bring_charge_forward(connection, seller_id, order_id):
            raise ChargeNotDeclined("only a charge that is DECLINED can be tried again; see `payment.charge`")
        if settles_outside:
            raise PaymentServiceMissing("nothing can charge the buyer until PAYMENT_SERVICE_URL is set")
        order = find_order(connection, seller_id, order_id)
    if order is None:
        raise LookupError("an order that is locked is gone")
    return order

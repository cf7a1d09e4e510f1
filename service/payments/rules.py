"""What is asked of a payment service, what its answers make of a charge or a refund, and when to come back to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import cast
from uuid import UUID

MAX_TEXT = 500

FIRST_LOOK_UP_AFTER = timedelta(seconds=5)
LAST_LOOK_UP_AFTER = timedelta(minutes=5)
JITTER = 0.2
# When a charge that was declined is tried again, counted from that decline; after the last one it is not.
RETRIES_AFTER_DECLINE = (
    timedelta(hours=1),
    timedelta(hours=6),
    timedelta(hours=24),
    timedelta(hours=72),
    timedelta(days=7),
)


class PaymentStatus(StrEnum):
    """How far a charge or a refund has got; UNKNOWN may have been made."""

    REQUESTED = "REQUESTED"
    SUCCEEDED = "SUCCEEDED"
    DECLINED = "DECLINED"
    UNKNOWN = "UNKNOWN"


class Verdict(StrEnum):
    """What an attempt came to."""

    SUCCEEDED = "SUCCEEDED"
    DECLINED = "DECLINED"
    PENDING = "PENDING"  # by the service's own word: it may be made later
    UNDECIDED = "UNDECIDED"  # nothing was answered that can be used: it may have been made, now or later
    NOT_SENT = "NOT_SENT"  # no connection was made


FINAL = frozenset({Verdict.SUCCEEDED, Verdict.DECLINED})
NO_ANSWER = frozenset({Verdict.UNDECIDED, Verdict.NOT_SENT})


@dataclass(frozen=True, slots=True)
class Answer:
    """A verdict, and what the service said with it."""

    verdict: Verdict
    reference: str | None = None
    decline_reason: str | None = None


@dataclass(frozen=True, slots=True)
class PaymentRequest:
    """What is sent: `collection` is the part of the address, `key` the idempotency key."""

    collection: str
    key: str
    body: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class PaymentState:
    """How a charge or a refund stands. `attempt_count` is of the present key, which a decline ends."""

    status: PaymentStatus
    attempt_count: int
    decline_count: int
    next_attempt_time: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A charge, or a refund when it has an id, that this worker may try until its lease ends."""

    seller_id: str
    order_id: str
    refund_id: UUID | None
    state: PaymentState
    request: PaymentRequest

    @property
    def may_have_been_sent(self) -> bool:
        """Tell whether an attempt with this key came before: it is looked up, and sent only when it never arrived."""
        return self.state.attempt_count > 1


def charge_key(seller_id: str, order_id: str, decline_count: int) -> str:
    """Return the key of a charge: another one only after a decline, which ends the one before for good."""
    return f"charge:{seller_id}:{order_id}:{decline_count + 1}"


def refund_key(refund_id: UUID) -> str:
    """Return the key of a refund."""
    return f"refund:{refund_id}"


def read_answer(document: object, key: str) -> Answer:
    """Return what an answer says of a key; one that is of another or of none, or not as agreed, decides nothing."""
    members = cast("dict[str, object]", document) if isinstance(document, dict) else {}
    if members.get("idempotencyKey") != key:
        return Answer(Verdict.UNDECIDED)
    reference, reason = _text(members.get("reference")), _text(members.get("declineReason"))
    match members.get("status"):
        case "SUCCEEDED":
            return Answer(Verdict.SUCCEEDED, reference)
        case "DECLINED":
            return Answer(Verdict.DECLINED, reference, reason)
        case "PENDING":
            return Answer(Verdict.PENDING)
        case _:
            return Answer(Verdict.UNDECIDED)


def _text(value: object) -> str | None:
    """Return what of a text can be stored and shown. The text decides nothing, so it is never a fault."""
    if not isinstance(value, str):
        return None
    return "".join(character for character in value if character.isprintable())[:MAX_TEXT] or None


def stands_as_claimed(state: PaymentState, claim: Claim, verdict: Verdict) -> bool:
    """Tell whether an answer to the claim is still news: nothing final has been recorded for its key.

    What is not final counts while the claim is the last: it would end the lease of the worker that has claimed since.
    """
    is_open = state.next_attempt_time is not None and state.decline_count == claim.state.decline_count
    return is_open and (verdict in FINAL or state.attempt_count == claim.state.attempt_count)


def contradicts(state: PaymentState, claim: Claim, verdict: Verdict) -> bool:
    """Tell whether the service takes back what was recorded as final for the claim's key."""
    is_declined = state.decline_count > claim.state.decline_count or state.status is PaymentStatus.DECLINED
    if state.status is PaymentStatus.SUCCEEDED and not is_declined:
        return verdict is Verdict.DECLINED
    return is_declined and verdict is Verdict.SUCCEEDED


def settle(state: PaymentState, verdict: Verdict, now: datetime, jitter: float, *, may_retry: bool) -> PaymentState:
    """Return what a verdict makes of a payment at `now`; `jitter` is from -1 to 1, and charges may be retried."""
    match verdict:
        case Verdict.SUCCEEDED:
            return replace(state, status=PaymentStatus.SUCCEEDED, next_attempt_time=None)
        case Verdict.DECLINED:
            retry = now + RETRIES_AFTER_DECLINE[state.decline_count] if may_retry and _is_retried(state) else None
            return PaymentState(PaymentStatus.DECLINED, 0, state.decline_count + 1, retry)
        case Verdict.NOT_SENT:
            return replace(state, next_attempt_time=now + _pause(state.attempt_count, jitter))
        case Verdict.PENDING | Verdict.UNDECIDED:
            again = now + _pause(state.attempt_count, jitter)
            return replace(state, status=PaymentStatus.UNKNOWN, next_attempt_time=again)


def _is_retried(state: PaymentState) -> bool:
    return state.decline_count < len(RETRIES_AFTER_DECLINE)


def _pause(attempt_count: int, jitter: float) -> timedelta:
    doublings = min(max(attempt_count - 1, 0), 10)  # by then it is the longest pause
    return min(FIRST_LOOK_UP_AFTER * 2**doublings, LAST_LOOK_UP_AFTER) * (1 + JITTER * jitter)

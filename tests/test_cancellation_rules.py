"""What a seller's cancellation and a buyer's request for it do to an order (D2, D3, D5, D6), without a database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.cancellation.rules import (
    BuyerRequest,
    CancelReason,
    buyer_request,
    decide_cancellation,
    decide_request,
    decide_withdrawal,
)
from service.errors import ConfirmationWindowClosed, OrderCancelled, OrderConfirmed, PlatformFulfilled, Problem
from service.money import Money
from service.orders.rules import FulfilledBy, FulfillmentStatus, ItemState, OrderState

PENDING, UNSHIPPED, PARTIALLY_SHIPPED, SHIPPED, CANCELLED = FulfillmentStatus
AMAZON, MERCHANT = FulfilledBy
CONFIRM_BY = datetime(2026, 3, 18, 7, tzinfo=UTC)
BEFORE = CONFIRM_BY - timedelta(microseconds=1)
REASON = CancelReason.NO_INVENTORY
REQUEST = BuyerRequest(BEFORE - timedelta(days=1), "ordered twice")

ORDER = OrderState(
    seller_id="A1SELLER",
    order_id="902-0000000-0000001",
    version=1,
    created_time=CONFIRM_BY - timedelta(days=20),
    fulfilled_by=MERCHANT,
    fulfillment_status=UNSHIPPED,
    payment_status="AUTHORIZED",
    ship_by_latest=CONFIRM_BY - timedelta(days=11),
    confirm_by=CONFIRM_BY,
    grand_total=Money(Decimal("50.00"), "USD"),
    confirmed_time=None,
    cancel_reason=None,
    cancellation_requested_time=None,
    cancellation_request_reason=None,
    items={"1": ItemState(2, 0), "2": ItemState(1, 0)},
)
# One for each status, as it is stored: what is cancelled has its reason, what is confirmed its time.
STORED = {
    PENDING: replace(ORDER, fulfillment_status=PENDING, payment_status=None, confirm_by=None),
    UNSHIPPED: ORDER,
    PARTIALLY_SHIPPED: replace(ORDER, fulfillment_status=PARTIALLY_SHIPPED, confirmed_time=BEFORE),
    SHIPPED: replace(ORDER, fulfillment_status=SHIPPED, confirmed_time=BEFORE),
    CANCELLED: replace(ORDER, fulfillment_status=CANCELLED, cancel_reason=CancelReason.PRICING_ERROR),
}


def asked(order: OrderState, request: BuyerRequest | None) -> OrderState:
    """Return the order with the request."""
    return replace(
        order,
        cancellation_requested_time=request and request.requested_time,
        cancellation_request_reason=request and request.cancel_reason,
    )


def outcome(decide: Callable[[], object]) -> object:
    """Return what a rule decides, or the kind of problem with which it refuses."""
    try:
        return decide()
    except Problem as problem:
        return type(problem)


@pytest.mark.parametrize(
    ("status", "before", "at_deadline"),
    [
        (PENDING, True, True),
        (UNSHIPPED, True, ConfirmationWindowClosed),  # Broken by `>` for `>=`, and by asking for the sweep instead.
        (PARTIALLY_SHIPPED, OrderConfirmed, OrderConfirmed),
        (SHIPPED, OrderConfirmed, OrderConfirmed),
        (CANCELLED, OrderCancelled, OrderCancelled),
    ],
)
def test_a_seller_cancels_what_is_neither_confirmed_nor_cancelled_before_its_deadline(
    status: FulfillmentStatus, before: object, at_deadline: object
) -> None:
    # A pending order has a deadline as well where its ship-by date is known: no confirmation can have missed it.
    order = replace(STORED[status], confirm_by=CONFIRM_BY)

    assert outcome(lambda: decide_cancellation(order, REASON, BEFORE)) == before
    assert outcome(lambda: decide_cancellation(order, REASON, CONFIRM_BY)) == at_deadline
    assert outcome(lambda: decide_cancellation(asked(order, REQUEST), REASON, BEFORE)) == before


@pytest.mark.parametrize("status", FulfillmentStatus)
def test_an_order_of_the_platform_is_its_own_to_cancel(status: FulfillmentStatus) -> None:
    order = replace(STORED[status], fulfilled_by=AMAZON, confirm_by=None)
    same_reason = CancelReason.PRICING_ERROR

    assert outcome(lambda: decide_cancellation(order, same_reason, BEFORE)) is PlatformFulfilled
    assert outcome(lambda: decide_request(order, None, BEFORE)) is PlatformFulfilled


@given(first=st.sampled_from(CancelReason), second=st.sampled_from(CancelReason), days=st.integers(-30, 30))
def test_the_same_cancellation_again_does_nothing_and_another_reason_is_refused(
    first: CancelReason, second: CancelReason, days: int
) -> None:
    # Broken by looking at the deadline first: a cancellation that is sent again late is still the same.
    cancelled = replace(ORDER, fulfillment_status=CANCELLED, cancel_reason=str(first))
    again = outcome(lambda: decide_cancellation(cancelled, second, CONFIRM_BY + timedelta(days=days)))

    assert again == (False if first is second else OrderCancelled)


@pytest.mark.parametrize("reason", CancelReason)
def test_what_was_not_confirmed_in_time_keeps_that_reason(reason: CancelReason) -> None:
    swept = replace(ORDER, fulfillment_status=CANCELLED, cancel_reason="NOT_CONFIRMED_IN_TIME")

    assert outcome(lambda: decide_cancellation(swept, reason, CONFIRM_BY)) is OrderCancelled


@pytest.mark.parametrize(
    ("status", "request_is", "withdrawal_is"),
    [
        (PENDING, BuyerRequest(BEFORE, "why"), True),
        (UNSHIPPED, BuyerRequest(BEFORE, "why"), True),
        (PARTIALLY_SHIPPED, OrderConfirmed, OrderConfirmed),
        (SHIPPED, OrderConfirmed, OrderConfirmed),
        (CANCELLED, OrderCancelled, OrderCancelled),
    ],
)
def test_a_buyer_asks_and_withdraws_until_the_order_is_settled(
    status: FulfillmentStatus, request_is: object, withdrawal_is: object
) -> None:
    order = STORED[status]

    assert outcome(lambda: decide_request(order, "why", BEFORE)) == request_is
    assert outcome(lambda: decide_withdrawal(asked(order, REQUEST), BEFORE)) == withdrawal_is
    assert outcome(lambda: decide_withdrawal(order, BEFORE)) is False


@given(reasons=st.lists(st.none() | st.sampled_from(["twice", "too late", "other"]), min_size=1))
def test_of_requests_the_first_keeps_its_time_and_the_last_that_tells_one_its_reason(reasons: list[str | None]) -> None:
    order = ORDER
    for number, reason in enumerate(reasons):
        order = asked(order, decide_request(order, reason, REQUEST.requested_time + number * timedelta(seconds=1)))

    told = [reason for reason in reasons if reason is not None]
    assert buyer_request(order) == BuyerRequest(REQUEST.requested_time, told[-1] if told else None)


def test_at_the_deadline_it_is_too_late_to_ask_and_to_withdraw() -> None:
    # Broken by a request that takes an order out of the seller's cancellation rate once its deadline has decided (D2).
    for now, may in ((BEFORE, True), (CONFIRM_BY, False)):
        asked_at = outcome(lambda now=now: decide_request(ORDER, None, now))
        assert asked_at == (BuyerRequest(now, None) if may else ConfirmationWindowClosed)
        withdrawn_at = outcome(lambda now=now: decide_withdrawal(asked(ORDER, REQUEST), now))
        assert withdrawn_at == (True if may else ConfirmationWindowClosed)

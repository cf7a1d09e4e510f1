"""What answers make of a payment and when it is tried again; and what of an order may be refunded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import InvalidRequest, PlatformFulfilled, Problem, UnknownOrderItem
from service.money import Money
from service.orders.rules import FulfilledBy, FulfillmentStatus, OrderState
from service.payments.errors import ItemWithoutPrice, NotCharged, PaymentServiceMissing, RefundTooLarge
from service.payments.refund_rules import (
    MAX_REFUNDS,
    ChargeState,
    RefundableItem,
    RefundDecision,
    RefundedItem,
    RefundRequest,
    decide_refund,
    least_units,
    worth_of,
)
from service.payments.rules import (
    Answer,
    Claim,
    PaymentRequest,
    PaymentState,
    PaymentStatus,
    Verdict,
    charge_key,
    contradicts,
    read_answer,
    settle,
)
from tests.conftest import NOW

REQUESTED = PaymentState(PaymentStatus.REQUESTED, 1, 0, NOW)


def usd(amount: str) -> Money:
    return Money(Decimal(amount), "USD")


# --- Answers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "answer"),
    [
        ({"status": "SUCCEEDED", "reference": "r1"}, Answer(Verdict.SUCCEEDED, "r1")),
        ({"status": "SUCCEEDED", "more": 1}, Answer(Verdict.SUCCEEDED)),
        ({"status": "DECLINED", "declineReason": "no funds"}, Answer(Verdict.DECLINED, None, "no funds")),
        ({"status": "PENDING", "reference": "r1"}, Answer(Verdict.PENDING)),
        # A text that cannot be kept takes nothing from what was decided: that would be asked for again.
        ({"status": "SUCCEEDED", "reference": {"id": 1}}, Answer(Verdict.SUCCEEDED)),
        ({"status": "DECLINED", "declineReason": "no\0 funds\ud800"}, Answer(Verdict.DECLINED, None, "no funds")),
        ({"status": "SUCCEEDED", "reference": "r" * 501}, Answer(Verdict.SUCCEEDED, "r" * 500)),
        ({"status": None}, Answer(Verdict.UNDECIDED)),
        ({}, Answer(Verdict.UNDECIDED)),
    ],
)
def test_an_answer_about_the_key_is_read_by_its_status_alone(document: dict[str, object], answer: Answer) -> None:
    assert read_answer(document | {"idempotencyKey": "k1"}, "k1") == answer


@pytest.mark.parametrize("about", [{}, {"idempotencyKey": "k2"}, {"idempotencyKey": None}, {"idempotencyKey": ["k1"]}])
def test_an_answer_that_does_not_name_the_key_decides_nothing(about: dict[str, object]) -> None:
    told = about | {"status": "SUCCEEDED"}
    for document in (told, [told], "SUCCEEDED", None):
        assert read_answer(document, "k1") == Answer(Verdict.UNDECIDED)


@pytest.mark.parametrize(
    ("status", "declines", "verdict", "contradicted"),
    [
        ("DECLINED", 1, Verdict.SUCCEEDED, True),
        ("SUCCEEDED", 1, Verdict.SUCCEEDED, True),  # by its second key, so that the buyer has paid twice
        ("DECLINED", 0, Verdict.SUCCEEDED, True),  # of a refund, which has one key
        ("SUCCEEDED", 0, Verdict.DECLINED, True),
        ("DECLINED", 1, Verdict.DECLINED, False),
        ("SUCCEEDED", 1, Verdict.DECLINED, False),
        ("SUCCEEDED", 0, Verdict.SUCCEEDED, False),
        ("DECLINED", 1, Verdict.UNDECIDED, False),
        ("UNKNOWN", 0, Verdict.NOT_SENT, False),
    ],
)
def test_an_answer_against_what_is_recorded_for_its_key_is_a_contradiction(
    status: str, declines: int, verdict: Verdict, *, contradicted: bool
) -> None:
    request = PaymentRequest("charges", "k1", {})
    claim = Claim(seller_id="A1", order_id="902-1", refund_id=None, state=REQUESTED, request=request)
    assert contradicts(PaymentState(PaymentStatus(status), 0, declines, None), claim, verdict) is contradicted


def test_only_a_decline_ends_a_key() -> None:
    keys = {charge_key("A1", "902-1", state.decline_count) for state in (REQUESTED, *_after(Verdict.UNDECIDED))}
    assert keys == {"charge:A1:902-1:1"}
    assert charge_key("A1", "902-1", next(iter(_after(Verdict.DECLINED))).decline_count) == "charge:A1:902-1:2"


def _after(verdict: Verdict) -> Sequence[PaymentState]:
    return [settle(REQUESTED, verdict, NOW, 0, may_retry=True)]


def test_what_was_not_sent_stays_as_it_was_and_what_is_undecided_is_unknown() -> None:
    for status in (PaymentStatus.REQUESTED, PaymentStatus.UNKNOWN, PaymentStatus.DECLINED):
        state = replace(REQUESTED, status=status)
        assert settle(state, Verdict.NOT_SENT, NOW, 0, may_retry=True).status is status
        for verdict in (Verdict.UNDECIDED, Verdict.PENDING):
            assert settle(state, verdict, NOW, 0, may_retry=True).status is PaymentStatus.UNKNOWN


@pytest.mark.parametrize("verdict", [Verdict.NOT_SENT, Verdict.UNDECIDED, Verdict.PENDING])
def test_look_ups_come_after_5_seconds_doubling_to_5_minutes_give_or_take_a_fifth(verdict: Verdict) -> None:
    def pauses(jitter: float) -> list[float]:
        states = [replace(REQUESTED, attempt_count=attempt) for attempt in (1, 2, 3, 4, 5, 6, 7, 8, 1000)]
        settled = [settle(state, verdict, NOW, jitter, may_retry=True).next_attempt_time for state in states]
        return [round((time - NOW).total_seconds(), 3) for time in settled if time is not None]

    assert pauses(0) == [5, 10, 20, 40, 80, 160, 300, 300, 300]
    assert (pauses(-1)[0], pauses(1)[0], pauses(1)[-1]) == (4, 6, 360)


def test_a_declined_charge_is_tried_after_1_6_24_and_72_hours_and_7_days_and_a_refund_never() -> None:
    state, pauses = REQUESTED, list[timedelta | None]()
    for _ in range(7):
        state = settle(state, Verdict.DECLINED, NOW, 1, may_retry=True)
        pauses.append(state.next_attempt_time and state.next_attempt_time - NOW)
        assert state.attempt_count == 0, "the next key has not been sent, and is not looked up"
    assert pauses == [*(timedelta(hours=hours) for hours in (1, 6, 24, 72, 168)), None, None]
    assert settle(REQUESTED, Verdict.DECLINED, NOW, 0, may_retry=False).next_attempt_time is None


# --- Refunds -------------------------------------------------------------------------------------------------------

CHARGED = ChargeState(
    total=usd("50.00"),
    status=PaymentStatus.SUCCEEDED,
    settled_outside=True,
    refunded=Decimal(0),
    refund_count=0,
    was_refunded=False,
)
ITEM = RefundableItem(
    quantity_ordered=3,
    worth=Decimal("10.00"),
    refunded=Decimal(0),
    refunded_units=0,
    refunded_for_units=Decimal(0),
)


def order(**changes: Any) -> OrderState:
    facts: dict[str, Any] = {
        "seller_id": "A1",
        "order_id": "902-1",
        "version": 1,
        "created_time": NOW,
        "fulfilled_by": FulfilledBy.MERCHANT,
        "fulfillment_status": FulfillmentStatus.SHIPPED,
        "payment_status": "CHARGED",
        "ship_by_latest": NOW,
        "confirm_by": NOW,
        "grand_total": usd("50.00"),
        "confirmed_time": NOW,
        "cancel_reason": None,
        "cancellation_requested_time": None,
        "cancellation_request_reason": None,
        "items": {},
    }
    return OrderState(**(facts | changes))


def asked(*items: RefundedItem, amount: Money | None = None) -> RefundRequest:
    return RefundRequest(idempotency_key="1", reason="OTHER", items=items, amount=amount)


def units(quantity: int, item: str = "1") -> RefundedItem:
    return RefundedItem(item, quantity, None)


def some(amount: str, item: str = "1") -> RefundedItem:
    return RefundedItem(item, None, usd(amount))


def decide(
    request: RefundRequest, item: RefundableItem = ITEM, charge: ChargeState | None = CHARGED, **of_order: Any
) -> RefundDecision:
    return decide_refund(order(**of_order), charge, {"1": item, "2": ITEM}, request, settles_outside=True)


@given(st.integers(0, 10_000), st.integers(1, 40), st.data())
def test_units_refunded_in_any_portions_come_to_exactly_the_items_worth(
    cents: int, ordered: int, data: st.DataObject
) -> None:
    worth = Decimal(cents).scaleb(-2)
    item = replace(ITEM, quantity_ordered=ordered, worth=worth)
    charge = replace(CHARGED, total=Money(worth + 1, "USD"))
    # A worth of its own for the second item, so that a portion that comes to nothing is no refusal.
    others = {"2": replace(ITEM, worth=None)}
    while item.refunded_units < ordered:
        quantity = data.draw(st.integers(1, ordered - item.refunded_units))
        request = asked(units(quantity), some("0.01", "2"))
        refund = decide_refund(order(), charge, {"1": item, **others}, request, settles_outside=True)
        amount = refund.items[0].amount
        assert amount >= 0
        assert amount.as_tuple().exponent == -2
        item = replace(
            item,
            refunded=item.refunded + amount,
            refunded_units=item.refunded_units + quantity,
            refunded_for_units=item.refunded_for_units + amount,
        )
    assert item.refunded == worth


def test_units_whose_refund_was_declined_in_between_leave_no_cent_behind() -> None:
    # 10.00 in three: 3.33, 3.34, 3.33. The first was declined; rounding by the count alone would give 3.34 again, and
    # with the last 10.01, which is refused.
    after_the_second = replace(ITEM, refunded=Decimal("3.34"), refunded_units=1, refunded_for_units=Decimal("3.34"))
    assert decide(asked(units(2)), after_the_second).amount == usd("6.66")


@given(st.integers(0, 40), st.integers(1, 90), st.data())
def test_what_is_said_to_be_the_fewest_units_that_come_to_an_amount_is_so(
    cents: int, ordered: int, data: st.DataObject
) -> None:
    refunded = data.draw(st.integers(0, ordered - 1))
    worth = Decimal(cents).scaleb(-2)
    item = replace(ITEM, quantity_ordered=ordered, worth=worth)
    already = _amount_of(refunded, item) if refunded else Decimal(0)
    item = replace(item, refunded=already, refunded_units=refunded, refunded_for_units=already)
    portions = range(1, ordered - refunded + 1)
    assert least_units(item, Decimal("0.01")) == next((each for each in portions if _amount_of(each, item)), None)


def _amount_of(quantity: int, item: RefundableItem) -> Decimal:
    request = asked(units(quantity), some("0.01", "2"))  # so that nothing is no refusal
    return decide(request, item).items[0].amount


def test_a_currency_without_cents_is_refunded_in_whole_units() -> None:
    charge = replace(CHARGED, total=Money(Decimal(1000), "JPY"))
    item = replace(ITEM, worth=Decimal(1000))
    assert decide(asked(units(1)), item, charge).amount == Money(Decimal(333), "JPY")


@pytest.mark.parametrize(
    ("request_", "item", "charge", "problem", "pointer"),
    [
        (asked(units(4)), ITEM, CHARGED, RefundTooLarge, "/orderItems/0/quantity"),
        (asked(units(1, "2"), units(4)), ITEM, CHARGED, RefundTooLarge, "/orderItems/1/quantity"),
        (asked(units(2)), replace(ITEM, refunded_units=2), CHARGED, RefundTooLarge, "/orderItems/0/quantity"),
        (asked(units(3)), replace(ITEM, refunded=Decimal("0.01")), CHARGED, RefundTooLarge, "/orderItems/0/quantity"),
        (asked(units(1)), replace(ITEM, quantity_ordered=0), CHARGED, RefundTooLarge, "/orderItems/0/quantity"),
        (asked(some("10.01")), ITEM, CHARGED, RefundTooLarge, "/orderItems/0/amount"),
        (asked(some("5.01")), replace(ITEM, refunded=Decimal(5)), CHARGED, RefundTooLarge, "/orderItems/0/amount"),
        (asked(some("50.01")), replace(ITEM, worth=None), CHARGED, RefundTooLarge, "/orderItems"),
        (asked(units(3)), ITEM, replace(CHARGED, refunded=Decimal(41)), RefundTooLarge, "/orderItems"),
        (asked(amount=usd("50.01")), ITEM, CHARGED, RefundTooLarge, "/amount"),
        (asked(amount=usd("9.01")), ITEM, replace(CHARGED, refunded=Decimal(41)), RefundTooLarge, "/amount"),
        (asked(units(1)), replace(ITEM, worth=None), CHARGED, ItemWithoutPrice, "/orderItems/0/quantity"),
        (asked(units(1, "7")), ITEM, CHARGED, UnknownOrderItem, "/orderItems/0/orderItemId"),
        (asked(units(1)), replace(ITEM, worth=Decimal(0)), CHARGED, InvalidRequest, "/orderItems/0/quantity"),
        (asked(some("0.00")), ITEM, CHARGED, InvalidRequest, "/orderItems/0/amount/amount"),
        (asked(some("-1.00")), ITEM, CHARGED, InvalidRequest, "/orderItems/0/amount/amount"),
        (asked(amount=Money(Decimal(1), "EUR")), ITEM, CHARGED, InvalidRequest, "/amount/currencyCode"),
        (asked(amount=usd("1.00")), ITEM, replace(CHARGED, refund_count=MAX_REFUNDS), InvalidRequest, None),
        (asked(amount=usd("1.00")), ITEM, None, NotCharged, None),
        *(
            (asked(amount=usd("1.00")), ITEM, replace(CHARGED, status=status), NotCharged, None)
            for status in set(PaymentStatus) - {PaymentStatus.SUCCEEDED}
        ),
    ],
)
def test_a_refund_that_may_not_be_is_refused_with_where_and_what_is_left(
    request_: RefundRequest,
    item: RefundableItem,
    charge: ChargeState | None,
    problem: type[Problem],
    pointer: str | None,
) -> None:
    with pytest.raises(problem) as refusal:
        decide(request_, item, charge)
    assert type(refusal.value) is problem
    assert [error.pointer for error in refusal.value.errors] == ([] if pointer is None else [pointer])


def test_what_is_just_within_the_limits_is_refunded() -> None:
    assert decide(asked(units(3))).amount == usd("10.00")
    assert decide(asked(some("5.00")), replace(ITEM, refunded=Decimal(5))).amount == usd("5.00")
    assert decide(asked(amount=usd("9.00")), charge=replace(CHARGED, refunded=Decimal(41))).amount == usd("9.00")
    assert decide(asked(some("50.00")), replace(ITEM, worth=None)).amount == usd("50.00")


def test_a_charge_of_a_payment_service_is_refunded_by_one_alone() -> None:
    by_service = replace(CHARGED, settled_outside=False)
    request = asked(amount=usd("1.00"))
    with pytest.raises(PaymentServiceMissing):
        decide(request, charge=by_service)
    refund = decide_refund(order(), by_service, {}, request, settles_outside=False)
    assert not refund.settled_outside
    # What was settled outside before the service came stays so.
    assert decide_refund(order(), CHARGED, {}, request, settles_outside=False).settled_outside


def test_an_order_of_the_platforms_or_one_that_the_channel_refunded_is_not_refunded_here() -> None:
    with pytest.raises(PlatformFulfilled):
        decide(asked(amount=usd("1.00")), fulfilled_by=FulfilledBy.AMAZON)
    with pytest.raises(NotCharged, match="channel refunded"):
        decide(asked(amount=usd("1.00")), payment_status="PARTIALLY_REFUNDED")
    here = replace(CHARGED, was_refunded=True)
    assert decide(asked(amount=usd("1.00")), charge=here, payment_status="PARTIALLY_REFUNDED").amount == usd("1.00")


@pytest.mark.parametrize(
    ("item", "worth"),
    [
        ({"proceeds": {"proceedsTotal": {"amount": "9.99", "currencyCode": "USD"}}}, "9.99"),
        ({"product": {"price": {"unitPrice": {"amount": "4.00", "currencyCode": "USD"}}}}, "12.00"),
        (
            {
                "proceeds": {"proceedsTotal": {"amount": "9.99", "currencyCode": "USD"}},
                "product": {"price": {"unitPrice": {"amount": "4.00", "currencyCode": "USD"}}},
            },
            "9.99",
        ),
        ({"product": {"price": {}}, "proceeds": {}}, None),
        ({}, None),
        ({"proceeds": {"proceedsTotal": {"amount": "9.99", "currencyCode": "EUR"}}}, None),
        ({"proceeds": {"proceedsTotal": {"amount": "-9.99", "currencyCode": "USD"}}}, None),
    ],
)
def test_an_items_worth_is_its_proceeds_or_else_its_price(item: dict[str, Any], worth: str | None) -> None:
    assert worth_of(item, 3, "USD") == (None if worth is None else Decimal(worth))


def test_the_same_refund_is_known_however_it_is_written_and_another_one_is_not() -> None:
    one = asked(units(1), some("5", "2"))
    assert one.digest("902-1") == asked(some("5.00", "2"), units(1)).digest("902-1")
    others = [asked(units(2), some("5", "2")), asked(units(1)), replace(one, reason="EXCHANGE"), asked(amount=usd("5"))]
    assert len({one.digest("902-1"), one.digest("902-2"), *(other.digest("902-1") for other in others)}) == 6

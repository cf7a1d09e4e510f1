"""What a confirmation does to an order (R8-R10, D2-D6), without a database."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import (
    ConfirmationWindowClosed,
    NothingToConfirm,
    OrderCancelled,
    OrderPending,
    PlatformFulfilled,
    Problem,
    QuantityTooLarge,
    UnknownOrderItem,
)
from service.money import Money
from service.orders.rules import CONFIRMED, FulfilledBy, FulfillmentStatus, ItemState, OrderState, status_of
from service.shipments.rules import ConfirmedItem, Decision, ShipmentConfirmation, decide

PENDING, UNSHIPPED, PARTIALLY_SHIPPED, SHIPPED, CANCELLED = FulfillmentStatus
CONFIRM_BY = datetime(2026, 3, 18, 7, tzinfo=UTC)
BEFORE = CONFIRM_BY - timedelta(microseconds=1)

ORDER = OrderState(
    seller_id="A1SELLER",
    order_id="902-0000000-0000001",
    version=1,
    fulfilled_by=FulfilledBy.MERCHANT,
    fulfillment_status=UNSHIPPED,
    confirm_by=CONFIRM_BY,
    grand_total=Money(Decimal("50.00"), "USD"),
    confirmed_time=None,
    items={"1": ItemState(2, 0), "2": ItemState(1, 0)},
)
PARTLY = replace(
    ORDER,
    fulfillment_status=PARTIALLY_SHIPPED,
    confirmed_time=BEFORE,
    items={"1": ItemState(2, 1), "2": ItemState(1, 0)},
)
COMPLETE = replace(
    ORDER, fulfillment_status=SHIPPED, confirmed_time=BEFORE, items={"1": ItemState(2, 2), "2": ItemState(1, 1)}
)

ALL_THAT_REMAINS = ShipmentConfirmation(
    package_reference_id="1",
    carrier_code="UPS",
    carrier_name=None,
    shipping_method=None,
    tracking_number="1Z",
    ship_date=BEFORE,
    items=None,
)


def of(**quantities: int) -> ShipmentConfirmation:
    """Return a confirmation of units by item, each written `item_1=2`."""
    items = [ConfirmedItem(name.removeprefix("item_"), quantity) for name, quantity in quantities.items()]
    return replace(ALL_THAT_REMAINS, items=items)


@pytest.mark.parametrize(
    ("order", "confirmation", "decision"),
    [
        (ORDER, ALL_THAT_REMAINS, Decision({"1": 2, "2": 1}, SHIPPED, charges_order=True)),
        (ORDER, of(item_1=1), Decision({"1": 1}, PARTIALLY_SHIPPED, charges_order=True)),
        (ORDER, of(item_1=2), Decision({"1": 2}, PARTIALLY_SHIPPED, charges_order=True)),
        (ORDER, of(item_2=1, item_1=2), Decision({"2": 1, "1": 2}, SHIPPED, charges_order=True)),
        (PARTLY, ALL_THAT_REMAINS, Decision({"1": 1, "2": 1}, SHIPPED, charges_order=False)),
        (PARTLY, of(item_2=1), Decision({"2": 1}, PARTIALLY_SHIPPED, charges_order=False)),
        (PARTLY, of(item_1=1, item_2=1), Decision({"1": 1, "2": 1}, SHIPPED, charges_order=False)),
    ],
)
def test_a_confirmation_that_is_accepted(
    order: OrderState, confirmation: ShipmentConfirmation, decision: Decision
) -> None:
    assert decide(order, confirmation, BEFORE) == decision


@pytest.mark.parametrize(
    ("order", "confirmation", "now", "problem"),
    [
        (replace(ORDER, fulfilled_by=FulfilledBy.AMAZON, confirm_by=None), ALL_THAT_REMAINS, BEFORE, PlatformFulfilled),
        (replace(ORDER, fulfillment_status=CANCELLED), ALL_THAT_REMAINS, BEFORE, OrderCancelled),
        (replace(ORDER, fulfillment_status=CANCELLED), ALL_THAT_REMAINS, CONFIRM_BY, OrderCancelled),
        (replace(ORDER, fulfillment_status=PENDING), ALL_THAT_REMAINS, BEFORE, OrderPending),
        (ORDER, ALL_THAT_REMAINS, CONFIRM_BY, ConfirmationWindowClosed),
        (ORDER, of(item_7=1), CONFIRM_BY + timedelta(days=400), ConfirmationWindowClosed),
        (COMPLETE, ALL_THAT_REMAINS, BEFORE, NothingToConfirm),
        (COMPLETE, of(item_1=1), CONFIRM_BY, NothingToConfirm),
        (ORDER, of(item_7=1), BEFORE, UnknownOrderItem),
        (ORDER, of(item_1=3), BEFORE, QuantityTooLarge),
        (PARTLY, of(item_1=2), BEFORE, QuantityTooLarge),
        (PARTLY, of(item_2=1, item_1=2), BEFORE, QuantityTooLarge),
    ],
)
def test_a_confirmation_that_is_refused(
    order: OrderState, confirmation: ShipmentConfirmation, now: datetime, problem: type[Problem]
) -> None:
    with pytest.raises(problem):
        decide(order, confirmation, now)


def test_the_window_closes_at_its_instant_and_not_a_microsecond_before() -> None:
    assert decide(ORDER, ALL_THAT_REMAINS, BEFORE).charges_order
    with pytest.raises(ConfirmationWindowClosed, match="2026-03-18T07:00:00Z"):
        decide(ORDER, ALL_THAT_REMAINS, CONFIRM_BY)


def test_an_order_with_a_confirmed_item_can_be_completed_after_its_deadline() -> None:
    late = CONFIRM_BY + timedelta(days=100)

    assert decide(PARTLY, ALL_THAT_REMAINS, late) == Decision({"1": 1, "2": 1}, SHIPPED, charges_order=False)


def test_the_ship_date_that_the_seller_typed_decides_nothing() -> None:
    early = replace(ALL_THAT_REMAINS, ship_date=datetime(2026, 1, 1, tzinfo=UTC))
    with pytest.raises(ConfirmationWindowClosed):
        decide(ORDER, early, CONFIRM_BY)
    assert decide(ORDER, replace(early, ship_date=CONFIRM_BY + timedelta(days=9)), BEFORE).charges_order


def test_refusals_point_to_the_place_and_say_what_would_be_right() -> None:
    with pytest.raises(QuantityTooLarge) as too_large:
        decide(PARTLY, of(item_2=1, item_1=2), BEFORE)
    (error,) = too_large.value.errors
    assert error.pointer == "/orderItems/1/quantity"
    assert error.detail == "1 of 2 remain to be confirmed, not 2"

    with pytest.raises(UnknownOrderItem, match="1, 2") as unknown:
        decide(ORDER, of(item_1=1, item_7=1), BEFORE)
    assert unknown.value.errors[0].pointer == "/orderItems/1/orderItemId"


def test_an_item_of_which_nothing_was_ordered_does_not_hinder_the_order() -> None:
    order = replace(ORDER, items={"1": ItemState(2, 0), "0": ItemState(0, 0)})

    assert decide(order, ALL_THAT_REMAINS, BEFORE) == Decision({"1": 2}, SHIPPED, charges_order=True)
    with pytest.raises(QuantityTooLarge):
        decide(order, of(item_0=1), BEFORE)


ITEMS = st.dictionaries(
    st.sampled_from("abcdef"),
    st.integers(1, 9).flatmap(lambda ordered: st.builds(ItemState, st.just(ordered), st.integers(0, ordered))),
    min_size=1,
)
CONFIRMED_ITEMS = st.none() | st.lists(
    st.builds(ConfirmedItem, st.sampled_from("abcdefg"), st.integers(1, 10)),
    min_size=1,
    unique_by=lambda item: item.order_item_id,
)


@given(items=ITEMS, confirmed=CONFIRMED_ITEMS, late=st.booleans())
def test_no_confirmation_exceeds_what_was_ordered_and_the_status_follows_from_the_quantities(
    items: dict[str, ItemState],
    confirmed: list[ConfirmedItem] | None,
    late: bool,  # noqa: FBT001  # drawn
) -> None:
    status = status_of(items)
    began = status in CONFIRMED
    order = replace(ORDER, items=items, fulfillment_status=status, confirmed_time=BEFORE if began else None)
    told = {item.order_item_id: item.quantity for item in confirmed} if confirmed is not None else None
    try:
        decision = decide(order, replace(ALL_THAT_REMAINS, items=confirmed), CONFIRM_BY if late else BEFORE)
    except ConfirmationWindowClosed:
        assert late
        assert not began
    except NothingToConfirm:
        assert status is SHIPPED
    except UnknownOrderItem:
        assert told is not None
        assert told.keys() - items.keys()
    except QuantityTooLarge:
        assert told is not None
        assert any(quantity > items[key].quantity_unfulfilled for key, quantity in told.items() if key in items)
    else:
        assert began or not late
        assert all(quantity > 0 for quantity in decision.quantities.values())
        assert told is None or decision.quantities == told
        fulfilled = {key: item.quantity_fulfilled + decision.quantities.get(key, 0) for key, item in items.items()}
        assert all(fulfilled[key] <= items[key].quantity_ordered for key in items)
        complete = all(fulfilled[key] == items[key].quantity_ordered for key in items)
        assert decision.fulfillment_status is (SHIPPED if complete else PARTIALLY_SHIPPED)
        assert complete or told is not None
        assert decision.charges_order is not began


@given(items=st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 3)), max_size=3), data=st.data())
def test_the_digest_tells_contents_apart_and_not_the_order_or_offset_they_are_written_in(
    items: list[tuple[str, int]], data: st.DataObject
) -> None:
    one = replace(ALL_THAT_REMAINS, items=[ConfirmedItem(*item) for item in items])
    turned = replace(
        one,
        items=[ConfirmedItem(*item) for item in data.draw(st.permutations(items))],
        ship_date=one.ship_date.astimezone(),
    )
    others = [
        replace(one, carrier_code="DHL"),
        replace(one, carrier_name="UPS"),
        replace(one, shipping_method="UPS"),
        replace(one, tracking_number=None),
        replace(one, ship_date=one.ship_date + timedelta(microseconds=1)),
        replace(one, items=None),
        replace(one, items=[*(one.items or ()), ConfirmedItem("d", 1)]),
    ]

    assert turned.digest == one.digest
    assert len({each.digest for each in [one, *others]}) == len(others) + 1
    assert replace(one, package_reference_id="2").digest == one.digest

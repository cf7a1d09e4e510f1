"""What a confirmation does to an order (R8-R10, D2-D6), without a database."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import (
    ConfirmationWindowClosed,
    NothingToConfirm,
    OrderCancelled,
    OrderPending,
    PackageConflict,
    PlatformFulfilled,
    Problem,
    QuantityTooLarge,
    ShipDateOutOfRange,
    TooManyPackages,
    UnknownOrderItem,
)
from service.money import Money
from service.orders.rules import CONFIRMED, FulfilledBy, FulfillmentStatus, ItemState, OrderState, status_of
from service.shipments.rules import (
    MAX_PACKAGES,
    ConfirmedItem,
    Decision,
    KnownPackages,
    ShipmentConfirmation,
    decide,
    find_same,
    next_reference,
    refuse_too_many,
    ship_time,
)

PENDING, UNSHIPPED, PARTIALLY_SHIPPED, SHIPPED, CANCELLED = FulfillmentStatus
CONFIRM_BY = datetime(2026, 3, 18, 7, tzinfo=UTC)
BEFORE = CONFIRM_BY - timedelta(microseconds=1)

ORDER = OrderState(
    seller_id="A1SELLER",
    order_id="902-0000000-0000001",
    version=1,
    created_time=CONFIRM_BY - timedelta(days=17),
    fulfilled_by=FulfilledBy.MERCHANT,
    fulfillment_status=UNSHIPPED,
    payment_status="AUTHORIZED",
    ship_by_latest=CONFIRM_BY - timedelta(days=12),
    confirm_by=CONFIRM_BY,
    grand_total=Money(Decimal("50.00"), "USD"),
    confirmed_time=None,
    cancel_reason=None,
    cancellation_requested_time=None,
    cancellation_request_reason=None,
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
        (ORDER, ALL_THAT_REMAINS, Decision({"1": 2, "2": 1}, BEFORE, SHIPPED, charges_order=True)),
        (ORDER, of(item_1=1), Decision({"1": 1}, BEFORE, PARTIALLY_SHIPPED, charges_order=True)),
        (ORDER, of(item_1=2), Decision({"1": 2}, BEFORE, PARTIALLY_SHIPPED, charges_order=True)),
        (ORDER, of(item_2=1, item_1=2), Decision({"2": 1, "1": 2}, BEFORE, SHIPPED, charges_order=True)),
        (PARTLY, ALL_THAT_REMAINS, Decision({"1": 1, "2": 1}, BEFORE, SHIPPED, charges_order=False)),
        (PARTLY, of(item_2=1), Decision({"2": 1}, BEFORE, PARTIALLY_SHIPPED, charges_order=False)),
        (PARTLY, of(item_1=1, item_2=1), Decision({"1": 1, "2": 1}, BEFORE, SHIPPED, charges_order=False)),
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

    assert decide(PARTLY, ALL_THAT_REMAINS, late) == Decision({"1": 1, "2": 1}, BEFORE, SHIPPED, charges_order=False)


def test_the_ship_date_that_the_seller_typed_decides_nothing() -> None:
    early = replace(ALL_THAT_REMAINS, ship_date=ORDER.created_time)
    with pytest.raises(ConfirmationWindowClosed):
        decide(ORDER, early, CONFIRM_BY)
    assert decide(ORDER, replace(early, ship_date=CONFIRM_BY + timedelta(hours=23)), BEFORE).charges_order


@pytest.mark.parametrize(
    ("day", "created", "now", "meant"),
    [
        # Noon, where that is after the order and not ahead.
        ("2026-03-04", "2026-03-02T09:15:00", "2026-03-06T16:00:00", "2026-03-04T12:00:00"),
        # On the day of the order, or the day before in a calendar behind that of UTC: the order's time.
        ("2026-03-02", "2026-03-02T13:15:00", "2026-03-06T16:00:00", "2026-03-02T13:15:00"),
        ("2026-03-01", "2026-03-02T02:15:00", "2026-03-06T16:00:00", "2026-03-02T02:15:00"),
        # Today, or tomorrow in a calendar ahead of that of UTC: now.
        ("2026-03-06", "2026-03-02T09:15:00", "2026-03-06T08:00:00", "2026-03-06T08:00:00"),
        ("2026-03-07", "2026-03-02T09:15:00", "2026-03-06T22:00:00", "2026-03-06T22:00:00"),
        ("2026-02-28", "2026-03-02T02:15:00", "2026-03-06T16:00:00", None),
        ("2026-03-08", "2026-03-02T09:15:00", "2026-03-06T22:00:00", None),
    ],
)
def test_a_day_alone_stands_for_a_moment_of_it_that_is_possible(
    day: str, created: str, now: str, meant: str | None
) -> None:
    created_time, clock = (datetime.fromisoformat(each).replace(tzinfo=UTC) for each in (created, now))
    if meant is None:
        with pytest.raises(ShipDateOutOfRange):
            ship_time(date.fromisoformat(day), created_time, clock)
    else:
        told = ship_time(date.fromisoformat(day), created_time, clock)
        assert told == datetime.fromisoformat(meant).replace(tzinfo=UTC)


def known(package_count: int = 2, made_before: str | None = None, *, is_taken: bool = False) -> KnownPackages:
    return KnownPackages(package_count=package_count, greatest=2, made_before=made_before, is_taken=is_taken)


def test_a_package_without_a_number_is_the_one_that_it_made_before_or_the_next() -> None:
    nameless = replace(ALL_THAT_REMAINS, package_reference_id=None)

    assert find_same(nameless, known(made_before="7")) == "7"
    assert find_same(nameless, known()) is None
    assert next_reference(0) == "1"
    assert next_reference(10) == "11"
    # Nothing is greater than this one.
    assert next_reference(10**19 - 1) is None


def test_a_number_that_has_other_content_is_a_conflict() -> None:
    assert find_same(ALL_THAT_REMAINS, known(is_taken=True, made_before="1")) == "1"
    with pytest.raises(PackageConflict):
        find_same(ALL_THAT_REMAINS, known(is_taken=True))


def test_an_order_has_no_more_packages_than_it_can_show() -> None:
    refuse_too_many(known(package_count=MAX_PACKAGES - 1))
    with pytest.raises(TooManyPackages):
        refuse_too_many(known(package_count=MAX_PACKAGES))


def test_the_digest_of_a_day_is_the_days_own() -> None:
    # Broken by a digest of the moment that the day stands for, which depends on the clock.
    day = replace(ALL_THAT_REMAINS, ship_date=date(2026, 3, 4))
    assert day.digest == replace(day, ship_date=date(2026, 3, 4)).digest
    assert day.digest != replace(day, ship_date=datetime(2026, 3, 4, 12, tzinfo=UTC)).digest


def test_what_is_stored_of_earlier_confirmations_is_still_recognized() -> None:
    # The digest as version 0.1.0 wrote it, of a package without an address and without codes.
    content = ["UPS", None, None, "1Z", "2026-03-18T06:59:59.999999+00:00", [["1", 1], ["2", 1]]]
    stored = hashlib.sha256(orjson.dumps(content)).digest()

    assert of(item_2=1, item_1=1).digest == stored


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

    assert decide(order, ALL_THAT_REMAINS, BEFORE) == Decision({"1": 2}, BEFORE, SHIPPED, charges_order=True)
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
        ship_date=BEFORE.astimezone(),
    )
    others = [
        replace(one, carrier_code="DHL"),
        replace(one, carrier_name="UPS"),
        replace(one, shipping_method="UPS"),
        replace(one, tracking_number=None),
        replace(one, ship_date=one.ship_date + timedelta(microseconds=1)),
        replace(one, items=None),
        replace(one, items=[*(one.items or ()), ConfirmedItem("d", 1)]),
        replace(one, items=[*(one.items or ()), ConfirmedItem("d", 1, ["AZ:1"])]),
        replace(one, ship_from_address={"city": "Seattle"}),
        replace(one, ship_from_address={"city": "Salem"}),
    ]

    assert turned.digest == one.digest
    assert len({each.digest for each in [one, *others]}) == len(others) + 1
    same = replace(one, package_reference_id="2", override_cancellation_request=True)
    assert same.digest == one.digest

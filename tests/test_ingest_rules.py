from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.errors import ContradictoryOrder, OrderConflict, Problem
from service.ingest.contradictions import refuse_contradictions
from service.ingest.rules import (
    PAYMENT_STATUS_OF,
    IncomingOrder,
    StoredOrder,
    is_said_later,
    is_unchanged,
    refuse_conflicts,
)
from service.ingest.schemas import read_line
from service.orders.rules import CONFIRMED, FulfilledBy, FulfillmentStatus
from tests.conftest import CONFIRM_BY, NOW, SHIP_BY, order_document

EARLIER, LATER = NOW - timedelta(days=1), NOW + timedelta(days=1)
DELIVERED_TIME = "2026-03-01T00:00:00Z"
CHARGED = {"amount": {"amount": "50.0", "currencyCode": "USD"}, "chargeStatus": "SUCCEEDED"}
PACKAGE = {"packageReferenceId": "1", "packageItems": [{"orderItemId": "1", "quantity": 2}]}
REST = {"packageReferenceId": "2", "packageItems": [{"orderItemId": "2", "quantity": 1}]}
PARTLY: dict[str, Any] = {"fulfillment__fulfillmentStatus": "PARTIALLY_SHIPPED", "packages": [PACKAGE]}
WHOLLY: dict[str, Any] = {"fulfillment__fulfillmentStatus": "SHIPPED", "packages": [PACKAGE, REST]}
CANCELLED: dict[str, Any] = {"fulfillment__fulfillmentStatus": "CANCELLED"}
PENDING: dict[str, Any] = {"fulfillment__fulfillmentStatus": "PENDING"}
AFN: dict[str, Any] = {"fulfillment__fulfilledBy": "AMAZON"}


def incoming(**changes: object) -> IncomingOrder:
    return read_line(orjson.dumps(order_document(sellerId="A1SELLER", orderId="1", **changes)))


def item(key: str, ordered: int, **fulfillment: int) -> dict[str, Any]:
    return {"orderItemId": key, "quantityOrdered": ordered, "product": {}, "fulfillment": fulfillment}


def stored(order: IncomingOrder, channel_updated_time: datetime | None = None) -> StoredOrder:
    """Return the order as it is known once it has been received."""
    status = order.fulfillment_status
    has_window = order.ship_by_latest is not None and order.fulfilled_by is FulfilledBy.MERCHANT
    return StoredOrder(
        version=1,
        created_time=order.created_time,
        marketplace_id=order.marketplace_id,
        channel_name=order.channel_name,
        fulfilled_by=order.fulfilled_by,
        fulfillment_status=status,
        payment_status=order.payment_status or PAYMENT_STATUS_OF[status],
        ship_by_earliest=order.ship_by_earliest,
        ship_by_latest=order.ship_by_latest,
        confirm_by=CONFIRM_BY if has_window else None,
        policy_version=1,
        extended_until=None,
        grand_total=order.grand_total,
        confirmed_time=NOW if status in CONFIRMED else None,
        shipped_time=NOW if status is FulfillmentStatus.SHIPPED else None,
        cancelled_time=NOW if status is FulfillmentStatus.CANCELLED else None,
        cancel_reason="CANCELLED_BY_CHANNEL" if status is FulfillmentStatus.CANCELLED else None,
        channel_digest=order.channel_digest,
        channel_updated_time=channel_updated_time,
        items=order.item_states,
        packages={package.package_reference_id: package.quantities for package in order.packages},
    )


def pointers(problem: Problem) -> set[str | None]:
    return {error.pointer for error in problem.errors}


def conflicts(
    before: StoredOrder, order: IncomingOrder, confirm_by: datetime | None = CONFIRM_BY, now: datetime = NOW
) -> set[str | None]:
    try:
        refuse_conflicts(before, order, confirm_by, now)
    except OrderConflict as conflict:
        return pointers(conflict)
    return set()


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"orderItems": [item("1", 1), item("1", 2)]}, "/orderItems"),
        ({"orderItems": [item("1", 0)]}, "/orderItems"),
        ({"orderItems": [item("1", 1, quantityFulfilled=2)]}, "/orderItems/0/fulfillment/quantityFulfilled"),
        ({"orderItems": [item("1", 1, quantityUnfulfilled=2)]}, "/orderItems/0/fulfillment/quantityUnfulfilled"),
        (
            {"orderItems": [item("1", 3, quantityFulfilled=0, quantityUnfulfilled=2)]},
            "/orderItems/0/fulfillment/quantityUnfulfilled",
        ),
        ({"orderItems": [item("1", 1, quantityFulfilled=1)]}, "/fulfillment/fulfillmentStatus"),
        (PENDING | {"packages": [PACKAGE]}, "/fulfillment/fulfillmentStatus"),
        (PARTLY | {"packages": [PACKAGE, REST]}, "/fulfillment/fulfillmentStatus"),
        (WHOLLY | {"packages": [PACKAGE]}, "/fulfillment/fulfillmentStatus"),
        (WHOLLY | {"packages": None}, "/packages"),
        (CANCELLED | {"packages": [PACKAGE]}, "/fulfillment/fulfillmentStatus"),
        (PARTLY | {"packages": [PACKAGE, PACKAGE]}, "/packages"),
        (PARTLY | {"packages": [PACKAGE, {"packageReferenceId": "2"}]}, "/packages/1/packageItems"),
        (
            PARTLY | {"packages": [PACKAGE | {"packageItems": [{"orderItemId": "9", "quantity": 1}]}]},
            "/packages",
        ),
        (
            PARTLY | {"packages": [PACKAGE | {"packageStatus": {"status": "PENDING"}}]},
            "/packages/0/packageStatus/status",
        ),
        (
            PARTLY
            | {"packages": [PACKAGE | {"packageStatus": {"status": "SHIPPED"}, "deliveredTime": DELIVERED_TIME}]},
            "/packages/0/deliveredTime",
        ),
        ({"fulfillment__shipByWindow": None}, "/fulfillment/shipByWindow/latestDateTime"),
        (
            {"fulfillment__shipByWindow__earliestDateTime": (SHIP_BY + timedelta(seconds=1)).isoformat()},
            "/fulfillment/shipByWindow/earliestDateTime",
        ),
        (
            {
                "fulfillment__deliverByWindow": {
                    "earliestDateTime": "2026-03-02T00:00:00Z",
                    "latestDateTime": "2026-03-01T00:00:00Z",
                }
            },
            "/fulfillment/deliverByWindow/earliestDateTime",
        ),
        ({"proceeds": None}, "/proceeds/grandTotal"),
        ({"proceeds__grandTotal__amount": "-0.01"}, "/proceeds/grandTotal/amount"),
        ({"payment__paymentStatus": "CHARGED"}, "/payment/paymentStatus"),
        ({"payment__paymentStatus": "REFUNDED"}, "/payment/paymentStatus"),
        (PENDING | {"payment__paymentStatus": "AUTHORIZED"}, "/payment/paymentStatus"),
        (CANCELLED | {"payment__paymentStatus": "AUTHORIZED"}, "/payment/paymentStatus"),
        (PARTLY | {"payment__paymentStatus": "AUTHORIZED"}, "/payment/paymentStatus"),
        ({"payment__charge": {"chargedTime": "2026-03-01T00:00:00Z"}}, "/payment/charge"),
        (
            PARTLY | {"payment__charge__amount": {"amount": "50.01", "currencyCode": "USD"}},
            "/payment/charge/amount",
        ),
        (
            PARTLY | {"payment__charge__amount": {"amount": "50.00", "currencyCode": "EUR"}},
            "/payment/charge/amount",
        ),
        (PARTLY | {"payment__charge__chargeStatus": "DECLINED"}, "/payment/charge/chargeStatus"),
        ({"cancellation__cancelReason": "BUYER_REQUEST"}, "/cancellation"),
    ],
)  # fmt: skip
def test_an_order_that_contradicts_itself_is_refused_naming_the_place(changes: dict[str, Any], pointer: str) -> None:
    # Each row fails when its check is taken out of the rules.
    with pytest.raises(ContradictoryOrder) as caught:
        refuse_contradictions(incoming(**changes))
    assert pointer in pointers(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        PENDING | {"fulfillment__shipByWindow": None, "proceeds": None},
        PARTLY,
        WHOLLY | {"payment__paymentStatus": "REFUNDED"},
        PARTLY | {"payment__charge": CHARGED},
        CANCELLED | {"proceeds": None, "fulfillment__shipByWindow": None},
        CANCELLED | {"orderItems": [item("1", 0, quantityFulfilled=0, quantityUnfulfilled=0)]},
        CANCELLED | {"orderItems": [item("1", 3, quantityFulfilled=0, quantityUnfulfilled=0)]},
        AFN | {"fulfillment__shipByWindow": None},
        AFN | {"fulfillment__fulfillmentStatus": "SHIPPED"},
        AFN | WHOLLY | {"orderItems": [item("1", 2, quantityFulfilled=2), item("2", 1, quantityFulfilled=1)]},
        AFN | PARTLY | {"packages": None, "orderItems": [item("1", 2, quantityUnfulfilled=1)]},
        WHOLLY | {"packages": [PACKAGE | {"deliveredTime": DELIVERED_TIME}, REST]},
    ],
)  # fmt: skip
def test_an_order_may_come_at_any_point_of_its_life(changes: dict[str, Any]) -> None:
    refuse_contradictions(incoming(**changes))


def test_every_fault_is_named_and_not_only_the_first() -> None:
    with pytest.raises(ContradictoryOrder) as caught:
        refuse_contradictions(incoming(proceeds=None, fulfillment__shipByWindow=None, orderItems=[item("1", 0)]))
    assert pointers(caught.value) == {
        "/proceeds/grandTotal",
        "/fulfillment/shipByWindow/latestDateTime",
        "/orderItems",
    }


# What a channel may do, written a second time: (who ships, was, becomes).
ALLOWED = {
    *((who, same, same) for who in ("MERCHANT", "AMAZON") for same in FulfillmentStatus),
    *((who, "PENDING", to) for who in ("MERCHANT", "AMAZON") for to in ("UNSHIPPED", "CANCELLED")),
    *(("AMAZON", was, to) for was in ("PENDING", "UNSHIPPED") for to in ("PARTIALLY_SHIPPED", "SHIPPED")),
    ("AMAZON", "UNSHIPPED", "CANCELLED"),
    ("AMAZON", "PARTIALLY_SHIPPED", "SHIPPED"),
}
STATES = {"PENDING": PENDING, "UNSHIPPED": {}, "PARTIALLY_SHIPPED": PARTLY, "SHIPPED": WHOLLY, "CANCELLED": CANCELLED}


@pytest.mark.parametrize(
    ("fulfilled_by", "was", "becomes"), list(itertools.product(("MERCHANT", "AMAZON"), STATES, STATES))
)
def test_a_later_version_moves_the_status_only_where_the_channel_may(fulfilled_by: str, was: str, becomes: str) -> None:
    who = {"fulfillment__fulfilledBy": fulfilled_by}
    found = conflicts(stored(incoming(**who, **STATES[was])), incoming(**who, **STATES[becomes]))
    assert bool(found) is ((fulfilled_by, was, becomes) not in ALLOWED)
    if found:
        assert "/fulfillment/fulfillmentStatus" in found


@pytest.mark.parametrize(
    ("known", "changes", "expected"),
    [
        ({}, {"createdTime": LATER.isoformat()}, {"/createdTime"}),
        ({}, {"salesChannel__marketplaceId": "A1F83G8C2ARO7P"}, {"/salesChannel/marketplaceId"}),
        ({}, {"salesChannel__channelName": "NON_AMAZON"}, {"/salesChannel/channelName"}),
        (PENDING, PENDING | AFN, {"/fulfillment/fulfilledBy"}),
        ({}, {"proceeds__grandTotal__amount": "50.01"}, {"/proceeds/grandTotal"}),
        ({}, {"proceeds__grandTotal__amount": "50.0"}, set[str]()),
        ({}, {"orderItems": [item("1", 2)]}, {"/orderItems"}),
        ({}, {"orderItems": [item("1", 2), item("2", 2)]}, {"/orderItems"}),
        (PENDING, {"orderItems": [item("3", 1)], "proceeds__grandTotal__amount": "9.00"}, set[str]()),
        (PENDING, CANCELLED | {"orderItems": [item("1", 0)], "proceeds": None}, set[str]()),
        (AFN, AFN | CANCELLED | {"orderItems": [item("1", 0)], "proceeds": None}, set[str]()),
        (CANCELLED, CANCELLED | {"fulfillment__shipByWindow": None}, set[str]()),
        (PARTLY, PARTLY | {"packages": [PACKAGE | {"packageReferenceId": "3"}]}, {"/packages"}),
        (WHOLLY, PARTLY, {"/fulfillment/fulfillmentStatus"}),
        (
            PARTLY,
            PARTLY | {"packages": [PACKAGE | {"packageItems": [{"orderItemId": "1", "quantity": 1}]}]},
            {"/orderItems", "/packages"},
        ),
        (PARTLY, PARTLY | {"payment__paymentStatus": "REFUNDED"}, {"/payment/paymentStatus"}),
        (PARTLY, PARTLY | {"recipient__deliveryAddress__city": "Tacoma"}, set[str]()),
        (AFN | PARTLY, AFN | WHOLLY, set[str]()),
        (AFN | PARTLY, AFN | WHOLLY | {"packages": [REST], "orderItems": [
            item("1", 2, quantityFulfilled=2), item("2", 1, quantityFulfilled=1)]}, {"/packages"}),
    ],
)  # fmt: skip
def test_a_later_version_changes_only_what_the_channel_owns(
    known: dict[str, Any], changes: dict[str, Any], expected: set[str]
) -> None:
    assert conflicts(stored(incoming(**known)), incoming(**changes)) == expected


WINDOW: dict[str, Any] = {"fulfillment__shipByWindow": {"latestDateTime": LATER.isoformat()}}
IN_TIME, TOO_LATE = CONFIRM_BY - timedelta(microseconds=1), CONFIRM_BY


@pytest.mark.parametrize(
    ("known", "changes", "now", "may"),
    [
        ({}, WINDOW, IN_TIME, True),
        ({}, WINDOW, TOO_LATE, False),  # `>` for `>=` in window_is_closed lets a closed window open again (D2).
        ({}, {}, TOO_LATE, True),
        (PENDING, PENDING | WINDOW, TOO_LATE, True),
        (PENDING, WINDOW, TOO_LATE, True),
        (PARTLY, PARTLY | WINDOW, IN_TIME, False),
        (WHOLLY, WHOLLY | WINDOW, IN_TIME, False),
        (CANCELLED, CANCELLED | WINDOW, TOO_LATE, True),  # It keeps its own.
        (AFN, AFN | WINDOW, TOO_LATE, True),
        (AFN | WHOLLY, AFN | WHOLLY | {"fulfillment__shipByWindow": None}, TOO_LATE, True),
    ],
)
def test_the_window_changes_before_any_confirmation_and_before_the_deadline_only(
    known: dict[str, Any], changes: dict[str, Any], now: datetime, *, may: bool
) -> None:
    later_deadline = CONFIRM_BY + timedelta(days=30)
    found = conflicts(stored(incoming(**known)), incoming(**changes), later_deadline, now)
    assert found == (set[str]() if may else {"/fulfillment/shipByWindow"})


def test_no_window_is_closed_after_the_fact() -> None:
    order = incoming(**WINDOW)
    assert conflicts(stored(incoming()), order, NOW, NOW) == {"/fulfillment/shipByWindow"}
    assert conflicts(stored(incoming()), order, NOW + timedelta(microseconds=1), NOW) == set()


def test_the_same_content_is_unchanged_however_its_members_are_ordered() -> None:
    document = order_document(sellerId="A1SELLER")
    turned = dict(reversed(document.items())) | {
        "version": 7,
        "lastUpdatedTime": NOW.isoformat(),
        "warnings": list[Any](),
    }
    first, second = read_line(orjson.dumps(document)), read_line(orjson.dumps(turned))
    assert is_unchanged(stored(first), second)
    assert not is_unchanged(stored(first), incoming(buyer__buyerName="Grace Example"))


@pytest.mark.parametrize(
    ("known", "told", "unchanged", "later"),
    [
        (NOW, EARLIER, True, False),
        (NOW, NOW, False, False),
        (NOW, LATER, False, True),
        (None, NOW, False, True),
        (NOW, None, False, False),
    ],
)
def test_an_older_version_is_unchanged(
    known: datetime | None, told: datetime | None, *, unchanged: bool, later: bool
) -> None:
    before = stored(incoming(), channel_updated_time=known)
    order = incoming(buyer__buyerName="Grace Example", lastUpdatedTime=told.isoformat() if told else None)
    assert is_unchanged(before, order) is unchanged
    assert is_said_later(before, order) is later


@st.composite
def consistent_orders(draw: st.DrawFn, fulfilled_by: str | None = None) -> dict[str, Any]:
    """Draw changes that make an order which agrees with itself, at any point of its life."""
    ordered = draw(st.lists(st.integers(0, 3), min_size=1, max_size=3).filter(any))
    packed = [[draw(st.integers(0, 1)) for _ in range(2)] for _ in ordered]
    if draw(st.booleans()):
        packed = [[units, 0] for units in ordered]
    packed = [[min(first, units), min(second, units - min(first, units))]
              for units, (first, second) in zip(ordered, packed, strict=True)]  # fmt: skip
    fulfilled = sum(map(sum, packed))
    status = "SHIPPED" if fulfilled == sum(ordered) else "PARTIALLY_SHIPPED"
    if not fulfilled:
        status = draw(st.sampled_from(["PENDING", "UNSHIPPED", "CANCELLED"]))
    packages = [
        {
            "packageReferenceId": str(number + 1),
            "packageItems": [
                {"orderItemId": str(index), "quantity": units[number]}
                for index, units in enumerate(packed)
                if units[number]
            ],
        }
        for number in range(2)
    ]
    return {
        "orderItems": [item(str(index), units) for index, units in enumerate(ordered)],
        "packages": [package for package in packages if package["packageItems"]],
        "fulfillment__fulfillmentStatus": status,
        "fulfillment__fulfilledBy": fulfilled_by or draw(st.sampled_from(["MERCHANT", "AMAZON"])),
        "fulfillment__shipByWindow__latestDateTime": draw(st.sampled_from([SHIP_BY, LATER])).isoformat(),
        "proceeds__grandTotal__amount": draw(st.sampled_from(["50.00", "60.00"])),
    }


@given(consistent_orders(), st.data())
def test_an_order_that_agrees_is_taken_and_one_unit_more_or_less_is_refused(
    changes: dict[str, Any], data: st.DataObject
) -> None:
    order = incoming(**changes)
    refuse_contradictions(order)
    index = data.draw(st.integers(0, len(order.items) - 1))
    changed = order.items[index]
    step = data.draw(st.sampled_from([-1, 1]))
    state = replace(changed.state, quantity_fulfilled=changed.state.quantity_fulfilled + step)
    items = (*order.items[:index], replace(changed, state=state), *order.items[index + 1 :])
    is_platforms = order.fulfilled_by is FulfilledBy.AMAZON and step > 0 and state.quantity_unfulfilled >= 0
    if is_platforms:
        return  # The platform may have more fulfilled than its packages tell.
    with pytest.raises(ContradictoryOrder):
        refuse_contradictions(replace(order, items=items))


@settings(max_examples=400)
@given(st.sampled_from(["MERCHANT", "AMAZON"]), st.data())
def test_no_later_version_that_is_taken_undoes_what_has_happened(fulfilled_by: str, data: st.DataObject) -> None:
    # Taking any line out of _progress_conflicts or _identity_conflicts is found here or in the tables above.
    order = incoming(**data.draw(consistent_orders(fulfilled_by)))
    before, later = stored(order), incoming(**data.draw(consistent_orders(fulfilled_by)))
    now = data.draw(st.sampled_from([IN_TIME, TOO_LATE]))
    try:
        refuse_conflicts(before, later, CONFIRM_BY + timedelta(days=1), now)
    except OrderConflict:
        return
    was, becomes = before.fulfillment_status, later.fulfillment_status
    if was is FulfillmentStatus.CANCELLED:
        assert becomes is was
        return
    if becomes is FulfillmentStatus.CANCELLED:
        assert was not in CONFIRMED
        return
    assert list(FulfillmentStatus).index(becomes) >= list(FulfillmentStatus).index(was)
    if was is not FulfillmentStatus.PENDING:
        assert later.grand_total == before.grand_total
        assert {key: state.quantity_ordered for key, state in later.item_states.items()} == {
            key: state.quantity_ordered for key, state in before.items.items()
        }
        for key, state in before.items.items():
            assert later.item_states[key].quantity_fulfilled >= state.quantity_fulfilled
    told = {package.package_reference_id: package.quantities for package in later.packages}
    assert before.packages.items() <= told.items()
    if fulfilled_by == "MERCHANT":
        assert becomes not in CONFIRMED or becomes is was
        if was in CONFIRMED:
            assert told == before.packages
        if was in CONFIRMED or (was is FulfillmentStatus.UNSHIPPED and now >= CONFIRM_BY):
            assert later.ship_by_latest == before.ship_by_latest


def test_the_tables_are_about_the_deadline_they_say() -> None:
    order = incoming()
    assert order.ship_by_latest == SHIP_BY
    assert stored(order).confirm_by == CONFIRM_BY == datetime(2026, 3, 18, 7, tzinfo=UTC)

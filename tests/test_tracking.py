"""Carriers tell how far packages have got, in any order and repeatedly."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import reduce
from itertools import permutations
from typing import Any, TypeAlias

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from service.tracking.rules import PackageProgress, TrackedStatus, TrackingEvent, after
from tests.conftest import NOW, SELLER, ApiClient, confirmation, order_document

Json: TypeAlias = Any
Clock = Callable[[datetime | str], datetime]
IN_TRANSIT, UNDELIVERABLE, DELIVERED = TrackedStatus
HOUR = timedelta(hours=1)
CONFIRMED = PackageProgress(status="SHIPPED", detailed_status=None, tracking_time=None, delivered_time=None)


def wire(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def told(status: TrackedStatus, hours: int, detailed_status: str | None = None) -> TrackingEvent:
    return TrackingEvent(status, NOW + hours * HOUR, detailed_status)


# Without a database.


EVENTS = st.lists(
    st.builds(told, st.sampled_from(TrackedStatus), st.integers(0, 3), st.sampled_from([None, "LOST", "PICKED_UP"])),
    min_size=1,
    max_size=6,
)
BEGINNINGS = st.sampled_from(
    [
        CONFIRMED,
        PackageProgress(status="UNDELIVERABLE", detailed_status="LOST", tracking_time=None, delivered_time=None),
        PackageProgress(status="DELIVERED", detailed_status="LOST", tracking_time=None, delivered_time=NOW + HOUR),
    ]
)


@given(beginning=BEGINNINGS, events=EVENTS, data=st.data())
def test_the_end_depends_on_what_was_told_and_neither_on_its_order_nor_on_repeats(
    beginning: PackageProgress, events: list[TrackingEvent], data: st.DataObject
) -> None:
    repeated = data.draw(st.permutations(events + data.draw(st.lists(st.sampled_from(events), max_size=4))))

    assert reduce(after, repeated, beginning) == reduce(after, events, beginning)


@given(events=EVENTS)
def test_the_end_is_what_the_rules_say_of_all_events_together(events: list[TrackingEvent]) -> None:
    # The same rules, told of a set: broken by a rank that forgets one of them.
    end = reduce(after, events, CONFIRMED)
    deliveries = [each.event_time for each in events if each.status is DELIVERED]
    time = min(deliveries) if deliveries else max(each.event_time for each in events)
    statuses = {each.status for each in events if each.event_time == time}
    status = next(
        each
        for each in (DELIVERED, UNDELIVERABLE, IN_TRANSIT)
        if each in statuses and (deliveries or each != DELIVERED)
    )
    texts = [each.detailed_status or "" for each in events if (each.event_time, each.status) == (time, status)]

    assert (end.status, end.tracking_time) == (status, time)
    assert end.delivered_time == (time if deliveries else None)
    assert (end.detailed_status or "") == max(texts)


# Over HTTP.


@pytest.fixture
def carrier(client_of: Callable[[str | None, list[str]], ApiClient]) -> ApiClient:
    """Return a client that a seller's carrier has."""
    return client_of(SELLER, ["tracking:write"])


def units(item: str, quantity: int) -> dict[str, Any]:
    return {"orderItemId": item, "quantity": quantity}


def track(
    client: ApiClient,
    order: dict[str, Any],
    status: str,
    time: datetime,
    reference: str = "1",
    body: Json | None = None,
) -> TestResponse:
    told_so: dict[str, Any] = {"status": status, "eventTime": time.isoformat()} | (body or {})
    return client.post(f"/v1/orders/{order['orderId']}/packages/{reference}/tracking-events", told_so)


def tracked(client: ApiClient, order: dict[str, Any], *event: Any, **body: Json) -> dict[str, Any]:
    response = track(client, order, *event, body=body)
    assert response.status_code == 200, response.text
    return response.get_json()


def refusal(response: TestResponse, status: int, code: str) -> list[str | None]:
    assert response.status_code == status, response.text
    assert response.get_json()["type"] == f"urn:manage-orders:problem:{code}", response.text
    return [error.get("pointer") for error in response.get_json().get("errors", [])]


def shown(client: ApiClient, order: dict[str, Any]) -> dict[str, Any]:
    return client.get(f"/v1/orders/{order['orderId']}").get_json()


def confirm(client: ApiClient, order: dict[str, Any], reference: str, *items: dict[str, Any]) -> dict[str, Any]:
    body = confirmation(reference) | ({"orderItems": list(items)} if items else {})
    response = client.post(f"/v1/orders/{order['orderId']}/shipment-confirmations", body)
    assert response.status_code == 201, response.text
    return response.get_json()


def events(owner: psycopg.Connection, order: dict[str, Any]) -> list[tuple[Any, ...]]:
    query = (
        "SELECT version, actor, details FROM order_events WHERE order_id = %s AND event_type = 'PACKAGE_TRACKED' "
        "ORDER BY version"
    )
    return owner.execute(query, (order["orderId"],)).fetchall()


def test_what_a_carrier_tells_is_shown_and_kept_as_an_event(
    seller: ApiClient, carrier: ApiClient, received: dict[str, Any], owner: psycopg.Connection
) -> None:
    order = confirm(seller, received, "1", units("1", 1))
    package = tracked(carrier, order, "IN_TRANSIT", NOW + HOUR, detailedStatus="PICKED_UP")
    ((token_id,),) = owner.execute("SELECT token_id::text FROM tokens WHERE scopes = '{tracking:write}'").fetchall()

    assert package == order["packages"][0] | {
        "packageStatus": {"status": "IN_TRANSIT", "detailedStatus": "PICKED_UP"},
        "version": 2,
    }
    assert shown(seller, order)["packages"] == [package]
    assert shown(seller, order)["version"] == order["version"] + 1
    tracked(carrier, order, "DELIVERED", NOW + 2 * HOUR)
    assert events(owner, order) == [
        (
            order["version"] + 1,
            f"carrier:{token_id}",
            {
                "packageReferenceId": "1",
                "carrierCode": "UPS",
                "eventTime": wire(NOW + HOUR),
                "packageStatus": {"was": "SHIPPED", "is": "IN_TRANSIT"},
                "detailedStatus": {"was": None, "is": "PICKED_UP"},
            },
        ),
        (
            order["version"] + 2,
            f"carrier:{token_id}",
            {
                "packageReferenceId": "1",
                "carrierCode": "UPS",
                "eventTime": wire(NOW + 2 * HOUR),
                "packageStatus": {"was": "IN_TRANSIT", "is": "DELIVERED"},
                "detailedStatus": {"was": "PICKED_UP", "is": None},
                "deliveredTime": {"was": None, "is": wire(NOW + 2 * HOUR)},
            },
        ),
    ]


def test_in_whatever_order_events_come_the_order_ends_the_same(
    seller: ApiClient, carrier: ApiClient, set_clock: Clock
) -> None:
    set_clock(NOW)
    story = [
        ("IN_TRANSIT", NOW),
        ("UNDELIVERABLE", NOW + 2 * HOUR),
        ("DELIVERED", NOW + HOUR),
        ("DELIVERED", NOW + 3 * HOUR),
    ]
    ends: set[str] = set()
    for number, told_so in enumerate(permutations(story)):
        if number % 4:  # six of the 24 are enough: each event is once the first
            continue
        order = seller.post("/v1/orders", order_document()).get_json()
        confirm(seller, order, "1")
        for event in (*told_so, *told_so[:2]):
            tracked(carrier, order, *event)
        end = shown(seller, order)
        (package,) = end["packages"]
        ends.add(f"{package['packageStatus']} {package['deliveredTime']} {end['fulfillment']['deliveredTime']}")

    assert ends == {f"{{'status': 'DELIVERED'}} {wire(NOW + HOUR)} {wire(NOW + HOUR)}"}


def test_what_tells_nothing_new_changes_nothing(
    seller: ApiClient, carrier: ApiClient, received: dict[str, Any], owner: psycopg.Connection
) -> None:
    order = confirm(seller, received, "1")
    tracked(carrier, order, "UNDELIVERABLE", NOW + HOUR, detailedStatus="LOST")
    before = shown(seller, order)
    for event in (("UNDELIVERABLE", NOW + HOUR), ("IN_TRANSIT", NOW + HOUR), ("IN_TRANSIT", NOW)):
        assert tracked(carrier, order, *event) == before["packages"][0]

    assert shown(seller, order) == before
    assert len(events(owner, order)) == 1


def test_an_order_is_delivered_with_its_last_package(
    seller: ApiClient, carrier: ApiClient, received: dict[str, Any]
) -> None:
    def delivered() -> str | None:
        return shown(seller, received)["fulfillment"].get("deliveredTime")

    confirm(seller, received, "1", units("1", 1))
    tracked(carrier, received, "DELIVERED", NOW + 5 * HOUR)
    assert delivered() is None  # not all is shipped
    confirm(seller, received, "2", units("1", 1))
    confirm(seller, received, "3", units("2", 1))
    tracked(carrier, received, "DELIVERED", NOW + 2 * HOUR, "2")
    assert delivered() is None
    tracked(carrier, received, "DELIVERED", NOW + 3 * HOUR, "3")
    assert delivered() == wire(NOW + 5 * HOUR)
    # An earlier time of the last one makes another one the last.
    tracked(carrier, received, "DELIVERED", NOW + HOUR, "1")
    assert delivered() == wire(NOW + 3 * HOUR)


def test_packages_of_the_platform_are_tracked_too(seller: ApiClient, carrier: ApiClient, set_clock: Clock) -> None:
    set_clock(NOW)
    items = [units("1", 2), units("2", 1)]
    order = order_document(
        fulfillment__fulfilledBy="AMAZON",
        fulfillment__fulfillmentStatus="SHIPPED",
        packages=[
            {"packageReferenceId": "1", "packageStatus": {"status": "UNDELIVERABLE"}, "packageItems": items},
        ],
    )
    assert seller.post("/v1/orders", order).status_code == 201
    # What came with the order has no time of its own: the first word of the carrier outweighs it.
    assert tracked(carrier, order, "IN_TRANSIT", NOW - 23 * HOUR)["packageStatus"] == {"status": "IN_TRANSIT"}
    tracked(carrier, order, "DELIVERED", NOW)

    assert shown(seller, order)["fulfillment"]["deliveredTime"] == wire(NOW)


@pytest.mark.parametrize(
    ("time", "is_taken"),
    [
        (NOW - 24 * HOUR, True),
        (NOW - 24 * HOUR - timedelta(microseconds=1), False),
        (NOW + 24 * HOUR, True),
        (NOW + 24 * HOUR + timedelta(minutes=1), False),
    ],
)
def test_an_event_before_the_order_or_more_than_a_day_ahead_is_refused(
    time: datetime, *, is_taken: bool, seller: ApiClient, carrier: ApiClient, received: dict[str, Any]
) -> None:
    order = confirm(seller, received, "1")
    response = track(carrier, order, "DELIVERED", time)

    if is_taken:
        assert response.status_code == 200
    else:
        assert refusal(response, 422, "tracking-time-out-of-range") == ["/eventTime"]
        assert shown(seller, order) == order


def test_what_is_not_there_or_not_a_carriers_is_refused(
    seller: ApiClient, carrier: ApiClient, received: dict[str, Any]
) -> None:
    order = confirm(seller, received, "1")

    assert refusal(track(carrier, order, "DELIVERED", NOW, "2"), 404, "package-not-found") == []
    assert refusal(track(carrier, {"orderId": "902-9"}, "DELIVERED", NOW), 404, "order-not-found") == []
    # A seller does not say that its own parcels have arrived.
    assert refusal(track(seller, order, "DELIVERED", NOW), 403, "forbidden") == []


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({"status": "SHIPPED"}, ["/status"]),
        ({"status": None}, ["/status"]),
        ({"eventTime": "2026-03-02"}, ["/eventTime"]),
        ({"detailedStatus": ""}, ["/detailedStatus"]),
        ({"detailedStatus": "x" * 51}, ["/detailedStatus"]),
        ({"location": "Seattle"}, ["/location"]),
    ],
)
def test_an_event_that_breaks_the_contract_is_refused_with_each_place(
    body: dict[str, Any], pointers: list[str], seller: ApiClient, carrier: ApiClient, received: dict[str, Any]
) -> None:
    order = confirm(seller, received, "1")

    assert refusal(track(carrier, order, "IN_TRANSIT", NOW, body=body), 422, "invalid-request") == pointers


def test_events_told_at_once_are_none_of_them_lost(
    seller: ApiClient, carrier: ApiClient, received: dict[str, Any], owner: psycopg.Connection
) -> None:
    # Broken by reading the package before the order is locked.
    order = confirm(seller, received, "1")
    with ThreadPoolExecutor(8) as threads:
        for each in [threads.submit(tracked, carrier, order, "DELIVERED", NOW + hour * HOUR) for hour in range(8)]:
            each.result()

    assert shown(seller, order)["fulfillment"]["deliveredTime"] == wire(NOW)
    times_told = [each[2]["deliveredTime"] for each in events(owner, order)]
    assert [each["is"] for each in times_told[:-1]] == [each["was"] for each in times_told[1:]]

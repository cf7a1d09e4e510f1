"""The timeline of an order: each change with who made it, what was before and after, and how the order stood then."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest

from service.cancellation_job.actions import sweep
from service.database import Database
from service.events.rules import Actor, ActorType, Change, read_details
from tests.conftest import CONFIRM_BY, NOW, SHIP_BY, ApiClient, confirmation, order_document

Clock = Callable[[datetime], datetime]


def events(client: ApiClient, order_id: str, **query: Any) -> list[dict[str, Any]]:
    response = client.get(f"/v1/orders/{order_id}/events", **query)
    assert response.status_code == 200, response.text
    return response.get_json()["events"]


def changes(event: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {each["field"]: (each["was"], each["is"]) for each in event["changes"]}


def test_each_change_is_told_with_its_actor_and_how_the_order_stood_afterwards(
    seller: ApiClient, received: dict[str, Any], set_clock: Clock, owner: psycopg.Connection
) -> None:
    order_id = received["orderId"]
    package = f"/v1/orders/{order_id}/shipment-confirmations"
    token_id = owner.execute("SELECT token_id::text FROM tokens").fetchall()[0][0]
    assert seller.post(package, confirmation("1", orderItems=[{"orderItemId": "1", "quantity": 2}])).status_code == 201
    set_clock(SHIP_BY + timedelta(hours=1))
    assert seller.post(package, confirmation("2", orderItems=[{"orderItemId": "2", "quantity": 1}])).status_code == 201
    arrived, first, last = events(seller, order_id)

    assert [each["version"] for each in (arrived, first, last)] == [1, 2, 3]
    assert {each["actor"]["type"] for each in (arrived, first, last)} == {"TOKEN"}
    assert {each["actor"]["id"] for each in (arrived, first, last)} == {token_id}
    assert (arrived["eventType"], arrived["changes"]) == ("ORDER_RECEIVED", [])
    assert arrived["details"] == {"fulfillmentStatus": "UNSHIPPED"}
    assert changes(first)["fulfillmentStatus"] == ("UNSHIPPED", "PARTIALLY_SHIPPED")
    assert first["details"]["orderItems"] == [{"orderItemId": "1", "quantity": 2}]
    assert "fulfillmentStatus" not in first["details"]
    stood = [(each["fulfillmentStatus"], each["shipmentIsLate"]) for each in (arrived, first, last)]
    assert stood == [("UNSHIPPED", False), ("PARTIALLY_SHIPPED", False), ("SHIPPED", False)]
    assert first["eventTime"] < last["eventTime"]
    updated = seller.get(f"/v1/orders/{order_id}").get_json()["lastUpdatedTime"]
    assert datetime.fromisoformat(updated) == datetime.fromisoformat(last["eventTime"])


def test_a_cancellation_for_want_of_a_confirmation_names_its_run(
    seller: ApiClient, received: dict[str, Any], set_clock: Clock, database: Database
) -> None:
    set_clock(CONFIRM_BY)
    run = sweep(database, requested_by="test")
    cancelled = events(seller, received["orderId"])[-1]

    assert run is not None
    assert cancelled["actor"] == {"type": "CANCELLATION_RUN", "id": str(run.run_id)}
    assert cancelled["cancellationRunId"] == str(run.run_id)
    assert cancelled["details"]["cancelReason"] == "NOT_CONFIRMED_IN_TIME"
    assert changes(cancelled)["fulfillmentStatus"] == ("UNSHIPPED", "CANCELLED")
    assert (cancelled["fulfillmentStatus"], cancelled["shipmentIsLate"]) == ("CANCELLED", False)


def test_a_later_version_of_the_channel_tells_what_it_changed(seller: ApiClient, set_clock: Clock) -> None:
    # Broken by telling what is the same, and by a value that the order does not show afterwards.
    set_clock(NOW)
    pending = order_document(fulfillment__fulfillmentStatus="PENDING", fulfillment__shipByWindow=None)
    pending["proceeds"]["grandTotal"]["amount"] = "49.50"
    order_id = pending["orderId"]
    unshipped = order_document(orderId=order_id)
    moved = order_document(
        orderId=order_id, fulfillment__shipByWindow={"latestDateTime": (SHIP_BY + timedelta(days=3)).isoformat()}
    )
    renamed = moved | {"buyer": {"buyerName": "Ada Example"}}
    assert [seller.post("/v1/orders", each).status_code for each in (pending, unshipped, moved, renamed)] == [
        201, 200, 200, 200,
    ]  # fmt: skip
    order = seller.get(f"/v1/orders/{order_id}").get_json()
    _, authorized, shifted, other = events(seller, order_id)

    assert changes(authorized) == {
        "fulfillmentStatus": ("PENDING", "UNSHIPPED"),
        "paymentStatus": (None, "AUTHORIZED"),
        "shipBy": (None, "2026-03-06T20:00:00Z"),
        "confirmBy": (None, "2026-03-18T07:00:00Z"),
        "grandTotal": (
            {"amount": "49.50", "currencyCode": "USD"},
            {"amount": "50.00", "currencyCode": "USD"},
        ),
    }
    assert changes(shifted) == {
        "shipBy": ("2026-03-06T20:00:00Z", order["fulfillment"]["shipByWindow"]["latestDateTime"]),
        "confirmBy": ("2026-03-18T07:00:00Z", order["fulfillment"]["confirmBy"]),
    }
    assert (changes(other), other["details"]) == ({}, {})


def test_a_cancellation_by_the_channel_leaves_the_terms_as_they_were(seller: ApiClient, set_clock: Clock) -> None:
    # Broken by telling the 0 that some channels send for all of a cancelled order.
    set_clock(NOW)
    pending = order_document(fulfillment__fulfillmentStatus="PENDING")
    assert seller.post("/v1/orders", pending).status_code == 201
    cancelled = order_document(
        orderId=pending["orderId"], fulfillment__fulfillmentStatus="CANCELLED", fulfillment__shipByWindow=None
    )
    cancelled["proceeds"]["grandTotal"]["amount"] = "0"
    assert seller.post("/v1/orders", cancelled).status_code == 200
    told = events(seller, pending["orderId"])[-1]

    assert changes(told) == {"fulfillmentStatus": ("PENDING", "CANCELLED"), "paymentStatus": (None, "UNPAID")}


def test_a_refund_by_the_platform_of_its_own_order_is_told(seller: ApiClient, set_clock: Clock) -> None:
    set_clock(NOW)
    package = {
        "packageReferenceId": "1",
        "packageItems": [{"orderItemId": "1", "quantity": 2}, {"orderItemId": "2", "quantity": 1}],
    }
    platforms: dict[str, Any] = {"fulfillment__fulfilledBy": "AMAZON", "fulfillment__fulfillmentStatus": "SHIPPED"}
    charged = order_document(**platforms, packages=[package])
    assert seller.post("/v1/orders", charged).status_code == 201
    refunded = charged | {"payment": {"paymentStatus": "REFUNDED"}}
    assert seller.post("/v1/orders", refunded).status_code == 200

    assert changes(events(seller, charged["orderId"])[-1]) == {"paymentStatus": ("CHARGED", "REFUNDED")}


def test_pages_show_every_event_once_in_order(
    seller: ApiClient, operator: ApiClient, received: dict[str, Any], set_clock: Clock
) -> None:
    # Broken by a token that is good for another order: it would begin in the middle of a history.
    order_id, token, seen = received["orderId"], "", list[int]()
    package = f"/v1/orders/{order_id}/shipment-confirmations"
    for number, item in ((1, "1"), (2, "1"), (3, "2")):
        body = confirmation(str(number), orderItems=[{"orderItemId": item, "quantity": 1}])
        assert seller.post(package, body).status_code == 201
    set_clock(NOW + timedelta(days=1))
    while True:
        query = {"maxResultsPerPage": "3"} | ({"paginationToken": token} if token else {})
        page = operator.get(f"/v1/orders/{order_id}/events", sellerId=received["sellerId"], **query).get_json()
        seen += [each["version"] for each in page["events"]]
        if "pagination" not in page:
            break
        token = page["pagination"]["nextToken"]

    assert seen == [1, 2, 3, 4]
    other = seller.post("/v1/orders", order_document()).get_json()["orderId"]
    refused = seller.get(f"/v1/orders/{other}/events", paginationToken=token)
    assert refused.status_code == 422
    assert refused.get_json()["errors"][0]["parameter"] == "paginationToken"


def test_only_the_seller_of_an_order_sees_its_history(
    seller: ApiClient, other_seller: ApiClient, received: dict[str, Any], client_of: Callable[..., ApiClient]
) -> None:
    path = f"/v1/orders/{received['orderId']}/events"

    assert other_seller.get(path).get_json()["type"] == "urn:manage-orders:problem:order-not-found"
    assert seller.get("/v1/orders/902-9999999-9999999/events").status_code == 404
    assert seller.get(path, order="newest").status_code == 422
    assert client_of(received["sellerId"], ["orders:write"]).get(path).status_code == 403


def test_an_event_from_before_these_facts_were_kept_leaves_them_out(
    seller: ApiClient, received: dict[str, Any], owner: psycopg.Connection
) -> None:
    owner.execute("UPDATE order_events SET fulfillment_status = NULL, shipment_is_late = NULL, actor = 'demo'")

    (event,) = events(seller, received["orderId"])
    assert not {"fulfillmentStatus", "shipmentIsLate", "cancellationRunId"} & event.keys()
    assert event["actor"] == {"type": "OTHER", "id": "demo"}


@pytest.mark.parametrize(
    ("text", "actor"),
    [
        ("token:13a16741", Actor(ActorType.TOKEN, "13a16741")),
        ("carrier:13a16741", Actor(ActorType.CARRIER, "13a16741")),
        ("cancellation-run:5f0c", Actor(ActorType.CANCELLATION_RUN, "5f0c")),
        ("deadline-change:7c9e", Actor(ActorType.DEADLINE_CHANGE, "7c9e")),
        ("command-line", Actor(ActorType.COMMAND_LINE, None)),
        ("payments", Actor(ActorType.PAYMENTS, None)),
        ("robot:7", Actor(ActorType.OTHER, "robot:7")),
    ],
)
def test_an_actor_is_read_as_it_was_written(text: str, actor: Actor) -> None:
    assert Actor.read(text) == actor


def test_only_members_that_hold_both_sides_and_nothing_else_are_changes() -> None:
    details: dict[str, Any] = {
        "carrierCode": {"was": None, "is": "UPS"},
        "amount": {"amount": "1", "currencyCode": "USD"},
        "half": {"was": 1},
        "more": {"was": 1, "is": 2, "why": 3},
    }

    assert read_details(details) == (
        [Change("carrierCode", None, "UPS")],
        {name: details[name] for name in ("amount", "half", "more")},
    )

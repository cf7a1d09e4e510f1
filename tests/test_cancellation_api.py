"""Orders are cancelled over HTTP, by their sellers only, and buyers ask for it (R9, R10, D2, D3, D5, D6)."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, TypeAlias

import psycopg
import pytest
from werkzeug.test import TestResponse

from service.cancellation.schemas import CANCELLED_ORDER, REQUESTED_ORDER
from service.cancellation_job.actions import sweep
from service.database import Database
from service.orders.examples import INCOMING_ORDER, NEW_ORDER
from tests.conftest import CONFIRM_BY, NOW, SELLER, ApiClient, confirmation, order_document

Json: TypeAlias = Any
Clock = Callable[[datetime | str], datetime]
ClientOf = Callable[..., ApiClient]
Order = dict[str, Any]
PROBLEM = "urn:manage-orders:problem:"
LATE = CONFIRM_BY + timedelta(hours=1)


def receive(client: ApiClient, **changes: Json) -> Order:
    response = client.post("/v1/orders", order_document(**changes))
    assert response.status_code == 201, response.text
    return response.get_json()


def show(client: ApiClient, order: Order) -> Order:
    return client.get(f"/v1/orders/{order['orderId']}").get_json()


def cancel(client: ApiClient, order: Order, reason: str = "NO_INVENTORY", **query: str) -> TestResponse:
    return client.post(f"/v1/orders/{order['orderId']}/cancellation", {"cancelReasonCode": reason}, **query)


def confirm(client: ApiClient, order: Order, **changes: Json) -> TestResponse:
    return client.post(f"/v1/orders/{order['orderId']}/shipment-confirmations", confirmation(**changes))


def done(response: TestResponse) -> Order:
    assert response.status_code == 200, response.text
    return response.get_json()


def refusal(response: TestResponse, status: int, code: str) -> list[str | None]:
    """Return the pointers of a refusal, which must be of this kind."""
    assert response.status_code == status, response.text
    body = response.get_json()
    assert body["type"] == PROBLEM + code, body
    return [error.get("pointer") for error in body.get("errors", [])]


@pytest.fixture
def channel(client_of: ClientOf) -> ApiClient:
    """Return a client of the channel that the first seller's orders come from."""
    return client_of(SELLER, ["channel:write"])


def ask(channel: ApiClient, order: Order, cancel_reason: str | None = None) -> TestResponse:
    body = {} if cancel_reason is None else {"cancelReason": cancel_reason}
    return channel.post(f"/v1/orders/{order['orderId']}/cancellation-request", body)


def withdraw(channel: ApiClient, order: Order) -> TestResponse:
    return channel.delete(f"/v1/orders/{order['orderId']}/cancellation-request")


@pytest.fixture
def last_event(owner: psycopg.Connection) -> Callable[[Order], tuple[Any, ...]]:
    """Return a function that returns how the last event of an order tells it."""

    def find(order: Order) -> tuple[Any, ...]:
        rows = owner.execute(
            """
            SELECT version, event_type, actor, fulfillment_status, shipment_is_late, details FROM order_events
            WHERE order_id = %s ORDER BY version DESC LIMIT 1
            """,
            [order["orderId"]],
        )
        return rows.fetchall()[0]

    return find


# --- A seller cancels ----------------------------------------------------------------------------------------------


def test_a_cancelled_order_is_unpaid_and_says_why_and_so_does_its_event(
    seller: ApiClient, received: Order, owner: psycopg.Connection, last_event: Callable[[Order], tuple[Any, ...]]
) -> None:
    order = done(cancel(seller, received))

    assert order == show(seller, received)
    assert order["version"] == received["version"] + 1 == 2
    assert order["fulfillment"]["fulfillmentStatus"] == "CANCELLED"
    assert order["payment"] == {"paymentStatus": "UNPAID"}
    assert order["cancellation"] == {"cancelledTime": order["lastUpdatedTime"], "cancelReason": "NO_INVENTORY"}
    ((token_id,),) = owner.execute("SELECT token_id::text FROM tokens").fetchall()
    assert last_event(order) == (
        2,
        "ORDER_CANCELLED",
        f"token:{token_id}",
        "CANCELLED",
        False,
        {
            "cancelReason": "NO_INVENTORY",
            "fulfillmentStatus": {"was": "UNSHIPPED", "is": "CANCELLED"},
            "paymentStatus": {"was": "AUTHORIZED", "is": "UNPAID"},
        },
    )


def test_the_same_cancellation_again_changes_nothing_and_another_reason_is_refused(
    seller: ApiClient, received: Order, set_clock: Clock
) -> None:
    # Broken by an action that writes before it decides: the version would grow, and the event beside it.
    order = done(cancel(seller, received))
    set_clock(LATE)

    assert done(cancel(seller, received)) == order
    refusal(cancel(seller, received, "PRICING_ERROR"), 409, "order-cancelled")
    assert show(seller, received) == order


def test_a_pending_order_is_cancelled_though_nothing_is_authorized_yet(
    seller: ApiClient, set_clock: Clock, last_event: Callable[[Order], tuple[Any, ...]]
) -> None:
    set_clock(NOW)
    pending = receive(seller, fulfillment__fulfillmentStatus="PENDING", proceeds=None)
    order = done(cancel(seller, pending, "BUYER_CANCELLED"))

    assert order["payment"] == {"paymentStatus": "UNPAID"}
    assert last_event(order)[-1]["paymentStatus"] == {"was": None, "is": "UNPAID"}


def test_cancelled_is_final(seller: ApiClient, received: Order) -> None:
    order = done(cancel(seller, received))

    refusal(confirm(seller, received), 409, "order-cancelled")
    reopened = order_document(orderId=received["orderId"], buyer={"buyerName": "Somebody else"})
    refusal(seller.post("/v1/orders", reopened), 409, "order-conflict")
    assert show(seller, received) == order


def test_one_confirmed_unit_keeps_an_order_from_being_cancelled(seller: ApiClient, received: Order) -> None:
    assert confirm(seller, received, orderItems=[{"orderItemId": "2", "quantity": 1}]).status_code == 201
    order = show(seller, received)

    refusal(cancel(seller, received), 409, "order-confirmed")
    assert show(seller, received) == order


def test_at_the_deadline_it_is_decided_why_an_order_is_cancelled_swept_or_not(
    seller: ApiClient, received: Order, set_clock: Clock, database: Database
) -> None:
    set_clock(LATE)
    refusal(cancel(seller, received), 409, "confirmation-window-closed")
    assert show(seller, received)["version"] == 1
    sweep(database, requested_by="test")
    refusal(cancel(seller, received), 409, "order-cancelled")
    assert show(seller, received)["cancellation"]["cancelReason"] == "NOT_CONFIRMED_IN_TIME"


def test_an_order_of_the_platform_is_neither_cancelled_here_nor_asked_to_be(
    seller: ApiClient, channel: ApiClient, set_clock: Clock
) -> None:
    set_clock(NOW)
    order = receive(seller, fulfillment__fulfilledBy="AMAZON")

    refusal(cancel(seller, order), 409, "platform-fulfilled")
    refusal(ask(channel, order), 409, "platform-fulfilled")
    assert done(withdraw(channel, order)) == order


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, ["/cancelReasonCode"]),
        ({"cancelReasonCode": "NOT_CONFIRMED_IN_TIME"}, ["/cancelReasonCode"]),
        ({"cancelReasonCode": "NO_INVENTORY", "orderItems": []}, ["/orderItems"]),
    ],
)
def test_a_cancellation_is_of_the_whole_order_for_one_of_the_known_reasons(
    body: object, pointers: list[str], seller: ApiClient, received: Order
) -> None:
    response = seller.post(f"/v1/orders/{received['orderId']}/cancellation", body)

    assert refusal(response, 422, "invalid-request") == pointers
    assert show(seller, received) == received


# --- A buyer asks --------------------------------------------------------------------------------------------------


def test_what_a_buyer_asks_is_shown_until_it_is_withdrawn(
    seller: ApiClient, channel: ApiClient, received: Order, last_event: Callable[[Order], tuple[Any, ...]]
) -> None:
    order = done(ask(channel, received, "Ordered twice"))

    assert order == show(seller, received)
    assert order["version"] == 2
    assert order["fulfillment"] == received["fulfillment"]
    request = {"requestedTime": order["lastUpdatedTime"], "cancelReason": "Ordered twice"}
    assert order["cancellation"] == {"cancellationRequest": {"requester": "BUYER"} | request}
    (warning,) = order["warnings"]
    assert (warning["code"], warning["since"]) == ("CANCELLATION_REQUESTED", order["lastUpdatedTime"])
    version, event_type, _, status, _, details = last_event(order)
    assert (version, event_type, status) == (2, "CANCELLATION_REQUESTED", "UNSHIPPED")
    told = details["cancellationRequest"]
    assert (told["was"], told["is"]["cancelReason"]) == (None, "Ordered twice")
    assert datetime.fromisoformat(told["is"]["requestedTime"]) == datetime.fromisoformat(request["requestedTime"])

    withdrawn = done(withdraw(channel, received))
    assert withdrawn == received | {"version": 3, "lastUpdatedTime": withdrawn["lastUpdatedTime"]}
    assert last_event(order)[-1] == {"cancellationRequest": {"was": told["is"], "is": None}}
    assert done(withdraw(channel, received)) == withdrawn


def test_asked_again_the_first_time_stands_and_only_another_reason_is_a_change(
    seller: ApiClient, channel: ApiClient, received: Order
) -> None:
    first = done(channel.request("POST", f"/v1/orders/{received['orderId']}/cancellation-request"))
    assert "cancelReason" not in first["cancellation"]["cancellationRequest"]
    second = done(ask(channel, received, "Too late"))

    assert second["version"] == first["version"] + 1
    request = first["cancellation"]["cancellationRequest"] | {"cancelReason": "Too late"}
    assert second["cancellation"] == {"cancellationRequest": request}
    assert second["warnings"] == first["warnings"]
    assert done(ask(channel, received, "Too late")) == done(ask(channel, received)) == second
    assert show(seller, received) == second


def test_the_orders_that_buyers_ask_to_cancel_are_found_counted_and_exported(
    seller: ApiClient, channel: ApiClient, received: Order
) -> None:
    receive(seller)
    done(ask(channel, received))
    asked = {"cancellationIsRequested": "true"}

    def found() -> tuple[list[str], int, list[str]]:
        listed = seller.get("/v1/orders", **asked).get_json()["orders"]
        counted = seller.get("/v1/orders/counts", by="fulfilledBy", **asked).get_json()["groups"]
        exported = seller.get("/v1/orders/export", format="ndjson", fields="orderId", **asked).text.splitlines()
        return (
            [order["orderId"] for order in listed],
            sum(group["count"] for group in counted),
            [json.loads(line)["orderId"] for line in exported],
        )

    assert found() == ([received["orderId"]], 1, [received["orderId"]])
    done(cancel(seller, received))
    assert found() == ([], 0, [])


def test_an_order_that_is_cancelled_keeps_the_request_and_takes_no_other(
    seller: ApiClient, channel: ApiClient, received: Order
) -> None:
    request = done(ask(channel, received))["cancellation"]
    order = done(cancel(seller, received, "BUYER_CANCELLED"))

    assert order["cancellation"].items() >= request.items()
    assert "warnings" not in order
    refusal(ask(channel, received, "Please"), 409, "order-cancelled")
    refusal(withdraw(channel, received), 409, "order-cancelled")
    assert show(seller, received) == order


def test_an_order_with_a_confirmed_unit_takes_no_request(
    seller: ApiClient, channel: ApiClient, received: Order
) -> None:
    assert confirm(seller, received, orderItems=[{"orderItemId": "2", "quantity": 1}]).status_code == 201

    refusal(ask(channel, received), 409, "order-confirmed")
    assert done(withdraw(channel, received)) == show(seller, received)


def test_what_a_buyer_says_is_bounded(channel: ApiClient, received: Order) -> None:
    assert done(ask(channel, received, "x" * 500))["version"] == 2
    assert refusal(ask(channel, received, "x" * 501), 422, "invalid-request") == ["/cancelReason"]


# --- Who may -------------------------------------------------------------------------------------------------------


def test_only_the_channel_speaks_for_the_buyer_and_only_the_seller_cancels(
    seller: ApiClient, other_seller: ApiClient, channel: ApiClient, received: Order
) -> None:
    refusal(ask(seller, received), 403, "forbidden")
    refusal(withdraw(seller, received), 403, "forbidden")
    refusal(cancel(channel, received), 403, "forbidden")
    refusal(cancel(other_seller, received), 404, "order-not-found")
    assert show(seller, received) == received


def test_an_operator_names_the_seller(operator: ApiClient, seller: ApiClient, received: Order) -> None:
    path = f"/v1/orders/{received['orderId']}/cancellation-request"
    refusal(operator.post(path, {}), 422, "invalid-request")
    assert done(operator.post(path, {}, sellerId=SELLER))["version"] == 2
    assert done(operator.request("DELETE", path, query_string={"sellerId": SELLER}))["version"] == 3
    order = done(cancel(operator, received, sellerId=SELLER))
    assert order == show(seller, received)


@pytest.mark.parametrize("verb", [cancel, ask, withdraw])
def test_an_order_that_is_not_there_is_not_found(verb: Callable[..., TestResponse], client_of: ClientOf) -> None:
    client = client_of(SELLER, ["cancellations:write", "channel:write"])

    refusal(verb(client, {"orderId": "902-0000000-9999999"}), 404, "order-not-found")


def test_the_documented_examples_are_what_the_service_answers(
    seller: ApiClient, channel: ApiClient, set_clock: Clock
) -> None:
    def at_its_time(example: Order, answer: Order) -> Order:
        return json.loads(json.dumps(example).replace(example["lastUpdatedTime"], answer["lastUpdatedTime"]))

    set_clock("2026-03-02T09:15:31Z")
    assert seller.post("/v1/orders", INCOMING_ORDER).status_code == 201
    set_clock("2026-03-03T08:00:41Z")
    asked = done(ask(channel, INCOMING_ORDER, "Ordered by mistake"))
    assert asked == at_its_time(REQUESTED_ORDER, asked)
    withdrawn = done(withdraw(channel, INCOMING_ORDER))
    assert withdrawn == at_its_time(NEW_ORDER, withdrawn) | {"version": 3}
    set_clock("2026-03-03T10:05:12Z")
    cancelled = done(cancel(seller, INCOMING_ORDER))
    assert cancelled == at_its_time(CANCELLED_ORDER, cancelled) | {"version": 4}

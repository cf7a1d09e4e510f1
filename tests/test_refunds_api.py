"""Refunds over HTTP, and as the worker has them made."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import flask
import psycopg
import pytest
from werkzeug.test import TestResponse

from service.database import Database
from service.payments import refund_queries
from service.payments.client import PaymentClient
from service.sandbox.actions import move_clock
from tests.conftest import NOW, SELLER, SHIP_BY, ApiClient, confirmation, order_document
from tests.payment_service import Fault, PaymentServer, calling, configure, confirm, running_service, sell, work

Clock = Callable[[datetime | str], datetime]
_keys = itertools.count(1)

# Of the order's 50.00 USD the two mugs are 25.01, by their proceeds, and the pot is 20.00, by its price.
ITEMS = [
    {
        "orderItemId": "1",
        "quantityOrdered": 2,
        "product": {"sellerSku": "MUG", "title": "Mug"},
        "proceeds": {"proceedsTotal": {"amount": "25.01", "currencyCode": "USD"}},
    },
    {
        "orderItemId": "2",
        "quantityOrdered": 1,
        "product": {
            "sellerSku": "POT",
            "title": "Pot",
            "price": {"unitPrice": {"amount": "20.00", "currencyCode": "USD"}},
        },
    },
]


def refund(client: ApiClient, order_id: str, body: object, key: str | None = None, **query: Any) -> TestResponse:
    headers = {"Idempotency-Key": f"key {next(_keys)}" if key is None else key}
    return client.request("POST", f"/v1/orders/{order_id}/refunds", json=body, headers=headers, query_string=query)


def of_units(item: str, quantity: int) -> dict[str, Any]:
    return {"reason": "CUSTOMER_RETURN", "orderItems": [{"orderItemId": item, "quantity": quantity}]}


def of_order(amount: str, currency: str = "USD") -> dict[str, Any]:
    return {"reason": "GENERAL_ADJUSTMENT", "amount": {"amount": amount, "currencyCode": currency}}


def refusal(response: TestResponse, status: int, code: str) -> list[str | None]:
    """Check that a response is this refusal and return where its errors are."""
    problem = response.get_json()
    assert (response.status_code, problem["type"].rpartition(":")[2]) == (status, code), problem
    return [error.get("pointer", error.get("header")) for error in problem.get("errors", [])]


@pytest.fixture
def charged(seller: ApiClient, set_clock: Clock) -> str:
    """Return an order of which one item of two is confirmed, settled outside."""
    set_clock(NOW)
    order_id = seller.post("/v1/orders", order_document(orderItems=ITEMS)).get_json()["orderId"]
    units = [{"orderItemId": "1", "quantity": 2}]
    body = confirmation(orderItems=units)
    assert seller.post(f"/v1/orders/{order_id}/shipment-confirmations", body).status_code == 201
    return order_id


def last_event(owner: psycopg.Connection, order_id: str) -> tuple[str, dict[str, Any]]:
    row = owner.execute(
        "SELECT event_type, details FROM order_events WHERE order_id = %s ORDER BY version DESC LIMIT 1", [order_id]
    ).fetchone()
    assert row
    return row


def test_the_units_of_an_item_refunded_one_by_one_come_to_its_worth_and_the_order_says_so(
    seller: ApiClient, charged: str, owner: psycopg.Connection
) -> None:
    answers = [refund(seller, charged, of_units("1", 1)) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    first, second = (answer.get_json() for answer in answers)
    assert [each["amount"]["amount"] for each in (first, second)] == ["12.51", "12.50"]
    assert (first["refundStatus"], first["settledOutside"]) == ("SUCCEEDED", True)
    assert first["refundedTime"] == first["requestedTime"]
    assert first["orderItems"] == [{"orderItemId": "1", "quantity": 1, "amount": first["amount"]}]
    order = seller.get(f"/v1/orders/{charged}").get_json()
    assert order["payment"]["paymentStatus"] == "PARTIALLY_REFUNDED"
    assert [each["refundId"] for each in order["payment"]["refunds"]] == [first["refundId"], second["refundId"]]
    assert order["version"] == 4
    assert answers[0].headers["Location"] == f"/v1/orders/{charged}/refunds/{first['refundId']}"
    assert seller.get(answers[0].headers["Location"]).get_json() == first
    assert seller.get(f"/v1/orders/{charged}/refunds").get_json() == {"refunds": [first, second]}
    assert refusal(refund(seller, charged, of_units("1", 1)), 422, "refund-too-large") == ["/orderItems/0/quantity"]
    event_type, details = last_event(owner, charged)
    assert event_type == "REFUND_SUCCEEDED"
    assert details == {
        "refundId": second["refundId"],
        "amount": {"amount": "12.50", "currencyCode": "USD"},
        "refundReason": "CUSTOMER_RETURN",
        "orderItems": second["orderItems"],
    }


def test_the_whole_charge_refunded_is_refunded_and_nothing_is_left(
    seller: ApiClient, charged: str, owner: psycopg.Connection
) -> None:
    items = [
        {"orderItemId": "1", "quantity": 2},
        {"orderItemId": "2", "amount": {"amount": "20", "currencyCode": "USD"}},
    ]
    assert refund(seller, charged, {"reason": "NO_INVENTORY", "orderItems": items}).status_code == 201
    assert refusal(refund(seller, charged, of_order("5.00")), 422, "refund-too-large") == ["/amount"]
    rest = refund(seller, charged, of_order("4.99")).get_json()
    assert "orderItems" not in rest
    assert seller.get(f"/v1/orders/{charged}").get_json()["payment"]["paymentStatus"] == "REFUNDED"
    assert last_event(owner, charged)[1]["paymentStatus"] == {"was": "PARTIALLY_REFUNDED", "is": "REFUNDED"}
    assert refusal(refund(seller, charged, of_order("0.01")), 422, "refund-too-large") == ["/amount"]


def test_a_refund_of_the_rest_ends_no_lateness_and_confirming_the_rest_does(
    seller: ApiClient, charged: str, set_clock: Clock
) -> None:
    set_clock(SHIP_BY + timedelta(hours=1))
    (warning,) = refund(seller, charged, of_units("2", 1)).get_json()["warnings"]
    assert warning["code"] == "SHIPMENT_IS_LATE"
    assert "A refund does not end it" in warning["resolution"]
    order = seller.get(f"/v1/orders/{charged}").get_json()
    assert order["fulfillment"]["shipmentIsLate"]
    seller.post(f"/v1/orders/{charged}/shipment-confirmations", confirmation("2"))
    assert "warnings" not in refund(seller, charged, of_order("1.00")).get_json()


def test_the_same_key_is_the_same_refund_whatever_became_of_the_order_meanwhile(
    seller: ApiClient, charged: str, owner: psycopg.Connection
) -> None:
    first = refund(seller, charged, of_order("50"), "once")
    again = refund(seller, charged, of_order("50.00"), "once")
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.get_json() == first.get_json()
    assert again.headers["Location"] == first.headers["Location"]
    assert owner.execute("SELECT version FROM orders").fetchone() == (3,)
    assert refusal(refund(seller, charged, of_order("49.00"), "once"), 422, "idempotency-key-reused") == [
        "Idempotency-Key"
    ]


def test_a_key_is_of_one_order_and_of_one_seller(
    seller: ApiClient, other_seller: ApiClient, charged: str, owner: psycopg.Connection
) -> None:
    for client, expected in ((seller, 422), (other_seller, 201)):
        order_id = client.post("/v1/orders", order_document()).get_json()["orderId"]
        client.post(f"/v1/orders/{order_id}/shipment-confirmations", confirmation())
        assert refund(seller, charged, of_order("1.00"), "shared").status_code in {200, 201}
        assert refund(client, order_id, of_order("1.00"), "shared").status_code == expected
    assert owner.execute("SELECT count(*) FROM refunds").fetchone() == (2,)


def test_one_key_sent_many_times_at_once_refunds_once_on_one_order_and_between_two(
    seller: ApiClient, charged: str, owner: psycopg.Connection
) -> None:
    other = seller.post("/v1/orders", order_document()).get_json()["orderId"]
    seller.post(f"/v1/orders/{other}/shipment-confirmations", confirmation())
    together = threading.Barrier(8)

    def send(order_id: str) -> int:
        together.wait()
        return refund(seller, order_id, of_order("30.00"), "once").status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(send, [charged, other] * 4))
    assert sorted(statuses) == [200, 200, 200, 201, 422, 422, 422, 422]
    assert owner.execute("SELECT sum(amount) FROM refunds").fetchone() == (30,)


def test_a_key_that_another_order_takes_at_this_moment_is_refused_and_changes_nothing(
    seller: ApiClient, charged: str, owner: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Both look before either has written: only the unique key is left, and without it both orders are refunded.
    def find_nothing(*_: object) -> None:
        pass

    monkeypatch.setattr(refund_queries, "find_refund_of_key", find_nothing)
    other = seller.post("/v1/orders", order_document()).get_json()["orderId"]
    seller.post(f"/v1/orders/{other}/shipment-confirmations", confirmation())
    assert refund(seller, charged, of_order("1.00"), "once").status_code == 201
    assert refusal(refund(seller, other, of_order("1.00"), "once"), 422, "idempotency-key-reused")
    assert owner.execute("SELECT count(*) FROM refunds").fetchone() == (1,)
    assert owner.execute("SELECT version FROM orders WHERE order_id = %s", [other]).fetchone() == (2,)


def test_refunds_at_once_never_come_to_more_than_the_charge(
    seller: ApiClient, charged: str, owner: psycopg.Connection
) -> None:
    # Without the lock of the order each sees what is left before the others.
    together = threading.Barrier(8)

    def send(_: int) -> int:
        together.wait()
        return refund(seller, charged, of_order("20.00")).status_code

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(send, range(8))) == [201] * 2 + [422] * 6
    assert owner.execute("SELECT sum(amount) FROM refunds").fetchone() == (40,)


def test_units_worth_less_than_the_smallest_amount_are_refunded_together(seller: ApiClient, set_clock: Clock) -> None:
    set_clock(NOW)
    two_yen = {"proceedsTotal": {"amount": "2", "currencyCode": "JPY"}}
    stickers = {"orderItemId": "1", "quantityOrdered": 5, "product": {"sellerSku": "STICKER"}, "proceeds": two_yen}
    total = {"grandTotal": {"amount": "10", "currencyCode": "JPY"}}
    order_id = seller.post("/v1/orders", order_document(orderItems=[stickers], proceeds=total)).get_json()["orderId"]
    assert seller.post(f"/v1/orders/{order_id}/shipment-confirmations", confirmation()).status_code == 201
    single = refund(seller, order_id, of_units("1", 1))
    assert refusal(single, 422, "invalid-request") == ["/orderItems/0/quantity"]
    assert single.get_json()["errors"][0]["detail"] == "comes to 0 JPY: only 2 units come to an amount"
    portions = [refund(seller, order_id, of_units("1", units)) for units in (2, 3)]
    assert [each.get_json()["amount"]["amount"] for each in portions] == ["1", "1"]


BROKEN: list[tuple[object, list[str]]] = [
    ({"reason": "OTHER"}, [""]),
    (of_order("1.00") | of_units("1", 1), [""]),
    ({"reason": "BECAUSE", "amount": {"amount": "1.00", "currencyCode": "USD"}}, ["/reason"]),
    ({"amount": {"amount": "1.00", "currencyCode": "USD"}}, ["/reason"]),
    ({"reason": "OTHER", "orderItems": []}, ["/orderItems"]),
    ({"reason": "OTHER", "orderItems": [{"orderItemId": "1"}]}, ["/orderItems/0"]),
    ({"reason": "OTHER", "orderItems": [{"orderItemId": "1", "quantity": 0}]}, ["/orderItems/0/quantity"]),
    ({"reason": "OTHER", "orderItems": [{"orderItemId": "1", "quantity": 1}] * 2}, ["/orderItems"]),
    (of_order("0"), ["/amount/amount"]),
    (of_order("-1"), ["/amount/amount"]),
    (of_order("1.001"), ["/amount/amount"]),
    (of_order("1.00", "EUR"), ["/amount/currencyCode"]),
]


def test_a_refund_that_breaks_the_contract_is_refused_with_each_place(seller: ApiClient, charged: str) -> None:
    for body, places in BROKEN:
        assert refusal(refund(seller, charged, body), 422, "invalid-request") == places


def test_a_refund_needs_a_key_that_can_be_kept(seller: ApiClient, charged: str) -> None:
    path = f"/v1/orders/{charged}/refunds"
    assert refusal(seller.post(path, of_order("1.00")), 400, "idempotency-key-required") == ["Idempotency-Key"]
    assert refusal(refund(seller, charged, of_order("1.00"), ""), 400, "idempotency-key-required")
    for key in ("k" * 201, "caf\xe9"):
        assert refusal(refund(seller, charged, of_order("1.00"), key), 422, "invalid-request") == ["Idempotency-Key"]
    assert refund(seller, charged, of_order("1.00"), "k" * 200).status_code == 201


def test_an_order_that_was_not_charged_here_is_not_refunded(seller: ApiClient, set_clock: Clock) -> None:
    set_clock(NOW)

    def receive(**changes: Any) -> str:
        return seller.post("/v1/orders", order_document(**changes)).get_json()["orderId"]

    platform = receive(fulfillment__fulfilledBy="AMAZON", fulfillment__fulfillmentStatus="SHIPPED")
    assert refusal(refund(seller, platform, of_order("1.00")), 409, "platform-fulfilled") == []
    assert refusal(refund(seller, receive(), of_order("1.00")), 409, "not-charged") == []
    items = [{"orderItemId": "1", "quantity": 2}, {"orderItemId": "2", "quantity": 1}]
    told = receive(
        fulfillment__fulfillmentStatus="SHIPPED",
        payment__paymentStatus="PARTIALLY_REFUNDED",
        packages=[{"packageReferenceId": "1", "packageItems": items}],
    )
    assert "channel refunded" in refund(seller, told, of_order("1.00")).get_json()["detail"]


def test_a_refund_is_the_sellers_own_and_needs_its_scope(
    seller: ApiClient, other_seller: ApiClient, operator: ApiClient, client_of: Callable[..., ApiClient], charged: str
) -> None:
    made = refund(operator, charged, of_order("1.00"), sellerId=SELLER)
    assert made.status_code == 201
    refusal(refund(client_of(SELLER, ["orders:read"]), charged, of_order("1.00")), 403, "forbidden")
    refusal(refund(other_seller, charged, of_order("1.00")), 404, "order-not-found")
    refusal(other_seller.get(made.headers["Location"]), 404, "order-not-found")
    refusal(other_seller.get(f"/v1/orders/{charged}/refunds"), 404, "order-not-found")
    another = f"/v1/orders/{charged}/refunds/8d6f1c5e-0f57-4f0e-9d53-0a6f8a3c2b11"
    refusal(seller.get(another), 404, "refund-not-found")


# --- By a payment service ------------------------------------------------------------------------------------------


@pytest.fixture
def service() -> Iterator[PaymentServer]:
    with running_service(forgets=True) as server:
        yield server


@pytest.fixture
def client(service: PaymentServer, app: flask.Flask, monkeypatch: pytest.MonkeyPatch) -> Iterator[PaymentClient]:
    configure(app, service, monkeypatch)
    with calling(service) as client:
        yield client


@pytest.fixture
def order_id(database: Database, client: PaymentClient) -> str:
    """Return an order that the payment service has charged."""
    (order_id,) = sell(database, orderItems=ITEMS)
    confirm(database, order_id)
    assert work(database, client) == 1
    return order_id


def status_of(seller: ApiClient, order_id: str) -> tuple[str, list[str]]:
    """Return the payment status of an order, and those of its refunds."""
    refunds = seller.get(f"/v1/orders/{order_id}/refunds").get_json()["refunds"]
    order = seller.get(f"/v1/orders/{order_id}").get_json()
    return order["payment"]["paymentStatus"], [each["refundStatus"] for each in refunds]


def test_before_the_charge_has_succeeded_nothing_is_refunded(
    database: Database, service: PaymentServer, client: PaymentClient, seller: ApiClient
) -> None:
    (order_id,) = sell(database)
    confirm(database, order_id)
    service.faults[order_id].append(Fault.DECLINE)
    assert refusal(refund(seller, order_id, of_order("1.00")), 409, "not-charged") == []
    work(database, client)
    assert "DECLINED" in refund(seller, order_id, of_order("1.00")).get_json()["detail"]


def test_what_a_payment_service_has_charged_is_not_refunded_while_none_is_configured(
    seller: ApiClient, app: flask.Flask, monkeypatch: pytest.MonkeyPatch, order_id: str
) -> None:
    # It would stay REQUESTED, for nobody to make.
    made = refund(seller, order_id, of_order("1.00"), "once")
    assert made.status_code == 201
    context = app.extensions["manage-orders"]
    without = replace(context, settings=replace(context.settings, payment_service_url=""))
    monkeypatch.setitem(app.extensions, "manage-orders", without)
    assert refusal(refund(seller, order_id, of_order("2.00")), 409, "payment-service-missing") == []
    again = refund(seller, order_id, of_order("1.00"), "once")
    assert (again.status_code, again.get_json()) == (200, made.get_json())


def test_a_refund_is_requested_first_and_made_by_the_worker_with_the_charges_reference(
    database: Database,
    service: PaymentServer,
    client: PaymentClient,
    seller: ApiClient,
    order_id: str,
    owner: psycopg.Connection,
) -> None:
    made = refund(seller, order_id, of_units("1", 2)).get_json()
    assert (made["refundStatus"], made["settledOutside"]) == ("REQUESTED", False)
    assert status_of(seller, order_id) == ("CHARGED", ["REQUESTED"])
    assert last_event(owner, order_id)[0] == "REFUND_REQUESTED"
    assert work(database, client) == 1
    assert status_of(seller, order_id) == ("PARTIALLY_REFUNDED", ["SUCCEEDED"])
    charge_key = f"charge:{SELLER}:{order_id}:1"
    assert service.captures[1] == (
        f"refund:{made['refundId']}",
        {
            "sellerId": SELLER,
            "orderId": order_id,
            "amount": {"amount": "25.01", "currencyCode": "USD"},
            "refundId": made["refundId"],
            "reason": "CUSTOMER_RETURN",
            "chargeKey": charge_key,
            "paymentReference": f"ref-{charge_key}",
        },
    )
    assert service.requests[-1][:2] == ("POST", "/pay/refunds")
    event_type, details = last_event(owner, order_id)
    assert event_type == "REFUND_SUCCEEDED"
    assert details["refundStatus"] == {"was": "REQUESTED", "is": "SUCCEEDED"}
    assert details["paymentStatus"] == {"was": "CHARGED", "is": "PARTIALLY_REFUNDED"}


@pytest.mark.parametrize("fault", [Fault.HANG_UP, Fault.ERROR, Fault.LOSE])
def test_a_refund_whose_answer_is_lost_is_looked_up_and_made_once(
    fault: Fault, database: Database, service: PaymentServer, client: PaymentClient, seller: ApiClient, order_id: str
) -> None:
    # A worker that does not look up first refunds twice.
    service.faults[order_id].append(fault)
    refund(seller, order_id, of_order("50.00"))
    work(database, client)
    assert status_of(seller, order_id) == ("CHARGED", ["UNKNOWN"])
    refusal(refund(seller, order_id, of_order("0.01")), 422, "refund-too-large")
    move_clock(database, NOW + timedelta(minutes=10))
    work(database, client)
    assert status_of(seller, order_id) == ("REFUNDED", ["SUCCEEDED"])
    assert [key.partition(":")[0] for key, _ in service.captures] == ["charge", "refund"]


def test_a_refund_that_is_declined_is_final_says_why_and_leaves_its_amount_to_be_refunded(
    database: Database, service: PaymentServer, client: PaymentClient, seller: ApiClient, order_id: str
) -> None:
    service.faults[order_id].append(Fault.DECLINE)
    declined = refund(seller, order_id, of_units("1", 2))
    work(database, client)
    assert status_of(seller, order_id) == ("CHARGED", ["DECLINED"])
    assert seller.get(declined.headers["Location"]).get_json()["declineReason"] == "insufficient funds"
    move_clock(database, NOW + timedelta(days=30))
    assert work(database, client) == 0
    assert refund(seller, order_id, of_units("1", 2)).status_code == 201
    work(database, client)
    assert status_of(seller, order_id) == ("PARTIALLY_REFUNDED", ["DECLINED", "SUCCEEDED"])

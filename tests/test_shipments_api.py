"""Shipments are confirmed over HTTP (R8-R10): once, whole or in part, and never against the rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any, TypeAlias

import psycopg
import pytest
from werkzeug.test import TestResponse

from tests.conftest import CONFIRM_BY, NOW, SHIP_BY, ApiClient, confirmation, order_document

Json: TypeAlias = Any
Clock = Callable[[datetime | str], datetime]
PROBLEM = "urn:manage-orders:problem:"


def confirm(client: ApiClient, order: dict[str, Any], body: object, **query: Json) -> TestResponse:
    return client.post(f"/v1/orders/{order['orderId']}/shipment-confirmations", body, **query)


def refusal(response: TestResponse, status: int, code: str) -> list[str | None]:
    """Return the pointers of a refusal, which must be of this kind."""
    assert response.status_code == status, response.text
    body = response.get_json()
    assert body["type"] == PROBLEM + code, body
    return [error.get("pointer") for error in body.get("errors", [])]


def units(item: str, quantity: int) -> dict[str, Any]:
    return {"orderItemId": item, "quantity": quantity}


def charges(owner: psycopg.Connection, order: dict[str, Any]) -> list[tuple[Any, ...]]:
    query = "SELECT amount::text, currency_code FROM charges WHERE order_id = %s"
    return owner.execute(query, (order["orderId"],)).fetchall()


def receive(client: ApiClient, **changes: Json) -> dict[str, Any]:
    response = client.post("/v1/orders", order_document(**changes))
    assert response.status_code == 201, response.text
    return response.get_json()


def test_a_confirmation_without_items_ships_and_charges_the_whole_order(
    seller: ApiClient, received: dict[str, Any], owner: psycopg.Connection
) -> None:
    response = confirm(seller, received, confirmation("7", shippingMethod="Ground"))
    order = response.get_json()

    assert response.status_code == 201
    assert order == seller.get(f"/v1/orders/{received['orderId']}").get_json()
    assert order["version"] == 2
    assert order["fulfillment"]["fulfillmentStatus"] == "SHIPPED"
    assert [each["fulfillment"]["quantityFulfilled"] for each in order["orderItems"]] == [2, 1]
    (package,) = order["packages"]
    assert package.pop("createdTime") == order["lastUpdatedTime"] == order["payment"]["charge"]["chargedTime"]
    assert package == {
        "packageReferenceId": "7",
        "packageStatus": {"status": "SHIPPED"},
        "carrier": "UPS",
        "carrierCode": "UPS",
        "shipTime": NOW.isoformat().replace("+00:00", "Z"),
        "shippingService": "Ground",
        "trackingNumber": "1Z999AA10123456784",
        "packageItems": [units("1", 2), units("2", 1)],
        "version": 1,
    }
    assert order["payment"]["paymentStatus"] == "CHARGED"
    assert order["payment"]["charge"]["amount"] == {"amount": "50.00", "currencyCode": "USD"}
    assert charges(owner, order) == [("50.00", "USD")]


def test_one_unit_charges_the_whole_order_and_the_next_package_charges_nothing_more(
    seller: ApiClient, received: dict[str, Any], owner: psycopg.Connection
) -> None:
    first = confirm(seller, received, confirmation("1", orderItems=[units("1", 1)])).get_json()
    assert first["fulfillment"]["fulfillmentStatus"] == "PARTIALLY_SHIPPED"
    assert charges(owner, received) == [("50.00", "USD")]

    second = confirm(seller, received, confirmation("2", orderItems=[units("2", 1), units("1", 1)])).get_json()
    assert second["fulfillment"]["fulfillmentStatus"] == "SHIPPED"
    assert second["payment"] == first["payment"]
    assert charges(owner, received) == [("50.00", "USD")]
    packed = {each["packageReferenceId"]: each["packageItems"] for each in second["packages"]}
    assert packed == {"1": [units("1", 1)], "2": [units("1", 1), units("2", 1)]}


def test_after_a_part_a_confirmation_without_items_takes_what_remains(
    seller: ApiClient, received: dict[str, Any]
) -> None:
    confirm(seller, received, confirmation("1", orderItems=[units("1", 1)]))
    order = confirm(seller, received, confirmation("2")).get_json()

    assert order["packages"][1]["packageItems"] == [units("1", 1), units("2", 1)]
    assert order["fulfillment"]["fulfillmentStatus"] == "SHIPPED"


def test_an_event_tells_what_a_confirmation_did_and_who_made_it(
    seller: ApiClient, received: dict[str, Any], owner: psycopg.Connection
) -> None:
    confirm(seller, received, confirmation("1", orderItems=[units("1", 1)]))
    confirm(seller, received, confirmation("2"))
    events = owner.execute("SELECT version, event_type, actor, details FROM order_events ORDER BY version").fetchall()
    ((token_id,),) = owner.execute("SELECT token_id::text FROM tokens").fetchall()

    assert [each[:3] for each in events[1:]] == [
        (2, "SHIPMENT_CONFIRMED", f"token:{token_id}"),
        (3, "SHIPMENT_CONFIRMED", f"token:{token_id}"),
    ]
    assert events[1][3] == {
        "packageReferenceId": "1",
        "orderItems": [units("1", 1)],
        "fulfillmentStatus": {"was": "UNSHIPPED", "is": "PARTIALLY_SHIPPED"},
        "charged": True,
        "paymentStatus": {"was": "AUTHORIZED", "is": "CHARGED"},
    }
    assert events[2][3]["charged"] is False
    assert "paymentStatus" not in events[2][3]


# Sent again.


@pytest.mark.parametrize("items", [None, [units("1", 1), units("2", 1)]])
def test_the_same_confirmation_again_changes_nothing(
    items: list[object] | None, seller: ApiClient, received: dict[str, Any]
) -> None:
    body = confirmation("1") | ({} if items is None else {"orderItems": items})
    first = confirm(seller, received, body)
    same = body | {"shipDate": NOW.astimezone().isoformat()} | ({} if items is None else {"orderItems": items[::-1]})
    again = confirm(seller, received, same)

    assert (first.status_code, again.status_code) == (201, 200)
    assert again.get_json() == first.get_json()


@pytest.mark.parametrize(
    "changes",
    [
        {"carrierCode": "DHL"},
        {"carrierName": "United Parcel Service"},
        {"shippingMethod": "Air"},
        {"trackingNumber": "other"},
        {"shipDate": "2026-03-02T12:00:01Z"},
        {"orderItems": [units("1", 1)]},
        {"orderItems": [units("1", 2), units("2", 1)]},
        {"shipFromAddress": {"city": "Seattle"}},
    ],
)
def test_a_package_number_with_other_content_is_a_conflict(
    changes: dict[str, Any], seller: ApiClient, received: dict[str, Any]
) -> None:
    confirm(seller, received, confirmation("1"))
    before = seller.get(f"/v1/orders/{received['orderId']}").get_json()
    response = confirm(seller, received, confirmation("1", **changes))

    assert refusal(response, 409, "package-conflict") == ["/packageReferenceId"]
    assert "another id" in response.get_json()["detail"]
    assert seller.get(f"/v1/orders/{received['orderId']}").get_json() == before


def test_an_order_has_no_more_packages_than_it_can_show_and_knows_each_of_them_again(
    seller: ApiClient, owner: psycopg.Connection, set_clock: Clock
) -> None:
    # Broken by one more: the order would no longer be shown as promised. Broken by a limit for a package that is known.
    set_clock(NOW)
    order = receive(seller, orderItems=[{"orderItemId": "1", "quantityOrdered": 2000, "product": {"sellerSku": "MUG"}}])
    confirm(seller, order, confirmation("1", orderItems=[units("1", 1)]))
    owner.execute(
        """
        INSERT INTO packages (seller_id, order_id, package_reference_id, created_time, package_status)
        SELECT seller_id, order_id, number::text, created_time, package_status
        FROM packages, generate_series(2, 999) AS numbers (number)
        """
    )
    owner.execute(
        """
        INSERT INTO package_items (seller_id, order_id, package_reference_id, order_item_id, quantity)
        SELECT seller_id, order_id, package_reference_id, '1', 1 FROM packages WHERE package_reference_id <> '1'
        """
    )
    owner.execute("UPDATE order_items SET quantity_fulfilled = 999")
    last = confirm(seller, order, confirmation("1000", orderItems=[units("1", 1)]))

    assert last.status_code == 201
    assert len(last.get_json()["packages"]) == 1000
    assert (
        refusal(confirm(seller, order, confirmation("1001", orderItems=[units("1", 1)])), 409, "too-many-packages")
        == []
    )
    assert confirm(seller, order, confirmation("1", orderItems=[units("1", 1)])).status_code == 200
    assert len(seller.get(f"/v1/orders/{order['orderId']}/packages").get_json()["packages"]) == 1000


def test_the_same_confirmation_again_is_accepted_after_the_deadline(
    seller: ApiClient, received: dict[str, Any], set_clock: Clock
) -> None:
    body = confirmation("1", orderItems=[units("1", 1)])
    confirm(seller, received, body)
    set_clock(CONFIRM_BY + timedelta(days=30))

    assert confirm(seller, received, body).status_code == 200


def test_what_was_refused_can_be_sent_again_when_it_is_right(seller: ApiClient, received: dict[str, Any]) -> None:
    wrong = confirm(seller, received, confirmation("1", orderItems=[units("1", 3)]))
    right = confirm(seller, received, confirmation("1", orderItems=[units("1", 2)]))

    assert (wrong.status_code, right.status_code) == (422, 201)


def test_two_orders_may_have_packages_of_the_same_number(seller: ApiClient, received: dict[str, Any]) -> None:
    other = receive(seller)

    assert confirm(seller, received, confirmation("1")).status_code == 201
    assert confirm(seller, other, confirmation("1", trackingNumber="other")).status_code == 201


# What a package holds beside its units.


def test_what_is_told_of_a_package_is_kept_and_shown(seller: ApiClient, received: dict[str, Any]) -> None:
    address = {"name": "Warehouse 2", "addressLine1": "2 Example Street", "city": "Seattle", "countryCode": "US"}
    items = [units("1", 2) | {"transparencyCodes": ["AZ:1", "AZ:2"]}, units("2", 1)]
    body = confirmation(orderItems=items, shipFromAddress=address)
    (package,) = confirm(seller, received, body).get_json()["packages"]

    assert package["shipFromAddress"] == address
    assert package["packageItems"] == items
    # The codes are of the package, not of their sequence; others are another package.
    turned = [items[1], units("1", 2) | {"transparencyCodes": ["AZ:2", "AZ:1"]}]
    assert confirm(seller, received, body | {"orderItems": turned}).status_code == 200
    others = [units("1", 2) | {"transparencyCodes": ["AZ:3"]}, units("2", 1)]
    assert refusal(confirm(seller, received, body | {"orderItems": others}), 409, "package-conflict")


def test_a_carrier_is_known_whatever_the_case_and_spaces_of_its_code(
    seller: ApiClient, received: dict[str, Any]
) -> None:
    (package,) = confirm(seller, received, confirmation(carrierCode=" royal  mail")).get_json()["packages"]

    assert (package["carrierCode"], package["carrier"]) == ("Royal Mail", "Royal Mail")
    # Broken by a digest of the code as it was sent.
    assert confirm(seller, received, confirmation(carrierCode="RoyalMail")).status_code == 200


def test_a_carrier_that_is_not_in_the_list_is_refused_with_the_way_out(
    seller: ApiClient, received: dict[str, Any]
) -> None:
    response = confirm(seller, received, confirmation(carrierCode="Fast Mail"))

    assert refusal(response, 422, "unknown-carrier") == ["/carrierCode"]
    assert "Other with the carrierName" in response.get_json()["detail"]


# Warnings.


def warned(response: TestResponse) -> list[str]:
    assert response.status_code in {200, 201}, response.text
    return [each["code"] for each in response.get_json().get("warnings", [])]


def test_a_tracking_number_that_its_carrier_does_not_give_is_told_and_not_refused(
    seller: ApiClient, received: dict[str, Any], set_clock: Clock
) -> None:
    set_clock(SHIP_BY + timedelta(hours=1))
    body = confirmation("1", trackingNumber="1Z999AA10123456785", orderItems=[units("1", 1)])
    first = confirm(seller, received, body)

    # Beside the warnings of the order itself, also when it is sent again; the order does not keep it.
    assert (first.status_code, warned(first)) == (201, ["SHIPMENT_IS_LATE", "TRACKING_NUMBER_UNUSUAL"])
    assert "of UPS" in first.get_json()["warnings"][1]["message"]
    again = confirm(seller, received, body)
    assert (again.status_code, again.get_json()) == (200, first.get_json())
    assert warned(seller.get(f"/v1/orders/{received['orderId']}")) == ["SHIPMENT_IS_LATE"]
    assert warned(confirm(seller, received, confirmation("2"))) == []


def test_a_tracking_number_that_is_on_another_order_is_told_with_that_order(
    seller: ApiClient, other_seller: ApiClient, received: dict[str, Any]
) -> None:
    parts = [confirmation(str(number), orderItems=[units("1", 1)]) for number in (1, 2)]
    # Two packages of one order may be one parcel.
    assert [warned(confirm(seller, received, part)) for part in parts] == [[], []]
    other = receive(seller)
    response = confirm(seller, other, confirmation())

    assert warned(response) == ["TRACKING_NUMBER_USED_BEFORE"]
    assert f"order {received['orderId']} " in response.get_json()["warnings"][0]["message"]
    # Nothing is told of what another seller did.
    assert warned(confirm(other_seller, receive(other_seller), confirmation())) == []


# A buyer who asks to cancel.


def ask_to_cancel(owner: psycopg.Connection, order: dict[str, Any]) -> None:
    query = "UPDATE orders SET cancellation_requested_time = %s WHERE order_id = %s"
    owner.execute(query, (NOW, order["orderId"]))


def test_against_the_buyers_request_a_first_package_needs_an_override_and_a_second_none(
    seller: ApiClient, received: dict[str, Any], owner: psycopg.Connection
) -> None:
    ask_to_cancel(owner, received)
    first = confirmation("1", orderItems=[units("1", 1)])
    for body in (first, first | {"overrideCancellationRequest": False}):
        response = confirm(seller, received, body)
        assert refusal(response, 409, "cancellation-requested") == ["/overrideCancellationRequest"]
    assert charges(owner, received) == []

    assert confirm(seller, received, first | {"overrideCancellationRequest": True}).status_code == 201
    # The override is no part of the package: the same without it is the same.
    assert confirm(seller, received, first).status_code == 200
    assert confirm(seller, received, confirmation("2")).status_code == 201


# The ship date.


@pytest.mark.parametrize(
    ("ship_date", "status"),
    [
        (NOW - timedelta(days=1), 201),
        (NOW - timedelta(days=1, microseconds=1), 422),
        (NOW + timedelta(days=1), 201),
        (NOW + timedelta(days=1, minutes=1), 422),
    ],
)
def test_a_ship_date_before_the_order_or_more_than_a_day_ahead_is_refused(
    ship_date: datetime, status: int, seller: ApiClient, received: dict[str, Any], set_clock: Clock
) -> None:
    body = confirmation(shipDate=ship_date.isoformat())
    response = confirm(seller, received, body)

    assert response.status_code == status
    if status == 422:
        assert refusal(response, 422, "ship-date-out-of-range") == ["/shipDate"]
    else:
        # What came before is not judged anew, though the clock may be set back.
        set_clock(NOW - timedelta(hours=12))
        assert confirm(seller, received, body).status_code == 200


# Refused by the rules.


def test_an_order_that_does_not_exist_cannot_be_confirmed(seller: ApiClient, received: dict[str, Any]) -> None:
    del received
    assert refusal(confirm(seller, {"orderId": "902-9"}, confirmation()), 404, "order-not-found") == []


def test_too_many_units_are_refused_with_how_many_remain(seller: ApiClient, received: dict[str, Any]) -> None:
    confirm(seller, received, confirmation("1", orderItems=[units("1", 1)]))
    response = confirm(seller, received, confirmation("2", orderItems=[units("2", 1), units("1", 2)]))

    assert refusal(response, 422, "quantity-too-large") == ["/orderItems/1/quantity"]
    assert "1 of 2 remain" in response.get_json()["errors"][0]["detail"]


def test_an_unknown_item_is_refused_with_the_items_there_are(seller: ApiClient, received: dict[str, Any]) -> None:
    response = confirm(seller, received, confirmation(orderItems=[units("1", 1), units("9", 1)]))

    assert refusal(response, 422, "unknown-order-item") == ["/orderItems/1/orderItemId"]
    assert response.get_json()["detail"] == "the order's items are 1, 2"


def test_an_order_that_is_not_for_the_seller_to_ship_is_refused(seller: ApiClient, set_clock: Clock) -> None:
    set_clock(NOW)
    for changes, code, advice in (
        ({"fulfillment__fulfillmentStatus": "PENDING"}, "order-pending", "once the order is UNSHIPPED"),
        ({"fulfillment__fulfilledBy": "AMAZON"}, "platform-fulfilled", "nothing for the seller to do"),
        ({"fulfillment__fulfillmentStatus": "CANCELLED"}, "order-cancelled", "do not ship"),
    ):
        response = confirm(seller, receive(seller, **changes), confirmation())
        assert refusal(response, 409, code) == []
        assert advice in response.get_json()["detail"]


def test_a_complete_order_has_nothing_to_confirm(seller: ApiClient, received: dict[str, Any]) -> None:
    confirm(seller, received, confirmation("1"))
    for items in ({}, {"orderItems": [units("1", 1)]}):
        assert refusal(confirm(seller, received, confirmation("2", **items)), 409, "nothing-to-confirm") == []


def test_at_the_deadline_a_first_confirmation_is_refused_swept_or_not(
    seller: ApiClient, operator: ApiClient, received: dict[str, Any], set_clock: Clock, owner: psycopg.Connection
) -> None:
    set_clock(CONFIRM_BY)
    response = confirm(seller, received, confirmation())

    assert refusal(response, 409, "confirmation-window-closed") == []
    assert "2026-03-18T07:00:00Z" in response.get_json()["detail"]
    assert operator.post("/v1/cancellation-runs", {}).get_json()["cancelledCount"] == 1
    assert refusal(confirm(seller, received, confirmation()), 409, "order-cancelled") == []
    assert charges(owner, received) == []


def test_a_minute_before_the_deadline_a_confirmation_is_accepted_whatever_its_ship_date(
    seller: ApiClient, received: dict[str, Any], set_clock: Clock
) -> None:
    set_clock(CONFIRM_BY - timedelta(minutes=1))

    body = confirmation(shipDate=(CONFIRM_BY + timedelta(hours=23)).isoformat())

    assert confirm(seller, received, body).status_code == 201


def test_an_order_begun_in_time_can_be_completed_after_the_deadline(
    seller: ApiClient, operator: ApiClient, received: dict[str, Any], set_clock: Clock
) -> None:
    confirm(seller, received, confirmation("1", orderItems=[units("1", 1)]))
    set_clock(CONFIRM_BY + timedelta(days=1))
    assert operator.post("/v1/cancellation-runs", {}).get_json()["cancelledCount"] == 0

    assert confirm(seller, received, confirmation("2")).status_code == 201


def test_an_operator_confirms_for_the_seller_it_names(operator: ApiClient, received: dict[str, Any]) -> None:
    assert confirm(operator, received, confirmation(), sellerId=received["sellerId"]).status_code == 201


# Refused by the contract.


@pytest.mark.parametrize(
    ("changes", "pointers"),
    [
        ({"packageReferenceId": 1}, ["/packageReferenceId"]),
        ({"packageReferenceId": "0"}, ["/packageReferenceId"]),
        ({"packageReferenceId": "01"}, ["/packageReferenceId"]),
        ({"packageReferenceId": "A"}, ["/packageReferenceId"]),
        ({"packageReferenceId": ""}, ["/packageReferenceId"]),
        ({"packageReferenceId": "1" * 20}, ["/packageReferenceId"]),
        ({"packageReferenceId": "1\n"}, ["/packageReferenceId"]),
        ({"packageReferenceId": "\u0661"}, ["/packageReferenceId"]),
        ({"packageReferenceId": None}, ["/packageReferenceId"]),
        ({"carrierCode": ""}, ["/carrierCode"]),
        ({"carrierCode": None}, ["/carrierCode"]),
        ({"carrierCode": "Other"}, ["/carrierName"]),
        ({"carrierCode": "Other", "carrierName": ""}, ["/carrierName"]),
        ({"carrierName": "x" * 101}, ["/carrierName"]),
        ({"trackingNumber": "a\0b"}, ["/trackingNumber"]),
        ({"trackingNumber": 5}, ["/trackingNumber"]),
        ({"shippingMethod": []}, ["/shippingMethod"]),
        ({"shipDate": "2026-03-02T12:00:00"}, ["/shipDate"]),
        ({"shipDate": "2026-03-02"}, ["/shipDate"]),
        ({"shipDate": 1772366400}, ["/shipDate"]),
        ({"orderItems": []}, ["/orderItems"]),
        ({"orderItems": None}, ["/orderItems"]),
        ({"orderItems": {}}, ["/orderItems"]),
        ({"orderItems": [1]}, ["/orderItems/0"]),
        ({"orderItems": [units("1", 0)]}, ["/orderItems/0/quantity"]),
        ({"orderItems": [units("1", -1)]}, ["/orderItems/0/quantity"]),
        ({"orderItems": [units("1", 1), {"orderItemId": "2", "quantity": "1"}]}, ["/orderItems/1/quantity"]),
        ({"orderItems": [{"orderItemId": "1", "quantity": 1.0}]}, ["/orderItems/0/quantity"]),
        ({"orderItems": [{"orderItemId": "1", "quantity": True}]}, ["/orderItems/0/quantity"]),
        ({"orderItems": [units("1", 10**9)]}, ["/orderItems/0/quantity"]),
        ({"orderItems": [{"quantity": 1}]}, ["/orderItems/0/orderItemId"]),
        ({"orderItems": [{"orderItemId": "1"}]}, ["/orderItems/0/quantity"]),
        ({"orderItems": [units("1", 1) | {"note": "x"}]}, ["/orderItems/0/note"]),
        ({"orderItems": [units("1", 1), units("1", 1)]}, ["/orderItems"]),
        ({"orderItems": [units("1", 1) | {"transparencyCodes": [5]}]}, ["/orderItems/0/transparencyCodes/0"]),
        ({"carrierCode": " other "}, ["/carrierName"]),
        ({"shipFromAddress": {"phone": "1"}}, ["/shipFromAddress/phone"]),
        ({"overrideCancellationRequest": "true"}, ["/overrideCancellationRequest"]),
        ({"marketplaceId": "ATVPDKIKX0DER"}, ["/marketplaceId"]),
        ({"carrierCode": 1, "shipDate": "x"}, ["/carrierCode", "/shipDate"]),
    ],
)
def test_a_confirmation_that_breaks_the_contract_is_refused_with_each_place(
    changes: dict[str, Any], pointers: list[str], seller: ApiClient, received: dict[str, Any]
) -> None:
    response = confirm(seller, received, confirmation() | changes)

    assert sorted(map(str, refusal(response, 422, "invalid-request"))) == pointers
    assert seller.get(f"/v1/orders/{received['orderId']}").get_json()["version"] == 1


@pytest.mark.parametrize("name", ["packageReferenceId", "carrierCode", "shipDate"])
def test_what_a_confirmation_lacks_is_named(name: str, seller: ApiClient, received: dict[str, Any]) -> None:
    body = {key: value for key, value in confirmation().items() if key != name}

    assert refusal(confirm(seller, received, body), 422, "invalid-request") == [f"/{name}"]


def test_every_fault_of_a_confirmation_is_told_at_once(seller: ApiClient, received: dict[str, Any]) -> None:
    fields = {"carrierCode": "Other", "orderItems": [units("1", 1), units("1", 0)], "trackingNumber": 7}
    told = refusal(confirm(seller, received, fields), 422, "invalid-request")
    assert set(told) == {"/packageReferenceId", "/shipDate", "/orderItems/1/quantity", "/trackingNumber"}

    whole = confirmation(carrierCode="Other", orderItems=[units("1", 1), units("1", 1)])
    assert set(refusal(confirm(seller, received, whole), 422, "invalid-request")) == {"/orderItems", "/carrierName"}


def test_empty_text_is_what_the_seller_does_not_have(seller: ApiClient, received: dict[str, Any]) -> None:
    path = f"/v1/orders/{received['orderId']}/shipment-confirmations"
    with_empty = confirmation(carrierName="", shippingMethod="", trackingNumber="")
    response = seller.post(path, with_empty)
    assert response.status_code == 201
    (package,) = response.get_json()["packages"]
    assert package.keys().isdisjoint({"shippingService", "trackingNumber"})
    assert package["carrier"] == "UPS"
    without = {key: value for key, value in with_empty.items() if value}
    assert seller.post(path, without).status_code == 200


def test_a_carrier_without_a_code_is_named(seller: ApiClient, received: dict[str, Any]) -> None:
    body = confirmation(carrierCode="Other", carrierName="Bicycle courier")
    (package,) = confirm(seller, received, body).get_json()["packages"]

    assert (package["carrier"], package["carrierCode"]) == ("Bicycle courier", "Other")


# At the same time.


def at_once(calls: list[Callable[[], TestResponse]]) -> list[TestResponse]:
    with ThreadPoolExecutor(len(calls)) as threads:
        return [each.result() for each in [threads.submit(call) for call in calls]]


def test_packages_confirmed_at_once_charge_once_and_never_exceed_the_order(
    seller: ApiClient, set_clock: Clock, owner: psycopg.Connection
) -> None:
    set_clock(NOW)
    items = [{"orderItemId": "1", "quantityOrdered": 7, "product": {"title": "Mug"}}]
    for _ in range(3):
        order = receive(seller, orderItems=items)
        answers = at_once(
            [
                lambda order=order, number=number: confirm(
                    seller, order, confirmation(str(number), orderItems=[units("1", 1)])
                )
                for number in range(1, 13)
            ]
        )
        shown = seller.get(f"/v1/orders/{order['orderId']}").get_json()

        assert Counter(each.status_code for each in answers) == {201: 7, 409: 5}
        assert all(refusal(each, 409, "nothing-to-confirm") == [] for each in answers if each.status_code == 409)
        assert len(shown["packages"]) == 7
        assert shown["version"] == 8
        assert shown["fulfillment"]["fulfillmentStatus"] == "SHIPPED"
        assert charges(owner, order) == [("50.00", "USD")]


def test_one_package_confirmed_at_once_many_times_is_confirmed_once(
    seller: ApiClient, set_clock: Clock, owner: psycopg.Connection
) -> None:
    set_clock(NOW)
    for _ in range(3):
        order = receive(seller)
        body = confirmation("1", orderItems=[units("1", 1)])
        answers = at_once([lambda order=order, body=body: confirm(seller, order, body)] * 12)

        assert Counter(each.status_code for each in answers) == {201: 1, 200: 11}
        assert len({each.text for each in answers}) == 1
        assert charges(owner, order) == [("50.00", "USD")]


def test_one_package_confirmed_at_once_with_different_contents_is_confirmed_once(
    seller: ApiClient, received: dict[str, Any], owner: psycopg.Connection
) -> None:
    answers = at_once(
        [
            lambda number=number: confirm(seller, received, confirmation("1", trackingNumber=f"T{number}"))
            for number in range(8)
        ]
    )

    assert Counter(each.status_code for each in answers) == {201: 1, 409: 7}
    assert charges(owner, received) == [("50.00", "USD")]

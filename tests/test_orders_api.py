"""Orders are found (R1-R3): every filter against a model in plain Python, every page, and what an answer looks like."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias
from urllib.parse import quote

import orjson
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from service.database import Database
from service.ingest.actions import receive_orders
from service.ingest.rules import Outcome
from service.ingest.schemas import read_line
from service.orders.examples import INCOMING_ORDER, NEW_ORDER, ORDER
from service.shipments.schemas import CONFIRMATION
from tests.conftest import CONFIRM_BY, NOW, OTHER_SELLER, SELLER, SHIP_BY, ApiClient, confirmation, order_document

Json: TypeAlias = Any
Order = dict[str, Any]
Clock = Callable[[datetime | str], datetime]

MARKETPLACES = ("ATVPDKIKX0DER", "A1PA6795UKMFR9", "A1VC38T7YXB528")
STATUSES = ("PENDING", "UNSHIPPED", "PARTIALLY_SHIPPED", "SHIPPED", "CANCELLED")
HOUR = timedelta(hours=1)


def incoming(number: int, chooser: random.Random) -> Order:
    """Return an order at some point of its life; several share one createdTime."""
    status = STATUSES[number % len(STATUSES)]
    order = order_document(
        createdTime=(NOW - chooser.randrange(12) * HOUR).isoformat(),
        salesChannel={
            "channelName": chooser.choice(["AMAZON", "NON_AMAZON"]),
            "marketplaceId": chooser.choice(MARKETPLACES),
        },
        fulfillment__fulfillmentStatus=status,
        fulfillment__fulfilledBy=chooser.choice(["AMAZON", "MERCHANT"]),
    )
    packed = {"PARTIALLY_SHIPPED": [("1", 1)], "SHIPPED": [("1", 2), ("2", 1)]}.get(status)
    if packed:
        items = [{"orderItemId": item, "quantity": quantity} for item, quantity in packed]
        order["packages"] = [{"packageReferenceId": "1", "carrierCode": "UPS", "packageItems": items}]
        for item in order["orderItems"]:
            item["fulfillment"] = {"quantityFulfilled": dict(packed).get(item["orderItemId"], 0)}
    return order


@pytest.fixture
def sixty(owner: psycopg.Connection, database: Database, set_clock: Clock) -> list[Order]:
    """Return sixty orders as they came, with the time of receipt, over three hours; another seller has some as well."""
    chooser = random.Random(7)  # noqa: S311  # the same orders every time
    orders = [incoming(number, chooser) | {"sellerId": SELLER} for number in range(60)]
    foreign = [incoming(number, chooser) | {"sellerId": OTHER_SELLER} for number in range(6)]
    for hour in range(3):
        set_clock(NOW + hour * HOUR)
        batch = [*orders[hour::3], *foreign[hour::3]]
        with database.operator_transaction() as connection:
            outcomes = receive_orders(connection, [read_line(orjson.dumps(each)) for each in batch], "test")
        assert outcomes == [Outcome.CREATED] * len(batch)
    updated = dict(owner.execute("SELECT order_id, last_updated_time FROM orders").fetchall())
    return [order | {"lastUpdatedTime": updated[order["orderId"]].isoformat()} for order in orders]


def instant(text: str) -> datetime:
    return datetime.fromisoformat(text)


def model(orders: list[Order], filters: dict[str, Any]) -> list[str]:
    """Return the ids that a list must show, in its order: written without a look at the service."""

    def matches(order: Order) -> bool:
        created, updated = instant(order["createdTime"]), instant(order["lastUpdatedTime"])
        fulfillment = order["fulfillment"]
        checks: dict[str, Callable[[Any], bool]] = {
            "createdAfter": lambda value: created >= instant(value),
            "createdBefore": lambda value: created <= instant(value),
            "lastUpdatedAfter": lambda value: updated >= instant(value),
            "lastUpdatedBefore": lambda value: updated <= instant(value),
            "fulfillmentStatuses": lambda value: fulfillment["fulfillmentStatus"] in value,
            "marketplaceIds": lambda value: order["salesChannel"]["marketplaceId"] in value,
            "fulfilledBy": lambda value: fulfillment["fulfilledBy"] in value,
        }
        return all(checks[name](value) for name, value in filters.items())

    chosen = [order for order in orders if matches(order)]
    newest_first = sorted(chosen, key=lambda each: (instant(each["createdTime"]), each["orderId"]), reverse=True)
    return [order["orderId"] for order in newest_first]


def listed(client: ApiClient, **query: Json) -> list[str]:
    """Return the ids on every page of a list."""
    return [order["orderId"] for page in pages(client, **query) for order in page]


def pages(client: ApiClient, **query: Json) -> Iterator[list[Order]]:
    while True:
        response = client.get("/v1/orders", **query)
        assert response.status_code == 200, response.text
        page = response.get_json()
        yield page["orders"]
        if "nextToken" not in page.get("pagination", {}):
            return
        query["paginationToken"] = page["pagination"]["nextToken"]


def refused_parameters(response: TestResponse) -> set[str]:
    """Return the parameters that a refusal names."""
    assert response.status_code == 422, response.text
    return {error["parameter"] for error in response.get_json()["errors"]}


def test_without_a_filter_every_order_on_every_channel_is_listed_newest_first(
    seller: ApiClient, sixty: list[Order]
) -> None:
    channels = {(each["salesChannel"]["channelName"], each["salesChannel"]["marketplaceId"]) for each in sixty}

    assert len(channels) == 6
    assert listed(seller) == model(sixty, {})
    assert len(seller.get("/v1/orders").get_json()["orders"]) == 50


def test_each_filter_alone_finds_what_the_model_finds(seller: ApiClient, sixty: list[Order]) -> None:
    middle = sorted(instant(each["createdTime"]) for each in sixty)[30].isoformat()
    updated = sorted(instant(each["lastUpdatedTime"]) for each in sixty)[30].isoformat()
    cases: list[dict[str, Any]] = [
        {"createdAfter": middle},
        {"createdBefore": middle},
        {"lastUpdatedAfter": updated},
        {"lastUpdatedBefore": updated},
        *({"fulfillmentStatuses": [status]} for status in STATUSES),
        *({"marketplaceIds": [marketplace]} for marketplace in MARKETPLACES),
        {"fulfilledBy": ["AMAZON"]},
        {"fulfilledBy": ["MERCHANT"]},
    ]
    for filters in cases:
        expected = model(sixty, filters)
        assert 0 < len(expected) < 60, filters
        assert listed(seller, **filters) == expected, filters


def test_both_ends_of_a_range_belong_to_it_to_the_microsecond(seller: ApiClient, set_clock: Clock) -> None:
    set_clock(NOW)
    moment = datetime(2026, 2, 28, 23, 59, 59, 999999, tzinfo=UTC)
    order = order_document(createdTime=moment.isoformat())
    shown = seller.post("/v1/orders", order).get_json()
    step = timedelta(microseconds=1)
    for name, told in (("created", moment), ("lastUpdated", instant(shown["lastUpdatedTime"]))):
        after, before = f"{name}After", f"{name}Before"
        assert listed(seller, **{after: told.isoformat(), before: told.isoformat()}) == [order["orderId"]]
        assert listed(seller, **{after: (told + step).isoformat()}) == []
        assert listed(seller, **{before: (told - step).isoformat()}) == []


@pytest.mark.parametrize(
    "text",
    ["2026-03-01T12:00:00Z", "2026-03-01T12:00:00.000000z", "2026-03-01T14:00:00+02:00", "2026-03-01T04:00:00-08:00",
     "2026-03-01T17:45:00+05:45", "2026-03-02T02:00:00+14:00", "2026-03-01t12:00:00.0+00:00"],
)  # fmt: skip
def test_an_instant_may_be_written_in_any_offset(text: str, received: Order, seller: ApiClient) -> None:
    assert received["createdTime"] == "2026-03-01T12:00:00Z"
    assert listed(seller, createdAfter=text, createdBefore=text) == [received["orderId"]]


@pytest.mark.parametrize("name", ["createdAfter", "createdBefore", "lastUpdatedAfter", "lastUpdatedBefore"])
@pytest.mark.parametrize(
    "text",
    ["2026-03-01T12:00:00", "2026-03-01", "2026-03-01T12:00:00 02:00", "1772366400", "yesterday", "",
     "2026-02-29T00:00:00Z", "2026-03-01T24:00:01Z", "2026-03-01T12:00:00+25:00",
     "\u0662\u0660\u0662\u0666-03-01T12:00:00Z"],
)  # fmt: skip
def test_a_naive_or_impossible_instant_is_refused_by_name(name: str, text: str, seller: ApiClient) -> None:
    assert refused_parameters(seller.get("/v1/orders", **{name: text})) == {name}


def test_a_list_is_repeated_or_separated_by_commas(seller: ApiClient, sixty: list[Order]) -> None:
    expected = model(sixty, {"fulfillmentStatuses": ["PENDING", "SHIPPED", "CANCELLED"]})
    ways = [
        "fulfillmentStatuses=PENDING&fulfillmentStatuses=SHIPPED&fulfillmentStatuses=CANCELLED",
        "fulfillmentStatuses=PENDING,SHIPPED,CANCELLED",
        "fulfillmentStatuses=PENDING,SHIPPED&fulfillmentStatuses=CANCELLED&fulfillmentStatuses=PENDING",
        "fulfillmentStatuses=PENDING%2CSHIPPED%2CCANCELLED",
    ]
    for way in ways:
        found = seller.request("GET", f"/v1/orders?{way}&maxResultsPerPage=100").get_json()["orders"]
        assert [order["orderId"] for order in found] == expected, way


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("unknown=1", "unknown"),
        ("createdafter=2026-03-01T00:00:00Z", "createdafter"),
        ("created_after=2026-03-01T00:00:00Z", "created_after"),
        ("fulfillmentStatuses=LATE", "fulfillmentStatuses"),
        ("fulfillmentStatuses=unshipped", "fulfillmentStatuses"),
        ("fulfillmentStatuses=PENDING,", "fulfillmentStatuses"),
        ("fulfillmentStatuses=", "fulfillmentStatuses"),
        ("fulfilledBy=SELLER", "fulfilledBy"),
        ("fulfilledBy=AMAZON, MERCHANT", "fulfilledBy"),
        ("marketplaceIds=", "marketplaceIds"),
        ("marketplaceIds=" + "A" * 51, "marketplaceIds"),
        ("marketplaceIds=" + ",".join(["A"] * 51), "marketplaceIds"),
        ("maxResultsPerPage=0", "maxResultsPerPage"),
        ("maxResultsPerPage=101", "maxResultsPerPage"),
        ("maxResultsPerPage=-1", "maxResultsPerPage"),
        ("maxResultsPerPage=ten", "maxResultsPerPage"),
        ("maxResultsPerPage=5.0", "maxResultsPerPage"),
        ("maxResultsPerPage=%2010", "maxResultsPerPage"),
        ("maxResultsPerPage=", "maxResultsPerPage"),
        ("maxResultsPerPage=5&maxResultsPerPage=6", "maxResultsPerPage"),
        ("createdAfter=2026-03-02T00:00:00Z&createdBefore=2026-03-01T00:00:00Z", "createdAfter"),
        ("createdAfter=2026-03-01T00:00:00-01:00&createdBefore=2026-03-01T00:00:00Z", "createdAfter"),
        ("lastUpdatedAfter=2026-03-02T00:00:00Z&lastUpdatedBefore=2026-03-01T00:00:00Z", "lastUpdatedAfter"),
        ("paginationToken=", "paginationToken"),
        ("paginationToken=garbage", "paginationToken"),
        ("paginationToken=a.b", "paginationToken"),
        ("paginationToken=WyJhIl0.AAAA", "paginationToken"),
        ("paginationToken=" + quote("\u00e9.\u00fc"), "paginationToken"),
    ],
)
def test_a_query_that_cannot_be_right_is_refused_by_name(query: str, name: str, seller: ApiClient) -> None:
    assert refused_parameters(seller.request("GET", f"/v1/orders?{query}")) == {name}


def test_a_range_of_one_instant_is_not_turned_around(seller: ApiClient) -> None:
    assert listed(seller, createdAfter="2026-03-01T02:00:00+02:00", createdBefore="2026-03-01T00:00:00Z") == []


@pytest.mark.parametrize("size", [1, 7, 100])
def test_pages_hold_every_order_exactly_once(size: int, seller: ApiClient, sixty: list[Order]) -> None:
    found = list(pages(seller, maxResultsPerPage=size))

    assert [len(page) for page in found[:-1]] == [size] * (len(found) - 1)
    assert 0 < len(found[-1]) <= size
    assert [order["orderId"] for page in found for order in page] == model(sixty, {})


@pytest.mark.parametrize("size", [1, 7])
def test_orders_that_come_between_two_pages_neither_repeat_nor_hide_others(
    size: int, seller: ApiClient, sixty: list[Order]
) -> None:
    chooser, found = random.Random(size), list[str]()  # noqa: S311  # the same orders every time
    for page in pages(seller, maxResultsPerPage=size):
        found += [order["orderId"] for order in page]
        if len(found) < 60:
            new = incoming(1, chooser) | {"createdTime": chooser.choice(sixty)["createdTime"]}
            assert seller.post("/v1/orders", new).status_code == 201

    known = {order["orderId"] for order in sixty}
    assert len(set(found)) == len(found)
    assert [order_id for order_id in found if order_id in known] == model(sixty, {})


def test_the_page_size_may_change_from_page_to_page(seller: ApiClient, sixty: list[Order]) -> None:
    first = seller.get("/v1/orders", maxResultsPerPage=3).get_json()
    token = first["pagination"]["nextToken"]
    rest = seller.get("/v1/orders", maxResultsPerPage=100, paginationToken=token).get_json()

    assert list(rest["pagination"]) == ["previousToken"]
    assert [order["orderId"] for order in [*first["orders"], *rest["orders"]]] == model(sixty, {})


def test_a_page_that_ends_with_the_last_order_has_no_token(seller: ApiClient, sixty: list[Order]) -> None:
    del sixty
    filters = {"fulfillmentStatuses": "SHIPPED"}

    assert len(list(pages(seller, maxResultsPerPage=12, **filters))) == 1
    assert len(list(pages(seller, maxResultsPerPage=6, **filters))) == 2


def test_a_page_token_works_for_its_seller_and_its_filters_only(
    seller: ApiClient, other_seller: ApiClient, operator: ApiClient, sixty: list[Order]
) -> None:
    filters = {"fulfillmentStatuses": "SHIPPED,PENDING", "createdBefore": NOW.isoformat()}
    page = seller.get("/v1/orders", maxResultsPerPage=5, **filters).get_json()
    token = page["pagination"]["nextToken"]

    def named(client: ApiClient, **query: Json) -> set[str]:
        return refused_parameters(client.get("/v1/orders", paginationToken=token, **query))

    assert named(other_seller, **filters) == {"paginationToken"}
    assert named(seller) == {"paginationToken"}
    assert named(seller, **filters | {"fulfillmentStatuses": "SHIPPED"}) == {"paginationToken"}
    assert named(seller, **filters, fulfilledBy="AMAZON") == {"paginationToken"}
    assert named(operator, **filters, sellerId=OTHER_SELLER) == {"paginationToken"}
    assert refused_parameters(operator.get("/v1/cancellation-runs", paginationToken=token)) == {"paginationToken"}

    same = operator.get("/v1/orders", sellerId=SELLER, paginationToken=token, maxResultsPerPage=5, **filters)
    shown = [order["orderId"] for order in [*page["orders"], *same.get_json()["orders"]]]
    assert shown == model(sixty, {**filters, "fulfillmentStatuses": ["SHIPPED", "PENDING"]})[:10]
    equal_instant = filters | {"createdBefore": "2026-03-02T14:00:00+02:00"}
    assert seller.get("/v1/orders", paginationToken=token, **equal_instant).status_code == 200


def test_a_page_token_that_was_tampered_with_is_refused(seller: ApiClient, sixty: list[Order]) -> None:
    del sixty
    token = seller.get("/v1/orders", maxResultsPerPage=1).get_json()["pagination"]["nextToken"]
    assert seller.get("/v1/orders", paginationToken=token).status_code == 200
    for place in range(0, len(token) - 1, 5):  # the last character may hold bits that mean nothing
        changed = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        assert refused_parameters(seller.get("/v1/orders", paginationToken=changed)) == {"paginationToken"}, place
    for changed in (token[:-5], token + "AAAA", "." + token, token * 2, token.upper()):
        assert refused_parameters(seller.get("/v1/orders", paginationToken=changed)) == {"paginationToken"}


def test_random_combinations_of_filters_find_what_the_model_finds(seller: ApiClient, sixty: list[Order]) -> None:
    moments = st.sampled_from(sorted({order["createdTime"] for order in sixty}))
    updates = st.sampled_from(sorted({order["lastUpdatedTime"] for order in sixty}))
    filters = st.fixed_dictionaries(
        {},
        optional={
            "createdAfter": moments,
            "createdBefore": moments,
            "lastUpdatedAfter": updates,
            "lastUpdatedBefore": updates,
            "fulfillmentStatuses": st.lists(st.sampled_from(STATUSES), min_size=1, max_size=4),
            "marketplaceIds": st.lists(st.sampled_from([*MARKETPLACES, "UNKNOWN"]), min_size=1, max_size=3),
            "fulfilledBy": st.lists(st.sampled_from(["AMAZON", "MERCHANT"]), min_size=1, max_size=2),
        },
    )

    @settings(
        max_examples=60,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(filters=filters, size=st.integers(4, 100))
    def check(filters: dict[str, Any], size: int) -> None:
        turned = {
            f"{name}After"
            for name in ("created", "lastUpdated")
            if f"{name}After" in filters
            and instant(filters[f"{name}After"]) > instant(filters.get(f"{name}Before", "9999-01-01T00:00:00Z"))
        }
        if turned:
            assert refused_parameters(seller.get("/v1/orders", **filters)) <= turned
        else:
            assert listed(seller, maxResultsPerPage=size, **filters) == model(sixty, filters)

    check()


# The representation.


def test_the_list_and_the_single_order_show_the_same(seller: ApiClient, sixty: list[Order]) -> None:
    del sixty
    for order in seller.get("/v1/orders", maxResultsPerPage=100).get_json()["orders"]:
        assert seller.get(f"/v1/orders/{order['orderId']}").get_json() == order


def test_an_order_is_shown_as_its_channel_sent_it_with_what_is_derived_here(
    seller: ApiClient, set_clock: Clock
) -> None:
    set_clock(NOW)
    sent = order_document(
        orderAliases=[{"aliasId": 'a "quoted" \\ name / \u2028 \U0001f600', "aliasType": "SELLER_ORDER_ID"}],
        programs=["PRIME"],
        buyer__buyerName="Zo\u00eb <b>&amp;",
        recipient__deliveryAddress={"name": "Zo\u00eb", "city": "Z\u00fcrich", "phone": "+1 555 0100"},
        fulfillment__deliverByWindow={"latestDateTime": "2026-03-12T06:59:59Z"},
    )
    sent["orderItems"][0]["product"]["price"] = {"unitPrice": {"amount": "12.30", "currencyCode": "USD"}}
    shown = seller.post("/v1/orders", sent).get_json()

    assert seller.get(f"/v1/orders/{sent['orderId']}").get_json() == shown
    for name in ("orderId", "orderAliases", "programs", "buyer", "salesChannel", "proceeds"):
        assert shown[name] == sent[name], name
    assert shown["recipient"] == {"deliveryAddress": {"name": "Zo\u00eb", "city": "Z\u00fcrich"}}
    assert shown["sellerId"] == SELLER
    assert shown["version"] == 1
    assert shown["payment"] == {"paymentStatus": "AUTHORIZED"}
    assert instant(shown["lastUpdatedTime"]) - NOW < HOUR
    assert instant(shown["fulfillment"].pop("confirmBy")) == CONFIRM_BY
    assert instant(shown["fulfillment"]["shipByWindow"]["latestDateTime"]) == SHIP_BY
    assert shown["fulfillment"]["shipmentIsLate"] is False
    assert {"packages", "cancellation", "warnings"} & shown.keys() == set()
    for item, was in zip(shown["orderItems"], sent["orderItems"], strict=True):
        unfulfilled = {"quantityFulfilled": 0, "quantityUnfulfilled": was["quantityOrdered"]}
        assert item == was | {"fulfillment": unfulfilled}


def test_an_order_is_late_after_its_ship_by_instant_until_all_is_confirmed(
    seller: ApiClient, received: Order, set_clock: Clock
) -> None:
    path = f"/v1/orders/{received['orderId']}"

    def late() -> bool:
        order = seller.get(path).get_json()
        (listed_order,) = seller.get("/v1/orders").get_json()["orders"]
        assert listed_order == order
        warnings = order.get("warnings", [])
        assert [each["code"] for each in warnings] == ["SHIPMENT_IS_LATE"] * order["fulfillment"]["shipmentIsLate"]
        assert all(each["message"] == "Shipment is late" and instant(each["since"]) == SHIP_BY for each in warnings)
        return order["fulfillment"]["shipmentIsLate"]

    set_clock(SHIP_BY - timedelta(minutes=1))
    assert not late()
    set_clock(SHIP_BY)
    assert late()
    one = confirmation("1", orderItems=[{"orderItemId": "1", "quantity": 2}])
    assert seller.post(f"{path}/shipment-confirmations", one).status_code == 201
    assert late()
    assert seller.post(f"{path}/shipment-confirmations", confirmation("2")).status_code == 201
    assert not late()


def test_pending_platform_fulfilled_and_cancelled_orders_are_never_late(seller: ApiClient, set_clock: Clock) -> None:
    set_clock(NOW)
    for changes in (
        {"fulfillment__fulfillmentStatus": "PENDING"},
        {"fulfillment__fulfilledBy": "AMAZON"},
        {"fulfillment__fulfillmentStatus": "CANCELLED"},
    ):
        assert seller.post("/v1/orders", order_document(**changes)).status_code == 201
    set_clock(CONFIRM_BY + timedelta(days=30))
    orders = seller.get("/v1/orders").get_json()["orders"]

    assert len(orders) == 3
    assert not any(order["fulfillment"]["shipmentIsLate"] or "warnings" in order for order in orders)


def test_an_order_that_the_seller_does_not_have_is_not_found(seller: ApiClient) -> None:
    response = seller.get("/v1/orders/902-0000000-9999999")

    assert response.status_code == 404
    assert response.get_json()["type"] == "urn:manage-orders:problem:order-not-found"


def test_a_list_without_orders_is_empty(seller: ApiClient) -> None:
    assert seller.get("/v1/orders").get_json() == {"orders": []}


def test_the_documented_examples_are_what_the_service_answers(seller: ApiClient, set_clock: Clock) -> None:
    def without_times(order: dict[str, Any]) -> dict[str, Any]:
        order = deepcopy(order)
        del order["lastUpdatedTime"]
        for name in ("requestedTime", "chargedTime"):
            order["payment"].get("charge", {}).pop(name, None)
        for package in order.get("packages", ()):
            del package["createdTime"]
        return order

    set_clock("2026-03-02T09:15:31Z")
    received = seller.post("/v1/orders", INCOMING_ORDER)
    assert received.status_code == 201
    assert without_times(received.get_json()) == without_times(NEW_ORDER)
    set_clock("2026-03-06T16:20:41Z")
    confirmed = seller.post(f"/v1/orders/{NEW_ORDER['orderId']}/shipment-confirmations", CONFIRMATION)
    assert confirmed.status_code == 201
    assert without_times(confirmed.get_json()) == without_times(ORDER)

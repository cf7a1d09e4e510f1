"""Counts by kind: the sizes of the model's groups, whatever the filters; exact to a cap."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import strategies as st

from service.database import Database
from tests.conftest import OTHER_SELLER, SELLER, ApiClient
from tests.contract import Contract
from tests.order_model import CAP, GROUPINGS, STATUSES, counts
from tests.test_find_orders_model import PARAMETERS, combinations, run, turned
from tests.varied_orders import NOW, World, varied_world


@pytest.fixture(scope="module")
def world(make_database_url: Callable[[], str], contract: Contract) -> Iterator[World]:
    with varied_world(make_database_url(), contract) as world:
        yield world


def groups(client: ApiClient, by: str, **filters: Any) -> list[dict[str, Any]]:
    response = client.get("/v1/orders/counts", by=by, **filters)
    assert response.status_code == 200, response.text
    answer = response.get_json()
    assert answer.keys() == {"by", "groups"}
    assert answer["by"] == by
    return answer["groups"]


@pytest.mark.parametrize("by", GROUPINGS)
def test_all_orders_are_counted_by_kind(world: World, by: str) -> None:
    counted = groups(world.seller, by)

    assert counted == counts(world.orders, {}, by, NOW)
    assert sum(group["count"] for group in counted) == len(world.orders)
    assert groups(world.operator, by, sellerId=SELLER) == counted
    assert sum(group["count"] for group in groups(world.operator, by, sellerId=OTHER_SELLER)) == 50


@pytest.mark.parametrize("by", GROUPINGS)
def test_kinds_without_orders_are_counted_but_for_marketplaces(world: World, by: str) -> None:
    counted = groups(world.seller, by, q="no order has this")

    assert counted == counts([], {}, by, NOW)
    assert [group["value"] for group in counted] == {
        "fulfillmentStatus": list(STATUSES),
        "fulfilledBy": ["AMAZON", "MERCHANT"],
        "marketplaceId": [],
        "shipmentIsLate": ["true", "false"],
    }[by]


@pytest.mark.parametrize("by", GROUPINGS)
def test_counts_are_the_models_for_every_filter(world: World, by: str) -> None:
    def together(filters: dict[str, Any]) -> None:
        if not turned(filters):
            assert groups(world.seller, by, **filters) == counts(world.orders, filters, by, NOW)

    names = st.lists(st.sampled_from(PARAMETERS), max_size=4, unique=True)
    run(150, together, filters=combinations(world.orders, names))


@pytest.mark.parametrize("name", PARAMETERS)
def test_each_parameter_alone_is_counted_with(world: World, name: str) -> None:
    def alone(filters: dict[str, Any], by: str) -> None:
        assert groups(world.seller, by, **filters) == counts(world.orders, filters, by, NOW)

    run(6, alone, filters=combinations(world.orders, st.just([name])), by=st.sampled_from(GROUPINGS))


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("", "by"),
        ("by=", "by"),
        ("by=country", "by"),
        ("by=fulfillmentstatus", "by"),
        ("by=fulfilledBy&by=fulfilledBy", "by"),
        ("by=fulfilledBy&unknown=1", "unknown"),
        ("by=fulfilledBy&sort=createdTime", "sort"),
        ("by=fulfilledBy&maxResultsPerPage=10", "maxResultsPerPage"),
        ("by=fulfilledBy&grandTotalMin=1", "currencyCode"),
        ("by=fulfilledBy&createdAfter=2026-03-02T00:00:00Z&createdBefore=2026-03-01T00:00:00Z", "createdAfter"),
        ("by=fulfilledBy&q=a", "q"),
    ],
)
def test_what_cannot_be_counted_is_refused_by_name(query: str, name: str, seller: ApiClient) -> None:
    response = seller.request("GET", f"/v1/orders/counts?{query}")

    assert response.status_code == 422
    assert {error["parameter"] for error in response.get_json()["errors"]} == {name}


def test_a_group_is_counted_exactly_up_to_the_cap_and_says_when_there_are_more(
    seller: ApiClient, other_seller: ApiClient, owner: psycopg.Connection, database: Database
) -> None:
    del database
    made = {"UNSHIPPED": CAP + 1, "PENDING": CAP, "CANCELLED": CAP - 1}
    for number, (status, count) in enumerate(made.items()):
        make_orders(owner, status, count, f"{number}-")

    by_status = groups(seller, "fulfillmentStatus")
    assert by_status == [
        {"value": status, "count": min(made.get(status, 0), CAP), "capped": status == "UNSHIPPED"}
        for status in STATUSES
    ]
    assert groups(seller, "fulfilledBy") == [
        {"value": "AMAZON", "count": 0, "capped": False},
        {"value": "MERCHANT", "count": CAP, "capped": True},
    ]
    assert groups(seller, "marketplaceId", fulfillmentStatuses="PENDING,CANCELLED") == [
        {"value": "ATVPDKIKX0DER", "count": CAP, "capped": True}
    ]
    assert groups(seller, "marketplaceId", fulfillmentStatuses="CANCELLED") == [
        {"value": "ATVPDKIKX0DER", "count": CAP - 1, "capped": False}
    ]
    assert groups(seller, "shipmentIsLate") == [
        {"value": "true", "count": CAP, "capped": True},
        {"value": "false", "count": CAP, "capped": True},
    ]
    assert groups(other_seller, "fulfillmentStatus") == counts([], {}, "fulfillmentStatus", NOW)


def make_orders(owner: psycopg.Connection, status: str, count: int, prefix: str) -> None:
    """Put orders of the first seller into the tables, the unshipped ones late."""
    owner.execute(
        """
        WITH new AS (
            INSERT INTO orders (seller_id, order_id, version, created_time, last_updated_time, marketplace_id,
                policy_version, channel_name, fulfilled_by, fulfillment_status, payment_status, ship_by_latest,
                confirm_by, grand_total, currency_code, cancelled_time, cancel_reason, channel_digest, sales_channel,
                details)
            SELECT %(seller_id)s, %(prefix)s || number, 1, moment, moment, 'ATVPDKIKX0DER', 1, 'AMAZON', 'MERCHANT',
                %(status)s::text,
                CASE %(status)s::text WHEN 'UNSHIPPED' THEN 'AUTHORIZED' WHEN 'CANCELLED' THEN 'UNPAID' END,
                moment, moment + interval '9 days', 10, 'USD',
                CASE WHEN %(status)s = 'CANCELLED' THEN moment END,
                CASE WHEN %(status)s = 'CANCELLED' THEN 'CANCELLED_BY_CHANNEL' END, '',
                '{"channelName":"AMAZON","marketplaceId":"ATVPDKIKX0DER"}', ''
            FROM (SELECT number, timestamptz '2026-01-01Z' AS moment FROM generate_series(1, %(count)s) number) made
            RETURNING seller_id, order_id, created_time, ship_by_sort, confirm_by_sort, grand_total_sort
        ), items AS (
            INSERT INTO order_items SELECT seller_id, order_id, '1', 0, 1, 0, ',"product":{}', '' FROM new
        )
        INSERT INTO order_events (seller_id, order_id, version, event_type, event_time, actor, details,
            ship_by_sort, confirm_by_sort, grand_total_sort)
        SELECT seller_id, order_id, 1, 'ORDER_RECEIVED', created_time, 'test', '{}',
            ship_by_sort, confirm_by_sort, grand_total_sort
        FROM new
        """,
        {"seller_id": SELLER, "status": status, "count": count, "prefix": prefix},
    )

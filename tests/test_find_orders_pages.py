"""What happens to a page while it is read, and to one that has gone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from service.search import queries
from tests.conftest import NOW, ApiClient, order_document

SetClock = Callable[[datetime | str], datetime]
Level = {True: "EXPEDITED", False: "STANDARD"}


def put(client: ApiClient, order_id: str, *, days_ago: int, is_express: bool) -> None:
    order = order_document(
        orderId=order_id,
        createdTime=(NOW - timedelta(days=days_ago)).isoformat(),
        fulfillment__fulfillmentStatus="PENDING",
        fulfillment__fulfillmentServiceLevel=Level[is_express],
    )
    assert client.post("/v1/orders", order).status_code in {200, 201}


def test_orders_that_come_in_while_a_page_is_looked_for_push_none_out(
    seller: ApiClient, set_clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Broken by counting the orders on a walk, rather than bounding it by the order that it ends with.
    set_clock(NOW)
    monkeypatch.setattr(queries, "WALK_LENGTH", "5")
    for number in range(5):
        put(seller, f"old-{number}", days_ago=9 - number, is_express=number == 0)
    walk = queries._PageQuery._walk  # pyright: ignore[reportPrivateUsage]  # to come between its two statements

    def late_walk(query: Any, **options: Any) -> Any:
        for number in range(3):
            put(seller, f"new-{number}", days_ago=1, is_express=False)
        return walk(query, **options)

    monkeypatch.setattr(queries._PageQuery, "_walk", late_walk)  # pyright: ignore[reportPrivateUsage]  # the same
    page = seller.get("/v1/orders", fulfillmentServiceLevels="EXPEDITED").get_json()

    assert [order["orderId"] for order in page["orders"]] == ["old-0"]


def test_from_a_page_that_has_gone_the_way_back_leads_to_all_that_is_left(
    seller: ApiClient, set_clock: SetClock
) -> None:
    set_clock(NOW)
    for number in range(4):
        put(seller, f"order-{number}", days_ago=number + 1, is_express=True)
    query = {"fulfillmentServiceLevels": "EXPEDITED", "maxResultsPerPage": 2}
    first = seller.get("/v1/orders", **query).get_json()
    for number in (2, 3):
        put(seller, f"order-{number}", days_ago=number + 1, is_express=False)
    gone = seller.get("/v1/orders", **query, paginationToken=first["pagination"]["nextToken"]).get_json()

    assert gone["orders"] == []
    assert list(gone["pagination"]) == ["previousToken"]
    back = seller.get("/v1/orders", **query, paginationToken=gone["pagination"]["previousToken"]).get_json()
    assert [order["orderId"] for order in back["orders"]] == ["order-0", "order-1"]


def test_another_page_of_equal_looks_has_another_tag(seller: ApiClient, set_clock: SetClock) -> None:
    set_clock(NOW)
    for number in range(4):
        put(seller, f"order-{number}", days_ago=number + 1, is_express=True)
    query = {"fields": "fulfillment.fulfillmentStatus", "maxResultsPerPage": 2}
    first = seller.get("/v1/orders", **query)
    put(seller, "order-new", days_ago=0, is_express=True)

    changed = seller.request("GET", "/v1/orders", query_string=query, headers={"If-None-Match": first.headers["ETag"]})
    assert changed.status_code == 200
    assert changed.get_json()["orders"] == first.get_json()["orders"]

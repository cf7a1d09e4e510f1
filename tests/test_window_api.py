"""How a deadline came about, and business days for planning."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from service.database import Database
from service.deadlines.changes_actions import finish_deadline_changes
from tests.conftest import CONFIRM_BY, NOW, SELLER, ApiClient, order_document
from tests.contract import Contract
from tests.varied_orders import World, varied_world

US = "ATVPDKIKX0DER"


def window_of(client: ApiClient, order_id: str) -> dict[str, Any]:
    response = client.get(f"/v1/orders/{order_id}/window")
    assert response.status_code == 200, response.text
    return response.get_json()


def test_each_day_of_a_window_is_explained(seller: ApiClient, received: dict[str, Any]) -> None:
    told = window_of(seller, received["orderId"])

    assert told["shipByDate"] == "2026-03-06"
    assert [(day["date"][-2:], day.get("number"), day.get("reason")) for day in told["days"]] == [
        ("07", None, "WEEKEND"), ("08", None, "WEEKEND"), ("09", 1, None), ("10", 2, None), ("11", 3, None),
        ("12", 4, None), ("13", 5, None), ("14", None, "WEEKEND"), ("15", None, "WEEKEND"), ("16", 6, None),
        ("17", 7, None),
    ]  # fmt: skip
    assert told["countedConfirmBy"] == told["confirmBy"] == received["fulfillment"]["confirmBy"]
    assert (told["isClosed"], told["applies"], told["policyVersion"]) == (False, True, 1)
    assert 0 <= (CONFIRM_BY - NOW).total_seconds() - told["remainingSeconds"] < 30
    assert not {"extendedUntil", "extensions"} & told.keys()


def test_the_time_left_ends_with_the_window(
    seller: ApiClient, received: dict[str, Any], set_clock: Callable[[object], object]
) -> None:
    # Mutant: rounding down, which tells 0 in the last second although the order can still be confirmed.
    set_clock(CONFIRM_BY)
    closed = window_of(seller, received["orderId"])
    set_clock(CONFIRM_BY - timedelta(seconds=30))
    is_open = window_of(seller, received["orderId"])
    assert (closed["isClosed"], closed["remainingSeconds"]) == (True, 0)
    assert is_open["isClosed"] is False
    assert is_open["remainingSeconds"] > 0


def test_an_extended_deadline_tells_who_promised_what(
    seller: ApiClient, operator: ApiClient, received: dict[str, Any], database: Database
) -> None:
    asked = {
        "orders": [{"sellerId": SELLER, "orderId": received["orderId"]}],
        "businessDays": 1,
        "reason": "The service was down",
    }
    change = operator.post("/v1/deadline-extensions", asked).headers["Location"]
    assert operator.post(f"{change}/approval", {"expectedCount": 1}).status_code == 202
    finish_deadline_changes(database)

    told = window_of(seller, received["orderId"])
    assert told["countedConfirmBy"] == "2026-03-18T07:00:00Z"
    assert told["confirmBy"] == told["extendedUntil"] == "2026-03-19T07:00:00Z"
    (extension,) = told["extensions"]
    assert extension.pop("time").startswith("2026-03-02T12:00:")
    assert extension == {
        "changeId": change.rpartition("/")[2],
        "changeType": "EXTENSION",
        "reason": "The service was down",
        "was": "2026-03-18T07:00:00Z",
        "is": "2026-03-19T07:00:00Z",
    }


def test_an_order_without_a_window_says_why(seller: ApiClient, set_clock: Callable[[object], object]) -> None:
    set_clock(NOW)
    platform = order_document(fulfillment__fulfilledBy="AMAZON")
    pending = order_document(fulfillment__fulfillmentStatus="PENDING", fulfillment__shipByWindow=None)
    for order, reason in ((platform, "PLATFORM_FULFILLED"), (pending, "NO_SHIP_BY_DATE")):
        assert seller.post("/v1/orders", order).status_code == 201
        told = window_of(seller, order["orderId"])
        assert told == {"orderId": order["orderId"], "applies": False, "reason": reason}
    assert seller.get("/v1/orders/902-0/window").status_code == 404


# Business days.


def test_business_days_are_counted_for_planning(seller: ApiClient, owner: psycopg.Connection) -> None:
    def years() -> Any:
        return owner.execute("SELECT count(*) FROM marketplace_calendars").fetchone()

    before = years()
    # A year that is not stored is shown, and not stored by that.
    told = seller.get("/v1/business-days", **{"marketplaceId": US, "from": "2044-07-01", "days": "2"}).get_json()
    assert told["days"] == [
        {"date": "2044-07-02", "counts": False, "reason": "WEEKEND"},
        {"date": "2044-07-03", "counts": False, "reason": "WEEKEND"},
        {"date": "2044-07-04", "counts": False, "reason": "HOLIDAY", "name": "Independence Day"},
        {"date": "2044-07-05", "counts": True, "number": 1},
        {"date": "2044-07-06", "counts": True, "number": 2},
    ]
    assert (told["lastBusinessDay"], told["until"]) == ("2044-07-06", "2044-07-07T07:00:00Z")
    assert years() == before


@pytest.mark.parametrize(
    ("changes", "status", "parameter"),
    [
        ({"from": "9999-12-31"}, 422, "from"),
        ({"from": "0001-01-01"}, 422, "from"),
        ({"from": "2026-02-30"}, 422, "from"),
        ({"days": "0"}, 422, "days"),
        ({"days": "367"}, 422, "days"),
        ({"marketplaceId": "NOBODY"}, 404, "marketplaceId"),
    ],
)
def test_days_that_cannot_be_counted_are_refused(
    seller: ApiClient, changes: dict[str, str], status: int, parameter: str
) -> None:
    query = {"marketplaceId": US, "from": "2026-03-06", "days": "366"}
    assert seller.get("/v1/business-days", **query).status_code == 200
    refused = seller.get("/v1/business-days", **(query | changes))
    assert refused.status_code == status
    assert [error.get("parameter") for error in refused.get_json()["errors"]] == [parameter]


# Every order there is.


@pytest.fixture(scope="module")
def world(make_database_url: Callable[[], str], contract: Contract) -> Iterator[World]:
    with varied_world(make_database_url(), contract) as made:
        yield made


def test_what_is_explained_is_what_is_stored_of_every_order(world: World) -> None:
    explained = 0
    for order in world.orders:
        told, stored = window_of(world.seller, order["orderId"]), order["fulfillment"].get("confirmBy")
        assert told["applies"] is (stored is not None)
        if stored is not None:
            assert told["countedConfirmBy"] == told["confirmBy"] == stored
            assert sum(day["counts"] for day in told["days"]) == told["windowBusinessDays"]
            explained += 1
    assert explained > 100

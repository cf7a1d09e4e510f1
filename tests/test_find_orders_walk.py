"""A walk from page to page while orders change: every order that matched throughout comes exactly once."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, cast

import orjson
import psycopg
import pytest

from service.cancellation_job.actions import sweep
from service.database import Database
from service.ingest.actions import receive_orders
from service.ingest.schemas import read_line
from service.shipments.actions import confirm_shipment
from tests.conftest import NOW, SELLER, SHIP_BY, ApiClient, order_document
from tests.contract import Contract
from tests.order_model import SORTS, in_order
from tests.test_find_orders_model import short_walks
from tests.walk import MINE, Walker, faults, ids, is_mine, package, walker

Order = dict[str, Any]
Clock = Callable[[datetime | str], datetime]
Change = Callable[[Database, Order], None]

HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def walking(make_database_url: Callable[[], str], contract: Contract) -> Iterator[Walker]:
    with walker(make_database_url(), contract) as walking:
        walking.receive(3000)
        yield walking


@pytest.mark.parametrize("sort", SORTS)
def test_a_walk_under_writes_meets_every_order_once(walking: Walker, sort: str) -> None:
    there = [*walking.orders]
    with walking.under_writes() as written:
        walked = ids(walking.pages(sort, 40, {}))

    assert not faults(there, walked)
    assert {"receive", "change", "confirm"} <= written.keys()


@pytest.mark.parametrize("sort", SORTS)
def test_a_filtered_walk_under_writes_meets_every_order_once_both_ways(walking: Walker, sort: str) -> None:
    there = [order for order in walking.orders if is_mine(order)]
    with short_walks(100), walking.under_writes():
        forward = list(walking.pages(sort, 20, MINE))
        last = forward[-2]["pagination"]["nextToken"]
        back = list(walking.pages(sort, 20, MINE, "previousToken", paginationToken=last))

    assert not faults(there, ids(forward))
    assert not faults(there, ids(reversed(back)))


# Deterministic: each kind of change, at each place of a walk, and from transactions that took their time before it.


@pytest.fixture
def twelve(seller: ApiClient, set_clock: Clock) -> list[Order]:
    """Return orders in turn pending, due to be cancelled and open."""
    chooser, orders = random.Random(5), list[Order]()  # noqa: S311  # the same orders every time
    for number in range(12):
        set_clock(NOW - (24 - number) * HOUR)
        order = order_document(
            createdTime=(NOW - chooser.randrange(30, 40) * HOUR).isoformat(),
            fulfillment__fulfillmentStatus=("PENDING", "UNSHIPPED", "UNSHIPPED")[number % 3],
            fulfillment__shipByWindow={"latestDateTime": (SHIP_BY + _days(number, chooser)).isoformat()},
            proceeds__grandTotal__amount=str(chooser.randrange(40, 60)),
        )
        assert seller.post("/v1/orders", order).status_code == 201
        orders.append(order)
    set_clock(NOW)
    return orders


def _days(number: int, chooser: random.Random) -> timedelta:
    return timedelta(days=-30 if number % 3 == 1 else chooser.randrange(5))


def change_terms(database: Database, order: Order, *, raised: bool = True) -> None:
    """Receive a later version with another window and total, both beyond those of every other order."""
    later = order | {
        "sellerId": SELLER,
        "fulfillment": order["fulfillment"]
        | {"shipByWindow": {"latestDateTime": (SHIP_BY + timedelta(days=20 if raised else -5)).isoformat()}},
        "proceeds": {"grandTotal": {"amount": "99" if raised else "1", "currencyCode": "USD"}},
    }
    with database.seller_transaction(SELLER) as connection:
        receive_orders(connection, [read_line(orjson.dumps(later))], "test")


def lower_terms(database: Database, order: Order) -> None:
    change_terms(database, order, raised=False)


def confirm(database: Database, order: Order) -> None:
    confirm_shipment(database, SELLER, order["orderId"], package(None), "test", settled_outside=True)


def cancel_due(database: Database, order: Order) -> None:
    del order
    sweep(database, requested_by="test")


CHANGES: dict[str, tuple[Change, slice, int]] = {
    "a later version": (change_terms, slice(0, None, 3), 1),
    "an earlier window": (lower_terms, slice(0, None, 3), 1),
    "a confirmation": (confirm, slice(2, None, 3), 1),
    # It opens a transaction to start, one to look and one to cancel.
    "the sweep": (cancel_due, slice(1, 2), 3),
}
"""What changes orders, which of the twelve it can change, and in which of its transactions."""


class HeldDatabase:
    """Stands in for the database of an action: one of its transactions commits when it is told to."""

    def __init__(self, database: Database, held: int) -> None:
        self._database, self._left = database, held
        self.reached, self.released = threading.Event(), threading.Event()

    @contextmanager
    def seller_transaction(self, seller_id: str) -> Generator[psycopg.Connection]:
        with self._database.seller_transaction(seller_id) as connection:
            yield connection
            self._wait()

    @contextmanager
    def seller_pipeline(self, seller_id: str) -> Generator[psycopg.Connection]:
        # A statement at a time: all that it changes is there to be seen before it commits.
        with self.seller_transaction(seller_id) as connection:
            yield connection

    @contextmanager
    def operator_transaction(self) -> Generator[psycopg.Connection]:
        with self._database.operator_transaction() as connection:
            yield connection
            self._wait()

    def _wait(self) -> None:
        self._left -= 1
        if self._left == 0:
            self.reached.set()
            assert self.released.wait(30)


@contextmanager
def held(database: Database, change: Change, order: Order, transaction: int) -> Generator[Callable[[], None]]:
    """Make a change up to its commit; yields what commits it."""
    holding = HeldDatabase(database, transaction)
    thread = threading.Thread(target=change, args=[cast("Database", holding), order])
    thread.start()

    def commit() -> None:
        holding.released.set()
        thread.join()

    try:
        assert holding.reached.wait(30)
        yield commit
    finally:
        commit()


def walk(client: ApiClient, sort: str, size: int, between: Callable[[int], None]) -> list[list[str]]:
    """Return the ids on each page, telling between two pages how many there were."""
    query, pages = {"sort": sort, "maxResultsPerPage": size}, list[list[str]]()
    while True:
        page = client.get("/v1/orders", **query).get_json()
        pages.append(ids([page]))
        if "nextToken" not in page.get("pagination", {}):
            return pages
        query["paginationToken"] = page["pagination"]["nextToken"]
        between(len(pages))


def standing(client: ApiClient, sort: str) -> list[str]:
    """Return the ids of all orders as they stand now, by the model."""
    page = client.get("/v1/orders", maxResultsPerPage=100).get_json()
    return [order["orderId"] for order in in_order(page["orders"], sort)]


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("kind", CHANGES)
def test_an_order_stays_where_it_stood_when_the_walk_began(
    kind: str, sort: str, seller: ApiClient, database: Database, twelve: list[Order]
) -> None:
    change, some, _ = CHANGES[kind]
    for changed_behind in (1, 2, 3):
        expected = standing(seller, sort)
        order = twelve[some][changed_behind % len(twelve[some])]

        def between(number: int) -> None:
            if number == changed_behind:  # noqa: B023  # called within the loop
                change(database, order)  # noqa: B023  # the same

        assert [each for page in walk(seller, sort, 3, between) for each in page] == expected


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("kind", CHANGES)
def test_a_change_that_took_its_time_before_the_walk_and_commits_during_it_moves_nothing(
    kind: str, sort: str, seller: ApiClient, database: Database, twelve: list[Order]
) -> None:
    change, some, transaction = CHANGES[kind]
    places = standing(seller, sort)
    ordered = sorted(twelve[some], key=lambda order: places.index(order["orderId"]))
    for order in ordered[:: len(ordered) - 1 or 1]:  # the first and the last
        expected = standing(seller, sort)
        with held(database, change, order, transaction) as commit:
            walked = walk(seller, sort, 3, lambda number: commit() if number == 1 else None)

        assert [each for page in walked for each in page] == expected


@pytest.mark.parametrize("sort", SORTS)
def test_a_change_that_is_taken_back_moves_nothing(
    sort: str, seller: ApiClient, database: Database, twelve: list[Order]
) -> None:
    class TakenBackError(Exception):
        pass

    class Undone(HeldDatabase):
        def _wait(self) -> None:
            raise TakenBackError

    expected = standing(seller, sort)
    with pytest.raises(TakenBackError):
        change_terms(cast("Database", Undone(database, 1)), twelve[0])

    assert [each for page in walk(seller, sort, 5, lambda _: None) for each in page] == expected


@pytest.mark.parametrize("sort", SORTS)
def test_pages_lead_back_the_way_they_came_after_everything_changed(
    sort: str, seller: ApiClient, database: Database, twelve: list[Order]
) -> None:
    query: Order = {"sort": sort, "maxResultsPerPage": 5}
    pages = [seller.get("/v1/orders", **query).get_json()]
    while "nextToken" in pages[-1].get("pagination", {}):
        token = pages[-1]["pagination"]["nextToken"]
        pages.append(seller.get("/v1/orders", **query, paginationToken=token).get_json())
    for change, some, _ in CHANGES.values():
        for order in twelve[some]:
            change(database, order)
    back = [pages[-1]]
    while "previousToken" in back[-1].get("pagination", {}):
        token = back[-1]["pagination"]["previousToken"]
        back.append(seller.get("/v1/orders", **query, paginationToken=token).get_json())

    assert [ids([page]) for page in reversed(back)] == [ids([page]) for page in pages]


@pytest.mark.parametrize("sort", ["-lastUpdatedTime", "lastUpdatedTime", "shipBy", "-shipBy"])
@pytest.mark.parametrize("passed", [timedelta(days=1), timedelta(minutes=-5)])
def test_a_change_that_took_long_or_a_clock_put_back_moves_nothing(
    passed: timedelta, sort: str, seller: ApiClient, database: Database, twelve: list[Order], set_clock: Clock
) -> None:
    # Broken by telling what is settled by the clock.
    expected = standing(seller, sort)
    ordered = sorted(twelve[::3], key=lambda order: expected.index(order["orderId"]))
    with held(database, change_terms, ordered[-1 if sort[0] == "-" else 0], 1) as commit:
        set_clock(NOW + passed)
        walked = walk(seller, sort, 3, lambda number: commit() if number == 1 else None)

    assert [each for page in walked for each in page] == expected


@pytest.mark.parametrize("sort", SORTS)
def test_orders_of_a_database_that_was_restored_from_another_server_stand_as_they_are(
    sort: str, seller: ApiClient, database: Database, twelve: list[Order], owner: psycopg.Connection
) -> None:
    for order in twelve[::3]:
        change_terms(database, order)
    owner.execute("UPDATE order_events SET transaction_id = transaction_id + 1000000000")
    expected = standing(seller, sort)

    assert [each for page in walk(seller, sort, 5, lambda _: None) for each in page] == expected

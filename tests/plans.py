"""How PostgreSQL finds pages of orders: it reads no table as a whole, and sorts no more than a page or what it found.

`broken_plans` looks at the plan of every query of every shape of request, as the role of the service and under row
security. It runs in the tests on thousands of orders, and in the benchmark on a million.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psycopg

from service.database import Database
from service.search.counts import CountBy, count_orders
from service.search.queries import MAX_FOUND, find_orders
from service.search.rules import SORTS, OrderFilter, Sort

PAGE = 50
# A walk that finds little is left after 3,000 orders, and one that has half a page by then goes on for as many more.
MAX_DROPPED = 10_000
LARGE_TABLES = frozenset({"orders", "order_items", "order_search", "order_events", "packages", "cancellation_runs"})
# Each with whether its page is met on a walk along an index; the others are found by an index of their own and sorted.
SHAPES: Mapping[str, tuple[str, OrderFilter, bool]] = {
    **{f"sorted by {sort}": (sort, OrderFilter(), True) for sort in SORTS},
    "a status": ("-createdTime", OrderFilter(fulfillment_statuses=["CANCELLED"]), True),
    "two statuses": ("-createdTime", OrderFilter(fulfillment_statuses=["UNSHIPPED", "CANCELLED"]), True),
    "a status by another sort": ("-grandTotal", OrderFilter(fulfillment_statuses=["CANCELLED"]), True),
    "what is to be shipped next": ("shipBy", OrderFilter(fulfillment_statuses=["UNSHIPPED"]), True),
    "what is to be confirmed next": ("confirmBy", OrderFilter(fulfillment_statuses=["UNSHIPPED"]), True),
    "late orders": ("shipBy", OrderFilter(shipment_is_late=True), True),
    "orders confirmed late": ("-createdTime", OrderFilter(confirmed_late=True), True),
    "a marketplace": ("-createdTime", OrderFilter(marketplace_ids=["ATVPDKIKX0DER"]), True),
    "who fulfils": ("-lastUpdatedTime", OrderFilter(fulfilled_by=["MERCHANT"]), True),
    "a date range": ("-createdTime", OrderFilter(created_within=timedelta(days=3000)), True),
    "amounts": ("grandTotal", OrderFilter(currency_code="USD", grand_total_min=100), True),
    "a frequent word": ("-createdTime", OrderFilter(q="colour"), True),
    "a frequent word by another sort": ("shipBy", OrderFilter(q="colour"), True),
    "a rare marketplace": ("-createdTime", OrderFilter(marketplace_ids=["A1PA6795UKMFR9"]), False),
    "a rare word": ("-createdTime", OrderFilter(q="marmalade"), False),
    "two words": ("-lastUpdatedTime", OrderFilter(q="marmalade colour"), False),
    "the beginning of a word": ("-createdTime", OrderFilter(q="zq"), False),
    "what is not there": ("-createdTime", OrderFilter(q="no such thing"), False),
    "SKUs": ("-createdTime", OrderFilter(skus=["SKU-00007", "SKU-00008"]), False),
    "ASINs": ("shipBy", OrderFilter(asins=["B000000007"]), False),
    "the seller's numbers": ("-createdTime", OrderFilter(seller_order_ids=["S-7", "S-8"]), False),
    "a buyer": ("-createdTime", OrderFilter(buyer_email="7@relay.example.com"), False),
    "tracking numbers": ("-createdTime", OrderFilter(tracking_numbers=["1Z0000007"]), False),
    "orders confirmed late by another sort": ("shipBy", OrderFilter(confirmed_late=True), False),
    "declined charges": ("-createdTime", OrderFilter(charge_is_declined=True), False),
    "buyers who ask to cancel": ("confirmBy", OrderFilter(cancellation_is_requested=True), False),
    "orders": ("confirmBy", OrderFilter(order_ids=["902-0000007-0000007"]), False),
}


class Explained:
    """Stands in for a connection: answers as it does, and keeps the plan of whatever reads orders."""

    def __init__(self, connection: psycopg.Connection, cursor: psycopg.Cursor[Any] | None = None) -> None:
        self._connection, self._executing = connection, cursor or connection
        self.plans: list[dict[str, Any]] = []

    def execute(self, statement: Any, parameters: Any = None) -> psycopg.Cursor[Any]:
        """Run a statement, and explain it."""
        explain: Any = "EXPLAIN (ANALYZE, FORMAT JSON, TIMING OFF) " + statement
        ((plan,),) = self._connection.execute(explain, parameters).fetchall()
        self.plans.extend(nodes(plan[0]["Plan"]))
        return self._executing.execute(statement, parameters)

    @contextmanager
    def cursor(self, **options: Any) -> Generator[Explained]:
        """Stand in for a cursor in the same way."""
        with self._connection.cursor(**options) as cursor:
            explained = Explained(self._connection, cursor)
            explained.plans = self.plans
            yield explained


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a node of a plan and all below it, each with the rows that its input brought it."""
    below = plan.get("Plans", [])
    inputs = [each for each in below if each.get("Parent Relationship") == "Outer"]
    plan["Input Rows"] = max((each.get("Actual Rows", 0) for each in inputs), default=0)
    yield plan
    for each in below:
        yield from nodes(each)


def broken_plans(database: Database, seller_id: str, shapes: Mapping[str, tuple[str, OrderFilter, bool]]) -> list[str]:
    """Return what is wrong with the plans of the first two pages of each shape, and with those of the counts."""
    found: list[str] = []
    for name, (sort, filters, is_walked) in shapes.items():
        with database.seller_transaction(seller_id) as connection:
            explained: Any = Explained(connection)
            page = find_orders(explained, seller_id, filters, Sort.parse(sort), limit=PAGE)
            if page.next_position is not None:
                find_orders(
                    explained, seller_id, filters, Sort.parse(sort),
                    limit=PAGE, position=page.next_position, start=page.start,
                )  # fmt: skip
        found += [f"{name}: {fault}" for fault in faults_of(explained.plans, PAGE + 1 if is_walked else MAX_FOUND)]
    for by in CountBy:
        with database.seller_transaction(seller_id) as connection:
            explained = Explained(connection)
            count_orders(explained, seller_id, OrderFilter(), by)
        found += [f"counts by {by}: {fault}" for fault in faults_of(explained.plans, PAGE + 1)]
    return found


def faults_of(plans: list[dict[str, Any]], sorted_rows: int) -> Iterator[str]:
    """Yield what is wrong with plans that may sort so many rows."""
    for plan in plans:
        if plan["Node Type"] == "Seq Scan" and plan["Relation Name"] in LARGE_TABLES and plan["Actual Loops"]:
            yield f"reads all of {plan['Relation Name']}"
        if plan["Node Type"] == "Sort" and plan["Input Rows"] > sorted_rows:
            yield f"sorts {plan['Input Rows']:.0f} rows by {', '.join(plan['Sort Key'])}"
        dropped = plan.get("Rows Removed by Filter", 0) * plan["Actual Loops"]
        if dropped > MAX_DROPPED:
            yield f"drops {dropped:.0f} rows that it read"

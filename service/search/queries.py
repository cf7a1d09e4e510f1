"""Pages of orders, by keys and never by offset, whatever they are filtered and sorted by; and all of them at once."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import LiteralString

import psycopg

from service.orders.order_json import order_json
from service.search.conditions import SEARCH_ORDERS, SORT_COLUMNS, Conditions, SortColumn, conditions_of
from service.search.rules import OrderFilter, Sort, SortKey

# How many orders a walk along the sort's index looks at for one page, before it is left for the filters' indexes. It
# stands in the SQL itself, where the planner reads it.
WALK_LENGTH: LiteralString = "3000"
# With so many found on the walk, a page will soon be full: the walk goes on.
ENOUGH_TO_WALK_ON = 25
# How many orders a search may find and still be sorted, rather than met on a walk.
MAX_FOUND = 4000


@dataclass(frozen=True, slots=True)
class PagePosition:
    """An order at the edge of a page: the next page lies behind it, or the previous one before it, or up to it."""

    sort_value: str
    order_id: str
    is_before: bool = False
    is_inclusive: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """The JSON texts of a page of orders, where its neighbours lie, and what had happened when its walk began."""

    documents: Sequence[str]
    next_position: PagePosition | None
    previous_position: PagePosition | None
    start: str | None


def find_orders(  # noqa: PLR0913  # all that a page depends on, by name
    connection: psycopg.Connection,
    seller_id: str,
    filters: OrderFilter,
    sort: Sort,
    *,
    limit: int,
    members: Collection[str] | None = None,
    position: PagePosition | None = None,
    start: str | None = None,
) -> Page:
    """Return a page of a seller's orders (R1-R4).

    A walk from page to page returns every order that belongs to the list throughout exactly once. Where it is sorted by
    a value that changes, `start` is the snapshot that it began with, and each order stays where it stood then.
    """
    if start is None and sort.key is not SortKey.CREATED_TIME:
        start = _begin_walk(connection)
    goes_back = position is not None and position.is_before
    conditions = conditions_of(seller_id, filters, sort)
    if conditions.document:
        conditions = _searched(connection, conditions)
    query = _PageQuery(conditions, sort, members, position, start)
    rows = query.run(connection, limit + 1)
    shown = rows[:limit]
    if goes_back:
        shown.reverse()
        if not shown:  # What lay before has gone from the list, so that the page behind it is the first.
            return find_orders(connection, seller_id, filters, sort, limit=limit, members=members, start=start)
    if position is not None and not shown:  # What lay behind has gone; what lies before does so up to the position.
        return Page([], None, replace(position, is_before=True, is_inclusive=True), start)
    has_next = goes_back or len(rows) > limit
    has_previous = len(rows) > limit if goes_back else position is not None
    return Page(
        documents=[row[2] for row in shown],
        next_position=PagePosition(shown[-1][0], shown[-1][1]) if has_next else None,
        previous_position=PagePosition(shown[0][0], shown[0][1], is_before=True) if has_previous else None,
        start=start,
    )


def _searched(connection: psycopg.Connection, conditions: Conditions) -> Conditions:
    """Return the conditions with what the search finds in its place, unless that is too much to be sorted."""
    parameters = conditions.parameters | {"max_results": MAX_FOUND + 1}
    found = [row[0] for row in connection.execute(SEARCH_ORDERS, parameters).fetchall()]
    return conditions if len(found) > MAX_FOUND else conditions.with_found(found)


def _begin_walk(connection: psycopg.Connection) -> str:
    row = connection.execute("SELECT pg_current_snapshot()::text").fetchone()
    if row is None:
        raise LookupError("the database has no snapshot")
    return row[0]


# Whether a walk sees a change: it was made before the walk began. A transaction that is not to come about yet was
# counted by another server, which this database was restored from.
_IS_SEEN: LiteralString = """
(pg_visible_in_snapshot(e.transaction_id::text::xid8, %(snapshot)s::pg_snapshot)
    OR e.transaction_id >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint)
"""
# The orders that have moved, or may have, since the walk began; and whether an order `o` is none of them.
_MOVED: LiteralString = f"""
moved AS MATERIALIZED (
    SELECT DISTINCT e.order_id FROM order_events e
    WHERE e.seller_id = %(seller_id)s
        AND e.transaction_id >= pg_snapshot_xmin(%(snapshot)s::pg_snapshot)::text::bigint
        AND e.transaction_id < pg_snapshot_xmax(pg_current_snapshot())::text::bigint
        AND NOT {_IS_SEEN}
),
"""
_IS_SETTLED: LiteralString = f"""
(SELECT COALESCE(bool_and({_IS_SEEN}), true) FROM order_events e
 WHERE e.seller_id = o.seller_id AND e.order_id = o.order_id)
"""
# Where an order stood when the walk began: as the last change left it that the walk sees, or as it came.
_STOOD: LiteralString = f"""
(SELECT e.{{column}} FROM order_events e
 WHERE e.seller_id = o.seller_id AND e.order_id = o.order_id
 ORDER BY {_IS_SEEN} DESC, CASE WHEN {_IS_SEEN} THEN -e.version ELSE e.version END LIMIT 1)
"""


@dataclass(frozen=True, slots=True)
class _PageQuery:
    """One page: first along the sort's index, where a frequent kind of order is met soon, then by the filters' own."""

    conditions: Conditions
    sort: Sort
    members: Collection[str] | None
    position: PagePosition | None
    start: str | None

    def run(self, connection: psycopg.Connection, limit: int) -> list[tuple[str, str, str]]:
        """Return the value that it is sorted by, the id and the JSON text of each order."""
        parameters = self.conditions.parameters | {"limit": limit}
        if self.position is not None:
            parameters |= {"sort_value": self.position.sort_value, "after_id": self.position.order_id}
        if self.start is not None:
            parameters |= {"snapshot": self.start}
        if self.conditions.is_walked:
            return connection.execute(self._walk(), parameters).fetchall()
        if not self.conditions.is_selective:
            end = connection.execute(self._end_of_walk(), parameters).fetchone()
            if end is not None:
                parameters |= {"end_value": end[0], "end_id": end[1]}
            rows = connection.execute(self._walk(is_bounded=end is not None, is_fenced=True), parameters).fetchall()
            if end is None or len(rows) == limit:
                return rows
            if len(rows) >= ENOUGH_TO_WALK_ON:
                return connection.execute(self._walk(), parameters).fetchall()
        return connection.execute(self._look_up(), parameters).fetchall()

    @property
    def _column(self) -> SortColumn:
        return SORT_COLUMNS[self.sort.key]

    @property
    def _descends(self) -> bool:
        goes_back = self.position is not None and self.position.is_before
        return self.sort.descending != goes_back

    def _in_order(self, value: LiteralString, order_id: LiteralString) -> LiteralString:
        return f"{value} DESC, {order_id} DESC" if self._descends else f"{value}, {order_id}"

    def _behind(self, value: LiteralString, order_id: LiteralString) -> LiteralString:
        """Return the condition, if any, that an order lies behind the position."""
        if self.position is None:
            return ""
        operator: LiteralString = "<" if self._descends else ">"
        equal: LiteralString = "=" if self.position.is_inclusive else ""
        return f" AND ({value}, {order_id}) {operator}{equal} (%(sort_value)s::{self._column.type}, %(after_id)s)"

    def _up_to_end(self, value: LiteralString) -> LiteralString:
        operator: LiteralString = ">=" if self._descends else "<="
        return f" AND ({value}, o.order_id) {operator} (%(end_value)s::{self._column.type}, %(end_id)s)"

    def _end_of_walk(self) -> LiteralString:
        value: LiteralString = f"o.{self._column.column}"
        return f"""
            SELECT {value}::text, o.order_id FROM orders o
            WHERE {self.conditions.on_walk()}{self._behind(value, "o.order_id")}
            ORDER BY {self._in_order(value, "o.order_id")} OFFSET {WALK_LENGTH} LIMIT 1
        """

    def _walk(self, *, is_bounded: bool = False, is_fenced: bool = False) -> LiteralString:
        value: LiteralString = f"o.{self._column.column}"
        in_order = self._in_order(value, "o.order_id")
        on_walk = self.conditions.on_walk() + self._behind(value, "o.order_id")
        on_walk += self._up_to_end(value) if is_bounded else ""
        # A fenced walk is a query of its own, so that no index but the sort's is thought of for it.
        orders: LiteralString = (
            f"(SELECT o.* FROM orders o WHERE {on_walk} ORDER BY {in_order} OFFSET 0) o"
            f" WHERE {self.conditions.checked()}"
            if is_fenced
            else f"orders o WHERE {on_walk} AND {self.conditions.checked()}"
        )
        if self.start is None:
            return f"""
                SELECT {value}::text, o.order_id, {order_json(self.members)} FROM {orders}
                ORDER BY {in_order} LIMIT %(limit)s
            """
        stood = _STOOD.replace("{column}", self._column.in_events)
        moved = f"{self.conditions.on_walk()} AND {self.conditions.checked()}"
        moved += self._behind("stood.value", "o.order_id") + (self._up_to_end("stood.value") if is_bounded else "")
        page: LiteralString = f"""
            (SELECT {value} AS sort_value, o.order_id FROM {orders}
                AND {_IS_SETTLED}
             ORDER BY {in_order} LIMIT %(limit)s)
            UNION ALL
            (SELECT stood.value, o.order_id
             FROM moved
             CROSS JOIN LATERAL (
                SELECT o.* FROM orders o WHERE o.seller_id = %(seller_id)s AND o.order_id = moved.order_id OFFSET 0) o
             CROSS JOIN LATERAL (SELECT {stood} AS value) stood
             WHERE {moved}
             ORDER BY {self._in_order("stood.value", "o.order_id")} LIMIT %(limit)s)
        """
        return self._shown(page, _MOVED)

    def _look_up(self) -> LiteralString:
        value: LiteralString = f"o.{self._column.column}"
        if self.start is not None:
            stood = _STOOD.replace("{column}", self._column.in_events)
            value = f"CASE WHEN {_IS_SETTLED} THEN {value} ELSE {stood} END"
        found: LiteralString = f"""
            found AS MATERIALIZED (
                SELECT {value} AS sort_value, o.order_id FROM orders o WHERE {self.conditions.looked_up()}
            ),
        """
        behind = self._behind("sort_value", "order_id")
        return self._shown(f"SELECT sort_value, order_id FROM found WHERE true{behind}", found)

    def _shown(self, page: LiteralString, tables: LiteralString = "") -> LiteralString:
        """Return the query that shows the first orders of a page; only those are written as JSON."""
        return f"""
            WITH {tables} page AS MATERIALIZED (
                {page} ORDER BY {self._in_order("sort_value", "order_id")} LIMIT %(limit)s
            )
            SELECT page.sort_value::text, o.order_id, {order_json(self.members)}
            FROM page JOIN orders o ON o.seller_id = %(seller_id)s AND o.order_id = page.order_id
            ORDER BY {self._in_order("page.sort_value", "page.order_id")}
        """


def stream_orders(  # noqa: PLR0913  # all that a list depends on, by name
    connection: psycopg.Connection,
    seller_id: str,
    filters: OrderFilter,
    sort: Sort,
    members: Collection[str] | None = None,
    *,
    batch_size: int = 500,
) -> Iterator[str]:
    """Yield the JSON text of each order of a list, from one snapshot, holding no more than a batch of them."""
    conditions = conditions_of(seller_id, filters, sort)
    direction: LiteralString = " DESC" if sort.descending else ""
    value: LiteralString = f"o.{SORT_COLUMNS[sort.key].column}"
    with connection.cursor("orders") as cursor:
        cursor.itersize = batch_size
        cursor.execute(
            f"""
            SELECT {order_json(members)} FROM orders o WHERE {conditions.looked_up()}
            ORDER BY {value}{direction}, o.order_id{direction}
            """,
            conditions.parameters,
        )
        for (document,) in cursor:
            yield document

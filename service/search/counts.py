"""How many orders there are of each kind: exact to a cap, so that a large seller waits no longer than a small one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import LiteralString

import psycopg

from service.orders.order_json import IS_LATE
from service.orders.rules import FulfilledBy, FulfillmentStatus
from service.search.conditions import Conditions, conditions_of
from service.search.rules import COUNT_CAP, DEFAULT_SORT, OrderFilter


class CountBy(StrEnum):
    """What orders can be counted by."""

    FULFILLMENT_STATUS = "fulfillmentStatus"
    FULFILLED_BY = "fulfilledBy"
    MARKETPLACE_ID = "marketplaceId"
    SHIPMENT_IS_LATE = "shipmentIsLate"


@dataclass(frozen=True, slots=True)
class Group:
    """Orders of one kind: their number, or the cap where there are more."""

    value: str
    count: int
    capped: bool


# The kind of an order; and the orders of a kind, as branches of which one at most has rows, each with an index that
# serves it. Naming the marketplaces lets the index on them serve a count by who fulfils.
_KINDS: Mapping[CountBy, LiteralString] = {
    CountBy.FULFILLMENT_STATUS: "o.fulfillment_status",
    CountBy.FULFILLED_BY: "o.fulfilled_by",
    CountBy.MARKETPLACE_ID: "o.marketplace_id",
    CountBy.SHIPMENT_IS_LATE: f"COALESCE({IS_LATE}, false)::text",
}
_BRANCHES: Mapping[CountBy, tuple[LiteralString, ...]] = {
    CountBy.FULFILLMENT_STATUS: ("o.fulfillment_status = kind.value",),
    CountBy.FULFILLED_BY: (
        "o.fulfilled_by = kind.value AND o.marketplace_id = ANY(ARRAY(SELECT marketplace_id FROM marketplaces))",
    ),
    CountBy.MARKETPLACE_ID: ("o.marketplace_id = kind.value",),
    CountBy.SHIPMENT_IS_LATE: (
        f"kind.value = 'true' AND {IS_LATE}",
        f"kind.value = 'false' AND NOT COALESCE({IS_LATE}, false)",
    ),
}
_VALUES: Mapping[CountBy, Sequence[str]] = {
    CountBy.FULFILLMENT_STATUS: list(FulfillmentStatus),
    CountBy.FULFILLED_BY: list(FulfilledBy),
    CountBy.SHIPMENT_IS_LATE: ["true", "false"],
}


def count_orders(connection: psycopg.Connection, seller_id: str, filters: OrderFilter, by: CountBy) -> list[Group]:
    """Count a seller's orders by kind. Every kind is there, also without orders; of marketplaces those with orders."""
    conditions = conditions_of(seller_id, filters, DEFAULT_SORT)
    values = _VALUES.get(by) or [row[0] for row in connection.execute(_MARKETPLACES).fetchall()]
    statement = _count_found(conditions, by) if conditions.document else _count_each(conditions, by)
    parameters = conditions.parameters | {"values": list(values), "limit": COUNT_CAP + 1}
    numbers = dict(connection.execute(statement, parameters).fetchall())
    groups = [(value, numbers.get(value, 0)) for value in values]
    return [
        Group(value, min(number, COUNT_CAP), number > COUNT_CAP)
        for value, number in groups
        if number or by is not CountBy.MARKETPLACE_ID
    ]


_MARKETPLACES: LiteralString = "SELECT marketplace_id FROM marketplaces ORDER BY marketplace_id"


def _count_each(conditions: Conditions, by: CountBy) -> LiteralString:
    """Return the query that counts each kind, no further than to the cap."""
    branches = " UNION ALL ".join(
        f"(SELECT FROM orders o WHERE {conditions.looked_up()} AND {branch} LIMIT %(limit)s)"
        for branch in _BRANCHES[by]
    )
    return f"""
        SELECT kind.value, counted.number FROM unnest(%(values)s::text[]) AS kind (value)
        CROSS JOIN LATERAL (SELECT count(*) FROM ({branches}) AS members) AS counted (number)
    """


def _count_found(conditions: Conditions, by: CountBy) -> LiteralString:
    """Return the query that counts what a search finds, all kinds at once: it is found once."""
    return f"SELECT {_KINDS[by]}, count(*) FROM orders o WHERE {conditions.looked_up()} GROUP BY 1"

"""Filters as SQL conditions on an order `o`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, LiteralString

from service.orders.order_json import CANCELLATION_IS_REQUESTED, CONFIRMED_LATE, IS_LATE
from service.search.rules import OrderFilter, Sort, SortKey, like_patterns


@dataclass(frozen=True, slots=True)
class SortColumn:
    """The column of `orders`, and that of `order_events`, that a list is sorted by, and the type of their values."""

    column: LiteralString
    in_events: LiteralString
    type: LiteralString


SORT_COLUMNS: Mapping[SortKey, SortColumn] = {
    SortKey.CREATED_TIME: SortColumn("created_time", "event_time", "timestamptz"),
    SortKey.LAST_UPDATED_TIME: SortColumn("last_updated_time", "event_time", "timestamptz"),
    SortKey.SHIP_BY: SortColumn("ship_by_sort", "ship_by_sort", "timestamptz"),
    SortKey.CONFIRM_BY: SortColumn("confirm_by_sort", "confirm_by_sort", "timestamptz"),
    SortKey.GRAND_TOTAL: SortColumn("grand_total_sort", "grand_total_sort", "bigint"),
}

# Ranges are written on the columns that are sorted by, where a value that is missing is 'infinity'.
_RANGES: Mapping[SortKey, Mapping[str, LiteralString]] = {
    SortKey.CREATED_TIME: {
        "created_after": "o.created_time >= %(created_after)s",
        "created_before": "o.created_time <= %(created_before)s",
        "created_within":
            "o.created_time BETWEEN (SELECT app_now() - %(created_within)s::interval) AND (SELECT app_now())",
    },
    SortKey.LAST_UPDATED_TIME: {
        "last_updated_after": "o.last_updated_time >= %(last_updated_after)s",
        "last_updated_before": "o.last_updated_time <= %(last_updated_before)s",
    },
    SortKey.SHIP_BY: {
        "ship_by_after": "o.ship_by_sort >= %(ship_by_after)s AND o.ship_by_sort < 'infinity'",
        "ship_by_before": "o.ship_by_sort <= %(ship_by_before)s",
        "ship_by_within":
            "o.ship_by_sort BETWEEN (SELECT app_now()) AND (SELECT app_now() + %(ship_by_within)s::interval)",
    },
    SortKey.CONFIRM_BY: {
        "confirm_by_after": "o.confirm_by_sort >= %(confirm_by_after)s AND o.confirm_by_sort < 'infinity'",
        "confirm_by_before": "o.confirm_by_sort <= %(confirm_by_before)s",
        "confirm_by_within":
            "o.confirm_by_sort BETWEEN (SELECT app_now()) AND (SELECT app_now() + %(confirm_by_within)s::interval)",
    },
    SortKey.GRAND_TOTAL: {
        "grand_total_min": "o.grand_total_sort >= %(grand_total_min)s",
        "grand_total_max": "o.grand_total_sort <= %(grand_total_max)s",
    },
}  # fmt: skip
_OTHERS: Mapping[str, LiteralString] = {
    "fulfillment_statuses": "o.fulfillment_status = ANY(%(fulfillment_statuses)s)",
    "payment_statuses": "o.payment_status = ANY(%(payment_statuses)s)",
    "channel_names": "o.channel_name = ANY(%(channel_names)s)",
    "marketplace_ids": "o.marketplace_id = ANY(%(marketplace_ids)s)",
    "fulfilled_by": "o.fulfilled_by = ANY(%(fulfilled_by)s)",
    "fulfillment_service_levels": "o.fulfillment_service_level = ANY(%(fulfillment_service_levels)s)",
    "programs": "o.programs && %(programs)s",
    "cancel_reasons": "o.cancel_reason = ANY(%(cancel_reasons)s)",
    "ship_to_countries": "o.ship_to_country = ANY(%(ship_to_countries)s)",
    "deliver_by_after": "o.deliver_by_latest >= %(deliver_by_after)s",
    "deliver_by_before": "o.deliver_by_latest <= %(deliver_by_before)s",
    "currency_code": "o.currency_code = %(currency_code)s",
    "order_ids": "o.order_id = ANY(%(order_ids)s)",
    "tracking_numbers": """
        o.order_id = ANY(ARRAY(
            SELECT p.order_id FROM packages p
            WHERE p.seller_id = %(seller_id)s AND p.tracking_number = ANY(%(tracking_numbers)s)))
    """,
}
# What is so or not; where a time is missing it is not.
_FLAGS: Mapping[str, LiteralString] = {
    "shipment_is_late": IS_LATE,
    "confirmed_late": CONFIRMED_LATE,
    "charge_is_declined": "o.charge_declined_time IS NOT NULL",
    "cancellation_is_requested": CANCELLATION_IS_REQUESTED,
}
# What an order's document in `order_search` must hold.
_SEARCHED: Mapping[str, LiteralString] = {
    "seller_order_ids": "s.seller_order_ids && %(seller_order_ids)s",
    "skus": "s.skus && %(skus)s",
    "asins": "s.asins && %(asins)s",
    "buyer_email": "s.buyer_email = %(buyer_email)s",
    "q": """
        (s.search_text LIKE ALL (%(q)s::text[]) OR (
            EXISTS (
                SELECT FROM packages p
                WHERE p.seller_id = s.seller_id AND p.order_id = s.order_id
                    AND p.tracking_text LIKE ANY (%(q)s::text[]))
            AND (
                SELECT bool_and(s.search_text LIKE word OR EXISTS (
                    SELECT FROM packages p
                    WHERE p.seller_id = s.seller_id AND p.order_id = s.order_id AND p.tracking_text LIKE word))
                FROM unnest(%(q)s::text[]) AS word)))
    """,
}
# Each of these names so few orders that they are best looked up. Those of a flag have an index of their own.
_SELECTIVE = frozenset({"order_ids", "seller_order_ids", "tracking_numbers", "buyer_email"})
_SELECTIVE_FLAGS = ("charge_is_declined", "cancellation_is_requested")

# What a search finds is found by its index, before the orders are read.
SEARCH_ORDERS: LiteralString = """
SELECT search_orders(
    %(q)s::text[], %(seller_order_ids)s::text[], %(skus)s::text[], %(asins)s::text[], %(buyer_email)s::text,
    %(max_results)s::integer
)
"""
_CONFIRMED = ("PARTIALLY_SHIPPED", "SHIPPED")
_STATUSES_OF: Mapping[str, Sequence[str]] = {
    "AUTHORIZED": ("UNSHIPPED",),
    "CHARGED": _CONFIRMED,
    "PARTIALLY_REFUNDED": _CONFIRMED,
    "REFUNDED": _CONFIRMED,
    "UNPAID": ("CANCELLED",),
}
# Those that the partial indexes hold. Filters that let no other order through are met there.
_OPEN = frozenset({"UNSHIPPED", "PARTIALLY_SHIPPED"})
_IS_OPEN: LiteralString = "o.fulfillment_status IN ('UNSHIPPED', 'PARTIALLY_SHIPPED')"


@dataclass(frozen=True, slots=True)
class Conditions:
    """A filter in SQL. A walk along the index of the sort meets `bounds` there, and checks the rest order by order."""

    parameters: dict[str, object]
    bounds: tuple[LiteralString, ...]
    others: tuple[LiteralString, ...]
    document: tuple[LiteralString, ...]
    is_selective: bool

    @property
    def is_walked(self) -> bool:
        """Tell whether every order on the walk belongs to the list."""
        return not self.others and not self.document

    def on_walk(self) -> LiteralString:
        """Return the condition that the index of the walk meets."""
        return " AND ".join(("o.seller_id = %(seller_id)s", *self.bounds))

    def checked(self) -> LiteralString:
        """Return the condition that is checked at each order of a walk."""
        document = " AND ".join(self.document)
        # A value and not EXISTS, which could become a join with every document of the seller.
        has_document: LiteralString = (
            f"(SELECT {document} FROM order_search s WHERE s.seller_id = o.seller_id AND s.order_id = o.order_id)"
        )
        return " AND ".join((*self.others, has_document) if self.document else self.others) or "true"

    def looked_up(self) -> LiteralString:
        """Return the condition that lets every index find."""
        found: tuple[LiteralString, ...] = (f"o.order_id = ANY(ARRAY({SEARCH_ORDERS}))",) if self.document else ()
        return " AND ".join(("o.seller_id = %(seller_id)s", *self.bounds, *self.others, *found))

    def with_found(self, order_ids: list[str]) -> Conditions:
        """Return the same with all that the search found in the place of the search."""
        return replace(
            self,
            parameters=self.parameters | {"found_ids": order_ids},
            others=(*self.others, "o.order_id = ANY(%(found_ids)s)"),
            document=(),
            is_selective=True,
        )


def _implied_statuses(wanted: Mapping[str, Any]) -> list[str]:
    """Return the only statuses that the filters leave, by the constraints of the table; none when they leave any."""
    if "cancel_reasons" in wanted:
        return ["CANCELLED"]
    return sorted({status for payment in wanted.get("payment_statuses", ()) for status in _STATUSES_OF[payment]})


def conditions_of(seller_id: str, filters: OrderFilter, sort: Sort) -> Conditions:
    """Return a seller's filter as SQL, for a list in that order."""
    wanted = filters.set_values()
    if "q" in wanted:
        wanted["q"] = like_patterns(wanted["q"])
    if "buyer_email" in wanted:
        wanted["buyer_email"] = wanted["buyer_email"].casefold()
    bounds: list[LiteralString] = []
    others: list[LiteralString] = []
    for key, ranges in _RANGES.items():
        (bounds if key is sort.key else others).extend(sql for name, sql in ranges.items() if name in wanted)
    statuses = wanted.setdefault("fulfillment_statuses", _implied_statuses(wanted))
    if len(statuses) == 1 and sort.key is SortKey.CREATED_TIME:
        bounds.append("o.fulfillment_status = (%(fulfillment_statuses)s::text[])[1]")
    elif statuses:
        others.append(_OTHERS["fulfillment_statuses"])
    is_open = filters.shipment_is_late or (statuses and _OPEN.issuperset(statuses))
    if is_open and sort.key in {SortKey.SHIP_BY, SortKey.CONFIRM_BY}:
        bounds.append(_IS_OPEN)
    if filters.confirmed_late and sort.key is SortKey.CREATED_TIME:
        bounds.append(CONFIRMED_LATE)
    others.extend(sql for name, sql in _OTHERS.items() if name in wanted and name != "fulfillment_statuses")
    others.extend(
        sql if wanted[name] else f"NOT COALESCE({sql}, false)"
        for name, sql in _FLAGS.items()
        if name in wanted and sql not in bounds
    )
    document: tuple[LiteralString, ...] = tuple(sql for name, sql in _SEARCHED.items() if name in wanted)
    absent = dict.fromkeys((*_SEARCHED, "max_results")) if document else {}
    return Conditions(
        parameters={**absent, **wanted, "seller_id": seller_id},
        bounds=tuple(bounds),
        others=tuple(others),
        document=document,
        is_selective=not _SELECTIVE.isdisjoint(wanted) or any(wanted.get(name) for name in _SELECTIVE_FLAGS),
    )

"""What can be asked for: filters, sorts, and the text that a search looks at."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Self

MIN_SEARCH_LENGTH, MAX_SEARCH_LENGTH, MAX_SEARCH_WORDS = 2, 200, 10
# The search index holds sequences of three characters: shorter words are looked for at the beginning of words only.
MIN_SUBSTRING_LENGTH = 3
COUNT_CAP = 10_000
# Amounts have at most four decimals, and are sorted as whole numbers of this part of the currency's unit.
AMOUNT_SCALE = 10_000

# Letters that Unicode does not take apart into a letter and a mark.
_STROKES = str.maketrans("đħıłøŧ", "dhilot")
_DURATION = re.compile(r"P(?:(\d{1,6})W|(?:(\d{1,6})D)?(?:T(?=\d)(?:(\d{1,6})H)?(?:(\d{1,6})M)?)?)", re.ASCII)
MAX_DURATION = timedelta(days=3660)
_LIKE_SPECIAL = re.compile(r"([\\%_])")


class SortKey(StrEnum):
    """What a list can be sorted by."""

    CREATED_TIME = "createdTime"
    LAST_UPDATED_TIME = "lastUpdatedTime"
    SHIP_BY = "shipBy"
    CONFIRM_BY = "confirmBy"
    GRAND_TOTAL = "grandTotal"


@dataclass(frozen=True, slots=True)
class Sort:
    """An order of the list; orders with equal values follow each other by `orderId`, in the same direction."""

    key: SortKey
    descending: bool

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the sort that a request writes: the key, behind a `-` when it descends."""
        return cls(SortKey(text.removeprefix("-")), text.startswith("-"))

    def __str__(self) -> str:
        return f"{'-' if self.descending else ''}{self.key}"


SORTS = tuple(sign + key for key in SortKey for sign in ("-", ""))
DEFAULT_SORT = Sort(SortKey.CREATED_TIME, descending=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderFilter:
    """Which orders of a seller (R2, R3). What is None or empty filters nothing; both ends of a range belong to it."""

    created_after: datetime | None = None
    created_before: datetime | None = None
    created_within: timedelta | None = None
    last_updated_after: datetime | None = None
    last_updated_before: datetime | None = None
    ship_by_after: datetime | None = None
    ship_by_before: datetime | None = None
    ship_by_within: timedelta | None = None
    deliver_by_after: datetime | None = None
    deliver_by_before: datetime | None = None
    confirm_by_after: datetime | None = None
    confirm_by_before: datetime | None = None
    confirm_by_within: timedelta | None = None
    fulfillment_statuses: Sequence[str] = ()
    payment_statuses: Sequence[str] = ()
    channel_names: Sequence[str] = ()
    marketplace_ids: Sequence[str] = ()
    fulfilled_by: Sequence[str] = ()
    fulfillment_service_levels: Sequence[str] = ()
    programs: Sequence[str] = ()
    cancel_reasons: Sequence[str] = ()
    ship_to_countries: Sequence[str] = ()
    shipment_is_late: bool | None = None
    confirmed_late: bool | None = None
    charge_is_declined: bool | None = None
    cancellation_is_requested: bool | None = None
    currency_code: str | None = None
    grand_total_min: int | None = None
    grand_total_max: int | None = None
    order_ids: Sequence[str] = ()
    seller_order_ids: Sequence[str] = ()
    skus: Sequence[str] = ()
    asins: Sequence[str] = ()
    tracking_numbers: Sequence[str] = ()
    buyer_email: str | None = None
    q: str | None = None

    def set_values(self) -> dict[str, Any]:
        """Return the filters that filter, by name; of lists, the members in one order, for they are sets."""
        values: dict[str, Any] = {item.name: getattr(self, item.name) for item in fields(self)}
        return {
            name: sorted(set(value)) if isinstance(value, (list, tuple)) else value  # pyright: ignore[reportUnknownArgumentType]  # of text
            for name, value in values.items()
            if value is not None and value not in ((), [])
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewRequest:
    """What a view asks for; `parameters` are those of a request, as JSON."""

    view_id: str
    parameters: Mapping[str, Any]
    sort: str | None
    columns: tuple[str, ...]
    page_size: int | None


def read_duration(text: str) -> timedelta | None:
    """Return an ISO 8601 duration of weeks, or of days, hours and minutes; None for anything else.

    Months and years have no fixed length and are none.
    """
    match = _DURATION.fullmatch(text)
    if match is None or not any(match.groups()):
        return None
    weeks, days, hours, minutes = (int(part) if part else 0 for part in match.groups())
    duration = timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes)
    return duration if timedelta(0) < duration <= MAX_DURATION else None


def fold(text: str) -> str:
    """Return text without what a search does not look at: case, accents, forms of a letter, and runs of whitespace.

    Each character folds by itself, so that a part of a text folds to a part of the folded text.
    """
    if text.isascii():
        return " ".join(text.lower().split())
    apart = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    bare = "".join(each for each in apart if not unicodedata.combining(each))
    return " ".join(bare.translate(_STROKES).split())


def like_patterns(query: str) -> list[str]:
    """Return a LIKE pattern for each word of a search, as it is matched with a text of `search_text`."""
    patterns: list[str] = []
    for word in fold(query).split():
        literal = _LIKE_SPECIAL.sub(r"\\\1", word)
        patterns.append(f"%{literal}%" if len(word) >= MIN_SUBSTRING_LENGTH else f"% {literal}%")
    return patterns


def search_text(values: Sequence[str]) -> str:
    """Return what the words of a search are looked for in. Every word stands behind a space, the first one too."""
    return " " + " ".join(fold(value) for value in values)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchDocument:
    """What of an order is found by search and by identifiers; tracking numbers stay with their packages."""

    search_text: str
    seller_order_ids: list[str]
    skus: list[str]
    asins: list[str]
    buyer_email: str | None

    def as_row(self) -> dict[str, object]:
        """Return the columns of `order_search` that it fills."""
        return {item.name: getattr(self, item.name) for item in fields(self)}


def search_document(order: Mapping[str, Any]) -> SearchDocument:
    """Return what is searched of an order, from its representation."""
    buyer, address = order.get("buyer", {}), order.get("recipient", {}).get("deliveryAddress", {})
    products = [item["product"] for item in order["orderItems"]]
    aliases = [alias["aliasId"] for alias in order.get("orderAliases", ()) if alias["aliasType"] == "SELLER_ORDER_ID"]
    skus, asins, titles = (list(_values(products, name)) for name in ("sellerSku", "asin", "title"))
    named = [*_values([buyer], "buyerName"), *(text for part in _ADDRESS for text in _values([address], part))]
    return SearchDocument(
        search_text=search_text([order["orderId"], *aliases, *skus, *asins, *titles, *named]),
        seller_order_ids=aliases,
        skus=skus,
        asins=asins,
        buyer_email=buyer["buyerEmail"].casefold() if "buyerEmail" in buyer else None,
    )


_ADDRESS = ("name", "city", "postalCode")


def _values(objects: Sequence[Mapping[str, Any]], name: str) -> Iterator[str]:
    return (each[name] for each in objects if name in each)

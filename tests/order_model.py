"""What a list of orders must show: filters, sorts, folding and counts in plain Python over order documents.

Written from the documentation alone: nothing of the service is used, so that the two can only agree by being right.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, cast

Order = Mapping[str, Any]
Filters = Mapping[str, Any]

STATUSES = ("PENDING", "UNSHIPPED", "PARTIALLY_SHIPPED", "SHIPPED", "CANCELLED")
CAP = 10_000
_STROKED = {"đ": "d", "ħ": "h", "\u0131": "i", "ł": "l", "ø": "o", "ŧ": "t"}
_DURATION = re.compile(r"P(?:(?P<weeks>\d+)W|(?:(?P<days>\d+)D)?(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?)?)")


def fold(text: str) -> str:
    """Return text without case, accents, strokes and presentation forms, each run of whitespace as one space."""
    decomposed = unicodedata.normalize("NFKD", text)
    caseless = unicodedata.normalize("NFKD", decomposed.casefold())
    return " ".join("".join(_STROKED.get(each, each) for each in caseless if not unicodedata.combining(each)).split())


def values(document: Any, path: str) -> Iterator[Any]:
    """Yield what stands at a dotted path; lists are passed through."""
    if isinstance(document, list):
        for each in cast("list[Any]", document):
            yield from values(each, path)
    elif not path:
        yield document
    elif isinstance(document, Mapping):
        name, _, rest = path.partition(".")
        if name in document:
            yield from values(document[name], rest)


def value(order: Order, path: str) -> Any:
    """Return what stands at a dotted path, None when nothing does."""
    return next(values(order, path), None)


def seller_order_ids(order: Order) -> list[str]:
    """Return the seller's own names of the order."""
    return [each["aliasId"] for each in order.get("orderAliases", ()) if each["aliasType"] == "SELLER_ORDER_ID"]


def searched_texts(order: Order) -> list[str]:
    """Return every text of an order that `q` looks into."""
    paths = [
        "orderId",
        "buyer.buyerName",
        "recipient.deliveryAddress.name",
        "recipient.deliveryAddress.city",
        "recipient.deliveryAddress.postalCode",
        "orderItems.product.sellerSku",
        "orderItems.product.asin",
        "orderItems.product.title",
        "packages.trackingNumber",
    ]
    return [*seller_order_ids(order), *(text for path in paths for text in values(order, path))]


def matches_text(order: Order, q: str) -> bool:
    """Tell whether every word of `q` is in some text: anywhere, or if it is short, where a word begins."""
    texts = [fold(text) for text in searched_texts(order)]
    return all(any(_holds(text, word) for text in texts) for word in fold(q).split())


def _holds(text: str, word: str) -> bool:
    return word in text if len(word) >= 3 else any(each.startswith(word) for each in text.split(" "))


def instant(text: str) -> datetime:
    """Return the instant that a text names."""
    return datetime.fromisoformat(text)


def duration(text: str) -> timedelta:
    """Return the length of a period such as `P1DT12H`."""
    parts = _DURATION.fullmatch(text)
    assert parts is not None, text
    return timedelta(**{name: int(number) for name, number in parts.groupdict().items() if number is not None})


TIMES = {
    "created": "createdTime",
    "lastUpdated": "lastUpdatedTime",
    "shipBy": "fulfillment.shipByWindow.latestDateTime",
    "deliverBy": "fulfillment.deliverByWindow.latestDateTime",
    "confirmBy": "fulfillment.confirmBy",
}
WARNED = {"chargeIsDeclined": "CHARGE_DECLINED", "cancellationIsRequested": "CANCELLATION_REQUESTED"}
FLAGS = ("shipmentIsLate", "confirmedLate", *WARNED)
ANY_OF: dict[str, Callable[[Order], Iterable[Any]]] = {
    "sellerOrderIds": seller_order_ids,
    **{
        name: lambda order, path=path: values(order, path)
        for name, path in {
            "fulfillmentStatuses": "fulfillment.fulfillmentStatus",
            "paymentStatuses": "payment.paymentStatus",
            "channelNames": "salesChannel.channelName",
            "marketplaceIds": "salesChannel.marketplaceId",
            "fulfilledBy": "fulfillment.fulfilledBy",
            "fulfillmentServiceLevels": "fulfillment.fulfillmentServiceLevel",
            "programs": "programs",
            "cancelReasons": "cancellation.cancelReason",
            "shipToCountries": "recipient.deliveryAddress.countryCode",
            "orderIds": "orderId",
            "skus": "orderItems.product.sellerSku",
            "asins": "orderItems.product.asin",
            "trackingNumbers": "packages.trackingNumber",
        }.items()
    },
}


def matches(order: Order, filters: Filters, now: datetime) -> bool:
    """Tell whether an order matches every parameter."""
    return all(_matches(order, name, told, now) for name, told in filters.items())


def _matches(order: Order, name: str, told: Any, now: datetime) -> bool:  # noqa: PLR0911  # a kind of parameter each
    if name in ANY_OF:
        return not set(told).isdisjoint(ANY_OF[name](order))
    if name.endswith(("After", "Before", "Within")):
        return _is_within(order, name, told, now)
    if name.startswith("grandTotal"):
        amount = value(order, "proceeds.grandTotal.amount")
        ends = (told, amount) if name == "grandTotalMin" else (amount, told)
        return amount is not None and Decimal(ends[0]) <= Decimal(ends[1])
    match name:
        case "currencyCode":
            return value(order, "proceeds.grandTotal.currencyCode") == told
        case "shipmentIsLate" | "confirmedLate":
            return order["fulfillment"][name] is (told == "true")
        case "chargeIsDeclined" | "cancellationIsRequested":
            return (WARNED[name] in values(order, "warnings.code")) is (told == "true")
        case "buyerEmail":
            return (value(order, "buyer.buyerEmail") or "").casefold() == told.casefold()
        case "q":
            return matches_text(order, told)
        case _:
            raise LookupError(name)


def _is_within(order: Order, name: str, told: str, now: datetime) -> bool:
    date = name.removesuffix("After").removesuffix("Before").removesuffix("Within")
    text = value(order, TIMES[date])
    if text is None:
        return False
    moment = instant(text)
    if name == "createdWithin":
        return now - duration(told) <= moment <= now
    if name.endswith("Within"):
        return now <= moment <= now + duration(told)
    return moment >= instant(told) if name.endswith("After") else moment <= instant(told)


_SORT_VALUES: dict[str, tuple[str, Callable[[str], Any]]] = {
    "createdTime": ("createdTime", instant),
    "lastUpdatedTime": ("lastUpdatedTime", instant),
    "shipBy": (TIMES["shipBy"], instant),
    "confirmBy": (TIMES["confirmBy"], instant),
    "grandTotal": ("proceeds.grandTotal.amount", Decimal),
}
SORTS = [f"{sign}{key}" for key in _SORT_VALUES for sign in ("", "-")]


def in_order(orders: Iterable[Order], sort: str) -> list[Order]:
    """Return orders sorted: those without the value last when ascending, first when descending."""
    path, read = _SORT_VALUES[sort.removeprefix("-")]

    def place(order: Order) -> tuple[object, ...]:
        text = value(order, path)
        return (1, order["orderId"]) if text is None else (0, read(text), order["orderId"])

    return sorted(orders, key=place, reverse=sort.startswith("-"))


def found(orders: Iterable[Order], filters: Filters, sort: str, now: datetime) -> list[str]:
    """Return the ids that a list must show, in its order."""
    return [order["orderId"] for order in in_order((each for each in orders if matches(each, filters, now)), sort)]


_GROUPS: dict[str, tuple[str, Sequence[str]]] = {
    "fulfillmentStatus": ("fulfillment.fulfillmentStatus", STATUSES),
    "fulfilledBy": ("fulfillment.fulfilledBy", ("AMAZON", "MERCHANT")),
    "marketplaceId": ("salesChannel.marketplaceId", ()),
    "shipmentIsLate": ("fulfillment.shipmentIsLate", ("true", "false")),
}
GROUPINGS = tuple(_GROUPS)


def counts(orders: Iterable[Order], filters: Filters, by: str, now: datetime) -> list[dict[str, Any]]:
    """Return the groups that counts must show."""
    path, always = _GROUPS[by]
    sizes = Counter(_as_text(value(order, path)) for order in orders if matches(order, filters, now))
    return [
        {"value": each, "count": min(sizes[each], CAP), "capped": sizes[each] > CAP} for each in always or sorted(sizes)
    ]


def _as_text(told: str | bool) -> str:  # noqa: FBT001  # a value of a document
    return told if isinstance(told, str) else str(told).lower()

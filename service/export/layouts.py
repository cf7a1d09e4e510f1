"""The columns of an exported table: those of two reports of the platform, or what is useful when nothing is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from functools import partial

from service.export.tables import ITEMS, Column, Json, Line, OfOrder, Table, reader
from service.orders.rules import FulfilledBy, FulfillmentStatus
from service.orders.unshipped_report import (
    BUSINESS,
    ITEM_COLUMNS,
    ORDER_COLUMNS,
    PROGRAM_COLUMNS,
    SELLER_ORDER_ID,
    STATUS_WORDS,
)
from service.search.rules import OrderFilter

PENDING, UNSHIPPED, PARTIALLY_SHIPPED = "PENDING", "UNSHIPPED", "PARTIALLY_SHIPPED"
VERGE = timedelta(hours=24)
DAY = timedelta(days=1)

DEFAULT_COLUMNS = (
    "orderId",
    "createdTime",
    "lastUpdatedTime",
    "salesChannel.marketplaceId",
    "fulfillment.fulfillmentStatus",
    "fulfillment.fulfilledBy",
    "fulfillment.fulfillmentServiceLevel",
    "fulfillment.shipByWindow.latestDateTime",
    "fulfillment.confirmBy",
    "fulfillment.shipmentIsLate",
    "payment.paymentStatus",
    "proceeds.grandTotal.amount",
    "proceeds.grandTotal.currencyCode",
    "buyer.buyerName",
    "recipient.deliveryAddress.city",
    "recipient.deliveryAddress.postalCode",
    "recipient.deliveryAddress.countryCode",
    "orderItems.orderItemId",
    "orderItems.product.sellerSku",
    "orderItems.product.asin",
    "orderItems.product.title",
    "orderItems.quantityOrdered",
    "orderItems.fulfillment.quantityFulfilled",
    "packages.trackingNumber",
)


class LayoutName(StrEnum):
    """The reports of the platform that the export can write."""

    ALL_ORDERS = "all-orders-report"
    UNSHIPPED_ORDERS = "unshipped-orders-report"


@dataclass(frozen=True, slots=True)
class Layout:
    """A report: its columns, the members of an order that they are made of, and which orders it is about."""

    table: Table
    members: frozenset[str]
    narrow: Callable[[OrderFilter], OrderFilter | None]


def _flag(holds: bool) -> str:  # noqa: FBT001  # the value is what it is about
    return "true" if holds else "false"


def _time(path: str) -> OfOrder:
    """Return a column that writes an instant as the reports do, with an offset in digits."""
    read = reader(path)
    return OfOrder(lambda order: read(order).replace("Z", "+00:00"))


def _has_program(program: str) -> OfOrder:
    return OfOrder(lambda order: _flag(program in order.get("programs", ())))


def _merchant_order_id(order: Json) -> str:
    aliases = order.get("orderAliases", ())
    return next((each["aliasId"] for each in aliases if each["aliasType"] == SELLER_ORDER_ID), "")


def _sales_channel(order: Json) -> str:
    channel = order["salesChannel"]
    return channel.get("marketplaceName") or channel["marketplaceId"]


def _status(order: Json) -> str:
    return STATUS_WORDS[order["fulfillment"]["fulfillmentStatus"]]


def _fulfillment_channel(order: Json) -> str:
    return "Amazon" if order["fulfillment"]["fulfilledBy"] == FulfilledBy.AMAZON else "Merchant"


def _nothing(_: Json) -> str:
    return ""


def _wants_signature(line: Line) -> str:
    shipping = line.item["fulfillment"].get("shipping", {})
    return _flag("signatureConfirmation" in shipping.get("shippingConstraints", {}))


def _item_status(line: Line) -> str:
    """Return how far an item has got, in an order that is partially shipped."""
    status, quantities = line.order["fulfillment"]["fulfillmentStatus"], line.item["fulfillment"]
    if status == PARTIALLY_SHIPPED and not quantities["quantityFulfilled"]:
        status = UNSHIPPED
    elif status == PARTIALLY_SHIPPED and not quantities["quantityUnfulfilled"]:
        status = "SHIPPED"
    return STATUS_WORDS[status]


def _parts(item: Json, kind: str) -> Iterator[Json]:
    return (each for each in item.get("proceeds", {}).get("breakdowns", ()) if each["type"] == kind)


def _added(amounts: Sequence[Json]) -> str:
    return format(sum((Decimal(each["amount"]) for each in amounts), Decimal(0)), "f") if amounts else ""


def _amount(kind: str, line: Line) -> str:
    """Return a part of an item's proceeds; nothing while the order is pending, as the report has it."""
    if line.order["fulfillment"]["fulfillmentStatus"] == PENDING:
        return ""
    return _added([each["subtotal"] for each in _parts(line.item, kind)])


def _amount_within(kind: str, subtype: str, line: Line) -> str:
    """Return a part of a tax or discount. One that is not taken apart counts as the item's."""
    if line.order["fulfillment"]["fulfillmentStatus"] == PENDING:
        return ""
    amounts: list[Json] = []
    for part in _parts(line.item, kind):
        details = part.get("detailedBreakdowns")
        if details:
            amounts += [each["value"] for each in details if each.get("subtype") == subtype and "value" in each]
        elif subtype == "ITEM":
            amounts.append(part["subtotal"])
    return _added(amounts)


def _item_price(line: Line) -> str:
    """Return what all units of an item cost."""
    told = _amount("ITEM", line)
    price = line.item["product"].get("price", {}).get("unitPrice")
    if told or price is None or line.order["fulfillment"]["fulfillmentStatus"] == PENDING:
        return told
    return format(Decimal(price["amount"]) * line.item["quantityOrdered"], "f")


def _currency(line: Line) -> str:
    if line.order["fulfillment"]["fulfillmentStatus"] == PENDING:
        return ""
    prices = [*(each["subtotal"] for each in _parts(line.item, "ITEM"))]
    prices += [line.item["product"].get("price", {}).get("unitPrice"), line.order.get("proceeds", {}).get("grandTotal")]
    return next((price["currencyCode"] for price in prices if price), "")


_ALL_ORDERS: Mapping[str, Column] = {
    "amazon-order-id": "orderId",
    "merchant-order-id": OfOrder(_merchant_order_id),
    "purchase-date": _time("createdTime"),
    "last-updated-date": _time("lastUpdatedTime"),
    "order-status": OfOrder(_status),
    "fulfillment-channel": OfOrder(_fulfillment_channel),
    "sales-channel": OfOrder(_sales_channel),
    "order-channel": OfOrder(_nothing),
    "url": OfOrder(_nothing),
    "ship-service-level": "fulfillment.fulfillmentServiceLevel",
    "product-name": "orderItems.product.title",
    "sku": "orderItems.product.sellerSku",
    "asin": "orderItems.product.asin",
    "item-status": _item_status,
    "quantity": "orderItems.quantityOrdered",
    "currency": _currency,
    "item-price": _item_price,
    "item-tax": partial(_amount_within, "TAX", "ITEM"),
    "shipping-price": partial(_amount, "SHIPPING"),
    "shipping-tax": partial(_amount_within, "TAX", "SHIPPING"),
    "gift-wrap-price": partial(_amount, "GIFT_WRAP"),
    "gift-wrap-tax": partial(_amount_within, "TAX", "GIFT_WRAP"),
    "item-promotion-discount": partial(_amount_within, "DISCOUNT", "ITEM"),
    "ship-promotion-discount": partial(_amount_within, "DISCOUNT", "SHIPPING"),
    "ship-city": "recipient.deliveryAddress.city",
    "ship-state": "recipient.deliveryAddress.stateOrRegion",
    "ship-postal-code": "recipient.deliveryAddress.postalCode",
    "ship-country": "recipient.deliveryAddress.countryCode",
    "promotion-ids": "orderItems.promotion.breakdowns.promotionId",
    "is-business-order": _has_program(BUSINESS),
    "purchase-order-number": "buyer.buyerPurchaseOrderNumber",
    "price-designation": "orderItems.product.price.priceDesignation",
    "signature-confirmation-recommended": _wants_signature,
    "order-item-id": "orderItems.orderItemId",
}


def _ship_by(line: Line) -> datetime:
    return datetime.fromisoformat(line.order["fulfillment"]["shipByWindow"]["latestDateTime"])


def _days_past_promise(line: Line) -> str:
    """Return the whole days since the ship-by instant; before it, 0 or the days left as a negative number."""
    return str(int((line.now - _ship_by(line)) / DAY))


def _verge_of_cancellation(line: Line) -> str:
    """Tell whether the sweep takes the order within a day; one of which something is confirmed it never takes (D3)."""
    fulfillment = line.order["fulfillment"]
    is_open = fulfillment["fulfillmentStatus"] == UNSHIPPED and "confirmBy" in fulfillment
    return _flag(is_open and datetime.fromisoformat(fulfillment["confirmBy"]) - line.now <= VERGE)


def _verge_of_late_shipment(line: Line) -> str:
    return _flag(timedelta(0) <= _ship_by(line) - line.now <= VERGE)


def _buyer_wants_cancellation(line: Line) -> str:
    return _flag("cancellationRequest" in line.item.get("cancellation", {}))


_MADE: Mapping[str, Column] = {
    **{name: _time(path) for name, path in ORDER_COLUMNS.items() if name.endswith("-date")},
    **{name: _has_program(program) for name, program in PROGRAM_COLUMNS.items()},
    # When the payment was authorized is not known here. What is authorized came with the order.
    "payments-date": _time("createdTime"),
    "reporting-date": _time("createdTime"),
    "days-past-promise": _days_past_promise,
    "buyer-phone-number": OfOrder(_nothing),  # R6: there is no relay number yet, and the buyer's own is never shown
    "is-buyer-requested-cancellation": _buyer_wants_cancellation,
    "verge-of-cancellation": _verge_of_cancellation,
    "verge-of-lateShipment": _verge_of_late_shipment,
    "signature-confirmation-recommended": _wants_signature,
    "sales-channel": OfOrder(_sales_channel),
    "merchant-order-id": OfOrder(_merchant_order_id),
    "order-status": OfOrder(_status),
}
_UNSHIPPED_ORDER = (
    *("order-id", "order-item-id", "purchase-date", "payments-date", "reporting-date", "promise-date"),
    *("days-past-promise", "buyer-email", "buyer-name", "buyer-phone-number", "sku", "product-name"),
    *("quantity-purchased", "quantity-shipped", "quantity-to-ship", "ship-service-level", "recipient-name"),
    *("ship-address-1", "ship-address-2", "ship-address-3", "address-type", "ship-city", "ship-state"),
    *("ship-postal-code", "ship-country", "customized-url", "is-business-order", "purchase-order-number"),
    *("price-designation", "is-prime", "buyer-company-name", "is-buyer-requested-cancellation"),
    *("buyer-requested-cancel-reason", "ioss-number", "verge-of-cancellation", "verge-of-lateShipment"),
    *("signature-confirmation-recommended", "sales-channel"),
    *("merchant-order-id", "order-total", "currency", "order-status", "order-channel", "asin", "ship-company"),
    *("ship-county", "earliest-ship-date", "earliest-delivery-date", "latest-delivery-date"),
)
_UNSHIPPED_COLUMNS: Mapping[str, Column] = {
    **ORDER_COLUMNS,
    **{name: f"{ITEMS}.{path}" for name, path in ITEM_COLUMNS.items()},
    **_MADE,
}


def _everything(filters: OrderFilter) -> OrderFilter:
    return filters


def _unshipped_only(filters: OrderFilter) -> OrderFilter | None:
    """Return the filter for what is left to ship of the caller's own filter; None when that is nothing."""
    statuses = {UNSHIPPED, PARTIALLY_SHIPPED} & set(filters.fulfillment_statuses or FulfillmentStatus)
    fulfilled_by = {"MERCHANT"} & set(filters.fulfilled_by or FulfilledBy)
    if not statuses or not fulfilled_by:
        return None
    return replace(filters, fulfillment_statuses=sorted(statuses), fulfilled_by=sorted(fulfilled_by))


def _is_left_to_ship(item: Json) -> bool:
    return item["fulfillment"]["quantityUnfulfilled"] > 0


_SHARED = frozenset(
    {"orderId", "orderAliases", "programs", "createdTime", "salesChannel", "buyer", "recipient", "proceeds"}
    | {"fulfillment", ITEMS}
)
LAYOUTS: Mapping[LayoutName, Layout] = {
    LayoutName.ALL_ORDERS: Layout(Table(_ALL_ORDERS), _SHARED | {"lastUpdatedTime"}, _everything),
    LayoutName.UNSHIPPED_ORDERS: Layout(
        Table({name: _UNSHIPPED_COLUMNS[name] for name in _UNSHIPPED_ORDER}, _is_left_to_ship),
        _SHARED,
        _unshipped_only,
    ),
}

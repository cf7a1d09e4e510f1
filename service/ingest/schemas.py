"""Read an order from the wire: validated by the schema, then taken apart into what the rules and the tables need."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, cast

import orjson
from marshmallow import ValidationError

from service.errors import FieldError, InvalidRequest, MalformedRequest
from service.ingest.content import DERIVED, content_of, digest_of
from service.ingest.rules import IncomingCharge, IncomingItem, IncomingOrder, IncomingPackage
from service.money import Money
from service.orders.rules import FulfilledBy, FulfillmentStatus, ItemState
from service.orders.schemas import OrderSchema
from service.schema import field_errors
from service.search.rules import search_document

Json = Mapping[str, Any]

# Kept in columns of their own, or not kept; every other member of an order is copied into its `details`.
_IN_COLUMNS = DERIVED | {
    "orderId", "createdTime", "salesChannel", "buyer", "recipient", "proceeds", "payment", "fulfillment", "orderItems",
    "packages",
}  # fmt: skip
_ITEM_IN_COLUMNS = frozenset({"orderItemId", "quantityOrdered", "fulfillment"})
_QUANTITIES = frozenset({"quantityFulfilled", "quantityUnfulfilled"})

order_schema = OrderSchema()


def read_line(line: bytes) -> IncomingOrder:
    """Read an order that names its seller from one line of NDJSON; raise the `Problem` that refuses it."""
    try:
        document = orjson.loads(line)
        loaded = order_schema.load(document)
    except orjson.JSONDecodeError as error:
        raise MalformedRequest("the line is not JSON", FieldError(str(error), "")) from error
    except ValidationError as error:
        raise InvalidRequest(
            "the order does not fit the contract", *field_errors(cast("object", error.messages))
        ) from error
    if "seller_id" not in loaded:
        raise InvalidRequest("the order names no seller", FieldError("is required", "/sellerId"))
    return read_order(document, loaded, loaded["seller_id"])


def read_order(document: Json, loaded: Json, seller_id: str) -> IncomingOrder:
    """Take apart an order: `document` as it came, and the same as the schema loaded it."""
    content = content_of(document)
    if b'"phone":' in content:
        document = _without_phones(document)
        content = content_of(document)
    fulfillment, payment = loaded["fulfillment"], loaded.get("payment", {})
    ship_by, deliver_by = fulfillment.get("ship_by_window", {}), fulfillment.get("deliver_by_window", {})
    cancellation, status = loaded.get("cancellation", {}), FulfillmentStatus(fulfillment["fulfillment_status"])
    packages = tuple(
        _package(raw, package)
        for raw, package in zip(document.get("packages", ()), loaded.get("packages", ()), strict=True)
    )
    return IncomingOrder(
        seller_id=seller_id,
        order_id=loaded["order_id"],
        created_time=loaded["created_time"],
        marketplace_id=loaded["sales_channel"]["marketplace_id"],
        channel_name=loaded["sales_channel"]["channel_name"],
        fulfilled_by=FulfilledBy(fulfillment["fulfilled_by"]),
        fulfillment_status=status,
        fulfillment_service_level=fulfillment.get("fulfillment_service_level"),
        ship_by_earliest=ship_by.get("earliest_date_time"),
        ship_by_latest=ship_by.get("latest_date_time"),
        deliver_by_earliest=deliver_by.get("earliest_date_time"),
        deliver_by_latest=deliver_by.get("latest_date_time"),
        grand_total=_money(loaded.get("proceeds", {}).get("grand_total")),
        payment_status=payment.get("payment_status"),
        charge=_charge(payment.get("charge")),
        cancelled_time=cancellation.get("cancelled_time"),
        cancel_reason=cancellation.get("cancel_reason"),
        # An order that we gave out carries our time, which the channel knows nothing of.
        channel_updated_time=None if "version" in loaded else loaded.get("last_updated_time"),
        channel_digest=digest_of(content),
        comes_back="version" in loaded,
        channel_json=_channel_json(document),
        details=_members(document, _IN_COLUMNS),
        programs=document.get("programs"),
        ship_to_country=document.get("recipient", {}).get("deliveryAddress", {}).get("countryCode"),
        search=search_document(document),
        items=tuple(
            _item(raw, item, status, packages)
            for raw, item in zip(document["orderItems"], loaded["order_items"], strict=True)
        ),
        packages=packages,
    )


def _item(raw: Json, item: Json, status: FulfillmentStatus, packages: tuple[IncomingPackage, ...]) -> IncomingItem:
    key, ordered = item["order_item_id"], item["quantity_ordered"]
    packed = sum(package.quantities.get(key, 0) for package in packages)
    # A channel that leaves the quantity out means what the packages hold, or everything when the order is SHIPPED.
    told = ordered if status is FulfillmentStatus.SHIPPED and not packages else packed
    fulfillment = item.get("fulfillment", {})
    unfulfilled = fulfillment.get("quantity_unfulfilled")
    if "quantity_fulfilled" in fulfillment:
        told = fulfillment["quantity_fulfilled"]
    elif unfulfilled is not None and status is not FulfillmentStatus.CANCELLED:
        told = max(ordered - unfulfilled, 0)
    return IncomingItem(
        order_item_id=key,
        state=ItemState(ordered, told),
        told_unfulfilled=unfulfilled,
        details=_members(raw, _ITEM_IN_COLUMNS),
        fulfillment_details=_members(raw.get("fulfillment", {}), _QUANTITIES),
    )


def _package(raw: Json, package: Json) -> IncomingPackage:
    status, items = package.get("package_status", {}), package.get("package_items", [])
    quantities, codes = Counter[str](), dict[str, list[str]]()
    for item in items:
        quantities[item["order_item_id"]] += item["quantity"]
        if "transparency_codes" in item:
            codes.setdefault(item["order_item_id"], []).extend(item["transparency_codes"])
    carrier, carrier_code = package.get("carrier"), package.get("carrier_code")
    return IncomingPackage(
        package_reference_id=package["package_reference_id"],
        package_status=status.get("status", "DELIVERED" if "delivered_time" in package else "SHIPPED"),
        detailed_status=status.get("detailed_status"),
        created_time=package.get("created_time"),
        delivered_time=package.get("delivered_time"),
        carrier_code=carrier_code,
        carrier_name=None if carrier == carrier_code else carrier,
        shipping_service=package.get("shipping_service"),
        tracking_number=package.get("tracking_number"),
        ship_time=package.get("ship_time"),
        ship_from_address=_text(raw.get("shipFromAddress")),
        quantities=quantities,
        transparency_codes=codes,
    )


def _charge(loaded: Json | None) -> IncomingCharge | None:
    if not loaded:
        return None
    return IncomingCharge(
        amount=_money(loaded.get("amount")),
        charged_time=loaded.get("charged_time"),
        charge_status=loaded.get("charge_status"),
    )


def _money(loaded: Json | None) -> Money | None:
    return None if loaded is None else Money(loaded["amount"], loaded["currency_code"])


def _without_phones(value: Any) -> Any:  # noqa: ANN401  # any JSON value
    """Return the value without any phone number in it: it is never shown (R5, R6), so it is not kept."""
    match value:
        case dict():
            members = cast("dict[str, Any]", value).items()
            return {key: _without_phones(part) for key, part in members if key != "phone"}
        case list():
            return [_without_phones(part) for part in cast("list[Any]", value)]
        case _:
            return value


def _channel_json(document: Json) -> dict[str, str | None]:
    return {
        "sales_channel": _text(document["salesChannel"]),
        "buyer": _text(document.get("buyer")),
        "recipient": _text(document.get("recipient")),
        "proceeds": _text(document.get("proceeds")),
        "payment_executions": _text(document.get("payment", {}).get("paymentExecutions")),
        "label_printing_window": _text(document["fulfillment"].get("labelPrintingWindow")),
    }


def _text(value: object) -> str | None:
    return None if value is None else orjson.dumps(value).decode()


def _members(value: Json, left_out: frozenset[str]) -> str:
    """Return JSON members, each behind a comma, as the queries put them into an object."""
    kept = {key: part for key, part in value.items() if key not in left_out}
    return "," + orjson.dumps(kept).decode()[1:-1] if kept else ""

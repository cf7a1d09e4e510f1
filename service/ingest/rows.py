"""Incoming orders as rows of the tables, named by column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

import orjson

from service.ingest.deadlines import Deadline
from service.ingest.rules import PAYMENT_STATUS_OF, IncomingOrder, IncomingPackage, confirmed_times
from service.orders.rules import CONFIRMED, FulfillmentStatus
from service.search.rules import search_text


def order_row(order: IncomingOrder, deadline: Deadline, now: datetime) -> dict[str, object]:
    """Return the row of a new order, whose first version it is."""
    status, told = order.fulfillment_status, order.channel_updated_time or now
    confirmed = confirmed_times(order, now)
    cancelled = status is FulfillmentStatus.CANCELLED
    return {
        "seller_id": order.seller_id,
        "order_id": order.order_id,
        "version": 1,
        "created_time": order.created_time,
        "last_updated_time": now,
        "marketplace_id": order.marketplace_id,
        "channel_name": order.channel_name,
        "fulfilled_by": order.fulfilled_by,
        "fulfillment_status": status,
        "fulfillment_service_level": order.fulfillment_service_level,
        "payment_status": order.payment_status or PAYMENT_STATUS_OF[status],
        "ship_by_earliest": order.ship_by_earliest,
        "ship_by_latest": order.ship_by_latest,
        "confirm_by": deadline.confirm_by,
        "policy_version": deadline.policy_version,
        "extended_until": deadline.extended_until,
        "deliver_by_earliest": order.deliver_by_earliest,
        "deliver_by_latest": order.deliver_by_latest,
        "grand_total": order.grand_total.amount if order.grand_total else None,
        "currency_code": order.grand_total.currency_code if order.grand_total else None,
        "confirmed_time": min(confirmed) if status in CONFIRMED else None,
        "shipped_time": max(confirmed) if status is FulfillmentStatus.SHIPPED else None,
        "delivered_time": _delivered_time(order, told),
        "cancelled_time": (order.cancelled_time or told) if cancelled else None,
        "cancel_reason": _cancel_reason(order) if cancelled else None,
        "channel_digest": "\\x" + order.channel_digest.hex(),
        "channel_updated_time": order.channel_updated_time,
        "details": order.details,
        "programs": order.programs,
        "ship_to_country": order.ship_to_country,
        **_fragments(order.channel_json),
    }


def _delivered_time(order: IncomingOrder, told: datetime) -> datetime | None:
    """Return when the last package was delivered, None while one is not."""
    if order.fulfillment_status is not FulfillmentStatus.SHIPPED or not order.packages:
        return None
    if any(package.package_status != "DELIVERED" for package in order.packages):
        return None
    return max(package.delivered_time or told for package in order.packages)


def _cancel_reason(order: IncomingOrder) -> str:
    # That nothing was confirmed in time is for the sweep to say, which has a run to show for it.
    told = order.cancel_reason
    return "CANCELLED_BY_CHANNEL" if told is None or told == "NOT_CONFIRMED_IN_TIME" else told


def _fragments(texts: Mapping[str, str | None]) -> dict[str, object]:
    """Return JSON texts as parts of a larger one."""
    return {name: None if text is None else orjson.Fragment(text) for name, text in texts.items()}


def item_rows(order: IncomingOrder) -> Iterator[dict[str, object]]:
    """Yield the rows of an order's items."""
    for number, item in enumerate(order.items):
        yield {
            "seller_id": order.seller_id,
            "order_id": order.order_id,
            "order_item_id": item.order_item_id,
            "item_number": number,
            "quantity_ordered": item.state.quantity_ordered,
            "quantity_fulfilled": item.state.quantity_fulfilled,
            "details": item.details,
            "fulfillment_details": item.fulfillment_details,
        }


def package_row(order: IncomingOrder, package: IncomingPackage, now: datetime) -> dict[str, object]:
    """Return the row of a package."""
    told = order.channel_updated_time or now
    delivered = package.package_status == "DELIVERED"
    return {
        "seller_id": order.seller_id,
        "order_id": order.order_id,
        "package_reference_id": package.package_reference_id,
        "created_time": package.created_time or package.ship_time or told,
        "package_status": package.package_status,
        "detailed_status": package.detailed_status,
        "delivered_time": (package.delivered_time or told) if delivered else None,
        "carrier_code": package.carrier_code,
        "carrier_name": package.carrier_name,
        "shipping_service": package.shipping_service,
        "tracking_number": package.tracking_number,
        "tracking_text": search_text([package.tracking_number]) if package.tracking_number else None,
        "ship_time": package.ship_time,
        **_fragments({"ship_from_address": package.ship_from_address}),
    }


def package_item_rows(order: IncomingOrder, package: IncomingPackage) -> Iterator[dict[str, object]]:
    """Yield the rows of what is in a package."""
    for order_item_id, quantity in package.quantities.items():
        yield {
            "seller_id": order.seller_id,
            "order_id": order.order_id,
            "package_reference_id": package.package_reference_id,
            "order_item_id": order_item_id,
            "quantity": quantity,
            "transparency_codes": package.transparency_codes.get(order_item_id),
        }

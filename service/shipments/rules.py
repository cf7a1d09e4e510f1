"""Whether a shipment may be confirmed, and what the confirmation makes of the order (R8-R10, D2-D6)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson

from service.errors import (
    ConfirmationWindowClosed,
    FieldError,
    NothingToConfirm,
    OrderCancelled,
    OrderPending,
    PlatformFulfilled,
    Problem,
    QuantityTooLarge,
    UnknownOrderItem,
)
from service.orders.rules import (
    CONFIRMED,
    FulfilledBy,
    FulfillmentStatus,
    ItemState,
    OrderState,
    status_of,
    window_is_closed,
)


@dataclass(frozen=True, slots=True)
class ConfirmedItem:
    """Units of an order item that are in the package."""

    order_item_id: str
    quantity: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ShipmentConfirmation:
    """One package as the seller confirms it; `items` is None for all that remains."""

    package_reference_id: str
    carrier_code: str
    carrier_name: str | None
    shipping_method: str | None
    tracking_number: str | None
    ship_date: datetime
    items: Sequence[ConfirmedItem] | None

    @property
    def digest(self) -> bytes:
        """Return what tells the same confirmation sent again from another one with the same package id."""
        items = None if self.items is None else sorted((item.order_item_id, item.quantity) for item in self.items)
        content = [
            self.carrier_code,
            self.carrier_name,
            self.shipping_method,
            self.tracking_number,
            self.ship_date.astimezone(UTC).isoformat(),
            items,
        ]
        return hashlib.sha256(orjson.dumps(content)).digest()


@dataclass(frozen=True, slots=True)
class Decision:
    """What a confirmation does: the units it confirms, the order's new status, and whether it charges the order."""

    quantities: Mapping[str, int]
    fulfillment_status: FulfillmentStatus
    charges_order: bool


def decide(order: OrderState, confirmation: ShipmentConfirmation, now: datetime) -> Decision:
    """Return what the confirmation does to the order at `now`, or raise the `Problem` that refuses it."""
    refusal = _refusal(order, now)
    if refusal is not None:
        raise refusal
    quantities = _quantities(order, confirmation)
    items = {
        key: ItemState(item.quantity_ordered, item.quantity_fulfilled + quantities.get(key, 0))
        for key, item in order.items.items()
    }
    return Decision(quantities, status_of(items), charges_order=order.confirmed_time is None)


def _refusal(order: OrderState, now: datetime) -> Problem | None:
    status = order.fulfillment_status
    if order.fulfilled_by is FulfilledBy.AMAZON:
        return PlatformFulfilled("the platform ships and confirms this order; there is nothing for the seller to do")
    if status is FulfillmentStatus.CANCELLED:
        return OrderCancelled("the order is cancelled and unpaid, and stays so; do not ship it")
    if status is FulfillmentStatus.PENDING:
        return OrderPending("the payment is not authorized yet; confirm once the order is UNSHIPPED")
    if status not in CONFIRMED and window_is_closed(order.confirm_by, now):
        return ConfirmationWindowClosed(
            f"the order had to be confirmed before {order.confirm_by:%Y-%m-%dT%H:%M:%SZ}; "
            "it is being cancelled and stays unpaid"
        )
    if status is FulfillmentStatus.SHIPPED:
        return NothingToConfirm("every item of the order is confirmed already")
    return None


def _quantities(order: OrderState, confirmation: ShipmentConfirmation) -> dict[str, int]:
    if confirmation.items is None:
        return {key: item.quantity_unfulfilled for key, item in order.items.items() if item.quantity_unfulfilled}
    for number, confirmed in enumerate(confirmation.items):
        item = order.items.get(confirmed.order_item_id)
        if item is None:
            raise UnknownOrderItem(
                f"the order's items are {', '.join(order.items)}",
                FieldError(
                    f"{confirmed.order_item_id} is not an item of the order", f"/orderItems/{number}/orderItemId"
                ),
            )
        if confirmed.quantity > item.quantity_unfulfilled:
            raise QuantityTooLarge(
                "confirm at most what remains",
                FieldError(
                    f"{item.quantity_unfulfilled} of {item.quantity_ordered} remain to be confirmed, "
                    f"not {confirmed.quantity}",
                    f"/orderItems/{number}/quantity",
                ),
            )
    return {item.order_item_id: item.quantity for item in confirmation.items}

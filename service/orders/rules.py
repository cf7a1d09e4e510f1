"""The order as the rules see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from service.money import Money


class FulfillmentStatus(StrEnum):
    """How far an order has got. Late is no status: it is derived (R11)."""

    PENDING = "PENDING"
    UNSHIPPED = "UNSHIPPED"
    PARTIALLY_SHIPPED = "PARTIALLY_SHIPPED"
    SHIPPED = "SHIPPED"
    CANCELLED = "CANCELLED"


class FulfilledBy(StrEnum):
    """Who ships: the platform or the seller."""

    AMAZON = "AMAZON"
    MERCHANT = "MERCHANT"


class EventType(StrEnum):
    """What changed an order."""

    ORDER_RECEIVED = "ORDER_RECEIVED"
    ORDER_UPDATED = "ORDER_UPDATED"
    SHIPMENT_CONFIRMED = "SHIPMENT_CONFIRMED"
    ORDER_CANCELLED = "ORDER_CANCELLED"
    PACKAGE_CHANGED = "PACKAGE_CHANGED"
    PACKAGE_TRACKED = "PACKAGE_TRACKED"
    CHARGE_SUCCEEDED = "CHARGE_SUCCEEDED"
    CHARGE_DECLINED = "CHARGE_DECLINED"
    CHARGE_UNKNOWN = "CHARGE_UNKNOWN"
    REFUND_REQUESTED = "REFUND_REQUESTED"
    REFUND_SUCCEEDED = "REFUND_SUCCEEDED"
    REFUND_DECLINED = "REFUND_DECLINED"
    REFUND_UNKNOWN = "REFUND_UNKNOWN"
    CANCELLATION_REQUESTED = "CANCELLATION_REQUESTED"
    DEADLINE_EXTENDED = "DEADLINE_EXTENDED"


# Members of an order that no rule looks at: they are kept as one text, which is shown as a whole or not at all.
DETAILS = frozenset({"orderAliases", "programs", "associatedOrders", "tax", "fulfillmentOrders"})

# An order with a confirmed item: it has been charged (R10) and is never cancelled (D3).
CONFIRMED = frozenset({FulfillmentStatus.PARTIALLY_SHIPPED, FulfillmentStatus.SHIPPED})


@dataclass(frozen=True, slots=True)
class ItemState:
    """How much of an order item was ordered, and how much of that is confirmed."""

    quantity_ordered: int
    quantity_fulfilled: int

    @property
    def quantity_unfulfilled(self) -> int:
        """Return the units still to be confirmed."""
        return self.quantity_ordered - self.quantity_fulfilled


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderState:
    """What is stored of an order and takes part in decisions."""

    seller_id: str
    order_id: str
    version: int
    created_time: datetime
    fulfilled_by: FulfilledBy
    fulfillment_status: FulfillmentStatus
    payment_status: str | None
    ship_by_latest: datetime | None
    confirm_by: datetime | None
    grand_total: Money | None
    confirmed_time: datetime | None
    cancel_reason: str | None
    cancellation_requested_time: datetime | None
    cancellation_request_reason: str | None
    items: Mapping[str, ItemState]


def status_of(items: Mapping[str, ItemState]) -> FulfillmentStatus:
    """Return the status that the confirmed quantities make."""
    if not any(item.quantity_fulfilled for item in items.values()):
        return FulfillmentStatus.UNSHIPPED
    if any(item.quantity_unfulfilled for item in items.values()):
        return FulfillmentStatus.PARTIALLY_SHIPPED
    return FulfillmentStatus.SHIPPED


def window_is_closed(confirm_by: datetime | None, now: datetime) -> bool:
    """Tell whether a first confirmation comes too late: at or after `confirmBy`, swept or not (R8, D2)."""
    return confirm_by is not None and now >= confirm_by

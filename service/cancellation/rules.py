"""Whether a seller may cancel an order, and what becomes of a buyer's request for it (R9, R10, D2, D3, D5, D6)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from service.errors import ConfirmationWindowClosed, OrderCancelled, OrderConfirmed, PlatformFulfilled
from service.orders.rules import CONFIRMED, FulfilledBy, FulfillmentStatus, OrderState, window_is_closed


class CancelReason(StrEnum):
    """Why a seller cancels an order."""

    NO_INVENTORY = "NO_INVENTORY"
    BUYER_CANCELLED = "BUYER_CANCELLED"
    SHIPPING_ADDRESS_UNDELIVERABLE = "SHIPPING_ADDRESS_UNDELIVERABLE"
    CUSTOMER_EXCHANGE = "CUSTOMER_EXCHANGE"
    PRICING_ERROR = "PRICING_ERROR"


@dataclass(frozen=True, slots=True)
class BuyerRequest:
    """The buyer's request to cancel an order: when it was made first, and why by the latest word."""

    requested_time: datetime
    cancel_reason: str | None

    def as_json(self) -> dict[str, object]:
        """Return the request in the words of the wire."""
        told = {"requestedTime": self.requested_time, "cancelReason": self.cancel_reason}
        return {name: value for name, value in told.items() if value is not None}


def buyer_request(order: OrderState) -> BuyerRequest | None:
    """Return the request that stands, if any."""
    if order.cancellation_requested_time is None:
        return None
    return BuyerRequest(order.cancellation_requested_time, order.cancellation_request_reason)


def decide_cancellation(order: OrderState, reason: CancelReason, now: datetime) -> bool:
    """Tell whether there is anything to do: False when the order is cancelled for that reason already.

    At the deadline it is decided why an order is cancelled, swept or not (D2). Raises the `Problem` that refuses it.
    """
    is_cancelled = order.fulfillment_status is FulfillmentStatus.CANCELLED
    if is_cancelled and order.fulfilled_by is FulfilledBy.MERCHANT and order.cancel_reason == reason:
        return False
    _refuse_what_is_settled(order, now)
    return True


def decide_request(order: OrderState, cancel_reason: str | None, now: datetime) -> BuyerRequest:
    """Return the request as it stands once the buyer asks: the first one keeps its time, the latest word its reason.

    Raises the `Problem` that refuses it.
    """
    _refuse_what_is_settled(order, now)
    standing = buyer_request(order)
    if standing is None:
        return BuyerRequest(now, cancel_reason)
    return BuyerRequest(standing.requested_time, cancel_reason or standing.cancel_reason)


def decide_withdrawal(order: OrderState, now: datetime) -> bool:
    """Tell whether there is a request to withdraw; raise the `Problem` that refuses it once the order is settled."""
    if buyer_request(order) is None:
        return False
    _refuse_what_is_settled(order, now)
    return True


def _refuse_what_is_settled(order: OrderState, now: datetime) -> None:
    if order.fulfilled_by is FulfilledBy.AMAZON:
        raise PlatformFulfilled("the platform ships this order, and is the one to cancel it")
    if order.fulfillment_status is FulfillmentStatus.CANCELLED:
        raise OrderCancelled("the order is cancelled and unpaid, and stays so")
    if order.fulfillment_status in CONFIRMED:
        raise OrderConfirmed(
            "an item is confirmed and the order is charged, so it cannot be cancelled; refund what is not shipped"
        )
    is_unshipped = order.fulfillment_status is FulfillmentStatus.UNSHIPPED
    if is_unshipped and window_is_closed(order.confirm_by, now):
        raise ConfirmationWindowClosed(
            f"the order had to be confirmed before {order.confirm_by:%Y-%m-%dT%H:%M:%SZ}; "
            "it is being cancelled for that reason"
        )

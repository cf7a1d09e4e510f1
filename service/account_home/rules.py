"""What the account home points at, and the rates that a seller is judged by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

# Orders are to be confirmed by the ship-by date: fewer than 4 % of those confirmed in 10 or 30 days may be late.
# Amazon, "Late shipment rate", https://sellercentral.amazon.com/gp/help/external/200285190
LATE_SHIPMENT_TARGET = Decimal("0.04")
# Sellers are to cancel fewer than 2.5 % of the orders of 7 days.
# Amazon, "Cancellation rate", https://sellercentral.amazon.com/gp/help/external/200285210
CANCELLATION_TARGET = Decimal("0.025")

# The seller's own reasons, and that nothing was confirmed in time (R9), which Amazon counts too. What a channel cancels
# is not the seller's doing, nor is what the buyer has asked for by the channel's own means.
# https://sellercentral.amazon.co.jp/seller-forums/discussions/t/7ff2b981-1e19-43c4-af51-a5c28a34a5b7
SELLER_CANCEL_REASONS: Sequence[str] = (
    "NO_INVENTORY",
    "BUYER_CANCELLED",
    "SHIPPING_ADDRESS_UNDELIVERABLE",
    "CUSTOMER_EXCHANGE",
    "PRICING_ERROR",
    "NOT_CONFIRMED_IN_TIME",
)


@dataclass(frozen=True, slots=True)
class Attention:
    """What a seller should attend to, and the query of the list of exactly those orders."""

    message: str
    query: dict[str, str]


_CANCELLED_UNLESS_CONFIRMED = {"fulfillmentStatuses": "UNSHIPPED", "fulfilledBy": "MERCHANT", "sort": "confirmBy"}
# By code. Those of single orders have the codes and the messages that the orders show.
ATTENTIONS: Mapping[str, Attention] = {
    "SHIPMENT_IS_LATE": Attention("Shipment is late", {"shipmentIsLate": "true", "sort": "shipBy"}),
    "CANCELS_WITHIN_24_HOURS": Attention(
        "Cancelled and unpaid within 24 hours, unless confirmed",
        _CANCELLED_UNLESS_CONFIRMED | {"confirmByWithin": "PT24H"},
    ),
    "CANCELS_WITHIN_7_DAYS": Attention(
        "Cancelled and unpaid within 7 days, unless confirmed", _CANCELLED_UNLESS_CONFIRMED | {"confirmByWithin": "P7D"}
    ),
    "CHARGE_DECLINED": Attention("The charge was declined", {"chargeIsDeclined": "true"}),
    "CANCELLATION_REQUESTED": Attention("The buyer asks to cancel", {"cancellationIsRequested": "true"}),
}


@dataclass(frozen=True, slots=True)
class Rate:
    """How many orders of a period went wrong; of very many, the newest are looked at (`capped`)."""

    period_days: int
    target: Decimal
    failed: int
    orders: int
    capped: bool

    @property
    def value(self) -> Decimal | None:
        """Return the share of the orders that went wrong; None where there is no order to judge by."""
        return Decimal(self.failed) / self.orders if self.orders else None

    @property
    def is_within_target(self) -> bool:
        """Tell whether the share is below the target; without orders, whether none went wrong."""
        return not self.failed if self.value is None else self.value < self.target

"""An incoming order, what is stored of it, and what a later version may change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from service.errors import FieldError, OrderConflict
from service.money import Money
from service.orders.rules import CONFIRMED, FulfilledBy, FulfillmentStatus, ItemState, window_is_closed
from service.search.rules import SearchDocument

PENDING, UNSHIPPED, PARTIALLY_SHIPPED, SHIPPED, CANCELLED = FulfillmentStatus

# The payment status that goes with each fulfillment status; none while the payment is not authorized.
PAYMENT_STATUS_OF: Mapping[FulfillmentStatus, str | None] = {
    PENDING: None,
    UNSHIPPED: "AUTHORIZED",
    PARTIALLY_SHIPPED: "CHARGED",
    SHIPPED: "CHARGED",
    CANCELLED: "UNPAID",
}

# A charge may have been given back before the order came here, in part or whole.
REFUNDED = frozenset({"PARTIALLY_REFUNDED", "REFUNDED"})
# How a refund that the platform makes of its own orders moves the payment.
_PLATFORM_REFUNDS = frozenset(
    {("CHARGED", "PARTIALLY_REFUNDED"), ("CHARGED", "REFUNDED"), ("PARTIALLY_REFUNDED", "REFUNDED")}
)

# What the channel may move an order to. Sellers confirm seller-fulfilled orders here; the platform confirms its own.
_CHANNEL_MOVES: Mapping[FulfilledBy, Mapping[FulfillmentStatus, frozenset[FulfillmentStatus]]] = {
    FulfilledBy.MERCHANT: {PENDING: frozenset({UNSHIPPED, CANCELLED})},
    FulfilledBy.AMAZON: {
        PENDING: frozenset({UNSHIPPED, PARTIALLY_SHIPPED, SHIPPED, CANCELLED}),
        UNSHIPPED: frozenset({PARTIALLY_SHIPPED, SHIPPED, CANCELLED}),
        PARTIALLY_SHIPPED: frozenset({SHIPPED}),
    },
}


class Outcome(StrEnum):
    """What receiving an order did."""

    CREATED = "CREATED"
    UPDATED = "UPDATED"
    UNCHANGED = "UNCHANGED"


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomingPackage:
    """A package that was confirmed before the order came here."""

    package_reference_id: str
    package_status: str
    detailed_status: str | None
    created_time: datetime | None
    delivered_time: datetime | None
    carrier_code: str | None
    carrier_name: str | None
    shipping_service: str | None
    tracking_number: str | None
    ship_time: datetime | None
    ship_from_address: str | None
    quantities: Mapping[str, int]
    transparency_codes: Mapping[str, list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomingItem:
    """An item; `details` and `fulfillment_details` are JSON members as the channel sent them.

    `told_unfulfilled` is what the channel said beside the quantities that `state` was made of, if it said it.
    """

    order_item_id: str
    state: ItemState
    told_unfulfilled: int | None
    details: str
    fulfillment_details: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomingCharge:
    """The charge as the channel tells of it, each part if it was told."""

    amount: Money | None
    charged_time: datetime | None
    charge_status: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomingOrder:
    """An order as its channel describes it.

    As the channel sent it: `channel_json` maps columns to JSON, and `details` are the JSON members without a column.
    One that `comes_back` was given out by this service.
    """

    seller_id: str
    order_id: str
    created_time: datetime
    marketplace_id: str
    channel_name: str
    fulfilled_by: FulfilledBy
    fulfillment_status: FulfillmentStatus
    fulfillment_service_level: str | None
    ship_by_earliest: datetime | None
    ship_by_latest: datetime | None
    deliver_by_earliest: datetime | None
    deliver_by_latest: datetime | None
    grand_total: Money | None
    payment_status: str | None
    charge: IncomingCharge | None
    cancelled_time: datetime | None
    cancel_reason: str | None
    channel_updated_time: datetime | None
    channel_digest: bytes
    comes_back: bool = False
    channel_json: Mapping[str, str | None]
    details: str
    programs: list[str] | None
    ship_to_country: str | None
    search: SearchDocument
    items: tuple[IncomingItem, ...]
    packages: tuple[IncomingPackage, ...]

    @property
    def key(self) -> tuple[str, str]:
        """Return what identifies the order."""
        return self.seller_id, self.order_id

    @property
    def item_states(self) -> dict[str, ItemState]:
        """Return the quantities by item."""
        return {item.order_item_id: item.state for item in self.items}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredOrder:
    """What is known of an order that came before."""

    version: int
    created_time: datetime
    marketplace_id: str
    channel_name: str
    fulfilled_by: FulfilledBy
    fulfillment_status: FulfillmentStatus
    payment_status: str | None
    ship_by_earliest: datetime | None
    ship_by_latest: datetime | None
    confirm_by: datetime | None
    policy_version: int
    extended_until: datetime | None
    grand_total: Money | None
    confirmed_time: datetime | None
    shipped_time: datetime | None
    cancelled_time: datetime | None
    cancel_reason: str | None
    channel_digest: bytes
    channel_updated_time: datetime | None
    items: Mapping[str, ItemState]
    packages: Mapping[str, Mapping[str, int]]


def confirmed_times(order: IncomingOrder, now: datetime) -> list[datetime]:
    """Return when what is confirmed of an order was confirmed: package by package, or as its channel last knew it."""
    told = order.channel_updated_time or now
    return [package.created_time or package.ship_time or told for package in order.packages] or [told]


def is_unchanged(stored: StoredOrder, incoming: IncomingOrder) -> bool:
    """Tell whether a version brings nothing new: the same again, or older than what is stored."""
    if stored.channel_digest == incoming.channel_digest:
        return True
    known, told = stored.channel_updated_time, incoming.channel_updated_time
    return known is not None and told is not None and told < known


def is_said_later(stored: StoredOrder, incoming: IncomingOrder) -> bool:
    """Tell whether the channel says it at a later time than what is stored."""
    known, told = stored.channel_updated_time, incoming.channel_updated_time
    return told is not None and (known is None or told > known)


def refuse_conflicts(stored: StoredOrder, incoming: IncomingOrder, confirm_by: datetime | None, now: datetime) -> None:
    """Raise `OrderConflict` naming everything that this later version, due at `confirm_by`, may not change."""
    errors = [
        *_identity_conflicts(stored, incoming),
        *_progress_conflicts(stored, incoming),
        *_payment_conflicts(stored, incoming),
        *_window_conflicts(stored, incoming, confirm_by, now),
    ]
    if errors:
        raise OrderConflict("the order was not changed", *errors)


def _identity_conflicts(stored: StoredOrder, incoming: IncomingOrder) -> Iterator[FieldError]:
    fixed = {
        "/createdTime": (stored.created_time, incoming.created_time),
        "/salesChannel/marketplaceId": (stored.marketplace_id, incoming.marketplace_id),
        "/salesChannel/channelName": (stored.channel_name, incoming.channel_name),
        "/fulfillment/fulfilledBy": (stored.fulfilled_by, incoming.fulfilled_by),
    }
    for pointer, (was, now_is) in fixed.items():
        if was != now_is:
            yield FieldError(f"is {was} here and cannot become {now_is}", pointer)
    if stored.fulfillment_status is PENDING or incoming.fulfillment_status is CANCELLED:
        return  # nothing is fixed yet; and a cancelled order comes with its quantities and amounts at 0
    if incoming.grand_total != stored.grand_total:
        yield FieldError("the total is fixed once the order is no longer PENDING", "/proceeds/grandTotal")
    was_ordered = {key: item.quantity_ordered for key, item in stored.items.items()}
    if was_ordered != {key: item.quantity_ordered for key, item in incoming.item_states.items()}:
        yield FieldError("items and quantities are fixed once the order is no longer PENDING", "/orderItems")


def _progress_conflicts(stored: StoredOrder, incoming: IncomingOrder) -> Iterator[FieldError]:
    was, becomes = stored.fulfillment_status, incoming.fulfillment_status
    moves = _CHANNEL_MOVES[stored.fulfilled_by].get(was, frozenset[FulfillmentStatus]())
    if becomes is not was and becomes not in moves:
        seller_may = was in {UNSHIPPED, PARTIALLY_SHIPPED} and becomes in CONFIRMED
        hint = "; confirm it with a shipment confirmation" if seller_may else ""
        yield FieldError(f"is {was} here and cannot become {becomes} this way{hint}", "/fulfillment/fulfillmentStatus")
        return
    states = incoming.item_states
    for key, item in stored.items.items():
        told = states[key].quantity_fulfilled if key in states else item.quantity_fulfilled
        if told < item.quantity_fulfilled or (
            told > item.quantity_fulfilled and stored.fulfilled_by is FulfilledBy.MERCHANT
        ):
            yield FieldError(f"{item.quantity_fulfilled} of item {key} are confirmed here, not {told}", "/orderItems")
    told_packages = {package.package_reference_id: dict(package.quantities) for package in incoming.packages}
    for reference, quantities in stored.packages.items():
        if told_packages.get(reference) != dict(quantities):
            yield FieldError(f"package {reference} is confirmed here with other content", "/packages")


def _payment_conflicts(stored: StoredOrder, incoming: IncomingOrder) -> Iterator[FieldError]:
    was, told = stored.payment_status, incoming.payment_status
    if stored.fulfillment_status not in CONFIRMED or told in {None, was} or is_refunded_by_platform(stored, incoming):
        return
    if stored.fulfilled_by is FulfilledBy.MERCHANT and was in REFUNDED and told == "CHARGED":
        return  # the order was refunded here, of which its channel knows nothing
    hint = "; refund it here" if told in REFUNDED and stored.fulfilled_by is FulfilledBy.MERCHANT else ""
    yield FieldError(f"is {was} here and cannot become {told} this way{hint}", "/payment/paymentStatus")


def is_refunded_by_platform(stored: StoredOrder, incoming: IncomingOrder) -> bool:
    """Tell whether the platform has refunded one of its own orders: those of sellers are refunded here."""
    move = stored.payment_status, incoming.payment_status
    return stored.fulfilled_by is FulfilledBy.AMAZON and move in _PLATFORM_REFUNDS


def _window_conflicts(
    stored: StoredOrder, incoming: IncomingOrder, confirm_by: datetime | None, now: datetime
) -> Iterator[FieldError]:
    # The platform's window is its own (D6), and a cancelled order keeps the window that it was cancelled with.
    if stored.fulfilled_by is FulfilledBy.AMAZON or incoming.fulfillment_status is CANCELLED:
        return
    was, told = stored.ship_by_latest, incoming.ship_by_latest
    if was == told and stored.ship_by_earliest == incoming.ship_by_earliest:
        return
    if stored.fulfillment_status in CONFIRMED:
        yield FieldError("the window is fixed once an item is confirmed", "/fulfillment/shipByWindow")
    elif stored.fulfillment_status is UNSHIPPED and window_is_closed(stored.confirm_by, now):
        yield FieldError(
            f"the order had to be confirmed before {stored.confirm_by:%Y-%m-%dT%H:%M:%SZ}; "
            "a closed window stays closed",
            "/fulfillment/shipByWindow",
        )
    elif stored.fulfillment_status is UNSHIPPED and was != told and window_is_closed(confirm_by, now):
        yield FieldError(
            f"the order would have had to be confirmed before {confirm_by:%Y-%m-%dT%H:%M:%SZ}, which has passed; "
            "no window is closed after the fact",
            "/fulfillment/shipByWindow",
        )

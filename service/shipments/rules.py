"""Whether a shipment may be confirmed, and what the confirmation makes of the order (R8-R10, D2-D6)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import orjson

from service.errors import (
    CancellationRequested,
    ConfirmationWindowClosed,
    FieldError,
    NothingToConfirm,
    OrderCancelled,
    OrderPending,
    PackageConflict,
    PlatformFulfilled,
    Problem,
    QuantityTooLarge,
    ShipDateOutOfRange,
    TooManyPackages,
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

A_DAY = timedelta(days=1)
LAST_REFERENCE = 10**19 - 1
# As many as an order shows, which is read as a whole.
MAX_PACKAGES = 1000


@dataclass(frozen=True, slots=True)
class ConfirmedItem:
    """Units of an order item that are in the package."""

    order_item_id: str
    quantity: int
    transparency_codes: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ShipmentConfirmation:
    """One package as the seller confirms it.

    `items` is None for all that remains; `package_reference_id` is None, and `ship_date` a day alone, where a file
    tells no more. `override_cancellation_request` is no part of what the package is.
    """

    package_reference_id: str | None
    carrier_code: str
    carrier_name: str | None
    shipping_method: str | None
    tracking_number: str | None
    ship_date: datetime | date
    items: Sequence[ConfirmedItem] | None
    ship_from_address: Mapping[str, str] | None = None
    override_cancellation_request: bool = False

    @property
    def digest(self) -> bytes:
        """Return what tells the same confirmation sent again from another one with the same package id."""
        when = self.ship_date.astimezone(UTC) if isinstance(self.ship_date, datetime) else self.ship_date
        content: list[object] = [
            self.carrier_code,
            self.carrier_name,
            self.shipping_method,
            self.tracking_number,
            when.isoformat(),
            None if self.items is None else sorted(_item_content(item) for item in self.items),
        ]
        # What was not known to the first digests is in those alone that have it.
        if self.ship_from_address is not None:
            content.append(self.ship_from_address)
        return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).digest()


def _item_content(item: ConfirmedItem) -> tuple[object, ...]:
    codes = (sorted(item.transparency_codes),) if item.transparency_codes else ()
    return (item.order_item_id, item.quantity, *codes)


@dataclass(frozen=True, slots=True)
class Decision:
    """What a confirmation does.

    The units it confirms, when they were shipped, the order's new status, and whether it charges the order.
    """

    quantities: Mapping[str, int]
    ship_time: datetime
    fulfillment_status: FulfillmentStatus
    charges_order: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownPackages:
    """What the packages that an order has are to a confirmation.

    How many there are, the greatest of their numbers (0 without any), which of them the confirmation made before, and
    whether one of them has the number that it names.
    """

    package_count: int
    greatest: int
    made_before: str | None
    is_taken: bool


def find_same(confirmation: ShipmentConfirmation, known: KnownPackages) -> str | None:
    """Return the package that the confirmation made before; raise `PackageConflict` when it names one of another."""
    if known.is_taken and known.made_before is None:
        raise PackageConflict(
            f"package {confirmation.package_reference_id} of the order has other content; a new package needs another "
            "id",
            FieldError("is taken by a package with other content", "/packageReferenceId"),
        )
    return known.made_before


def next_reference(greatest: int) -> str | None:
    """Return the number of a package that comes without one: after the greatest there is, None if nothing is."""
    return str(greatest + 1) if greatest < LAST_REFERENCE else None


def refuse_too_many(known: KnownPackages) -> None:
    """Raise `TooManyPackages` when an order cannot have one more."""
    if known.package_count >= MAX_PACKAGES:
        raise TooManyPackages(f"the order has {known.package_count} packages, the most there can be")


def decide(order: OrderState, confirmation: ShipmentConfirmation, now: datetime) -> Decision:
    """Return what the confirmation does to the order at `now`, or raise the `Problem` that refuses it."""
    refusal = _refusal(order, now)
    if refusal is not None:
        raise refusal
    if not confirmation.override_cancellation_request:
        _refuse_against_the_buyer(order)
    quantities = _quantities(order, confirmation)
    items = {
        key: ItemState(item.quantity_ordered, item.quantity_fulfilled + quantities.get(key, 0))
        for key, item in order.items.items()
    }
    return Decision(
        quantities,
        ship_time(confirmation.ship_date, order.created_time, now),
        status_of(items),
        charges_order=order.confirmed_time is None,
    )


def ship_time(ship_date: datetime | date, created_time: datetime, now: datetime) -> datetime:
    """Return when a package was shipped by the seller's word, which never decides lateness (D4).

    A day alone stands for its noon, moved into what is possible if the day is. Raises `ShipDateOutOfRange`.
    """
    moment = ship_date if isinstance(ship_date, datetime) else _on_day(ship_date, created_time, now)
    if moment < created_time:
        place = f"is before the order, of {created_time:%Y-%m-%dT%H:%M:%SZ}"
    elif moment > now + A_DAY:
        place = f"is more than a day after now, {now:%Y-%m-%dT%H:%M:%SZ}"
    else:
        return moment
    raise ShipDateOutOfRange(
        "a package is handed over after it was ordered, and not more than a day from now",
        FieldError(place, "/shipDate"),
    )


def _on_day(day: date, created_time: datetime, now: datetime) -> datetime:
    noon = datetime.combine(day, time(12), UTC)
    # The seller's calendar may be a day away from that of UTC.
    if noon < created_time and day >= created_time.date() - A_DAY:
        return created_time
    return now if noon > now and day <= now.date() + A_DAY else noon


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


def _refuse_against_the_buyer(order: OrderState) -> None:
    asked = order.cancellation_requested_time
    if asked is not None and order.fulfillment_status is FulfillmentStatus.UNSHIPPED:
        raise CancellationRequested(
            f"the buyer asked to cancel at {asked:%Y-%m-%dT%H:%M:%SZ}; cancel the order, or confirm it all the same",
            FieldError("must be true to confirm against the buyer's request", "/overrideCancellationRequest"),
        )


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

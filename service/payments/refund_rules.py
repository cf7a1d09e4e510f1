"""What may be refunded of an order: never more than was charged, and of an item never more than it is worth."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any

import iso4217
import orjson

from service.errors import FieldError, InvalidRequest, PlatformFulfilled, UnknownOrderItem
from service.money import Money
from service.orders.rules import FulfilledBy, OrderState
from service.payments.errors import ItemWithoutPrice, NotCharged, PaymentServiceMissing, RefundTooLarge
from service.payments.rules import PaymentStatus

MAX_REFUNDS = 1000


@dataclass(frozen=True, slots=True)
class RefundedItem:
    """What is asked for an item: the worth of so many units, or an amount."""

    order_item_id: str
    quantity: int | None
    amount: Money | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundRequest:
    """A refund as it is asked for: of items, or of an amount of the order."""

    idempotency_key: str
    reason: str
    items: Sequence[RefundedItem]
    amount: Money | None

    def digest(self, order_id: str) -> bytes:
        """Return what tells the same refund asked for again from another one with the same key."""
        items = sorted([item.order_item_id, item.quantity or 0, _words(item.amount)] for item in self.items)
        return hashlib.sha256(orjson.dumps([order_id, self.reason, items, _words(self.amount)])).digest()


def _words(money: Money | None) -> list[str]:
    return [] if money is None else [format(money.amount.normalize(), "f"), money.currency_code]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargeState:
    """The charge of an order, and what of it is given back or about to be; `was_refunded` once a refund was made."""

    total: Money
    status: PaymentStatus
    settled_outside: bool
    refunded: Decimal
    refund_count: int
    was_refunded: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundableItem:
    """An item's worth, None when it is not known, and what of it is given back or about to be."""

    quantity_ordered: int
    worth: Decimal | None
    refunded: Decimal
    refunded_units: int
    refunded_for_units: Decimal


@dataclass(frozen=True, slots=True)
class ItemRefund:
    """What is given back for an item; the quantity when it was asked for by that."""

    order_item_id: str
    quantity: int | None
    amount: Decimal


@dataclass(frozen=True, slots=True)
class RefundDecision:
    """What is given back."""

    amount: Money
    items: Sequence[ItemRefund]
    settled_outside: bool


def worth_of(item: Mapping[str, Any], quantity_ordered: int, currency: str) -> Decimal | None:
    """Return what the buyer paid for an item, by its JSON: its proceeds, or its price; None when neither is told."""
    total = item.get("proceeds", {}).get("proceedsTotal")
    price = item.get("product", {}).get("price", {}).get("unitPrice")
    money, times = (price, quantity_ordered) if total is None else (total, 1)
    if money is None or money["currencyCode"] != currency:
        return None
    worth = Decimal(money["amount"]) * times
    return worth if worth >= 0 else None


def decide_refund(
    order: OrderState,
    charge: ChargeState | None,
    items: Mapping[str, RefundableItem],
    request: RefundRequest,
    *,
    settles_outside: bool,
) -> RefundDecision:
    """Return what the refund gives back, or raise the `Problem` that refuses it."""
    charge = _charge_to_refund(order, charge, settles_outside=settles_outside)
    currency = charge.total.currency_code
    if request.amount is None:
        refunds = [_refund_item(items, item, currency, number) for number, item in enumerate(request.items)]
        amount, place = sum((refund.amount for refund in refunds), Decimal(0)), "/orderItems"
    else:
        refunds, amount, place = [], _amount_in(currency, request.amount, "/amount"), "/amount"
    if amount <= 0:
        raise _too_small(items, request, currency)
    left = charge.total.amount - charge.refunded
    if amount > left:
        raise _too_large(f"{left:f} {currency} of the order are left, not {amount:f}", place)
    return RefundDecision(Money(amount, currency), refunds, charge.settled_outside)


def _charge_to_refund(order: OrderState, charge: ChargeState | None, *, settles_outside: bool) -> ChargeState:
    if order.fulfilled_by is FulfilledBy.AMAZON:
        raise PlatformFulfilled("the platform ships and refunds this order; there is nothing for the seller to do")
    if charge is None:
        raise NotCharged("nothing of the order is confirmed, so the buyer was not charged")
    if charge.status is not PaymentStatus.SUCCEEDED:
        raise NotCharged(f"the charge is {charge.status}; refund the order once it has SUCCEEDED")
    if order.payment_status != "CHARGED" and not charge.was_refunded:
        raise NotCharged("the channel refunded the order before it came here, and did not tell how much")
    if charge.refund_count >= MAX_REFUNDS:
        raise InvalidRequest(f"the order has {MAX_REFUNDS} refunds, the most there can be")
    if settles_outside and not charge.settled_outside:
        raise PaymentServiceMissing(
            "the buyer was charged by a payment service; set PAYMENT_SERVICE_URL to refund by it"
        )
    return charge


def _refund_item(items: Mapping[str, RefundableItem], asked: RefundedItem, currency: str, number: int) -> ItemRefund:
    place = f"/orderItems/{number}"
    item = items.get(asked.order_item_id)
    if item is None:
        raise UnknownOrderItem(
            f"the order's items are {', '.join(items)}",
            FieldError(f"{asked.order_item_id} is not an item of the order", f"{place}/orderItemId"),
        )
    if asked.amount is None:
        place += "/quantity"
        amount = _worth_of_units(item, asked.quantity or 0, currency, place)
    else:
        place += "/amount"
        amount = _amount_in(currency, asked.amount, place)
    if item.worth is not None and amount > item.worth - item.refunded:
        left = item.worth - item.refunded
        raise _too_large(f"{left:f} {currency} of the item are left, not {amount:f}", place)
    return ItemRefund(asked.order_item_id, asked.quantity, amount)


def _worth_of_units(item: RefundableItem, quantity: int, currency: str, place: str) -> Decimal:
    """Return the worth of some units: so rounded that all of them, one by one, come to exactly the item's worth."""
    left = item.quantity_ordered - item.refunded_units
    if quantity > left:
        raise _too_large(f"{left} of {item.quantity_ordered} units are left, not {quantity}", place)
    if item.worth is None:
        raise ItemWithoutPrice("refund an amount instead", FieldError("the channel told no price of this item", place))
    worth = item.worth * (item.refunded_units + quantity) / item.quantity_ordered
    return max(worth.quantize(_smallest(currency), ROUND_HALF_UP) - item.refunded_for_units, Decimal(0))


def _smallest(currency: str) -> Decimal:
    return Decimal(1).scaleb(-(iso4217.Currency(currency).exponent or 0))


def _too_small(items: Mapping[str, RefundableItem], request: RefundRequest, currency: str) -> InvalidRequest:
    """Return the refusal of units that come to nothing, which says how many would come to something."""
    errors: list[FieldError] = []
    for number, asked in enumerate(request.items):
        least = least_units(items[asked.order_item_id], _smallest(currency))
        remedy = "what is left is worth nothing" if least is None else f"only {least} units come to an amount"
        errors.append(FieldError(f"comes to 0 {currency}: {remedy}", f"/orderItems/{number}/quantity"))
    return InvalidRequest("there is nothing to refund", *errors)


def least_units(item: RefundableItem, smallest: Decimal) -> int | None:
    """Return the fewest units that come to an amount, None when all that are left do not: halves are rounded up."""
    if not item.worth:
        return None
    needed = Fraction(item.refunded_for_units + smallest / 2) * item.quantity_ordered / Fraction(item.worth)
    units = math.ceil(needed) - item.refunded_units
    return units if units <= item.quantity_ordered - item.refunded_units else None


def _amount_in(currency: str, money: Money, place: str) -> Decimal:
    if money.currency_code != currency:
        error = FieldError(f"must be {currency}, in which the buyer was charged", f"{place}/currencyCode")
        raise InvalidRequest("an amount is refunded in the currency it was charged in", error)
    if money.amount <= 0:
        raise InvalidRequest("there is nothing to refund", FieldError("must be more than 0", f"{place}/amount"))
    return money.amount


def _too_large(detail: str, place: str) -> RefundTooLarge:
    return RefundTooLarge("refund at most what was charged and is not refunded yet", FieldError(detail, place))

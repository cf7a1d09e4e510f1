"""What becomes of a seller's orders, in plain Python: confirmations, parcels, money, cancellation, and the clock.

Written from the rules alone (R8-R12, D1-D7): nothing of the service is used, so that the two can only agree by being
right. What can be refused for several reasons may be refused for any of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tests.payment_model import Account, Mode, Refund, Shares

# The answer to a call: a status, or the problems that it may be refused with.
Answer = int | frozenset[str]
Items = Mapping[str, int]

DAY = timedelta(days=1)
OPEN = ("PENDING", "UNSHIPPED")
CONFIRMED = ("PARTIALLY_SHIPPED", "SHIPPED")


def refused(*codes: str) -> frozenset[str]:
    """Return a refusal for one of these reasons."""
    return frozenset(codes)


def _units(content: Mapping[str, Any]) -> Items:
    """Return the units that a confirmation names, none when it is for all that remains."""
    return content.get("orderItems", {})


@dataclass(slots=True)
class Package:
    """A confirmed package: its first content, and what the seller and the carrier made of it."""

    content: Mapping[str, Any]
    quantities: Items
    tracking_number: str
    version: int = 1
    told: set[tuple[datetime, str]] = field(default_factory=set[tuple[datetime, str]])

    @property
    def delivered_time(self) -> datetime | None:
        """Return the earliest delivery that was told of."""
        return min((time for time, status in self.told if status == "DELIVERED"), default=None)

    @property
    def standing(self) -> tuple[str, datetime | None]:
        """Return the status and its time: delivered for ever, else the latest that was told of."""
        if self.delivered_time is not None:
            return "DELIVERED", self.delivered_time
        time, status = max(self.told, default=(None, "SHIPPED"))  # of two at once UNDELIVERABLE is the greater text
        return status, time


@dataclass(slots=True, kw_only=True)
class Order:
    """One order. `events` are the types of its history, whose length is its version."""

    account: Account
    created: datetime
    ship_by: datetime
    confirm_by: datetime
    status: str
    fulfilled_by: str = "MERCHANT"
    fulfilled: dict[str, int] = field(default_factory=dict[str, int])
    packages: dict[str, Package] = field(default_factory=dict[str, Package])
    shipped_time: datetime | None = None
    cancel_reason: str | None = None
    request: tuple[str | None] | None = None  # a buyer's request to cancel, and its reason if there is one
    events: list[str] = field(default_factory=lambda: ["ORDER_RECEIVED"])

    def _remaining(self) -> dict[str, int]:
        left = {key: item.ordered - self.fulfilled.get(key, 0) for key, item in self.account.items.items()}
        return {key: quantity for key, quantity in left.items() if quantity}

    # --- the seller ships ---

    def confirm(self, reference: str, content: Mapping[str, Any], now: datetime, *, overrides: bool) -> Answer:
        """Confirm a package: R8 to R10, D2, D3, D6."""
        known = self.packages.get(reference)
        if known is not None:
            return 200 if known.content == content else refused("package-conflict")
        problems = self._shipping_problems(content, now, overrides=overrides)
        if problems:
            return problems
        quantities = _units(content) or self._remaining()
        for key, quantity in quantities.items():
            self.fulfilled[key] = self.fulfilled.get(key, 0) + quantity
        self.packages[reference] = Package(content, dict(quantities), content["trackingNumber"])
        self.status = "PARTIALLY_SHIPPED" if self._remaining() else "SHIPPED"
        self.shipped_time = now if self.status == "SHIPPED" else None
        self.account.charge_once(now)
        self.events.append("SHIPMENT_CONFIRMED")
        return 201

    def _shipping_problems(self, content: Mapping[str, Any], now: datetime, *, overrides: bool) -> frozenset[str]:
        if self.fulfilled_by == "AMAZON":
            return refused("platform-fulfilled")
        if self.status in {"CANCELLED", "PENDING", "SHIPPED"}:
            reasons = {"CANCELLED": "order-cancelled", "PENDING": "order-pending", "SHIPPED": "nothing-to-confirm"}
            return refused(reasons[self.status], *self._date_problems(content["shipDate"], now))
        problems = self._date_problems(content["shipDate"], now)
        if self.status == "UNSHIPPED":
            problems |= {"confirmation-window-closed"} if now >= self.confirm_by else set[str]()
            problems |= {"cancellation-requested"} if self.request and not overrides else set[str]()
        remaining = self._remaining()
        for key, quantity in _units(content).items():
            if key not in self.account.items:
                problems.add("unknown-order-item")
            elif quantity > remaining.get(key, 0):
                problems.add("quantity-too-large")
        return frozenset(problems)

    def _date_problems(self, date: datetime, now: datetime) -> set[str]:
        return set() if self.created <= date <= now + DAY else {"ship-date-out-of-range"}

    def correct(self, reference: str, tracking_number: str, version: str | None) -> Answer:
        """Correct a package's tracking number before it is delivered; quantities are never edited."""
        problems = {"precondition-required"} if version is None else set[str]()
        problems |= {"platform-fulfilled"} if self.fulfilled_by == "AMAZON" else set[str]()
        package = self.packages.get(reference)
        if package is None:
            return refused("package-not-found", *problems)
        problems |= {"precondition-failed"} if version not in {None, "*", str(package.version)} else set[str]()
        problems |= {"package-delivered"} if package.delivered_time else set[str]()
        if problems:
            return refused(*problems)
        if package.tracking_number != tracking_number:
            package.tracking_number = tracking_number
            package.version += 1
            self.events.append("PACKAGE_CHANGED")
        return 200

    def track(self, reference: str, status: str, time: datetime, now: datetime) -> Answer:
        """Hear from the carrier, in any order and any number of times."""
        package = self.packages.get(reference)
        problems = set[str]() if self.created <= time <= now + DAY else {"tracking-time-out-of-range"}
        if package is None:
            return refused("package-not-found", *problems)
        if problems:
            return refused(*problems)
        was = package.standing
        package.told.add((time, status))
        if package.standing != was:
            package.version += 1
            self.events.append("PACKAGE_TRACKED")
        return 200

    @property
    def delivered_time(self) -> datetime | None:
        """Return when the last package was delivered: complete only when everything was shipped."""
        times = [package.delivered_time for package in self.packages.values()]
        if self.status != "SHIPPED" or None in times:
            return None
        return max(time for time in times if time is not None)

    # --- the order is cancelled ---

    def authorize(self) -> None:
        """Hear from the channel that the payment is authorized."""
        self.status = "UNSHIPPED"
        self.events.append("ORDER_UPDATED")

    def cancel(self, reason: str, now: datetime) -> Answer:
        """Cancel for the seller: the whole order, before anything is confirmed and before the deadline (D2, D5)."""
        if self.status == "CANCELLED" and self.cancel_reason == reason:
            return 200
        problems = self._not_open(now)
        if problems:
            return problems
        self._cancel(reason)
        return 200

    def sweep(self, now: datetime) -> None:
        """Cancel what was not confirmed in time (R9)."""
        if self.fulfilled_by == "MERCHANT" and self.status == "UNSHIPPED" and now >= self.confirm_by:
            self._cancel("NOT_CONFIRMED_IN_TIME")

    def _cancel(self, reason: str) -> None:
        self.status, self.cancel_reason = "CANCELLED", reason
        self.events.append("ORDER_CANCELLED")

    def _not_open(self, now: datetime) -> frozenset[str]:
        if self.fulfilled_by == "AMAZON":
            return refused("platform-fulfilled")
        if self.status in CONFIRMED:
            return refused("order-confirmed")
        if self.status == "UNSHIPPED" and now >= self.confirm_by:
            return refused("confirmation-window-closed")
        return refused("order-cancelled") if self.status == "CANCELLED" else frozenset()

    def ask_to_cancel(self, reason: str | None, now: datetime) -> Answer:
        """Hear that the buyer asks to cancel; told without a reason, a reason that is known stays."""
        problems = self._not_open(now)
        if problems:
            return problems
        if self.request is None or reason not in {None, self.request[0]}:
            self.request = (reason,)
            self.events.append("CANCELLATION_REQUESTED")
        return 200

    def withdraw(self, now: datetime) -> Answer:
        """Hear that the buyer no longer asks; what the buyer never asked for needs no withdrawal."""
        problems = self._not_open(now)
        if self.request is not None and problems:
            return problems
        if self.request is not None:
            self.request = None
            self.events.append("CANCELLATION_REQUESTED")
        return 200

    # --- money ---

    def pay(self, name: str, ledger: dict[str, str], mode: Mode, now: datetime) -> None:
        """Let the worker do what is due."""
        self.events += self.account.work(name, ledger, mode, now)

    def refund(self, refund_id: str, key: str, shares: Shares, now: datetime) -> Refund:
        """Take a refund that nothing speaks against; it ends no lateness (R12)."""
        refund = self.account.refund(refund_id, key, shares, now)
        self.events.append(f"REFUND_{refund.payment.status}")
        return refund

    def refund_problems(self, shares: Shares) -> frozenset[str]:
        """Return why a refund is refused."""
        return refused("platform-fulfilled") if self.fulfilled_by == "AMAZON" else self.account.problems(shares)

    # --- what it looks like ---

    def is_late(self, now: datetime) -> bool:
        """Tell whether the ship-by instant has passed and something is not confirmed (R11, D7)."""
        return (
            self.fulfilled_by == "MERCHANT" and self.status in {"UNSHIPPED", "PARTIALLY_SHIPPED"} and self.ship_by < now
        )

    def is_cancelled_within(self, period: timedelta, now: datetime) -> bool:
        """Tell whether the order is cancelled in this time unless something of it is confirmed."""
        is_open = self.fulfilled_by == "MERCHANT" and self.status == "UNSHIPPED"
        return is_open and now <= self.confirm_by <= now + period

    @property
    def confirmed_late(self) -> bool:
        """Tell whether the last confirmation came after the ship-by instant, whatever the seller typed (D4)."""
        return self.shipped_time is not None and self.shipped_time > self.ship_by

    @property
    def payment_status(self) -> str | None:
        """Return how far the payment has got."""
        if self.status in CONFIRMED:
            return self.account.status
        return {"PENDING": None, "UNSHIPPED": "AUTHORIZED", "CANCELLED": "UNPAID"}[self.status]

    def warnings(self, now: datetime) -> set[str]:
        """Return the codes of what the seller should attend to."""
        charge = self.account.charge
        told = {
            "SHIPMENT_IS_LATE": self.is_late(now),
            "CHARGE_DECLINED": charge is not None and charge.status == "DECLINED",
            "CANCELLATION_REQUESTED": self.request is not None and self.status in OPEN,
        }
        return {code for code, is_told in told.items() if is_told}

    def shown(self, now: datetime) -> dict[str, Any]:
        """Return what the order must show, named for the reader of a difference."""
        charge = self.account.charge
        refunds = {each.refund_id: (each.amount, each.payment.status) for each in self.account.refunds.values()}
        return {
            "version": len(self.events),
            "status": self.status,
            "payment": self.payment_status,
            "charge": None if charge is None else (charge.status, self.account.settles_outside, charge.decline_reason),
            "refunds": refunds if "REFUNDED" in (self.payment_status or "") else {},
            "fulfilled": {key: quantity for key, quantity in self.fulfilled.items() if quantity},
            "late": self.is_late(now),
            "confirmed late": self.confirmed_late,
            "delivered": self.delivered_time,
            "cancelled": self.cancel_reason,
            "request": self.request,
            "warnings": self.warnings(now),
            "packages": {
                reference: (each.version, each.standing[0], each.delivered_time, each.tracking_number, each.quantities)
                for reference, each in self.packages.items()
            },
        }

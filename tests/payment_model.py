"""What becomes of an order's charge and refunds when a payment service answers, or does not, in plain Python.

Written from the rules alone, as is the model of orders that uses it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from typing import Self

NO_FUNDS = "no funds"
CENT = Decimal("0.01")
RETRIED_AFTER = tuple(timedelta(hours=hours) for hours in (1, 6, 24, 72, 168))
# What decided nothing is looked up again after 5 seconds, and later after more: up to 5 minutes, a fifth more or less.
SOONEST, LATEST = timedelta(seconds=4), timedelta(minutes=6)
# The clock goes on while a test works.
MARGIN = timedelta(seconds=3)


class Mode(StrEnum):
    """What a payment service does with a request that it has not seen before."""

    ACCEPTS = "ACCEPTS"
    DECLINES = "DECLINES"
    PENDS = "PENDS"  # and decides when it is told to
    HANGS_UP = "HANGS_UP"  # makes it, but does not answer
    LOSES = "LOSES"  # neither makes it nor answers
    IS_DOWN = "IS_DOWN"  # cannot be reached, for look-ups neither


MADE = {Mode.ACCEPTS: "SUCCEEDED", Mode.DECLINES: "DECLINED", Mode.PENDS: "PENDING", Mode.HANGS_UP: "SUCCEEDED"}
SILENT = (Mode.HANGS_UP, Mode.LOSES)


@dataclass(slots=True)
class Payment:
    """A charge or a refund; `due` is between when and when the worker comes back to it, None if it does not."""

    status: str
    due: tuple[datetime, datetime] | None
    is_tried_again: bool  # after a decline, as a charge is and a refund is not
    declines: int = 0

    @classmethod
    def requested(cls, now: datetime, *, outside: bool, is_tried_again: bool) -> Self:
        """Return a new one: settled at once when that is done outside."""
        return cls("SUCCEEDED", None, is_tried_again) if outside else cls("REQUESTED", (now, now), is_tried_again)

    @property
    def decline_reason(self) -> str | None:
        """Return what the payment service says of a decline, while it is one."""
        return NO_FUNDS if self.status == "DECLINED" else None

    def is_uncertain(self, now: datetime) -> bool:
        """Tell whether nobody can say if the worker is to do something."""
        return self.due is not None and self.due[0] - MARGIN < now < self.due[1] + MARGIN

    def work(self, name: str, ledger: dict[str, str], mode: Mode, now: datetime) -> str | None:
        """Do what is due and return what it became, None when it stays as it was.

        The key changes with a definite decline only, and what the service holds under it counts: nothing is made
        twice under one key.
        """
        if self.due is None or now < self.due[1]:
            return None
        was, told = self.status, None
        if mode is not Mode.IS_DOWN:
            key = f"{name}:{self.declines + 1}" if self.is_tried_again else name
            told = ledger.get(key)
            if told is None and mode in MADE:
                ledger[key] = MADE[mode]
                told = None if mode in SILENT else MADE[mode]
            self.status = "UNKNOWN" if told in {None, "PENDING"} else str(told)
        if told in {None, "PENDING"}:
            self.due = (now + SOONEST, now + LATEST)
        elif told == "SUCCEEDED":
            self.due = None
        else:
            self._be_declined(now)
        return None if self.status == was != "DECLINED" or mode is Mode.IS_DOWN else self.status

    def _be_declined(self, now: datetime) -> None:
        after = RETRIED_AFTER[self.declines : self.declines + 1] if self.is_tried_again else ()
        self.due = (now + after[0], now + after[0]) if after else None
        self.declines += 1


@dataclass(frozen=True, slots=True)
class Item:
    """What was ordered; `worth` is what all its units cost, None when the channel does not tell."""

    ordered: int
    worth: Decimal | None

    def worth_of(self, units: int) -> Decimal:
        """Return what so many units are worth, so that unit by unit the cents add up to the whole."""
        assert self.worth is not None
        return (self.worth * units / self.ordered).quantize(CENT, ROUND_HALF_UP)


@dataclass(frozen=True, slots=True)
class Share:
    """What is to be refunded of an item: units, or an amount. Without an item, an amount of the order."""

    item: str | None
    units: int | None = None
    amount: Decimal = Decimal()


Shares = tuple[Share, ...]


@dataclass(slots=True)
class Refund:
    """A refund: what was asked for, and what that is worth in all and by item."""

    refund_id: str
    shares: Shares
    amounts: Mapping[str | None, Decimal]
    payment: Payment

    @property
    def amount(self) -> Decimal:
        """Return what is refunded in all."""
        return sum(self.amounts.values(), Decimal())


@dataclass(slots=True, kw_only=True)
class Account:
    """The money of one order."""

    items: Mapping[str, Item]
    total: Decimal
    settles_outside: bool
    charge: Payment | None = None
    refunds: dict[str, Refund] = field(default_factory=dict[str, Refund])

    @property
    def status(self) -> str:
        """Return the payment status once the order is charged: refunded is what was paid back."""
        paid_back = sum(each.amount for each in self.refunds.values() if each.payment.status == "SUCCEEDED")
        return "REFUNDED" if paid_back == self.total else "PARTIALLY_REFUNDED" if paid_back else "CHARGED"

    def payments(self) -> list[Payment]:
        """Return the charge and the refunds."""
        return [*([] if self.charge is None else [self.charge]), *(each.payment for each in self.refunds.values())]

    def charge_once(self, now: datetime) -> None:
        """Charge the whole order, unless it is charged (R10)."""
        if self.charge is None:
            self.charge = Payment.requested(now, outside=self.settles_outside, is_tried_again=True)

    def work(self, name: str, ledger: dict[str, str], mode: Mode, now: datetime) -> Iterator[str]:
        """Do what is due, yielding the event of each change."""
        if self.charge is not None and (became := self.charge.work(f"charge:{name}", ledger, mode, now)):
            yield f"CHARGE_{became}"
        for each in self.refunds.values():
            if became := each.payment.work(f"refund:{each.refund_id}", ledger, mode, now):
                yield f"REFUND_{became}"

    def problems(self, shares: Shares) -> frozenset[str]:
        """Return why a refund is refused: never more than was charged, nor for an item than it is worth."""
        if self.charge is None or self.charge.status != "SUCCEEDED":
            return frozenset({"not-charged"})
        found = {problem for share in shares for problem in self._problems(share)}
        if found:
            return frozenset(found)
        left = self.total - sum(each.amount for each in self._live())
        asked = sum((self._amount(share) for share in shares), Decimal())
        return frozenset({"refund-too-large"}) if asked > left else frozenset()

    def refund(self, refund_id: str, key: str, shares: Shares, now: datetime) -> Refund:
        """Take a refund that nothing speaks against."""
        payment = Payment.requested(now, outside=self.settles_outside, is_tried_again=False)
        amounts = {share.item: self._amount(share) for share in shares}
        self.refunds[key] = Refund(refund_id, shares, amounts, payment)
        return self.refunds[key]

    def _problems(self, share: Share) -> Iterator[str]:
        if share.item is None:
            return
        item = self.items.get(share.item)
        if item is None:
            yield "unknown-order-item"
        elif item.worth is None:
            if share.units is not None:
                yield "item-without-price"
        elif self._is_too_large(share.item, share, item.ordered, item.worth):
            yield "refund-too-large"

    def _is_too_large(self, name: str, share: Share, ordered: int, worth: Decimal) -> bool:
        has_units = self._units(name) + (share.units or 0) <= ordered
        return not has_units or self._refunded(name) + self._amount(share) > worth

    def _live(self) -> list[Refund]:
        return [each for each in self.refunds.values() if each.payment.status != "DECLINED"]

    def _units(self, item: str) -> int:
        return sum(share.units or 0 for each in self._live() for share in each.shares if share.item == item)

    def _refunded(self, item: str) -> Decimal:
        return sum((each.amounts.get(item, Decimal()) for each in self._live()), Decimal())

    def _amount(self, share: Share) -> Decimal:
        if share.item is None or share.units is None:
            return share.amount
        paid_back = sum(
            each.amounts[other.item]
            for each in self._live()
            for other in each.shares
            if other.item == share.item and other.units is not None
        )
        return self.items[share.item].worth_of(self._units(share.item) + share.units) - paid_back

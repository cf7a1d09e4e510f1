"""How the deadline of an order came about, day by day (R8, D1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum

from service.business_days import ConfirmationPolicy, CountedDay, end_of_day, explain_days, ship_by_date
from service.orders.rules import FulfilledBy, window_is_closed


class NoWindow(StrEnum):
    """Why an order has no confirmation window."""

    PLATFORM_FULFILLED = "PLATFORM_FULFILLED"
    NO_SHIP_BY_DATE = "NO_SHIP_BY_DATE"


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowOrder:
    """What is stored of an order's window."""

    marketplace_id: str
    policy_version: int
    fulfilled_by: str
    ship_by_latest: datetime | None
    confirm_by: datetime | None
    extended_until: datetime | None
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A window as it is counted from the ship-by date, and as it stands."""

    ship_by: datetime
    ship_by_date: date
    days: Sequence[CountedDay]
    counted_confirm_by: datetime
    extended_until: datetime | None
    confirm_by: datetime
    is_closed: bool
    remaining_seconds: int


def explain_window(order: WindowOrder, policy: ConfirmationPolicy) -> Window | NoWindow:
    """Return how a deadline came about, or why there is none; `policy` is the version that the order was counted by."""
    if order.fulfilled_by == FulfilledBy.AMAZON:
        return NoWindow.PLATFORM_FULFILLED
    if order.ship_by_latest is None or order.confirm_by is None:
        return NoWindow.NO_SHIP_BY_DATE
    first = ship_by_date(order.ship_by_latest, policy)
    days = explain_days(first, policy)
    return Window(
        ship_by=order.ship_by_latest,
        ship_by_date=first,
        days=days,
        counted_confirm_by=end_of_day(days[-1].date, policy),
        extended_until=order.extended_until,
        confirm_by=order.confirm_by,
        is_closed=window_is_closed(order.confirm_by, order.now),
        # A second that has begun is left: 0 is told of a closed window only.
        remaining_seconds=max(0, -((order.now - order.confirm_by) // timedelta(seconds=1))),
    )

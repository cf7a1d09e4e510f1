"""When a run of the sweep is held: it would cancel more than is plausible, or the clock has jumped (R9, D2)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Self

from service.settings import Settings

# One is enough to hold a run, and nobody reads a thousand.
MAX_SELLERS_TOLD = 20


class RunState(StrEnum):
    """What has become of a run."""

    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    PARTIAL = "PARTIAL"
    FAILED = "FAILED"
    ABANDONED = "ABANDONED"
    HELD = "HELD"
    PAUSED = "PAUSED"
    MISSED = "MISSED"


class HeldCode(StrEnum):
    """Why a run is held."""

    TOO_MANY = "TOO_MANY"
    TOO_MANY_OF_OPEN = "TOO_MANY_OF_OPEN"
    TOO_MANY_OF_SELLER = "TOO_MANY_OF_SELLER"
    CLOCK_SKEWED = "CLOCK_SKEWED"
    CLOCK_WENT_BACK = "CLOCK_WENT_BACK"
    CLOCK_JUMPED = "CLOCK_JUMPED"


@dataclass(frozen=True, slots=True)
class HeldReason:
    """One reason, for programs and for people."""

    code: HeldCode
    detail: str

    def as_json(self) -> dict[str, str]:
        """Return the reason in the words of the wire."""
        return {"code": self.code, "detail": self.detail}


@dataclass(frozen=True, slots=True)
class Limits:
    """What a run may cancel without being asked. Shares are judged from `percent_from` orders on."""

    max_orders: int = 5000
    max_percent: int = 20
    max_seller_percent: int = 50
    percent_from: int = 50
    max_clock_skew_s: int = 60


@dataclass(frozen=True, slots=True)
class SweepOptions:
    """How a sweep works: how many orders a transaction, how long a slot is, and what it may cancel."""

    batch_size: int = 1000
    interval_s: int = 60
    limits: Limits = field(default_factory=Limits)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the options that the settings name."""
        limits = Limits(
            settings.max_sweep_orders,
            settings.max_sweep_percent,
            settings.max_seller_sweep_percent,
            settings.sweep_percent_from,
            settings.max_clock_skew_s,
        )
        return cls(settings.sweep_batch_size, settings.sweep_interval_s, limits)


@dataclass(frozen=True, slots=True)
class DueOfSeller:
    """How many of a seller's open orders are due."""

    seller_id: str
    due_count: int
    open_count: int


@dataclass(frozen=True, slots=True)
class Assessment:
    """What a run found before it began. `open_count` is None where so few are due that no share is judged."""

    due_count: int
    orders_digest: str
    open_count: int | None = None
    sellers: tuple[DueOfSeller, ...] = ()


def judge_counts(found: Assessment, limits: Limits) -> list[HeldReason]:
    """Return the reasons for holding a run that would cancel what was found."""
    reasons: list[HeldReason] = []
    if found.due_count > limits.max_orders:
        detail = f"{found.due_count} orders are due, and {limits.max_orders} are allowed"
        reasons.append(HeldReason(HeldCode.TOO_MANY, detail))
    if found.open_count is not None and _is_over(found.due_count, found.open_count, limits.max_percent):
        detail = f"{found.due_count} of {found.open_count} open orders are due, and {limits.max_percent} % are allowed"
        reasons.append(HeldReason(HeldCode.TOO_MANY_OF_OPEN, detail))
    for seller in sorted(found.sellers, key=lambda each: (-each.due_count, each.seller_id))[:MAX_SELLERS_TOLD]:
        if seller.due_count >= limits.percent_from and _is_over(
            seller.due_count, seller.open_count, limits.max_seller_percent
        ):
            detail = (
                f"{seller.due_count} of {seller.open_count} open orders of seller {seller.seller_id} are due, "
                f"and {limits.max_seller_percent} % are allowed"
            )
            reasons.append(HeldReason(HeldCode.TOO_MANY_OF_SELLER, detail))
    return reasons


def _is_over(due_count: int, open_count: int, max_percent: int) -> bool:
    return due_count * 100 > open_count * max_percent


# Less than this between two looks is how clocks drift, and is forgiven; a year of it would look like a jump.
DRIFT_S = 1.0
# It goes on while the machine sleeps, where there is such a clock.
_ELAPSED_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class ClockWatch:
    """Compares the database's clock with a clock of this process that nobody can set, for as long as it lives.

    A jump is seen at every later look, until the clock is back or a person says that it is right.
    """

    def __init__(self, elapsed_s: Callable[[], float] = lambda: time.clock_gettime(_ELAPSED_CLOCK)) -> None:
        self._elapsed_s = elapsed_s
        self._ahead_s: float | None = None
        self._jumped_s = 0.0
        self._trusted_number = 0

    def jumped_s(self, database_now: datetime, trusted_number: int = 0) -> float:
        """Return by how many seconds the database's clock has jumped, forward or back, since it was last trusted.

        `trusted_number` is that of the newest run that a person has approved.
        """
        ahead_s = database_now.timestamp() - self._elapsed_s()
        moved_s = 0.0 if self._ahead_s is None else ahead_s - self._ahead_s
        self._ahead_s = ahead_s
        if trusted_number != self._trusted_number:
            self._trusted_number, self._jumped_s = trusted_number, 0.0
        if abs(moved_s) >= DRIFT_S:
            self._jumped_s += moved_s
        return self._jumped_s


@dataclass(frozen=True, slots=True)
class ClockReading:
    """What the database's clock said, and what it and the process's own had said before."""

    database_now: datetime
    host_now: datetime
    newest_time: datetime | None
    """When the last run began that succeeded."""
    jumped_s: float = 0
    jumped_time: datetime | None = None
    """When a run was held since because the clock had jumped, by the clock that had."""


def judge_clock(clock: ClockReading, limits: Limits) -> list[HeldReason]:
    """Return the reasons for holding a run that would judge deadlines by this clock."""
    allowed, reasons = timedelta(seconds=limits.max_clock_skew_s), list[HeldReason]()
    skew = clock.database_now - clock.host_now
    if abs(skew) > allowed:
        detail = f"the database's clock is {_told(skew)} of the scheduler's host"
        reasons.append(HeldReason(HeldCode.CLOCK_SKEWED, detail))
    if clock.newest_time is not None and clock.newest_time - clock.database_now > allowed:
        detail = f"it was {clock.newest_time:%Y-%m-%dT%H:%M:%SZ} before, and is {clock.database_now:%Y-%m-%dT%H:%M:%SZ}"
        reasons.append(HeldReason(HeldCode.CLOCK_WENT_BACK, f"the database's clock went back: {detail}"))
    jump = timedelta(seconds=clock.jumped_s)
    if abs(jump) > allowed:
        detail = f"the database's clock is {_told(jump)} of where it should be since the scheduler started"
        reasons.append(HeldReason(HeldCode.CLOCK_JUMPED, detail))
    elif clock.jumped_time is not None and clock.jumped_time <= clock.database_now:
        # Whoever saw it is gone. A clock that is back stands before the time that it had jumped to.
        detail = "a run was held because the database's clock had jumped, and nobody has approved one since"
        reasons.append(HeldReason(HeldCode.CLOCK_JUMPED, detail))
    return reasons


def _told(difference: timedelta) -> str:
    return f"{abs(difference) // timedelta(seconds=1)} s {'ahead' if difference > timedelta(0) else 'behind'}"

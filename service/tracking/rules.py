"""How far a package has got, by what its carrier tells in any order and any number of times."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from service.errors import FieldError, TrackingTimeOutOfRange

A_DAY = timedelta(days=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class TrackedStatus(StrEnum):
    """What a carrier tells of a package. At one instant, a later one outweighs the ones before it."""

    IN_TRANSIT = "IN_TRANSIT"
    UNDELIVERABLE = "UNDELIVERABLE"
    DELIVERED = "DELIVERED"


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageProgress:
    """How far a package has got. `tracking_time` is the carrier's, None when the status was not the carrier's word."""

    status: str
    detailed_status: str | None
    tracking_time: datetime | None
    delivered_time: datetime | None


@dataclass(frozen=True, slots=True)
class TrackingEvent:
    """What a carrier tells once."""

    status: TrackedStatus
    event_time: datetime
    detailed_status: str | None

    @property
    def progress(self) -> PackageProgress:
        """Return how far the package has got by this event alone."""
        return PackageProgress(
            status=self.status,
            detailed_status=self.detailed_status,
            tracking_time=self.event_time,
            delivered_time=self.event_time if self.status is TrackedStatus.DELIVERED else None,
        )


def after(known: PackageProgress, event: TrackingEvent) -> PackageProgress:
    """Return how far the package has got with an event: the greater of both, so that their sequence is no matter."""
    return event.progress if _rank(event.progress) > _rank(known) else known


def _rank(progress: PackageProgress) -> tuple[bool, timedelta, int, str]:
    """Return what a delivery is greatest by, the earliest first; otherwise the latest word of the carrier."""
    text = progress.detailed_status or ""
    if progress.delivered_time is not None:
        return True, _EPOCH - progress.delivered_time, 0, text
    since = timedelta.min if progress.tracking_time is None else progress.tracking_time - _EPOCH
    return False, since, int(progress.status == TrackedStatus.UNDELIVERABLE), text


def refuse_impossible(event_time: datetime, created_time: datetime, now: datetime) -> None:
    """Raise `TrackingTimeOutOfRange` for an event before the order, or more than a day from now."""
    if event_time < created_time:
        place = f"is before the order, of {created_time:%Y-%m-%dT%H:%M:%SZ}"
    elif event_time > now + A_DAY:
        place = f"is more than a day after now, {now:%Y-%m-%dT%H:%M:%SZ}"
    else:
        return
    raise TrackingTimeOutOfRange(
        "a package is tracked after it was ordered, and not more than a day from now", FieldError(place, "/eventTime")
    )

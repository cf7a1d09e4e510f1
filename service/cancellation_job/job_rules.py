"""What state the cancellation job is in, judged by what it has left in the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from service.cancellation_job.rules import SweepOptions

PATIENCE_INTERVALS = 3


class JobState(StrEnum):
    """What the job is doing."""

    RUNNING = "RUNNING"
    WAITING = "WAITING"
    PAUSED = "PAUSED"
    HELD = "HELD"
    STALLED = "STALLED"


@dataclass(frozen=True, slots=True)
class JobSigns:
    """What the state is judged by; all times are the database's own."""

    database_now: datetime
    last_success_time: datetime | None
    running_heartbeat_time: datetime | None
    is_paused: bool
    is_held: bool


def job_state(signs: JobSigns, options: SweepOptions) -> JobState:
    """Return the state: what people have decided, or must decide, comes before what the job does by itself.

    A run that shows life is RUNNING however long it takes; one that shows none is as good as none. A sign of life that
    lies ahead is none: the clock has been put back since.
    """
    if signs.is_paused:
        return JobState.PAUSED
    if signs.is_held:
        return JobState.HELD
    heartbeat = signs.running_heartbeat_time
    if heartbeat is not None and abs(signs.database_now - heartbeat) <= _patience(options):
        return JobState.RUNNING
    if why_stalled(signs.last_success_time, signs.database_now, options) is not None:
        return JobState.STALLED
    return JobState.WAITING


def why_stalled(last_success_time: datetime | None, database_now: datetime, options: SweepOptions) -> str | None:
    """Return why orders may be overdue and not cancelled, None when the job has succeeded of late.

    A success that lies ahead says nothing of the present: the clock has been put back since.
    """
    if last_success_time is None:
        return "the cancellation job has never succeeded"
    if last_success_time - database_now > timedelta(seconds=options.limits.max_clock_skew_s):
        return (
            f"the database's clock went back: the cancellation job succeeded at {_utc(last_success_time)}, "
            f"and it is {_utc(database_now)}"
        )
    if database_now - last_success_time > _patience(options):
        return f"the cancellation job has not succeeded since {_utc(last_success_time)}"
    return None


def _patience(options: SweepOptions) -> timedelta:
    return PATIENCE_INTERVALS * timedelta(seconds=options.interval_s)


def _utc(instant: datetime) -> str:
    return f"{instant:%Y-%m-%dT%H:%M:%SZ}"

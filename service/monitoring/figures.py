"""The figures of one scrape, gathered from the database: right whichever process is asked, and with no scheduler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg

from service.cancellation_job.control import find_pause, read_database_clock
from service.cancellation_job.job_queries import find_job_facts, find_last_success
from service.cancellation_job.rules import ClockReading, HeldCode, Limits, judge_clock
from service.monitoring.queries import DayOfState, SchedulerSeen, find_day, find_schedulers, observe

# Prometheus gives up after 10 s when it is not told otherwise.
_LIMIT = "SET LOCAL statement_timeout = '3s'"


@dataclass(frozen=True, slots=True)
class Figures:
    """What is told: gauges by name, None where there is nothing to tell, and what has a label."""

    gauges: Mapping[str, float | None]
    last_orders: Mapping[str, int | None]
    day: Sequence[DayOfState]
    schedulers: Sequence[SchedulerSeen]


def find_figures(connection: psycopg.Connection, *, interval_s: int, max_clock_skew_s: int) -> Figures:
    """Return all figures, a few ends of indexes and the runs of one day.

    What the job's own status shows too is asked in the same words, so that the two never disagree.
    """
    connection.execute(_LIMIT)
    clock = _read_clock(connection)
    facts, success = find_job_facts(connection, interval_s), find_last_success(connection).finished_time
    pause, seen = find_pause(connection), observe(connection)
    doubts = {each.code for each in judge_clock(clock, Limits(max_clock_skew_s=max_clock_skew_s))}
    oldest = facts.oldest_confirm_by
    gauges: dict[str, float | None] = {
        "cancellation_last_success_timestamp_seconds": success.timestamp() if success else None,
        "cancellation_last_run_number": seen.last_run_number,
        "cancellation_last_run_duration_seconds": seen.last_duration_s,
        "cancellation_run_running_seconds": seen.running_s,
        "cancellation_run_silent_seconds": seen.silent_s,
        "cancellation_overdue_orders": facts.overdue_count,
        "cancellation_oldest_overdue_seconds": (facts.now - oldest) / timedelta(seconds=1) if oldest else 0,
        "cancellation_paused": pause is not None,
        "cancellation_pause_ends_timestamp_seconds": pause.until_time.timestamp() if pause else None,
        "cancellation_held": facts.held_run_id is not None,
        "cancellation_missed_slots_24h": facts.missed_slot_count,
        "schedulers_alive": seen.schedulers_alive,
        "scheduler_clock_skew_seconds": seen.scheduler_skew_s,
        "clock_skew_seconds": (clock.database_now - clock.host_now) / timedelta(seconds=1),
        "clock_went_back": HeldCode.CLOCK_WENT_BACK in doubts,
        "deadline_changes_running": seen.deadline_changes_running,
    }
    last_orders = {
        "cancelled": seen.last_cancelled_count,
        "skipped": seen.last_skipped_count,
        "failed": seen.last_error_count,
    }
    return Figures(gauges, last_orders, find_day(connection), find_schedulers(connection))


def _read_clock(connection: psycopg.Connection) -> ClockReading:
    """Read both clocks: the host's is taken half-way, since the answer of the other takes its time."""
    before = datetime.now(UTC)
    read = read_database_clock(connection)
    return ClockReading(read.now, before + (datetime.now(UTC) - before) / 2, read.newest_time)

"""What Prometheus asks of the ledger and of the schedulers beyond what operations look at. Times are the database's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg.rows import class_row

from service.cancellation_job.job_queries import ALIVE_WITHIN_S

# Each process is a series of its own, and one that ends at once is started again and again.
MAX_SCHEDULERS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Observations:
    """The runs under way, the last one that ended, and how many of the processes live."""

    running_s: float
    silent_s: float
    last_run_number: int | None
    last_duration_s: float | None
    last_cancelled_count: int | None
    last_skipped_count: int | None
    last_error_count: int | None
    schedulers_alive: int
    scheduler_skew_s: float | None
    deadline_changes_running: int


@dataclass(frozen=True, slots=True)
class DayOfState:
    """The runs of the last 24 hours that are in one state, and what became of their orders."""

    state: str
    run_count: int
    cancelled_count: int
    skipped_count: int
    error_count: int


@dataclass(frozen=True, slots=True)
class SchedulerSeen:
    """A scheduler process of the last day: when it last showed itself, and what APScheduler has told it."""

    scheduler_id: str
    heartbeat_time: datetime
    scheduler_events: Mapping[str, int]


def observe(connection: psycopg.Connection) -> Observations:
    """Return what there is one of; each part reads an end of an index.

    A heartbeat that lies ahead is no sign of life: the clock was put back after it.
    """
    with connection.cursor(row_factory=class_row(Observations)) as cursor:
        (found,) = cursor.execute(
            """
            WITH running AS (
                SELECT min(started_time) AS started_time, max(
                    GREATEST(heartbeat_time - statement_timestamp(), statement_timestamp() - heartbeat_time)
                ) AS silent
                FROM cancellation_runs WHERE state = 'RUNNING' AND NOT dry_run
            ), alive AS (
                SELECT count(*) AS processes, max(abs(clock_skew_ms))::float8 / 1000 AS skew_s FROM schedulers
                WHERE stopped_time IS NULL AND heartbeat_time
                    BETWEEN statement_timestamp() - make_interval(secs => %(alive_within_s)s)
                    AND statement_timestamp() + make_interval(secs => %(alive_within_s)s)
            )
            SELECT
                COALESCE(extract(epoch FROM statement_timestamp() - running.started_time), 0)::float8 AS running_s,
                COALESCE(extract(epoch FROM running.silent), 0)::float8 AS silent_s,
                last.run_number AS last_run_number,
                extract(epoch FROM last.finished_time - last.started_time)::float8 AS last_duration_s,
                last.cancelled_count AS last_cancelled_count, last.skipped_count AS last_skipped_count,
                last.error_count AS last_error_count,
                alive.processes AS schedulers_alive, alive.skew_s AS scheduler_skew_s,
                (SELECT count(*) FROM deadline_changes WHERE state = 'RUNNING') AS deadline_changes_running
            FROM running CROSS JOIN alive LEFT JOIN (
                SELECT run_number, started_time, finished_time, cancelled_count, skipped_count, error_count
                FROM cancellation_runs WHERE NOT dry_run AND state NOT IN ('RUNNING', 'MISSED')
                ORDER BY run_number DESC LIMIT 1
            ) AS last ON true
            """,
            {"alive_within_s": ALIVE_WITHIN_S},
        ).fetchall()
    return found


def find_day(connection: psycopg.Connection) -> list[DayOfState]:
    """Return the runs of the last 24 hours by state.

    Runs are numbered as they begin: those after the newest one that is older. To count the whole ledger, as a counter
    would have to, takes longer every day.
    """
    with connection.cursor(row_factory=class_row(DayOfState)) as cursor:
        return cursor.execute(
            """
            SELECT state, count(*) AS run_count, sum(cancelled_count) AS cancelled_count,
                sum(skipped_count) AS skipped_count, sum(error_count) AS error_count
            FROM cancellation_runs
            WHERE NOT dry_run AND run_number > COALESCE((
                SELECT run_number FROM cancellation_runs
                WHERE started_time < statement_timestamp() - interval '24 hours' ORDER BY run_number DESC LIMIT 1
            ), 0)
            GROUP BY state ORDER BY state
            """
        ).fetchall()


def find_schedulers(connection: psycopg.Connection) -> list[SchedulerSeen]:
    """Return the schedulers of the last day, the one that showed itself last first."""
    with connection.cursor(row_factory=class_row(SchedulerSeen)) as cursor:
        return cursor.execute(
            """
            SELECT scheduler_id, heartbeat_time, scheduler_events FROM schedulers
            WHERE heartbeat_time > statement_timestamp() - interval '24 hours'
            ORDER BY heartbeat_time DESC, scheduler_id DESC LIMIT %(limit)s
            """,
            {"limit": MAX_SCHEDULERS},
        ).fetchall()

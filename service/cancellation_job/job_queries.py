"""What the job has left in the ledger, as operations look at it. Times are the database's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString
from uuid import UUID

import psycopg
from psycopg.rows import class_row

from service.cancellation_job.ledger import RUN_COLUMNS, CancellationRun

MAX_SCHEDULERS = 100
# A scheduler that lives shows it every few seconds.
ALIVE_WITHIN_S = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFacts:
    """What one look shows; runs are named by their ids."""

    now: datetime
    database_now: datetime
    next_run_time: datetime
    last_success_run_id: UUID | None
    last_run_id: UUID | None
    held_run_id: UUID | None
    held_since: datetime | None
    approved_run_id: UUID | None
    running_heartbeat_time: datetime | None
    overdue_count: int
    oldest_confirm_by: datetime | None
    missed_slot_count: int


@dataclass(frozen=True, slots=True)
class SchedulerSign:
    """What a scheduler process has told of itself, and whether it lives."""

    scheduler_id: str
    host: str
    started_time: datetime
    heartbeat_time: datetime
    is_alive: bool
    clock_skew_ms: int


@dataclass(frozen=True, slots=True)
class Success:
    """When the job succeeded last, if it ever did, and what time it is."""

    finished_time: datetime | None
    database_now: datetime


def _newest(columns: LiteralString, states: Sequence[LiteralString]) -> LiteralString:
    """Return a query for the newest run in one of the states that was no dry run.

    Each state is named by itself, so that the planner knows which are rare, and reads the end of an index for each.
    """
    newest: list[LiteralString] = [
        f"""(
            SELECT run_id, run_number, state, finished_time FROM cancellation_runs
            WHERE state = '{state}' AND NOT dry_run ORDER BY run_number DESC LIMIT 1
        )"""
        for state in states
    ]
    return f"SELECT {columns} FROM ({' UNION ALL '.join(newest)}) AS newest ORDER BY run_number DESC LIMIT 1"


# Partial is a success: what was left over stays locked, or has its error recorded.
_SUCCESS: Sequence[LiteralString] = ("SUCCEEDED", "PARTIAL")

# A run that was paused, or missed, has judged nothing: the job stays held through it. The newest run is looked for by
# its number, so that one that runs counts too. Of the signs of life the one nearest to the present counts: one that
# lies ahead is of before the clock was put back.
_FACTS: LiteralString = f"""
WITH judged AS (
    SELECT COALESCE(max(run_number), 0) AS run_number FROM (
        {_newest("run_number", (*_SUCCESS, "FAILED", "ABANDONED"))}
    ) AS last_judged
), held AS NOT MATERIALIZED (
    SELECT run_id, run_number, started_time FROM cancellation_runs
    WHERE state = 'HELD' AND NOT dry_run AND run_number > (SELECT run_number FROM judged)
), slots AS (
    SELECT make_interval(secs => %(interval_s)s) AS length, statement_timestamp() - interval '24 hours' AS from_time
), overdue AS (
    SELECT count(*) AS orders, min(confirm_by) AS oldest FROM orders
    WHERE fulfillment_status = 'UNSHIPPED' AND fulfilled_by = 'MERCHANT' AND confirm_by <= (SELECT app_now())
)
SELECT app_now() AS now, statement_timestamp() AS database_now,
    date_bin(slots.length, statement_timestamp(), timestamptz 'epoch') + slots.length AS next_run_time,
    ({_newest("run_id", _SUCCESS)}) AS last_success_run_id,
    (
        SELECT run_id FROM cancellation_runs WHERE NOT dry_run AND state <> 'MISSED' ORDER BY run_number DESC LIMIT 1
    ) AS last_run_id,
    (SELECT run_id FROM held ORDER BY run_number DESC LIMIT 1) AS held_run_id,
    (SELECT started_time FROM held ORDER BY run_number LIMIT 1) AS held_since,
    (
        SELECT run_id FROM cancellation_approvals WHERE used_time IS NULL AND expires_time > statement_timestamp()
        ORDER BY approved_time DESC, run_id LIMIT 1
    ) AS approved_run_id,
    (
        SELECT heartbeat_time FROM cancellation_runs WHERE state = 'RUNNING' AND NOT dry_run
        ORDER BY GREATEST(heartbeat_time - statement_timestamp(), statement_timestamp() - heartbeat_time), run_number
        LIMIT 1
    ) AS running_heartbeat_time,
    overdue.orders AS overdue_count, overdue.oldest AS oldest_confirm_by,
    (
        SELECT COALESCE(sum(LEAST(slot_count, GREATEST(0, ceil(
            extract(epoch FROM slot + slot_count * slots.length - slots.from_time) / %(interval_s)s
        )))), 0)::integer
        FROM cancellation_runs WHERE state = 'MISSED' AND started_time > slots.from_time
    ) AS missed_slot_count
FROM slots, overdue
"""


def find_job_facts(connection: psycopg.Connection, interval_s: int) -> JobFacts:
    """Return what the job has left behind, all of one moment."""
    with connection.cursor(row_factory=class_row(JobFacts)) as cursor:
        (facts,) = cursor.execute(_FACTS, {"interval_s": interval_s}).fetchall()
    return facts


def find_runs_by_id(connection: psycopg.Connection, run_ids: list[UUID]) -> Mapping[UUID, CancellationRun]:
    """Return runs by their ids."""
    with connection.cursor(row_factory=class_row(CancellationRun)) as cursor:
        runs = cursor.execute(
            f"SELECT {RUN_COLUMNS} FROM cancellation_runs WHERE run_id = ANY(%(run_ids)s) ORDER BY run_number",
            {"run_ids": run_ids},
        ).fetchall()
    return {run.run_id: run for run in runs}


def find_schedulers(connection: psycopg.Connection) -> list[SchedulerSign]:
    """Return the schedulers, the one that showed itself last first. A heartbeat that lies ahead is no sign of life."""
    with connection.cursor(row_factory=class_row(SchedulerSign)) as cursor:
        return cursor.execute(
            """
            SELECT scheduler_id, host, started_time, heartbeat_time, clock_skew_ms,
                stopped_time IS NULL AND heartbeat_time
                    BETWEEN statement_timestamp() - make_interval(secs => %(alive_within_s)s)
                    AND statement_timestamp() + make_interval(secs => %(alive_within_s)s) AS is_alive
            FROM schedulers ORDER BY heartbeat_time DESC, scheduler_id DESC LIMIT %(limit)s
            """,
            {"alive_within_s": ALIVE_WITHIN_S, "limit": MAX_SCHEDULERS},
        ).fetchall()


LAST_SUCCESS: LiteralString = f"""
SELECT ({_newest("finished_time", _SUCCESS)}) AS finished_time, statement_timestamp() AS database_now
"""


def find_last_success(connection: psycopg.Connection) -> Success:
    """Return when the job succeeded last; it reads the ends of an index."""
    with connection.cursor(row_factory=class_row(Success)) as cursor:
        (success,) = cursor.execute(LAST_SUCCESS).fetchall()
    return success


_IS_HELD: LiteralString = f"SELECT ({_newest('state', (*_SUCCESS, 'FAILED', 'ABANDONED', 'HELD'))}) = 'HELD'"


def is_held(connection: psycopg.Connection) -> bool:
    """Tell whether the newest run that has judged anything is held; it reads the ends of an index."""
    return connection.execute(_IS_HELD).fetchone() == (True,)

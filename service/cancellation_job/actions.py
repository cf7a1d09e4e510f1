"""Sweep up the orders that were not confirmed in time (R9): look, ask whether it can be right, cancel by the batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import psycopg
import structlog

from service.cancellation_job import control, ledger, queries
from service.cancellation_job.batches import LOOK_AHEAD_ORDERS, Tally, cancel_due, move_deadlines
from service.cancellation_job.ledger import CancellationRun
from service.cancellation_job.queries import DueOrder
from service.cancellation_job.rules import (
    ClockReading,
    ClockWatch,
    HeldReason,
    SweepOptions,
    judge_clock,
    judge_counts,
)
from service.database import Database
from service.deadlines.changes_actions import finish_deadline_changes

# A run that has not shown a sign of life for so long has lost its process.
DEAD_AFTER_S = 300
_log = structlog.stdlib.get_logger(__name__)


def sweep(  # noqa: PLR0913  # the last two are the scheduler's
    database: Database,
    *,
    requested_by: str,
    options: SweepOptions = SweepOptions(),  # noqa: B008  # frozen
    scheduled: bool = False,
    clock: ClockWatch | None = None,
    on_begun: Callable[[CancellationRun], None] | None = None,
) -> CancellationRun | None:
    """Cancel what is due and return the finished run; None when this slot is worked elsewhere.

    Any number of sweeps may run at once: rows decide, not processes. A crash leaves whole batches done and the rest
    for the next run. Orders locked by a confirmation are waited for at the end; if one stays locked or fails, the run
    is `PARTIAL`. A run that would cancel more than `options` allow, or finds that the clock has jumped, is `HELD` and
    cancels nothing, unless an operator has approved it.
    """
    clock = clock or ClockWatch()
    is_right = not scheduled or not _doubts_about_clock(database, options, clock)
    run = _begin(database, requested_by, options, scheduled=scheduled, clock_is_right=is_right)
    if run is None:
        return None
    if on_begun:
        on_begun(run)
    tally = Tally()
    try:
        return _work(database, run, options, clock, tally)
    except Exception:
        with database.operator_transaction() as connection:
            ledger.finish_run(connection, run.run_id, "FAILED", skipped=len(tally.locked), errors=tally.errors)
        raise


def preview_sweep(
    database: Database,
    *,
    requested_by: str,
    limit: int,
    options: SweepOptions = SweepOptions(),  # noqa: B008  # frozen
) -> tuple[CancellationRun, list[DueOrder]]:
    """Record a dry run that tells what is due, lists the first of it, and says why another run would be held."""
    finish_deadline_changes(database)
    doubts = _doubts_about_clock(database, options, ClockWatch())
    with database.operator_transaction() as connection:
        run = ledger.start_run(connection, requested_by=requested_by, dry_run=True)
        found = queries.assess(connection, run.cutoff, options.limits.percent_from)
        ledger.save_assessment(connection, run.run_id, found)
        listed: list[DueOrder] = []
        while len(listed) < limit and (
            page := queries.find_due_orders(
                connection, run, listed[-1] if listed else None, min(limit - len(listed), LOOK_AHEAD_ORDERS)
            )
        ):
            listed += page
        reasons = [*doubts, *judge_counts(found, options.limits)]
        return ledger.finish_run(connection, run.run_id, "SUCCEEDED", held_reasons=reasons), listed


def _doubts_about_clock(database: Database, options: SweepOptions, watch: ClockWatch) -> list[HeldReason]:
    with database.operator_transaction() as connection:
        read = control.read_database_clock(connection)
    # The host's time is compared, and decides nothing.
    jumped_s = watch.jumped_s(read.now, read.trusted_number)
    reading = ClockReading(read.now, datetime.now(UTC), read.newest_time, jumped_s, read.jumped_time)
    return judge_clock(reading, options.limits)


def _begin(
    database: Database, requested_by: str, options: SweepOptions, *, scheduled: bool, clock_is_right: bool
) -> CancellationRun | None:
    if not scheduled:
        with database.operator_transaction() as connection:
            ledger.abandon_dead_runs(connection, DEAD_AFTER_S)
            return ledger.start_run(connection, requested_by=requested_by, dry_run=False)
    with database.operator_pipeline() as connection:
        ledger.abandon_dead_runs(connection, DEAD_AFTER_S)
        taken = ledger.take_slot(
            connection,
            requested_by=requested_by,
            interval_s=options.interval_s,
            max_clock_skew_s=options.limits.max_clock_skew_s,
            counts_missed=clock_is_right,
        )
    return taken.fetchone()


def _work(
    database: Database, run: CancellationRun, options: SweepOptions, clock: ClockWatch, tally: Tally
) -> CancellationRun:
    # Once more: the clock may have jumped since, and the cutoff with it.
    doubts = _doubts_about_clock(database, options, clock)
    if not doubts:
        move_deadlines(database, run)
    allowed = _allow(database, run, options, doubts)
    if allowed.state != "RUNNING":
        return allowed
    tally.allowed = allowed.found_count
    is_done = cancel_due(database, allowed, options.batch_size, tally)
    return _finish(database, allowed, None if is_done else "PAUSED", tally)


def _allow(
    database: Database, run: CancellationRun, options: SweepOptions, doubts: Sequence[HeldReason]
) -> CancellationRun:
    """Return the run as it may go on, or as it was closed: paused, held, or with nothing to do."""
    with database.operator_transaction() as connection:
        if control.find_pause(connection):
            return ledger.finish_run(connection, run.run_id, "PAUSED")
        found = queries.assess(connection, run.cutoff, options.limits.percent_from)
        ledger.save_assessment(connection, run.run_id, found)
        reasons = [*doubts, *judge_counts(found, options.limits)]
        if not reasons and not found.due_count:
            return ledger.finish_run(connection, run.run_id, "SUCCEEDED")
        if not reasons:
            return replace(run, found_count=found.due_count)
        return _use_approval(connection, run) or ledger.finish_run(connection, run.run_id, "HELD", held_reasons=reasons)


def _use_approval(connection: psycopg.Connection, run: CancellationRun) -> CancellationRun | None:
    """Return the run as an operator has approved it, if any has: for what a held run found, and no order more."""
    approval = control.lock_approval(connection)
    if approval is None:
        return None
    held_run_id, expected_count, cutoff = approval
    found = queries.find_seen(connection, cutoff)
    if found.due_count > expected_count:
        return None
    control.save_approvals_used(connection, run.run_id)
    ledger.save_approved(connection, run.run_id, held_run_id, cutoff)
    ledger.save_assessment(connection, run.run_id, found)
    return replace(run, cutoff=cutoff, approved_run_id=held_run_id, found_count=found.due_count)


def _finish(database: Database, run: CancellationRun, state: str | None, tally: Tally) -> CancellationRun:
    """Close a run by what it has left behind: whatever is still due at its cutoff was skipped or has failed."""
    with database.operator_transaction() as connection:
        left = queries.count_due(connection, run)
        ledger.save_digest(connection, run.run_id, queries.digest_of_cancelled(connection, run.run_id))
        return ledger.finish_run(
            connection,
            run.run_id,
            state or ("PARTIAL" if left or tally.errors else "SUCCEEDED"),
            skipped=max(left - tally.errors, 0),
            errors=tally.errors,
        )

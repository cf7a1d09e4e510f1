"""Pause the job and let it go on, and approve a run that was held."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import psycopg

from service.cancellation_job import control, ledger
from service.cancellation_job.control import Approval
from service.cancellation_job.errors import ApprovalTooLate, CountDiffers, PauseTooLong, RunApproved, RunNotHeld
from service.cancellation_job.ledger import CancellationRun
from service.database import Database
from service.deadlines.changes_rules import APPROVABLE_FOR
from service.errors import CancellationRunNotFound, FieldError

LONGEST_PAUSE = timedelta(hours=72)
APPROVAL_VALID_S = 3600


def pause_job(database: Database, *, reason: str, until: datetime, actor: str) -> None:
    """Cancel nothing until then: no run begins, and one under way stops at its next batch.

    A pause that stands is replaced. Raises `PauseTooLong`.
    """
    with database.operator_transaction() as connection:
        control.lock_pauses(connection)
        now = control.read_database_clock(connection).now
        if until <= now:
            raise PauseTooLong("a pause ends in the future", FieldError(f"is past: it is {_told(now)}", "/until"))
        if until > now + LONGEST_PAUSE:
            latest = f"lies more than 72 hours ahead: at most {_told(now + LONGEST_PAUSE)}"
            raise PauseTooLong(
                "a pause ends within 72 hours; pause again later, if need be", FieldError(latest, "/until")
            )
        control.pause(connection, reason=reason, until=until, actor=actor)


def resume_job(database: Database, actor: str) -> None:
    """Let the next run go on; nothing changes when the job is not paused."""
    with database.operator_transaction() as connection:
        control.resume(connection, actor)


def approve_run(database: Database, run_id: UUID, *, expected_count: int, reason: str, actor: str) -> Approval:
    """Let the next run cancel what a held one found: the orders due at its cutoff, at most as many as expected.

    It holds for an hour and for one run. The same again, whatever its reason, returns the approval as it was given,
    while it stands and once a run has used it. Raises the `Problem` that refuses it.
    """
    with database.operator_transaction() as connection:
        run = ledger.find_run(connection, run_id)
        if run is None:
            raise CancellationRunNotFound(f"there is no run {run_id}")
        _refuse_unapprovable(run, expected_count)
        approval, now = control.find_approval(connection, run_id), control.read_database_clock(connection).now
        if approval is None:
            _refuse_old(run, now)
            given = control.insert_approval(connection, run_id, expected_count, reason, actor, APPROVAL_VALID_S)
            approval = given or control.find_approval(connection, run_id)
        if approval is None:
            raise LookupError("the approval is gone")
        _refuse_spent(connection, approval, now)
        return approval


def _refuse_unapprovable(run: CancellationRun, expected_count: int) -> None:
    if run.state != "HELD":
        raise RunNotHeld(f"the run is {run.state}: only a run that is HELD can be approved")
    if run.found_count != expected_count:
        raise CountDiffers(
            f"the run found {run.found_count} orders, not {expected_count}: look at it again",
            FieldError(f"is {run.found_count}", "/expectedCount"),
        )


def _refuse_old(run: CancellationRun, now: datetime) -> None:
    if now - run.started_time > APPROVABLE_FOR:
        raise ApprovalTooLate(f"the run was held at {_told(run.started_time)}, over 24 hours ago: approve a newer one")


def _refuse_spent(connection: psycopg.Connection, approval: Approval, now: datetime) -> None:
    """Refuse an approval of which nothing can come, or came: it ran out, or another of the same orders was used."""
    if approval.used_by_run_id is None:
        is_spent = approval.expires_time <= now
    else:
        user = ledger.find_run(connection, approval.used_by_run_id)
        is_spent = user is None or user.approved_run_id != approval.run_id
    if is_spent:
        raise RunApproved("the run has been approved before, and an approval is given once; approve a newer run")


def _told(instant: datetime) -> str:
    return f"{instant:%Y-%m-%dT%H:%M:%SZ}"

"""The wire shape of the job as a whole, and of what steers it."""

from __future__ import annotations

from typing import Any

from service.cancellation_job.control import Pause
from service.cancellation_job.job_actions import JobStatus
from service.cancellation_job.job_queries import MAX_SCHEDULERS, SchedulerSign
from service.cancellation_job.job_rules import JobState
from service.cancellation_job.ledger import CancellationRun
from service.cancellation_job.schemas import (
    MAX_LISTED,
    MAX_REASON_LENGTH,
    CancellationRunSchema,
    HeldReasonSchema,
    RunApprovalSchema,
    approval_json,
    run_json,
)
from service.fields import Boolean, Choice, Integer, List, Nested, Text, Timestamp
from service.schema import Schema


class LastSuccessSchema(Schema):
    """The last run that was SUCCEEDED or PARTIAL, and no dry run."""

    run_id = Text("The run.", required=True)
    run_number = Integer("Its number.", minimum=1, maximum=2**53, required=True)
    slot = Timestamp("The slot that it worked; absent when somebody asked for it.")
    finished_time = Timestamp("When it ended.", required=True)
    cancelled_count = Integer("Orders that it cancelled.", minimum=0, required=True)


class PauseSchema(Schema):
    """That nothing is cancelled for a while."""

    reason = Text("Why.", max_length=MAX_REASON_LENGTH, required=True)
    until = Timestamp("When it ends by itself, by the database's own clock.", required=True)
    paused_by = Text("Who paused the job.", required=True)
    paused_time = Timestamp("When.", required=True)


class PauseRequestSchema(Schema):
    """Why nothing is to be cancelled, and until when."""

    reason = Text("Why.", max_length=MAX_REASON_LENGTH, required=True, example="The carrier's feed is late")
    until = Timestamp(
        "When the pause ends by itself: at most 72 hours ahead, by the database's own clock, which no sandbox moves.",
        required=True,
        example="2026-03-14T11:00:00Z",
    )


class HeldSchema(Schema):
    """That the job cancels nothing until operators approve."""

    run_id = Text("The newest held run: look at it, and approve it or mend what is wrong.", required=True)
    found_count = Integer("Orders that it would have cancelled.", minimum=0, required=True)
    held_reasons = List(Nested(HeldReasonSchema), "Why.", max_items=MAX_LISTED, required=True)
    since = Timestamp("When the first run was held since one went on.", required=True)
    approval = Nested(RunApprovalSchema, "The approval that the next run uses.")


class SchedulerSchema(Schema):
    """A scheduler process."""

    scheduler_id = Text("Its name.", required=True)
    host = Text("Where it runs.", max_length=300, required=True)
    started_time = Timestamp("When it started.", required=True)
    heartbeat_time = Timestamp("When it last showed that it lives.", required=True)
    is_alive = Boolean("Whether that is less than 30 seconds ago, and it has not stopped.", required=True)
    clock_skew_ms = Integer(
        "Milliseconds that the database's clock is ahead of its host's.",
        minimum=-(2**53),
        maximum=2**53,
        required=True,
    )


class LimitsSchema(Schema):
    """What a run may cancel without being asked; one that would cancel more is HELD."""

    max_orders = Integer("Orders.", minimum=0, required=True)
    max_percent = Integer("Share of all open orders.", minimum=0, maximum=100, required=True)
    max_seller_percent = Integer("Share of one seller's open orders.", minimum=0, maximum=100, required=True)
    percent_from = Integer("So many orders must be due before a share is judged.", minimum=0, required=True)
    max_clock_skew_seconds = Integer("How far the database's clock may be off.", minimum=0, required=True)


class JobSchema(Schema):
    """The cancellation job."""

    state = Choice(
        tuple(JobState),
        "RUNNING: a run is under way. WAITING: for the next. PAUSED: by operators. HELD: the newest run would have "
        "cancelled more than it may, or doubts the clock. STALLED: no run has succeeded for three intervals.",
        required=True,
    )
    now = Timestamp("The clock that deadlines are judged by, which a sandbox moves.", required=True)
    last_success = Nested(LastSuccessSchema, "Absent until a run succeeds.")
    last_run = Nested(CancellationRunSchema, "The newest run that is neither a dry run nor MISSED.")
    next_run_time = Timestamp("When the next slot begins, by the database's own clock.", required=True)
    pause = Nested(PauseSchema, "While the job is paused.")
    held = Nested(HeldSchema, "While the newest run is held.")
    overdue_count = Integer("Orders whose `confirmBy` has come and which are not cancelled.", minimum=0, required=True)
    oldest_confirm_by = Timestamp("The earliest `confirmBy` among them.")
    missed_slot_count = Integer("Slots of the last 24 hours that nobody worked.", minimum=0, required=True)
    schedulers = List(
        Nested(SchedulerSchema),
        "The schedulers, the latest sign of life first.",
        max_items=MAX_SCHEDULERS,
        required=True,
    )
    interval_seconds = Integer("Length of a slot.", minimum=1, required=True)
    limits = Nested(LimitsSchema, "What a run may do without being asked.", required=True)


def job_json(job: JobStatus) -> dict[str, Any]:
    """Return the job as the schema dumps it; what it does not have is left out."""
    facts, limits = job.facts, job.options.limits
    told = {
        "state": job.state,
        "now": facts.now,
        "last_success": _last_success_json(job.last_success) if job.last_success else None,
        "last_run": run_json(job.last_run) if job.last_run else None,
        "next_run_time": facts.next_run_time,
        "pause": _pause_json(job.pause) if job.pause else None,
        "held": _held_json(job, job.held_run) if job.held_run else None,
        "overdue_count": facts.overdue_count,
        "oldest_confirm_by": facts.oldest_confirm_by,
        "missed_slot_count": facts.missed_slot_count,
        "schedulers": [_scheduler_json(each) for each in job.schedulers],
        "interval_seconds": job.options.interval_s,
        "limits": {
            "max_orders": limits.max_orders,
            "max_percent": limits.max_percent,
            "max_seller_percent": limits.max_seller_percent,
            "percent_from": limits.percent_from,
            "max_clock_skew_seconds": limits.max_clock_skew_s,
        },
    }
    return {name: value for name, value in told.items() if value is not None}


def _last_success_json(run: CancellationRun) -> dict[str, Any]:
    told = run_json(run)
    return {name: told[name] for name in LastSuccessSchema().fields if name in told}


def _pause_json(pause: Pause) -> dict[str, Any]:
    return {
        "reason": pause.reason,
        "until": pause.until_time,
        "paused_by": pause.paused_by,
        "paused_time": pause.paused_time,
    }


def _held_json(job: JobStatus, run: CancellationRun) -> dict[str, Any]:
    told = {
        "run_id": str(run.run_id),
        "found_count": run.found_count,
        "held_reasons": run_json(run)["held_reasons"],
        "since": job.facts.held_since,
    }
    return told | ({"approval": approval_json(job.approval)} if job.approval else {})


def _scheduler_json(scheduler: SchedulerSign) -> dict[str, Any]:
    return {name: getattr(scheduler, name) for name in SchedulerSign.__dataclass_fields__}

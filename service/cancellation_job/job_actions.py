"""Look at the job as a whole."""

from __future__ import annotations

from dataclasses import dataclass

from service.cancellation_job import control
from service.cancellation_job.control import Approval, Pause
from service.cancellation_job.job_queries import (
    JobFacts,
    SchedulerSign,
    find_job_facts,
    find_runs_by_id,
    find_schedulers,
)
from service.cancellation_job.job_rules import JobSigns, JobState, job_state
from service.cancellation_job.ledger import CancellationRun
from service.cancellation_job.rules import SweepOptions
from service.database import Database


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStatus:
    """All that operations see of the job at a glance."""

    state: JobState
    facts: JobFacts
    last_success: CancellationRun | None
    last_run: CancellationRun | None
    held_run: CancellationRun | None
    approval: Approval | None
    pause: Pause | None
    schedulers: list[SchedulerSign]
    options: SweepOptions


def look_at_job(database: Database, options: SweepOptions) -> JobStatus:
    """Return the state of the job, and what it is judged by."""
    with database.operator_transaction() as connection:
        facts = find_job_facts(connection, options.interval_s)
        named = (facts.last_success_run_id, facts.last_run_id, facts.held_run_id)
        runs = find_runs_by_id(connection, [run_id for run_id in named if run_id])
        pause = control.find_pause(connection)
        approval = control.find_approval(connection, facts.approved_run_id) if facts.approved_run_id else None
        schedulers = find_schedulers(connection)
    last_success, last_run, held_run = (runs.get(run_id) if run_id else None for run_id in named)
    signs = JobSigns(
        database_now=facts.database_now,
        last_success_time=last_success.finished_time if last_success else None,
        running_heartbeat_time=facts.running_heartbeat_time,
        is_paused=pause is not None,
        is_held=held_run is not None,
    )
    return JobStatus(
        state=job_state(signs, options),
        facts=facts,
        last_success=last_success,
        last_run=last_run,
        held_run=held_run,
        approval=approval,
        pause=pause,
        schedulers=schedulers,
        options=options,
    )

"""See the cancellation job, pause it, and let it go on, for operators."""

from __future__ import annotations

from typing import Any

from service.api import Blueprint, caller, context
from service.cancellation_job.control_actions import pause_job, resume_job
from service.cancellation_job.errors import PauseTooLong
from service.cancellation_job.examples import JOB, PAUSE
from service.cancellation_job.job_actions import look_at_job
from service.cancellation_job.job_schemas import JobSchema, PauseRequestSchema, job_json
from service.cancellation_job.rules import SweepOptions
from service.problems import OPERATIONS, OPERATIONS_READ

blueprint = Blueprint(
    "cancellation job",
    __name__,
    description="The job that cancels, minute by minute, the orders that were not confirmed in time: see, pause and "
    "resume it.",
)


@blueprint.get("/v1/cancellation-job")
@blueprint.requires(OPERATIONS_READ)
@blueprint.response(200, JobSchema(), example=JOB)
def get_cancellation_job() -> dict[str, Any]:
    """Show the job: whether it runs, when it last succeeded, what is overdue, and who works for it.

    All of it is read from the database: it is right with no scheduler alive at all.
    """
    return _job()


@blueprint.post("/v1/cancellation-job/pause")
@blueprint.requires(OPERATIONS)
@blueprint.arguments(PauseRequestSchema(), example={"reason": PAUSE["reason"], "until": PAUSE["until"]})
@blueprint.response(
    200, JobSchema(), description="The job is paused.", example=JOB | {"state": "PAUSED", "pause": PAUSE}
)
@blueprint.problems(PauseTooLong)
def pause_cancellation_job(body: dict[str, Any]) -> dict[str, Any]:
    """Let nothing be cancelled until a time at most 72 hours ahead; a run under way stops at its next batch.

    A second pause takes the place of the first. Deadlines go on: a first confirmation after `confirmBy` is refused all
    the same, and the run after the pause cancels what is overdue by then.
    """
    pause_job(context().database, reason=body["reason"], until=body["until"], actor=caller().actor)
    return _job()


@blueprint.post("/v1/cancellation-job/resume")
@blueprint.requires(OPERATIONS)
@blueprint.response(200, JobSchema(), description="The job is not paused.", example=JOB)
def resume_cancellation_job() -> dict[str, Any]:
    """End the pause; the next slot is worked again. A job that is not paused is left as it is."""
    resume_job(context().database, caller().actor)
    return _job()


def _job() -> dict[str, Any]:
    return job_json(look_at_job(context().database, SweepOptions.of(context().settings)))

"""Whether the process lives, whether it can serve, and whether the cancellation job does its work."""

from __future__ import annotations

from typing import Any

from flask import Response

from service.api import Blueprint, context
from service.cancellation_job.control import find_pause
from service.cancellation_job.job_queries import Success, find_last_success, is_held
from service.cancellation_job.job_rules import why_stalled
from service.cancellation_job.rules import SweepOptions
from service.database import newest_schema_version, schema_version
from service.errors import Overloaded
from service.fields import Boolean, Choice, Text
from service.schema import Schema

blueprint = Blueprint("health", __name__, url_prefix="/health", description="Health of the API.")


class LiveSchema(Schema):
    """The process answers."""

    status = Choice(("ok",), "Always ok.", required=True)


class ReadySchema(Schema):
    """Whether requests can be served."""

    status = Choice(
        ("ready", "degraded", "not-ready"),
        "Whether requests can be served. degraded: they can, but the cancellation job does not do its work.",
        required=True,
    )
    reason = Text("Why it is degraded.", max_length=2000)
    database = Choice(("reachable", "unreachable"), "Whether the database answers.", required=True)
    schema_version = Text("Version of the database's tables; absent when they are missing.")
    expected_schema_version = Text("Version that this program was written for.", required=True)
    sandbox = Boolean("Whether the clock can be moved.", required=True)


# Who asks waits for some seconds at most, and wants an answer all the same.
WAIT_S = 1.0

READY_EXAMPLE = {
    "status": "ready",
    "database": "reachable",
    "schemaVersion": "0001",
    "expectedSchemaVersion": "0001",
    "sandbox": False,
}


@blueprint.get("/live")
@blueprint.response(200, LiveSchema(), example={"status": "ok"})
def check_liveness() -> dict[str, str]:
    """Tell that the process answers. Touches nothing else."""
    return {"status": "ok"}


@blueprint.get("/ready")
@blueprint.response(
    200,
    ReadySchema(),
    description="Requests can be served; `status` tells of the job.",
    examples={
        "ready": {"summary": "The job does its work", "value": READY_EXAMPLE},
        "degraded": {
            "summary": "The job does not",
            "value": READY_EXAMPLE
            | {
                "status": "degraded",
                "reason": "the cancellation job has not succeeded since 2026-03-14T07:00:00Z; paused until "
                "2026-03-14T11:00:00Z",
            },
        },
    },
)
@blueprint.alt_response(
    503,
    schema=ReadySchema,
    description="The database is unreachable or its tables are of another version.",
    example=READY_EXAMPLE | {"status": "not-ready", "schemaVersion": "0000"},
)
def check_readiness() -> tuple[dict[str, Any], int] | Response:
    """Tell whether the database is reachable and its tables are those of this program.

    When the cancellation job has not succeeded for three of its intervals, orders may be overdue and not cancelled:
    requests are served all the same, and `degraded` says so.
    """
    expected = newest_schema_version()
    answer: dict[str, Any] = {"expected_schema_version": expected, "sandbox": context().settings.sandbox}
    try:
        with context().database.connection(timeout_s=WAIT_S) as connection:
            found = schema_version(connection)
            success = find_last_success(connection) if found == expected else None
        reason = _why_degraded(success) if success else None
    except Overloaded:
        return answer | {"status": "not-ready", "database": "unreachable"}, 503
    answer["database"] = "reachable"
    if found is not None:
        answer["schema_version"] = found
    if success is None:
        return answer | {"status": "not-ready"}, 503
    return answer | ({"status": "ready"} if reason is None else {"status": "degraded", "reason": reason}), 200


def _why_degraded(success: Success) -> str | None:
    """Return why the job does not do its work, and what people have decided of it or must decide."""
    reason = why_stalled(success.finished_time, success.database_now, SweepOptions.of(context().settings))
    if reason is None:
        return None
    with context().database.operator_transaction(WAIT_S) as connection:
        pause = find_pause(connection)
        held = "; held: see `manage-orders job status`" if is_held(connection) else ""
    return reason + (f"; paused until {pause.until_time:%Y-%m-%dT%H:%M:%SZ}" if pause else "") + held

"""Whether the process lives, and whether it can serve."""

from __future__ import annotations

from typing import Any

from flask import Response

from service.api import Blueprint, context
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

    status = Choice(("ready", "not-ready"), "Whether requests can be served.", required=True)
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
@blueprint.response(200, ReadySchema(), example=READY_EXAMPLE)
@blueprint.alt_response(
    503,
    schema=ReadySchema,
    description="The database is unreachable or its tables are of another version.",
    example=READY_EXAMPLE | {"status": "not-ready", "schemaVersion": "0000"},
)
def check_readiness() -> tuple[dict[str, Any], int] | Response:
    """Tell whether the database is reachable and its tables are those of this program."""
    expected = newest_schema_version()
    answer: dict[str, Any] = {"expected_schema_version": expected, "sandbox": context().settings.sandbox}
    try:
        with context().database.connection(timeout_s=WAIT_S) as connection:
            found = schema_version(connection)
    except Overloaded:
        return answer | {"status": "not-ready", "database": "unreachable"}, 503
    answer["database"] = "reachable"
    if found is not None:
        answer["schema_version"] = found
    is_ready = found == expected
    return answer | {"status": "ready" if is_ready else "not-ready"}, 200 if is_ready else 503

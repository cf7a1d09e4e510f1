"""Move the clock. Registered in sandbox mode only: elsewhere these addresses do not exist."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from service.api import Blueprint, context
from service.fields import Number, Timestamp
from service.problems import OPERATIONS
from service.sandbox.actions import move_clock
from service.sandbox.queries import Clock, find_clock
from service.schema import Schema

blueprint = Blueprint("sandbox", __name__, description="Time is moved, in sandbox mode only.")


class MoveClockSchema(Schema):
    """Where to move the clock."""

    now = Timestamp("The new time; the clock goes on from there.", required=True, example="2026-03-14T06:59:00Z")


class ClockSchema(Schema):
    """The clock that every decision is taken by."""

    now = Timestamp("Its time.", required=True)
    offset_seconds = Number("How far it is ahead of the database's own clock.", required=True)


CLOCK_EXAMPLE = {"now": "2026-03-14T06:59:00Z", "offsetSeconds": 863940.0}


@blueprint.get("/v1/sandbox/clock")
@blueprint.requires(OPERATIONS)
@blueprint.response(200, ClockSchema(), example=CLOCK_EXAMPLE)
def get_clock() -> dict[str, Any]:
    """Show the clock."""
    with context().database.connection() as connection:
        return _clock_json(find_clock(connection))


@blueprint.put("/v1/sandbox/clock")
@blueprint.requires(OPERATIONS)
@blueprint.arguments(MoveClockSchema(), example={"now": "2026-03-14T06:59:00Z"})
@blueprint.response(200, ClockSchema(), example=CLOCK_EXAMPLE)
def set_clock(body: dict[str, Any]) -> dict[str, Any]:
    """Move the clock of every process, forward or back."""
    return _clock_json(move_clock(context().database, body["now"]))


@blueprint.delete("/v1/sandbox/clock")
@blueprint.requires(OPERATIONS)
@blueprint.response(200, ClockSchema(), example=CLOCK_EXAMPLE | {"offsetSeconds": 0.0})
def reset_clock() -> dict[str, Any]:
    """Put the clock back to real time."""
    return _clock_json(move_clock(context().database, None))


def _clock_json(clock: Clock) -> dict[str, Any]:
    return {"now": clock.now, "offset_seconds": clock.clock_offset / timedelta(seconds=1)}

"""Rows as the cancellation job and its schedulers leave them, written by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
from psycopg import sql
from psycopg.types.json import Json

HELD_REASONS = Json([{"code": "TOO_MANY", "detail": "5001 orders are due, and 5000 are allowed"}])


def insert_run(
    owner: psycopg.Connection, state: str, *, began_s: float = 10, silent_s: float = 0, **columns: object
) -> None:
    """Insert a run that began so many seconds ago and, unless it is under way, took two."""
    values: dict[str, object] = {"state": state, "dry_run": False, "requested_by": "scheduler:test"} | columns
    if state == "MISSED":
        values["slot"] = datetime.now(UTC) - timedelta(minutes=10)
    if state == "HELD":
        values["held_reasons"] = HELD_REASONS
    owner.execute(
        sql.SQL(
            """
            INSERT INTO cancellation_runs (started_time, heartbeat_time, finished_time, cutoff, {columns})
            SELECT began, now() - make_interval(secs => %(silent_s)s),
                CASE WHEN %(state)s <> 'RUNNING' THEN began + interval '2 seconds' END, began, {values}
            FROM (SELECT now() - make_interval(secs => %(began_s)s) AS began) AS run
            """
        ).format(
            columns=sql.SQL(", ").join(map(sql.Identifier, values)),
            values=sql.SQL(", ").join(map(sql.Placeholder, values)),
        ),
        values | {"began_s": began_s, "silent_s": silent_s},
    )


def insert_scheduler(
    owner: psycopg.Connection,
    scheduler_id: str = "host:1:abcdef01",
    *,
    silent_s: float = 5,
    skew_ms: int = 0,
    is_stopped: bool = False,
    **events: int,
) -> None:
    """Insert a scheduler that was last seen so many seconds ago."""
    owner.execute(
        """
        INSERT INTO schedulers (
            scheduler_id, host, process_id, program_version, heartbeat_time, stopped_time, clock_skew_ms,
            scheduler_events
        )
        SELECT %(scheduler_id)s, 'host', 1, '1', seen, CASE WHEN %(is_stopped)s THEN seen END, %(skew_ms)s, %(events)s
        FROM (SELECT now() - make_interval(secs => %(silent_s)s) AS seen) AS scheduler
        """,
        {
            "scheduler_id": scheduler_id,
            "silent_s": silent_s,
            "skew_ms": skew_ms,
            "is_stopped": is_stopped,
            "events": Json(events),
        },
    )


def insert_pause(owner: psycopg.Connection, *, ends_in_s: float = 3600) -> None:
    """Insert a pause that began two hours ago."""
    owner.execute(
        """
        INSERT INTO cancellation_pauses (paused_time, paused_by, reason, until_time)
        VALUES (now() - interval '2 hours', 'token:test', 'a drill', now() + make_interval(secs => %(ends_in_s)s))
        """,
        {"ends_in_s": ends_in_s},
    )

"""The signs of life of the schedulers. Their times are the database's own, not the sandbox clock's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import psycopg
from psycopg.types.json import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduler:
    """A scheduler process."""

    scheduler_id: str
    host: str
    process_id: int
    program_version: str


def read_database_time(connection: psycopg.Connection) -> datetime:
    """Return the database's own time, to compare the host's with."""
    ((now,),) = connection.execute("SELECT clock_timestamp()").fetchall()
    return now


def save_heartbeat(
    connection: psycopg.Connection, scheduler: Scheduler, *, age_s: float, clock_skew_ms: int, events: Mapping[str, int]
) -> None:
    """Write that a scheduler lives."""
    connection.execute(
        """
        INSERT INTO schedulers (
            scheduler_id, host, process_id, program_version, started_time, clock_skew_ms, scheduler_events
        ) VALUES (
            %(scheduler_id)s, %(host)s, %(process_id)s, %(program_version)s,
            statement_timestamp() - make_interval(secs => %(age_s)s), %(clock_skew_ms)s, %(events)s
        )
        ON CONFLICT ON CONSTRAINT schedulers_pkey DO UPDATE SET
            heartbeat_time = excluded.heartbeat_time, clock_skew_ms = excluded.clock_skew_ms,
            scheduler_events = excluded.scheduler_events
        """,
        {
            "scheduler_id": scheduler.scheduler_id,
            "host": scheduler.host,
            "process_id": scheduler.process_id,
            "program_version": scheduler.program_version,
            "age_s": age_s,
            "clock_skew_ms": clock_skew_ms,
            "events": Json(dict(events)),
        },
    )


def save_stop(connection: psycopg.Connection, scheduler_id: str) -> None:
    """Write that a scheduler was stopped in order."""
    connection.execute(
        "UPDATE schedulers SET stopped_time = statement_timestamp() WHERE scheduler_id = %(scheduler_id)s",
        {"scheduler_id": scheduler_id},
    )


def delete_silent_schedulers(connection: psycopg.Connection) -> None:
    """Forget the schedulers that have been silent for a week; one that lives after all shows itself again."""
    connection.execute("DELETE FROM schedulers WHERE heartbeat_time < statement_timestamp() - make_interval(days => 7)")

"""The ledger of the runs of the sweep: what each found, did, and could not do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString
from uuid import UUID

import psycopg
from psycopg.rows import class_row


@dataclass(frozen=True, slots=True, kw_only=True)
class CancellationRun:
    """One run of the sweep: a scheduled one has a slot, the minute of the database clock that it works."""

    run_id: UUID
    slot: datetime | None
    dry_run: bool
    state: str
    requested_by: str
    cutoff: datetime
    started_time: datetime
    finished_time: datetime | None
    found_count: int
    cancelled_count: int
    skipped_count: int
    error_count: int


_RUN_COLUMNS: LiteralString = """
run_id, slot, dry_run, state, requested_by, cutoff, started_time, finished_time, found_count, cancelled_count,
skipped_count, error_count
"""


def start_run(
    connection: psycopg.Connection, *, requested_by: str, scheduled: bool, dry_run: bool
) -> CancellationRun | None:
    """Open a run at the present cutoff; None when this minute's slot is taken by another scheduler.

    The slot is the database's own minute, not the sandbox clock's, which may stand at the same minute twice.
    """
    with connection.cursor(row_factory=class_row(CancellationRun)) as cursor:
        return cursor.execute(
            f"""
            INSERT INTO cancellation_runs (slot, dry_run, state, requested_by, cutoff)
            VALUES (
                CASE WHEN %(scheduled)s THEN date_trunc('minute', statement_timestamp()) END,
                %(dry_run)s, 'RUNNING', %(requested_by)s, app_now()
            )
            ON CONFLICT ON CONSTRAINT cancellation_runs_slot_key DO NOTHING
            RETURNING {_RUN_COLUMNS}
            """,
            {"scheduled": scheduled, "dry_run": dry_run, "requested_by": requested_by},
        ).fetchone()


def count_progress(connection: psycopg.Connection, run_id: UUID, found: int, cancelled: int) -> None:
    """Add to a run's counters, in the transaction that did the work, and show that it is alive."""
    connection.execute(
        """
        UPDATE cancellation_runs SET
            found_count = found_count + %(found)s, cancelled_count = cancelled_count + %(cancelled)s,
            heartbeat_time = statement_timestamp()
        WHERE run_id = %(run_id)s
        """,
        {"run_id": run_id, "found": found, "cancelled": cancelled},
    )


def insert_error(connection: psycopg.Connection, run_id: UUID, seller_id: str, order_id: str, error: str) -> None:
    """Record why an order could not be cancelled; the next run tries it again."""
    connection.execute(
        """
        INSERT INTO cancellation_errors (seller_id, order_id, run_id, error)
        VALUES (%(seller_id)s, %(order_id)s, %(run_id)s, %(error)s)
        """,
        {"seller_id": seller_id, "order_id": order_id, "run_id": run_id, "error": error},
    )


def finish_run(
    connection: psycopg.Connection, run_id: UUID, state: str, *, skipped: int, errors: int
) -> CancellationRun:
    """Close a run and return it as it stands."""
    with connection.cursor(row_factory=class_row(CancellationRun)) as cursor:
        run = cursor.execute(
            f"""
            UPDATE cancellation_runs SET
                state = %(state)s, finished_time = statement_timestamp(), heartbeat_time = statement_timestamp(),
                skipped_count = %(skipped)s, error_count = %(errors)s
            WHERE run_id = %(run_id)s
            RETURNING {_RUN_COLUMNS}
            """,
            {"run_id": run_id, "state": state, "skipped": skipped, "errors": errors},
        ).fetchone()
    if run is None:
        raise LookupError(f"there is no run {run_id}")
    return run


def abandon_dead_runs(connection: psycopg.Connection, silent_for_s: int) -> None:
    """Close the runs whose process died: those that have shown no sign of life for so long."""
    connection.execute(
        """
        UPDATE cancellation_runs SET state = 'ABANDONED', finished_time = statement_timestamp()
        WHERE state = 'RUNNING' AND heartbeat_time < statement_timestamp() - make_interval(secs => %(seconds)s)
        """,
        {"seconds": silent_for_s},
    )


def find_run(connection: psycopg.Connection, run_id: UUID) -> CancellationRun | None:
    """Return one run, None when there is none."""
    with connection.cursor(row_factory=class_row(CancellationRun)) as cursor:
        return cursor.execute(
            f"SELECT {_RUN_COLUMNS} FROM cancellation_runs WHERE run_id = %(run_id)s", {"run_id": run_id}
        ).fetchone()


def find_runs(connection: psycopg.Connection, after: tuple[datetime, UUID] | None, limit: int) -> list[CancellationRun]:
    """Return runs, the newest first, those behind a position if one is given."""
    position: LiteralString = "WHERE (started_time, run_id) < (%(after_time)s, %(after_id)s)" if after else ""
    with connection.cursor(row_factory=class_row(CancellationRun)) as cursor:
        return cursor.execute(
            f"""
            SELECT {_RUN_COLUMNS} FROM cancellation_runs {position}
            ORDER BY started_time DESC, run_id DESC LIMIT %(limit)s
            """,
            {
                "after_time": after[0] if after else None,
                "after_id": after[1] if after else None,
                "limit": limit,
            },
        ).fetchall()


def find_errors(connection: psycopg.Connection, run_id: UUID, limit: int) -> list[tuple[str, str, str]]:
    """Return the seller, order and reason of what a run could not cancel."""
    return connection.execute(
        """
        SELECT seller_id, order_id, error FROM cancellation_errors WHERE run_id = %(run_id)s
        ORDER BY seller_id, order_id LIMIT %(limit)s
        """,
        {"run_id": run_id, "limit": limit},
    ).fetchall()

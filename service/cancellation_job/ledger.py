"""The ledger of the runs of the sweep: what each found, did, and could not do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString
from uuid import UUID

import psycopg
from psycopg.rows import class_row

from service.cancellation_job.rules import Assessment, HeldReason
from service.database import as_json

# One run begins at a time, so that each sees the slots that were worked before it.
_START_LOCK_KEY = 5_204_917_337


@dataclass(frozen=True, slots=True, kw_only=True)
class CancellationRun:
    """One run of the sweep: a scheduled one has a slot, the time of the database clock from which it works."""

    run_id: UUID
    run_number: int
    slot: datetime | None
    slot_count: int
    dry_run: bool
    state: str
    requested_by: str
    cutoff: datetime
    started_time: datetime
    heartbeat_time: datetime
    finished_time: datetime | None
    found_count: int
    open_count: int | None
    cancelled_count: int
    skipped_count: int
    error_count: int
    orders_digest: str | None
    held_reasons: list[dict[str, str]] | None
    approved_run_id: UUID | None


RUN_COLUMNS: LiteralString = """
run_id, run_number, slot, slot_count, dry_run, state, requested_by, cutoff, started_time, heartbeat_time, finished_time,
found_count, open_count, cancelled_count, skipped_count, error_count, orders_digest, held_reasons, approved_run_id
"""

# The slot is the database's own time, not the sandbox clock's, which may stand at the same slot twice. It is read once:
# a slot that began in between would be in no row. What nobody worked since the last slot before it is missed: a clock
# that was put back for a while has passed slots that were worked.
# A slot that is a little behind the newest one is the work of a clock that was set right. One far behind is another
# pass, of a clock that was put back.
_LOCK: LiteralString = "SELECT pg_advisory_xact_lock(%(key)s)"
_TAKE_SLOT: LiteralString = f"""
WITH present AS (
    SELECT make_interval(secs => %(interval_s)s) AS length,
        date_bin(make_interval(secs => %(interval_s)s), statement_timestamp(), timestamptz 'epoch') AS slot
), newest AS (
    SELECT slot + (slot_count - 1) * make_interval(secs => COALESCE(interval_s, %(interval_s)s)) AS last_slot
    FROM cancellation_runs WHERE slot IS NOT NULL ORDER BY run_number DESC LIMIT 1
), reached AS (
    SELECT slot + slot_count * make_interval(secs => COALESCE(interval_s, %(interval_s)s)) AS slot_end
    FROM cancellation_runs WHERE slot <= (SELECT slot FROM present) ORDER BY slot DESC, slot_pass DESC LIMIT 1
), unworked AS (
    SELECT date_bin(present.length, reached.slot_end, timestamptz 'epoch') AS slot,
        floor(extract(epoch FROM present.slot - reached.slot_end) / %(interval_s)s)::integer AS slot_count
    FROM present, reached
), missed AS (
    INSERT INTO cancellation_runs (
        slot, slot_pass, slot_count, interval_s, dry_run, state, requested_by, cutoff, finished_time
    )
    SELECT slot, 1 + (SELECT COALESCE(max(slot_pass), 0) FROM cancellation_runs run WHERE run.slot = unworked.slot),
        slot_count, %(interval_s)s, false, 'MISSED', %(requested_by)s, app_now(), statement_timestamp()
    FROM unworked WHERE %(counts_missed)s AND slot_count > 0
    ON CONFLICT ON CONSTRAINT cancellation_runs_slot_key DO NOTHING
    RETURNING run_id
), counted AS (
    SELECT count(*) FROM missed
)
INSERT INTO cancellation_runs (slot, slot_pass, interval_s, dry_run, state, requested_by, cutoff)
SELECT present.slot, 1 + (SELECT COALESCE(max(slot_pass), 0) FROM cancellation_runs WHERE slot = present.slot),
    %(interval_s)s, false, 'RUNNING', %(requested_by)s, app_now()
FROM counted CROSS JOIN present LEFT JOIN newest ON true
WHERE newest.last_slot IS NULL OR newest.last_slot < present.slot
    OR newest.last_slot > present.slot + make_interval(secs => %(max_clock_skew_s)s)
ON CONFLICT ON CONSTRAINT cancellation_runs_slot_key DO NOTHING
RETURNING {RUN_COLUMNS}
"""
_START: LiteralString = f"""
INSERT INTO cancellation_runs (dry_run, state, requested_by, cutoff)
VALUES (%(dry_run)s, 'RUNNING', %(requested_by)s, app_now())
RETURNING {RUN_COLUMNS}
"""


def abandon_dead_runs(connection: psycopg.Connection, silent_for_s: int) -> None:
    """Close the runs whose process died: those that have shown no sign of life for so long.

    One that was shown by a clock far ahead, which is right again, is none.
    """
    connection.execute(
        """
        UPDATE cancellation_runs SET state = 'ABANDONED', finished_time = statement_timestamp()
        WHERE state = 'RUNNING' AND NOT heartbeat_time BETWEEN
            statement_timestamp() - make_interval(secs => %(seconds)s)
            AND statement_timestamp() + make_interval(secs => %(seconds)s)
        """,
        {"seconds": silent_for_s},
    )


def take_slot(
    connection: psycopg.Connection,
    *,
    requested_by: str,
    interval_s: int,
    max_clock_skew_s: int,
    counts_missed: bool,
) -> psycopg.Cursor[CancellationRun]:
    """Open the run of the present slot, in an operator's pipeline; there is none when another scheduler has it.

    Read the cursor once the transaction is over: a process that is stopped in the middle then keeps no lock.
    """
    parameters = {
        "key": _START_LOCK_KEY,
        "interval_s": interval_s,
        "max_clock_skew_s": max_clock_skew_s,
        "counts_missed": counts_missed,
        "requested_by": requested_by,
    }
    connection.execute(_LOCK, parameters)
    return connection.cursor(row_factory=class_row(CancellationRun)).execute(_TAKE_SLOT, parameters)


def start_run(connection: psycopg.Connection, *, requested_by: str, dry_run: bool) -> CancellationRun:
    """Open a run by hand, which takes no slot."""
    return _one(connection, _START, {"requested_by": requested_by, "dry_run": dry_run})


def save_assessment(connection: psycopg.Connection, run_id: UUID, found: Assessment) -> None:
    """Write what a run found before it began."""
    connection.execute(
        """
        UPDATE cancellation_runs SET
            found_count = %(found)s, open_count = %(open)s, orders_digest = %(digest)s,
            heartbeat_time = statement_timestamp()
        WHERE run_id = %(run_id)s
        """,
        {"run_id": run_id, "found": found.due_count, "open": found.open_count, "digest": found.orders_digest},
    )


def save_approved(connection: psycopg.Connection, run_id: UUID, approved_run_id: UUID, cutoff: datetime) -> None:
    """Write that a run does what another was held for, and no more."""
    connection.execute(
        """
        UPDATE cancellation_runs SET approved_run_id = %(approved_run_id)s, cutoff = %(cutoff)s
        WHERE run_id = %(run_id)s
        """,
        {"run_id": run_id, "approved_run_id": approved_run_id, "cutoff": cutoff},
    )


def save_digest(connection: psycopg.Connection, run_id: UUID, orders_digest: str) -> None:
    """Write what stands for the orders that a run has cancelled."""
    connection.execute(
        "UPDATE cancellation_runs SET orders_digest = %(orders_digest)s WHERE run_id = %(run_id)s",
        {"run_id": run_id, "orders_digest": orders_digest},
    )


def count_cancelled(connection: psycopg.Connection, run_id: UUID, cancelled: int) -> None:
    """Add to a run's count, in the transaction that did the work, and show that it is alive."""
    connection.execute(
        """
        UPDATE cancellation_runs SET
            cancelled_count = cancelled_count + %(cancelled)s, heartbeat_time = statement_timestamp()
        WHERE run_id = %(run_id)s
        """,
        {"run_id": run_id, "cancelled": cancelled},
    )


def insert_error(connection: psycopg.Connection, run_id: UUID, seller_id: str, order_id: str, error: str) -> None:
    """Record why an order could not be cancelled; the next run tries it again."""
    connection.execute(
        """
        INSERT INTO cancellation_errors (seller_id, order_id, run_id, error)
        VALUES (%(seller_id)s, %(order_id)s, %(run_id)s, %(error)s)
        ON CONFLICT ON CONSTRAINT cancellation_errors_pkey DO NOTHING
        """,
        {"seller_id": seller_id, "order_id": order_id, "run_id": run_id, "error": error},
    )


def finish_run(  # noqa: PLR0913  # what there is to say at the end
    connection: psycopg.Connection,
    run_id: UUID,
    state: str,
    *,
    skipped: int = 0,
    errors: int = 0,
    held_reasons: Sequence[HeldReason] = (),
) -> CancellationRun:
    """Close a run and return it as it stands; one that was given up meanwhile stays so."""
    return _one(
        connection,
        f"""
        UPDATE cancellation_runs SET
            state = CASE state WHEN 'RUNNING' THEN %(state)s ELSE state END,
            held_reasons = CASE state WHEN 'RUNNING' THEN %(held_reasons)s ELSE held_reasons END,
            finished_time = COALESCE(finished_time, statement_timestamp()), heartbeat_time = statement_timestamp(),
            skipped_count = %(skipped)s, error_count = %(errors)s
        WHERE run_id = %(run_id)s
        RETURNING {RUN_COLUMNS}
        """,
        {
            "run_id": run_id,
            "state": state,
            "skipped": skipped,
            "errors": errors,
            "held_reasons": as_json([reason.as_json() for reason in held_reasons]) if held_reasons else None,
        },
    )


def _one(connection: psycopg.Connection, statement: LiteralString, parameters: dict[str, object]) -> CancellationRun:
    with connection.cursor(row_factory=class_row(CancellationRun)) as cursor:
        run = cursor.execute(statement, parameters).fetchone()
    if run is None:
        raise LookupError(f"there is no run {parameters.get('run_id')}")
    return run


def find_run(connection: psycopg.Connection, run_id: UUID) -> CancellationRun | None:
    """Return one run, None when there is none."""
    with connection.cursor(row_factory=class_row(CancellationRun)) as cursor:
        return cursor.execute(
            f"SELECT {RUN_COLUMNS} FROM cancellation_runs WHERE run_id = %(run_id)s", {"run_id": run_id}
        ).fetchone()


def find_errors(connection: psycopg.Connection, run_id: UUID, limit: int) -> list[tuple[str, str, str]]:
    """Return the seller, order and reason of what a run could not cancel."""
    return connection.execute(
        """
        SELECT seller_id, order_id, error FROM cancellation_errors WHERE run_id = %(run_id)s
        ORDER BY seller_id, order_id LIMIT %(limit)s
        """,
        {"run_id": run_id, "limit": limit},
    ).fetchall()

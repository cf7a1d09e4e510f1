"""Who steers the job: pauses, and approvals of runs that were held. Times are the database's own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString
from uuid import UUID

import psycopg
from psycopg.rows import class_row


@dataclass(frozen=True, slots=True)
class Pause:
    """A pause that stands."""

    paused_time: datetime
    paused_by: str
    reason: str
    until_time: datetime


@dataclass(frozen=True, slots=True)
class Approval:
    """That a held run's orders may be cancelled, once and for a limited time."""

    run_id: UUID
    expected_count: int
    reason: str
    approved_by: str
    approved_time: datetime
    expires_time: datetime
    used_by_run_id: UUID | None


@dataclass(frozen=True, slots=True)
class Clock:
    """The database's own clock, and what the ledger knows of it."""

    now: datetime
    trusted_number: int
    newest_time: datetime | None
    jumped_time: datetime | None


# Only runs that went on have trusted the clock. An approval says that it is right: what was written before the run that
# used it is no measure any more. Row comparison and order fit the index whatever the statistics say: a state without
# runs would otherwise be looked for in the whole ledger.
_CLOCK: LiteralString = """
WITH trusted AS (
    SELECT COALESCE(max(run.run_number), 0) AS run_number
    FROM cancellation_approvals approval JOIN cancellation_runs run ON run.run_id = approval.used_by_run_id
), newest AS (
    SELECT known.state, run.run_number, run.started_time, run.held_reasons::text AS reasons
    FROM trusted CROSS JOIN unnest(ARRAY['SUCCEEDED', 'PARTIAL', 'HELD']) AS known (state)
    CROSS JOIN LATERAL (
        SELECT run.state, run.run_number, run.started_time, run.held_reasons FROM cancellation_runs run
        WHERE (run.state, run.run_number) <= (known.state, 9223372036854775807) AND NOT run.dry_run
        ORDER BY run.state DESC, run.run_number DESC LIMIT 1
    ) AS run
    WHERE run.state = known.state AND run.run_number >= trusted.run_number
), succeeded AS (
    SELECT max(run_number) AS run_number, max(started_time) AS started_time FROM newest WHERE state <> 'HELD'
)
SELECT statement_timestamp() AS now, trusted.run_number AS trusted_number, succeeded.started_time AS newest_time,
    (
        SELECT started_time FROM newest
        WHERE state = 'HELD' AND run_number > GREATEST(trusted.run_number, succeeded.run_number)
            AND reasons LIKE '%CLOCK_JUMPED%' AND reasons NOT LIKE '%CLOCK_WENT_BACK%'
    ) AS jumped_time
FROM trusted, succeeded
"""


def read_database_clock(connection: psycopg.Connection) -> Clock:
    """Return the database's own clock, which the sandbox does not move."""
    with connection.cursor(row_factory=class_row(Clock)) as cursor:
        (clock,) = cursor.execute(_CLOCK).fetchall()
    return clock


PAUSE_STANDS: LiteralString = "resumed_time IS NULL AND until_time > statement_timestamp()"


def find_pause(connection: psycopg.Connection) -> Pause | None:
    """Return the pause that stands now, if any."""
    with connection.cursor(row_factory=class_row(Pause)) as cursor:
        return cursor.execute(
            f"""
            SELECT paused_time, paused_by, reason, until_time FROM cancellation_pauses WHERE {PAUSE_STANDS}
            """
        ).fetchone()


def lock_pauses(connection: psycopg.Connection) -> None:
    """Wait for whoever else is pausing: one pause can stand."""
    connection.execute("LOCK TABLE cancellation_pauses IN SHARE ROW EXCLUSIVE MODE")


def pause(connection: psycopg.Connection, *, reason: str, until: datetime, actor: str) -> None:
    """Begin a pause, under the lock; the one that stands ends."""
    resume(connection, actor)
    connection.execute(
        """
        INSERT INTO cancellation_pauses (paused_by, reason, until_time) VALUES (%(actor)s, %(reason)s, %(until)s)
        """,
        {"actor": actor, "reason": reason, "until": until},
    )


def resume(connection: psycopg.Connection, actor: str) -> None:
    """End the pause that stands, if any; one that ran out is closed as well."""
    connection.execute(
        """
        UPDATE cancellation_pauses SET resumed_time = statement_timestamp(), resumed_by = %(actor)s
        WHERE resumed_time IS NULL
        """,
        {"actor": actor},
    )


_APPROVAL_COLUMNS: LiteralString = """
run_id, expected_count, reason, approved_by, approved_time, expires_time, used_by_run_id
"""


def find_approval(connection: psycopg.Connection, run_id: UUID) -> Approval | None:
    """Return the approval of a held run, used or not."""
    with connection.cursor(row_factory=class_row(Approval)) as cursor:
        return cursor.execute(
            f"SELECT {_APPROVAL_COLUMNS} FROM cancellation_approvals WHERE run_id = %(run_id)s", {"run_id": run_id}
        ).fetchone()


def insert_approval(  # noqa: PLR0913, PLR0917  # an approval is all of these
    connection: psycopg.Connection, run_id: UUID, expected_count: int, reason: str, actor: str, valid_s: int
) -> Approval | None:
    """Approve a held run; None when it has been approved before."""
    with connection.cursor(row_factory=class_row(Approval)) as cursor:
        return cursor.execute(
            f"""
            INSERT INTO cancellation_approvals (run_id, expected_count, reason, approved_by, expires_time)
            VALUES (
                %(run_id)s, %(expected_count)s, %(reason)s, %(actor)s,
                statement_timestamp() + make_interval(secs => %(valid_s)s)
            )
            ON CONFLICT ON CONSTRAINT cancellation_approvals_pkey DO NOTHING
            RETURNING {_APPROVAL_COLUMNS}
            """,
            {
                "run_id": run_id,
                "expected_count": expected_count,
                "reason": reason,
                "actor": actor,
                "valid_s": valid_s,
            },
        ).fetchone()


def lock_approval(connection: psycopg.Connection) -> tuple[UUID, int, datetime] | None:
    """Lock the newest approval that may be used; return its run, its count and the cutoff of that run."""
    return connection.execute(
        """
        SELECT approval.run_id, approval.expected_count, run.cutoff
        FROM cancellation_approvals approval JOIN cancellation_runs run ON run.run_id = approval.run_id
        WHERE approval.used_time IS NULL AND approval.expires_time > statement_timestamp()
        ORDER BY approval.approved_time DESC, approval.run_id LIMIT 1
        FOR UPDATE OF approval
        """
    ).fetchone()


def save_approvals_used(connection: psycopg.Connection, used_by_run_id: UUID) -> None:
    """Write that no approval stands any more: they were given for what this run cancels, or for the same orders."""
    connection.execute(
        """
        UPDATE cancellation_approvals SET used_time = statement_timestamp(), used_by_run_id = %(used_by_run_id)s
        WHERE used_time IS NULL
        """,
        {"used_by_run_id": used_by_run_id},
    )

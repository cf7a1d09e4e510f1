"""Orders whose confirmation window is over, their cancellation, and the ledger of the runs that do it."""

from __future__ import annotations

from collections.abc import Sequence
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


@dataclass(frozen=True, slots=True)
class DueOrder:
    """An order whose `confirmBy` has come and of which nothing is confirmed."""

    confirm_by: datetime
    seller_id: str
    order_id: str


_RUN_COLUMNS: LiteralString = """
run_id, slot, dry_run, state, requested_by, cutoff, started_time, finished_time, found_count, cancelled_count,
skipped_count, error_count
"""

_IS_OPEN: LiteralString = "fulfillment_status = 'UNSHIPPED' AND fulfilled_by = 'MERCHANT'"


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


def find_due_orders(
    connection: psycopg.Connection, cutoff: datetime, after: DueOrder | None, limit: int
) -> list[DueOrder]:
    """Return the orders due at the cutoff and still due now, first deadline first, unlocked, a page at a time."""
    with connection.cursor(row_factory=class_row(DueOrder)) as cursor:
        return cursor.execute(
            f"""
            SELECT confirm_by, seller_id, order_id FROM orders
            WHERE {_IS_OPEN} AND confirm_by <= LEAST(%(cutoff)s, (SELECT app_now()))
                AND (confirm_by, seller_id, order_id) > (
                    COALESCE(%(after_confirm_by)s, '-infinity'::timestamptz), %(after_seller_id)s, %(after_order_id)s
                )
            ORDER BY confirm_by, seller_id, order_id LIMIT %(limit)s
            """,
            {
                "cutoff": cutoff,
                "after_confirm_by": after.confirm_by if after else None,
                "after_seller_id": after.seller_id if after else "",
                "after_order_id": after.order_id if after else "",
                "limit": limit,
            },
        ).fetchall()


# The claim names one seller, so that a database distributed by seller can lock it where the rows are. An order that
# is locked by a confirmation is left for later; one that was confirmed, extended or cancelled meanwhile is not due.
# Whatever happens between the look and this statement, it alone decides, by the rows as it locks them (D2, D3).
CANCEL_ORDERS: LiteralString = f"""
WITH due AS (
    SELECT seller_id, order_id FROM orders
    WHERE seller_id = %(seller_id)s AND order_id = ANY(%(order_ids)s)
        AND {_IS_OPEN} AND confirm_by <= LEAST(%(cutoff)s, (SELECT app_now()))
    ORDER BY order_id
    FOR UPDATE SKIP LOCKED
), cancelled AS (
    UPDATE orders SET
        version = version + 1, fulfillment_status = 'CANCELLED', payment_status = 'UNPAID',
        last_updated_time = (SELECT app_now()), cancelled_time = (SELECT app_now()),
        cancel_reason = 'NOT_CONFIRMED_IN_TIME', cancellation_run_id = %(run_id)s
    FROM due
    WHERE orders.seller_id = %(seller_id)s AND orders.order_id = due.order_id
    RETURNING orders.seller_id, orders.order_id, orders.version, orders.cancelled_time, orders.confirm_by,
        orders.ship_by_sort, orders.confirm_by_sort, orders.grand_total_sort
), events AS (
    INSERT INTO order_events (
        seller_id, order_id, version, event_type, event_time, actor, cancellation_run_id,
        ship_by_sort, confirm_by_sort, grand_total_sort, details
    )
    SELECT seller_id, order_id, version, 'ORDER_CANCELLED', cancelled_time, %(actor)s, %(run_id)s,
        ship_by_sort, confirm_by_sort, grand_total_sort,
        json_build_object(
            'cancelReason', 'NOT_CONFIRMED_IN_TIME', 'confirmBy', confirm_by,
            'fulfillmentStatus', json_build_object('was', 'UNSHIPPED', 'is', 'CANCELLED'))
    FROM cancelled
)
SELECT order_id FROM cancelled
"""


def cancel_orders(
    connection: psycopg.Connection, run: CancellationRun, seller_id: str, order_ids: Sequence[str]
) -> set[str]:
    """Cancel those of one seller's orders that are due and not locked; return the ids of the cancelled ones (R9)."""
    rows = connection.execute(
        CANCEL_ORDERS,
        {
            "run_id": run.run_id,
            "seller_id": seller_id,
            "order_ids": list(order_ids),
            "cutoff": run.cutoff,
            "actor": f"cancellation-run:{run.run_id}",
        },
    )
    return {row[0] for row in rows}


def wait_for_order(connection: psycopg.Connection, seller_id: str, order_id: str) -> None:
    """Wait until whoever holds the order is done, at most as long as the lock limit."""
    connection.execute(
        "SELECT order_id FROM orders WHERE seller_id = %(seller_id)s AND order_id = %(order_id)s FOR UPDATE",
        {"seller_id": seller_id, "order_id": order_id},
    )


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

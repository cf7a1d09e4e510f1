"""The ledger as it is asked: runs by filters, one with all about it, and the orders that it has cancelled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import LiteralString
from uuid import UUID

import psycopg
from psycopg.rows import class_row

from service.cancellation_job.control import Approval, find_approval
from service.cancellation_job.ledger import RUN_COLUMNS, CancellationRun, find_errors, find_run
from service.cancellation_job.queries import DueOrder, find_due_orders


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilters:
    """Which runs; None leaves a filter out."""

    states: list[str] | None = None
    dry_run: bool | None = None
    started_after: datetime | None = None
    started_before: datetime | None = None
    requested_by: str | None = None
    with_cancellations: bool | None = None


@dataclass(frozen=True, slots=True)
class CancelledOrder:
    """An order that a run has cancelled."""

    seller_id: str
    order_id: str
    confirm_by: datetime
    cancelled_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDetail:
    """One run, and all about it that is not of its own row."""

    run: CancellationRun
    errors: list[tuple[str, str, str]]
    approval: Approval | None
    due_orders: list[DueOrder] | None
    """Of a held run: what is due now at its cutoff, so that operators see what they approve."""


_CONDITIONS: Mapping[str, LiteralString] = {
    "states": "state = ANY(%(states)s)",
    "dry_run": "dry_run = %(dry_run)s",
    "started_after": "started_time >= %(started_after)s",
    "started_before": "started_time < %(started_before)s",
    "requested_by": "requested_by = %(requested_by)s",
    "with_cancellations": "(cancelled_count > 0) = %(with_cancellations)s",
    "before": "run_number < %(before)s",
}


def find_runs(
    connection: psycopg.Connection, filters: RunFilters, before: int | None, limit: int
) -> list[CancellationRun]:
    """Return runs, the newest first, those before a run's number if one is given."""
    asked = asdict(filters) | {"before": before}
    conditions: list[LiteralString] = [each for name, each in _CONDITIONS.items() if asked[name] is not None]
    where = " AND ".join(conditions) if conditions else "true"
    with connection.cursor(row_factory=class_row(CancellationRun)) as cursor:
        return cursor.execute(
            f"SELECT {RUN_COLUMNS} FROM cancellation_runs WHERE {where} ORDER BY run_number DESC LIMIT %(limit)s",
            asked | {"limit": limit},
        ).fetchall()


def find_run_detail(connection: psycopg.Connection, run_id: UUID, limit: int) -> RunDetail | None:
    """Return one run and the first of what belongs to it, None when there is no such run."""
    run = find_run(connection, run_id)
    if run is None:
        return None
    is_held = run.state == "HELD"
    approved = replace(run, approved_run_id=run_id)
    return RunDetail(
        run=run,
        errors=find_errors(connection, run_id, limit),
        approval=find_approval(connection, run_id) if is_held else None,
        due_orders=find_due_orders(connection, approved, None, limit) if is_held else None,
    )


def find_cancelled_orders(
    connection: psycopg.Connection, run_id: UUID, after: tuple[str, str], limit: int
) -> list[CancelledOrder]:
    """Return the orders that a run has cancelled, by seller and order, those behind a position."""
    with connection.cursor(row_factory=class_row(CancelledOrder)) as cursor:
        return cursor.execute(
            """
            SELECT seller_id, order_id, confirm_by, cancelled_time FROM orders
            WHERE cancellation_run_id = %(run_id)s AND (seller_id, order_id) > (%(after_seller)s, %(after_order)s)
            ORDER BY seller_id, order_id LIMIT %(limit)s
            """,
            {"run_id": run_id, "after_seller": after[0], "after_order": after[1], "limit": limit},
        ).fetchall()

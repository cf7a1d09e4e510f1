"""Cancel what a run has found, batch by batch: each is a transaction, and what fails or is locked stops no other."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import psycopg
import structlog
from psycopg import errors as pg

from service.cancellation_job import ledger, queries
from service.cancellation_job.ledger import CancellationRun
from service.cancellation_job.queries import DueOrder
from service.database import Database
from service.deadlines.changes_actions import finish_deadline_changes
from service.errors import Contended

# How long a run waits, all in all, for orders that others hold: the next run takes what is left.
WAIT_LIMIT_S = 20
# So many orders are looked up at a time, so that the batches of each seller are full.
LOOK_AHEAD_ORDERS = 100_000
# What one order, or one batch, can fail with. Anything else, such as a lost database, ends the run.
_FAILURES = (psycopg.Error, Contended)

_log = structlog.stdlib.get_logger(__name__)


@dataclass(slots=True)
class Tally:
    """What a run may still cancel, and what it has left over: locked orders to come back to, and failed ones."""

    allowed: int = 0
    locked: list[DueOrder] = field(default_factory=list["DueOrder"])
    errors: int = 0


class _Stopped(Exception):  # noqa: N818  # no fault: somebody said so
    """The gate is shut: the job is paused, or the run was given up for dead."""


def cancel_due(database: Database, run: CancellationRun, batch_size: int, tally: Tally) -> bool:
    """Cancel what is due for a run, and wait for what is locked; False when the job was paused meanwhile."""
    try:
        for batch in _due_batches(database, run, batch_size):
            _cancel_batch(database, run, batch[: tally.allowed], tally)
        _cancel_locked_orders(database, run, tally)
    except _Stopped:
        return False
    return True


def move_deadlines(database: Database, run: CancellationRun) -> None:
    """Work what operators have approved, for no order is cancelled that gets more time by it."""

    def show_life() -> None:
        with database.operator_transaction() as connection:
            ledger.count_cancelled(connection, run.run_id, 0)

    finish_deadline_changes(database, show_life)


def _due_batches(database: Database, run: CancellationRun, batch_size: int) -> Iterator[Sequence[DueOrder]]:
    """Yield what is due in batches of one seller each. The look goes forward only: what is locked is not met twice."""
    page: list[DueOrder] = []
    while True:
        with database.operator_transaction() as connection:
            page = queries.find_due_orders(connection, run, page[-1] if page else None, LOOK_AHEAD_ORDERS)
        if not page:
            return
        for _, orders in groupby(sorted(page, key=_seller_of), key=_seller_of):
            of_seller = list(orders)
            for start in range(0, len(of_seller), batch_size):
                yield of_seller[start : start + batch_size]


def _seller_of(due: DueOrder) -> str:
    return due.seller_id


def _cancel_batch(database: Database, run: CancellationRun, batch: Sequence[DueOrder], tally: Tally) -> None:
    """Cancel a batch in one transaction; if it fails, halve it until the failing order is alone and is recorded.

    It is empty once as many are cancelled as were judged: more have become due meanwhile, for the next run to judge.
    """
    if not batch:
        return
    try:
        cancelled = _claim(database, run, batch, tally)
    except _FAILURES as error:
        if len(batch) == 1:
            _record_error(database, run, batch[0], error)
            tally.errors += 1
            return
        middle = len(batch) // 2
        _cancel_batch(database, run, batch[:middle], tally)
        _cancel_batch(database, run, batch[middle:], tally)
    else:
        tally.locked += [due for due in batch if due.order_id not in cancelled]


def _claim(
    database: Database, run: CancellationRun, batch: Sequence[DueOrder], tally: Tally, *, waits: bool = False
) -> frozenset[str]:
    """Cancel what is due of a seller's orders, and is free; return their ids. Deadlines that are to move move first."""
    seller_id, order_ids = batch[0].seller_id, [due.order_id for due in batch]
    while True:
        with database.operator_transaction() as connection:
            for order_id in order_ids if waits else ():
                queries.wait_for_order(connection, seller_id, order_id)
            claim = queries.cancel_orders(connection, run, seller_id, order_ids)
            if claim.is_paused or not claim.is_running:
                raise _Stopped
            ledger.count_cancelled(connection, run.run_id, len(claim.cancelled))
        if not claim.is_changing:
            tally.allowed -= len(claim.cancelled)
            return claim.cancelled
        move_deadlines(database, run)


def _cancel_locked_orders(database: Database, run: CancellationRun, tally: Tally) -> None:
    """Wait for the orders that were locked, for a limited time; the next run takes those that are left."""
    deadline = time.monotonic() + WAIT_LIMIT_S
    for due in tally.locked:
        if time.monotonic() > deadline or not tally.allowed:
            return
        _cancel_locked(database, run, due, tally)


def _cancel_locked(database: Database, run: CancellationRun, due: DueOrder, tally: Tally) -> None:
    """Wait for an order, then cancel it if it is still due."""
    try:
        _claim(database, run, [due], tally, waits=True)
    except _FAILURES as error:
        if not isinstance(error.__cause__, pg.LockNotAvailable):
            _record_error(database, run, due, error)
            tally.errors += 1


def _record_error(database: Database, run: CancellationRun, due: DueOrder, error: Exception) -> None:
    cause = error.__cause__ if isinstance(error, Contended) else error
    told = cause.diag.message_primary if isinstance(cause, psycopg.Error) else None
    reason = told or type(cause).__name__
    _log.error("cancellation_failed", order_id=due.order_id, seller_id=due.seller_id, reason=reason)
    with database.operator_transaction() as connection:
        ledger.insert_error(connection, run.run_id, due.seller_id, due.order_id, reason)

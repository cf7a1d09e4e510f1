"""Cancel an order for its seller, keep a buyer's request for it, and sweep up what was not confirmed in time (R9)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby

import psycopg
import structlog
from psycopg import errors as pg

from service.cancellation import ledger, queries
from service.cancellation.ledger import CancellationRun
from service.cancellation.queries import DueOrder
from service.cancellation.rules import (
    BuyerRequest,
    CancelReason,
    buyer_request,
    decide_cancellation,
    decide_request,
    decide_withdrawal,
)
from service.database import Database
from service.errors import Contended, OrderNotFound
from service.orders.queries import find_order, insert_events, lock_order, read_locked_order
from service.orders.rules import EventType, OrderState

# A run that has not shown a sign of life for so long has lost its process.
DEAD_AFTER_S = 300
# How long a run waits, all in all, for orders that others hold: the next run, a minute later, takes what is left.
WAIT_LIMIT_S = 20
# What one order, or one batch, can fail with. Anything else, such as a lost database, ends the run.
_FAILURES = (psycopg.Error, Contended)

_log = structlog.stdlib.get_logger(__name__)


def cancel_order(database: Database, seller_id: str, order_id: str, reason: CancelReason, actor: str) -> str:
    """Cancel an order of which nothing is confirmed, and return it; the same again changes nothing.

    The order is locked first and the clock read afterwards, as a confirmation does it (D2). Raises the `Problem` that
    refuses it.
    """
    with database.seller_transaction(seller_id) as connection:
        order, now = _locked(connection, seller_id, order_id)
        if decide_cancellation(order, reason, now):
            queries.save_cancelled(connection, order, reason, now)
            details = {
                "cancelReason": reason,
                "fulfillmentStatus": {"was": order.fulfillment_status, "is": "CANCELLED"},
                "paymentStatus": {"was": order.payment_status, "is": "UNPAID"},
            }
            event = (seller_id, order_id, order.version + 1, details)
            insert_events(connection, EventType.ORDER_CANCELLED, now, actor, [event])
        return _shown(connection, seller_id, order_id)


def request_cancellation(
    database: Database, seller_id: str, order_id: str, cancel_reason: str | None, actor: str
) -> str:
    """Keep that the buyer asks to cancel an order, and return it; the same again changes nothing."""
    with database.seller_transaction(seller_id) as connection:
        order, now = _locked(connection, seller_id, order_id)
        _save_request(connection, order, decide_request(order, cancel_reason, now), now, actor)
        return _shown(connection, seller_id, order_id)


def withdraw_request(database: Database, seller_id: str, order_id: str, actor: str) -> str:
    """Forget that the buyer asks to cancel an order, and return it; without a request nothing changes."""
    with database.seller_transaction(seller_id) as connection:
        order, now = _locked(connection, seller_id, order_id)
        if decide_withdrawal(order, now):
            _save_request(connection, order, None, now, actor)
        return _shown(connection, seller_id, order_id)


def _locked(connection: psycopg.Connection, seller_id: str, order_id: str) -> tuple[OrderState, datetime]:
    if not lock_order(connection, seller_id, order_id):
        raise OrderNotFound(f"the seller has no order {order_id}")
    return read_locked_order(connection, seller_id, order_id)


def _save_request(
    connection: psycopg.Connection, order: OrderState, request: BuyerRequest | None, now: datetime, actor: str
) -> None:
    standing = buyer_request(order)
    if request == standing:
        return
    queries.save_request(connection, order, request, now)
    told = {"was": standing and standing.as_json(), "is": request and request.as_json()}
    event = (order.seller_id, order.order_id, order.version + 1, {"cancellationRequest": told})
    insert_events(connection, EventType.CANCELLATION_REQUESTED, now, actor, [event])


def _shown(connection: psycopg.Connection, seller_id: str, order_id: str) -> str:
    document = find_order(connection, seller_id, order_id)
    if document is None:
        raise LookupError("the locked order is gone")
    return document


@dataclass(slots=True)
class _Tally:
    """What a run has left over: locked orders to come back to, and orders that failed."""

    locked: list[DueOrder] = field(default_factory=list["DueOrder"])
    errors: int = 0


def sweep(
    database: Database, *, requested_by: str, scheduled: bool = False, batch_size: int = 1000
) -> CancellationRun | None:
    """Cancel what is due and return the finished run; None when this minute's slot is worked elsewhere.

    Any number of sweeps may run at once: rows decide, not processes. A crash leaves whole batches done and the rest
    for the next run. Orders locked by a confirmation are waited for at the end; if one stays locked or fails, the run
    is `PARTIAL`.
    """
    with database.operator_transaction() as connection:
        ledger.abandon_dead_runs(connection, DEAD_AFTER_S)
        run = ledger.start_run(connection, requested_by=requested_by, scheduled=scheduled, dry_run=False)
    if run is None:
        return None
    tally = _Tally()
    try:
        for batch in _due_batches(database, run, batch_size):
            _cancel_batch(database, run, batch, tally)
        skipped = _cancel_locked_orders(database, run, tally)
    except Exception:
        with database.operator_transaction() as connection:
            ledger.finish_run(connection, run.run_id, "FAILED", skipped=len(tally.locked), errors=tally.errors)
        raise
    state = "PARTIAL" if skipped or tally.errors else "SUCCEEDED"
    with database.operator_transaction() as connection:
        return ledger.finish_run(connection, run.run_id, state, skipped=skipped, errors=tally.errors)


def preview_sweep(database: Database, *, requested_by: str, limit: int) -> tuple[CancellationRun, list[DueOrder]]:
    """Record a dry run that counts what is due and lists the first of it; nothing is cancelled."""
    with database.operator_transaction() as connection:
        run = ledger.start_run(connection, requested_by=requested_by, scheduled=False, dry_run=True)
        if run is None:
            raise LookupError("a run without a slot cannot be taken")
        listed: list[DueOrder] = []
        page: list[DueOrder] = []
        while page := queries.find_due_orders(connection, run.cutoff, page[-1] if page else None, 10_000):
            listed += page[: limit - len(listed)]
            ledger.count_progress(connection, run.run_id, len(page), 0)
        return ledger.finish_run(connection, run.run_id, "SUCCEEDED", skipped=0, errors=0), listed


def _due_batches(database: Database, run: CancellationRun, batch_size: int) -> Iterator[Sequence[DueOrder]]:
    """Yield what is due in batches of one seller each. The look goes forward only: what is locked is not met twice."""
    page: list[DueOrder] = []
    while True:
        with database.operator_transaction() as connection:
            page = queries.find_due_orders(connection, run.cutoff, page[-1] if page else None, batch_size)
        if not page:
            return
        for _, batch in groupby(sorted(page, key=_seller_of), key=_seller_of):
            yield list(batch)


def _seller_of(due: DueOrder) -> str:
    return due.seller_id


def _cancel_batch(database: Database, run: CancellationRun, batch: Sequence[DueOrder], tally: _Tally) -> None:
    """Cancel a batch in one transaction; if it fails, halve it until the failing order is alone and is recorded."""
    try:
        with database.operator_transaction() as connection:
            order_ids = [due.order_id for due in batch]
            cancelled = queries.cancel_orders(connection, run, batch[0].seller_id, order_ids)
            ledger.count_progress(connection, run.run_id, len(batch), len(cancelled))
    except _FAILURES as error:
        if len(batch) == 1:
            _record_error(database, run, batch[0], error, found=1)
            tally.errors += 1
            return
        middle = len(batch) // 2
        _cancel_batch(database, run, batch[:middle], tally)
        _cancel_batch(database, run, batch[middle:], tally)
    else:
        tally.locked += [due for due in batch if due.order_id not in cancelled]


def _cancel_locked_orders(database: Database, run: CancellationRun, tally: _Tally) -> int:
    """Wait for the orders that were locked, for a limited time; return how many are left for the next run."""
    deadline = time.monotonic() + WAIT_LIMIT_S
    skipped = 0
    for due in tally.locked:
        if time.monotonic() > deadline or not _cancel_locked(database, run, due, tally):
            skipped += 1
    return skipped


def _cancel_locked(database: Database, run: CancellationRun, due: DueOrder, tally: _Tally) -> bool:
    """Wait for an order, then cancel it if it is still due; False when it stays locked."""
    try:
        with database.operator_transaction() as connection:
            queries.wait_for_order(connection, due.seller_id, due.order_id)
            cancelled = queries.cancel_orders(connection, run, due.seller_id, [due.order_id])
            ledger.count_progress(connection, run.run_id, 0, len(cancelled))
    except _FAILURES as error:
        if isinstance(error.__cause__, pg.LockNotAvailable):
            return False
        _record_error(database, run, due, error, found=0)
        tally.errors += 1
    return True


def _record_error(database: Database, run: CancellationRun, due: DueOrder, error: Exception, *, found: int) -> None:
    cause = error.__cause__ if isinstance(error, Contended) else error
    told = cause.diag.message_primary if isinstance(cause, psycopg.Error) else None
    reason = told or type(cause).__name__
    _log.error("cancellation_failed", order_id=due.order_id, seller_id=due.seller_id, reason=reason)
    with database.operator_transaction() as connection:
        ledger.insert_error(connection, run.run_id, due.seller_id, due.order_id, reason)
        # What failed has taken its count with it.
        ledger.count_progress(connection, run.run_id, found, 0)

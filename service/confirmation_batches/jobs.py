"""Work the files of confirmations. Any number of workers may: an order of a file is locked, and worked once."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from uuid import UUID

import structlog

from service.confirmation_batches import work_queries
from service.confirmation_batches.actions import find_batch, work_order
from service.confirmation_batches.queries import RunningBatch
from service.confirmation_batches.rules import RowResult
from service.confirmation_batches.work_queries import Turn
from service.database import Database

ORDERS_AT_A_TIME = 50
# A run ends after this, and the next one goes on, so that a fault is met anew and not for ever.
RUN_LIMIT_S = 8
# How often orders that others hold are tried by a worker that has nothing else to do.
TRIES = 5
PAUSE_S = 0.2

_log = structlog.stdlib.get_logger(__name__)


def work_batches(database: Database, *, settled_outside: bool, is_stopping: Callable[[], bool] = lambda: False) -> None:
    """Work what is open of every file; a failure is logged, and the next run goes on from there.

    Files take turns, some orders at a time, whichever worker: next is always the one whose last turn is longest ago,
    so that a short one does not wait for the end of a long one. An order that another holds for too long stays open
    until its file begins anew. Whether to end is asked before each order.
    """
    deadline, ended = time.monotonic() + RUN_LIMIT_S, list[UUID]()

    def is_over() -> bool:
        return is_stopping() or time.monotonic() > deadline

    try:
        while not is_over() and (turn := _take_turn(database, ended)) is not None:
            if not _work_some(database, turn, turn.position, settled_outside=settled_outside, is_over=is_over):
                ended.append(turn.batch_id)
    except Exception:  # noqa: BLE001  # whatever it is, the next run must try again
        _log.exception("batches_failed")


def _take_turn(database: Database, ended: list[UUID]) -> Turn | None:
    with database.operator_transaction() as connection:
        return work_queries.take_turn(connection, ended)


def work_batch(
    database: Database, batch: RunningBatch, *, settled_outside: bool, on_progress: Callable[[int], None]
) -> None:
    """Work one file to its end; `on_progress` gets the number of rows that were worked. Some orders may stay locked."""
    for turn in range(TRIES):
        time.sleep(turn * PAUSE_S)  # another worker may be about to end what is left
        position = _work_some(database, batch, 0, settled_outside=settled_outside, on_progress=on_progress)
        while position:
            position = _work_some(database, batch, position, settled_outside=settled_outside, on_progress=on_progress)
        if find_batch(database, None, batch.batch_id).state == "DONE":
            return


def _work_some(  # noqa: PLR0913  # what to work, how it is paid, and who looks on
    database: Database,
    batch: RunningBatch,
    position: int,
    *,
    settled_outside: bool,
    is_over: Callable[[], bool] = lambda: False,
    on_progress: Callable[[int], None] = lambda _: None,
) -> int:
    """Work orders of a file that begin behind a row; return where to go on, or 0 at the end, which may close it."""
    with database.operator_transaction() as connection:
        orders = work_queries.find_open_orders(connection, batch.batch_id, position, ORDERS_AT_A_TIME)
    counts = Counter[RowResult]()
    for order in orders:
        if is_over():
            break
        outcomes = work_order(database, batch, order, settled_outside=settled_outside)
        counts.update(outcome.result for outcome in outcomes)
        on_progress(len(outcomes))
        position = order.first_row_number
    else:
        position = position if len(orders) == ORDERS_AT_A_TIME else 0
    with database.operator_transaction() as connection:
        work_queries.end_turn(connection, batch.batch_id, position, counts)
        if not position:
            work_queries.finish_batch(connection, batch.batch_id)
    return position

"""Take a file of confirmations in, work it order by order, and tell what became of its rows."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from uuid import UUID, uuid4

import psycopg
import structlog

from service.confirmation_batches import queries, work_queries
from service.confirmation_batches.flat_rows import Columns
from service.confirmation_batches.parts import Part, Parts
from service.confirmation_batches.queries import Batch, RunningBatch, StoredRow, WorkedRow
from service.confirmation_batches.rules import (
    MAX_ROWS,
    BatchRow,
    Outcome,
    Package,
    RowResult,
    packages_of,
    refusal,
    refusals,
)
from service.confirmation_batches.work_queries import OpenOrder
from service.database import Database
from service.errors import (
    BatchNotFound,
    BatchUnreadable,
    Contended,
    FieldError,
    InternalError,
    InvalidRequest,
    OrderNotFound,
    Overloaded,
    Problem,
)
from service.shipments.actions import confirm_package
from service.shipments.rules import ShipmentConfirmation

ROWS_AT_A_TIME = 2000

_log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomingRow:
    """A row as it came, in JSON: its confirmation, or the problem that kept it from being read."""

    row_number: int
    seller_id: str | None
    order_id: str | None
    content: str
    confirmation: ShipmentConfirmation | None
    problem: Problem | None


def rows_seen_by(database: Database, seller_id: str | None) -> AbstractContextManager[psycopg.Connection]:
    """Open a transaction that sees one seller's files, or with no seller everybody's: an operator's."""
    return database.operator_transaction() if seller_id is None else database.seller_transaction(seller_id)


def create_batch(
    database: Database,
    seller_id: str | None,
    actor: str,
    columns: Columns | None,
    rows: Iterable[IncomingRow],
) -> Batch:
    """Store a file whole, to be worked from then on, or not at all; with a seller, all of its rows are the seller's.

    Raises `BatchUnreadable` when it has no rows, or too many; what reads them may raise it as well.
    """
    batch_id, count, refused_count = uuid4(), 0, 0
    stored = _stored_rows(seller_id, pointer_of(columns), rows)
    with rows_seen_by(database, seller_id) as connection:
        while chunk := list(islice(stored, ROWS_AT_A_TIME)):
            count += len(chunk)
            refused_count += sum(row.outcome is not None for row in chunk)
            if count > MAX_ROWS:
                raise BatchUnreadable(f"the file has more than {MAX_ROWS} rows; send it in parts")
            queries.insert_rows(connection, batch_id, chunk)
        if not count:
            raise BatchUnreadable("the file has no rows")
        queries.insert_batch(
            connection,
            batch_id,
            seller_id=seller_id,
            requested_by=actor,
            columns=None if columns is None else columns.names,
            row_count=count,
            refused_count=refused_count,
        )
        return _existing(connection, batch_id)


def pointer_of(columns: Columns | None) -> Callable[[str], str]:
    """Return what says in the words of a file where a fault lies."""
    return columns.pointer if columns is not None else lambda pointer: pointer


def _stored_rows(
    seller_id: str | None, pointer: Callable[[str], str], rows: Iterable[IncomingRow]
) -> Iterator[StoredRow]:
    parts = Parts()
    for row in rows:
        owner, problem = seller_id or row.seller_id or "", row.problem or _foreign(seller_id, row)
        part = Part(row.row_number, None)
        if problem is None and row.order_id is not None and row.confirmation is not None:
            part = parts.part_of(owner, row.order_id, BatchRow(row.row_number, row.confirmation))
        yield StoredRow(
            seller_id=owner,
            row_number=row.row_number,
            first_row_number=part.first_row_number,
            after_row_number=part.after_row_number,
            order_id=row.order_id,
            content=row.content,
            confirmation=row.confirmation,
            outcome=refusal(row.row_number, problem, problem.errors, pointer) if problem else None,
        )


def _foreign(seller_id: str | None, row: IncomingRow) -> Problem | None:
    if seller_id is None and row.seller_id is None:
        return InvalidRequest(
            "nothing says whose order it is", FieldError("name the seller, here or for the whole file", "/sellerId")
        )
    if seller_id is not None and row.seller_id not in {None, seller_id}:
        error = FieldError("is another seller than the file's", "/sellerId")
        return OrderNotFound(f"the seller has no order {row.order_id}", error)
    return None


def find_batch(database: Database, seller_id: str | None, batch_id: UUID) -> Batch:
    """Return a file of the seller, or with no seller anybody's; raise `BatchNotFound`."""
    with rows_seen_by(database, seller_id) as connection:
        return _existing(connection, batch_id)


def _existing(connection: psycopg.Connection, batch_id: UUID) -> Batch:
    batch = queries.find_batch(connection, batch_id)
    if batch is None:
        raise BatchNotFound(f"there is no batch {batch_id}")
    return batch


def worked_rows(database: Database, batch: Batch, results: Sequence[RowResult]) -> Iterator[WorkedRow]:
    """Yield the rows of a file that have one of the results; no transaction waits for who reads them."""
    after = 0
    while True:
        with rows_seen_by(database, batch.seller_id) as connection:
            rows = queries.find_worked_rows(connection, batch.batch_id, results, after, ROWS_AT_A_TIME)
        if not rows:
            return
        yield from rows
        after = rows[-1].row_number


def work_order(
    database: Database, batch: RunningBatch, order: OpenOrder, *, settled_outside: bool
) -> Sequence[Outcome]:
    """Confirm packages of one order of a file, and keep what became of their rows, in one transaction.

    Returns what became of them: nothing when another worker has the order, or has yet to work packages of it that come
    before, or others hold it for too long; it stays open then. What fails unexpectedly is recorded as well, so that it
    does not hold the file up for ever.
    """
    try:
        with _locked(database, batch, order) as (connection, packages):
            outcomes = [
                outcome
                for package in packages
                for outcome in _confirm(connection, batch, order, package, settled_outside=settled_outside)
            ]
            return _save(connection, batch, order, outcomes)
    except Contended:
        return []
    except Overloaded:
        raise
    except Exception:  # noqa: BLE001  # whatever it is, the orders behind it must have their turn
        _log.exception("row_failed", batch_id=str(batch.batch_id), seller_id=order.seller_id, order_id=order.order_id)
    problem = InternalError("the fault is recorded under the batch and the order")
    with _locked(database, batch, order) as (connection, packages):
        outcomes = [each for package in packages for each in refusals(package, problem, str)]
        return _save(connection, batch, order, outcomes)


@contextmanager
def _locked(
    database: Database, batch: RunningBatch, order: OpenOrder
) -> Generator[tuple[psycopg.Connection, Sequence[Package]]]:
    # In a pipeline what is written need not be waited for, which is most of a confirmation.
    with database.seller_pipeline(order.seller_id) as connection:
        yield connection, list(packages_of(work_queries.lock_open_rows(connection, batch.batch_id, order)))


def _save(
    connection: psycopg.Connection, batch: RunningBatch, order: OpenOrder, outcomes: Sequence[Outcome]
) -> Sequence[Outcome]:
    if outcomes:
        work_queries.save_outcomes(connection, order.seller_id, batch.batch_id, outcomes)
    return outcomes


def _confirm(
    connection: psycopg.Connection, batch: RunningBatch, order: OpenOrder, package: Package, *, settled_outside: bool
) -> Iterator[Outcome]:
    """Yield what becomes of the rows of a package. A refusal comes before anything is written, and ends nothing."""
    try:
        if package.problem is not None:
            raise package.problem
        confirmed = confirm_package(
            connection,
            order.seller_id,
            order.order_id,
            package.confirmation,
            batch.requested_by,
            settled_outside=settled_outside,
        )
    except Problem as problem:
        columns = None if batch.columns is None else Columns.of(batch.columns)
        yield from refusals(package, problem, pointer_of(columns))
        return
    result = RowResult.CONFIRMED if confirmed.created else RowResult.ALREADY_CONFIRMED
    told: dict[str, object] = {"packageReferenceId": confirmed.package_reference_id}
    if confirmed.warnings:
        told["warnings"] = [asdict(warning) for warning in confirmed.warnings]
    yield from (Outcome(row.row_number, result, told) for row in package.rows)

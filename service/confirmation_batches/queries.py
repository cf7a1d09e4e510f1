"""Files of confirmations and their rows: what came in, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, LiteralString
from uuid import UUID

import orjson
import psycopg
from psycopg.rows import class_row

from service.confirmation_batches.rules import BatchFormat, Outcome, RowResult


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningBatch:
    """What a worker needs to know of a file."""

    batch_id: UUID
    requested_by: str
    columns: Sequence[str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch(RunningBatch):
    """A file, and how far it has got. Without a seller it is an operator's, whose rows name theirs."""

    seller_id: str | None
    batch_format: BatchFormat
    state: str
    created_time: datetime
    finished_time: datetime | None
    row_count: int
    confirmed_count: int
    already_confirmed_count: int
    refused_count: int

    @property
    def worked_row_count(self) -> int:
        """Return how many rows have a result."""
        return self.confirmed_count + self.already_confirmed_count + self.refused_count


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRow:
    """A row as it is inserted, its content as JSON. One that could not be read has an outcome, and no confirmation."""

    seller_id: str
    row_number: int
    first_row_number: int
    after_row_number: int | None
    order_id: str | None
    content: str
    confirmation: object
    outcome: Outcome | None


@dataclass(frozen=True, slots=True)
class WorkedRow:
    """A row with its result."""

    row_number: int
    seller_id: str
    order_id: str | None
    content: Any
    result: str
    outcome: Mapping[str, Any]


def insert_rows(connection: psycopg.Connection, batch_id: UUID, rows: Sequence[StoredRow]) -> None:
    """Write rows of a file. They travel as arrays of texts: JSON may hold what no recordset of PostgreSQL takes."""
    connection.execute(
        """
        INSERT INTO confirmation_batch_rows (
            seller_id, batch_id, row_number, first_row_number, after_row_number, order_id, content, confirmation,
            result, outcome
        )
        SELECT seller_id, %(batch_id)s, row_number, first_row_number, after_row_number, order_id, content::json,
            confirmation::json, result, outcome::json
        FROM unnest(
            %(seller_ids)s::text[], %(row_numbers)s::integer[], %(first_row_numbers)s::integer[],
            %(after_row_numbers)s::integer[], %(order_ids)s::text[], %(contents)s::text[], %(confirmations)s::text[],
            %(results)s::text[], %(outcomes)s::text[]
        ) AS sent (
            seller_id, row_number, first_row_number, after_row_number, order_id, content, confirmation, result, outcome
        )
        """,
        {
            "batch_id": batch_id,
            "seller_ids": [row.seller_id for row in rows],
            "row_numbers": [row.row_number for row in rows],
            "first_row_numbers": [row.first_row_number for row in rows],
            "after_row_numbers": [row.after_row_number for row in rows],
            "order_ids": [row.order_id for row in rows],
            "contents": [row.content for row in rows],
            "confirmations": [None if row.confirmation is None else _json(row.confirmation) for row in rows],
            "results": [row.outcome and row.outcome.result for row in rows],
            "outcomes": [row.outcome and _json(row.outcome.told) for row in rows],
        },
    )


def _json(value: object) -> str:
    return orjson.dumps(value).decode()


def insert_batch(  # noqa: PLR0913  # the columns of the row
    connection: psycopg.Connection,
    batch_id: UUID,
    *,
    seller_id: str | None,
    requested_by: str,
    columns: Sequence[str] | None,
    row_count: int,
    refused_count: int,
) -> None:
    """Write a file whose rows are there: from then on they are worked."""
    connection.execute(
        """
        INSERT INTO confirmation_batches (
            batch_id, seller_id, requested_by, batch_format, columns, state, created_time, row_count, refused_count
        ) VALUES (
            %(batch_id)s, %(seller_id)s, %(requested_by)s, %(batch_format)s, %(columns)s, 'RUNNING', app_now(),
            %(row_count)s, %(refused_count)s
        )
        """,
        {
            "batch_id": batch_id,
            "seller_id": seller_id,
            "requested_by": requested_by,
            "batch_format": BatchFormat.JSON if columns is None else BatchFormat.TSV,
            "columns": None if columns is None else list(columns),
            "row_count": row_count,
            "refused_count": refused_count,
        },
    )


# Rows are not counted to show a file: it may have many, and a page of them many files.
_BATCHES: LiteralString = """
SELECT batch_id, seller_id, requested_by, batch_format, columns, state, created_time, finished_time, row_count,
    confirmed_count, already_confirmed_count, refused_count
FROM confirmation_batches
"""


def find_batch(connection: psycopg.Connection, batch_id: UUID) -> Batch | None:
    """Return a file, None when there is none that the transaction may see."""
    with connection.cursor(row_factory=class_row(Batch)) as cursor:
        return cursor.execute(f"{_BATCHES} WHERE batch_id = %(batch_id)s", {"batch_id": batch_id}).fetchone()


_BEFORE_THE_FIRST = datetime.max.replace(tzinfo=UTC), UUID(int=2**128 - 1)


def find_batches(connection: psycopg.Connection, after: tuple[datetime, UUID] | None, limit: int) -> list[Batch]:
    """Return the files that the transaction may see, the newest first, a page at a time."""
    created_time, batch_id = after or _BEFORE_THE_FIRST
    with connection.cursor(row_factory=class_row(Batch)) as cursor:
        return cursor.execute(
            f"""
            {_BATCHES}
            WHERE (created_time, batch_id) < (%(created_time)s, %(batch_id)s)
            ORDER BY created_time DESC, batch_id DESC LIMIT %(limit)s
            """,
            {"created_time": created_time, "batch_id": batch_id, "limit": limit},
        ).fetchall()


def find_worked_rows(
    connection: psycopg.Connection, batch_id: UUID, results: Sequence[RowResult], after: int, limit: int
) -> list[WorkedRow]:
    """Return rows with one of the results, in the order of the file, a page at a time."""
    with connection.cursor(row_factory=class_row(WorkedRow)) as cursor:
        return cursor.execute(
            """
            SELECT row_number, seller_id, order_id, content, result, outcome FROM confirmation_batch_rows
            WHERE batch_id = %(batch_id)s AND row_number > %(after)s AND result = ANY(%(results)s)
            ORDER BY row_number LIMIT %(limit)s
            """,
            {"batch_id": batch_id, "after": after, "results": list(results), "limit": limit},
        ).fetchall()

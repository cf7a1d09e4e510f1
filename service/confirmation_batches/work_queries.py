"""What a worker asks of files of confirmations, and writes: whose turn it is, what is open, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import orjson
import psycopg
from psycopg.rows import class_row

from service.confirmation_batches.queries import RunningBatch
from service.confirmation_batches.rules import BatchRow, Outcome, RowResult, stored_confirmation


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn(RunningBatch):
    """A file whose turn it is, and the row behind which it goes on."""

    position: int


@dataclass(frozen=True, slots=True)
class OpenOrder:
    """Packages of an order of a file that nobody has worked yet, by their first row."""

    seller_id: str
    first_row_number: int
    order_id: str


def take_turn(connection: psycopg.Connection, except_ids: Sequence[UUID]) -> Turn | None:
    """Return the file that is not done and whose last turn is longest ago; others now come before it."""
    with connection.cursor(row_factory=class_row(Turn)) as cursor:
        return cursor.execute(
            """
            UPDATE confirmation_batches SET turn = nextval('confirmation_batch_turns')
            WHERE batch_id = (
                SELECT batch_id FROM confirmation_batches
                WHERE state = 'RUNNING' AND batch_id <> ALL(%(except_ids)s)
                ORDER BY turn, batch_id LIMIT 1
                FOR UPDATE SKIP LOCKED
            )
            RETURNING batch_id, requested_by, columns, position
            """,
            {"except_ids": list(except_ids)},
        ).fetchone()


def end_turn(connection: psycopg.Connection, batch_id: UUID, position: int, counts: Mapping[RowResult, int]) -> None:
    """Write where a file goes on at its next turn, and add what became of its rows in this one."""
    connection.execute(
        """
        UPDATE confirmation_batches SET
            position = %(position)s, confirmed_count = confirmed_count + %(confirmed)s,
            already_confirmed_count = already_confirmed_count + %(already_confirmed)s,
            refused_count = refused_count + %(refused)s
        WHERE batch_id = %(batch_id)s AND state = 'RUNNING'
        """,
        {
            "batch_id": batch_id,
            "position": position,
            "confirmed": counts.get(RowResult.CONFIRMED, 0),
            "already_confirmed": counts.get(RowResult.ALREADY_CONFIRMED, 0),
            "refused": counts.get(RowResult.REFUSED, 0),
        },
    )


def find_open_orders(connection: psycopg.Connection, batch_id: UUID, after: int, limit: int) -> list[OpenOrder]:
    """Return orders of a file whose rows have no result, in the order of their first rows, a page at a time.

    One of which there are many packages comes several times.
    """
    with connection.cursor(row_factory=class_row(OpenOrder)) as cursor:
        return cursor.execute(
            """
            SELECT seller_id, first_row_number, order_id FROM confirmation_batch_rows
            WHERE batch_id = %(batch_id)s AND result IS NULL AND row_number = first_row_number
                AND first_row_number > %(after)s
            ORDER BY first_row_number LIMIT %(limit)s
            """,
            {"batch_id": batch_id, "after": after, "limit": limit},
        ).fetchall()


def lock_open_rows(connection: psycopg.Connection, batch_id: UUID, order: OpenOrder) -> list[BatchRow]:
    """Lock packages of an order of a file by their first row, and return their rows.

    There are none when another worker has them, or had them, or when packages that come before are open.
    """
    rows = connection.execute(
        """
        WITH mine AS (
            SELECT seller_id, batch_id, row_number FROM confirmation_batch_rows first_row
            WHERE seller_id = %(seller_id)s AND batch_id = %(batch_id)s AND row_number = %(row_number)s
                AND result IS NULL AND NOT EXISTS (
                    SELECT FROM confirmation_batch_rows
                    WHERE seller_id = %(seller_id)s AND batch_id = %(batch_id)s
                        AND row_number = first_row.after_row_number AND result IS NULL
                )
            FOR UPDATE SKIP LOCKED
        )
        SELECT r.row_number, r.confirmation
        FROM mine JOIN confirmation_batch_rows r ON r.seller_id = mine.seller_id AND r.batch_id = mine.batch_id
            AND r.first_row_number = mine.row_number AND r.result IS NULL
        ORDER BY r.row_number
        """,
        {"seller_id": order.seller_id, "batch_id": batch_id, "row_number": order.first_row_number},
    )
    return [BatchRow(number, stored_confirmation(stored)) for number, stored in rows]


def save_outcomes(connection: psycopg.Connection, seller_id: str, batch_id: UUID, outcomes: Sequence[Outcome]) -> None:
    """Write what became of rows that are locked."""
    # A statement a row finds it by its key, whatever the planner knows of a table that has just been filled.
    connection.cursor().executemany(
        """
        UPDATE confirmation_batch_rows SET result = %(result)s, outcome = %(outcome)s::json
        WHERE seller_id = %(seller_id)s AND batch_id = %(batch_id)s AND row_number = %(row_number)s
        """,
        [
            {
                "seller_id": seller_id,
                "batch_id": batch_id,
                "row_number": each.row_number,
                "result": each.result,
                "outcome": orjson.dumps(each.told).decode(),
            }
            for each in outcomes
        ],
    )


def finish_batch(connection: psycopg.Connection, batch_id: UUID) -> None:
    """Close a file if every row of it has a result, and count them anew: a turn that was cut off has added none."""
    connection.execute(
        """
        UPDATE confirmation_batches SET
            state = 'DONE', finished_time = app_now(),
            (confirmed_count, already_confirmed_count, refused_count) = (
                SELECT count(*) FILTER (WHERE result = 'CONFIRMED'),
                    count(*) FILTER (WHERE result = 'ALREADY_CONFIRMED'), count(*) FILTER (WHERE result = 'REFUSED')
                FROM confirmation_batch_rows WHERE batch_id = %(batch_id)s
            )
        WHERE batch_id = %(batch_id)s AND state = 'RUNNING' AND NOT EXISTS (
            SELECT FROM confirmation_batch_rows WHERE batch_id = %(batch_id)s AND result IS NULL
        )
        """,
        {"batch_id": batch_id},
    )

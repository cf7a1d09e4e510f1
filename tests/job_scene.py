"""What the tests of the cancellation job begin with: due orders, and runs that the ledger holds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import orjson
import psycopg

from service.database import Database
from service.ingest.actions import receive_orders
from service.ingest.schemas import read_line
from service.sandbox.actions import move_clock
from tests.conftest import CONFIRM_BY, NOW, SELLER, order_document

AFTER_DEADLINE = CONFIRM_BY + timedelta(hours=1)
# As many as it takes for a share to be judged: all of the open orders are more than any share allows.
ENOUGH_TO_HOLD = 50


def receive_due(database: Database, count: int, seller_id: str = SELLER) -> list[str]:
    """Receive so many orders at `NOW`, and move the clock to where they are due; return their ids, sorted."""
    move_clock(database, NOW)
    documents = [order_document() | {"sellerId": seller_id} for _ in range(count)]
    with database.operator_transaction() as connection:
        receive_orders(connection, [read_line(orjson.dumps(document)) for document in documents], "test")
    move_clock(database, AFTER_DEADLINE)
    return sorted(document["orderId"] for document in documents)


def insert_run(owner: psycopg.Connection, state: str, ago: timedelta = timedelta(0), **columns: object) -> UUID:
    """Write a run that began and ended so long ago; return its id."""
    then = datetime.now(UTC) - ago
    values: dict[str, object] = {
        "slot": None,
        "slot_count": 1,
        "dry_run": False,
        "requested_by": "test",
        "cutoff": AFTER_DEADLINE,
        "heartbeat_time": then,
        "found_count": 0,
        "held_reasons": '[{"code": "TOO_MANY", "detail": "made up"}]' if state == "HELD" else None,
    } | columns
    ((run_id,),) = owner.execute(
        """
        INSERT INTO cancellation_runs (
            state, slot, slot_count, dry_run, requested_by, cutoff, started_time, heartbeat_time, finished_time,
            found_count, held_reasons
        ) VALUES (
            %(state)s, %(slot)s, %(slot_count)s, %(dry_run)s, %(requested_by)s, %(cutoff)s, %(then)s,
            %(heartbeat_time)s, CASE WHEN %(state)s <> 'RUNNING' THEN %(then)s::timestamptz END, %(found_count)s,
            %(held_reasons)s
        ) RETURNING run_id
        """,
        values | {"state": state, "then": then},
    ).fetchall()
    return run_id

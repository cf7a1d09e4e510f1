"""Orders whose confirmation window is over: how many there are, which, and their cancellation (R9)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString
from uuid import UUID

import psycopg
from psycopg.rows import class_row

from service.cancellation_job.control import PAUSE_STANDS
from service.cancellation_job.ledger import CancellationRun
from service.cancellation_job.rules import Assessment, DueOfSeller


@dataclass(frozen=True, slots=True)
class DueOrder:
    """An order whose `confirmBy` has come and of which nothing is confirmed."""

    confirm_by: datetime
    seller_id: str
    order_id: str


_IS_OPEN: LiteralString = "fulfillment_status = 'UNSHIPPED' AND fulfilled_by = 'MERCHANT'"
IS_DUE: LiteralString = f"{_IS_OPEN} AND confirm_by <= LEAST(%(cutoff)s, (SELECT app_now()))"
# What a run was approved for is what was there, as it was, when the other was held.
_IS_SEEN: LiteralString = "last_updated_time <= %(cutoff)s"

# The digest stands for the set: whoever knows it can tell whether what was cancelled is what was shown.
_DIGEST: LiteralString = """
encode(sha256(convert_to(COALESCE(
    string_agg(seller_id || '/' || order_id, E'\\n' ORDER BY seller_id COLLATE "C", order_id COLLATE "C"), ''
), 'UTF8')), 'hex')
"""
FIND_DUE: LiteralString = f"SELECT count(*), {_DIGEST} FROM orders WHERE {IS_DUE}"
_FIND_SEEN: LiteralString = f"{FIND_DUE} AND {_IS_SEEN}"
_FIND_CANCELLED: LiteralString = f"SELECT {_DIGEST} FROM orders WHERE cancellation_run_id = %(run_id)s"
COUNT_OPEN: LiteralString = f"""
SELECT seller_id, count(*) FILTER (WHERE confirm_by <= LEAST(%(cutoff)s, (SELECT app_now()))), count(*) FROM orders
WHERE {_IS_OPEN}
GROUP BY seller_id ORDER BY seller_id
"""


def assess(connection: psycopg.Connection, cutoff: datetime, shares_from: int) -> Assessment:
    """Return what is due, and of how many open orders, where there is enough to judge the share.

    An idle look reads one end of an index. All open orders are counted only for a run that may cancel many of them.
    """
    ((due_count, digest),) = connection.execute(FIND_DUE, {"cutoff": cutoff}).fetchall()
    if due_count < shares_from:
        return Assessment(due_count, digest)
    sellers = [DueOfSeller(*row) for row in connection.execute(COUNT_OPEN, {"cutoff": cutoff})]
    return Assessment(
        due_count,
        digest,
        sum(each.open_count for each in sellers),
        tuple(each for each in sellers if each.due_count),
    )


def find_seen(connection: psycopg.Connection, cutoff: datetime) -> Assessment:
    """Return what is due of that which stood as it stands now when a run was held at the cutoff."""
    return Assessment(*connection.execute(_FIND_SEEN, {"cutoff": cutoff}).fetchall()[0])


def count_due(connection: psycopg.Connection, run: CancellationRun) -> int:
    """Return how many of the orders that a run is for are due still."""
    statement = f"SELECT count(*) FROM orders WHERE {IS_DUE}{_of(run)}"
    return connection.execute(statement, {"cutoff": run.cutoff}).fetchall()[0][0]


def _of(run: CancellationRun) -> LiteralString:
    return f" AND {_IS_SEEN}" if run.approved_run_id else ""


def digest_of_cancelled(connection: psycopg.Connection, run_id: UUID) -> str:
    """Return the digest of the orders that a run has cancelled."""
    return connection.execute(_FIND_CANCELLED, {"run_id": run_id}).fetchall()[0][0]


def find_due_orders(
    connection: psycopg.Connection, run: CancellationRun, after: DueOrder | None, limit: int
) -> list[DueOrder]:
    """Return the orders due at a run's cutoff and still now, first deadline first, unlocked, a page at a time."""
    with connection.cursor(row_factory=class_row(DueOrder)) as cursor:
        return cursor.execute(
            f"""
            SELECT confirm_by, seller_id, order_id FROM orders
            WHERE {IS_DUE}{_of(run)}
                AND (confirm_by, seller_id, order_id) > (
                    COALESCE(%(after_confirm_by)s, '-infinity'::timestamptz), %(after_seller_id)s, %(after_order_id)s
                )
            ORDER BY confirm_by, seller_id, order_id LIMIT %(limit)s
            """,
            {
                "cutoff": run.cutoff,
                "after_confirm_by": after.confirm_by if after else None,
                "after_seller_id": after.seller_id if after else "",
                "after_order_id": after.order_id if after else "",
                "limit": limit,
            },
        ).fetchall()


# The claim names one seller, so that a database distributed by seller can lock it where the rows are. An order that
# is locked by a confirmation is left for later; one that was confirmed, extended or cancelled meanwhile is not due.
# Whatever happens between the look and this statement, it alone decides, by the rows as it locks them (D2, D3). The
# gate is shut by a pause, by whoever gave the run up for dead, and while deadlines are to be moved to later.
CANCEL_ORDERS: LiteralString = f"""
WITH gate AS MATERIALIZED (
    SELECT run.state = 'RUNNING' AS is_running, EXISTS (
        SELECT FROM cancellation_pauses WHERE {PAUSE_STANDS}
    ) AS is_paused, EXISTS (SELECT FROM deadline_changes WHERE state = 'RUNNING') AS is_changing
    FROM cancellation_runs run WHERE run.run_id = %(run_id)s
), due AS (
    SELECT seller_id, order_id FROM orders
    WHERE seller_id = %(seller_id)s AND order_id = ANY(%(order_ids)s) AND {IS_DUE}
        AND (NOT %(seen_only)s OR {_IS_SEEN})
        AND (SELECT is_running AND NOT is_paused AND NOT is_changing FROM gate)
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
        ship_by_sort, confirm_by_sort, grand_total_sort, fulfillment_status, shipment_is_late, details
    )
    SELECT seller_id, order_id, version, 'ORDER_CANCELLED', cancelled_time, %(actor)s, %(run_id)s,
        ship_by_sort, confirm_by_sort, grand_total_sort, 'CANCELLED', false,
        json_build_object(
            'cancelReason', 'NOT_CONFIRMED_IN_TIME', 'confirmBy', confirm_by,
            'fulfillmentStatus', json_build_object('was', 'UNSHIPPED', 'is', 'CANCELLED'),
            'paymentStatus', json_build_object('was', 'AUTHORIZED', 'is', 'UNPAID'))
    FROM cancelled
)
SELECT is_running, is_paused, is_changing, ARRAY(SELECT order_id FROM cancelled) FROM gate
"""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a batch came to: nothing, unless the run is RUNNING, the job not paused, and no deadline to be moved."""

    is_running: bool
    is_paused: bool
    is_changing: bool
    cancelled: frozenset[str]


def cancel_orders(
    connection: psycopg.Connection, run: CancellationRun, seller_id: str, order_ids: Sequence[str]
) -> Claim:
    """Cancel those of one seller's orders that are due and not locked; return the ids of the cancelled ones (R9)."""
    parameters = {
        "run_id": run.run_id,
        "seller_id": seller_id,
        "order_ids": list(order_ids),
        "cutoff": run.cutoff,
        "seen_only": run.approved_run_id is not None,
        "actor": f"cancellation-run:{run.run_id}",
    }
    ((is_running, is_paused, is_changing, cancelled),) = connection.execute(CANCEL_ORDERS, parameters).fetchall()
    return Claim(is_running, is_paused, is_changing, frozenset(cancelled))


def wait_for_order(connection: psycopg.Connection, seller_id: str, order_id: str) -> None:
    """Wait until whoever holds the order is done, at most as long as the lock limit."""
    connection.execute(
        "SELECT order_id FROM orders WHERE seller_id = %(seller_id)s AND order_id = %(order_id)s FOR UPDATE",
        {"seller_id": seller_id, "order_id": order_id},
    )

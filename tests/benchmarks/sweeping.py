"""Databases with many overdue orders, the sweep of them in a process of its own, and one bare statement instead."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, LiteralString

import orjson
import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from service.cancellation_job.actions import sweep
from service.cancellation_job.queries import CANCEL_ORDERS, FIND_DUE
from service.cancellation_job.rules import Limits, SweepOptions
from service.database import Database, conninfo
from service.settings import Settings
from tests.benchmarks.building import import_files
from tests.benchmarks.data import count_by_seller

LIFTED = SweepOptions(limits=Limits(max_orders=10**9, max_percent=100, max_seller_percent=100))
_IS_OPEN: LiteralString = "fulfillment_status = 'UNSHIPPED' AND fulfilled_by = 'MERCHANT'"

# The same rows, columns and events at once, by a role that no row security looks at.
_BARE: LiteralString = f"""
WITH cancelled AS (
    UPDATE orders SET
        version = version + 1, fulfillment_status = 'CANCELLED', payment_status = 'UNPAID', last_updated_time = now(),
        cancelled_time = now(), cancel_reason = 'NOT_CONFIRMED_IN_TIME', cancellation_run_id = %(run_id)s
    WHERE {_IS_OPEN} AND confirm_by <= now()
    RETURNING seller_id, order_id, version, cancelled_time, confirm_by, ship_by_sort, confirm_by_sort, grand_total_sort
)
INSERT INTO order_events (
    seller_id, order_id, version, event_type, event_time, actor, cancellation_run_id,
    ship_by_sort, confirm_by_sort, grand_total_sort, fulfillment_status, shipment_is_late, details
)
SELECT seller_id, order_id, version, 'ORDER_CANCELLED', cancelled_time, 'bare', %(run_id)s,
    ship_by_sort, confirm_by_sort, grand_total_sort, 'CANCELLED', false,
    json_build_object(
        'cancelReason', 'NOT_CONFIRMED_IN_TIME', 'confirmBy', confirm_by,
        'fulfillmentStatus', json_build_object('was', 'UNSHIPPED', 'is', 'CANCELLED'),
        'paymentStatus', json_build_object('was', 'AUTHORIZED', 'is', 'UNPAID'))
FROM cancelled
"""
_HOLDS: LiteralString = """
SELECT COALESCE(max(extract(epoch FROM clock_timestamp() - holder.xact_start)), 0)::float8
FROM pg_locks held JOIN pg_stat_activity holder ON holder.pid = held.pid
WHERE held.relation = 'orders'::regclass AND held.mode = 'RowExclusiveLock' AND held.granted
    AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


@contextmanager
def copied(server_url: str, url: str, name: str) -> Generator[str]:
    """Yield the URL of a copy of a database; whoever is connected to it is sent away, and comes again."""
    source = str(conninfo_to_dict(url)["dbname"])
    copy = make_conninfo(server_url, dbname=name)
    with psycopg.connect(server_url, autocommit=True) as connection:
        drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        connection.execute(drop)
        connection.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %(name)s", {"name": source}
        )
        create = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY")
        connection.execute(create.format(sql.Identifier(name), sql.Identifier(source)))
        try:
            yield copy
        finally:
            connection.execute(drop)


def add_overdue(url: str, count: int, directory: Path) -> None:
    """Import orders whose windows are over, until there are so many."""
    with psycopg.connect(url, autocommit=True) as connection:
        found = connection.execute(f"SELECT count(*) FROM orders WHERE {_IS_OPEN} AND confirm_by <= now()").fetchall()
        file = directory / "overdue.ndjson"
        with file.open("wb") as lines:
            for seller_id, share in count_by_seller(max(count - found[0][0], 0)).items():
                lines.writelines(orjson.dumps(_overdue(seller_id, number)) + b"\n" for number in range(share))
        import_files(url, [file])
        connection.execute("VACUUM (ANALYZE)")
        connection.execute("CHECKPOINT")


def _overdue(seller_id: str, number: int) -> dict[str, object]:
    # Seconds apart, so that each seller's deadlines are among those of the others.
    created = datetime.now(UTC) - timedelta(days=60, seconds=number)
    return {
        "sellerId": seller_id,
        "orderId": f"D-{number}",
        "createdTime": created.isoformat(),
        "salesChannel": {"channelName": "AMAZON", "marketplaceId": "ATVPDKIKX0DER"},
        "proceeds": {"grandTotal": {"amount": "24.90", "currencyCode": "USD"}},
        "fulfillment": {
            "fulfillmentStatus": "UNSHIPPED",
            "fulfilledBy": "MERCHANT",
            "shipByWindow": {"latestDateTime": (created + timedelta(days=2)).isoformat()},
        },
        "orderItems": [{"orderItemId": "1", "quantityOrdered": 2, "product": {"sellerSku": "MUG", "title": "Mug"}}],
    }


def some_orders(url: str, count: int, *, are_overdue: bool) -> list[tuple[str, str]]:
    """Return the keys of open orders by chance, the same ones every time."""
    condition: LiteralString = "confirm_by <= now()" if are_overdue else "confirm_by > now() + interval '1 day'"
    with psycopg.connect(url) as connection:
        return connection.execute(
            f"""
            SELECT seller_id, order_id FROM orders WHERE {_IS_OPEN} AND {condition}
            ORDER BY md5(seller_id || order_id), seller_id, order_id LIMIT %(count)s
            """,
            {"count": count},
        ).fetchall()


def swept(url: str) -> tuple[int, float]:
    """Sweep; return how many orders were cancelled, and in how many seconds."""
    with Database(Settings(database_url=url), pool_size=1).closing() as database:
        begin = time.perf_counter()
        run = sweep(database, requested_by="benchmark", options=LIFTED)
        took = time.perf_counter() - begin
    if run is None or run.state != "SUCCEEDED":
        raise RuntimeError(f"the sweep did not succeed: {run}")
    return run.cancelled_count, took


def cancelled_at_once(url: str) -> tuple[int, float]:
    """Do the same by one statement."""
    with psycopg.connect(url) as connection:
        ((run_id,),) = connection.execute(
            """
            INSERT INTO cancellation_runs (dry_run, state, requested_by, cutoff)
            VALUES (false, 'RUNNING', 'bare', now()) RETURNING run_id
            """
        ).fetchall()
        connection.commit()
        begin = time.perf_counter()
        cancelled = connection.execute(_BARE, {"run_id": run_id}).rowcount
        connection.commit()
        return cancelled, time.perf_counter() - begin


def longest_hold_s(url: str, is_over: Callable[[], bool]) -> float:
    """Watch until it is over; return the age of the oldest transaction that was seen changing orders."""
    longest = 0.0
    with psycopg.connect(url, autocommit=True) as connection:
        while not is_over():
            longest = max(longest, connection.execute(_HOLDS).fetchall()[0][0])
            time.sleep(0.002)
    return longest


def blocks_touched(url: str) -> int:
    """Return how many blocks of tables and their indexes were ever read, from memory or not."""
    with psycopg.connect(url) as connection:
        return connection.execute(
            """
            SELECT sum(COALESCE(heap_blks_read, 0) + COALESCE(heap_blks_hit, 0) + COALESCE(idx_blks_read, 0)
                + COALESCE(idx_blks_hit, 0))::bigint
            FROM pg_statio_user_tables
            """
        ).fetchall()[0][0]


def explain_look(url: str) -> Sequence[str]:
    """Return the plan of the look for what is due."""
    return _explained(url, FIND_DUE, {"cutoff": datetime.now(UTC)})


def explain_claim(url: str, batch_size: int) -> Sequence[str]:
    """Return the plan of a claim of a seller's overdue orders, which is then undone."""
    ids = some_orders(url, 10**6, are_overdue=True)
    seller_id = ids[0][0]
    with psycopg.connect(url, autocommit=True) as connection:
        ((run_id,),) = connection.execute(
            """
            INSERT INTO cancellation_runs (dry_run, state, requested_by, cutoff)
            VALUES (false, 'RUNNING', 'benchmark', now()) RETURNING run_id
            """
        ).fetchall()
    own = sorted(order_id for seller, order_id in ids if seller == seller_id)[:batch_size]
    values = {"run_id": run_id, "seller_id": seller_id, "order_ids": own, "cutoff": datetime.now(UTC), "actor": "x"}
    return _explained(url, CANCEL_ORDERS, values | {"seen_only": False})


def _explained(url: str, statement: LiteralString, parameters: dict[str, Any]) -> Sequence[str]:
    with psycopg.connect(conninfo(Settings(database_url=url))) as connection:
        connection.execute("SET ROLE manage_orders_operator")
        explain: LiteralString = f"EXPLAIN (ANALYZE, BUFFERS, COSTS OFF) {statement}"
        rows = connection.execute(explain, parameters).fetchall()
        connection.rollback()
    return [line for (line,) in rows]

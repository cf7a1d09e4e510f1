"""Work a long file of confirmations, killed in the middle, beside the bare statements: `python -m tests.batch_soak`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import LiteralString

import click
import psycopg
from psycopg.conninfo import make_conninfo

from service.confirmation_batches.actions import create_batch
from service.confirmation_batches.jobs import work_batches
from service.confirmation_batches.row_schemas import read_flat_batch
from service.database import Database, upgrade_schema
from service.embedded import EmbeddedServer
from service.sandbox.actions import enter_sandbox, move_clock
from service.sellers.queries import insert_seller
from service.settings import Settings
from tests.batch_plans import HEADER, Plan, cells_of, check, make_plan, receive
from tests.conftest import NOW, order_document
from tests.invariants import broken_invariants


def start_confirming(settings: Settings, seller_id: str, file: Path) -> subprocess.Popen[bytes]:
    """Start `manage-orders confirm` on a file."""
    return subprocess.Popen(
        [sys.executable, "-m", "service.cli", "confirm", str(file), "--seller", seller_id],
        env=os.environ | {"DATABASE_URL": settings.database_url, "MANAGE_ORDERS_SANDBOX": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def count_worked(owner: psycopg.Connection, seller_id: str) -> int:
    """Return how many of a seller's rows were confirmed by files."""
    row = owner.execute(
        "SELECT count(*) FROM confirmation_batch_rows WHERE seller_id = %s AND result = 'CONFIRMED'", (seller_id,)
    ).fetchone()
    return row[0] if row else 0


def kill_in_the_middle(owner: psycopg.Connection, process: subprocess.Popen[bytes], seller_id: str, after: int) -> int:
    """Kill a process once so many rows are confirmed; return how many there were in the end."""
    deadline = time.monotonic() + 60
    while count_worked(owner, seller_id) < after:
        assert process.poll() is None, "it was done before it was killed"
        assert time.monotonic() < deadline, "it does not get on"
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return count_worked(owner, seller_id)


def work_to_the_end(database: Database, owner: psycopg.Connection) -> None:
    """Run the job until every file is done: what a killed process held is open a moment later."""
    deadline = time.monotonic() + 600
    while owner.execute("SELECT 1 FROM confirmation_batches WHERE state = 'RUNNING' LIMIT 1").fetchone():
        assert time.monotonic() < deadline, "it does not get done"
        work_batches(database, settled_outside=True)


_BARE: Sequence[LiteralString] = (
    "SELECT version FROM orders WHERE seller_id = %(seller_id)s AND order_id = %(order_id)s FOR UPDATE",
    "SELECT app_now()",
    """
    INSERT INTO packages (seller_id, order_id, package_reference_id, created_time, package_status)
    VALUES (%(seller_id)s, %(order_id)s, '1', now(), 'SHIPPED')
    """,
    """
    INSERT INTO package_items (seller_id, order_id, package_reference_id, order_item_id, quantity)
    SELECT seller_id, order_id, '1', order_item_id, quantity_ordered FROM order_items
    WHERE seller_id = %(seller_id)s AND order_id = %(order_id)s
    """,
    """
    INSERT INTO charges (
        seller_id, order_id, amount, currency_code, charge_status, settled_outside, charged_time, requested_time
    ) VALUES (%(seller_id)s, %(order_id)s, 50, 'USD', 'SUCCEEDED', true, now(), now())
    """,
    """
    UPDATE order_items SET quantity_fulfilled = quantity_ordered
    WHERE seller_id = %(seller_id)s AND order_id = %(order_id)s
    """,
    """
    UPDATE orders SET fulfillment_status = 'SHIPPED', payment_status = 'CHARGED', confirmed_time = now(),
        shipped_time = now(), version = 2
    WHERE seller_id = %(seller_id)s AND order_id = %(order_id)s
    """,
    """
    INSERT INTO order_events (
        seller_id, order_id, version, event_type, event_time, actor, details, ship_by_sort, confirm_by_sort,
        grand_total_sort
    )
    SELECT seller_id, order_id, 2, 'SHIPMENT_CONFIRMED', now(), 'bare', '{}', ship_by_sort, confirm_by_sort,
        grand_total_sort
    FROM orders WHERE seller_id = %(seller_id)s AND order_id = %(order_id)s
    """,
)


def bare_rate(url: str, seller_id: str, order_ids: Sequence[str]) -> float:
    """Confirm orders by the bare statements, a transaction each; return how many a second."""
    with psycopg.connect(url, autocommit=True, prepare_threshold=1) as connection:
        started = time.perf_counter()
        for order_id in order_ids:
            with connection.transaction():
                for statement in _BARE:
                    connection.execute(statement, {"seller_id": seller_id, "order_id": order_id})
        return len(order_ids) / (time.perf_counter() - started)


def batch_rate(
    database: Database, owner: psycopg.Connection, seller_id: str, order_ids: Sequence[str]
) -> tuple[float, float]:
    """Confirm the same orders by a file; return how many rows a second are taken in, and worked by one worker."""
    lines = ["\t".join(HEADER), *("\t".join(cells_of(order_id)) for order_id in order_ids)]
    started = time.perf_counter()
    columns, rows = read_flat_batch("\n".join(lines).encode())
    create_batch(database, seller_id, "test", columns, rows)
    taken = time.perf_counter()
    work_to_the_end(database, owner)
    return len(order_ids) / (taken - started), len(order_ids) / (time.perf_counter() - taken)


@click.command()
@click.option("--rows", default=10_000, help="Rows of the file.")
def main(rows: int) -> None:
    """Kill a worker in the middle of a file, resume, send it again, and compare the speed with the bare statements."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="manage-orders-soak-")))
        server = os.environ.get("TEST_DATABASE_URL")
        if server is None:
            server = stack.enter_context(EmbeddedServer(directory / "data")).url
        name = f"manage_orders_batch_soak_{os.getpid()}"
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        settings = Settings(database_url=make_conninfo(server, dbname=name), sandbox=True)
        try:
            upgrade_schema(settings.database_url)
            _soak(settings, directory, rows)
        finally:
            with psycopg.connect(server, autocommit=True) as connection:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def _soak(settings: Settings, directory: Path, rows: int) -> None:
    plan, speed = make_plan(rows), Plan(b"", [order_document() for _ in range(rows // 5)])
    owner = psycopg.connect(settings.database_url, autocommit=True)
    with Database(settings, pool_size=4).closing() as database, owner:
        enter_sandbox(database)
        move_clock(database, NOW)
        for seller_id, each in (("KILLED", plan), ("CALM", plan), ("BARE", speed), ("FILE", speed)):
            with database.operator_transaction() as connection:
                insert_seller(connection, seller_id, seller_id)
            receive(database, owner, seller_id, each)
        owner.execute("VACUUM ANALYZE")
        file = directory / "confirmations.tsv"
        file.write_bytes(plan.file)
        killed = kill_in_the_middle(owner, start_confirming(settings, "KILLED", file), "KILLED", rows // 2)
        click.echo(f"killed after {killed} of {rows} rows were confirmed")
        work_to_the_end(database, owner)
        for _ in range(2):
            assert start_confirming(settings, "CALM", file).wait() == 3
        check(owner, plan, "KILLED", "CALM")
        order_ids = [order["orderId"] for order in speed.orders]
        bare = bare_rate(settings.database_url, "BARE", order_ids)
        taken, worked = batch_rate(database, owner, "FILE", order_ids)
        click.echo(f"{taken:.0f} rows/s taken in, {worked:.0f} rows/s worked, {bare:.0f}/s by the bare statements")
        click.echo(f"ratio {worked / bare:.2f}")
        with database.operator_transaction() as connection:
            broken = broken_invariants(connection)
        assert not {name: found for name, found in broken.items() if {row[0] for row in found} != {"BARE"}}, broken


if __name__ == "__main__":
    main()

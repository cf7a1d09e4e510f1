"""An empty sandbox in which a sweep is watched."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import LiteralString

import orjson
import psycopg
import pytest

from service.cancellation_job import queries
from service.cancellation_job.actions import sweep
from service.cancellation_job.ledger import CancellationRun
from service.cancellation_job.rules import SweepOptions
from service.cancellation_job.run_queries import RunFilters, find_runs
from service.database import Database
from service.ingest.actions import receive_orders
from service.ingest.rules import Outcome
from service.ingest.schemas import read_line
from service.sandbox.actions import move_clock
from tests.conftest import LIFTED, NOW, SELLER, order_document

STUCK_AFTER_S = 60


@dataclass(frozen=True)
class Scene:
    """An empty sandbox, and what a test does in it."""

    database: Database
    owner: psycopg.Connection

    def set_clock(self, now: datetime) -> None:
        """Move the sandbox clock."""
        move_clock(self.database, now)

    def receive(self, count: int = 1, seller_id: str = SELLER, **changes: object) -> list[str]:
        """Receive so many alike orders at `NOW`, and return their ids."""
        self.set_clock(NOW)
        documents = [order_document(**changes) | {"sellerId": seller_id} for _ in range(count)]
        incoming = [read_line(orjson.dumps(document)) for document in documents]
        with self.database.operator_transaction() as connection:
            outcomes = receive_orders(connection, incoming, "test")
        assert set(outcomes) == {Outcome.CREATED}
        return [order.order_id for order in incoming]

    def set_deadline(self, order_id: str, confirm_by: datetime) -> None:
        """Give an order another deadline."""
        self.owner.execute("UPDATE orders SET confirm_by = %s WHERE order_id = %s", [confirm_by, order_id])

    def sweep(self, *, batch_size: int = 1000, options: SweepOptions = LIFTED) -> CancellationRun:
        """Sweep by hand."""
        run = sweep(self.database, requested_by="test", options=replace(options, batch_size=batch_size))
        assert run is not None
        return run

    @contextmanager
    def sweeping_while_locked(self, order_id: str) -> Generator[Future[CancellationRun]]:
        """Hold the lock of an order, and start a sweep that comes to wait for it; the lock goes at the end."""
        with ThreadPoolExecutor(1) as threads, self.owner.transaction():
            self.lock(order_id)
            sweeping = threads.submit(self.sweep)
            until = time.monotonic() + STUCK_AFTER_S
            while self.owner.execute(_SOMEBODY_WAITS).fetchone() != (True,):
                assert time.monotonic() < until, "nobody waits"
                time.sleep(0.005)
            yield sweeping

    def lock(self, order_id: str) -> None:
        """Take the lock of an order, until the transaction ends."""
        self.owner.execute("SELECT order_id FROM orders WHERE order_id = %s FOR UPDATE", [order_id])

    def statuses(self) -> dict[str, str]:
        """Return the status of every order."""
        return dict(self.owner.execute("SELECT order_id, fulfillment_status FROM orders").fetchall())

    def runs(self) -> list[CancellationRun]:
        """Return the ledger, the newest run first."""
        with self.database.operator_transaction() as connection:
            return find_runs(connection, RunFilters(), None, 1000)


_SOMEBODY_WAITS: LiteralString = """
SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND pg_blocking_pids(pid) @> ARRAY[pg_backend_pid()])
"""


def interrupt(monkeypatch: pytest.MonkeyPatch, name: str, action: Callable[[], object]) -> None:
    """Have something happen before the first call of one of the sweep's queries."""
    original: Callable[..., object] = getattr(queries, name)
    actions = [action]

    def interrupted(*args: object, **options: object) -> object:
        if actions:
            actions.pop()()
        return original(*args, **options)

    monkeypatch.setattr(queries, name, interrupted)

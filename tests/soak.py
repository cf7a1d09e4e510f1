"""Kill `manage-orders up` under load, and see that nothing acknowledged is lost: `python -m tests.soak`."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.client import HTTPException
from pathlib import Path
from typing import Any

import click
import psycopg

from tests.invariants import broken_invariants
from tests.replay import Call, caller_over_http

SELLER = "DEMO-NORTH"
ROOT = Path(__file__).resolve().parent.parent
# What a client sees of a service that is killed while it answers.
GONE = (OSError, HTTPException, json.JSONDecodeError)


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass(slots=True)
class Up:
    """A running `manage-orders up`."""

    process: subprocess.Popen[str]
    directory: Path
    api: str
    output: str

    @property
    def tokens(self) -> dict[str, str]:
        """Return the demo tokens, by owner."""
        return json.loads((self.directory / "keys.json").read_text())["tokens"]

    @property
    def operator(self) -> Call:
        """Return a function that calls the API as an operator."""
        return caller_over_http(self.api, self.tokens["operator"])

    def kill(self) -> None:
        """Kill it without warning."""
        self.process.kill()
        self.process.communicate()


@contextmanager
def running_up(directory: Path, port: int, working_directory: Path = ROOT) -> Generator[Up]:
    """Start `manage-orders up` and wait for its banner; interrupt it at the end if it still runs."""
    environment = os.environ | {"MANAGE_ORDERS_DATA": str(directory), "MANAGE_ORDERS_PORT": str(port)}
    environment.pop("DATABASE_URL", None)
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "service.cli", "up"],
        env=environment | {"PYTHONPATH": str(ROOT)},
        cwd=working_directory,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if "Ctrl-C" in line:
            break
    else:
        raise RuntimeError(f"`up` ended with {process.wait()}: {''.join(lines)}")
    try:
        yield Up(process, directory, f"http://127.0.0.1:{port}", "".join(lines))
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def processes_of(directory: Path) -> list[str]:
    """Return the command lines of the processes that name the data directory, or were started with it."""
    found: list[str] = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            surroundings = (entry / "environ").read_bytes().decode(errors="replace")
        except (OSError, ValueError):
            continue
        if int(entry.name) != os.getpid() and str(directory) in command + surroundings:
            found.append(command)
    return found


def wait_until_gone(directory: Path, limit_s: float = 30) -> list[str]:
    """Return the processes of a killed `up` that are still there after some time: none, if all is well."""
    deadline = time.monotonic() + limit_s
    while (left := processes_of(directory)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


@dataclass(slots=True)
class Journal:
    """What the service has acknowledged to its client."""

    received: list[str] = field(default_factory=list[str])
    confirmed: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    cancelled: int = 0
    unacknowledged: int = 0


@dataclass(slots=True)
class Load:
    """A client that brings orders in, confirms them in two packages and sweeps, from several threads."""

    journal: Journal = field(default_factory=Journal)
    stopped: threading.Event = field(default_factory=threading.Event)
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    faults: list[str] = field(default_factory=list[str])

    @contextmanager
    def on(self, up: Up, threads: int = 4) -> Generator[None]:
        """Put the load on a running service."""
        self.stopped.clear()
        workers = [threading.Thread(target=self._work, args=(up.operator,)) for _ in range(threads)]
        workers.append(threading.Thread(target=self._sweep, args=(up.operator,)))
        for worker in workers:
            worker.start()
        try:
            yield
        finally:
            self.stopped.set()
            for worker in workers:
                worker.join()

    def _work(self, call: Call) -> None:
        while not self.stopped.is_set():
            number = next(self.numbers)
            order_id = f"SOAK-{number:08d}"
            try:
                overdue = number % 5 == 0
                self._expect(call("POST", "/v1/orders", _order(order_id, overdue=overdue), sellerId=SELLER), 201)
                self.journal.received.append(order_id)
                if overdue:
                    continue
                for package, items in (("1", [{"orderItemId": "1", "quantity": 1}]), ("2", None)):
                    path = f"/v1/orders/{order_id}/shipment-confirmations"
                    self._expect(call("POST", path, _confirmation(package, items), sellerId=SELLER), 201)
                    self.journal.confirmed.append((order_id, package))
            except GONE:
                self.journal.unacknowledged += 1
                time.sleep(0.02)

    def _sweep(self, call: Call) -> None:
        while not self.stopped.wait(0.05):
            try:
                run = self._expect(call("POST", "/v1/cancellation-runs", {}), 201)
                self.journal.cancelled += run.get("cancelledCount", 0)
            except GONE:
                self.journal.unacknowledged += 1

    def _expect(self, answer: tuple[int, dict[str, Any]], status: int) -> dict[str, Any]:
        if answer[0] == 503:
            raise ConnectionError("the database is going down")
        if answer[0] != status:
            self.faults.append(f"expected {status}, but was answered {answer}")
        return answer[1]

    def losses(self, up: Up) -> list[str]:
        """Return what was acknowledged and is not there."""
        url = json.loads((up.directory / "running.json").read_text())["databaseUrl"]
        with psycopg.connect(url, options="-c role=manage_orders_operator") as connection:
            orders = {row[0] for row in connection.execute("SELECT order_id FROM orders")}
            packages = set(connection.execute("SELECT order_id, package_reference_id FROM packages").fetchall())
            (cancelled,) = connection.execute(
                "SELECT count(*) FROM orders WHERE cancel_reason = 'NOT_CONFIRMED_IN_TIME'"
            ).fetchone() or (0,)
            broken = broken_invariants(connection)
        lost = [f"order {order_id}" for order_id in self.journal.received if order_id not in orders]
        lost += [f"confirmation {key}" for key in self.journal.confirmed if key not in packages]
        if cancelled < self.journal.cancelled:
            lost.append(f"{self.journal.cancelled - cancelled} cancellations")
        return lost + [f"invariant: {name}: {rows}" for name, rows in broken.items()] + self.faults


def _order(order_id: str, *, overdue: bool) -> dict[str, Any]:
    ship_by = datetime.now(UTC) + timedelta(days=-60 if overdue else 1)
    return {
        "orderId": order_id,
        "createdTime": (ship_by - timedelta(days=2)).isoformat(),
        "salesChannel": {"channelName": "AMAZON", "marketplaceId": "ATVPDKIKX0DER"},
        "proceeds": {"grandTotal": {"amount": "30.00", "currencyCode": "USD"}},
        "fulfillment": {
            "fulfillmentStatus": "UNSHIPPED",
            "fulfilledBy": "MERCHANT",
            "shipByWindow": {"latestDateTime": ship_by.isoformat()},
        },
        "orderItems": [
            {"orderItemId": str(number), "quantityOrdered": 1, "product": {"sellerSku": f"SKU-{number}"}}
            for number in (1, 2)
        ],
    }


def _confirmation(package: str, items: list[dict[str, Any]] | None) -> dict[str, Any]:
    confirmation: dict[str, Any] = {
        "packageReferenceId": package,
        "carrierCode": "UPS",
        "shipDate": datetime.now(UTC).isoformat(),
    }
    return confirmation | ({} if items is None else {"orderItems": items})


def kill_under_load(directory: Path, kills: int, seconds_between: float) -> tuple[Journal, list[str]]:
    """Kill `up` as often as told, each time under load; return the journal and everything that went wrong."""
    load, port, wrong = Load(), free_port(), list[str]()
    for _ in range(kills):
        with running_up(directory, port) as up, load.on(up):
            time.sleep(random.uniform(0.5, 1.5) * seconds_between)  # noqa: S311  # any moment will do
            up.kill()
        wrong += [f"left running: {command}" for command in wait_until_gone(directory)]
    with running_up(directory, port) as up:
        wrong += load.losses(up)
    return load.journal, wrong


@click.command()
@click.option("--kills", default=10, show_default=True)
@click.option("--seconds-between", default=5.0, show_default=True)
def main(kills: int, seconds_between: float) -> None:
    """Kill `manage-orders up` under load, and look for anything lost or left running."""
    with tempfile.TemporaryDirectory() as directory:
        journal, wrong = kill_under_load(Path(directory) / "data", kills, seconds_between)
    click.echo(
        f"{kills} kills: {len(journal.received)} orders, {len(journal.confirmed)} confirmations and "
        f"{journal.cancelled} cancellations acknowledged, {journal.unacknowledged} calls cut off"
    )
    for line in wrong:
        click.echo(line, err=True)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()

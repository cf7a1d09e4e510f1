"""Kill and stop four schedulers for a thousand slots, and judge what they leave: `python -m tests.sweep_soak`."""

from __future__ import annotations

import math
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import click
import psycopg
from psycopg.conninfo import make_conninfo

from service.database import Database, upgrade_schema
from service.embedded import EmbeddedServer
from service.sandbox.actions import enter_sandbox
from service.settings import Settings
from tests.drill import INTERVAL_S, scheduler_environment, start_scheduler
from tests.sweep_ledger import count_slots, describe, find_faults
from tests.sweep_orders import Sellers, plan_orders

PLACES = 4
# Of a soak's few open orders all may be due.
LIFTED = {
    "MANAGE_ORDERS_MAX_SWEEP_ORDERS": "1000000",
    "MANAGE_ORDERS_MAX_SWEEP_PERCENT": "100",
    "MANAGE_ORDERS_MAX_SELLER_SWEEP_PERCENT": "100",
}
ORDERS_A_SLOT = 10
# Schedulers begin, and orders come in, before the first slot that counts.
LEAD_S = 4
REST_LIMIT_S = 90
# A sweep begins a quarter of a short slot after the slot, and takes about so long when it finds a few orders.
SWEEP_BEGINS_S, SWEEP_TAKES_S = 0.25 * INTERVAL_S, 0.08
TOLD_EVERY = 100


@dataclass(frozen=True, slots=True)
class Stroke:
    """A scheduler is killed and started anew after some time, or stopped and continued after it."""

    at_s: float
    place: int
    number: signal.Signals
    lasting_s: float

    @property
    def until_s(self) -> float:
        """Return when it is over."""
        return self.at_s + self.lasting_s


def plan_strokes(chooser: random.Random, seconds: int) -> list[Stroke]:
    """Return the strokes of so many seconds: each scheduler's own, and those that hit all of them at once."""
    strokes: list[Stroke] = []
    for middle in range(60, seconds - 10, 120):
        at_s, lasting_s = middle + chooser.uniform(-30, 30), chooser.uniform(1, 6)
        strokes += [Stroke(at_s, place, signal.SIGKILL, lasting_s) for place in range(PLACES)]
    outages = strokes[::PLACES]
    for place in range(PLACES):
        at_s = 0.0
        while (at_s := _moment(chooser, at_s + chooser.expovariate(1 / 10))) < seconds - 2:
            stroke = _stroke(chooser, place, at_s)
            at_s = stroke.until_s + 1
            if not any(each.at_s - 1 < stroke.until_s and stroke.at_s < each.until_s + 1 for each in outages):
                strokes.append(stroke)
    return strokes


def _moment(chooser: random.Random, at_s: float) -> float:
    """Return the moment, or one nearby at which a sweep is under way."""
    if chooser.random() < 1 / 3:
        return at_s
    return math.floor(at_s) + SWEEP_BEGINS_S + chooser.uniform(0, SWEEP_TAKES_S)


def _stroke(chooser: random.Random, place: int, at_s: float) -> Stroke:
    if chooser.random() < 1 / 2:
        return Stroke(at_s, place, signal.SIGKILL, chooser.choice((0.0, 0.0, chooser.uniform(1, 4))))
    # From 0.2 to 20 seconds, short ones as often as long ones.
    return Stroke(at_s, place, signal.SIGSTOP, 0.2 * 100 ** chooser.random())


@dataclass
class Fleet:
    """The scheduler processes, each at its place."""

    start: Callable[[], subprocess.Popen[bytes]]
    begun_s: float
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list[subprocess.Popen[bytes]])
    faults: list[str] = field(default_factory=list[str])

    @contextmanager
    def running(self, places: int) -> Generator[None]:
        """Start so many, and end them in order."""
        try:
            self.processes += [self.start() for _ in range(places)]
            yield
        finally:
            for process in self.processes:
                process.send_signal(signal.SIGCONT)
                process.terminate()
            for process in self.processes:
                process.wait(60)

    def suffer(self, strokes: Sequence[Stroke], tell: Callable[[float], None] = lambda _: None) -> None:
        """Take the strokes one after the other, each at its moment."""
        moments = [(stroke.at_s, stroke, self._begin) for stroke in strokes]
        moments += [(stroke.until_s, stroke, self._finish) for stroke in strokes]
        for at_s, stroke, act in sorted(moments, key=lambda moment: moment[0]):
            self.wait_until(at_s)
            act(stroke)
            tell(at_s)

    def wait_until(self, second: float) -> None:
        """Wait until so many seconds after the beginning."""
        time.sleep(max(0.0, self.begun_s + second - time.monotonic()))

    def _begin(self, stroke: Stroke) -> None:
        process = self.processes[stroke.place]
        if process.poll() is not None:
            self.faults.append(f"a scheduler ended by itself, with {process.returncode}")
        process.send_signal(stroke.number)
        if stroke.number is signal.SIGKILL:
            process.wait()

    def _finish(self, stroke: Stroke) -> None:
        if stroke.number is signal.SIGKILL:
            self.processes[stroke.place] = self.start()
        else:
            self.processes[stroke.place].send_signal(signal.SIGCONT)


def soak(
    settings: Settings,
    database: Database,
    owner: psycopg.Connection,
    log: Path,
    *,
    seconds: int,
    places: int,
    strokes: Sequence[Stroke],
    seed: int = 0,
    tell: Callable[[float], None] = lambda _: None,
) -> list[str]:
    """Let orders fall due for so many seconds while schedulers suffer; return all that went wrong."""
    orders = plan_orders(random.Random(seed), seconds * ORDERS_A_SLOT, seconds)  # noqa: S311  # any will do
    sellers = Sellers(database, orders)
    sellers.receive()
    # Slots begin with the seconds of the clock on the wall.
    begun_s = time.monotonic() + LEAD_S + 1 - time.time() % 1
    sellers.set_deadlines(owner, begun_s, seconds)
    environment = scheduler_environment(settings.database_url, MANAGE_ORDERS_SANDBOX="1", **LIFTED)
    fleet = Fleet(lambda: start_scheduler(environment, log), begun_s)
    with fleet.running(places):
        with sellers.at_work():
            fleet.suffer(strokes, tell)
            fleet.wait_until(seconds)
        came_to_rest = _wait_for_success(owner)
    faults = fleet.faults + find_faults(owner, sellers.expected())
    if len(count_slots(owner)) < seconds:
        faults.append(f"only {len(count_slots(owner))} of {seconds} slots are recorded")
    return faults if came_to_rest else [*faults, "no run has succeeded since"]


def _wait_for_success(owner: psycopg.Connection) -> bool:
    """Wait for a run that begins from now on to leave nothing behind; return False if none does in time."""
    (now,) = owner.execute("SELECT app_now()").fetchone() or (None,)
    deadline, waiting = time.monotonic() + REST_LIMIT_S, threading.Event()
    while not owner.execute(
        "SELECT 1 FROM cancellation_runs WHERE state = 'SUCCEEDED' AND cutoff >= %s", (now,)
    ).fetchone():
        if time.monotonic() > deadline:
            return False
        waiting.wait(0.1)
    return True


@click.command()
@click.option("--slots", default=1000, show_default=True)
@click.option("--seed", default=0, help="Other strokes, and other orders.")
def main(slots: int, seed: int) -> None:
    """Kill and stop four schedulers at random for so many slots, and look for anything double, early or missed."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="manage-orders-soak-")))
        server = os.environ.get("TEST_DATABASE_URL")
        if server is None:
            server = stack.enter_context(EmbeddedServer(directory / "data")).url
        name = f"manage_orders_sweep_soak_{os.getpid()}"
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        try:
            faults = _soak(make_conninfo(server, dbname=name), directory, slots, seed)
        finally:
            with psycopg.connect(server, autocommit=True) as connection:
                connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
    for fault in faults:
        click.echo(fault, err=True)
    click.echo(f"{len(faults)} faults")
    sys.exit(1 if faults else 0)


def _soak(url: str, directory: Path, slots: int, seed: int) -> list[str]:
    strokes = plan_strokes(random.Random(seed), slots * INTERVAL_S)  # noqa: S311  # any moments will do
    kills = sum(stroke.number is signal.SIGKILL for stroke in strokes)
    click.echo(f"{PLACES} schedulers, {slots} slots, {kills} kills, {len(strokes) - kills} stops")
    upgrade_schema(url)
    settings = Settings(database_url=url, sandbox=True)
    with psycopg.connect(url, autocommit=True) as owner, Database(settings, pool_size=4).closing() as database:
        enter_sandbox(database)
        faults = soak(
            settings,
            database,
            owner,
            directory / "log",
            seconds=slots * INTERVAL_S,
            places=PLACES,
            strokes=strokes,
            seed=seed,
            tell=_progress(owner),
        )
        for line in describe(owner):
            click.echo(line)
    return faults


def _progress(owner: psycopg.Connection) -> Callable[[float], None]:
    told = TOLD_EVERY

    def tell(second: float) -> None:
        nonlocal told
        if second >= told * INTERVAL_S:
            click.echo(f"{told} slots: {', '.join(describe(owner))}")
            told += TOLD_EVERY

    return tell


if __name__ == "__main__":
    main()

"""Pings: a dead-man's switch hears of every sweep, and no sweep hears of its troubles."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psycopg
import pytest
import structlog.testing

from service import pings
from service.cancellation_job.control_actions import pause_job
from service.cancellation_job.jobs import run_scheduled_sweep
from service.cancellation_job.rules import ClockWatch, Limits, SweepOptions
from service.database import Database
from service.pings import MOST_WAITING, Pings, sending_pings
from service.settings import Settings, SettingsError
from tests.conftest import CONFIRM_BY
from tests.soak import free_port
from tests.test_cli import wait_for


class Switch(ThreadingHTTPServer):
    """A dead-man's switch that keeps what it is told."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.heard: queue.Queue[tuple[str, str]] = queue.Queue()
        self.answers = threading.Event()
        self.answers.set()
        self.status = 200

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Switch  # pyright: ignore[reportIncompatibleVariableOverride]  # no other makes this handler

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.heard.put((self.path, body))
        self.server.answers.wait(10)
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, *_: object) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]  # says nothing
        pass


@contextmanager
def listening() -> Generator[Switch]:
    with Switch() as switch:
        threading.Thread(target=switch.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield switch
        finally:
            switch.answers.set()
            switch.shutdown()


@pytest.mark.parametrize(
    ("url", "paths"),
    [
        ("/ping/uuid", ["/ping/uuid/start", "/ping/uuid", "/ping/uuid/fail"]),
        ("/ping/uuid/", ["/ping/uuid/start", "/ping/uuid/", "/ping/uuid/fail"]),
        ("/push?key=a%2Fb&x=/", ["/push/start?key=a%2Fb&x=/", "/push?key=a%2Fb&x=/", "/push/fail?key=a%2Fb&x=/"]),
        ("", ["/start", "/", "/fail"]),
    ],
)
def test_every_address_can_be_pinged(url: str, paths: list[str]) -> None:
    with listening() as switch:
        # What waits at the end is still sent.
        with sending_pings(switch.url + url) as ping:
            for event in ("start", "", "fail"):
                ping(event, "told")
        assert [switch.heard.get(timeout=5) for _ in paths] == [(path, "told") for path in paths]


def test_without_an_address_nothing_is_sent() -> None:
    before = threading.active_count()
    with sending_pings("") as ping:
        ping("start", "told")
        assert threading.active_count() == before


@pytest.mark.parametrize("url", ["http://", "https:///path", "http://[::1"])
def test_an_address_that_is_none_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(SettingsError, match="MANAGE_ORDERS_PING_URL"):
        Pings(url)


def test_a_switch_that_is_away_slow_or_refuses_is_told_of_in_the_log_without_its_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pings, "CALL_LIMIT_S", 0.2)
    with structlog.testing.capture_logs() as logs, listening() as switch:
        with sending_pings(f"http://127.0.0.1:{free_port()}/secret") as ping:
            ping("", "told")
        switch.status = 404
        with sending_pings(f"{switch.url}/secret") as ping:
            ping("", "told")
        switch.answers.clear()
        # Broken by the timeouts of httpx, which are of each wait, and by a queue that is waited for.
        with sending_pings(f"{switch.url}/secret") as ping:
            for _ in range(MOST_WAITING + 2):
                ping("", "told")
            wait_for(lambda: any(log["reason"] == "TimeoutError" for log in logs))
            switch.answers.set()
    reasons = {log["reason"] for log in logs}
    assert reasons == {"ConnectError", "status 404", "TimeoutError", "those before it are still waiting"}
    assert "secret" not in str(logs)


Sweep = Callable[..., list[tuple[str, str]]]


@pytest.fixture
def sweep(database: Database, owner: psycopg.Connection) -> Sweep:
    """Return a function that works a slot as a scheduler does, and returns the events and texts of its pings."""

    def run(max_orders: int = 5000, using: Database = database) -> list[tuple[str, str]]:
        owner.execute("UPDATE cancellation_runs SET slot = slot - interval '1 day'")
        told: list[tuple[str, str]] = []
        options = SweepOptions(limits=Limits(max_orders=max_orders))
        run_scheduled_sweep(
            using, "scheduler:test", options, ClockWatch(), lambda event, text: told.append((event, text))
        )
        return told

    return run


def test_each_run_pings_how_it_went(
    sweep: Sweep, received: dict[str, str], set_clock: Callable[[object], object]
) -> None:
    del received
    set_clock(CONFIRM_BY)
    (begun, began), (held, text) = sweep(max_orders=0)
    assert (begun, began.split()[:3], held, text.split()[:3]) == (
        "start",
        ["RUNNING", "0", "0"],
        "fail",
        ["HELD", "0", "1"],
    )
    assert began.split()[3] == text.split()[3]  # of one run
    assert [(event, text.split()[:3]) for event, text in sweep()[1:]] == [("", ["SUCCEEDED", "1", "1"])]


def test_a_scheduler_without_a_slot_is_silent_and_one_without_a_database_is_not(
    sweep: Sweep, database: Database
) -> None:
    run_scheduled_sweep(database, "scheduler:other", SweepOptions(interval_s=3600), ClockWatch())
    told: list[tuple[str, str]] = []
    run_scheduled_sweep(
        database,
        "scheduler:test",
        SweepOptions(interval_s=3600),
        ClockWatch(),
        lambda event, text: told.append((event, text)),
    )
    assert told == []
    nowhere = Settings(database_url=f"postgresql://127.0.0.1:{free_port()}/orders", pool_timeout_ms=100)
    with Database(nowhere, pool_size=1).closing() as away:
        assert sweep(using=away) == [("fail", "FAILED")]


def test_a_paused_job_is_well(sweep: Sweep, database: Database) -> None:
    pause_job(database, reason="a test", until=datetime.now(UTC) + timedelta(hours=1), actor="token:test")
    assert [(event, text.split()[0]) for event, text in sweep()] == [("start", "RUNNING"), ("", "PAUSED")]

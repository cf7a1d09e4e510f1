"""The scheduler process: when it sweeps, how it shows that it lives, and how it ends."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import structlog.testing
from apscheduler.events import EVENT_JOB_ERROR, EVENT_JOB_EXECUTED, JobEvent

from service import heart
from service.database import Database
from service.heart import COUNTED_EVENTS, Heart
from service.scheduler import slot_trigger
from service.settings import Settings
from tests.soak import free_port
from tests.test_cli import wait_for
from tests.test_watchdog import ask

PROBE = """
import json, sys
from service.logs import configure_logs
from service.scheduler import run_scheduler
from service.settings import Settings
configure_logs("INFO")
run_scheduler(Settings(**json.loads(sys.argv[1])))
"""


NOW = datetime(2026, 3, 2, 12, 0, 30, 500_000, UTC)


@pytest.mark.parametrize(
    ("interval_s", "first"),
    [
        (60, datetime(2026, 3, 2, 12, 1, 1, tzinfo=UTC)),
        (1, datetime(2026, 3, 2, 12, 0, 31, 250_000, tzinfo=UTC)),
        (3600, datetime(2026, 3, 2, 13, 0, 1, tzinfo=UTC)),
    ],
)
def test_a_sweep_begins_a_little_after_each_slot_of_the_epoch(interval_s: int, first: datetime) -> None:
    """Broken by a schedule that counts from its start: it drifts over the edge of a slot, which then is missed."""
    trigger = slot_trigger(interval_s)
    assert trigger.get_next_fire_time(None, NOW) == first
    assert trigger.get_next_fire_time(first, NOW) == first + timedelta(seconds=interval_s)


def rows(owner: psycopg.Connection) -> list[tuple[Any, ...]]:
    return owner.execute(
        "SELECT scheduler_id, heartbeat_time, stopped_time, scheduler_events, started_time FROM schedulers ORDER BY 1"
    ).fetchall()


def test_a_heart_beats_with_what_it_counted_and_forgets_who_was_silent_for_a_week(
    database: Database, owner: psycopg.Connection
) -> None:
    first, second = Heart(database), Heart(database)
    first.beat()
    second.beat()
    ids = {first.scheduler.scheduler_id, second.scheduler.scheduler_id}
    assert len(ids) == 2  # one process, which may start anew with the number of another
    assert first.scheduler.scheduler_id.startswith(f"{socket.gethostname()}:{first.scheduler.process_id}:")
    ((before, *_),) = [row[1:] for row in rows(owner) if row[0] == first.scheduler.scheduler_id]
    for code in (EVENT_JOB_EXECUTED, EVENT_JOB_EXECUTED, EVENT_JOB_ERROR):
        first.count(JobEvent(code, "job", "default"))
    owner.execute("UPDATE schedulers SET heartbeat_time = heartbeat_time - interval '7 days 1 minute'")
    first.beat()
    ((scheduler_id, beat, stopped, events, started),) = rows(owner)
    assert (scheduler_id, stopped, beat > before) == (first.scheduler.scheduler_id, None, True)
    assert events == dict.fromkeys(COUNTED_EVENTS.values(), 0) | {"EXECUTED": 2, "ERROR": 1}
    second.beat()
    second.stop()
    ((_, _, stopped, _, started_anew),) = [row for row in rows(owner) if row[0] == second.scheduler.scheduler_id]
    # Broken by taking the time of the row for that of the process: it was forgotten, and lives.
    assert stopped is not None
    assert started_anew - started < timedelta(seconds=1) + (stopped - beat)
    assert started_anew < beat


def test_the_skew_is_measured_in_the_middle_of_the_round_trip(
    database: Database, owner: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def at(seconds: float) -> datetime:
        return datetime(2026, 3, 2, tzinfo=UTC) + timedelta(seconds=seconds)

    times: Iterator[datetime] = iter([at(0), at(2)])

    class HostClock(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # pyright: ignore[reportIncompatibleMethodOverride]  # enough here
            assert tz is UTC
            return next(times)

    monkeypatch.setattr(heart, "datetime", HostClock)

    def told(_: object) -> datetime:
        return at(-7200)

    monkeypatch.setattr(heart, "read_database_time", told)
    Heart(database).beat()
    assert owner.execute("SELECT clock_skew_ms FROM schedulers").fetchall() == [(-7_201_000,)]


def test_a_heart_without_a_database_says_so_and_goes_on() -> None:
    nowhere = Settings(database_url=f"postgresql://127.0.0.1:{free_port()}/orders", pool_timeout_ms=50)
    with Database(nowhere, pool_size=1).closing() as away, structlog.testing.capture_logs() as logs:
        mine = Heart(away)
        mine.beat()
        mine.stop()
    assert [log["event"] for log in logs] == ["heartbeat_failed"] * 2


def test_a_scheduler_shows_that_it_lives_until_it_is_told_to_end(
    database: Database, database_url: str, owner: psycopg.Connection, tmp_path: Path
) -> None:
    del database  # empty
    port, log = free_port(), tmp_path / "log"
    settings = {"database_url": database_url, "sandbox": True, "sweep_interval_s": 1, "scheduler_port": port}
    with log.open("wb") as stderr:
        process = subprocess.Popen([sys.executable, "-c", PROBE, json.dumps(settings)], stderr=stderr)
    try:
        wait_for(lambda: any(row[3]["EXECUTED"] for row in rows(owner)))
        assert ask(port) == (200, '{"status": "ok"}')
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(30)
    assert code == 0  # broken by a thread that is started before the signals are blocked
    ((scheduler_id, beat, stopped, _, started),) = rows(owner)
    assert started < beat <= stopped
    # The first one at once.
    runs = owner.execute("SELECT requested_by, state FROM cancellation_runs").fetchall()
    assert set(runs) == {(f"scheduler:{scheduler_id}", "SUCCEEDED")}
    events = [json.loads(line)["event"] for line in log.read_text().splitlines()]
    assert events[0] == "scheduler_started"
    assert events.count("scheduler_stopping") == 1
    assert set(events) == {"scheduler_started", "sweep_finished", "scheduler_stopping"}

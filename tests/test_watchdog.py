"""The watchdog, which ends a scheduler that hangs, and the liveness that tells of it before."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from unittest.mock import Mock

import pytest

from service.cli import run
from service.liveness import LivenessError, serving_liveness
from service.settings import Settings
from service.watchdog import STALLED, Watchdog
from tests.soak import free_port


class World:
    """A watchdog whose time is told to it, a look a step."""

    def __init__(self, interval_s: int = 60, limit_s: int = 900) -> None:
        self.now = 1000.0
        self.stopping = False
        self.watchdog = Watchdog(
            interval_s=interval_s, limit_s=limit_s, is_stopping=lambda: self.stopping, monotonic_s=lambda: self.now
        )

    def pass_s(self, seconds: float) -> None:
        for _ in range(round(seconds / self.watchdog.look_every_s)):
            self.now += self.watchdog.look_every_s
            self.watchdog.look()


@pytest.mark.parametrize(("interval_s", "patience_s"), [(60, 190), (1, 4), (3600, 10_810)])
def test_no_sweep_for_three_intervals_and_a_grace_is_a_stall(interval_s: int, patience_s: int) -> None:
    world = World(interval_s)
    world.pass_s(patience_s)
    assert world.watchdog.find_stall() is None
    world.pass_s(world.watchdog.look_every_s)
    assert world.watchdog.find_stall() == f"no sweep has begun for {patience_s + world.watchdog.look_every_s:.0f} s"
    with world.watchdog.sweeping():
        pass
    assert world.watchdog.find_stall() is None


def test_a_sweep_over_its_limit_is_a_stall_and_one_that_took_long_is_not_taken_for_silence() -> None:
    world = World()
    with world.watchdog.sweeping():
        world.pass_s(900)
        assert world.watchdog.find_stall() is None
        world.pass_s(1)
        assert world.watchdog.find_stall() == "a sweep has been running for 901 s"
    # Broken by counting from when it began: the next one has had no time to begin.
    assert world.watchdog.find_stall() is None


def test_a_sweep_that_raised_is_not_taken_for_running() -> None:
    world = World()
    with pytest.raises(KeyError), world.watchdog.sweeping():
        raise KeyError
    world.pass_s(191)
    assert world.watchdog.find_stall() == "no sweep has begun for 191 s"


def test_a_process_that_was_stopped_has_not_stalled() -> None:
    world = World()
    world.now += 3600  # SIGSTOP, or a closed lid
    world.watchdog.look()
    # Broken by comparing clocks: its sweep would never get the chance to begin.
    assert world.watchdog.find_stall() is None
    world.pass_s(191)
    assert world.watchdog.find_stall() is not None


def test_a_scheduler_that_is_stopping_begins_no_sweep_but_its_last_one_must_end() -> None:
    world = World()
    world.stopping = True
    world.pass_s(1000)
    assert world.watchdog.find_stall() is None
    with world.watchdog.sweeping():
        world.pass_s(901)
        assert world.watchdog.find_stall() is not None


def test_trouble_is_seen_at_half_the_limits() -> None:
    world = World()
    world.pass_s(96)
    assert (world.watchdog.find_stall(), world.watchdog.find_stall(0.5)) == (None, "no sweep has begun for 96 s")


# Each puts something in the way of a scheduler that sweeps every second and may take one for it. The database is none.
HANGS = {
    "a sweep has been running for": """
        import service.cancellation_job.jobs as jobs
        jobs.sweep = lambda *_, **__: threading.Event().wait()
    """,
    "the scheduler failed: RuntimeError": """
        import service.cancellation_job.jobs as jobs
        from apscheduler.triggers.interval import IntervalTrigger
        def fail(*_):
            raise RuntimeError
        def hang(*_, **__):
            IntervalTrigger.get_next_fire_time = fail
            threading.Event().wait()
        jobs.sweep = hang
        scheduler.SLOT_MARGIN_S = 0
    """,
    "no sweep has begun for": """
        from apscheduler.executors.pool import ThreadPoolExecutor
        submit = ThreadPoolExecutor.submit_job
        def lose(self, job, run_times):
            if "sweep" in job.id:
                raise RuntimeError("cannot schedule new futures")
            submit(self, job, run_times)
        ThreadPoolExecutor.submit_job = lose
        import service.watchdog
        service.watchdog.PATIENCE_INTERVALS = service.watchdog.GRACE_S = 0.5
    """,
}
PROBE = """
import sys, threading
from inspect import cleandoc
from service import scheduler
from service.logs import configure_logs
from service.settings import Settings
exec(cleandoc(sys.argv[1]))
configure_logs("CRITICAL")
scheduler.run_scheduler(Settings(database_url=sys.argv[2], sweep_interval_s=1, sweep_limit_s=1))
"""


@pytest.mark.parametrize("reason", HANGS)
def test_a_scheduler_that_no_longer_sweeps_ends(reason: str) -> None:
    """Broken by `sys.exit`, which a thread swallows, and by waiting for the threads of the jobs."""
    nowhere = f"postgresql://127.0.0.1:{free_port()}/orders"
    ended = subprocess.run(
        [sys.executable, "-c", PROBE, HANGS[reason], nowhere], capture_output=True, text=True, check=False, timeout=30
    )
    assert ended.returncode == STALLED, ended.stderr
    told = json.loads(ended.stderr.splitlines()[-1])
    assert (told["event"], told["level"]) == ("watchdog_ends_process", "critical")
    assert told["reason"].startswith(reason)
    # Where it hangs is the first thing to know.
    assert any(place.endswith(" run_scheduled_sweep") for place in told["where"]) == ("running" in reason)


def test_a_log_that_nobody_reads_keeps_no_process_alive() -> None:
    probe = """
import logging, threading
from service import watchdog
class Stuck(logging.Handler):
    def emit(self, record):
        threading.Event().wait()
logging.getLogger().addHandler(Stuck())
watchdog.LAST_WORDS_S = 0.1
watchdog.end_process("test")
"""
    ended = subprocess.run([sys.executable, "-c", probe], capture_output=True, check=False, timeout=30)
    assert ended.returncode == STALLED


@contextmanager
def serving(reason: str | None) -> Generator[int]:
    port = free_port()
    with serving_liveness("127.0.0.1", port, lambda: reason):
        yield port


def ask(port: int, path: str = "/health/live", method: str = "GET") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def test_the_liveness_is_the_watchdogs_judgement() -> None:
    with serving(None) as port:
        assert ask(port) == (200, '{"status": "ok"}')
        assert ask(port, method="HEAD") == (200, "")
        assert ask(port, "/health/live?verbose=1")[0] == 200
        assert ask(port, "/")[0] == ask(port, "/health/ready")[0] == 404
    with serving("no sweep has begun for 99 s") as port:
        status, body = ask(port)
        assert (status, json.loads(body)) == (503, {"status": "stalled", "reason": "no sweep has begun for 99 s"})


@pytest.mark.usefixtures("database")
def test_a_port_for_the_liveness_that_is_taken_is_told_with_its_setting(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(LivenessError) as refused, serving_liveness("127.0.0.1", port, lambda: None):
            pytest.fail("served")
        told = f"cannot listen on 127.0.0.1:{port} (Address already in use); "
        assert str(refused.value) == told + "set MANAGE_ORDERS_SCHEDULER_PORT to another port"

        # What says it is the command, in one line.
        monkeypatch.setattr("service.cli.run_scheduler", Mock(side_effect=refused.value))
        monkeypatch.setenv("DATABASE_URL", settings.database_url)
        assert (run(["scheduler"]), capsys.readouterr().err) == (1, f"manage-orders: {refused.value}\n")


def test_callers_that_say_nothing_or_nonsense_do_not_keep_others_waiting(capfd: pytest.CaptureFixture[str]) -> None:
    with serving(None) as port:
        callers = [socket.create_connection(("127.0.0.1", port)) for _ in range(8)]
        callers[0].sendall(b"\x00\xff\r\n\r\n")
        callers[1].sendall(b"GET /health/live HTTP/1.1\r\n")
        assert ask(port)[0] == 200
        for caller in callers:
            caller.close()
        assert ask(port)[0] == 200
    assert capfd.readouterr().err == ""

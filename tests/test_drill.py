"""The drill: each fault of the job shows by the right alert within three intervals, and goes when it is mended.

One scheduler process with slots of a second, watched through `/metrics` and the rules of `alerts.yml`. Broken by a job
that fails silently: by metrics that a process keeps for itself, by a watchdog that a hung thread escapes, and by a
sweep that believes any clock.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from service.app import create_app
from service.database import upgrade_schema
from service.embedded import EmbeddedServer
from service.sellers.actions import create_token
from service.sellers.queries import insert_seller
from service.settings import Settings
from service.watchdog import STALLED
from tests.conftest import SECRET_KEY, SELLER, ApiClient
from tests.contract import Contract
from tests.drill import (
    INTERVAL_S,
    TOLD_AFTERWARDS,
    DatabaseClock,
    Drill,
    kill,
    scheduler_environment,
    stopped_server,
)

MAX_ORDERS, LIMIT_S = 3, 6
ENVIRONMENT = {
    "MANAGE_ORDERS_MAX_SWEEP_ORDERS": str(MAX_ORDERS),
    "MANAGE_ORDERS_SWEEP_LIMIT_S": str(LIMIT_S),
    # A lock holds up a sweep for longer than the sweep may take.
    "MANAGE_ORDERS_LOCK_TIMEOUT_MS": "60000",
    "MANAGE_ORDERS_STATEMENT_TIMEOUT_MS": "60000",
}
# Loses the sweeps once there is a file, as an executor does whose threads are gone.
BREAKABLE = """
import sys
from pathlib import Path
from apscheduler.executors.pool import ThreadPoolExecutor
from service.cli import run
submit = ThreadPoolExecutor.submit_job
def lose(self, job, run_times):
    if "sweep" in job.id and Path(sys.argv[1]).exists():
        raise RuntimeError("cannot schedule new futures after shutdown")
    submit(self, job, run_times)
ThreadPoolExecutor.submit_job = lose
run(["scheduler"])
"""


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    """Yield a directory that every account can enter, which those of pytest are not: PostgreSQL is none of root."""
    with tempfile.TemporaryDirectory(prefix="manage-orders-drill-") as name:
        path = Path(name)
        path.chmod(0o755)
        yield path


@pytest.fixture(scope="module")
def drill(directory: Path, contract: Contract) -> Iterator[Drill]:
    """Yield a system of its own, which is no sandbox."""
    clock = DatabaseClock(directory)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PG_BIN", str(clock.binaries))
        with EmbeddedServer(directory / "data") as server:
            upgrade_schema(server.url)
            settings = Settings(
                database_url=server.url,
                secret_key=SECRET_KEY,
                threads=2,
                pool_timeout_ms=1000,
                sweep_interval_s=INTERVAL_S,
                sweep_limit_s=LIMIT_S,
            )
            app = create_app(settings)
            database = app.extensions["manage-orders"].database
            with database.operator_transaction() as connection:
                insert_seller(connection, SELLER, "Seller")
            _, token = create_token(database, SECRET_KEY, seller_id=None, name="drill")
            environment = scheduler_environment(server.url, **ENVIRONMENT)
            drill = Drill(server, clock, ApiClient(app, contract, token), directory / "log", environment)
            yield drill
            drill.end()
            database.close()


def test_a_scheduler_that_is_killed(drill: Drill) -> None:
    drill.be_well()
    kill(drill.scheduler)
    drill.sees("CancellationJobNotRunning")
    ready = drill.operator.get("/health/ready").get_json()
    assert (ready["status"], "not succeeded" in ready["reason"]) == ("degraded", True)
    # It counts as alive for half a minute, which is not waited for.
    drill.query("UPDATE schedulers SET heartbeat_time = heartbeat_time - interval '30 seconds' RETURNING 1")
    drill.sees("NoSchedulerAlive")

    drill.start()
    drill.sees_calm()


def test_a_sweep_that_hangs(drill: Drill) -> None:
    drill.be_well()
    number = drill.last_run()
    (order_id,) = drill.make_due(due_in=timedelta(seconds=2))
    with drill.connect() as locking, locking.transaction():
        # What it writes of a cancelled order has to wait.
        locking.execute("LOCK TABLE order_events IN SHARE MODE")
        drill.wait_until(lambda: drill.found_since(number) > 0)
        drill.sees("CancellationRunStuck", "CancellationJobNotRunning")
        assert drill.scheduler.wait(LIMIT_S + 30) == STALLED
    assert drill.statuses([order_id]) == {"UNSHIPPED"}

    # Five minutes later its run is given up for dead, which is not waited for.
    drill.query("""
        UPDATE cancellation_runs SET heartbeat_time = heartbeat_time - interval '5 minutes'
        WHERE state = 'RUNNING' RETURNING 1
    """)
    drill.start()
    drill.sees_calm()
    assert drill.statuses([order_id]) == {"CANCELLED"}


def test_a_sweep_whose_thread_is_gone(drill: Drill, tmp_path: Path) -> None:
    drill.be_well()
    drill.end()
    drill.start(("-c", BREAKABLE, str(tmp_path / "broken")))
    drill.wait_for_success()
    (tmp_path / "broken").touch()
    drill.sees("CancellationJobNotRunning")
    assert drill.scheduler.wait(30) == STALLED

    drill.start()
    drill.sees_calm()


def test_a_pause(drill: Drill) -> None:
    drill.be_well()
    until = datetime.now(UTC) + timedelta(hours=1)
    drill.order("/v1/cancellation-job/pause", {"reason": "a drill", "until": until.isoformat()})
    number = drill.last_run()
    drill.sees("CancellationJobPaused")
    (order_id,) = drill.make_due()
    drill.wait_until(lambda: len(drill.runs_after(number)) > 3)
    # Nobody is woken because the job does what it was told.
    assert drill.firing() - TOLD_AFTERWARDS == {"CancellationJobPaused"}
    assert drill.statuses([order_id]) == {"UNSHIPPED"}

    drill.order("/v1/cancellation-job/resume")
    drill.sees_calm()
    drill.wait_until(lambda: drill.statuses([order_id]) == {"CANCELLED"})


def test_a_run_that_would_cancel_too_many(drill: Drill) -> None:
    drill.be_well()
    order_ids = drill.make_due(MAX_ORDERS + 1)
    drill.sees("CancellationJobHeld")
    held = drill.operator.get("/v1/cancellation-job").get_json()["held"]
    assert [each["code"] for each in held["heldReasons"]] == ["TOO_MANY"]
    assert drill.statuses(order_ids) == {"UNSHIPPED"}

    approval = {"expectedCount": MAX_ORDERS + 1, "reason": "a drill"}
    drill.order(f"/v1/cancellation-runs/{held['runId']}/approval", approval)
    drill.sees_calm()
    assert drill.statuses(order_ids) == {"CANCELLED"}


@pytest.mark.parametrize(
    ("jump", "codes", "alerts"),
    [
        ("+11d", {"CLOCK_SKEWED", "CLOCK_JUMPED"}, ["ClockSkewed", "CancellationJobHeld"]),
        (
            "-2h",
            {"CLOCK_SKEWED", "CLOCK_JUMPED", "CLOCK_WENT_BACK"},
            ["ClockSkewed", "ClockWentBack", "CancellationJobHeld"],
        ),
    ],
)
def test_a_database_whose_clock_jumps(drill: Drill, jump: str, codes: set[str], alerts: list[str]) -> None:
    # Broken by a sweep that asks the database's clock alone: at +11d the order is a week overdue.
    drill.be_well()
    # An approval, as in another drill, says that the clock is right: the next run takes note of it.
    drill.wait_for_success()
    number, scheduler = drill.last_run(), drill.scheduler
    (order_id,) = drill.make_due(due_in=timedelta(days=3))
    drill.clock.jump(jump)
    drill.sees(*alerts)
    drill.clock.jump("+0")

    drill.sees_calm()
    assert drill.statuses([order_id]) == {"UNSHIPPED"}
    runs = drill.runs_after(number)
    assert codes in [{*held} for _, held in runs]
    assert runs[-1] == ("SUCCEEDED", [])
    # Broken by counting from the slot of a clock that was wrong: the two hours that it passed twice were worked.
    assert drill.query("SELECT COALESCE(max(slot_count), 0) FROM cancellation_runs")[0][0] < 100
    # By itself: nobody approved anything, or started anything anew.
    assert (drill.scheduler, scheduler.poll()) == (scheduler, None)


def test_a_database_that_stops(drill: Drill) -> None:
    drill.be_well()
    scheduler = drill.scheduler
    with stopped_server(drill.server):
        drill.sees("DatabaseUnreachable")

    drill.sees_calm()
    drill.wait_for_success()
    assert (drill.scheduler, scheduler.poll()) == (scheduler, None)

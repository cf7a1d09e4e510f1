"""Health: alive whatever the database does, ready only with the right tables, degraded when the job does no work."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import flask
import psycopg
import pytest

from service.app import create_app
from service.cancellation_job.job_queries import LAST_SUCCESS, find_last_success
from service.database import Database, newest_schema_version, upgrade_schema
from service.settings import Settings
from tests.conftest import SECRET_KEY, ApiClient
from tests.contract import Contract
from tests.job_scene import insert_run

Start = Callable[..., ApiClient]


@pytest.fixture
def start(contract: Contract) -> Iterator[Start]:
    """Return a function that makes a client of an application of its own, without a token."""
    apps: list[flask.Flask] = []

    def make(database_url: str, *, sandbox: bool = False, sweep_interval_s: int = 60) -> ApiClient:
        app = create_app(
            Settings(
                database_url=database_url,
                secret_key=SECRET_KEY,
                sandbox=sandbox,
                threads=2,
                pool_timeout_ms=500,
                sweep_interval_s=sweep_interval_s,
            )
        )
        apps.append(app)
        return ApiClient(app, contract, None)

    yield make
    for app in apps:
        app.extensions["manage-orders"].database.close()


def test_with_a_current_database_and_a_job_that_does_its_work_the_service_is_ready(
    start: Start, database: Database, database_url: str, owner: psycopg.Connection
) -> None:
    del database
    insert_run(owner, "SUCCEEDED")
    response = start(database_url).get("/health/ready")
    version = newest_schema_version()

    assert response.status_code == 200
    assert response.get_json() == {
        "status": "ready",
        "database": "reachable",
        "schemaVersion": version,
        "expectedSchemaVersion": version,
        "sandbox": False,
    }


def test_with_a_job_that_never_succeeded_the_service_is_degraded_and_serves_all_the_same(
    start: Start, database: Database, database_url: str, owner: psycopg.Connection
) -> None:
    # Broken by taking a dry run, a run that was held, or one that is under way for a success.
    del database
    insert_run(owner, "SUCCEEDED", dry_run=True)
    for state in ("HELD", "PAUSED", "FAILED", "RUNNING"):
        insert_run(owner, state)
    response = start(database_url).get("/health/ready")
    told = response.get_json()

    assert response.status_code == 200
    assert (told["status"], told["reason"]) == ("degraded", "the cancellation job has never succeeded")


def test_the_service_is_degraded_once_the_job_has_not_succeeded_for_three_intervals(
    start: Start, database: Database, database_url: str, owner: psycopg.Connection
) -> None:
    del database
    client, patient = start(database_url), start(database_url, sweep_interval_s=3600)
    insert_run(owner, "SUCCEEDED", timedelta(minutes=4))
    told = client.get("/health/ready").get_json()

    assert told["status"] == "degraded"
    assert told["reason"].startswith("the cancellation job has not succeeded since 20")
    assert patient.get("/health/ready").get_json()["status"] == "ready"
    insert_run(owner, "PARTIAL", timedelta(minutes=2))
    assert client.get("/health/ready").get_json()["status"] == "ready"
    # The clock was put back since.
    insert_run(owner, "SUCCEEDED", -timedelta(hours=2))
    told = client.get("/health/ready").get_json()
    assert (told["status"], "clock went back" in told["reason"]) == ("degraded", True)


def test_a_degraded_service_says_that_the_job_is_paused_or_held(
    start: Start, database: Database, database_url: str, owner: psycopg.Connection
) -> None:
    del database
    client = start(database_url)
    insert_run(owner, "SUCCEEDED", timedelta(minutes=9))
    insert_run(owner, "HELD", timedelta(minutes=8))
    # A run that was paused judges nothing: the job stays held through it.
    insert_run(owner, "PAUSED", timedelta(minutes=7))
    until = (datetime.now(UTC) + timedelta(hours=1)).replace(microsecond=0)
    owner.execute(
        "INSERT INTO cancellation_pauses (paused_by, reason, until_time) VALUES ('me', 'a drill', %s)", [until]
    )
    reason = client.get("/health/ready").get_json()["reason"]
    assert reason.endswith(f"; paused until {until:%Y-%m-%dT%H:%M:%SZ}; held: see `manage-orders job status`")
    owner.execute("UPDATE cancellation_pauses SET resumed_time = now(), resumed_by = 'me'")
    insert_run(owner, "FAILED", timedelta(minutes=6))
    reason = client.get("/health/ready").get_json()["reason"]
    assert (reason.startswith("the cancellation job has not succeeded since 20"), ";" in reason) == (True, False)


def test_the_look_for_the_last_success_reads_the_ends_of_an_index_however_long_ago_it_was(
    database: Database, owner: psycopg.Connection
) -> None:
    # Broken without the index by state: a job that is held for a week leaves 10,000 runs to walk back over.
    insert_run(owner, "SUCCEEDED")
    owner.execute(
        """
        INSERT INTO cancellation_runs (dry_run, state, requested_by, cutoff, finished_time, held_reasons)
        SELECT false, 'HELD', 'test', now(), now(), '[]' FROM generate_series(1, 10000);
        ANALYZE cancellation_runs
        """
    )
    with database.connection() as connection:
        assert find_last_success(connection).finished_time is not None
        ((plan,),) = connection.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {LAST_SUCCESS}").fetchall()

    assert plan[0]["Plan"]["Shared Hit Blocks"] + plan[0]["Plan"]["Shared Read Blocks"] <= 20


def test_readiness_shows_sandbox_mode(start: Start, database_url: str) -> None:
    assert start(database_url, sandbox=True).get("/health/ready").get_json()["sandbox"] is True


def test_without_a_database_the_service_lives_and_is_not_ready(start: Start) -> None:
    client = start("postgresql://nobody@127.0.0.1:1/none")
    ready = client.get("/health/ready")

    assert ready.status_code == 503
    assert (ready.get_json()["status"], ready.get_json()["database"]) == ("not-ready", "unreachable")
    assert "schemaVersion" not in ready.get_json()
    assert client.get("/health/live").get_json() == {"status": "ok"}


def test_without_a_database_an_operation_is_refused_for_now(start: Start, contract: Contract) -> None:
    client = start("postgresql://nobody@127.0.0.1:1/none")
    response = ApiClient(client.app, contract, "mo_any").get("/v1/orders")

    assert response.status_code == 503
    assert response.get_json()["type"] == "urn:manage-orders:problem:overloaded"
    assert int(response.headers["Retry-After"]) > 0


def test_a_database_without_tables_is_not_ready(start: Start, make_database_url: Callable[[], str]) -> None:
    ready = start(make_database_url()).get("/health/ready")

    assert ready.status_code == 503
    assert ready.get_json()["database"] == "reachable"
    assert "schemaVersion" not in ready.get_json()


def test_tables_of_another_version_are_not_ready_until_they_are_migrated(
    start: Start, make_database_url: Callable[[], str]
) -> None:
    url = make_database_url()
    upgrade_schema(url)
    client = start(url)

    def ready() -> tuple[int, dict[str, Any]]:
        response = client.get("/health/ready")
        return response.status_code, response.get_json()

    assert ready()[0] == 200
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute("UPDATE alembic_version SET version_num = '0000'")
        status, body = ready()
        assert (status, body["status"], body["schemaVersion"]) == (503, "not-ready", "0000")
        owner.execute("UPDATE alembic_version SET version_num = %s", (newest_schema_version(),))
    assert ready()[0] == 200


def test_readiness_comes_back_after_its_connections_were_cut(
    start: Start, database_url: str, owner: psycopg.Connection
) -> None:
    client = start(database_url)
    assert client.get("/health/ready").status_code == 200
    with client.app.extensions["manage-orders"].database.connection() as connection:
        pid = connection.info.backend_pid
    assert owner.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,)).fetchone() == (True,)

    assert client.get("/health/ready").status_code == 200


def test_after_a_restart_of_the_server_the_first_request_is_served(
    settings: Settings, owner: psycopg.Connection
) -> None:
    database = Database(replace(settings, threads=16, pool_timeout_ms=3000), pool_size=16)

    def lend(barrier: threading.Barrier) -> int:
        with database.connection() as connection:
            barrier.wait(timeout=30)  # all are lent at once, so that each is another one
            return connection.info.backend_pid

    try:
        with ThreadPoolExecutor(16) as threads:
            pids = list(threads.map(lend, [threading.Barrier(16)] * 16))
        assert len(set(pids)) == 16
        for pid in pids:
            owner.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
        for _ in range(3):
            with database.connection() as connection:
                assert connection.execute("SELECT 1").fetchone() == (1,)
    finally:
        database.close()


def test_health_needs_no_token_and_the_documentation_loads_nothing_from_another_host(app: flask.Flask) -> None:
    client = app.test_client()
    page = client.get("/docs/")

    assert client.get("/health/live").status_code == 200
    assert page.status_code == 200
    own = page.text.replace("http://localhost/", "/")
    assert not [part for part in own.replace("'", '"').split('"') if part.startswith(("http:", "https:", "//www"))]
    for asset in ("swagger-ui.css", "swagger-ui-bundle.js", "swagger-ui-standalone-preset.js"):
        with client.get(f"/docs/{asset}") as response:
            assert response.status_code == 200, asset

"""What `/metrics` tells: the truth of the database, in the text format of Prometheus."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

import flask
import psycopg
import pytest

from service.app import create_app
from service.cancellation_job.rules import RunState
from service.monitoring.metrics import GAUGES, PREFIX
from service.settings import Settings
from tests.conftest import CONFIRM_BY, SECRET_KEY, SELLER, ApiClient
from tests.contract import Contract
from tests.job_rows import insert_pause, insert_run, insert_scheduler
from tests.promql import Scraped, Vector

Scrape = Callable[[], Scraped]


def one(scraped: Scraped, name: str, **labels: str) -> float | None:
    """Return a sample, None when it is not told."""
    return scraped.samples.get(PREFIX + name, Vector()).get(frozenset(labels.items()))


@pytest.fixture
def scrape(operator: ApiClient) -> Scrape:
    """Return a function that scrapes as Prometheus does."""

    def read() -> Scraped:
        response = operator.get("/metrics")
        assert response.status_code == 200, response.text
        assert response.content_type == "text/plain; version=0.0.4; charset=utf-8"
        return Scraped.of(response.text, time.time())

    return read


def test_on_a_new_database_nothing_is_told_that_never_happened(scrape: Scrape) -> None:
    scraped = scrape()

    assert one(scraped, "database_up") == 1
    assert one(scraped, "cancellation_last_success_timestamp_seconds") is None
    assert one(scraped, "cancellation_last_run_duration_seconds") is None
    assert one(scraped, "cancellation_last_run_orders", outcome="failed") is None
    assert one(scraped, "scheduler_clock_skew_seconds") is None
    zeros = ("overdue_orders", "oldest_overdue_seconds", "run_running_seconds", "paused", "held", "missed_slots_24h")
    assert {one(scraped, f"cancellation_{name}") for name in zeros} == {0}
    assert {one(scraped, "cancellation_runs_24h", state=state) for state in RunState} == {0}
    assert one(scraped, "schedulers_alive") == 0


def test_what_the_alerts_measure_by_are_the_settings(scrape: Scrape, settings: Settings) -> None:
    scraped = scrape()

    assert one(scraped, "cancellation_interval_seconds") == settings.sweep_interval_s
    assert one(scraped, "cancellation_run_limit_seconds") == settings.sweep_limit_s
    assert one(scraped, "clock_skew_limit_seconds") == settings.max_clock_skew_s
    assert one(scraped, "sandbox") == 1


def test_runs_of_the_last_day_are_counted_by_state_and_dry_runs_are_none(
    scrape: Scrape, owner: psycopg.Connection
) -> None:
    # Broken by counting the whole ledger, and by a day that begins elsewhere.
    insert_run(owner, "SUCCEEDED", began_s=90_000)
    insert_run(owner, "PARTIAL", began_s=80_000, skipped_count=2, error_count=1)
    insert_run(owner, "SUCCEEDED", began_s=300)
    insert_run(owner, "SUCCEEDED", began_s=200, dry_run=True)
    insert_run(owner, "FAILED", began_s=100, skipped_count=5)
    insert_run(owner, "RUNNING", began_s=5)
    scraped = scrape()

    counts = {state: one(scraped, "cancellation_runs_24h", state=state) for state in RunState}
    assert {state: count for state, count in counts.items() if count} == {
        "PARTIAL": 1, "SUCCEEDED": 1, "FAILED": 1, "RUNNING": 1,
    }  # fmt: skip
    assert one(scraped, "cancellation_orders_24h", outcome="skipped") == 7
    assert one(scraped, "cancellation_orders_24h", outcome="failed") == 1


def test_the_last_run_is_the_last_that_ended_and_the_last_success_is_no_failure_nor_dry_run(
    scrape: Scrape, owner: psycopg.Connection
) -> None:
    insert_run(owner, "PARTIAL", began_s=302)
    insert_run(owner, "FAILED", began_s=120, error_count=3)
    insert_run(owner, "MISSED", began_s=60)
    insert_run(owner, "SUCCEEDED", began_s=50, dry_run=True)
    insert_run(owner, "RUNNING", began_s=5)
    scraped = scrape()

    succeeded = one(scraped, "cancellation_last_success_timestamp_seconds")
    assert succeeded == pytest.approx(scraped.now - 300, abs=20)
    assert one(scraped, "cancellation_last_run_duration_seconds") == 2
    assert one(scraped, "cancellation_last_run_orders", outcome="failed") == 3


def test_of_the_runs_under_way_the_oldest_and_the_most_silent_are_told(
    scrape: Scrape, owner: psycopg.Connection
) -> None:
    insert_run(owner, "RUNNING", began_s=700, silent_s=0)
    insert_run(owner, "RUNNING", began_s=300, silent_s=250)
    insert_run(owner, "RUNNING", began_s=9000, silent_s=9000, dry_run=True)
    scraped = scrape()

    assert one(scraped, "cancellation_run_running_seconds") == pytest.approx(700, abs=20)
    assert one(scraped, "cancellation_run_silent_seconds") == pytest.approx(250, abs=20)

    # A sign of life that lies ahead is none: it is of before the clock was put back.
    insert_run(owner, "RUNNING", began_s=400, silent_s=-7200)
    assert one(scrape(), "cancellation_run_silent_seconds") == pytest.approx(7200, abs=20)


@pytest.mark.usefixtures("received")
def test_overdue_orders_are_told_until_a_run_has_cancelled_them(
    scrape: Scrape, operator: ApiClient, set_clock: Callable[[datetime], datetime]
) -> None:
    assert one(scrape(), "cancellation_overdue_orders") == 0
    set_clock(CONFIRM_BY + timedelta(hours=1))
    scraped = scrape()
    assert one(scraped, "cancellation_overdue_orders") == 1
    assert one(scraped, "cancellation_oldest_overdue_seconds") == pytest.approx(3600, abs=20)

    assert operator.post("/v1/cancellation-runs", {}).status_code == 201

    scraped = scrape()
    assert one(scraped, "cancellation_overdue_orders") == 0
    assert one(scraped, "cancellation_oldest_overdue_seconds") == 0
    assert one(scraped, "cancellation_last_run_orders", outcome="cancelled") == 1
    assert one(scraped, "cancellation_orders_24h", outcome="cancelled") == 1
    assert one(scraped, "cancellation_runs_24h", state="SUCCEEDED") == 1
    assert one(scraped, "cancellation_last_success_timestamp_seconds") == pytest.approx(scraped.now, abs=20)


def test_a_pause_is_told_with_its_end_and_a_held_job_stays_held_through_it(
    scrape: Scrape, owner: psycopg.Connection
) -> None:
    insert_run(owner, "HELD")
    insert_run(owner, "PAUSED", began_s=5)
    insert_pause(owner)
    scraped = scrape()
    assert one(scraped, "cancellation_paused") == 1
    assert one(scraped, "cancellation_pause_ends_timestamp_seconds") == pytest.approx(scraped.now + 3600, abs=20)
    assert one(scraped, "cancellation_held") == 1

    owner.execute("UPDATE cancellation_pauses SET until_time = now() - interval '1 second'")
    insert_run(owner, "SUCCEEDED", began_s=1)
    scraped = scrape()
    assert one(scraped, "cancellation_paused") == 0
    assert one(scraped, "cancellation_pause_ends_timestamp_seconds") is None
    assert one(scraped, "cancellation_held") == 0


def test_missed_slots_are_counted_and_not_their_rows(scrape: Scrape, owner: psycopg.Connection) -> None:
    insert_run(owner, "MISSED", slot_count=7)

    assert one(scrape(), "cancellation_missed_slots_24h") == 7


def test_a_scheduler_is_alive_that_was_seen_just_now(scrape: Scrape, owner: psycopg.Connection) -> None:
    # Broken by taking a heartbeat that lies ahead for life: it is of a clock that was put back.
    insert_scheduler(owner, "host:1:aa", skew_ms=-1500, EXECUTED=12, MISSED=1)
    insert_scheduler(owner, "host:2:bb", silent_s=31, skew_ms=90_000)
    insert_scheduler(owner, "host:3:cc", is_stopped=True)
    insert_scheduler(owner, "host:4:dd", silent_s=-7200)
    insert_scheduler(owner, "host:5:ee", silent_s=90_000)
    scraped = scrape()

    assert one(scraped, "schedulers_alive") == 1
    assert one(scraped, "scheduler_clock_skew_seconds") == 1.5
    assert one(scraped, "scheduler_events_total", scheduler="host:1:aa", event="EXECUTED") == 12
    assert one(scraped, "scheduler_events_total", scheduler="host:1:aa", event="MISSED") == 1
    seen = scraped.samples[PREFIX + "scheduler_heartbeat_timestamp_seconds"]
    assert {dict(labels)["scheduler"][-2:] for labels in seen} == {"aa", "bb", "cc", "dd"}
    assert seen[frozenset({("scheduler", "host:2:bb")})] == pytest.approx(scraped.now - 31, abs=20)


def test_a_ledger_of_times_to_come_tells_that_the_clock_went_back(scrape: Scrape, owner: psycopg.Connection) -> None:
    insert_run(owner, "SUCCEEDED", began_s=-30)
    assert one(scrape(), "clock_went_back") == 0  # within what clocks may differ

    insert_run(owner, "SUCCEEDED", began_s=-7200)
    insert_run(owner, "HELD", began_s=5)  # as the next run is
    scraped = scrape()
    assert one(scraped, "clock_went_back") == 1
    assert one(scraped, "clock_skew_seconds") == pytest.approx(0, abs=5)  # the clock of this host is the database's


def test_every_gauge_is_described_and_told_once_there_is_something_to_tell(
    scrape: Scrape, owner: psycopg.Connection
) -> None:
    insert_run(owner, "SUCCEEDED")
    insert_scheduler(owner, EXECUTED=1)
    insert_pause(owner)

    assert {PREFIX + name for name in GAUGES} <= scrape().samples.keys()


@pytest.fixture
def app_without_database() -> Iterator[flask.Flask]:
    """Yield an application whose database is gone."""
    url = "postgresql://nobody@127.0.0.1:1/none"
    app = create_app(Settings(database_url=url, secret_key=SECRET_KEY, threads=2, pool_timeout_ms=300))
    yield app
    app.extensions["manage-orders"].database.close()


def test_without_a_database_that_is_all_that_is_told(app_without_database: flask.Flask, contract: Contract) -> None:
    response = ApiClient(app_without_database, contract, "mo_any").get("/metrics")

    assert response.status_code == 200
    assert Scraped.of(response.text, 0).samples == {PREFIX + "database_up": {frozenset(): 0.0}}


def test_a_token_for_monitoring_reads_the_figures_and_a_sellers_does_not(
    client_of: Callable[[str | None, list[str] | None], ApiClient],
) -> None:
    assert client_of(None, ["operations:read"]).get("/metrics").status_code == 200
    assert client_of(None, ["orders:read"]).get("/metrics").status_code == 403
    assert client_of(SELLER, None).get("/metrics").status_code == 403


def test_nobody_reads_the_figures_without_a_token(app: flask.Flask, contract: Contract) -> None:
    for token in (None, "mo_unknown"):
        assert ApiClient(app, contract, token).get("/metrics").status_code == 401

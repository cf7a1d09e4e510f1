"""Time is moved, in sandbox mode only, and for every process at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import psycopg
import pytest

from service.app import create_app
from service.cancellation_job.actions import sweep
from service.database import Database, upgrade_schema
from service.errors import SandboxRefused
from service.sandbox.actions import enter_sandbox, move_clock
from service.settings import Settings
from tests.conftest import NOW, ApiClient

Json: TypeAlias = Any
MINUTE = timedelta(minutes=1)


@pytest.fixture
def real(settings: Settings, database: Database) -> Iterator[Database]:
    """Yield connections to the same database of a process that is not in sandbox mode."""
    del database
    outside = Database(replace(settings, sandbox=False), pool_size=2)
    yield outside
    outside.close()


def clock_of(database: Database) -> datetime:
    with database.connection() as connection:
        row = connection.execute("SELECT app_now()").fetchone()
    assert row is not None
    return row[0]


def now() -> datetime:
    return datetime.now(UTC)


@pytest.mark.parametrize("moment", ["2016-10-04T09:00:00-03:00", "2999-12-31T00:00:00Z", "1970-01-01T00:00:00Z"])
def test_the_clock_moves_anywhere_and_goes_on_from_there(moment: str, operator: ApiClient) -> None:
    response = operator.put("/v1/sandbox/clock", {"now": moment})
    shown = operator.get("/v1/sandbox/clock").get_json()

    assert response.status_code == 200
    told = datetime.fromisoformat(response.get_json()["now"])
    assert timedelta(0) <= told - datetime.fromisoformat(moment) < MINUTE
    assert told <= datetime.fromisoformat(shown["now"]) < told + MINUTE
    assert abs(shown["offsetSeconds"] - (told - now()).total_seconds()) < 60


def test_every_process_follows_at_once(operator: ApiClient, settings: Settings) -> None:
    other = Database(settings, pool_size=1)
    try:
        for moment in (NOW, NOW - timedelta(days=3000), NOW + timedelta(days=300)):
            assert operator.put("/v1/sandbox/clock", {"now": moment.isoformat()}).status_code == 200
            assert timedelta(0) <= clock_of(other) - moment < MINUTE
        assert operator.delete("/v1/sandbox/clock").status_code == 200
        assert abs(clock_of(other) - now()) < MINUTE
    finally:
        other.close()


def test_the_clock_goes_back_to_real_time(operator: ApiClient) -> None:
    operator.put("/v1/sandbox/clock", {"now": NOW.isoformat()})
    response = operator.delete("/v1/sandbox/clock")

    assert response.get_json()["offsetSeconds"] == 0
    assert abs(datetime.fromisoformat(response.get_json()["now"]) - now()) < MINUTE
    assert operator.delete("/v1/sandbox/clock").status_code == 200


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/now"),
        ({"now": None}, "/now"),
        ({"now": "2026-03-14"}, "/now"),
        ({"now": "2026-03-14T07:59:00"}, "/now"),
        ({"now": "tomorrow"}, "/now"),
        ({"now": 0}, "/now"),
        ({"now": "1969-12-31T23:59:59Z"}, "/now"),
        ({"now": "3000-01-01T00:00:00Z"}, "/now"),
        ({"now": "9999-12-31T23:59:59-23:59"}, "/now"),
        ({"now": "infinity"}, "/now"),
        ({"now": "2026-03-14T07:59:00Z", "for": "1 day"}, "/for"),
        ([], ""),
    ],
)
def test_a_time_that_is_none_is_refused_and_the_clock_stays(body: Json, pointer: str, operator: ApiClient) -> None:
    operator.put("/v1/sandbox/clock", {"now": NOW.isoformat()})
    response = operator.put("/v1/sandbox/clock", body)

    assert response.status_code == 422
    assert [each["pointer"] for each in response.get_json()["errors"]] == [pointer]
    assert operator.get("/v1/sandbox/clock").get_json()["now"] < (NOW + MINUTE).isoformat()


def test_outside_sandbox_mode_the_time_is_the_databases(real: Database, owner: psycopg.Connection) -> None:
    owner.execute("TRUNCATE sandbox_clock")

    assert abs(clock_of(real) - now()) < MINUTE
    with real.operator_transaction() as connection:
        row = connection.execute("SELECT app_now() = statement_timestamp()").fetchone()
    assert row == (True,)


@pytest.mark.parametrize("offset", [NOW, None])
def test_a_process_outside_sandbox_mode_decides_nothing_in_a_sandbox(
    offset: datetime | None, received: dict[str, Any], database: Database, real: Database, seller: ApiClient
) -> None:
    # By its own clock the order would be long overdue: with one clock a process, a sweep would cancel it.
    move_clock(database, offset)
    with pytest.raises(SandboxRefused, match="MANAGE_ORDERS_SANDBOX=1"):
        sweep(real, requested_by="test")
    move_clock(database, NOW)
    order = seller.get(f"/v1/orders/{received['orderId']}").get_json()
    assert order["fulfillment"]["fulfillmentStatus"] == "UNSHIPPED"


def test_outside_sandbox_mode_the_addresses_do_not_exist(settings: Settings, operator: ApiClient) -> None:
    app = create_app(replace(settings, sandbox=False))
    headers = {"Authorization": f"Bearer {operator.token}"}
    for method in ("GET", "PUT", "DELETE", "OPTIONS"):
        response = app.test_client().open("/v1/sandbox/clock", method=method, headers=headers, json={})
        assert response.status_code == 404, method
        assert response.get_json()["type"] == "urn:manage-orders:problem:not-found"
    app.extensions["manage-orders"].database.close()


def test_a_seller_cannot_move_the_clock(seller: ApiClient) -> None:
    for response in (
        seller.get("/v1/sandbox/clock"),
        seller.put("/v1/sandbox/clock", {"now": NOW.isoformat()}),
        seller.delete("/v1/sandbox/clock"),
    ):
        assert response.status_code == 403


def test_a_database_with_orders_that_came_outside_sandbox_mode_does_not_become_a_sandbox(
    database: Database, received: dict[str, Any], owner: psycopg.Connection
) -> None:
    del received
    enter_sandbox(database)  # marked already: its orders were made here
    owner.execute("TRUNCATE sandbox_clock")

    with pytest.raises(SandboxRefused, match="MANAGE_ORDERS_SANDBOX"):
        enter_sandbox(database)
    assert owner.execute("SELECT count(*) FROM sandbox_clock").fetchone() == (0,)


def test_entering_the_sandbox_again_leaves_its_clock_as_it_is(database: Database) -> None:
    move_clock(database, NOW)
    enter_sandbox(database)

    assert clock_of(database) - NOW < MINUTE


def test_a_new_database_becomes_a_sandbox_in_real_time(
    settings: Settings, make_database_url: Callable[[], str]
) -> None:
    url = make_database_url()
    upgrade_schema(url)
    new = Database(replace(settings, database_url=url), pool_size=1)
    try:
        enter_sandbox(new)
        assert abs(clock_of(new) - now()) < MINUTE
    finally:
        new.close()

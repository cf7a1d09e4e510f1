"""Policies of marketplaces: shown, replaced by version, and the days they count by kept as they were taken."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import Any

import orjson
import psycopg
import pytest
from werkzeug.test import TestResponse

from service import business_days
from service.business_days import CalendarYear, ConfirmationPolicy, confirm_by
from service.cli import run
from service.database import Database
from service.deadlines.changes_actions import finish_deadline_changes
from service.deadlines.policy_schemas import WEEKDAYS
from service.ingest import queries
from service.ingest.actions import receive_orders
from service.ingest.schemas import read_line
from service.marketplaces.calendars import take_year
from service.marketplaces.queries import find_policy, insert_marketplace
from service.settings import Settings
from tests.conftest import NOW, SELLER, SHIP_BY, ApiClient, order_document

pytestmark = pytest.mark.usefixtures("own_policies")

SHOP = "MYSHOP"
PATH = f"/v1/marketplaces/{SHOP}"
POLICY: dict[str, Any] = {
    "marketplaceName": "My shop",
    "countryCode": "US",
    "timeZone": "America/Los_Angeles",
    "windowBusinessDays": 7,
    "reason": "made up",
}


@pytest.fixture(autouse=True)
def shop(database: Database, set_clock: Callable[[object], object]) -> None:
    """Add a marketplace that counts as the one of the United States does, but for the zone."""
    set_clock(NOW)
    with database.operator_transaction() as connection:
        insert_marketplace(
            connection, SHOP, "My shop", ConfirmationPolicy("US", "America/Los_Angeles"), created_by="test"
        )


def put(operator: ApiClient, if_match: str | None = "*", *, dry_run: bool = False, **changes: Any) -> TestResponse:
    headers = {} if if_match is None else {"If-Match": if_match}
    query = {"dryRun": "true"} if dry_run else {}
    return operator.request("PUT", PATH, json=POLICY | changes, headers=headers, query_string=query)


def order_of_shop(**changes: Any) -> dict[str, Any]:
    return order_document(salesChannel__marketplaceId=SHOP, salesChannel__channelName="NON_AMAZON", **changes)


def confirm_by_of(client: ApiClient, order_id: str) -> str:
    return client.get(f"/v1/orders/{order_id}", sellerId=SELLER).get_json()["fulfillment"]["confirmBy"]


def test_marketplaces_are_shown_with_their_policies(operator: ApiClient) -> None:
    listed = operator.get("/v1/marketplaces").get_json()["marketplaces"]
    by_id = {each["marketplaceId"]: each for each in listed}
    shown = operator.get(PATH)

    assert list(by_id) == sorted(by_id)
    assert by_id["A17E79C6D8DWNP"]["weekend"] == ["FRIDAY", "SATURDAY"]
    assert by_id[SHOP] == shown.get_json()
    assert shown.headers["ETag"] == '"1"'
    assert shown.get_json()["weekendIsCountrys"] is True
    # The years around the present one are stored at once: a library that comes later has no say in them.
    assert [each["year"] for each in shown.get_json()["calendars"]] == [2025, 2026, 2027]
    assert operator.get("/v1/marketplaces/NOBODY").status_code == 404


def test_a_change_names_the_version_it_is_meant_for(operator: ApiClient) -> None:
    assert put(operator, None).status_code == 428
    assert put(operator, '"2"', windowBusinessDays=8).status_code == 412
    assert put(operator, '"1"', windowBusinessDays=8).headers["ETag"] == '"2"'
    assert put(operator, '"1"', windowBusinessDays=9).status_code == 412
    unknown = operator.request("PUT", "/v1/marketplaces/NOBODY", json=POLICY, headers={"If-Match": "*"})
    assert unknown.status_code == 404


def test_new_orders_are_counted_by_the_new_version(operator: ApiClient, seller: ApiClient) -> None:
    # Friday 6 March; Saturday, Sunday and Tuesday count, Monday does not.
    changed = put(
        operator,
        windowBusinessDays=3,
        weekend=["MONDAY"],
        extraWorkingDays=[],
        extraHolidays=[{"date": "2026-03-11", "name": "Closed"}],
    )
    order = order_of_shop()
    received = seller.post("/v1/orders", order).get_json()

    assert changed.status_code == 200
    assert changed.get_json()["weekend"] == ["MONDAY"]
    assert changed.get_json()["weekendIsCountrys"] is False
    assert changed.get_json()["extraHolidays"] == [{"date": "2026-03-11", "name": "Closed"}]
    assert received["fulfillment"]["confirmBy"] == "2026-03-11T07:00:00Z"
    assert seller.get(f"/v1/orders/{order['orderId']}/window").get_json()["policyVersion"] == 2


def test_the_same_policy_makes_a_version_only_to_take_the_calendar_anew(operator: ApiClient) -> None:
    same = put(operator)
    renamed = put(operator, marketplaceName="Our shop")
    retaken = put(operator, marketplaceName="Our shop", retakeCalendar=True)

    assert (same.get_json()["policyVersion"], "openOrders" in same.get_json()) == (1, False)
    assert (renamed.get_json()["policyVersion"], renamed.get_json()["marketplaceName"]) == (1, "Our shop")
    assert retaken.get_json()["policyVersion"] == 2
    assert operator.get(PATH).get_json()["marketplaceName"] == "Our shop"


def test_open_orders_get_later_and_never_earlier(operator: ApiClient, seller: ApiClient, database: Database) -> None:
    order = order_of_shop()
    seller.post("/v1/orders", order)
    was = confirm_by_of(seller, order["orderId"])
    preview = put(operator, dry_run=True, windowBusinessDays=8)
    shown = operator.get(PATH).get_json()
    longer = put(operator, windowBusinessDays=8).get_json()
    finish_deadline_changes(database)
    later = confirm_by_of(seller, order["orderId"])
    shorter = put(operator, windowBusinessDays=2).get_json()
    finish_deadline_changes(database)

    assert preview.get_json()["openOrders"] == {"laterCount": 1, "earlierCount": 0, "unchangedCount": 0}
    assert (preview.get_json()["policyVersion"], preview.headers["ETag"]) == (2, '"1"')
    assert (shown["policyVersion"], shown["windowBusinessDays"]) == (1, 7), "a preview writes nothing"
    assert longer["openOrders"] == preview.get_json()["openOrders"]
    assert operator.get(f"/v1/deadline-extensions/{longer['changeId']}").status_code == 200
    assert later > was
    assert shorter["openOrders"] == {"laterCount": 0, "earlierCount": 1, "unchangedCount": 0}
    assert "would come earlier; they stay as they are" in shorter["note"]
    assert operator.get(f"/v1/deadline-extensions/{shorter['changeId']}").get_json()["changedCount"] == 0
    assert confirm_by_of(seller, order["orderId"]) == later


@pytest.mark.parametrize(("window", "version"), [(2, 1), (9, 2)])
def test_an_order_whose_ship_by_date_moves_gets_the_later_of_its_own_policy_and_the_newest(
    operator: ApiClient, seller: ApiClient, owner: psycopg.Connection, window: int, version: int
) -> None:
    # Mutant: counting by the newest alone, so that a shorter window takes days from an order that was there before.
    order, new = order_of_shop(), order_of_shop(fulfillment__shipByWindow__latestDateTime="2031-03-05T20:00:00Z")
    seller.post("/v1/orders", order)
    put(operator, windowBusinessDays=window)
    order["fulfillment"]["shipByWindow"]["latestDateTime"] = "2031-03-05T20:00:00Z"
    assert seller.post("/v1/orders", order).status_code == 200
    assert seller.post("/v1/orders", new).status_code == 201

    window_of_it = seller.get(f"/v1/orders/{order['orderId']}/window").get_json()
    assert window_of_it["policyVersion"] == version
    assert window_of_it["windowBusinessDays"] == max(window, 7)
    assert window_of_it["countedConfirmBy"] == window_of_it["confirmBy"] == confirm_by_of(seller, order["orderId"])
    assert seller.get(f"/v1/orders/{new['orderId']}/window").get_json()["policyVersion"] == 2
    # What it was counted by is stored, so that a newer library explains it alike.
    taken = owner.execute(
        "SELECT policy_version FROM marketplace_calendars WHERE year = 2031 AND marketplace_id = %s", [SHOP]
    )
    assert {1, 2} == {each for (each,) in taken}


def test_an_order_that_was_counted_anew_between_the_look_and_the_lock_is_to_be_sent_again(
    operator: ApiClient, seller: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Mutant: trusting the look, which would leave the deadline of the shorter window.
    def find_none(*_: object) -> dict[queries.Key, tuple[str, int]]:
        return {}

    order = order_of_shop()
    seller.post("/v1/orders", order)
    put(operator, windowBusinessDays=2)
    order["fulfillment"]["shipByWindow"]["latestDateTime"] = SHIP_BY.replace(day=5).isoformat()
    with monkeypatch.context() as patch:
        patch.setattr(queries, "find_policies_counted_by", find_none)
        refused = seller.post("/v1/orders", order)
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
    assert seller.post("/v1/orders", order).status_code == 200


def test_a_moved_date_costs_no_look_where_the_policy_has_never_changed(
    seller: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queries, "find_policies_counted_by", pytest.fail)
    order = order_of_shop()
    seller.post("/v1/orders", order)
    order["fulfillment"]["shipByWindow"]["latestDateTime"] = SHIP_BY.replace(day=5).isoformat()
    assert seller.post("/v1/orders", order).status_code == 200


@pytest.mark.parametrize(
    ("year", "weekend", "constraint"),
    [
        (0, "{6,7}", "marketplace_calendars_year_check"),
        (10_000, "{6,7}", "marketplace_calendars_year_check"),
        (2050, "{1,2,3,4,5,6,7}", "marketplace_calendars_weekend_check"),
        (2050, "{8}", "marketplace_calendars_weekend_check"),
    ],
)
def test_a_calendar_that_nothing_could_be_counted_by_is_not_stored(
    owner: psycopg.Connection, year: int, weekend: str, constraint: str
) -> None:
    with pytest.raises(psycopg.errors.CheckViolation, match=constraint):
        owner.execute(
            """
            INSERT INTO marketplace_calendars (
                marketplace_id, policy_version, year, weekend, weekend_workdays, holidays, library_version
            ) VALUES (%s, 1, %s, %s, '{}', '{}', 'test')
            """,
            [SHOP, year, weekend],
        )


def test_a_ship_by_date_that_moves_is_counted_anew_and_the_same_one_is_not(
    operator: ApiClient, seller: ApiClient, database: Database, owner: psycopg.Connection
) -> None:
    # Mutants: counting the same date anew; forgetting what was promised to the order.
    order = order_of_shop()
    seller.post("/v1/orders", order)
    with database.operator_transaction() as connection:
        connection.execute("UPDATE orders SET extended_until = confirm_by")
    promised = confirm_by_of(seller, order["orderId"])
    put(operator, windowBusinessDays=8)
    owner.execute("UPDATE deadline_changes SET state = 'DONE', finished_time = now()")

    def stored() -> Any:
        return owner.execute("SELECT policy_version, extended_until = confirm_by FROM orders").fetchone()

    order["programs"] = ["PRIME"]
    assert seller.post("/v1/orders", order).status_code == 200
    assert stored() == (1, True)
    order["fulfillment"]["shipByWindow"]["latestDateTime"] = SHIP_BY.replace(day=4).isoformat()
    assert seller.post("/v1/orders", order).status_code == 200
    assert stored() == (2, True)
    assert confirm_by_of(seller, order["orderId"]) == promised


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"countryCode": "XX"}, "/countryCode"),
        ({"countryCode": "us"}, "/countryCode"),
        ({"countryCode": "LK", "timeZone": "Asia/Colombo"}, "/countryCode"),  # its days are not known for next year
        ({"timeZone": "Mars/Base"}, "/timeZone"),
        ({"timeZone": "localtime"}, "/timeZone"),
        ({"timeZone": "posix/Europe/Lisbon"}, "/timeZone"),
        ({"windowBusinessDays": 31}, "/windowBusinessDays"),
        ({"weekend": ["SATURDAY", "SOMEDAY"]}, "/weekend/1"),
        ({"weekend": list(WEEKDAYS)}, "/weekend"),
        ({"extraWorkingDays": ["2026-03-09", "2026-03-09"]}, "/extraWorkingDays/1"),
        ({"extraHolidays": [{"date": "2026-03-09", "name": ""}]}, "/extraHolidays/0/name"),
        (
            {"extraWorkingDays": ["2026-03-09"], "extraHolidays": [{"date": "2026-03-09", "name": "Both"}]},
            "/extraHolidays",
        ),
        ({"reason": ""}, "/reason"),
    ],
)
def test_a_policy_that_nothing_could_be_counted_by_is_refused(
    operator: ApiClient, changes: dict[str, Any], pointer: str
) -> None:
    for dry_run in (True, False):
        refused = put(operator, dry_run=dry_run, **changes)
        assert refused.status_code == 422
        assert pointer in {error.get("pointer") for error in refused.get_json()["errors"]}
    assert operator.get(PATH).get_json()["policyVersion"] == 1


@pytest.mark.parametrize("lost", ["time_zone = 'Mars/Base'", "country_code = 'XX'"])
def test_a_marketplace_whose_zone_or_country_this_host_lacks_is_shown_and_takes_no_order(
    lost: str, operator: ApiClient, seller: ApiClient, owner: psycopg.Connection
) -> None:
    # Broken by judging what is stored: every list of marketplaces would fail, and every import that names one.
    order, shown = order_of_shop(), operator.get(PATH).get_json()
    assert seller.post("/v1/orders", order).status_code == 201
    owner.execute(f"UPDATE marketplace_policies SET {lost} WHERE marketplace_id = %s".encode(), [SHOP])
    owner.execute("DELETE FROM marketplace_calendars WHERE marketplace_id = %s", [SHOP])

    listed = {each["marketplaceId"]: each for each in operator.get("/v1/marketplaces").get_json()["marketplaces"]}
    assert listed[SHOP] == operator.get(PATH).get_json() != shown
    refused = seller.post("/v1/orders", order_of_shop())
    assert (refused.status_code, refused.get_json()["type"].split(":")[-1]) == (422, "contradictory-order")
    assert seller.get("/v1/account/home").status_code == 200
    assert seller.get(f"/v1/orders/{order['orderId']}/window").status_code == 422
    days = operator.get("/v1/business-days", **{"marketplaceId": SHOP, "from": "2026-03-06", "days": 7})
    assert days.status_code == 422
    preview = operator.post("/v1/deadline-extensions", {"marketplaceId": SHOP, "businessDays": 1, "reason": "lost"})
    assert (preview.status_code, preview.get_json()["keptCount"]) == (201, 1)
    # It is mended by a policy that can be counted by.
    assert put(operator).status_code == 200
    assert seller.post("/v1/orders", order_of_shop()).status_code == 201


def test_a_policy_waits_for_the_orders_that_are_being_counted_by_the_one_before(
    operator: ApiClient, database: Database, owner: psycopg.Connection
) -> None:
    # Mutant: without the shared lock the change would not see the order, which would keep the older deadline for good.
    line = order_of_shop() | {"sellerId": SELLER}
    with ThreadPoolExecutor(1) as pool:
        with database.operator_transaction() as connection:
            receive_orders(connection, [read_line(orjson.dumps(line))], "test")
            changed = pool.submit(put, operator, windowBusinessDays=8)
            while not owner.execute("SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted").fetchall():
                assert not changed.done(), "the policy did not wait"
                time.sleep(0.005)
        assert changed.result().status_code == 200
    finish_deadline_changes(database)
    assert owner.execute("SELECT policy_version FROM orders").fetchall() == [(2,)]


def no_holidays(country_code: str, year: int) -> CalendarYear:
    """Stand in for a library that has forgotten all holidays."""
    del country_code, year
    return CalendarYear(frozenset({6, 7}), frozenset(), {})


def test_a_newer_library_moves_no_deadline_until_the_calendar_is_taken_anew(
    operator: ApiClient, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    ship_by = SHIP_BY.replace(month=12, day=21)  # Christmas Day is ahead.

    def counted() -> str:
        # Another process, which has the newer library.
        with Database(settings, pool_size=1).closing() as other, other.operator_transaction() as connection:
            policy = find_policy(connection, SHOP)
            assert policy is not None
            return confirm_by(ship_by, policy).isoformat()

    before = counted()
    monkeypatch.setattr(business_days, "library_year", no_holidays)
    after = counted()
    put(operator, retakeCalendar=True)
    retaken = counted()

    assert before == after == "2027-01-01T08:00:00+00:00"
    assert retaken == "2026-12-31T08:00:00+00:00"


def test_two_processes_with_different_libraries_agree_on_a_year(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Mutant: the second to take a year goes by its own library.
    with database.operator_transaction() as connection:
        first = take_year(connection, (SHOP, 1), "US", 2031)
    monkeypatch.setattr(business_days, "library_year", no_holidays)
    with database.operator_transaction() as connection:
        second = take_year(connection, (SHOP, 1), "US", 2031)
    assert second == first
    assert date(2031, 7, 4) in second.holidays


def test_a_policy_is_set_at_the_command_line(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", settings.database_url)
    monkeypatch.setenv("MANAGE_ORDERS_SANDBOX", "1")
    extra = ("--extra-holiday", "2026-03-09=Closed", "--weekend", "sunday", "--reason", "made up")

    def command(*words: str) -> tuple[int, str]:
        code = run(["marketplaces", "set", SHOP, *words])
        return code, capsys.readouterr().out

    assert command(*extra, "--dry-run")[1].startswith("This would be version 2")
    assert command(*extra)[1].startswith("This is version 2")
    assert command(*extra) == (0, "Nothing differs; the policy stays at version 2.\n")
    assert command("--extra-working-day", "2026-03-09", "--reason", "made up")[0] == 2
    assert command("--weekend", "country", "--clear-extra-days", "--reason", "made up")[0] == 0
    with database.operator_transaction() as connection:
        assert find_policy(connection, SHOP, 2) == ConfirmationPolicy(
            "US", "America/Los_Angeles", 7, frozenset({7}), frozenset(), {date(2026, 3, 9): "Closed"}
        )
        assert find_policy(connection, SHOP) == find_policy(connection, SHOP, 1)

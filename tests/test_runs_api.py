"""The ledger of the sweep over HTTP: which runs, what each cancelled or would, and how a held one is approved."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from service.database import Database
from tests.conftest import CONFIRM_BY, OTHER_SELLER, SELLER, ApiClient
from tests.job_scene import AFTER_DEADLINE, insert_run, receive_due

RUNS = "/v1/cancellation-runs"
HOUR = timedelta(hours=1)
PROBLEM = "urn:manage-orders:problem:"


def walk(operator: ApiClient, path: str, name: str, **query: Any) -> tuple[list[dict[str, Any]], list[int]]:
    """Return all that a list holds, and how long its pages are."""
    found, sizes = list[dict[str, Any]](), list[int]()
    while True:
        page = operator.get(path, **query).get_json()
        found += page[name]
        sizes.append(len(page[name]))
        if "pagination" not in page:
            return found, sizes
        query["paginationToken"] = page["pagination"]["nextToken"]


def refused(response: Any) -> tuple[int, str, str]:
    """Return the status of a problem, its type, and the fields that it names."""
    body = response.get_json()
    places = " ".join(error.get("pointer") or error.get("parameter") for error in body.get("errors", []))
    return response.status_code, body["type"].removeprefix(PROBLEM), places


# Which runs.


@pytest.fixture
def ledger(operator: ApiClient, database: Database, owner: psycopg.Connection) -> dict[str, str]:
    """Return the ids of the runs that the ledger holds, by a word for each, the oldest first."""
    ids = {
        "failed": insert_run(owner, "FAILED", 5 * HOUR, requested_by="scheduler:a:1"),
        "held": insert_run(owner, "HELD", 4 * HOUR, requested_by="scheduler:b:1"),
        "missed": insert_run(owner, "MISSED", 3 * HOUR, slot=datetime.now(UTC) - 4 * HOUR, slot_count=59),
        "dry": insert_run(owner, "SUCCEEDED", 2 * HOUR, dry_run=True),
    }
    receive_due(database, 1)
    return {name: str(run_id) for name, run_id in ids.items()} | {
        "done": operator.post(RUNS, {}).get_json()["runId"],
        "idle": operator.post(RUNS, {}).get_json()["runId"],
    }


def test_runs_are_found_by_each_filter_and_by_several(operator: ApiClient, ledger: dict[str, str]) -> None:
    # Each filter takes some and leaves others: broken by one that is not applied, or the wrong way round.
    def found(**query: Any) -> set[str]:
        runs, _ = walk(operator, RUNS, "cancellationRuns", **query)
        return {name for name, run_id in ledger.items() if run_id in {run["runId"] for run in runs}}

    middle = (datetime.now(UTC) - 3.5 * HOUR).isoformat()
    assert found() == set(ledger)
    assert found(states="HELD,MISSED") == found(states=["HELD", "MISSED"]) == {"held", "missed"}
    assert found(dryRun="true") == {"dry"}
    assert found(dryRun="false") == set(ledger) - {"dry"}
    assert found(startedAfter=middle) == {"missed", "dry", "done", "idle"}
    assert found(startedBefore=middle) == {"failed", "held"}
    assert found(requestedBy="scheduler:a:1") == {"failed"}
    assert found(withCancellations="true") == {"done"}
    assert found(withCancellations="false") == set(ledger) - {"done"}
    assert found(states="SUCCEEDED", dryRun="false", withCancellations="false") == {"idle"}
    started = operator.get(f"{RUNS}/{ledger['held']}").get_json()["startedTime"]
    assert "held" in found(startedAfter=started)
    assert "held" not in found(startedBefore=started)


def test_a_filter_that_cannot_be_read_is_refused_by_its_name(operator: ApiClient) -> None:
    for query in ({"states": "LOST"}, {"dryRun": "maybe"}, {"startedAfter": "yesterday"}, {"colour": "red"}):
        assert refused(operator.get(RUNS, **query)) == (422, "invalid-request", *query)


def test_the_newest_run_comes_first_by_when_it_began_though_the_clock_was_put_back(
    operator: ApiClient, owner: psycopg.Connection
) -> None:
    # Broken by sorting by the time that the clock showed.
    begun = [insert_run(owner, "FAILED", ago) for ago in (HOUR, -2 * HOUR, 3 * HOUR, timedelta(0), 3 * HOUR)]
    runs, sizes = walk(operator, RUNS, "cancellationRuns", maxResultsPerPage=2, states="FAILED")
    assert [run["runId"] for run in runs] == [str(run_id) for run_id in reversed(begun)]
    assert sizes == [2, 2, 1]
    numbers = [run["runNumber"] for run in runs]
    assert numbers == sorted(numbers, reverse=True)


def test_a_page_token_of_other_filters_or_of_another_list_is_refused(
    operator: ApiClient, ledger: dict[str, str]
) -> None:
    token = operator.get(RUNS, dryRun="false", maxResultsPerPage=1).get_json()["pagination"]["nextToken"]
    asked: list[tuple[str, dict[str, str]]] = [
        (RUNS, {}),
        (RUNS, {"dryRun": "true"}),
        (RUNS, {"dryRun": "false", "states": "HELD"}),
        (f"{RUNS}/{ledger['done']}/orders", {}),
    ]
    for path, query in asked:
        response = operator.get(path, paginationToken=token, **query)
        assert refused(response) == (422, "invalid-request", "paginationToken")
    # Made before runs were numbered: it holds a time and an id.
    tokens = operator.app.extensions["manage-orders"].page_tokens
    old = tokens.encode(["cancellation-runs"], [datetime.now(UTC).isoformat(), str(uuid.uuid4())])
    assert refused(operator.get(RUNS, paginationToken=old)) == (422, "invalid-request", "paginationToken")


def test_a_missed_run_tells_how_many_slots_and_no_other_run_does(operator: ApiClient, ledger: dict[str, str]) -> None:
    runs, _ = walk(operator, RUNS, "cancellationRuns")
    assert {run["runId"]: run["slotCount"] for run in runs if "slotCount" in run} == {ledger["missed"]: 59}


# What a run did, and would do.


def test_the_orders_that_a_run_cancelled_are_listed_page_by_page_and_those_of_no_other_run(
    operator: ApiClient, database: Database
) -> None:
    expected = [
        (seller_id, order_id)
        for seller_id in (SELLER, OTHER_SELLER)
        for order_id in receive_due(database, 3, seller_id)
    ]
    run_id = operator.post(RUNS, {}).get_json()["runId"]
    receive_due(database, 1)
    other = operator.post(RUNS, {}).get_json()["runId"]
    orders, sizes = walk(operator, f"{RUNS}/{run_id}/orders", "orders", maxResultsPerPage=4)
    assert [(order["sellerId"], order["orderId"]) for order in orders] == sorted(expected)
    assert sizes == [4, 2]
    assert {order["confirmBy"] for order in orders} == {"2026-03-18T07:00:00Z"}
    assert all(datetime.fromisoformat(order["cancelledTime"]) >= AFTER_DEADLINE for order in orders)
    assert len(walk(operator, f"{RUNS}/{other}/orders", "orders")[0]) == 1


def test_a_dry_run_lists_what_the_next_run_cancels_and_both_have_one_digest(
    operator: ApiClient, database: Database
) -> None:
    (order_id,) = receive_due(database, 1)
    tried = operator.post(RUNS, {"dryRun": True})
    assert tried.get_json()["dueOrders"] == [
        {"sellerId": SELLER, "orderId": order_id, "confirmBy": "2026-03-18T07:00:00Z"}
    ]
    assert "approval" not in tried.get_json()
    assert operator.get(tried.headers["Location"] + "/orders").get_json() == {"orders": []}
    done = operator.post(RUNS, {}).get_json()
    assert (done["cancelledCount"], done["ordersDigest"]) == (1, tried.get_json()["ordersDigest"])
    assert "dueOrders" not in operator.get(f"{RUNS}/{done['runId']}").get_json()


def test_a_held_run_shows_what_is_due_now_at_its_cutoff_and_a_run_that_went_on_shows_none(
    operator: ApiClient, database: Database, owner: psycopg.Connection
) -> None:
    # Broken by looking at the present time: what has become due since is not what is approved.
    due, extended, later = receive_due(database, 3)
    owner.execute("UPDATE orders SET confirm_by = confirm_by + interval '2 hours' WHERE order_id = %s", [later])
    held = insert_run(owner, "HELD", cutoff=CONFIRM_BY + HOUR, found_count=2)
    owner.execute("UPDATE orders SET confirm_by = confirm_by + interval '9 days' WHERE order_id = %s", [extended])
    shown = operator.get(f"{RUNS}/{held}").get_json()
    assert [order["orderId"] for order in shown["dueOrders"]] == [due]
    assert "dueOrders" not in operator.get(f"{RUNS}/{insert_run(owner, 'FAILED')}").get_json()


def test_what_belongs_to_a_run_that_does_not_exist_is_not_found(operator: ApiClient) -> None:
    path = f"{RUNS}/{uuid.uuid4()}"
    approval = {"expectedCount": 0, "reason": "made up"}
    for response in (operator.get(path), operator.get(f"{path}/orders"), operator.post(f"{path}/approval", approval)):
        assert refused(response) == (404, "cancellation-run-not-found", "")


# Approval.


def test_an_approval_says_who_and_until_when_and_the_same_again_changes_nothing(
    operator: ApiClient, owner: psycopg.Connection
) -> None:
    path = f"{RUNS}/{insert_run(owner, 'HELD', found_count=7)}"
    body = {"expectedCount": 7, "reason": "The warehouse was closed"}
    given = operator.post(f"{path}/approval", body)
    assert (given.status_code, given.headers["Location"]) == (201, path)
    approval = given.get_json()
    assert (approval["runId"], approval["expectedCount"], approval["reason"]) == (
        path.rpartition("/")[2],
        *body.values(),
    )
    assert approval["approvedBy"].startswith("token:")
    times = [datetime.fromisoformat(approval[name]) for name in ("approvedTime", "expiresTime")]
    assert times[1] - times[0] == HOUR
    again = operator.post(f"{path}/approval", body)
    assert (again.status_code, again.get_json()) == (201, approval)
    assert operator.get(path).get_json()["approval"] == approval
    assert owner.execute("SELECT count(*) FROM cancellation_approvals").fetchone() == (1,)


@pytest.mark.parametrize(
    ("state", "ago", "body", "expected"),
    [
        ("FAILED", HOUR, {"expectedCount": 7, "reason": "why"}, (409, "run-not-held", "")),
        ("HELD", HOUR, {"expectedCount": 6, "reason": "why"}, (409, "count-differs", "/expectedCount")),
        ("HELD", 25 * HOUR, {"expectedCount": 7, "reason": "why"}, (409, "approval-too-late", "")),
        ("HELD", HOUR, {"expectedCount": 7}, (422, "invalid-request", "/reason")),
        ("HELD", HOUR, {"expectedCount": -1, "reason": "why"}, (422, "invalid-request", "/expectedCount")),
        ("HELD", HOUR, {"expectedCount": 2**31, "reason": "why"}, (422, "invalid-request", "/expectedCount")),
        ("HELD", HOUR, {"expectedCount": 7, "reason": "\0"}, (422, "invalid-request", "/reason")),
    ],
)
def test_an_approval_that_does_not_fit_the_run_is_refused_and_none_is_kept(
    operator: ApiClient,
    owner: psycopg.Connection,
    state: str,
    ago: timedelta,
    body: dict[str, Any],
    expected: tuple[int, str, str],
) -> None:
    run_id = insert_run(owner, state, ago, found_count=7)
    assert refused(operator.post(f"{RUNS}/{run_id}/approval", body)) == expected
    assert owner.execute("SELECT count(*) FROM cancellation_approvals").fetchone() == (0,)


@pytest.mark.parametrize(
    "spent",
    ["expires_time = now() - interval '1 second'", "used_time = now(), used_by_run_id = run_id"],
    ids=["expired", "used"],
)
def test_an_approval_that_is_spent_is_given_no_second_time(
    operator: ApiClient, owner: psycopg.Connection, spent: str
) -> None:
    path = f"{RUNS}/{insert_run(owner, 'HELD', found_count=7)}/approval"
    body = {"expectedCount": 7, "reason": "why"}
    assert operator.post(path, body).status_code == 201
    owner.execute(f"UPDATE cancellation_approvals SET approved_time = now() - interval '1 hour', {spent}".encode())
    assert refused(operator.post(path, body)) == (409, "run-approved", "")


def test_what_a_run_could_not_cancel_is_shown_with_the_reason(
    operator: ApiClient, database: Database, owner: psycopg.Connection
) -> None:
    (order_id,) = receive_due(database, 1)
    run_id = insert_run(owner, "PARTIAL")
    owner.execute(
        "INSERT INTO cancellation_errors (seller_id, order_id, run_id, error) VALUES (%s, %s, %s, 'no, not this one')",
        [SELLER, order_id, run_id],
    )
    shown = operator.get(f"{RUNS}/{run_id}").get_json()
    assert shown["errors"] == [{"sellerId": SELLER, "orderId": order_id, "error": "no, not this one"}]

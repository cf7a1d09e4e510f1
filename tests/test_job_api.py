"""What operations see of the cancellation job at a glance, and how they pause it and let it go on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

import psycopg
import pytest

from service.cancellation_job.job_rules import JobSigns, JobState, job_state, why_stalled
from service.cancellation_job.rules import Limits, SweepOptions
from service.database import Database
from tests.conftest import NOW, SELLER, ApiClient, order_document
from tests.job_scene import AFTER_DEADLINE, ENOUGH_TO_HOLD, insert_run, receive_due

MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)
OPTIONS = SweepOptions(interval_s=60, limits=Limits(max_clock_skew_s=60))


def job_of(operator: ApiClient) -> dict[str, Any]:
    return operator.get("/v1/cancellation-job").get_json()


def until(ahead: timedelta) -> str:
    return (datetime.now(UTC) + ahead).isoformat()


# The state, by the rules.


@pytest.mark.parametrize(
    ("succeeded", "heartbeat", "paused", "held", "state"),
    [
        (None, None, False, False, JobState.STALLED),
        (3 * MINUTE, None, False, False, JobState.WAITING),
        (3 * MINUTE + SECOND, None, False, False, JobState.STALLED),
        # A run may take long, as long as it shows life; one that shows none hides nothing.
        (20 * MINUTE, 3 * MINUTE, False, False, JobState.RUNNING),
        (None, 0 * MINUTE, False, False, JobState.RUNNING),
        (20 * MINUTE, 4 * MINUTE, False, False, JobState.STALLED),
        (MINUTE, 4 * MINUTE, False, False, JobState.WAITING),
        # Nor does one whose sign of life lies ahead: the clock was put back.
        (20 * MINUTE, -3 * MINUTE, False, False, JobState.RUNNING),
        (20 * MINUTE, -4 * MINUTE, False, False, JobState.STALLED),
        # What people decide comes first.
        (20 * MINUTE, MINUTE, False, True, JobState.HELD),
        (None, None, True, True, JobState.PAUSED),
        # The clock was put back: a success that lies ahead is none, but for what clocks differ by.
        (-2 * MINUTE, None, False, False, JobState.STALLED),
        (-MINUTE, None, False, False, JobState.WAITING),
    ],
)
def test_the_state_follows_from_the_signs(
    *, succeeded: timedelta | None, heartbeat: timedelta | None, paused: bool, held: bool, state: JobState
) -> None:
    signs = JobSigns(
        database_now=NOW,
        last_success_time=None if succeeded is None else NOW - succeeded,
        running_heartbeat_time=None if heartbeat is None else NOW - heartbeat,
        is_paused=paused,
        is_held=held,
    )
    assert job_state(signs, OPTIONS) is state


def test_the_patience_is_three_intervals_and_a_clock_that_went_back_is_said_to_have() -> None:
    hourly = SweepOptions(interval_s=3600)
    assert why_stalled(NOW - timedelta(hours=3), NOW, hourly) is None
    assert why_stalled(NOW - timedelta(hours=3), NOW, OPTIONS) == (
        "the cancellation job has not succeeded since 2026-03-02T09:00:00Z"
    )
    assert "went back" in (why_stalled(NOW + timedelta(hours=2), NOW, OPTIONS) or "")


# The job as it is read.


def test_a_job_that_never_ran_is_stalled(operator: ApiClient, set_clock: Callable[[object], object]) -> None:
    set_clock(NOW)
    job = job_of(operator)
    assert job.pop("now").startswith("2026-03-02T12:00:0")
    following = datetime.fromisoformat(job.pop("nextRunTime"))
    assert following.second == following.microsecond == 0
    assert timedelta(0) < following - datetime.now(UTC) + SECOND <= MINUTE + SECOND
    assert job == {
        "state": "STALLED",
        "overdueCount": 0,
        "missedSlotCount": 0,
        "schedulers": [],
        "intervalSeconds": 60,
        "limits": {
            "maxOrders": 5000,
            "maxPercent": 20,
            "maxSellerPercent": 50,
            "percentFrom": 50,
            "maxClockSkewSeconds": 60,
        },
    }


def test_a_job_that_succeeded_waits_and_shows_what_it_did(operator: ApiClient, database: Database) -> None:
    receive_due(database, 2)
    done = operator.post("/v1/cancellation-runs", {}).get_json()
    # Broken by taking a dry run, or a run that failed, for a success.
    operator.post("/v1/cancellation-runs", {"dryRun": True})
    job = job_of(operator)
    assert (job["state"], job["lastRun"]) == ("WAITING", done)
    assert job["lastSuccess"] == {name: done[name] for name in ("runId", "runNumber", "finishedTime", "cancelledCount")}
    assert done["cancelledCount"] == 2


def test_overdue_is_what_the_sweep_would_cancel_and_the_oldest_deadline_of_it(
    operator: ApiClient, seller: ApiClient, database: Database, owner: psycopg.Connection
) -> None:
    # Broken by counting the platform's orders, those that are PENDING, or those whose deadline is to come (D6).
    first, _, later = receive_due(database, 3)
    for order in (
        order_document(fulfillment__fulfilledBy="AMAZON"),
        order_document(fulfillment__fulfillmentStatus="PENDING", proceeds=None),
    ):
        assert seller.post("/v1/orders", order).status_code == 201
    owner.execute("UPDATE orders SET confirm_by = %s WHERE order_id = %s", [AFTER_DEADLINE - timedelta(days=9), first])
    owner.execute("UPDATE orders SET confirm_by = %s WHERE order_id = %s", [AFTER_DEADLINE + timedelta(days=9), later])
    job = job_of(operator)
    assert (job["overdueCount"], job["oldestConfirmBy"]) == (2, "2026-03-09T08:00:00Z")


def test_a_job_is_held_through_pauses_and_missed_slots_until_a_run_goes_on(
    operator: ApiClient, owner: psycopg.Connection
) -> None:
    # Broken by looking at the newest row alone, and by a dry run that counts.
    insert_run(owner, "HELD", 30 * MINUTE)
    insert_run(owner, "SUCCEEDED", 20 * MINUTE)
    first = insert_run(owner, "HELD", 10 * MINUTE)
    insert_run(owner, "PAUSED", 8 * MINUTE)
    newest = insert_run(owner, "HELD", 6 * MINUTE, found_count=7)
    insert_run(owner, "MISSED", 2 * MINUTE, slot=datetime.now(UTC) - 3 * MINUTE)
    insert_run(owner, "SUCCEEDED", MINUTE, dry_run=True)
    job = job_of(operator)
    began = operator.get(f"/v1/cancellation-runs/{first}").get_json()["startedTime"]
    assert job["state"] == "HELD"
    assert job["held"] == {
        "runId": str(newest),
        "foundCount": 7,
        "heldReasons": [{"code": "TOO_MANY", "detail": "made up"}],
        "since": began,
    }
    assert (job["lastRun"]["runId"], job["lastRun"]["state"]) == (str(newest), "HELD")
    insert_run(owner, "FAILED")
    job = job_of(operator)
    assert (job["state"], "held" in job) == ("STALLED", False)


def test_a_run_under_way_is_seen_and_one_that_fell_silent_is_not_taken_for_one(
    operator: ApiClient, owner: psycopg.Connection
) -> None:
    # Broken by the latest sign of life: that of another run lies ahead, for the clock was put back.
    insert_run(owner, "RUNNING", 30 * MINUTE, heartbeat_time=datetime.now(UTC) + timedelta(days=11))
    run_id = insert_run(owner, "RUNNING", 20 * MINUTE, heartbeat_time=datetime.now(UTC))
    job = job_of(operator)
    assert (job["state"], job["lastRun"]["runId"]) == ("RUNNING", str(run_id))
    owner.execute("DELETE FROM cancellation_runs WHERE heartbeat_time > now() + interval '1 day'")
    owner.execute("UPDATE cancellation_runs SET heartbeat_time = now() - interval '5 minutes'")
    assert job_of(operator)["state"] == "STALLED"


def test_the_missed_slots_of_the_last_day_are_counted_and_no_older_ones(
    operator: ApiClient, owner: psycopg.Connection
) -> None:
    # Broken by adding whole outages up: this one began three days ago and ended an hour ago.
    slot = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(days=3)
    insert_run(owner, "MISSED", timedelta(hours=1), slot=slot, slot_count=71 * 60)
    insert_run(owner, "MISSED", timedelta(hours=70), slot=slot - timedelta(days=1), slot_count=10)
    assert 23 * 60 - 2 <= job_of(operator)["missedSlotCount"] <= 23 * 60


def test_schedulers_are_shown_with_whether_they_live(operator: ApiClient, owner: psycopg.Connection) -> None:
    owner.execute(
        """
        INSERT INTO schedulers (
            scheduler_id, host, process_id, program_version, started_time, heartbeat_time, stopped_time, clock_skew_ms
        )
        SELECT scheduler_id, 'orders-1', 1, '1', now() - interval '1 day', now() - make_interval(secs => silent_s),
            CASE WHEN is_stopped THEN now() END, skew_ms
        FROM (VALUES
            ('lives', 0, false, -4), ('stopped', 1, true, 0), ('silent', 31, false, 950400000000),
            ('ahead', -60, false, 0)
        ) AS made (scheduler_id, silent_s, is_stopped, skew_ms)
        """
    )
    shown = [(each["schedulerId"], each["isAlive"], each["clockSkewMs"]) for each in job_of(operator)["schedulers"]]
    assert shown == [
        ("ahead", False, 0),
        ("lives", True, -4),
        ("stopped", False, 0),
        ("silent", False, 950_400_000_000),
    ]


# Pause and resume.


def test_a_pause_stops_the_sweep_and_resuming_lets_it_go_on(operator: ApiClient, database: Database) -> None:
    receive_due(database, 1)
    end = until(timedelta(hours=2))
    paused = operator.post("/v1/cancellation-job/pause", {"reason": "The feed is late", "until": end}).get_json()
    assert paused["state"] == "PAUSED"
    assert paused["pause"]["reason"] == "The feed is late"
    assert paused["pause"]["pausedBy"].startswith("token:")
    assert datetime.fromisoformat(paused["pause"]["until"]) == datetime.fromisoformat(end)
    run = operator.post("/v1/cancellation-runs", {})
    assert (run.status_code, run.get_json()["state"], run.get_json()["cancelledCount"]) == (201, "PAUSED", 0)
    resumed = operator.post("/v1/cancellation-job/resume", None)
    assert (resumed.status_code, "pause" in resumed.get_json()) == (200, False)
    assert operator.post("/v1/cancellation-runs", {}).get_json()["cancelledCount"] == 1
    assert job_of(operator)["state"] == "WAITING"


def test_a_second_pause_takes_the_place_of_the_first_and_both_are_recorded(
    operator: ApiClient, owner: psycopg.Connection
) -> None:
    for reason in ("first", "second"):
        body = {"reason": reason, "until": until(timedelta(hours=1))}
        assert operator.post("/v1/cancellation-job/pause", body).get_json()["pause"]["reason"] == reason
    assert operator.post("/v1/cancellation-job/resume", None).status_code == 200
    pauses = "SELECT reason, resumed_by LIKE 'token:%', xmin::text FROM cancellation_pauses ORDER BY paused_time"
    recorded = owner.execute(pauses).fetchall()
    assert [row[:2] for row in recorded] == [("first", True), ("second", True)]
    # What is not paused is not resumed: not a row is written.
    assert operator.post("/v1/cancellation-job/resume", None).status_code == 200
    assert owner.execute(pauses).fetchall() == recorded


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"reason": "late", "until": until(timedelta(hours=73))}, "/until"),
        ({"reason": "late", "until": until(-MINUTE)}, "/until"),
        ({"reason": "late", "until": "2999-12-31T23:59:59Z"}, "/until"),
        ({"reason": "late", "until": "1970-01-01T00:00:00Z"}, "/until"),
        ({"reason": "late", "until": "2026-03-14T07:00:00"}, "/until"),
        ({"reason": "late"}, "/until"),
        ({"reason": "", "until": until(MINUTE)}, "/reason"),
        ({"reason": "x" * 501, "until": until(MINUTE)}, "/reason"),
        ({"until": until(MINUTE)}, "/reason"),
    ],
)
def test_a_pause_that_is_too_long_or_past_or_without_a_reason_is_refused(
    operator: ApiClient, owner: psycopg.Connection, body: dict[str, str], pointer: str
) -> None:
    response = operator.post("/v1/cancellation-job/pause", body)
    assert response.status_code == 422
    assert [error["pointer"] for error in response.get_json()["errors"]] == [pointer]
    assert owner.execute("SELECT count(*) FROM cancellation_pauses").fetchone() == (0,)


def test_a_pause_of_just_under_72_hours_is_taken_whatever_the_sandbox_clock_says(
    operator: ApiClient, set_clock: Callable[[object], object]
) -> None:
    # Broken by measuring with app_now(), which stands years ago here.
    set_clock(NOW)
    body = {"reason": "late", "until": until(timedelta(hours=72) - SECOND)}
    assert operator.post("/v1/cancellation-job/pause", body).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/cancellation-job/resume"),
        ("GET", "/v1/cancellation-job"),
        ("DELETE", "/v1/sandbox/clock"),
        ("POST", "/v1/orders/902-1/charge-attempts?sellerId=A1SELLER"),
        ("DELETE", "/v1/orders/902-1/cancellation-request?sellerId=A1SELLER"),
    ],
)
def test_what_takes_no_body_refuses_one(method: str, path: str, operator: ApiClient, database: Database) -> None:
    # Broken by reading none: who sends `until` to the wrong address is told that it was done.
    del database
    for body in (b"{}", b'{"until": "2h"}', b"x"):
        refused = operator.request(method, path, data=body)
        assert (refused.status_code, refused.get_json()["errors"]) == (
            422,
            [{"detail": "must be left out", "pointer": ""}],
        )
    chunked = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    stream = {"input_stream": BytesIO(b"{}"), "environ_overrides": chunked}
    assert operator.request(method, path, **stream).status_code == 422
    assert operator.request(method, path, data=b"").status_code != 422


# Hold and approve, from one end to the other.


def test_a_held_run_is_looked_at_approved_and_done_by_the_next(operator: ApiClient, database: Database) -> None:
    order_ids = receive_due(database, ENOUGH_TO_HOLD)
    held = operator.post("/v1/cancellation-runs", {})
    run = held.get_json()
    assert (held.status_code, run["state"], run["foundCount"], run["cancelledCount"]) == (201, "HELD", 50, 0)
    assert {reason["code"] for reason in run["heldReasons"]} == {"TOO_MANY_OF_OPEN", "TOO_MANY_OF_SELLER"}
    path = f"/v1/cancellation-runs/{run['runId']}"
    shown = operator.get(path).get_json()
    assert sorted(due["orderId"] for due in shown["dueOrders"]) == order_ids
    assert operator.get(f"{path}/orders").get_json() == {"orders": []}
    assert (job_of(operator)["state"], job_of(operator)["held"]["runId"]) == ("HELD", run["runId"])
    approval = operator.post(f"{path}/approval", {"expectedCount": 50, "reason": "We were closed"}).get_json()
    assert job_of(operator)["held"]["approval"] == operator.get(path).get_json()["approval"] == approval
    done = operator.post("/v1/cancellation-runs", {}).get_json()
    assert (done["state"], done["cancelledCount"], done["approvedRunId"]) == ("SUCCEEDED", 50, run["runId"])
    assert done["ordersDigest"] == run["ordersDigest"]
    assert operator.get(path).get_json()["approval"]["usedByRunId"] == done["runId"]
    assert job_of(operator)["state"] == "WAITING"


# Who may.


def test_who_may_only_look_looks_and_steers_nothing(
    client_of: Callable[..., ApiClient], operator: ApiClient, seller: ApiClient, owner: psycopg.Connection
) -> None:
    watcher = client_of(None, ["operations:read"])
    path = f"/v1/cancellation-runs/{insert_run(owner, 'HELD')}"
    reads = ("/v1/cancellation-job", "/v1/cancellation-runs", path, f"{path}/orders")
    writes = (
        ("/v1/cancellation-job/pause", {"reason": "late", "until": until(MINUTE)}),
        ("/v1/cancellation-job/resume", None),
        ("/v1/cancellation-runs", {"dryRun": True}),
        (f"{path}/approval", {"expectedCount": 0, "reason": "made up"}),
    )
    # Whoever may steer may look, by a token made before there was a scope for that.
    steering = client_of(None, ["operations"])
    for read in reads:
        assert [each.get(read).status_code for each in (watcher, steering, operator, seller)] == [200, 200, 200, 403]
    for write, body in writes:
        assert [each.post(write, body).status_code for each in (watcher, seller)] == [403, 403]
    assert watcher.get("/v1/orders", sellerId=SELLER).status_code == 403
    assert owner.execute("SELECT count(*) FROM cancellation_approvals").fetchone() == (0,)

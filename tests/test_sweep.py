"""The sweep cancels exactly what is due, whatever else happens, and its ledger tells (R8, R9, R11, D2, D3, D5, D6)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Self

import psycopg
import pytest
from psycopg.rows import TupleRow

from service.cancellation_job import batches, ledger
from service.cancellation_job.actions import DEAD_AFTER_S, preview_sweep, sweep
from service.cancellation_job.ledger import CancellationRun
from service.cancellation_job.queries import cancel_orders, find_due_orders
from service.database import Database
from service.errors import ConfirmationWindowClosed
from service.settings import Settings
from service.shipments.actions import confirm_shipment
from service.shipments.rules import ShipmentConfirmation
from tests.conftest import (
    CONFIRM_BY,
    LIFTED,
    NOW,
    OTHER_SELLER,
    SELLER,
    SHIP_BY,
    ApiClient,
    confirmation,
)
from tests.sweep_scene import STUCK_AFTER_S, Scene, interrupt

MICROSECOND = timedelta(microseconds=1)
AFTER_DEADLINE = CONFIRM_BY + timedelta(hours=1)
EVERYTHING = ShipmentConfirmation(
    package_reference_id="1",
    carrier_code="UPS",
    carrier_name=None,
    shipping_method=None,
    tracking_number=None,
    ship_date=NOW,
    items=None,
)


@pytest.fixture
def scene(database: Database, owner: psycopg.Connection) -> Scene:
    """Return an empty sandbox."""
    return Scene(database, owner)


@pytest.fixture
def stop_clock(scene: Scene) -> Iterator[Callable[[datetime], None]]:
    """Yield a function that makes `app_now()` stand still, which the sandbox clock never does."""
    row = scene.owner.execute("SELECT pg_get_functiondef('app_now()'::regprocedure)").fetchone()
    assert row is not None

    def stop(now: datetime) -> None:
        scene.owner.execute(
            "CREATE OR REPLACE FUNCTION app_now() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE AS $$ "
            f"SELECT timestamptz '{now.isoformat()}' $$".encode()
        )

    yield stop
    scene.owner.execute(row[0])


# --- What is due ---------------------------------------------------------------------------------------------------


def test_an_order_is_cancelled_at_its_deadline_and_not_one_microsecond_before(
    scene: Scene, stop_clock: Callable[[datetime], None]
) -> None:
    # Broken by `<` for `<=` in either statement, and by rounding anywhere.
    past, at, before = scene.receive(3)
    scene.set_deadline(past, CONFIRM_BY - MICROSECOND)
    scene.set_deadline(before, CONFIRM_BY + MICROSECOND)
    stop_clock(CONFIRM_BY)
    run = scene.sweep()
    assert scene.statuses() == {past: "CANCELLED", at: "CANCELLED", before: "UNSHIPPED"}
    assert (run.state, run.found_count, run.cancelled_count, run.cutoff) == ("SUCCEEDED", 2, 2, CONFIRM_BY)
    stop_clock(CONFIRM_BY + MICROSECOND)
    assert scene.sweep().cancelled_count == 1
    assert scene.statuses()[before] == "CANCELLED"


def test_a_first_confirmation_is_taken_one_microsecond_before_the_deadline_and_refused_at_it_though_no_sweep_ran(
    scene: Scene, stop_clock: Callable[[datetime], None]
) -> None:
    # Broken by `>` for `>=`, or by asking whether the sweep has been there instead of the deadline (D2).
    at, before = scene.receive(2)
    scene.set_deadline(before, CONFIRM_BY + MICROSECOND)
    stop_clock(CONFIRM_BY)
    confirm_shipment(scene.database, SELLER, before, EVERYTHING, "test", settled_outside=True)
    with pytest.raises(ConfirmationWindowClosed, match="2026-03-18T07:00:00Z"):
        confirm_shipment(scene.database, SELLER, at, EVERYTHING, "test", settled_outside=True)
    assert scene.statuses() == {before: "SHIPPED", at: "UNSHIPPED"}
    scene.sweep()
    assert scene.statuses() == {before: "SHIPPED", at: "CANCELLED"}


def test_a_cancelled_order_is_unpaid_and_names_its_run_and_so_does_its_event(
    scene: Scene, seller: ApiClient, received: dict[str, Any]
) -> None:
    scene.set_clock(AFTER_DEADLINE)
    run = scene.sweep()
    order = seller.get(f"/v1/orders/{received['orderId']}").get_json()
    assert order["fulfillment"]["fulfillmentStatus"] == "CANCELLED"
    assert order["payment"] == {"paymentStatus": "UNPAID"}
    assert order["fulfillment"]["shipmentIsLate"] is False
    assert "warnings" not in order
    assert order["cancellation"] == {
        "cancelledTime": order["lastUpdatedTime"],
        "cancelReason": "NOT_CONFIRMED_IN_TIME",
        "cancellationRunId": str(run.run_id),
    }
    assert AFTER_DEADLINE <= datetime.fromisoformat(order["lastUpdatedTime"]) < AFTER_DEADLINE + timedelta(hours=1)
    events = scene.owner.execute(
        "SELECT version, event_type, actor, cancellation_run_id, details FROM order_events WHERE version > 1"
    ).fetchall()
    assert events == [
        (
            order["version"],
            "ORDER_CANCELLED",
            f"cancellation-run:{run.run_id}",
            run.run_id,
            {
                "cancelReason": "NOT_CONFIRMED_IN_TIME",
                "confirmBy": "2026-03-18T07:00:00+00:00",
                "fulfillmentStatus": {"was": "UNSHIPPED", "is": "CANCELLED"},
                "paymentStatus": {"was": "AUTHORIZED", "is": "UNPAID"},
            },
        )
    ]
    assert received["version"] + 1 == order["version"] == 2


def test_platform_fulfilled_and_pending_orders_are_left_alone(scene: Scene) -> None:
    # Broken by leaving out either half of what makes an order open (D6).
    (platform,) = scene.receive(fulfillment__fulfilledBy="AMAZON")
    (pending,) = scene.receive(fulfillment__fulfillmentStatus="PENDING", proceeds=None)
    (due,) = scene.receive()
    scene.set_clock(AFTER_DEADLINE)
    assert scene.sweep().found_count == 1
    assert scene.statuses() == {platform: "UNSHIPPED", pending: "PENDING", due: "CANCELLED"}


def test_an_order_with_one_confirmed_unit_is_never_cancelled(
    scene: Scene, seller: ApiClient, received: dict[str, Any]
) -> None:
    path = f"/v1/orders/{received['orderId']}"
    body = confirmation(orderItems=[{"orderItemId": "2", "quantity": 1}])
    assert seller.post(f"{path}/shipment-confirmations", body).status_code == 201
    scene.set_clock(AFTER_DEADLINE + timedelta(days=365))
    run = scene.sweep()
    assert (run.found_count, run.cancelled_count) == (0, 0)
    order = seller.get(path).get_json()
    assert order["fulfillment"]["fulfillmentStatus"] == "PARTIALLY_SHIPPED"
    assert order["payment"]["paymentStatus"] == "CHARGED"


def test_a_cancelled_order_is_not_cancelled_again(scene: Scene) -> None:
    scene.receive(3)
    scene.set_clock(AFTER_DEADLINE)
    assert [scene.sweep().cancelled_count for _ in range(3)] == [3, 0, 0]


@pytest.mark.parametrize("batch_size", [1, 3, 5, 1000])
def test_more_due_orders_than_a_batch_of_several_sellers_are_all_cancelled(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, batch_size: int
) -> None:
    # Deadlines alternate between the sellers, and some are the same: broken by a position that lacks a part of the key.
    first, second = scene.receive(7), scene.receive(6, OTHER_SELLER)
    for number, order_id in enumerate(order_id for pair in zip(first[:6], second, strict=True) for order_id in pair):
        scene.set_deadline(order_id, CONFIRM_BY - timedelta(minutes=number // 4))
    later = scene.receive(2)
    for order_id in later:
        scene.set_deadline(order_id, AFTER_DEADLINE + timedelta(days=1))
    scene.set_clock(AFTER_DEADLINE)
    # Each is cancelled in the batch of its seller, and none one by one as if it had been locked.
    interrupt(monkeypatch, "wait_for_order", lambda: pytest.fail("nothing is locked"))
    run = scene.sweep(batch_size=batch_size)
    assert (run.state, run.found_count, run.cancelled_count, run.skipped_count) == ("SUCCEEDED", 13, 13, 0)
    assert scene.statuses() == dict.fromkeys(first + second, "CANCELLED") | dict.fromkeys(later, "UNSHIPPED")


# --- What happens between the look and the cancellation ------------------------------------------------------------


def test_a_clock_moved_back_between_the_look_and_the_cancellation_cancels_nothing(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Broken by cancelling at the run's cutoff instead of the earlier of it and the clock.
    (order_id,) = scene.receive()
    scene.set_clock(AFTER_DEADLINE)
    interrupt(monkeypatch, "cancel_orders", lambda: scene.set_clock(CONFIRM_BY - timedelta(hours=1)))
    run = scene.sweep()
    assert (run.state, run.found_count, run.cancelled_count) == ("SUCCEEDED", 1, 0)
    assert scene.statuses() == {order_id: "UNSHIPPED"}


def test_a_clock_moved_on_during_a_run_cancels_no_more_than_was_due_at_its_cutoff(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    due, later = scene.receive(2)
    scene.set_deadline(later, CONFIRM_BY + timedelta(days=1))
    scene.set_clock(AFTER_DEADLINE)
    interrupt(monkeypatch, "find_due_orders", lambda: scene.set_clock(CONFIRM_BY + timedelta(days=2)))
    run = scene.sweep()
    assert (run.found_count, run.cancelled_count) == (1, 1)
    assert scene.statuses() == {due: "CANCELLED", later: "UNSHIPPED"}


def test_an_order_whose_deadline_is_extended_after_the_look_is_not_cancelled(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    extended, due = scene.receive(2)
    scene.set_clock(AFTER_DEADLINE)
    extend = partial(scene.set_deadline, extended, AFTER_DEADLINE + timedelta(days=1))
    interrupt(monkeypatch, "cancel_orders", extend)
    assert scene.sweep().cancelled_count == 1
    assert scene.statuses() == {extended: "UNSHIPPED", due: "CANCELLED"}


def test_a_locked_order_is_waited_for_and_then_cancelled(scene: Scene) -> None:
    # Broken by skipping what is locked for good: a refused confirmation would leave the order neither way.
    locked, free = scene.receive(2)
    scene.set_clock(AFTER_DEADLINE)
    with scene.sweeping_while_locked(locked) as sweeping:
        assert scene.statuses() == {locked: "UNSHIPPED", free: "CANCELLED"}
    run = sweeping.result(STUCK_AFTER_S)
    assert (run.state, run.found_count, run.cancelled_count, run.skipped_count) == ("SUCCEEDED", 2, 2, 0)
    assert scene.statuses() == {locked: "CANCELLED", free: "CANCELLED"}


def test_a_locked_order_that_is_no_longer_due_when_it_is_released_is_left_alone(scene: Scene) -> None:
    (locked,) = scene.receive()
    scene.set_clock(AFTER_DEADLINE)
    with scene.sweeping_while_locked(locked) as sweeping:
        scene.set_deadline(locked, AFTER_DEADLINE + timedelta(days=1))
    run = sweeping.result(STUCK_AFTER_S)
    assert (run.state, run.found_count, run.cancelled_count, run.skipped_count) == ("SUCCEEDED", 1, 0, 0)
    assert scene.statuses() == {locked: "UNSHIPPED"}


def test_an_order_locked_for_too_long_makes_the_run_partial_and_is_taken_by_the_next(
    scene: Scene, settings: Settings
) -> None:
    locked, *free = scene.receive(4)
    scene.set_clock(AFTER_DEADLINE)
    with Database(replace(settings, lock_timeout_ms=50), pool_size=1).closing() as impatient, scene.owner.transaction():
        scene.lock(locked)
        run = Scene(impatient, scene.owner).sweep()
    assert (run.state, run.found_count, run.cancelled_count) == ("PARTIAL", 4, 3)
    assert (run.skipped_count, run.error_count) == (1, 0)
    assert scene.statuses() == {locked: "UNSHIPPED"} | dict.fromkeys(free, "CANCELLED")
    following = scene.sweep()
    assert (following.state, following.cancelled_count) == ("SUCCEEDED", 1)
    assert scene.statuses()[locked] == "CANCELLED"


# --- What goes wrong -----------------------------------------------------------------------------------------------


def _poison_with_an_event(owner: psycopg.Connection, order_id: str) -> str:
    owner.execute(
        """
        INSERT INTO order_events (
            seller_id, order_id, version, event_type, event_time, actor, details,
            ship_by_sort, confirm_by_sort, grand_total_sort
        )
        SELECT seller_id, order_id, version + 1, 'ORDER_UPDATED', app_now(), 'test', '{}',
            ship_by_sort, confirm_by_sort, grand_total_sort
        FROM orders WHERE order_id = %s
        """,
        [order_id],
    )
    return 'duplicate key value violates unique constraint "order_events_pkey"'


def _take_the_event_away(owner: psycopg.Connection, order_id: str) -> None:
    owner.execute("DELETE FROM order_events WHERE order_id = %s AND event_type = 'ORDER_UPDATED'", [order_id])


def _poison_with_a_trigger(owner: psycopg.Connection, order_id: str) -> str:
    owner.execute(
        f"""
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no, not this one'; END $$;
        CREATE TRIGGER refuse BEFORE UPDATE ON orders FOR EACH ROW WHEN (OLD.order_id = '{order_id}')
            EXECUTE FUNCTION refuse()
        """.encode()
    )
    return "no, not this one"


def _poison_with_a_slow_trigger(owner: psycopg.Connection, order_id: str) -> str:
    # As an order does whose statement takes longer than a statement may.
    owner.execute(
        f"""
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN RAISE 'canceling statement due to statement timeout' USING ERRCODE = 'query_canceled'; END
        $$;
        CREATE TRIGGER refuse BEFORE UPDATE ON orders FOR EACH ROW WHEN (OLD.order_id = '{order_id}')
            EXECUTE FUNCTION refuse()
        """.encode()
    )
    return "canceling statement due to statement timeout"


def _take_the_trigger_away(owner: psycopg.Connection, _: str) -> None:
    owner.execute("DROP FUNCTION IF EXISTS refuse() CASCADE")


@pytest.mark.parametrize("batch_size", [4, 1000])
@pytest.mark.parametrize(
    ("poison", "mend"),
    [
        (_poison_with_an_event, _take_the_event_away),
        (_poison_with_a_trigger, _take_the_trigger_away),
        (_poison_with_a_slow_trigger, _take_the_trigger_away),
    ],
    ids=["event", "trigger", "timeout"],
)
def test_an_order_that_cannot_be_cancelled_stops_no_other_and_is_recorded_and_taken_once_it_can(
    scene: Scene,
    operator: ApiClient,
    batch_size: int,
    poison: Callable[[psycopg.Connection, str], str],
    mend: Callable[[psycopg.Connection, str], None],
) -> None:
    # Broken by letting the first failing batch end the run, or by giving up the whole batch.
    mine, theirs = scene.receive(9), scene.receive(3, OTHER_SELLER)
    scene.set_clock(AFTER_DEADLINE)
    reason = poison(scene.owner, mine[4])
    try:
        run = scene.sweep(batch_size=batch_size)
        again = scene.sweep(batch_size=batch_size)
    finally:
        mend(scene.owner, mine[4])
    assert scene.statuses() == dict.fromkeys(mine + theirs, "CANCELLED") | {mine[4]: "UNSHIPPED"}
    assert (run.state, run.found_count, run.cancelled_count) == ("PARTIAL", 12, 11)
    assert (run.skipped_count, run.error_count) == (0, 1)
    assert (again.state, again.found_count, again.cancelled_count, again.error_count) == ("PARTIAL", 1, 0, 1)
    shown = operator.get(f"/v1/cancellation-runs/{run.run_id}").get_json()
    assert shown["errors"] == [{"sellerId": SELLER, "orderId": mine[4], "error": reason}]
    mended = scene.sweep(batch_size=batch_size)
    assert (mended.state, mended.cancelled_count, mended.error_count) == ("SUCCEEDED", 1, 0)
    assert scene.statuses()[mine[4]] == "CANCELLED"


def test_of_a_thousand_orders_one_that_cannot_be_cancelled_is_left_and_told_and_taken_by_the_next_run(
    scene: Scene,
) -> None:
    order_ids = scene.receive(1000)
    scene.set_clock(AFTER_DEADLINE)
    reason = _poison_with_a_trigger(scene.owner, order_ids[617])
    try:
        run = scene.sweep()
    finally:
        _take_the_trigger_away(scene.owner, "")
    assert (run.state, run.cancelled_count, run.skipped_count, run.error_count) == ("PARTIAL", 999, 0, 1)
    with scene.database.operator_transaction() as connection:
        assert ledger.find_errors(connection, run.run_id, 1000) == [(SELLER, order_ids[617], reason)]
    mended = scene.sweep()
    assert (mended.state, mended.cancelled_count, mended.error_count) == ("SUCCEEDED", 1, 0)


def test_an_order_that_was_locked_and_then_cannot_be_cancelled_is_recorded(scene: Scene) -> None:
    locked, free = scene.receive(2)
    scene.set_clock(AFTER_DEADLINE)
    with scene.sweeping_while_locked(locked) as sweeping:
        _poison_with_an_event(scene.owner, locked)
    run = sweeping.result(STUCK_AFTER_S)
    assert (run.state, run.found_count, run.cancelled_count) == ("PARTIAL", 2, 1)
    assert (run.skipped_count, run.error_count) == (0, 1)
    assert scene.owner.execute("SELECT order_id, run_id FROM cancellation_errors").fetchall() == [(locked, run.run_id)]
    _take_the_event_away(scene.owner, locked)
    assert free != locked


def test_a_run_that_breaks_is_failed_in_the_ledger_and_the_next_does_the_rest(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.receive(5)
    scene.set_clock(AFTER_DEADLINE)

    def break_down() -> None:
        raise RuntimeError("the second batch breaks")

    def prepare() -> None:
        interrupt(monkeypatch, "cancel_orders", break_down)

    interrupt(monkeypatch, "cancel_orders", prepare)
    with pytest.raises(RuntimeError, match="the second batch breaks"):
        scene.sweep(batch_size=2)
    (failed,) = scene.runs()
    assert (failed.state, failed.found_count, failed.cancelled_count) == ("FAILED", 5, 2)
    assert failed.finished_time is not None
    assert scene.sweep().cancelled_count == 3


def test_a_run_whose_process_died_is_abandoned_and_a_living_one_is_not(scene: Scene) -> None:
    scene.owner.execute(
        """
        INSERT INTO cancellation_runs (dry_run, state, requested_by, cutoff, heartbeat_time)
        SELECT false, 'RUNNING', requested_by, now(), now() - make_interval(secs => silent_s)
        FROM (VALUES ('dead', %s + 5), ('alive', %s - 60)) AS run (requested_by, silent_s)
        """,
        [DEAD_AFTER_S, DEAD_AFTER_S],
    )
    scene.sweep()
    found = {run.requested_by: run for run in scene.runs()}
    assert {name: run.state for name, run in found.items()} == {
        "dead": "ABANDONED",
        "alive": "RUNNING",
        "test": "SUCCEEDED",
    }
    assert found["dead"].finished_time is not None


# --- Many at once --------------------------------------------------------------------------------------------------


def test_two_sweeps_at_once_cancel_each_order_once(scene: Scene) -> None:
    # That each order has one event and each run counts its own is asked of the invariants, afterwards.
    order_ids = scene.receive(60) + scene.receive(60, OTHER_SELLER)
    scene.set_clock(AFTER_DEADLINE)
    start = threading.Barrier(2)

    def start_together() -> CancellationRun:
        start.wait()
        return scene.sweep(batch_size=7)

    with ThreadPoolExecutor(2) as threads:
        found = [future.result() for future in [threads.submit(start_together) for _ in range(2)]]
    assert sum(run.cancelled_count for run in found) == 120
    assert {(run.state, run.skipped_count, run.error_count) for run in found} == {("SUCCEEDED", 0, 0)}
    assert scene.statuses() == dict.fromkeys(order_ids, "CANCELLED")


def test_of_many_schedulers_one_works_the_slot(scene: Scene) -> None:
    # Broken by a slot that holds the second, or by taking the sandbox clock for it.
    scene.receive(20)
    scene.set_clock(AFTER_DEADLINE)
    start = threading.Barrier(8)

    def start_together() -> CancellationRun | None:
        start.wait()
        return sweep(scene.database, requested_by="test", options=LIFTED, scheduled=True)

    with ThreadPoolExecutor(8) as threads:
        answers = [future.result() for future in [threads.submit(start_together) for _ in range(8)]]
    worked = scene.runs()
    slots = {run.slot for run in worked}
    # Two if a minute ended while they started.
    assert 1 <= len(worked) == len(slots) <= 2
    assert all(slot is not None and slot.second == slot.microsecond == 0 for slot in slots)
    assert sum(answer is not None for answer in answers) == len(worked)
    assert sum(run.cancelled_count for run in worked) == 20


def test_a_run_by_hand_takes_no_slot(scene: Scene) -> None:
    for _ in range(3):
        scene.sweep()
    assert [(run.slot, run.state) for run in scene.runs()] == [(None, "SUCCEEDED")] * 3


# --- Dry runs ------------------------------------------------------------------------------------------------------


def test_a_dry_run_lists_what_is_due_cancels_nothing_and_is_in_the_ledger(scene: Scene) -> None:
    due = sorted(scene.receive(3))
    scene.set_clock(AFTER_DEADLINE)
    run, listed = preview_sweep(scene.database, requested_by="test", limit=2)
    assert [(each.seller_id, each.order_id, each.confirm_by) for each in listed] == [
        (SELLER, order_id, CONFIRM_BY) for order_id in due[:2]
    ]
    assert (run.dry_run, run.state, run.slot, run.found_count, run.cancelled_count) == (True, "SUCCEEDED", None, 3, 0)
    assert scene.runs() == [run]
    assert scene.statuses() == dict.fromkeys(due, "UNSHIPPED")


# --- The seller's side of a closed window --------------------------------------------------------------------------


def test_a_first_confirmation_after_the_deadline_is_refused_before_and_after_the_sweep(
    scene: Scene, seller: ApiClient, operator: ApiClient, received: dict[str, Any]
) -> None:
    path = f"/v1/orders/{received['orderId']}/shipment-confirmations"
    scene.set_clock(AFTER_DEADLINE)
    early = seller.post(path, confirmation())
    assert operator.post("/v1/cancellation-runs", {}).get_json()["cancelledCount"] == 1
    late = seller.post(path, confirmation())
    assert (early.status_code, early.get_json()["type"]) == (
        409,
        "urn:manage-orders:problem:confirmation-window-closed",
    )
    assert (late.status_code, late.get_json()["type"]) == (409, "urn:manage-orders:problem:order-cancelled")


def test_a_partly_confirmed_order_is_completed_after_the_deadline_and_late_until_then(
    scene: Scene, seller: ApiClient, received: dict[str, Any]
) -> None:
    path = f"/v1/orders/{received['orderId']}"
    late = [
        {
            "code": "SHIPMENT_IS_LATE",
            "message": "Shipment is late",
            "since": SHIP_BY.isoformat().replace("+00:00", "Z"),
            "resolution": "Confirm the shipment of every item that remains. A refund does not end it.",
        }
    ]

    def lateness() -> tuple[str, bool, list[dict[str, str]] | None]:
        order = seller.get(path).get_json()
        fulfillment = order["fulfillment"]
        return fulfillment["fulfillmentStatus"], fulfillment["shipmentIsLate"], order.get("warnings")

    body = confirmation("1", orderItems=[{"orderItemId": "1", "quantity": 1}])
    assert seller.post(f"{path}/shipment-confirmations", body).status_code == 201
    scene.set_clock(SHIP_BY - timedelta(hours=1))
    assert lateness() == ("PARTIALLY_SHIPPED", False, None)
    scene.set_clock(SHIP_BY)
    assert lateness() == ("PARTIALLY_SHIPPED", True, late)
    scene.set_clock(AFTER_DEADLINE)
    scene.sweep()
    body = confirmation("2", orderItems=[{"orderItemId": "2", "quantity": 1}])
    assert seller.post(f"{path}/shipment-confirmations", body).status_code == 201
    assert lateness() == ("PARTIALLY_SHIPPED", True, late)
    assert seller.post(f"{path}/shipment-confirmations", confirmation("3")).status_code == 201
    assert lateness() == ("SHIPPED", False, None)


# --- The ledger over HTTP ------------------------------------------------------------------------------------------


def test_operators_sweep_and_read_the_run_over_http(scene: Scene, operator: ApiClient) -> None:
    (order_id,) = scene.receive()
    scene.set_clock(AFTER_DEADLINE)
    tried = operator.post("/v1/cancellation-runs", {"dryRun": True})
    assert tried.status_code == 201
    assert tried.get_json()["dueOrders"] == [
        {"sellerId": SELLER, "orderId": order_id, "confirmBy": "2026-03-18T07:00:00Z"}
    ]
    assert (tried.get_json()["foundCount"], tried.get_json()["cancelledCount"]) == (1, 0)
    done = operator.post("/v1/cancellation-runs", {})
    assert done.status_code == 201
    run = done.get_json()
    assert (run["state"], run["dryRun"], run["foundCount"], run["cancelledCount"]) == ("SUCCEEDED", False, 1, 1)
    assert "slot" not in run
    assert run["requestedBy"].startswith("token:")
    location = done.headers["Location"]
    assert location == f"/v1/cancellation-runs/{run['runId']}"
    assert operator.get(location).get_json() == run


def test_the_ledger_is_paged_the_newest_run_first(operator: ApiClient) -> None:
    made = [operator.post("/v1/cancellation-runs", {"dryRun": True}).get_json()["runId"] for _ in range(5)]
    found: list[str] = []
    sizes: list[int] = []
    query: dict[str, object] = {"maxResultsPerPage": 2}
    while True:
        page = operator.get("/v1/cancellation-runs", **query).get_json()
        found += [run["runId"] for run in page["cancellationRuns"]]
        sizes.append(len(page["cancellationRuns"]))
        if "pagination" not in page:
            break
        query["paginationToken"] = page["pagination"]["nextToken"]
    assert found == made[::-1]
    assert sizes == [2, 2, 1]
    assert [run["runId"] for run in operator.get("/v1/cancellation-runs").get_json()["cancellationRuns"]] == made[::-1]


def test_a_forged_page_of_the_ledger_and_an_unknown_run_are_refused(operator: ApiClient) -> None:
    assert operator.get("/v1/cancellation-runs", paginationToken="forged").status_code == 422
    response = operator.get("/v1/cancellation-runs/5f0c5c4e-7a53-4d5a-9d0c-0d5a0f6b1c11")
    assert (response.status_code, response.get_json()["type"]) == (
        404,
        "urn:manage-orders:problem:cancellation-run-not-found",
    )


def test_a_run_may_be_asked_for_without_a_body(operator: ApiClient) -> None:
    response = operator.request("POST", "/v1/cancellation-runs")
    assert (response.status_code, response.get_json()["dryRun"]) == (201, False)


def test_a_run_does_not_wait_for_ever_for_orders_that_others_hold(
    scene: Scene, owner: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "WAIT_LIMIT_S", -1)
    scene.receive(3)
    scene.set_clock(AFTER_DEADLINE)
    with owner.transaction():
        owner.execute("SELECT order_id FROM orders FOR UPDATE")
        run = scene.sweep()
    assert (run.state, run.cancelled_count, run.skipped_count) == ("PARTIAL", 0, 3)
    assert scene.sweep().cancelled_count == 3


def test_sellers_neither_sweep_nor_read_the_ledger(scene: Scene, operator: ApiClient, seller: ApiClient) -> None:
    run_id = operator.post("/v1/cancellation-runs", {}).get_json()["runId"]
    responses = [
        seller.post("/v1/cancellation-runs", {}),
        seller.post("/v1/cancellation-runs", {"dryRun": True}),
        seller.get("/v1/cancellation-runs"),
        seller.get(f"/v1/cancellation-runs/{run_id}"),
    ]
    assert {(response.status_code, response.get_json()["type"]) for response in responses} == {
        (403, "urn:manage-orders:problem:forbidden")
    }
    assert len(scene.runs()) == 1


# --- The plans -----------------------------------------------------------------------------------------------------


class ExplainingCursor(psycopg.Cursor[TupleRow]):
    """Keeps the plan of each statement, with what running it took, before it sends it."""

    plans: list[dict[str, Any]]

    def execute(self, query: Any, params: Any = None, **options: Any) -> Self:
        with psycopg.Cursor(self.connection) as plain, self.connection.transaction(force_rollback=True):
            row = plain.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {query}".encode(), params).fetchone()
        assert row is not None
        self.plans.append(row[0][0]["Plan"])
        return super().execute(query, params, **options)


@contextmanager
def explained(database: Database) -> Generator[tuple[psycopg.Connection, list[dict[str, Any]]]]:
    """Yield a connection of the sweep's role, and the plans of what it executes; nothing of it is kept."""
    plans: list[dict[str, Any]] = []
    with database.operator_transaction() as connection, connection.transaction(force_rollback=True):
        usual = connection.cursor_factory
        connection.cursor_factory = type("Explaining", (ExplainingCursor,), {"plans": plans})
        try:
            yield connection, plans
        finally:
            connection.cursor_factory = usual


def scans(plan: Mapping[str, Any]) -> set[tuple[str, str, str]]:
    """Return how a plan reads its tables: kind of scan, table, index."""
    found: set[tuple[str, str, str]] = set()
    if "Relation Name" in plan:
        found.add((plan["Node Type"], plan["Relation Name"], plan.get("Index Name", "")))
    return found.union(*(scans(part) for part in plan.get("Plans", ())))


@pytest.fixture
def many_orders(scene: Scene) -> list[str]:
    """Return 20,000 open orders of two sellers with deadlines minute by minute, beside 10,000 cancelled ones."""
    scene.receive()
    columns = scene.owner.execute(
        """
        SELECT string_agg(column_name, ', ') FROM information_schema.columns
        WHERE table_schema = 'public' AND table_name = 'orders' AND is_generated = 'NEVER'
        """
    ).fetchone()
    assert columns is not None
    scene.owner.execute(
        f"""
        INSERT INTO orders ({columns[0]})
        SELECT {columns[0]} FROM (SELECT made.* FROM orders o
            CROSS JOIN generate_series(1, 30000) AS n CROSS JOIN jsonb_populate_record(
            o,
            jsonb_build_object(
                'seller_id', CASE WHEN n % 2 = 0 THEN 'A1SELLER' ELSE 'A2SELLER' END,
                'order_id', 'BULK-' || n,
                'created_time', o.created_time - make_interval(mins => n),
                'confirm_by', o.confirm_by + make_interval(mins => n)
            ) || CASE WHEN n % 3 > 0 THEN '{{}}' ELSE jsonb_build_object(
                'fulfillment_status', 'CANCELLED', 'payment_status', 'UNPAID', 'cancel_reason', 'BUYER_CANCELLED',
                'cancelled_time', o.created_time
            ) END
        ) AS made) bulk;
        INSERT INTO order_events (
            seller_id, order_id, version, event_type, event_time, actor, details,
            ship_by_sort, confirm_by_sort, grand_total_sort
        )
        SELECT seller_id, order_id, 1, 'ORDER_RECEIVED', created_time, 'test', '{{}}',
            ship_by_sort, confirm_by_sort, grand_total_sort
        FROM orders WHERE order_id LIKE 'BULK-%';
        ANALYZE orders
        """.encode()
    )
    rows = scene.owner.execute("SELECT order_id FROM orders WHERE fulfillment_status = 'UNSHIPPED' ORDER BY confirm_by")
    return [row[0] for row in rows]


def run_at(scene: Scene, now: datetime) -> CancellationRun:
    """Return a run that has begun at a time of the sandbox clock."""
    scene.set_clock(now)
    with scene.database.operator_transaction() as connection:
        return ledger.start_run(connection, requested_by="test", dry_run=False)


def test_the_look_for_due_orders_reads_the_index_of_deadlines_and_next_to_nothing_when_idle(
    scene: Scene, many_orders: list[str]
) -> None:
    # Broken by a VOLATILE clock, by a status that is not leakproof, and by an index of all orders.
    assert len(many_orders) > 20_000
    run = run_at(scene, NOW)
    with explained(scene.database) as (connection, plans):
        for _ in range(2):
            assert find_due_orders(connection, run, None, 1000) == []
    # The first time on a connection, app_now() is planned as well.
    _, plan = plans
    assert {scan for scan in scans(plan) if scan[1] == "orders"} <= {
        ("Index Scan", "orders", "orders_due_idx"),
        ("Index Only Scan", "orders", "orders_due_idx"),
    }
    assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] <= 10


def test_a_page_of_due_orders_costs_what_is_on_it_wherever_it_begins(scene: Scene, many_orders: list[str]) -> None:
    scene.set_clock(AFTER_DEADLINE + timedelta(days=365))
    run = run_at(scene, AFTER_DEADLINE + timedelta(days=365))
    with explained(scene.database) as (connection, plans):
        first = find_due_orders(connection, run, None, 100)
        for start in (first[-1], find_due_orders(connection, run, None, len(many_orders))[-101]):
            assert len(find_due_orders(connection, run, start, 100)) == 100
    assert [due.order_id for due in first] == many_orders[:100]
    for plan in (plans[0], plans[2], plans[3]):
        assert {index for _, table, index in scans(plan) if table == "orders"} == {"orders_due_idx"}
        assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] <= 250


@pytest.mark.parametrize("batch_size", [100, 1000])
def test_a_batch_is_cancelled_by_its_keys(scene: Scene, many_orders: list[str], batch_size: int) -> None:
    scene.set_clock(AFTER_DEADLINE + timedelta(days=365))
    run = run_at(scene, AFTER_DEADLINE + timedelta(days=365))
    with explained(scene.database) as (connection, plans):
        due = find_due_orders(connection, run, None, len(many_orders))
        batch = [each.order_id for each in due if each.seller_id == SELLER][:batch_size]
        assert len(cancel_orders(connection, run, SELLER, batch).cancelled) == batch_size
    _, plan = plans
    used = {scan for scan in scans(plan) if scan[1] == "orders" and "Scan" in scan[0]}
    assert "Seq Scan" not in {kind for kind, *_ in used}, used
    assert {index for *_, index in used} <= {"orders_pkey", "orders_open_idx", "orders_due_idx", ""}

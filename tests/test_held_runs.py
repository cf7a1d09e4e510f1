"""A run that may be wrong is held until an operator approves it, and cancels nothing while the job is paused."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest

from service.cancellation_job import control
from service.cancellation_job.actions import preview_sweep, sweep
from service.cancellation_job.control_actions import approve_run, pause_job, resume_job
from service.cancellation_job.errors import ApprovalTooLate, CountDiffers, PauseTooLong, RunApproved, RunNotHeld
from service.cancellation_job.ledger import CancellationRun
from service.cancellation_job.rules import ClockWatch, Limits, SweepOptions
from service.database import Database
from service.deadlines.changes_rules import Selection
from service.deadlines.extension_actions import approve_extension, preview_extension
from service.errors import CancellationRunNotFound
from tests.conftest import CONFIRM_BY, LIFTED, OTHER_SELLER, SELLER
from tests.sweep_scene import Scene, interrupt

AFTER_DEADLINE = CONFIRM_BY + timedelta(hours=1)
FEW = SweepOptions(limits=Limits(max_orders=2))
UNKNOWN_RUN = UUID("5f0c5c4e-7a53-4d5a-9d0c-0d5a0f6b1c11")


@pytest.fixture
def scene(database: Database, owner: psycopg.Connection) -> Scene:
    """Return an empty sandbox."""
    return Scene(database, owner)


def codes(run: CancellationRun) -> list[str]:
    return [reason["code"] for reason in run.held_reasons or []]


def hold(scene: Scene, count: int = 3) -> tuple[list[str], CancellationRun]:
    """Return orders that are due, and the run that was held because there are so many."""
    order_ids = scene.receive(count)
    scene.set_clock(AFTER_DEADLINE)
    return order_ids, scene.sweep(options=FEW)


def approve(scene: Scene, run: CancellationRun, expected_count: int | None = None) -> control.Approval:
    expected = run.found_count if expected_count is None else expected_count
    return approve_run(scene.database, run.run_id, expected_count=expected, reason="looked at it", actor="operator")


# --- Held ----------------------------------------------------------------------------------------------------------


def test_a_run_that_would_cancel_too_many_writes_to_no_order_and_says_why(scene: Scene) -> None:
    # Broken by judging after the first batch.
    order_ids, run = hold(scene)
    assert (run.state, run.found_count, run.cancelled_count, codes(run)) == ("HELD", 3, 0, ["TOO_MANY"])
    assert scene.statuses() == dict.fromkeys(order_ids, "UNSHIPPED")
    assert scene.owner.execute("SELECT max(version) FROM orders").fetchone() == (1,)
    assert scene.sweep(options=FEW).state == "HELD"


def test_shares_are_judged_of_all_open_orders_and_of_each_sellers(scene: Scene) -> None:
    scene.receive(4)
    later = scene.receive(6, OTHER_SELLER)
    for order_id in later:
        scene.set_deadline(order_id, AFTER_DEADLINE + timedelta(days=1))
    scene.set_clock(AFTER_DEADLINE)
    limits = Limits(max_percent=40, max_seller_percent=100, percent_from=4)
    of_open = scene.sweep(options=SweepOptions(limits=replace(limits, max_percent=39)))
    assert (of_open.state, of_open.open_count, codes(of_open)) == ("HELD", 10, ["TOO_MANY_OF_OPEN"])
    of_seller = scene.sweep(options=SweepOptions(limits=replace(limits, max_seller_percent=99)))
    assert codes(of_seller) == ["TOO_MANY_OF_SELLER"]
    assert SELLER in str(of_seller.held_reasons)
    # One order fewer than is judged, and the same again with shares that are allowed.
    few = scene.sweep(options=SweepOptions(limits=Limits(max_percent=0, max_seller_percent=0, percent_from=5)))
    assert (few.state, few.cancelled_count) == ("SUCCEEDED", 4)


def test_a_dry_run_tells_why_another_would_be_held_and_its_digest_is_that_of_the_run(scene: Scene) -> None:
    scene.receive(3)
    scene.receive(2, OTHER_SELLER)
    scene.set_clock(AFTER_DEADLINE)
    shown, listed = preview_sweep(scene.database, requested_by="test", limit=1000, options=FEW)
    assert (shown.state, codes(shown), shown.found_count, len(listed)) == ("SUCCEEDED", ["TOO_MANY"], 5, 5)
    done = scene.sweep()
    assert (done.cancelled_count, done.orders_digest) == (5, shown.orders_digest)
    assert scene.sweep().orders_digest != shown.orders_digest


# --- Approved ------------------------------------------------------------------------------------------------------


def test_an_approved_run_cancels_what_the_held_one_found_and_no_order_more_and_only_once(scene: Scene) -> None:
    # Broken by an approval of whatever is due by then.
    order_ids, held = hold(scene)
    later = scene.receive(3)
    for order_id in later:
        scene.set_deadline(order_id, AFTER_DEADLINE + timedelta(hours=1))
    scene.set_clock(AFTER_DEADLINE + timedelta(hours=2))
    approve(scene, held)
    done = scene.sweep(options=FEW)
    assert (done.state, done.cancelled_count, done.approved_run_id) == ("SUCCEEDED", 3, held.run_id)
    assert done.orders_digest == held.orders_digest
    assert scene.statuses() == dict.fromkeys(order_ids, "CANCELLED") | dict.fromkeys(later, "UNSHIPPED")
    assert scene.sweep(options=FEW).state == "HELD"


def test_an_approval_is_for_no_more_orders_than_were_expected(scene: Scene) -> None:
    _, held = hold(scene)
    approve(scene, held)
    scene.receive()  # as one that came in before the run was held, and was not open then
    scene.set_clock(AFTER_DEADLINE)
    more = scene.sweep(options=FEW)
    assert (more.state, more.found_count) == ("HELD", 4)
    scene.set_deadline(next(iter(scene.statuses())), AFTER_DEADLINE + timedelta(days=1))
    assert scene.sweep(options=FEW).cancelled_count == 3


def test_an_approval_is_for_the_orders_that_were_seen_and_not_for_others_in_their_place(scene: Scene) -> None:
    # Broken by comparing the count alone: what has changed since, or came in, would be cancelled unseen.
    seen, held = hold(scene)
    approve(scene, held)
    for order_id in seen:
        scene.set_deadline(order_id, AFTER_DEADLINE + timedelta(days=1))
    unseen = scene.receive(3, OTHER_SELLER)
    scene.set_clock(AFTER_DEADLINE + timedelta(minutes=1))
    scene.owner.execute("UPDATE orders SET last_updated_time = app_now() WHERE order_id = ANY(%s)", [unseen])
    done = scene.sweep(options=FEW)
    assert (done.cancelled_count, done.approved_run_id) == (0, held.run_id)
    assert set(scene.statuses().values()) == {"UNSHIPPED"}
    assert scene.sweep(options=FEW).state == "HELD"


def test_of_two_approvals_of_the_same_orders_none_is_left_when_one_is_used(scene: Scene) -> None:
    _, held = hold(scene)
    again = scene.sweep(options=FEW)
    approve(scene, held)
    approve(scene, again)
    done = scene.sweep(options=FEW)
    assert done.cancelled_count == 3
    # The approval that was not used is spent all the same: it must not look as if a run had been done by it.
    assert approve(scene, again).used_by_run_id == done.run_id
    with pytest.raises(RunApproved):
        approve(scene, held)
    scene.receive(3)
    scene.set_clock(AFTER_DEADLINE)
    assert scene.sweep(options=FEW).state == "HELD"


def test_a_run_cancels_no_more_orders_than_were_judged_though_more_come_in(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.receive(2)
    scene.set_clock(AFTER_DEADLINE)

    def import_many() -> None:
        scene.receive(20)
        scene.set_clock(AFTER_DEADLINE)

    interrupt(monkeypatch, "find_due_orders", import_many)
    run = scene.sweep(options=FEW)
    assert (run.state, run.found_count, run.cancelled_count, run.skipped_count) == ("PARTIAL", 2, 2, 20)
    assert scene.sweep(options=FEW).state == "HELD"


def test_an_approval_that_ran_out_is_of_no_use(scene: Scene) -> None:
    _, held = hold(scene)
    approve(scene, held)
    scene.owner.execute(
        """
        UPDATE cancellation_approvals SET approved_time = approved_time - interval '61 minutes',
            expires_time = expires_time - interval '61 minutes'
        """
    )
    assert scene.sweep(options=FEW).state == "HELD"
    with pytest.raises(RunApproved):
        approve(scene, held)


def test_of_two_runs_at_once_one_uses_the_approval(scene: Scene) -> None:
    # Broken by reading the approval without its lock: the other run would find nothing left, and be one that succeeded.
    _, held = hold(scene)
    approve(scene, held)
    start = threading.Barrier(2)

    def start_together() -> CancellationRun:
        start.wait()
        return scene.sweep(options=FEW)

    with ThreadPoolExecutor(2) as threads:
        runs = [future.result() for future in [threads.submit(start_together) for _ in range(2)]]
    assert sum(run.cancelled_count for run in runs) == 3
    assert [run.approved_run_id for run in runs].count(held.run_id) == 1


def test_approvals_are_refused_for_what_is_not_held_for_another_count_and_after_a_day(scene: Scene) -> None:
    _, held = hold(scene)
    with pytest.raises(CancellationRunNotFound):
        approve_run(scene.database, UNKNOWN_RUN, expected_count=3, reason="x", actor="operator")
    with pytest.raises(CountDiffers):
        approve(scene, held, 2)
    scene.owner.execute("UPDATE cancellation_runs SET started_time = started_time - interval '25 hours'")
    with pytest.raises(ApprovalTooLate):
        approve(scene, held)
    with pytest.raises(RunNotHeld):
        approve(scene, scene.sweep())


def test_an_approval_can_be_given_again_and_tells_which_run_has_used_it(scene: Scene) -> None:
    _, held = hold(scene)
    assert approve(scene, held) == approve(scene, held)
    done = scene.sweep(options=FEW)
    assert approve(scene, held).used_by_run_id == done.run_id


# --- Paused --------------------------------------------------------------------------------------------------------


def pause(scene: Scene, duration: timedelta = timedelta(hours=1)) -> None:
    until = datetime.now(UTC) + duration
    pause_job(scene.database, reason="the API was down", until=until, actor="operator")


def test_while_the_job_is_paused_nothing_is_cancelled_and_afterwards_all_of_it(scene: Scene) -> None:
    scene.receive(3)
    scene.set_clock(AFTER_DEADLINE)
    pause(scene)
    run = scene.sweep()
    assert (run.state, run.cancelled_count) == ("PAUSED", 0)
    resume_job(scene.database, "operator")
    assert scene.sweep().cancelled_count == 3


def test_a_run_under_way_stops_at_its_next_batch(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    # Broken by looking at the pause only when the run begins.
    scene.receive(5)
    scene.set_clock(AFTER_DEADLINE)

    def pause_before_the_second() -> None:
        interrupt(monkeypatch, "cancel_orders", lambda: pause(scene))

    interrupt(monkeypatch, "cancel_orders", pause_before_the_second)
    run = scene.sweep(batch_size=2)
    assert (run.state, run.cancelled_count, run.skipped_count) == ("PAUSED", 2, 3)
    resume_job(scene.database, "operator")
    assert scene.sweep().cancelled_count == 3


def test_a_pause_ends_by_itself_and_another_takes_its_place(scene: Scene) -> None:
    pause(scene)
    pause(scene, timedelta(hours=72) - timedelta(seconds=30))
    assert scene.owner.execute(
        "SELECT count(*), count(resumed_time) FROM cancellation_pauses WHERE paused_by = 'operator'"
    ).fetchone() == (2, 1)
    assert scene.sweep().state == "PAUSED"
    scene.owner.execute(
        """
        UPDATE cancellation_pauses SET paused_time = paused_time - interval '73 hours',
            until_time = until_time - interval '73 hours'
        """
    )
    assert scene.sweep().state == "SUCCEEDED"
    pause(scene)
    assert scene.sweep().state == "PAUSED"


@pytest.mark.parametrize("duration", [timedelta(0), timedelta(hours=-1), timedelta(hours=73)])
def test_a_pause_ends_within_three_days_and_not_before_it_begins(scene: Scene, duration: timedelta) -> None:
    with pytest.raises(PauseTooLong):
        pause(scene, duration)
    assert scene.sweep().state == "SUCCEEDED"


def test_many_who_pause_at_once_leave_one_pause(scene: Scene) -> None:
    with ThreadPoolExecutor(4) as threads:
        for future in [threads.submit(pause, scene) for _ in range(8)]:
            future.result()
    assert scene.owner.execute(
        "SELECT count(*), count(*) FILTER (WHERE resumed_time IS NULL) FROM cancellation_pauses"
    ).fetchone() == (8, 1)


def test_a_run_that_was_given_up_for_dead_cancels_nothing_more(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    # As one is whose process was stopped for longer than a sign of life may take, and goes on.
    scene.receive(3)
    scene.set_clock(AFTER_DEADLINE)

    def give_up() -> None:
        scene.owner.execute("UPDATE cancellation_runs SET state = 'ABANDONED', finished_time = now()")

    interrupt(monkeypatch, "cancel_orders", give_up)
    run = scene.sweep()
    assert (run.state, run.cancelled_count) == ("ABANDONED", 0)
    assert scene.sweep().cancelled_count == 3


def extend_by_a_day(scene: Scene, order_ids: list[str]) -> None:
    """Have an extension approved."""
    selection = Selection(orders=tuple((SELLER, order_id) for order_id in order_ids), business_days=1)
    found, _ = preview_extension(scene.database, selection, reason="The API was down", actor="operator")
    approve_extension(scene.database, found.change_id, len(order_ids), "operator")


def test_a_run_under_way_cancels_no_order_that_an_approved_extension_gives_more_time(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Broken by moving deadlines only before the run begins.
    order_ids = scene.receive(3)
    scene.set_clock(AFTER_DEADLINE)
    interrupt(monkeypatch, "cancel_orders", lambda: extend_by_a_day(scene, order_ids[:2]))
    run = scene.sweep()
    assert (run.state, run.found_count, run.cancelled_count) == ("SUCCEEDED", 3, 1)
    assert scene.statuses() == dict.fromkeys(order_ids[:2], "UNSHIPPED") | {order_ids[2]: "CANCELLED"}


def test_a_preview_counts_no_order_that_an_approved_extension_gives_more_time(scene: Scene) -> None:
    order_ids = scene.receive(3)
    scene.set_clock(AFTER_DEADLINE)
    extend_by_a_day(scene, order_ids[:2])
    shown, _ = preview_sweep(scene.database, requested_by="test", limit=1000)
    assert (shown.found_count, shown.orders_digest) == (1, scene.sweep().orders_digest)


def test_a_pause_that_ends_while_it_waits_for_another_is_refused(scene: Scene) -> None:
    with ThreadPoolExecutor(1) as threads:
        with scene.owner.transaction():
            scene.owner.execute("LOCK TABLE cancellation_pauses")
            pausing = threads.submit(pause, scene, timedelta(milliseconds=300))
            scene.owner.execute("SELECT pg_sleep(0.4)")
        with pytest.raises(PauseTooLong):
            pausing.result()


# --- Slots ---------------------------------------------------------------------------------------------------------


def work_slot(scene: Scene, interval_s: int = 60, clock: ClockWatch | None = None) -> CancellationRun | None:
    options = replace(LIFTED, interval_s=interval_s)
    return sweep(scene.database, requested_by="test", options=options, scheduled=True, clock=clock)


def record_slot(scene: Scene, ago: str, interval_s: int = 60) -> None:
    """Write that a slot was worked some time ago."""
    scene.owner.execute(
        f"""
        INSERT INTO cancellation_runs (slot, dry_run, state, requested_by, cutoff, started_time, finished_time)
        SELECT date_bin('{interval_s} seconds', at, 'epoch'), false, 'SUCCEEDED', 'test', at, at, at
        FROM (SELECT now() - interval '{ago}') AS past (at)
        """.encode()
    )


def test_slots_that_nobody_worked_are_recorded_as_missed_once(scene: Scene) -> None:
    record_slot(scene, "1 hour", 3600)
    record_slot(scene, "10 hours", 3600)  # written later, as one is that comes in out of order
    scene.owner.execute("DELETE FROM cancellation_runs WHERE started_time > now() - interval '2 hours'")
    start = threading.Barrier(4)

    def start_together() -> CancellationRun | None:
        start.wait()
        return work_slot(scene, 3600)

    with ThreadPoolExecutor(4) as threads:
        worked = [future.result() for future in [threads.submit(start_together) for _ in range(4)]]
    (run,) = [each for each in worked if each is not None]
    newest, missed, _ = scene.runs()
    assert newest == run
    assert run.slot is not None
    assert missed.slot is not None
    assert (missed.state, missed.slot_count, missed.slot) == ("MISSED", 9, run.slot - timedelta(hours=9))
    assert work_slot(scene, 3600) is None
    assert len(scene.runs()) == 3


def test_the_slot_after_the_newest_misses_none(scene: Scene) -> None:
    record_slot(scene, "1 hour", 3600)
    assert work_slot(scene, 3600) is not None
    assert [run.state for run in scene.runs()] == ["SUCCEEDED", "SUCCEEDED"]


def test_a_shorter_interval_makes_no_slot_of_the_longer_one_missed(scene: Scene) -> None:
    # Broken by counting what came after the slot of an hour in slots of a second.
    assert work_slot(scene, 3600) is not None
    assert work_slot(scene, 1) is not None
    assert [run.state for run in scene.runs()] == ["SUCCEEDED", "SUCCEEDED"]


def test_a_run_whose_last_sign_of_life_lies_ahead_is_dead(scene: Scene) -> None:
    # As after a clock that was far ahead, and is right again.
    scene.owner.execute(
        """
        INSERT INTO cancellation_runs (dry_run, state, requested_by, cutoff, heartbeat_time)
        VALUES (false, 'RUNNING', 'ahead', now(), now() + interval '2 hours')
        """
    )
    scene.sweep()
    assert {run.requested_by: run.state for run in scene.runs()} == {"ahead": "ABANDONED", "test": "SUCCEEDED"}


# --- The clock -----------------------------------------------------------------------------------------------------


def test_a_run_is_held_when_the_clock_went_back_though_its_slots_were_worked_before(scene: Scene) -> None:
    # As after a clock that was put back: this slot, and those after it, are in the ledger already.
    scene.receive(3)
    scene.set_clock(AFTER_DEADLINE)
    record_slot(scene, "0 hours", 3600)
    record_slot(scene, "-2 hours", 3600)
    held = work_slot(scene, 3600)
    assert held is not None
    assert (held.state, codes(held), held.found_count) == ("HELD", ["CLOCK_WENT_BACK"], 3)
    assert work_slot(scene, 3600) is None
    # An operator who approves says that this clock is right.
    approve(scene, held)
    assert scene.sweep().cancelled_count == 3
    assert scene.sweep().state == "SUCCEEDED"


def test_runs_that_were_held_by_a_wrong_clock_do_not_make_the_right_one_look_wrong(scene: Scene) -> None:
    scene.owner.execute(
        """
        INSERT INTO cancellation_runs (
            slot, dry_run, state, requested_by, cutoff, started_time, finished_time, held_reasons
        )
        SELECT date_trunc('minute', at), false, 'HELD', 'test', at, at, at, '[{"code": "CLOCK_SKEWED", "detail": ""}]'
        FROM (SELECT now() + interval '11 days') AS wrong (at)
        """
    )
    run = work_slot(scene)
    assert run is not None
    assert run.state == "SUCCEEDED"


@pytest.mark.parametrize("kind", ["a dry run", "a paused run"])
def test_what_trusted_no_clock_does_not_make_the_right_one_look_wrong(scene: Scene, kind: str) -> None:
    if kind == "a dry run":
        preview_sweep(scene.database, requested_by="test", limit=1)
    else:
        pause(scene)
        scene.sweep()
        resume_job(scene.database, "operator")
    scene.owner.execute("UPDATE cancellation_runs SET started_time = started_time + interval '11 days'")
    assert scene.sweep().state == "SUCCEEDED"


def jumping(*elapsed_s: float) -> ClockWatch:
    """Return a watch for which the database's clock jumps as much as these differ; the last stays."""
    told = list(elapsed_s)
    return ClockWatch(lambda: told.pop(0) if len(told) > 1 else told[0])


def test_a_scheduler_that_sees_the_clock_jump_holds_its_runs_and_counts_no_slots_as_missed(scene: Scene) -> None:
    scene.receive(3)
    scene.set_clock(AFTER_DEADLINE)
    watch = jumping(10.0**7, 0.0)
    watch.jumped_s(datetime.now(UTC))
    record_slot(scene, "5 hours", 3600)
    held = work_slot(scene, 3600, watch)
    assert held is not None
    assert (held.state, codes(held)) == ("HELD", ["CLOCK_JUMPED"])
    assert {run.state for run in scene.runs()} == {"HELD", "SUCCEEDED"}
    assert set(scene.statuses().values()) == {"UNSHIPPED"}


def test_a_clock_that_jumps_between_the_look_and_the_start_of_a_run_holds_it(scene: Scene) -> None:
    scene.receive(3)
    scene.set_clock(AFTER_DEADLINE)
    held = work_slot(scene, 3600, jumping(10.0**7, 0.0))
    assert held is not None
    assert (held.state, codes(held)) == ("HELD", ["CLOCK_JUMPED"])


def test_a_jump_is_forgiven_by_a_person_or_undone_and_not_forgotten_by_a_restart(scene: Scene) -> None:
    # Broken by a watch that is all there is: the next process, or a run by hand, would take the clock for right.
    scene.receive(3)
    scene.set_clock(AFTER_DEADLINE)
    watch = jumping(10.0**7, 0.0)
    watch.jumped_s(datetime.now(UTC))
    assert codes(work_slot(scene, 1, watch) or pytest.fail("no slot")) == ["CLOCK_JUMPED"]
    held = scene.sweep()
    assert codes(held) == ["CLOCK_JUMPED"]
    approve(scene, held)
    assert scene.sweep().cancelled_count == 3
    # The scheduler that saw it counts from there as well.
    assert sweep(scene.database, requested_by="test", clock=watch) is not None
    assert scene.sweep().state == scene.runs()[1].state == "SUCCEEDED"


def test_a_jump_that_is_undone_holds_nothing_any_more(scene: Scene) -> None:
    watch = jumping(10.0**7, 0.0)
    watch.jumped_s(datetime.now(UTC))
    assert codes(work_slot(scene, 1, watch) or pytest.fail("no slot")) == ["CLOCK_JUMPED"]
    # What was written by the clock that had jumped lies ahead of the one that is right.
    scene.owner.execute("UPDATE cancellation_runs SET started_time = started_time + interval '115 days'")
    assert scene.sweep().state == "SUCCEEDED"

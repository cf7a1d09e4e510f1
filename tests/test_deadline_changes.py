"""Deadlines are moved by changes, each order once and only to later, however the work is interrupted (R8, D2)."""

from __future__ import annotations

import hashlib
import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, LiteralString
from uuid import UUID

import orjson
import psycopg
import pytest
from psycopg.rows import dict_row
from structlog.testing import capture_logs

from service.business_days import ConfirmationPolicy, confirm_by, extend_by_business_days
from service.cancellation.actions import cancel_order
from service.cancellation.queries import save_cancelled
from service.cancellation.rules import CancelReason
from service.cancellation_job import queries as sweep_queries
from service.cancellation_job.actions import sweep
from service.database import Database
from service.deadlines import changes_actions, changes_order_queries, changes_queries
from service.deadlines.changes_actions import (
    begin_policy_change,
    finish_deadline_changes,
    preview_policy_change,
)
from service.deadlines.changes_jobs import work_deadline_changes
from service.deadlines.changes_queries import DeadlineChange, find_change
from service.deadlines.changes_rules import Selection, digest_of
from service.deadlines.extension_actions import approve_extension, preview_extension
from service.errors import ConfirmationWindowClosed, Contended
from service.ingest.actions import receive_orders
from service.ingest.rules import Outcome
from service.ingest.schemas import read_line
from service.marketplaces.calendars import take_year
from service.marketplaces.queries import insert_policy
from service.orders.queries import insert_events, lock_order, read_locked_order
from service.orders.rules import EventType
from service.sandbox.actions import move_clock
from service.settings import Settings
from service.shipments.actions import confirm_package, confirm_shipment
from service.shipments.rules import ShipmentConfirmation
from tests.conftest import CONFIRM_BY, LIFTED, NOW, OTHER_SELLER, SELLER, SHIP_BY, order_document

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
US, DE, JP = "ATVPDKIKX0DER", "A1PA6795UKMFR9", "A1VC38T7YXB528"
POLICIES = {
    US: ConfirmationPolicy("US", "America/Los_Angeles"),
    DE: ConfirmationPolicy("DE", "Europe/Berlin"),
    JP: ConfirmationPolicy("JP", "Asia/Tokyo"),
}
EVERYTHING = ShipmentConfirmation(
    package_reference_id="1",
    carrier_code="UPS",
    carrier_name=None,
    shipping_method=None,
    tracking_number=None,
    ship_date=NOW,
    items=None,
)
STUCK_AFTER_S = 60
Key = tuple[str, str]
Row = dict[str, Any]


@dataclass(frozen=True)
class Scene:
    """An empty sandbox, and what a test does in it."""

    database: Database
    owner: psycopg.Connection

    def set_clock(self, now: datetime) -> None:
        move_clock(self.database, now)

    def receive(self, *documents: dict[str, Any]) -> list[Key]:
        """Receive orders, and return their keys."""
        incoming = [read_line(orjson.dumps({"sellerId": SELLER} | document)) for document in documents]
        with self.database.operator_transaction() as connection:
            assert not set(receive_orders(connection, incoming, "test")) - {Outcome.CREATED, Outcome.UPDATED}
        return [order.key for order in incoming]

    def receive_some(self, count: int) -> list[Key]:
        """Receive so many alike orders at `NOW`."""
        self.set_clock(NOW)
        return self.receive(*(order_document() for _ in range(count)))

    def extend(self, selection: Selection) -> UUID:
        """Preview an extension and approve it; nothing is worked yet."""
        change, _ = preview_extension(self.database, selection, reason="test", actor="test")
        approve_extension(self.database, change.change_id, change.found_count, "test")
        return change.change_id

    def change(self, change_id: UUID) -> DeadlineChange:
        """Return a change as it stands."""
        with self.database.operator_transaction() as connection:
            change = find_change(connection, change_id)
        assert change is not None
        return change

    def confirm(self, key: Key) -> None:
        confirm_shipment(self.database, *key, EVERYTHING, "test", settled_outside=True)

    def sweep(self) -> int:
        """Sweep by hand, and return how many orders it cancelled."""
        run = sweep(self.database, requested_by="test", options=LIFTED)
        assert run is not None
        return run.cancelled_count

    def rows(self) -> dict[Key, Row]:
        """Return what a change may touch, and what it is selected by."""
        with self.owner.cursor(row_factory=dict_row) as cursor:
            rows = cursor.execute(
                """
                SELECT seller_id, order_id, version, marketplace_id, fulfilled_by, fulfillment_status, ship_by_latest,
                    confirm_by, extended_until, policy_version, deadline_change_id
                FROM orders
                """
            ).fetchall()
        return {(row["seller_id"], row["order_id"]): row for row in rows}

    def told(self) -> dict[Key, list[tuple[datetime, datetime]]]:
        """Return by order what its history tells of changes: the deadlines before and after, in their order."""
        told: dict[Key, list[tuple[datetime, datetime]]] = {}
        for seller_id, order_id, was, now in self.owner.execute(_TOLD):
            told.setdefault((seller_id, order_id), []).append((was, now))
        return told


_TOLD: LiteralString = """
SELECT seller_id, order_id, (details #>> '{confirmBy,was}')::timestamptz, (details #>> '{confirmBy,is}')::timestamptz
FROM order_events WHERE event_type = 'DEADLINE_EXTENDED' ORDER BY seller_id, order_id, version
"""
_SOMEBODY_WAITS: LiteralString = """
SELECT EXISTS (
    SELECT FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock' AND pg_blocking_pids(pid) <> '{}'
    OFFSET %s
)
"""


@pytest.fixture
def scene(database: Database, owner: psycopg.Connection) -> Scene:
    """Return an empty sandbox."""
    return Scene(database, owner)


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a change look at few orders at a time."""
    monkeypatch.setattr(changes_actions, "BATCH_SIZE", 7)
    monkeypatch.setattr(changes_order_queries, "LOOK_SIZE", 5)


# --- Which orders, and what they get -------------------------------------------------------------------------------


def varied_orders(scene: Scene, rng: random.Random) -> None:
    """Receive orders of two sellers and three marketplaces in every status, some of them overdue."""
    scene.set_clock(NOW)
    documents = [
        order_document(
            salesChannel__marketplaceId=rng.choice(list(POLICIES)),
            fulfillment__fulfillmentStatus="PENDING" if number % 6 == 0 else "UNSHIPPED",
            fulfillment__fulfilledBy="AMAZON" if number % 11 == 0 else "MERCHANT",
            fulfillment__shipByWindow={"latestDateTime": (SHIP_BY + rng.randrange(12) * DAY / 2).isoformat()},
        )
        | {"sellerId": rng.choice([SELLER, OTHER_SELLER])}
        for number in range(60)
    ]
    keys = scene.receive(
        *documents, order_document(fulfillment={"fulfillmentStatus": "PENDING", "fulfilledBy": "MERCHANT"})
    )
    open_keys = [key for key, row in scene.rows().items() if _is_open(row) and row["fulfillment_status"] != "PENDING"]
    for key in rng.sample(open_keys, 6):
        scene.confirm(key)
    for key in rng.sample(sorted(set(open_keys) - _confirmed(scene)), 6):
        cancel_order(scene.database, *key, CancelReason.NO_INVENTORY, "test")
    assert len(keys) == len(scene.rows())
    scene.set_clock(CONFIRM_BY + DAY)


def _confirmed(scene: Scene) -> set[Key]:
    return {key for key, row in scene.rows().items() if row["fulfillment_status"] == "SHIPPED"}


def _is_open(row: Row) -> bool:
    is_sellers = row["fulfilled_by"] == "MERCHANT" and row["confirm_by"] is not None
    return is_sellers and row["fulfillment_status"] in {"PENDING", "UNSHIPPED"}


def any_selection(rng: random.Random, rows: dict[Key, Row]) -> Selection:
    """Return a selection of any kind, and a new deadline of either kind; some are those of orders to the second."""
    deadlines = sorted({row["confirm_by"] for row in rows.values() if _is_open(row)})
    gives: dict[str, Any] = {"business_days": rng.randint(1, 4)}
    if rng.random() < 0.5:
        gives = {"confirm_by": max(rng.choice(deadlines), CONFIRM_BY + 2 * DAY)}
    if rng.random() < 0.3:
        return Selection(orders=tuple(rng.sample(sorted(rows), 9)), **gives)
    after = rng.choice(deadlines)
    may_be = {
        "seller_id": rng.choice([SELLER, OTHER_SELLER]),
        "marketplace_id": rng.choice(list(POLICIES)),
        "confirm_by_after": after,
        "confirm_by_before": rng.choice([each for each in deadlines if each >= after]),
    }
    return Selection(**dict(rng.sample(sorted(may_be.items()), rng.randint(1, 3))), **gives)


def is_meant(key: Key, row: Row, selection: Selection) -> bool:
    """Tell whether an order is selected, by the words of the operation and not by its query."""
    return (
        _is_open(row)
        and (selection.orders is None or key in selection.orders)
        and selection.seller_id in {None, key[0]}
        and selection.marketplace_id in {None, row["marketplace_id"]}
        and (selection.confirm_by_after is None or row["confirm_by"] >= selection.confirm_by_after)
        and (selection.confirm_by_before is None or row["confirm_by"] <= selection.confirm_by_before)
    )


def expected_deadline(row: Row, selection: Selection) -> datetime:
    if selection.confirm_by is not None:
        return selection.confirm_by
    return extend_by_business_days(row["confirm_by"], POLICIES[row["marketplace_id"]], selection.business_days or 0)


@pytest.mark.usefixtures("small_batches")
def test_any_extension_moves_what_a_plain_model_says_and_nothing_else(scene: Scene) -> None:
    # Broken by any condition of the selection, by a page that skips or repeats an order, and by `>=` for `>`.
    rng = random.Random(5)  # noqa: S311  # not for secrets
    varied_orders(scene, rng)
    moved_in_all = 0
    for _ in range(30):
        before, told = scene.rows(), scene.told()
        selection = any_selection(rng, before)
        meant = {key: row for key, row in before.items() if is_meant(key, row, selection)}
        moved = {
            key: later for key, row in meant.items() if (later := expected_deadline(row, selection)) > row["confirm_by"]
        }
        change, first_moves = preview_extension(scene.database, selection, reason="test", actor="test")
        assert (change.found_count, change.kept_count) == (len(moved), len(meant) - len(moved)), selection
        # Who approves it approves each new deadline.
        lines = sorted(f"{key[0]}/{key[1]} {later:%Y-%m-%dT%H:%M:%S}Z\n" for key, later in moved.items())
        assert change.orders_digest == hashlib.sha256("".join(lines).encode()).hexdigest()
        assert {move.order.key: move.confirm_by for move in first_moves} == moved
        assert scene.rows() == before

        approve_extension(scene.database, change.change_id, len(moved), "test")
        finish_deadline_changes(scene.database)
        assert scene.rows() == {
            key: row
            if key not in moved
            else row
            | {
                "version": row["version"] + 1,
                "confirm_by": moved[key],
                "extended_until": moved[key],
                "deadline_change_id": change.change_id,
            }
            for key, row in before.items()
        }
        for key, later in moved.items():
            told.setdefault(key, []).append((before[key]["confirm_by"], later))
        assert scene.told() == told
        done = scene.change(change.change_id)
        assert (done.state, done.changed_count, done.kept_count) == ("DONE", len(moved), change.kept_count)
        moved_in_all += len(moved)
    assert moved_in_all > 100


def test_changes_are_worked_in_the_order_of_their_approval(scene: Scene) -> None:
    # Broken by the order of their requests: a business day from the day before is the day itself, which is no later.
    (key,) = scene.receive_some(1)
    longer = preview_extension(scene.database, Selection(orders=(key,), business_days=1), reason="b", actor="test")[0]
    scene.extend(Selection(orders=(key,), confirm_by=CONFIRM_BY + DAY))
    approve_extension(scene.database, longer.change_id, 1, "test")
    finish_deadline_changes(scene.database)
    assert scene.told()[key] == [(CONFIRM_BY, CONFIRM_BY + DAY), (CONFIRM_BY + DAY, CONFIRM_BY + 2 * DAY)]


def test_an_order_whose_business_days_are_not_known_is_left_out_and_told_of(scene: Scene) -> None:
    # Broken by letting it fail: nothing that is approved would ever be worked again, nor would a sweep begin.
    far, near = scene.receive_some(2)
    scene.owner.execute("UPDATE orders SET confirm_by = '2990-01-01' WHERE order_id = %s", [far[1]])
    change_id = scene.extend(Selection(seller_id=SELLER, business_days=1))
    with capture_logs() as logs:
        finish_deadline_changes(scene.database)
    assert set(scene.told()) == {near}
    change = scene.change(change_id)
    assert (change.state, change.changed_count, change.kept_count) == ("DONE", 1, 1)
    assert [(each["event"], each["order_id"]) for each in logs] == [("deadline_not_moved", far[1])]


# --- Interruptions, and others at work -----------------------------------------------------------------------------


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize(("step", "number"), [("save_progress", 2), ("finish_change", 1)])
def test_work_that_is_cut_off_goes_on_and_moves_each_order_once(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, step: str, number: int
) -> None:
    # Broken by a position that is written in another transaction than the orders.
    keys = scene.receive_some(20)
    change_id = scene.extend(Selection(seller_id=SELLER, business_days=1))
    original: Callable[..., None] = getattr(changes_queries, step)
    calls = itertools.count(1)

    def cut_off(*args: object, **options: Any) -> None:
        original(*args, **options)
        if next(calls) == number:
            raise KeyboardInterrupt

    monkeypatch.setattr(changes_queries, step, cut_off)
    with pytest.raises(KeyboardInterrupt):
        finish_deadline_changes(scene.database)
    cut = scene.change(change_id)
    assert (cut.state, cut.changed_count) == ("RUNNING", 7 if step == "save_progress" else 20)
    finish_deadline_changes(scene.database)
    assert scene.change(change_id).state == "DONE"
    assert scene.told() == {key: [(CONFIRM_BY, CONFIRM_BY + DAY)] for key in keys}
    assert scene.change(change_id).changed_count == len(keys)


@pytest.mark.usefixtures("small_batches")
def test_several_workers_move_each_order_once(scene: Scene) -> None:
    # Broken by neither locking the change nor asking whether it has moved an order: two would take the same page.
    keys = scene.receive_some(60)
    ids = [scene.extend(Selection(seller_id=SELLER, business_days=1)) for _ in range(2)]
    at_once = threading.Barrier(4)

    def work() -> None:
        at_once.wait(STUCK_AFTER_S)
        finish_deadline_changes(scene.database)

    with ThreadPoolExecutor(4) as threads:
        for each in [threads.submit(work) for _ in range(4)]:
            each.result(STUCK_AFTER_S)
    steps = [(CONFIRM_BY, CONFIRM_BY + DAY), (CONFIRM_BY + DAY, CONFIRM_BY + 2 * DAY)]
    assert scene.told() == dict.fromkeys(keys, steps)
    assert [(each.state, each.changed_count) for each in map(scene.change, ids)] == [("DONE", 60)] * 2


def test_what_becomes_of_an_order_while_the_change_waits_for_it_decides(scene: Scene) -> None:
    # Broken by deciding on what was read before the lock.
    confirmed, cancelled, shifted, moved = scene.receive_some(4)
    scene.extend(Selection(seller_id=SELLER, business_days=1))
    with ThreadPoolExecutor(1) as threads:
        with scene.database.seller_transaction(SELLER) as connection:
            assert lock_order(connection, *confirmed)
            working = threads.submit(finish_deadline_changes, scene.database)
            wait_for_somebody(scene.owner)
            confirm_package(connection, *confirmed, EVERYTHING, "test", settled_outside=True)
            assert lock_order(connection, *cancelled)
            order, now = read_locked_order(connection, *cancelled)
            save_cancelled(connection, order, "NO_INVENTORY", now)
            told = {"cancelReason": "NO_INVENTORY"}
            insert_events(connection, EventType.ORDER_CANCELLED, now, "test", [(*cancelled, 2, told)])
            later = "UPDATE orders SET confirm_by = confirm_by + interval '1 hour' WHERE order_id = %s"
            connection.execute(later, [shifted[1]])
        working.result(STUCK_AFTER_S)
    assert scene.told() == {
        shifted: [(CONFIRM_BY + HOUR, CONFIRM_BY + 2 * DAY)],
        moved: [(CONFIRM_BY, CONFIRM_BY + DAY)],
    }


@pytest.fixture
def without_2033(owner: psycopg.Connection) -> Iterator[None]:
    """Have the days of a year not taken yet, before and afterwards."""
    forget = "DELETE FROM marketplace_calendars WHERE year = 2033"
    owner.execute(forget)
    yield
    owner.execute(forget)


@pytest.mark.usefixtures("without_2033")
def test_the_days_of_another_year_are_not_taken_while_an_order_is_locked(scene: Scene) -> None:
    # Broken by taking them there: whoever takes a year now waits for the order, and the change would for the year.
    (key,) = scene.receive_some(1)
    scene.extend(Selection(seller_id=SELLER, business_days=1))

    def take_a_year_and_the_order() -> None:
        with scene.database.operator_transaction() as connection:
            take_year(connection, (US, 1), "US", 2025)
            assert lock_order(connection, *key)

    with ThreadPoolExecutor(2) as threads:
        with scene.database.operator_transaction() as connection:
            assert lock_order(connection, *key)
            working = threads.submit(finish_deadline_changes, scene.database)
            wait_for_somebody(scene.owner)
            taking = threads.submit(take_a_year_and_the_order)
            wait_for_somebody(scene.owner, others=1)
            connection.execute("UPDATE orders SET ship_by_latest = '2033-03-01Z', confirm_by = '2033-03-11T08:00Z'")
        working.result(STUCK_AFTER_S)
        taking.result(STUCK_AFTER_S)
    was = datetime(2033, 3, 11, 8, tzinfo=UTC)
    assert scene.told() == {key: [(was, was + DAY)]}
    stored = scene.owner.execute("SELECT marketplace_id FROM marketplace_calendars WHERE year = 2033").fetchall()
    assert stored == [(US,)]


@pytest.mark.usefixtures("small_batches")
def test_each_batch_that_is_committed_is_a_sign_of_life(scene: Scene) -> None:
    # Broken by calling back within the transaction, where nobody else sees the batch.
    scene.receive_some(20)
    scene.extend(Selection(seller_id=SELLER, business_days=1))
    seen: list[tuple[int, str]] = []

    def look() -> None:
        seen.extend(scene.owner.execute("SELECT changed_count, state FROM deadline_changes").fetchall())

    finish_deadline_changes(scene.database, look)
    assert seen == [(7, "RUNNING"), (14, "RUNNING"), (20, "RUNNING"), (20, "DONE")]


def wait_for_somebody(owner: psycopg.Connection, others: int = 0) -> None:
    until = time.monotonic() + STUCK_AFTER_S
    while owner.execute(_SOMEBODY_WAITS, [others]).fetchone() != (True,):
        assert time.monotonic() < until, "nobody waits"
        time.sleep(0.005)


def test_an_order_that_stays_locked_holds_the_change_and_the_sweep(scene: Scene, settings: Settings) -> None:
    # Broken by SKIP LOCKED, and by a sweep that goes on: it would cancel the order that was promised more time.
    locked, other = scene.receive_some(2)
    change_id = scene.extend(Selection(seller_id=SELLER, confirm_by=CONFIRM_BY + 2 * DAY))
    scene.set_clock(CONFIRM_BY + HOUR)
    with Database(replace(settings, lock_timeout_ms=50), pool_size=2).closing() as hasty:
        with scene.owner.transaction():
            scene.owner.execute("SELECT FROM orders WHERE order_id = %s FOR UPDATE", [locked[1]])
            with capture_logs() as logs, pytest.raises(Contended):
                finish_deadline_changes(hasty)
            assert [(each["event"], each["change_id"]) for each in logs] == [("deadline_change_waits", str(change_id))]
            with pytest.raises(Contended):
                sweep(hasty, requested_by="test", options=LIFTED)
            work_deadline_changes(hasty)  # which only says so, for the scheduler tries again
        assert scene.told() == {}
        assert scene.sweep() == 0
    assert set(scene.told()) == {locked, other}
    assert scene.change(change_id).state == "DONE"


def test_an_order_that_cannot_be_written_is_left_out_and_the_rest_are_moved(scene: Scene, poison: Key) -> None:
    # Broken by giving up the batch: what is approved would never be worked again.
    change_id = scene.extend(Selection(seller_id=SELLER, business_days=1))
    finish_deadline_changes(scene.database)
    assert set(scene.told()) == set(scene.rows()) - {poison}
    change = scene.change(change_id)
    assert (change.state, change.changed_count, change.kept_count) == ("DONE", 8, 1)


@pytest.fixture
def poison(scene: Scene) -> Iterator[Key]:
    """Yield one of nine orders, which the database refuses to change."""
    key = scene.receive_some(9)[4]
    scene.owner.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'poison'; END $$"
    )
    scene.owner.execute(
        "CREATE TRIGGER refuse BEFORE UPDATE ON orders FOR EACH ROW "
        f"WHEN (OLD.order_id = '{key[1]}') EXECUTE FUNCTION refuse()".encode()
    )
    yield key
    scene.owner.execute("DROP FUNCTION refuse() CASCADE")


def test_a_selection_is_not_for_those_who_act_for_a_seller(scene: Scene) -> None:
    # It names orders of others, and why they get more time.
    with pytest.raises(psycopg.errors.InsufficientPrivilege), scene.database.seller_transaction(SELLER) as connection:
        connection.execute("SELECT selection FROM deadline_changes")


# --- What more time means ------------------------------------------------------------------------------------------


def test_an_overdue_order_that_is_extended_can_be_confirmed_again(scene: Scene) -> None:
    # This is what it is for: the API was down while the deadline came.
    (key,) = scene.receive_some(1)
    scene.set_clock(CONFIRM_BY + HOUR)
    with pytest.raises(ConfirmationWindowClosed):
        scene.confirm(key)
    scene.extend(Selection(marketplace_id=US, confirm_by_before=CONFIRM_BY + HOUR, business_days=1))
    finish_deadline_changes(scene.database)
    scene.confirm(key)
    assert scene.rows()[key]["fulfillment_status"] == "SHIPPED"


def test_a_sweep_cancels_nothing_that_an_approved_change_gives_more_time(scene: Scene) -> None:
    # Broken by a sweep that looks before it has worked what is approved.
    extended, due = scene.receive_some(2)
    scene.set_clock(CONFIRM_BY + HOUR)
    scene.extend(Selection(orders=(extended,), business_days=1))
    assert scene.sweep() == 1
    assert {key: row["fulfillment_status"] for key, row in scene.rows().items()} == {
        extended: "UNSHIPPED",
        due: "CANCELLED",
    }


def test_an_order_that_is_extended_between_the_look_of_a_sweep_and_its_claim_is_not_cancelled(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Broken by a claim that trusts the look; and the other way round, what is cancelled is not brought back.
    extended, due = scene.receive_some(2)
    scene.set_clock(CONFIRM_BY + HOUR)
    original = sweep_queries.cancel_orders

    def cancel_orders(*args: Any) -> object:
        monkeypatch.undo()
        scene.extend(Selection(orders=(extended,), business_days=1))
        finish_deadline_changes(scene.database)
        return original(*args)

    monkeypatch.setattr(sweep_queries, "cancel_orders", cancel_orders)
    assert scene.sweep() == 1
    scene.extend(Selection(seller_id=SELLER, business_days=1))
    finish_deadline_changes(scene.database)
    assert set(scene.told()) == {extended}
    assert scene.rows()[due]["fulfillment_status"] == "CANCELLED"


@pytest.mark.parametrize("days", [-2, 4])
def test_a_window_that_the_channel_changes_afterwards_never_ends_before_what_was_promised(
    scene: Scene, days: int
) -> None:
    scene.set_clock(NOW)
    document = order_document()
    (key,) = scene.receive(document)
    promised = CONFIRM_BY + DAY
    scene.extend(Selection(orders=(key,), confirm_by=promised))
    finish_deadline_changes(scene.database)
    ship_by = SHIP_BY + days * DAY
    document["fulfillment"]["shipByWindow"] = {"latestDateTime": ship_by.isoformat()}
    scene.receive(document)
    row = scene.rows()[key]
    counted = confirm_by(ship_by, POLICIES[US])
    assert row["confirm_by"] == max(promised, counted)
    assert (counted > promised) == (days > 0)
    assert row["extended_until"] == promised


# --- A new policy --------------------------------------------------------------------------------------------------


@pytest.fixture
def restored_policies(owner: psycopg.Connection) -> Iterator[None]:
    """Take away the policies that a test added, once its database has been looked at."""
    yield
    for table in ("deadline_changes", "marketplace_calendars", "marketplace_policies"):
        owner.execute(f"DELETE FROM {table} WHERE policy_version > 1".encode())


@pytest.mark.usefixtures("small_batches")
def test_a_new_policy_moves_open_orders_to_later_and_leaves_those_that_would_come_earlier(
    restored_policies: None, scene: Scene
) -> None:
    # Broken by taking the version over for an order that keeps its deadline, and by moving what was promised more.
    del restored_policies
    plain = scene.receive_some(8)
    promised, elsewhere = scene.receive(order_document(), order_document(salesChannel__marketplaceId=DE))
    scene.extend(Selection(orders=(promised,), business_days=5))
    finish_deadline_changes(scene.database)
    before = scene.rows()

    longer, shorter = replace(POLICIES[US], window_business_days=9), replace(POLICIES[US], window_business_days=3)
    with scene.database.operator_transaction() as connection:
        effect = preview_policy_change(connection, US, shorter)
        assert (effect.later_count, effect.earlier_count, effect.unchanged_count) == (0, 8, 1)
        effect = preview_policy_change(connection, US, longer)
        assert (effect.later_count, effect.earlier_count, effect.unchanged_count) == (8, 0, 1)
        assert effect.orders_digest == digest_of(plain)
        insert_policy(connection, US, 2, longer, created_by="test", reason="Longer")
        change_id = begin_policy_change(connection, US, 2, effect, reason="Longer", actor="test")
    finish_deadline_changes(scene.database)

    after = scene.rows()
    assert {key: after[key] for key in (promised, elsewhere)} == {key: before[key] for key in (promised, elsewhere)}
    for key in plain:
        row = after[key]
        assert (row["policy_version"], row["extended_until"]) == (2, None)
        assert row["confirm_by"] == confirm_by(SHIP_BY, longer)
    change = scene.change(change_id)
    assert (change.change_type, change.state, change.changed_count) == ("POLICY_CHANGE", "DONE", 8)
    assert (change.requested_by, change.approved_by, change.kept_count) == ("test", "test", 1)


def test_an_older_change_leaves_orders_that_were_counted_by_a_newer_policy(
    restored_policies: None, scene: Scene
) -> None:
    # Broken by counting anew what a later version, with a shorter window, has counted already.
    del restored_policies
    (old,) = scene.receive_some(1)
    longer, shorter = replace(POLICIES[US], window_business_days=9), replace(POLICIES[US], window_business_days=3)
    with scene.database.operator_transaction() as connection:
        effect = preview_policy_change(connection, US, longer)
        insert_policy(connection, US, 2, longer, created_by="test", reason="Longer")
        begin_policy_change(connection, US, 2, effect, reason="Longer", actor="test")
        insert_policy(connection, US, 3, shorter, created_by="test", reason="Shorter")
    (new,) = scene.receive(order_document())
    finish_deadline_changes(scene.database)
    rows = scene.rows()
    assert (rows[old]["policy_version"], rows[old]["confirm_by"]) == (2, confirm_by(SHIP_BY, longer))
    assert (rows[new]["policy_version"], rows[new]["confirm_by"]) == (3, confirm_by(SHIP_BY, shorter))

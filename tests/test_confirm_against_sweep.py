"""A confirmation and the sweep meet at the deadline: every interleaving of their steps, and races of real threads.

Whatever the order of events, an order ends either confirmed and charged or cancelled and unpaid: never both, never
neither (R9, R10, D2, D3, D5). The same checks must find fault when a lock is taken out, so that they have teeth.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, LiteralString, Self, cast

import orjson
import psycopg
import pytest
from psycopg import errors as pg
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool

from service.cancellation_job import queries as cancellation_queries
from service.cancellation_job.actions import sweep
from service.cancellation_job.ledger import CancellationRun
from service.database import Database, conninfo, upgrade_schema
from service.errors import ConfirmationWindowClosed, OrderCancelled
from service.ingest.actions import receive_orders
from service.ingest.rules import Outcome
from service.ingest.schemas import read_line
from service.orders import queries as order_queries
from service.sandbox.actions import enter_sandbox, move_clock
from service.sellers.queries import insert_seller
from service.settings import Settings
from service.shipments.actions import confirm_shipment
from service.shipments.rules import ConfirmedItem, ShipmentConfirmation
from tests.conftest import CONFIRM_BY, LIFTED, NOW, SECRET_KEY, SELLER, order_document
from tests.invariants import broken_invariants

# One unit of three: even that charges the whole order (R10), and keeps the sweep away from it (D3).
CONFIRMATION = ShipmentConfirmation(
    package_reference_id="1",
    carrier_code="UPS",
    carrier_name=None,
    shipping_method=None,
    tracking_number="1Z999AA10123456784",
    ship_date=NOW,
    items=[ConfirmedItem("1", 1)],
)
CONFIRMED = ("PARTIALLY_SHIPPED", "CHARGED", 1, 1, ["ORDER_RECEIVED", "SHIPMENT_CONFIRMED"])
CANCELLED = ("CANCELLED", "UNPAID", 0, 0, ["ORDER_RECEIVED", "ORDER_CANCELLED"])
STUCK_AFTER_S = 60
ROUNDS, ORDERS_A_ROUND, CONFIRMERS, SWEEPERS = 20, 50, 16, 2


# --- Connections that tell what they are about to do ---------------------------------------------------------------


class TellingCursor(psycopg.Cursor[TupleRow]):
    """Tells of each statement before it is sent."""

    def execute(self, query: Any, params: Any = None, **options: Any) -> Self:
        cast("TellingConnection", self.connection).before(str(query))
        return super().execute(query, params, **options)

    def executemany(self, query: Any, params_seq: Any, *, returning: bool = False) -> None:
        cast("TellingConnection", self.connection).before(str(query))
        super().executemany(query, params_seq, returning=returning)


class TellingConnection(psycopg.Connection[TupleRow]):
    """Tells of each statement, commit and rollback before it is sent."""

    tell: Callable[[int, str], None] | None = None

    def before(self, statement: str) -> None:
        if self.tell is not None:
            self.tell(self.info.backend_pid, statement)

    @contextmanager
    def transaction(
        self,
        savepoint_name: str | None = None,
        force_rollback: bool = False,  # noqa: FBT001, FBT002  # as it is
    ) -> Generator[psycopg.Transaction]:
        with super().transaction(savepoint_name, force_rollback) as transaction:
            try:
                yield transaction
            except BaseException:
                self.before("ROLLBACK")
                raise
            self.before("COMMIT")


class TellingDatabase(Database):
    """The service's own database access, on connections that tell."""

    def __init__(self, settings: Settings, *, pool_size: int, tell: Callable[[int, str], None]) -> None:
        super().__init__(settings, pool_size=pool_size)

        def configure(connection: psycopg.Connection) -> None:
            cast("TellingConnection", connection).tell = tell

        connections: ConnectionPool[psycopg.Connection] = ConnectionPool(
            conninfo(settings),
            connection_class=TellingConnection,
            min_size=0,
            max_size=pool_size,
            configure=configure,
            kwargs={"autocommit": True, "cursor_factory": TellingCursor},
            open=False,
        )
        self._pool = connections

    @contextmanager
    def seller_pipeline(self, seller_id: str) -> Generator[psycopg.Connection]:
        """Open a transaction that sends each statement by itself: a step is over when its statements are."""
        with self.seller_transaction(seller_id) as connection:
            yield connection


# --- Where they meet -----------------------------------------------------------------------------------------------


class Arena:
    """A sandbox of its own with orders that all have the same deadline."""

    def __init__(self, url: str, orders: int) -> None:
        self.settings = Settings(
            database_url=url, secret_key=SECRET_KEY, sandbox=True, lock_timeout_ms=STUCK_AFTER_S * 1000
        )
        self.owner = psycopg.connect(url, autocommit=True, options="-c timezone=UTC")
        self.database = Database(self.settings, pool_size=2)
        enter_sandbox(self.database)
        move_clock(self.database, NOW)
        documents = [order_document() | {"sellerId": SELLER} for _ in range(orders)]
        incoming = [read_line(orjson.dumps(document)) for document in documents]
        with self.database.operator_transaction() as connection:
            insert_seller(connection, SELLER, "First seller")
            assert set(receive_orders(connection, incoming, "test")) == {Outcome.CREATED}
        self.order_ids = [order.order_id for order in incoming]
        assert self.owner.execute("SELECT DISTINCT confirm_by FROM orders").fetchall() == [(CONFIRM_BY,)]

    def close(self) -> None:
        self.database.close()
        self.owner.close()

    def reset(self, before_deadline: timedelta) -> None:
        """Take every order back to when it came in, and the clock to so long before the deadline."""
        self.owner.execute(
            """
            DELETE FROM package_items; DELETE FROM packages; DELETE FROM charges;
            DELETE FROM order_events WHERE version > 1;
            DELETE FROM cancellation_errors; DELETE FROM cancellation_runs;
            UPDATE order_items SET quantity_fulfilled = 0;
            UPDATE orders SET version = 1, fulfillment_status = 'UNSHIPPED', payment_status = 'AUTHORIZED',
                confirmed_time = NULL, shipped_time = NULL, cancelled_time = NULL, cancel_reason = NULL,
                cancellation_run_id = NULL
            """
        )
        move_clock(self.database, CONFIRM_BY - before_deadline)

    def is_blocked(self, pid: int) -> bool:
        """Tell whether a connection waits for a lock that another one holds."""
        row = self.owner.execute("SELECT cardinality(pg_blocking_pids(%s)) > 0", [pid]).fetchone()
        return row is not None and row[0]

    def orders(self) -> dict[str, tuple[object, ...]]:
        """Return by order: its status, payment, charges, packages and events."""
        rows = self.owner.execute(
            """
            SELECT o.order_id, o.fulfillment_status, o.payment_status,
                (SELECT count(*) FROM charges c WHERE c.order_id = o.order_id),
                (SELECT count(*) FROM packages p WHERE p.order_id = o.order_id),
                (SELECT array_agg(e.event_type ORDER BY e.version, e.event_time)
                 FROM order_events e WHERE e.order_id = o.order_id)
            FROM orders o
            """
        )
        return {row[0]: row[1:] for row in rows}

    def faults(
        self, confirmations: Mapping[str, object], sweeps: Sequence[CancellationRun | BaseException | None]
    ) -> list[str]:
        """Return everything that is wrong once all confirmations and sweeps are over."""
        found: list[str] = []
        for order_id, order in self.orders().items():
            result = confirmations[order_id]
            if isinstance(result, ConfirmationWindowClosed | OrderCancelled):
                expected = CANCELLED
            elif isinstance(result, BaseException):
                found.append(f"the confirmation broke: {result!r}")
                continue
            else:
                expected = CONFIRMED
            if order != expected:
                found.append(f"the confirmation was answered with {type(result).__name__}, but the order is {order}")
        found += [
            f"a sweep did not succeed: {run!r}"
            for run in sweeps
            if not isinstance(run, CancellationRun) or run.state != "SUCCEEDED"
        ]
        found += [f"broken: {name}" for name in broken_invariants(self.owner)]
        return found


# --- Every interleaving --------------------------------------------------------------------------------------------

# A step begins with one of these statements; every other statement belongs to the step before it.
CONFIRMATION_STEPS: Mapping[str, str] = {
    "SELECT o.order_id FROM orders": "lock",
    "SELECT count(*), max(package_reference_id": "read",
    "INSERT INTO packages": "pack",
    "UPDATE orders SET": "save",
}
SWEEP_STEPS: Mapping[str, str] = {
    "SET state = 'ABANDONED'": "start",
    "SELECT confirm_by, seller_id, order_id FROM orders": "find",
    "WITH gate AS": "cancel",
    "SELECT order_id FROM orders": "wait",
}


class Actor:
    """A side that takes a step only when it is its turn."""

    def __init__(self, name: str, steps: Mapping[str, str], commits_after: set[str]) -> None:
        self.name = name
        self.pid: int | None = None
        self.state = "RUNNING"
        self.step = ""
        self._steps = steps
        self._commits_after = commits_after
        self._changed = threading.Condition()

    def tell(self, pid: int, statement: str) -> None:
        """Wait for the turn if the statement begins a step."""
        self.pid = pid
        if statement in {"COMMIT", "ROLLBACK"}:
            if self.step in self._commits_after:
                self.wait_for_turn(statement.lower())
            return
        step = next((step for fragment, step in self._steps.items() if fragment in statement), None)
        if step is not None:
            self.wait_for_turn(step)

    def wait_for_turn(self, step: str) -> None:
        with self._changed:
            self.step = step
            self._change("WAITING")
            assert self._changed.wait_for(lambda: self.state == "RUNNING", STUCK_AFTER_S), f"no turn for {step}"

    def take_turn(self) -> str:
        with self._changed:
            self._change("RUNNING")
        return f"{self.name}: {self.step}"

    def begin(self) -> None:
        self.state, self.step, self.pid = "RUNNING", "", None

    def end(self) -> None:
        with self._changed:
            self._change("DONE")

    def settle(self, is_blocked: Callable[[int], bool]) -> None:
        """Return once the side waits for its turn, is done, or is stopped by a lock of the other side."""
        until = time.monotonic() + STUCK_AFTER_S
        while time.monotonic() < until:
            with self._changed:
                if self._changed.wait_for(lambda: self.state != "RUNNING", 0.004):
                    return
            if self.pid is not None and is_blocked(self.pid):
                return
        raise AssertionError(f"{self.name} is stuck in {self.step}")

    def _change(self, state: str) -> None:
        self.state = state
        self._changed.notify_all()


@dataclass(frozen=True)
class Interleaving:
    """What was played: the steps in their order, the choices that led to it, and what was wrong at the end."""

    steps: list[str]
    choices: list[tuple[int, int]]
    order: tuple[object, ...]
    confirmation: object
    faults: list[str]

    @property
    def events(self) -> list[str]:
        return cast("list[str]", self.order[-1])


class Stage:
    """Plays a confirmation and a sweep of one order in a given order of steps."""

    def __init__(self, arena: Arena) -> None:
        self.arena = arena
        self._confirmer = Actor("confirm", CONFIRMATION_STEPS, {"lock", "read", "pack", "save"})
        self._sweeper = Actor("sweep", SWEEP_STEPS, {"cancel"})
        self._databases = {
            actor: TellingDatabase(arena.settings, pool_size=1, tell=actor.tell)
            for actor in (self._confirmer, self._sweeper)
        }
        self._threads = ThreadPoolExecutor(2)

    def close(self) -> None:
        self._threads.shutdown()
        for database in self._databases.values():
            database.close()

    def every_interleaving(self) -> Iterator[Interleaving]:
        """Play all there are: at each point where both sides could go on, first the one and then the other."""
        choices: list[int] = []
        while True:
            played = self.play(choices)
            yield played
            made = list(played.choices)
            while made and made[-1][0] + 1 == made[-1][1]:
                made.pop()
            if not made:
                return
            choices = [choice for choice, _ in made[:-1]] + [made[-1][0] + 1]

    def play(self, choices: Sequence[int]) -> Interleaving:
        """Make these choices as long as they last, and then let the confirmation go first where both can."""
        self.arena.reset(timedelta(hours=1))
        actors = [self._confirmer, self._sweeper]
        for actor in actors:
            actor.begin()
        confirming = self._threads.submit(self._run, self._confirmer, self._confirm)
        sweeping = self._threads.submit(self._run, self._sweeper, self._sweep)
        steps: list[str] = []
        made: list[tuple[int, int]] = []
        while not (confirming.done() and sweeping.done()):
            for actor in actors:
                actor.settle(self.arena.is_blocked)
            ready = [actor for actor in actors if actor.state == "WAITING"]
            if ready:
                choice = choices[len(made)] if len(made) < len(choices) else 0
                made.append((choice, len(ready)))
                steps.append(ready[choice].take_turn())
        (order_id,) = self.arena.order_ids
        confirmation, run = confirming.result(), sweeping.result()
        faults = self.arena.faults({order_id: confirmation}, [run])
        return Interleaving(steps, made, self.arena.orders()[order_id], confirmation, faults)

    def _confirm(self) -> object:
        (order_id,) = self.arena.order_ids
        database = self._databases[self._confirmer]
        return confirm_shipment(database, SELLER, order_id, CONFIRMATION, "test", settled_outside=True)

    def _sweep(self) -> object:
        self._sweeper.wait_for_turn("clock")
        move_clock(self.arena.database, CONFIRM_BY)
        return sweep(self._databases[self._sweeper], requested_by="test")

    @staticmethod
    def _run(actor: Actor, action: Callable[[], object]) -> Any:
        try:
            return action()
        except BaseException as error:  # noqa: BLE001  # judged with the outcome
            return error
        finally:
            actor.end()


@pytest.fixture(scope="module")
def stage(make_database_url: Callable[[], str]) -> Iterator[Stage]:
    url = make_database_url()
    upgrade_schema(url)
    arena = Arena(url, 1)
    stage = Stage(arena)
    yield stage
    stage.close()
    arena.close()


@pytest.fixture(scope="module")
def unguarded_stage(make_database_url: Callable[[], str]) -> Iterator[Stage]:
    """Yield a stage whose database holds to nothing: only the locks stand between a charge and a cancellation."""
    url = make_database_url()
    upgrade_schema(url)
    arena = Arena(url, 1)
    arena.owner.execute(
        """
        ALTER TABLE orders DROP CONSTRAINT orders_cancelled_check, DROP CONSTRAINT orders_confirmed_check;
        ALTER TABLE order_events DROP CONSTRAINT order_events_pkey
        """
    )
    stage = Stage(arena)
    yield stage
    stage.close()
    arena.close()


def test_whatever_the_order_of_steps_an_order_is_either_charged_or_cancelled(stage: Stage) -> None:
    played = list(stage.every_interleaving())
    bad = [each for each in played if each.faults]
    assert not bad, f"{len(bad)} of {len(played)} interleavings are bad, the first: {bad[0]}"
    # What was played is worth something: all steps, both outcomes, both refusals, and no order of steps twice.
    assert {step for each in played for step in each.steps} == {
        *(f"confirm: {step}" for step in ("lock", "read", "pack", "save", "commit", "rollback")),
        *(f"sweep: {step}" for step in ("clock", "start", "find", "cancel", "commit", "wait")),
    }
    assert {each.order[0] for each in played} == {"PARTIALLY_SHIPPED", "CANCELLED"}
    assert {type(each.confirmation).__name__ for each in played} == {
        "Confirmed", "ConfirmationWindowClosed", "OrderCancelled"
    }  # fmt: skip
    assert len({tuple(each.steps) for each in played}) == len(played) > 100


def test_the_locks_alone_keep_charge_and_cancellation_apart(unguarded_stage: Stage) -> None:
    played = list(unguarded_stage.every_interleaving())
    assert [each for each in played if each.faults] == []


# --- What the checks must catch ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mutant:
    """A piece of SQL taken out of a statement."""

    module: object
    statement: str
    piece: LiteralString
    instead: LiteralString = ""

    def apply(self, monkeypatch: pytest.MonkeyPatch) -> None:
        text: str = getattr(self.module, self.statement)
        assert text.count(self.piece) == 1
        monkeypatch.setattr(self.module, self.statement, text.replace(self.piece, self.instead))


CONFIRM_UNLOCKED = Mutant(order_queries, "LOCK_ORDER", "FOR UPDATE")
SWEEP_UNLOCKED = Mutant(cancellation_queries, "CANCEL_ORDERS", "FOR UPDATE SKIP LOCKED")
SWEEP_TRUSTING = Mutant(
    cancellation_queries, "CANCEL_ORDERS", "fulfillment_status = 'UNSHIPPED' AND fulfilled_by = 'MERCHANT'", "true"
)
MUTANTS = {
    "the confirmation does not lock": [CONFIRM_UNLOCKED],
    "the sweep does not lock": [SWEEP_UNLOCKED],
    "neither locks": [CONFIRM_UNLOCKED, SWEEP_UNLOCKED],
    "the sweep trusts what it found": [SWEEP_TRUSTING],
}


@pytest.fixture(params=MUTANTS)
def mutant(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the name of a fault that is in the service while the test runs."""
    for each in MUTANTS[request.param]:
        each.apply(monkeypatch)
    return request.param


@pytest.mark.usefixtures("mutant")
def test_without_its_lock_some_interleaving_is_bad(stage: Stage) -> None:
    assert any(each.faults for each in stage.every_interleaving())


@pytest.mark.usefixtures("mutant")
def test_without_its_lock_and_the_constraints_some_order_is_charged_and_cancelled(unguarded_stage: Stage) -> None:
    # The order was confirmed and charged, and cancelled too: what the constraints would have refused.
    both = {"SHIPMENT_CONFIRMED", "ORDER_CANCELLED"}
    assert any(both <= set(each.events) and each.faults for each in unguarded_stage.every_interleaving())


def test_the_database_refuses_to_confirm_a_cancelled_order_even_without_the_lock(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    CONFIRM_UNLOCKED.apply(monkeypatch)
    # The confirmation reads the order before the deadline, then the sweep cancels it, then the confirmation writes.
    first_the_read, then_the_whole_sweep = [0, 0], [1] * 6
    played = stage.play(first_the_read + then_the_whole_sweep)
    assert played.steps == [
        "confirm: lock", "confirm: read",
        "sweep: clock", "sweep: start", "sweep: find", "sweep: cancel", "sweep: commit", "sweep: find",
        "confirm: pack", "confirm: save", "confirm: rollback",
    ]  # fmt: skip
    assert isinstance(played.confirmation, pg.CheckViolation)
    assert played.confirmation.diag.constraint_name == "orders_cancelled_check"
    assert played.order == CANCELLED


# --- Races of real threads -----------------------------------------------------------------------------------------


def _linger(_pid: int, _statement: str) -> None:
    """Hold a statement back now and then, for so long that a whole sweep gets between it and the one before."""
    if random.random() < 0.12:  # noqa: S311  # not a secret
        time.sleep(random.random() * 0.04)  # noqa: S311  # not a secret


def _hesitate(_pid: int, _statement: str) -> None:
    """Hold a statement back now and then, for a moment."""
    if random.random() < 0.2:  # noqa: S311  # not a secret
        time.sleep(random.random() * 0.002)  # noqa: S311  # not a secret


class Race:
    """Rounds in which threads confirm orders around their deadline while sweeps run."""

    def __init__(self, arena: Arena) -> None:
        self.arena = arena
        self._confirming = TellingDatabase(arena.settings, pool_size=CONFIRMERS, tell=_linger)
        self._sweeping = TellingDatabase(arena.settings, pool_size=SWEEPERS, tell=_hesitate)
        self._threads = ThreadPoolExecutor(CONFIRMERS + SWEEPERS)
        self._random = random.Random(20260318)  # noqa: S311  # not a secret

    def close(self) -> None:
        self._threads.shutdown()
        self._confirming.close()
        self._sweeping.close()

    def run(self) -> tuple[dict[str, object], list[str]]:
        """Run a round; return how each confirmation ended, and what was wrong at the end."""
        lead_s = self._random.uniform(0.04, 0.1)
        queue = [(order_id, self._random.uniform(0, 2 * lead_s)) for order_id in self.arena.order_ids]
        self._random.shuffle(queue)
        self.arena.reset(timedelta(seconds=lead_s))
        started, over = time.monotonic(), threading.Event()
        sweeping = [self._threads.submit(self._sweep_until, over) for _ in range(SWEEPERS)]
        confirming = {
            order_id: self._threads.submit(self._confirm, order_id, started + delay) for order_id, delay in queue
        }
        confirmations = {order_id: _ending(future) for order_id, future in confirming.items()}
        over.set()
        sweeps = [run for future in sweeping for run in future.result()]
        # The deadline of all has come by now: what was refused must be cancelled, if not before then by this run.
        move_clock(self.arena.database, CONFIRM_BY + timedelta(minutes=1))
        sweeps.append(sweep(self.arena.database, requested_by="test", options=LIFTED))
        return confirmations, self.arena.faults(confirmations, sweeps)

    def _confirm(self, order_id: str, not_before: float) -> object:
        time.sleep(max(0.0, not_before - time.monotonic()))
        return confirm_shipment(self._confirming, SELLER, order_id, CONFIRMATION, "test", settled_outside=True)

    def _sweep_until(self, over: threading.Event) -> list[CancellationRun | BaseException | None]:
        runs: list[CancellationRun | BaseException | None] = []
        while not over.is_set():
            try:
                runs.append(
                    sweep(
                        self._sweeping,
                        requested_by="test",
                        options=replace(LIFTED, batch_size=self._random.choice([1, 7, 1000])),
                    )
                )
            except Exception as error:  # noqa: BLE001  # judged with the outcome
                runs.append(error)
        return runs


def _ending(future: Future[object]) -> object:
    error = future.exception()
    return future.result() if error is None else error


@pytest.fixture(scope="module")
def race(make_database_url: Callable[[], str]) -> Iterator[Race]:
    url = make_database_url()
    upgrade_schema(url)
    arena = Arena(url, ORDERS_A_ROUND)
    race = Race(arena)
    yield race
    race.close()
    arena.close()


def test_in_a_thousand_races_an_order_is_either_charged_or_cancelled(race: Race) -> None:
    endings: dict[str, int] = {}
    for _ in range(ROUNDS):
        confirmations, faults = race.run()
        assert faults == []
        for ending in confirmations.values():
            endings[type(ending).__name__] = endings.get(type(ending).__name__, 0) + 1
    assert sum(endings.values()) == ROUNDS * ORDERS_A_ROUND == 1000
    assert endings["Confirmed"]
    assert endings.keys() & {"ConfirmationWindowClosed", "OrderCancelled"}


@pytest.mark.parametrize("mutants", [[CONFIRM_UNLOCKED], [SWEEP_UNLOCKED]], ids=["confirmation", "sweep"])
def test_without_its_lock_some_race_is_bad(race: Race, monkeypatch: pytest.MonkeyPatch, mutants: list[Mutant]) -> None:
    for mutant in mutants:
        mutant.apply(monkeypatch)
    # As many rounds as the other test, several times over: a race is lost by chance, though soon.
    assert any(race.run()[1] for _ in range(10 * ROUNDS))

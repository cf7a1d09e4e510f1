"""A seller's cancellation, a first confirmation and the sweep meet: races of real threads on the same orders.

Each order ends one way, and everybody is told so: the one that came first did it, and the others are refused for that
reason (R9, R10, D2, D3, D5). Without the lock of the order the same check must find fault.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta

import pytest

from service.cancellation.actions import cancel_order
from service.cancellation.rules import CancelReason
from service.cancellation_job.actions import sweep
from service.database import upgrade_schema
from service.sandbox.actions import move_clock
from service.shipments.actions import confirm_shipment
from tests.conftest import CONFIRM_BY, SELLER
from tests.invariants import broken_invariants
from tests.test_confirm_against_sweep import CONFIRM_UNLOCKED, CONFIRMATION, Arena, TellingDatabase

ROUNDS, ORDERS_A_ROUND, CALLERS = 6, 50, 16
REASON = CancelReason.NO_INVENTORY
# How an order may end: its reason, status, payment and events, and what its confirmation and its cancellation answer.
ENDS: dict[str | None, tuple[tuple[object, ...], set[str], set[str]]] = {
    None: (
        ("PARTIALLY_SHIPPED", "CHARGED", ["ORDER_RECEIVED", "SHIPMENT_CONFIRMED"]),
        {"Confirmed"},
        {"OrderConfirmed"},
    ),
    REASON: (("CANCELLED", "UNPAID", ["ORDER_RECEIVED", "ORDER_CANCELLED"]), {"OrderCancelled"}, {"str"}),
    "NOT_CONFIRMED_IN_TIME": (
        ("CANCELLED", "UNPAID", ["ORDER_RECEIVED", "ORDER_CANCELLED"]),
        {"ConfirmationWindowClosed", "OrderCancelled"},
        {"ConfirmationWindowClosed", "OrderCancelled"},
    ),
}


def linger(_pid: int, _statement: str) -> None:
    """Hold a statement back now and then, for so long that all of another transaction gets in before it."""
    if random.random() < 0.12:  # noqa: S311  # not a secret
        time.sleep(random.random() * 0.02)  # noqa: S311  # not a secret


class Race:
    """Rounds in which each order is confirmed and cancelled at about the same time, around its deadline."""

    def __init__(self, arena: Arena) -> None:
        self.arena = arena
        self._calling = TellingDatabase(arena.settings, pool_size=CALLERS, tell=linger)
        self._threads = ThreadPoolExecutor(CALLERS + 1)
        self._random = random.Random(20260318)  # noqa: S311  # not a secret

    def close(self) -> None:
        self._threads.shutdown()
        self._calling.close()

    def run(self) -> tuple[Counter[str | None], list[str]]:
        """Run a round; return why orders were cancelled, or that they were not, and what was wrong at the end."""
        lead_s = self._random.uniform(0.1, 0.2)
        # Half of the orders are met before their deadline; the two that meet at one come in either order.
        meetings = sorted((self._random.uniform(0, 2 * lead_s), order_id) for order_id in self.arena.order_ids)
        self.arena.reset(timedelta(seconds=lead_s))
        started, over = time.monotonic(), threading.Event()
        sweeping = self._threads.submit(self._sweep_until, over)
        calls: dict[str, list[Future[object]]] = {}
        for delay, order_id in meetings:
            both = [self._confirm, self._cancel]
            submitted = {
                call: self._threads.submit(call, order_id, started + delay)
                for call in self._random.sample(both, len(both))
            }
            calls[order_id] = [submitted[call] for call in both]
        answers = {order_id: [answer(future) for future in futures] for order_id, futures in calls.items()}
        over.set()
        sweeping.result()
        # The deadline of all has come by now: what was refused for it must be cancelled, if not before then now.
        move_clock(self.arena.database, CONFIRM_BY + timedelta(minutes=1))
        sweep(self.arena.database, requested_by="test")
        return self._judge(answers)

    def _judge(self, answers: dict[str, list[str]]) -> tuple[Counter[str | None], list[str]]:
        reasons = dict(self.arena.owner.execute("SELECT order_id, cancel_reason FROM orders").fetchall())
        faults = [f"broken: {name}" for name in broken_invariants(self.arena.owner)]
        for order_id, (status, payment, *_, events) in self.arena.orders().items():
            expected, confirming, cancelling = ENDS[reasons[order_id]]
            told = answers[order_id]
            if (status, payment, events) != expected or told[0] not in confirming or told[1] not in cancelling:
                faults.append(f"{status} {payment} {reasons[order_id]} {events}, and the answers were {told}")
        return Counter(reasons.values()), faults

    def _confirm(self, order_id: str, not_before: float) -> object:
        time.sleep(max(0.0, not_before - time.monotonic()))
        return confirm_shipment(self._calling, SELLER, order_id, CONFIRMATION, "test", settled_outside=True)

    def _cancel(self, order_id: str, not_before: float) -> object:
        time.sleep(max(0.0, not_before - time.monotonic()))
        return cancel_order(self._calling, SELLER, order_id, REASON, "test")

    def _sweep_until(self, over: threading.Event) -> None:
        while not over.wait(0.002):
            sweep(self.arena.database, requested_by="test")


def answer(future: Future[object]) -> str:
    """Return the kind of answer, or of the error, that a call ended with."""
    error = future.exception()
    return type(future.result() if error is None else error).__name__


@pytest.fixture(scope="module")
def race(make_database_url: Callable[[], str]) -> Iterator[Race]:
    url = make_database_url()
    upgrade_schema(url)
    arena = Arena(url, ORDERS_A_ROUND)
    race = Race(arena)
    yield race
    race.close()
    arena.close()


def test_in_300_races_an_order_ends_one_way_and_everybody_is_told_so(race: Race) -> None:
    ends = Counter[str | None]()
    for _ in range(ROUNDS):
        reasons, faults = race.run()
        assert faults == []
        ends += reasons
    assert ends.total() == ROUNDS * ORDERS_A_ROUND == 300
    assert ends.keys() == ENDS.keys()


def test_without_the_lock_some_race_is_bad(race: Race, monkeypatch: pytest.MonkeyPatch) -> None:
    # Confirmations and cancellations lock by the same statement: each would act on what the other is about to change.
    CONFIRM_UNLOCKED.apply(monkeypatch)
    assert any(race.run()[1] for _ in range(10 * ROUNDS))

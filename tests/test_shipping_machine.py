"""Whatever is done with an order, in whatever order, it is what the model says: statuses, money, warnings, history."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from tests.conftest import NOW, SHIP_BY
from tests.contract import Contract
from tests.payment_model import RETRIED_AFTER, Mode, Share
from tests.shipping_desk import ORDERS, STEP, Desk
from tests.shipping_model import DAY
from tests.shipping_world import World, shipping_world

# MACHINE_EXAMPLES=2000 MACHINE_STEPS=50 is the longer run.
EXAMPLES, STEPS = int(os.environ.get("MACHINE_EXAMPLES", "25")), int(os.environ.get("MACHINE_STEPS", "25"))
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
# No time of a carrier's or a seller's falls on a moment at which the clock can stand.
OFF = timedelta(seconds=5)

names = st.sampled_from([*["first"] * 6, *["second"] * 2, *["pending"] * 2, "platform"])
references = st.sampled_from(["1", "1", "1", "2", "2", "3"])
new_references = st.sampled_from([None, None, None, "1", "2"])  # mostly the next one
units = st.sampled_from([None, {"1": 1}, {"1": 1}, {"2": 1}, {"1": 2, "2": 1}, {"3": 1}, {"1": 3}, {"1": 4}, {"9": 1}])
ship_dates = st.sampled_from([*[NOW] * 6, NOW + HOUR, NOW - 2 * DAY, SHIP_BY + 3 * DAY + OFF])
event_times = st.sampled_from([*(NOW + hours * HOUR + OFF for hours in (1, 2, 3, 20, 200)), NOW - 2 * DAY])
statuses = st.sampled_from(["IN_TRANSIT", "DELIVERED", "DELIVERED", "UNDELIVERABLE"])
keys = st.sampled_from([f"key {number}" for number in range(8)])
shares = st.sampled_from(
    [(Share(None, amount=Decimal(text)),) for text in ("0.01", "14.50", "24.49", "40.00", "40.01")]
    + [
        (Share(item, number),)
        for item, number in (("1", 1), ("1", 1), ("1", 2), ("1", 4), ("2", 1), ("3", 1), ("9", 1))
    ]
    + [(Share(item, amount=Decimal(text)),) for item, text in (("1", "3.33"), ("2", "15.51"), ("3", "30.00"))]
    + [(Share("1", 1), Share("2", 1)), (Share("1", 3), Share("2", amount=Decimal("0.50")))]
)
periods = st.sampled_from([-10 * MINUTE, MINUTE, 7 * MINUTE, 62 * MINUTE, 7 * HOUR, DAY, 4 * DAY])
modes = st.sampled_from([*Mode, Mode.ACCEPTS, Mode.DECLINES])
# Much can be done with a shipped order only, so that most runs begin with one: its packages, and what its charge met.
PART, WHOLE = ({"1": 1},), ({"1": 1}, {"2": 1}, None)
beginnings = st.sampled_from(
    [((), Mode.ACCEPTS), *((packages, mode) for packages in (PART, WHOLE) for mode in (Mode.ACCEPTS, *Mode))]
)
reasons = st.sampled_from(["NO_INVENTORY", "PRICING_ERROR"])


class ShippingMachine(RuleBasedStateMachine):
    """Does at random what sellers, buyers, carriers, the channel, the payment service and time do."""

    world: World
    desk: Desk | None = None

    @property
    def at(self) -> Desk:
        assert self.desk is not None
        return self.desk

    @initialize(outside=st.booleans(), beginning=beginnings)
    def open(self, *, outside: bool, beginning: tuple[tuple[dict[str, int] | None, ...], Mode]) -> None:
        self.desk = self.world.desk(outside=outside)
        packages, mode = beginning
        for number, packed in enumerate(packages, start=1):
            self.desk.confirm("first", str(number), packed)
        if packages:
            self.desk.work(mode)

    def has_packages(self) -> bool:
        return any(order.packages for order in self.at.orders.values())

    @rule(name=names, reference=new_references, units=units, ship_date=ship_dates, overrides=st.booleans())
    def confirm(
        self, name: str, reference: str | None, units: dict[str, int] | None, ship_date: datetime, *, overrides: bool
    ) -> None:
        another = str(len(self.at.orders[name].packages) + 1)
        self.at.confirm(name, reference or another, units, ship_date, overrides=overrides)

    @precondition(has_packages)
    @rule(
        name=names, reference=references, number=st.sampled_from("AB"), version=st.sampled_from(["*", "1", "2", None])
    )
    def correct(self, name: str, reference: str, number: str, version: str | None) -> None:
        self.at.correct(name, reference, number, version)

    @precondition(has_packages)
    @rule(name=names, reference=references, status=statuses, time=event_times)
    def track(self, name: str, reference: str, status: str, time: datetime) -> None:
        self.at.track(name, reference, status, time)

    @precondition(has_packages)
    @rule(name=names, time=event_times)
    def deliver(self, name: str, time: datetime) -> None:
        for reference in self.at.orders[name].packages:
            self.at.track(name, reference, "DELIVERED", time)

    @precondition(has_packages)
    @rule(name=names, key=keys, shares=shares)
    def refund(self, name: str, key: str, shares: tuple[Share, ...]) -> None:
        self.at.refund(name, key, shares)

    @rule(name=names, reason=reasons)
    def cancel(self, name: str, reason: str) -> None:
        self.at.cancel(name, reason)

    @rule(name=names, reason=st.sampled_from([None, "too late", "found it cheaper"]))
    def ask_to_cancel(self, name: str, reason: str | None) -> None:
        self.at.ask_to_cancel(name, reason)

    @rule(name=names)
    def withdraw(self, name: str) -> None:
        self.at.withdraw(name)

    @rule()
    def authorize(self) -> None:
        self.at.authorize("pending")

    @rule()
    def sweep(self) -> None:
        self.at.sweep()

    @rule()
    def look_at_home(self) -> None:
        self.at.look_at_home()

    @precondition(has_packages)
    @rule(mode=modes)
    def work(self, mode: Mode) -> None:
        self.at.work(mode)

    @precondition(has_packages)
    @rule(verdict=st.sampled_from(["SUCCEEDED", "DECLINED"]))
    def decide(self, verdict: str) -> None:
        self.at.decide(verdict)

    @rule(by=periods)
    def pass_time(self, by: timedelta) -> None:
        self.at.pass_time(by if self.at.now + by > NOW else MINUTE)
        self.at.look_at_home()

    @rule(name=st.sampled_from(sorted(ORDERS)), by=st.sampled_from([-3 * STEP, STEP]), is_last=st.booleans())
    def go_to_a_deadline(self, name: str, by: timedelta, *, is_last: bool) -> None:
        order = self.at.orders[name]
        deadline = order.confirm_by if is_last else order.ship_by
        self.at.pass_time(max(deadline + by, self.at.now) - self.at.now)

    def teardown(self) -> None:
        if self.desk is not None:
            self.desk.finish()


@pytest.fixture(scope="module")
def world(make_database_url: Callable[[], str], contract: Contract) -> Iterator[World]:
    with shipping_world(make_database_url(), contract) as world:
        yield world


def test_whatever_is_done_orders_are_what_the_model_says(world: World) -> None:
    run_state_machine_as_test(
        type("Machine", (ShippingMachine,), {"world": world}),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            derandomize=True,
            deadline=None,
            database=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )


# What random steps seldom reach.


def declined_until_the_end(desk: Desk) -> None:
    desk.confirm("first", "1")
    for retry in (None, *RETRIED_AFTER, 30 * DAY):
        desk.pass_time(MINUTE if retry is None else retry + MINUTE)
        desk.work(Mode.DECLINES)
    desk.look_at_home()


def refunded_unit_by_unit_after_a_decline(desk: Desk) -> None:
    desk.confirm("first", "1")
    desk.work(Mode.ACCEPTS)
    desk.refund("first", "declined", (Share("1", 1),))
    desk.refund("first", "accepted", (Share("1", 1), Share("2", 1)))
    desk.work(Mode.DECLINES)
    for number in range(4):
        desk.refund("first", f"unit {number}", (Share("1", 1),))
    desk.refund("first", "rest", (Share(None, amount=Decimal("40.00")),))
    desk.work(Mode.HANGS_UP)
    desk.pass_time(7 * MINUTE)
    desk.work(Mode.IS_DOWN)
    desk.pass_time(7 * MINUTE)
    desk.work(Mode.ACCEPTS)


def declined_after_a_while(desk: Desk) -> None:
    desk.confirm("first", "1", {"1": 1})
    desk.work(Mode.PENDS)
    desk.decide("DECLINED")
    desk.pass_time(7 * MINUTE)
    desk.work(Mode.ACCEPTS)
    desk.pass_time(62 * MINUTE)
    desk.work(Mode.LOSES)
    desk.pass_time(-10 * MINUTE)
    desk.work(Mode.ACCEPTS)
    desk.pass_time(17 * MINUTE)
    desk.work(Mode.ACCEPTS)
    desk.refund("first", "all", (Share(None, amount=Decimal("40.00")),))
    desk.work(Mode.ACCEPTS)


def confirmed_whole_after_the_deadline(desk: Desk) -> None:
    desk.ask_to_cancel("first", "too late")
    desk.confirm("first", "1", {"1": 1}, overrides=True)
    desk.withdraw("first")
    desk.pass_time(desk.orders["first"].confirm_by + DAY - desk.now)
    desk.look_at_home()
    desk.sweep()
    desk.confirm("first", "2")
    desk.track("first", "2", "DELIVERED", NOW + HOUR)
    desk.track("first", "1", "UNDELIVERABLE", NOW + HOUR)
    desk.track("first", "1", "IN_TRANSIT", NOW + HOUR)
    desk.track("first", "1", "DELIVERED", NOW + 3 * HOUR)
    desk.track("first", "1", "DELIVERED", NOW + 2 * HOUR)
    desk.correct("first", "1", "A", "*")


STORIES = (
    declined_until_the_end,
    refunded_unit_by_unit_after_a_decline,
    declined_after_a_while,
    confirmed_whole_after_the_deadline,
)


@pytest.mark.parametrize("story", STORIES)
def test_what_happens_seldom_is_what_the_model_says(story: Callable[[Desk], None], world: World) -> None:
    desk = world.desk(outside=False)
    story(desk)
    desk.finish()

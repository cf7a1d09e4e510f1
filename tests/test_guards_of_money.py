"""What guards the money: take any one guard away, and the model sees it at once.

Each guard has a short sequence of steps. With the guard in place the service does what the model says; without it the
same sequence ends in a difference. That is what shows that the random runs of the machine have teeth.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from types import ModuleType
from typing import Any

import psycopg
import pytest

from service.cancellation import rules as cancellation_rules
from service.orders import order_json
from service.payments import actions as payment_actions
from service.payments import queries as payment_queries
from service.payments import refund_queries
from service.payments.refund_rules import RefundableItem
from service.payments.rules import Claim, PaymentStatus, Verdict
from service.shipments import actions as shipment_actions
from service.shipments import rules as shipment_rules
from service.tracking import actions as tracking_actions
from tests.conftest import CONFIRM_BY, NOW, SHIP_BY
from tests.contract import Contract
from tests.invariants import INVARIANTS
from tests.payment_model import Mode, Share
from tests.shipping_desk import STEP, Desk
from tests.shipping_model import DAY
from tests.shipping_world import World, shipping_world

Patch = pytest.MonkeyPatch
TEN_MINUTES = 60 * STEP
ALL, A_CENT = (Share(None, amount=Decimal("40.00")),), (Share(None, amount=Decimal("0.01")),)


@dataclass(frozen=True)
class Guard:
    """A guard: the steps that run into it, how it is taken away, what then differs, and how charges are settled."""

    steps: Callable[[Desk], None]
    take_away: Callable[[Patch], None]
    difference: str
    outside: bool = True
    invariant: str | None = None  # which then does not hold, where nothing else keeps the wrong out of the tables


def changing(patch: Patch, module: ModuleType, name: str, change: Callable[[Any], Any]) -> None:
    """Change what a function of a module returns."""
    whole = getattr(module, name)

    def changed(*given: Any, **named: Any) -> Any:
        return change(whole(*given, **named))

    patch.setattr(module, name, changed)


def nothing(*_: object) -> None:
    """Do nothing, and find nothing wrong."""


def always(answer: object) -> Callable[..., object]:
    """Return a function that always answers the same."""

    def answered(*_: object) -> object:
        return answer

    return answered


def confirm_at_the_deadline(desk: Desk) -> None:
    desk.pass_time(CONFIRM_BY - desk.now)
    desk.confirm("first", "1")


def without_the_window(patch: Patch) -> None:
    patch.setattr(shipment_rules, "window_is_closed", always(answer=False))


def confirm_against_the_buyer(desk: Desk) -> None:
    desk.ask_to_cancel("first", None)
    desk.confirm("first", "1")


def without_the_override(patch: Patch) -> None:
    patch.setattr(shipment_rules, "_refuse_against_the_buyer", nothing)


def confirm_twice(desk: Desk) -> None:
    desk.confirm("first", "1", {"1": 1})
    desk.confirm("first", "2", {"1": 1})


def charging_every_time(patch: Patch) -> None:
    changing(patch, shipment_actions, "decide", lambda decision: replace(decision, charges_order=True))


def refund_more_than_all(desk: Desk) -> None:
    desk.confirm("first", "1")
    desk.refund("first", "all", ALL)
    desk.refund("first", "more", A_CENT)


def refund_an_item_twice(desk: Desk) -> None:
    desk.confirm("first", "1")
    for key in ("once", "twice"):
        desk.refund("first", key, (Share("2", amount=Decimal("15.50")),))


def forgetting_refunds(patch: Patch) -> None:
    changing(patch, refund_queries, "read_charge", lambda charge: replace(charge, refunded=Decimal()))


def forgetting_refunded_items(patch: Patch) -> None:
    def forget(items: Mapping[str, RefundableItem]) -> Mapping[str, RefundableItem]:
        return {key: replace(item, refunded=Decimal()) for key, item in items.items()}

    changing(patch, refund_queries, "read_refundable_items", forget)


def refund_before_the_charge(desk: Desk) -> None:
    desk.confirm("first", "1")
    desk.work(Mode.HANGS_UP)
    desk.refund("first", "early", A_CENT)


def believing_every_charge(patch: Patch) -> None:
    changing(patch, refund_queries, "read_charge", lambda charge: replace(charge, status=PaymentStatus.SUCCEEDED))


def cancel_what_is_confirmed(desk: Desk) -> None:
    desk.confirm("first", "1", {"1": 1})
    desk.cancel("first", "NO_INVENTORY")


def cancelling_anything(patch: Patch) -> None:
    patch.setattr(cancellation_rules, "_refuse_what_is_settled", nothing)


def refund_the_rest_of_a_late_order(desk: Desk) -> None:
    desk.confirm("first", "1", {"1": 3})
    desk.pass_time(SHIP_BY + DAY - desk.now)
    desk.refund("first", "rest", (Share("2", 1), Share("3", amount=Decimal("14.50"))))
    desk.look_at_home()


def ending_lateness_by_refund(patch: Patch) -> None:
    late = order_json.IS_LATE
    unless_refunded = f"({late} AND o.payment_status NOT LIKE '%%REFUNDED')"
    whole: Mapping[str, str] = vars(order_json)["_MEMBERS"]
    members = {name: text.replace(late, unless_refunded) for name, text in whole.items()}
    patch.setattr(order_json, "_MEMBERS", members)


def deliver_one_of_two(desk: Desk) -> None:
    desk.confirm("first", "1", {"1": 3})
    desk.confirm("first", "2")
    desk.track("first", "1", "DELIVERED", NOW)


def delivering_by_the_first(patch: Patch) -> None:
    def save(connection: psycopg.Connection, seller_id: str, order_id: str) -> None:
        connection.execute(
            "UPDATE orders SET delivered_time = app_now() WHERE seller_id = %s AND order_id = %s", (seller_id, order_id)
        )

    patch.setattr(tracking_actions, "save_delivered_time", save)


def charge_with_a_hang_up(desk: Desk) -> None:
    desk.confirm("first", "1")
    desk.work(Mode.HANGS_UP)
    desk.pass_time(TEN_MINUTES)
    desk.work(Mode.ACCEPTS)


def without_a_look_up(patch: Patch) -> None:
    patch.setattr(Claim, "may_have_been_sent", property(always(answer=False)))


def with_a_key_for_each_attempt(patch: Patch) -> None:
    numbers = itertools.count()
    changing(patch, payment_queries, "charge_key", lambda key: f"{key}:{next(numbers)}")


def retry_before_the_hour(desk: Desk) -> None:
    desk.confirm("first", "1")
    desk.work(Mode.DECLINES)
    desk.pass_time(TEN_MINUTES)
    desk.work(Mode.ACCEPTS)


def taking_a_decline_for_a_hang_up(patch: Patch) -> None:
    settle = payment_actions.settle

    def lenient(state: Any, verdict: Verdict, *given: Any, **named: Any) -> Any:
        softened = Verdict.UNDECIDED if verdict is Verdict.DECLINED else verdict
        return settle(state, softened, *given, **named)

    patch.setattr(payment_actions, "settle", lenient)


WITHIN_THE_CHARGE = "no more is refunded than was charged, and nothing before"
# A second charge, and a cancellation of what is charged, are kept out by the tables as well.
GUARDS = {
    "the window": Guard(
        confirm_at_the_deadline,
        without_the_window,
        "instead of {'confirmation-window-closed'}",
        invariant="nothing is confirmed for the first time at or after its deadline",
    ),
    "the buyer's request": Guard(
        confirm_against_the_buyer, without_the_override, "instead of {'cancellation-requested'}"
    ),
    "one charge an order": Guard(confirm_twice, charging_every_time, "internal-error"),
    "no more than was charged": Guard(
        refund_more_than_all, forgetting_refunds, "instead of {'refund-too-large'}", invariant=WITHIN_THE_CHARGE
    ),
    "no more than the item": Guard(
        refund_an_item_twice,
        forgetting_refunded_items,
        "instead of {'refund-too-large'}",
        invariant="of an item no more is refunded than was ordered, or than it is worth",
    ),
    "no refund before the charge": Guard(
        refund_before_the_charge,
        believing_every_charge,
        "instead of {'not-charged'}",
        outside=False,
        invariant=WITHIN_THE_CHARGE,
    ),
    "no cancellation of what is confirmed": Guard(
        cancel_what_is_confirmed, cancelling_anything, "instead of {'order-confirmed'}"
    ),
    "no end of lateness by refund": Guard(
        refund_the_rest_of_a_late_order, ending_lateness_by_refund, "'late': .False, True"
    ),
    "delivered with the last package": Guard(
        deliver_one_of_two,
        delivering_by_the_first,
        "'delivered': ",
        invariant="an order is delivered with its last package",
    ),
    "a look-up before a charge": Guard(
        charge_with_a_hang_up, without_a_look_up, "nothing is made twice", outside=False
    ),
    "one key until a decline": Guard(
        charge_with_a_hang_up, with_a_key_for_each_attempt, "made is .*, and should be", outside=False
    ),
    "a decline is a decline": Guard(
        retry_before_the_hour, taking_a_decline_for_a_hang_up, "'UNKNOWN', .*'DECLINED'", outside=False
    ),
}
guards = pytest.mark.parametrize("guard", GUARDS.values(), ids=GUARDS)


@pytest.fixture(scope="module")
def world(make_database_url: Callable[[], str], contract: Contract) -> Iterator[World]:
    with shipping_world(make_database_url(), contract) as world:
        yield world


@guards
def test_a_guarded_service_does_what_the_model_says(guard: Guard, world: World) -> None:
    guard.steps(world.desk(outside=guard.outside))


@guards
def test_without_a_guard_the_model_finds_a_difference(guard: Guard, world: World, monkeypatch: Patch) -> None:
    desk = world.desk(outside=guard.outside)
    guard.take_away(monkeypatch)

    with pytest.raises(AssertionError, match=guard.difference):
        guard.steps(desk)
    if guard.invariant is not None:
        with world.database.operator_transaction() as connection:
            rows = connection.execute(INVARIANTS[guard.invariant]).fetchall()
        assert desk.seller_id in {row[0] for row in rows}

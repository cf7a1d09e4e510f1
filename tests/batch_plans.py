"""Files of confirmations with every kind of row, and what they leave behind."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, LiteralString, cast

import orjson
import psycopg

from service.database import Database
from service.ingest.jobs import import_orders
from service.ingest.schemas import read_line
from tests.conftest import NOW, order_document

HEADER = (
    *("order-id", "order-item-id", "quantity", "ship-date", "carrier-code", "tracking-number", "carrier-name"),
    "override-cancellation-request",
)
SETTLED_LONG_AGO: dict[str, Any] = {
    "createdTime": "2026-01-20T12:00:00Z",
    "fulfillment__shipByWindow__latestDateTime": "2026-02-02T12:00:00Z",
}


@dataclass(frozen=True, slots=True)
class Unit:
    """An order, lines about it that follow one another, and what each of them must end as."""

    order: dict[str, Any] | None
    lines: Sequence[Sequence[str]]
    results: Sequence[str]
    buyer_asks_to_cancel: bool = False


@dataclass(slots=True)
class Plan:
    """A file, the orders that are there before it, and what is expected of each line."""

    file: bytes
    orders: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    asked: list[str] = field(default_factory=list[str])
    expected: dict[int, str] = field(default_factory=dict[int, str])


_numbers = itertools.count(1)


def cells_of(order_id: str, item: str = "", quantity: str = "", **changes: str) -> list[str]:
    """Return the cells of a row; its tracking number is its own."""
    number = next(_numbers)
    known = {
        "order-id": order_id, "order-item-id": item, "quantity": quantity, "ship-date": "2026-03-02",
        "carrier-code": "DHL", "tracking-number": f"T{number}",
    }  # fmt: skip
    return [(known | {name.replace("_", "-"): text for name, text in changes.items()}).get(name, "") for name in HEADER]


def _unit(lines: Callable[[str], Sequence[Sequence[str]]], *results: str, asks: bool = False, **changes: Any) -> Unit:
    order = order_document(**changes)
    return Unit(order, lines(order["orderId"]), results, asks)


def _whole(order_id: str) -> list[list[str]]:
    return [cells_of(order_id)]


def bad_units() -> list[Unit]:
    """Return every kind of row that is refused."""
    return [
        Unit(None, [cells_of("902-0000000-0000000")], ["order-not-found"]),
        Unit(None, [cells_of("")], ["invalid-request"]),
        Unit(None, [[*cells_of("902-1"), "more"]], ["invalid-request"]),
        _unit(lambda key: [cells_of(key, "1", "x")], "invalid-request"),
        _unit(lambda key: [cells_of(key, "1")], "invalid-request"),
        _unit(lambda key: [cells_of(key, "", "1")], "invalid-request"),
        _unit(lambda key: [cells_of(key, ship_date="yesterday")], "invalid-request"),
        _unit(lambda key: [cells_of(key, carrier_code="")], "invalid-request"),
        _unit(lambda key: [cells_of(key, carrier_code="Snail")], "unknown-carrier"),
        _unit(lambda key: [cells_of(key, carrier_code="Other")], "invalid-request"),
        _unit(lambda key: [cells_of(key, ship_date="2026-02-01")], "ship-date-out-of-range"),
        _unit(lambda key: [cells_of(key, "1", "3")], "quantity-too-large"),
        _unit(lambda key: [cells_of(key, "9", "1"), cells_of(key, "1", "1")], "unknown-order-item", "CONFIRMED"),
        _unit(lambda key: [cells_of(key), cells_of(key)], "CONFIRMED", "nothing-to-confirm"),
        _unit(lambda key: [cells_of(key, "1", "1", tracking_number="T")] * 2, "invalid-request", "invalid-request"),
        _unit(
            lambda key: [cells_of(key, "1", "1", tracking_number="T"), cells_of(key, tracking_number="T")],
            *("invalid-request", "invalid-request"),
        ),
        _unit(_whole, "order-pending", fulfillment__fulfillmentStatus="PENDING"),
        _unit(_whole, "order-cancelled", fulfillment__fulfillmentStatus="CANCELLED"),
        _unit(_whole, "platform-fulfilled", fulfillment__fulfilledBy="AMAZON"),
        _unit(_whole, "confirmation-window-closed", **SETTLED_LONG_AGO),
        _unit(_whole, "cancellation-requested", asks=True),
        _unit(lambda key: [cells_of(key, override_cancellation_request="true")], "CONFIRMED", asks=True),
    ]


def _good_units() -> Iterator[Unit]:
    while True:
        yield _unit(lambda key: [cells_of(key)], "CONFIRMED")
        yield _unit(lambda key: [cells_of(key, "1", "1"), cells_of(key, "2", "1")], "CONFIRMED", "CONFIRMED")
        yield _unit(
            lambda key: [cells_of(key, each, "1", tracking_number=f"S{key}") for each in "12"], "CONFIRMED", "CONFIRMED"
        )


def make_plan(rows: int, seed: int = 4) -> Plan:
    """Return a file of so many rows, every kind of bad ones among them, in a random order."""
    units = bad_units()
    count = sum(len(each.lines) for each in units)
    for unit in _good_units():
        if count >= rows:
            break
        units.append(unit)
        count += len(unit.lines)
    random.Random(seed).shuffle(units)  # noqa: S311  # not for secrets
    plan, lines = Plan(b""), ["\t".join(HEADER)]
    for unit in units:
        if unit.order is not None:
            plan.orders.append(unit.order)
            plan.asked += [unit.order["orderId"]] if unit.buyer_asks_to_cancel else []
        for cells, result in zip(unit.lines, unit.results, strict=True):
            lines.append("\t".join(cells))
            plan.expected[len(lines)] = result
    plan.file = "\n".join(lines).encode()
    return plan


def receive(database: Database, owner: psycopg.Connection, seller_id: str, plan: Plan) -> None:
    """Put the orders of a plan there."""
    lines = (orjson.dumps({"sellerId": seller_id} | order) + b"\n" for order in plan.orders)
    summary = import_orders(
        database,
        cast("Any", _Lines(lines)),
        read_line,
        actor="test",
        create_missing_sellers=None,
        on_refusal=lambda refusal: print(refusal.problem, refusal.problem.errors),  # noqa: T201  # a soak talks
        on_progress=lambda _: None,
    )
    assert summary.created == len(plan.orders)
    owner.execute(
        "UPDATE orders SET cancellation_requested_time = %s WHERE seller_id = %s AND order_id = ANY(%s)",
        (NOW, seller_id, plan.asked),
    )


class _Lines:
    """A file that is made while it is read."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self._lines = lines

    def readline(self, _: int, /) -> bytes:
        return next(self._lines, b"")


_STATE: dict[str, LiteralString] = {
    "orders": "SELECT order_id, fulfillment_status, payment_status, version FROM orders WHERE seller_id = %s",
    "packages": "SELECT order_id, package_reference_id, carrier_code, tracking_number, ship_time::text, "
    "confirmation_digest FROM packages WHERE seller_id = %s",
    "items": "SELECT order_id, package_reference_id, order_item_id, quantity FROM package_items WHERE seller_id = %s",
    "charges": "SELECT order_id, amount, charge_status FROM charges WHERE seller_id = %s",
    "events": "SELECT order_id, version, event_type, details::text FROM order_events WHERE seller_id = %s",
}


def end_state(owner: psycopg.Connection, seller_id: str) -> dict[str, list[tuple[Any, ...]]]:
    """Return all that confirmations leave behind, but for times."""
    return {name: sorted(owner.execute(query, (seller_id,)).fetchall()) for name, query in _STATE.items()}


def results_of(owner: psycopg.Connection, seller_id: str) -> list[dict[int, str]]:
    """Return, for each file of a seller in the order in which they came, what became of its rows."""
    found: dict[Any, dict[int, str]] = {}
    for batch_id, number, result, code in owner.execute(
        """
        SELECT b.batch_id, r.row_number, r.result, split_part(r.outcome -> 'problem' ->> 'type', ':', 4)
        FROM confirmation_batches b JOIN confirmation_batch_rows r USING (batch_id)
        WHERE b.seller_id = %s ORDER BY b.created_time, b.batch_id, r.row_number
        """,
        (seller_id,),
    ):
        found.setdefault(batch_id, {})[number] = code or result
    return list(found.values())


def check(owner: psycopg.Connection, plan: Plan, killed: str, calm: str) -> None:
    """Compare a file that was killed with one that was not, and with one that came again."""
    (resumed,), (undisturbed, again) = results_of(owner, killed), results_of(owner, calm)
    assert resumed == undisturbed == plan.expected
    assert end_state(owner, killed) == end_state(owner, calm)
    repeated = {number: "ALREADY_CONFIRMED" if each == "CONFIRMED" else each for number, each in plan.expected.items()}
    # An order that the file itself confirmed may now be refused for that instead.
    assert {each for number, each in again.items() if each != repeated[number]} <= {"nothing-to-confirm"}
    assert "CONFIRMED" not in again.values()

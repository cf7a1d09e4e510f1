"""Orders that fall due one after the other while schedulers are killed, and what must have become of each."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import orjson
import psycopg

from service.database import Database
from service.deadlines.changes_rules import Selection
from service.deadlines.extension_actions import approve_extension, preview_extension
from service.errors import ConfirmationWindowClosed, Contended, OrderCancelled
from service.ingest.actions import receive_orders
from service.ingest.rules import Outcome
from service.ingest.schemas import read_line
from service.sandbox.actions import move_clock
from service.sellers.queries import insert_seller
from service.shipments.actions import confirm_shipment
from service.shipments.rules import ConfirmedItem, ShipmentConfirmation
from tests.conftest import NOW, SHIP_BY, order_document

SELLERS = ("SOAK-EAST", "SOAK-NORTH", "SOAK-SOUTH")
CONFIRMERS = 2
CHUNK = 500
# An extension is of so many orders, and is approved so long before the first of them is due.
EXTENDED_AT_ONCE, EXTENDED_BEFORE_S = 10, 3
# By the sandbox clock: late, but of a deadline that the soak gives them.
DAY_OF_SOAK = SHIP_BY + timedelta(hours=1)


class Kind(StrEnum):
    """What happens to an order besides the sweep."""

    OVERDUE = "overdue"
    CONTESTED = "contested"
    """It is confirmed around its deadline: whoever comes first has it."""
    EXTENDED = "extended"
    """It gets more time, shortly before its deadline."""
    CONFIRMED = "confirmed"
    """One of its items was confirmed before: it only stays late."""
    PLATFORM = "platform"
    LATER = "later"


SHARES = {
    Kind.OVERDUE: 60,
    Kind.CONTESTED: 20,
    Kind.EXTENDED: 6,
    Kind.CONFIRMED: 6,
    Kind.PLATFORM: 4,
    Kind.LATER: 4,
}
STAYS = {
    Kind.EXTENDED: "UNSHIPPED",
    Kind.CONFIRMED: "PARTIALLY_SHIPPED",
    Kind.PLATFORM: "UNSHIPPED",
    Kind.LATER: "UNSHIPPED",
}


@dataclass(frozen=True, slots=True)
class PlannedOrder:
    """An order, and how many seconds after the beginning it falls due."""

    seller_id: str
    order_id: str
    kind: Kind
    due_s: float

    @property
    def key(self) -> tuple[str, str]:
        """Return what it is known by."""
        return self.seller_id, self.order_id


def plan_orders(chooser: random.Random, count: int, seconds: int) -> list[PlannedOrder]:
    """Return so many orders of every kind, the first to fall due first."""
    kinds = chooser.choices(list(SHARES), list(SHARES.values()), k=count)
    orders = [
        PlannedOrder(
            chooser.choice(SELLERS), f"SOAK-{number:07d}", kind, chooser.uniform(EXTENDED_BEFORE_S + 1, seconds)
        )
        for number, kind in enumerate(kinds)
    ]
    return sorted(orders, key=lambda order: order.due_s)


@dataclass
class Sellers:
    """The sellers of the orders, who confirm some of them in time, or nearly."""

    database: Database
    orders: Sequence[PlannedOrder]
    begun_s: float = 0
    """When the soak begins, by the monotonic clock."""
    stopped: threading.Event = field(default_factory=threading.Event)
    confirmed: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])

    def receive(self) -> None:
        """Receive the orders, and confirm an item of some."""
        move_clock(self.database, NOW)
        with self.database.operator_transaction() as connection:
            for seller_id in SELLERS:
                insert_seller(connection, seller_id, seller_id)
        for start in range(0, len(self.orders), CHUNK):
            incoming = [read_line(orjson.dumps(_document(each))) for each in self.orders[start : start + CHUNK]]
            with self.database.operator_transaction() as connection:
                assert {*receive_orders(connection, incoming, "soak")} == {Outcome.CREATED}
        for order in self._of(Kind.CONFIRMED):
            self._confirm(order, [ConfirmedItem("1", 1)])

    def set_deadlines(self, owner: psycopg.Connection, begun_s: float, seconds: int) -> None:
        """Give the orders their deadlines, and move the clock to shortly before the first of them."""
        self.begun_s = begun_s
        move_clock(self.database, DAY_OF_SOAK - timedelta(seconds=begun_s - time.monotonic()))
        with owner.cursor() as cursor:
            cursor.executemany(
                "UPDATE orders SET confirm_by = %s WHERE seller_id = %s AND order_id = %s",
                [(self._deadline(each, seconds), *each.key) for each in self.orders if each.kind is not Kind.PLATFORM],
            )

    def _deadline(self, order: PlannedOrder, seconds: int) -> datetime:
        due_s = order.due_s + (seconds + 3600 if order.kind is Kind.LATER else 0)
        return DAY_OF_SOAK + timedelta(seconds=due_s)

    def _of(self, kind: Kind) -> list[PlannedOrder]:
        return [order for order in self.orders if order.kind is kind]

    @contextmanager
    def at_work(self) -> Generator[None]:
        """Have orders confirmed around their deadlines, and others given more time, until the last one was due."""
        with ThreadPoolExecutor(CONFIRMERS + 1) as threads:
            contested = self._of(Kind.CONTESTED)
            work = [threads.submit(self._contest, contested[first::CONFIRMERS]) for first in range(CONFIRMERS)]
            work.append(threads.submit(self._extend))
            try:
                yield
            except BaseException:
                self.stopped.set()
                raise
            for each in work:
                each.result()

    def _wait_until(self, second: float) -> bool:
        return not self.stopped.wait(max(0.0, self.begun_s + second - time.monotonic()))

    def _contest(self, orders: Sequence[PlannedOrder]) -> None:
        chooser = random.Random(len(orders))  # noqa: S311  # any moments will do
        for order in orders:
            if self._wait_until(order.due_s + chooser.uniform(-0.4, 0.3)):
                self._confirm(order, None)

    def _confirm(self, order: PlannedOrder, items: Sequence[ConfirmedItem] | None) -> None:
        confirmation = ShipmentConfirmation(
            package_reference_id="1",
            carrier_code="UPS",
            carrier_name=None,
            shipping_method=None,
            tracking_number=None,
            ship_date=NOW,
            items=items,
        )
        try:
            confirm_shipment(self.database, *order.key, confirmation, "soak", settled_outside=True)
        except (ConfirmationWindowClosed, OrderCancelled, Contended):
            return
        self.confirmed.add(order.key)

    def _extend(self) -> None:
        orders = self._of(Kind.EXTENDED)
        until = DAY_OF_SOAK + timedelta(days=1)
        for start in range(0, len(orders), EXTENDED_AT_ONCE):
            chosen = orders[start : start + EXTENDED_AT_ONCE]
            if self._wait_until(chosen[0].due_s - EXTENDED_BEFORE_S):
                selection = Selection(orders=tuple(order.key for order in chosen), confirm_by=until)
                change, _ = preview_extension(self.database, selection, reason="a soak", actor="soak")
                approve_extension(self.database, change.change_id, len(chosen), "soak")

    def expected(self) -> dict[tuple[str, str], str]:
        """Return what must have become of every order once the last one was due."""
        return {order.key: self._expected(order) for order in self.orders}

    def _expected(self, order: PlannedOrder) -> str:
        if order.kind is Kind.CONTESTED:
            return "SHIPPED" if order.key in self.confirmed else "CANCELLED"
        return STAYS.get(order.kind, "CANCELLED")


def _document(order: PlannedOrder) -> dict[str, Any]:
    fulfilled_by = "AMAZON" if order.kind is Kind.PLATFORM else "MERCHANT"
    document = order_document(orderId=order.order_id, fulfillment__fulfilledBy=fulfilled_by)
    return document | {"sellerId": order.seller_id}

"""Walk through a seller's orders while they change: nothing that matched throughout may be missing or come twice.

`python -m tests.walk --seconds 30` walks for so long by each sort, on the database that `TEST_DATABASE_URL` names.
"""

from __future__ import annotations

import itertools
import os
import random
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import click
import orjson
import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from service.app import create_app
from service.cancellation_job.actions import sweep
from service.database import Database, upgrade_schema
from service.errors import Contended, Problem
from service.ingest.actions import receive_orders
from service.ingest.schemas import read_line
from service.sandbox.actions import enter_sandbox, move_clock
from service.sellers.actions import create_token
from service.sellers.queries import insert_seller
from service.settings import Settings
from service.shipments.actions import confirm_shipment
from service.shipments.rules import ConfirmedItem, ShipmentConfirmation
from tests.conftest import LIFTED, NOW, SECRET_KEY, SELLER, ApiClient, order_document
from tests.contract import Contract
from tests.order_model import SORTS
from tests.varied_orders import receive

Order = dict[str, Any]

MARKETPLACES = ("ATVPDKIKX0DER", "A1PA6795UKMFR9", "A1VC38T7YXB528")
WRITES_PER_SECOND, WRITERS = 200, 2
WRITES = ("receive", "change", "confirm", "sweep")
MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


def varied_order(chooser: random.Random) -> Order:
    """Return an order that later versions, confirmations or the sweep can change; many share their values."""
    status = chooser.choice(("PENDING", "UNSHIPPED", "UNSHIPPED"))
    return terms(
        chooser,
        order_document(
            sellerId=SELLER,
            createdTime=(NOW - chooser.randrange(30) * DAY).isoformat(),
            salesChannel__marketplaceId=chooser.choice(MARKETPLACES),
            fulfillment__fulfillmentStatus=status,
            fulfillment__fulfilledBy=chooser.choice(("MERCHANT", "MERCHANT", "AMAZON")),
        ),
    )


def terms(chooser: random.Random, order: Order) -> Order:
    """Return a version of an order with another ship-by window and total; one in ten is due to be cancelled."""
    days = chooser.choice((-40, *range(1, 10)))
    window = {"latestDateTime": (NOW + days * DAY).isoformat()}
    total = {"amount": str(chooser.randrange(1, 40)), "currencyCode": "USD"}
    order = order | {
        "fulfillment": order["fulfillment"] | {"shipByWindow": window},
        "proceeds": {"grandTotal": total},
    }
    if order["fulfillment"]["fulfillmentStatus"] == "PENDING" and chooser.random() < 0.3:
        del order["proceeds"], order["fulfillment"]["shipByWindow"]
    return order


def is_mine(order: Order) -> bool:
    """Tell whether the order is the seller's to ship, on the first marketplace: neither ever changes."""
    return (
        order["fulfillment"]["fulfilledBy"] == "MERCHANT" and order["salesChannel"]["marketplaceId"] == "ATVPDKIKX0DER"
    )


def is_confirmable(order: Order) -> bool:
    """Tell whether the seller could confirm the order when it came."""
    return order["fulfillment"]["fulfilledBy"] == "MERCHANT" and order["fulfillment"]["fulfillmentStatus"] != "PENDING"


MINE = {"fulfilledBy": "MERCHANT", "marketplaceIds": "ATVPDKIKX0DER"}


@dataclass
class Walker:
    """A seller whose orders are walked through, and all orders that came so far."""

    database: Database
    client: ApiClient
    orders: list[Order] = field(default_factory=list[Order])

    def receive(self, count: int) -> None:
        """Import orders; a minute later they have been there for a while."""
        chooser = random.Random(count)  # noqa: S311  # the same orders every time
        new = [varied_order(chooser) for _ in range(count)]
        receive(self.database, new)
        self.orders += new
        move_clock(self.database, NOW + MINUTE)

    def pages(
        self, sort: str, size: int, filters: Order, direction: str = "nextToken", **query: str
    ) -> Iterable[Order]:
        """Yield page after page as the API answers them."""
        query |= {"sort": sort, "maxResultsPerPage": str(size)}
        while True:
            response = self.client.get("/v1/orders", **filters, **query)
            assert response.status_code == 200, response.text
            page = response.get_json()
            yield page
            token = page.get("pagination", {}).get(direction)
            if token is None:
                return
            query["paginationToken"] = token

    @contextmanager
    def under_writes(self, seed: int = 1) -> Generator[Counter[str]]:
        """Write 200 times a second beside what the caller does; afterwards it can be read what was written."""
        stop, written = threading.Event(), Counter[str]()
        writers = [
            Writer(self.database, self.orders[number::WRITERS], random.Random(f"{seed} {number}"))  # noqa: S311  # no secret
            for number in range(WRITERS)
        ]
        threads = [threading.Thread(target=writer.run, args=[stop]) for writer in writers]
        for thread in threads:
            thread.start()
        try:
            yield written
        finally:
            stop.set()
            for thread in threads:
                thread.join()
            for writer in writers:
                written.update(writer.written)
            self.orders = [order for writer in writers for order in writer.orders]
        assert not written["faults"], written


_package_numbers = itertools.count(1)


def package(items: Sequence[ConfirmedItem] | None) -> ShipmentConfirmation:
    """Return the confirmation of a package with these items, or with all that remains."""
    reference = str(next(_package_numbers))
    return ShipmentConfirmation(
        package_reference_id=reference,
        carrier_code="UPS",
        carrier_name=None,
        shipping_method=None,
        tracking_number=f"T{reference}",
        ship_date=NOW,
        items=items,
    )


@dataclass
class Writer:
    """Changes orders through the service's own actions, each in its own transaction."""

    database: Database
    orders: list[Order]
    chooser: random.Random
    written: Counter[str] = field(default_factory=Counter[str])

    def run(self, stop: threading.Event) -> None:
        """Write at an even pace until told to stop; what is refused is no write."""
        begun, done = time.monotonic(), 0
        while not stop.wait(max(begun + done * WRITERS / WRITES_PER_SECOND - time.monotonic(), 0)):
            action = self.chooser.choices((self.receive, self.change, self.confirm, self.sweep), (30, 60, 60, 1))[0]
            try:
                action()
            except Contended:
                self.written["contended"] += 1
            except Problem as problem:  # Cancelled meanwhile, or shipped already: nothing is left to do with it.
                self.written[type(problem).__name__] += 1
            except Exception as error:  # noqa: BLE001  # a thread has nobody to tell
                self.written[f"{type(error).__name__}: {error}"] += 1
                self.written["faults"] += 1
            else:
                self.written[action.__name__] += 1
                done += 1

    def receive(self) -> None:
        """Receive a new order."""
        order = varied_order(self.chooser)
        self._store(order)
        self.orders.append(order)

    def change(self) -> None:
        """Receive a later version of an order: other terms while it is pending, and sometimes no longer pending."""
        place = self.chooser.randrange(len(self.orders))
        order = self.orders[place]
        if order["fulfillment"]["fulfillmentStatus"] == "PENDING":
            order = terms(self.chooser, order)
        if "proceeds" in order and self.chooser.random() < 0.2:
            order |= {"fulfillment": order["fulfillment"] | {"fulfillmentStatus": "UNSHIPPED"}}
        self._store(order | {"buyer": {"buyerName": str(self.chooser.random())}})
        self.orders[place] = order

    def _store(self, order: Order) -> None:
        with self.database.seller_transaction(SELLER) as connection:
            (outcome,) = receive_orders(connection, [read_line(orjson.dumps(order))], "test")
        if isinstance(outcome, Problem):
            raise outcome

    def confirm(self) -> None:
        """Confirm a unit of an order, or all of it."""
        items = self.chooser.choice(([ConfirmedItem("1", 1)], None))
        some = self.chooser.sample(self.orders, 10)
        order = next(filter(is_confirmable, some), some[0])
        confirm_shipment(self.database, SELLER, order["orderId"], package(items), "test", settled_outside=True)

    def sweep(self) -> None:
        """Cancel what is due."""
        sweep(self.database, requested_by="test", options=replace(LIFTED, batch_size=10))


def ids(pages: Iterable[Order]) -> list[str]:
    """Return the ids on pages, in their order."""
    return [order["orderId"] for page in pages for order in page["orders"]]


def faults(there: Sequence[Order], walked: Sequence[str]) -> dict[str, list[str]]:
    """Return which orders that were there all the time a walk missed, and which it met more than once."""
    met = Counter(walked)
    missing = [order["orderId"] for order in there if order["orderId"] not in met]
    found = {"missing": missing, "twice": [each for each, times in met.items() if times > 1]}
    return {name: order_ids for name, order_ids in found.items() if order_ids}


@contextmanager
def walker(database_url: str, contract: Contract | None = None) -> Generator[Walker]:
    """Yield a walker through an empty database."""
    upgrade_schema(database_url)
    app = create_app(Settings(database_url=database_url, secret_key=SECRET_KEY, sandbox=True, threads=8))
    database: Database = app.extensions["manage-orders"].database
    contract = contract or Contract(app.test_client().get("/openapi.json").get_json())
    with database.closing():
        enter_sandbox(database)
        move_clock(database, NOW)
        with database.operator_transaction() as connection:
            insert_seller(connection, SELLER, "Seller")
        token = create_token(database, SECRET_KEY, seller_id=SELLER, name="test")[1]
        yield Walker(database, ApiClient(app, contract, token))


@contextmanager
def _temporary_database() -> Generator[str]:
    server, name = os.environ["TEST_DATABASE_URL"], f"manage_orders_walk_{uuid.uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        try:
            yield make_conninfo(server, dbname=name)
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@click.command()
@click.option("--seconds", default=30, show_default=True, help="How long to walk by each sort.")
@click.option("--orders", default=3000, show_default=True, help="How many orders there are to begin with.")
def main(seconds: int, orders: int) -> None:
    """Walk by each sort under 200 writes a second, and name the orders that were missed or met twice."""
    wrong = False
    with _temporary_database() as url, walker(url) as walking:
        walking.receive(orders)
        for sort in SORTS:
            begun, walks = time.monotonic(), 0
            with walking.under_writes(time.time_ns()) as written:
                while time.monotonic() < begun + seconds:
                    there, walks = [*walking.orders], walks + 1
                    found = faults(there, ids(walking.pages(sort, 20, {})))
                    wrong = wrong or bool(found)
                    click.echo(f"{sort}: walk {walks} through {len(there)} orders: {found or 'every order once'}")
            rate = sum(written[each] for each in WRITES) / (time.monotonic() - begun)
            click.echo(f"{sort}: {rate:.0f} writes a second: {dict(written)}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()

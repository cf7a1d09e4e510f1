"""Two demo sellers with about a thousand made-up orders, in every state that is worth looking at."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
import psycopg

from service.business_days import ConfirmationPolicy, confirm_by
from service.cancellation.actions import request_cancellation
from service.cancellation_job.actions import sweep
from service.database import Database
from service.errors import Problem
from service.ingest.actions import receive_orders
from service.ingest.schemas import read_line
from service.marketplaces.queries import Marketplace, find_marketplaces, insert_marketplace
from service.sandbox.queries import find_clock
from service.sellers.queries import find_sellers, insert_seller

DEMO_SELLERS = {"DEMO-NORTH": "North Trading (demo)", "DEMO-SOUTH": "South Supplies (demo)"}
BATCH_SIZE = 100

_WEB_SHOP = "DEMO-WEBSHOP"
_CURRENCIES = {
    "ATVPDKIKX0DER": "USD", "A2EUQ1WTGCTBG2": "CAD", "A1AM78C64UM0Y8": "MXN", "A2Q3Y263D00KWC": "BRL",
    "A1F83G8C2ARO7P": "GBP", "A1PA6795UKMFR9": "EUR", "A1VC38T7YXB528": "JPY", "A21TJRUUN4KGV": "INR",
    "A39IBJ37TRP1C6": "AUD", "A17E79C6D8DWNP": "SAR", "ARBP9OOSHTCHU": "EGP", _WEB_SHOP: "EUR",
}  # fmt: skip
_PRODUCTS = (
    ("MUG-BLUE", "B0DEMO0001", "Blue mug", 1290),
    ("LAMP-DESK", "B0DEMO0002", "Desk lamp", 3490),
    ("TENT-2P", "B0DEMO0003", "Two-person tent", 12900),
    ("PEN-SET", "B0DEMO0004", "Set of pens", 750),
    ("BOOK-ATLAS", "B0DEMO0005", "World atlas", 4200),
    ("CABLE-USB", "B0DEMO0006", "USB cable", 890),
)
_NAMES = ("Ana Amostra", "Bruno Sample", "Chen Specimen", "Dalia Muster", "Emeka Beispiel", "Zoë Exemple")
_CITIES = ("Exampleton", "São Paulo", "Zürich", "Lyon")


@dataclass(frozen=True, slots=True)
class _Kind:
    """A state worth looking at: how many orders of a seller are in it, and where their ship-by date lies."""

    count: int
    status: str
    ship_by_days: tuple[float, float]
    fulfilled_by: str = "MERCHANT"
    is_delivered: bool = False
    is_confirmed_late: bool = False


_LATE = _Kind(60, "UNSHIPPED", (-6, -0.2))
_KINDS = (
    _Kind(150, "UNSHIPPED", (0.2, 5)),
    _LATE,
    _Kind(15, "UNSHIPPED", (-40, -25)),  # overdue: the first sweep cancels them
    _Kind(40, "PARTIALLY_SHIPPED", (0.2, 5)),
    _Kind(15, "PARTIALLY_SHIPPED", (-20, -3)),  # late, and never cancelled
    _Kind(82, "SHIPPED", (-30, -2)),
    _Kind(8, "SHIPPED", (-9, -2), is_confirmed_late=True),
    _Kind(60, "SHIPPED", (-60, -10), is_delivered=True),
    _Kind(18, "PENDING", (0.2, 5)),
    _Kind(10, "CANCELLED", (-30, -1)),
    _Kind(15, "UNSHIPPED", (0.2, 5), fulfilled_by="AMAZON"),
    _Kind(15, "SHIPPED", (-30, -2), fulfilled_by="AMAZON"),
)
_CLOSING = _Kind(12, "UNSHIPPED", (0, 0))  # their windows are the next to end


def create_demo(database: Database, on_progress: Callable[[int, int], None]) -> None:
    """Create the demo data unless it is there; the overdue orders among it are then cancelled by a sweep."""
    with database.operator_transaction() as connection:
        if {seller.seller_id for seller in find_sellers(connection)} & DEMO_SELLERS.keys():
            return
        if not find_marketplaces(connection, [_WEB_SHOP]):
            policy = ConfirmationPolicy("PT", "Europe/Lisbon")
            insert_marketplace(connection, _WEB_SHOP, "Our own web shop", policy, created_by="demo")
        marketplaces = {each.marketplace_id: each for each in find_marketplaces(connection)}
        now = find_clock(connection).now
        for seller_id, seller_name in DEMO_SELLERS.items():
            insert_seller(connection, seller_id, seller_name)
        documents = list(_documents(now, [marketplaces[key] for key in _CURRENCIES]))
        for first in range(0, len(documents), BATCH_SIZE):
            _receive(connection, documents[first : first + BATCH_SIZE])
            on_progress(min(first + BATCH_SIZE, len(documents)), len(documents))
    for document in documents[:: len(documents) // 40]:
        told = document["fulfillment"]
        is_waiting = told["fulfillmentStatus"] == "UNSHIPPED" and told["fulfilledBy"] == "MERCHANT"
        if is_waiting and told["shipByWindow"]["latestDateTime"] > now.isoformat():
            request_cancellation(database, document["sellerId"], document["orderId"], "Ordered by mistake", "demo")
    sweep(database, requested_by="demo")


def add_late_orders(database: Database) -> None:
    """Give each demo seller some more late orders, for when there is nothing left to confirm."""
    with database.operator_transaction() as connection:
        now = find_clock(connection).now
        marketplaces = [each for each in find_marketplaces(connection) if each.marketplace_id in _CURRENCIES]
        chance = random.Random(now.isoformat())  # noqa: S311  # other orders every time
        _receive(
            connection,
            [
                _Maker(chance, now, seller_id, chance.choice(marketplaces), chance.randrange(10**6, 10**7)).make(_LATE)
                for seller_id in DEMO_SELLERS
                for _ in range(5)
            ],
        )


def _receive(connection: psycopg.Connection, documents: Sequence[dict[str, Any]]) -> None:
    results = receive_orders(connection, [read_line(orjson.dumps(each)) for each in documents], "demo")
    refused = [result for result in results if isinstance(result, Problem)]
    if refused:
        raise refused[0]


def _documents(now: datetime, marketplaces: Sequence[Marketplace]) -> Iterator[dict[str, Any]]:
    chance = random.Random(2026)  # noqa: S311  # the same orders every time
    number = 0
    for seller_id in DEMO_SELLERS:
        for kind in (*_KINDS, _CLOSING):
            for _ in range(kind.count):
                number += 1
                yield _Maker(chance, now, seller_id, chance.choice(marketplaces), number).make(kind)


@dataclass(frozen=True, slots=True)
class _Maker:
    """Makes one order of a kind."""

    chance: random.Random
    now: datetime
    seller_id: str
    marketplace: Marketplace
    number: int

    def make(self, kind: _Kind) -> dict[str, Any]:
        ship_by = self.now + timedelta(days=self.chance.uniform(*kind.ship_by_days))
        if kind is _CLOSING:
            ship_by = self._ship_by_of_closing_window()
        document = self._order(kind, ship_by)
        items = self._items()
        if kind.status == "PARTIALLY_SHIPPED":
            items[0]["quantityOrdered"] += 1
        for number, item in enumerate(items):
            fulfilled = {"SHIPPED": item["quantityOrdered"], "PARTIALLY_SHIPPED": int(number == 0)}.get(kind.status, 0)
            item["fulfillment"] = {"quantityFulfilled": fulfilled}
        document["orderItems"] = items
        document["proceeds"] = {
            "grandTotal": self._money(sum(item["quantityOrdered"] * item.pop("cents") for item in items))
        }
        if kind.status in {"SHIPPED", "PARTIALLY_SHIPPED"} and kind.fulfilled_by == "MERCHANT":
            hours = timedelta(hours=self.chance.uniform(1, 20))
            shipped = ship_by + hours if kind.is_confirmed_late else min(ship_by, self.now) - hours
            document["packages"] = [self._package(items, shipped, is_delivered=kind.is_delivered)]
        return document

    def _ship_by_of_closing_window(self) -> datetime:
        times = (self.now - timedelta(days=days) for days in range(5, 30))
        return min(each for each in times if confirm_by(each, self.marketplace.policy) > self.now)

    def _order(self, kind: _Kind, ship_by: datetime) -> dict[str, Any]:
        created = min(ship_by, self.now) - timedelta(hours=self.chance.uniform(24, 72))
        amazon = self.marketplace.marketplace_id != _WEB_SHOP
        name = self.chance.choice(_NAMES)
        digits = f"{self.number:07d}"
        return {
            "sellerId": self.seller_id,
            "orderId": f"701-{digits}-{self.chance.randrange(10**7):07d}" if amazon else f"WEB-{digits}",
            "orderAliases": [{"aliasId": f"S{digits}", "aliasType": "SELLER_ORDER_ID"}],
            "createdTime": created.isoformat(),
            "programs": self.chance.choice((["PRIME"], ["AMAZON_BUSINESS"], [])),
            "salesChannel": {
                "channelName": "AMAZON" if amazon else "NON_AMAZON",
                "marketplaceId": self.marketplace.marketplace_id,
                "marketplaceName": self.marketplace.marketplace_name,
            },
            "buyer": {"buyerName": name, "buyerEmail": f"{digits}@relay.example.com"},
            "recipient": {
                "deliveryAddress": {
                    "name": name,
                    "addressLine1": f"{self.number} Example Street",
                    "city": self.chance.choice(_CITIES),
                    "postalCode": f"{10_000 + self.number}",
                    "countryCode": self.marketplace.country_code,
                }
            },
            "fulfillment": {
                "fulfillmentStatus": kind.status,
                "fulfilledBy": kind.fulfilled_by,
                "fulfillmentServiceLevel": self.chance.choice(("STANDARD", "EXPEDITED", "NEXT_DAY")),
                "shipByWindow": {"earliestDateTime": created.isoformat(), "latestDateTime": ship_by.isoformat()},
                "deliverByWindow": {"latestDateTime": (ship_by + timedelta(days=7)).isoformat()},
            },
        }

    def _items(self) -> list[dict[str, Any]]:
        products = self.chance.sample(_PRODUCTS, self.chance.randint(1, 3))
        return [
            {
                "orderItemId": f"{self.number:07d}{index:03d}",
                "quantityOrdered": self.chance.randint(1, 3),
                "product": {
                    "sellerSku": sku,
                    "asin": asin,
                    "title": title,
                    "price": {"unitPrice": self._money(cents)},
                },
                "cents": cents,
            }
            for index, (sku, asin, title, cents) in enumerate(products, start=1)
        ]

    def _money(self, cents: int) -> dict[str, str]:
        currency = _CURRENCIES[self.marketplace.marketplace_id]
        amount = str(cents) if currency == "JPY" else f"{cents // 100}.{cents % 100:02d}"
        return {"amount": amount, "currencyCode": currency}

    def _package(self, items: Sequence[dict[str, Any]], shipped: datetime, *, is_delivered: bool) -> dict[str, Any]:
        package = {
            "packageReferenceId": "1",
            "createdTime": shipped.isoformat(),
            "packageStatus": {"status": "DELIVERED" if is_delivered else "IN_TRANSIT"},
            "carrierCode": "UPS",
            "shippingService": "Ground",
            "shipTime": shipped.isoformat(),
            "trackingNumber": f"1Z999AA1{self.number:010d}",
            "packageItems": [
                {"orderItemId": item["orderItemId"], "quantity": item["fulfillment"]["quantityFulfilled"]}
                for item in items
                if item["fulfillment"]["quantityFulfilled"]
            ],
        }
        return package | ({"deliveredTime": (shipped + timedelta(days=3)).isoformat()} if is_delivered else {})

"""Orders that differ, and agree, in everything that can be asked for, as a database holds them."""

from __future__ import annotations

import io
import itertools
import random
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import psycopg

from service.app import create_app
from service.cancellation_job.actions import sweep
from service.database import Database, upgrade_schema
from service.ingest.jobs import import_orders
from service.ingest.schemas import read_line
from service.sandbox.actions import enter_sandbox, move_clock
from service.sellers.actions import create_token
from service.sellers.queries import insert_seller
from service.settings import Settings
from tests.conftest import OTHER_SELLER, SECRET_KEY, SELLER, ApiClient
from tests.contract import Contract

Order = dict[str, Any]

# No order has a time within ten minutes of a quarter past, so that the clock may go on while periods end `NOW`.
NOW = datetime(2026, 3, 2, 12, 15, tzinfo=UTC)
HALF_HOUR, DAY = timedelta(minutes=30), timedelta(days=1)
MARKETPLACES = {"ATVPDKIKX0DER": "USD", "A1PA6795UKMFR9": "EUR", "A1VC38T7YXB528": "JPY", "A1F83G8C2ARO7P": "GBP"}
STATUSES = ("PENDING", "UNSHIPPED", "PARTIALLY_SHIPPED", "SHIPPED", "CANCELLED", "UNSHIPPED")
AMOUNTS = ("0", "9", "10", "100", "1000", "12345678901234")
FINER_AMOUNTS = ("9.99", "10.00", "10.01", "100.5")
LEVELS = ("STANDARD", "EXPEDITED", "Next Day", "next day", None)
PROGRAMS = ("PRIME", "AMAZON_BUSINESS", "PREMIUM", "prime")
REASONS = ("BUYER_REQUESTED", "Buyer's wish: 100% \\ too_late", "NO_INVENTORY", None)
COUNTRIES = ("US", "DE", "JP", "GB", None)
TEXTS = (
    "Mary Ann", "mary-ann", "Zo\u00eb O'Brien", "Zoe\u0308 O\u2019Brien", "100% Cotton_Shop", "100 Cotton Shop",
    'Back\\slash "Quoted"', "\u5c71\u7530 \u592a\u90ce", "\u6771\u4eac\u90fd\u5343\u4ee3\u7530\u533a",
    "\uc11c\uc6b8 \ud2b9\ubcc4\uc2dc", "\U0001f600\U0001f469\u200d\U0001f4bb Fan",
    "\u0645\u062d\u0645\u062f \u0639\u0644\u064a", "\u202eevil", "\ufb01nance O\ufb03ce",
    "Stra\u00dfe", "STRASSE", "\u0130stanbul", "Il\u0131ca", "\u0141\u00f3d\u017a \u00d8rsted", "Lodz Orsted",
    "\uff21\uff24\uff21 \u2167", "Nguy\u1ec5n V\u0103n An", "No\u00a0break", "a\tb\nc", "x", "%", "_", "\\", "''",
    "--", "\u03a3\u03af\u03c3\u03c5\u03c6\u03bf\u03c2", "\u0915\u093f\u0924\u093e\u092c", "null", "<b>&amp;</b>",
)  # fmt: skip
EMAILS = ("ada@example.com", "Ada@Example.com", "jos\u00e9@example.com", "jose@example.com", "a%@example.com", None)
CODES = ("MUG", "mug", "MUG-BLUE", "MUG BLUE", "M%G", "M_G", "\u00dcBER", "1Z999AA1", "1Z999AA10123456784")


@dataclass(frozen=True)
class World:
    """A database with orders, whose clock stands at `NOW`, and the documents of the seller's."""

    seller: ApiClient
    operator: ApiClient
    orders: Sequence[Order]


@contextmanager
def varied_world(database_url: str, contract: Contract) -> Generator[World]:
    """Fill an empty database with 400 orders of one seller and 50 of another one."""
    upgrade_schema(database_url)
    settings = Settings(database_url=database_url, secret_key=SECRET_KEY, sandbox=True, threads=4)
    app = create_app(settings)
    database: Database = app.extensions["manage-orders"].database

    def client(seller_id: str | None) -> ApiClient:
        return ApiClient(app, contract, create_token(database, SECRET_KEY, seller_id=seller_id, name="test")[1])

    with database.closing():
        enter_sandbox(database)
        with database.operator_transaction() as connection:
            insert_seller(connection, SELLER, "First seller")
            insert_seller(connection, OTHER_SELLER, "Other seller")
        seller, operator = client(SELLER), client(None)
        order_ids = _receive(database)
        move_clock(database, NOW - timedelta(hours=1))
        _confirm_some(seller, order_ids)
        _cancel_some(seller, operator, order_ids)
        _decline_some(database_url)
        sweep(database, requested_by="test")
        move_clock(database, NOW)
        yield World(seller, operator, [seller.get(f"/v1/orders/{each}").get_json() for each in order_ids])


def _receive(database: Database) -> list[str]:
    """Import orders over several days, some of them again as later versions; return the seller's ids."""
    chooser = random.Random(11)  # noqa: S311  # the same orders every time
    orders: list[Order] = [_order(number, chooser) | {"sellerId": SELLER} for number in range(400)]
    foreign = [_order(number, chooser) | {"sellerId": OTHER_SELLER} for number in range(50)]
    # Numbers are 25 apart, so that every batch has every status.
    batches = [[*orders[start::25], *foreign[start::25]] for start in range(25)]
    later = [_later(each, chooser) for each in orders if each["fulfillment"]["fulfillmentStatus"] == "PENDING"]
    for hours_ago, batch in zip(itertools.count(60, -2), [*batches, later[::2]], strict=False):
        move_clock(database, NOW - timedelta(hours=hours_ago, minutes=-20))
        receive(database, batch)
    return [order["orderId"] for order in orders]


def receive(database: Database, orders: Sequence[Order]) -> None:
    """Import orders that all bring something new."""
    summary = import_orders(
        database,
        io.BytesIO(b"\n".join(map(orjson.dumps, orders))),
        read_line,
        actor="test",
        create_missing_sellers=None,
        on_refusal=_fail,
        on_progress=lambda _: None,
    )
    assert summary.created + summary.updated == len(orders)


def _fail(refusal: object) -> None:
    raise AssertionError(refusal)


def _order(number: int, chooser: random.Random) -> Order:
    """Return an order at some point of its life; all its values are shared with others, but for its id."""
    status = STATUSES[number % len(STATUSES)]
    fulfilled_by = chooser.choice(("AMAZON", "MERCHANT", "MERCHANT"))
    pending, cancelled = status == "PENDING", status == "CANCELLED"
    order: Order = {
        # By code point the capitals come before the others; a language would sort them otherwise.
        "orderId": chooser.choice(("902-{:07d}", "abc.{:03d}", "ABC_{:03d}", "Abc-{:03d}", "9{:03d}")).format(number),
        "orderAliases": _chosen(chooser, _aliases(), 2),
        "createdTime": _near(chooser, -20, 1),
        "salesChannel": _channel(chooser),
        "programs": _chosen(chooser, PROGRAMS, 3),
        "buyer": _known(buyerName=chooser.choice((*TEXTS, None)), buyerEmail=chooser.choice(EMAILS)),
        "recipient": {"deliveryAddress": _address(chooser)},
        "fulfillment": {"fulfillmentStatus": status, "fulfilledBy": fulfilled_by}
        | _known(fulfillmentServiceLevel=chooser.choice(LEVELS)),
        "orderItems": [_item(str(item + 1), chooser) for item in range(chooser.randint(1, 3))],
    }
    without = chooser.random() < 0.5
    if not (without and (pending or cancelled or fulfilled_by == "AMAZON")):
        order["fulfillment"]["shipByWindow"] = {"latestDateTime": _near(chooser, -20, 14)}
    if chooser.random() < 0.7:
        order["fulfillment"]["deliverByWindow"] = {"latestDateTime": _near(chooser, -10, 20)}
    if not (without and (pending or cancelled)):
        order["proceeds"] = {"grandTotal": _total(order["salesChannel"]["marketplaceId"], chooser)}
    if cancelled:
        order["cancellation"] = _known(cancelReason=chooser.choice(REASONS))
    if status in {"PARTIALLY_SHIPPED", "SHIPPED"}:
        _pack(order, chooser)
    return order


def _later(order: Order, chooser: random.Random) -> Order:
    """Return a later version of a `PENDING` order, of which nothing is fixed yet."""
    return order | {
        "buyer": {"buyerName": chooser.choice(TEXTS)},
        "proceeds": {"grandTotal": _total(order["salesChannel"]["marketplaceId"], chooser)},
        "fulfillment": order["fulfillment"]
        | {"fulfillmentStatus": "UNSHIPPED", "shipByWindow": {"latestDateTime": _near(chooser, -20, 14)}},
        "orderItems": [_item("later", chooser)],
    }


def _near(chooser: random.Random, first_day: int, last_day: int) -> str:
    """Return a time that others are likely to share, some a microsecond apart."""
    day = NOW.replace(hour=0, minute=0) + chooser.randint(first_day, last_day) * DAY
    return (day + chooser.choice((0, 23, 25)) * HALF_HOUR + timedelta(microseconds=chooser.choice((0, 1)))).isoformat()


def _known(**members: str | None) -> Order:
    return {name: value for name, value in members.items() if value is not None}


def _chosen(chooser: random.Random, values: Sequence[Any], most: int) -> list[Any]:
    return chooser.sample(values, chooser.randint(0, most))


def _aliases() -> list[Order]:
    return [{"aliasId": code, "aliasType": kind} for code in CODES for kind in ("SELLER_ORDER_ID", "OTHER_ID")]


def _channel(chooser: random.Random) -> Order:
    names = ("AMAZON", "AMAZON", "NON_AMAZON")
    return {"channelName": chooser.choice(names), "marketplaceId": chooser.choice(list(MARKETPLACES))}


def _address(chooser: random.Random) -> Order:
    return _known(
        name=chooser.choice((*TEXTS, None)),
        city=chooser.choice((*TEXTS, None)),
        postalCode=chooser.choice(("98101", "SW1A 1AA", "sw1a-1aa", "100-0001", None)),
        countryCode=chooser.choice(COUNTRIES),
    )


def _total(marketplace_id: str, chooser: random.Random) -> Order:
    currency = chooser.choice((MARKETPLACES[marketplace_id], "USD"))
    amounts = AMOUNTS if currency == "JPY" else AMOUNTS + FINER_AMOUNTS
    return {"amount": chooser.choice(amounts), "currencyCode": currency}


def _item(order_item_id: str, chooser: random.Random) -> Order:
    product = _known(
        sellerSku=chooser.choice((*CODES, None)),
        asin=chooser.choice(("B000000001", "B000000002", "b000000001", None)),
        title=chooser.choice((" ".join(chooser.sample(TEXTS, 3)), *TEXTS, None)),
    )
    return {"orderItemId": order_item_id, "quantityOrdered": 2, "product": product}


def _pack(order: Order, chooser: random.Random) -> None:
    """Put one unit of the first item into a package, or all that was ordered into one or two."""
    contents: Iterator[tuple[str, int]] = iter([("1", 1)])
    if order["fulfillment"]["fulfillmentStatus"] == "SHIPPED":
        contents = iter([(item["orderItemId"], item["quantityOrdered"]) for item in order["orderItems"]])
    order["packages"] = [
        {"packageReferenceId": str(number), "packageItems": [{"orderItemId": item, "quantity": quantity}]}
        | _known(trackingNumber=chooser.choice((*CODES, None)))
        for number, (item, quantity) in enumerate(contents, start=1)
    ]
    refund = chooser.choice(("PARTIALLY_REFUNDED", "REFUNDED", None))
    order["payment"] = _known(paymentStatus=refund)


def _confirm_some(seller: ApiClient, order_ids: Sequence[str]) -> None:
    """Confirm the shipment of every third order that is open."""
    tracking_numbers = itertools.cycle(CODES)
    open_orders = [order for order in map(_getter(seller), order_ids[::2]) if _is_open(order)]
    for order in open_orders[::3]:
        package = {"packageReferenceId": "77", "carrierCode": "UPS", "shipDate": order["createdTime"]}
        package["trackingNumber"] = next(tracking_numbers)
        response = seller.post(f"/v1/orders/{order['orderId']}/shipment-confirmations", package)
        assert response.status_code == 201, response.text


def _cancel_some(seller: ApiClient, operator: ApiClient, order_ids: Sequence[str]) -> None:
    """Let the buyers of every fifth order ask to cancel it, and the seller cancel some; not every order allows it."""
    for order_id in order_ids[::5]:
        response = operator.post(f"/v1/orders/{order_id}/cancellation-request", {}, sellerId=SELLER)
        assert response.status_code in {200, 409}, response.text
    for order_id in order_ids[::15]:
        response = seller.post(f"/v1/orders/{order_id}/cancellation", {"cancelReasonCode": "NO_INVENTORY"})
        assert response.status_code in {200, 409}, response.text


def _decline_some(database_url: str) -> None:
    """Have every third charge declined, as a payment service would."""
    with psycopg.connect(database_url) as owner:
        owner.execute(
            """
            WITH charged AS (
                SELECT seller_id, order_id, row_number() OVER (ORDER BY seller_id, order_id) AS number
                FROM charges JOIN orders USING (seller_id, order_id) WHERE payment_status = 'CHARGED'
            ), declined AS (
                UPDATE charges SET charge_status = 'DECLINED', charged_time = NULL, settled_outside = false,
                    decline_count = 1, decline_reason = 'the card has expired'
                FROM charged
                WHERE charges.seller_id = charged.seller_id AND charges.order_id = charged.order_id AND number % 3 = 0
                RETURNING charges.seller_id, charges.order_id
            )
            UPDATE orders SET charge_declined_time = last_updated_time FROM declined
            WHERE orders.seller_id = declined.seller_id AND orders.order_id = declined.order_id
            """
        )


def _getter(seller: ApiClient) -> Callable[[str], Order]:
    return lambda order_id: seller.get(f"/v1/orders/{order_id}").get_json()


def _is_open(order: Order) -> bool:
    """Tell whether an order can still be confirmed, with an hour to spare, and was placed by now."""
    fulfillment = order["fulfillment"]
    if fulfillment["fulfilledBy"] == "AMAZON" or fulfillment["fulfillmentStatus"] in {
        "PENDING",
        "CANCELLED",
        "SHIPPED",
    }:
        return False
    if datetime.fromisoformat(order["createdTime"]) > NOW:
        return False
    confirmed = fulfillment["fulfillmentStatus"] == "PARTIALLY_SHIPPED"
    return confirmed or datetime.fromisoformat(fulfillment["confirmBy"]) > NOW + timedelta(hours=1)

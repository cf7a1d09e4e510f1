"""Made-up orders as NDJSON: skewed sellers, natural words, two years of them, nearly all of them history."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from tests.benchmarks import words
from tests.benchmarks.words import MARKETS, RARE_MARKET, Market

LARGEST_SELLER, SMALL_SELLER = "SELLER-000", "SELLER-199"
SELLERS, SMALL_SELLER_ORDERS, RARE_ORDERS = 200, 1000, 20
DAYS = 730
_OPEN_DAYS = 45  # Younger orders may be open; older ones are history, but for a few that were forgotten.

_CATALOGUE_SIZE, _RANGE_SIZE = 20_000, 3000  # what all sellers sell, and what one of them sells
_ITEM_COUNTS = (1,) * 34 + (2,) * 24 + (3,) * 17 + (4,) * 12 + (5,) * 8 + (6,) * 5  # 2.5 on average
_SERVICE_LEVELS = ("STANDARD",) * 14 + ("EXPEDITED",) * 4 + ("NEXT_DAY", "SECOND_DAY")
_CANCEL_REASONS = ("BUYER_CANCELED", "NO_INVENTORY", "UNDELIVERABLE_ADDRESS", "PRICING_ERROR")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Product:
    """Something that several sellers sell."""

    sku: str
    asin: str
    title: str
    price_cents: int


@dataclass(frozen=True, slots=True)
class _Times:
    created: str
    ship_by: str
    deliver_by: str
    done: str


def count_by_seller(orders: int) -> dict[str, int]:
    """Share orders out: a fifth to the largest seller, a fixed number to the small one, ever fewer to the others."""
    small = min(SMALL_SELLER_ORDERS, orders // 20)
    weights = [1 / (rank + 8) for rank in range(SELLERS - 2)]
    rest = orders - orders // 5 - small
    counts = [int(rest * weight / sum(weights)) for weight in weights]
    counts[0] += rest - sum(counts)
    named = {f"SELLER-{rank:03d}": count for rank, count in enumerate(counts, start=1)}
    return {LARGEST_SELLER: orders // 5, **named, SMALL_SELLER: small}


def order_lines(counts: Sequence[tuple[str, int]], first_number: int, end: datetime) -> Iterator[str]:
    """Yield the orders of some sellers, the oldest first, the same ones every time."""
    chance = random.Random(first_number)  # noqa: S311  # the same orders every time
    sellers = [seller_id for seller_id, count in counts for _ in range(count)]
    chance.shuffle(sellers)
    largest = [place for place, seller_id in enumerate(sellers) if seller_id == LARGEST_SELLER]
    rare = frozenset(largest[:: max(1, len(largest) // RARE_ORDERS)][:RARE_ORDERS])
    products = _catalogue()
    for place, seller_id in enumerate(sellers):
        age_days = DAYS * (len(sellers) - place - chance.random()) / len(sellers)
        market = RARE_MARKET if place in rare else _pick(chance, MARKETS)
        yield _order(
            chance, products, seller_id, first_number + place, end - timedelta(days=age_days), age_days, market
        )


def _pick(chance: random.Random, ranked: Sequence[T]) -> T:
    """Pick by Zipf's law: the second is half as common as the first, the third a third as common."""
    return ranked[int((len(ranked) + 1) ** chance.random()) - 1]


def _catalogue() -> list[Product]:
    chance = random.Random("catalogue")  # noqa: S311  # the same products every time
    return [_product(chance, number) for number in range(_CATALOGUE_SIZE)]


def _product(chance: random.Random, number: int) -> Product:
    noun, colour, material = _pick(chance, words.PRODUCTS), _pick(chance, words.COLOURS), _pick(chance, words.MATERIALS)
    title = f"{_pick(chance, words.ADJECTIVES)} {material} {noun} {_pick(chance, words.PURPOSES)}, {colour}"
    return Product(
        sku=f"{noun[:4].upper()}-{colour[:3].upper()}-{number:05d}",
        asin=f"B0{number * 7_919_317 % 36**5:08X}",
        title=title,
        price_cents=int(400 * 60 ** chance.random()),
    )


def _order(
    chance: random.Random,
    products: Sequence[Product],
    seller_id: str,
    number: int,
    created: datetime,
    age_days: float,
    market: Market,
) -> str:
    currency = market.currency_code
    bought = [
        (chance.choice((1, 1, 1, 1, 2, 3)), products[_product_number(chance, seller_id)])
        for _ in range(chance.choice(_ITEM_COUNTS))
    ]
    items = [(60_000_000_000 + number * 10 + place, each) for place, each in enumerate(bought)]
    total = sum(quantity * product.price_cents for quantity, product in bought)
    fulfilled_by = "AMAZON" if chance.random() < 0.12 else "MERCHANT"
    status = _status(chance, age_days, len(bought))
    times = _times(created, age_days)
    channel = "NON_AMAZON" if chance.random() < 0.06 else "AMAZON"
    programs = '"programs":["PRIME"],' if chance.random() < 0.1 else ""
    return (
        f'{{"sellerId":"{seller_id}",'
        f'"orderId":"{701 + number % 9}-{number * 7919 % 10**7:07d}-{chance.randrange(10**7):07d}",'
        f'"orderAliases":[{{"aliasId":"{created.year}-{number:08d}","aliasType":"SELLER_ORDER_ID"}}],'
        f'"createdTime":"{times.created}",{programs}'
        f'"salesChannel":{{"channelName":"{channel}","marketplaceId":"{market.marketplace_id}"}},'
        f"{_people(chance, market, number)}"
        f'"proceeds":{{"grandTotal":{_money(total, currency)}}},'
        f'"fulfillment":{{"fulfillmentStatus":"{status}","fulfilledBy":"{fulfilled_by}",'
        f'"fulfillmentServiceLevel":"{chance.choice(_SERVICE_LEVELS)}",'
        f'"shipByWindow":{{"earliestDateTime":"{times.created}","latestDateTime":"{times.ship_by}"}},'
        f'"deliverByWindow":{{"latestDateTime":"{times.deliver_by}"}}}},'
        f"{_progress(chance, status, items, times, market)}"
        f'"orderItems":[{",".join(_item(key, *each, currency) for key, each in items)}]}}\n'
    )


def _product_number(chance: random.Random, seller_id: str) -> int:
    rank = int((_RANGE_SIZE + 1) ** chance.random()) - 1
    return (rank * 13 + int(seller_id[-3:]) * 307) % _CATALOGUE_SIZE


def _status(chance: random.Random, age_days: float, items: int) -> str:
    draw = chance.random()
    if age_days > _OPEN_DAYS:
        return "CANCELLED" if draw < 0.06 else "UNSHIPPED" if draw < 0.061 else "SHIPPED"
    if draw < 0.8 * (1 - age_days / _OPEN_DAYS) ** 0.2:
        kind = chance.random()
        return "PENDING" if kind < 0.15 else "PARTIALLY_SHIPPED" if kind < 0.25 and items > 1 else "UNSHIPPED"
    return "SHIPPED"


def _times(created: datetime, age_days: float) -> _Times:
    ship_by = (created + timedelta(days=2)).replace(hour=22, minute=59, second=59)
    done = created + timedelta(days=min(1.3, age_days / 2))
    return _Times(*(_utc(each) for each in (created, ship_by, ship_by + timedelta(days=5), done)))


def _utc(time: datetime) -> str:
    return f"{time.year}-{time.month:02d}-{time.day:02d}T{time.hour:02d}:{time.minute:02d}:{time.second:02d}Z"


def _people(chance: random.Random, market: Market, number: int) -> str:
    buyer = f"{_pick(chance, words.FIRST_NAMES)} {_pick(chance, words.LAST_NAMES)}"
    is_gift = chance.random() < 0.1
    name = f"{_pick(chance, words.FIRST_NAMES)} {_pick(chance, words.LAST_NAMES)}" if is_gift else buyer
    city, postal_prefix = _pick(chance, market.cities)
    return (
        f'"buyer":{{"buyerName":"{buyer}","buyerEmail":"{number * 2_654_435_761 % 2**40:010x}@relay.example.com"}},'
        f'"recipient":{{"deliveryAddress":{{"name":"{name}",'
        f'"addressLine1":"{chance.randint(1, 300)} {_pick(chance, words.STREETS)} Street","city":"{city}",'
        f'"postalCode":"{postal_prefix}{chance.randrange(100):02d}","countryCode":"{market.country_code}"}}}},'
    )


def _progress(
    chance: random.Random, status: str, items: Sequence[tuple[int, tuple[int, Product]]], times: _Times, market: Market
) -> str:
    """Return the members that tell what became of the order."""
    if status == "CANCELLED":
        reason = _pick(chance, _CANCEL_REASONS)
        return f'"cancellation":{{"cancelledTime":"{times.done}","cancelReason":"{reason}"}},'
    if status not in {"SHIPPED", "PARTIALLY_SHIPPED"}:
        return ""
    carrier = _pick(chance, market.carriers)
    shipped = items if status == "SHIPPED" else items[:1]
    content = ",".join(f'{{"orderItemId":"{key}","quantity":{quantity}}}' for key, (quantity, _) in shipped)
    return (
        f'"packages":[{{"packageReferenceId":"1","createdTime":"{times.done}","packageStatus":{{"status":"SHIPPED"}},'
        f'"carrier":"{carrier}","carrierCode":"{carrier}","shipTime":"{times.done}",'
        f'"trackingNumber":"{_tracking_number(chance, carrier)}","packageItems":[{content}]}}],'
    )


def _tracking_number(chance: random.Random, carrier: str) -> str:
    number = chance.randrange(10**12)
    return f"1Z{number % 36**6:06X}{number:012d}" if carrier == "UPS" else f"{carrier[:2]}0034{number:012d}"


def _item(item_id: int, quantity: int, product: Product, currency: str) -> str:
    return (
        f'{{"orderItemId":"{item_id}","quantityOrdered":{quantity},'
        f'"product":{{"sellerSku":"{product.sku}","asin":"{product.asin}","title":"{product.title}",'
        f'"price":{{"unitPrice":{_money(product.price_cents, currency)}}}}},'
        f'"proceeds":{{"proceedsTotal":{_money(quantity * product.price_cents, currency)}}}}}'
    )


def _money(cents: int, currency: str) -> str:
    return f'{{"amount":"{cents // 100}.{cents % 100:02d}","currencyCode":"{currency}"}}'

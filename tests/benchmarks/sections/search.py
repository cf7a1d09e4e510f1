"""Search for words and parts of words, real and missing, beside the filtered list."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

import click
import psycopg

from tests.benchmarks.bench import LIST, Bench, Ratio, latency_ms, show
from tests.benchmarks.data import LARGEST_SELLER
from tests.benchmarks.load import Load, Request, quantile

_ORDERS = 300
_SLOWEST = 6


def measure(bench: Bench) -> Iterator[Ratio]:
    """Compare p95 of the search with that of the filtered list, for all sellers and for the largest."""
    for name, sellers in (("all sellers", list(bench.tokens)), ("the largest seller", [LARGEST_SELLER])):
        searches = _searches(bench, None if len(sellers) > 1 else LARGEST_SELLER)
        lists = bench.filtered_lists(sellers)
        loads = bench.interleaved(
            {
                f"search, {name}": lambda searches=searches: bench.load(searches),
                f"filtered list, {name}": lambda lists=lists: bench.load(lists),
            }
        )
        for side, each in loads.items():
            show(side, each)
        search, filtered = loads.values()
        _show_slowest(search)
        yield Ratio(
            f"p95 of search / p95 of filtered list, {name}",
            latency_ms(search, 95) / latency_ms(filtered, 95),
            5,
            at_most=True,
        )


def _show_slowest(loads: Sequence[Load]) -> None:
    kinds = {kind for load in loads for kind in load.latencies_ms}
    latencies = {kind: [each for load in loads for each in load.latencies_ms.get(kind, ())] for kind in kinds}
    for kind in sorted(kinds, key=lambda kind: -quantile(latencies[kind], 95))[:_SLOWEST]:
        values = latencies[kind]
        click.echo(f"    {kind:<42} p50 {quantile(values, 50):8.1f} ms   p95 {quantile(values, 95):8.1f} ms")


def _searches(bench: Bench, seller_id: str | None) -> list[Request]:
    """Return searches in which every kind is as common as every other, for words of orders by chance."""
    chance = random.Random("searches")  # noqa: S311  # the same requests every time
    searches: list[Request] = []
    for row in _sample(bench, seller_id):
        for kind, q in _words(chance, row).items():
            searches.append(Request(LIST, bench.tokens[row[0]], {"q": q}, kind))
    chance.shuffle(searches)
    return searches


def _sample(bench: Bench, seller_id: str | None) -> Sequence[tuple[Any, ...]]:
    with psycopg.connect(bench.url) as connection:
        return connection.execute(
            """
            SELECT o.seller_id, o.order_id, o.buyer->>'buyerName', a.city, a.postal_code, i.title, i.sku,
                COALESCE(p.tracking_number, o.order_id)
            FROM orders o
            CROSS JOIN LATERAL (
                SELECT o.recipient->'deliveryAddress'->>'city', o.recipient->'deliveryAddress'->>'postalCode'
            ) a (city, postal_code)
            CROSS JOIN LATERAL (
                SELECT item->'product'->>'title', item->'product'->>'sellerSku'
                FROM (
                    SELECT ('{' || substr(i.details, 2) || '}')::json AS item FROM order_items i
                    WHERE i.seller_id = o.seller_id AND i.order_id = o.order_id ORDER BY i.item_number LIMIT 1
                ) first_item
            ) i (title, sku)
            LEFT JOIN packages p ON p.seller_id = o.seller_id AND p.order_id = o.order_id
            WHERE %(seller_id)s::text IS NULL OR o.seller_id = %(seller_id)s
            ORDER BY md5(o.order_id) LIMIT %(orders)s
            """,
            {"seller_id": seller_id, "orders": _ORDERS},
        ).fetchall()


def _words(chance: random.Random, row: Sequence[str]) -> dict[str, str]:
    _, order_id, name, city, postal_code, title, sku, tracking_number = row
    first, last = name.split(" ", 1)
    words = [word.strip(",") for word in title.split() if len(word.strip(",")) > 2]  # what an index finds
    letters = "".join(chance.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(7))
    return {
        "first name": first,
        "last name": last,
        "whole name": name,
        "part of a name": _part(chance, last, 4),
        "3 letters of a name": _part(chance, last, 3),
        "city": city,
        "part of a city": _part(chance, city.replace(" ", ""), 5),
        "city and last name": f"{city.split()[0]} {last}",
        "postal code": postal_code.split(" ")[0].ljust(3, "1"),
        "word of a title": chance.choice(words),
        "two words of a title": " ".join(chance.sample(words, 2)),
        "whole title": title,
        "SKU": sku,
        "part of a SKU": sku[-8:],
        "order id": order_id,
        "part of an order id": order_id[4:11],
        "3 digits of an order id": order_id[5:8],
        "tracking number": tracking_number,
        "part of a tracking number": tracking_number[-7:],
        "word of a title and last name": f"{words[2 % len(words)]} {last}",
        "miss": letters,
        "miss beside a word of a title": f"{words[0]} {letters[:4]}",
    }


def _part(chance: random.Random, text: str, length: int) -> str:
    begin = chance.randint(0, max(0, len(text) - length))
    return text[begin : begin + length].ljust(3, "e")

"""Import beside a plain `COPY` of the same rows into the same tables, in one run: `python -m tests.benchmark`."""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, LiteralString

import click
import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from service.database import upgrade_schema
from service.embedded import EmbeddedServer

SELLERS = 200
COPIED: tuple[LiteralString, ...] = ("sellers", "orders", "order_items", "order_events")


def generate_orders(count: int) -> Iterator[dict[str, Any]]:
    """Yield made-up orders with 1 to 4 items; the first sellers have most of them."""
    chance = random.Random(7)  # noqa: S311  # the same orders every time
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    for number in range(count):
        created = begin + timedelta(seconds=number * 30)
        items = [
            {
                "orderItemId": f"{number:08d}{index}",
                "quantityOrdered": chance.randint(1, 3),
                "product": {
                    "sellerSku": f"SKU-{chance.randint(1, 5000):05d}",
                    "asin": f"B0{chance.randint(0, 10**8):08d}",
                    "title": f"Product number {chance.randint(1, 5000)} in a fine colour",
                    "price": {"unitPrice": {"amount": "12.50", "currencyCode": "USD"}},
                },
                "proceeds": {"proceedsTotal": {"amount": "12.50", "currencyCode": "USD"}},
            }
            for index in range(chance.randint(1, 4))
        ]
        yield {
            "sellerId": f"SELLER-{int(SELLERS * chance.random() ** 3):03d}",
            "orderId": f"{702 + number // 10**7}-{number % 10**7:07d}-{chance.randrange(10**7):07d}",
            "orderAliases": [{"aliasId": f"{number:010d}", "aliasType": "SELLER_ORDER_ID"}],
            "createdTime": created.isoformat(),
            "salesChannel": {"channelName": "AMAZON", "marketplaceId": "ATVPDKIKX0DER"},
            "buyer": {"buyerName": f"Buyer {number}", "buyerEmail": f"{number}@relay.example.com"},
            "recipient": {
                "deliveryAddress": {
                    "name": f"Buyer {number}",
                    "addressLine1": f"{number} Example Street",
                    "city": "Seattle",
                    "stateOrRegion": "WA",
                    "postalCode": "98101",
                    "countryCode": "US",
                }
            },
            "proceeds": {"grandTotal": {"amount": f"{12.5 * len(items):.2f}", "currencyCode": "USD"}},
            "fulfillment": {
                "fulfillmentStatus": "UNSHIPPED",
                "fulfilledBy": "MERCHANT",
                "fulfillmentServiceLevel": "STANDARD",
                "shipByWindow": {
                    "earliestDateTime": created.isoformat(),
                    "latestDateTime": (created + timedelta(days=2)).isoformat(),
                },
                "deliverByWindow": {"latestDateTime": (created + timedelta(days=9)).isoformat()},
            },
            "orderItems": items,
        }


def _fresh_database(server_url: str, name: str) -> str:
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    url = make_conninfo(server_url, dbname=name)
    upgrade_schema(url)
    return url


def time_import(url: str, file: Path) -> tuple[float, float]:
    """Return the seconds that the command took, and its peak memory in MiB."""
    begin = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "service.cli", "import", str(file), "--create-sellers"],
        env=os.environ | {"DATABASE_URL": url},
        check=True,
    )
    seconds = time.perf_counter() - begin
    return seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def time_copy(source_url: str, target_url: str, directory: Path) -> float:
    """Return the seconds that it takes to copy the imported rows, as text, into another database's empty tables."""
    with psycopg.connect(source_url) as source:
        for table in COPIED:
            with (
                (directory / table).open("wb") as file,
                source.cursor().copy(sql.SQL("COPY {} TO STDOUT").format(sql.Identifier(table))) as copy,
            ):
                for block in copy:
                    file.write(block)
    begin = time.perf_counter()
    with psycopg.connect(target_url) as target:
        for table in COPIED:
            with (
                (directory / table).open("rb") as file,
                target.cursor().copy(sql.SQL("COPY {} FROM STDIN").format(sql.Identifier(table))) as copy,
            ):
                while block := file.read(1 << 20):
                    copy.write(block)
    return time.perf_counter() - begin


@click.command()
@click.option("--orders", default=200_000, show_default=True)
def main(orders: int) -> None:
    """Import generated orders, then COPY the same rows, and print both and their ratio."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server_url = os.environ.get("TEST_DATABASE_URL")
        if not server_url:
            server_url = stack.enter_context(EmbeddedServer(directory / "data")).url
        file = directory / "orders.ndjson"
        with file.open("w", encoding="utf-8") as lines:
            for order in generate_orders(orders):
                lines.write(json.dumps(order) + "\n")
        imported = _fresh_database(server_url, "manage_orders_benchmark_import")
        copied = _fresh_database(server_url, "manage_orders_benchmark_copy")
        import_s, peak_mib = time_import(imported, file)
        copy_s = time_copy(imported, copied, directory)
    click.echo(f"{os.cpu_count()} cores, {orders:,} orders")
    click.echo(f"import  {orders / import_s:>10,.0f} orders/s   peak memory {peak_mib:,.0f} MiB")
    click.echo(f"COPY    {orders / copy_s:>10,.0f} orders/s")
    click.echo(f"import / COPY = {copy_s / import_s:.2f}")


if __name__ == "__main__":
    main()

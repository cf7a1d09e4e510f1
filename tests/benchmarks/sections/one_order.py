"""One order with its items."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg

from service.orders.queries import find_order
from tests.benchmarks.bench import Bench, Ratio, rate, show
from tests.benchmarks.data import LARGEST_SELLER
from tests.benchmarks.limits import pgbench, script_of
from tests.benchmarks.load import CONNECTIONS, Request
from tests.benchmarks.serving import running_idle


def measure(bench: Bench) -> Iterator[Ratio]:
    """Compare with Flask doing nothing on the same server."""
    with psycopg.connect(bench.url) as connection:
        ids = [
            row[0]
            for row in connection.execute(
                "SELECT order_id FROM orders WHERE seller_id = %(seller_id)s ORDER BY md5(order_id) LIMIT 1000",
                {"seller_id": LARGEST_SELLER},
            )
        ]
    requests = [Request(f"/v1/orders/{order_id}", bench.tokens[LARGEST_SELLER]) for order_id in ids]
    script = bench.directory / "order.sql"
    script.write_text(
        script_of(bench.url, LARGEST_SELLER, lambda connection: find_order(connection, LARGEST_SELLER, ids[0]), {})
    )
    with running_idle() as idle:
        loads = bench.interleaved(
            {
                "one order": lambda: bench.load(requests),
                "Flask doing nothing": lambda: bench.load([Request("/")] * CONNECTIONS, idle.port),
                "the same statement by pgbench, one order": lambda: pgbench(
                    bench.url, LARGEST_SELLER, script, bench.seconds
                ),
            }
        )
    for name, each in loads.items():
        show(name, each)
    yield Ratio(
        "one order / Flask doing nothing on the same server",
        rate(loads["one order"]) / rate(loads["Flask doing nothing"]),
        0.35,
    )

"""A page of 50 orders with their items, filtered by seller, status and date."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from service.search.queries import find_orders
from service.search.rules import DEFAULT_SORT, OrderFilter
from tests.benchmarks.bench import LIST_WINDOW_DAYS, Bench, Ratio, rate, show
from tests.benchmarks.data import LARGEST_SELLER
from tests.benchmarks.limits import pgbench, script_of
from tests.benchmarks.serving import running_peer


def measure(bench: Bench) -> Iterator[Ratio]:
    """Compare with the same statement by pgbench, and with the same endpoint made with FastAPI and SQLAlchemy."""
    script = bench.directory / "list.sql"
    script.write_text(_script(bench))
    requests = bench.filtered_lists([LARGEST_SELLER])
    with running_peer(bench.url) as peer:
        loads = bench.interleaved(
            {
                "list page": lambda: bench.load(requests),
                "the same statement by pgbench, prepared": lambda: pgbench(
                    bench.url, LARGEST_SELLER, script, bench.seconds
                ),
                "FastAPI + SQLAlchemy async": lambda: bench.load(requests, peer.port),
            }
        )
    for name, each in loads.items():
        show(name, each)
    ours, limit, peers = map(rate, loads.values())
    yield Ratio("list page / limit", ours / limit, 0.6)
    yield Ratio("list page / FastAPI + SQLAlchemy", ours / peers, 5)


def _script(bench: Bench) -> str:
    filters = OrderFilter(
        fulfillment_statuses=["SHIPPED"],
        created_after=bench.newest_time - timedelta(days=2 * LIST_WINDOW_DAYS),
        created_before=bench.newest_time - timedelta(days=LIST_WINDOW_DAYS),
    )
    newest = int(bench.newest_time.timestamp())
    varied = {
        "created_after": f"to_timestamp({newest} - (:age + {LIST_WINDOW_DAYS}) * 86400)",
        "created_before": f"to_timestamp({newest} - :age * 86400)",
    }
    statements = script_of(
        bench.url,
        LARGEST_SELLER,
        lambda connection: find_orders(connection, LARGEST_SELLER, filters, DEFAULT_SORT, limit=50),
        varied,
    )
    return f"\\set age random(60, 660)\n{statements}"

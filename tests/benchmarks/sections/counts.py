"""Orders counted by status: for a seller with very many, and for one with few."""

from __future__ import annotations

from collections.abc import Iterator

from tests.benchmarks.bench import Bench, Ratio, rate, show
from tests.benchmarks.data import LARGEST_SELLER, SMALL_SELLER
from tests.benchmarks.load import CONNECTIONS, Request


def measure(bench: Bench) -> Iterator[Ratio]:
    """Compare the counts of the largest seller with those of the small one."""
    sides = {
        f"counts by {by} of {name}": [Request("/v1/orders/counts", bench.tokens[seller_id], {"by": by})] * CONNECTIONS
        for by in ("fulfillmentStatus", "fulfilledBy", "marketplaceId", "shipmentIsLate")
        for name, seller_id in (("the largest", LARGEST_SELLER), ("the small", SMALL_SELLER))
    }
    loads = bench.interleaved({name: lambda each=each: bench.load(each) for name, each in sides.items()})
    for name, each in loads.items():
        show(name, each)
    rates = list(map(rate, loads.values()))
    yield Ratio("counts of the largest seller / of one with 1,000 orders", rates[0] / rates[1], 0.5)

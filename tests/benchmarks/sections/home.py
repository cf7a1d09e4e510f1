"""The account home: of a seller with very many orders, and of one with few."""

from __future__ import annotations

from collections.abc import Iterator

from tests.benchmarks.bench import Bench, Ratio, rate, show
from tests.benchmarks.data import LARGEST_SELLER, SMALL_SELLER
from tests.benchmarks.load import CONNECTIONS, Request


def measure(bench: Bench) -> Iterator[Ratio]:
    """Compare the home of the largest seller with that of the small one."""
    sides = {
        f"home of {name}": [Request("/v1/account/home", bench.tokens[seller_id])] * CONNECTIONS
        for name, seller_id in (("the largest", LARGEST_SELLER), ("the small", SMALL_SELLER))
    }
    loads = bench.interleaved({name: lambda each=each: bench.load(each) for name, each in sides.items()})
    for name, each in loads.items():
        show(name, each)
    largest, small = map(rate, loads.values())
    yield Ratio("home of the largest seller / of one with 1,000 orders", largest / small, 0.5)

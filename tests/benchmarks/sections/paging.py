"""The first page of 50 beside the two-thousandth."""

from __future__ import annotations

from collections.abc import Iterator

from tests.benchmarks.bench import LIST, Bench, Ratio, rate, show
from tests.benchmarks.data import LARGEST_SELLER
from tests.benchmarks.load import CONNECTIONS, Request
from tests.benchmarks.walking import deep_tokens

PAGE_SIZE, DEEP_PAGE = 50, 2000


def measure(bench: Bench) -> Iterator[Ratio]:
    """Compare pages of the largest seller; where it has fewer orders, the deep page is the one in the middle."""
    depth = min(PAGE_SIZE * (DEEP_PAGE - 1), bench.largest_count // 2)
    token = bench.tokens[LARGEST_SELLER]
    # The newest orders are open ones, which have no packages and charges to show: pages of the same kind compare.
    query = {"fulfillmentStatuses": "SHIPPED"}
    first = [Request(LIST, token, query)] * CONNECTIONS
    deep = [
        Request(LIST, token, query | {"paginationToken": each})
        for each in deep_tokens(bench, LARGEST_SELLER, query, depth)
    ]
    deep_name = f"page {depth // PAGE_SIZE + 1:,}"
    loads = bench.interleaved({"page 1": lambda: bench.load(first), deep_name: lambda: bench.load(deep)})
    for name, each in loads.items():
        show(name, each)
    yield Ratio(f"{deep_name} / page 1", rate(loads[deep_name]) / rate(loads["page 1"]), 0.9)

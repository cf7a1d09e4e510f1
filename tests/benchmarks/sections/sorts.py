"""Every sort, at the beginning and deep down."""

from __future__ import annotations

from collections.abc import Iterator

from service.search.rules import SortKey
from tests.benchmarks.bench import LIST, Bench, Ratio
from tests.benchmarks.data import LARGEST_SELLER
from tests.benchmarks.load import CONNECTIONS, Request
from tests.benchmarks.walking import deep_tokens


def measure(bench: Bench) -> Iterator[Ratio]:
    """Print how fast the first page and one at a third of the list are, for the largest seller."""
    token = bench.tokens[LARGEST_SELLER]
    for sort in (f"{sign}{key}" for key in SortKey for sign in ("-", "")):
        query = {"sort": sort}
        deep_requests = [
            Request(LIST, token, query | {"paginationToken": each})
            for each in deep_tokens(bench, LARGEST_SELLER, query, bench.largest_count // 3)
        ]
        bench.glance(f"{sort}, page 1", [Request(LIST, token, query)] * CONNECTIONS)
        bench.glance(f"{sort}, deep", deep_requests)
    yield from ()

"""Lists that are filtered otherwise: not at all, by what is rare, by what is late."""

from __future__ import annotations

from collections.abc import Iterator

from tests.benchmarks.bench import LIST, Bench, Ratio
from tests.benchmarks.data import LARGEST_SELLER
from tests.benchmarks.load import CONNECTIONS, Request
from tests.benchmarks.words import RARE_MARKET

_QUERIES = {
    "no filter": {},
    f"a marketplace with 20 orders ({RARE_MARKET.country_code})": {"marketplaceIds": RARE_MARKET.marketplace_id},
    "the same, and a status": {"marketplaceIds": RARE_MARKET.marketplace_id, "fulfillmentStatuses": "SHIPPED"},
    "late": {"shipmentIsLate": "true"},
    "late, the most urgent first": {"shipmentIsLate": "true", "sort": "confirmBy"},
    "unshipped": {"fulfillmentStatuses": "UNSHIPPED"},
    "three statuses": {"fulfillmentStatuses": "PENDING,UNSHIPPED,PARTIALLY_SHIPPED"},
    "cancelled because the inventory was out": {"cancelReasons": "NO_INVENTORY"},
    "Prime, to Germany": {"programs": "PRIME", "shipToCountries": "DE"},
    "totals of 500 and more": {"grandTotalMin": "500", "currencyCode": "EUR"},
    "ids and times only": {"fields": "orderId,createdTime"},
}


def measure(bench: Bench) -> Iterator[Ratio]:
    """Print how fast the first page of each is, for the largest seller."""
    token = bench.tokens[LARGEST_SELLER]
    for name, query in _QUERIES.items():
        bench.glance(name, [Request(LIST, token, query)] * CONNECTIONS)
    yield from ()

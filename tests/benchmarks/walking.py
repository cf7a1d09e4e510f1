"""Walk from page to page to a place deep in a list."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from typing import Any

from tests.benchmarks.bench import LIST, Bench
from tests.benchmarks.load import Request

LARGEST_PAGE = 100


def deep_tokens(bench: Bench, seller_id: str, query: Mapping[str, str], depth: int, tokens: int = 16) -> list[str]:
    """Return page tokens around a depth, for the same query with any page size."""
    connection = http.client.HTTPConnection("127.0.0.1", bench.service.port, timeout=60)
    found: list[str] = []
    page: dict[str, Any] = {}
    for walked in range(0, depth + tokens * LARGEST_PAGE, LARGEST_PAGE):
        token = page.get("pagination", {}).get("nextToken")
        if walked >= depth:
            found.append(token)
        parameters = {**query, "fields": "orderId", "maxResultsPerPage": str(LARGEST_PAGE)}
        parameters |= {"paginationToken": token} if token else {}
        page = _get(connection, Request(LIST, bench.tokens[seller_id], parameters))
    connection.close()
    return found


def _get(connection: http.client.HTTPConnection, request: Request) -> dict[str, Any]:
    connection.request("GET", request.address, headers={"Authorization": f"Bearer {request.token}"})
    response = connection.getresponse()
    text = response.read()
    if response.status != http.client.OK:
        raise RuntimeError(f"{request.address} was answered {text[:2000]!r}")
    return json.loads(text)

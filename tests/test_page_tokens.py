"""A page token belongs to one list: the same seller, filters and sort, whatever else is asked for beside it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.conftest import NOW, OTHER_SELLER, SELLER, ApiClient, order_document
from tests.walk import ids

QUERY = {
    "fulfillmentStatuses": "UNSHIPPED,PENDING",
    "createdWithin": "P30D",
    "grandTotalMin": "1",
    "currencyCode": "USD",
}
SORT = "-shipBy"


@pytest.fixture(autouse=True)
def seven(seller: ApiClient, other_seller: ApiClient, set_clock: Callable[[datetime | str], datetime]) -> None:
    set_clock(NOW)
    for number in range(7):
        window = {"latestDateTime": (NOW + timedelta(days=number % 3)).isoformat()}
        order = order_document(fulfillment__shipByWindow=window, recipient__deliveryAddress__countryCode="US")
        assert seller.post("/v1/orders", order).status_code == 201
        assert other_seller.post("/v1/orders", order).status_code == 201


def page(client: ApiClient, **query: Any) -> dict[str, Any]:
    response = client.get("/v1/orders", **{**QUERY, "sort": SORT, "maxResultsPerPage": 3, **query})
    assert response.status_code == 200, response.text
    return response.get_json()


def refuses(client: ApiClient, **query: Any) -> bool:
    """Tell whether a request is refused for its token."""
    response = client.get("/v1/orders", **{**QUERY, "sort": SORT, "maxResultsPerPage": 3, **query})
    return response.status_code == 422 and [each["parameter"] for each in response.get_json()["errors"]] == [
        "paginationToken"
    ]


@pytest.fixture(params=["nextToken", "previousToken"])
def token(request: pytest.FixtureRequest, seller: ApiClient) -> str:
    """Return the tokens of a middle page, one after the other."""
    first = page(seller)["pagination"]["nextToken"]
    return page(seller, paginationToken=first)["pagination"][request.param]


@pytest.mark.parametrize(
    "other",
    [
        {"sort": "shipBy"},
        {"sort": "-confirmBy"},
        {"sort": "-createdTime"},
        {"fulfillmentStatuses": "UNSHIPPED"},
        {"createdWithin": "P31D"},
        {"grandTotalMin": "1.01"},
        {"currencyCode": "EUR"},
        {"q": "mug"},
        {"shipmentIsLate": "false"},
        {"skus": "MUG"},
        {"shipToCountries": "US"},
        {"orderIds": "902-1"},
        {"confirmByAfter": "2026-01-01T00:00:00Z"},
    ],
)
def test_a_token_is_refused_with_other_filters_or_another_sort(
    other: dict[str, str], token: str, seller: ApiClient
) -> None:
    assert refuses(seller, paginationToken=token, **other)


def test_a_token_is_refused_without_its_filters_or_its_sort(token: str, seller: ApiClient) -> None:
    def named(**query: str) -> list[str]:
        response = seller.get("/v1/orders", paginationToken=token, **query)
        return [error["parameter"] for error in response.get_json()["errors"]]

    assert named() == ["paginationToken"]
    assert named(sort=SORT) == ["paginationToken"]
    assert named(**QUERY) == ["paginationToken"]


def test_a_token_is_refused_for_another_seller(
    token: str, seller: ApiClient, other_seller: ApiClient, operator: ApiClient
) -> None:
    assert refuses(other_seller, paginationToken=token)
    assert refuses(operator, paginationToken=token, sellerId=OTHER_SELLER)
    assert (
        page(operator, paginationToken=token, sellerId=SELLER)["orders"]
        == page(seller, paginationToken=token)["orders"]
    )
    response = operator.get("/v1/cancellation-runs", paginationToken=token)
    assert [error["parameter"] for error in response.get_json()["errors"]] == ["paginationToken"]


def test_a_token_that_was_tampered_with_is_refused(token: str, seller: ApiClient) -> None:
    for place in range(0, len(token) - 1, 3):  # the last character may hold bits that mean nothing
        changed = token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        assert refuses(seller, paginationToken=changed), place
    for changed in (token[:-5], token + "AAAA", "." + token, token.upper(), token.partition(".")[0]):
        assert refuses(seller, paginationToken=changed), changed


@pytest.mark.parametrize(
    "same",
    [
        {"fulfillmentStatuses": "PENDING,UNSHIPPED"},
        {"fulfillmentStatuses": ["PENDING", "UNSHIPPED,PENDING"]},
        {"createdWithin": "PT720H"},
        {"grandTotalMin": "1.00"},
        {"fields": "orderId"},
        {"includedData": "BUYER"},
    ],
)
def test_a_token_works_with_the_same_filters_written_otherwise_and_other_fields(
    same: dict[str, Any], token: str, seller: ApiClient
) -> None:
    assert ids([page(seller, paginationToken=token, **same)]) == ids([page(seller, paginationToken=token)])


def test_a_token_works_with_another_page_size(seller: ApiClient) -> None:
    everything = ids([page(seller, maxResultsPerPage=100)])
    first = page(seller)
    second = page(seller, maxResultsPerPage=100, paginationToken=first["pagination"]["nextToken"])
    assert ids([first, second]) == everything
    assert len(everything) == 7

    back = page(seller, maxResultsPerPage=2, paginationToken=second["pagination"]["previousToken"])
    assert ids([back]) == everything[1:3]
    start = page(seller, maxResultsPerPage=2, paginationToken=back["pagination"]["previousToken"])
    assert ids([start]) == everything[:1]
    assert "previousToken" not in start["pagination"]


@pytest.mark.parametrize("sort", [SORT, "-createdTime"])
def test_a_token_stays_what_it_was_after_more_orders_came(sort: str, seller: ApiClient) -> None:
    everything = ids([page(seller, sort=sort, maxResultsPerPage=100)])
    token = page(seller, sort=sort)["pagination"]["nextToken"]
    second = page(seller, sort=sort, paginationToken=token)
    for days in (-5, 0, 1, 30):
        window = {"latestDateTime": (NOW + timedelta(days=days)).isoformat()}
        created = (NOW - timedelta(days=3 + days // 10)).isoformat()
        order = order_document(fulfillment__shipByWindow=window, createdTime=created)
        assert seller.post("/v1/orders", order).status_code == 201

    def known(token: str) -> list[str]:
        found = ids([page(seller, sort=sort, paginationToken=token, maxResultsPerPage=100)])
        return [order_id for order_id in found if order_id in everything]

    assert known(token) == everything[3:]
    assert known(second["pagination"]["previousToken"]) == everything[:3]

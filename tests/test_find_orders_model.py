"""Every parameter, alone and with others, against a model in plain Python: the same orders on every page, both ways."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.search import queries
from tests.contract import Contract
from tests.order_model import ANY_OF, FLAGS, SORTS, TIMES, Order, fold, found, instant, searched_texts, value
from tests.varied_orders import NOW, World, varied_world

DURATIONS = ("PT1M", "PT30M", "PT12H", "P1D", "P1DT12H", "P4D", "P1W", "P2W", "P3660D")
RANGES = [f"{date}{end}" for date in TIMES for end in ("After", "Before")]
PERIODS = ["createdWithin", "shipByWithin", "confirmByWithin"]
AMOUNTS = ["grandTotalMin", "grandTotalMax"]
PARAMETERS = sorted([*ANY_OF, *RANGES, *PERIODS, *AMOUNTS, *FLAGS, "currencyCode", "buyerEmail", "q"])
WRITTEN: Sequence[Callable[[str], str]] = (str, str.upper, str.lower, str.swapcase, fold)
MOST_PAGES = 3

# MODEL_EXAMPLES=2000 is the longer run.
EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "200"))


@pytest.fixture(scope="module")
def world(make_database_url: Callable[[], str], contract: Contract) -> Iterator[World]:
    with varied_world(make_database_url(), contract) as world:
        yield world


def check_pages(world: World, filters: dict[str, Any], sort: str, size: int, **shown: str) -> int:
    """Walk to the last page and back to the first, comparing each page with the model; return how many orders match."""
    expected = found(world.orders, filters, sort, NOW)
    pages = [expected[start : start + size] for start in range(0, len(expected), size)] or [[]]
    query = filters | {"sort": sort, "maxResultsPerPage": size} | shown

    def turn(page: list[str], token: str | None) -> dict[str, str]:
        response = world.seller.get("/v1/orders", **query | ({} if token is None else {"paginationToken": token}))
        assert response.status_code == 200, response.text
        answer = response.get_json()
        assert [order["orderId"] for order in answer["orders"]] == page
        return answer.get("pagination", {})

    tokens: dict[str, str] = {}
    for number, page in enumerate(pages):
        tokens = turn(page, tokens.get("nextToken"))
        assert ("previousToken" in tokens, "nextToken" in tokens) == (number > 0, number + 1 < len(pages))
    for number, page in reversed(list(enumerate(pages[:-1]))):
        tokens = turn(page, tokens["previousToken"])
        assert ("previousToken" in tokens, "nextToken" in tokens) == (number > 0, True)
    if len(pages) > 1:
        turn(pages[1], tokens["nextToken"])
    return len(expected)


def page_size(world: World, filters: dict[str, Any], wanted: int) -> int:
    """Return the page size that is wanted, or a larger one that gives fewer pages."""
    return max(wanted, min(100, -(-len(found(world.orders, filters, SORTS[0], NOW)) // MOST_PAGES)))


def own_values(order: Order, name: str) -> list[str]:
    """Return what can be asked for so that the order matches, if anything."""
    if name in ANY_OF:
        return list(ANY_OF[name](order))
    if name in RANGES:
        told = value(order, TIMES[name.removesuffix("After").removesuffix("Before")])
    elif name in AMOUNTS:
        told = value(order, "proceeds.grandTotal.amount")
    elif name == "currencyCode":
        told = value(order, "proceeds.grandTotal.currencyCode")
    elif name == "buyerEmail":
        told = value(order, "buyer.buyerEmail")
    else:
        return list(DURATIONS) if name in PERIODS else ["true", "false"]
    return [] if told is None else [told]


@st.composite
def searches(draw: st.DrawFn, order: Order) -> str:
    """Return one to three parts of what can be found of an order, written in some other way."""
    parts: list[str] = []
    for text in draw(st.lists(st.sampled_from(searched_texts(order)), min_size=1, max_size=3)):
        start = draw(st.integers(0, len(text) - 1))
        length = draw(st.integers(1, 12))
        parts.append(draw(st.sampled_from(WRITTEN))(text[start : start + length]))
    q = " ".join(" ".join(parts).split()[:10])
    return q if len(q) >= 2 else value(order, "orderId")[:4]


@st.composite
def combinations(draw: st.DrawFn, orders: Sequence[Order], names: st.SearchStrategy[list[str]]) -> dict[str, Any]:
    """Return parameters that mostly fit one of the orders."""
    target, filters = draw(st.sampled_from(orders)), dict[str, Any]()
    for name in draw(names):
        order = draw(st.sampled_from([target, target, target, draw(st.sampled_from(orders))]))
        own = own_values(order, name)
        if name == "q":
            filters[name] = draw(searches(order))
        elif name in ANY_OF and own:
            more = draw(st.lists(st.sampled_from(orders), max_size=3))
            filters[name] = [draw(st.sampled_from(own)), *(each for other in more for each in own_values(other, name))]
        elif own:
            filters[name] = draw(st.sampled_from(own))
    if not filters.keys().isdisjoint(AMOUNTS):
        filters["currencyCode"] = draw(st.sampled_from(("USD", "EUR", "GBP")))
    return filters


def turned(filters: dict[str, Any]) -> set[str]:
    """Return the parameters that begin a range behind its end."""
    ranges: list[tuple[str, str, Callable[[str], Any]]] = [(f"{date}After", f"{date}Before", instant) for date in TIMES]
    return {
        first
        for first, last, read in [*ranges, (*AMOUNTS, Decimal)]
        if {first, last} <= filters.keys() and read(filters[first]) > read(filters[last])
    }


@contextmanager
def short_walks(length: int) -> Generator[None]:
    """Let the service walk and sort no more than so many orders: all its ways to a page lead through 400 orders."""
    with patch.multiple(queries, WALK_LENGTH=str(length), MAX_FOUND=length):
        yield


def check(world: World, filters: dict[str, Any], sort: str, size: int, **shown: str) -> None:
    if turned(filters):
        response = world.seller.get("/v1/orders", **filters)
        assert response.status_code == 422
        assert {error["parameter"] for error in response.get_json()["errors"]} == turned(filters)
    else:
        check_pages(world, filters, sort, page_size(world, filters, size), **shown)


def run(examples: int, test: Callable[..., None], **strategies: st.SearchStrategy[Any]) -> None:
    settings(max_examples=examples, derandomize=True, deadline=None, database=None)(given(**strategies)(test))()


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("size", [1, 7, 50, 100])
def test_each_sort_is_the_models_on_every_page_both_ways(world: World, sort: str, size: int) -> None:
    filters = {"createdAfter": "2026-03-01T00:00:00Z"} if size == 1 else {}

    assert 20 < check_pages(world, filters, sort, size) <= 400


def test_the_newest_are_first_when_no_sort_is_asked_for(world: World) -> None:
    first = world.seller.get("/v1/orders").get_json()["orders"]

    assert [order["orderId"] for order in first] == found(world.orders, {}, "-createdTime", NOW)[:50]


@pytest.mark.parametrize("name", PARAMETERS)
def test_each_parameter_alone_finds_what_the_model_finds(world: World, name: str) -> None:
    strategy = combinations(world.orders, st.just([name]))
    sizes = set[int]()

    def alone(filters: dict[str, Any], sort: str, size: int) -> None:
        sizes.add(len(found(world.orders, filters, sort, NOW)))
        check(world, filters, sort, size)

    run(8, alone, filters=strategy, sort=st.sampled_from(SORTS), size=st.integers(1, 100))
    assert sizes - {0, 400}, f"{name} never told orders apart"


def test_random_combinations_of_parameters_find_what_the_model_finds(world: World) -> None:
    names = st.lists(st.sampled_from(PARAMETERS), max_size=5, unique=True)

    def together(filters: dict[str, Any], sort: str, size: int, length: int) -> None:
        with short_walks(length):
            check(world, filters, sort, size)

    run(
        EXAMPLES,
        together,
        filters=combinations(world.orders, names),
        sort=st.sampled_from(SORTS),
        size=st.integers(1, 100),
        length=st.sampled_from([1, 5, 30, 100, 2000]),
    )


def test_what_no_order_has_finds_nothing(world: World) -> None:
    for filters in (
        {"skus": "mug-blue"},
        {"orderIds": world.orders[0]["orderId"].swapcase() + "x"},
        {"trackingNumbers": "1z999aa1"},
        {"sellerOrderIds": "MUG "},
        {"currencyCode": "CHF"},
        {"createdAfter": "2027-01-01T00:00:00Z"},
        {"q": "zz9"},
    ):
        assert world.seller.get("/v1/orders", **filters).get_json() == {"orders": []}


@pytest.mark.parametrize("name", AMOUNTS)
def test_an_amount_needs_its_currency(world: World, name: str) -> None:
    response = world.seller.get("/v1/orders", **{name: "1"})

    assert response.status_code == 422
    assert {error["parameter"] for error in response.get_json()["errors"]} == {"currencyCode"}

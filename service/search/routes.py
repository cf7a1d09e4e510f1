"""Find orders, and count them."""

from __future__ import annotations

from typing import Any

import flask

from service.api import ETAG, Blueprint, conditional_response, context
from service.errors import ViewNotFound, ViewOutdated
from service.input import DEFAULT_RESULTS_PER_PAGE, PAGE_TOKEN_EXAMPLE
from service.orders.examples import ORDER
from service.search.counts import CountBy, count_orders
from service.search.queries import PagePosition, find_orders
from service.search.requests import Selection, selected
from service.search.schemas import OrderCountsQuery, OrderCountsSchema, OrderListQuery, OrderPageSchema

blueprint = Blueprint("finding orders", __name__, description="Orders are found.")


@blueprint.get("/v1/orders")
@blueprint.requires("orders:read")
@blueprint.arguments(OrderListQuery(), location="query")
@blueprint.response(
    200,
    OrderPageSchema,
    headers=ETAG,
    example={"orders": [ORDER], "pagination": {"nextToken": PAGE_TOKEN_EXAMPLE}},
)
@blueprint.alt_response(304, description="The page is as its `ETag` says.")
@blueprint.problems(ViewNotFound, ViewOutdated)
def search_orders(query: dict[str, Any]) -> flask.Response:
    """List a seller's orders on every sales channel, a page at a time.

    Walking from page to page shows every order that belongs to the list throughout exactly once, whatever is written
    meanwhile: one that moves, because what the list is sorted by changes, keeps its place until the walk ends.
    """
    selection = selected(query)
    position, start = _read_token(selection, query.get("pagination_token"))
    with context().database.seller_reading(selection.seller_id) as connection:
        page = find_orders(
            connection,
            selection.seller_id,
            selection.filters,
            selection.sort,
            limit=query.get("max_results_per_page") or selection.page_size or DEFAULT_RESULTS_PER_PAGE,
            members=selection.shape.members,
            position=position,
            start=start,
        )
    orders = ",".join(map(selection.shape.prune_text, page.documents)).encode()
    tokens = [
        f'"{name}":"{_token(selection, place, page.start)}"'
        for name, place in (("nextToken", page.next_position), ("previousToken", page.previous_position))
        if place is not None
    ]
    pagination = f',"pagination":{{{",".join(tokens)}}}' if tokens else ""
    # A token says when its walk began, and is another one each time; where it leads to is the same.
    ends = f"{page.next_position} {page.previous_position}"
    return conditional_response(b'{"orders":[%b]%b}' % (orders, pagination.encode()), orders + ends.encode(), weak=True)


def _token(selection: Selection, place: PagePosition, start: str | None) -> str:
    began = [start] if start else []
    side = "upto" if place.is_inclusive else "before" if place.is_before else "after"
    parts = [side, place.sort_value, place.order_id, *began]
    return context().page_tokens.encode(selection.scope, parts)


def _read_token(selection: Selection, token: str | None) -> tuple[PagePosition | None, str | None]:
    if token is None:
        return None, None
    side, sort_value, order_id, *began = context().page_tokens.decode(selection.scope, token)
    return PagePosition(sort_value, order_id, side != "after", side == "upto"), began[0] if began else None


@blueprint.get("/v1/orders/counts")
@blueprint.requires("orders:read")
@blueprint.arguments(OrderCountsQuery(), location="query")
@blueprint.response(
    200,
    OrderCountsSchema(),
    example={
        "by": "fulfillmentStatus",
        "groups": [
            {"value": "PENDING", "count": 3, "capped": False},
            {"value": "UNSHIPPED", "count": 212, "capped": False},
            {"value": "PARTIALLY_SHIPPED", "count": 4, "capped": False},
            {"value": "SHIPPED", "count": 10000, "capped": True},
            {"value": "CANCELLED", "count": 97, "capped": False},
        ],
    },
)
@blueprint.problems(ViewNotFound, ViewOutdated)
def count_orders_by(query: dict[str, Any]) -> dict[str, Any]:
    """Count a seller's orders by kind, for the same filters as the list: exactly, up to 10,000 of a kind."""
    selection, by = selected(query), CountBy(query["by"])
    with context().database.seller_reading(selection.seller_id) as connection:
        groups = count_orders(connection, selection.seller_id, selection.filters, by)
    return {"by": by, "groups": groups}

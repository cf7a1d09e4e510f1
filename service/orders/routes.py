"""Find orders."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import flask

from service.api import Blueprint, SellerQuery, acting_seller, context, json_response
from service.errors import FieldError, InvalidRequest, OrderNotFound
from service.fields import Choice, List, Nested, Text, Timestamp
from service.input import (
    DEFAULT_RESULTS_PER_PAGE,
    MAX_RESULTS_PER_PAGE,
    PAGE_TOKEN_EXAMPLE,
    PageQuery,
    PaginationSchema,
    QueryList,
)
from service.orders.examples import ORDER
from service.orders.item_schemas import IDENTIFIER
from service.orders.queries import OrderFilter, PagePosition, find_order, find_orders
from service.orders.rules import FulfilledBy, FulfillmentStatus
from service.orders.schemas import OrderSchema
from service.schema import Schema

blueprint = Blueprint("orders", __name__, description="Orders are found.")


class ListOrdersQuery(SellerQuery, PageQuery):
    """Which orders to list."""

    created_after = Timestamp("Ordered at this time or later.", example="2026-03-01T00:00:00Z")
    created_before = Timestamp("Ordered at this time or earlier.", example="2026-03-31T23:59:59Z")
    last_updated_after = Timestamp("Changed at this time or later.", example="2026-03-01T00:00:00+01:00")
    last_updated_before = Timestamp("Changed at this time or earlier.", example="2026-03-31T23:59:59Z")
    fulfillment_statuses = QueryList(
        Choice(tuple(FulfillmentStatus)), "Any of these.", example=["UNSHIPPED", "PENDING"]
    )
    marketplace_ids = QueryList(Text(max_length=50, pattern=IDENTIFIER), "Any of these.", example=["ATVPDKIKX0DER"])
    fulfilled_by = QueryList(Choice(tuple(FulfilledBy)), "Any of these.", example=["MERCHANT"])


class OrderPageSchema(Schema):
    """A page of orders, the newest first."""

    orders = List(Nested(OrderSchema), "The orders.", max_items=MAX_RESULTS_PER_PAGE, required=True)
    pagination = Nested(PaginationSchema, "Absent on the last page.")


@blueprint.get("/v1/orders")
@blueprint.requires("orders:read")
@blueprint.arguments(ListOrdersQuery, location="query")
@blueprint.response(200, OrderPageSchema, example={"orders": [ORDER], "pagination": {"nextToken": PAGE_TOKEN_EXAMPLE}})
def search_orders(query: dict[str, Any]) -> flask.Response:
    """List a seller's orders on every sales channel, the newest first, a page at a time."""
    seller_id = acting_seller(query.pop("seller_id", None))
    limit = query.pop("max_results_per_page", DEFAULT_RESULTS_PER_PAGE)
    token = query.pop("pagination_token", None)
    _refuse_turned_ranges(query)
    filters = OrderFilter(**query)
    tokens, scope = context().page_tokens, ["orders", seller_id, query]
    after = None
    if token is not None:
        created_time, order_id = tokens.decode(scope, token)
        after = PagePosition(datetime.fromisoformat(created_time), order_id)
    with context().database.seller_transaction(seller_id) as connection:
        page = find_orders(connection, seller_id, filters, after, limit)
    body = '{"orders":[' + ",".join(page.documents) + "]"
    if page.next_position is not None:
        position = [page.next_position.created_time.isoformat(), page.next_position.order_id]
        body += f',"pagination":{{"nextToken":"{tokens.encode(scope, position)}"}}'
    return json_response(body + "}")


@blueprint.get("/v1/orders/<order_id:order_id>")
@blueprint.requires("orders:read")
@blueprint.arguments(SellerQuery, location="query")
@blueprint.response(200, OrderSchema, example=ORDER)
@blueprint.problems(OrderNotFound)
def get_order(query: dict[str, Any], order_id: str) -> flask.Response:
    """Show one order."""
    seller_id = acting_seller(query.get("seller_id"))
    with context().database.seller_transaction(seller_id) as connection:
        document = find_order(connection, seller_id, order_id)
    if document is None:
        raise OrderNotFound(f"the seller has no order {order_id}")
    return json_response(document)


def _refuse_turned_ranges(query: dict[str, Any]) -> None:
    for after, before in (("created_after", "created_before"), ("last_updated_after", "last_updated_before")):
        if after in query and before in query and query[after] > query[before]:
            name = ListOrdersQuery().fields[after].data_key
            raise InvalidRequest("a range is turned around", FieldError("is after its end", parameter=name))

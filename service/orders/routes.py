"""Show an order."""

from __future__ import annotations

from typing import Any

import flask

from service.api import ETAG, Blueprint, SellerQuery, acting_seller, conditional_response, context
from service.errors import OrderNotFound
from service.orders.examples import ORDER
from service.orders.queries import find_order
from service.orders.shapes import Shape
from service.orders.sparse_schemas import ORDER_ANSWER, ShapeQuery

blueprint = Blueprint("orders", __name__, description="Orders are shown.")


class OrderQuery(SellerQuery, ShapeQuery):
    """How much of the order is shown."""


@blueprint.get("/v1/orders/<order_id:order_id>")
@blueprint.requires("orders:read")
@blueprint.arguments(OrderQuery(), location="query")
@blueprint.response(200, ORDER_ANSWER, headers=ETAG, example=ORDER)
@blueprint.alt_response(304, description="The order is as its `ETag` says.")
@blueprint.problems(OrderNotFound)
def get_order(query: dict[str, Any], order_id: str) -> flask.Response:
    """Show one order."""
    seller_id = acting_seller(query.get("seller_id"))
    shape = Shape.of(query.get("fields", ()), query.get("included_data", ()))
    with context().database.seller_reading(seller_id) as connection:
        document = find_order(connection, seller_id, order_id, shape.members)
    if document is None:
        raise OrderNotFound(f"the seller has no order {order_id}")
    body = shape.prune_text(document).encode()
    return conditional_response(body, body)

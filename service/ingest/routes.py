"""Receive one order over HTTP."""

from __future__ import annotations

from typing import Any

import flask

from service.api import LOCATION, Blueprint, SellerQuery, acting_seller, caller, context, json_response
from service.errors import (
    ContradictoryOrder,
    FieldError,
    InvalidRequest,
    OrderConflict,
    Problem,
    UnknownMarketplace,
)
from service.ingest.actions import receive_orders
from service.ingest.rules import Outcome
from service.ingest.schemas import order_schema, read_order
from service.orders.examples import INCOMING_ORDER, NEW_ORDER
from service.orders.queries import find_order
from service.orders.schemas import OrderSchema

blueprint = Blueprint("receiving orders", __name__, description="Orders come in.")


@blueprint.post("/v1/orders")
@blueprint.requires("orders:write")
@blueprint.arguments(SellerQuery(), location="query")
@blueprint.arguments(order_schema, example=INCOMING_ORDER)
@blueprint.response(201, OrderSchema, headers=LOCATION, description="The order is new.", example=NEW_ORDER)
@blueprint.alt_response(
    200,
    schema=OrderSchema,
    headers=LOCATION,
    description="The order is known: unchanged, or updated by this later version.",
    example=NEW_ORDER,
)
@blueprint.problems(UnknownMarketplace, ContradictoryOrder, OrderConflict)
def receive_order(query: dict[str, Any], order: dict[str, Any]) -> flask.Response:
    """Receive an order, or a later version of one.

    The same order again changes nothing. A later version may change what the channel owns; it never undoes a
    confirmation, a charge or a cancellation. A phone number is accepted and not stored.
    """
    named, in_body = query.get("seller_id"), order.get("seller_id")
    if named is not None and in_body is not None and named != in_body:
        raise InvalidRequest("the order names another seller than the query", FieldError("differs", "/sellerId"))
    seller_id = acting_seller(named or in_body)
    incoming = read_order(flask.g.json_body, order, seller_id)
    with context().database.seller_transaction(seller_id) as connection:
        (outcome,) = receive_orders(connection, [incoming], caller().actor)
        if isinstance(outcome, Problem):
            raise outcome
        document = find_order(connection, seller_id, incoming.order_id) or ""
    return json_response(
        document, 201 if outcome is Outcome.CREATED else 200, Location=f"/v1/orders/{incoming.order_id}"
    )

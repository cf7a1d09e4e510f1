"""Refund orders, and have a declined charge tried again."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import flask

from service.api import LOCATION, Blueprint, SellerQuery, acting_seller, caller, context, json_response
from service.errors import OrderNotFound, PlatformFulfilled, SellerNotFound, UnknownOrderItem
from service.orders.schemas import OrderSchema
from service.payments import refund_actions as actions
from service.payments.actions import retry_charge
from service.payments.errors import (
    ChargeNotDeclined,
    IdempotencyKeyRequired,
    IdempotencyKeyReused,
    ItemWithoutPrice,
    NotCharged,
    PaymentServiceMissing,
    RefundNotFound,
    RefundTooLarge,
)
from service.payments.schemas import (
    DECLINED_ORDER,
    REFUND,
    REFUNDED,
    REFUNDED_LATE,
    IdempotencyKeySchema,
    RefundListSchema,
    RefundRequestSchema,
    RefundSchema,
    read_refund,
)
from service.problems import OPERATIONS

blueprint = Blueprint("payments", __name__, description="Buyers are refunded, and charged again after a decline.")


@blueprint.post("/v1/orders/<order_id:order_id>/charge-attempts")
@blueprint.requires(OPERATIONS)
@blueprint.arguments(SellerQuery(), location="query")
@blueprint.response(
    202, OrderSchema, description="The order, of which nothing has changed yet.", example=DECLINED_ORDER
)
@blueprint.problems(OrderNotFound, SellerNotFound, ChargeNotDeclined, PaymentServiceMissing)
def attempt_charge(query: dict[str, Any], order_id: str) -> flask.Response:
    """Have a declined charge tried now, whether or not it would be tried again by itself.

    What comes of it the order shows, soon after. A charge that is being tried already is not tried twice.
    """
    seller_id, settles_outside = acting_seller(query.get("seller_id")), context().settings.settles_outside
    order = retry_charge(context().database, seller_id, order_id, settles_outside=settles_outside)
    return json_response(order, 202)


@blueprint.post("/v1/orders/<order_id:order_id>/refunds")
@blueprint.requires("refunds:write")
@blueprint.arguments(SellerQuery(), location="query")
@blueprint.arguments(IdempotencyKeySchema(), location="headers")
@blueprint.arguments(RefundRequestSchema(), example=REFUND)
@blueprint.response(
    201, RefundSchema, headers=LOCATION, description="The refund is made, or will be.", example=REFUNDED_LATE
)
@blueprint.alt_response(
    200,
    schema=RefundSchema,
    headers=LOCATION,
    description="The same came before; nothing changed.",
    example=REFUNDED_LATE,
)
@blueprint.problems(
    OrderNotFound, PlatformFulfilled, NotCharged, UnknownOrderItem, ItemWithoutPrice, RefundTooLarge,
    IdempotencyKeyRequired, IdempotencyKeyReused, PaymentServiceMissing,
)  # fmt: skip
def refund_order(query: dict[str, Any], headers: dict[str, Any], body: dict[str, Any], order_id: str) -> flask.Response:
    """Refund items of an order, or an amount of it.

    Never more than was charged, and of an item never more than it is worth. What is not confirmed stays late, refunded
    or not: `warnings` says so. A refund that the payment service has to make is REQUESTED at first.
    """
    request = read_refund(headers["idempotency_key"], body)
    seller_id = acting_seller(query.get("seller_id"))
    refunded = actions.refund_order(
        context().database,
        seller_id,
        order_id,
        request,
        caller().actor,
        settles_outside=context().settings.settles_outside,
    )
    location = f"/v1/orders/{order_id}/refunds/{refunded.refund_id}"
    return json_response(refunded.refund_json, 201 if refunded.created else 200, Location=location)


@blueprint.get("/v1/orders/<order_id:order_id>/refunds")
@blueprint.requires("orders:read")
@blueprint.arguments(SellerQuery(), location="query")
@blueprint.response(200, RefundListSchema, example={"refunds": [REFUNDED]})
@blueprint.problems(OrderNotFound)
def list_refunds(query: dict[str, Any], order_id: str) -> flask.Response:
    """List the refunds of an order, also those that are not made yet or were declined."""
    seller_id = acting_seller(query.get("seller_id"))
    return json_response(actions.show_refunds(context().database, seller_id, order_id))


@blueprint.get("/v1/orders/<order_id:order_id>/refunds/<refund_id:refund_id>")
@blueprint.requires("orders:read")
@blueprint.arguments(SellerQuery(), location="query")
@blueprint.response(200, RefundSchema, example=REFUNDED_LATE)
@blueprint.problems(OrderNotFound, RefundNotFound)
def get_refund(query: dict[str, Any], order_id: str, refund_id: UUID) -> flask.Response:
    """Show one refund of an order."""
    seller_id = acting_seller(query.get("seller_id"))
    return json_response(actions.show_refund(context().database, seller_id, order_id, refund_id))

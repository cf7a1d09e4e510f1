"""Cancel an order, and keep a buyer's request for it."""

from __future__ import annotations

from typing import Any

import flask

from service.api import Blueprint, SellerQuery, acting_seller, caller, context, json_response
from service.cancellation import actions
from service.cancellation.rules import CancelReason
from service.cancellation.schemas import (
    CANCELLED_ORDER,
    REQUESTED_ORDER,
    CancelOrderSchema,
    RequestCancellationSchema,
)
from service.errors import (
    ConfirmationWindowClosed,
    OrderCancelled,
    OrderConfirmed,
    OrderNotFound,
    PlatformFulfilled,
)
from service.orders.examples import NEW_ORDER
from service.orders.schemas import OrderSchema

blueprint = Blueprint(
    "cancellation",
    __name__,
    description="Orders are cancelled by their sellers, and buyers ask for it.",
)


@blueprint.post("/v1/orders/<order_id:order_id>/cancellation")
@blueprint.requires("cancellations:write")
@blueprint.arguments(SellerQuery(), location="query")
@blueprint.arguments(CancelOrderSchema(), example={"cancelReasonCode": "NO_INVENTORY"})
@blueprint.response(
    200, OrderSchema, description="The order is cancelled, by this call or before.", example=CANCELLED_ORDER
)
@blueprint.problems(OrderNotFound, PlatformFulfilled, OrderCancelled, OrderConfirmed, ConfirmationWindowClosed)
def cancel_order(query: dict[str, Any], body: dict[str, Any], order_id: str) -> flask.Response:
    """Cancel a whole order of which nothing is confirmed. The buyer is not charged.

    The same again changes nothing. Cancelled is final, and so is the reason. An order with a confirmed item is charged:
    refund what is not shipped instead. At or after `confirmBy` the order is cancelled for not being confirmed in time.
    """
    seller_id, reason = acting_seller(query.get("seller_id")), CancelReason(body["cancel_reason_code"])
    return json_response(actions.cancel_order(context().database, seller_id, order_id, reason, caller().actor))


@blueprint.post("/v1/orders/<order_id:order_id>/cancellation-request")
@blueprint.requires("channel:write")
@blueprint.arguments(SellerQuery(), location="query")
@blueprint.arguments(RequestCancellationSchema(), required=False, example={"cancelReason": "Ordered by mistake"})
@blueprint.response(200, OrderSchema, description="The order, with the request.", example=REQUESTED_ORDER)
@blueprint.problems(OrderNotFound, PlatformFulfilled, OrderCancelled, OrderConfirmed, ConfirmationWindowClosed)
def request_cancellation(query: dict[str, Any], body: dict[str, Any], order_id: str) -> flask.Response:
    """Tell that the buyer asks to cancel an order of which nothing is confirmed.

    It cancels nothing: the seller sees a warning and decides. Until then a confirmation needs
    `overrideCancellationRequest`. Asked again, the first time stands, and a reason takes the place of the one before.
    """
    seller_id, reason = acting_seller(query.get("seller_id")), body.get("cancel_reason")
    return json_response(actions.request_cancellation(context().database, seller_id, order_id, reason, caller().actor))


@blueprint.delete("/v1/orders/<order_id:order_id>/cancellation-request")
@blueprint.requires("channel:write")
@blueprint.arguments(SellerQuery(), location="query")
@blueprint.response(200, OrderSchema, description="The order, without a request.", example=NEW_ORDER)
@blueprint.problems(OrderNotFound, OrderCancelled, OrderConfirmed, ConfirmationWindowClosed)
def withdraw_cancellation_request(query: dict[str, Any], order_id: str) -> flask.Response:
    """Tell that the buyer no longer asks to cancel the order.

    Without a request nothing changes. What has been confirmed or cancelled meanwhile keeps the request it had.
    """
    seller_id = acting_seller(query.get("seller_id"))
    return json_response(actions.withdraw_request(context().database, seller_id, order_id, caller().actor))

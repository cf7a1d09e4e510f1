"""Confirm shipments."""

from __future__ import annotations

from typing import Any

import flask

from service.api import Blueprint, SellerQuery, acting_seller, caller, context, json_response
from service.errors import (
    ConfirmationWindowClosed,
    NothingToConfirm,
    OrderCancelled,
    OrderNotFound,
    OrderPending,
    PackageConflict,
    PlatformFulfilled,
    QuantityTooLarge,
    UnknownOrderItem,
)
from service.orders.examples import ORDER
from service.orders.schemas import OrderSchema
from service.shipments import actions
from service.shipments.schemas import CONFIRMATION, ShipmentConfirmationSchema, read_confirmation

blueprint = Blueprint("shipments", __name__, description="Shipments are confirmed.")


@blueprint.post("/v1/orders/<order_id:order_id>/shipment-confirmations")
@blueprint.requires("shipments:write")
@blueprint.arguments(SellerQuery(), location="query")
@blueprint.arguments(ShipmentConfirmationSchema(), example=CONFIRMATION)
@blueprint.response(
    201, OrderSchema, description="The package is confirmed; the order as it now stands.", example=ORDER
)
@blueprint.alt_response(
    200, schema=OrderSchema, description="The same confirmation came before; nothing changed.", example=ORDER
)
@blueprint.problems(
    OrderNotFound, PackageConflict, OrderCancelled, ConfirmationWindowClosed, OrderPending, PlatformFulfilled,
    NothingToConfirm, UnknownOrderItem, QuantityTooLarge,
)  # fmt: skip
def confirm_shipment(query: dict[str, Any], body: dict[str, Any], order_id: str) -> flask.Response:
    """Confirm the shipment of one package.

    The first confirmed item charges the whole order, once. At or after `confirmBy` a first confirmation is refused.
    """
    seller_id = acting_seller(query.get("seller_id"))
    confirmed = actions.confirm_shipment(
        context().database, seller_id, order_id, read_confirmation(body), caller().actor
    )
    return json_response(confirmed.order_json, 201 if confirmed.created else 200)

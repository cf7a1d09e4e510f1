"""Confirm shipments, show the packages that they make, and correct them."""

from __future__ import annotations

from typing import Any

import flask

from service.api import LOCATION, Blueprint, SellerQuery, acting_seller, caller, context, json_response
from service.errors import (
    CancellationRequested,
    ConfirmationWindowClosed,
    NothingToConfirm,
    OrderCancelled,
    OrderNotFound,
    OrderPending,
    PackageConflict,
    PackageDelivered,
    PackageNotFound,
    PlatformFulfilled,
    PreconditionFailed,
    PreconditionRequired,
    QuantityTooLarge,
    ShipDateOutOfRange,
    TooManyPackages,
    UnknownCarrier,
    UnknownOrderItem,
)
from service.input import VERSION_ETAG, IfMatchSchema
from service.orders.examples import ORDER
from service.orders.package_queries import Package, PackageKey, find_package, find_packages
from service.orders.package_schemas import OrderPackageSchema
from service.orders.schemas import OrderSchema
from service.shipments import actions
from service.shipments.schemas import (
    CONFIRMATION,
    CORRECTED_PACKAGE,
    CORRECTION,
    PACKAGE,
    CorrectedPackageSchema,
    PackageCorrectionSchema,
    PackageListSchema,
    ShipmentConfirmationSchema,
    read_confirmation,
    read_correction,
)

blueprint = Blueprint("shipments", __name__, description="Shipments are confirmed, and their packages corrected.")


@blueprint.post("/v1/orders/<order_id:order_id>/shipment-confirmations")
@blueprint.requires("shipments:write")
@blueprint.arguments(SellerQuery(), location="query")
@blueprint.arguments(ShipmentConfirmationSchema(), example=CONFIRMATION)
@blueprint.response(
    201,
    OrderSchema,
    headers=LOCATION,
    description="The package is confirmed; the order as it now stands.",
    example=ORDER,
)
@blueprint.alt_response(
    200,
    schema=OrderSchema,
    headers=LOCATION,
    description="The same confirmation came before; nothing changed.",
    example=ORDER,
)
@blueprint.problems(
    OrderNotFound, PackageConflict, OrderCancelled, ConfirmationWindowClosed, OrderPending, PlatformFulfilled,
    NothingToConfirm, TooManyPackages, CancellationRequested, UnknownCarrier, UnknownOrderItem, QuantityTooLarge,
    ShipDateOutOfRange,
)  # fmt: skip
def confirm_shipment(query: dict[str, Any], body: dict[str, Any], order_id: str) -> flask.Response:
    """Confirm the shipment of one package.

    The first confirmed item charges the whole order, once. At or after `confirmBy` a first confirmation is refused. An
    order has at most 1,000 packages. A tracking number that may be wrong is told in `warnings` of this answer, with the
    code `TRACKING_NUMBER_UNUSUAL` or `TRACKING_NUMBER_USED_BEFORE`.
    """
    confirmed = actions.confirm_shipment(
        context().database,
        acting_seller(query.get("seller_id")),
        order_id,
        read_confirmation(body),
        caller().actor,
        settled_outside=context().settings.settles_outside,
    )
    location = f"/v1/orders/{order_id}/packages/{body['package_reference_id']}"
    return json_response(confirmed.order_json, 201 if confirmed.created else 200, Location=location)


@blueprint.get("/v1/orders/<order_id:order_id>/packages")
@blueprint.requires("orders:read")
@blueprint.arguments(SellerQuery(), location="query")
@blueprint.response(200, PackageListSchema, example={"packages": [PACKAGE]})
@blueprint.problems(OrderNotFound)
def list_packages(query: dict[str, Any], order_id: str) -> flask.Response:
    """List the packages of an order, the first confirmed first."""
    seller_id = acting_seller(query.get("seller_id"))
    with context().database.seller_reading(seller_id) as connection:
        packages = find_packages(connection, seller_id, order_id)
    if packages is None:
        raise OrderNotFound(f"the seller has no order {order_id}")
    return json_response(f'{{"packages":{packages}}}')


@blueprint.get("/v1/orders/<order_id:order_id>/packages/<package_reference_id:package_reference_id>")
@blueprint.requires("orders:read")
@blueprint.arguments(SellerQuery(), location="query")
@blueprint.response(200, OrderPackageSchema, headers=VERSION_ETAG, example=PACKAGE)
@blueprint.problems(OrderNotFound, PackageNotFound)
def get_package(query: dict[str, Any], order_id: str, package_reference_id: str) -> flask.Response:
    """Show one package."""
    key = PackageKey(acting_seller(query.get("seller_id")), order_id, package_reference_id)
    with context().database.seller_reading(key.seller_id) as connection:
        package = find_package(connection, key)
    return _answer(package)


@blueprint.patch("/v1/orders/<order_id:order_id>/packages/<package_reference_id:package_reference_id>")
@blueprint.requires("shipments:write")
@blueprint.arguments(SellerQuery(), location="query")
@blueprint.arguments(IfMatchSchema(), location="headers")
@blueprint.arguments(PackageCorrectionSchema(), example=CORRECTION)
@blueprint.response(200, CorrectedPackageSchema, headers=VERSION_ETAG, example=CORRECTED_PACKAGE)
@blueprint.problems(
    OrderNotFound, PackageNotFound, PackageDelivered, PlatformFulfilled, UnknownCarrier, ShipDateOutOfRange,
    PreconditionFailed, PreconditionRequired,
)  # fmt: skip
def correct_package(
    query: dict[str, Any], _: dict[str, Any], body: dict[str, Any], order_id: str, package_reference_id: str
) -> flask.Response:
    """Correct what was told of a package, until it is delivered.

    What is in it stays as it was confirmed. `If-Match` keeps two corrections from undoing each other. The events of
    the order keep what it was before. The confirmation, sent again as it was, is still the same.
    """
    key = PackageKey(acting_seller(query.get("seller_id")), order_id, package_reference_id)
    package = actions.correct_package(
        context().database, key, read_correction(body), flask.request.if_match, caller().actor
    )
    return _answer(package)


def _answer(package: Package) -> flask.Response:
    return json_response(package.text, ETag=f'"{package.version}"')

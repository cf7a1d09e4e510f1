"""Take what carriers tell of packages."""

from __future__ import annotations

from typing import Any

import flask

from service.api import Blueprint, SellerQuery, acting_seller, caller, context, json_response
from service.errors import OrderNotFound, PackageNotFound, TrackingTimeOutOfRange
from service.input import VERSION_ETAG
from service.orders.package_queries import PackageKey
from service.orders.package_schemas import OrderPackageSchema
from service.tracking import actions
from service.tracking.rules import TrackedStatus, TrackingEvent
from service.tracking.schemas import TRACKED_PACKAGE, TRACKING_EVENT, TrackingEventSchema

blueprint = Blueprint("tracking", __name__, description="Carriers tell how far packages have got.")


@blueprint.post("/v1/orders/<order_id:order_id>/packages/<package_reference_id:package_reference_id>/tracking-events")
@blueprint.requires("tracking:write")
@blueprint.arguments(SellerQuery(), location="query")
@blueprint.arguments(TrackingEventSchema(), example=TRACKING_EVENT)
@blueprint.response(
    200,
    OrderPackageSchema,
    headers=VERSION_ETAG,
    description="The package as it now stands.",
    example=TRACKED_PACKAGE,
)
@blueprint.problems(OrderNotFound, PackageNotFound, TrackingTimeOutOfRange)
def track_package(
    query: dict[str, Any], body: dict[str, Any], order_id: str, package_reference_id: str
) -> flask.Response:
    """Tell how far a package has got.

    Events may come in any order, and repeatedly: a package is `DELIVERED` for ever, at the earliest time told, and
    otherwise what its latest event says. With its last package an order is delivered: `fulfillment.deliveredTime`.
    """
    key = PackageKey(acting_seller(query.get("seller_id")), order_id, package_reference_id)
    event = TrackingEvent(TrackedStatus(body["status"]), body["event_time"], body.get("detailed_status"))
    package = actions.track_package(context().database, key, event, f"carrier:{caller().token_id}")
    return json_response(package.text, ETag=f'"{package.version}"')

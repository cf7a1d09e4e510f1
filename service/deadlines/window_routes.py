"""Show how the deadline of an order came about, and the business days of a marketplace."""

from __future__ import annotations

from typing import Any

from service.api import Blueprint, SellerQuery, acting_seller, context
from service.business_days import count_days, end_of_day
from service.deadlines.window_queries import find_extensions, find_window_order
from service.deadlines.window_rules import NoWindow, explain_window
from service.deadlines.window_schemas import (
    BUSINESS_DAYS,
    WINDOW,
    BusinessDaysQuery,
    BusinessDaysSchema,
    WindowSchema,
    day_json,
    window_json,
)
from service.errors import FieldError, InvalidRequest, OrderNotFound
from service.marketplaces.errors import MarketplaceNotFound
from service.marketplaces.queries import find_marketplace, shown_policies

blueprint = Blueprint("confirmation windows", __name__, description="Deadlines are explained, day by day.")


@blueprint.get("/v1/orders/<order_id:order_id>/window")
@blueprint.requires("orders:read")
@blueprint.arguments(SellerQuery(), location="query")
@blueprint.response(200, WindowSchema(), example=WINDOW)
@blueprint.problems(OrderNotFound)
def get_order_window(query: dict[str, Any], order_id: str) -> dict[str, Any]:
    """Show how the deadline of an order came about: each day counted or skipped, why, and what is left.

    It is counted by the policy that the marketplace had then, which the order keeps.
    """
    seller_id = acting_seller(query.get("seller_id"))
    with context().database.seller_reading(seller_id) as connection:
        order = find_window_order(connection, seller_id, order_id)
        if order is None:
            raise OrderNotFound(f"the seller has no order {order_id}")
        extensions = find_extensions(connection, seller_id, order_id)
        marketplace = find_marketplace(connection, order.marketplace_id, order.policy_version)
        if marketplace is None:
            raise LookupError("the order's policy is gone")
        policy = shown_policies(connection, [marketplace])[order.marketplace_id]
    try:
        window = explain_window(order, policy)
    except ValueError as error:  # By a zone or a country that this host has lost.
        raise InvalidRequest(f"the window cannot be explained here: {error}") from error
    if isinstance(window, NoWindow):
        return {"order_id": order_id, "applies": False, "reason": window}
    return window_json(order_id, order, marketplace, window, extensions)


@blueprint.get("/v1/business-days")
@blueprint.requires("orders:read")
@blueprint.arguments(BusinessDaysQuery(), location="query")
@blueprint.response(200, BusinessDaysSchema(), example=BUSINESS_DAYS)
@blueprint.problems(MarketplaceNotFound)
def list_business_days(query: dict[str, Any]) -> dict[str, Any]:
    """List the days after a date until so many business days are counted, by the marketplace's present policy."""
    with context().database.connection() as connection:
        marketplace = find_marketplace(connection, query["marketplace_id"])
        if marketplace is None:
            error = FieldError("is not known here", parameter="marketplaceId")
            raise MarketplaceNotFound(f"the marketplace {query['marketplace_id']} is not known here", error)
        policy = shown_policies(connection, [marketplace])[marketplace.marketplace_id]
    try:
        days = count_days(query["from_date"], query["days"], policy)
    except ValueError as error:
        raise InvalidRequest("the days cannot be counted", FieldError(str(error), parameter="from")) from error
    return {
        "marketplace_id": marketplace.marketplace_id,
        "policy_version": marketplace.policy_version,
        "time_zone": marketplace.time_zone,
        "from_date": query["from_date"],
        "days": [day_json(day) for day in days],
        "last_business_day": days[-1].date,
        "until": end_of_day(days[-1].date, policy),
    }

"""Show what happened to an order."""

from __future__ import annotations

from typing import Any

from service.api import Blueprint, SellerQuery, acting_seller, context
from service.errors import OrderNotFound
from service.events.queries import find_events
from service.events.schemas import EVENT_EXAMPLE, EventPageSchema, event_json
from service.input import DEFAULT_RESULTS_PER_PAGE, PAGE_TOKEN_EXAMPLE, PageQuery
from service.orders.queries import find_order

blueprint = Blueprint("order events", __name__, description="What happened to an order, and who did it.")


class EventQuery(SellerQuery, PageQuery):
    """A page of an order's timeline."""


@blueprint.get("/v1/orders/<order_id:order_id>/events")
@blueprint.requires("orders:read")
@blueprint.arguments(EventQuery(), location="query")
@blueprint.response(
    200, EventPageSchema(), example={"events": [EVENT_EXAMPLE], "pagination": {"nextToken": PAGE_TOKEN_EXAMPLE}}
)
@blueprint.problems(OrderNotFound)
def list_order_events(query: dict[str, Any], order_id: str) -> dict[str, Any]:
    """List what happened to an order, the oldest first: each change of it, by whom, and what was before and after.

    Every change has one event, with the version that it gave the order, and events are never changed.
    """
    seller_id = acting_seller(query.get("seller_id"))
    limit: int = query.get("max_results_per_page", DEFAULT_RESULTS_PER_PAGE)
    tokens, scope, after = context().page_tokens, ["order-events", seller_id, order_id], 0
    if "pagination_token" in query:
        (position,) = tokens.decode(scope, query["pagination_token"])
        after = int(position)
    with context().database.seller_reading(seller_id) as connection:
        events = find_events(connection, seller_id, order_id, after, limit + 1)
        if not events and find_order(connection, seller_id, order_id, {"orderId"}) is None:
            raise OrderNotFound(f"the seller has no order {order_id}")
    page: dict[str, Any] = {"events": [event_json(event) for event in events[:limit]]}
    if len(events) > limit:
        page["pagination"] = {"next_token": tokens.encode(scope, [str(events[limit - 1].version)])}
    return page

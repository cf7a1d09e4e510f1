"""Cancel an order, and keep a buyer's request for it; run the sweep by hand and read its ledger, for operators."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import flask

from service.api import LOCATION, Blueprint, SellerQuery, acting_seller, caller, context, json_response
from service.cancellation import actions
from service.cancellation.actions import preview_sweep, sweep
from service.cancellation.ledger import find_errors, find_run, find_runs
from service.cancellation.rules import CancelReason
from service.cancellation.schemas import (
    CANCELLED_ORDER,
    MAX_LISTED,
    REQUESTED_ORDER,
    RUN_EXAMPLE,
    CancellationRunDetailSchema,
    CancellationRunPageSchema,
    CancellationRunRequestSchema,
    CancelOrderSchema,
    RequestCancellationSchema,
    due_json,
    run_json,
)
from service.errors import (
    CancellationRunNotFound,
    ConfirmationWindowClosed,
    OrderCancelled,
    OrderConfirmed,
    OrderNotFound,
    PlatformFulfilled,
)
from service.input import DEFAULT_RESULTS_PER_PAGE, PAGE_TOKEN_EXAMPLE, PageQuery
from service.orders.examples import NEW_ORDER
from service.orders.schemas import OrderSchema
from service.problems import OPERATIONS

blueprint = Blueprint(
    "cancellation",
    __name__,
    description="Orders are cancelled: by their sellers, and when they were not confirmed in time.",
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


@blueprint.post("/v1/cancellation-runs")
@blueprint.requires(OPERATIONS)
@blueprint.arguments(CancellationRunRequestSchema(), required=False, example={"dryRun": True})
@blueprint.response(
    201,
    CancellationRunDetailSchema(),
    headers=LOCATION,
    example={name: value for name, value in RUN_EXAMPLE.items() if name != "slot"}
    | {
        "requestedBy": "token:13a16741-579d-43c5-a213-6ba3887037ae",
        "dryRun": True,
        "cancelledCount": 0,
        "foundCount": 1,
        "dueOrders": [{"sellerId": "A1SELLER", "orderId": "902-3159896-1390916", "confirmBy": "2026-03-14T07:00:00Z"}],
    },
)
def start_cancellation_run(body: dict[str, Any]) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Cancel every order that was not confirmed in time, now; or only list them.

    Safe at any moment and any number of times: it cancels what the scheduled run would cancel.
    """
    database, actor = context().database, caller().actor
    if body.get("dry_run"):
        run, due = preview_sweep(database, requested_by=actor, limit=MAX_LISTED)
        answer = run_json(run) | {"due_orders": [due_json(each) for each in due]}
    else:
        done = sweep(database, requested_by=actor, batch_size=context().settings.sweep_batch_size)
        if done is None:
            raise LookupError("a run without a slot cannot be taken")
        answer = run_json(done)
    return answer, 201, {"Location": f"/v1/cancellation-runs/{answer['run_id']}"}


@blueprint.get("/v1/cancellation-runs")
@blueprint.requires(OPERATIONS)
@blueprint.arguments(PageQuery(), location="query")
@blueprint.response(
    200,
    CancellationRunPageSchema(),
    example={"cancellationRuns": [RUN_EXAMPLE], "pagination": {"nextToken": PAGE_TOKEN_EXAMPLE}},
)
def list_cancellation_runs(query: dict[str, Any]) -> dict[str, Any]:
    """List the runs of the sweep, the newest first."""
    limit: int = query.get("max_results_per_page", DEFAULT_RESULTS_PER_PAGE)
    tokens, scope, after = context().page_tokens, ["cancellation-runs"], None
    if "pagination_token" in query:
        started_time, run_id = tokens.decode(scope, query["pagination_token"])
        after = datetime.fromisoformat(started_time), UUID(run_id)
    with context().database.operator_transaction() as connection:
        runs = find_runs(connection, after, limit + 1)
    page: dict[str, Any] = {"cancellation_runs": [run_json(run) for run in runs[:limit]]}
    if len(runs) > limit:
        position = runs[limit - 1].started_time.isoformat(), str(runs[limit - 1].run_id)
        page["pagination"] = {"next_token": tokens.encode(scope, position)}
    return page


@blueprint.get("/v1/cancellation-runs/<uuid:run_id>")
@blueprint.requires(OPERATIONS)
@blueprint.response(200, CancellationRunDetailSchema(), example=RUN_EXAMPLE)
@blueprint.problems(CancellationRunNotFound)
def get_cancellation_run(run_id: UUID) -> dict[str, Any]:
    """Show one run, with what it could not cancel."""
    with context().database.operator_transaction() as connection:
        run = find_run(connection, run_id)
        errors = find_errors(connection, run_id, MAX_LISTED)
    if run is None:
        raise CancellationRunNotFound(f"there is no run {run_id}")
    listed = [{"seller_id": seller_id, "order_id": order_id, "error": error} for seller_id, order_id, error in errors]
    return run_json(run) | ({"errors": listed} if listed else {})

"""Run the sweep by hand, read its ledger, and approve a run that was held, for operators."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any
from uuid import UUID

from service.api import LOCATION, Blueprint, caller, context
from service.cancellation_job import run_queries
from service.cancellation_job.actions import preview_sweep, sweep
from service.cancellation_job.control_actions import approve_run
from service.cancellation_job.errors import ApprovalTooLate, CountDiffers, RunApproved, RunNotHeld
from service.cancellation_job.examples import APPROVAL, DRY_RUN, HELD_RUN, RUN, RUN_ORDER
from service.cancellation_job.ledger import find_run
from service.cancellation_job.rules import SweepOptions
from service.cancellation_job.run_queries import RunFilters
from service.cancellation_job.schemas import (
    MAX_LISTED,
    CancellationRunDetailSchema,
    CancellationRunPageSchema,
    CancellationRunRequestSchema,
    RunApprovalRequestSchema,
    RunApprovalSchema,
    RunListQuery,
    RunOrderPageSchema,
    approval_json,
    due_json,
    run_json,
)
from service.errors import CancellationRunNotFound
from service.input import DEFAULT_RESULTS_PER_PAGE, PAGE_TOKEN_EXAMPLE, PageQuery
from service.problems import OPERATIONS, OPERATIONS_READ

blueprint = Blueprint(
    "cancellation-runs",
    __name__,
    description="The sweep, which cancels the orders that were not confirmed in time, and the ledger of its runs.",
)


@blueprint.post("/v1/cancellation-runs")
@blueprint.requires(OPERATIONS)
@blueprint.arguments(CancellationRunRequestSchema(), required=False, example={"dryRun": True})
@blueprint.response(201, CancellationRunDetailSchema(), headers=LOCATION, example=DRY_RUN)
def start_cancellation_run(body: dict[str, Any]) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Cancel every order that was not confirmed in time, now; or only list them.

    Safe at any moment and any number of times: it cancels what the scheduled run would cancel, and is HELD or PAUSED as
    that one would be. A dry run tells in `heldReasons` why another would be held, and `ordersDigest` stands for what it
    would cancel: over the same data, the next run cancels exactly that.
    """
    database, actor, options = context().database, caller().actor, SweepOptions.of(context().settings)
    if body.get("dry_run"):
        run, due = preview_sweep(database, requested_by=actor, limit=MAX_LISTED, options=options)
        answer = run_json(run) | {"due_orders": [due_json(each) for each in due]}
    else:
        done = sweep(database, requested_by=actor, options=options)
        if done is None:
            raise LookupError("a run without a slot cannot be taken")
        answer = run_json(done)
    return answer, 201, {"Location": f"/v1/cancellation-runs/{answer['run_id']}"}


@blueprint.get("/v1/cancellation-runs")
@blueprint.requires(OPERATIONS_READ)
@blueprint.arguments(RunListQuery(), location="query")
@blueprint.response(
    200,
    CancellationRunPageSchema(),
    example={"cancellationRuns": [RUN], "pagination": {"nextToken": PAGE_TOKEN_EXAMPLE}},
)
def list_cancellation_runs(query: dict[str, Any]) -> dict[str, Any]:
    """List the runs of the sweep, the newest first: by when they began, whatever the clock said."""
    limit: int = query.pop("max_results_per_page", DEFAULT_RESULTS_PER_PAGE)
    token: str | None = query.pop("pagination_token", None)
    filters = RunFilters(**query)
    tokens, scope, before = context().page_tokens, ["cancellation-runs", asdict(filters)], None
    if token is not None:
        (run_number,) = tokens.decode(scope, token)
        before = int(run_number)
    with context().database.operator_transaction() as connection:
        runs = run_queries.find_runs(connection, filters, before, limit + 1)
    page: dict[str, Any] = {"cancellation_runs": [run_json(run) for run in runs[:limit]]}
    if len(runs) > limit:
        page["pagination"] = {"next_token": tokens.encode(scope, [str(runs[limit - 1].run_number)])}
    return page


@blueprint.get("/v1/cancellation-runs/<uuid:run_id>")
@blueprint.requires(OPERATIONS_READ)
@blueprint.response(200, CancellationRunDetailSchema(), example=HELD_RUN)
@blueprint.problems(CancellationRunNotFound)
def get_cancellation_run(run_id: UUID) -> dict[str, Any]:
    """Show one run, with what it could not cancel, and of a held one what it would cancel and whether it may."""
    with context().database.operator_transaction() as connection:
        found = run_queries.find_run_detail(connection, run_id, MAX_LISTED)
    if found is None:
        raise CancellationRunNotFound(f"there is no run {run_id}")
    told = run_json(found.run)
    if found.due_orders is not None:
        told["due_orders"] = [due_json(each) for each in found.due_orders]
    if found.errors:
        told["errors"] = [
            {"seller_id": seller_id, "order_id": order_id, "error": error}
            for seller_id, order_id, error in found.errors
        ]
    return told | ({"approval": approval_json(found.approval)} if found.approval else {})


@blueprint.get("/v1/cancellation-runs/<uuid:run_id>/orders")
@blueprint.requires(OPERATIONS_READ)
@blueprint.arguments(PageQuery(), location="query")
@blueprint.response(
    200, RunOrderPageSchema(), example={"orders": [RUN_ORDER], "pagination": {"nextToken": PAGE_TOKEN_EXAMPLE}}
)
@blueprint.problems(CancellationRunNotFound)
def list_cancelled_orders(query: dict[str, Any], run_id: UUID) -> dict[str, Any]:
    """List the orders that a run has cancelled, by seller and order. A dry run and a held one have cancelled none."""
    limit: int = query.get("max_results_per_page", DEFAULT_RESULTS_PER_PAGE)
    tokens, scope, after = context().page_tokens, ["cancelled-orders", str(run_id)], ("", "")
    if "pagination_token" in query:
        seller_id, order_id = tokens.decode(scope, query["pagination_token"])
        after = seller_id, order_id
    with context().database.operator_transaction() as connection:
        if find_run(connection, run_id) is None:
            raise CancellationRunNotFound(f"there is no run {run_id}")
        orders = run_queries.find_cancelled_orders(connection, run_id, after, limit + 1)
    page: dict[str, Any] = {"orders": [asdict(order) for order in orders[:limit]]}
    if len(orders) > limit:
        last = orders[limit - 1]
        page["pagination"] = {"next_token": tokens.encode(scope, [last.seller_id, last.order_id])}
    return page


@blueprint.post("/v1/cancellation-runs/<uuid:run_id>/approval")
@blueprint.requires(OPERATIONS)
@blueprint.arguments(
    RunApprovalRequestSchema(), example={"expectedCount": APPROVAL["expectedCount"], "reason": APPROVAL["reason"]}
)
@blueprint.response(
    201,
    RunApprovalSchema(),
    description="The run is approved, by this call or before.",
    headers=LOCATION,
    example=APPROVAL,
)
@blueprint.problems(CancellationRunNotFound, RunNotHeld, CountDiffers, ApprovalTooLate, RunApproved)
def approve_cancellation_run(body: dict[str, Any], run_id: UUID) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Let the next run cancel what a held one found: the orders due at its cutoff, at most as many as expected.

    It is valid for an hour and for one run, and can be given within 24 hours after the run was held. The same again
    changes nothing, and tells in `usedByRunId` which run has used it.
    """
    approval = approve_run(
        context().database,
        run_id,
        expected_count=body["expected_count"],
        reason=body["reason"],
        actor=caller().actor,
    )
    return approval_json(approval), 201, {"Location": f"/v1/cancellation-runs/{run_id}"}

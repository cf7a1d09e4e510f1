"""Give open orders more time, for operators."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from service.api import LOCATION, Blueprint, caller, context
from service.deadlines import extension_actions as actions
from service.deadlines.changes_queries import find_change, find_changes
from service.deadlines.changes_rules import ChangeState, refuse_contradictions
from service.deadlines.changes_schemas import (
    DONE_EXAMPLE,
    PREVIEW_EXAMPLE,
    REQUEST_EXAMPLE,
    RUNNING_EXAMPLE,
    ExtensionApprovalSchema,
    ExtensionListQuery,
    ExtensionPageSchema,
    ExtensionPreviewSchema,
    ExtensionRequestSchema,
    ExtensionSchema,
    extension_json,
    preview_json,
    read_selection,
)
from service.deadlines.errors import (
    ExtensionApproved,
    ExtensionCountDiffers,
    ExtensionNotFound,
    ExtensionOutdated,
    UnknownSelection,
)
from service.input import DEFAULT_RESULTS_PER_PAGE, PAGE_TOKEN_EXAMPLE
from service.problems import OPERATIONS, OPERATIONS_READ

blueprint = Blueprint("deadline extensions", __name__, description="Deadlines are moved, and only to later.")


@blueprint.post("/v1/deadline-extensions")
@blueprint.requires(OPERATIONS)
@blueprint.arguments(ExtensionRequestSchema(), example=REQUEST_EXAMPLE)
@blueprint.response(201, ExtensionPreviewSchema(), headers=LOCATION, example=PREVIEW_EXAMPLE)
@blueprint.problems(UnknownSelection)
def preview_deadline_extension(body: dict[str, Any]) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Show what an extension would do. No order is changed before it is approved.

    It is for orders that can still be confirmed for the first time, and for those that are overdue and not cancelled
    yet. Each gets later or stays as it is: no deadline ever comes earlier.
    """
    selection = read_selection(body)
    refuse_contradictions(selection)
    change, moves = actions.preview_extension(
        context().database, selection, reason=body["reason"], actor=caller().actor
    )
    return preview_json(change, moves), 201, {"Location": f"/v1/deadline-extensions/{change.change_id}"}


@blueprint.post("/v1/deadline-extensions/<extension_id:extension_id>/approval")
@blueprint.requires(OPERATIONS)
@blueprint.arguments(ExtensionApprovalSchema(), example={"expectedCount": 1})
@blueprint.response(
    202, ExtensionSchema(), description="It is approved, and is worked.", headers=LOCATION, example=RUNNING_EXAMPLE
)
@blueprint.problems(ExtensionNotFound, ExtensionApproved, ExtensionCountDiffers, ExtensionOutdated)
def approve_deadline_extension(body: dict[str, Any], extension_id: UUID) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Let an extension be worked, if it still moves as many orders as were seen.

    The scheduler works it at once, and no sweep cancels an order before that is done. The same again changes nothing.
    A preview can be approved for 24 hours.
    """
    expected: int = body["expected_count"]
    approved = actions.approve_extension(context().database, extension_id, expected, caller().actor)
    return extension_json(approved), 202, {"Location": f"/v1/deadline-extensions/{extension_id}"}


@blueprint.get("/v1/deadline-extensions")
@blueprint.requires(OPERATIONS_READ)
@blueprint.arguments(ExtensionListQuery(), location="query")
@blueprint.response(
    200,
    ExtensionPageSchema(),
    example={"extensions": [DONE_EXAMPLE], "pagination": {"nextToken": PAGE_TOKEN_EXAMPLE}},
)
def list_deadline_extensions(query: dict[str, Any]) -> dict[str, Any]:
    """List the changes of deadlines, the newest first: extensions, and what new policies of marketplaces meant."""
    states, after = sorted(set(query.get("states", ChangeState))), None
    limit: int = query.get("max_results_per_page", DEFAULT_RESULTS_PER_PAGE)
    tokens, scope = context().page_tokens, ["deadline-extensions", states]
    if "pagination_token" in query:
        requested_time, change_id = tokens.decode(scope, query["pagination_token"])
        after = datetime.fromisoformat(requested_time), UUID(change_id)
    with context().database.operator_transaction() as connection:
        changes = find_changes(connection, states, after, limit + 1)
    page: dict[str, Any] = {"extensions": [extension_json(change) for change in changes[:limit]]}
    if len(changes) > limit:
        position = changes[limit - 1].requested_time.isoformat(), str(changes[limit - 1].change_id)
        page["pagination"] = {"next_token": tokens.encode(scope, position)}
    return page


@blueprint.get("/v1/deadline-extensions/<extension_id:extension_id>")
@blueprint.requires(OPERATIONS_READ)
@blueprint.response(200, ExtensionSchema(), example=DONE_EXAMPLE)
@blueprint.problems(ExtensionNotFound)
def get_deadline_extension(extension_id: UUID) -> dict[str, Any]:
    """Show a change of deadlines, and how far it has got."""
    with context().database.operator_transaction() as connection:
        change = find_change(connection, extension_id)
    if change is None:
        raise ExtensionNotFound(f"there is no extension {extension_id}")
    return extension_json(change)

"""Show marketplaces, and change their confirmation policies, for operators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flask
import psycopg

from service.api import Blueprint, caller, context
from service.business_days import InvalidPolicy
from service.deadlines.policy_actions import PolicyChange, PolicyChanged, preview_policy, replace_policy
from service.deadlines.policy_schemas import (
    MARKETPLACE,
    POLICY_ANSWER,
    POLICY_CHANGE,
    MarketplaceListSchema,
    MarketplaceSchema,
    PolicyAnswerSchema,
    PolicyChangeSchema,
    PolicyQuery,
    invalid_request,
    marketplace_json,
    read_policy,
)
from service.errors import PreconditionFailed, PreconditionRequired
from service.input import VERSION_ETAG, IfMatchSchema
from service.marketplaces.calendars import find_calendars
from service.marketplaces.errors import MarketplaceNotFound
from service.marketplaces.queries import Marketplace, find_marketplace, find_marketplaces, shown_policies
from service.orders.queries import read_clock
from service.problems import OPERATIONS, OPERATIONS_READ

blueprint = Blueprint("marketplaces", __name__, description="Marketplaces count their confirmation windows.")


@blueprint.get("/v1/marketplaces")
@blueprint.requires(OPERATIONS_READ)
@blueprint.response(200, MarketplaceListSchema(), example={"marketplaces": [MARKETPLACE]})
def list_marketplaces() -> dict[str, Any]:
    """List the marketplaces with their policies, by id."""
    with context().database.connection() as connection:
        return {"marketplaces": _shown(connection, find_marketplaces(connection))}


@blueprint.get("/v1/marketplaces/<marketplace_id:marketplace_id>")
@blueprint.requires(OPERATIONS_READ)
@blueprint.response(200, MarketplaceSchema(), headers=VERSION_ETAG, example=MARKETPLACE)
@blueprint.problems(MarketplaceNotFound)
def get_marketplace(marketplace_id: str) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Show a marketplace with its policy."""
    with context().database.connection() as connection:
        found = find_marketplace(connection, marketplace_id)
        if found is None:
            raise MarketplaceNotFound(f"the marketplace {marketplace_id} is not known here; operators can add it")
        (shown,) = _shown(connection, [found])
    return shown, 200, {"ETag": f'"{found.policy_version}"'}


@blueprint.put("/v1/marketplaces/<marketplace_id:marketplace_id>")
@blueprint.requires(OPERATIONS)
@blueprint.arguments(PolicyQuery(), location="query")
@blueprint.arguments(IfMatchSchema(), location="headers")
@blueprint.arguments(PolicyChangeSchema(), example=POLICY_CHANGE)
@blueprint.response(200, PolicyAnswerSchema(), headers=VERSION_ETAG, example=POLICY_ANSWER)
@blueprint.problems(MarketplaceNotFound, PreconditionFailed, PreconditionRequired)
def replace_marketplace(
    query: dict[str, Any], _: dict[str, Any], body: dict[str, Any], marketplace_id: str
) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Give a marketplace another policy, by which its new orders are counted from now on.

    Open orders that the policy gives more time get it: each is counted anew, no sweep cancels one before that is done,
    and `changeId` tells how far it has got. None comes earlier. A policy that is the same in all but the name of the
    marketplace makes no new version, unless the calendar is to be retaken. With `dryRun` nothing is written.
    """
    change = PolicyChange(
        marketplace_name=body["marketplace_name"],
        policy=read_policy(body),
        reason=body["reason"],
        retakes_calendar=body.get("retake_calendar", False),
    )
    act = preview_policy if query.get("dry_run") else replace_policy
    try:
        done = act(context().database, marketplace_id, change, flask.request.if_match, caller().actor)
    except InvalidPolicy as error:
        raise invalid_request(error) from error
    return _changed(done, is_preview=bool(query.get("dry_run")))


def _changed(done: PolicyChanged, *, is_preview: bool) -> tuple[dict[str, Any], int, dict[str, str]]:
    with context().database.connection() as connection:
        (answer,) = _shown(connection, [done.marketplace])
    present_version = done.marketplace.policy_version
    if done.effect is not None:
        answer["open_orders"] = done.effect
        present_version -= is_preview
        if done.effect.earlier_count:
            answer["note"] = (
                f"the deadlines of {done.effect.earlier_count} open orders would come earlier; they stay as they are, "
                "and the policy counts for new orders"
            )
    if done.change_id is not None:
        answer["change_id"] = str(done.change_id)
    return answer, 200, {"ETag": f'"{present_version}"'}


def _shown(connection: psycopg.Connection, marketplaces: Sequence[Marketplace]) -> list[dict[str, Any]]:
    policies, now = shown_policies(connection, marketplaces), read_clock(connection)
    calendars = find_calendars(connection, [each.key for each in marketplaces])
    return [
        marketplace_json(
            each,
            policies[each.marketplace_id],
            [calendar for calendar in calendars if calendar.marketplace_id == each.marketplace_id],
            now,
        )
        for each in marketplaces
    ]

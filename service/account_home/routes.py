"""Show a seller's account home."""

from __future__ import annotations

from typing import Any

import flask
import orjson

from service.account_home.examples import HOME
from service.account_home.queries import find_home
from service.account_home.schemas import AccountHomeSchema, home_json
from service.api import ETAG, Blueprint, SellerQuery, acting_seller, caller, conditional_response, context

blueprint = Blueprint("account home", __name__, description="A seller's orders at a glance.")
_schema = AccountHomeSchema()


@blueprint.get("/v1/account/home")
@blueprint.requires("orders:read")
@blueprint.arguments(SellerQuery(), location="query")
@blueprint.response(200, AccountHomeSchema, headers=ETAG, example=HOME)
@blueprint.alt_response(304, description="All but `computedTime` is as the `ETag` says.")
def get_account_home(query: dict[str, Any]) -> flask.Response:
    """Show what needs attention: late orders, orders about to be cancelled, and the rates that a seller is judged by.

    Each figure is exact up to a cap, and comes with the address of the list that holds all of its orders. Lateness ends
    when every item is confirmed, and not by a refund.
    """
    seller_id = acting_seller(query.get("seller_id"))
    with context().database.seller_reading(seller_id) as connection:
        home = find_home(connection, seller_id)
    told = home_json(home, seller_id if caller().seller_id is None else None)
    content = orjson.dumps(_schema.dump(told))
    computed_time = orjson.dumps(home.computed_time, option=orjson.OPT_UTC_Z)
    return conditional_response(b'{"computedTime":%b,%b' % (computed_time, content[1:]), content, weak=True)

"""Views of a user's own making, and those that come built in."""

from __future__ import annotations

from typing import Any

import flask

from service.api import LOCATION, Blueprint, SellerQuery, acting_seller, caller, context, json_response
from service.errors import (
    PreconditionFailed,
    PreconditionRequired,
    TooManyViews,
    ViewExists,
    ViewNotFound,
    ViewReadOnly,
)
from service.input import VERSION_ETAG, IfMatchSchema
from service.saved_views import actions
from service.saved_views.rules import BUILT_IN_VIEWS, SavedView, ViewUser
from service.saved_views.schemas import (
    SAVED_VIEW,
    VIEW,
    SavedViewSchema,
    ViewDefinitionSchema,
    ViewListSchema,
    definition_errors,
    read_definition,
    view_json,
    view_text,
)

blueprint = Blueprint("saved views", __name__, description="Views of the orders are saved and reused.")


@blueprint.get("/v1/views")
@blueprint.requires("orders:read")
@blueprint.arguments(SellerQuery(), location="query")
@blueprint.response(200, ViewListSchema, example={"views": [view_json(BUILT_IN_VIEWS["late"]), SAVED_VIEW]})
def list_views(query: dict[str, Any]) -> flask.Response:
    """List the views: the built-in ones, then the shared ones and the user's own, both by name.

    Run one with `GET /v1/orders?view=`. A view that is private belongs to the token's user: tokens of the same name are
    the same user's, so that views outlive the exchange of a token. An operator's token has views of its own for each
    seller.
    """
    views = actions.list_views(
        context().database, definition_errors, acting_seller(query.get("seller_id")), caller().user
    )
    return json_response(view_text({"views": [view_json(view) for view in views]}))


@blueprint.post("/v1/views")
@blueprint.requires("orders:read")
@blueprint.arguments(SellerQuery(), location="query")
@blueprint.arguments(ViewDefinitionSchema(), example=VIEW)
@blueprint.response(201, SavedViewSchema, headers={**VERSION_ETAG, **LOCATION}, example=SAVED_VIEW | {"version": 1})
@blueprint.problems(ViewExists, TooManyViews)
def create_view(query: dict[str, Any], body: dict[str, Any]) -> flask.Response:
    """Save a view: at most 200 private ones of a user, and 200 shared ones of a seller.

    A shared view needs the scope `orders:write` as well. The view is checked now and whenever it runs.
    """
    view = actions.create_view(context().database, _author(query), read_definition(flask.g.json_body, body))
    return _answer(view, 201, Location=f"/v1/views/{view.view_id}")


@blueprint.get("/v1/views/<view_id:view_id>")
@blueprint.requires("orders:read")
@blueprint.arguments(SellerQuery(), location="query")
@blueprint.response(200, SavedViewSchema, headers=VERSION_ETAG, example=SAVED_VIEW)
@blueprint.problems(ViewNotFound)
def get_view(query: dict[str, Any], view_id: str) -> flask.Response:
    """Show one view. What it refers to and no longer exists stands in `errors`."""
    view = actions.read_view(
        context().database, definition_errors, acting_seller(query.get("seller_id")), caller().user, view_id
    )
    return _answer(view)


@blueprint.put("/v1/views/<view_id:view_id>")
@blueprint.requires("orders:read")
@blueprint.arguments(SellerQuery(), location="query")
@blueprint.arguments(IfMatchSchema(), location="headers")
@blueprint.arguments(ViewDefinitionSchema(), example=VIEW)
@blueprint.response(200, SavedViewSchema, headers=VERSION_ETAG, example=SAVED_VIEW)
@blueprint.problems(ViewNotFound, ViewExists, ViewReadOnly, TooManyViews, PreconditionFailed, PreconditionRequired)
def replace_view(query: dict[str, Any], _: dict[str, Any], body: dict[str, Any], view_id: str) -> flask.Response:
    """Replace all that a view holds.

    Any token of the seller with the scope `orders:write` may change a shared view, share a private one, or make a
    shared one private to its own user; a private view needs no more than `orders:read`. `If-Match` keeps two changes
    from undoing each other. Built-in views cannot be changed.
    """
    view = actions.replace_view(
        context().database, _author(query), view_id, read_definition(flask.g.json_body, body), flask.request.if_match
    )
    return _answer(view)


@blueprint.delete("/v1/views/<view_id:view_id>")
@blueprint.requires("orders:read")
@blueprint.arguments(SellerQuery(), location="query")
@blueprint.arguments(IfMatchSchema(), location="headers")
@blueprint.response(204)
@blueprint.problems(ViewNotFound, ViewReadOnly, PreconditionFailed, PreconditionRequired)
def delete_view(query: dict[str, Any], _: dict[str, Any], view_id: str) -> flask.Response:
    """Remove a view.

    Any token of the seller with the scope `orders:write` may remove a shared view. Built-in views cannot be removed.
    """
    actions.delete_view(context().database, _author(query), view_id, flask.request.if_match)
    response = flask.Response(status=204)
    del response.headers["Content-Type"]  # of nothing
    return response


def _author(query: dict[str, Any]) -> ViewUser:
    who = caller()
    return ViewUser(
        seller_id=acting_seller(query.get("seller_id")), user=who.user, may_share="orders:write" in who.scopes
    )


def _answer(view: SavedView, status: int = 200, **headers: str) -> flask.Response:
    return json_response(view_text(view_json(view)), status, ETag=f'"{view.version}"', **headers)

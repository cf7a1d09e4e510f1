# Marshmallow leaves out the type of its messages.
# pyright: reportUnknownArgumentType=false
"""The wire shape of views, and what of a stored one no longer fits it."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

import orjson
from marshmallow import ValidationError, validates_schema

from service.errors import FieldError, InvalidRequest
from service.fields import Boolean, Choice, Integer, List, Nested, Text, Timestamp
from service.input import DEFAULT_RESULTS_PER_PAGE, MAX_RESULTS_PER_PAGE, QueryBoolean
from service.orders.shapes import FIELD_PATHS
from service.problems import MAX_ERRORS, FieldErrorSchema
from service.saved_views.rules import (
    BUILT_IN_VIEWS,
    MAX_COLUMNS,
    MAX_PRIVATE_VIEWS,
    MAX_SHARED_VIEWS,
    SavedView,
    ViewDefinition,
    without,
)
from service.schema import Schema, field_errors
from service.search.requests import filter_of
from service.search.rules import DEFAULT_SORT, SORTS
from service.search.schemas import OrderFilterSchema, SearchWords

MAX_VIEWS = len(BUILT_IN_VIEWS) + MAX_SHARED_VIEWS + MAX_PRIVATE_VIEWS
MAX_NAME_LENGTH = 100
# Neither control characters nor spaces at the ends, in ASCII: patterns cannot name the rest of them, which
# `_refuse_unseen` knows.
VIEW_NAME = r"^[^\x00-\x20\x7f]([^\x00-\x1f\x7f]*[^\x00-\x20\x7f])?$"


def _saved_name(name: str) -> str:
    """Return a name as it is saved: in one spelling, so that names that look alike are alike."""
    return unicodedata.normalize("NFC", name)


def _refuse_unseen(name: str) -> None:
    if name != name.strip():
        raise ValidationError("must neither begin nor end with white space")
    if any(unicodedata.category(character) in {"Cc", "Cf"} for character in name):
        raise ValidationError("must not hold control or format characters, which nobody sees")
    if len(_saved_name(name)) > MAX_NAME_LENGTH:
        raise ValidationError(f"must have up to {MAX_NAME_LENGTH} characters when composed (NFC)")


def _refuse_unknown_path(path: str) -> None:
    if path not in FIELD_PATHS:
        raise ValidationError(f"{path} is not a path of an order")


class ViewColumnSchema(Schema):
    """One column."""

    field = Text(
        "What the column shows: a path of the order, as in `fields`.",
        max_length=200,
        required=True,
        validate=_refuse_unknown_path,
        example="fulfillment.confirmBy",
    )
    width = Integer("How wide it is shown, in pixels.", minimum=20, maximum=2000, example=170)


class ViewDefinitionSchema(Schema):
    """What a user saves of a view. What is left out is not kept from the version before."""

    name = Text(
        "Unique among the user's private views, or among the seller's shared ones. Saved in Unicode's composed form "
        "(NFC); without control or format characters, and without white space at its ends.",
        max_length=MAX_NAME_LENGTH,
        pattern=VIEW_NAME,
        required=True,
        validate=_refuse_unseen,
        example="Late in Germany",
    )
    filters = Nested(
        OrderFilterSchema,
        "Which orders it finds: the parameters of the list of orders; lists as JSON lists. All orders when left out.",
        example={"shipmentIsLate": True, "marketplaceIds": ["A1PA6795UKMFR9"]},
    )
    columns = List(
        Nested(ViewColumnSchema),
        "What is answered of each order, in this order; the whole order when there are none.",
        max_items=MAX_COLUMNS,
        example=[{"field": "orderId", "width": 190}, {"field": "fulfillment.confirmBy"}],
    )
    sort = Choice(SORTS, f"`{DEFAULT_SORT}` when left out.", example="confirmBy")
    max_results_per_page = Integer(
        f"Orders in a page; {DEFAULT_RESULTS_PER_PAGE} when left out.",
        minimum=1,
        maximum=MAX_RESULTS_PER_PAGE,
        example=25,
    )
    is_shared = Boolean("Seen by all of the seller's tokens; private to the token's user when false or left out.")
    is_default = Boolean(
        "Shown first, by user interfaces. One of the user's private views can be, and one of the shared ones: the "
        "default before it is none any more."
    )

    @validates_schema
    def check(self, data: dict[str, Any], **_: object) -> None:
        """Refuse a column that is listed twice, and filters that contradict each other."""
        errors: dict[str, Any] = {}
        paths = [column["field"] for column in data.get("columns", ())]
        twice = [number for number, path in enumerate(paths) if path in paths[:number]]
        if twice:
            errors["columns"] = {number: {"field": ["is shown by a column before"]} for number in twice}
        try:
            filter_of(data.get("filters", {}))
        except InvalidRequest as problem:
            errors["filters"] = {error.parameter: [error.detail] for error in problem.errors}
        if errors:
            raise ValidationError(errors)


class SavedViewSchema(ViewDefinitionSchema):
    """A view."""

    view_id = Text("Identifier of the view: a UUID, or a word for a built-in view.", max_length=36, required=True)
    is_built_in = Boolean("Whether it comes with the service; nobody can change it.", required=True)
    errors = List(
        Nested(FieldErrorSchema),
        "What the view referred to and no longer exists; it is not shown otherwise. The view does not run until it is "
        "saved anew. Absent when it runs.",
        max_items=MAX_ERRORS,
    )
    version = Integer("Grows with every change of the view. Also the ETag.", minimum=1, required=True)
    created_time = Timestamp("When it was first saved. Absent for a built-in view.")
    last_updated_time = Timestamp("When it was last saved, or lost the default. Absent for a built-in view.")


class ViewListSchema(Schema):
    """The views of a user."""

    views = List(Nested(SavedViewSchema), "The views.", max_items=MAX_VIEWS, required=True)


_definition_schema = ViewDefinitionSchema()
# What a query may write loosely, space around words and a boolean as a word: a view answers it as the schema says.
_LOOSE = {
    str(field.data_key): name
    for name, field in OrderFilterSchema().fields.items()  # pyright: ignore[reportUnknownVariableType]  # of any type
    if isinstance(field, SearchWords | QueryBoolean)
}


def definition_errors(definition: ViewDefinition) -> list[FieldError]:
    """Return what of a stored definition this version of the service does not know."""
    try:
        _definition_schema.load(definition.as_json())
    except ValidationError as error:
        return list(field_errors(error.messages))
    return []


def read_definition(body: Mapping[str, Any], loaded: Mapping[str, Any]) -> ViewDefinition:
    """Return the definition in a body, from its text and from what the schema has loaded of it."""
    filters, read = body.get("filters", {}), loaded.get("filters", {})
    return ViewDefinition(
        name=_saved_name(body["name"]),
        filters=filters | {name: read[key] for name, key in _LOOSE.items() if key in read},
        columns=body.get("columns", []),
        sort=body.get("sort"),
        max_results_per_page=body.get("maxResultsPerPage"),
        is_shared=body.get("isShared", False),
        is_default=body.get("isDefault", False),
    )


def view_json(view: SavedView) -> dict[str, Any]:
    """Return a view as it is answered; of an outdated one what is left, so that it can be saved anew."""
    optional = {
        "errors": [error.as_dict() for error in view.errors[:MAX_ERRORS]],
        "createdTime": view.created_time,
        "lastUpdatedTime": view.last_updated_time,
    }
    return {
        "viewId": view.view_id,
        **without(view.definition, view.errors).as_json(),
        "isBuiltIn": view.is_built_in,
        "version": view.version,
        **{name: value for name, value in optional.items() if value},
    }


def view_text(document: object) -> str:
    """Return the JSON text of what `view_json` made."""
    return orjson.dumps(document, option=orjson.OPT_UTC_Z).decode()


VIEW: dict[str, Any] = {
    "name": "Late in Germany",
    "filters": {"shipmentIsLate": True, "marketplaceIds": ["A1PA6795UKMFR9"]},
    "columns": [{"field": "orderId", "width": 190}, {"field": "fulfillment.confirmBy", "width": 170}],
    "sort": "confirmBy",
    "maxResultsPerPage": 25,
    "isShared": False,
    "isDefault": True,
}
SAVED_VIEW: dict[str, Any] = {
    "viewId": "3f0d6c2e-6f0e-4b7e-9a55-0d9f3c1b7a42",
    **VIEW,
    "isBuiltIn": False,
    "version": 3,
    "createdTime": "2026-03-02T09:15:31.041772Z",
    "lastUpdatedTime": "2026-03-06T16:20:41.120934Z",
}

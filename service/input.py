# Webargs has no types.
# pyright: reportUnknownArgumentType=false, reportUnknownVariableType=false
"""Strict input: what a request may hold, and where exactly it does not fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn, Unpack

import flask
import orjson
from marshmallow import EXCLUDE, ValidationError, pre_load
from webargs.flaskparser import FlaskParser
from webargs.multidictproxy import MultiDictProxy

from service.errors import (
    FieldError,
    InvalidRequest,
    MalformedRequest,
    PreconditionRequired,
    RequestTooLarge,
    UnsupportedMediaType,
)
from service.fields import Boolean, Integer, Leaf, List, Text
from service.schema import Documented, Schema, field_errors

MAX_QUERY_VALUES = 50
MAX_RESULTS_PER_PAGE = 100
DEFAULT_RESULTS_PER_PAGE = 50
PAGE_TOKEN_EXAMPLE = "WyI0ZjUzY2RhMThjMmJhYTBjMDM1NGJiNWY5YTNlY2JlNSJd.bGV0dGVycw"  # noqa: S105  # an example


class QueryInteger(Integer):
    """Whole number written in a query."""

    def _read(self, value: object) -> int:
        if not isinstance(value, str) or not value.isascii() or not value.isdigit() or len(value) > len("2147483647"):
            raise ValidationError(f"must be a whole number from {self.minimum} to {self.maximum}")
        return super()._read(int(value))


class QueryBoolean(Boolean):
    """True or false, as a word in a query or as itself in JSON."""

    def _read(self, value: object) -> bool:
        return super()._read({"true": True, "false": False}.get(value, value) if isinstance(value, str) else value)


class QueryList(List[Any]):
    """Values in a query, repeated or separated by commas."""

    def __init__(self, inner: Leaf[Any], description: str = "", **options: Unpack[Documented]) -> None:
        super().__init__(inner, description, max_items=MAX_QUERY_VALUES, min_items=1, **options)

    def _deserialize(
        self, value: object, attr: str | None, data: Mapping[str, Any] | None, **kwargs: object
    ) -> list[Any]:
        # Only a query writes several values as one: in JSON a comma belongs to the value.
        if isinstance(value, list) and isinstance(data, MultiDictProxy):
            value = [part for text in value for part in str(text).split(",")]
        return super()._deserialize(value, attr, data, **kwargs)


class PageQuery(Schema):
    """Query of every operation that answers with a page."""

    max_results_per_page = QueryInteger(
        "Results in a page; 50 when left out.", minimum=1, maximum=MAX_RESULTS_PER_PAGE, example=50
    )
    pagination_token = Text(
        "The `nextToken` or `previousToken` of a page.", max_length=4000, example=PAGE_TOKEN_EXAMPLE
    )


class PaginationSchema(Schema):
    """Where the neighbours of a page begin."""

    next_token = Text("Send it as `paginationToken`, with the same filters; absent on the last page.", max_length=4000)
    previous_token = Text("The same for the page before; absent on the first page.", max_length=4000)


class IfMatchSchema(Schema):
    """The version that a change is meant for."""

    class Meta:
        """A request has many headers."""

        unknown = EXCLUDE

    if_match = Text(
        "The `ETag` of what is to be changed, as it was read; `*` for whatever it is now.",
        data_key="If-Match",
        max_length=200,
        required=True,
        example='"3"',
    )

    @pre_load
    def demand(self, headers: Mapping[str, str], **_: object) -> Mapping[str, str]:
        """Refuse a change that may undo another's."""
        if not headers.get("If-Match"):
            raise PreconditionRequired(
                "send the ETag of what is to be changed", FieldError("is required", header="If-Match")
            )
        return headers


VERSION_ETAG: Mapping[str, Any] = {
    "ETag": {"description": "The version, as `If-Match` takes it.", "schema": {"type": "string"}}
}


def whole_body(request: flask.Request, *, cache: bool = True) -> bytes:
    """Return the body of a request. What was cut, on its way or at the limit, is never taken for the whole.

    Raises `MalformedRequest` and `RequestTooLarge`.
    """
    body, length, limit = request.get_data(cache=cache), request.content_length, request.max_content_length
    # Servers end a body where the connection does, and werkzeug one without a length at the limit: neither says so.
    if length is not None and len(body) < length:
        raise MalformedRequest(
            "the body was cut off", FieldError(f"{len(body)} of {length} bytes came", header="Content-Length")
        )
    if length is None and limit is not None and len(body) >= limit:
        raise RequestTooLarge("send less at a time")
    return body


class Parser(FlaskParser):
    """Refuses what it does not know, and says where each fault is."""

    DEFAULT_UNKNOWN_BY_LOCATION: dict[str, str | None] = {}  # noqa: RUF012  # typed so by webargs; schemas decide

    def load_json(self, req: flask.Request, schema: Any) -> Any:  # noqa: ANN401  # webargs gives them no type
        """Read the body with a parser that refuses NaN, lone surrogates and deep nesting.

        No body stands for an empty object where that is enough.
        """
        needs_body = any(field.required for field in schema.fields.values())
        if not needs_body and req.content_length in {None, 0} and not whole_body(req):
            return {}
        if req.mimetype != "application/json":
            raise UnsupportedMediaType("send the body as application/json")
        try:
            flask.g.json_body = orjson.loads(whole_body(req))
        except orjson.JSONDecodeError as error:
            raise MalformedRequest("the body is not JSON", FieldError(str(error), pointer="")) from error
        return flask.g.json_body

    def load_querystring(self, req: flask.Request, schema: Any) -> Any:  # noqa: ANN401  # webargs gives them no type
        """Read the query; a parameter that is no list may come once only."""
        for name, values in req.args.lists():
            field = next((each for each in schema.fields.values() if each.data_key == name), None)
            if len(values) > 1 and field is not None and not isinstance(field, List):
                error = FieldError("is given more than once", parameter=name)
                raise InvalidRequest("a parameter is ambiguous", error)
        return MultiDictProxy(req.args, schema)

    def handle_error(self, error: ValidationError, req: flask.Request, schema: Any, **_: object) -> NoReturn:  # noqa: ANN401, ARG002  # webargs gives them no type
        """Turn marshmallow's nested messages into a flat list of places."""
        ((location, messages),) = error.normalized_messages().items()
        errors = list(field_errors(messages))
        if location == "query":
            errors = [FieldError(each.detail, parameter=_parameter(each.pointer or "/")) for each in errors]
        elif location == "headers":
            errors = [FieldError(each.detail, header=(each.pointer or "/")[1:]) for each in errors]
        raise InvalidRequest("the input does not fit the contract", *errors) from error


def _parameter(pointer: str) -> str:
    """Return the parameter that a pointer into a query is about: `/name`, or `/name/2` for its third value."""
    return pointer.split("/")[1].replace("~1", "/").replace("~0", "~")

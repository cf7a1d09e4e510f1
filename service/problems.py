# Flask-smorest has no types.
# pyright: reportUnknownArgumentType=false, reportUnknownVariableType=false
"""Problems (RFC 9457) over HTTP: how they are rendered and documented."""

from __future__ import annotations

import http
from collections.abc import Mapping
from typing import Any

import flask
import orjson
import structlog
from werkzeug.exceptions import HTTPException

from service.errors import (
    TYPE_PREFIX,
    FieldError,
    Forbidden,
    InternalError,
    InvalidRequest,
    MalformedRequest,
    MethodNotAllowed,
    NotFound,
    Overloaded,
    Problem,
    RequestTooLarge,
    SellerNotFound,
    Unauthenticated,
    UnsupportedMediaType,
)
from service.fields import Integer, List, Nested, Text
from service.schema import Schema

PROBLEM_JSON = "application/problem+json"
OPERATIONS, OPERATIONS_READ = "operations", "operations:read"
# What a problem tells at most: it repeats the sender's own words, and those may be long.
MAX_ERRORS = 100
MAX_TEXT = 2000

# Documented by hand, for what no schema reads costs a request nothing.
IF_NONE_MATCH: Mapping[str, Any] = {
    "in": "header",
    "name": "If-None-Match",
    "description": "The `ETag` of an answer: 304, without a body, if it would be the same again.",
    "schema": {"type": "string", "examples": ['"1f0c6f4bbd2a4f0e9f5b0d6c3a7e8b21"']},
}

_log = structlog.stdlib.get_logger("service.api")


class FieldErrorSchema(Schema):
    """One thing that is wrong, and where."""

    detail = Text("What is wrong, and what would be right.", max_length=MAX_TEXT, required=True)
    pointer = Text(
        "JSON pointer into the request body: `/orderItems/0/quantity`; empty for the body itself. Of a row of a flat "
        "file the name of its column stands there: `/ship-date`.",
        max_length=MAX_TEXT,
        min_length=0,
    )
    parameter = Text("Name of a query parameter.", max_length=MAX_TEXT, min_length=0)
    header = Text("Name of a header.", max_length=100)


class ProblemSchema(Schema):
    """Why a request was refused (RFC 9457)."""

    type = Text("URN that names the cause and never changes.", required=True)
    title = Text("The cause, for people.", required=True)
    status = Integer("The status code again.", required=True)
    detail = Text("What happened here, and what would be right.", max_length=MAX_TEXT, required=True)
    request_id = Text("Also in the X-Request-Id header and in the logs.", required=True)
    errors = List(Nested(FieldErrorSchema), "The faults found in the input, the first 100.", max_items=MAX_ERRORS)


def document_problems(doc: dict[str, Any], doc_info: Mapping[str, Any], **_: object) -> dict[str, Any]:
    """Add the scope that an operation needs, and its error responses, each problem an example of its status."""
    found: list[type[Problem]] = [*doc_info.get("problems", ()), InternalError]
    if "requestBody" in doc:
        found += [MalformedRequest, RequestTooLarge, UnsupportedMediaType]
    scope = doc_info.get("scope")
    if scope is not None:
        doc["security"] = [{"bearer": [scope]}]
        told = doc_info["docstring"]
        told["description"] = "\n\n".join(filter(None, [told.get("description"), f"Needs the scope `{scope}`."]))
        found += [Unauthenticated, Forbidden, InvalidRequest, Overloaded]
        if scope not in {OPERATIONS, OPERATIONS_READ}:
            found.append(SellerNotFound)
    responses = {str(int(status)): each for status, each in doc.get("responses", {}).items()}
    if str(int(http.HTTPStatus.NOT_MODIFIED)) in responses:
        doc.setdefault("parameters", []).append(IF_NONE_MATCH)
    responses.pop(str(int(http.HTTPStatus.UNPROCESSABLE_ENTITY)), None)  # flask-smorest's own, of another shape
    # What is written by hand is put in later.
    responses = {status: {} for status in doc_info.get("manual_doc", {}).get("responses", ())} | responses
    for problem in sorted(set(found), key=lambda each: (each.status, each.code)):
        response = responses.setdefault(
            str(problem.status),
            {
                "description": http.HTTPStatus(problem.status).phrase,
                "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": {}}},
            },
        )
        example: dict[str, Any] = {
            "type": TYPE_PREFIX + problem.code,
            "title": problem.title,
            "status": problem.status,
            "detail": f"the token lacks the scope {scope}" if problem is Forbidden else problem.example,
            "requestId": "0f8fad5b-d9cb-469f-a165-70867728950e",
        }
        errors = _invalid_request_errors(doc) if problem is InvalidRequest else problem.example_errors
        if errors:
            example["errors"] = [error.as_dict() for error in errors]
        response["content"][PROBLEM_JSON]["examples"][problem.code] = {"summary": problem.title, "value": example}
    doc["responses"] = dict(sorted(responses.items()))
    return doc


def _invalid_request_errors(doc: Mapping[str, Any]) -> list[FieldError]:
    """Return what can be wrong with the input of an operation: its body, and a parameter."""
    errors = [FieldError("is not a known field", pointer="/colour")] if "requestBody" in doc else []
    queries = [each for each in doc.get("parameters", ()) if isinstance(each, dict) and each.get("in") == "query"]
    return [*errors, FieldError("is not a known field", parameter="colour")] if queries or not errors else errors


_HTTP_PROBLEMS: Mapping[int, Problem] = {
    400: MalformedRequest("the request could not be understood"),
    404: NotFound("there is nothing at this address"),
    405: MethodNotAllowed("see the Allow header"),
    413: RequestTooLarge("send less at a time"),
    414: RequestTooLarge("the address is too long"),
    415: UnsupportedMediaType("send the body as application/json"),
}


def problem_of(error: HTTPException) -> Problem:
    """Return as a problem what Flask or werkzeug refuse, or what broke."""
    code = error.code or http.HTTPStatus.INTERNAL_SERVER_ERROR
    if code < http.HTTPStatus.INTERNAL_SERVER_ERROR:
        return _HTTP_PROBLEMS.get(code, _HTTP_PROBLEMS[http.HTTPStatus.BAD_REQUEST])
    return InternalError("the fault is recorded under the request id")


def render_problem(problem: Problem) -> flask.Response:
    """Return a problem as a response."""
    body = {
        "type": problem.type,
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail[:MAX_TEXT],
        "requestId": flask.g.get("request_id", "none"),
    }
    if problem.errors:
        body["errors"] = [
            {name: text[:MAX_TEXT] for name, text in error.as_dict().items()} for error in problem.errors[:MAX_ERRORS]
        ]
    response = flask.Response(orjson.dumps(body), problem.status, content_type=PROBLEM_JSON)
    if problem.status == http.HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = 'Bearer realm="manage-orders"'
    if problem.retry_after_s is not None:
        response.headers["Retry-After"] = str(problem.retry_after_s)
    if problem.status >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
        _log.error("refused", problem=problem.code, detail=problem.detail, exc_info=problem.__cause__)
    return response

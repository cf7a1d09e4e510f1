# Flask-smorest and webargs have no types.
# pyright: reportUnknownArgumentType=false, reportUnknownVariableType=false, reportUnknownMemberType=false
"""The HTTP dialect shared by every feature: strict input, bearer tokens, problem+json, and their documentation."""

from __future__ import annotations

import hashlib
import http
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import flask
import flask_smorest
import structlog
from flask_smorest.spec.plugins import FlaskPlugin
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Rule

from service.database import Database
from service.errors import FieldError, Forbidden, InvalidRequest, Problem, SellerNotFound, Unauthenticated
from service.fields import Text
from service.input import Parser
from service.pagination import PageTokens
from service.problems import OPERATIONS, OPERATIONS_READ, ProblemSchema, document_problems, problem_of, render_problem
from service.schema import Schema, camel_case
from service.settings import Settings

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose token came with the request: a seller's, or an operator's when `seller_id` is None."""

    token_id: str
    seller_id: str | None
    token_name: str
    scopes: frozenset[str]

    @property
    def actor(self) -> str:
        """Return how events name the caller."""
        return f"token:{self.token_id}"

    @property
    def user(self) -> str:
        """Return whose private views the caller sees. Tokens of one name are one user: one can replace another."""
        return f"{'operator' if self.seller_id is None else 'seller'}:{self.token_name}"


@dataclass(frozen=True, slots=True)
class Context:
    """What views work with; one for each application, under `app.extensions["manage-orders"]`."""

    settings: Settings
    database: Database
    page_tokens: PageTokens
    authenticate: Callable[[str], Caller | None]
    seller_exists: Callable[[str], bool]
    find_view: Callable[[str, str, str], Any]  # a ViewRequest, of which the ground knows nothing


def context() -> Context:
    """Return the context of the application that handles the request."""
    return flask.current_app.extensions["manage-orders"]


def caller() -> Caller:
    """Return who is calling; only in views that require a scope."""
    return flask.g.caller


def acting_seller(named: str | None) -> str:
    """Return the seller the request is about: the token's own, or the one that an operator names with `sellerId`."""
    own = caller().seller_id
    if own is None and named is None:
        raise InvalidRequest(
            "an operator's token belongs to no seller", FieldError("name the seller", parameter="sellerId")
        )
    if named is not None and named != own and (own is not None or not context().seller_exists(named)):
        raise SellerNotFound(
            f"there is no seller {named} for this token", FieldError("not known", parameter="sellerId")
        )
    return own or named or ""


class SellerQuery(Schema):
    """Query of every operation on a seller's data."""

    seller_id = Text(
        "The seller, when the token is an operator's.",
        max_length=64,
        pattern=r"^[A-Za-z0-9._-]{1,64}$",
        example="A1SELLER",
    )


class Blueprint(flask_smorest.Blueprint):
    """A blueprint whose operations state the scope they need and every problem they answer with."""

    ARGUMENTS_PARSER = Parser()

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  # passed on
        super().__init__(*args, **kwargs)
        self._prepare_doc_cbks.append(document_problems)

    def _store_endpoint_docs(self, endpoint: str, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  # passed on
        """Name the operation as its view is named, in camelCase."""
        super()._store_endpoint_docs(endpoint, *args, **kwargs)
        for method, doc in self._docs[endpoint].items():
            if method != "parameters":
                doc["manual_doc"] = {"operationId": camel_case(endpoint)} | doc.get("manual_doc", {})

    def requires(self, scope: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Let only callers in whose token has the scope."""

        def decorator(view: Callable[P, R]) -> Callable[P, R]:
            doc = dict(getattr(view, "_apidoc", {}))
            has_query, has_body = "query" in _locations(doc), _has_body(doc)

            @wraps(view)
            def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
                flask.g.caller = _authenticate(scope)
                if not has_query and flask.request.args:
                    errors = [FieldError("is not a known field", parameter=name) for name in flask.request.args]
                    raise InvalidRequest("the operation takes no parameters", *errors)
                if not has_body and (flask.request.content_length or flask.request.stream.read(1)):
                    raise InvalidRequest("the operation takes no body", FieldError("must be left out", pointer=""))
                return view(*args, **kwargs)

            wrapper.__dict__["_apidoc"] = doc | {"scope": scope}
            return wrapper

        return decorator

    @staticmethod
    def problems(*problems: type[Problem]) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Document the domain's own refusals; those that every operation shares come by themselves."""

        def decorator(view: Callable[P, R]) -> Callable[P, R]:
            view.__dict__["_apidoc"] = dict(getattr(view, "_apidoc", {})) | {"problems": problems}
            return view

        return decorator


def _authenticate(scope: str) -> Caller:
    scheme, _, token = flask.request.headers.get("Authorization", "").partition(" ")
    found = context().authenticate(token.strip()) if scheme.lower() == "bearer" and token else None
    if found is None:
        raise Unauthenticated("send a valid token", FieldError("Bearer <token>", header="Authorization"))
    structlog.contextvars.bind_contextvars(token_id=found.token_id, caller_seller_id=found.seller_id)
    # Who may steer the job may look at it.
    is_implied = scope == OPERATIONS_READ and OPERATIONS in found.scopes
    if scope not in found.scopes and not is_implied:
        raise Forbidden(f"the token lacks the scope {scope}")
    return found


def _locations(doc_info: Mapping[str, Any]) -> list[str]:
    return [each["in"] for each in doc_info.get("arguments", {}).get("parameters", [])]


def _has_body(doc_info: Mapping[str, Any]) -> bool:
    return "json" in _locations(doc_info) or "requestBody" in doc_info.get("manual_doc", {})


class PathPlugin(FlaskPlugin):
    """Documents the parts of an address in camelCase, each described by its converter."""

    @staticmethod
    def flaskpath2openapi(path: str) -> str:
        """Return a Flask rule as a path of the document."""
        return re.sub(r"<(?:\w+:)?(\w+)>", lambda part: "{" + camel_case(part[1]) + "}", path)

    def rule_to_params(self, rule: Rule) -> list[dict[str, Any]]:
        """Return the parameters of a rule; the description that a converter gives belongs to the parameter."""
        return [
            each | {"name": camel_case(each["name"]), "description": each["schema"].pop("description")}
            for each in super().rule_to_params(rule)
        ]


class Api(flask_smorest.Api):
    """The documented API; every error leaves it as problem+json."""

    ERROR_SCHEMA = ProblemSchema
    DEFAULT_ERROR_RESPONSE_NAME = None

    def init_app(self, app: flask.Flask, **kwargs: Any) -> None:  # noqa: ANN401  # passed on
        """Register the schema of problems, the token scheme, and the handlers."""
        super().init_app(app, spec_kwargs={"flask_plugin": PathPlugin()}, **kwargs)
        components = self.spec.components  # pyright: ignore[reportAttributeAccessIssue]  # made just now
        components.schema("Problem", schema=ProblemSchema)
        components.security_scheme(
            "bearer",
            {"type": "http", "scheme": "bearer", "description": "A token made with `manage-orders tokens create`."},
        )
        app.register_error_handler(Problem, render_problem)

    def describe(self, name: str, schema: Mapping[str, Any]) -> None:
        """Add a schema to the document that is written as JSON schema."""
        self.spec.components.schema(name, dict(schema))  # pyright: ignore[reportAttributeAccessIssue]  # made by now

    def _register_responses(self) -> None:
        """Register none: operations bring their own problems."""

    def _register_pagination_header(self) -> None:
        """Register none: pages are described by their bodies."""

    def _register_etag_headers(self) -> None:
        """Register none: conditional operations say so themselves."""

    def handle_http_exception(self, error: HTTPException) -> flask.Response:  # pyright: ignore[reportIncompatibleMethodOverride]  # typed as it happens to answer
        """Say as a problem what Flask and werkzeug refuse, and what broke."""
        response = render_problem(problem_of(error))
        for name, value in error.get_headers():
            if name.lower() in {"allow", "retry-after"}:
                response.headers[name] = value
        return response


def conditional_response(body: bytes, content: bytes, *, weak: bool = False) -> flask.Response:
    """Return JSON with the `ETag` of its content; nothing but 304 to who has it (`If-None-Match`)."""
    response = json_response(body)
    tag = hashlib.sha256(content).hexdigest()[:32]
    response.set_etag(tag, weak=weak)
    if flask.request.if_none_match.contains_weak(tag):
        response.status_code = http.HTTPStatus.NOT_MODIFIED
        response.set_data("")
    return response


ETAG: Mapping[str, Any] = {
    "ETag": {"description": "Stands for the content.", "schema": {"type": "string", "maxLength": 100}}
}

LOCATION: Mapping[str, Any] = {
    "Location": {"description": "Where it is from now on.", "schema": {"type": "string", "maxLength": 200}}
}


def json_response(text: str | bytes, status: int = 200, **headers: str) -> flask.Response:
    """Return JSON that is text already."""
    return flask.Response(text, status, headers, content_type="application/json")

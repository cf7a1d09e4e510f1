"""The HTTP application, put together."""

from __future__ import annotations

import functools
import re
import time
import uuid
from importlib.metadata import version
from typing import Any

import flask
import orjson
import structlog
from flask_swagger_ui import get_swaggerui_blueprint  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]  # has no types

from service import health
from service.account_home import routes as account_home
from service.api import Api, Caller, Context, json_response
from service.cancellation import routes as cancellation
from service.cancellation_job import job_routes as cancellation_job
from service.cancellation_job import routes as cancellation_runs
from service.confirmation_batches import routes as confirmation_batches
from service.database import Database
from service.deadlines import changes_routes as deadline_extensions
from service.deadlines import policy_routes as marketplaces
from service.deadlines import window_routes as windows
from service.events import routes as events
from service.export import routes as export
from service.ingest import routes as ingest
from service.monitoring import routes as monitoring
from service.orders import routes as orders
from service.orders.sparse_schemas import SPARSE_ORDER, SPARSE_ORDER_SCHEMA
from service.pagination import PageTokens
from service.paths import CONVERTERS, SCHEMAS, path_schema
from service.payments import routes as payments
from service.sandbox import routes as sandbox
from service.saved_views import routes as saved_views
from service.saved_views.actions import find_view
from service.saved_views.schemas import definition_errors
from service.search import routes as search
from service.sellers.actions import authenticate, seller_exists
from service.settings import Settings
from service.shipments import routes as shipments
from service.tracking import routes as tracking

DOCUMENTATION_PATH = "/docs"
DOCUMENT_PATH = "/openapi.json"

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_log = structlog.stdlib.get_logger("service.http")


def create_app(settings: Settings) -> flask.Flask:
    """Return the application. It opens no connection before the first request."""
    app = flask.Flask("service", static_folder=None)
    app.config.update(
        API_TITLE="Manage Orders",
        API_VERSION=version("manage-orders"),
        OPENAPI_VERSION="3.1.0",
        MAX_CONTENT_LENGTH=settings.max_request_bytes,
        API_SPEC_OPTIONS={
            "info": {"description": _DESCRIPTION, "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}}
        },
    )
    app.json.sort_keys = False  # pyright: ignore[reportAttributeAccessIssue]  # Flask's own provider has it
    app.url_map.converters |= CONVERTERS
    database = Database(settings, pool_size=settings.threads)
    app.extensions["manage-orders"] = Context(
        settings,
        database,
        PageTokens(settings.secret_key),
        lambda token: _caller(database, settings, token),
        lambda seller_id: seller_exists(database, seller_id),
        lambda seller_id, user, view_id: find_view(database, definition_errors, seller_id, user, view_id),
    )
    api = Api(app)
    for converter in SCHEMAS:
        api.register_converter(converter, path_schema)
    api.describe(SPARSE_ORDER, SPARSE_ORDER_SCHEMA)
    for feature in (
        search,
        orders,
        events,
        account_home,
        saved_views,
        export,
        ingest,
        shipments,
        tracking,
        confirmation_batches,
        payments,
        cancellation,
        cancellation_job,
        cancellation_runs,
        marketplaces,
        windows,
        deadline_extensions,
        *([sandbox] if settings.sandbox else []),
        monitoring,
        health,
    ):
        api.register_blueprint(feature.blueprint)
    _serve_documentation(app)
    app.before_request(_begin)
    app.after_request(_end)
    app.teardown_request(_forget)
    return app


_DESCRIPTION = """Find any order of a seller, confirm shipments, and see what is cancelled because it was not confirmed
in time. The words are those of the Selling Partner API, Orders 2026-01-01; what an order has beside them says so.
Operations that it does not have, such as refunds, files of confirmations and the account home, are our own.

Send `Authorization: Bearer <token>`. An operator's token names the seller with `sellerId`. Errors are
`application/problem+json` (RFC 9457) with a `type` that never changes; beside those of the operations there are
`urn:manage-orders:problem:not-found`, for an address that does not exist, and
`urn:manage-orders:problem:method-not-allowed`, whose `Allow` header names the methods that the address has.

Each operation names the scope that a token needs for it. A seller's token has the first five unless it was made with
others; an operator's has all.

- `orders:read`: find, show and export orders, and keep views of them
- `orders:write`: send orders, and share views
- `shipments:write`: confirm shipments, by the order or by the file, and correct packages
- `refunds:write`: refund
- `cancellations:write`: cancel orders
- `channel:write`: tell that a buyer asks to cancel, or no longer does
- `tracking:write`: tell how far packages have got
- `operations:read`: for operators only: see what the cancellation job does, and its runs
- `operations`: for operators only: the same, and run, pause and approve the job, set policies, extend deadlines, have
  charges tried again, move a sandbox's clock

The operations tagged `sandbox` exist in sandbox mode only; elsewhere their addresses are not found."""


def _caller(database: Database, settings: Settings, token: str) -> Caller | None:
    found = authenticate(database, settings.secret_key, token)
    return (
        None
        if found is None
        else Caller(str(found.token_id), found.seller_id, found.token_name, frozenset(found.scopes))
    )


def openapi_document(app: flask.Flask) -> str:
    """Return the OpenAPI document of an application, as it is served and committed."""
    api: Api = app.extensions["flask-smorest"]["apis"][""]["ext_obj"]
    document: dict[str, Any] = api.spec.to_dict()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType]  # made when the API was
    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()


def _serve_documentation(app: flask.Flask) -> None:
    document = functools.cache(lambda: openapi_document(app))
    app.add_url_rule(DOCUMENT_PATH, "openapi", lambda: json_response(document()))
    options = {"app_name": "Manage Orders", "validatorUrl": None, "displayRequestDuration": True}
    page = get_swaggerui_blueprint(DOCUMENTATION_PATH, DOCUMENT_PATH, config=options)
    page.after_request(_load_from_here_only)
    app.register_blueprint(page)


def _load_from_here_only(response: flask.Response) -> flask.Response:
    # The page's own script and styles are inline.
    response.headers["Content-Security-Policy"] = "default-src 'self' 'unsafe-inline' data:"
    return response


def _begin() -> None:
    sent = flask.request.headers.get("X-Request-Id", "")
    flask.g.request_id = sent if _REQUEST_ID.fullmatch(sent) else str(uuid.uuid4())
    flask.g.started = time.perf_counter()
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=flask.g.request_id)


def _forget(_: BaseException | None) -> None:
    # The thread goes on to other work, which is not this request's.
    structlog.contextvars.clear_contextvars()


def _end(response: flask.Response) -> flask.Response:
    response.headers["X-Request-Id"] = flask.g.request_id
    rule = flask.request.url_rule
    # The rule and not the address: a query may hold what somebody searched for.
    _log.info(
        "request",
        method=flask.request.method,
        route=rule.rule if rule else None,
        status=response.status_code,
        duration_ms=round(1000 * (time.perf_counter() - flask.g.started), 1),
    )
    return response

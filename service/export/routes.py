"""Export orders."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import flask
import structlog
from flask.blueprints import BlueprintSetupState

from service.api import Blueprint, context
from service.export.actions import Export
from service.export.actions import export_orders as write_orders
from service.export.schemas import EXPORT_RESPONSE, ExportQuery, file_of
from service.export.slots import SLOTS, Slots, limit_sending
from service.search.requests import selected

blueprint = Blueprint("export", __name__, description="Orders leave as files.")
_log = structlog.stdlib.get_logger("service.export")


@blueprint.record
def _limit_exports(state: BlueprintSetupState) -> None:
    """Leave half of the threads, and of the connections, of a process to other requests."""
    threads = state.app.extensions["manage-orders"].settings.threads
    state.app.extensions[SLOTS] = Slots(max(1, threads // 2))


@blueprint.get("/v1/orders/export")
@blueprint.requires("orders:read")
@blueprint.arguments(ExportQuery(), location="query")
@blueprint.doc(responses={"200": EXPORT_RESPONSE})
def export_orders(query: dict[str, Any]) -> flask.Response:
    """Write the orders of a list to a file, of any size, all as they were at one instant."""
    file_format, layout = file_of(query)
    selection = selected(query)
    response = flask.Response(iter(()), content_type=f"{file_format.media_type}; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="{layout or "orders"}.{file_format}"'
    response.vary.add("Accept-Encoding")
    export = Export(
        seller_id=selection.seller_id,
        filters=selection.filters,
        sort=selection.sort,
        shape=selection.shape,
        columns=selection.columns,
        file_format=file_format,
        layout=layout,
        is_gzipped=_prefers_gzip(),
    )
    if export.is_gzipped:
        response.headers["Content-Encoding"] = "gzip"
    if flask.request.method != "HEAD":
        contents = _limited(export, flask.current_app.extensions[SLOTS])
        # What fails up to the first chunk is answered as a problem. Later only a cut connection can tell.
        response.response = _sent(next(contents, b""), contents, flask.g.request_id)
        response.call_on_close(contents.close)
        limit_sending()
    return response


def _prefers_gzip() -> bool:
    accepted = flask.request.accept_encodings
    return accepted.quality("gzip") > 0 and accepted.quality("gzip") >= accepted.quality("identity")


def _limited(export: Export, slots: Slots) -> Generator[bytes]:
    """Yield the file, with one of the slots until the end."""
    database = context().database
    with slots.taken_by(export.seller_id):
        yield from write_orders(database, export)


def _sent(first: bytes, contents: Iterator[bytes], request_id: str) -> Iterator[bytes]:
    try:
        yield first
        yield from contents
    except Exception:
        _log.exception("export broke off", request_id=request_id)
        raise

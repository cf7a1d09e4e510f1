"""Confirm shipments by the file."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from datetime import datetime
from itertools import chain, islice
from typing import Any
from uuid import UUID

import flask
import orjson

from service.api import LOCATION, Blueprint, SellerQuery, acting_seller, caller, context, json_response
from service.confirmation_batches import actions, queries
from service.confirmation_batches.result_file import result_lines
from service.confirmation_batches.row_schemas import read_flat_batch, read_json_batch
from service.confirmation_batches.rules import RowResult
from service.confirmation_batches.schemas import (
    CONFIRMATION_BATCH,
    JSON,
    NEW_BATCH,
    REQUEST_BODY,
    RESULTS_RESPONSE,
    TSV,
    BatchListQuery,
    BatchResultsQuery,
    ConfirmationBatchPageSchema,
    ConfirmationBatchSchema,
    batch_json,
    format_of,
    row_json,
)
from service.errors import (
    BatchNotFound,
    BatchUnreadable,
    FieldError,
    MalformedRequest,
    RequestTooLarge,
    UnsupportedMediaType,
)
from service.export.slots import SLOTS, Slots, limit_sending
from service.input import DEFAULT_RESULTS_PER_PAGE, PAGE_TOKEN_EXAMPLE, whole_body

LINES_AT_A_TIME = 500

blueprint = Blueprint("files of confirmations", __name__, description="Shipments are confirmed by the file.")


def _seller_of(query: dict[str, Any]) -> str | None:
    """Return the seller that the request is about, None for an operator who names none."""
    named = query.get("seller_id")
    return None if caller().seller_id is None and named is None else acting_seller(named)


@blueprint.post("/v1/shipment-confirmation-batches")
@blueprint.requires("shipments:write")
@blueprint.arguments(SellerQuery(), location="query")
@blueprint.doc(requestBody=REQUEST_BODY)
@blueprint.response(
    202,
    ConfirmationBatchSchema(),
    description="The file is stored, and is worked.",
    headers=LOCATION,
    example=NEW_BATCH,
)
@blueprint.problems(BatchUnreadable, MalformedRequest, RequestTooLarge, UnsupportedMediaType)
def create_confirmation_batch(query: dict[str, Any]) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Confirm the shipments of up to 100,000 rows, as JSON or as a flat-file shipping confirmation.

    Rows of one order that agree in all but the items are one package, which is confirmed whole or not at all; a row
    that is refused stops no other package. The same file again confirms nothing twice. Operators name the seller here,
    or in each row. What came of it is told by the job that `Location` names, once its `state` is DONE.
    """
    seller_id, body = _seller_of(query), _body()
    columns, rows = (None, read_json_batch(body)) if flask.request.mimetype == JSON else read_flat_batch(body)
    batch = actions.create_batch(context().database, seller_id, caller().actor, columns, rows)
    told = batch_json(batch)
    return told, 202, {"Location": told["links"]["self"]}


def _body() -> bytes:
    request = flask.request
    if request.mimetype not in {JSON, TSV}:
        raise UnsupportedMediaType(
            f"send the body as {JSON} or {TSV}", FieldError(f"must be {JSON} or {TSV}", header="Content-Type")
        )
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType(
            "send the body as it is, without compression", FieldError("must be left out", header="Content-Encoding")
        )
    request.max_content_length = context().settings.max_batch_bytes
    return whole_body(request, cache=False)


@blueprint.get("/v1/shipment-confirmation-batches")
@blueprint.requires("orders:read")
@blueprint.arguments(BatchListQuery(), location="query")
@blueprint.response(
    200,
    ConfirmationBatchPageSchema(),
    example={"batches": [CONFIRMATION_BATCH], "pagination": {"nextToken": PAGE_TOKEN_EXAMPLE}},
)
def list_confirmation_batches(query: dict[str, Any]) -> dict[str, Any]:
    """List the files of confirmations, the newest first."""
    seller_id, after = _seller_of(query), None
    limit: int = query.get("max_results_per_page", DEFAULT_RESULTS_PER_PAGE)
    tokens, scope = context().page_tokens, ["confirmation-batches", seller_id]
    if "pagination_token" in query:
        created_time, batch_id = tokens.decode(scope, query["pagination_token"])
        after = datetime.fromisoformat(created_time), UUID(batch_id)
    with actions.rows_seen_by(context().database, seller_id) as connection:
        batches = queries.find_batches(connection, after, limit + 1)
    page: dict[str, Any] = {"batches": [batch_json(batch) for batch in batches[:limit]]}
    if len(batches) > limit:
        position = batches[limit - 1].created_time.isoformat(), str(batches[limit - 1].batch_id)
        page["pagination"] = {"next_token": tokens.encode(scope, position)}
    return page


@blueprint.get("/v1/shipment-confirmation-batches/<batch_id:batch_id>")
@blueprint.requires("orders:read")
@blueprint.arguments(SellerQuery(), location="query")
@blueprint.response(200, ConfirmationBatchSchema(), example=CONFIRMATION_BATCH)
@blueprint.problems(BatchNotFound)
def get_confirmation_batch(query: dict[str, Any], batch_id: UUID) -> dict[str, Any]:
    """Show a file of confirmations, and how far it has got."""
    return batch_json(actions.find_batch(context().database, _seller_of(query), batch_id))


@blueprint.get("/v1/shipment-confirmation-batches/<batch_id:batch_id>/results")
@blueprint.requires("orders:read")
@blueprint.arguments(BatchResultsQuery(), location="query")
@blueprint.doc(responses={"200": RESULTS_RESPONSE})
@blueprint.problems(BatchNotFound)
def list_confirmation_results(query: dict[str, Any], batch_id: UUID) -> flask.Response:
    """Tell what became of the rows of a file, in its order: of those that have been worked, until it is DONE."""
    asked, results = format_of(query), [RowResult(each) for each in query.get("results", RowResult)]
    batch = actions.find_batch(context().database, _seller_of(query), batch_id)
    if asked == "tsv":
        lines = result_lines(batch.columns, actions.worked_rows(context().database, batch, results))
        return _as_file(lines, f"{batch_id}.tsv", taken_by=batch.seller_id or caller().actor)
    limit: int = query.get("max_results_per_page", DEFAULT_RESULTS_PER_PAGE)
    tokens, scope, after = context().page_tokens, ["confirmation-results", str(batch_id), sorted(results)], 0
    if "pagination_token" in query:
        (position,) = tokens.decode(scope, query["pagination_token"])
        after = int(position)
    with actions.rows_seen_by(context().database, batch.seller_id) as connection:
        rows = queries.find_worked_rows(connection, batch_id, results, after, limit + 1)
    page: dict[str, Any] = {"results": [row_json(row) for row in rows[:limit]]}
    if len(rows) > limit:
        page["pagination"] = {"nextToken": tokens.encode(scope, [str(rows[limit - 1].row_number)])}
    return json_response(orjson.dumps(page))


def _as_file(lines: Iterator[str], name: str, taken_by: str) -> flask.Response:
    """Send lines as an export is sent: with one of the slots, and to a client that reads."""
    response = flask.Response(iter(()), content_type=f"{TSV}; charset=utf-8")
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    if flask.request.method != "HEAD":
        contents = _chunks(lines, flask.current_app.extensions[SLOTS], taken_by)
        # That there is no slot is answered as a problem.
        response.response = chain([next(contents)], contents)
        response.call_on_close(contents.close)
        limit_sending()
    return response


def _chunks(lines: Iterator[str], slots: Slots, taken_by: str) -> Generator[bytes]:
    with slots.taken_by(taken_by):
        while part := "".join(islice(lines, LINES_AT_A_TIME)):
            yield part.encode()

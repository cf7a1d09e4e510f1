"""The wire shape of a file of confirmations as a job, and of its results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from service.api import SellerQuery
from service.confirmation_batches.flat_rows import (
    COLUMNS,
    IGNORED_COLUMN,
    REQUIRED_COLUMNS,
    RESULT_COLUMNS,
    TEMPLATE_LINE,
)
from service.confirmation_batches.queries import Batch, WorkedRow
from service.confirmation_batches.row_schemas import ENTRIES, ConfirmationBatchRequestSchema
from service.confirmation_batches.rules import MAX_ERRORS, MAX_ROWS, MAX_TEXT, BatchFormat, RowResult
from service.errors import FieldError, InvalidRequest
from service.fields import Choice, Integer, List, Nested, Text, Timestamp
from service.input import MAX_RESULTS_PER_PAGE, PAGE_TOKEN_EXAMPLE, PageQuery, PaginationSchema, QueryList
from service.orders.schemas import OrderWarningSchema
from service.problems import FieldErrorSchema
from service.schema import Schema

JSON, TSV = "application/json", "text/tab-separated-values"
RESULT_FORMATS = ("json", "tsv")


class BatchListQuery(SellerQuery, PageQuery):
    """Which files: an operator who names no seller sees those of all."""


class BatchResultsQuery(SellerQuery, PageQuery):
    """Which rows of a file, and how."""

    format = Choice(
        RESULT_FORMATS,
        "json: a page of the rows. tsv: all of them as a file with the columns that were sent, followed by those of "
        "the result; it can be corrected and sent again as it is. A packageReferenceId that was sent is not in it: the "
        "package gets the next free one when it is sent again. json when left out.",
        example="tsv",
    )
    results = QueryList(
        Choice(tuple(RowResult)),
        "Rows with one of these results; all that have one when left out.",
        example=["REFUSED"],
    )


class BatchLinksSchema(Schema):
    """Where more of the file is."""

    self = Text("The job itself.", max_length=200, required=True)
    results = Text("What became of each row.", max_length=200, required=True)
    refused_rows = Text("The refused rows, to be corrected and sent again.", max_length=200, required=True)


class ConfirmationBatchSchema(Schema):
    """A file of confirmations, and how far it has got."""

    batch_id = Text("Identifier of the file.", max_length=36, required=True)
    seller_id = Text("The seller; absent for an operator's file whose rows name theirs.", max_length=64)
    format = Choice(tuple(BatchFormat), "What it was sent as.", required=True)
    state = Choice(
        ("RUNNING", "DONE"), "RUNNING: ask for it again until it is DONE, and every row has its result.", required=True
    )
    requested_by = Text("Who sent it.", required=True)
    created_time = Timestamp("When it came.", required=True)
    finished_time = Timestamp("When the last row had its result.")
    row_count = Integer("Rows of the file.", minimum=1, maximum=MAX_ROWS, required=True)
    worked_row_count = Integer(
        "Rows that have a result. While it is RUNNING, this and the counts below may be somewhat behind the results.",
        minimum=0,
        maximum=MAX_ROWS,
        required=True,
    )
    confirmed_count = Integer("Rows that it confirmed.", minimum=0, maximum=MAX_ROWS, required=True)
    already_confirmed_count = Integer(
        "Rows that had been confirmed before, by the same file or another.", minimum=0, maximum=MAX_ROWS, required=True
    )
    refused_count = Integer("Rows that were refused.", minimum=0, maximum=MAX_ROWS, required=True)
    links = Nested(BatchLinksSchema, "Where more of it is.", required=True)


class ConfirmationBatchPageSchema(Schema):
    """A page of files, the newest first."""

    batches = List(Nested(ConfirmationBatchSchema), "The files.", max_items=MAX_RESULTS_PER_PAGE, required=True)
    pagination = Nested(PaginationSchema, "Absent on the last page.")


class RowProblemSchema(Schema):
    """Why a row was refused: what the confirmation by itself would have been answered."""

    type = Text("URN that names the cause and never changes.", required=True)
    title = Text("The cause, for people.", required=True)
    status = Integer("The status code that the cause has.", required=True)
    detail = Text("What happened here, and what would be right.", max_length=MAX_TEXT, required=True)
    errors = List(
        Nested(FieldErrorSchema), "The faults, each at its column or JSON pointer in the row.", max_items=MAX_ERRORS
    )


class RowResultSchema(Schema):
    """What became of a row."""

    row_number = Integer(
        "The line of the flat file, or the position in the JSON list; from 1.", minimum=1, required=True
    )
    seller_id = Text("The order's seller, where it is known.", max_length=64)
    order_id = Text("The order, if it could be read.", max_length=50)
    result = Choice(tuple(RowResult), "ALREADY_CONFIRMED: the same came before; nothing changed.", required=True)
    package_reference_id = Text("The package that the row is in.", max_length=19)
    warnings = List(Nested(OrderWarningSchema), "What may be wrong with the tracking number.", max_items=2)
    problem = Nested(RowProblemSchema, "Why the row was refused.")


class BatchResultsSchema(Schema):
    """A page of results, in the order of the file."""

    results = List(Nested(RowResultSchema), "The rows.", max_items=MAX_RESULTS_PER_PAGE, required=True)
    pagination = Nested(PaginationSchema, "Absent on the last page.")


_BATCH_ID = "3a5d1f0e-7c53-4d5a-8d0c-0d5a0f6b1c22"


def _links(batch_id: str) -> dict[str, str]:
    own = f"/v1/shipment-confirmation-batches/{batch_id}"
    return {"self": own, "results": f"{own}/results", "refusedRows": f"{own}/results?format=tsv&results=REFUSED"}


def batch_json(batch: Batch) -> dict[str, Any]:
    """Return a file as the schema dumps it."""
    told: dict[str, Any] = {
        "batch_id": str(batch.batch_id),
        "seller_id": batch.seller_id,
        "format": batch.batch_format,
        "state": batch.state,
        "requested_by": batch.requested_by,
        "created_time": batch.created_time,
        "finished_time": batch.finished_time,
        "row_count": batch.row_count,
        "worked_row_count": batch.worked_row_count,
        "confirmed_count": batch.confirmed_count,
        "already_confirmed_count": batch.already_confirmed_count,
        "refused_count": batch.refused_count,
    }
    links = _links(told["batch_id"])
    told["links"] = {"self": links["self"], "results": links["results"], "refused_rows": links["refusedRows"]}
    return {name: value for name, value in told.items() if value is not None}


def row_json(row: WorkedRow) -> dict[str, Any]:
    """Return a row as JSON: its outcome is stored as such."""
    told = {"rowNumber": row.row_number, "sellerId": row.seller_id or None, "orderId": row.order_id}
    return {name: value for name, value in told.items() if value is not None} | {"result": row.result, **row.outcome}


def format_of(query: Mapping[str, Any]) -> str:
    """Return how results are asked for; a file has no pages."""
    asked = query.get("format", "json")
    paged = [name for name in ("max_results_per_page", "pagination_token") if asked == "tsv" and name in query]
    if paged:
        raise InvalidRequest(
            "tsv has all rows at once",
            *(FieldError("is for json", parameter=str(BatchResultsQuery().fields[name].data_key)) for name in paged),
        )
    return asked


def _flat(rows: Sequence[Sequence[str]]) -> str:
    return "".join("\t".join(row) + "\n" for row in rows)


_SENT_COLUMNS = ("order-id", "order-item-id", "quantity", "ship-date", "carrier-code", "tracking-number")
_SENT_CELLS = ("902-3159896-1390916", "68828574383266", "3", "2026-03-06", "UPS", "1Z999AA10123456784")
CONFIRMATION_BATCH: dict[str, Any] = {
    "batchId": _BATCH_ID,
    "sellerId": "A1SELLER",
    "format": "TSV",
    "state": "DONE",
    "requestedBy": "token:13a16741-579d-43c5-a213-6ba3887037ae",
    "createdTime": "2026-03-06T16:20:41.120934Z",
    "finishedTime": "2026-03-06T16:20:43.381202Z",
    "rowCount": 212,
    "workedRowCount": 212,
    "confirmedCount": 198,
    "alreadyConfirmedCount": 12,
    "refusedCount": 2,
    "links": _links(_BATCH_ID),
}
NEW_BATCH: dict[str, Any] = {
    **{name: value for name, value in CONFIRMATION_BATCH.items() if name != "finishedTime"},
    "state": "RUNNING",
    "workedRowCount": 1,
    "confirmedCount": 0,
    "alreadyConfirmedCount": 0,
    "refusedCount": 1,
}
_RESULTS: list[dict[str, Any]] = [
    {
        "rowNumber": 2,
        "sellerId": "A1SELLER",
        "orderId": "902-3159896-1390916",
        "result": "REFUSED",
        "problem": {
            "type": "urn:manage-orders:problem:quantity-too-large",
            "title": "More units than remain to be confirmed",
            "status": 422,
            "detail": "confirm at most what remains",
            "errors": [{"detail": "2 of 2 remain to be confirmed, not 3", "pointer": "/quantity"}],
        },
    },
]
REQUEST_BODY: Mapping[str, Any] = {
    "required": True,
    "description": f"At most {MAX_ROWS:,} rows, and 32 MiB unless the service is set otherwise.\n\n"
    "The flat-file shipping confirmation is UTF-8 text. Its lines end in LF, or CR and LF, and its cells are separated "
    "by tabs; a line is a row whatever quotes it holds. The first line names the columns: "
    f"{', '.join(COLUMNS)}. A line that begins with {TEMPLATE_LINE} may stand before it. Required are "
    f"{', '.join(REQUIRED_COLUMNS)}; a ship-date is a date and time with an offset, or a day. Without order-item-id "
    f"and quantity a row confirms all that remains. Ignored are {', '.join((IGNORED_COLUMN, *RESULT_COLUMNS))}: a file "
    "of results can be corrected and sent again.",
    "content": {
        JSON: {
            "schema": ConfirmationBatchRequestSchema,
            "example": {
                ENTRIES: [
                    {
                        "orderId": "902-3159896-1390916",
                        "carrierCode": "UPS",
                        "trackingNumber": "1Z999AA10123456784",
                        "shipDate": "2026-03-06T15:00:00Z",
                        "orderItems": [{"orderItemId": "68828574383266", "quantity": 1}],
                    }
                ]
            },
        },
        TSV: {"schema": {"type": "string"}, "example": _flat([_SENT_COLUMNS, _SENT_CELLS])},
    },
}
_RESULTS_AS_FILE = _flat(
    [
        (*_SENT_COLUMNS, *RESULT_COLUMNS),
        (
            *(*_SENT_CELLS, "2", "REFUSED", "", "urn:manage-orders:problem:quantity-too-large"),
            *("confirm at most what remains: quantity 2 of 2 remain to be confirmed, not 3", ""),
        ),
    ]
)
RESULTS_RESPONSE: Mapping[str, Any] = {
    "description": "The rows, in the order of the file.",
    "headers": {
        "Content-Disposition": {"description": "A name for the file.", "schema": {"type": "string", "maxLength": 100}}
    },
    "content": {
        JSON: {
            "schema": BatchResultsSchema,
            "example": {"results": _RESULTS, "pagination": {"nextToken": PAGE_TOKEN_EXAMPLE}},
        },
        TSV: {"schema": {"type": "string"}, "example": _RESULTS_AS_FILE},
    },
}

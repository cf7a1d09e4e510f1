from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from service.errors import FieldError, InvalidRequest
from service.export.files import FileFormat
from service.export.layouts import LayoutName
from service.fields import Choice
from service.orders.examples import ORDER
from service.search.schemas import OrderSelectionQuery


class ExportQuery(OrderSelectionQuery):
    """Which orders, and the file they are written to."""

    format = Choice(
        tuple(FileFormat),
        "What the file is written as. A table has a row for each order item, and the columns of `fields` or of the "
        "view as paths; NDJSON has an order a line, as `manage-orders import` reads it. When left out, csv, or tsv "
        "with a layout.",
        example="csv",
    )
    layout = Choice(
        tuple(LayoutName),
        "Columns of a report of the platform, in place of `fields` and `includedData`. `unshipped-orders-report` has "
        "what is left to ship of the orders: `payments-date` and `reporting-date` repeat `purchase-date`, "
        "`buyer-phone-number` is empty, and behind the platform's columns stand `order-total`, `currency` and others "
        "without which `manage-orders import` could not read it back.",
        example="unshipped-orders-report",
    )


def file_of(query: Mapping[str, Any]) -> tuple[FileFormat, LayoutName | None]:
    """Return what kind of file a query asks for."""
    layout = LayoutName(query["layout"]) if "layout" in query else None
    file_format = FileFormat(query.get("format", FileFormat.TSV if layout else FileFormat.CSV))
    if layout and file_format is FileFormat.NDJSON:
        raise InvalidRequest(
            "a layout is a table", FieldError("must be csv or tsv beside a layout", parameter="format")
        )
    return file_format, layout


_EXAMPLE_ROWS = (
    ("orderId", "orderItems.product.title", "orderItems.quantityOrdered"),
    (ORDER["orderId"], "Blue mug", "2"),
)
EXAMPLES: Mapping[FileFormat, str] = {
    FileFormat.CSV: "".join(",".join(row) + "\r\n" for row in _EXAMPLE_ROWS),
    FileFormat.TSV: "".join("\t".join(row) + "\n" for row in _EXAMPLE_ROWS),
    FileFormat.NDJSON: orjson.dumps(ORDER).decode() + "\n",
}

EXPORT_RESPONSE: Mapping[str, Any] = {
    "description": "The file, streamed: one that breaks off is not complete, and its connection is cut.",
    "headers": {
        "Content-Disposition": {"description": "A name for the file.", "schema": {"type": "string", "maxLength": 100}},
        "Content-Encoding": {
            "description": "`gzip` if `Accept-Encoding` prefers it.",
            "schema": {"type": "string", "enum": ["gzip"]},
        },
    },
    "content": {
        file_format.media_type: {"schema": {"type": "string"}, "example": EXAMPLES[file_format]}
        for file_format in FileFormat
    },
}

"""The wire shape of a file's rows, and how they are read: each by itself, so that a bad one never stops the others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from itertools import islice
from types import MappingProxyType
from typing import Any, TypeAlias, cast

import orjson
from marshmallow import ValidationError

from service.confirmation_batches.actions import IncomingRow
from service.confirmation_batches.flat_rows import Columns, FlatRow, entry_of, read_flat_file
from service.confirmation_batches.rules import MAX_ERRORS, MAX_ROWS, BatchRow, package_key
from service.errors import BatchUnreadable, FieldError, InvalidRequest, MalformedRequest, Problem
from service.fields import Boolean, Day, Leaf, List, Nested, Text, Timestamp
from service.orders.item_schemas import IDENTIFIER, MAX_ITEMS
from service.orders.package_schemas import PACKAGE_REFERENCE_ID
from service.orders.schemas import SELLER_ID
from service.schema import Schema, camel_case, field_errors
from service.shipments.rules import ShipmentConfirmation
from service.shipments.schemas import ConfirmedItemSchema, PackageDetailsSchema, read_confirmation

ENTRIES = "shipmentConfirmations"


class ShipDate(Leaf[datetime | date]):
    """Instant, or a calendar day alone."""

    facts = MappingProxyType(
        {"type": "string", "anyOf": [{"format": "date-time"}, {"format": "date"}], "maxLength": 40}
    )
    _timestamp, _day = Timestamp(), Day()

    def _read(self, value: object) -> datetime | date:
        is_day = isinstance(value, str) and len(value) == len("2026-01-31")
        return (self._day if is_day else self._timestamp).deserialize(value)


class ConfirmationRowSchema(PackageDetailsSchema):
    """One package that the seller has handed to a carrier, or a part of one.

    Entries of one order that agree in all but the items are one package.
    """

    order_id = Text("The order.", max_length=50, pattern=IDENTIFIER, required=True)
    seller_id = Text("The order's seller, when the token is an operator's.", max_length=64, pattern=SELLER_ID)
    package_reference_id = Text(
        "The seller's number of the package in its order, as text; the next free one when left out. An entry that has "
        "one is a package by itself.",
        max_length=19,
        pattern=PACKAGE_REFERENCE_ID,
    )
    carrier_code = Text("Code of the carrier, as in a shipment confirmation.", max_length=50, required=True)
    ship_date = ShipDate(
        "When the carrier took it, by the seller's word: a date and time with an offset, or a day. Lateness is judged "
        "without it.",
        required=True,
    )
    order_items = List(
        Nested(ConfirmedItemSchema), "What is in it; all that remains when left out.", min_items=1, max_items=MAX_ITEMS
    )
    override_cancellation_request = Boolean(
        "Must be true for the first package of an order that the buyer asks to cancel."
    )


class ConfirmationBatchRequestSchema(Schema):
    """Confirmations of many orders."""

    shipment_confirmations = List(
        Nested(ConfirmationRowSchema),
        "The confirmations; one that is not valid is refused by itself.",
        min_items=1,
        max_items=MAX_ROWS,
        required=True,
    )


_row_schema = ConfirmationRowSchema()
# Of a row in which nothing else is at fault it can be said which package it is in.
_BESIDE_THE_PACKAGE = {"orderItems", "overrideCancellationRequest"}
_NAMES = [camel_case(name) for name in _row_schema.fields]
# A row, and the confirmation that it was meant as, if it can be said in which package it is.
_ReadRow: TypeAlias = tuple[IncomingRow, ShipmentConfirmation | None]


def read_json_batch(body: bytes) -> Sequence[IncomingRow]:
    """Return the rows of a JSON file, or raise the `Problem` that refuses the file."""
    try:
        document: object = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedRequest("the body is not JSON", FieldError(str(error), pointer="")) from error
    members = cast("dict[str, object]", document) if isinstance(document, dict) else dict[str, object]()
    entries = members.get(ENTRIES)
    if not isinstance(entries, list):
        raise InvalidRequest("the input does not fit the contract", FieldError("must be a list", f"/{ENTRIES}"))
    unknown = list(field_errors({name: ["is not a known field"] for name in members if name != ENTRIES}))
    if unknown:
        raise InvalidRequest("the input does not fit the contract", *unknown)
    found = cast("Sequence[object]", entries)
    if not 1 <= len(found) <= MAX_ROWS:
        raise BatchUnreadable(
            f"the file has {len(found)} rows", FieldError(f"must have 1 to {MAX_ROWS} items", f"/{ENTRIES}")
        )
    return _whole_packages(_row(number, entry, entry, None) for number, entry in enumerate(found, start=1))


def read_flat_batch(body: bytes) -> tuple[Columns, Sequence[IncomingRow]]:
    """Return the columns and rows of a flat file, or raise the `Problem` that refuses the file."""
    columns, flat_rows = read_flat_file(body)
    rows = _whole_packages(_flat_row(columns, row) for row in flat_rows)
    if not rows:
        raise BatchUnreadable("the file has no rows", FieldError("has nothing below the names of the columns", ""))
    return columns, rows


def _flat_row(columns: Columns, row: FlatRow) -> _ReadRow:
    entry = entry_of(columns.usual_names, row.cells)
    return _row(row.line_number, [*row.cells, *row.surplus], entry, row.problem)


def _whole_packages(read: Iterable[_ReadRow]) -> Sequence[IncomingRow]:
    """Return the rows. One that cannot be read refuses those of its package: what is confirmed without it stays so.

    It may come behind them, so that all are read before the first is known to be good.
    """
    rows, broken = list[IncomingRow](), dict[object, int]()
    for row, meant in read:
        rows.append(row)
        if row.problem is not None and meant is not None:
            broken.setdefault(_package_of(row, meant), row.row_number)
    return [_refused_with(row, broken) for row in rows] if broken else rows


def _refused_with(row: IncomingRow, broken: Mapping[object, int]) -> IncomingRow:
    at_fault = None if row.confirmation is None else broken.get(_package_of(row, row.confirmation))
    if at_fault is None:
        return row
    error = FieldError(f"row {at_fault} of the same package cannot be read")
    return replace(row, confirmation=None, problem=InvalidRequest("the package is not whole", error))


def _package_of(row: IncomingRow, meant: ShipmentConfirmation) -> object:
    return row.seller_id, row.order_id, package_key(BatchRow(row.row_number, meant))


def _row(number: int, content: object, entry: object, problem: Problem | None) -> _ReadRow:
    """Read a row. The order and the seller of one that is refused are kept if they could be read."""
    known, faults = dict[str, Any](), set[str]()
    if isinstance(entry, Mapping) and len(members := cast("Mapping[str, object]", entry)) > len(_NAMES):
        # There may be a million of them, and each would be told.
        problem = InvalidRequest("the row does not fit the contract", FieldError(f"has {len(members)} members", ""))
        entry = {name: members[name] for name in _NAMES if name in members}
    try:
        known = _row_schema.load(cast("Mapping[str, Any]", entry))
        _refuse_repeated(known)
    except ValidationError as error:
        known = error.valid_data if isinstance(error.valid_data, dict) else {}
        messages = cast("Mapping[str, object]", error.messages)
        faults, errors = {*messages}, islice(field_errors(messages), MAX_ERRORS)
        problem = problem or InvalidRequest("the row does not fit the contract", *errors)
    except InvalidRequest as repeated:
        problem = problem or repeated
    meant = read_confirmation({"package_reference_id": None} | known) if faults <= _BESIDE_THE_PACKAGE else None
    row = IncomingRow(
        row_number=number,
        seller_id=known.get("seller_id"),
        order_id=known.get("order_id"),
        content=_kept(content),
        confirmation=None if problem else meant,
        problem=problem,
    )
    return row, meant


def _refuse_repeated(loaded: Mapping[str, Any]) -> None:
    items = loaded.get("order_items", ())
    if len(items) > 1 and len({item["order_item_id"] for item in items}) < len(items):
        raise InvalidRequest("the row holds an item more than once", FieldError("lists an item twice", "/orderItems"))


def _kept(content: object) -> str:
    """Return what came as JSON. What is nested too deep to be written is refused, and not handed back."""
    try:
        return orjson.dumps(content).decode()
    except orjson.JSONEncodeError:
        return "null"

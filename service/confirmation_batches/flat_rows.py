"""The flat-file shipping confirmation: its columns, its rows, and where in it a fault lies."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, cast

from service.confirmation_batches.rules import MAX_ROWS
from service.errors import BatchUnreadable, FieldError, InvalidRequest, Problem
from service.flat_files import BREAKS, restored_flat

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
TEMPLATE_LINE = "TemplateType=OrderFulfillment"
IGNORED_COLUMN = "cod-collection-method"
# What a results file adds: it can be corrected and sent again as it is.
RESULT_COLUMNS = ("row-number", "result", "package-reference-id", "problem-type", "problem", "warnings")

_MEMBERS: Mapping[str, str] = {
    "order-id": "orderId",
    "ship-date": "shipDate",
    "carrier-code": "carrierCode",
    "carrier-name": "carrierName",
    "tracking-number": "trackingNumber",
    "ship-method": "shippingMethod",
    "seller-id": "sellerId",
    "override-cancellation-request": "overrideCancellationRequest",
}
_ITEM_MEMBERS: Mapping[str, str] = {
    "order-item-id": "orderItemId",
    "quantity": "quantity",
    "transparency_code": "transparencyCodes",
}
_ADDRESS_MEMBERS: Mapping[str, str] = {
    "ship_from_address_name": "name",
    "ship_from_address_line1": "addressLine1",
    "ship_from_address_line2": "addressLine2",
    "ship_from_address_line3": "addressLine3",
    "ship_from_address_city": "city",
    "ship_from_address_county": "districtOrCounty",
    "ship_from_address_state_or_region": "stateOrRegion",
    "ship_from_address_postalcode": "postalCode",
    "ship_from_address_countrycode": "countryCode",
}
REQUIRED_COLUMNS = ("order-id", "ship-date", "carrier-code")
COLUMNS = (
    *("order-id", "order-item-id", "quantity", "ship-date", "carrier-code", "carrier-name", "tracking-number"),
    *("ship-method", "transparency_code", *_ADDRESS_MEMBERS, "seller-id", "override-cancellation-request"),
)

PLACES: Mapping[str, str] = (
    {f"/{member}": column for column, member in _MEMBERS.items()}
    | {f"/orderItems/0/{member}": column for column, member in _ITEM_MEMBERS.items()}
    | {f"/shipFromAddress/{member}": column for column, member in _ADDRESS_MEMBERS.items()}
    | {"/orderItems": "order-item-id"}
)
# A tab ends a cell here, and LF a line.
_BREAKS = re.compile("[" + BREAKS.removeprefix(r"\t") + "]+")
_LIST_POSITION = re.compile(r"(?<=/transparencyCodes)/\d+$")


def _spelled(name: str) -> str:
    return name.strip().lower().replace("_", "-")


_KNOWN = {_spelled(name): name for name in (*COLUMNS, IGNORED_COLUMN, *RESULT_COLUMNS)}


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a file as it spells them, with their usual names; those of a result are left out."""

    names: tuple[str, ...]
    usual_names: tuple[str, ...]
    positions: tuple[int, ...]
    width: int

    @classmethod
    def of(cls, header: Sequence[str]) -> Self:
        """Return the columns of a header, or raise `BatchUnreadable` naming each that cannot be."""
        known = [_KNOWN.get(_spelled(name)) for name in header]
        errors = [
            FieldError("is not a known column", _pointer(name))
            for name, usual in zip(header, known, strict=True)
            if usual is None
        ]
        errors += [FieldError("is there twice", _pointer(name)) for name in _KNOWN.values() if known.count(name) > 1]
        errors += [FieldError("is missing", _pointer(name)) for name in REQUIRED_COLUMNS if name not in known]
        if errors:
            raise BatchUnreadable("the first line must name the columns, separated by tabs", *errors)
        kept = [(place, name) for place, name in enumerate(known) if name and name not in RESULT_COLUMNS]
        return cls(
            tuple(header[place] for place, _ in kept),
            tuple(name for _, name in kept),
            tuple(place for place, _ in kept),
            len(header),
        )

    def pointer(self, pointer: str) -> str:
        """Return the column that a pointer into a row's confirmation is about."""
        usual = PLACES.get(_LIST_POSITION.sub("", pointer))
        if usual is None:
            return pointer
        return _pointer(self.names[self.usual_names.index(usual)] if usual in self.usual_names else usual)


@dataclass(frozen=True, slots=True)
class FlatRow:
    """A line: the texts of its cells in the order of the columns, those that stand under none, and what is wrong."""

    line_number: int
    cells: Sequence[str]
    surplus: Sequence[str]
    problem: Problem | None


def read_flat_file(body: bytes) -> tuple[Columns, Iterator[FlatRow]]:
    """Return the columns and the rows of a file; raise `BatchUnreadable` when it is none. Rows may raise it as well."""
    body = body.removeprefix(BYTE_ORDER_MARK)
    lines, headers = _lines(body), 1
    _, header = next(lines, (0, ""))
    if _cell(header.partition("\t")[0]).startswith(TEMPLATE_LINE):
        _, header = next(lines, (0, ""))
        headers += 1
    _refuse_unseparated(header)
    columns = Columns.of([_cell(name) for name in header.rstrip("\t").split("\t")])
    # Blank lines are no rows, but few files have so many lines that it must be known before they are read.
    if body.count(b"\n") >= MAX_ROWS and sum(not line.isspace() for line in io.BytesIO(body)) - headers > MAX_ROWS:
        raise BatchUnreadable(
            f"the file has more than {MAX_ROWS} rows; send it in parts", FieldError("has too many lines", "")
        )
    return columns, (_flat_row(columns, number, line) for number, line in lines)


def _refuse_unseparated(header: str) -> None:
    """Refuse what is no flat file at all in words that say what one is."""
    fault = None
    if not header:
        raise BatchUnreadable("the file is empty", FieldError("has no line that names the columns", ""))
    if "\r" in header:
        fault = "has a CR in the line that names the columns"
    elif "\t" not in header and any(each in header for each in ",;|"):
        fault = "has no tab in the line that names the columns"
    if fault:
        raise BatchUnreadable("lines must end in LF, and cells be separated by tabs", FieldError(fault, ""))


def _lines(body: bytes) -> Iterator[tuple[int, str]]:
    """Yield each line that is not blank. A line is a row whatever quotes it holds, so that none can swallow others."""
    for number, line in enumerate(io.BytesIO(body), start=1):
        if line.isspace():
            continue
        try:
            yield number, line.decode().rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise BatchUnreadable("the file must be UTF-8 text", FieldError(f"line {number} is not", "")) from error


def _flat_row(columns: Columns, number: int, line: str) -> FlatRow:
    # What breaks a line elsewhere is read as it is written again: the row, sent once more, must be the same.
    found = _BREAKS.sub(" ", line).split("\t")
    # Editors take tabs from the end of a line, and spreadsheets add them.
    found += [""] * (columns.width - len(found))
    cells = [_cell(found[place]) for place in columns.positions]
    surplus = [_cell(text) for text in found[columns.width :]]
    while surplus and not surplus[-1]:
        surplus.pop()
    if not surplus:
        return FlatRow(number, cells, (), None)
    problem = InvalidRequest(
        f"the row has {columns.width + len(surplus)} cells, and the header {columns.width}",
        FieldError(f"cell {columns.width + 1} stands under no column", ""),
    )
    return FlatRow(number, cells, surplus, problem)


def _cell(text: str) -> str:
    cell = text.strip()
    if len(cell) > 1 and cell[0] == cell[-1] == '"':
        inner = cell[1:-1]
        cell = cell if '"' in inner.replace('""', "") else inner.replace('""', '"').strip()
    return restored_flat(cell) if "'" in cell else cell


def entry_of(usual_names: Sequence[str], cells: Sequence[str]) -> dict[str, Any]:
    """Return a row as the JSON in which it would have been sent; what is empty is left out."""
    entry, item, address = dict[str, Any](), dict[str, Any](), dict[str, Any]()
    for name, text in zip(usual_names, cells, strict=True):
        if not text or name == IGNORED_COLUMN:
            continue
        if name in _MEMBERS:
            entry[_MEMBERS[name]] = text
        elif name in _ADDRESS_MEMBERS:
            address[_ADDRESS_MEMBERS[name]] = text
        else:
            item[_ITEM_MEMBERS[name]] = text
    _read_item(item)
    if "overrideCancellationRequest" in entry:
        override: str = entry["overrideCancellationRequest"]
        entry["overrideCancellationRequest"] = {"true": True, "false": False}.get(override.lower(), override)
    return entry | ({"orderItems": [item]} if item else {}) | ({"shipFromAddress": address} if address else {})


def _read_item(item: dict[str, Any]) -> None:
    quantity = item.get("quantity")
    # What is no number is left as it is, for the schema to refuse. Python refuses thousands of digits.
    if quantity and quantity.isascii() and quantity.isdigit() and len(quantity) <= len("2147483647"):
        item["quantity"] = int(quantity)
    if "transparencyCodes" in item:
        item["transparencyCodes"] = [code.strip() for code in item["transparencyCodes"].split(",")]


def lines_of_entry(entry: object) -> Iterator[Mapping[str, object]]:
    """Yield the lines that say the same as a JSON entry, by the usual names of their columns: one for each item."""
    members = _mapping(entry)
    common = {column: members.get(member) for column, member in _MEMBERS.items()}
    address = _mapping(members.get("shipFromAddress"))
    common |= {column: address.get(member) for column, member in _ADDRESS_MEMBERS.items()}
    items = members.get("orderItems")
    for item in cast("list[object]", items) if isinstance(items, list) and items else [None]:
        found = _mapping(item)
        yield common | {column: found.get(member) for column, member in _ITEM_MEMBERS.items()}


def _mapping(value: object) -> Mapping[str, object]:
    return cast("Mapping[str, object]", value) if isinstance(value, Mapping) else {}


def _pointer(name: str) -> str:
    return "/" + name.replace("~", "~0").replace("/", "~1")

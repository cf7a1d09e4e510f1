"""Read orders from the unshipped-orders report: a row an item, columns by name, in any order."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, cast

from marshmallow import ValidationError

from service.errors import FieldError, InvalidRequest, Problem, UnknownMarketplace
from service.ingest.jobs import Entry, Lines
from service.ingest.report_rows import Header, Row, place_of, rows_of
from service.ingest.rules import IncomingOrder
from service.ingest.schemas import order_schema, read_order
from service.orders.item_schemas import MAX_ITEMS
from service.orders.unshipped_report import ITEM_COLUMNS, ORDER_COLUMNS, PROGRAM_COLUMNS, SELLER_ORDER_ID, STATUS_WORDS
from service.schema import field_errors

SALES_CHANNEL = "sales-channel"
UNSHIPPED, PARTIALLY_SHIPPED = "UNSHIPPED", "PARTIALLY_SHIPPED"

_QUANTITIES = frozenset({"quantity-purchased", "quantity-shipped", "quantity-to-ship"})
_ORDER_POINTERS = {"/" + path.replace(".", "/"): column for column, path in ORDER_COLUMNS.items()}
_ITEM_POINTERS = {"/" + path.replace(".", "/"): column for column, path in ITEM_COLUMNS.items()}
_ITEM_POINTER = re.compile(r"/orderItems/(\d+)(/.*)")

# Finds the marketplace that a sales channel names; None when there is none.
FindMarketplace = Callable[[str], str | None]


@dataclass(slots=True)
class _Group:
    """Adjacent rows of one order."""

    order_id: str
    line_number: int
    problem: Problem | None
    rows: list[Row] = field(default_factory=list[Row])
    size: int = 0

    def add(self, row: Row) -> None:
        self.size += row.size
        self.problem = self.problem or row.problem
        if len(self.rows) <= MAX_ITEMS:  # one too many is enough to be refused
            self.rows.append(row)


def scattered_orders(header: Header, file: BinaryIO) -> frozenset[str]:
    """Return the orders of a report whose rows are not adjacent; the file stands behind its header again."""
    start = file.tell()
    seen, scattered, last = set[str](), set[str](), None
    for row in rows_of(header, file):
        if row.order_id is not None and row.order_id != last:
            (scattered if row.order_id in seen else seen).add(row.order_id)
            last = row.order_id
    file.seek(start)
    return frozenset(scattered)


def report_entries(
    header: Header, stream: Lines, seller_id: str, find_marketplace: FindMarketplace, scattered: Container[str] = ()
) -> Iterator[Entry]:
    """Yield the orders of a report behind its header, and a problem for each group of rows of a scattered order.

    A row that cannot be read refuses the order that it belongs to; if that is not to be seen either, both beside it,
    and the next one as well if by its quotes it goes over several lines, which may be rows that a stray quote has
    swallowed: an order with an item missing would be another order.
    """
    yield Entry(1, None, header.size)
    group: _Group | None = None
    doubt: Problem | None = None
    for row in rows_of(header, stream):
        doubt_before, doubt = doubt, _doubt(row)
        if row.order_id is None:
            doubt = doubt or doubt_before
            if group is not None:
                group.problem = group.problem or doubt
            yield Entry(row.line_number, row.problem, row.size)
            continue
        if group is not None and (row.order_id != group.order_id):
            yield _entry(group, seller_id, find_marketplace)
            group = None
        if group is None:
            problem = _scattered(row.order_id) if row.order_id in scattered else doubt_before
            group = _Group(row.order_id, row.line_number, problem)
        group.add(row)
    if group is not None:
        yield _entry(group, seller_id, find_marketplace)


def _doubt(row: Row) -> Problem | None:
    """Return why an order beside a row may lack an item."""
    if row.problem is None or (row.order_id is not None and len(row.lines) == 1):
        return None
    return InvalidRequest(f"the row beside it, in {place_of(row.lines)}, could not be read")


def _scattered(order_id: str) -> Problem:
    return InvalidRequest(f"rows of the order {order_id} stand elsewhere in the file too: sort it by order-id")


def _entry(group: _Group, seller_id: str, find_marketplace: FindMarketplace) -> Entry:
    content: IncomingOrder | Problem
    try:
        content = group.problem or _order(group, seller_id, find_marketplace)
    except Problem as problem:
        content = problem
    return Entry(group.line_number, content, group.size)


def _order(group: _Group, seller_id: str, find_marketplace: FindMarketplace) -> IncomingOrder:
    first = group.rows[0].texts
    for row in group.rows[1:]:
        differing = [name for name in (*ORDER_COLUMNS, SALES_CHANNEL) if row.texts.get(name) != first.get(name)]
        if differing:
            errors = [FieldError("differs from the order's first row", _place(row, name)) for name in differing]
            raise InvalidRequest("the rows of the order do not agree", *errors)
    document = _document(group.rows, first) | {"salesChannel": _sales_channel(first, find_marketplace)}
    try:
        return read_order(document, order_schema.load(document), seller_id)
    except ValidationError as error:
        errors = [_in_the_report(each, group.rows) for each in field_errors(cast("object", error.messages))]
        raise InvalidRequest("the order does not fit the contract", *errors) from error


def _place(row: Row, column: str) -> str:
    return f"line {row.line_number} {column}"


def _in_the_report(error: FieldError, rows: Sequence[Row]) -> FieldError:
    """Return an error of the order with the place that it comes from in the report."""
    pointer = error.pointer or ""
    of_item = _ITEM_POINTER.fullmatch(pointer)
    if of_item is None:
        return FieldError(error.detail, _ORDER_POINTERS.get(pointer, pointer))
    return FieldError(error.detail, _place(rows[int(of_item[1])], _ITEM_POINTERS.get(of_item[2], of_item[2])))


def _sales_channel(texts: Mapping[str, str], find_marketplace: FindMarketplace) -> dict[str, str]:
    name = texts.get(SALES_CHANNEL, "")
    marketplace_id = find_marketplace(name)
    if marketplace_id is None:
        reason = f"{name or 'an empty cell'} is no marketplace known here, by name or id; name one with --marketplace"
        raise UnknownMarketplace("the marketplace of the order is not known", FieldError(reason, SALES_CHANNEL))
    channel = {"channelName": texts.get("order-channel", "AMAZON"), "marketplaceId": marketplace_id}
    return channel | ({"marketplaceName": name} if name not in {"", marketplace_id} else {})


def _document(rows: Sequence[Row], first: Mapping[str, str]) -> dict[str, Any]:
    """Return the order of a report, as its channel would send it."""
    document = _placed(ORDER_COLUMNS, first)
    document["orderItems"] = [_item(row.texts) for row in rows]
    programs = [program for column, program in PROGRAM_COLUMNS.items() if _is_true(first, column)]
    if programs:
        document["programs"] = programs
    if "merchant-order-id" in first:
        document["orderAliases"] = [{"aliasId": first["merchant-order-id"], "aliasType": SELLER_ORDER_ID}]
    was_shipped = any(row.texts.get("quantity-shipped", "0").strip() != "0" for row in rows)
    is_partial = was_shipped or first.get("order-status") == STATUS_WORDS[PARTIALLY_SHIPPED]
    document.setdefault("fulfillment", {}).update(
        fulfillmentStatus=PARTIALLY_SHIPPED if is_partial else UNSHIPPED, fulfilledBy="MERCHANT"
    )
    return document


def _item(texts: Mapping[str, str]) -> dict[str, Any]:
    item = _placed(ITEM_COLUMNS, texts)
    item.setdefault("product", {})
    if _is_true(texts, "is-buyer-requested-cancellation"):
        request = item.setdefault("cancellation", {}).setdefault("cancellationRequest", {})
        request["requester"] = "BUYER"
    if _is_true(texts, "signature-confirmation-recommended"):
        shipping = item.setdefault("fulfillment", {}).setdefault("shipping", {})
        shipping["shippingConstraints"] = {"signatureConfirmation": "MANDATORY"}
    return item


def _placed(columns: Mapping[str, str], texts: Mapping[str, str]) -> dict[str, Any]:
    """Return the values of a row at their paths."""
    placed: dict[str, Any] = {}
    for column, path in columns.items():
        if column in texts:
            *parents, name = path.split(".")
            place = placed
            for parent in parents:
                place = place.setdefault(parent, {})
            place[name] = _whole_number(texts[column]) if column in _QUANTITIES else texts[column]
    return placed


def _whole_number(text: str) -> int | str:
    """Return the number that a text writes, or the text, for the schema to refuse."""
    digits = text.strip()
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= len("2147483647") else text


def _is_true(texts: Mapping[str, str], column: str) -> bool:
    return texts.get(column, "").strip().lower() == "true"

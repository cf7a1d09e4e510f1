"""What the rows of a file mean together: which of them are one package, and which of them a refusal is about."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from service.errors import FieldError, InvalidRequest, Problem
from service.shipments.carriers import spelling_of
from service.shipments.rules import ConfirmedItem, ShipmentConfirmation

MAX_ROWS = 100_000
# What is kept of a problem at most: it repeats the sender's own words.
MAX_ERRORS, MAX_TEXT = 100, 2000

_ITEM_POINTER = re.compile(r"/orderItems/(\d+)")


class BatchFormat(StrEnum):
    """What a file was sent as."""

    JSON = "JSON"
    TSV = "TSV"


class RowResult(StrEnum):
    """What became of a row."""

    CONFIRMED = "CONFIRMED"
    ALREADY_CONFIRMED = "ALREADY_CONFIRMED"
    REFUSED = "REFUSED"


@dataclass(frozen=True, slots=True)
class BatchRow:
    """A row that could be read: a package, or a part of one."""

    row_number: int
    confirmation: ShipmentConfirmation


@dataclass(frozen=True, slots=True)
class Package:
    """Rows of an order that are confirmed together, and why they cannot be."""

    rows: Sequence[BatchRow]
    confirmation: ShipmentConfirmation
    problem: Problem | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a row, with what is told of it."""

    row_number: int
    result: RowResult
    told: Mapping[str, object]


def packages_of(rows: Sequence[BatchRow]) -> Iterator[Package]:
    """Yield the packages that the rows of one order make, in the order of their first rows.

    Rows that agree in all but the items are one package; a row that names its package is one by itself.
    """
    groups: dict[object, list[BatchRow]] = {}
    for row in rows:
        groups.setdefault(package_key(row), []).append(row)
    yield from map(_package, groups.values())


def package_key(row: BatchRow) -> object:
    """Return what the rows of one package of an order have in common, and no others of the order."""
    sent = row.confirmation
    if sent.package_reference_id is not None:
        return row.row_number
    address = sent.ship_from_address
    return (
        spelling_of(sent.carrier_code) or sent.carrier_code,
        sent.carrier_name,
        sent.shipping_method,
        sent.tracking_number,
        sent.ship_date,
        None if address is None else tuple(sorted(address.items())),
    )


def _package(rows: Sequence[BatchRow]) -> Package:
    sent = rows[0].confirmation
    if len(rows) == 1:
        return Package(rows, sent, None)
    items = [item for row in rows for item in row.confirmation.items or ()]
    overrides = all(row.confirmation.override_cancellation_request for row in rows)
    problem = None
    if any(row.confirmation.items is None for row in rows):
        problem = InvalidRequest(
            f"rows {_numbers(rows)} are one package, and one of them names no item, which stands for all that remains"
        )
    elif len({item.order_item_id for item in items}) < len(items):
        problem = InvalidRequest(f"rows {_numbers(rows)} are one package, and hold an item more than once")
    return Package(rows, replace(sent, items=items, override_cancellation_request=overrides), problem)


def _numbers(rows: Sequence[BatchRow]) -> str:
    shown = [str(row.row_number) for row in rows[:10]]
    return ", ".join(shown) + (f" and {len(rows) - len(shown)} more" if len(rows) > len(shown) else "")


def refusals(package: Package, problem: Problem, pointer: Callable[[str], str]) -> Iterator[Outcome]:
    """Yield the refusal of each row of a package. The row that is at fault is told where, the others which it is."""
    placed = [_row_of(package, error) for error in problem.errors]
    for row in package.rows:
        errors = [
            error
            if number is None or number == row.row_number
            else FieldError(f"row {number} of the same package: {error.detail}")
            for number, error in placed
        ]
        yield refusal(row.row_number, problem, errors, pointer)


def refusal(row_number: int, problem: Problem, errors: Sequence[FieldError], pointer: Callable[[str], str]) -> Outcome:
    """Return the refusal of a row; `pointer` says where in the row's own format a fault lies."""
    told: dict[str, object] = {
        "type": problem.type,
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail[:MAX_TEXT],
    }
    if errors:
        told["errors"] = [
            {name: text[:MAX_TEXT] for name, text in _in_row(error, pointer).as_dict().items()}
            for error in errors[:MAX_ERRORS]
        ]
    return Outcome(row_number, RowResult.REFUSED, {"problem": told})


def _in_row(error: FieldError, pointer: Callable[[str], str]) -> FieldError:
    return error if error.pointer is None else replace(error, pointer=pointer(error.pointer))


def _row_of(package: Package, error: FieldError) -> tuple[int | None, FieldError]:
    """Return the row that an error is about, None for all of them, and the error as that row sees it."""
    match = _ITEM_POINTER.match(error.pointer or "")
    if match is None or error.pointer is None:
        return None, error
    place = int(match[1])
    for row in package.rows:
        count = len(row.confirmation.items or ())
        if place < count:
            return row.row_number, replace(error, pointer=f"/orderItems/{place}{error.pointer[match.end() :]}")
        place -= count
    return None, error


def stored_confirmation(stored: Mapping[str, Any]) -> ShipmentConfirmation:
    """Return a confirmation that was stored as JSON, which is its members by name."""
    ship_date, items = str(stored["ship_date"]), stored["items"]
    members = dict(stored)
    members["ship_date"] = (datetime if "T" in ship_date else date).fromisoformat(ship_date)
    members["items"] = None if items is None else [ConfirmedItem(**item) for item in items]
    return ShipmentConfirmation(**members)

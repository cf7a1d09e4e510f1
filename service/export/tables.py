"""Orders as rows of cells: a row for each item, a column for each path or rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias, cast

import orjson

ITEMS = "orderItems"
SEPARATOR = ";"

Json: TypeAlias = Mapping[str, Any]
Reader: TypeAlias = Callable[[Any], str]

_NOTHING: Json = {}


@dataclass(frozen=True, slots=True)
class Line:
    """What a row is made of: an item, its order, and the service's clock."""

    order: Json
    item: Json
    now: datetime


@dataclass(frozen=True, slots=True)
class OfOrder:
    """A column that is made of the order alone."""

    make: Reader


# A column is a path of the order, or what is made of it, or of a line.
Column: TypeAlias = str | OfOrder | Callable[[Line], str]


class Table:
    """Columns, compiled for a million rows: what belongs to the order is read and written once an order."""

    def __init__(self, columns: Mapping[str, Column], shows: Callable[[Json], bool] | None = None) -> None:
        self.header = tuple(columns)
        self._shows = shows
        self._of_order: list[tuple[int, Reader]] = []
        self._of_item: list[tuple[int, Reader]] = []
        self._of_line: list[tuple[int, Callable[[Line], str]]] = []
        for number, column in enumerate(columns.values()):
            if isinstance(column, OfOrder):
                self._of_order.append((number, column.make))
            elif callable(column):
                self._of_line.append((number, column))
            elif column.startswith(f"{ITEMS}."):
                self._of_item.append((number, reader(column.removeprefix(f"{ITEMS}."))))
            elif column == ITEMS:
                self._of_item.append((number, text_of))
            else:
                self._of_order.append((number, reader(column)))

    def rows(self, order: Json, now: datetime, cell: Callable[[str], str]) -> Iterator[Sequence[str]]:
        """Yield the row of each item, each text passed through `cell`; one list is used for all rows."""
        cells = [""] * len(self.header)
        for number, read in self._of_order:
            cells[number] = cell(read(order))
        for item in order[ITEMS]:
            if self._shows is not None and not self._shows(item):
                continue
            for number, read in self._of_item:
                cells[number] = cell(read(item))
            if self._of_line:
                line = Line(order, item, now)
                for number, make in self._of_line:
                    cells[number] = cell(make(line))
            yield cells


def reader(path: str) -> Reader:
    """Return what reads a path as the text of a cell; through a list, the distinct values of its elements."""
    names = path.split(".")

    def read(value: Any) -> str:  # noqa: ANN401  # any JSON value
        found = value
        try:
            for name in names:
                found = found.get(name, _NOTHING)
        except AttributeError:  # a list has no members
            found = [*_found([value], names)]
        return found if isinstance(found, str) else text_of(found)

    return read


def _found(values: Sequence[Any], names: Sequence[str]) -> Iterator[Any]:
    if not names:
        yield from values
        return
    for each in values:
        if names[0] in each:
            part: Any = each[names[0]]
            yield from _found(cast("list[Any]", part) if isinstance(part, list) else [part], names[1:])


def text_of(value: Any) -> str:  # noqa: ANN401  # any JSON value
    """Return a value as the text of a cell: plain values joined, objects as JSON."""
    match value:
        case str():
            return value
        case {} if not value:
            return ""
        case [*parts] if not any(isinstance(part, dict) for part in parts):
            return SEPARATOR.join(dict.fromkeys(map(text_of, parts)))
        case _:
            return orjson.dumps(value).decode()

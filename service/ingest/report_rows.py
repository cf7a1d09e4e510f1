"""The rows of a report, by the names of their columns, with what keeps one from being read."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from service.errors import FieldError, InvalidRequest, Problem
from service.flat_files import restored, restored_flat
from service.ingest.jobs import BYTE_ORDER_MARK, Lines, line_too_long, lines_of

REQUIRED_COLUMNS = (
    *("order-id", "order-item-id", "purchase-date", "promise-date"),
    *("quantity-purchased", "quantity-shipped"),
)

_IDENTIFIERS = frozenset({"order-id", "order-item-id"})
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_SURROGATE = re.compile("[\udc80-\udcff]")
_TOO_LONG = "\0"


@dataclass(frozen=True, slots=True)
class Header:
    """The columns of a report, in the order of the file, and what separates them."""

    columns: tuple[str, ...]
    separator: str
    size: int

    @classmethod
    def read(cls, line: bytes) -> Header | None:
        """Return the header that the first line of a file is, None when the file is no report."""
        text = line.removeprefix(BYTE_ORDER_MARK).decode(errors="replace")
        separator = max("\t,;", key=text.count)
        columns = tuple(cell.strip() for cells, _ in _cells(iter([text]), separator) for cell in cells)
        return cls(columns, separator, len(line)) if "order-id" in columns else None

    def refuse_unusable(self) -> None:
        """Raise `InvalidRequest` naming every column that is missing, or there twice."""
        missing = [name for name in REQUIRED_COLUMNS if name not in self.columns]
        if missing:
            raise InvalidRequest(f"the report lacks the columns {', '.join(missing)}")
        twice = sorted({name for name in self.columns if name and self.columns.count(name) > 1})
        if twice:
            raise InvalidRequest(f"the report has the columns {', '.join(twice)} twice")


@dataclass(frozen=True, slots=True)
class Row:
    """A row: the texts of its cells by column, without the empty ones; or why there are none.

    By its quotes it may go over several lines of the file.
    """

    lines: range
    size: int
    order_id: str | None
    texts: Mapping[str, str]
    problem: Problem | None

    @property
    def line_number(self) -> int:
        """Return the number of the row's first line."""
        return self.lines.start


def rows_of(header: Header, stream: Lines) -> Iterator[Row]:
    """Yield the rows behind the header."""
    line_number, first, size = 1, 2, 0

    def texts() -> Iterator[str]:
        nonlocal line_number, size
        for line, line_size in lines_of(stream):
            line_number, size = line_number + 1, size + line_size
            yield _TOO_LONG if line is None else line.decode(errors="surrogateescape")

    for cells, problem in _cells(texts(), header.separator):
        yield _row(header, range(first, line_number + 1), size, cells, problem)
        first, size = line_number + 1, 0


def place_of(lines: range) -> str:
    """Name the lines of a row."""
    return f"line {lines.start}" if len(lines) == 1 else f"lines {lines.start} to {lines.stop - 1}"


def _cells(lines: Iterator[str], separator: str) -> Iterator[tuple[list[str], Problem | None]]:
    """Yield the cells of each record. A flat file quotes nothing."""
    quoting = csv.QUOTE_NONE if separator == "\t" else csv.QUOTE_MINIMAL
    reader = csv.reader(lines, delimiter=separator, quoting=quoting, strict=True)
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield [], InvalidRequest(f"the row is not a record of the file: {error}")
        else:
            yield (cells, None) if cells != [_TOO_LONG] else ([], line_too_long())


def _row(header: Header, lines: range, size: int, cells: Sequence[str], problem: Problem | None) -> Row:
    if not any(cells):
        return Row(lines, size, None, {}, problem)
    read = restored_flat if header.separator == "\t" else restored
    texts = {name: read(cell) for name, cell in zip(header.columns, cells, strict=False) if cell.strip()}
    order_id, place = texts.get("order-id"), f"the row in {place_of(lines)}"
    if len(cells) != len(header.columns):
        problem = InvalidRequest(f"{place} has {len(cells)} cells, and the header {len(header.columns)}")
    elif order_id is None:
        problem = InvalidRequest("the row names no order", FieldError("is empty", "order-id"))
    elif _SURROGATE.search("".join(cells)):
        problem = InvalidRequest(f"{place} is not UTF-8 text")
    elif len(lines) > 1 and _has_swallowed_another(header, cells):
        problem = InvalidRequest(f"{place} holds another row between its quotes")
    return Row(lines, size, order_id, texts, problem)


def _has_swallowed_another(header: Header, cells: Sequence[str]) -> bool:
    """Tell whether a cell goes on with what looks like a row.

    A stray quote does that, and when another one ends it in the same column, the row has as many cells as it should.
    """
    date_at = header.columns.index("purchase-date")
    for name, cell in zip(header.columns, cells, strict=True):
        for line in cell.splitlines()[1:]:
            parts = line.split(header.separator)
            if name in _IDENTIFIERS or (len(parts) > date_at and _DATE.match(parts[date_at].strip('"'))):
                return True
    return False

"""What became of a file's rows as a flat file: its own columns, then the results, to be corrected and sent again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson

from service.confirmation_batches.flat_rows import COLUMNS, RESULT_COLUMNS, lines_of_entry
from service.confirmation_batches.queries import WorkedRow
from service.flat_files import BREAKS, neutralised_flat

_BREAKS = re.compile(f"[{BREAKS}]+")


def result_lines(columns: Sequence[str] | None, rows: Iterable[WorkedRow]) -> Iterator[str]:
    """Yield the lines: a row's own cells, or for JSON, which has no columns, a line for each item in the usual ones.

    Cells that stand under no column follow at the end, so that the row stays too long until somebody corrects it.
    """
    names = COLUMNS if columns is None else columns
    yield _line([*names, *RESULT_COLUMNS])
    for row in rows:
        told = _told(row)
        for cells in _own_cells(row.content) if columns is None else [row.content]:
            yield _line([*cells[: len(names)], *told, *cells[len(names) :]])


def _own_cells(entry: object) -> Iterator[Sequence[str]]:
    for line in lines_of_entry(entry):
        yield [_text(line.get(column)) for column in COLUMNS]


def _text(value: object) -> str:
    if isinstance(value, list):
        return ",".join(map(_text, value))  # pyright: ignore[reportUnknownArgumentType]  # any JSON
    return "" if value is None else value if isinstance(value, str) else orjson.dumps(value).decode()


def _told(row: WorkedRow) -> Sequence[str]:
    problem: Mapping[str, Any] = row.outcome.get("problem", {})
    return (
        str(row.row_number),
        row.result,
        row.outcome.get("packageReferenceId", ""),
        problem.get("type", ""),
        problem_text(problem),
        "; ".join(warning["message"] for warning in row.outcome.get("warnings", ())),
    )


def problem_text(problem: Mapping[str, Any]) -> str:
    """Return a row's problem, and where it lies, in one line."""
    places = [f"{each.get('pointer', '').removeprefix('/')} {each['detail']}" for each in problem.get("errors", ())]
    return ": ".join(filter(None, [problem.get("detail", ""), "; ".join(map(str.strip, places))]))


def _line(cells: Sequence[str]) -> str:
    return "\t".join(map(_cell, cells)) + "\n"


def _cell(text: str) -> str:
    # Nearly all cells are such texts, and safe.
    if not text or (text.isascii() and text.isprintable() and text[0].isalnum() and "," not in text):
        return text
    return neutralised_flat(_BREAKS.sub(" ", text))

"""Cells of files that people open in a spreadsheet, which runs some texts as formulas."""

from __future__ import annotations

import re

# What ends a cell or a line somewhere, whatever stands between quotes: how a program takes a file apart depends on the
# language it is set to, and where a list is written with semicolons a comma ends no cell.
BREAKS = r"\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029"
_SEPARATORS = rf",;{BREAKS}"
# What shows nothing: format characters (the category Cf), variation selectors, fillers and controls.
_INVISIBLE = (
    r"\x00-\x08\x0e-\x1b\x1f\x7f-\x84\x86-\x9f\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160"
    r"\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0"
    r"\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    r"\U000e0000-\U000e0fff"
)
# What a spreadsheet skips before a formula. An apostrophe counts as skipped, so that one more of them can be told from
# those that a text has of its own.
_SKIPPED = rf"""(?:[^\S{BREAKS}]|['"{_INVISIBLE}])*+"""
_FORMULA = rf"{_SKIPPED}[=+\-@\uff1d\uff0b\uff0d\uff20]"

_AT_START = re.compile(rf"{_FORMULA}|{_SKIPPED}[\t\r\n]")
_INSIDE = re.compile(rf"([{_SEPARATORS}])(?={_FORMULA})")
_APOSTROPHE_INSIDE = re.compile(rf"([{_SEPARATORS}])'(?={_FORMULA})")
_QUOTE_AT_START = re.compile("""'*+\"""")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?", re.ASCII)


def neutralised(text: str) -> str:
    """Return a cell of which no spreadsheet runs any part: an apostrophe stands before each that it could run.

    A plain number stays a number.
    """
    if _NUMBER.fullmatch(text):
        return text
    cell = _INSIDE.sub(r"\1'", text)
    return f"'{cell}" if _AT_START.match(cell) else cell


def restored(cell: str) -> str:
    """Return the text that was neutralised."""
    text = cell[1:] if cell.startswith("'") and _AT_START.match(cell, 1) else cell
    return _APOSTROPHE_INSIDE.sub(r"\1", text)


def neutralised_flat(text: str) -> str:
    """Return a cell for a file that quotes nothing. A quote that begins it would swallow lines where quotes count."""
    cell = neutralised(text)
    return f"'{cell}" if _QUOTE_AT_START.match(cell) else cell


def restored_flat(cell: str) -> str:
    """Return the text that was neutralised for a file that quotes nothing."""
    return restored(cell[1:] if cell.startswith("'") and _QUOTE_AT_START.match(cell, 1) else cell)

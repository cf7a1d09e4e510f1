"""Import orders from files of any size, in batches that are all or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

import psycopg

from service.database import Database
from service.errors import Contended, FieldError, Problem, RequestTooLarge
from service.ingest.actions import CreateSellers, receive_orders
from service.ingest.rules import IncomingOrder, Outcome

TRIES = 3
MAX_LINE_BYTES = 1024 * 1024
MAX_BATCH_BYTES = 8 * MAX_LINE_BYTES
BYTE_ORDER_MARK = b"\xef\xbb\xbf"

Receive: TypeAlias = Callable[[psycopg.Connection, Sequence[IncomingOrder]], Sequence[Outcome | Problem]]


class Lines(Protocol):
    """What is read line by line, such as a file."""

    def readline(self, size: int, /) -> bytes:
        """Return the next line, or its first `size` bytes; nothing at the end."""
        ...


class Begun:
    """A file of which the first line was read already."""

    def __init__(self, first_line: bytes, rest: Lines) -> None:
        self._first_line, self._rest = first_line, rest

    def readline(self, size: int, /) -> bytes:
        """Return the next line, beginning with the first."""
        line, self._first_line = self._first_line, b""
        return line or self._rest.readline(size)


@dataclass(frozen=True, slots=True)
class Entry:
    """What a part of a file says, the number of its first line, and its size; None where it says nothing."""

    line_number: int
    content: IncomingOrder | Problem | None
    size: int


@dataclass(slots=True)
class ImportSummary:
    """What became of the lines that are not blank."""

    lines: int = 0
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    refused: int = 0


@dataclass(frozen=True, slots=True)
class Refusal:
    """A line that was not taken, counted from 1, and why."""

    line_number: int
    problem: Problem


@dataclass(slots=True)
class _Batch:
    """Lines that are stored together, by number: at most one version of an order, and a bounded number of bytes."""

    entries: dict[int, IncomingOrder | Problem] = field(default_factory=dict[int, "IncomingOrder | Problem"])
    keys: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    size: int = 0


def import_orders(  # noqa: PLR0913  # what an import needs to know, by name
    database: Database,
    stream: Lines,
    read_line: Callable[[bytes], IncomingOrder],
    *,
    actor: str,
    create_missing_sellers: CreateSellers | None,
    on_refusal: Callable[[Refusal], None],
    on_progress: Callable[[int], None],
    batch_size: int = 500,
) -> ImportSummary:
    """Import an order a line, as `import_entries` does. `read_line` raises the `Problem` that refuses a line."""
    return import_entries(
        database,
        line_entries(stream, read_line),
        lambda connection, orders: receive_orders(connection, orders, actor, create_missing_sellers),
        on_refusal=on_refusal,
        on_progress=on_progress,
        batch_size=batch_size,
    )


def import_entries(  # noqa: PLR0913  # what an import needs to know, by name
    database: Database,
    entries: Iterable[Entry],
    receive: Receive,
    *,
    on_refusal: Callable[[Refusal], None],
    on_progress: Callable[[int], None],
    batch_size: int = 500,
) -> ImportSummary:
    """Import what a file says; return what became of it.

    A batch is committed before it is reported: `on_refusal` gets each entry that was not taken, in their order, and
    `on_progress` the number of bytes read since its last call. Whatever stops an import, running it again adds nothing
    twice.
    """
    summary = ImportSummary()
    for batch in _batches(entries, batch_size):
        results: dict[int, Outcome | Problem] = {
            number: entry for number, entry in batch.entries.items() if isinstance(entry, Problem)
        }
        orders = {number: entry for number, entry in batch.entries.items() if isinstance(entry, IncomingOrder)}
        if orders:
            results |= zip(orders, _receive(database, list(orders.values()), receive), strict=True)
        for number in sorted(results):
            _count(summary, number, results[number], on_refusal)
        on_progress(batch.size)
    return summary


def _receive(database: Database, orders: Sequence[IncomingOrder], receive: Receive) -> Sequence[Outcome | Problem]:
    """Store a batch. One that is held up by another transaction stored nothing, and is tried again."""
    tries_left = TRIES
    while True:
        try:
            with database.operator_transaction() as connection:
                return receive(connection, orders)
        except Contended:
            tries_left -= 1
            if not tries_left:
                raise


def _count(
    summary: ImportSummary, line_number: int, result: Outcome | Problem, on_refusal: Callable[[Refusal], None]
) -> None:
    summary.lines += 1
    match result:
        case Problem():
            summary.refused += 1
            on_refusal(Refusal(line_number, result))
        case Outcome.CREATED:
            summary.created += 1
        case Outcome.UPDATED:
            summary.updated += 1
        case Outcome.UNCHANGED:
            summary.unchanged += 1


def _batches(entries: Iterable[Entry], batch_size: int) -> Iterator[_Batch]:
    batch = _Batch()
    for entry in entries:
        content = entry.content
        if isinstance(content, IncomingOrder):
            if content.key in batch.keys:  # Another version of the same order is judged by what this one leaves behind.
                yield batch
                batch = _Batch()
            batch.keys.add(content.key)
        if content is not None:
            batch.entries[entry.line_number] = content
        batch.size += entry.size
        if len(batch.entries) >= batch_size or batch.size >= MAX_BATCH_BYTES:
            yield batch
            batch = _Batch()
    if batch.size:
        yield batch


def line_entries(stream: Lines, read_line: Callable[[bytes], IncomingOrder]) -> Iterator[Entry]:
    """Yield an order a line."""
    for number, (line, size) in enumerate(lines_of(stream), start=1):
        yield Entry(number, _read(line, read_line), size)


def _read(line: bytes | None, read_line: Callable[[bytes], IncomingOrder]) -> IncomingOrder | Problem | None:
    if line is None:
        return line_too_long()
    if not line.strip():
        return None
    try:
        return read_line(line)
    except Problem as problem:
        return problem


def line_too_long() -> Problem:
    """Return the problem of a line that is not held."""
    return RequestTooLarge("the line is too long", FieldError(f"is longer than {MAX_LINE_BYTES} bytes", ""))


def lines_of(stream: Lines) -> Iterator[tuple[bytes | None, int]]:
    """Yield each line with the bytes it takes in the stream; None for one that is too long to be held."""
    line = stream.readline(MAX_LINE_BYTES + 1)
    content = line.removeprefix(BYTE_ORDER_MARK)
    while line:
        size = len(line)
        is_too_long = size > MAX_LINE_BYTES and not line.endswith(b"\n")
        while size > MAX_LINE_BYTES and line and not line.endswith(b"\n"):
            line = stream.readline(MAX_LINE_BYTES)
            size += len(line)
        yield None if is_too_long else content, size
        line = content = stream.readline(MAX_LINE_BYTES + 1)

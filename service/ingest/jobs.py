"""Import orders from NDJSON of any size, in batches that are all or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from service.database import Database
from service.errors import Contended, FieldError, Problem, RequestTooLarge
from service.ingest.actions import CreateSellers, receive_orders
from service.ingest.rules import IncomingOrder, Outcome

TRIES = 3
MAX_LINE_BYTES = 1024 * 1024
MAX_BATCH_BYTES = 8 * MAX_LINE_BYTES
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


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
    stream: BinaryIO,
    read_line: Callable[[bytes], IncomingOrder],
    *,
    actor: str,
    create_missing_sellers: CreateSellers | None,
    on_refusal: Callable[[Refusal], None],
    on_progress: Callable[[int], None],
    batch_size: int = 500,
) -> ImportSummary:
    """Import an order a line; return what became of the lines.

    A batch is committed before it is reported: `on_refusal` gets each line that was not taken, in their order, and
    `on_progress` the number of bytes read since its last call. Whatever stops an import, running it again adds nothing
    twice. `read_line` raises the `Problem` that refuses a line.
    """
    summary = ImportSummary()
    for batch in _batches(stream, read_line, batch_size):
        results: dict[int, Outcome | Problem] = {
            number: entry for number, entry in batch.entries.items() if isinstance(entry, Problem)
        }
        orders = {number: entry for number, entry in batch.entries.items() if isinstance(entry, IncomingOrder)}
        if orders:
            received = _receive(database, list(orders.values()), actor, create_missing_sellers)
            results |= zip(orders, received, strict=True)
        for number in sorted(results):
            _count(summary, number, results[number], on_refusal)
        on_progress(batch.size)
    return summary


def _receive(
    database: Database, orders: list[IncomingOrder], actor: str, create_missing_sellers: CreateSellers | None
) -> list[Outcome | Problem]:
    """Store a batch. One that is held up by another transaction stored nothing, and is tried again."""
    tries_left = TRIES
    while True:
        try:
            with database.operator_transaction() as connection:
                return receive_orders(connection, orders, actor, create_missing_sellers)
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


def _batches(stream: BinaryIO, read_line: Callable[[bytes], IncomingOrder], batch_size: int) -> Iterator[_Batch]:
    batch = _Batch()
    for number, (line, size) in enumerate(_lines(stream), start=1):
        entry = _read(line, read_line)
        if isinstance(entry, IncomingOrder):
            if entry.key in batch.keys:  # Another version of the same order is judged by what this one leaves behind.
                yield batch
                batch = _Batch()
            batch.keys.add(entry.key)
        if entry is not None:
            batch.entries[number] = entry
        batch.size += size
        if len(batch.entries) >= batch_size or batch.size >= MAX_BATCH_BYTES:
            yield batch
            batch = _Batch()
    if batch.size:
        yield batch


def _read(line: bytes | None, read_line: Callable[[bytes], IncomingOrder]) -> IncomingOrder | Problem | None:
    if line is None:
        error = FieldError(f"is longer than {MAX_LINE_BYTES} bytes", "")
        return RequestTooLarge("the line is too long", error)
    if not line.strip():
        return None
    try:
        return read_line(line)
    except Problem as problem:
        return problem


def _lines(stream: BinaryIO) -> Iterator[tuple[bytes | None, int]]:
    """Yield each line with the bytes it takes in the stream; None for one that is too long to be held."""
    line = stream.readline(MAX_LINE_BYTES + 1)
    content = line.removeprefix(_BYTE_ORDER_MARK)
    while line:
        size = len(line)
        is_too_long = size > MAX_LINE_BYTES and not line.endswith(b"\n")
        while size > MAX_LINE_BYTES and line and not line.endswith(b"\n"):
            line = stream.readline(MAX_LINE_BYTES)
            size += len(line)
        yield None if is_too_long else content, size
        line = content = stream.readline(MAX_LINE_BYTES + 1)

"""Export the orders of a list, of any number, from one snapshot."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import orjson
import psycopg

from service.database import Database
from service.export.files import FileFormat, chunks, dialect_of, gzipped
from service.export.layouts import DEFAULT_COLUMNS, LAYOUTS, LayoutName
from service.export.tables import ITEMS, Json, Table
from service.orders.queries import read_clock
from service.orders.shapes import Shape
from service.search.queries import stream_orders
from service.search.rules import OrderFilter, Sort

BATCH_SIZE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """Which orders of a seller to write, and how. `columns` are for a table that has no layout; none are the usual."""

    seller_id: str
    filters: OrderFilter
    sort: Sort
    shape: Shape
    columns: Sequence[str]
    file_format: FileFormat
    layout: LayoutName | None
    is_gzipped: bool


def export_orders(database: Database, export: Export) -> Iterator[bytes]:
    """Yield the file in chunks. The transaction lasts until the last one, or until the generator is closed."""
    with database.seller_transaction(export.seller_id) as connection:
        contents = chunks(_texts(connection, export))
        yield from gzipped(contents) if export.is_gzipped else contents


def _texts(connection: psycopg.Connection, export: Export) -> Iterator[str]:
    if export.layout is not None:
        yield from _report(connection, export, export.layout)
    elif export.file_format is FileFormat.NDJSON:
        for text in _orders(connection, export, export.filters, export.shape.members):
            yield export.shape.prune_text(text) + "\n"
    else:
        yield from _table(connection, export)


def _report(connection: psycopg.Connection, export: Export, name: LayoutName) -> Iterator[str]:
    layout, dialect, now = LAYOUTS[name], dialect_of(export.file_format), read_clock(connection)
    yield dialect.row(layout.table.header)
    filters = layout.narrow(export.filters)
    if filters is not None:
        for text in _orders(connection, export, filters, layout.members):
            yield from map(dialect.row, layout.table.rows(orjson.loads(text), now, dialect.cell))


def _table(connection: psycopg.Connection, export: Export) -> Iterator[str]:
    columns = export.columns or DEFAULT_COLUMNS
    table, shape = Table({path: path for path in columns}), export.shape.only(columns)
    dialect, now = dialect_of(export.file_format), read_clock(connection)
    yield dialect.row(table.header)
    for text in _orders(connection, export, export.filters, (shape.members or frozenset()) | {ITEMS}):
        yield from map(dialect.row, table.rows(_shown(shape, text), now, dialect.cell))


def _shown(shape: Shape, text: str) -> Json:
    """Return what the shape shows of an order, with as many items as it has."""
    order = orjson.loads(text)
    items: list[Json] = [{}] * len(order[ITEMS])
    return {ITEMS: items} | shape.prune(order)


def _orders(
    connection: psycopg.Connection, export: Export, filters: OrderFilter, members: frozenset[str] | None
) -> Iterator[str]:
    return stream_orders(connection, export.seller_id, filters, export.sort, members, batch_size=BATCH_SIZE)

"""The import beside a plain `COPY` of the same rows into the same tables."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import click
import psycopg
from psycopg import sql

from tests.benchmarks.bench import Bench, Ratio
from tests.benchmarks.building import fresh_database, import_files, write_files

_MOST_ORDERS = 50_000
_BLOCK = 1 << 20


def measure(bench: Bench) -> Iterator[Ratio]:
    """Import orders in one process, then copy what that made into another empty database."""
    orders = min(_MOST_ORDERS, bench.orders // 5)
    imported = fresh_database(bench.server_url, "manage_orders_benchmark_import")
    copied = fresh_database(bench.server_url, "manage_orders_benchmark_copy")
    (file,) = write_files(orders, 1, bench.directory)
    took = import_files(imported, [file])
    copy_s = _time_copy(imported, copied, bench.directory)
    click.echo(
        f"  import of {orders:,} orders   {orders / took.seconds:8,.0f} orders/s   peak memory {took.peak_mib:,.0f} MiB"
    )
    click.echo(f"  COPY of the same rows   {orders / copy_s:8,.0f} orders/s")
    yield Ratio("import / COPY of the same rows", copy_s / took.seconds, 0.15)


def _time_copy(source_url: str, target_url: str, directory: Path) -> float:
    """Return the seconds that it takes to copy the imported rows, as text, into another database's empty tables."""
    with psycopg.connect(source_url) as source, psycopg.connect(target_url) as target:
        tables = _filled_tables(source)
        for table, columns in tables.items():
            with (
                (directory / table).open("wb") as file,
                source.cursor().copy(_copy(table, columns, "TO STDOUT")) as copy,
            ):
                for block in copy:
                    file.write(block)
        begin = time.perf_counter()
        for table, columns in tables.items():
            with (
                (directory / table).open("rb") as file,
                target.cursor().copy(_copy(table, columns, "FROM STDIN")) as copy,
            ):
                while block := file.read(_BLOCK):
                    copy.write(block)
        target.commit()
    return time.perf_counter() - begin


def _copy(table: str, columns: list[str], direction: str) -> sql.Composed:
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    return sql.SQL("COPY {} ({}) {}").format(sql.Identifier(table), names, sql.SQL(direction))  # pyright: ignore[reportArgumentType]  # one of two constants


def _filled_tables(connection: psycopg.Connection) -> dict[str, list[str]]:
    """Return the tables that an import fills, with the columns that are not computed, each behind what it refers to."""
    rows = connection.execute(
        """
        SELECT c.relname, array_agg(a.attname ORDER BY a.attnum)
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND c.relrowsecurity
            AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
        GROUP BY c.relname
        """
    ).fetchall()
    order = ("sellers", "orders", "order_items", "packages", "package_items")
    columns = dict(sorted(rows, key=lambda row: order.index(row[0]) if row[0] in order else len(order)))
    return {table: names for table, names in columns.items() if table != "tokens"}

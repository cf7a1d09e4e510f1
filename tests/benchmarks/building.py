"""The database that is measured: made-up orders that went through the real import, kept for the next run."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click
import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from service.database import newest_schema_version, upgrade_schema
from tests.benchmarks.data import count_by_seller, order_lines

_FILE_NUMBERS = 10_000_000  # Each file numbers its orders from a multiple of this, so that no number comes twice.


@dataclass(frozen=True, slots=True)
class Import:
    """What importing a set of files took."""

    seconds: float
    peak_mib: float


def write_files(orders: int, files: int, directory: Path) -> list[Path]:
    """Write orders into files that share no seller, so that imports of them do not wait for each other."""
    shares: list[list[tuple[str, int]]] = [[] for _ in range(files)]
    for seller_id, count in sorted(count_by_seller(orders).items(), key=lambda each: -each[1]):
        min(shares, key=lambda share: sum(count for _, count in share)).append((seller_id, count))
    paths = [directory / f"orders-{number}.ndjson" for number in range(files)]
    end = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    with ProcessPoolExecutor(files) as processes:
        list(processes.map(_write_file, paths, shares, range(files), [end] * files))
    return paths


def _write_file(path: Path, counts: Sequence[tuple[str, int]], number: int, end: datetime) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(order_lines(counts, number * _FILE_NUMBERS, end))


def import_files(url: str, files: Sequence[Path]) -> Import:
    """Import files at the same time, a process each, as `manage-orders import` does it."""
    begin = time.perf_counter()
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "service.cli", "import", str(file), "--create-sellers"],
            env=os.environ | {"DATABASE_URL": url},
            stdout=subprocess.DEVNULL,
        )
        for file in files
    ]
    peaks_kib: list[int] = []
    for process in processes:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise click.ClickException("the import refused made-up orders; it said above which, and why")
        peaks_kib.append(usage.ru_maxrss)
    return Import(time.perf_counter() - begin, max(peaks_kib) / 1024)


def fresh_database(server_url: str, name: str) -> str:
    """Return the URL of a database that is new and migrated."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    url = make_conninfo(server_url, dbname=name)
    upgrade_schema(url)
    return url


def built_database(server_url: str, orders: int, directory: Path) -> str:
    """Return the URL of the database with so many orders; it is built unless an earlier run left it."""
    name = f"manage_orders_benchmark_{orders}"
    # Whatever stopped a build left no comment; another version of the schema has other indexes.
    wanted = f"{orders} orders, schema {newest_schema_version()}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        found = connection.execute(
            "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %(name)s", {"name": name}
        ).fetchone()
    if found == (wanted,):
        return make_conninfo(server_url, dbname=name)
    url = fresh_database(server_url, name)
    with ExitStack() as undo:
        files = write_files(orders, os.cpu_count() or 1, directory)
        for file in files:
            undo.callback(file.unlink)
        click.echo(f"importing {orders:,} orders, a process a core")
        took = import_files(url, files)
    click.echo(
        f"imported {orders:,} orders in {took.seconds:,.0f} s, {orders / took.seconds:,.0f} orders/s in {len(files)} "
        f"processes, peak memory of one {took.peak_mib:,.0f} MiB"
    )
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM (ANALYZE)")
        connection.execute("CHECKPOINT")
        comment = sql.SQL("COMMENT ON DATABASE {} IS {}").format(sql.Identifier(name), sql.Literal(wanted))
        connection.execute(comment)
    return url

"""Export of all that a seller has, beside `COPY (SELECT ...) TO STDOUT` of the same rows; and its memory."""

from __future__ import annotations

import http.client
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import LiteralString
from urllib.parse import urlencode

import click
import psycopg

from service.orders.order_json import order_json
from tests.benchmarks.bench import Bench, Ratio
from tests.benchmarks.data import DAYS, LARGEST_SELLER
from tests.benchmarks.limits import service_conninfo

_BLOCK = 1 << 20
_SMALL_EXPORT_ORDERS = 10_000
_IN_ORDER: LiteralString = "ORDER BY o.created_time DESC, o.order_id DESC"
_DOCUMENTS: LiteralString = f"""
COPY (SELECT {order_json(None)} FROM orders o WHERE o.seller_id = current_setting('app.seller_id') {_IN_ORDER})
TO STDOUT
"""
_CELLS: LiteralString = f"""
COPY (
    SELECT o.order_id, o.created_time, o.last_updated_time, o.marketplace_id, o.fulfillment_status, o.fulfilled_by,
        o.fulfillment_service_level, o.ship_by_latest, o.confirm_by, o.ship_by_latest < now(), o.payment_status,
        o.grand_total, o.currency_code, o.buyer->>'buyerName', o.recipient->'deliveryAddress'->>'city',
        o.recipient->'deliveryAddress'->>'postalCode', o.recipient->'deliveryAddress'->>'countryCode',
        i.order_item_id, i.item->'product'->>'sellerSku', i.item->'product'->>'asin', i.item->'product'->>'title',
        i.quantity_ordered, i.quantity_fulfilled,
        (SELECT string_agg(p.tracking_number, ' ') FROM packages p
         WHERE p.seller_id = o.seller_id AND p.order_id = o.order_id)
    FROM orders o
    CROSS JOIN LATERAL (
        SELECT order_item_id, item_number, quantity_ordered, quantity_fulfilled,
            ('{{' || substr(details, 2) || '}}')::json AS item
        FROM order_items WHERE seller_id = o.seller_id AND order_id = o.order_id ORDER BY item_number
    ) i
    WHERE o.seller_id = current_setting('app.seller_id') {_IN_ORDER}
) TO STDOUT (FORMAT csv)
"""


def measure(bench: Bench) -> Iterator[Ratio]:
    """Compare rows per second, and print the peak memory of a worker for few and for many orders."""
    copies: dict[str, LiteralString] = {"csv": _CELLS, "ndjson": _DOCUMENTS}
    for file_format, copied in copies.items():
        ours, limit = _interleaved(
            bench,
            lambda file_format=file_format: _exported(bench, {"format": file_format}),
            lambda copied=copied: _copied(bench, copied),
        )
        click.echo(f"  export, {file_format:<8} {ours:10,.0f} rows/s   COPY {limit:10,.0f} rows/s")
        yield Ratio(f"export rows, {file_format} / COPY (SELECT ...) of the same rows", ours / limit, 0.3)
    _show_memory(bench)


def _interleaved(bench: Bench, *sides: Callable[[], int]) -> list[float]:
    rates: list[list[float]] = [[] for _ in sides]
    for _ in range(max(1, bench.rounds // 2)):
        for place, side in enumerate(sides):
            begin = time.perf_counter()
            rows = side()
            rates[place].append(rows / (time.perf_counter() - begin))
    return [statistics.median(each) for each in rates]


def _exported(bench: Bench, query: dict[str, str]) -> int:
    """Read an export to its end, and return how many lines it has."""
    connection = http.client.HTTPConnection("127.0.0.1", bench.service.port, timeout=600)
    headers = {"Authorization": f"Bearer {bench.tokens[LARGEST_SELLER]}"}
    connection.request("GET", f"/v1/orders/export?{urlencode(query)}", headers=headers)
    response = connection.getresponse()
    lines = 0
    while block := response.read(_BLOCK):
        lines += block.count(b"\n")
    connection.close()
    if response.status != http.client.OK:
        raise click.ClickException(f"the export was answered {response.status}")
    return lines


def _copied(bench: Bench, statement: LiteralString) -> int:
    with psycopg.connect(service_conninfo(bench.url, LARGEST_SELLER), autocommit=True) as connection:
        connection.execute("SET statement_timeout = 0")
        with connection.cursor().copy(statement) as copy:
            return sum(bytes(block).count(b"\n") for block in copy)


def _show_memory(bench: Bench) -> None:
    few = min(_SMALL_EXPORT_ORDERS, bench.largest_count // 2)
    after = bench.newest_time - timedelta(days=DAYS * few / bench.largest_count)
    for name, query in ((f"{few:,}", {"createdAfter": after.isoformat()}), (f"{bench.largest_count:,}", {})):
        for file_format in ("csv", "ndjson"):
            workers = _workers(bench.service.process_id)
            for worker in workers:
                (worker / "clear_refs").write_text("5")  # the peak is counted anew
            lines = _exported(bench, {"format": file_format, **query})
            peak_mib = max(map(_peak_mib, workers))
            click.echo(
                f"  {file_format:<7} of {name:>9} orders: {lines:9,} lines, peak memory of a worker {peak_mib:.0f} MiB"
            )
    command_mib = _command_peak_mib(bench)
    click.echo(f"  manage-orders export of {bench.largest_count:,} orders: peak memory {command_mib:.0f} MiB")


def _workers(process_id: int) -> list[Path]:
    children = Path(f"/proc/{process_id}/task/{process_id}/children").read_text().split()
    return [Path("/proc") / child for child in children]


def _peak_mib(process: Path) -> float:
    lines = (process / "status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM:"))) / 1024


def _command_peak_mib(bench: Bench) -> float:
    process = subprocess.Popen(
        [sys.executable, "-m", "service.cli", "export", "--seller", LARGEST_SELLER, "--format", "csv"],
        env=os.environ | {"DATABASE_URL": bench.url},
        stdout=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise click.ClickException("the export command failed; it said above why")
    return usage.ru_maxrss / 1024

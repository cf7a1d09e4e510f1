"""The sweep of very many overdue orders, what waits for it meanwhile, and a sweep that finds nothing."""

from __future__ import annotations

import itertools
import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime

import click
import orjson
import psycopg

from tests.benchmarks.bench import Bench, Ratio
from tests.benchmarks.building import built_database
from tests.benchmarks.load import Load, Request, paced, quantile
from tests.benchmarks.serving import running_service
from tests.benchmarks.sweeping import (
    LIFTED,
    add_overdue,
    blocks_touched,
    cancelled_at_once,
    copied,
    explain_claim,
    explain_look,
    longest_hold_s,
    some_orders,
    swept,
)

_PER_SECOND, _ORDERS = 300, 6000
_LINE = 160  # of a plan, which tells every order id
_KINDS = {"overdue": True, "other": False}


def measure(bench: Bench) -> Iterator[Ratio]:
    """Sweep a tenth of all orders, each time in a new copy of the database."""
    with ExitStack() as stack:
        url = stack.enter_context(copied(bench.server_url, bench.url, "manage_orders_benchmark_overdue"))
        add_overdue(url, bench.orders // 10, bench.directory)
        yield from _throughput(bench, url)
        yield from _confirmations(bench, url)
        yield from _idle(bench, url)


def _throughput(bench: Bench, url: str) -> Iterator[Ratio]:
    sides: dict[str, Callable[[str], tuple[int, float]]] = {"sweep": swept, "one statement": cancelled_at_once}
    rates: dict[str, list[float]] = {name: [] for name in sides}
    holds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(bench.rounds):
        for name, side in sides.items():
            with copied(bench.server_url, url, "manage_orders_benchmark_sweep") as copy, _one_process() as process:
                _warm(copy)
                done = process.submit(side, copy)
                holds[name].append(longest_hold_s(copy, done.done))
                cancelled, took = done.result()
                rates[name].append(cancelled / took)
    for name in sides:
        click.echo(f"  {name:<44} {statistics.median(rates[name]):10,.0f}/s   longest hold {max(holds[name]):.3f} s")
    yield Ratio("sweep / one bare statement, orders a second", *_medians(rates["sweep"], rates["one statement"]), 0.6)
    yield Ratio("longest time that a batch holds its locks, in s", max(holds["sweep"]), 0.3, at_most=True)


def _medians(left: list[float], right: list[float]) -> tuple[float]:
    return (statistics.median(left) / statistics.median(right),)


def _confirmations(bench: Bench, url: str) -> Iterator[Ratio]:
    times: dict[tuple[str, str], list[float]] = {}
    for _ in range(bench.rounds):
        with copied(bench.server_url, url, "manage_orders_benchmark_sweep") as copy, running_service(copy) as service:
            _warm(copy)
            alone, beside = _requests(bench, copy)
            warming = len(alone) // 8
            paced(service.port, alone[:warming], _PER_SECOND, _after(1))
            loads = {"alone": paced(service.port, alone[warming:], _PER_SECOND, _after(bench.seconds))}
            with _one_process() as process:
                done = process.submit(swept, copy)
                loads["beside a sweep"] = paced(service.port, beside, _PER_SECOND, done.done)
                done.result()
        for (name, load), kind in itertools.product(loads.items(), _KINDS):
            times.setdefault((name, kind), []).append(_p99_ms(load, kind))
    for kind in _KINDS:
        alone_ms, beside_ms = (statistics.median(times[name, kind]) for name in ("alone", "beside a sweep"))
        click.echo(f"  p99 of confirmations of {kind} orders: {alone_ms:.1f} ms, beside a sweep {beside_ms:.1f} ms")
        yield Ratio(f"confirmation p99 beside a sweep / alone, {kind} orders", beside_ms / alone_ms, 5, at_most=True)


def _requests(bench: Bench, url: str) -> tuple[list[Request], list[Request]]:
    """Return confirmations of other orders in turn with overdue ones: of one half of each, and of the other half."""
    body = {
        "packageReferenceId": "1",
        "carrierCode": "UPS",
        "trackingNumber": "1Z999AA10123456784",
        "shipDate": datetime.now(UTC).isoformat(),
    }
    requests = {
        kind: [
            Request(
                f"/v1/orders/{order_id}/shipment-confirmations",
                bench.tokens[seller_id],
                kind=kind,
                body=orjson.dumps(body).decode(),
            )
            for seller_id, order_id in some_orders(url, _ORDERS, are_overdue=is_overdue)
        ]
        for kind, is_overdue in _KINDS.items()
    }
    mixed = list(itertools.chain.from_iterable(zip(*requests.values(), strict=False)))
    return mixed[: len(mixed) // 2], mixed[len(mixed) // 2 :]


def _p99_ms(load: Load, kind: str) -> float:
    values = load.latencies_ms.get(kind, ())
    if not values:
        raise click.ClickException("the sweep was over before a confirmation was: measure more orders")
    return quantile(values, 99)


def _idle(bench: Bench, url: str) -> Iterator[Ratio]:
    with copied(bench.server_url, url, "manage_orders_benchmark_sweep") as copy:
        _tell("a claim of a batch", explain_claim(copy, LIFTED.batch_size))
    small = built_database(bench.server_url, bench.orders // 100, bench.directory)
    touched: dict[int, int] = {}
    for orders, each in ((bench.orders // 100, small), (bench.orders, url)):
        with copied(bench.server_url, each, "manage_orders_benchmark_sweep") as copy:
            swept(copy)
            at_once = _touched_by_sweep(copy)
            with psycopg.connect(copy, autocommit=True) as connection:
                connection.execute("VACUUM (ANALYZE)")
            _touched_by_sweep(copy)
            touched[orders] = _touched_by_sweep(copy)
            click.echo(f"  blocks of an idle sweep at {orders:,}: {touched[orders]}, before a vacuum {at_once}")
            if orders == bench.orders:
                _tell("the look of an idle sweep", explain_look(copy))
    yield Ratio(
        "idle sweep, blocks touched / of one at a hundredth of the orders",
        touched[bench.orders] / touched[bench.orders // 100],
        1,
        at_most=True,
    )


def _touched_by_sweep(url: str) -> int:
    before = blocks_touched(url)
    swept(url)
    # The statistics of a connection are written when it ends, which it does on its own.
    time.sleep(0.5)
    return blocks_touched(url) - before


def _one_process() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork"))


def _after(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


def _warm(url: str) -> None:
    """Bring what is open into memory, as it is where the service runs."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET enable_seqscan = off")
        connection.execute("SELECT sum(length(orders::text)) FROM orders WHERE fulfillment_status = 'UNSHIPPED'")


def _tell(what: str, lines: Sequence[str]) -> None:
    click.echo(f"  {what}")
    for line in lines:
        click.echo(f"    {line[:_LINE]}")

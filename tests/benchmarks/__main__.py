"""Measure the service beside what it could be at best, in one run: `python -m tests.benchmarks`."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path

import click
import psycopg
from psycopg import sql

from service.database import Database
from service.embedded import EmbeddedServer
from service.sellers.actions import create_token
from service.settings import Settings
from tests.benchmarks.bench import Bench, Ratio
from tests.benchmarks.building import built_database
from tests.benchmarks.data import count_by_seller
from tests.benchmarks.sections import (
    confirmations,
    counts,
    export,
    home,
    imports,
    list_page,
    lists,
    one_order,
    paging,
    search,
    sorts,
    sweep,
)
from tests.benchmarks.serving import SECRET_KEY, running_service

SECTIONS: Mapping[str, Callable[[Bench], Iterable[Ratio]]] = {
    "list": list_page.measure,
    "lists": lists.measure,
    "order": one_order.measure,
    "pages": paging.measure,
    "sorts": sorts.measure,
    "counts": counts.measure,
    "home": home.measure,
    "search": search.measure,
    "export": export.measure,
    "confirmations": confirmations.measure,
    "import": imports.measure,
    "sweep": sweep.measure,
}


@click.command()
@click.option("--orders", default=1_000_000, show_default=True, help="How many orders the database holds.")
@click.option("--only", default=",".join(SECTIONS), show_default=True, help="Which sections to measure.")
@click.option("--seconds", default=4.0, show_default=True, help="How long one measurement takes.")
@click.option("--rounds", default=5, show_default=True, help="How often each is repeated; the medians count.")
@click.option("--data", type=click.Path(path_type=Path), help="Directory that keeps the database for the next run.")
def main(orders: int, only: str, seconds: float, rounds: int, data: Path | None) -> None:
    """Measure the service beside what it could be at best, in one run.

    The server is that of TEST_DATABASE_URL, else the embedded PostgreSQL. Row-level security and tokens are on.
    """
    chosen = only.split(",")
    if unknown := set(chosen) - set(SECTIONS):
        raise click.BadParameter(f"there is no section {', '.join(sorted(unknown))}", param_hint="--only")
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="manage-orders-benchmark-")))
        server_url = os.environ.get("TEST_DATABASE_URL")
        if not server_url:
            server_url = stack.enter_context(_sized_server(data or directory / "data")).url
        url = built_database(server_url, orders, directory)
        service = stack.enter_context(running_service(url))
        bench = Bench(server_url, url, directory, orders, seconds, rounds, service, _make_tokens(url, orders))
        _describe(bench)
        ratios: list[Ratio] = []
        for name in chosen:
            click.echo(f"\n{name}")
            for ratio in SECTIONS[name](bench):
                click.echo(f"  {ratio}")
                ratios.append(ratio)
    click.echo("\nRatios, both sides measured in this run")
    for ratio in ratios:
        click.echo(str(ratio))


def _sized_server(data: Path) -> EmbeddedServer:
    """Return the embedded server with a quarter of the memory for its buffers, as its documentation recommends."""
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    size = sql.Literal(f"{memory_bytes // 4 // 2**20}MB")
    with EmbeddedServer(data) as server, psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(sql.SQL("ALTER SYSTEM SET shared_buffers = {}").format(size))
    return EmbeddedServer(data)


def _make_tokens(url: str, orders: int) -> dict[str, str]:
    with psycopg.connect(url) as connection:
        connection.execute("DELETE FROM tokens")  # those of the run before, whose text is gone
    with Database(Settings(database_url=url), pool_size=1).closing() as database:
        return {
            seller_id: create_token(database, SECRET_KEY, seller_id=seller_id, name="benchmark")[1]
            for seller_id, count in count_by_seller(orders).items()
            if count
        }


def _describe(bench: Bench) -> None:
    with psycopg.connect(bench.url) as connection:
        row = connection.execute(
            """
            SELECT current_setting('server_version'), current_setting('shared_buffers'),
                pg_size_pretty(pg_database_size(current_database())),
                (SELECT count(*) FROM orders), (SELECT count(*) FROM order_items), (SELECT count(*) FROM sellers)
            """
        ).fetchone()
    if row is None:
        raise LookupError("the server does not answer")
    version, buffers, size, orders, items, sellers = row
    click.echo(
        f"{os.cpu_count()} cores, PostgreSQL {version} with {buffers} of buffers; "
        f"{orders:,} orders, {items:,} items, {sellers} sellers, {size}"
    )
    click.echo(f"medians of {bench.rounds} interleaved rounds of {bench.seconds:g} s")


if __name__ == "__main__":
    main()

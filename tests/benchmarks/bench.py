"""What every section of the benchmark works with, and how it says what it found."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path

import click
import psycopg

from tests.benchmarks.data import LARGEST_SELLER, count_by_seller
from tests.benchmarks.load import Load, Request, burst
from tests.benchmarks.serving import Server

LIST = "/v1/orders"
LIST_WINDOW_DAYS = 60


@dataclass(frozen=True, slots=True)
class Ratio:
    """Two figures of one run, and the target for their ratio."""

    what: str
    ratio: float
    target: float
    at_most: bool = False

    @property
    def is_met(self) -> bool:
        """Tell whether the target is met."""
        return self.ratio <= self.target if self.at_most else self.ratio >= self.target

    def __str__(self) -> str:
        bound = "at most" if self.at_most else "at least"
        return f"{self.what:<66} {self.ratio:8.2f}   {bound} {self.target:<5g} {'met' if self.is_met else 'NOT MET'}"


@dataclass(frozen=True)
class Bench:
    """The data, the service that runs on it, and how long to measure."""

    server_url: str
    url: str
    directory: Path
    orders: int
    seconds: float
    rounds: int
    service: Server
    tokens: Mapping[str, str]

    @cached_property
    def newest_time(self) -> datetime:
        """Return when the newest order was placed."""
        with psycopg.connect(self.url) as connection:
            row = connection.execute("SELECT max(created_time) FROM orders").fetchone()
        if row is None or row[0] is None:
            raise click.ClickException("the database holds no orders")
        return row[0]

    @property
    def largest_count(self) -> int:
        """Return how many orders the largest seller has."""
        return count_by_seller(self.orders)[LARGEST_SELLER]

    def filtered_lists(self, sellers: Sequence[str]) -> list[Request]:
        """Return requests for first pages of shipped orders, each of a seller and 60 days by chance."""
        chance = random.Random("lists")  # noqa: S311  # the same requests every time
        requests: list[Request] = []
        for _ in range(400):
            end = self.newest_time - timedelta(days=chance.uniform(60, 660))
            query = {
                "fulfillmentStatuses": "SHIPPED",
                "createdAfter": (end - timedelta(days=LIST_WINDOW_DAYS)).isoformat(),
                "createdBefore": end.isoformat(),
            }
            requests.append(Request(LIST, self.tokens[chance.choice(sellers)], query, "list"))
        return requests

    def load(self, requests: Sequence[Request], port: int | None = None) -> Load:
        """Put load on the service, or on another server, for as long as one measurement takes."""
        return burst(port or self.service.port, requests, self.seconds)

    def interleaved(self, sides: Mapping[str, Callable[[], Load]]) -> dict[str, list[Load]]:
        """Measure each side in every round, after a round that only warms up."""
        for side in sides.values():
            side()
        loads: dict[str, list[Load]] = {name: [] for name in sides}
        for _ in range(self.rounds):
            for name, side in sides.items():
                loads[name].append(side())
        return loads

    def glance(self, name: str, requests: Sequence[Request]) -> None:
        """Print how fast something is, without comparing it and in a quarter of the time."""
        brief = replace(self, seconds=self.seconds / 4)
        show(name, brief.interleaved({name: lambda: brief.load(requests)})[name])


def rate(loads: Sequence[Load]) -> float:
    """Return the median of the rounds."""
    return statistics.median(each.per_second for each in loads)


def latency_ms(loads: Sequence[Load], percent: int) -> float:
    """Return the median of the rounds."""
    return statistics.median(each.quantile_ms(percent) for each in loads)


def show(name: str, loads: Sequence[Load]) -> None:
    """Print how fast something was."""
    times = (
        f"p50 {latency_ms(loads, 50):7.1f} ms   p95 {latency_ms(loads, 95):7.1f} ms" if loads[0].latencies_ms else ""
    )
    click.echo(f"  {name:<44} {rate(loads):10,.0f}/s   {times}")

"""The figures as metrics in the text format of Prometheus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from service.cancellation_job.rules import RunState
from service.monitoring.figures import Figures
from service.settings import Settings

PREFIX = "manage_orders_"

GAUGES: Mapping[str, str] = {
    "cancellation_last_success_timestamp_seconds": "When the last run ended that cancelled what was due; none: never.",
    "cancellation_last_run_number": "The number of the last run that ended: each is numbered as it begins.",
    "cancellation_last_run_duration_seconds": "How long the last run took that ended.",
    "cancellation_run_running_seconds": "How long the oldest run has been under way; 0: none is.",
    "cancellation_run_silent_seconds": "How long a run under way has shown no sign of life; 0: none is under way.",
    "cancellation_overdue_orders": "Orders that were not confirmed in time and are not cancelled yet.",
    "cancellation_oldest_overdue_seconds": "How long the oldest of them has been due; 0: there is none.",
    "cancellation_paused": "1 while somebody has paused the job.",
    "cancellation_pause_ends_timestamp_seconds": "When the pause ends; none: there is no pause.",
    "cancellation_held": "1 while the job is held and waits for an approval.",
    "cancellation_missed_slots_24h": "Slots of the last 24 hours that nobody worked.",
    "schedulers_alive": "Scheduler processes that have shown themselves within 30 seconds.",
    "scheduler_clock_skew_seconds": "How far the clock of a live scheduler's host is off the database's, at most.",
    "clock_skew_seconds": "How far the database's clock is ahead of this host's.",
    "clock_went_back": "1 when the ledger was written at times that the database's clock says are yet to come.",
    "deadline_changes_running": "Approved changes of deadlines that are being worked.",
}


@dataclass(frozen=True, slots=True)
class Scrape(Collector):
    """One scrape; without figures the database did not answer, and nothing else is known."""

    settings: Settings
    figures: Figures | None

    def collect(self) -> Iterator[Metric]:
        """Yield every metric. None is kept between scrapes, so that each worker tells the same."""
        yield _gauge("database_up", "1 when the database answered this scrape.", self.figures is not None)
        if self.figures is not None:
            yield from _of_settings(self.settings)
            for name, value in self.figures.gauges.items():
                if value is not None:
                    yield _gauge(name, GAUGES[name], value)
            yield from _of_runs(self.figures)
            yield from _of_schedulers(self.figures)


def render(settings: Settings, figures: Figures | None) -> bytes:
    """Return a scrape as text."""
    return generate_latest(Scrape(settings, figures))


def _of_settings(settings: Settings) -> Iterator[Metric]:
    """Yield what the alerts measure by, so that they are right for any settings."""
    yield _gauge("cancellation_interval_seconds", "Length of a slot: a run begins in each.", settings.sweep_interval_s)
    yield _gauge("cancellation_run_limit_seconds", "A run that takes longer ends.", settings.sweep_limit_s)
    yield _gauge("clock_skew_limit_seconds", "A run is held when clocks differ more.", settings.max_clock_skew_s)
    yield _gauge("sandbox", "1 in sandbox mode, whose clock can be moved.", settings.sandbox)


def _of_runs(figures: Figures) -> Iterator[Metric]:
    runs = _family("cancellation_runs_24h", "Runs of the last 24 hours by state.", "state")
    run_counts = {each.state: each.run_count for each in figures.day}
    # All are told of, also those that there were none of: a series that comes and goes makes no graph.
    for state in RunState:
        runs.add_metric([state], run_counts.get(state, 0))
    yield runs
    orders = _family("cancellation_orders_24h", "Orders of the runs of the last 24 hours by outcome.", "outcome")
    orders.add_metric(["cancelled"], sum(each.cancelled_count for each in figures.day))
    orders.add_metric(["skipped"], sum(each.skipped_count for each in figures.day))
    orders.add_metric(["failed"], sum(each.error_count for each in figures.day))
    yield orders
    last = _family("cancellation_last_run_orders", "Orders of the last run that ended, by outcome.", "outcome")
    for outcome, count in figures.last_orders.items():
        if count is not None:
            last.add_metric([outcome], count)
    yield last


def _of_schedulers(figures: Figures) -> Iterator[Metric]:
    beats = _family("scheduler_heartbeat_timestamp_seconds", "When a scheduler last showed itself.", "scheduler")
    told = CounterMetricFamily(
        f"{PREFIX}scheduler_events",
        "What APScheduler has told a scheduler since its start.",
        labels=["scheduler", "event"],
    )
    for scheduler in figures.schedulers:
        beats.add_metric([scheduler.scheduler_id], scheduler.heartbeat_time.timestamp())
        for event, count in scheduler.scheduler_events.items():
            told.add_metric([scheduler.scheduler_id, event], count)
    yield beats
    yield told


def _gauge(name: str, documentation: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(PREFIX + name, documentation, value=value)


def _family(name: str, documentation: str, label: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(PREFIX + name, documentation, labels=[label])

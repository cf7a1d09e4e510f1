"""The alerts: each true when it should be and false otherwise, with a page in the runbook; and the dashboard."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import flask
import psycopg
import pytest
import yaml

from service.cli import cli
from service.monitoring.metrics import PREFIX, render
from service.settings import Settings
from tests.conftest import CONFIRM_BY, ApiClient
from tests.job_rows import insert_pause, insert_run, insert_scheduler
from tests.promql import Scraped, evaluate, names

Rows = Callable[[psycopg.Connection], None]

MONITORING = Path(__file__).resolve().parent.parent / "service" / "monitoring"
RULES_FILE = MONITORING / "alerts.yml"
(GROUP,) = yaml.safe_load(RULES_FILE.read_text("utf-8"))["groups"]
RULES: dict[str, dict[str, Any]] = {rule["alert"]: rule for rule in GROUP["rules"]}
PAGES = {page.stem: page.read_text("utf-8") for page in sorted((MONITORING / "runbook").glob("*.md"))}
DASHBOARD: dict[str, Any] = json.loads((MONITORING / "grafana-dashboard.json").read_text("utf-8"))


def firing(scraped: Scraped) -> set[str]:
    """Return the alerts whose condition is true."""
    return {name for name, rule in RULES.items() if evaluate(rule["expr"], scraped)}


@pytest.fixture
def scrape(operator: ApiClient) -> Callable[[], Scraped]:
    """Return a function that scrapes as Prometheus does."""
    return lambda: Scraped.of(operator.get("/metrics").text, time.time())


# What the ledger holds, and the alerts that must fire, and no others.


def well(owner: psycopg.Connection) -> None:
    insert_run(owner, "SUCCEEDED", began_s=40)
    insert_scheduler(owner)


def succeeded_once(owner: psycopg.Connection) -> None:
    insert_run(owner, "SUCCEEDED", began_s=300)
    insert_scheduler(owner)


def and_(first: Rows, *, pause_s: float | None = None, **runs: dict[str, Any]) -> Rows:
    """Return what inserts more runs after the first rows, and a pause that ends so many seconds from now."""

    def insert(owner: psycopg.Connection) -> None:
        first(owner)
        for state, columns in runs.items():
            insert_run(owner, state, **columns)
        if pause_s is not None:
            insert_pause(owner, ends_in_s=pause_s)

    return insert


def schedulers(*each: dict[str, Any]) -> Rows:
    """Return what inserts a success and these schedulers."""

    def insert(owner: psycopg.Connection) -> None:
        insert_run(owner, "SUCCEEDED", began_s=40)
        for number, columns in enumerate(each):
            insert_scheduler(owner, f"host:{number}:abcdef01", **columns)

    return insert


NOT_RUNNING, STUCK, PAUSED, HELD = (
    "CancellationJobNotRunning",
    "CancellationRunStuck",
    "CancellationJobPaused",
    "CancellationJobHeld",
)
SCENARIOS: dict[str, tuple[Rows, set[str]]] = {
    "all is well": (well, set()),
    "nothing was ever started": (lambda _: None, {"CancellationJobNeverRan", "NoSchedulerAlive"}),
    "the first run is held": (and_(insert_scheduler, HELD={}), {HELD}),
    "no run for three intervals": (succeeded_once, {NOT_RUNNING}),
    "every run fails": (and_(succeeded_once, FAILED={}), {NOT_RUNNING}),
    "only dry runs succeed": (and_(succeeded_once, SUCCEEDED={"dry_run": True}), {NOT_RUNNING}),
    "a run had leftovers that were locked": (and_(succeeded_once, PARTIAL={"skipped_count": 3}), set()),
    "orders could not be cancelled": (and_(succeeded_once, PARTIAL={"error_count": 1}), {"CancellationErrors"}),
    "they could by the next run": (and_(well, PARTIAL={"error_count": 1}, SUCCEEDED={}), set()),
    "a run is under way": (and_(well, RUNNING={"began_s": 100}), set()),
    "a run hangs": (and_(succeeded_once, RUNNING={"began_s": 200, "silent_s": 190}), {NOT_RUNNING, STUCK}),
    "a run takes too long": (and_(well, RUNNING={"began_s": 1000}), {STUCK}),
    "paused": (and_(succeeded_once, pause_s=60, PAUSED={}), {PAUSED}),
    "the pause ran out": (and_(succeeded_once, pause_s=-60, PAUSED={}), {NOT_RUNNING}),
    "held": (and_(succeeded_once, HELD={}), {HELD}),
    "held and paused": (and_(succeeded_once, pause_s=60, HELD={}, PAUSED={}), {HELD, PAUSED}),
    "held no more": (and_(well, HELD={}, SUCCEEDED={}), set()),
    "slots were missed": (and_(well, MISSED={"slot_count": 4}), {"SlotsMissed"}),
    "the clock went back": (and_(well, SUCCEEDED={"began_s": -7200}, HELD={}), {HELD, "ClockWentBack"}),
    "the only scheduler is silent": (schedulers({"silent_s": 60}), {"NoSchedulerAlive"}),
    "the only scheduler has stopped": (schedulers({"is_stopped": True}), {"NoSchedulerAlive"}),
    "one of two schedulers is silent": (schedulers({"silent_s": 60}, {}), set()),
    "a scheduler's clock is behind": (schedulers({}, {"skew_ms": -61_000}), {"ClockSkewed"}),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_each_alert_fires_when_it_should_and_no_other_does(
    name: str, owner: psycopg.Connection, scrape: Callable[[], Scraped]
) -> None:
    insert, expected = SCENARIOS[name]
    insert(owner)

    assert firing(scrape()) == expected


@pytest.mark.usefixtures("received")
def test_overdue_orders_alert_once_three_intervals_have_left_them(
    owner: psycopg.Connection, scrape: Callable[[], Scraped], set_clock: Callable[[object], object]
) -> None:
    well(owner)
    set_clock(CONFIRM_BY + timedelta(seconds=90))
    assert firing(scrape()) == set()

    set_clock(CONFIRM_BY + timedelta(seconds=200))
    assert firing(scrape()) == {"OverdueOrdersLeft"}
    insert_run(owner, "HELD")
    assert firing(scrape()) == {HELD}


def test_a_clock_that_differs_either_way_is_told(owner: psycopg.Connection, scrape: Callable[[], Scraped]) -> None:
    well(owner)
    scraped = scrape()
    for skew, expected in ((59.0, set[str]()), (61.0, {"ClockSkewed"}), (-59.0, set[str]()), (-61.0, {"ClockSkewed"})):
        differing = {**scraped.samples, PREFIX + "clock_skew_seconds": {frozenset[tuple[str, str]](): skew}}
        assert firing(Scraped(differing, scraped.now)) == expected, skew


def test_the_dashboard_shows_the_worst_of_the_processes(scrape: Callable[[], Scraped]) -> None:
    # Broken by the largest of the figures: 0 s would hide 120 s behind, and one process that still has a database all.
    def of_two(name: str, *values: float) -> Scraped:
        told = {frozenset({("instance", str(number))}): value for number, value in enumerate(values)}
        return Scraped({**scraped.samples, PREFIX + name: told}, scraped.now)

    scraped = scrape()
    panels = {panel["title"]: panel for panel in DASHBOARD["panels"]}
    api, schedulers_, _ = queries([panels["Difference between clocks"]])
    (up,) = queries([panels["Database"]])
    assert evaluate(api, of_two("clock_skew_seconds", -120, 0)) == {frozenset[tuple[str, str]](): 120}
    assert evaluate(schedulers_, of_two("scheduler_clock_skew_seconds", -90, 1)) == {frozenset[tuple[str, str]](): 90}
    assert evaluate(up, of_two("database_up", 1, 0)) == {frozenset[tuple[str, str]](): 0}


def test_without_a_database_that_is_the_only_alert_and_without_metrics_their_absence() -> None:
    text = render(Settings(), None).decode()

    assert firing(Scraped.of(text, time.time())) == {"DatabaseUnreachable"}
    assert firing(Scraped.of("", time.time())) == {"MetricsMissing"}


def test_every_alert_has_been_seen_to_fire() -> None:
    fired = set[str]().union(*(expected for _, expected in SCENARIOS.values()))

    assert fired | {"OverdueOrdersLeft", "DatabaseUnreachable", "MetricsMissing"} == RULES.keys()


# The file of rules, and the runbook.


def test_the_rules_are_a_rule_file_of_prometheus() -> None:
    promtool = shutil.which("promtool")
    if promtool is not None:
        subprocess.run([promtool, "check", "rules", RULES_FILE], check=True)
    assert GROUP.keys() == {"name", "rules"}
    assert len(RULES) == len(GROUP["rules"])
    for name, rule in RULES.items():
        assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}, name
        assert re.fullmatch(r"[1-9][0-9]*m", rule.get("for", "1m")), name
        assert rule["labels"]["severity"] in {"critical", "warning"}, name
        assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}, name


def test_every_alert_has_its_page_and_every_page_its_alert() -> None:
    assert PAGES.keys() - {"README"} == RULES.keys()
    for name, rule in RULES.items():
        assert rule["annotations"]["runbook_url"] == f"service/monitoring/runbook/{name}.md"
        assert PAGES[name].startswith(f"# {name}\n")
        sections = ["What it means", "Meanwhile", "First", "Resolve", "When to call someone"]
        assert re.findall("^## (.*)$", PAGES[name], re.MULTILINE) == sections, name


def test_what_a_page_tells_to_do_exists(app: flask.Flask) -> None:
    # Broken by a command, an option, an operation or a page that is renamed.
    addresses = app.test_client().get("/openapi.json").get_json()["paths"].keys() | {"/metrics"}
    shapes = {re.sub(r"\{[^}]*\}", "*", address) for address in addresses}
    for page, text in PAGES.items():
        for line in re.findall(r"manage-orders ([a-z][^`\n#]*)", text):
            assert set(re.findall(r"--[a-z-]+", line)) <= options_of(line.split()) | {"--help"}, (page, line)
        for address in re.findall(r"(?:127\.0\.0\.1:8080|GET |POST )(/[\w/{}-]+)", text):
            assert re.sub(r"\{[^}]*\}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "*", address) in shapes, (
                page,
                address,
            )
        for linked in re.findall(r"\]\(([^)]+)\)", text):
            assert (MONITORING / "runbook" / linked).is_file(), (page, linked)


def options_of(words: list[str]) -> set[str]:
    """Return the options of the command that a line begins with; fail when there is no such command."""
    command: Any = cli
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    return {option for parameter in command.params for option in parameter.opts}


# The dashboard.


def test_the_dashboard_can_be_imported_and_its_panels_lie_side_by_side() -> None:
    panels: list[dict[str, Any]] = DASHBOARD["panels"]
    cells = [
        (x, y)
        for place in (panel["gridPos"] for panel in panels)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]

    assert (DASHBOARD["uid"], DASHBOARD["schemaVersion"]) == ("manage-orders", 39)
    assert [(each["name"], each["type"]) for each in DASHBOARD["templating"]["list"]] == [("datasource", "datasource")]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24
    assert all(panel["datasource"]["uid"] == "${datasource}" for panel in panels if panel["type"] != "row")


def queries(panels: list[dict[str, Any]]) -> Iterator[str]:
    for panel in panels:
        for target in panel.get("targets", []):
            yield target["expr"]


def test_every_panel_and_every_alert_asks_for_what_is_told(
    owner: psycopg.Connection, scrape: Callable[[], Scraped]
) -> None:
    insert_run(owner, "SUCCEEDED")
    insert_scheduler(owner, EXECUTED=1)
    scraped = scrape()

    for expression in queries(DASHBOARD["panels"]):
        assert names(expression) <= scraped.samples.keys(), expression
        assert evaluate(expression, scraped), expression
    for rule in RULES.values():
        assert names(rule["expr"]) <= scraped.samples.keys(), rule["alert"]

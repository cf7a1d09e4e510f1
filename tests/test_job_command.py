"""The commands that show the cancellation job and steer it, and what they end with."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from service.cli import run
from service.database import Database
from service.job_page import told_at
from service.settings import Settings
from tests.conftest import NOW, SECRET_KEY, SELLER, ApiClient
from tests.job_scene import ENOUGH_TO_HOLD, insert_run, receive_due


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def facts(self) -> dict[str, str]:
        """Return the page of `job status` by label; lines without one belong to the label above."""
        found, label = dict[str, str](), ""
        for line in self.out.splitlines():
            label = line[:16].strip() or label
            found[label] = f"{found[label]}\n{line[16:]}" if label in found else line[16:]
        return found


Command = Callable[..., Ended]


@pytest.fixture
def command(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Return a function that runs a command in this process, against the test's database."""
    del database
    monkeypatch.setenv("DATABASE_URL", settings.database_url)
    monkeypatch.setenv("MANAGE_ORDERS_SECRET_KEY", SECRET_KEY)
    monkeypatch.setenv("MANAGE_ORDERS_SANDBOX", "1")

    def call(*words: str) -> Ended:
        capsys.readouterr()
        code = run(list(words))
        said = capsys.readouterr()
        return Ended(code, said.out, said.err)

    return call


def test_the_status_of_a_job_that_never_ran_says_so_and_ends_with_3(command: Command) -> None:
    ended = command("job", "status")
    assert (ended.code, ended.err) == (3, "")
    facts = ended.facts
    assert (facts["state"], facts["last success"], facts["last run"]) == ("STALLED", "never", "none")
    assert (facts["overdue"], facts["schedulers"]) == ("0 orders", "none is alive")
    assert facts["missed slots"] == "0 in the last 24 hours"
    assert re.fullmatch(r"20\S+Z \(in \d+ s\)", facts["next run"])


def test_the_status_of_a_job_that_does_its_work_ends_with_0(
    command: Command, database: Database, owner: psycopg.Connection
) -> None:
    receive_due(database, 1)
    owner.execute(
        """
        INSERT INTO schedulers (scheduler_id, host, process_id, program_version, clock_skew_ms)
        VALUES ('orders-1:4711', E'orders\\x1b[31m', 1, '1', 3)
        """
    )
    overdue = command("job", "status")
    assert re.fullmatch(r"1 orders, the oldest since 2026-03-18T07:00:00Z \(60 min ago\)", overdue.facts["overdue"])
    assert command("sweep").code == 0
    ended = command("job", "status")
    assert ended.code == 0
    assert ended.facts["state"] == "WAITING"
    assert re.fullmatch(
        r"SUCCEEDED, 20\S+Z \(\d s ago\): 1 due, 1 cancelled \(run [0-9a-f-]{36}\)", ended.facts["last success"]
    )
    # What a host calls itself is shown, and not done by the terminal.
    assert re.fullmatch(
        r"orders-1:4711 on orders\\x1b\[31m: alive, last sign 20\S+Z \(\d s ago\), clock \+3 ms",
        ended.facts["scheduler"],
    )


def test_the_status_as_json_is_the_answer_of_the_api(command: Command, operator: ApiClient, database: Database) -> None:
    receive_due(database, ENOUGH_TO_HOLD)
    assert command("sweep").code == 3
    ended = command("job", "status", "--json")
    moves = {"now", "nextRunTime"}
    shown, answered = json.loads(ended.out), operator.get("/v1/cancellation-job").get_json()
    assert (ended.code, shown["state"], shown.keys()) == (3, "HELD", answered.keys())
    assert {name: shown[name] for name in shown.keys() - moves} == {
        name: answered[name] for name in answered.keys() - moves
    }


def test_a_held_sweep_says_why_and_the_command_that_it_prints_lets_the_next_one_go_on(
    command: Command, operator: ApiClient, database: Database
) -> None:
    receive_due(database, ENOUGH_TO_HOLD)
    tried = command("sweep", "--dry-run")
    assert (tried.code, len(tried.out.splitlines())) == (0, ENOUGH_TO_HOLD)
    assert "the run would be held: TOO_MANY_OF_OPEN: 50 of 50 open orders are due" in tried.err
    held = command("sweep")
    assert held.code == 3
    assert held.out.startswith("HELD: 50 due, 0 cancelled, 0 skipped, 0 failed (run ")
    assert "TOO_MANY_OF_OPEN: 50 of 50 open orders are due, and 20 % are allowed\n" in held.err
    paste = re.search(r"manage-orders (job approve \S+ --expected-count 50 --reason) \"\.\.\.\"\n", held.err)
    assert paste is not None
    before = command("job", "status")
    assert (before.code, before.facts["state"]) == (3, "HELD")
    assert paste[0].strip() in before.facts["held"]
    assert "TOO_MANY_OF_OPEN: " in before.facts["held"]
    approved = command(*paste[1].split(), "We were closed")
    assert (approved.code, approved.out[:41]) == (0, "The next run may cancel 50 orders, until ")
    facts = command("job", "status").facts
    assert facts["approved"].startswith("50 orders, by command-line: We were closed; the next run uses it, until ")
    assert paste[0].strip() not in facts["held"]
    assert command("sweep").out.startswith("SUCCEEDED: 50 due, 50 cancelled")
    assert operator.get("/v1/orders", sellerId=SELLER, fulfillmentStatuses="UNSHIPPED").get_json()["orders"] == []


def test_a_paused_job_sweeps_nothing_until_it_is_resumed(
    command: Command, database: Database, owner: psycopg.Connection
) -> None:
    receive_due(database, 1)
    paused = command("job", "pause", "--reason", "The feed is late", "--until", "2h")
    assert paused.code == 0
    assert re.fullmatch(r"The job is paused until 20\S+Z \(in 2 h\)\.\n", paused.out)
    ((length,),) = owner.execute("SELECT until_time - paused_time FROM cancellation_pauses").fetchall()
    assert timedelta(hours=2) - timedelta(seconds=10) < length <= timedelta(hours=2)
    swept = command("sweep")
    assert (swept.code, swept.out.split()[0]) == (3, "PAUSED:")
    assert "the job is paused" in swept.err
    shown = command("job", "status")
    assert (shown.code, shown.facts["state"]) == (3, "PAUSED")
    assert re.fullmatch(r"until 20\S+Z \(in (2 h|119 min)\), by command-line: The feed is late", shown.facts["paused"])
    assert command("job", "resume") == Ended(0, "The job goes on.\n", "")
    assert command("job", "resume") == Ended(0, "The job was not paused.\n", "")
    assert command("sweep").code == 0
    end = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    assert command("job", "pause", "--reason", "again", "--until", end).code == 0


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["pause", "--reason", "late", "--until", "73h"], 1, "72 hours"),
        (["pause", "--reason", "late", "--until", "99999d"], 1, "72 hours"),
        (["pause", "--reason", "late", "--until", "2026-01-01T00:00:00Z"], 1, "/until"),
        (["pause", "--reason", "late", "--until", "0h"], 2, "90m, 2h or 3d"),
        (["pause", "--reason", "late", "--until", "tomorrow"], 2, "90m, 2h or 3d"),
        (["pause", "--reason", "late", "--until", "2999-12-31T23:59:59Z"], 1, "72 hours"),
        (["pause", "--reason", "", "--until", "2h"], 2, "--reason"),
        (["pause", "--until", "2h"], 2, "--reason"),
        (["approve", "x", "--expected-count", "1", "--reason", "why"], 2, "UUID"),
        (["approve", "5f0c5c4e-7a53-4d5a-9d0c-0d5a0f6b1c11", "--expected-count", "1", "--reason", "why"], 1, "no run"),
        (["approve", "5f0c5c4e-7a53-4d5a-9d0c-0d5a0f6b1c11", "--expected-count", "-1", "--reason", "why"], 2, "range"),
        (["runs", "--limit", "0"], 2, "range"),
        (["show", "x"], 2, "UUID"),
        (["show", "5f0c5c4e-7a53-4d5a-9d0c-0d5a0f6b1c11"], 1, "no run"),
    ],
)
def test_a_command_that_cannot_be_done_says_why_in_one_line(
    command: Command, owner: psycopg.Connection, words: list[str], code: int, said: str
) -> None:
    ended = command("job", *words)
    assert (ended.code, ended.out) == (code, "")
    (line,) = ended.err.splitlines()
    assert said in line
    assert owner.execute("SELECT count(*) FROM cancellation_pauses").fetchone() == (0,)


def test_a_run_is_a_line_the_newest_first(command: Command, owner: psycopg.Connection) -> None:
    for _ in range(3):
        insert_run(owner, "FAILED")
    dry = insert_run(owner, "SUCCEEDED", dry_run=True, found_count=4)
    missed = insert_run(owner, "MISSED", slot=datetime.now(UTC), slot_count=59)
    ended = command("job", "runs", "--limit", "3")
    rows = [line.split("\t") for line in ended.out.splitlines()]
    assert (ended.code, [row[2] for row in rows]) == (0, ["59 slots MISSED", "SUCCEEDED", "FAILED"])
    assert [row[-1] for row in rows[:2]] == [str(missed), str(dry)]
    assert rows[1][3:9] == ["yes", "4", "0", "0", "0", "test"]
    # A header that stood among the runs would be taken for one by what reads them.
    (header,) = ended.err.splitlines()
    assert (header.split("\t")[3:5], len(header.split("\t"))) == (["dry run", "due"], len(rows[0]))


def test_a_run_is_shown_with_its_orders_and_a_held_one_with_those_that_it_would_cancel(
    command: Command, database: Database
) -> None:
    order_ids = receive_due(database, ENOUGH_TO_HOLD)
    orders = [f"{SELLER}\t{order_id}\t2026-03-18T07:00:00Z" for order_id in order_ids]
    (held_id,) = re.findall(r"\(run (\S+)\)", command("sweep").out)
    held = command("job", "show", held_id)
    assert (held.code, sorted(held.out.splitlines())) == (0, orders)
    facts = Ended(0, held.err, "").facts
    assert (facts["state"], facts["due"], facts["requested by"]) == ("HELD", "50 of 50 open ones", "command-line")
    *reasons, approve = facts["held"].splitlines()
    assert reasons[0].startswith("TOO_MANY_OF_OPEN: 50 of 50 open orders are due")
    assert approve == f'manage-orders job approve {held_id} --expected-count 50 --reason "..."'
    assert "approved" not in facts

    assert command("job", "approve", held_id, "--expected-count", "50", "--reason", "We were closed").code == 0
    assert "; the next run uses it, until 20" in Ended(0, command("job", "show", held_id).err, "").facts["approved"]
    (done_id,) = re.findall(r"\(run (\S+)\)", command("sweep").out)
    done = command("job", "show", done_id)
    facts = Ended(0, done.err, "").facts
    assert (done.code, sorted(done.out.splitlines())) == (0, orders)
    assert (facts["by approval"], facts["done"]) == (f"of run {held_id}", "50 cancelled, 0 skipped, 0 failed")
    spent = command("job", "show", held_id)
    facts = Ended(0, spent.err, "").facts
    assert (spent.out, facts["approved"].endswith(f"; run {done_id} has used it")) == ("", True)
    assert "approve " not in facts["held"]


def test_what_a_run_could_not_cancel_is_shown_with_its_reason_and_done_by_no_terminal(
    command: Command, database: Database, owner: psycopg.Connection
) -> None:
    first, second = receive_due(database, 2)
    run_id = insert_run(owner, "PARTIAL", slot=datetime(2026, 3, 18, 8, tzinfo=UTC))
    owner.execute(
        """
        INSERT INTO cancellation_errors (seller_id, order_id, run_id, error)
        VALUES (%(seller)s, %(first)s, %(run)s, 'locked'), (%(seller)s, %(second)s, %(run)s, E'broken\x1b[31m')
        """,
        {"seller": SELLER, "first": first, "second": second, "run": run_id},
    )
    ended = command("job", "show", str(run_id))
    facts = Ended(0, ended.err, "").facts
    assert (ended.code, ended.out, facts["slot"]) == (0, "", "2026-03-18T08:00:00Z")
    assert facts["failed"] == f"{SELLER} {first}: locked\n{SELLER} {second}: broken\\x1b[31m"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s ago"),
        (119, "119 s ago"),
        (120, "2 min ago"),
        (7199, "119 min ago"),
        (7200, "2 h ago"),
        (172_800, "2 d ago"),
        (-1, "in 1 s"),
        (-7200, "in 2 h"),
    ],
)
def test_ages_are_told_in_the_largest_unit_of_which_there_are_two(seconds: int, words: str) -> None:
    assert told_at(NOW - timedelta(seconds=seconds), NOW).endswith(f"Z ({words})")

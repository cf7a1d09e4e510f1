"""Every command: what it does, what it says, and what it ends with."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from service.app import create_app
from service.cancellation_job.actions import sweep
from service.cancellation_job.jobs import run_scheduled_sweep
from service.cancellation_job.rules import ClockWatch, SweepOptions
from service.cli import run
from service.database import Database, upgrade_schema
from service.embedded import EmbeddedServer
from service.sellers.rules import OPERATOR_SCOPES
from service.settings import Settings
from tests.conftest import (
    CONFIRM_BY,
    NOW,
    OTHER_SELLER,
    SECRET_KEY,
    SELLER,
    ApiClient,
    confirmation,
    order_document,
)
from tests.contract import Contract
from tests.soak import free_port


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def one_line(self) -> str:
        """Return what it says when it fails: one line, and no traceback."""
        assert self.out == ""
        (line,) = self.err.splitlines()
        assert line.startswith("manage-orders: ")
        return line


@pytest.fixture
def environment(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """Return the environment of a sandbox's commands, which those in this process find set."""
    for name in [name for name in os.environ if name.startswith(("MANAGE_ORDERS_", "DATABASE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DATABASE_URL", settings.database_url)
    monkeypatch.setenv("MANAGE_ORDERS_SECRET_KEY", SECRET_KEY)
    monkeypatch.setenv("MANAGE_ORDERS_SANDBOX", "1")
    monkeypatch.setenv("MANAGE_ORDERS_DATA", str(tmp_path / "data"))
    return dict(os.environ)


@pytest.fixture
def command(
    environment: dict[str, str], database: Database, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Ended]:
    """Return a function that runs a command in this process, against the test's database."""
    del environment, database

    def call(*words: str) -> Ended:
        capsys.readouterr()
        code = run(list(words))
        said = capsys.readouterr()
        return Ended(code, said.out, said.err)

    return call


def processed(environment: dict[str, str], *words: str, stdin: str = "") -> Ended:
    """Run a command in its own process."""
    done = subprocess.run(
        [sys.executable, "-m", "service.cli", *words],
        env=environment,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def wait_for(condition: Callable[[], object], limit_s: float = 30) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def ndjson(documents: Iterable[dict[str, object] | str]) -> str:
    return "".join((each if isinstance(each, str) else json.dumps(each)) + "\n" for each in documents)


def seller_order(seller_id: str = SELLER, **changes: object) -> dict[str, object]:
    return {"sellerId": seller_id, **order_document(**changes)}


MIXED = (
    seller_order(orderId="MIX-1"),
    "{not json",
    "",
    seller_order(orderId="MIX-2", fulfillment__fulfillmentStatus="LOST"),
    seller_order("NOBODY-YET", orderId="MIX-3"),
    seller_order(orderId="MIX-4", salesChannel__marketplaceId="A1NOWHERE"),
    order_document(orderId="MIX-5"),
    seller_order(orderId="MIX-6"),
)


def check_mixed(ended: Ended) -> None:
    assert ended.code == 3
    assert ended.out == "7 orders: 2 created, 0 updated, 0 unchanged, 5 refused\n"
    lines = ended.err.splitlines()
    assert [line.split(":")[0] for line in lines] == ["line 2", "line 4", "line 5", "line 6", "line 7"]
    for line, part in zip(
        lines,
        (
            "JSON",
            "/fulfillment/fulfillmentStatus: must be one of ",
            "/sellerId: not known here",
            "/salesChannel/marketplaceId: A1NOWHERE",
            "/sellerId: is required",
        ),
        strict=True,
    ):
        assert part in line


def test_import_takes_the_good_lines_of_a_file_and_says_what_is_wrong_with_each_of_the_others(
    command: Callable[..., Ended], seller: ApiClient, tmp_path: Path
) -> None:
    file = tmp_path / "orders.ndjson"
    file.write_text(ndjson(MIXED))
    check_mixed(command("import", str(file)))
    assert [seller.get(f"/v1/orders/MIX-{number}").status_code for number in (1, 2, 6)] == [200, 404, 200]
    again = command("import", str(file))
    assert again.code == 3
    assert again.out == "7 orders: 0 created, 0 updated, 2 unchanged, 5 refused\n"


def test_import_reads_standard_input(database: Database, environment: dict[str, str]) -> None:
    del database
    check_mixed(processed(environment, "import", "-", stdin=ndjson(MIXED)))


def test_import_creates_the_sellers_that_are_unknown_only_when_told(
    command: Callable[..., Ended], tmp_path: Path
) -> None:
    file = tmp_path / "orders.ndjson"
    file.write_text(ndjson([seller_order("NEW-1"), seller_order("NEW-2"), seller_order("NEW-1")]))
    refused = command("import", str(file))
    assert (refused.code, refused.out) == (3, "3 orders: 0 created, 0 updated, 0 unchanged, 3 refused\n")
    taken = command("import", str(file), "--create-sellers")
    assert taken == Ended(0, "3 orders: 3 created, 0 updated, 0 unchanged, 0 refused\n", "")
    assert command("sellers", "list").out.splitlines() == [
        f"{SELLER}\tFirst seller", f"{OTHER_SELLER}\tOther seller", "NEW-1\tNEW-1", "NEW-2\tNEW-2",
    ]  # fmt: skip


def test_import_of_a_file_that_is_not_there_was_called_wrongly(command: Callable[..., Ended], tmp_path: Path) -> None:
    ended = command("import", str(tmp_path / "none.ndjson"))
    assert ended.code == 2
    assert "none.ndjson" in ended.one_line


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["no-such-command"], 2, "No such command"),
        (["import"], 2, "Missing argument 'FILE'"),
        (["sweep", "--wet-run"], 2, "No such option"),
        (["sellers", "add", "A B", "Name"], 2, "must match the pattern"),
        (["sellers", "add", "X" * 65, "Name"], 2, "must match the pattern|must have 1 to 64 characters"),
        (["sellers", "add", "X1", ""], 2, "must have 1 to 200 characters"),
        (["sellers", "add", "X1", "two\nlines"], 2, "must match the pattern"),
        (["sellers", "add", "X1", "half \udc80"], 2, "cannot be stored"),
        (["sellers", "add", SELLER, "Again"], 1, "a seller with this id exists already"),
        (["tokens", "create", "--name", "x"], 2, "give either --seller or --operator"),
        (["tokens", "create", "--name", "x", "--seller", SELLER, "--operator"], 2, "give either"),
        (["tokens", "create", "--operator"], 2, "Missing option '--name'"),
        (["tokens", "create", "--name", "x", "--seller", "NOBODY"], 1, "the seller is not known here"),
        (["tokens", "create", "--name", "x", "--seller", SELLER, "--scope", "operations"], 2, "cannot have operations"),
        (["tokens", "create", "--name", "x", "--operator", "--scope", "everything"], 2, "--scope"),
        (["tokens", "revoke", "not-a-uuid"], 2, "TOKEN_ID"),
        (["tokens", "revoke", "5f0c5c4e-7a53-4d5a-9d0c-0d5a0f6b1c11"], 1, "there is no valid token"),
        (["marketplaces", "add", "M1", "M", "--country", "XX", "--time-zone", "UTC"], 2, "country 'XX'"),
        (["marketplaces", "add", "M1", "M", "--country", "PT", "--time-zone", "Mars/Base"], 2, "'Mars/Base'"),
        (["marketplaces", "add", "M1", "M", "--country", "PT", "--time-zone", "localtime"], 2, "'localtime'"),
        (["marketplaces", "add", "M1", "M", "--country", "LK", "--time-zone", "UTC"], 2, "known from 2003 to"),
        (["marketplaces", "set", "ATVPDKIKX0DER", "--time-zone", "Factory", "--reason", "x"], 2, "'Factory'"),
        (["marketplaces", "add", "M/1", "M", "--country", "PT", "--time-zone", "UTC"], 2, "must match the pattern"),
        (
            ["marketplaces", "add", "M1", "M", "--country", "PT", "--time-zone", "UTC", "--window-business-days", "31"],
            2,
            "1<=x<=30",
        ),
        (
            ["marketplaces", "add", "ATVPDKIKX0DER", "M", "--country", "PT", "--time-zone", "UTC"],
            1,
            "a marketplace with this id exists already",
        ),
        (["sandbox", "clock", "2026-03-02T12:00:00"], 2, "needs an offset"),
        (["sandbox", "clock", "tomorrow"], 2, "must be a date and time"),
        (["sandbox", "clock", "2026-03-02T12:00:00Z", "--reset"], 2, "give either NOW or --reset"),
    ],
)
def test_a_command_that_cannot_do_what_it_was_told_says_why_in_one_line(
    command: Callable[..., Ended], words: list[str], code: int, said: str
) -> None:
    ended = command(*words)
    assert ended.code == code
    assert re.search(said, ended.one_line)


def test_the_dry_run_lists_what_the_sweep_then_cancels(
    command: Callable[..., Ended], seller: ApiClient, operator: ApiClient, set_clock: Callable[[object], object]
) -> None:
    set_clock(NOW)
    orders = [seller.post("/v1/orders", order_document()).get_json()["orderId"] for _ in range(2)]
    seller.post(f"/v1/orders/{orders[1]}/shipment-confirmations", confirmation())
    assert command("sweep", "--dry-run") == Ended(0, "", "0 orders would be cancelled\n")
    set_clock(CONFIRM_BY)
    preview = command("sweep", "--dry-run")
    assert preview == Ended(0, f"{SELLER}\t{orders[0]}\t2026-03-18T07:00:00Z\n", "1 orders would be cancelled\n")
    assert seller.get(f"/v1/orders/{orders[0]}").get_json()["fulfillment"]["fulfillmentStatus"] == "UNSHIPPED"
    swept = command("sweep")
    assert (swept.code, swept.err) == (0, "")
    assert swept.out.startswith("SUCCEEDED: 1 due, 1 cancelled, 0 skipped, 0 failed (run ")
    cancelled = seller.get(f"/v1/orders/{orders[0]}").get_json()
    assert cancelled["cancellation"]["cancellationRunId"] in swept.out
    runs = operator.get("/v1/cancellation-runs").get_json()["cancellationRuns"]
    assert [each["dryRun"] for each in runs] == [False, True, True]


def test_a_sweep_that_leaves_a_locked_order_over_ends_with_3(
    command: Callable[..., Ended],
    received: dict[str, object],
    set_clock: Callable[[object], object],
    owner: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_clock(CONFIRM_BY)
    monkeypatch.setenv("MANAGE_ORDERS_LOCK_TIMEOUT_MS", "50")
    with owner.transaction():
        owner.execute("SELECT 1 FROM orders WHERE order_id = %s FOR UPDATE", [received["orderId"]])
        swept = command("sweep")
    assert swept.code == 3
    assert swept.out.startswith("PARTIAL: 1 due, 0 cancelled, 1 skipped, 0 failed")
    assert command("sweep").out.startswith("SUCCEEDED: 1 due, 1 cancelled")


def test_sellers_are_added_and_listed(command: Callable[..., Ended]) -> None:
    assert command("sellers", "add", "A0NEW", "Ünal & Co.") == Ended(0, "Seller A0NEW added.\n", "")
    assert command("sellers", "list").out.splitlines()[0] == "A0NEW\tÜnal & Co."


def test_a_token_is_shown_once_kept_as_a_hash_and_refused_once_it_is_revoked(
    command: Callable[..., Ended], seller: ApiClient, owner: psycopg.Connection
) -> None:
    made = command("tokens", "create", "--seller", SELLER, "--name", "warehouse", "--scope", "orders:read")
    token = made.out.strip()
    assert made.code == 0
    found = re.search(r"Token (\S+), shown this once:", made.err)
    assert found is not None
    token_id = found[1]
    rows = owner.execute("SELECT tokens::text, token_hash FROM tokens WHERE token_id = %s", [token_id]).fetchall()
    assert len(rows) == 1
    assert token not in rows[0][0]
    assert token.encode() not in rows[0][1]
    api = ApiClient(seller.app, seller.contract, token)
    assert api.get("/v1/orders").status_code == 200
    assert api.post("/v1/orders", order_document()).status_code == 403
    listed = command("tokens", "list")
    assert f"{token_id}\t{SELLER}\twarehouse\torders:read\tvalid\n" in listed.out
    assert token not in listed.out + listed.err
    assert command("tokens", "revoke", token_id) == Ended(0, f"Token {token_id} revoked.\n", "")
    assert api.get("/v1/orders").status_code == 401
    assert f"{token_id}\t{SELLER}\twarehouse\torders:read\trevoked 20" in command("tokens", "list").out
    assert command("tokens", "revoke", token_id).code == 1


def test_an_operators_token_made_at_the_command_line_opens_the_operations(
    command: Callable[..., Ended], operator: ApiClient
) -> None:
    made = command("tokens", "create", "--operator", "--name", "operations")
    api = ApiClient(operator.app, operator.contract, made.out.strip())
    assert api.get("/v1/cancellation-runs").status_code == 200
    assert api.get("/v1/orders", sellerId=OTHER_SELLER).status_code == 200
    assert f"\toperator\toperations\t{','.join(OPERATOR_SCOPES)}\tvalid" in (command("tokens", "list").out)


@pytest.mark.usefixtures("own_policies")
def test_an_order_of_an_added_marketplace_gets_its_confirm_by_from_it(
    command: Callable[..., Ended],
    seller: ApiClient,
    set_clock: Callable[[object], object],
) -> None:
    set_clock(NOW)
    order = order_document(salesChannel__marketplaceId="MYSHOP", salesChannel__channelName="NON_AMAZON")
    assert seller.post("/v1/orders", order).status_code == 422
    policy = ["--country", "PT", "--time-zone", "Europe/Lisbon", "--window-business-days", "2"]
    added = command("marketplaces", "add", "MYSHOP", "My shop", *policy)
    assert added == Ended(0, "Marketplace MYSHOP added.\n", "")
    assert "MYSHOP\tMy shop\tPT\tEurope/Lisbon\t2\t1" in command("marketplaces", "list").out.splitlines()
    received = seller.post("/v1/orders", order)
    # Friday 6 March; then Monday and Tuesday.
    assert received.get_json()["fulfillment"]["confirmBy"] == "2026-03-11T00:00:00Z"


def test_the_sandbox_clock_is_moved_shown_and_put_back(command: Callable[..., Ended], operator: ApiClient) -> None:
    assert command("sandbox", "clock", "2030-01-01T01:00:00+01:00").out.startswith("2030-01-01T00:00:0")
    assert command("sandbox", "clock").out.startswith("2030-01-01T00:00:")
    assert command("sweep").code == 0
    (moved,) = operator.get("/v1/cancellation-runs").get_json()["cancellationRuns"]
    assert moved["cutoff"].startswith("2030-01-01T00:0")
    assert command("sandbox", "clock", "--reset").out.endswith("(+0 s from real time)\n")
    assert command("sandbox", "clock").out.endswith("(+0 s from real time)\n")


def test_there_is_no_clock_to_move_outside_the_sandbox(
    command: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MANAGE_ORDERS_SANDBOX", "0")
    for words in ([], ["2030-01-01T00:00:00Z"], ["--reset"]):
        ended = command("sandbox", "clock", *words)
        assert ended.code == 2
        assert "MANAGE_ORDERS_SANDBOX is not 1" in ended.one_line


def test_a_sandbox_command_refuses_a_database_with_real_orders(
    command: Callable[..., Ended], received: dict[str, object], owner: psycopg.Connection
) -> None:
    del received
    owner.execute("DELETE FROM sandbox_clock")
    ended = command("sandbox", "clock", "2030-01-01T00:00:00Z")
    assert ended.code == 1
    assert "unset MANAGE_ORDERS_SANDBOX" in ended.one_line


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("MANAGE_ORDERS_PORT", "http"),
        ("MANAGE_ORDERS_PORT", "70000"),
        ("MANAGE_ORDERS_SECRET_KEY", "short"),
        ("MANAGE_ORDERS_SANDBOX", "yes"),
        ("MANAGE_ORDERS_LOG_LEVEL", "LOUD"),
        ("DATABASE_URL", "a password that got here"),
        ("DATABASE_OWNER_URL", "postgresql://user:secret@host/name?secret=1"),
    ],
)
def test_a_bad_setting_stops_every_command_and_is_named_but_not_quoted_when_secret(
    command: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    ended = command("sellers", "list")
    assert ended.code == 2
    assert variable in ended.one_line
    if variable not in {"MANAGE_ORDERS_PORT", "MANAGE_ORDERS_SANDBOX"}:
        assert not {"password", "secret", "short"} & set(re.findall(r"\w+", ended.err))


@pytest.mark.parametrize("words", [["sellers", "list"], ["serve"], ["scheduler"], ["db", "upgrade"]])
def test_a_command_without_a_database_says_which_setting_is_missing(
    command: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.delenv("DATABASE_URL")
    ended = command(*words)
    assert ended.code == 2
    assert "DATABASE_URL" in ended.one_line


@pytest.mark.parametrize(
    "words", [["sweep"], ["tokens", "create", "--operator", "--name", "x"], ["db", "upgrade"], ["scheduler"], ["serve"]]
)
def test_a_database_that_does_not_answer_is_reported_in_one_line(environment: dict[str, str], words: list[str]) -> None:
    url = f"postgresql://somebody:hunter2@127.0.0.1:{free_port()}/orders"
    ended = processed(environment | {"DATABASE_URL": url}, *words)
    assert ended.code == 1
    assert "127.0.0.1" in ended.one_line
    assert "hunter2" not in ended.err


def test_missing_tables_are_reported_with_the_command_that_makes_them(
    command: Callable[..., Ended], make_database_url: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", make_database_url())
    missing = command("sellers", "list")
    assert missing.code == 1
    assert "run `manage-orders db upgrade`" in missing.one_line
    for _ in range(2):
        assert command("db", "upgrade") == Ended(0, "The tables are current.\n", "")
    assert command("sellers", "list") == Ended(0, "", "")


def test_two_upgrades_of_a_fresh_database_at_once_both_end_well(
    environment: dict[str, str], make_database_url: Callable[[], str]
) -> None:
    url = make_database_url()
    both = [
        subprocess.Popen(
            [sys.executable, "-m", "service.cli", "db", "upgrade"],
            env=environment | {"DATABASE_URL": url},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    assert [(*each.communicate(), each.returncode) for each in both] == [("The tables are current.\n", "", 0)] * 2
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) FROM alembic_version").fetchone() == (1,)


def test_a_reader_that_has_gone_gets_no_complaint(database: Database, environment: dict[str, str]) -> None:
    del database
    with subprocess.Popen(
        [sys.executable, "-m", "service.cli", "marketplaces", "list"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 1


def test_the_document_printed_is_the_one_served(command: Callable[..., Ended], seller: ApiClient) -> None:
    printed = command("openapi")
    assert (printed.code, printed.err) == (0, "")
    assert json.loads(printed.out) == seller.app.test_client().get("/openapi.json").get_json()


def _answers(address: str) -> dict[str, object] | None:
    try:
        with urllib.request.urlopen(address, timeout=5) as response:  # noqa: S310  # the test's own server
            return json.load(response)
    except (urllib.error.URLError, OSError):
        return None


def _workers_of(pid: int) -> int:
    return len(Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_serve_answers_with_several_workers_until_it_is_told_to_stop(
    database: Database, environment: dict[str, str], host: str
) -> None:
    sweep(database, requested_by="test")  # otherwise the job has never run, and the API says so
    port = free_port()
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}/health/ready"
    more = {"MANAGE_ORDERS_HOST": host, "MANAGE_ORDERS_PORT": str(port), "MANAGE_ORDERS_WORKERS": "3"}
    with subprocess.Popen(
        [sys.executable, "-m", "service.cli", "serve"],
        env=environment | more,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            wait_for(lambda: _answers(address))
            ready = _answers(address)
            assert ready is not None
            assert (ready["status"], ready["database"], ready["sandbox"]) == ("ready", "reachable", True)
            if Path("/proc/self").exists():
                wait_for(lambda: _workers_of(process.pid) == 3)
        finally:
            process.terminate()
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, "")
    logged = [json.loads(line) for line in err.splitlines()]
    assert [each["status"] for each in logged if each["event"] == "request"][-1] == 200
    assert _answers(address) is None


def test_serve_says_that_its_port_is_taken(database: Database, environment: dict[str, str]) -> None:
    del database
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        ended = processed(environment | {"MANAGE_ORDERS_PORT": port}, "serve")
    assert (ended.code, ended.out) == (1, "")
    assert any(port in json.loads(line)["event"] for line in ended.err.splitlines())


def _start_scheduler(environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as stderr:
        return subprocess.Popen([sys.executable, "-m", "service.cli", "scheduler"], env=environment, stderr=stderr)


def _events(log: Path) -> list[str]:
    return [json.loads(line)["event"] for line in log.read_text().splitlines()]


def test_two_schedulers_at_once_work_each_slot_once_and_end_when_told(
    environment: dict[str, str],
    received: dict[str, str],
    seller: ApiClient,
    set_clock: Callable[[object], object],
    owner: psycopg.Connection,
    tmp_path: Path,
) -> None:
    set_clock(CONFIRM_BY)
    logs = [tmp_path / "1.log", tmp_path / "2.log"]
    processes = [_start_scheduler(environment, log) for log in logs]
    try:
        wait_for(lambda: all("scheduler_started" in log.read_text() for log in logs))
        path = f"/v1/orders/{received['orderId']}"
        wait_for(lambda: seller.get(path).get_json()["fulfillment"]["fulfillmentStatus"] == "CANCELLED")
        wait_for(lambda: not owner.execute("SELECT 1 FROM cancellation_runs WHERE state = 'RUNNING'").fetchall())
        processes[1].send_signal(signal.SIGINT)
    finally:
        for process in processes:  # the second one for the second time
            process.terminate()
        codes = [process.wait(30) for process in processes]
    assert codes == [0, 0]
    for events in map(_events, logs):
        assert events[0] == "scheduler_started"
        assert events.count("scheduler_stopping") == 1
    runs = owner.execute(
        "SELECT slot, state, requested_by, cancelled_count FROM cancellation_runs WHERE slot IS NOT NULL"
    ).fetchall()
    assert len({slot for slot, *_ in runs}) == len(runs) >= 1
    assert sum(run[3] for run in runs) == 1
    for _, state, requested_by, _ in runs:
        assert state == "SUCCEEDED"
        assert re.fullmatch(r"scheduler:.+:\d+:[0-9a-f]{8}", requested_by)


def test_a_scheduler_whose_database_is_down_lives_on_and_ends_when_told(
    environment: dict[str, str], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    down = {
        "DATABASE_URL": f"postgresql://somebody:hunter2@127.0.0.1:{free_port()}/orders",
        "MANAGE_ORDERS_SANDBOX": "0",
        "MANAGE_ORDERS_POOL_TIMEOUT_MS": "100",
    }
    process = _start_scheduler(environment | down, log)
    try:
        wait_for(lambda: "sweep_failed" in log.read_text())
        assert process.poll() is None
    finally:
        process.terminate()
        code = process.wait(30)
    assert code == 0
    told = [event for event in _events(log) if not event.startswith("error connecting")]
    # Each told once, though the heart fails again at the end; and why there is no connection.
    assert sorted(told) == ["heartbeat_failed", "scheduler_started", "scheduler_stopping", "sweep_failed"]
    assert len(_events(log)) == len(told) + 1
    assert "hunter2" not in log.read_text()


def test_a_sweep_fails_while_the_database_is_away_and_the_next_one_works(
    server_url: str, make_database_url: Callable[[], str]
) -> None:
    url = make_database_url()
    upgrade_schema(url)
    name = conninfo_to_dict(url)["dbname"]
    assert isinstance(name, str)
    here, away = sql.Identifier(name), sql.Identifier(f"{name}_away")
    rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
    settings = Settings(database_url=url, secret_key=SECRET_KEY, pool_timeout_ms=1000)
    with (
        psycopg.connect(server_url, autocommit=True) as server,
        Database(settings, pool_size=1).closing() as database,
    ):
        with database.connection() as connection:
            (backend,) = connection.execute("SELECT pg_backend_pid()").fetchone() or (0,)
        server.execute("SELECT pg_terminate_backend(%s, 5000)", [backend])
        server.execute(rename.format(here, away))
        try:
            run_scheduled_sweep(database, "scheduler:test:1", SweepOptions(), ClockWatch())  # does not raise
        finally:
            server.execute(rename.format(away, here))

        def swept() -> list[tuple[object, ...]]:
            run_scheduled_sweep(database, "scheduler:test:2", SweepOptions(), ClockWatch())
            with psycopg.connect(url) as connection:
                connection.execute("SET ROLE manage_orders_operator")
                return connection.execute("SELECT 1 FROM cancellation_runs WHERE state = 'SUCCEEDED'").fetchall()

        # The pool waits a little between its attempts to connect.
        wait_for(swept)


@pytest.fixture(params=["roles made by somebody else", "roles made by the owner"])
def server_without_rights(
    request: pytest.FixtureRequest, server_url: str, database_url: str, tmp_path: Path
) -> Iterator[str]:
    """Yield a server on which the service's roles exist already, as the session's database needs them, or do not."""
    del database_url
    if request.param == "roles made by somebody else":
        yield server_url
        return
    with EmbeddedServer(tmp_path / "server") as server:
        yield server.url


@pytest.fixture
def ordinary_urls(server_without_rights: str) -> Iterator[tuple[str, str]]:
    """Yield the URLs of a database for its owner, and for a login role without any right; neither is a superuser."""
    owner, login, password = f"tables_owner_{os.getpid()}", f"service_login_{os.getpid()}", "only for tests"
    with psycopg.connect(server_without_rights, autocommit=True) as server:
        create = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {} {}")
        for role, rights in ((owner, sql.SQL("CREATEROLE")), (login, sql.SQL("NOINHERIT"))):
            server.execute(create.format(sql.Identifier(role), sql.Literal(password), rights))
        server.execute(sql.SQL("CREATE DATABASE {0} OWNER {0}").format(sql.Identifier(owner)))
        yield (
            make_conninfo(server_without_rights, dbname=owner, user=owner, password=password),
            make_conninfo(server_without_rights, dbname=owner, user=login, password=password),
        )
        server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(owner)))
        for role in (login, owner):
            server.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def test_no_role_has_to_be_a_superuser(
    command: Callable[..., Ended],
    server_without_rights: str,
    ordinary_urls: tuple[str, str],
    contract: Contract,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    owner_url, login_url = ordinary_urls
    monkeypatch.setenv("DATABASE_OWNER_URL", owner_url)
    monkeypatch.setenv("DATABASE_URL", login_url)
    assert command("sellers", "list").code == 1
    assert command("db", "upgrade") == Ended(0, "The tables are current.\n", "")
    no_member = command("sellers", "list")
    grant = f"GRANT manage_orders_service, manage_orders_operator TO {conninfo_to_dict(login_url)['user']}"
    assert no_member.code == 1
    assert no_member.one_line.endswith(grant)
    with psycopg.connect(server_without_rights, autocommit=True) as server:
        server.execute(grant.encode())

    assert command("sellers", "add", SELLER, "Shop").code == 0
    assert command("sandbox", "clock", NOW.isoformat()).code == 0
    token = command("tokens", "create", "--seller", SELLER, "--name", "shop").out.strip()
    app = create_app(Settings(database_url=login_url, secret_key=SECRET_KEY, sandbox=True))
    try:
        api = ApiClient(app, contract, token)
        confirmed, late = (api.post("/v1/orders", order_document()).get_json()["orderId"] for _ in range(2))
        assert api.post(f"/v1/orders/{confirmed}/shipment-confirmations", confirmation()).status_code == 201
        assert command("sandbox", "clock", CONFIRM_BY.isoformat()).code == 0
        assert command("sweep").code == 0
        for order_id, status in ((confirmed, "SHIPPED"), (late, "CANCELLED")):
            assert api.get(f"/v1/orders/{order_id}").get_json()["fulfillment"]["fulfillmentStatus"] == status
        assert api.get("/health/ready").status_code == 200
    finally:
        app.extensions["manage-orders"].database.close()

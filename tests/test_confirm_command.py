"""`manage-orders confirm`: what it does, what it says, what it ends with, and the rejects it leaves."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import psycopg
import pytest

from service import confirm_command
from service.cli import run
from service.database import Database
from service.settings import Settings
from tests.conftest import NOW, SELLER, ApiClient, order_document

HEADER = "order-id\torder-item-id\tquantity\tship-date\tcarrier-code\ttracking-number\n"


_BATCH = re.compile("batch [0-9a-f-]{36}")


@dataclass(frozen=True)
class Confirm:
    """Runs the command on a file in this process, and returns what it ends with and says."""

    file: Path
    capture: pytest.CaptureFixture[str]

    def __call__(self, text: str | bytes, *words: str) -> tuple[int, str, list[str]]:
        """Run it."""
        self.file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return self.called(str(self.file), *words)

    def called(self, *words: str) -> tuple[int, str, list[str]]:
        """Run it with these words; the line that names the batch is left out."""
        self.capture.readouterr()
        code = run(["confirm", *words])
        said = self.capture.readouterr()
        return code, said.out, [line for line in said.err.splitlines() if not _BATCH.fullmatch(line)]


@pytest.fixture
def confirm(
    settings: Settings,
    database: Database,
    set_clock: Callable[[Any], Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> Confirm:
    """Return the command, against the test's database at `NOW`."""
    del database
    set_clock(NOW)
    monkeypatch.setenv("DATABASE_URL", settings.database_url)
    monkeypatch.setenv("MANAGE_ORDERS_SANDBOX", "1")
    monkeypatch.setenv("MANAGE_ORDERS_DATA", str(tmp_path / "data"))
    return Confirm(tmp_path / "shipped.tsv", capsys)


def receive(client: ApiClient) -> str:
    return client.post("/v1/orders", order_document()).get_json()["orderId"]


def row(order_id: str, item: str = "", quantity: str = "") -> str:
    return f"{order_id}\t{item}\t{quantity}\t2026-03-02\tUPS\t1Z999AA10123456784\n"


def test_a_file_is_confirmed_and_again_confirms_nothing_twice(confirm: Confirm, seller: ApiClient) -> None:
    file, rejects = HEADER + row(receive(seller)) + row(receive(seller)), confirm.file.with_name("rejects.tsv")

    first = confirm(file, "--seller", SELLER, "--rejects", str(rejects))
    assert first == (0, "2 rows: 2 confirmed, 0 already confirmed, 0 refused\n", [])
    assert confirm(file, "--seller", SELLER)[:2] == (0, "2 rows: 0 confirmed, 2 already confirmed, 0 refused\n")
    assert not rejects.exists()


def test_refused_rows_are_reported_by_line_and_come_back_to_be_corrected(confirm: Confirm, seller: ApiClient) -> None:
    order_id, rejects = receive(seller), confirm.file.with_name("rejects.tsv")
    file = (
        HEADER
        + row(order_id, "1", "5")
        + "\n"
        + row(receive(seller))
        + row(order_id, "2", "x\x1b[31m").replace("1Z", "")
    )
    code, out, err = confirm(file, "--seller", SELLER, "--rejects", str(rejects))

    assert (code, out) == (3, "3 rows: 1 confirmed, 0 already confirmed, 2 refused\n")
    assert err == [
        "line 2: confirm at most what remains: quantity 2 of 2 remain to be confirmed, not 5",
        "line 5: the row does not fit the contract: quantity must be a whole number",
    ]
    corrected = rejects.read_text().replace("\t5\t", "\t2\t", 1).replace("x\x1b[31m", "1")
    assert len(corrected.splitlines()) == 3
    assert confirm(corrected, "--seller", SELLER)[:2] == (0, "2 rows: 2 confirmed, 0 already confirmed, 0 refused\n")


def test_where_rejects_cannot_go_is_known_before_anything_is_confirmed(
    confirm: Confirm, seller: ApiClient, owner: psycopg.Connection
) -> None:
    file = HEADER + row(receive(seller))
    nowhere = confirm.file.with_name("missing") / "rejects.tsv"

    for path, reason in (
        (nowhere, "cannot be written"),
        (confirm.file, "is FILE itself"),
        (confirm.file.parent, "dir"),
    ):
        code, out, err = confirm(file, "--seller", SELLER, "--rejects", str(path))
        assert (code, out, len(err)) == (2, "", 1)
        assert "--rejects" in err[0]
        assert reason in err[0]
    assert confirm.file.read_text() == file
    assert owner.execute("SELECT batch_id FROM confirmation_batches").fetchall() == []


def test_rejects_replace_those_of_before_whole_or_not_at_all(
    confirm: Confirm, seller: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    rejects = confirm.file.with_name("rejects.tsv")
    rejects.write_text("of before")
    bad = HEADER + row("902-1")
    with monkeypatch.context() as broken:
        broken.setattr(confirm_command, "result_lines", mock.Mock(side_effect=OSError("no space")))
        code, out, _ = confirm(bad, "--seller", SELLER, "--rejects", str(rejects))
    # What was confirmed is told even if its rejects are lost: the API has them.
    assert (code, out) == (1, "1 rows: 0 confirmed, 0 already confirmed, 1 refused\n")
    assert rejects.read_text() == "of before"

    assert confirm(bad, "--seller", SELLER, "--rejects", str(rejects))[0] == 3
    assert rejects.read_text().startswith("order-id\t")
    code, _, err = confirm(HEADER + row(receive(seller)), "--seller", SELLER, "--rejects", str(rejects))
    assert (code, err) == (0, [f"nothing is refused: {rejects} is removed"])
    assert [*confirm.file.parent.glob("*.tsv*")] == [confirm.file]


def test_rejects_on_standard_output_stand_there_alone_and_the_batch_is_named(
    confirm: Confirm, owner: psycopg.Connection
) -> None:
    code, out, err = confirm(HEADER + row("902-1"), "--seller", SELLER, "--rejects", "-")

    assert code == 3
    assert [line.split("\t")[0] for line in out.splitlines()] == ["order-id", "902-1"]
    assert err[-1] == "1 rows: 0 confirmed, 0 already confirmed, 1 refused"
    run(["confirm", str(confirm.file), "--seller", SELLER])
    newest = owner.execute("SELECT batch_id FROM confirmation_batches ORDER BY turn DESC LIMIT 1").fetchone()
    assert newest is not None
    assert confirm.capture.readouterr().err.splitlines()[0] == f"batch {newest[0]}"


def test_what_a_file_holds_is_shown_and_not_done(confirm: Confirm) -> None:
    code, _, err = confirm(HEADER + row("902-1").replace("UPS", "\x1b[31mUPS"), "--seller", SELLER)

    assert code == 3
    assert "\\x1b[31mUPS" in err[0]
    assert "\x1b" not in err[0]


def test_a_hundred_refusals_are_shown_and_the_rest_counted(confirm: Confirm) -> None:
    code, out, err = confirm(HEADER + row("902-1") * 102, "--seller", SELLER)

    assert code == 3
    assert out.startswith("102 rows: ")
    assert len(err) == 101
    assert err[-1] == "and 2 more"


def test_rows_name_their_sellers_where_the_command_does_not_and_standard_input_will_do(
    confirm: Confirm, seller: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = HEADER.replace("\n", "\tseller-id\n") + row(receive(seller)).replace("\n", f"\t{SELLER}\n") + row("902-1")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))

    code, out, err = confirm.called("-")
    assert (code, out) == (3, "2 rows: 1 confirmed, 0 already confirmed, 1 refused\n")
    assert err[0].startswith("line 3: ")
    assert "seller-id name the seller" in err[0]


def test_a_file_that_is_none_fails_in_one_line_and_leaves_nothing(confirm: Confirm, owner: psycopg.Connection) -> None:
    for text, told in ((b"colour\n", "colour is not a known column"), (HEADER, "no rows"), (b"\xff\n", "UTF-8")):
        code, out, err = confirm(text, "--seller", SELLER)
        assert (code, out, len(err)) == (1, "", 1)
        assert told in err[0]
    assert confirm(HEADER + row("902-1"), "--seller", "A9NOBODY")[0] == 1
    assert confirm(HEADER + row("902-1"), "--seller", "not one")[0] == 2
    assert confirm.called("missing.tsv")[0] == 2
    assert owner.execute("SELECT batch_id FROM confirmation_batches").fetchall() == []


def test_an_order_that_stays_locked_is_left_to_the_scheduler_and_told(
    confirm: Confirm, seller: ApiClient, owner: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MANAGE_ORDERS_LOCK_TIMEOUT_MS", "20")
    held = receive(seller)
    with owner.transaction():
        owner.execute("SELECT order_id FROM orders WHERE order_id = %s FOR UPDATE", (held,))
        code, out, _ = confirm(HEADER + row(held) + row(receive(seller)), "--seller", SELLER)

    assert code == 3
    assert out == (
        "2 rows: 1 confirmed, 0 already confirmed, 0 refused, 1 left to the scheduler: their orders are locked\n"
    )


def test_progress_is_shown_where_somebody_looks(
    confirm: Confirm, seller: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(confirm_command.sys.stderr, "isatty", lambda: True, raising=False)

    code, _, err = confirm(HEADER + row(receive(seller)), "--seller", SELLER)
    assert code == 0
    assert any("Confirming" in line for line in err)

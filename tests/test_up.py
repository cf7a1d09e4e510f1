"""`manage-orders up`, as a newcomer runs it."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.soak import ROOT, free_port, kill_under_load, processes_of, running_up, wait_until_gone

needs_proc = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are looked up in /proc")


def _pasted(line: str) -> tuple[int, dict[str, Any]]:
    """Do what a `curl -s [-H header]... [-d body] URL` line does."""
    words = shlex.split(line)
    assert words[:2] == ["curl", "-s"]
    headers = dict(words[index + 1].split(": ", 1) for index, word in enumerate(words) if word == "-H")
    body = words[words.index("-d") + 1].encode() if "-d" in words else None
    request = urllib.request.Request(words[-1], data=body, headers=headers)  # noqa: S310  # what `up` printed
    with urllib.request.urlopen(request, timeout=30) as response:  # noqa: S310  # the same
        return response.status, json.load(response)


@needs_proc
def test_up_shows_lines_that_work_when_pasted_and_starts_again_with_the_same_data(tmp_path: Path) -> None:
    directory, port = tmp_path / "data", free_port()
    with running_up(directory, port) as up:
        listing, confirming = [line for line in up.output.splitlines() if line.startswith("curl")]
        status, page = _pasted(listing)
        assert status == 200
        assert len(page["orders"]) == 3
        status, confirmed = _pasted(confirming)
        assert status == 201
        assert confirmed["payment"]["paymentStatus"] == "CHARGED"
        with urllib.request.urlopen(f"{up.api}/health/ready", timeout=30) as response:  # noqa: S310  # our own
            assert json.load(response)["sandbox"] is True
        with urllib.request.urlopen(f"{up.api}/docs/", timeout=30) as response:  # noqa: S310  # our own
            assert re.findall(rb'(?:src|href)="(?:https?:)?//', response.read()) == []
        tokens = up.tokens
        second = subprocess.run(
            [sys.executable, "-m", "service.cli", "up"],
            env=os.environ | {"MANAGE_ORDERS_DATA": str(directory), "MANAGE_ORDERS_PORT": str(free_port())},
            capture_output=True,
            text=True,
            check=False,
        )
        assert second.returncode == 1
        assert second.stderr.splitlines()[-1].startswith("manage-orders: ")
        assert str(up.process.pid) in second.stderr
        sweep = subprocess.run(
            [sys.executable, "-m", "service.cli", "sweep"],
            env=os.environ | {"MANAGE_ORDERS_DATA": str(directory)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert sweep.returncode == 0, sweep.stderr
    assert up.process.returncode == 0
    assert processes_of(directory) == []

    with running_up(directory, port) as up:
        assert up.tokens == tokens
        status, order = up.operator("GET", f"/v1/orders/{confirmed['orderId']}", sellerId=confirmed["sellerId"])
        assert (status, order) == (200, confirmed)


@needs_proc
def test_up_runs_beside_a_package_of_the_same_name_and_has_something_to_confirm_whatever_the_clock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "service").mkdir()
    (tmp_path / "service" / "__init__.py").write_text("raise SystemExit('the wrong package')")
    command = [sys.executable, "-P", "-m", "service.cli"]
    # Every window is over by then, which would hold the sweep.
    monkeypatch.setenv("MANAGE_ORDERS_MAX_SWEEP_PERCENT", "100")
    monkeypatch.setenv("MANAGE_ORDERS_MAX_SELLER_SWEEP_PERCENT", "100")
    environment = os.environ | {"MANAGE_ORDERS_DATA": str(tmp_path / "data"), "PYTHONPATH": str(ROOT)}
    with running_up(tmp_path / "data", free_port(), working_directory=tmp_path):
        for arguments in (["sandbox", "clock", "2040-01-01T00:00:00Z"], ["sweep"]):
            subprocess.run([*command, *arguments], env=environment, check=True)
    with running_up(tmp_path / "data", free_port(), working_directory=tmp_path) as up:
        status, _ = _pasted(up.output.splitlines()[-3])
        assert status == 201


@needs_proc
def test_up_that_is_killed_under_load_loses_nothing_and_leaves_nothing_running(tmp_path: Path) -> None:
    # The long form of this is `python -m tests.soak`.
    journal, wrong = kill_under_load(tmp_path / "data", kills=2, seconds_between=2)
    assert wrong == []
    assert len(journal.confirmed) > 10
    assert journal.cancelled > 0
    assert wait_until_gone(tmp_path / "data") == []


def test_up_says_that_its_port_is_taken(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        result = subprocess.run(
            [sys.executable, "-m", "service.cli", "up"],
            env=os.environ
            | {"MANAGE_ORDERS_DATA": str(tmp_path / "data"), "MANAGE_ORDERS_PORT": str(taken.getsockname()[1])},
            capture_output=True,
            text=True,
            check=False,
        )
    assert result.returncode == 1
    assert "set MANAGE_ORDERS_PORT" in result.stderr.splitlines()[-1]


@contextmanager
def _up(environment: dict[str, str], log: Path) -> Generator[subprocess.Popen[str]]:
    """Start `up`, its standard error in a file, and see at the end that it has ended."""
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "service.cli", "up"],
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    try:
        yield process
        process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


def _banner_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if "Ctrl-C" in line:
            return "".join(lines)
    raise AssertionError(f"`up` ended with {process.wait()}: {lines}")


def _wait_for_line(log: Path, part: str) -> None:
    deadline = time.monotonic() + 60
    while part not in log.read_text():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)


def _pid_of(name: str, directory: Path) -> int:
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            words = (entry / "cmdline").read_bytes().split(b"\0")
            started_with = (entry / "environ").read_bytes()
        except (OSError, ValueError):
            continue
        if name.encode() in words and str(directory).encode() in started_with:
            grandparent = Path(f"/proc/{parent}/cmdline")
            if name.encode() not in grandparent.read_bytes().split(b"\0"):
                return int(entry.name)
    raise AssertionError(f"no {name} of {directory} is running")


@needs_proc
def test_up_on_a_given_database_ends_with_its_parts_and_shows_a_clock_that_is_still_moved(
    tmp_path: Path, make_database_url: Callable[[], str]
) -> None:
    directory, log = tmp_path / "data", tmp_path / "log"
    environment = {
        "DATABASE_URL": make_database_url(),
        "MANAGE_ORDERS_DATA": str(directory),
        "MANAGE_ORDERS_PORT": str(free_port()),
        "http_proxy": f"http://127.0.0.1:{free_port()}",  # nobody answers there
        "no_proxy": "",
    }
    with _up(environment, log) as process:
        assert "sandbox mode" in _banner_of(process).lower()
        os.kill(_pid_of("serve", directory), signal.SIGKILL)
    assert process.returncode == 1
    progress, last = log.read_text().splitlines()[:-1], log.read_text().splitlines()[-1]
    assert progress[0] == "migrating the tables"
    assert "creating demo orders: 100 of 1000" in progress
    assert last == f"manage-orders: `serve` ended with -9; see {directory / 'serve.log'}"
    assert wait_until_gone(directory) == []
    assert not (directory / "running.json").exists()

    moved = subprocess.run(
        [sys.executable, "-m", "service.cli", "sandbox", "clock", "2031-05-06T07:08:00Z"],
        env=os.environ | environment | {"MANAGE_ORDERS_SANDBOX": "1"},
        check=False,
    )
    assert moved.returncode == 0
    with _up(environment, log) as process:
        assert "It is at 2031-05-06 07:" in _banner_of(process)
        assert "creating demo orders" not in log.read_text()
        os.kill(_pid_of("scheduler", directory), signal.SIGTERM)
    assert process.returncode == 1
    assert log.read_text().splitlines()[-1].startswith("manage-orders: `scheduler` ended with 0; see ")

    (directory / "keys.json").write_text('{"secretKey": "trunc')
    with _up(environment, log) as process:
        pass
    assert process.returncode == 1
    assert log.read_text().splitlines()[-1] == (
        f"manage-orders: {directory / 'keys.json'} is damaged: remove it, and it is made anew"
    )
    (directory / "keys.json").unlink()
    with _up(environment, log) as process:
        _banner_of(process)
        process.terminate()
    assert process.returncode == 0
    assert wait_until_gone(directory) == []


@needs_proc
@pytest.mark.parametrize("moment", ["creating the database cluster", "creating demo orders: 100 of"])
def test_up_that_is_interrupted_while_it_starts_leaves_nothing_running(tmp_path: Path, moment: str) -> None:
    directory, log = tmp_path / "data", tmp_path / "log"
    environment = {"MANAGE_ORDERS_DATA": str(directory), "MANAGE_ORDERS_PORT": str(free_port()), "DATABASE_URL": ""}
    with _up(environment, log) as process:
        _wait_for_line(log, moment)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)  # somebody is impatient
    assert process.returncode == 0
    assert processes_of(directory) == []
    assert "Traceback" not in log.read_text()


def test_up_says_that_it_cannot_write_its_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = subprocess.run(
        [sys.executable, "-m", "service.cli", "up"],
        env=os.environ | {"MANAGE_ORDERS_DATA": str(tmp_path / "file" / "data")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert str(tmp_path / "file") in line

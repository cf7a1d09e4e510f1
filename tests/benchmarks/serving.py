"""The servers that are measured: the service as it is run, and what it is compared with."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from tests.soak import free_port

ROOT = Path(__file__).resolve().parent.parent.parent
SECRET_KEY = "a key that is only for benchmarks, 32+"
WORKERS, THREADS = 2, 8
_START_S = 60


@dataclass(frozen=True, slots=True)
class Server:
    """A running server, whose worker processes are the children of `process_id`."""

    port: int
    process_id: int


@contextmanager
def running_service(url: str) -> Generator[Server]:
    """Run `manage-orders serve`."""
    environment = {
        "DATABASE_URL": url,
        "MANAGE_ORDERS_SECRET_KEY": SECRET_KEY,
        "MANAGE_ORDERS_WORKERS": str(WORKERS),
        "MANAGE_ORDERS_THREADS": str(THREADS),
        "MANAGE_ORDERS_LOG_LEVEL": "ERROR",
    }
    port = free_port()
    with _running(["service.cli", "serve"], environment | {"MANAGE_ORDERS_PORT": str(port)}, port) as server:
        yield server


@contextmanager
def running_peer(url: str) -> Generator[Server]:
    """Run the same list endpoint made with FastAPI and SQLAlchemy, in as many processes."""
    port = free_port()
    options = ["--workers", str(WORKERS), "--port", str(port), "--log-level", "error", "--no-access-log"]
    environment = {"DATABASE_URL": url, "BENCHMARK_SECRET_KEY": SECRET_KEY}
    with _running(["uvicorn", "tests.benchmarks.peer:app", *options], environment, port) as server:
        yield server


@contextmanager
def running_idle() -> Generator[Server]:
    """Run Flask doing nothing, on the server and with the settings of the service."""
    port = free_port()
    options = ["-k", "gthread", "-w", str(WORKERS), "--threads", str(THREADS), "--no-control-socket"]
    options += ["-b", f"127.0.0.1:{port}", "--log-level", "error"]
    with _running(["gunicorn", *options, "tests.benchmarks.idle:app"], {}, port) as server:
        yield server


@contextmanager
def _running(module: list[str], environment: Mapping[str, str], port: int) -> Generator[Server]:
    process = subprocess.Popen([sys.executable, "-m", *module], env=os.environ | environment, cwd=ROOT)
    try:
        _wait_for(process, port)
        yield Server(port, process.pid)
    finally:
        process.terminate()
        process.wait(_START_S)


def _wait_for(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise click.ClickException("a server did not start; it said above why")

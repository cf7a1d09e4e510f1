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


class DamagedFileError(Exception):
    """A file of the data directory cannot be read; the text says what to do."""


def running_settings(settings: Settings) -> Settings:
    """Return the settings completed from a running `up`, when they name its database or none."""
    running = read_file(settings.data_directory / RUNNING_FILE)
    if not running or settings.database_url not in {"", running["databaseUrl"]} or not _is_alive(running["pid"]):
        return settings
    # The key is the one that its API knows tokens by, and who charges for its API charges for the commands.
    return replace(
        settings,
        database_url=running["databaseUrl"],
        secret_key=running["secretKey"],
        sandbox=True,
        payment_service_url=running.get("paymentServiceUrl", ""),
        payment_service_token=running.get("paymentServiceToken", ""),
    )


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

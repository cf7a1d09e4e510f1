"""What the project promises about itself."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

from service.cli import cli, run
from service.database import MIGRATIONS
from service.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readme_lists_every_setting_with_its_default_and_meaning() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| (.*?) \| (.*) \|$", README, re.MULTILINE)
    expected: list[tuple[str, str, str]] = []
    for item in fields(Settings):
        default = "0" if item.default is False else str(item.default)
        shown = f"`{default}`" if default else ""
        expected.append((item.metadata["variable"], shown, item.metadata["description"]))
    assert rows == expected


def test_the_readme_lists_every_command() -> None:
    listed = set(re.findall(r"^\| `manage-orders (\w+)", README, re.MULTILINE))
    assert listed == set(cli.commands)


def test_every_command_has_help_with_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    for name, command in cli.commands.items():
        leaves = getattr(command, "commands", None)
        for path in [[name, leaf] for leaf in leaves] if leaves else [[name]]:
            assert run([*path, "--help"]) == 0
            assert f"manage-orders {' '.join(path)}" in capsys.readouterr().out.partition("Example:")[2]


def test_the_first_screen_of_the_readme_has_the_two_commands() -> None:
    first_screen = README.split("## ", 1)[0]
    commands = re.findall(r"^python3 -m venv \.venv && .*$", first_screen, re.MULTILINE)
    assert [command.split()[-1] for command in commands] == ["up", ".venv/bin/pytest"]
    assert all("-c constraints.txt" in command for command in commands)


def test_imports_keep_to_the_layers() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def test_migrations_are_one_line_and_plain_sql() -> None:
    scripts = ScriptDirectory(str(MIGRATIONS))
    assert len(scripts.get_heads()) == 1
    for file in (MIGRATIONS / "versions").glob("*.py"):
        assert "op." not in file.read_text(encoding="utf-8"), f"{file.name} does not say its SQL"


def test_the_constraints_pin_every_dependency_and_name_no_registry() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines() if line[:1] != "#"]
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[A-Za-z0-9_.+!-]+", line) for line in lines)
    pinned = {re.sub(r"[-_.]+", "-", line.split("==")[0]).lower() for line in lines}
    wanted = re.findall(
        r'^    "([A-Za-z0-9-]+)[\[>]', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert {name.lower() for name in wanted} - {"manage-orders"} <= pinned

"""Schedulers that are killed and stopped amid their sweeps: the short version of `python -m tests.sweep_soak`."""

from __future__ import annotations

import signal
from pathlib import Path

import psycopg

from service.database import Database
from service.settings import Settings
from tests.sweep_ledger import count_slots
from tests.sweep_soak import SWEEP_BEGINS_S, Stroke, soak

SECONDS = 12
# In the middle of a sweep, where there is one at that place. The last two leave nobody for a slot or two.
STROKES = [
    Stroke(1 + SWEEP_BEGINS_S + 0.01, 1, signal.SIGSTOP, 3),
    Stroke(3 + SWEEP_BEGINS_S + 0.02, 0, signal.SIGKILL, 0),
    Stroke(7 + SWEEP_BEGINS_S + 0.03, 0, signal.SIGKILL, 2.5),
    Stroke(7 + SWEEP_BEGINS_S + 0.03, 1, signal.SIGSTOP, 2.5),
]


def test_schedulers_that_are_killed_and_stopped_work_each_slot_once_and_cancel_each_order_once_and_in_time(
    settings: Settings, database: Database, owner: psycopg.Connection, tmp_path: Path
) -> None:
    # Broken by a slot that two may take (its unique key, and the lock under which it is taken), by a claim that does
    # not judge the deadline of the rows it locks, and by a run that does not count what it leaves.
    faults = soak(settings, database, owner, tmp_path / "log", seconds=SECONDS, places=2, strokes=STROKES)

    assert not faults
    # Both were away: the slots are told of as missed, rather than not at all.
    assert owner.execute("SELECT 1 FROM cancellation_runs WHERE state = 'MISSED'").fetchone()
    assert len(count_slots(owner)) >= SECONDS

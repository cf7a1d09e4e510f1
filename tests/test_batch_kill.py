"""A file of confirmations whose worker is killed ends as one that was not disturbed; nothing is confirmed twice."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

from service.confirmation_batches.actions import create_batch
from service.confirmation_batches.jobs import work_batches
from service.confirmation_batches.row_schemas import read_flat_batch
from service.database import Database
from service.settings import Settings
from tests.batch_plans import check, make_plan, receive, results_of
from tests.batch_soak import count_worked, kill_in_the_middle, start_confirming, work_to_the_end
from tests.conftest import NOW, OTHER_SELLER, SELLER

ROWS = 300


def test_a_killed_file_is_resumed_by_two_workers_and_ends_as_an_undisturbed_one(
    settings: Settings, database: Database, owner: psycopg.Connection, set_clock: Callable[[Any], Any], tmp_path: Path
) -> None:
    # Broken by working a row that has a result: what the killed process confirmed would be told as confirmed before.
    set_clock(NOW)
    plan, file = make_plan(ROWS), tmp_path / "confirmations.tsv"
    file.write_bytes(plan.file)
    for seller_id in (SELLER, OTHER_SELLER):
        receive(database, owner, seller_id, plan)

    confirmed = kill_in_the_middle(owner, start_confirming(settings, SELLER, file), SELLER, ROWS // 5)
    assert confirmed < len([each for each in plan.expected.values() if each == "CONFIRMED"])
    working = {"database": database, "settled_outside": True}
    workers = [threading.Thread(target=work_batches, kwargs=working) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    work_to_the_end(database, owner)
    for _ in range(2):
        columns, rows = read_flat_batch(plan.file)
        create_batch(database, OTHER_SELLER, "command-line", columns, rows)
        work_to_the_end(database, owner)

    check(owner, plan, SELLER, OTHER_SELLER)
    assert len({*plan.expected.values()}) > 12
    assert count_worked(owner, SELLER) == sum(each == "CONFIRMED" for each in results_of(owner, SELLER)[0].values())

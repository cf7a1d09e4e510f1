from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from service.cli import run
from service.database import Database
from service.settings import Settings
from tests.conftest import SECRET_KEY, SHARED, ApiClient
from tests.replay import replay

HISTORY = SHARED / "data" / "olist"


@pytest.mark.skipif(not HISTORY.exists(), reason="the history to replay is not beside the project")
def test_two_years_of_a_real_marketplace_end_with_exactly_the_right_orders_cancelled(
    database: Database,
    settings: Settings,
    operator: ApiClient,
    set_clock: Callable[[datetime | str], datetime],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The invariants are looked at when the `database` fixture ends.
    set_clock("2016-09-01T00:00:00Z")
    monkeypatch.setenv("DATABASE_URL", settings.database_url)
    monkeypatch.setenv("MANAGE_ORDERS_SECRET_KEY", SECRET_KEY)
    monkeypatch.setenv("MANAGE_ORDERS_SANDBOX", "1")
    assert run(["import", str(HISTORY / "orders.ndjson"), "--create-sellers"]) == 0

    def call(method: str, path: str, body: object = None, **query: str) -> tuple[int, dict[str, Any]]:
        response = operator.request(method, path, query_string=query, **({} if body is None else {"json": body}))
        return response.status_code, response.get_json()

    outcome = replay(call, HISTORY)

    assert outcome.faults == []
    assert outcome.cancelled == len((HISTORY / "expected_cancellations.tsv").read_text().splitlines()) - 1
    assert outcome.refused >= outcome.cancelled
    with database.operator_transaction() as connection:
        (charged,) = connection.execute("SELECT count(*) FROM charges").fetchone() or (0,)
    assert charged == 2255 - outcome.cancelled

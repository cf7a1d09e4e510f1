"""The questions of the README are answered from the demo data."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

from service.database import Database
from service.demo import create_demo
from tests.conftest import ApiClient
from tests.test_guards import README


def test_each_of_the_five_questions_has_an_answer(
    database: Database, client_of: Callable[[str | None], ApiClient]
) -> None:
    create_demo(database, lambda _, __: None)
    demo = client_of("DEMO-NORTH")
    calls: list[tuple[str, str]] = re.findall(r"^get '(\S+)'(?: --data-urlencode 'q=(.*)')?$", README, re.MULTILINE)

    assert len(calls) == 5
    for address, words in calls:
        asked = urlsplit(address)
        response = demo.get(asked.path, **parse_qs(asked.query), **({"q": words} if words else {}))
        assert response.status_code == 200, response.text
        body = response.get_json()
        assert body.get("orders") or sum(group["count"] for group in body.get("groups", ())), address

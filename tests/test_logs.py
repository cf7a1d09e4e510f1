"""Logs: one JSON object a line, with the request's id, and without tokens, personal data or what somebody asked for."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest

from service.database import Database
from service.sellers.actions import create_token
from tests.conftest import NOW, SECRET_KEY, SELLER, confirmation, order_document

# Logging is set up once a process, so each run has a process of its own.
PROBE = """
import json, logging, sys
from service.app import create_app
from service.logs import configure_logs
from service.settings import Settings

told = json.load(sys.stdin)
configure_logs(told["level"])
app = create_app(Settings(database_url=told["database_url"], secret_key=told["secret_key"], sandbox=True))
client = app.test_client()
for request in told["requests"]:
    failure = request.pop("failure", None)
    if failure:
        import service.orders.routes
        def fail(connection, *_):
            if failure == "database":
                connection.execute("SELECT %(name)s::integer", {"name": "Ada Example"}).fetchall()
            if failure == "database slow":
                connection.execute("SET LOCAL statement_timeout = 1")
                connection.execute("SELECT pg_sleep(5)").fetchall()
            try:
                raise KeyError("Ada Example")
            except KeyError as error:
                raise RuntimeError("ada@example.com") from error
        service.orders.routes.find_order = fail
    print(client.open(**request).status_code)
logging.getLogger("some.library").warning("hello %s", "from a library")
app.extensions["manage-orders"].database.close()
"""
PERSONAL = ("Ada Example", "ada@example.com", "+1 555 0100", "1 Example Street", "1Z999AA10123456784")

Json: TypeAlias = Any
Run = Callable[..., tuple[list[dict[str, Any]], list[int], str]]


@pytest.fixture
def token(database: Database) -> str:
    return create_token(database, SECRET_KEY, seller_id=SELLER, name="test")[1]


@pytest.fixture
def run(database_url: str, database: Database) -> Run:
    """Return a function that sends requests in another process, and returns its log lines, statuses and whole log."""
    del database

    def call(requests: list[dict[str, Any]], level: str = "DEBUG") -> tuple[list[dict[str, Any]], list[int], str]:
        told = {"level": level, "database_url": database_url, "secret_key": SECRET_KEY, "requests": requests}
        done = subprocess.run(
            [sys.executable, "-c", PROBE], input=json.dumps(told), capture_output=True, text=True, check=True
        )
        lines = [json.loads(line) for line in done.stderr.splitlines()]
        return lines, [int(status) for status in done.stdout.split()], done.stderr

    return call


def request(method: str, path: str, token: str | None, **options: Json) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return {"method": method, "path": path, "headers": headers | options.pop("headers", {})} | options


def personal_order() -> dict[str, Any]:
    return order_document(
        buyer={"buyerName": "Ada Example", "buyerEmail": "ada@example.com"},
        recipient__deliveryAddress={"name": "Ada Example", "addressLine1": "1 Example Street", "phone": "+1 555 0100"},
    )


def test_every_line_is_a_json_object_with_its_time_level_and_logger(run: Run) -> None:
    lines, _, _ = run([request("GET", "/health/ready", None), request("GET", "/nowhere", None)])

    assert {"request", "hello from a library"} <= {line["event"] for line in lines}
    for line in lines:
        assert {"event", "level", "logger", "timestamp"} <= line.keys(), line
        assert line["timestamp"].endswith("Z")


def test_a_request_is_logged_with_its_id_route_and_status_and_not_its_address(run: Run, token: str) -> None:
    order = personal_order()
    sent = [
        request("POST", "/v1/orders", token, json=order, headers={"X-Request-Id": "my-request-7"}),
        request("GET", f"/v1/orders/{order['orderId']}", token, headers={"X-Request-Id": "not an id \u00e9"}),
        request("GET", "/v1/orders", token, query_string={"paginationToken": "looked-for-this"}),
        request("GET", "/v1/orders", None, query_string={"looked-for-this": "looked-for-this"}),
        request("GET", "/looked-for-this", None),
    ]
    lines, statuses, text = run(sent)
    logged = [line for line in lines if line["event"] == "request"]

    assert statuses == [201, 200, 422, 401, 404]
    assert [(line["method"], line["route"], line["status"]) for line in logged] == [
        ("POST", "/v1/orders", 201),
        ("GET", "/v1/orders/<order_id:order_id>", 200),
        ("GET", "/v1/orders", 422),
        ("GET", "/v1/orders", 401),
        ("GET", None, 404),
    ]
    assert logged[0]["request_id"] == "my-request-7"
    assert len({line["request_id"] for line in logged}) == len(logged)
    assert "not an id" not in text
    assert "looked-for-this" not in text
    assert [line.get("caller_seller_id") for line in logged] == [SELLER, SELLER, SELLER, None, None]
    assert all(line["duration_ms"] >= 0 for line in logged)


@pytest.mark.parametrize("level", ["DEBUG", "INFO"])
def test_no_token_and_no_personal_data_is_logged_whatever_happens(level: str, run: Run, token: str) -> None:
    order = personal_order()
    path = f"/v1/orders/{order['orderId']}"
    clock = {"shipDate": NOW.isoformat()}
    requests = [
        request("POST", "/v1/orders", token, json=order),
        request("POST", "/v1/orders", token, json=order | {"Ada Example": "ada@example.com"}),
        request("POST", "/v1/orders", token, data='{"buyer": "Ada Example', content_type="application/json"),
        request("POST", f"{path}/shipment-confirmations", token, json=confirmation(**clock)),
        request("POST", f"{path}/shipment-confirmations", token, json=confirmation(carrierCode="Ada Example")),
        request("GET", "/v1/orders", "mo_made-up-secret", query_string={"name": "Ada Example"}),
        request("GET", path, token),
        request("GET", path, token, failure="program"),
        request("GET", path, token, failure="database"),
        request("GET", path, token, failure="database slow"),
        request("GET", "/v1/orders", token),
    ]
    lines, statuses, text = run(requests, level)

    assert statuses[0] == 201
    assert statuses[7:] == [500, 500, 503, 200]
    for secret in (*PERSONAL, token, token[:12], "made-up-secret", SECRET_KEY, "Bearer"):
        assert secret not in text, secret
    ids = {line["status"]: line["request_id"] for line in lines if line["event"] == "request"}
    faults = [line for line in lines if line["level"] == "error"]
    assert ids[503] in {line["request_id"] for line in faults}
    assert ids[500] in {line["request_id"] for line in faults}


def test_a_fault_is_logged_with_its_type_and_place(run: Run, token: str) -> None:
    lines, statuses, _ = run([request("GET", "/v1/orders/902-1", token, failure="program")], "ERROR")
    told = [line["exception"] for line in lines if "exception" in line]

    assert statuses == [500]
    assert len(told) == 1
    assert [each["exc_type"] for each in told[0]] == ["RuntimeError", "KeyError"]
    assert told[0][0]["frames"][-1]["name"] == "fail"
    assert "locals" not in json.dumps(told) or not any(frame["locals"] for frame in told[0][0]["frames"])


def test_what_the_database_refused_in_passing_is_told(run: Run, token: str) -> None:
    lines, statuses, text = run([request("GET", "/v1/orders/902-1", token, failure="database slow")], "ERROR")

    assert statuses == [503]
    assert "statement timeout" in text
    assert all(line["level"] in {"error", "warning"} for line in lines)


def test_a_level_hides_what_is_below_it(run: Run) -> None:
    lines, _, _ = run([request("GET", "/health/live", None)], "WARNING")

    assert [line["event"] for line in lines] == ["hello from a library"]

# Schemathesis leaves out the type arguments of its own classes.
# pyright: reportUnknownVariableType=false, reportUnknownParameterType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeArgument=false, reportUnknownMemberType=false
"""Every operation against what its document allows and what it does not, made up by schemathesis, and sent by hand."""

from __future__ import annotations

import io
import itertools
import json
import os
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import flask
import psycopg
import pytest
import schemathesis
from gunicorn.http.errors import InvalidChunkSize, NoMoreData
from hypothesis import HealthCheck, given
from hypothesis import settings as fuzzed
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)
from werkzeug.test import EnvironBuilder, run_wsgi_app

from service.app import create_app, openapi_document
from service.confirmation_batches.jobs import work_batches
from service.database import Database
from service.sellers.rules import scopes_allowed
from service.server import refuse_malformed_bodies
from service.settings import Settings
from tests.conftest import NOW, OTHER_SELLER, SELLER, ApiClient, confirmation, order_document

DOCUMENT = json.loads(
    openapi_document(create_app(Settings(database_url="postgresql://", secret_key="-" * 32, sandbox=True)))
)
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
SCHEMA.config.generation.update(with_security_parameters=False)


def _operations() -> Iterator[APIOperation]:
    for each in SCHEMA.get_all_operations():
        yield each.ok()  # pyright: ignore[reportAttributeAccessIssue]  # an error has no such method, and fails here


OPERATIONS: dict[str, APIOperation] = {each.label: each for each in _operations()}
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
# An order, and a list, have so many places that the whole of their boundary cases takes minutes: every so manieth.
EVERY = {
    "POST /v1/orders": 24, "GET /v1/orders": 24, "GET /v1/orders/counts": 24, "GET /v1/orders/export": 24,
    "POST /v1/shipment-confirmation-batches": 8, "POST /v1/views": 4, "PUT /v1/views/{viewId}": 4,
}  # fmt: skip
# A row that cannot be read is refused by itself, and its file is taken all the same.
REFUSED_BY_ROW = {"POST /v1/shipment-confirmation-batches"}
ORDER_ID, UNTOUCHED_ORDER_ID = "902-0000000-0000001", "902-0000000-0000002"
BATCHES = "/v1/shipment-confirmation-batches"
FLAT_FILE = f"order-id\tship-date\tcarrier-code\ttracking-number\n{ORDER_ID}\t2026-03-02\tUPS\t1Z9\n".encode()
# FUZZ_EXAMPLES=100 is a longer run.
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "8"))
SLOW = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
fuzzing = fuzzed(max_examples=EXAMPLES, derandomize=True, deadline=None, database=None, suppress_health_check=SLOW)

Json: TypeAlias = Any
Send = Callable[[Case], None]


@pytest.fixture(params=["seller", "operator"])
def send(
    request: pytest.FixtureRequest,
    app: flask.Flask,
    client_of: Callable[..., ApiClient],
    set_clock: Callable[[object], object],
) -> Send:
    """Return a function that sends a case and judges the answer; what exists is what well-formed cases are about."""
    seller = client_of(SELLER, [*scopes_allowed(SELLER)])
    set_clock(NOW)
    known = _made_known(seller)
    client = seller if request.param == "seller" else client_of(None)

    def call(case: Case) -> None:
        is_positive = case.meta is not None and case.meta.generation.mode is GenerationMode.POSITIVE
        if is_positive:
            case.path_parameters |= {name: known[name] for name in case.path_parameters if name in known}
            if "orderId" in case.path_parameters and "/cancellation" in case.path:
                case.path_parameters["orderId"] = UNTOUCHED_ORDER_ID
            if any(each.name == "If-Match" for each in case.operation.headers):
                case.headers["If-Match"] = "*"
        if is_positive and client is not seller:
            case.query = {**(case.query or {}), **({"sellerId": SELLER} if takes_seller(case.operation) else {})}
        response = case.call(app=app, headers={"Authorization": f"Bearer {client.token}"})
        checks = list(CHECKS)
        if not is_positive and client is seller and case.operation.label not in REFUSED_BY_ROW:
            checks.append(negative_data_rejection)
        case.validate_response(response, checks=checks)

    return call


def _made_known(seller: ApiClient) -> dict[str, str]:
    """Receive an order, confirm a part of it, refund a little, and send a file; return what each is found by."""
    path = f"/v1/orders/{ORDER_ID}"
    for order_id in (ORDER_ID, UNTOUCHED_ORDER_ID):
        assert seller.post("/v1/orders", order_document(orderId=order_id)).status_code == 201
    part = confirmation(orderItems=[{"orderItemId": "1", "quantity": 1}])
    confirmed = seller.post(f"{path}/shipment-confirmations", part)
    assert confirmed.headers["Location"] == f"{path}/packages/1"
    assert seller.get(confirmed.headers["Location"]).status_code == 200
    amount = {"amount": "0.01", "currencyCode": "USD"}
    refund = {"json": {"reason": "CUSTOMER_RETURN", "amount": amount}, "headers": {"Idempotency-Key": "first"}}
    refunded = seller.request("POST", f"{path}/refunds", **refund)
    file = seller.post("/v1/shipment-confirmation-batches", {"shipmentConfirmations": [part | {"orderId": ORDER_ID}]})
    return {
        "orderId": ORDER_ID,
        "packageReferenceId": "1",
        "refundId": refunded.get_json()["refundId"],
        "batchId": file.get_json()["batchId"],
    }


def takes_seller(operation: APIOperation) -> bool:
    return any(each.name == "sellerId" for each in operation.query)


def modes_of(operation: APIOperation) -> list[GenerationMode]:
    """Return how cases can be made up: wrong ones only where something could be wrong."""
    has_input = operation.query or operation.body or operation.path_parameters
    return list(GenerationMode) if has_input else [GenerationMode.POSITIVE]


@pytest.fixture
def work(database: Database, owner: psycopg.Connection) -> Callable[[], int]:
    """Return a function that works the files that were taken; what a row holds may refuse it, and break nothing."""

    def work_all() -> int:
        work_batches(database, settled_outside=True)
        broken = owner.execute(
            "SELECT content, outcome FROM confirmation_batch_rows "
            "WHERE result IS NULL OR (outcome #>> '{problem,status}')::integer >= 500"
        )
        assert broken.fetchall() == []
        ((count,),) = owner.execute("SELECT count(*) FROM confirmation_batch_rows").fetchall()
        return count

    return work_all


@pytest.mark.parametrize("label", OPERATIONS)
def test_an_operation_answers_random_requests_as_its_document_says(
    label: str, send: Send, work: Callable[[], int]
) -> None:
    operation = OPERATIONS[label]
    for mode in modes_of(operation):
        fuzzing(given(case=operation.as_strategy(generation_mode=mode))(send))()
    if BATCHES in label:
        assert work() > 0


@pytest.mark.parametrize("label", OPERATIONS)
def test_an_operation_answers_requests_at_every_limit_as_its_document_says(
    label: str, send: Send, work: Callable[[], int]
) -> None:
    cases = SCHEMA.iter_coverage_cases(
        OPERATIONS[label], generation_modes=list(GenerationMode), generation_config=SCHEMA.config.generation
    )
    for case in itertools.islice(cases, 0, None, EVERY.get(label, 2)):
        send(case)
    if BATCHES in label:
        assert work() > 0


HOSTILE_TARGETS = (
    "/v1/orders/%00",
    "/v1/orders/a%00b",
    "/v1/orders/%ED%A0%80",
    "/v1/orders/%FF%FE",
    "/v1/orders/%",
    "/v1/orders/%zz",
    "/v1/orders/%2e%2e%2f%2e%2e%2fetc",
    "/v1/orders/..",
    "/v1/orders/a;b=c",
    "/v1/orders/a%0d%0aX-Injected:%201",
    "/v1/orders/" + "9" * 5000,
    "/v1/orders/%F0%9F%98%80",
    "/v1/orders?marketplaceIds=a%00b",
    "/v1/orders?marketplaceIds=%ED%A0%80",
    "/v1/orders?paginationToken=%00",
    "/v1/orders?paginationToken=" + "a" * 1999,
    "/v1/orders?%00=1",
    "/v1/orders?%FF=%FF",
    "/v1/orders?=1",
    "/v1/orders?" + "n" * 4000 + "=1",
    "/v1/orders?" + "&".join(f"unknown{number}=1" for number in range(500)),
    "/v1/orders?" + "&".join(["fulfilledBy=MERCHANT"] * 500),
    "/v1/orders?createdAfter=2026-01-01T00:00:00Z&createdAfter=2026-01-02T00:00:00Z",
    "/v1/orders?createdAfter=9999-12-31T23:59:59-23:59",
    "/v1/orders?createdAfter=0001-01-01T00:00:00%2B23:59",
    "/v1/orders?maxResultsPerPage=" + "9" * 3000,
    "/v1/orders?maxResultsPerPage=%D9%A1",
    "/v1/orders?maxResultsPerPage=1e1",
    "/v1/orders?sellerId=' OR 1=1 --",
    "/v1/cancellation-runs?paginationToken=x",
    "/v1/cancellation-runs/00000000-0000-0000-0000-00000000000g",
    "/v1/sandbox/clock?now=1",
)


@pytest.mark.parametrize("target", HOSTILE_TARGETS)
def test_a_hostile_address_is_refused_as_a_problem(target: str, operator: ApiClient) -> None:
    target += (
        ""
        if "sellerId" in target or "sandbox" in target or "cancel" in target
        else (("&" if "?" in target else "?") + f"sellerId={SELLER}")
    )
    response = operator.request("GET", target)

    assert 400 <= response.status_code < 500, response.text
    assert response.mimetype == "application/problem+json"
    assert "X-Injected" not in response.headers


HOSTILE_BODIES = {
    "not JSON": (b"{", 400),
    "empty": (b"", 400),
    "two documents": (b"{} {}", 400),
    "invalid UTF-8": (b'{"packageReferenceId": "\xff"}', 400),
    "a lone surrogate": (b'{"packageReferenceId": "\\ud800"}', 400),
    "NaN": (b'{"packageReferenceId": NaN}', 400),
    "a byte order mark": (b"\xef\xbb\xbf{}", 400),
    "UTF-16": ("{}".encode("utf-16"), 400),
    "very deep": (b"[" * 100_000 + b"]" * 100_000, 400),
    "deep": (b'{"orderItems":' + b"[" * 900 + b"]" * 900 + b"}", 422),
    "a huge integer": (b'{"orderItems":[{"orderItemId":"1","quantity":' + b"9" * 300 + b"}]}", 422),
    "an integer beyond every double": (b'{"orderItems":' + b"9" * 5000 + b"}", 400),
    "a NUL": (b'{"trackingNumber":"a\\u0000b"}', 422),
    "null": (b"null", 422),
    "a list": (b"[]", 422),
    "a text": (b'"{}"', 422),
    "a key twice": (b'{"carrierCode":1,"carrierCode":2}', 422),
    "a long key": (b'{"' + b"k" * 10_000 + b'":1}', 422),
    "a key that looks like a pointer": (b'{"a/b~c":1}', 422),
    "an empty key": (b'{"":1}', 422),
    "many unknown keys": (json.dumps({f"k{number}": 1 for number in range(20_000)}).encode(), 422),
    "many wrong items": (json.dumps({"orderItems": [{}] * 1000}).encode(), 422),
    "more items than any order has": (json.dumps({"orderItems": [{}] * 1001}).encode(), 422),
}


@pytest.mark.parametrize("name", HOSTILE_BODIES)
def test_a_hostile_body_is_refused_as_a_problem(name: str, seller: ApiClient) -> None:
    body, status = HOSTILE_BODIES[name]
    response = seller.request(
        "POST", f"/v1/orders/{ORDER_ID}/shipment-confirmations", data=body, content_type="application/json"
    )

    assert response.status_code == status, response.text[:500]
    assert response.get_json()["errors"]


_HEAD, _ROW = FLAT_FILE.splitlines(keepends=True)
HOSTILE_FILES = {
    "UTF-16": (FLAT_FILE.decode().encode("utf-16"), 422),
    "a NUL in the names": (_HEAD.replace(b"carrier", b"carrier\0") + _ROW, 422),
    "CR only": (FLAT_FILE.replace(b"\n", b"\r"), 422),
    "a line of megabytes": (_HEAD + b"x" * 5_000_000, 202),
    "a million blank lines": (_HEAD + b"\n" * 1_000_000 + _ROW, 202),
    "thousands of names": (b"\t".join([_HEAD.strip(), *[b"problem"] * 5000]) + b"\n" + _ROW, 422),
    "a NUL, breaks and half of a pair": (
        _HEAD + _ROW.replace(b"1Z9", b"1\0Z") + _ROW.replace(b"1Z9", b"\v\xc2\x85\xe2\x80\xa8=1\r2") + _ROW, 202,
    ),
    "more cells than columns": (_HEAD + _ROW.replace(b"\n", b"\t" * 100_000 + b"x\n"), 202),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE_FILES)
def test_a_hostile_file_is_refused_as_a_problem_or_row_by_row(
    name: str, seller: ApiClient, work: Callable[[], int]
) -> None:
    body, status = HOSTILE_FILES[name]
    response = seller.request("POST", BATCHES, data=body, content_type="text/tab-separated-values")

    assert response.status_code == status, response.text[:500]
    assert work() == response.get_json().get("rowCount", 0)
    if status == 202:
        results = seller.request("GET", f"{response.headers['Location']}/results?format=tsv").get_data()
        assert results.count(b"\n") == 1 + response.get_json()["rowCount"]
    else:
        assert response.get_json()["errors"]


def test_malformed_json_is_refused_with_its_place(seller: ApiClient) -> None:
    response = seller.request("POST", "/v1/orders", data=b'{"orderId": \n nope}', content_type="application/json")

    assert response.status_code == 400
    (error,) = response.get_json()["errors"]
    assert error["pointer"] == ""
    assert "line 2 column 2" in error["detail"]


@pytest.mark.parametrize(
    "content_type",
    [None, "", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/xml",
     "application/problem+json", "application/json-patch", ";;;", "\u00ff"],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/v1/orders", f"/v1/orders/{ORDER_ID}/shipment-confirmations"])
def test_a_body_of_another_media_type_is_refused(content_type: str | None, path: str, seller: ApiClient) -> None:
    response = seller.request("POST", path, data=b"{}", content_type=content_type)

    assert response.status_code == 415
    assert response.get_json()["type"] == "urn:manage-orders:problem:unsupported-media-type"


def test_a_compressed_file_is_refused_by_its_header(seller: ApiClient) -> None:
    sent = [
        seller.request(
            "POST",
            BATCHES,
            data=FLAT_FILE,
            content_type="text/tab-separated-values",
            headers={"Content-Encoding": each},
        )
        for each in ("gzip", "Identity")
    ]

    assert [each.status_code for each in sent] == [415, 202]
    assert [each["header"] for each in sent[0].get_json()["errors"]] == ["Content-Encoding"]


def test_a_media_type_may_have_parameters_and_capitals(seller: ApiClient) -> None:
    response = seller.request("POST", "/v1/orders", data=b"{}", content_type="Application/JSON; charset=utf-8")

    assert response.status_code == 422


@pytest.mark.parametrize("accept", ["text/html", "image/png;q=0", "*/*;q=nan", "\u00ff", "," * 1000, "application/xml"])
def test_whatever_a_caller_accepts_the_answer_is_json(accept: str, seller: ApiClient) -> None:
    assert seller.request("GET", "/v1/orders", headers={"Accept": accept}).status_code == 200
    refused = seller.request("GET", "/v1/orders?no=1", headers={"Accept": accept})
    assert refused.mimetype == "application/problem+json"


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/orders/", "/v2/orders", "/health", "/docs/no-such-file", "//v1/orders"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_an_address_that_does_not_exist_is_a_problem(path: str, method: str, app: flask.Flask) -> None:
    response = app.test_client().open(path, method=method)

    assert response.status_code in ({404, 405} if path.startswith("/docs") else {404, 308})
    if response.status_code != 308:
        assert response.mimetype == "application/problem+json"
        assert response.get_json()["requestId"] == response.headers["X-Request-Id"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/v1/orders", {"GET", "HEAD", "OPTIONS", "POST"}),
        ("PUT", f"/v1/orders/{ORDER_ID}", {"GET", "HEAD", "OPTIONS"}),
        ("GET", f"/v1/orders/{ORDER_ID}/shipment-confirmations", {"OPTIONS", "POST"}),
        ("POST", "/v1/sandbox/clock", {"DELETE", "GET", "HEAD", "OPTIONS", "PUT"}),
        ("TRACE", "/health/live", {"GET", "HEAD", "OPTIONS"}),
        ("BREW", "/health/live", {"GET", "HEAD", "OPTIONS"}),
    ],
)
def test_a_method_that_an_address_does_not_have_is_a_problem_that_names_the_others(
    method: str, path: str, allowed: set[str], app: flask.Flask
) -> None:
    response = app.test_client().open(path, method=method)

    assert response.status_code == 405
    assert set(response.headers["Allow"].split(", ")) == allowed
    assert response.get_json()["type"] == "urn:manage-orders:problem:method-not-allowed"


def test_options_names_the_methods_and_needs_no_token(app: flask.Flask) -> None:
    response = app.test_client().options("/v1/orders")

    assert response.status_code == 200
    assert set(response.headers["Allow"].split(", ")) >= {"GET", "HEAD", "OPTIONS"}
    assert response.data == b""


def test_head_answers_as_get_without_a_body(seller: ApiClient, received: dict[str, Any]) -> None:
    path = f"/v1/orders/{received['orderId']}"
    headers = {"Authorization": f"Bearer {seller.token}"}
    head, get = seller.app.test_client().head(path, headers=headers), seller.get(path)

    assert (head.status_code, head.data) == (200, b"")
    assert head.headers["Content-Length"] == str(len(get.data))
    assert seller.app.test_client().head(path).status_code == 401


def chunked(
    app: flask.Flask, chunks: Iterator[bytes], token: str | None, path: str = "/v1/orders", **environment: Any
) -> flask.Response:
    """Send a body as gunicorn hands it on: `Transfer-Encoding: chunked`, or with the length that the sender told."""

    class Stream(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Json) -> int:
            chunk = next(chunks, b"")
            buffer[: len(chunk)] = chunk
            return len(chunk)

    builder = EnvironBuilder(
        path, method="POST", content_type="application/json", headers=[("Authorization", f"Bearer {token}")]
    )
    environ = builder.get_environ()
    environ.pop("CONTENT_LENGTH", None)
    environ |= {"wsgi.input": io.BufferedReader(Stream()), "wsgi.input_terminated": True, **environment}
    content, status, headers = run_wsgi_app(app.wsgi_app, environ)
    return flask.Response(b"".join(content), status, headers)


def test_a_body_larger_than_the_limit_is_refused(seller: ApiClient) -> None:
    limit: int = seller.app.config["MAX_CONTENT_LENGTH"]
    body = b'{"orderId": "' + b"x" * limit + b'"}'
    response = seller.request("POST", "/v1/orders", data=body, content_type="application/json")

    assert response.status_code == 413


def test_a_body_of_unknown_length_is_read_up_to_the_limit_and_no_further(seller: ApiClient) -> None:
    limit: int = seller.app.config["MAX_CONTENT_LENGTH"]
    sent = itertools.count(1)
    endless = (b" " * 4096 for _ in sent)
    response = chunked(seller.app, endless, seller.token)

    assert response.status_code == 413
    assert response.mimetype == "application/problem+json"
    assert next(sent) < limit // 4096 + 100

    document = json.dumps(order_document()).encode()
    assert chunked(seller.app, iter([document[:50], document[50:]]), seller.token).status_code == 201


@pytest.fixture
def served(settings: Settings) -> Iterator[flask.Flask]:
    """Yield the application as gunicorn has it."""
    app = create_app(settings)
    refuse_malformed_bodies(app)
    yield app
    app.extensions["manage-orders"].database.close()


@pytest.mark.parametrize(
    ("path", "media"),
    [
        (BATCHES, "text/tab-separated-values"),
        ("/v1/orders", "application/json"),
        (f"/v1/orders/{ORDER_ID}/cancellation-request", "application/json"),
    ],
)
def test_a_body_that_is_cut_off_on_its_way_is_not_taken_for_a_whole_one(
    path: str, media: str, served: flask.Flask, client_of: Callable[..., ApiClient], owner: psycopg.Connection
) -> None:
    # Gunicorn ends a body where the connection ends, and says nothing. What came of a file is a file, but shorter.
    token = client_of(SELLER, [*scopes_allowed(SELLER)]).token
    whole = FLAT_FILE if path == BATCHES else json.dumps(order_document()).encode()

    def malformed(*chunks: bytes | Exception, **environment: Any) -> Any:
        response = chunked(served, fed(*chunks), token, path, CONTENT_TYPE=media, **environment)
        assert response.status_code == 400, response.get_data()
        assert response.get_json()["type"] == "urn:manage-orders:problem:malformed-request"
        return response.get_json()["errors"]

    for cut in (whole, whole[:-30], b""):
        (error,) = malformed(cut, CONTENT_LENGTH=str(len(whole) + 9))
        assert error == {"detail": f"{len(cut)} of {len(whole) + 9} bytes came", "header": "Content-Length"}
    # Without a length gunicorn does say so, with errors of its own.
    (error,) = malformed(whole, InvalidChunkSize(b"zz"))
    assert "Invalid chunk size" in error["detail"]
    assert chunked(served, fed(whole, NoMoreData()), token, path, CONTENT_TYPE=media).status_code == 400
    assert owner.execute("SELECT FROM confirmation_batches UNION ALL SELECT FROM orders").fetchall() == []
    if path == BATCHES:
        assert chunked(served, fed(whole), token, path, CONTENT_TYPE=media).status_code == 202


def fed(*chunks: bytes | Exception) -> Iterator[bytes]:
    """Yield the chunks of a body, and fail where it fails."""
    for each in chunks:
        if isinstance(each, Exception):
            raise each
        yield each


def test_a_long_list_of_faults_is_cut(seller: ApiClient) -> None:
    response = seller.post("/v1/orders", {f"unknown{number}": 1 for number in range(1000)})

    assert response.status_code == 422
    assert len(response.get_json()["errors"]) == 100


def test_an_order_of_very_many_items_is_refused_with_a_short_text(
    seller: ApiClient, set_clock: Callable[..., Any]
) -> None:
    set_clock(NOW)
    product = {"title": "Pin"}
    items = [{"orderItemId": f"{number:050}", "quantityOrdered": 1, "product": product} for number in range(1000)]
    order = order_document(orderItems=items)
    assert seller.post("/v1/orders", order).status_code == 201
    wrong = confirmation(orderItems=[{"orderItemId": "unknown", "quantity": 1}])
    response = seller.post(f"/v1/orders/{order['orderId']}/shipment-confirmations", wrong)

    assert response.status_code == 422
    assert len(response.get_json()["detail"]) <= 2000


def test_a_fault_of_ours_is_a_problem_without_a_word_about_it(
    seller: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("service.search.routes.find_orders", fail)
    response = seller.get("/v1/orders")

    assert response.status_code == 500
    assert response.get_json()["type"] == "urn:manage-orders:problem:internal-error"
    assert "secret" not in response.text


def test_an_unknown_parameter_is_refused_by_every_operation(operator: ApiClient) -> None:
    for label, operation in OPERATIONS.items():
        method, path = label.split()
        if path.startswith("/health"):
            continue
        some_id = "5f0c5c4e-7a53-4d5a-9d0c-0d5a0f6b1c11"
        ids = dict.fromkeys(("runId", "refundId", "batchId", "extensionId"), some_id)
        ids |= {"orderId": ORDER_ID, "viewId": "all", "packageReferenceId": "1", "marketplaceId": "ATVPDKIKX0DER"}
        path = path.format(**ids)
        query = {"nonsense": "1"} | ({"sellerId": OTHER_SELLER} if takes_seller(operation) else {})
        body = {"json": {}} if operation.body else {}
        response = operator.request(method, path, query_string=query, **body)

        assert response.status_code == 422, label
        errors = [each["detail"] for each in response.get_json()["errors"] if each.get("parameter") == "nonsense"]
        assert errors == ["is not a known field"], label

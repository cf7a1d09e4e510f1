"""Files of confirmations over HTTP: taken whole or not at all, worked row by row, and handed back."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any
from unittest import mock

import flask
import orjson
import psycopg
import pytest
from werkzeug.test import TestResponse

from service.confirmation_batches import actions, jobs, parts, routes, work_queries
from service.confirmation_batches.jobs import work_batches
from service.database import Database
from service.export.slots import SLOTS
from service.settings import Settings
from tests.conftest import CONFIRM_BY, NOW, OTHER_SELLER, SELLER, ApiClient, order_document

BATCHES = "/v1/shipment-confirmation-batches"
TSV = "text/tab-separated-values"
HEADER = "order-id\torder-item-id\tquantity\tship-date\tcarrier-code\ttracking-number"


@pytest.fixture(autouse=True)
def _now(set_clock: Callable[[Any], Any]) -> None:  # pyright: ignore[reportUnusedFunction]  # pytest uses it
    set_clock(NOW)


@pytest.fixture
def impatient(settings: Settings) -> Iterator[Database]:
    """Yield connections that wait for no lock."""
    database = Database(replace(settings, lock_timeout_ms=50), pool_size=2)
    yield database
    database.close()


def receive(client: ApiClient, **changes: Any) -> str:
    response = client.post("/v1/orders", order_document(**changes))
    assert response.status_code == 201, response.text
    return response.get_json()["orderId"]


def row(
    order_id: str, item: str = "", quantity: object = "", tracking: str = "1Z999AA10123456784", **other: str
) -> str:
    cells = (order_id, item, str(quantity), other.get("date", "2026-03-02"), other.get("carrier", "UPS"), tracking)
    return "\t".join(cells)


def flat(*rows: str, header: str = HEADER) -> bytes:
    return "\n".join([header, *rows, ""]).encode()


def send(client: ApiClient, body: bytes, media: str = TSV, **query: str) -> TestResponse:
    return client.request("POST", BATCHES, data=body, content_type=media, query_string=query)


def work(database: Database) -> None:
    work_batches(database, settled_outside=True)


def worked(client: ApiClient, database: Database, body: bytes | Sequence[dict[str, Any]], **query: str) -> Any:
    """Send a file, work it, and return its results by row."""
    if isinstance(body, bytes):
        response = send(client, body, **query)
    else:
        response = client.post(BATCHES, {"shipmentConfirmations": body}, **query)
    assert response.status_code == 202, response.text
    work(database)
    shown = client.get(response.headers["Location"], **query).get_json()
    assert shown["state"] == "DONE"
    page = client.get(f"{response.headers['Location']}/results", **query).get_json()
    assert len(page["results"]) == shown["rowCount"] == shown["workedRowCount"]
    return {each["rowNumber"]: each for each in page["results"]}


def codes(results: dict[int, Any]) -> dict[int, str]:
    return {
        number: each["problem"]["type"].rpartition(":")[2] if "problem" in each else each["result"]
        for number, each in results.items()
    }


def test_a_file_is_taken_worked_and_told_row_by_row(seller: ApiClient, database: Database) -> None:
    whole, partly, pending = receive(seller), receive(seller), receive(seller, fulfillment__fulfillmentStatus="PENDING")
    sent = send(seller, flat(row(whole), row(partly, "1", 1), row(pending), row(partly, "2", "x", tracking="A")))

    assert sent.status_code == 202
    new = sent.get_json()
    assert sent.headers["Location"] == new["links"]["self"] == f"{BATCHES}/{new['batchId']}"
    assert {name: new[name] for name in ("state", "format", "rowCount", "workedRowCount", "refusedCount")} == {
        "state": "RUNNING", "format": "TSV", "rowCount": 4, "workedRowCount": 1, "refusedCount": 1,
    }  # fmt: skip
    assert new["requestedBy"].startswith("token:")

    work(database)
    done = seller.get(new["links"]["self"]).get_json()
    assert done["state"] == "DONE"
    assert done["finishedTime"]
    assert (done["confirmedCount"], done["alreadyConfirmedCount"], done["refusedCount"]) == (2, 0, 2)
    results = seller.get(new["links"]["results"]).get_json()["results"]
    assert codes({each["rowNumber"]: each for each in results}) == {
        2: "CONFIRMED", 3: "CONFIRMED", 4: "order-pending", 5: "invalid-request",
    }  # fmt: skip
    assert results[0]["packageReferenceId"] == "1"
    assert results[3]["problem"]["errors"] == [{"detail": "must be a whole number", "pointer": "/quantity"}]
    assert seller.get(f"/v1/orders/{whole}").get_json()["fulfillment"]["fulfillmentStatus"] == "SHIPPED"
    assert seller.get(f"/v1/orders/{partly}").get_json()["fulfillment"]["fulfillmentStatus"] == "PARTIALLY_SHIPPED"


def test_the_same_file_again_confirms_nothing_twice(seller: ApiClient, database: Database) -> None:
    whole, split = receive(seller), receive(seller)
    file = flat(row(whole), row(split, "1", 1), row(split, "2", 1), row(split, "1", 1, tracking="1Z999AA10123456793"))
    first, second = worked(seller, database, file), worked(seller, database, file)

    assert {*codes(first).values()} == {"CONFIRMED"}
    assert {*codes(second).values()} == {"ALREADY_CONFIRMED"}
    packages = {number: each["packageReferenceId"] for number, each in first.items()}
    assert packages == {2: "1", 3: "1", 4: "1", 5: "2"} == {n: each["packageReferenceId"] for n, each in second.items()}
    order = seller.get(f"/v1/orders/{split}").get_json()
    assert [each["packageItems"] for each in order["packages"]] == [
        [{"orderItemId": "1", "quantity": 1}, {"orderItemId": "2", "quantity": 1}],
        [{"orderItemId": "1", "quantity": 1}],
    ]
    assert (order["version"], order["fulfillment"]["fulfillmentStatus"]) == (3, "SHIPPED")


def test_json_says_the_same_and_may_number_its_packages(seller: ApiClient, database: Database) -> None:
    order_id, other = receive(seller), receive(seller)
    entry: dict[str, Any] = {
        "orderId": order_id,
        "carrierCode": "ups",
        "trackingNumber": "X1",
        "shipDate": "2026-03-02",
    }
    entries = [
        entry | {"packageReferenceId": "7", "orderItems": [{"orderItemId": "1", "quantity": 1}]},
        entry | {"trackingNumber": "X3", "orderItems": [{"orderItemId": "1", "quantity": 1}]},
        entry | {"orderId": other, "carrierCode": "Other", "carrierName": "Bike"},
        entry | {"packageReferenceId": "7", "trackingNumber": "X2"},
    ]
    results = worked(seller, database, entries)

    assert codes(results) == {1: "CONFIRMED", 2: "CONFIRMED", 3: "CONFIRMED", 4: "package-conflict"}
    assert [results[number]["packageReferenceId"] for number in (1, 2, 3)] == ["7", "8", "1"]
    assert [each["code"] for each in results[3]["warnings"]] == ["TRACKING_NUMBER_USED_BEFORE"]
    assert results[4]["problem"]["errors"][0]["pointer"] == "/packageReferenceId"


def test_each_package_is_refused_or_taken_by_itself_and_says_where_it_is_wrong(
    seller: ApiClient, database: Database, owner: psycopg.Connection
) -> None:
    order_id, done, asked = receive(seller), receive(seller), receive(seller)
    owner.execute("UPDATE orders SET cancellation_requested_time = %s WHERE order_id = %s", (NOW, asked))
    results = worked(
        seller,
        database,
        flat(
            row(order_id, "1", 1, tracking="A"),  # 2: with row 3 one package, of which row 3 is wrong
            row(order_id, "9", 1, tracking="A"),
            row(order_id, "2", 1, tracking="B"),  # 4: taken
            row(order_id, "2", 1, tracking="C"),  # 5: no more of it
            row(order_id, "1", 1, tracking="D", carrier="Snail"),
            row(order_id, "1", 1, tracking="E", date="2026-02-20"),
            row(order_id, "1", 1, tracking="F", carrier="Other"),
            row("902-0000000-0000000"),
            row(done),
            row(done, tracking="G"),
            row(asked),
        ),
    )

    assert codes(results) == {
        2: "unknown-order-item", 3: "unknown-order-item", 4: "CONFIRMED", 5: "quantity-too-large",
        6: "unknown-carrier", 7: "ship-date-out-of-range", 8: "invalid-request", 9: "order-not-found",
        10: "CONFIRMED", 11: "nothing-to-confirm", 12: "cancellation-requested",
    }  # fmt: skip
    places = {number: [each.get("pointer") for each in told["problem"].get("errors", [])]
              for number, told in results.items() if "problem" in told}  # fmt: skip
    assert places == {
        2: [None], 3: ["/order-item-id"], 5: ["/quantity"], 6: ["/carrier-code"], 7: ["/ship-date"],
        8: ["/carrier-name"], 9: [], 11: [], 12: ["/override-cancellation-request"],
    }  # fmt: skip
    assert results[2]["problem"]["errors"][0]["detail"].startswith("row 3 of the same package: ")
    agreed = flat(row(asked) + "\ttrue", header=HEADER + "\toverride-cancellation-request")
    assert codes(worked(seller, database, agreed)) == {2: "CONFIRMED"}


def test_after_the_deadline_a_row_is_refused_as_a_confirmation_by_itself_is(
    seller: ApiClient, database: Database, set_clock: Callable[[Any], Any]
) -> None:
    # The deadline decides when the row is worked, not when the file came.
    sent = send(seller, flat(row(receive(seller))))
    set_clock(CONFIRM_BY)
    work(database)

    (told,) = seller.get(sent.get_json()["links"]["results"]).get_json()["results"]
    assert codes({2: told}) == {2: "confirmation-window-closed"}


def test_rows_of_another_seller_are_refused_like_those_of_orders_that_do_not_exist(
    seller: ApiClient, other_seller: ApiClient, operator: ApiClient, database: Database
) -> None:
    foreign = receive(other_seller)
    header = HEADER + "\tseller-id"
    rows = [row(foreign), row(foreign) + f"\t{OTHER_SELLER}", row(receive(seller)) + f"\t{SELLER}"]
    results = worked(seller, database, flat(*rows, header=header))
    named = worked(operator, database, flat(*rows, header=header), sellerId=SELLER)

    assert codes(results) == {2: "order-not-found", 3: "order-not-found", 4: "CONFIRMED"}
    assert codes(named) == {2: "order-not-found", 3: "order-not-found", 4: "ALREADY_CONFIRMED"}
    (error,) = results[3]["problem"].pop("errors")
    assert error["pointer"] == "/seller-id"
    assert results[2]["problem"] == results[3]["problem"]
    assert other_seller.get(f"/v1/orders/{foreign}").get_json()["version"] == 1


def test_an_operators_file_may_be_of_several_sellers_and_is_hidden_from_them(
    seller: ApiClient, other_seller: ApiClient, operator: ApiClient, database: Database
) -> None:
    order_id = receive(seller)
    other_seller.post("/v1/orders", order_document(orderId=order_id))
    header = HEADER + "\tSELLER_ID"
    rows = [f"{row(order_id)}\t{each}" for each in (SELLER, OTHER_SELLER, "", "A9NOBODY", "not one")]
    results = worked(operator, database, flat(*rows, header=header))

    assert codes(results) == {
        2: "CONFIRMED", 3: "CONFIRMED", 4: "invalid-request", 5: "order-not-found", 6: "invalid-request",
    }  # fmt: skip
    assert [results[number]["problem"]["errors"][0]["pointer"] for number in (4, 6)] == ["/SELLER_ID"] * 2
    assert [results[number].get("sellerId") for number in (2, 3, 4, 6)] == [SELLER, OTHER_SELLER, None, None]
    (batch,) = operator.get(BATCHES).get_json()["batches"]
    assert "sellerId" not in batch
    for client in (seller, other_seller):
        assert client.get(BATCHES).get_json() == {"batches": []}
        assert client.get(batch["links"]["self"]).status_code == 404
        assert client.get(batch["links"]["results"]).status_code == 404
    assert operator.get(BATCHES, sellerId=SELLER).get_json() == {"batches": []}


def test_sellers_see_their_own_files_the_newest_first(
    seller: ApiClient, other_seller: ApiClient, operator: ApiClient, set_clock: Callable[[Any], Any]
) -> None:
    sent: list[str] = []
    for minutes in range(3):
        set_clock(NOW + timedelta(minutes=minutes))
        sent.append(send(seller, flat(row("902-1"))).get_json()["batchId"])
    foreign = send(other_seller, flat(row("902-1"))).get_json()

    def walk(client: ApiClient, **query: str) -> list[str]:
        found, token = list[str](), dict[str, str]()
        while True:
            page = client.get(BATCHES, maxResultsPerPage=2, **query, **token).get_json()
            found += [each["batchId"] for each in page["batches"]]
            if "pagination" not in page:
                return found
            token = {"paginationToken": page["pagination"]["nextToken"]}

    assert walk(seller) == sent[::-1] == walk(operator, sellerId=SELLER)
    assert {*walk(operator)} == {*sent, foreign["batchId"]}
    assert seller.get(foreign["links"]["self"]).get_json()["type"].endswith("batch-not-found")
    assert seller.request("GET", foreign["links"]["refusedRows"]).status_code == 404


def test_refused_rows_come_back_as_a_file_that_can_be_corrected_and_sent_again(
    seller: ApiClient, database: Database
) -> None:
    good, bad = receive(seller), receive(seller)
    header = HEADER + "\tcod-collection-method"
    unknown = row(bad, "7", 1, tracking="1Z999AA10123456793")
    sent = send(seller, flat(row(bad, "1", "2x") + "\t=cash", row(good) + "\t", f"{unknown}\t", header=header))
    work(database)
    response = seller.request("GET", sent.get_json()["links"]["refusedRows"])
    file = response.get_data(as_text=True)

    assert response.mimetype == TSV
    assert (
        file.splitlines()[0] == header + "\trow-number\tresult\tpackage-reference-id\tproblem-type\tproblem\twarnings"
    )
    assert [line.split("\t")[:7] for line in file.splitlines()[1:]] == [
        [bad, "1", "2x", "2026-03-02", "UPS", "1Z999AA10123456784", "'=cash"],
        [bad, "7", "1", "2026-03-02", "UPS", "1Z999AA10123456793", ""],
    ]
    assert file.splitlines()[2].endswith(
        "\t4\tREFUSED\t\turn:manage-orders:problem:unknown-order-item\tthe order's items are 1, 2: order-item-id 7 is "
        "not an item of the order\t"
    )
    corrected = file.replace("2x", "2").replace(f"{bad}\t7\t", f"{bad}\t2\t").encode()
    assert codes(worked(seller, database, corrected)) == {2: "CONFIRMED", 3: "CONFIRMED"}
    assert seller.get(f"/v1/orders/{bad}").get_json()["fulfillment"]["fulfillmentStatus"] == "SHIPPED"


def test_results_as_a_file_take_a_slot_of_the_exports_until_they_are_read(
    app: flask.Flask, seller: ApiClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Broken by sending without a slot: clients that read slowly would take every thread of a process.
    monkeypatch.setattr(routes, "LINES_AT_A_TIME", 1)
    slots, sent = app.extensions[SLOTS], send(seller, flat(row("902-1")))
    work(database)
    path = f"{sent.get_json()['links']['results']}?format=tsv"
    headers = {"Authorization": f"Bearer {seller.token}"}
    response = app.test_client().get(path, headers=headers, buffered=False)
    contents = iter(response.iter_encoded())

    assert next(contents).startswith(b"order-id")
    assert slots.taken == 1
    refused = seller.request("GET", path)
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "10")
    response.close()
    assert slots.taken == 0
    assert app.test_client().head(path, headers=headers).status_code == 200
    assert slots.taken == 0


def test_results_are_paged_and_narrowed_in_the_order_of_the_file(seller: ApiClient, database: Database) -> None:
    order_id = receive(seller)
    # The rows of an order need not be adjacent.
    sent = send(seller, flat(row(order_id, "1", 1), row("902-1"), row(order_id, "2", 1), row("902-2"), row("902-1")))
    path = sent.get_json()["links"]["results"]
    early = seller.get(path).get_json()
    work(database)
    first = seller.get(path, maxResultsPerPage=2).get_json()
    token = first["pagination"]["nextToken"]
    second = seller.get(path, maxResultsPerPage=3, paginationToken=token).get_json()
    refused = seller.get(path, results="REFUSED,ALREADY_CONFIRMED").get_json()

    assert early == {"results": []}
    assert [each["rowNumber"] for each in first["results"]] == [2, 3]
    assert [each["rowNumber"] for each in second["results"]] == [4, 5, 6]
    assert "pagination" not in second
    assert [each["rowNumber"] for each in refused["results"]] == [3, 5, 6]
    assert seller.get(path, results="REFUSED", paginationToken=token).status_code == 422
    assert (
        seller.get(path, format="tsv", maxResultsPerPage=3).get_json()["errors"][0]["parameter"] == "maxResultsPerPage"
    )
    lines = seller.get(path, format="tsv").get_data(as_text=True).splitlines()
    assert [line.split("\t")[0] for line in lines[1:]] == [order_id, "902-1", order_id, "902-2", "902-1"]


@pytest.mark.parametrize(
    ("body", "media", "status", "code"),
    [
        (flat(), TSV, 422, "batch-unreadable"),
        (flat(row("902-1"), "\xe9").replace(b"\xc3", b""), TSV, 422, "batch-unreadable"),
        (flat(row("902-1"), header=HEADER + "\tcolour"), TSV, 422, "batch-unreadable"),
        (b'{"shipmentConfirmations": []}', "application/json", 422, "batch-unreadable"),
        (b'{"shipmentConfirmations": 3}', "application/json", 422, "invalid-request"),
        (b'{"shipmentConfirmations": [{}], "colour": 1}', "application/json", 422, "invalid-request"),
        (b"[]", "application/json", 422, "invalid-request"),
        (b"{", "application/json", 400, "malformed-request"),
        (flat(row("902-1")), "text/csv", 415, "unsupported-media-type"),
    ],
)
def test_a_file_is_taken_whole_or_not_at_all(
    seller: ApiClient, owner: psycopg.Connection, body: bytes, media: str, status: int, code: str
) -> None:
    # The second has a good row before the line that is not UTF-8.
    response = send(seller, body, media)

    assert response.status_code == status
    assert response.get_json()["type"] == f"urn:manage-orders:problem:{code}"
    assert owner.execute("SELECT row_number FROM confirmation_batch_rows").fetchall() == []
    assert owner.execute("SELECT batch_id FROM confirmation_batches").fetchall() == []


def test_a_file_may_be_larger_than_other_requests_but_has_its_limits(
    settings: Settings, seller: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = settings.max_batch_bytes
    long = flat(row("902-1")) + b"\n" * settings.max_request_bytes

    assert send(seller, long).status_code == 202
    assert send(seller, b"x" * (limit + 1)).status_code == 413
    # Without a length the body is read up to the limit: what is cut is not a shorter file.
    environ = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    endless = mock.Mock(wraps=io.BytesIO(long + b"\n" * limit))
    cut = seller.request("POST", BATCHES, input_stream=endless, content_type=TSV, environ_overrides=environ)
    assert cut.status_code == 413
    monkeypatch.setattr(actions, "MAX_ROWS", 2)
    assert send(seller, flat(row("902-1"), row("902-1"))).status_code == 202
    assert send(seller, flat(row("902-1"), row("902-1"), row("902-1"))).status_code == 422


def test_whatever_json_holds_is_refused_by_itself_and_handed_back(seller: ApiClient, database: Database) -> None:
    entries: list[Any] = [
        3, None, [], "\0", {"orderId": "\0"}, {"orderId": "x" * 51}, {"orderId": {}}, {"\0": "\ud83d\ude00"},
        {"orderItems": [3, {"transparencyCodes": ["\0"]}], "shipFromAddress": 3}, {"sellerId": 7, "orderId": "902-1"},
        orjson.loads(b"[" * 300 + b"]" * 300),
    ]  # fmt: skip
    results = worked(seller, database, entries)

    assert {*codes(results).values()} == {"invalid-request"}
    (batch,) = seller.get(BATCHES).get_json()["batches"]
    file = seller.request("GET", batch["links"]["refusedRows"]).get_data(as_text=True)
    assert len(file.splitlines()) == 1 + len(entries) + 1  # the one with two items has a line for each


# Workers.


def test_an_order_that_another_transaction_holds_is_left_for_the_next_run_and_stops_no_other(
    seller: ApiClient, database: Database, owner: psycopg.Connection, impatient: Database
) -> None:
    held, free = receive(seller), receive(seller)
    links = send(seller, flat(row(held), row(free))).get_json()["links"]
    with owner.transaction():
        owner.execute("SELECT order_id FROM orders WHERE order_id = %s FOR UPDATE", (held,))
        work(impatient)
        shown = seller.get(links["self"]).get_json()
        assert (shown["state"], shown["confirmedCount"], shown["workedRowCount"]) == ("RUNNING", 1, 1)
    work(database)

    results = seller.get(links["results"]).get_json()["results"]
    assert [each["result"] for each in results] == ["CONFIRMED", "CONFIRMED"]


def test_an_order_that_fails_unexpectedly_is_recorded_and_stops_no_other(
    seller: ApiClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Broken by letting the failure through: the order would be met again for ever, and none behind it worked.
    poisoned, good = receive(seller), receive(seller)
    confirm = actions.confirm_package

    def fail(connection: psycopg.Connection, seller_id: str, order_id: str, *rest: Any, **options: Any) -> Any:
        confirmed = confirm(connection, seller_id, order_id, *rest, **options)
        if order_id == poisoned:
            raise RuntimeError("a fault after it was written")
        return confirmed

    monkeypatch.setattr(actions, "confirm_package", fail)
    results = worked(seller, database, flat(row(poisoned), row(good)))

    assert codes(results) == {2: "internal-error", 3: "CONFIRMED"}
    assert "a fault" not in str(results)
    assert seller.get(f"/v1/orders/{poisoned}").get_json()["version"] == 1


def test_a_run_that_loses_the_database_keeps_all_of_an_order_or_nothing_and_the_next_one_goes_on(
    seller: ApiClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Broken by writing what became of the rows in a transaction of its own: the order would be confirmed by then, and
    # the next run would tell it as confirmed before.
    order_id = receive(seller)
    links = send(seller, flat(row(order_id))).get_json()["links"]
    with monkeypatch.context() as patched:
        patched.setattr(work_queries, "save_outcomes", mock.Mock(side_effect=psycopg.OperationalError("gone")))
        work(database)
    assert seller.get(links["self"]).get_json()["workedRowCount"] == 0
    assert seller.get(f"/v1/orders/{order_id}").get_json()["version"] == 1
    work(database)

    assert seller.get(links["self"]).get_json()["confirmedCount"] == 1


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the orders that are tried from now on, in pages of two."""
    tried: list[str] = []
    work_order = actions.work_order

    def watched(database: Database, batch: Any, order: Any, **options: Any) -> Sequence[Any]:
        tried.append(order.order_id)
        return work_order(database, batch, order, **options)

    monkeypatch.setattr(jobs, "work_order", watched)
    monkeypatch.setattr(jobs, "ORDERS_AT_A_TIME", 2)
    return tried


def test_files_take_turns(seller: ApiClient, other_seller: ApiClient, database: Database, done: list[str]) -> None:
    # Broken by working each file to its end: the short one would wait for the long one.
    send(seller, flat(*(row(f"902-{number}") for number in range(5))))
    send(other_seller, flat(row("903-1")))
    work(database)

    assert done == ["902-0", "902-1", "903-1", "902-2", "902-3", "902-4"]


def test_the_turns_of_files_go_on_from_one_run_and_worker_to_the_next(
    seller: ApiClient, other_seller: ApiClient, database: Database, done: list[str]
) -> None:
    # Broken by beginning each run with the oldest file: the short one would wait for the end of the long ones.
    for prefix in ("901", "902"):
        send(seller, flat(*(row(f"{prefix}-{number}") for number in range(5))))
    send(other_seller, flat(row("903-1")))
    for ended in (2, 4, 6):
        work_batches(database, settled_outside=True, is_stopping=lambda ended=ended: len(done) >= ended)

    assert done == ["901-0", "901-1", "902-0", "902-1", "903-1", "901-2"]


def test_orders_that_are_locked_are_met_again_once_the_others_had_their_turn(
    seller: ApiClient, owner: psycopg.Connection, database: Database, impatient: Database, done: list[str]
) -> None:
    # Broken by beginning each turn with the first order that is open: a run might do no more than wait for these.
    held, others = [receive(seller) for _ in range(2)], ["902-1", "902-2"]
    sent = send(seller, flat(*map(row, [*held, *others])))
    with owner.transaction():
        owner.execute("SELECT order_id FROM orders ORDER BY order_id FOR UPDATE")
        for ended in (2, 4):
            work_batches(impatient, settled_outside=True, is_stopping=lambda ended=ended: len(done) >= ended)
        assert done == [*held, *others]
    for _ in range(2):
        work(database)

    assert done == [*held, *others, *held]
    assert seller.get(sent.get_json()["links"]["self"]).get_json()["state"] == "DONE"


def test_a_run_ends_before_the_next_order_when_its_time_is_up_or_the_process_stops(
    seller: ApiClient, database: Database, done: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Broken by asking after a page: each order of it may wait for a lock.
    send(seller, flat(*(row(f"902-{number}") for number in range(5))))
    work_batches(database, settled_outside=True, is_stopping=lambda: len(done) >= 1)
    assert done == ["902-0"]

    monkeypatch.setattr(jobs, "time", mock.Mock(monotonic=lambda: len(done) * jobs.RUN_LIMIT_S))
    work(database)  # the clock stands at the limit after one more, and beyond it after two
    assert done == ["902-0", "902-1", "902-2"]


def test_files_are_shown_without_counting_their_rows(
    seller: ApiClient, database: Database, owner: psycopg.Connection, done: list[str]
) -> None:
    # Broken by counting them: a page of long files that are being worked would take as long as all of their rows.
    order_id = receive(seller)
    sent = send(seller, flat(row(order_id), row("902-1"), row("902-2"), row("902-3", "x")))
    assert sent.get_json()["refusedCount"] == 1
    work_batches(database, settled_outside=True, is_stopping=lambda: len(done) >= 2)
    owner.execute("TRUNCATE confirmation_batch_rows")
    (shown,) = seller.get(BATCHES).get_json()["batches"]

    assert shown == seller.get(sent.get_json()["links"]["self"]).get_json()
    assert (shown["state"], shown["rowCount"], shown["workedRowCount"]) == ("RUNNING", 4, 3)
    assert (shown["confirmedCount"], shown["refusedCount"]) == (1, 2)


def test_the_counts_of_a_file_that_is_done_are_those_of_its_rows(
    seller: ApiClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Broken by only adding up turns: those that are cut off, as by a kill, add nothing.
    links = send(seller, flat(row(receive(seller)), row("902-1"))).get_json()["links"]
    with monkeypatch.context() as patched:
        patched.setattr(work_queries, "end_turn", mock.Mock(side_effect=psycopg.OperationalError("gone")))
        work(database)
    assert seller.get(links["self"]).get_json()["workedRowCount"] == 0
    work(database)

    shown = seller.get(links["self"]).get_json()
    assert (shown["state"], shown["confirmedCount"], shown["refusedCount"]) == ("DONE", 1, 1)


# Many packages of one order.


def entry(order_id: str, **members: Any) -> dict[str, Any]:
    return {"orderId": order_id, "carrierCode": "UPS", "shipDate": "2026-03-02"} | members


def test_packages_of_one_order_are_worked_some_at_a_time_in_order_and_none_is_taken_apart(
    seller: ApiClient, database: Database, impatient: Database, owner: psycopg.Connection, done: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    # Broken by working what remains before what comes first, or a row without the others of its package.
    monkeypatch.setattr(parts, "PACKAGES_AT_A_TIME", 2)
    sku = {"product": {"sellerSku": "MUG"}}
    order_id = receive(seller, orderItems=[{"orderItemId": each, "quantityOrdered": 9} | sku for each in "12"])
    sent = send(
        seller,
        flat(
            row(order_id, "1", 1, tracking="A"),
            row(order_id, "1", 1, tracking="B"),
            row(order_id, "1", 1, tracking="C"),
            row(order_id, "2", 1, tracking="A"),  # one package with the first
            row(order_id, "1", 1, tracking="D"),
            row(order_id, tracking="E"),  # all that remains
        ),
    )
    links = sent.get_json()["links"]
    with owner.transaction():
        owner.execute("SELECT order_id FROM orders FOR UPDATE")
        work(impatient)
    assert seller.get(links["self"]).get_json()["workedRowCount"] == 0
    work_batches(database, settled_outside=True, is_stopping=lambda: len(done) >= 4)
    assert seller.get(links["self"]).get_json()["workedRowCount"] == 3
    for _ in range(2):
        work(database)

    results = seller.get(links["results"]).get_json()["results"]
    assert [each.get("packageReferenceId") for each in results] == ["1", "2", "3", "1", "4", "5"]
    packages = seller.get(f"/v1/orders/{order_id}/packages").get_json()["packages"]
    assert [[each["quantity"] for each in package["packageItems"]] for package in packages] == [
        [1, 1], [1], [1], [1], [5, 8],
    ]  # fmt: skip


def test_packages_wait_for_those_of_the_same_order_that_come_before(
    seller: ApiClient, database: Database, owner: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Broken by locking only the rows themselves: a second worker would confirm all that remains too early.
    monkeypatch.setattr(parts, "PACKAGES_AT_A_TIME", 1)
    order_id = receive(seller)
    links = send(seller, flat(row(order_id, "1", 1), row(order_id, tracking="B"))).get_json()["links"]
    with owner.transaction():  # as another worker does that has the first part
        owner.execute("SELECT row_number FROM confirmation_batch_rows WHERE row_number = 2 FOR UPDATE")
        work(database)
        assert seller.get(links["results"]).get_json()["results"] == []
    work(database)

    results = seller.get(links["results"]).get_json()["results"]
    assert [each.get("packageReferenceId") for each in results] == ["1", "2"]


def test_a_package_without_a_number_gets_the_greatest_or_one_that_is_free(
    seller: ApiClient, database: Database
) -> None:
    order_id = receive(seller)
    entries = [
        entry(order_id, packageReferenceId="1", orderItems=[{"orderItemId": "1", "quantity": 1}]),
        entry(order_id, packageReferenceId="9" * 19, orderItems=[{"orderItemId": "1", "quantity": 1}]),
        entry(order_id, orderItems=[{"orderItemId": "2", "quantity": 1}]),
    ]
    results = worked(seller, database, entries)

    assert [each["packageReferenceId"] for each in results.values()] == ["1", "9" * 19, "2"]
    assert codes(worked(seller, database, entries[2:])) == {1: "ALREADY_CONFIRMED"}


def test_two_workers_work_an_order_once(seller: ApiClient, database: Database, owner: psycopg.Connection) -> None:
    orders = [receive(seller) for _ in range(12)]
    links = send(seller, flat(*map(row, orders))).get_json()["links"]
    workers = [threading.Thread(target=work, args=[database]) for _ in range(2)]
    for each in workers:
        each.start()
    for each in workers:
        each.join()
    # A worker that found the last orders locked leaves the file to be closed by the next run.
    work(database)

    shown = seller.get(links["self"]).get_json()
    assert (shown["state"], shown["confirmedCount"]) == ("DONE", len(orders))
    assert owner.execute("SELECT count(*) FROM packages").fetchone() == (len(orders),)

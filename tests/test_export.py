"""Exported files: what is in them, and how they come."""

from __future__ import annotations

import csv
import gzip
import http.client
import io
import os
import re
import socket
import stat
import subprocess
import sys
import time
import tracemalloc
import unicodedata
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import flask
import orjson
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from service.app import create_app
from service.cli import run
from service.database import Database
from service.errors import Contended, Overloaded
from service.export import actions
from service.export.actions import Export, export_orders
from service.export.files import FileFormat, dialect_of
from service.export.layouts import DEFAULT_COLUMNS, LAYOUTS, LayoutName
from service.export.schemas import EXAMPLES
from service.export.slots import Slots
from service.export.tables import reader
from service.flat_files import neutralised, neutralised_flat, restored, restored_flat
from service.ingest.jobs import ImportSummary, import_orders
from service.ingest.schemas import read_line
from service.orders.examples import ORDER
from service.orders.shapes import WHOLE, Shape
from service.search.rules import DEFAULT_SORT, OrderFilter
from service.settings import Settings
from tests.conftest import (
    CONFIRM_BY,
    NOW,
    SECRET_KEY,
    SELLER,
    SHIP_BY,
    ApiClient,
    confirmation,
    order_document,
)
from tests.contract import Contract
from tests.soak import free_port

SetClock = Callable[[datetime | str], datetime]
EXPORT = "/v1/orders/export"
FORMULAS = [
    "=1+1",
    "+1",
    "-1+1",
    "@SUM(A1)",
    "\tx",
    "\rx",
    "  =1",
    "\uff1d1",
    "\uff0da",
    "'=1",
    '"=1',
    "\ufeff=1",
    "\u200b@x",
    "\u3164=1",
    "\u180e=1",
    "\u00ad\U000e0041=1",
    "\ufe0f=1",
]
INSIDE = {
    "Mug;=cmd|' /C calc'!A0;": "Mug;'=cmd|' /C calc'!A0;",
    "Mug\n=1;\t@x,-1": "Mug\n'=1;\t'@x,'-1",
    "\t=1": "'\t'=1",
    '\u2028 "=1': "\u2028' \"=1",
    "=1;'=1": "'=1;''=1",
}
SAFE = ["", "Mug", "1", "-5.00", "-5", "0.10", "2026-03-01T12:00:00Z", "'t Hooft", "O'Neil", '"quoted"', "a=b", "é"]


@pytest.fixture(autouse=True)
def at_now(set_clock: SetClock) -> None:
    set_clock(NOW)


def received(seller: ApiClient, **changes: Any) -> dict[str, Any]:
    response = seller.post("/v1/orders", order_document(**changes))
    assert response.status_code == 201, response.text
    return response.get_json()


def rows_of(text: str, separator: str = ",") -> list[dict[str, str]]:
    quoting = csv.QUOTE_NONE if separator == "\t" else csv.QUOTE_MINIMAL
    return list(csv.DictReader(io.StringIO(text, newline=""), delimiter=separator, quoting=quoting, strict=True))


def imported(database: Database, lines: bytes) -> ImportSummary:
    return import_orders(
        database,
        io.BytesIO(lines),
        read_line,
        actor="test",
        create_missing_sellers=None,
        on_refusal=print,
        on_progress=lambda _: None,
    )


def exported(client: ApiClient, **query: str) -> str:
    response = client.get(EXPORT, **query)
    assert response.status_code == 200, response.text
    return response.text


def report(client: ApiClient, layout: LayoutName, **query: str) -> list[dict[str, str]]:
    return rows_of(exported(client, layout=layout, **query), "\t")


@pytest.mark.parametrize("text", FORMULAS)
def test_what_a_spreadsheet_would_run_stands_behind_an_apostrophe(text: str) -> None:
    assert neutralised(text) == f"'{text}"
    assert restored(neutralised(text)) == text


@pytest.mark.parametrize("text", SAFE)
def test_other_text_and_numbers_stay_as_they_are(text: str) -> None:
    assert neutralised(text) == restored(text) == text


@pytest.mark.parametrize(("text", "cell"), INSIDE.items())
def test_what_a_spreadsheet_would_run_behind_any_separator_stands_behind_an_apostrophe(text: str, cell: str) -> None:
    assert neutralised(text) == cell
    assert restored(cell) == text


def test_no_character_that_shows_nothing_hides_a_formula() -> None:
    unseen = [character for character in map(chr, range(0x110000)) if unicodedata.category(character) in {"Cf", "Zs"}]
    assert len(unseen) > 150
    assert [text for text in unseen if neutralised(f"{text}=1") != f"'{text}=1"] == []


def test_a_quote_that_begins_a_flat_cell_swallows_no_lines() -> None:
    assert neutralised_flat('"x') == """'"x"""
    assert [restored_flat(neutralised_flat(text)) for text in ('"x', """'"x""", '"=1', "=1")] == [
        '"x', """'"x""", '"=1', "=1",
    ]  # fmt: skip
    row = dialect_of(FileFormat.TSV)
    text = row.row([row.cell('"Mug'), row.cell("=1")]) + row.row(["Pot", '"'])
    assert len(list(csv.reader(io.StringIO(text, newline=""), delimiter="\t"))) == 2


TEXTS = st.text(alphabet=st.sampled_from("='\" \t\r\n,;-+@5.a\uff1d\u200b\u3164")) | st.text()


@given(TEXTS)
def test_what_was_neutralised_can_be_restored(text: str) -> None:
    assert restored(neutralised(text)) == text
    assert restored_flat(neutralised_flat(text)) == text


@pytest.mark.parametrize("file_format", [FileFormat.CSV, FileFormat.TSV])
@given(texts=st.lists(TEXTS, min_size=1, max_size=4))
def test_no_cell_is_a_formula_however_a_program_takes_the_row_apart(file_format: FileFormat, texts: list[str]) -> None:
    dialect = dialect_of(file_format)
    for part in re.split("[,;\t\r\n]", dialect.row([dialect.cell(text) for text in texts])):
        begins = part.lstrip('" \u200b\ufeff\u3164')
        assert begins[:1] not in {"=", "+", "@", "\uff1d", "\uff0b", "\uff20"}
        assert begins[:1] != "-" or begins.removeprefix("-").replace(".", "").isdigit()


@pytest.mark.parametrize(
    ("path", "cell"),
    [
        ("orderId", ORDER["orderId"]),
        ("version", "2"),
        ("fulfillment.shipmentIsLate", "true"),
        ("cancellation.cancelReason", ""),
        ("programs", "PRIME;SECOND"),
        ("orderAliases.aliasId", "2026-0017"),
        ("packages.trackingNumber", "1Z;2Z"),
        ("packages.packageItems.quantity", "1"),
        ("packages.packageStatus", '[{"status":"SHIPPED"},{"status":"SHIPPED"}]'),
        ("proceeds.grandTotal", '{"amount":"37.98","currencyCode":"USD"}'),
        ("associatedOrders.orderId", ""),
        ("packages.packageItems.transparencyCodes", ""),
    ],
)
def test_a_path_becomes_a_cell(path: str, cell: str) -> None:
    package = ORDER["packages"][0]
    packages = [package | {"trackingNumber": number} for number in ("1Z", "2Z", "1Z")][: 2 if "Status" in path else 3]
    order = ORDER | {"programs": ["PRIME", "SECOND", "PRIME"], "packages": packages}
    assert reader(path)(order) == cell


def test_a_table_has_a_row_an_item_and_the_columns_of_fields(seller: ApiClient) -> None:
    order = received(seller, buyer__buyerName='=HYPERLINK("x"), "Ada"\nLovelace', programs=["PRIME", "AMAZON_BUSINESS"])
    fields = "orderId,buyer.buyerName,orderItems.product.title,orderItems.product,programs,proceeds.grandTotal.amount"
    text = exported(seller, format="csv", fields=fields)
    assert text.splitlines()[0] == fields
    assert text.count("\r\n") == 3
    first, second = rows_of(text)
    assert first == {
        "orderId": order["orderId"],
        "buyer.buyerName": "'" + order["buyer"]["buyerName"],
        "orderItems.product.title": "Mug",
        "orderItems.product": '{"sellerSku":"MUG","title":"Mug"}',
        "programs": "PRIME;AMAZON_BUSINESS",
        "proceeds.grandTotal.amount": "50.00",
    }
    assert second["orderItems.product.title"] == "Pot"
    flat = rows_of(exported(seller, format="tsv", fields=fields), "\t")
    assert flat[0]["buyer.buyerName"] == """'=HYPERLINK("x"), "Ada" Lovelace"""
    assert rows_of(exported(seller, fields="orderId")) == [{"orderId": order["orderId"]}] * 2


def test_the_usual_columns_are_paths_and_included_data_empties_the_others(seller: ApiClient) -> None:
    order = received(seller, buyer__buyerName="Ada")
    (first, _) = rows_of(exported(seller))
    assert tuple(first) == DEFAULT_COLUMNS
    assert first["orderId"] == order["orderId"]
    assert first["proceeds.grandTotal.amount"] == "50.00"
    (less, _) = rows_of(exported(seller, includedData="BUYER"))
    assert (less["buyer.buyerName"], less["proceeds.grandTotal.amount"]) == ("Ada", "")
    assert less["orderItems.fulfillment.quantityFulfilled"] == ""
    (named, _) = rows_of(exported(seller, includedData="BUYER", fields="orderItems.fulfillment,buyer"))
    assert list(named.values()) == ["", '{"buyerName":"Ada"}']


def test_ndjson_holds_the_orders_of_the_list_in_its_order_and_shape(seller: ApiClient, other_seller: ApiClient) -> None:
    totals = {"9.00": "UNSHIPPED", "10.50": "UNSHIPPED", "20.00": "PENDING"}
    for amount, status in totals.items():
        received(seller, proceeds__grandTotal__amount=amount, fulfillment__fulfillmentStatus=status)
    received(other_seller)
    query = {"sort": "-grandTotal", "fulfillmentStatuses": "UNSHIPPED"}
    lines = exported(seller, format="ndjson", **query).splitlines()
    listed = seller.get("/v1/orders", **query).get_json()["orders"]
    assert [orjson.loads(line) for line in lines] == listed
    assert [order["proceeds"]["grandTotal"]["amount"] for order in listed] == ["10.50", "9.00"]
    sparse = exported(seller, format="ndjson", fields="proceeds.grandTotal.amount", **query).splitlines()
    assert orjson.loads(sparse[0]) == {"proceeds": {"grandTotal": {"amount": "10.50"}}}
    assert exported(seller, format="ndjson", q="nothing like it") == ""


def test_a_whole_export_is_imported_again_without_a_change(
    seller: ApiClient, database: Database, set_clock: SetClock
) -> None:
    for status in ("PENDING", "UNSHIPPED", "CANCELLED"):
        received(seller, fulfillment__fulfillmentStatus=status, recipient__deliveryAddress__phone="1")
    for changes in ({"orderItems": [{"orderItemId": "1", "quantity": 1}]}, {}):
        path = f"/v1/orders/{received(seller)['orderId']}/shipment-confirmations"
        assert seller.post(path, confirmation() | changes).status_code == 201
    set_clock(SHIP_BY + timedelta(hours=1))  # late orders carry a warning
    file = exported(seller, format="ndjson")
    assert imported(database, file.encode()) == ImportSummary(lines=5, unchanged=5)
    assert exported(seller, format="ndjson") == file


def test_a_view_gives_the_columns_unless_fields_are_given_beside_it(seller: ApiClient) -> None:
    order = received(seller)
    received(seller, fulfillment__fulfillmentStatus="PENDING")
    rows = rows_of(exported(seller, view="unshipped"))
    assert {row["orderId"] for row in rows} == {order["orderId"]}
    assert rows_of(exported(seller, view="unshipped", fields="orderId")) == [{"orderId": order["orderId"]}] * 2


PRICED: list[dict[str, Any]] = [
    {
        "orderItemId": "1",
        "quantityOrdered": 2,
        "product": {"sellerSku": "MUG", "price": {"unitPrice": {"amount": "7.50", "currencyCode": "EUR"}}},
        "promotion": {"breakdowns": [{"promotionId": "SPRING"}, {"promotionId": "VIP"}]},
        "fulfillment": {"shipping": {"shippingConstraints": {"signatureConfirmation": "MANDATORY"}}},
        "proceeds": {
            "breakdowns": [
                {"type": "SHIPPING", "subtotal": {"amount": "4.00", "currencyCode": "EUR"}},
                {
                    "type": "TAX",
                    "subtotal": {"amount": "3.00", "currencyCode": "EUR"},
                    "detailedBreakdowns": [
                        {"subtype": "ITEM", "value": {"amount": "2.20", "currencyCode": "EUR"}},
                        {"subtype": "SHIPPING", "value": {"amount": "0.80", "currencyCode": "EUR"}},
                    ],
                },
                {"type": "DISCOUNT", "subtotal": {"amount": "-1.00", "currencyCode": "EUR"}},
            ]
        },
    },
    {
        "orderItemId": "2",
        "quantityOrdered": 1,
        "product": {"sellerSku": "POT", "price": {"unitPrice": {"amount": "7.50", "currencyCode": "EUR"}}},
        "proceeds": {"breakdowns": [{"type": "ITEM", "subtotal": {"amount": "6.90", "currencyCode": "EUR"}}]},
    },
]


def test_the_all_orders_report_has_the_platforms_columns_and_words(seller: ApiClient) -> None:
    order = received(
        seller,
        orderItems=PRICED,
        orderAliases=[{"aliasId": "2026-17", "aliasType": "SELLER_ORDER_ID"}],
        salesChannel__marketplaceName="Amazon.com",
        programs=["AMAZON_BUSINESS"],
        recipient__deliveryAddress__city="Turin",
    )
    seller.post(
        f"/v1/orders/{order['orderId']}/shipment-confirmations",
        confirmation(orderItems=[{"orderItemId": "1", "quantity": 2}]),
    )
    first, second = report(seller, LayoutName.ALL_ORDERS)
    assert len(first) == 34
    told = {name: cell for name, cell in first.items() if cell and name != "last-updated-date"}
    assert told == {
        "amazon-order-id": order["orderId"],
        "merchant-order-id": "2026-17",
        "purchase-date": "2026-03-01T12:00:00+00:00",
        "order-status": "PartiallyShipped",
        "fulfillment-channel": "Merchant",
        "sales-channel": "Amazon.com",
        "sku": "MUG",
        "item-status": "Shipped",
        "quantity": "2",
        "currency": "EUR",
        "item-price": "15.00",
        "item-tax": "2.20",
        "shipping-price": "4.00",
        "shipping-tax": "0.80",
        "item-promotion-discount": "-1.00",
        "ship-city": "Turin",
        "promotion-ids": "SPRING;VIP",
        "is-business-order": "true",
        "signature-confirmation-recommended": "true",
        "order-item-id": "1",
    }
    assert (second["item-status"], second["item-price"], second["item-tax"]) == ("Unshipped", "6.90", "")


@pytest.mark.parametrize(
    ("status", "word"), [("PENDING", "Pending"), ("CANCELLED", "Cancelled"), ("SHIPPED", "Shipped")]
)
def test_the_report_names_each_status_and_no_price_of_a_pending_order(
    seller: ApiClient, status: str, word: str
) -> None:
    received(seller, orderItems=PRICED, fulfillment__fulfillmentStatus=status, fulfillment__fulfilledBy="AMAZON")
    (first, _) = report(seller, LayoutName.ALL_ORDERS)
    assert (first["order-status"], first["item-status"], first["fulfillment-channel"]) == (word, word, "Amazon")
    assert (first["item-price"] == first["currency"] == first["item-tax"] == "") is (status == "PENDING")


def test_the_unshipped_report_holds_what_is_left_to_ship_of_the_sellers_own_orders(seller: ApiClient) -> None:
    partly, unshipped = received(seller), received(seller, buyer__buyerName="=1", programs=["PRIME"])
    for changes in ({"fulfillmentStatus": "PENDING"}, {"fulfillmentStatus": "CANCELLED"}, {"fulfilledBy": "AMAZON"}):
        received(seller, **{f"fulfillment__{name}": value for name, value in changes.items()})
    path = f"/v1/orders/{partly['orderId']}/shipment-confirmations"
    seller.post(
        path, confirmation(orderItems=[{"orderItemId": "1", "quantity": 1}, {"orderItemId": "2", "quantity": 1}])
    )
    rows = report(seller, LayoutName.UNSHIPPED_ORDERS, sort="createdTime", fields="orderId")
    cells = [
        (
            row["order-id"],
            row["order-item-id"],
            row["quantity-purchased"],
            row["quantity-shipped"],
            row["quantity-to-ship"],
        )
        for row in rows
    ]
    assert cells == [
        (partly["orderId"], "1", "2", "1", "1"),
        (unshipped["orderId"], "1", "2", "0", "2"),
        (unshipped["orderId"], "2", "1", "0", "1"),
    ]
    assert rows[1]["buyer-name"] == "'=1"
    assert rows[1]["buyer-phone-number"] == ""
    assert (rows[0]["is-prime"], rows[1]["is-prime"]) == ("false", "true")
    assert [
        row["order-id"]
        for row in report(seller, LayoutName.UNSHIPPED_ORDERS, fulfillmentStatuses="PENDING,PARTIALLY_SHIPPED")
    ] == [partly["orderId"]]
    for excluding in ({"fulfillmentStatuses": "PENDING"}, {"fulfilledBy": "AMAZON"}):
        assert report(seller, LayoutName.UNSHIPPED_ORDERS, **excluding) == []


@pytest.mark.parametrize(
    ("now", "days", "cancellation", "late"),
    [
        (SHIP_BY - timedelta(days=2, seconds=5), "-2", "false", "false"),
        (SHIP_BY - timedelta(hours=24, seconds=5), "-1", "false", "false"),
        (SHIP_BY - timedelta(hours=23, minutes=59), "0", "false", "true"),
        (SHIP_BY - timedelta(minutes=1), "0", "false", "true"),
        (SHIP_BY + timedelta(hours=1), "0", "false", "false"),
        (SHIP_BY + timedelta(days=1), "1", "false", "false"),
        (CONFIRM_BY - timedelta(hours=24, minutes=1), "10", "false", "false"),
        (CONFIRM_BY - timedelta(hours=23, minutes=59), "10", "true", "false"),
        (CONFIRM_BY + timedelta(minutes=1), "11", "true", "false"),
    ],
)
def test_the_unshipped_report_tells_what_is_about_to_be_late_or_cancelled(
    seller: ApiClient, set_clock: SetClock, now: datetime, days: str, cancellation: str, late: str
) -> None:
    received(seller)
    partly = received(seller)["orderId"]
    seller.post(
        f"/v1/orders/{partly}/shipment-confirmations", confirmation(orderItems=[{"orderItemId": "1", "quantity": 1}])
    )
    set_clock(now)
    rows = report(seller, LayoutName.UNSHIPPED_ORDERS)
    assert {row["days-past-promise"] for row in rows} == {days}
    assert {row["verge-of-lateShipment"] for row in rows} == {late}
    # An order of which something is confirmed is never cancelled.
    assert {row["verge-of-cancellation"] for row in rows if row["order-id"] == partly} == {"false"}
    assert {row["verge-of-cancellation"] for row in rows if row["order-id"] != partly} == {cancellation}


@pytest.mark.parametrize(
    ("query", "media_type", "name"),
    [
        ({}, "text/csv", "orders.csv"),
        ({"format": "tsv"}, "text/tab-separated-values", "orders.tsv"),
        ({"format": "ndjson"}, "application/x-ndjson", "orders.ndjson"),
        ({"layout": "all-orders-report"}, "text/tab-separated-values", "all-orders-report.tsv"),
        ({"layout": "unshipped-orders-report", "format": "csv"}, "text/csv", "unshipped-orders-report.csv"),
    ],
)
def test_each_file_has_its_type_and_name(seller: ApiClient, query: dict[str, str], media_type: str, name: str) -> None:
    received(seller)
    response = seller.get(EXPORT, **query)
    assert response.headers["Content-Type"] == f"{media_type}; charset=utf-8"
    assert response.headers["Content-Disposition"] == f'attachment; filename="{name}"'
    assert response.headers["Vary"] == "Accept-Encoding"
    assert "Content-Length" not in response.headers
    head = seller.app.test_client().head(
        EXPORT, query_string=query, headers={"Authorization": f"Bearer {seller.token}"}
    )
    assert (head.status_code, head.headers["Content-Disposition"], head.data) == (
        200, response.headers["Content-Disposition"], b"",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("accepted", "is_gzipped"),
    [
        ("gzip", True),
        ("deflate, gzip;q=0.5", True),
        ("*", True),
        ("", False),
        ("br", False),
        ("gzip;q=0", False),
        ("identity, gzip;q=0.5", False),
    ],
)
def test_a_file_is_compressed_when_that_is_preferred(seller: ApiClient, accepted: str, *, is_gzipped: bool) -> None:
    received(seller)
    response = seller.request("GET", EXPORT, headers={"Accept-Encoding": accepted})
    assert response.headers.get("Content-Encoding") == ("gzip" if is_gzipped else None)
    content = gzip.decompress(response.data) if is_gzipped else response.data
    assert content.decode() == exported(seller)


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ({"format": "ndjson", "layout": "all-orders-report"}, "format"),
        ({"format": "xlsx"}, "format"),
        ({"layout": "returns"}, "layout"),
        ({"maxResultsPerPage": "5"}, "maxResultsPerPage"),
        ({"paginationToken": "x"}, "paginationToken"),
        ({"fields": "colour"}, "fields"),
        ({"createdAfter": "2026-03-02T00:00:00Z", "createdBefore": "2026-03-01T00:00:00Z"}, "createdAfter"),
    ],
)
def test_a_query_that_makes_no_file_is_refused(seller: ApiClient, query: dict[str, str], parameter: str) -> None:
    response = seller.get(EXPORT, **query)
    assert (response.status_code, response.get_json()["errors"][0]["parameter"]) == (422, parameter)


def test_only_readers_export_and_only_their_own_orders(
    client_of: Callable[..., ApiClient], seller: ApiClient, operator: ApiClient
) -> None:
    order = received(seller)
    assert client_of(SELLER, ["shipments:write"]).get(EXPORT).status_code == 403
    assert seller.get(EXPORT, sellerId="A2SELLER").status_code == 404
    assert rows_of(exported(operator, sellerId="A2SELLER")) == []
    assert rows_of(exported(operator, sellerId=SELLER, fields="orderId")) == [{"orderId": order["orderId"]}] * 2


def export_of(**changes: Any) -> Export:
    usual: dict[str, Any] = {
        "seller_id": SELLER,
        "filters": OrderFilter(),
        "sort": DEFAULT_SORT,
        "shape": WHOLE,
        "columns": (),
        "file_format": FileFormat.NDJSON,
        "layout": None,
        "is_gzipped": False,
    }
    return Export(**usual | changes)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.export.files.CHUNK_CHARACTERS", 1)
    monkeypatch.setattr(actions, "BATCH_SIZE", 1)


@pytest.mark.usefixtures("small_chunks")
def test_an_export_shows_one_instant_whatever_is_written_meanwhile(seller: ApiClient, database: Database) -> None:
    orders = [received(seller) for _ in range(3)]
    contents = export_orders(database, export_of())
    first = next(contents)
    received(seller)
    seller.post(f"/v1/orders/{orders[0]['orderId']}/shipment-confirmations", confirmation())
    lines = [orjson.loads(line) for line in (first, *contents)]
    assert lines == list(reversed(orders))


def test_memory_does_not_grow_with_the_export(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    columns = ("orderId", "orderItems.product.title")

    def peak_of(number: int, **changes: Any) -> int:
        def generated(*_: Any, **__: Any) -> Iterator[str]:
            return (orjson.dumps(ORDER).decode() for _ in range(number))

        monkeypatch.setattr(actions, "stream_orders", generated)
        tracemalloc.reset_peak()
        size = sum(map(len, export_orders(database, export_of(**changes))))
        assert size > 20 * number
        return tracemalloc.get_traced_memory()[1]

    tracemalloc.start()
    try:
        for changes in (
            {},
            {"file_format": FileFormat.CSV, "columns": columns, "shape": Shape.of(columns, ())},
            {"file_format": FileFormat.TSV, "layout": LayoutName.ALL_ORDERS},
        ):
            # A text of each order, however short, would add a megabyte.
            small, large = peak_of(4_000, **changes), peak_of(20_000, **changes)
            assert large < small + 300_000
    finally:
        tracemalloc.stop()


@pytest.fixture
def slots(app: flask.Flask) -> Slots:
    """Return the slots of an application that lets one export run at a time."""
    slots: Slots = app.extensions["manage-orders-export-slots"]
    slots.limit = 1
    return slots


def streamed(seller: ApiClient) -> tuple[TestResponse, Iterator[bytes]]:
    """Return an answer, and its chunks while they come."""
    headers = {"Authorization": f"Bearer {seller.token}"}
    response = seller.app.test_client().get(EXPORT, query_string={"format": "ndjson"}, headers=headers, buffered=False)
    return response, iter(response.iter_encoded())


def in_transaction(owner: psycopg.Connection) -> int:
    row = owner.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'"
    ).fetchone()
    return row[0] if row else 0


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("reads_on", [True, False])
def test_an_export_gives_its_slot_and_connection_back_when_it_ends_or_its_client_goes_away(
    seller: ApiClient, owner: psycopg.Connection, slots: Slots, *, reads_on: bool
) -> None:
    for _ in range(3):
        received(seller)
    response, contents = streamed(seller)
    assert orjson.loads(next(contents))
    assert (slots.taken, in_transaction(owner)) == (1, 1)
    refused = seller.get(EXPORT)
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "10")
    if reads_on:
        assert len(list(contents)) == 2
    response.close()
    assert (slots.taken, in_transaction(owner)) == (0, 0)
    assert seller.get(EXPORT).status_code == 200


@pytest.mark.usefixtures("small_chunks")
def test_what_fails_before_the_first_chunk_is_a_problem_and_later_cuts_the_export(
    seller: ApiClient, owner: psycopg.Connection, slots: Slots, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        received(seller)
    stream = actions.stream_orders

    def breaking(after: int) -> Callable[..., Iterator[str]]:
        def orders(*arguments: Any, **options: Any) -> Iterator[str]:
            yield from islice(stream(*arguments, **options), after)
            raise psycopg.OperationalError("the server went away")

        return orders

    monkeypatch.setattr(actions, "stream_orders", breaking(0))
    response = seller.get(EXPORT, format="ndjson")
    assert (response.status_code, response.mimetype) == (503, "application/problem+json")
    assert slots.taken == 0
    monkeypatch.setattr(actions, "stream_orders", breaking(2))
    response, contents = streamed(seller)
    assert response.status_code == 200
    assert [orjson.loads(next(contents))["version"], orjson.loads(next(contents))["version"]] == [1, 1]
    with pytest.raises(Overloaded):
        next(contents)
    response.close()
    assert (slots.taken, in_transaction(owner)) == (0, 0)


def test_half_of_the_threads_of_a_process_may_export(settings: Settings) -> None:
    for threads, expected in ((1, 1), (2, 1), (9, 4)):
        app = create_app(replace(settings, threads=threads))
        assert app.extensions["manage-orders-export-slots"].limit == expected
        app.extensions["manage-orders"].database.close()


def test_a_seller_has_one_slot_and_leaves_the_others_to_the_others() -> None:
    slots = Slots(2)
    with slots.taken_by("A"):
        with pytest.raises(Overloaded, match="another export of the seller"), slots.taken_by("A"):
            pass
        with slots.taken_by("B"), pytest.raises(Overloaded, match="other exports"), slots.taken_by("C"):
            pass
        with slots.taken_by("C"):
            assert slots.taken == 2
    assert slots.taken == 0


@pytest.fixture
def large_export(database: Database) -> None:
    """Store more than the buffers between server and client hold, so that an export waits for its client."""
    product = {"serialNumbers": ["x" * 200 for _ in range(100)]}
    items = [{"orderItemId": "1", "quantityOrdered": 1, "product": product}]
    lines = b"".join(orjson.dumps(order_document(sellerId=SELLER, orderItems=items)) + b"\n" for _ in range(1500))
    imported(database, lines)


@contextmanager
def serving(environment: dict[str, str], *, send_timeout_s: float = 60) -> Generator[int]:
    """Run a server that gives a client up that reads nothing for so long; yield its port."""
    port = free_port()
    program = f"""
import sys
from service import cli
from service.export import slots
slots.SEND_TIMEOUT_S = {send_timeout_s}
sys.exit(cli.run(["serve"]))
"""
    server = subprocess.Popen(
        [sys.executable, "-c", program],
        env=environment | {"MANAGE_ORDERS_PORT": str(port), "MANAGE_ORDERS_WORKERS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield port
    finally:
        server.terminate()
        server.wait(30)


@pytest.mark.usefixtures("large_export")
def test_a_client_notices_an_export_that_breaks_off(
    seller: ApiClient, owner: psycopg.Connection, command_environment: dict[str, str]
) -> None:
    with serving(command_environment) as port:
        response = wait_for_answer(export_request(seller, port, "ndjson"))
        assert response.read(1000)
        ended = owner.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND state = 'idle in transaction'"
        ).fetchall()
        assert ended == [(True,)]
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            response.read()


@pytest.mark.usefixtures("large_export")
def test_a_client_that_reads_nothing_is_given_up(
    seller: ApiClient, owner: psycopg.Connection, command_environment: dict[str, str]
) -> None:
    with serving(command_environment, send_timeout_s=0.5) as port:
        wait_for_answer(export_request(seller, port, "csv&q=nothing")).read()
        with socket.create_connection(("127.0.0.1", port)) as stalled:
            words = f"GET {EXPORT}?format=ndjson HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {seller.token}\r\n\r\n"
            stalled.sendall(words.encode())
            wait_until(lambda: in_transaction(owner) == 1)
            with pytest.raises(urllib.error.HTTPError, match="503"):
                urllib.request.urlopen(export_request(seller, port, "csv&q=nothing"), timeout=30)  # noqa: S310  # our own address
            wait_until(lambda: in_transaction(owner) == 0)
            assert wait_for_answer(export_request(seller, port, "csv&q=nothing")).status == 200


def export_request(seller: ApiClient, port: int, file_format: str) -> urllib.request.Request:
    return urllib.request.Request(
        f"http://127.0.0.1:{port}{EXPORT}?format={file_format}", headers={"Authorization": f"Bearer {seller.token}"}
    )


def wait_until(holds: Callable[[], bool]) -> None:
    for _ in range(300):
        if holds():
            return
        time.sleep(0.1)
    raise TimeoutError


def wait_for_answer(request: urllib.request.Request) -> Any:
    for _ in range(300):
        try:
            return urllib.request.urlopen(request, timeout=30)  # noqa: S310  # our own address
        except urllib.error.URLError:
            time.sleep(0.1)
    raise TimeoutError


@pytest.fixture
def command_environment(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Return the environment of a sandbox's commands, which those in this process find set."""
    monkeypatch.setenv("DATABASE_URL", settings.database_url)
    monkeypatch.setenv("MANAGE_ORDERS_SECRET_KEY", SECRET_KEY)
    monkeypatch.setenv("MANAGE_ORDERS_SANDBOX", "1")
    return dict(os.environ)


@pytest.mark.usefixtures("command_environment")
def test_the_command_writes_what_the_api_answers(
    seller: ApiClient, capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path
) -> None:
    received(seller)
    received(seller, fulfillment__fulfillmentStatus="PENDING")
    capfdbinary.readouterr()  # what was logged
    words = ["export", "--seller", SELLER]
    query = {"view": "unshipped", "skus": "MUG,JUG", "sort": "createdTime"}
    assert run([*words, "--query", urllib.parse.urlencode(query)]) == 0
    assert capfdbinary.readouterr().out.decode() == exported(seller, **query)
    file = tmp_path / "orders.ndjson.gz"
    file.write_bytes(b"an older one")
    assert run([*words, "--format", "ndjson", "--gzip", "--output", str(file)]) == 0
    assert gzip.decompress(file.read_bytes()).decode() == exported(seller, format="ndjson")
    capfdbinary.readouterr()
    assert run([*words, "--layout", "all-orders-report"]) == 0
    assert capfdbinary.readouterr().out.decode() == exported(seller, layout="all-orders-report")


@pytest.mark.usefixtures("command_environment", "database")
@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--query", "colour=red"], 2, "colour is not a known field"),
        (["--query", "createdAfter=soon"], 2, "createdAfter must be a date and time"),
        (["--query", "format=csv"], 2, "format is an option of the command"),
        (["--query", "view=nothing"], 1, "nothing"),
        (["--layout", "all-orders-report", "--format", "ndjson"], 2, "must be csv or tsv"),
        (["--format", "xlsx"], 2, "xlsx"),
        (["--seller", "NOBODY"], 1, "there is no seller NOBODY"),
        (["--seller", "\udcff"], 2, "is no seller's id"),
        (["--query", "view=\udcff"], 2, "is not UTF-8 text"),
    ],
)
def test_a_command_that_makes_no_file_says_why_and_leaves_the_old_one(
    words: list[str], code: int, says: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "orders.csv"
    file.write_text("an older one")
    assert run(["export", "--seller", SELLER, "--output", str(file), *words]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line
    assert [path.name for path in tmp_path.iterdir()] == ["orders.csv"]
    assert file.read_text() == "an older one"


@pytest.mark.usefixtures("command_environment")
def test_the_command_keeps_what_the_name_of_its_file_stands_for(seller: ApiClient, tmp_path: Path) -> None:
    received(seller)

    def export_to(path: Path) -> None:
        assert run(["export", "--seller", SELLER, "--query", "fields=orderId", "--output", str(path)]) == 0

    new, old, link, pipe = (tmp_path / name for name in ("n" * 250, "old", "link", "pipe"))
    old.write_text("an older one")
    old.chmod(0o644)
    link.symlink_to(old)
    os.mkfifo(pipe)
    export_to(new)
    export_to(link)
    text = new.read_text()
    assert (stat.S_IMODE(new.stat().st_mode), stat.S_IMODE(old.stat().st_mode)) == (0o600, 0o644)
    assert (link.is_symlink(), old.read_text()) == (True, text)
    with ThreadPoolExecutor() as pool:
        read = pool.submit(pipe.read_text)
        export_to(pipe)
        assert read.result(30) == text
    assert pipe.is_fifo()
    export_to(Path(os.devnull))
    assert Path(os.devnull).is_char_device()
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.usefixtures("command_environment")
def test_a_command_that_breaks_off_leaves_no_half_file(
    seller: ApiClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    received(seller)

    def breaking(*_: Any, **__: Any) -> Iterator[str]:
        yield "{}"
        raise Contended("the database did not answer in time")

    monkeypatch.setattr("service.export.files.CHUNK_CHARACTERS", 1)
    monkeypatch.setattr(actions, "stream_orders", breaking)
    assert run(["export", "--seller", SELLER, "--format", "ndjson", "--output", str(tmp_path / "orders")]) == 1
    assert "did not answer in time" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_document_shows_each_format_with_an_example(contract: Contract) -> None:
    operation = contract.document["paths"]["/v1/orders/export"]["get"]
    assert operation["operationId"] == "exportOrders"
    content = operation["responses"]["200"]["content"]
    assert {media: shown["example"] for media, shown in content.items()} == {
        file_format.media_type: EXAMPLES[file_format] for file_format in FileFormat
    }
    names = {each["name"] for each in operation["parameters"]}
    assert {"format", "layout", "view", "fields", "createdWithin", "q", "sort"} <= names
    assert names.isdisjoint({"paginationToken", "maxResultsPerPage"})


def test_the_members_that_a_layout_reads_are_those_that_it_needs(seller: ApiClient) -> None:
    full = received(seller, programs=["PRIME"], orderAliases=[{"aliasId": "1", "aliasType": "SELLER_ORDER_ID"}])
    for layout in LAYOUTS.values():
        less = {name: part for name, part in full.items() if name in layout.members}
        whole = [list(row) for row in layout.table.rows(full, NOW, str)]
        assert [list(row) for row in layout.table.rows(less, NOW, str)] == whole

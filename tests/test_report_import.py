"""The unshipped-orders report, read into a database that may be another one than it came from."""

from __future__ import annotations

import csv
import io
import os
import tracemalloc
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import psycopg
import pytest

from service.cli import run
from service.database import Database, upgrade_schema
from service.export.actions import Export, export_orders
from service.export.files import FileFormat
from service.export.layouts import LayoutName
from service.ingest.actions import receive_reported_orders
from service.ingest.jobs import MAX_LINE_BYTES, ImportSummary, Refusal, import_entries
from service.ingest.report_rows import Header
from service.ingest.reports import report_entries, scattered_orders
from service.orders.shapes import WHOLE
from service.sandbox.actions import enter_sandbox, move_clock
from service.search.rules import DEFAULT_SORT, OrderFilter
from service.sellers.queries import insert_seller
from service.settings import Settings
from tests.conftest import NOW, SECRET_KEY, SELLER, ApiClient, confirmation, order_document
from tests.test_import import generated

US, DE = "ATVPDKIKX0DER", "A1PA6795UKMFR9"
ADDRESS = {
    "name": "-Ada \u00c9xample",
    "addressLine1": "1 Example Street",
    "addressLine2": '"The Mill"',
    "addressLine3": "c/o Bob",
    "city": "Seattle",
    "stateOrRegion": "WA",
    "districtOrCounty": "King",
    "postalCode": "98101",
    "countryCode": "US",
    "addressType": "RESIDENTIAL",
    "companyName": "Example, Inc.",
}
RICH: dict[str, Any] = {
    "salesChannel__channelName": "NON_AMAZON",
    "salesChannel__marketplaceName": "Amazon.com",
    "orderAliases": [{"aliasId": "2026-17", "aliasType": "SELLER_ORDER_ID"}],
    "programs": ["AMAZON_BUSINESS", "PRIME"],
    "buyer": {
        "buyerName": "=Ada",
        "buyerEmail": "ada@example.com",
        "buyerCompanyName": "@Example",
        "buyerPurchaseOrderNumber": "'+1",
    },
    "recipient": {"deliveryAddress": ADDRESS},
    "fulfillment__fulfillmentServiceLevel": "EXPEDITED",
    "fulfillment__shipByWindow__earliestDateTime": "2026-03-02T00:00:00.25Z",
    "fulfillment__deliverByWindow": {
        "earliestDateTime": "2026-03-09T00:00:00Z",
        "latestDateTime": "2026-03-12T23:59:59Z",
    },
    "orderItems": [
        {
            "orderItemId": "7",
            "quantityOrdered": 3,
            "product": {
                "sellerSku": "MUG",
                "asin": "B0EXAMPLE1",
                "title": "Mug, blue; 'large'",
                "price": {"priceDesignation": "BUSINESS_PRICE"},
                "customization": {"customizedUrl": "https://example.com/1?a=b"},
            },
            "cancellation": {"cancellationRequest": {"requester": "BUYER", "cancelReason": "Too late"}},
            "fulfillment": {
                "shipping": {
                    "shippingConstraints": {"signatureConfirmation": "MANDATORY"},
                    "internationalShipping": {"iossNumber": "IM1234567890"},
                }
            },
        },
        {"orderItemId": "8", "quantityOrdered": 1, "product": {"title": "Pot"}},
    ],
}


@pytest.fixture(autouse=True)
def at_now(set_clock: Callable[[datetime | str], datetime]) -> None:
    set_clock(NOW)


def cells(**changes: str) -> dict[str, str]:
    """Return a row of a report as the platform writes it, and the two columns that an import needs beside."""
    return {
        "order-id": "902-0000001-0000001",
        "order-item-id": "1",
        "purchase-date": "2026-03-01T12:00:00+00:00",
        "promise-date": "2026-03-06T20:00:00+00:00",
        "buyer-phone-number": "+1 206 555 0100",
        "sku": "MUG",
        "product-name": "Mug",
        "quantity-purchased": "2",
        "quantity-shipped": "0",
        "quantity-to-ship": "2",
        "ship-city": "Seattle",
        "sales-channel": "Amazon.com",
        "order-total": "37.98",
        "currency": "USD",
        "a-column-of-tomorrow": "x",
    } | {name.replace("_", "-"): value for name, value in changes.items()}


def written(rows: Sequence[dict[str, str]], separator: str = "\t") -> bytes:
    file = io.StringIO(newline="")
    quoting = csv.QUOTE_NONE if separator == "\t" else csv.QUOTE_MINIMAL
    writer = csv.DictWriter(
        file, list(rows[0]), delimiter=separator, quoting=quoting, quotechar=None if separator == "\t" else '"'
    )
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue().encode()


class ReportImport:
    """Imports reports for the first seller, and keeps what was refused."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.refusals: list[Refusal] = []
        self.sizes: list[int] = []

    def __call__(self, file: bytes, *, batch_size: int = 500, passes: int = 1) -> ImportSummary:
        stream = io.BytesIO(file)
        header = Header.read(stream.readline())
        assert header is not None
        header.refuse_unusable()
        scattered = scattered_orders(header, stream) if passes == 2 else frozenset[str]()
        return import_entries(
            self.database,
            report_entries(header, stream, SELLER, {"Amazon.com": US, US: US, DE: DE}.get, scattered),
            lambda connection, orders: receive_reported_orders(connection, orders, "test"),
            on_refusal=self.refusals.append,
            on_progress=self.sizes.append,
            batch_size=batch_size,
        )

    def refused(self) -> list[tuple[int, list[str | None]]]:
        """Return the line and the places of what was refused."""
        return [(refusal.line_number, [error.pointer for error in refusal.problem.errors]) for refusal in self.refusals]


@pytest.fixture
def run_import(database: Database) -> ReportImport:
    return ReportImport(database)


def exported(database: Database, file_format: FileFormat, layout: LayoutName | None) -> bytes:
    export = Export(
        seller_id=SELLER,
        filters=OrderFilter(),
        sort=DEFAULT_SORT,
        shape=WHOLE,
        columns=(),
        file_format=file_format,
        layout=layout,
        is_gzipped=False,
    )
    return b"".join(export_orders(database, export))


def report_of(database: Database, file_format: FileFormat = FileFormat.TSV) -> bytes:
    return exported(database, file_format, LayoutName.UNSHIPPED_ORDERS)


@pytest.fixture
def empty_database(make_database_url: Callable[[], str], settings: Settings) -> Generator[Database]:
    """Yield another sandbox with the first seller, at the same time."""
    url = make_database_url()
    upgrade_schema(url)
    database = Database(replace(settings, database_url=url), pool_size=2)
    enter_sandbox(database)
    move_clock(database, NOW)
    with database.operator_transaction() as connection:
        insert_seller(connection, SELLER, "First seller")
    yield database
    database.close()


def kept(order: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in order.items() if name not in {"version", "lastUpdatedTime"}}


def orders_of(database: Database) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in exported(database, FileFormat.NDJSON, None).splitlines()]


@pytest.mark.parametrize("file_format", [FileFormat.TSV, FileFormat.CSV])
def test_a_report_makes_the_same_orders_in_an_empty_database(
    seller: ApiClient, database: Database, empty_database: Database, file_format: FileFormat
) -> None:
    for changes in (RICH, {}, {"salesChannel__marketplaceId": DE, "proceeds__grandTotal__currencyCode": "EUR"}):
        assert seller.post("/v1/orders", order_document(**changes)).status_code == 201
    file = report_of(database, file_format)
    run_import = ReportImport(empty_database)
    assert run_import(file) == ImportSummary(lines=3, created=3)
    assert sum(run_import.sizes) == len(file)
    assert report_of(empty_database, file_format) == file
    assert list(map(kept, orders_of(empty_database))) == list(map(kept, orders_of(database)))


def test_columns_count_by_name_in_any_order_and_unknown_ones_are_ignored(
    run_import: ReportImport, seller: ApiClient, owner: psycopg.Connection
) -> None:
    row = dict(reversed(cells().items()))
    for number, separator in enumerate("\t,;"):
        file = written([row | {"order-id": f"902-000000{number}-0000001"}], separator)
        assert run_import(b"\xef\xbb\xbf" + file) == ImportSummary(lines=1, created=1)
    order = seller.get("/v1/orders/902-0000000-0000001").get_json()
    assert order["orderItems"] == [
        {
            "orderItemId": "1",
            "quantityOrdered": 2,
            "product": {"sellerSku": "MUG", "title": "Mug"},
            "fulfillment": {"quantityFulfilled": 0, "quantityUnfulfilled": 2},
        }
    ]
    assert order["salesChannel"] == {"channelName": "AMAZON", "marketplaceId": US, "marketplaceName": "Amazon.com"}
    assert order["fulfillment"]["shipByWindow"] == {"latestDateTime": "2026-03-06T20:00:00Z"}
    assert order["proceeds"] == {"grandTotal": {"amount": "37.98", "currencyCode": "USD"}}
    assert owner.execute("SELECT count(*) FROM orders WHERE recipient::text LIKE '%555%'").fetchone() == (0,)


def test_missing_columns_are_named_together_and_doubled_ones_too() -> None:
    file = written([{"order-id": "1", "sku": "MUG", "quantity-shipped": "0"}])
    header = Header.read(file.splitlines()[0])
    assert header is not None
    with pytest.raises(Exception, match=r"order-item-id, purchase-date, promise-date, quantity-purchased$"):
        header.refuse_unusable()
    doubled = Header.read("\t".join([*cells(), "sku"]).encode())
    assert doubled is not None
    with pytest.raises(Exception, match="the columns sku twice"):
        doubled.refuse_unusable()
    for line in (b"", b"{}", b'{"order-id": "1"}', b"orderId,sku", b'"', b"\xff"):
        assert Header.read(line) is None


@pytest.mark.parametrize(
    ("changes", "places"),
    [
        ({"quantity_purchased": "two"}, ["line 2 quantity-purchased"]),
        ({"quantity_purchased": ""}, ["line 2 quantity-purchased"]),
        ({"quantity_to_ship": "1"}, ["/orderItems/0/fulfillment/quantityUnfulfilled"]),
        ({"purchase_date": "yesterday", "promise_date": "soon"}, ["purchase-date", "promise-date"]),
        ({"order_id": "902 1"}, ["order-id"]),
        ({"order_item_id": "#1"}, ["line 2 order-item-id"]),
        ({"sales_channel": "Amazon.mars"}, ["sales-channel"]),
        ({"sales_channel": ""}, ["sales-channel"]),
        ({"order_total": ""}, ["order-total"]),
        ({"order_total": "", "currency": ""}, ["order-total"]),
        ({"order_total": "37.987"}, ["order-total"]),
        ({"currency": "dollar"}, ["currency"]),
        ({"quantity_shipped": "1", "quantity_to_ship": "1"}, ["quantity-shipped"]),
        ({"order_status": "PartiallyShipped"}, ["quantity-shipped"]),
        ({"ship_city": "x" * 300}, ["ship-city"]),
    ],
)
def test_what_is_wrong_is_named_by_column_and_the_other_orders_go_in(
    run_import: ReportImport, changes: dict[str, str], places: list[str]
) -> None:
    columns = dict.fromkeys([*cells(), *(name.replace("_", "-") for name in changes)], "")
    good = columns | cells(order_id="902-0000002-0000001")
    assert run_import(written([columns | cells(**changes), good])) == ImportSummary(lines=2, created=1, refused=1)
    assert run_import.refused() == [(2, places)]


def test_the_rows_of_an_order_must_agree(run_import: ReportImport) -> None:
    second = cells(order_item_id="2", ship_city="Tacoma", order_total="1.00")
    assert run_import(written([cells(), second])) == ImportSummary(lines=1, refused=1)
    assert run_import.refused() == [(2, ["line 3 ship-city", "line 3 order-total"])]


def test_a_later_row_of_an_order_is_refused_in_whatever_batch_it_comes(
    run_import: ReportImport, seller: ApiClient
) -> None:
    one, other = "902-0000001-0000001", "902-0000002-0000001"
    rows = [
        cells(order_id=one), cells(order_id=one, order_item_id="2"), cells(order_id=other),
        cells(order_id=one, order_item_id="3"),
    ]  # fmt: skip
    assert run_import(written(rows)) == ImportSummary(lines=3, created=2, refused=1)
    assert run_import(written(rows), batch_size=1) == ImportSummary(lines=3, unchanged=2, refused=1)
    assert run_import.refused() == [(5, ["order-item-id"])] * 2
    assert len(seller.get(f"/v1/orders/{one}").get_json()["orderItems"]) == 2


def test_an_order_whose_rows_are_apart_is_refused_wholly_when_the_file_can_be_read_twice(
    run_import: ReportImport, seller: ApiClient
) -> None:
    one, other = "902-0000001-0000001", "902-0000002-0000001"
    rows = [cells(order_id=one), cells(order_id=other), cells(order_id=one, order_item_id="2")]
    assert run_import(written(rows), passes=2) == ImportSummary(lines=3, created=1, refused=2)
    assert [refusal.line_number for refusal in run_import.refusals] == [2, 4]
    assert "sort it by order-id" in run_import.refusals[0].problem.detail
    assert seller.get(f"/v1/orders/{one}").status_code == 404
    assert seller.get(f"/v1/orders/{other}").status_code == 200


@pytest.mark.parametrize("closed_in", ["recipient-name", "product-name", "order-item-id"])
def test_a_row_that_a_stray_quote_may_have_swallowed_takes_its_order_with_it(
    run_import: ReportImport, closed_in: str
) -> None:
    one, other, third = (f"902-000000{number}-0000001" for number in (1, 2, 3))
    row = cells() | {"recipient-name": "Ada"}
    opened_in = "product-name" if closed_in == "recipient-name" else closed_in
    quoted = [
        row | {"order-id": one, opened_in: "OPEN1"},
        row | {"order-id": other, closed_in: "5CLOSE"},
        row | {"order-id": other, "order-item-id": "2"},
        row | {"order-id": third},
    ]
    file = written(quoted, ",").replace(b"OPEN", b'"').replace(b"CLOSE", b'"')
    assert run_import(file) == ImportSummary(lines=3, created=1, refused=2)
    assert [refusal.line_number for refusal in run_import.refusals] == [2, 4]
    assert "lines 2 to 3" in run_import.refusals[1].problem.detail


def test_a_report_changes_nothing_of_an_order_that_is_known(
    run_import: ReportImport, seller: ApiClient, database: Database
) -> None:
    document = order_document(**RICH)
    before = seller.post("/v1/orders", document).get_json()
    rows = [
        cells(order_id=document["orderId"], order_item_id=item, ship_city="Elsewhere", order_total="", currency="")
        for item in ("7", "8")
    ]
    assert run_import(written(rows)) == ImportSummary(lines=1, unchanged=1)
    path = f"/v1/orders/{document['orderId']}"
    assert seller.get(path).get_json() == before
    seller.post(f"{path}/shipment-confirmations", confirmation(orderItems=[{"orderItemId": "8", "quantity": 1}]))
    # Its own report tells of a part that was shipped, which a new order could not be made of.
    assert run_import(report_of(database)) == ImportSummary(lines=1, unchanged=1)


def test_an_order_that_comes_another_way_meanwhile_stays_as_it_came(
    run_import: ReportImport, seller: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = order_document(orderId="902-0000001-0000001")
    before = seller.post("/v1/orders", document).get_json()
    monkeypatch.setattr("service.ingest.queries.find_item_ids", lambda *_: {})  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
    assert run_import(written([cells()])) == ImportSummary(lines=1, unchanged=1)
    assert seller.get("/v1/orders/902-0000001-0000001").get_json() == before


def test_a_row_that_cannot_be_read_takes_the_order_it_may_belong_to_with_it(run_import: ReportImport) -> None:
    ids = [f"902-000000{number}-0000001" for number in range(6)]
    header, *lines = written([cells(order_id=order_id) for order_id in ids]).splitlines(keepends=True)
    too_long = b"x" * (MAX_LINE_BYTES + 1) + b"\n"
    short = lines[5].rsplit(b"\t", 1)[0] + b"\n"
    latin = lines[5].replace(b"Mug", b"Caf\xe9")
    blank = b"\t" * header.count(b"\t") + b"\r\n\r\n"
    file = b"".join([header, lines[0], blank, lines[1], too_long, lines[2], lines[3], short, lines[4]])
    assert run_import(file) == ImportSummary(lines=7, created=3, refused=4)
    assert [refusal.line_number for refusal in run_import.refusals] == [5, 6, 7, 9]
    assert "line 6" in run_import.refusals[0].problem.detail
    assert run_import(header + latin) == ImportSummary(lines=1, refused=1)
    assert "is not UTF-8" in run_import.refusals[-1].problem.detail
    assert sum(run_import.sizes) == len(file) + len(header + latin)


def test_a_quoted_cell_may_go_over_several_lines_and_a_cut_file_is_noticed(
    run_import: ReportImport, seller: ApiClient
) -> None:
    rows = [cells(product_name='Mug, "blue"\r\nlarge'), cells(order_id="902-0000002-0000001", quantity_to_ship="9")]
    file = written(rows, ",")
    assert run_import(file) == ImportSummary(lines=2, created=1, refused=1)
    assert run_import.refused()[0][0] == 4
    (item,) = seller.get("/v1/orders/902-0000001-0000001").get_json()["orderItems"]
    assert item["product"]["title"] == 'Mug, "blue"\r\nlarge'
    cut = written([cells(order_id="902-0000003-0000001", product_name='"')], ",")
    assert run_import(cut[: cut.index(b'""')] + b'"') == ImportSummary(lines=1, refused=1)


def test_memory_does_not_grow_with_the_report() -> None:
    header, line = written([cells(order_id="902-NUMBER0-0000001")]).splitlines(keepends=True)

    def rows(number: int) -> Iterator[bytes]:
        yield header
        yield from (line.replace(b"NUMBER", b"%06d" % each) for each in range(number))

    def peak_of(number: int) -> int:
        tracemalloc.reset_peak()
        stream = generated(rows(number))
        read = Header.read(stream.readline())
        assert read is not None
        count = sum(1 for _ in report_entries(read, stream, SELLER, {"Amazon.com": US}.get))
        assert count == number + 1
        return tracemalloc.get_traced_memory()[1]

    tracemalloc.start()
    try:
        peak_of(10)
        small, large = peak_of(500), peak_of(5_000)
    finally:
        tracemalloc.stop()
    assert large < small + 100_000


@pytest.fixture
def environment(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", settings.database_url)
    monkeypatch.setenv("MANAGE_ORDERS_SECRET_KEY", SECRET_KEY)
    monkeypatch.setenv("MANAGE_ORDERS_SANDBOX", "1")


@pytest.mark.usefixtures("environment", "database")
def test_the_command_tells_a_report_by_its_header(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "report.txt"
    rows = [
        cells(),
        cells(order_id="902-0000002-0000001", sales_channel="amazon.DE"),
        cells(order_id="902-1", promise_date=""),
    ]
    file.write_bytes(written(rows))
    assert run(["import", str(file), "--seller", SELLER]) == 3
    ended = capsys.readouterr()
    assert ended.out == "3 orders: 2 created, 0 updated, 0 unchanged, 1 refused\n"
    assert ended.err.startswith("line 4: the order")
    assert run(["import", str(file), "--seller", "NEW-1", "--create-sellers"]) == 3
    assert "2 created" in capsys.readouterr().out


@pytest.mark.usefixtures("environment", "database")
@pytest.mark.parametrize(
    ("left_out", "options", "code", "says"),
    [
        ((), [], 2, "say whose it is with --seller"),
        ((), ["--seller", "no seller"], 2, "is no seller's id"),
        (("sales-channel",), ["--seller", SELLER], 2, "name the marketplace with --marketplace"),
        (
            ("sku", "promise-date", "order-item-id"),
            ["--seller", SELLER],
            1,
            "lacks the columns order-item-id, promise-date",
        ),
        ((), ["--seller", SELLER, "--marketplace", "MARS"], 2, "the marketplace MARS is not known here"),
        (("sales-channel",), ["--seller", SELLER, "--marketplace", DE], 0, ""),
    ],
)
def test_what_a_report_does_not_tell_has_to_be_told(
    left_out: Sequence[str], options: list[str], code: int, says: str,
    tmp_path: Path, capsys: pytest.CaptureFixture[str], owner: psycopg.Connection,
) -> None:  # fmt: skip
    file = tmp_path / "report.txt"
    file.write_bytes(written([{name: cell for name, cell in cells().items() if name not in left_out}]))
    assert run(["import", str(file), *options]) == code
    assert says in capsys.readouterr().err
    stored = owner.execute("SELECT marketplace_id FROM orders").fetchall()
    assert stored == ([(DE,)] if code == 0 else [])


@pytest.mark.usefixtures("environment", "database")
def test_the_command_refuses_scattered_orders_wholly_but_cannot_when_they_are_piped_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, pipe = tmp_path / "report.txt", tmp_path / "pipe"
    one, other = "902-0000001-0000001", "902-0000002-0000001"
    file.write_bytes(written([cells(order_id=one), cells(order_id=other), cells(order_id=one, order_item_id="2")]))
    assert run(["import", str(file), "--seller", SELLER]) == 3
    assert capsys.readouterr().out == "3 orders: 1 created, 0 updated, 0 unchanged, 2 refused\n"
    os.mkfifo(pipe)
    with ThreadPoolExecutor() as pool:
        pool.submit(pipe.write_bytes, file.read_bytes())
        assert run(["import", str(pipe), "--seller", SELLER]) == 3
    assert capsys.readouterr().out == "3 orders: 1 created, 0 updated, 1 unchanged, 1 refused\n"


@pytest.mark.usefixtures("environment", "database")
@pytest.mark.parametrize("encoding", ["utf-16", "utf-8"])
def test_a_file_that_is_neither_a_report_nor_ndjson_is_called_that(
    encoding: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "report.txt"
    file.write_text(written([cells()]).decode().replace("\r\n", "\r"), encoding, newline="")
    assert run(["import", str(file), "--seller", SELLER]) == 2
    assert "UTF-8, with lines that end in LF" in capsys.readouterr().err


@pytest.mark.usefixtures("environment", "database")
def test_lines_of_ndjson_name_their_own_seller(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "orders.ndjson"
    file.write_bytes(orjson.dumps(order_document(sellerId=SELLER)))
    assert run(["import", str(file), "--seller", SELLER]) == 2
    assert "are for reports" in capsys.readouterr().err
    assert run(["import", str(file)]) == 0

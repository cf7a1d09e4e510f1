"""Files of confirmations, read and written: a line is a row whatever it holds, and read as nothing else."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, cast

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import ValidationError

from service.confirmation_batches.actions import IncomingRow
from service.confirmation_batches.flat_rows import (
    COLUMNS,
    PLACES,
    REQUIRED_COLUMNS,
    RESULT_COLUMNS,
    Columns,
    read_flat_file,
)
from service.confirmation_batches.queries import WorkedRow
from service.confirmation_batches.result_file import result_lines
from service.confirmation_batches.row_schemas import ConfirmationRowSchema, read_flat_batch, read_json_batch
from service.confirmation_batches.rules import (
    MAX_ERRORS,
    MAX_ROWS,
    BatchRow,
    packages_of,
    refusals,
    stored_confirmation,
)
from service.errors import BatchUnreadable, FieldError, Problem, QuantityTooLarge
from service.fields import MAX_BAD_ITEMS
from service.orders.address_schemas import MerchantAddressSchema
from service.schema import camel_case
from service.shipments.rules import ConfirmedItem, ShipmentConfirmation
from tests.conftest import SHARED

HEADER = "order-id\torder-item-id\tquantity\tship-date\tcarrier-code\ttracking-number"
MISSING = {f"/{name}" for name in REQUIRED_COLUMNS}
CELLS = "902-1\t1\t2\t2026-03-02T12:00:00Z\tUPS\t1Z9"


def rows_of(body: str | bytes) -> list[IncomingRow]:
    return list(read_flat_batch(body if isinstance(body, bytes) else body.encode())[1])


def only(body: str | bytes) -> IncomingRow:
    (row,) = rows_of(body)
    return row


def confirmed(row: IncomingRow) -> ShipmentConfirmation:
    assert row.problem is None, row.problem.errors
    assert row.confirmation is not None
    return row.confirmation


def package(**changes: Any) -> ShipmentConfirmation:
    members: dict[str, Any] = {
        "package_reference_id": None,
        "carrier_code": "UPS",
        "carrier_name": None,
        "shipping_method": None,
        "tracking_number": "1Z9",
        "ship_date": datetime(2026, 3, 2, 12, tzinfo=UTC),
        "items": [ConfirmedItem("1", 2)],
    }
    return ShipmentConfirmation(**members | changes)


# Reading.


def test_every_column_has_its_place_in_the_confirmation() -> None:
    texts = {
        "order-id": "902-1", "order-item-id": "7", "quantity": "2", "ship-date": "2026-03-02", "carrier-code": "Other",
        "carrier-name": "Bike", "tracking-number": "T1", "ship-method": "Fast", "transparency_code": "AZ1, AZ2",
        "ship_from_address_name": "Depot", "ship_from_address_line1": "L1", "ship_from_address_line2": "L2",
        "ship_from_address_line3": "L3", "ship_from_address_city": "Seattle", "ship_from_address_county": "King",
        "ship_from_address_state_or_region": "WA", "ship_from_address_postalcode": "98101",
        "ship_from_address_countrycode": "US", "cod-collection-method": "DirectPayment", "seller-id": "A1SELLER",
        "override-cancellation-request": "TRUE",
    }  # fmt: skip
    assert texts.keys() == {*COLUMNS, "cod-collection-method"}

    row = only("\t".join(texts) + "\n" + "\t".join(texts.values()))

    assert (row.order_id, row.seller_id, row.row_number) == ("902-1", "A1SELLER", 2)
    assert confirmed(row) == package(
        carrier_code="Other",
        carrier_name="Bike",
        tracking_number="T1",
        shipping_method="Fast",
        ship_date=date(2026, 3, 2),
        items=[ConfirmedItem("7", 2, ["AZ1", "AZ2"])],
        ship_from_address={
            "name": "Depot", "addressLine1": "L1", "addressLine2": "L2", "addressLine3": "L3", "city": "Seattle",
            "districtOrCounty": "King", "stateOrRegion": "WA", "postalCode": "98101", "countryCode": "US",
        },
        override_cancellation_request=True,
    )  # fmt: skip
    # A member that a row can have is in a column, but for the number of the package: rows make their own.
    members = {camel_case(name) for name in ConfirmationRowSchema().fields} - {"packageReferenceId"}
    address = {camel_case(name) for name in MerchantAddressSchema().fields} - {"municipality"}
    named = {place.split("/")[1] for place in PLACES}
    assert named == members
    assert {place.split("/")[2] for place in PLACES if place.startswith("/shipFrom")} == address


@pytest.mark.parametrize(
    "body",
    [
        f"{HEADER}\n{CELLS}\n",
        f"{HEADER}\n{CELLS}",
        f"\ufeff{HEADER}\r\n{CELLS}\r\n",
        f"{HEADER.upper().replace('-', '_')}\n{CELLS}\n",
        f"{HEADER}\t\t\n{CELLS}\t\t\n",
        f"\t{HEADER}\n" + "\t".join(f'"{cell}"' for cell in CELLS.split("\t")),
        f"{HEADER}\n" + "\t".join(f"  {cell} " for cell in CELLS.split("\t")),
        f"{HEADER}\tproblem\trow-number\tresult\n{CELLS}\twrong\t9\tREFUSED\n",
        f"{HEADER}\tproblem\n{CELLS}\n",
    ],
    ids=["lf", "no end", "crlf and bom", "spelling", "empty cells", "quoted", "spaces", "a rejects file", "cut tabs"],
)
def test_a_row_reads_the_same_however_a_program_writes_it(body: str) -> None:
    assert confirmed(only(body.removeprefix("\t"))) == package()


def test_a_template_line_is_skipped_and_rows_are_numbered_as_lines() -> None:
    body = f"TemplateType=OrderFulfillment\tVersion=2011.1102\n\n{HEADER}\n\n{CELLS}\n \t \n\n{CELLS}\n"

    assert [row.row_number for row in rows_of(body)] == [5, 8]


def test_a_stray_quote_swallows_no_row() -> None:
    # Broken by a reader for which quotes go over lines: all of this would be one row, or two.
    rows = rows_of(f'{HEADER}\n"{CELLS}\n{CELLS}"\n{CELLS}0\t"\n{CELLS}')

    assert [row.row_number for row in rows] == [2, 3, 4, 5]
    assert confirmed(rows[1]).tracking_number == '1Z9"'
    assert confirmed(rows[3]) == package()


@pytest.mark.parametrize(
    ("cell", "text"),
    [('"a ""b"" c"', 'a "b" c'), ('"a"b"', '"a"b"'), ('"', '"'), ("'=1+1", "=1+1"), ("'\"x", '"x'), ("'x", "'x")],
)
def test_a_cell_loses_the_quotes_around_it_and_what_kept_a_spreadsheet_from_running_it(cell: str, text: str) -> None:
    assert confirmed(only(f"{HEADER}\n{CELLS.removesuffix('1Z9')}{cell}")).tracking_number == text


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (HEADER.encode(), {""}),
        (b"\xff\xfeo\x00r\x00d\x00e\x00r\x00", {""}),
        (HEADER.encode() + b"\n" + CELLS.encode() + b"\xe9\n", {""}),
        (HEADER.replace("order-item-id", "order-item-ids").encode(), {"/order-item-ids"}),
        (HEADER.replace("order-id", "amazon-order-id").encode(), {"/amazon-order-id", "/order-id"}),
        ((HEADER + "\tOrder_Item_ID").encode(), {"/order-item-id"}),
        (HEADER.replace("ship-date\t", "").encode(), {"/ship-date"}),
        (HEADER.replace("quantity", "").encode(), {"/"}),
        (b'{"shipmentConfirmations": []}', {'/{"shipmentConfirmations": []}', *MISSING}),
    ],
)  # fmt: skip
def test_a_file_that_may_mean_something_else_is_refused_whole(body: bytes, where: set[str]) -> None:
    # A misspelt order-item-id that was ignored would confirm whole orders.
    with pytest.raises(BatchUnreadable) as refused:
        rows_of(body)

    assert {error.pointer for error in refused.value.errors} == where


@pytest.mark.parametrize(
    ("cells", "where"),
    [
        ("902-1\t\t2\t2026-03-02\tUPS\t", "/order-item-id"),
        ("902-1\t1\t\t2026-03-02\tUPS\t", "/quantity"),
        ("902-1\t1\t0\t2026-03-02\tUPS\t", "/quantity"),
        ("902-1\t1\t-1\t2026-03-02\tUPS\t", "/quantity"),
        ("902-1\t1\t1.0\t2026-03-02\tUPS\t", "/quantity"),
        ("902-1\t1\t\u0661\t2026-03-02\tUPS\t", "/quantity"),
        ("902-1\t1\t" + "9" * 5000 + "\t2026-03-02\tUPS\t", "/quantity"),
        ("\t1\t1\t2026-03-02\tUPS\t", "/order-id"),
        ("902 1\t1\t1\t2026-03-02\tUPS\t", "/order-id"),
        ("902-1\t1\t1\t\tUPS\t", "/ship-date"),
        ("902-1\t1\t1\t02/03/2026\tUPS\t", "/ship-date"),
        ("902-1\t1\t1\t2026-02-30\tUPS\t", "/ship-date"),
        ("902-1\t1\t1\t2026-03-02T12:00:00\tUPS\t", "/ship-date"),
        ("902-1\t1\t1\t2026-03-02\t\t", "/carrier-code"),
        ("902-1\t1\t1\t2026-03-02\tUPS\t" + "1" * 101, "/tracking-number"),
        ("902-1\t1\t1\t2026-03-02\tUPS\t1\0Z", "/tracking-number"),
        ("902-1\t1\t1\t2026-03-02\tUPS\t1Z9\tmore", ""),
    ],
)
def test_a_row_that_cannot_be_read_says_where_and_stops_no_other(cells: str, where: str) -> None:
    bad, good = rows_of(f"{HEADER}\n{cells}\n{CELLS}")
    columns, _ = read_flat_file(HEADER.encode())

    assert bad.problem is not None
    assert [columns.pointer(error.pointer or "") for error in bad.problem.errors] == [where]
    assert bad.confirmation is None
    assert confirmed(good) == package()


def test_a_pointer_names_the_column_as_the_file_spells_it() -> None:
    columns = Columns.of(["ORDER_ID", "Ship_Date", "carrier code".replace(" ", "-"), "Transparency-Code"])

    assert columns.pointer("/shipDate") == "/Ship_Date"
    assert columns.pointer("/orderItems/0/transparencyCodes/3") == "/Transparency-Code"
    assert columns.pointer("/orderItems/0/quantity") == "/quantity"
    assert columns.pointer("/packageReferenceId") == "/packageReferenceId"


def test_entries_of_json_are_read_one_by_one() -> None:
    good = {"orderId": "902-1", "carrierCode": "UPS", "trackingNumber": "1Z9", "shipDate": "2026-03-02T12:00:00Z"}
    entries = [
        good | {"orderItems": [{"orderItemId": "1", "quantity": 2}]}, 7, None, good | {"colour": "red"},
        good | {"orderItems": [{"orderItemId": "1", "quantity": 1}] * 2, "trackingNumber": "T2"},
        good | {"trackingNumber": "\0"}, {}, good | {"orderId": "902-2"} | {f"k{number}": 1 for number in range(1000)},
    ]  # fmt: skip
    rows = list(read_json_batch(json.dumps({"shipmentConfirmations": entries}).encode()))

    assert confirmed(rows[0]) == package()
    wrong = [[error.pointer for error in row.problem.errors] if row.problem else None for row in rows[1:]]
    assert wrong == [
        [""], [""], ["/colour"], ["/orderItems"], ["/trackingNumber"], ["/orderId", "/carrierCode", "/shipDate"],
        [""],
    ]  # fmt: skip
    assert [row.order_id for row in rows[1:]] == [None, None, "902-1", "902-1", "902-1", None, "902-2"]


def test_a_row_that_cannot_be_read_refuses_its_package_and_no_other() -> None:
    # Broken by judging rows one by one: what is corrected would be sent as a second package.
    bad, other, ref = CELLS.replace("\t2\t", "\tx\t"), CELLS.replace("1Z9", "1Z8"), CELLS.replace("902-1", "902-2")
    rows = rows_of("\n".join([HEADER, CELLS.replace("\t1\t", "\t7\t"), other, bad, ref, f"{CELLS}\tmore"]))
    told = [[error.detail for error in row.problem.errors] if row.problem else None for row in rows]

    assert told[:2] == [["row 4 of the same package cannot be read"], None]
    assert told[3] is None
    # Which package it is in cannot be said of a row that cannot be read beside its items, or that names its own.
    unclear = [bad.replace("UPS", ""), CELLS]
    assert [row.problem is None for row in rows_of("\n".join([HEADER, *unclear]))] == [False, True]
    good = {"orderId": "902-1", "carrierCode": "UPS", "shipDate": "2026-03-02", "packageReferenceId": "1"}
    entries = json.dumps({"shipmentConfirmations": [good, good | {"orderItems": []}]})
    assert [row.problem is None for row in read_json_batch(entries.encode())] == [True, False]


@pytest.mark.parametrize(
    ("body", "detail", "fault"),
    [
        (b"", "the file is empty", "no line"),
        (b"\xef\xbb\xbf\n \n", "the file is empty", "no line"),
        (b"TemplateType=OrderFulfillment\tVersion=1\n", "the file is empty", "no line"),
        (f"{HEADER}\r{CELLS}\r".encode(), "lines must end in LF, and cells be separated by tabs", "CR"),
        (f"{HEADER}\n{CELLS}".replace("\t", ",").encode(), "cells be separated by tabs", "no tab"),
        (f"{HEADER}\n{CELLS}".replace("\t", ";").encode(), "cells be separated by tabs", "no tab"),
        (f"{HEADER}\n\n".encode(), "no rows", "nothing below"),
        (f"{HEADER}\n".encode() + b"x\n" * (MAX_ROWS + 1), f"more than {MAX_ROWS} rows", "too many lines"),
    ],
    ids=["nothing", "a mark", "a template line", "cr", "commas", "semicolons", "no rows", "too many"],
)
def test_a_file_that_is_none_is_told_what_one_is(body: bytes, detail: str, fault: str) -> None:
    with pytest.raises(BatchUnreadable, match=detail) as refused:
        read_flat_batch(body)

    (error,) = refused.value.errors
    assert fault in error.detail
    assert error.pointer == ""


def test_too_many_rows_are_refused_before_any_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.confirmation_batches.row_schemas.MAX_ROWS", 2)
    monkeypatch.setattr("service.confirmation_batches.flat_rows.MAX_ROWS", 2)
    monkeypatch.setattr("service.confirmation_batches.row_schemas._row", None)

    for entries in ("[{}, {}, {}]", "[]"):
        with pytest.raises(BatchUnreadable) as refused:
            read_json_batch(f'{{"shipmentConfirmations": {entries}}}'.encode())
        assert [error.pointer for error in refused.value.errors] == ["/shipmentConfirmations"]
    with pytest.raises(BatchUnreadable):
        read_flat_batch("\n".join([HEADER, *[CELLS] * 3]).encode())


def test_of_a_million_faults_some_are_told() -> None:
    # Broken by telling each: a file of them would take a minute.
    many = {f"k{number}": 1 for number in range(1000)}
    entries: list[Any] = [{"shipFromAddress": many}, {"orderItems": [{}] * 1000}, {"orderItems": [many]}]
    rows = read_json_batch(json.dumps({"shipmentConfirmations": entries}).encode())

    assert all(row.problem and len(row.problem.errors) == MAX_ERRORS for row in rows)
    assert len(_collected({"orderItems": [{}] * 1000})["orderItems"]) == MAX_BAD_ITEMS
    assert len(_collected({"shipFromAddress": many})["shipFromAddress"]) < MAX_ERRORS + 50


def _collected(entry: dict[str, Any]) -> dict[str, Any]:
    with pytest.raises(ValidationError) as refused:
        ConfirmationRowSchema().load(entry)
    return cast("dict[str, Any]", refused.value.messages)


def test_blank_text_says_nothing_and_a_code_has_no_comma() -> None:
    entry = {"orderId": "902-1", "carrierCode": "UPS", "shipDate": "2026-03-02", "carrierName": " ",
             "shippingMethod": "\u00a0", "trackingNumber": " 1Z\u20289 "}  # fmt: skip
    code = {"trackingNumber": "T2", "orderItems": [{"orderItemId": "1", "quantity": 1, "transparencyCodes": ["A,B"]}]}
    first, second = read_json_batch(json.dumps({"shipmentConfirmations": [entry, entry | code]}).encode())

    assert confirmed(first) == package(tracking_number="1Z 9", ship_date=date(2026, 3, 2), items=None)
    assert second.problem is not None
    assert [error.pointer for error in second.problem.errors] == ["/orderItems/0/transparencyCodes/0"]
    unnamed = only(f"{HEADER}\tcarrier-name\n{CELLS.replace('UPS', 'Other')}\t\u00a0")
    assert confirmed(unnamed).carrier_name is None


scraps = st.lists(
    st.sampled_from(["902-1", "1", "2", "2026-03-02", "UPS", "\t", "\n", "\r", '"', "'", "=", "\0", "é", ""])
)


@given(scraps)
def test_whatever_stands_below_the_header_is_read_line_by_line(parts: list[str]) -> None:
    body = f"{HEADER}\n{CELLS}\n" + "".join(parts)
    rows = rows_of(body)

    lines = body.split("\n")
    assert [row.row_number for row in rows] == [n for n, line in enumerate(lines, 1) if n > 1 and line.strip()]
    assert all((row.problem is None) == (row.confirmation is not None) for row in rows)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8"), max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(["orderId", "carrierCode", "shipDate", "orderItems", "shipFromAddress", "x"]), inner
        )
    ),
    max_leaves=8,
)


@given(st.lists(json_values, min_size=1, max_size=4))
def test_whatever_json_holds_is_read_entry_by_entry_and_can_be_handed_back(entries: list[Any]) -> None:
    rows = list(read_json_batch(json.dumps({"shipmentConfirmations": entries}).encode()))

    assert [row.row_number for row in rows] == list(range(1, len(entries) + 1))
    assert all((row.problem is None) == (row.confirmation is not None) for row in rows)
    lines = list(result_lines(None, [worked(row.row_number, orjson.loads(row.content)) for row in rows]))
    assert all(line.count("\t") == len(COLUMNS) + len(RESULT_COLUMNS) - 1 for line in lines)


# Rows and packages.


def test_rows_that_agree_in_all_but_the_items_are_one_package() -> None:
    sent = [
        package(), package(tracking_number="1Z8"), package(carrier_code=" ups ", items=[ConfirmedItem("2", 1)]),
        package(ship_date=date(2026, 3, 2)), package(shipping_method="Air"), package(carrier_name="x"),
        package(ship_from_address={"city": "S"}),
        package(ship_from_address={"city": "S"}, items=[ConfirmedItem("2", 1)]),
        package(package_reference_id="4"), package(package_reference_id="4"),
    ]  # fmt: skip
    packages = list(packages_of([BatchRow(number, each) for number, each in enumerate(sent)]))

    numbers = [[row.row_number for row in each.rows] for each in packages]
    assert numbers == [[0, 2], [1], [3], [4], [5], [6, 7], [8], [9]]
    assert packages[0].confirmation.items == [ConfirmedItem("1", 2), ConfirmedItem("2", 1)]
    assert not any(each.problem for each in packages)


def test_a_package_that_its_rows_contradict_is_refused() -> None:
    twice = [BatchRow(2, package()), BatchRow(3, package())]
    rest = [BatchRow(4, package(tracking_number="x", items=None)), BatchRow(5, package(tracking_number="x"))]
    first, second = packages_of([*twice, *rest])

    assert "rows 2, 3 are one package, and hold an item more than once" in str(first.problem)
    assert "rows 4, 5 are one package" in str(second.problem)
    assert "all that remains" in str(second.problem)


def test_a_package_goes_against_the_buyers_request_only_if_each_of_its_rows_says_so() -> None:
    def overrides(*flags: bool) -> bool:
        rows = [
            BatchRow(number, package(items=[ConfirmedItem(str(number), 1)], override_cancellation_request=flag))
            for number, flag in enumerate(flags)
        ]
        (one,) = packages_of(rows)
        return one.confirmation.override_cancellation_request

    assert overrides(True, True)
    assert not overrides(True, False)
    assert overrides(True)


def test_a_refusal_says_where_in_the_row_that_is_at_fault_and_names_that_row_to_the_others() -> None:
    rows = [
        BatchRow(2, package()),
        BatchRow(7, package(items=[ConfirmedItem("2", 1), ConfirmedItem("3", 9)])),
    ]
    (one,) = packages_of(rows)
    problem: Problem = QuantityTooLarge(
        "less", FieldError("1 remains", "/orderItems/2/quantity"), FieldError("is bad", "/shipDate")
    )
    told = [each.told["problem"] for each in refusals(one, problem, lambda pointer: pointer + "!")]

    assert [each["errors"] for each in told] == [  # pyright: ignore[reportIndexIssue]  # JSON
        [{"detail": "row 7 of the same package: 1 remains"}, {"detail": "is bad", "pointer": "/shipDate!"}],
        [{"detail": "1 remains", "pointer": "/orderItems/1/quantity!"}, {"detail": "is bad", "pointer": "/shipDate!"}],
    ]


confirmations = st.builds(
    package,
    package_reference_id=st.none() | st.just("12"),
    tracking_number=st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5),
    ship_date=st.dates(date(1970, 1, 1), date(2999, 12, 31))
    | st.datetimes(datetime(1970, 1, 1), datetime(2999, 12, 31), timezones=st.just(UTC)),  # noqa: DTZ001  # hypothesis adds the zone
    items=st.none() | st.just([ConfirmedItem("1", 2, []), ConfirmedItem("2", 1, ["AZ"])]),
    ship_from_address=st.none() | st.just({"city": "São Paulo"}),
    override_cancellation_request=st.booleans(),
)


@given(confirmations)
def test_a_stored_confirmation_is_the_one_that_was_read(confirmation: ShipmentConfirmation) -> None:
    stored = stored_confirmation(orjson.loads(orjson.dumps(confirmation)))

    assert stored == confirmation
    assert stored.digest == confirmation.digest


# Results as a file.


def worked(number: int, content: object, **outcome: Any) -> WorkedRow:
    return WorkedRow(number, "A1SELLER", "902-1", content, "REFUSED" if outcome else "CONFIRMED", outcome)


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8) | st.sampled_from(
    ["=1+1", "'=1", '"', '""', "'\"x", "@a,=b", "'", "-1", "a\tb", "a;=b", "\u200b=1"]
)


@given(st.lists(texts, min_size=6, max_size=6))
def test_a_results_file_reads_back_as_the_cells_that_were_sent(cells: list[str]) -> None:
    columns = HEADER.split("\t")
    line = "\t".join(each.replace("\t", " ").replace("\n", " ") for each in ["902-1", *cells])
    sent = read_flat_file(f"{HEADER}\n{line}".encode())
    rows = [worked(row.line_number, [*row.cells, *row.surplus], problem={"detail": "a\nb\t=1"}) for row in sent[1]]
    written = "".join(result_lines(columns, rows))
    read, again = read_flat_file(written.encode())

    assert read.names == tuple(columns)
    assert [[*row.cells, *row.surplus] for row in again] == [row.content for row in rows]


@pytest.mark.parametrize("cell", ["1Z\r9", "1Z\v\f9", "1Z\x859", "1Z\u20289", '\'\r""', "\r=1", "=1\x1c"])
def test_a_cell_is_stored_as_it_is_handed_back(cell: str) -> None:
    # Broken by replacing what breaks lines when it is written only: sent again, the row would be another package.
    sent = only(f"{HEADER}\n{CELLS.removesuffix('1Z9')}{cell}")
    again = only("".join(result_lines(HEADER.split("\t"), [worked(2, orjson.loads(sent.content))])))

    assert confirmed(again) == confirmed(sent)


def test_a_row_with_more_cells_than_columns_stays_so_until_it_is_corrected() -> None:
    sent = only(f"{HEADER}\n902-1\t1\t2\t2026-03-02\tUPS\t\t1Z9")
    written = "".join(
        result_lines(HEADER.split("\t"), [worked(2, orjson.loads(sent.content), problem={"detail": "x"})])
    )
    again = only(written)

    assert again.problem is not None
    assert again.problem.errors == (FieldError("cell 13 stands under no column", ""),)
    assert again.content == sent.content
    assert confirmed(only(written.replace("UPS\t\t", "UPS\t1Z9\t").replace("\t1Z9\n", "\n"))) == package(
        ship_date=date(2026, 3, 2)
    )


def test_results_stand_behind_the_columns_of_the_file() -> None:
    lines = list(
        result_lines(
            ["Order-ID", "ship-date", "carrier-code"],
            [
                worked(3, ["902-1", "2026-03-02", "UPS"]),
                worked(
                    4,
                    ["902-1", "=1", "UPS"],
                    problem={"type": "urn:x", "detail": "no", "errors": [{"detail": "bad", "pointer": "/ship-date"}]},
                ),
            ],
        )
    )

    assert lines[0] == "\t".join(["Order-ID", "ship-date", "carrier-code", *RESULT_COLUMNS]) + "\n"
    assert lines[1] == "902-1\t2026-03-02\tUPS\t3\tCONFIRMED\t\t\t\t\n"
    assert lines[2] == "902-1\t'=1\tUPS\t4\tREFUSED\t\turn:x\tno: ship-date bad\t\n"


def test_a_json_entry_as_lines_says_the_same() -> None:
    entry = {
        "orderId": "902-1", "carrierCode": "Other", "carrierName": "Bike", "trackingNumber": "1Z9",
        "shipDate": "2026-03-02T12:00:00Z", "shipFromAddress": {"city": "Seattle"},
        "overrideCancellationRequest": True,
        "orderItems": [
            {"orderItemId": "1", "quantity": 2, "transparencyCodes": ["AZ1", "AZ2"]},
            {"orderItemId": "2", "quantity": 1},
        ],
    }  # fmt: skip
    (sent,) = read_json_batch(json.dumps({"shipmentConfirmations": [entry]}).encode())
    lines = "".join(result_lines(None, [worked(1, entry)]))
    rows = rows_of(lines)
    (one,) = packages_of([BatchRow(row.row_number, confirmed(row)) for row in rows])

    assert len(rows) == 2
    assert one.confirmation == confirmed(sent)
    assert list(result_lines(None, [worked(1, 7), worked(2, {"orderItems": 3})]))[1:] == [
        "\t" * len(COLUMNS) + f"{number}\tCONFIRMED\t\t\t\t\n" for number in (1, 2)
    ]


@pytest.mark.skipif(not Path(SHARED / "data/olist/confirmations.tsv").exists(), reason="the real orders are not here")
def test_real_confirmations_are_read() -> None:
    rows = rows_of((SHARED / "data/olist/confirmations.tsv").read_bytes())

    assert len(rows) > 1000
    assert [row.problem for row in rows if row.problem] == []
    assert all(row.seller_id for row in rows)

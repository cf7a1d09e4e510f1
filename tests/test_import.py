from __future__ import annotations

import io
import itertools
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import datetime
from typing import Any, BinaryIO

import orjson
import psycopg
import pytest

from service.database import Database
from service.errors import Contended, Problem
from service.ingest import jobs
from service.ingest.actions import receive_orders
from service.ingest.jobs import ImportSummary, Refusal, import_orders
from service.ingest.rules import Outcome
from service.ingest.schemas import read_line
from service.sellers.queries import insert_missing_sellers
from tests.conftest import NOW, SELLER, SHARED, order_document

NOTHING_ORDERED: list[dict[str, Any]] = [{"orderItemId": "1", "quantityOrdered": 0, "product": {}}]
OLIST = SHARED / "data" / "olist" / "orders.ndjson"


@pytest.fixture(autouse=True)
def at_now(set_clock: Callable[[datetime | str], datetime]) -> None:
    set_clock(NOW)


def line(**changes: object) -> bytes:
    return orjson.dumps(order_document(**({"sellerId": SELLER} | changes))) + b"\n"


class Generated(io.RawIOBase):
    """A file that is made while it is read."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts, self._rest = parts, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        part = self._rest or next(self._parts, b"")
        size = min(len(part), len(buffer))
        buffer[:size], self._rest = part[:size], part[size:]
        return size


def generated(parts: Iterator[bytes]) -> BinaryIO:
    return io.BufferedReader(Generated(parts))


class Import:
    """Runs imports into a database, and keeps what they reported."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.refusals: list[Refusal] = []
        self.progress: list[int] = []
        self.on_progress: Callable[[int], None] = self.progress.append

    def __call__(
        self, source: bytes | BinaryIO, *, creates_sellers: bool = False, batch_size: int = 500
    ) -> ImportSummary:
        return import_orders(
            self.database,
            io.BytesIO(source) if isinstance(source, bytes) else source,
            read_line,
            actor="test",
            create_missing_sellers=insert_missing_sellers if creates_sellers else None,
            on_refusal=self.refusals.append,
            on_progress=self.on_progress,
            batch_size=batch_size,
        )

    def refused(self) -> list[tuple[int, str, str | None]]:
        """Return line, cause and first place of what was refused."""
        return [
            (refusal.line_number, refusal.problem.code, refusal.problem.errors[0].pointer) for refusal in self.refusals
        ]


@pytest.fixture
def run_import(database: Database) -> Import:
    return Import(database)


def count(owner: psycopg.Connection, query: str = "SELECT count(*) FROM orders") -> int:
    row = owner.execute(query.encode()).fetchone()
    return row[0] if row else 0


def test_orders_are_imported_a_line_each_and_again_without_effect(
    run_import: Import, owner: psycopg.Connection
) -> None:
    source = b"".join(line() for _ in range(7))
    assert run_import(source, batch_size=3) == ImportSummary(lines=7, created=7)
    assert run_import(source, batch_size=2) == ImportSummary(lines=7, unchanged=7)
    assert count(owner) == count(owner, "SELECT count(*) FROM order_events") == 7
    assert count(owner, "SELECT sum(quantity_ordered) FROM order_items") == 21


def test_progress_adds_up_to_the_size_of_the_file(run_import: Import) -> None:
    source = line() + b"\n" + line() + b"x" * 3_000_000 + b"\n" + line()
    run_import(source, batch_size=2)
    assert sum(run_import.progress) == len(source)
    assert len(run_import.progress) > 1


def test_each_bad_line_is_reported_with_its_number_and_place_and_the_good_ones_go_in(
    run_import: Import, owner: psycopg.Connection
) -> None:
    source = b"".join(
        [
            line(),
            b"{not json\n",
            b"\n",
            line(salesChannel__marketplaceId="A1NOWHERE"),
            b"[]\n",
            line(orderItems=NOTHING_ORDERED),
            line(sellerId=None),
            line(fulfillment__fulfillmentStatus="LOST"),
            line(sellerId="NOBODY"),
            b"\xff\xfe\n",
            line(surprise=1),
            line(),
        ]
    )
    # Refusals of one batch come in the order of their lines, whether reading or storing refuses them.
    assert run_import(source) == ImportSummary(lines=11, created=2, refused=9)
    assert run_import.refused() == [
        (2, "malformed-request", ""),
        (4, "unknown-marketplace", "/salesChannel/marketplaceId"),
        (5, "invalid-request", ""),
        (6, "contradictory-order", "/orderItems"),
        (7, "invalid-request", "/sellerId"),
        (8, "invalid-request", "/fulfillment/fulfillmentStatus"),
        (9, "seller-not-found", "/sellerId"),
        (10, "malformed-request", ""),
        (11, "invalid-request", "/surprise"),
    ]
    assert count(owner) == 2


@pytest.mark.parametrize(
    "pattern",
    [b"%b\n%b\n", b"%b\n%b", b"\xef\xbb\xbf%b\n%b\n", b"\n  \n\r\n%b\r\n%b\r\n\n"],
    ids=["plain", "no last newline", "byte order mark", "blank lines and CRLF"],
)
def test_a_file_may_be_written_in_the_ways_that_tools_write_files(run_import: Import, pattern: bytes) -> None:
    assert run_import(pattern % (line().strip(), line().strip())) == ImportSummary(lines=2, created=2)


@pytest.mark.parametrize("source", [b"", b"\n", b"\xef\xbb\xbf", b"  \n \n"])
def test_a_file_without_orders_is_no_error(run_import: Import, source: bytes) -> None:
    assert run_import(source) == ImportSummary()


@pytest.mark.parametrize(("excess", "refused"), [(0, 0), (1, 1)])
@pytest.mark.parametrize("newline", [b"\n", b""])
def test_a_line_of_up_to_a_mebibyte_is_read_and_a_longer_one_is_refused(
    run_import: Import, excess: int, refused: int, newline: bytes
) -> None:
    long = line().rstrip()
    long += b" " * (jobs.MAX_LINE_BYTES - len(long) + excess) + newline
    assert run_import(line() + long) == ImportSummary(lines=2, created=2 - refused, refused=refused)
    assert run_import.refused() == [(2, "request-too-large", "")][:refused]


def test_an_endless_line_is_skipped_without_being_held(run_import: Import) -> None:
    parts = itertools.chain([line()], itertools.repeat(b"x" * 65_536, 1024), [b"\n", line()])
    tracemalloc.start()
    try:
        # `stream.readline()` without a limit holds all of it.
        summary = run_import(generated(parts))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert summary == ImportSummary(lines=3, created=2, refused=1)
    assert peak < 8 * jobs.MAX_LINE_BYTES


def test_a_batch_of_long_lines_ends_before_its_size_matters(run_import: Import) -> None:
    lines = [line().rstrip().ljust(jobs.MAX_LINE_BYTES) + b"\n" for _ in range(20)]
    assert run_import(generated(iter(lines))) == ImportSummary(lines=20, created=20)
    assert max(run_import.progress) <= jobs.MAX_BATCH_BYTES + jobs.MAX_LINE_BYTES + 1


def test_versions_of_one_order_are_taken_one_after_the_other(run_import: Import, owner: psycopg.Connection) -> None:
    document = order_document(sellerId=SELLER, fulfillment__fulfillmentStatus="PENDING")
    unshipped = document | {"fulfillment": document["fulfillment"] | {"fulfillmentStatus": "UNSHIPPED"}}
    moved = unshipped | {"buyer": {"buyerName": "Grace"}}
    versions = [document, unshipped, unshipped, moved, document]
    source = b"".join(orjson.dumps(version) + b"\n" + line() for version in versions)
    # Without a new batch at a key that is there already, receive_orders would drop all but the last version.
    assert run_import(source) == ImportSummary(lines=10, created=6, updated=2, unchanged=1, refused=1)
    assert run_import.refused() == [(9, "order-conflict", "/fulfillment/fulfillmentStatus")]
    assert count(owner, "SELECT max(version) FROM orders") == 3


def test_unknown_sellers_are_created_on_request_for_orders_that_are_taken(
    run_import: Import, owner: psycopg.Connection
) -> None:
    source = line(sellerId="NEW-1") + line(sellerId="NEW-2", proceeds=None) + line(sellerId="NEW-1") + line()
    assert run_import(source) == ImportSummary(lines=4, created=1, refused=3)
    assert {code for _, code, _ in run_import.refused()} == {"seller-not-found", "contradictory-order"}
    assert run_import(source, creates_sellers=True) == ImportSummary(lines=4, created=2, unchanged=1, refused=1)
    assert owner.execute("SELECT seller_id FROM sellers WHERE seller_id LIKE 'NEW%'").fetchall() == [("NEW-1",)]


class CrashError(Exception):
    """What stops an import halfway."""


def test_an_import_that_is_stopped_between_batches_is_finished_by_running_it_again(
    run_import: Import, owner: psycopg.Connection
) -> None:
    source = b"".join(line() for _ in range(10))

    def crash(size: int) -> None:
        run_import.progress.append(size)
        if len(run_import.progress) == 2:
            raise CrashError

    run_import.on_progress = crash
    with pytest.raises(CrashError):
        run_import(source, batch_size=3)
    assert count(owner) == 6
    assert run_import(source, batch_size=3) == ImportSummary(lines=10, created=4, unchanged=6)
    assert count(owner) == count(owner, "SELECT count(*) FROM order_events") == 10


def test_a_batch_that_fails_leaves_nothing_and_is_not_reported(
    run_import: Import, owner: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = b"".join(line() for _ in range(4)) + line(proceeds=None) + line(sellerId="NEW-1") + line()
    taken, receive = list[int](), jobs.receive_orders

    def fail_late(*args: Any) -> Any:
        results = receive(*args)
        taken.append(len(results))
        if len(taken) == 2:
            raise CrashError
        return results

    with monkeypatch.context() as patch:
        patch.setattr(jobs, "receive_orders", fail_late)
        with pytest.raises(CrashError):
            run_import(source, creates_sellers=True, batch_size=4)
    # The second batch was written, and must be gone with its sellers: each of its own transactions would remain.
    assert (taken, count(owner), run_import.refusals) == ([4, 3], 4, [])
    assert count(owner, "SELECT count(*) FROM sellers WHERE seller_id = 'NEW-1'") == 0
    assert run_import(source, creates_sellers=True) == ImportSummary(lines=7, created=2, unchanged=4, refused=1)


@pytest.mark.parametrize("times_held_up", [jobs.TRIES - 1, jobs.TRIES])
def test_a_batch_that_others_hold_up_is_tried_again_some_times(
    times_held_up: int, run_import: Import, owner: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    held_up = iter([True] * times_held_up)

    def receive(*arguments: Any) -> list[Outcome | Problem]:
        received = receive_orders(*arguments)
        if next(held_up, False):
            raise Contended("an order is locked")
        return received

    monkeypatch.setattr(jobs, "receive_orders", receive)
    with nullcontext() if times_held_up < jobs.TRIES else pytest.raises(Contended):
        run_import(line() + line())
    assert count(owner) == (2 if times_held_up < jobs.TRIES else 0)


def test_two_imports_of_one_file_at_once_add_everything_once(database: Database, owner: psycopg.Connection) -> None:
    lines = [line(sellerId=f"NEW-{number % 5}") for number in range(200)]
    sources = [b"".join(lines), b"".join(reversed(lines))]

    def work(source: bytes) -> ImportSummary:
        return Import(database)(source, creates_sellers=True, batch_size=20)

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(work, sources)
    assert first.created + second.created == 200 == count(owner)
    assert first.unchanged + second.unchanged == 200


def test_memory_does_not_grow_with_the_file(run_import: Import, owner: psycopg.Connection) -> None:
    def peak_of(number: int) -> int:
        tracemalloc.reset_peak()
        summary = run_import(generated(line() for _ in range(number)), batch_size=200)
        assert summary == ImportSummary(lines=number, created=number)
        return tracemalloc.get_traced_memory()[1]

    run_import(line())
    tracemalloc.start()
    try:
        small, large = peak_of(1_000), peak_of(10_000)
    finally:
        tracemalloc.stop()
    # Keeping a result or a key of every line adds several megabytes.
    assert large < small + 500_000
    assert count(owner) == 11_001


@pytest.mark.skipif(not OLIST.exists(), reason="the real orders of ../shared/data/olist are not here")
def test_the_real_orders_of_a_marketplace_are_imported(run_import: Import, owner: psycopg.Connection) -> None:
    with OLIST.open("rb") as stream:
        lines = sum(1 for _ in stream)
        stream.seek(0)
        assert run_import(stream, creates_sellers=True) == ImportSummary(lines=lines, created=lines)
        stream.seek(0)
        assert run_import(stream) == ImportSummary(lines=lines, unchanged=lines)
        stream.seek(0)
        totals = Counter(orjson.loads(each)["proceeds"]["grandTotal"]["amount"] for each in stream)
    rows = owner.execute("SELECT grand_total::text FROM orders").fetchall()
    assert Counter(row[0] for row in rows) == totals

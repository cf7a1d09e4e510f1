"""A payment service over HTTP with a ledger, which does what it is told wrong."""

from __future__ import annotations

import socket
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

import flask
import orjson
import pytest
import stamina

from service.database import Database
from service.ingest.actions import receive_orders
from service.ingest.rules import Outcome
from service.ingest.schemas import read_line
from service.payments.client import PaymentClient
from service.payments.jobs import work_payments
from service.sandbox.actions import move_clock
from service.settings import Settings
from service.shipments.actions import confirm_shipment
from service.shipments.rules import ConfirmedItem, ShipmentConfirmation
from tests.conftest import NOW, SELLER, order_document


class Fault(StrEnum):
    """What happens to a request."""

    NONE = "NONE"
    DECLINE = "DECLINE"
    PENDING = "PENDING"  # decided when it is asked for again: see `decide_later`
    LOSE = "LOSE"  # hangs up, and has done nothing
    HANG_UP = "HANG_UP"  # hangs up, and has done it
    CUT = "CUT"  # the answer ends in the middle
    TWICE = "TWICE"  # the answer comes twice
    TWICE_LATE = "TWICE_LATE"  # the second time before the answer to the next request of the connection
    GARBAGE = "GARBAGE"
    ERROR = "ERROR"  # 500, and has done it
    SLOW = "SLOW"  # no answer before `release` is set


CAPTURED = set(Fault) - {Fault.DECLINE, Fault.PENDING, Fault.LOSE}


@dataclass(slots=True)
class PaymentServer:
    """What the service was asked for, and what it did."""

    # One that forgets makes again what comes again under the same key, which it may not: only a look-up prevents it.
    forgets: bool = False
    faults: defaultdict[str, deque[Fault]] = field(default_factory=lambda: defaultdict(deque[Fault]))
    decide_later: str = "SUCCEEDED"
    statuses: dict[str, str] = field(default_factory=dict[str, str])
    bodies: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    captures: list[tuple[str, dict[str, Any]]] = field(default_factory=list[tuple[str, dict[str, Any]]])
    requests: list[tuple[str, str, str | None]] = field(default_factory=list[tuple[str, str, str | None]])
    release: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    port: int = 0
    server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        """Return where it is."""
        return f"http://127.0.0.1:{self.port}/pay"

    def start(self) -> None:
        """Listen, where it did before."""
        service = self

        class Handler(_Handler):
            payments = service

        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, args=(0.01,)).start()

    def stop(self) -> None:
        """Listen no more: who comes is refused."""
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()
            self.server = None

    def captured(self) -> Counter[str]:
        """Return how often something was charged or refunded, by order."""
        return Counter(body["orderId"] for _, body in self.captures)

    def post(self, key: str, body: dict[str, Any]) -> Fault:
        """Work a request as the next fault of its order says."""
        with self.lock:
            if key in self.statuses and not self.forgets:
                return Fault.NONE
            faults = self.faults[body["orderId"]]
            fault = faults.popleft() if faults else Fault.NONE
            if fault in CAPTURED:
                self.captures.append((key, body))
            self.bodies[key] = body
            if fault is not Fault.LOSE:
                self.statuses[key] = {Fault.DECLINE: "DECLINED", Fault.PENDING: "PENDING"}.get(fault, "SUCCEEDED")
            return fault

    def get(self, key: str) -> dict[str, Any] | None:
        """Return what became of a request. What was pending is decided by now."""
        with self.lock:
            if self.statuses.get(key) == "PENDING":
                self.statuses[key] = self.decide_later
                if self.decide_later == "SUCCEEDED":
                    self.captures.append((key, self.bodies[key]))
            return self.answer(key) if key in self.statuses else None

    def answer(self, key: str) -> dict[str, Any]:
        """Return the answer about a key as it stands."""
        status = self.statuses[key]
        reason = {"declineReason": "insufficient funds"} if status == "DECLINED" else {}
        return {"idempotencyKey": key, "status": status, "reference": f"ref-{key}"} | reason


class _Handler(BaseHTTPRequestHandler):
    """What a connection is answered, which is kept while the caller keeps it."""

    protocol_version = "HTTP/1.1"
    payments: PaymentServer
    late = b""

    def do_POST(self) -> None:
        self.tell_late()
        body = orjson.loads(self.rfile.read(int(self.headers["Content-Length"])))
        key = self.headers["Idempotency-Key"]
        self.payments.requests.append(("POST", self.path, self.headers["Authorization"]))
        fault = self.payments.post(key, body)
        if fault is Fault.SLOW:
            self.payments.release.wait(10)
        if fault in {Fault.LOSE, Fault.HANG_UP, Fault.SLOW}:
            with suppress(OSError):  # the caller was faster
                self.connection.shutdown(socket.SHUT_RDWR)
            return
        if fault is Fault.ERROR:
            self.tell(500, b'{"status": "SUCCEEDED"}')
            return
        answer = orjson.dumps(self.payments.answer(key))
        self.tell(201, b"<html>" if fault is Fault.GARBAGE else answer, missing=5 if fault is Fault.CUT else 0)
        self.close_connection = fault is Fault.CUT
        if fault is Fault.TWICE:
            self.tell(201, answer)
        if fault is Fault.TWICE_LATE:
            self.late = answer

    def do_GET(self) -> None:
        self.tell_late()
        self.payments.requests.append(("GET", self.path, self.headers["Authorization"]))
        answer = self.payments.get(unquote(self.path.rpartition("/")[2]))
        self.tell(404 if answer is None else 200, orjson.dumps(answer))

    def tell_late(self) -> None:
        if self.late:
            self.tell(201, self.late)
            self.late = b""

    def tell(self, status: int, content: bytes, *, missing: int = 0) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) - missing])

    def log_message(self, *_: object) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]  # says nothing
        pass


@contextmanager
def running_service(*, forgets: bool = False) -> Generator[PaymentServer]:
    """Run a payment service."""
    server = PaymentServer(forgets=forgets)
    server.start()
    try:
        yield server
    finally:
        server.release.set()
        server.stop()


@contextmanager
def calling(server: PaymentServer, timeout_ms: int = 2000) -> Generator[PaymentClient]:
    """Return a client of it, which does not pause before it tries again."""
    settings = Settings(
        payment_service_url=server.url,
        payment_service_token="secret",  # noqa: S106  # of this test
        payment_timeout_ms=timeout_ms,
    )
    with stamina.set_testing(True, attempts=2):
        yield PaymentClient(settings)


def configure(app: flask.Flask, server: PaymentServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the API know of the service, until the end of the test."""
    context = app.extensions["manage-orders"]
    settings = replace(context.settings, payment_service_url=server.url)
    monkeypatch.setitem(app.extensions, "manage-orders", replace(context, settings=settings))


def sell(database: Database, count: int = 1, **changes: Any) -> list[str]:
    """Return new orders of the first seller, received at `NOW`."""
    move_clock(database, NOW)
    documents = [order_document(**changes) | {"sellerId": SELLER} for _ in range(count)]
    incoming = [read_line(orjson.dumps(document)) for document in documents]
    with database.operator_transaction() as connection:
        assert set(receive_orders(connection, incoming, "test")) == {Outcome.CREATED}
    return [order.order_id for order in incoming]


def confirm(
    database: Database, order_id: str, reference: str = "1", quantity: int = 1, *, settled_outside: bool = False
) -> None:
    """Confirm units of the first item, as a seller whose buyers a payment service charges."""
    confirmation = ShipmentConfirmation(
        package_reference_id=reference,
        carrier_code="UPS",
        carrier_name=None,
        shipping_method=None,
        tracking_number=None,
        ship_date=NOW,
        items=[ConfirmedItem("1", quantity)],
    )
    confirm_shipment(database, SELLER, order_id, confirmation, "token:test", settled_outside=settled_outside)


def work(database: Database, client: PaymentClient) -> int:
    """Work until nothing is due, and return how many payments were tried."""
    tried = 0
    while now := work_payments(database, client):
        tried += now
    return tried

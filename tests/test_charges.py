"""A charge is made once, whatever the payment service does and wherever the worker dies (R10).

The services here forget: what comes again under one key they make again. So a look-up that is left out shows as two
captures in the ledger. The mutants at the end take the guards away, one by one, and must be caught.
"""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from typing import Any

import flask
import httpx
import orjson
import psycopg
import pytest
import stamina
from structlog.testing import CapturedCall, CapturingLogger

from service.database import Database
from service.payments import actions, jobs, queries
from service.payments.actions import make_payment, record_answer
from service.payments.client import MAX_ANSWER_BYTES, PaymentClient
from service.payments.jobs import work_payments
from service.payments.queries import DuePayment, claim_payment
from service.payments.rules import Answer, Claim, PaymentRequest, Verdict
from service.sandbox.actions import move_clock
from service.settings import Settings, SettingsError
from tests.conftest import NOW, OTHER_SELLER, SELLER, ApiClient
from tests.payment_service import Fault, PaymentServer, calling, configure, confirm, running_service, sell, work

DAY = timedelta(days=1)
LATER = NOW + timedelta(hours=1)


@pytest.fixture
def service() -> Iterator[PaymentServer]:
    with running_service(forgets=True) as server:
        yield server


@pytest.fixture
def client(service: PaymentServer) -> Iterator[PaymentClient]:
    with calling(service) as client:
        yield client


def charge(owner: psycopg.Connection, order_id: str) -> tuple[Any, ...]:
    """Return how the charge of an order stands: its status, its declines, and whether it is to be tried."""
    row = owner.execute(
        """
        SELECT charge_status, decline_count, next_attempt_time IS NOT NULL FROM charges WHERE order_id = %s
        """,
        [order_id],
    ).fetchone()
    assert row
    return row


def events(owner: psycopg.Connection, order_id: str) -> list[str]:
    rows = owner.execute("SELECT event_type FROM order_events WHERE order_id = %s ORDER BY version", [order_id])
    return [row[0] for row in rows][2:]  # behind its receipt and its confirmation


def due(order_id: str) -> DuePayment:
    return DuePayment(SELLER, order_id, None)


def claim(database: Database, client: PaymentClient, order_id: str) -> Claim:
    """Claim a charge, as a worker does that dies then."""
    with database.seller_transaction(SELLER) as connection:
        claimed = claim_payment(connection, due(order_id), client.lease)
    assert claimed
    return claimed


def confirmed(database: Database, count: int = 1) -> list[str]:
    order_ids = sell(database, count)
    for order_id in order_ids:
        confirm(database, order_id)
    return order_ids


def test_a_process_that_was_told_of_no_payment_service_does_not_settle_outside_what_one_charges(
    database: Database, owner: psycopg.Connection, client: PaymentClient, service: PaymentServer
) -> None:
    # Broken by a command without PAYMENT_SERVICE_URL beside a scheduler with it: the buyer would never be charged.
    (order_id,) = sell(database)
    jobs.note_payment_service(database)
    jobs.note_payment_service(database)
    confirm(database, order_id, settled_outside=True)

    assert charge(owner, order_id) == ("REQUESTED", 0, True)
    work(database, client)
    assert (charge(owner, order_id)[0], len(service.captures)) == ("SUCCEEDED", 1)


def test_a_confirmation_is_committed_first_and_charged_by_the_worker_then(
    database: Database, service: PaymentServer, client: PaymentClient, seller: ApiClient, owner: psycopg.Connection
) -> None:
    (order_id,) = confirmed(database)
    payment = seller.get(f"/v1/orders/{order_id}").get_json()["payment"]
    assert payment["paymentStatus"] == "CHARGED"
    assert payment["charge"]["chargeStatus"] == "REQUESTED"
    assert "chargedTime" not in payment["charge"]
    assert not service.captures
    assert work(database, client) == 1
    order = seller.get(f"/v1/orders/{order_id}").get_json()
    assert order["payment"]["charge"]["chargeStatus"] == "SUCCEEDED"
    assert order["payment"]["charge"]["chargedTime"] == order["lastUpdatedTime"]
    amount = {"amount": "50.00", "currencyCode": "USD"}
    body = {"sellerId": SELLER, "orderId": order_id, "amount": amount}
    assert service.captures == [(f"charge:{SELLER}:{order_id}:1", body)]
    assert service.requests == [("POST", "/pay/charges", "Bearer secret")]
    assert owner.execute(
        """
        SELECT event_type, actor, details, version FROM order_events WHERE order_id = %s ORDER BY version DESC LIMIT 1
        """,
        [order_id],
    ).fetchone() == (
        "CHARGE_SUCCEEDED",
        "payments",
        {"amount": amount, "chargeStatus": {"was": "REQUESTED", "is": "SUCCEEDED"}},
        order["version"],
    )
    # Nothing is left to do, at any time.
    move_clock(database, NOW + 30 * DAY)
    assert work(database, client) == 0


def test_an_answer_that_decides_nothing_is_looked_up_and_the_charge_made_once(
    database: Database, service: PaymentServer, client: PaymentClient, owner: psycopg.Connection
) -> None:
    faults = [Fault.HANG_UP, Fault.CUT, Fault.GARBAGE, Fault.ERROR, Fault.PENDING, Fault.LOSE]
    order_ids = confirmed(database, len(faults))
    for order_id, fault in zip(order_ids, faults, strict=True):
        service.faults[order_id].append(fault)
    work(database, client)
    assert [charge(owner, order_id) for order_id in order_ids] == [("UNKNOWN", 0, True)] * len(faults)
    move_clock(database, LATER)
    work(database, client)
    assert [charge(owner, order_id) for order_id in order_ids] == [("SUCCEEDED", 0, False)] * len(faults)
    # A worker that sends without looking up first captures twice, but for what was lost or pending.
    assert service.captured() == dict.fromkeys(order_ids, 1)
    for order_id in order_ids:
        assert events(owner, order_id) == ["CHARGE_UNKNOWN", "CHARGE_SUCCEEDED"]


def test_a_service_that_answers_too_late_is_looked_up_and_charges_once(
    database: Database, service: PaymentServer, owner: psycopg.Connection
) -> None:
    (order_id,) = confirmed(database)
    service.faults[order_id].append(Fault.SLOW)
    with calling(service, timeout_ms=300) as impatient:
        work(database, impatient)
    assert charge(owner, order_id) == ("UNKNOWN", 0, True)
    move_clock(database, LATER)
    with calling(service) as client:
        work(database, client)
    assert charge(owner, order_id) == ("SUCCEEDED", 0, False)
    assert service.captured() == {order_id: 1}


def test_an_answer_that_comes_twice_counts_once(
    database: Database, service: PaymentServer, client: PaymentClient, owner: psycopg.Connection
) -> None:
    (order_id,) = confirmed(database)
    service.faults[order_id].append(Fault.TWICE)
    work(database, client)
    assert charge(owner, order_id) == ("SUCCEEDED", 0, False)
    assert service.captured() == {order_id: 1}


def test_an_answer_that_comes_again_after_the_next_request_is_not_taken_for_its_answer(
    database: Database, service: PaymentServer, client: PaymentClient, owner: psycopg.Connection
) -> None:
    # On a connection that is kept it would be, but for the key, by which it decides nothing: UNKNOWN.
    first, second = confirmed(database, 2)
    service.faults[first].append(Fault.TWICE_LATE)
    service.faults[second].append(Fault.DECLINE)
    work(database, client)
    assert charge(owner, first) == ("SUCCEEDED", 0, False)
    assert charge(owner, second) == ("DECLINED", 1, True)


def test_unknown_is_told_once_however_often_the_look_up_decides_nothing(
    database: Database, service: PaymentServer, client: PaymentClient, owner: psycopg.Connection
) -> None:
    (order_id,) = confirmed(database)
    service.faults[order_id].append(Fault.PENDING)
    service.decide_later = "PENDING"
    for minutes in range(5, 60, 10):
        move_clock(database, NOW + timedelta(minutes=minutes))
        assert work(database, client) == 1
    assert charge(owner, order_id) == ("UNKNOWN", 0, True)
    assert events(owner, order_id) == ["CHARGE_UNKNOWN"]


def test_a_late_decline_leaves_the_order_shipped_warns_and_is_retried_after_an_hour_with_another_key(
    database: Database, service: PaymentServer, client: PaymentClient, seller: ApiClient, owner: psycopg.Connection
) -> None:
    (order_id,) = confirmed(database)
    service.faults[order_id].append(Fault.PENDING)
    work(database, client)
    for minutes, decision in ((10, "PENDING"), (20, "DECLINED")):
        service.decide_later = decision
        move_clock(database, NOW + timedelta(minutes=minutes))
        work(database, client)
    order = seller.get(f"/v1/orders/{order_id}").get_json()
    assert order["fulfillment"]["fulfillmentStatus"] == "PARTIALLY_SHIPPED"
    assert order["payment"]["charge"]["declineReason"] == "insufficient funds"
    warning = order["warnings"][0]
    assert (warning["code"], warning["since"]) == ("CHARGE_DECLINED", order["lastUpdatedTime"])
    assert not service.captures
    move_clock(database, NOW + timedelta(minutes=79))
    assert work(database, client) == 0
    move_clock(database, NOW + timedelta(minutes=81))
    assert work(database, client) == 1
    order = seller.get(f"/v1/orders/{order_id}").get_json()
    assert order["payment"]["charge"]["chargeStatus"] == "SUCCEEDED"
    assert "declineReason" not in order["payment"]["charge"]
    assert "warnings" not in order
    assert [key for key, _ in service.captures] == [f"charge:{SELLER}:{order_id}:2"]
    assert events(owner, order_id) == ["CHARGE_UNKNOWN", "CHARGE_DECLINED", "CHARGE_SUCCEEDED"]


def test_a_charge_that_is_always_declined_is_tried_five_times_more_on_schedule_and_then_left(
    database: Database, service: PaymentServer, client: PaymentClient, owner: psycopg.Connection
) -> None:
    (order_id,) = confirmed(database)
    service.faults[order_id].extend([Fault.DECLINE] * 6)
    assert work(database, client) == 1
    instant = NOW
    for hours in (1, 6, 24, 72, 168):
        instant += timedelta(hours=hours)
        move_clock(database, instant - timedelta(minutes=1))
        assert work(database, client) == 0
        move_clock(database, instant + timedelta(minutes=1))
        instant += timedelta(minutes=1)
        assert work(database, client) == 1
    assert charge(owner, order_id) == ("DECLINED", 6, False)
    move_clock(database, instant + 100 * DAY)
    assert work(database, client) == 0
    assert not service.captures
    assert len(service.statuses) == 6, "each attempt after a decline has a key of its own"
    assert events(owner, order_id) == ["CHARGE_DECLINED"] * 6


def test_a_service_that_is_down_for_an_hour_charges_each_order_once_when_it_is_back(
    database: Database, service: PaymentServer, client: PaymentClient, owner: psycopg.Connection
) -> None:
    while_down = sell(database, 3)
    before = confirmed(database, 3)
    service.faults[before[0]].append(Fault.HANG_UP)
    work(database, client)
    service.stop()
    for order_id in while_down:
        confirm(database, order_id)
    for minutes in range(0, 60, 10):
        move_clock(database, NOW + timedelta(minutes=minutes))
        work(database, client)
    # Nothing was sent, so that nothing is unknown but what was before.
    assert charge(owner, before[0]) == ("UNKNOWN", 0, True)
    assert [charge(owner, order_id) for order_id in while_down] == [("REQUESTED", 0, True)] * 3
    assert [events(owner, order_id) for order_id in while_down] == [[]] * 3
    service.start()
    move_clock(database, LATER + timedelta(minutes=6))
    assert work(database, client) == 4
    assert owner.execute("SELECT charge_status, count(*) FROM charges GROUP BY 1").fetchall() == [("SUCCEEDED", 6)]
    assert service.captured() == dict.fromkeys([*before, *while_down], 1)


# --- Where the worker dies -----------------------------------------------------------------------------------------


def test_a_worker_that_dies_before_it_sends_is_followed_by_one_that_does(
    database: Database, service: PaymentServer, client: PaymentClient, owner: psycopg.Connection
) -> None:
    (order_id,) = confirmed(database)
    claim(database, client, order_id)
    assert work(database, client) == 0, "the lease keeps others away"
    move_clock(database, NOW + client.lease + timedelta(seconds=5))
    assert work(database, client) == 1
    assert charge(owner, order_id) == ("SUCCEEDED", 0, False)
    assert service.captured() == {order_id: 1}


def test_a_worker_that_dies_after_it_has_charged_is_followed_by_one_that_looks_it_up(
    database: Database, service: PaymentServer, client: PaymentClient, owner: psycopg.Connection
) -> None:
    (order_id,) = confirmed(database)
    client.send(claim(database, client, order_id).request)
    move_clock(database, LATER)
    work(database, client)
    assert charge(owner, order_id) == ("SUCCEEDED", 0, False)
    assert service.captured() == {order_id: 1}


def test_a_worker_that_dies_in_a_retry_of_a_decline_is_followed_by_one_that_looks_it_up(
    database: Database, service: PaymentServer, client: PaymentClient, owner: psycopg.Connection
) -> None:
    (order_id,) = confirmed(database)
    service.faults[order_id].append(Fault.DECLINE)
    work(database, client)
    move_clock(database, NOW + DAY)
    client.send(claim(database, client, order_id).request)
    assert charge(owner, order_id)[0] == "DECLINED"
    move_clock(database, NOW + 2 * DAY)
    work(database, client)
    assert charge(owner, order_id) == ("SUCCEEDED", 1, False)
    assert service.captured() == {order_id: 1}


def test_a_retry_that_is_not_sent_leaves_the_decline_as_it_was(
    database: Database, service: PaymentServer, client: PaymentClient, seller: ApiClient
) -> None:
    (order_id,) = confirmed(database)
    service.faults[order_id].append(Fault.DECLINE)
    work(database, client)
    declined = seller.get(f"/v1/orders/{order_id}").get_json()
    service.stop()
    move_clock(database, NOW + timedelta(hours=2))
    assert work(database, client) == 1
    assert seller.get(f"/v1/orders/{order_id}").get_json() == declined


def test_an_answer_is_recorded_once(
    database: Database, service: PaymentServer, client: PaymentClient, owner: psycopg.Connection
) -> None:
    (order_id,) = confirmed(database)
    service.faults[order_id].append(Fault.DECLINE)
    claimed = claim(database, client, order_id)
    answer = client.send(claimed.request)
    for _ in range(2):
        record_answer(database, claimed, answer)
    # The decline moved the charge to its next key, which a late word about the first does not touch.
    record_answer(database, claimed, Answer(Verdict.UNDECIDED))
    assert charge(owner, order_id) == ("DECLINED", 1, True)
    assert events(owner, order_id) == ["CHARGE_DECLINED"]


def test_many_workers_at_once_charge_each_order_once(
    database: Database, service: PaymentServer, client: PaymentClient, owner: psycopg.Connection
) -> None:
    order_ids, together = confirmed(database, 12), threading.Barrier(4)

    def worker() -> int:
        together.wait()
        return work_payments(database, client)

    with ThreadPoolExecutor(4) as pool:
        tried = sum(each.result() for each in [pool.submit(worker) for _ in range(4)])
    assert tried == 12
    assert service.captured() == dict.fromkeys(order_ids, 1)
    assert owner.execute("SELECT DISTINCT charge_status FROM charges").fetchall() == [("SUCCEEDED",)]


def test_a_payment_that_fails_keeps_no_other_waiting_and_a_worker_that_is_to_stop_begins_none(
    database: Database, service: PaymentServer, client: PaymentClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = sorted(confirmed(database, 2))
    assert work_payments(database, client, lambda: True) == 0
    send = client.send

    def fail(request: PaymentRequest) -> Answer:
        if first in request.key:
            raise ZeroDivisionError
        return send(request)

    monkeypatch.setattr(client, "send", fail)
    assert work_payments(database, client) == 1
    assert service.captured() == {second: 1}


def test_a_round_ends_after_some_seconds_and_the_next_one_has_the_rest(
    database: Database, service: PaymentServer, client: PaymentClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Four seconds a payment: the third begins at the limit, the fourth after it.
    instants = itertools.count(0, 4)
    monkeypatch.setattr(jobs, "monotonic", lambda: next(instants))
    order_ids = confirmed(database, 4)
    assert [work_payments(database, client) for _ in range(3)] == [2, 2, 0]
    assert service.captured() == dict.fromkeys(order_ids, 1)


@pytest.mark.parametrize("fault", [Fault.HANG_UP, Fault.ERROR, Fault.PENDING])
def test_a_round_ends_early_when_a_service_does_not_answer_but_not_when_it_takes_its_time(
    fault: Fault, database: Database, service: PaymentServer, client: PaymentClient
) -> None:
    order_ids = confirmed(database, jobs.MAX_SILENCES + 2)
    for order_id in order_ids[1:]:
        service.faults[order_id].append(fault)
    tried = work_payments(database, client)
    assert tried == (len(order_ids) if fault is Fault.PENDING else jobs.MAX_SILENCES + 1)
    # Those that have not had their turn come before those that are asked about again.
    assert tried + work_payments(database, client) == len(order_ids)


def test_an_answer_in_between_lets_a_round_go_on(
    database: Database, service: PaymentServer, client: PaymentClient
) -> None:
    order_ids = confirmed(database, 2 * jobs.MAX_SILENCES)
    for number, order_id in enumerate(order_ids):
        service.faults[order_id].append(Fault.NONE if number == jobs.MAX_SILENCES - 1 else Fault.ERROR)
    assert work_payments(database, client) == len(order_ids)


@pytest.mark.parametrize("verdict", [Verdict.NOT_SENT, Verdict.UNDECIDED, Verdict.PENDING])
def test_a_worker_that_was_too_slow_does_not_end_the_lease_of_the_next_one(
    verdict: Verdict, database: Database, client: PaymentClient, owner: psycopg.Connection
) -> None:
    (order_id,) = confirmed(database)
    slow = claim(database, client, order_id)
    move_clock(database, NOW + client.lease + timedelta(seconds=1))
    claim(database, client, order_id)
    leased = owner.execute("SELECT next_attempt_time FROM charges").fetchone()
    record_answer(database, slow, Answer(verdict))
    assert owner.execute("SELECT next_attempt_time FROM charges").fetchone() == leased
    assert charge(owner, order_id)[0] == "REQUESTED"
    # What is final is news all the same.
    record_answer(database, slow, Answer(Verdict.SUCCEEDED))
    assert charge(owner, order_id) == ("SUCCEEDED", 0, False)


def test_a_service_that_takes_back_a_decline_is_told_of_and_not_followed(
    database: Database, client: PaymentClient, owner: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = CapturingLogger()
    monkeypatch.setattr(actions, "_log", log)
    (order_id,) = confirmed(database)
    claimed = claim(database, client, order_id)
    record_answer(database, claimed, Answer(Verdict.DECLINED))
    record_answer(database, claimed, Answer(Verdict.DECLINED))
    assert log.calls == []
    record_answer(database, claimed, Answer(Verdict.SUCCEEDED, "r1"))
    told = {"seller_id": SELLER, "order_id": order_id, "key": claimed.request.key}
    assert log.calls == [
        CapturedCall("error", ("payment_contradicted",), told | {"answer": Verdict.SUCCEEDED, "reference": "r1"})
    ]
    assert charge(owner, order_id) == ("DECLINED", 1, True)


def test_payments_that_nobody_makes_any_more_are_told_of_with_their_number(
    database: Database, client: PaymentClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = CapturingLogger()
    monkeypatch.setattr(jobs, "_log", log)
    confirmed(database, 2)
    work(database, client)
    jobs.warn_of_waiting_payments(database)
    assert log.calls == []
    confirmed(database, 3)
    jobs.warn_of_waiting_payments(database)
    told = {"count": 3, "missing": "PAYMENT_SERVICE_URL"}
    assert log.calls == [CapturedCall("error", ("payments_waiting",), told)]


# --- A declined charge, by hand ------------------------------------------------------------------------------------


def attempt(client: ApiClient, order_id: str, seller_id: str = SELLER) -> tuple[int, str | None]:
    """Have a charge tried again, and return the status and the code of the problem."""
    path = f"/v1/orders/{order_id}/charge-attempts"
    response = client.request("POST", path, query_string={"sellerId": seller_id})
    return response.status_code, response.get_json().get("type", "").rpartition(":")[2] or None


@pytest.fixture
def declined(database: Database, service: PaymentServer, client: PaymentClient) -> str:
    """Return an order whose charge was declined, and would be tried again in an hour."""
    (order_id,) = confirmed(database)
    service.faults[order_id].append(Fault.DECLINE)
    work(database, client)
    return order_id


@pytest.fixture
def configured(app: flask.Flask, service: PaymentServer, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(app, service, monkeypatch)


@pytest.mark.usefixtures("configured")
def test_a_charge_that_is_not_tried_again_by_itself_is_when_an_operator_says_so(
    database: Database,
    service: PaymentServer,
    client: PaymentClient,
    operator: ApiClient,
    seller: ApiClient,
    declined: str,
    owner: psycopg.Connection,
) -> None:
    service.faults[declined].extend([Fault.DECLINE] * 6)
    for days in range(2, 50, 8):
        move_clock(database, NOW + timedelta(days=days))
        work(database, client)
    assert charge(owner, declined) == ("DECLINED", 6, False)
    before = seller.get(f"/v1/orders/{declined}").get_json()
    assert attempt(operator, declined) == (202, None)
    assert seller.get(f"/v1/orders/{declined}").get_json() == before, "nothing has happened yet"
    assert work(database, client) == 1
    # One decline more, beyond the schedule, leaves it again.
    assert charge(owner, declined) == ("DECLINED", 7, False)
    assert attempt(operator, declined) == (202, None)
    work(database, client)
    assert charge(owner, declined) == ("SUCCEEDED", 7, False)
    assert [key for key, _ in service.captures] == [f"charge:{SELLER}:{declined}:8"]
    assert attempt(operator, declined) == (409, "charge-not-declined")


@pytest.mark.usefixtures("configured")
def test_a_declined_charge_that_is_being_tried_is_not_handed_to_a_second_worker(
    database: Database, client: PaymentClient, operator: ApiClient, declined: str, service: PaymentServer
) -> None:
    assert attempt(operator, declined) == (202, None)
    slow = claim(database, client, declined)
    assert attempt(operator, declined) == (202, None)
    assert work(database, client) == 0
    record_answer(database, slow, actions.call(client, slow))
    assert service.captured() == {declined: 1}


def test_a_charge_is_tried_again_for_operators_of_the_sellers_order_and_by_a_service(
    operator: ApiClient, seller: ApiClient, declined: str, request: pytest.FixtureRequest
) -> None:
    assert attempt(operator, declined) == (409, "payment-service-missing")
    assert attempt(seller, declined) == (403, "forbidden")
    assert attempt(operator, declined, "A9NOBODY") == (404, "seller-not-found")
    assert attempt(operator, declined, OTHER_SELLER) == (404, "order-not-found")
    request.getfixturevalue("configured")
    assert attempt(operator, declined) == (202, None)


# --- The guards, each taken away -----------------------------------------------------------------------------------


def test_mutant_a_worker_that_does_not_look_up_captures_twice(
    database: Database, service: PaymentServer, client: PaymentClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def find_nothing(_: PaymentRequest) -> None:
        pass

    monkeypatch.setattr(client, "look_up", find_nothing)
    (order_id,) = confirmed(database)
    service.faults[order_id].append(Fault.HANG_UP)
    work(database, client)
    move_clock(database, LATER)
    work(database, client)
    assert service.captured() == {order_id: 2}


def test_mutant_a_key_for_each_attempt_captures_twice_even_at_a_service_that_remembers(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = iter(range(100))

    def charge_key(*_: object) -> str:
        return f"charge:{next(numbers)}"

    monkeypatch.setattr(queries, "charge_key", charge_key)
    (order_id,) = confirmed(database)
    with running_service() as remembering, calling(remembering) as client:
        remembering.faults[order_id].append(Fault.HANG_UP)
        work(database, client)
        move_clock(database, LATER)
        work(database, client)
    assert remembering.captured() == {order_id: 2}


@pytest.mark.parametrize(("lease", "captures"), [(timedelta(0), 2), (None, 1)])
def test_mutant_without_a_lease_a_second_worker_charges_what_the_first_is_about_to(
    lease: timedelta | None,
    captures: int,
    database: Database,
    service: PaymentServer,
    client: PaymentClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if lease is not None:
        monkeypatch.setattr(PaymentClient, "lease", lease)
    (order_id,) = confirmed(database)
    slow = claim(database, client, order_id)
    make_payment(database, client, due(order_id))
    record_answer(database, slow, actions.call(client, slow))
    assert service.captured() == {order_id: captures}


def test_mutant_an_answer_that_need_not_stand_is_recorded_twice(
    database: Database, client: PaymentClient, monkeypatch: pytest.MonkeyPatch, owner: psycopg.Connection
) -> None:
    def always(*_: object) -> bool:
        return True

    monkeypatch.setattr(actions, "stands_as_claimed", always)
    (order_id,) = confirmed(database)
    claimed = claim(database, client, order_id)
    for _ in range(2):
        record_answer(database, claimed, Answer(Verdict.DECLINED))
    assert charge(owner, order_id)[1] == 2


# --- What the client makes of answers ------------------------------------------------------------------------------

REQUEST = PaymentRequest("charges", "charge:A1:902-1:1", {"orderId": "902-1"})
MADE = {"idempotencyKey": REQUEST.key, "status": "SUCCEEDED"}
Answerer = Callable[[Callable[[httpx.Request], httpx.Response]], PaymentClient]


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Iterator[Answerer]:
    """Yield a function that makes a client of a service that answers as it is told, without a wire."""

    def make(respond: Callable[[httpx.Request], httpx.Response]) -> PaymentClient:
        async def handle_async_request(_: object, request: httpx.Request) -> httpx.Response:
            return respond(request)

        monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", handle_async_request)
        return PaymentClient(Settings(payment_service_url="https://pay.example/base/"))

    with stamina.set_testing(True, attempts=2):
        yield make


@pytest.mark.parametrize(
    "response",
    [
        httpx.Response(204),
        httpx.Response(302, headers={"Location": "https://pay.example/"}, json=MADE),
        httpx.Response(400, json=MADE | {"status": "DECLINED"}),
        httpx.Response(404, json=MADE),
        httpx.Response(500, json=MADE),
        httpx.Response(200, content=b""),
        httpx.Response(200, content=orjson.dumps(MADE)[:-1]),
        httpx.Response(200, content=b"\xff\xfe"),
        httpx.Response(200, json=["SUCCEEDED"]),
        httpx.Response(200, json=MADE | {"status": "succeeded"}),
        httpx.Response(200, json=MADE | {"status": ["SUCCEEDED"]}),
        httpx.Response(200, json={"status": "SUCCEEDED"}),
        httpx.Response(200, json=MADE | {"idempotencyKey": "charge:A1:902-2:1"}),
        httpx.Response(200, content=orjson.dumps(MADE) + b" " * MAX_ANSWER_BYTES),
    ],
)
def test_anything_but_an_answer_as_agreed_decides_nothing(response: httpx.Response, answering: Answerer) -> None:
    assert answering(lambda _: response).send(REQUEST) == Answer(Verdict.UNDECIDED)
    assert answering(lambda _: httpx.Response(200, json=MADE)).send(REQUEST) == Answer(Verdict.SUCCEEDED)


def test_a_look_up_names_the_key_and_only_a_404_means_that_it_never_arrived(answering: Answerer) -> None:
    seen: list[str] = []

    def respond(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.raw_path.decode())
        return httpx.Response(404 if len(seen) == 1 else 500)

    client = answering(respond)
    assert client.look_up(REQUEST) is None
    assert client.look_up(REQUEST) == Answer(Verdict.UNDECIDED)
    assert seen == ["/base/charges/charge:A1:902-1:1"] * 2


@pytest.mark.parametrize(
    ("error", "verdict", "sent"),
    [
        # Nothing was sent, so that it may be tried again at once, and leaves the charge as it was.
        (httpx.ConnectError, Verdict.NOT_SENT, 2),
        (httpx.ConnectTimeout, Verdict.NOT_SENT, 2),
        # It may have arrived, so that it is not sent again.
        (httpx.ReadTimeout, Verdict.UNDECIDED, 1),
        (httpx.WriteError, Verdict.UNDECIDED, 1),
        (httpx.RemoteProtocolError, Verdict.UNDECIDED, 1),
    ],
)
def test_only_what_was_not_sent_is_sent_again(
    error: type[httpx.TransportError], verdict: Verdict, sent: int, answering: Answerer
) -> None:
    tries: list[httpx.Request] = []

    def respond(request: httpx.Request) -> httpx.Response:
        tries.append(request)
        raise error("in the middle of it")

    assert answering(respond).send(REQUEST).verdict is verdict
    assert len(tries) == sent


@pytest.mark.parametrize("begin", [b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"])
def test_an_answer_that_comes_too_slowly_is_given_up(begin: bytes) -> None:
    # Each part comes in time, so that only the limit of the whole ends this. Without one the dripping ends by itself.
    is_given_up, listener = threading.Event(), socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            connection.sendall(begin)
            for _ in range(200):
                time.sleep(0.02)
                connection.sendall(b" ")
            return
        is_given_up.set()

    dripping = threading.Thread(target=drip)
    dripping.start()
    with calling(PaymentServer(port=listener.getsockname()[1]), timeout_ms=300) as client:
        assert client.send(REQUEST) == Answer(Verdict.UNDECIDED)
    dripping.join()
    listener.close()
    assert is_given_up.is_set()


@pytest.mark.parametrize(
    "url",
    [
        *("pay.example", "ftp://pay.example", "https://", "http://pay.example:port", "/charges"),
        *("https://me:1@pay.example", "https://pay.example/pay?tenant=1", "https://pay.example/pay?"),
        *("https://pay.example/pay#1", "https://pay.example/pay?tenant=1#2"),
    ],
)
def test_an_address_that_is_none_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(SettingsError, match="PAYMENT_SERVICE_URL"):
        PaymentClient(Settings(payment_service_url=url))


def test_the_lease_is_longer_than_the_longest_attempt() -> None:
    # Two tries to look up and two to send, and the pauses.
    assert PaymentClient(Settings(payment_timeout_ms=10_000)).lease > timedelta(seconds=4 * 10 + 2 * 1)

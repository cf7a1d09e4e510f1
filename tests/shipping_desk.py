"""A seller's desk that does each thing through the API and in the model, and compares the two after every step."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from werkzeug.test import TestResponse

from service.database import Database
from service.payments.jobs import work_payments
from service.sandbox.actions import move_clock
from tests.conftest import CONFIRM_BY, NOW, SHIP_BY, ApiClient
from tests.invariants import broken_invariants
from tests.payment_model import Account, Mode, Shares
from tests.scripted_service import ScriptedService
from tests.shipping_model import CONFIRMED, DAY, Order
from tests.shipping_wire import ITEMS, TOTAL, order_sent, refund_sent, shown_by

STEP = timedelta(seconds=10)
# The clock goes on while the service works; every deadline is a multiple of a step.
LATER = STEP / 20
# One that ships later than the others, one that is not authorized yet, and one that the platform ships.
ORDERS: Mapping[str, tuple[datetime, str, str]] = {
    "first": (SHIP_BY, "UNSHIPPED", "MERCHANT"),
    "second": (SHIP_BY + 3 * DAY, "UNSHIPPED", "MERCHANT"),
    "pending": (SHIP_BY, "PENDING", "MERCHANT"),
    "platform": (SHIP_BY, "UNSHIPPED", "AMAZON"),
}


class Desk:
    """One seller's orders, here and in the model."""

    def __init__(
        self, database: Database, seller_id: str, seller: ApiClient, operator: ApiClient, *, outside: bool
    ) -> None:
        self.database, self.seller_id, self.seller, self.operator = database, seller_id, seller, operator
        self.service, self.ledger, self.now = ScriptedService(seller_id), dict[str, str](), NOW
        self.orders: dict[str, Order] = {}
        self.documents: dict[str, dict[str, Any]] = {}
        self.keys: dict[str, tuple[str, Shares]] = {}
        self.pass_time(timedelta())
        for name, (ship_by, status, fulfilled_by) in ORDERS.items():
            document = order_sent(name, ship_by, status, fulfilled_by)
            shown = self._send(self.seller, "POST", "/v1/orders", document)
            assert shown.status_code == 201, shown.text
            confirm_by = shown.get_json()["fulfillment"].get("confirmBy")
            self.documents[name] = document
            self.orders[name] = Order(
                account=Account(items=ITEMS, total=TOTAL, settles_outside=outside),
                created=datetime.fromisoformat(document["createdTime"]),
                ship_by=ship_by,
                confirm_by=CONFIRM_BY if confirm_by is None else datetime.fromisoformat(confirm_by),
                status=status,
                fulfilled_by=fulfilled_by,
            )
        self.check()

    @property
    def instant(self) -> datetime:
        """Return what the service's clock shows while it works."""
        return self.now + LATER

    # --- what happens ---

    def pass_time(self, by: timedelta) -> None:
        """Move the clock, forward or back."""
        self.now += by
        move_clock(self.database, self.now)

    def confirm(
        self,
        name: str,
        reference: str,
        units: Mapping[str, int] | None = None,
        ship_date: datetime = NOW,
        *,
        overrides: bool = False,
    ) -> None:
        """Confirm a package, of all that remains when no units are named."""
        content: dict[str, Any] = {"shipDate": ship_date, "trackingNumber": f"1Z{name}{reference}"}
        body = content | {"packageReferenceId": reference, "carrierCode": "UPS", "shipDate": ship_date.isoformat()}
        if units is not None:
            content["orderItems"] = dict(units)
            body["orderItems"] = [{"orderItemId": key, "quantity": units[key]} for key in units]
        if overrides:
            body["overrideCancellationRequest"] = True
        self._step()
        expected = self.orders[name].confirm(reference, content, self.instant, overrides=overrides)
        self._compare(expected, self._send(self.seller, "POST", self._path(name, "shipment-confirmations"), body))

    def correct(self, name: str, reference: str, tracking_number: str, version: str | None) -> None:
        """Correct the tracking number of a package of this version."""
        self._step()
        expected = self.orders[name].correct(reference, tracking_number, version)
        headers = {} if version is None else {"If-Match": version if version == "*" else f'"{version}"'}
        path = self._path(name, f"packages/{reference}")
        self._compare(
            expected, self.seller.request("PATCH", path, json={"trackingNumber": tracking_number}, headers=headers)
        )

    def track(self, name: str, reference: str, status: str, time: datetime) -> None:
        """Let the carrier tell of a package."""
        self._step()
        expected = self.orders[name].track(reference, status, time, self.instant)
        body = {"status": status, "eventTime": time.isoformat()}
        path = self._path(name, f"packages/{reference}/tracking-events")
        self._compare(expected, self._send(self.operator, "POST", path, body))

    def refund(self, name: str, key: str, shares: Shares) -> None:
        """Refund an amount of the order, or units or amounts of items."""
        self._step()
        order, known = self.orders[name], self.keys.get(key)
        expected: int | frozenset[str] = order.refund_problems(shares) or 201
        if known is not None:
            problems = expected if isinstance(expected, frozenset) else frozenset[str]()
            expected = 200 if known == (name, shares) else problems | {"idempotency-key-reused"}
        response = self.seller.request(
            "POST", self._path(name, "refunds"), json=refund_sent(shares), headers={"Idempotency-Key": key}
        )
        taken = None
        if response.status_code == expected == 201:
            self.keys[key] = name, shares
            taken = order.refund(response.get_json()["refundId"], key, shares, self.instant)
        self._compare(expected, response)
        if taken is not None:
            told = response.get_json()
            assert (Decimal(told["amount"]["amount"]), told["refundStatus"]) == (taken.amount, taken.payment.status)
            is_late = "SHIPMENT_IS_LATE" in {warning["code"] for warning in told.get("warnings", ())}
            assert is_late == order.is_late(self.instant), "R12: a refund says that it does not end the lateness"

    def cancel(self, name: str, reason: str) -> None:
        """Cancel an order for the seller."""
        self._step()
        expected = self.orders[name].cancel(reason, self.instant)
        body = {"cancelReasonCode": reason}
        self._compare(expected, self._send(self.seller, "POST", self._path(name, "cancellation"), body))

    def ask_to_cancel(self, name: str, reason: str | None) -> None:
        """Let the buyer ask."""
        self._step()
        expected = self.orders[name].ask_to_cancel(reason, self.instant)
        body = {} if reason is None else {"cancelReason": reason}
        self._compare(expected, self._send(self.operator, "POST", self._path(name, "cancellation-request"), body))

    def withdraw(self, name: str) -> None:
        """Let the buyer ask no longer."""
        self._step()
        expected = self.orders[name].withdraw(self.instant)
        self._compare(expected, self._send(self.operator, "DELETE", self._path(name, "cancellation-request")))

    def authorize(self, name: str) -> None:
        """Let the channel tell that the payment of a pending order is authorized."""
        if self.orders[name].status != "PENDING":
            return
        self._step()
        self.documents[name]["fulfillment"]["fulfillmentStatus"] = "UNSHIPPED"
        self.orders[name].authorize()
        self._compare(200, self._send(self.seller, "POST", "/v1/orders", self.documents[name]))

    def sweep(self) -> None:
        """Cancel what was not confirmed in time."""
        self._step()
        for order in self.orders.values():
            order.sweep(self.instant)
        self._compare(201, self._send(self.operator, "POST", "/v1/cancellation-runs", {}))

    def work(self, mode: Mode) -> None:
        """Let the worker do what is due, against a service in this mode."""
        self._step()
        while any(each.is_uncertain(self.now) for order in self.orders.values() for each in order.account.payments()):
            self.pass_time(6 * STEP)
        self.service.mode = mode
        while work_payments(self.database, self.service):
            pass  # a round ends early while the service is silent
        for name, order in self.orders.items():
            order.pay(f"{self.seller_id}:{self.documents[name]['orderId']}", self.ledger, mode, self.instant)
        self.check()

    def decide(self, verdict: str) -> None:
        """Let the service decide on what is pending."""
        for ledger in (self.ledger, self.service.ledger):
            ledger.update({key: verdict for key, status in ledger.items() if status == "PENDING"})

    def finish(self) -> None:
        """Let everything come to its end: nothing stays open once time passes and the service answers."""
        self.decide("SUCCEEDED")
        self.pass_time(60 * DAY)
        self.work(Mode.ACCEPTS)
        self.authorize("pending")
        self.sweep()
        self.look_at_home()
        for name, order in self.orders.items():
            assert order.fulfilled_by == "AMAZON" or order.status in {*CONFIRMED, "CANCELLED"}
            assert {each.status for each in order.account.payments()} <= {"SUCCEEDED", "DECLINED"}
            self._check_history(name, order)
        with self.database.operator_transaction() as connection:
            assert broken_invariants(connection) == {}

    # --- how it is compared ---

    def check(self) -> None:
        """Compare every order, and what the payment service has made."""
        orders = self.seller.get("/v1/orders", sort="createdTime").get_json()["orders"]
        seen = {order["orderId"]: shown_by(order) for order in orders}
        for name, order in self.orders.items():
            shown, expected = seen[self.documents[name]["orderId"]], order.shown(self.instant)
            differing = {key: (shown[key], expected[key]) for key in expected if shown[key] != expected[key]}
            assert not differing, f"{name} shows, and should show, {differing}"
        assert self.service.ledger == self.ledger, f"made is {self.service.ledger}, and should be {self.ledger}"
        assert len(self.service.made) == len(set(self.service.made)), "nothing is made twice under one key"

    def look_at_home(self) -> None:
        """Compare the warnings of the account home."""
        home = self.seller.get("/v1/account/home").get_json()
        warnings, expected = {each["code"]: each["count"] for each in home["warnings"]}, self._home_warnings()
        assert warnings == expected, f"the home warns of {warnings}, and should warn of {expected}"

    def _home_warnings(self) -> dict[str, int]:
        orders, now = list(self.orders.values()), self.instant
        codes = [code for order in orders for code in order.warnings(now)]
        for code, period in (("CANCELS_WITHIN_24_HOURS", DAY), ("CANCELS_WITHIN_7_DAYS", 7 * DAY)):
            codes += [code for each in orders if each.is_cancelled_within(period, now)]
        return {code: codes.count(code) for code in codes}

    def _check_history(self, name: str, order: Order) -> None:
        events = self.seller.get(self._path(name, "events"), maxResultsPerPage=100).get_json()["events"]
        assert [event["eventType"] for event in events] == order.events[:100]
        assert [event["version"] for event in events] == list(range(1, len(events) + 1))

    def _step(self) -> None:
        self.pass_time(STEP)

    def _path(self, name: str, rest: str) -> str:
        return f"/v1/orders/{self.documents[name]['orderId']}/{rest}"

    def _send(self, client: ApiClient, method: str, path: str, body: object = None) -> TestResponse:
        is_about_seller = client is self.operator and path != "/v1/cancellation-runs"
        query = {"sellerId": self.seller_id} if is_about_seller else {}
        return client.request(method, path, query_string=query, **({} if body is None else {"json": body}))

    def _compare(self, expected: int | frozenset[str], response: TestResponse) -> None:
        if isinstance(expected, int):
            assert response.status_code == expected, response.text
        else:
            told = response.get_json()
            assert told.get("type", "").rpartition(":")[2] in expected, f"{told} instead of {set(expected)}"
        self.check()

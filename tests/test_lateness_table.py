"""R11 and R12 as one table: every side of the ship-by instant, confirmation, refund and cancellation.

The clock stands still here, so that the instant itself is a side of its own.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import product
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg import sql

from tests.conftest import CONFIRM_BY, NOW, SHIP_BY, ApiClient, confirmation, order_document
from tests.contract import Contract
from tests.shipping_world import shipping_world

SIDES = ("before", "at", "after")
CONFIRMATIONS = ("none", "part", "all in time", "all late")
REFUNDS = ("none", "rest", "all")
CANCELLATIONS = ("none", "seller's", "sweep's")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
CLOCK: Mapping[str, datetime] = {"before": SHIP_BY - timedelta.resolution, "at": SHIP_BY, "after": SHIP_BY + HOUR}
Case = tuple[str, str, str]

# What can be: where in time, confirmed, refunded, cancelled; then whether it is late (R11, R12, D7), and whether it was
# confirmed late (D4). Nothing is late up to the very instant. A cancelled order is not: there is nothing left to ship.
# With `<=` for `<` in IS_LATE the rows of `at` fail, and when a refund ends it those of `after`, `part`.
EARLY = ("before", "at")
IN_TIME = (
    ("none", "none", "none"),
    ("none", "none", "seller's"),
    ("part", "none", "none"),
    ("part", "rest", "none"),
    ("part", "all", "none"),
    ("all in time", "none", "none"),
    ("all in time", "all", "none"),
)
TABLE: Mapping[tuple[str, str, str, str], tuple[bool, bool]] = {
    (side, *case): (False, False) for side in EARLY for case in IN_TIME
} | {
    ("after", "none", "none", "none"): (True, False),
    ("after", "none", "none", "seller's"): (False, False),
    ("after", "none", "none", "sweep's"): (False, False),
    ("after", "part", "none", "none"): (True, False),
    ("after", "part", "rest", "none"): (True, False),
    ("after", "part", "all", "none"): (True, False),
    ("after", "all in time", "none", "none"): (False, False),
    ("after", "all in time", "all", "none"): (False, False),
    ("after", "all late", "none", "none"): (False, True),
    ("after", "all late", "all", "none"): (False, True),
}
ANY, CONFIRMED = SIDES, CONFIRMATIONS[1:]
# What cannot be, and why; the first reason counts. Those that are a problem's code are what a caller is answered.
IMPOSSIBLE = (
    ((EARLY, CONFIRMATIONS, REFUNDS, ("sweep's",)), "not due"),
    ((EARLY, ("all late",), REFUNDS, CANCELLATIONS), "not yet"),
    ((ANY, ("none",), ("rest", "all"), CANCELLATIONS), "not-charged"),
    ((ANY, CONFIRMED, REFUNDS, ("seller's",)), "order-confirmed"),
    ((ANY, CONFIRMED, REFUNDS, ("sweep's",)), "charged, so never cancelled"),
    ((ANY, ("all in time", "all late"), ("rest",), ("none",)), "invalid-request"),
)
ITEMS = [
    {
        "orderItemId": "1",
        "quantityOrdered": 2,
        "proceeds": {"proceedsTotal": {"amount": "30.00", "currencyCode": "USD"}},
        "product": {"sellerSku": "MUG"},
    },
    {
        "orderItemId": "2",
        "quantityOrdered": 1,
        "product": {"sellerSku": "POT", "price": {"unitPrice": {"amount": "20.00", "currencyCode": "USD"}}},
    },
]
PART, REST = [{"orderItemId": "1", "quantity": 2}], [{"orderItemId": "2", "quantity": 1}]


@dataclass(frozen=True)
class Seen:
    """What the seller sees of all orders at one moment."""

    orders: Mapping[str, dict[str, Any]]
    late: list[str]
    counts: Mapping[str, int]
    home: Mapping[str, dict[str, Any]]
    listed_by_home: list[str]
    exported: Mapping[str, str]
    last_events: Mapping[str, dict[str, Any]]


@dataclass
class Story:
    """One seller, whose orders live through the ship-by instant."""

    owner: psycopg.Connection
    seller: ApiClient
    operator: ApiClient
    seller_id: str
    ids: dict[Case, str]

    def stop_clock(self, now: datetime) -> None:
        """Let it be this very instant."""
        stopped: LiteralString = (
            "CREATE OR REPLACE FUNCTION app_now() RETURNS timestamptz LANGUAGE plpgsql STABLE PARALLEL SAFE "
            "AS $$ BEGIN RETURN {}::timestamptz; END $$"
        )
        self.owner.execute(sql.SQL(stopped).format(now.isoformat()))

    def receive(self, case: Case, ship_by: datetime = SHIP_BY) -> None:
        document = order_document(
            orderItems=ITEMS,
            createdTime=(NOW - 30 * DAY).isoformat(),
            fulfillment__shipByWindow={"latestDateTime": ship_by.isoformat()},
        )
        self.ids[case] = document["orderId"]
        assert self.seller.post("/v1/orders", document).status_code == 201

    def call(self, case: Case, what: str, body: object, **headers: str) -> dict[str, Any]:
        path = f"/v1/orders/{self.ids[case]}/{what}"
        return self.seller.request("POST", path, json=body, headers=headers).get_json()

    def refund(self, case: Case, items: object) -> dict[str, Any]:
        body = {"reason": "COULD_NOT_SHIP", "orderItems": items}
        return self.call(case, "refunds", body, **{"Idempotency-Key": f"refund of {self.ids[case]}"})

    def act(self, case: Case) -> None:
        """Do with an order what its case says."""
        confirmed, refunded, cancelled = case
        if confirmed != "none":
            body = confirmation() | ({"orderItems": PART} if confirmed == "part" else {})
            assert "orderId" in self.call(case, "shipment-confirmations", body)
        if refunded != "none":
            assert self.refund(case, REST if refunded == "rest" else PART + REST)["refundStatus"] == "SUCCEEDED"
        if cancelled == "seller's":
            assert "orderId" in self.call(case, "cancellation", {"cancelReasonCode": "NO_INVENTORY"})

    def touch(self, side: str) -> None:
        """Change each order that can be changed, so that its history has an event of this side."""
        for (confirmed, _, cancelled), order_id in self.ids.items():
            path, body = f"/v1/orders/{order_id}", {"cancelReason": side}
            if confirmed != "none" and "packages" in self.seller.get(path).get_json():
                response = self.seller.request(
                    "PATCH", f"{path}/packages/1", json={"shippingMethod": side}, headers={"If-Match": "*"}
                )
                assert response.status_code == 200, response.text
            elif cancelled == "none":
                response = self.operator.post(f"{path}/cancellation-request", body, sellerId=self.seller_id)
                assert response.status_code == 200, response.text

    def look(self) -> Seen:
        """Look at everything that tells of lateness."""

        def get(path: str, **query: Any) -> Any:
            return self.seller.get(path, **query).get_json()

        orders = {order["orderId"]: order for order in get("/v1/orders", maxResultsPerPage=100)["orders"]}
        counts = get("/v1/orders/counts", by="shipmentIsLate")["groups"]
        home = {each["code"]: each for each in get("/v1/account/home")["warnings"]}
        late = home.get("SHIPMENT_IS_LATE")
        rows = csv.DictReader(io.StringIO(self.seller.get("/v1/orders/export").text))
        return Seen(
            orders=orders,
            late=_ids(get("/v1/orders", shipmentIsLate="true")),
            counts={group["value"]: group["count"] for group in counts},
            home=home,
            listed_by_home=[] if late is None else _ids(self.seller.request("GET", late["links"]["orders"]).get_json()),
            exported={row["orderId"]: row["fulfillment.shipmentIsLate"] for row in rows},
            last_events={order_id: get(f"/v1/orders/{order_id}/events")["events"][-1] for order_id in orders},
        )


def _ids(page: Mapping[str, Any]) -> list[str]:
    return sorted(order["orderId"] for order in page["orders"])


@pytest.fixture(scope="module")
def story(make_database_url: Callable[[], str], contract: Contract) -> Iterator[Story]:
    url = make_database_url()
    with (
        shipping_world(url, contract) as world,
        psycopg.connect(url, autocommit=True, options="-c timezone=UTC") as owner,
    ):
        seller, operator, seller_id = world.seller(outside=True)
        yield Story(owner, seller, operator, seller_id, {})


@pytest.fixture(scope="module")
def seen(story: Story) -> Mapping[str, Seen]:
    """Return what is seen on each side."""
    later = sorted({(case[1], case[2], case[3]) for case in TABLE} - set(IN_TIME))
    found: dict[str, Seen] = {}
    story.stop_clock(SHIP_BY - HOUR)
    for case in IN_TIME:
        story.receive(case)
        story.act(case)
    for side in EARLY:
        story.stop_clock(CLOCK[side])
        story.touch(side)
        found[side] = story.look()
    story.stop_clock(CLOCK["after"])
    for case in later:
        story.receive(case, SHIP_BY - 14 * DAY if case[2] == "sweep's" else SHIP_BY)
        story.act(case)
    assert story.operator.post("/v1/cancellation-runs", {}).get_json()["cancelledCount"] == 1
    story.touch("after")
    return found | {"after": story.look()}


def test_every_combination_is_in_the_table_or_is_impossible_for_a_reason() -> None:
    for combination in product(SIDES, CONFIRMATIONS, REFUNDS, CANCELLATIONS):
        assert (combination in TABLE) != (_reason(combination) is not None), combination


def _reason(combination: tuple[str, ...]) -> str | None:
    fits = (
        reason
        for pattern, reason in IMPOSSIBLE
        if all(part in allowed for part, allowed in zip(combination, pattern, strict=True))
    )
    return next(fits, None)


@pytest.mark.parametrize("combination", TABLE, ids=", ".join)
def test_an_order_is_late_where_the_table_says_so(
    combination: tuple[str, str, str, str], seen: Mapping[str, Seen], story: Story
) -> None:
    side, *case = combination
    is_late, confirmed_late = TABLE[combination]
    at, order_id = seen[side], story.ids[case[0], case[1], case[2]]
    order = at.orders[order_id]
    warnings = [each for each in order.get("warnings", ()) if each["code"] == "SHIPMENT_IS_LATE"]

    assert order["fulfillment"]["shipmentIsLate"] is is_late
    assert order["fulfillment"]["confirmedLate"] is confirmed_late
    assert len(warnings) == is_late
    assert (order_id in at.late) is is_late
    assert at.exported[order_id] == str(is_late).lower()
    assert at.last_events[order_id]["shipmentIsLate"] is is_late
    for warning in warnings:
        assert warning["message"] == "Shipment is late"
        assert datetime.fromisoformat(warning["since"]) == SHIP_BY
        assert warning["resolution"].startswith("Confirm the shipment")
        assert ("A refund does not end it" in warning["resolution"]) is (case[0] == "part"), "R12"


@pytest.mark.parametrize("side", SIDES)
def test_the_home_the_list_and_the_counts_say_the_same(side: str, seen: Mapping[str, Seen], story: Story) -> None:
    at = seen[side]
    expected = sorted(
        story.ids[where[1], where[2], where[3]] for where, (is_late, _) in TABLE.items() if where[0] == side and is_late
    )

    assert at.late == at.listed_by_home == expected
    assert at.counts == {"true": len(expected), "false": len(at.orders) - len(expected)}
    assert ("SHIPMENT_IS_LATE" in at.home) is bool(expected)
    if expected:
        told = at.home["SHIPMENT_IS_LATE"]
        assert (told["count"], told["message"]) == (len(expected), "Shipment is late")
        assert told["oldest"]["orderId"] in expected
        assert datetime.fromisoformat(told["oldest"]["since"]) == SHIP_BY


@pytest.mark.parametrize("cancelled", CANCELLATIONS)
@pytest.mark.parametrize("refunded", [REST, PART + REST], ids=["rest", "all"])
def test_nothing_is_refunded_of_what_nobody_was_charged_for(
    cancelled: str, refunded: object, seen: Mapping[str, Seen], story: Story
) -> None:
    del seen
    assert _code(story.refund(("none", "none", cancelled), refunded)) == "not-charged"


@pytest.mark.parametrize("case", [case for case in product(CONFIRMED, REFUNDS, ["none"]) if ("after", *case) in TABLE])
def test_a_confirmed_order_is_cancelled_by_nobody(case: Case, seen: Mapping[str, Seen], story: Story) -> None:
    was = seen["after"].orders[story.ids[case]]
    story.stop_clock(CONFIRM_BY)
    story.operator.post("/v1/cancellation-runs", {})

    assert _code(story.call(case, "cancellation", {"cancelReasonCode": "NO_INVENTORY"})) == "order-confirmed"
    order = story.seller.get(f"/v1/orders/{story.ids[case]}").get_json()
    assert order == was, "neither does the sweep change it (D3), and what was late stays late"


@pytest.mark.parametrize("confirmed", ["all in time", "all late"])
def test_there_is_no_rest_to_refund_of_what_is_confirmed_whole(
    confirmed: str, seen: Mapping[str, Seen], story: Story
) -> None:
    del seen
    assert _code(story.refund((confirmed, "none", "none"), [])) == "invalid-request"


def _code(problem: Mapping[str, Any]) -> str:
    return problem["type"].rpartition(":")[2]

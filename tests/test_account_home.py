"""The account home: each figure is that of the orders, its link lists exactly them, and it costs no more than a cap."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, LiteralString

import psycopg
import pytest

from service.account_home import queries
from service.account_home.rules import CANCELLATION_TARGET, LATE_SHIPMENT_TARGET, SELLER_CANCEL_REASONS, Rate
from service.business_days import local_day
from service.cancellation.rules import CancelReason
from service.cancellation_job.actions import sweep
from service.database import Database
from service.orders.rules import FulfillmentStatus
from tests.conftest import NOW, OTHER_SELLER, SELLER, ApiClient, confirmation, order_document
from tests.contract import Contract
from tests.plans import nodes
from tests.varied_orders import NOW as WORLD_NOW
from tests.varied_orders import World, varied_world

HOME = "/v1/account/home"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
Clock = Callable[[datetime], datetime]


@pytest.fixture(scope="module")
def world(make_database_url: Callable[[], str], contract: Contract) -> Iterator[World]:
    with varied_world(make_database_url(), contract) as world:
        yield world


def home(client: ApiClient, **query: str) -> dict[str, Any]:
    response = client.get(HOME, **query)
    assert response.status_code == 200, response.text
    return response.get_json()


def warnings(shown: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {warning["code"]: warning for warning in shown["warnings"]}


def listed(client: ApiClient, link: str) -> list[str]:
    """Return the orders that a link lists, through all its pages."""
    found: list[str] = []
    address = f"{link}&maxResultsPerPage=20&fields=orderId"
    token = ""
    while True:
        page = client.request("GET", address + token).get_json()
        found += [order["orderId"] for order in page["orders"]]
        if "nextToken" not in page.get("pagination", {}):
            return found
        token = f"&paginationToken={page['pagination']['nextToken']}"


def put(client: ApiClient, **changes: Any) -> str:
    document = order_document(**changes)
    response = client.post("/v1/orders", document)
    assert response.status_code == 201, response.text
    return document["orderId"]


def at(order: dict[str, Any], path: str) -> datetime | None:
    value: Any = order
    for name in path.split("."):
        value = value.get(name, {})
    return datetime.fromisoformat(value) if value else None


def expected_warnings(orders: list[dict[str, Any]]) -> dict[str, dict[str, datetime]]:
    """Return by code the orders that a warning is about, and since when, from what the orders show."""

    def cancelled_within(period: timedelta) -> dict[str, datetime]:
        return {
            order["orderId"]: deadline - period
            for order in orders
            if order["fulfillment"]["fulfillmentStatus"] == "UNSHIPPED"
            and (deadline := at(order, "fulfillment.confirmBy"))
            and WORLD_NOW <= deadline <= WORLD_NOW + period
        }

    def warned(code: str) -> dict[str, datetime]:
        return {
            order["orderId"]: datetime.fromisoformat(warning["since"])
            for order in orders
            for warning in order.get("warnings", ())
            if warning["code"] == code
        }

    return {
        "SHIPMENT_IS_LATE": warned("SHIPMENT_IS_LATE"),
        "CANCELS_WITHIN_24_HOURS": cancelled_within(DAY),
        "CANCELS_WITHIN_7_DAYS": cancelled_within(7 * DAY),
        "CHARGE_DECLINED": warned("CHARGE_DECLINED"),
        "CANCELLATION_REQUESTED": warned("CANCELLATION_REQUESTED"),
    }


@pytest.mark.parametrize("caller", ["seller", "operator"])
def test_each_warning_counts_the_orders_that_its_link_lists_and_names_the_oldest(world: World, caller: str) -> None:
    # Broken by a condition that differs from the list's, and by a link that leaves the seller to be guessed.
    client: ApiClient = getattr(world, caller)
    shown = warnings(home(client) if caller == "seller" else home(client, sellerId=SELLER))

    expected = expected_warnings([*world.orders])
    assert {*shown} == {*expected}
    for code, warning in shown.items():
        since = expected[code]
        assert since, "a warning without orders proves nothing"
        assert {*listed(client, warning["links"]["orders"])} == since.keys(), code
        assert (warning["count"], warning["capped"]) == (len(since), False)
        oldest, first = warning["oldest"], min(since.values())
        assert datetime.fromisoformat(oldest["since"]) == first == since[oldest["orderId"]]


@pytest.mark.parametrize("code", ["SHIPMENT_IS_LATE", "CANCELS_WITHIN_7_DAYS"])
def test_the_list_of_a_warning_begins_with_the_oldest_where_it_is_sorted_so(world: World, code: str) -> None:
    warning = warnings(home(world.seller))[code]

    assert listed(world.seller, warning["links"]["orders"])[0] == warning["oldest"]["orderId"]


def test_every_status_is_counted_and_its_link_lists_those_orders(world: World) -> None:
    for shown in home(world.seller)["ordersByStatus"]:
        status = shown["fulfillmentStatus"]
        expected = {order["orderId"] for order in world.orders if order["fulfillment"]["fulfillmentStatus"] == status}
        assert {*listed(world.seller, shown["links"]["orders"])} == expected
        assert (shown["count"], shown["capped"]) == (len(expected), False)
    assert [shown["fulfillmentStatus"] for shown in home(world.seller)["ordersByStatus"]] == [*FulfillmentStatus]


def test_a_seller_without_orders_has_a_home_without_warnings_and_rates(
    seller: ApiClient, set_clock: Clock, other_seller: ApiClient
) -> None:
    # Broken by a home that shows another seller's orders.
    put(other_seller, fulfillment__shipByWindow={"latestDateTime": (NOW - HOUR).isoformat()})
    set_clock(NOW)
    shown = home(seller)

    assert (shown["warnings"], shown["dueToday"]) == ([], [])
    assert {status["count"] for status in shown["ordersByStatus"]} == {0}
    for rate in (*shown["lateShipmentRate"], shown["cancellationRate"]):
        assert (rate["orderCount"], rate["isWithinTarget"], "rate" in rate) == (0, True, False)


def test_what_is_due_today_ends_with_the_day_of_its_marketplace(seller: ApiClient, set_clock: Clock) -> None:
    # Broken by days of one zone for all, by an end that belongs to the day, and by orders that are late or not open.
    set_clock(NOW)  # four in the morning in Los Angeles, nine in the evening in Tokyo
    los_angeles, tokyo = datetime(2026, 3, 3, 8, tzinfo=UTC), datetime(2026, 3, 2, 15, tzinfo=UTC)
    last = timedelta(microseconds=1)

    def due(at: datetime, marketplace_id: str = "ATVPDKIKX0DER", **changes: Any) -> str:
        window = {"latestDateTime": at.isoformat()}
        return put(seller, fulfillment__shipByWindow=window, salesChannel__marketplaceId=marketplace_id, **changes)

    in_los_angeles = {due(los_angeles - last), due(NOW + HOUR)}
    in_tokyo = {due(tokyo - last, "A1VC38T7YXB528")}
    due(los_angeles)
    due(tokyo, "A1VC38T7YXB528")
    due(NOW - HOUR)
    due(NOW + HOUR, fulfillment__fulfilledBy="AMAZON")
    due(NOW + HOUR, fulfillment__fulfillmentStatus="PENDING")
    shown = {each["marketplaceId"]: each for each in home(seller)["dueToday"]}

    assert {key: (each["until"], each["count"], each["capped"]) for key, each in shown.items()} == {
        "ATVPDKIKX0DER": ("2026-03-03T08:00:00Z", 2, False),
        "A1VC38T7YXB528": ("2026-03-02T15:00:00Z", 1, False),
    }
    assert {*listed(seller, shown["ATVPDKIKX0DER"]["links"]["orders"])} == in_los_angeles
    assert {*listed(seller, shown["A1VC38T7YXB528"]["links"]["orders"])} == in_tokyo


@pytest.mark.parametrize(
    ("zone", "now", "start", "end"),
    [
        ("America/Los_Angeles", "2026-03-08T12:00Z", "2026-03-08T08:00Z", "2026-03-09T07:00Z"),  # of 23 hours
        ("Africa/Cairo", "2026-04-23T22:30Z", "2026-04-23T22:00Z", "2026-04-24T21:00Z"),  # without a midnight
        ("Asia/Tokyo", "2026-03-02T15:00Z", "2026-03-02T15:00Z", "2026-03-03T15:00Z"),  # at its first instant
    ],
)
def test_a_local_day_ends_where_the_next_one_begins(zone: str, now: str, start: str, end: str) -> None:
    day = local_day(datetime.fromisoformat(now), zone)

    assert day == (datetime.fromisoformat(start), datetime.fromisoformat(end))


def shipped(at: datetime, ship_by: datetime, **changes: Any) -> dict[str, Any]:
    """Return what makes an order one that was confirmed whole at that time."""
    return {
        "createdTime": (min(at, ship_by) - DAY).isoformat(),
        "fulfillment__fulfillmentStatus": "SHIPPED",
        "fulfillment__shipByWindow": {"latestDateTime": ship_by.isoformat()},
        "packages": [
            {
                "packageReferenceId": "1",
                "createdTime": at.isoformat(),
                "packageItems": [{"orderItemId": "1", "quantity": 2}, {"orderItemId": "2", "quantity": 1}],
            }
        ],
    } | changes


def test_late_shipments_are_those_confirmed_in_the_period_after_their_ship_by_date(
    seller: ApiClient, set_clock: Clock
) -> None:
    # Broken by a period that is counted by another time, by the platform's orders, and by what is open still.
    set_clock(NOW)
    ten, thirty = NOW - 10 * DAY, NOW - 30 * DAY
    on_time = [NOW - HOUR, NOW - 2 * DAY, ten + HOUR, thirty + HOUR]
    late = [NOW - DAY, ten - HOUR]
    for moment in on_time:
        put(seller, **shipped(moment, moment))
    for moment in (*late, thirty - HOUR):
        put(seller, **shipped(moment, moment - timedelta(microseconds=1)))
    put(seller, **shipped(NOW - DAY, NOW - 3 * DAY, fulfillment__fulfilledBy="AMAZON"))
    put(seller, fulfillment__shipByWindow={"latestDateTime": (NOW - DAY).isoformat()})
    rates = home(seller)["lateShipmentRate"]

    assert [(rate["periodDays"], rate["lateCount"], rate["orderCount"], rate["rate"]) for rate in rates] == [
        (10, 1, 4, "0.2500"),
        (30, 2, 6, "0.3333"),
    ]
    assert {(rate["target"], rate["isWithinTarget"], rate["capped"]) for rate in rates} == {("0.04", False, False)}


def test_cancellations_are_those_of_the_seller_and_what_was_not_confirmed_in_time(
    seller: ApiClient, operator: ApiClient, database: Database, set_clock: Clock
) -> None:
    # Broken by counting what the channel cancels, what the buyer asks for, or what was cancelled before the period.
    set_clock(NOW)
    recent = NOW - 7 * DAY + HOUR

    def cancelled(at: datetime, told: dict[str, str], **changes: Any) -> None:
        cancellation = {"cancelledTime": at.isoformat()} | told
        document = {"createdTime": (NOW - 20 * DAY).isoformat(), "cancellation": cancellation}
        put(seller, fulfillment__fulfillmentStatus="CANCELLED", **document, **changes)

    no_inventory = {"cancelReason": "NO_INVENTORY"}
    cancelled(recent, no_inventory)
    cancelled(recent, {"cancelReason": "PRICING_ERROR"})
    cancelled(recent - 2 * HOUR, no_inventory)
    cancelled(recent, {"cancelReason": "Buyer's wish"})
    cancelled(recent, {})
    cancelled(recent, no_inventory, fulfillment__fulfilledBy="AMAZON")
    asked, own = put(seller), put(seller)
    assert operator.post(f"/v1/orders/{asked}/cancellation-request", {}, sellerId=SELLER).status_code == 200
    for order_id in (asked, own):
        assert seller.post(f"/v1/orders/{order_id}/cancellation", {"cancelReasonCode": "BUYER_CANCELLED"}).json
    put(seller, createdTime=(NOW - 9 * DAY).isoformat(), fulfillment__fulfilledBy="AMAZON")
    for _ in range(8):
        put(seller, createdTime=(recent + HOUR).isoformat())
    before = home(seller)["cancellationRate"]

    assert (before["cancelledCount"], before["orderCount"], before["rate"]) == (3, 10, "0.3000")
    assert (before["target"], before["isWithinTarget"], before["periodDays"]) == ("0.025", False, 7)
    set_clock(NOW + 20 * DAY)
    sweep(database, requested_by="test")
    after = home(seller)["cancellationRate"]
    assert (after["cancelledCount"], after["orderCount"], "rate" in after, after["isWithinTarget"]) == (
        8,
        0,
        False,
        False,
    )


@pytest.mark.parametrize(
    ("failed", "orders", "target", "value", "is_within"),
    [
        (0, 0, LATE_SHIPMENT_TARGET, None, True),
        (5, 0, CANCELLATION_TARGET, None, False),
        (0, 9, LATE_SHIPMENT_TARGET, Decimal(0), True),
        (3999, 100_000, LATE_SHIPMENT_TARGET, Decimal("0.03999"), True),
        (4, 100, LATE_SHIPMENT_TARGET, Decimal("0.04"), False),
        (1, 40, CANCELLATION_TARGET, Decimal("0.025"), False),
        (3, 2, CANCELLATION_TARGET, Decimal("1.5"), False),
    ],
)
def test_a_rate_is_within_its_target_only_below_it(
    failed: int, orders: int, target: Decimal, value: Decimal | None, *, is_within: bool
) -> None:
    rate = Rate(7, target, failed, orders, capped=False)

    assert (rate.value, rate.is_within_target) == (value, is_within)


def test_the_reasons_that_count_as_the_sellers_are_all_that_a_seller_can_give_and_the_sweeps() -> None:
    assert {*SELLER_CANCEL_REASONS} == {*CancelReason, "NOT_CONFIRMED_IN_TIME"}


def test_lateness_stays_until_all_is_confirmed_and_a_refund_of_the_rest_does_not_end_it(
    seller: ApiClient, set_clock: Clock
) -> None:
    set_clock(NOW)
    order_id = put(seller, fulfillment__shipByWindow={"latestDateTime": (NOW + HOUR).isoformat()})
    package = f"/v1/orders/{order_id}/shipment-confirmations"
    assert "SHIPMENT_IS_LATE" not in warnings(home(seller))
    assert seller.post(package, confirmation("1", orderItems=[{"orderItemId": "1", "quantity": 2}])).status_code == 201
    set_clock(NOW + 2 * HOUR)
    refund = {"reason": "COULD_NOT_SHIP", "amount": {"amount": "20.00", "currencyCode": "USD"}}
    key = {"Idempotency-Key": "the rest"}
    assert seller.request("POST", f"/v1/orders/{order_id}/refunds", json=refund, headers=key).status_code == 201

    assert warnings(home(seller))["SHIPMENT_IS_LATE"]["oldest"]["orderId"] == order_id
    assert seller.post(package, confirmation("2")).status_code == 201
    assert "SHIPMENT_IS_LATE" not in warnings(home(seller))


def test_the_home_is_not_sent_again_while_it_is_the_same(seller: ApiClient, set_clock: Clock) -> None:
    # Broken by content that tells the time.
    set_clock(NOW)
    put(seller, fulfillment__shipByWindow={"latestDateTime": (NOW + HOUR).isoformat()})
    tag = {"If-None-Match": seller.get(HOME).headers["ETag"]}
    set_clock(NOW + HOUR / 2)

    assert seller.request("GET", HOME, headers=tag).status_code == 304
    set_clock(NOW + 2 * HOUR)
    assert seller.request("GET", HOME, headers=tag).status_code == 200


def test_the_home_names_what_is_wrong_with_a_request(seller: ApiClient, operator: ApiClient) -> None:
    assert operator.get(HOME).get_json()["errors"] == [{"detail": "name the seller", "parameter": "sellerId"}]
    assert seller.get(HOME, sellerId=OTHER_SELLER).status_code == 404
    assert seller.get(HOME, colour="red").status_code == 422


# Of each kind, more than is counted: late and not, the platform's, about to be cancelled, due, shipped, cancelled.
_KINDS: LiteralString = """
(VALUES
    ('L', 'UNSHIPPED', 'MERCHANT', interval '-2 days', 1200),
    ('P', 'UNSHIPPED', 'AMAZON', interval '-9 days', 2000),
    ('C', 'UNSHIPPED', 'MERCHANT', interval '-8 days', 1200),
    ('D', 'UNSHIPPED', 'MERCHANT', interval '1 hour', 1200),
    ('S', 'SHIPPED', 'MERCHANT', interval '-2 days', 10100),
    ('X', 'CANCELLED', 'MERCHANT', interval '-2 days', 3000)
) AS kind (prefix, status, fulfilled_by, ships_in, number)
"""


@pytest.fixture
def many_orders(owner: psycopg.Connection, database: Database, set_clock: Clock) -> None:
    """Put 18,700 orders of the first seller into the tables, placed within a week."""
    del database
    set_clock(NOW)
    owner.execute(
        f"""
        SET app.test_now = '2026-03-02 12:00Z';
        INSERT INTO orders (
            seller_id, order_id, version, created_time, last_updated_time, marketplace_id, policy_version, channel_name,
            fulfilled_by, fulfillment_status, payment_status, ship_by_latest, confirm_by, grand_total, currency_code,
            confirmed_time,
            shipped_time, cancelled_time, cancel_reason, channel_digest, sales_channel, details
        )
        SELECT 'A1SELLER', prefix || n, 1, moment, moment, 'ATVPDKIKX0DER', 1, 'AMAZON', fulfilled_by, status,
            CASE status WHEN 'UNSHIPPED' THEN 'AUTHORIZED' WHEN 'SHIPPED' THEN 'CHARGED' ELSE 'UNPAID' END, ship_by,
            CASE WHEN fulfilled_by = 'MERCHANT' THEN ship_by + interval '8 days 12 hours' END, 10, 'USD',
            CASE WHEN status = 'SHIPPED' THEN moment END, CASE WHEN status = 'SHIPPED' THEN moment END,
            CASE WHEN status = 'CANCELLED' THEN moment END, CASE WHEN status = 'CANCELLED' THEN 'NO_INVENTORY' END, '',
            '{{"channelName":"AMAZON","marketplaceId":"ATVPDKIKX0DER"}}', ''
        FROM (
            SELECT *, current_setting('app.test_now')::timestamptz - n * interval '10 seconds' AS moment,
                current_setting('app.test_now')::timestamptz + ships_in + n * interval '1 second' AS ship_by
            FROM {_KINDS} CROSS JOIN LATERAL generate_series(1, kind.number) AS n
        ) AS made;
        INSERT INTO order_items SELECT seller_id, order_id, '1', 0, 1,
            (fulfillment_status = 'SHIPPED')::integer, ',"product":{{}}', '' FROM orders;
        INSERT INTO packages (seller_id, order_id, package_reference_id, created_time, package_status)
        SELECT seller_id, order_id, '1', created_time, 'SHIPPED' FROM orders WHERE fulfillment_status = 'SHIPPED';
        INSERT INTO package_items SELECT seller_id, order_id, '1', '1', 1 FROM packages;
        INSERT INTO charges (
            seller_id, order_id, amount, currency_code, charge_status, settled_outside, requested_time, charged_time
        )
        SELECT seller_id, order_id, 10, 'USD', 'SUCCEEDED', true, created_time, created_time FROM packages;
        INSERT INTO order_events (
            seller_id, order_id, version, event_type, event_time, actor, details, ship_by_sort, confirm_by_sort,
            grand_total_sort
        )
        SELECT seller_id, order_id, 1, 'ORDER_RECEIVED', created_time, 'test', '{{}}', ship_by_sort, confirm_by_sort,
            grand_total_sort
        FROM orders;
        """
    )
    owner.execute("VACUUM (ANALYZE) orders")


@pytest.mark.usefixtures("many_orders")
def test_the_home_of_a_large_seller_is_counted_to_a_cap_and_read_no_further(
    seller: ApiClient, database: Database
) -> None:
    shown = home(seller)

    found = {code: (each["count"], each["capped"]) for code, each in warnings(shown).items()}
    assert found == dict.fromkeys(
        ("SHIPMENT_IS_LATE", "CANCELS_WITHIN_24_HOURS", "CANCELS_WITHIN_7_DAYS"), (1000, True)
    )
    assert [(each["count"], each["capped"]) for each in shown["dueToday"]] == [(1000, True)]
    by_status = {each["fulfillmentStatus"]: (each["count"], each["capped"]) for each in shown["ordersByStatus"]}
    assert by_status["UNSHIPPED"] == by_status["SHIPPED"] == by_status["CANCELLED"] == (1000, True)
    assert by_status["PENDING"] == by_status["PARTIALLY_SHIPPED"] == (0, False)
    assert [(rate["lateCount"], rate["orderCount"], rate["capped"]) for rate in shown["lateShipmentRate"]] == [
        (10_000, 10_000, True)
    ] * 2
    # 2,000 of the newest 10,000 are the platform's; cancellations from before their time do not belong to them.
    cancelled = shown["cancellationRate"]
    assert cancelled["capped"]
    assert (cancelled["orderCount"], cancelled["cancelledCount"]) == (8000, 2200)
    assert broken_plans(database) == []


def broken_plans(database: Database) -> list[str]:
    """Return where a query of the home reads or sorts more than its cap, as the role of the service."""
    now = NOW + timedelta(seconds=1)
    statements: list[tuple[Any, dict[str, Any], int]] = [
        (queries.ATTENDED, {}, queries.COUNT_CAP + 1),
        (queries.STATUSES, {"statuses": [*FulfillmentStatus]}, queries.COUNT_CAP + 1),
        (queries.RATES, {"reasons": [*SELLER_CANCEL_REASONS]}, queries.RATE_CAP),
        (
            queries.DUE_TODAY,
            {
                "now": now,
                "last_end": NOW + DAY,
                "marketplace_ids": ["ATVPDKIKX0DER"],
                "starts": [NOW - DAY / 2],
                "ends": [NOW + DAY / 2],
            },
            queries.COUNT_CAP + 1,
        ),
    ]
    found: list[str] = []
    for statement, parameters, cap in statements:
        with database.seller_transaction(SELLER) as connection:
            explain: Any = "EXPLAIN (ANALYZE, FORMAT JSON, TIMING OFF) " + statement
            ((plan,),) = connection.execute(explain, parameters | {"seller_id": SELLER}).fetchall()
        for node in nodes(plan[0]["Plan"]):
            kind = node["Node Type"]
            read = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
            if node.get("Relation Name") == "orders" and (read > cap or kind == "Seq Scan"):
                found.append(f"{kind} of {node.get('Index Name')} reads {read:.0f}")
            if kind == "Sort" and node["Input Rows"] > queries.COUNT_CAP:
                found.append(f"sorts {node['Input Rows']:.0f} rows by {', '.join(node['Sort Key'])}")
    return found

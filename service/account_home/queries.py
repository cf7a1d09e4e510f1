"""What the account home shows, read along indexes and no further than to a cap, however many orders there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

import psycopg
from psycopg.rows import class_row

from service.account_home.rules import CANCELLATION_TARGET, LATE_SHIPMENT_TARGET, SELLER_CANCEL_REASONS, Rate
from service.business_days import local_day
from service.marketplaces.queries import Marketplace, find_marketplaces
from service.orders.order_json import CANCELLATION_IS_REQUESTED, IS_LATE
from service.orders.rules import FulfillmentStatus

# How many index entries are read for one figure, or one rate. They stand in the SQL itself, where the planner reads
# them.
_COUNT_LIMIT: LiteralString = "1001"
_RATE_LIMIT: LiteralString = "10000"
COUNT_CAP, RATE_CAP = int(_COUNT_LIMIT) - 1, int(_RATE_LIMIT)


@dataclass(frozen=True, slots=True)
class Attended:
    """Orders that a warning is about: how many, and which one it has been true of the longest."""

    code: str
    number: int
    order_id: str
    since: datetime


@dataclass(frozen=True, slots=True)
class DueToday:
    """Orders of a marketplace to be shipped in what is left of its present day, or more (`capped`)."""

    marketplace_id: str
    day_start: datetime
    day_end: datetime
    number: int
    capped: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """A seller's account home."""

    computed_time: datetime
    attended: Mapping[str, Attended]
    number_by_status: Mapping[str, int]
    due_today: Sequence[DueToday]
    late_shipment_rates: Sequence[Rate]
    cancellation_rate: Rate


def find_home(connection: psycopg.Connection, seller_id: str) -> Home:
    """Return the account home of a seller, in a pipeline: nothing waits for an answer before it has to."""
    seller = {"seller_id": seller_id}
    with connection.cursor(row_factory=class_row(Attended)) as attended:
        attended.execute(ATTENDED, seller)
        statuses = connection.execute(STATUSES, seller | {"statuses": list(FulfillmentStatus)})
        rates = connection.execute(RATES, seller | {"reasons": list(SELLER_CANCEL_REASONS)})
        marketplaces = find_marketplaces(connection)
        now, late_rates, cancellation_rate = _read_rates(rates)
        return Home(
            computed_time=now,
            attended={each.code: each for each in attended},
            number_by_status=dict(statuses),
            due_today=_find_due_today(connection, seller_id, marketplaces, now),
            late_shipment_rates=late_rates,
            cancellation_rate=cancellation_rate,
        )


def _attended(
    code: LiteralString, since: LiteralString, condition: LiteralString, sort: LiteralString
) -> LiteralString:
    """Return the query of one warning: the walk goes along `sort`, which the oldest order is first by."""
    return f"""
    SELECT '{code}' AS code, count(*) AS number, (array_agg(found.order_id))[1] AS order_id, min(found.since) AS since
    FROM (
        SELECT o.order_id, {since} AS since FROM orders o
        WHERE o.seller_id = %(seller_id)s AND {condition}
        ORDER BY {sort}, o.order_id LIMIT {_COUNT_LIMIT}
    ) AS found
    HAVING count(*) > 0
    """


def _cancelled_within(period: LiteralString) -> LiteralString:
    return f"""
    o.fulfilled_by = 'MERCHANT' AND o.fulfillment_status = 'UNSHIPPED'
        AND o.confirm_by_sort BETWEEN (SELECT app_now()) AND (SELECT app_now() + interval '{period}')
    """


ATTENDED: LiteralString = " UNION ALL ".join(
    (
        _attended("SHIPMENT_IS_LATE", "o.ship_by_sort", IS_LATE, "o.ship_by_sort"),
        _attended(
            "CANCELS_WITHIN_24_HOURS",
            "o.confirm_by - interval '24 hours'",
            _cancelled_within("24 hours"),
            "o.confirm_by_sort",
        ),
        _attended(
            "CANCELS_WITHIN_7_DAYS",
            "o.confirm_by - interval '7 days'",
            _cancelled_within("7 days"),
            "o.confirm_by_sort",
        ),
        _attended(
            "CHARGE_DECLINED", "o.charge_declined_time", "o.charge_declined_time IS NOT NULL", "o.charge_declined_time"
        ),
        _attended(
            "CANCELLATION_REQUESTED",
            "o.cancellation_requested_time",
            CANCELLATION_IS_REQUESTED,
            "o.cancellation_requested_time",
        ),
    )
)

STATUSES: LiteralString = f"""
SELECT kind.status, counted.number FROM unnest(%(statuses)s::text[]) AS kind (status)
CROSS JOIN LATERAL (
    SELECT count(*) FROM (
        SELECT FROM orders o
        WHERE o.seller_id = %(seller_id)s AND o.fulfillment_status = kind.status LIMIT {_COUNT_LIMIT}
    ) AS members
) AS counted (number)
"""

# Shipments are judged by when the last item was confirmed (D4). A seller with more orders than the limit has the newest
# judged; cancellations are then those of the same, shorter time.
RATES: LiteralString = f"""
WITH shipped AS (
    SELECT o.shipped_time > o.ship_by_latest AS is_late,
        o.shipped_time >= (SELECT app_now() - interval '10 days') AS is_recent
    FROM orders o
    WHERE o.seller_id = %(seller_id)s AND o.fulfilled_by = 'MERCHANT'
        AND o.shipped_time BETWEEN (SELECT app_now() - interval '30 days') AND (SELECT app_now())
    ORDER BY o.shipped_time DESC, o.order_id DESC LIMIT {_RATE_LIMIT}
), placed AS (
    SELECT o.created_time, o.fulfilled_by FROM orders o
    WHERE o.seller_id = %(seller_id)s
        AND o.created_time BETWEEN (SELECT app_now() - interval '7 days') AND (SELECT app_now())
    ORDER BY o.created_time DESC, o.order_id DESC LIMIT {_RATE_LIMIT}
), period AS (
    SELECT count(*) FILTER (WHERE fulfilled_by = 'MERCHANT') AS orders, count(*) = {_RATE_LIMIT} AS capped,
        CASE count(*) WHEN {_RATE_LIMIT} THEN min(created_time) ELSE app_now() - interval '7 days' END AS since
    FROM placed
), cancelled AS (
    SELECT o.cancel_reason, o.cancellation_requested_time FROM orders o
    WHERE o.seller_id = %(seller_id)s AND o.fulfilled_by = 'MERCHANT'
        AND o.cancelled_time BETWEEN (SELECT since FROM period) AND (SELECT app_now())
    ORDER BY o.cancelled_time DESC, o.order_id DESC LIMIT {_RATE_LIMIT}
)
SELECT app_now(),
    (SELECT ARRAY[count(*) FILTER (WHERE is_late AND is_recent), count(*) FILTER (WHERE is_recent),
        count(*) FILTER (WHERE is_late), count(*)] FROM shipped),
    (SELECT count(*) FROM cancelled WHERE cancel_reason = ANY(%(reasons)s) AND cancellation_requested_time IS NULL),
    period.orders, period.capped OR (SELECT count(*) FROM cancelled) = {_RATE_LIMIT}
FROM period
"""


def _read_rates(cursor: psycopg.Cursor) -> tuple[datetime, Sequence[Rate], Rate]:
    row = cursor.fetchone()
    if row is None:
        raise LookupError("rates are one row")
    now, (late_10, shipped_10, late_30, shipped_30), cancelled, placed, capped = row
    late_rates = (
        Rate(10, LATE_SHIPMENT_TARGET, late_10, shipped_10, shipped_10 == RATE_CAP),
        Rate(30, LATE_SHIPMENT_TARGET, late_30, shipped_30, shipped_30 == RATE_CAP),
    )
    return now, late_rates, Rate(7, CANCELLATION_TARGET, cancelled, placed, capped)


# The walk meets the orders of all marketplaces by their ship-by instants, and ends with the last day of them all.
# Where it is cut short, those of a day that had not ended by then may be more.
DUE_TODAY: LiteralString = f"""
WITH looked AS (
    SELECT o.marketplace_id, o.ship_by_sort FROM orders o
    WHERE o.seller_id = %(seller_id)s
        AND o.fulfilled_by = 'MERCHANT' AND o.fulfillment_status IN ('UNSHIPPED', 'PARTIALLY_SHIPPED')
        AND o.ship_by_sort >= %(now)s AND o.ship_by_sort < %(last_end)s
    ORDER BY o.ship_by_sort, o.order_id LIMIT {_COUNT_LIMIT}
)
SELECT day.marketplace_id, day.day_start, day.day_end, count(*) AS number,
    (SELECT count(*) = {_COUNT_LIMIT} AND max(ship_by_sort) < day.day_end FROM looked) AS capped
FROM unnest(%(marketplace_ids)s::text[], %(starts)s::timestamptz[], %(ends)s::timestamptz[])
    AS day (marketplace_id, day_start, day_end)
JOIN looked ON looked.marketplace_id = day.marketplace_id AND looked.ship_by_sort < day.day_end
GROUP BY day.marketplace_id, day.day_start, day.day_end
ORDER BY day.marketplace_id
"""


def _find_due_today(
    connection: psycopg.Connection, seller_id: str, marketplaces: Sequence[Marketplace], now: datetime
) -> list[DueToday]:
    days: dict[str, tuple[datetime, datetime]] = {}
    for each in marketplaces:
        with suppress(ValueError):  # A zone that this host has lost has no day here.
            days[each.marketplace_id] = local_day(now, each.time_zone)
    with connection.cursor(row_factory=class_row(DueToday)) as cursor:
        return cursor.execute(
            DUE_TODAY,
            {
                "seller_id": seller_id,
                "now": now,
                "last_end": max((end for _, end in days.values()), default=now),
                "marketplace_ids": list(days),
                "starts": [start for start, _ in days.values()],
                "ends": [end for _, end in days.values()],
            },
        ).fetchall()

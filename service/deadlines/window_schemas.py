"""The wire shape of business days, and of how an order's deadline came about."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, get_args

from service.business_days import CountedDay, DayReason
from service.deadlines.changes_rules import ChangeType
from service.deadlines.window_queries import MAX_EXTENSIONS, Extension
from service.deadlines.window_rules import NoWindow, Window, WindowOrder
from service.fields import Boolean, Choice, Day, Integer, List, Nested, Text, Timestamp
from service.input import QueryInteger
from service.marketplaces.queries import Marketplace
from service.orders.item_schemas import IDENTIFIER
from service.orders.payment_schemas import UUID
from service.schema import Schema

MAX_DAYS = 366
# Six days of a week may be its weekend, and years have their holidays.
_MAX_LISTED = 20_000

_REASONS = (
    "Why it is skipped, or counted all the same. WEEKEND, HOLIDAY: of the country, or the policy's weekend. "
    "EXTRA_HOLIDAY, EXTRA_WORKING_DAY: of the policy. WEEKEND_WORKDAY: a weekend day that the country works. "
    "SKIPPED_BY_ZONE: the time zone does not have this date. Absent of an ordinary business day."
)


class CountedDaySchema(Schema):
    """A day, and whether it counts."""

    date = Day("The local date.", required=True)
    counts = Boolean("Whether it is a business day.", required=True)
    number = Integer("Which business day it is; absent where it is skipped.", minimum=1)
    reason = Choice(get_args(DayReason), _REASONS)
    name = Text("Name of the holiday.", max_length=500)


class BusinessDaysQuery(Schema):
    """From which day on, how many, and where."""

    marketplace_id = Text("The marketplace.", max_length=50, pattern=IDENTIFIER, required=True, example="ATVPDKIKX0DER")
    from_date = Day("The day before the first that is looked at.", data_key="from", required=True, example="2026-03-06")
    days = QueryInteger("How many business days are counted.", minimum=1, maximum=MAX_DAYS, required=True, example=7)


class BusinessDaysSchema(Schema):
    """The days after a date, until so many are counted."""

    marketplace_id = Text("The marketplace.", max_length=50, pattern=IDENTIFIER, required=True)
    policy_version = Integer("The policy that they are counted by, the present one.", required=True)
    time_zone = Text("Time zone in which days begin and end.", required=True)
    from_date = Day("The day before the first of them.", data_key="from", required=True)
    days = List(Nested(CountedDaySchema), "Each day, counted or skipped.", max_items=_MAX_LISTED, required=True)
    last_business_day = Day("The last day that is counted.", required=True)
    until = Timestamp("The first instant after it.", required=True)


class ExtensionEntrySchema(Schema):
    """A change that moved the deadline to later."""

    change_id = Text("The change.", min_length=36, max_length=36, pattern=UUID, required=True)
    change_type = Choice(tuple(ChangeType), "Operations extended it, or the policy was changed.", required=True)
    reason = Text("Why.", max_length=500, required=True)
    time = Timestamp("When.", required=True)
    was = Timestamp("`confirmBy` before.", required=True)
    now = Timestamp("`confirmBy` afterwards.", data_key="is", required=True)


class WindowSchema(Schema):
    """How the deadline of an order came about. Where none applies, only the reason is told."""

    order_id = Text("The order.", max_length=50, pattern=IDENTIFIER, required=True)
    applies = Boolean("Whether the order has a confirmation window.", required=True)
    reason = Choice(tuple(NoWindow), "Why it has none; absent where it has one.")
    marketplace_id = Text("The marketplace.", max_length=50, pattern=IDENTIFIER)
    policy_version = Integer("The policy that the order was counted by.", minimum=1)
    country_code = Text("Country whose working days count.", max_length=2)
    time_zone = Text("Time zone in which days begin and end.")
    window_business_days = Integer("Length of the window.", minimum=1)
    ship_by = Timestamp("The ship-by date as it was told.")
    ship_by_date = Day("The local date of it, from which days are counted.")
    days = List(Nested(CountedDaySchema), "Each day after it, to the last of the window.", max_items=_MAX_LISTED)
    counted_confirm_by = Timestamp("The first instant after the last of these days.")
    extended_until = Timestamp("What operations have promised; absent where nothing was.")
    extensions = List(
        Nested(ExtensionEntrySchema),
        "What moved the deadline to later, the newest first; absent where nothing did.",
        max_items=MAX_EXTENSIONS,
    )
    confirm_by = Timestamp("The deadline that holds.")
    is_closed = Boolean("Whether it has come.")
    remaining_seconds = Integer(
        "Whole seconds that are left, rounded up; 0 once it has come.", minimum=0, maximum=2**53
    )


DAYS: list[dict[str, Any]] = [
    {"date": "2026-03-07", "counts": False, "reason": "WEEKEND"},
    {"date": "2026-03-08", "counts": False, "reason": "WEEKEND"},
    {"date": "2026-03-09", "counts": True, "number": 1},
]
BUSINESS_DAYS: dict[str, Any] = {
    "marketplaceId": "ATVPDKIKX0DER",
    "policyVersion": 1,
    "timeZone": "America/Los_Angeles",
    "from": "2026-03-06",
    "days": DAYS,
    "lastBusinessDay": "2026-03-09",
    "until": "2026-03-10T07:00:00Z",
}
WINDOW: dict[str, Any] = {
    "orderId": "902-3159896-1390916",
    "applies": True,
    "marketplaceId": "ATVPDKIKX0DER",
    "policyVersion": 1,
    "countryCode": "US",
    "timeZone": "America/Los_Angeles",
    "windowBusinessDays": 1,
    "shipBy": "2026-03-06T20:00:00Z",
    "shipByDate": "2026-03-06",
    "days": DAYS,
    "countedConfirmBy": "2026-03-10T07:00:00Z",
    "extendedUntil": "2026-03-11T07:00:00Z",
    "extensions": [
        {
            "changeId": "7c9e6679-7425-40de-944b-e07fc1f90ae7",
            "changeType": "EXTENSION",
            "reason": "The service was down for an hour",
            "time": "2026-03-09T16:20:41Z",
            "was": "2026-03-10T07:00:00Z",
            "is": "2026-03-11T07:00:00Z",
        }
    ],
    "confirmBy": "2026-03-11T07:00:00Z",
    "isClosed": False,
    "remainingSeconds": 139159,
}


def day_json(day: CountedDay) -> dict[str, Any]:
    """Return a day as the schema dumps it."""
    told = {"number": day.number, "reason": day.reason, "name": day.name}
    return {
        "date": day.date,
        "counts": day.number is not None,
        **{name: value for name, value in told.items() if value is not None},
    }


def window_json(
    order_id: str, order: WindowOrder, marketplace: Marketplace, window: Window, extensions: Sequence[Extension]
) -> dict[str, Any]:
    """Return how a deadline came about as the schema dumps it."""
    told = {
        "order_id": order_id,
        "applies": True,
        "marketplace_id": order.marketplace_id,
        "policy_version": order.policy_version,
        "country_code": marketplace.country_code,
        "time_zone": marketplace.time_zone,
        "window_business_days": marketplace.window_business_days,
        "ship_by": window.ship_by,
        "ship_by_date": window.ship_by_date,
        "days": [day_json(day) for day in window.days],
        "counted_confirm_by": window.counted_confirm_by,
        "extended_until": window.extended_until,
        "extensions": [_extension_json(each) for each in extensions] or None,
        "confirm_by": window.confirm_by,
        "is_closed": window.is_closed,
        "remaining_seconds": window.remaining_seconds,
    }
    return {name: value for name, value in told.items() if value is not None}


def _extension_json(extension: Extension) -> dict[str, Any]:
    moved = extension.details["confirmBy"]
    return {
        "change_id": extension.details["deadlineChangeId"],
        "change_type": extension.details["changeType"],
        "reason": extension.details["reason"],
        "time": extension.event_time,
        "was": datetime.fromisoformat(moved["was"]),
        "now": datetime.fromisoformat(moved["is"]),
    }

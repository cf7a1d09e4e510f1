"""The wire shape of marketplaces and their confirmation policies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from service.business_days import MAX_EXTRA_DAYS, MAX_HOLIDAY_NAME, MAX_WINDOW, ConfirmationPolicy, InvalidPolicy
from service.errors import FieldError, InvalidRequest
from service.fields import Boolean, Choice, Day, Integer, List, Nested, Text, Timestamp
from service.input import QueryBoolean
from service.marketplaces.calendars import Calendar
from service.marketplaces.queries import Marketplace
from service.orders.item_schemas import IDENTIFIER
from service.orders.payment_schemas import UUID
from service.schema import Schema, camel_case

WEEKDAYS = ("MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY")
MAX_MARKETPLACES, _MAX_YEARS = 10_000, 1000

MARKETPLACE_NAME = Text("Its name.", pattern=r"[^\t\r\n]+", required=True)


class ExtraHolidaySchema(Schema):
    """A day that does not count, though the country works."""

    date = Day("The day.", required=True)
    name = Text("Why it does not count.", max_length=MAX_HOLIDAY_NAME, required=True)


class PolicySchema(Schema):
    """How a marketplace counts its confirmation window."""

    marketplace_name = MARKETPLACE_NAME
    country_code = Text(
        "ISO 3166-1 code of the country whose working days count.", min_length=2, max_length=2, required=True
    )
    time_zone = Text("IANA time zone in which days begin and end.", max_length=50, required=True)
    window_business_days = Integer(
        "Business days after the ship-by date in which a shipment can be confirmed.",
        minimum=1,
        maximum=MAX_WINDOW,
        required=True,
    )
    weekend = List(Choice(WEEKDAYS), "The days of its weekend; the country's when left out.", max_items=6)
    extra_working_days = List(Day(), "Days that count, whatever the calendar says.", max_items=MAX_EXTRA_DAYS)
    extra_holidays = List(
        Nested(ExtraHolidaySchema), "Days that do not count, though the country works.", max_items=MAX_EXTRA_DAYS
    )


class PolicyChangeSchema(PolicySchema):
    """A whole policy, and why it takes the place of the present one."""

    reason = Text("Why, for whoever reads it later.", max_length=500, required=True)
    retake_calendar = Boolean(
        "Make a new version even where nothing differs, which counts by the days that the service's library has now."
    )


class PolicyQuery(Schema):
    """Whether the policy is only looked at."""

    dry_run = QueryBoolean("Write nothing, and show what the policy would mean.", example=False)


class CalendarSchema(Schema):
    """A year whose days are stored, so that a newer library moves no deadline."""

    year = Integer("The year.", required=True)
    library_version = Text("Version of the library that the days were taken from.", required=True)
    taken_time = Timestamp("When.", required=True)


class MarketplaceSchema(Schema):
    """A marketplace, and its present policy."""

    marketplace_id = Text("The marketplace.", max_length=50, pattern=IDENTIFIER, required=True)
    marketplace_name = MARKETPLACE_NAME
    policy_version = Integer("Version of the policy; orders keep the one they were counted by.", required=True)
    country_code = Text("Country whose working days count.", min_length=2, max_length=2, required=True)
    time_zone = Text("Time zone in which days begin and end.", max_length=50, required=True)
    window_business_days = Integer("Length of the window.", minimum=1, maximum=MAX_WINDOW, required=True)
    weekend = List(
        Choice(WEEKDAYS), "The weekend in force; absent where the country's is not known for this year.", max_items=7
    )
    weekend_is_countrys = Boolean("Whether it is the country's.", required=True)
    extra_working_days = List(Day(), "Days that count.", max_items=MAX_EXTRA_DAYS, required=True)
    extra_holidays = List(Nested(ExtraHolidaySchema), "Days that do not.", max_items=MAX_EXTRA_DAYS, required=True)
    created_time = Timestamp("When the policy was made; absent in a preview.")
    created_by = Text("Who made it.", required=True)
    reason = Text("Why; absent of a first version.", max_length=500)
    calendars = List(Nested(CalendarSchema), "The years that are stored for it.", max_items=_MAX_YEARS, required=True)


class MarketplaceListSchema(Schema):
    """The marketplaces, by id."""

    marketplaces = List(Nested(MarketplaceSchema), "The marketplaces.", max_items=MAX_MARKETPLACES, required=True)


class OpenOrdersSchema(Schema):
    """What a policy means for the open orders of its marketplace."""

    later_count = Integer("Orders whose `confirmBy` it moves to later.", minimum=0, required=True)
    earlier_count = Integer("Orders that would come earlier, and stay as they are.", minimum=0, required=True)
    unchanged_count = Integer("Orders to which it makes no difference.", minimum=0, required=True)


class PolicyAnswerSchema(MarketplaceSchema):
    """The policy as it stands, or would stand."""

    open_orders = Nested(OpenOrdersSchema, "What it means for open orders; absent where nothing differs.")
    change_id = Text(
        "The change that counts the open orders anew: see `GET /v1/deadline-extensions/{extensionId}`. Absent in a "
        "preview, and where nothing differs.",
        min_length=36,
        max_length=36,
        pattern=UUID,
    )
    note = Text("What to know of it.", max_length=300)


POLICY_CHANGE: dict[str, Any] = {
    "marketplaceName": "Amazon.com.br",
    "countryCode": "BR",
    "timeZone": "America/Sao_Paulo",
    "windowBusinessDays": 10,
    "extraHolidays": [{"date": "2026-12-24", "name": "Christmas Eve"}],
    "reason": "The carriers are on strike",
}
MARKETPLACE: dict[str, Any] = {
    "marketplaceId": "A2Q3Y263D00KWC",
    **{name: value for name, value in POLICY_CHANGE.items() if name != "reason"},
    "policyVersion": 2,
    "weekend": ["SATURDAY", "SUNDAY"],
    "weekendIsCountrys": True,
    "extraWorkingDays": [],
    "createdTime": "2026-03-06T15:00:00Z",
    "createdBy": "token:13a16741-579d-43c5-a213-6ba3887037ae",
    "reason": POLICY_CHANGE["reason"],
    "calendars": [{"year": 2026, "libraryVersion": "0.79", "takenTime": "2026-03-06T15:00:00Z"}],
}
POLICY_ANSWER: dict[str, Any] = MARKETPLACE | {
    "openOrders": {"laterCount": 120, "earlierCount": 0, "unchangedCount": 3},
    "changeId": "7c9e6679-7425-40de-944b-e07fc1f90ae7",
}


def read_policy(loaded: Mapping[str, Any]) -> ConfirmationPolicy:
    """Return the policy that the schema loaded; raise `InvalidRequest` where it names a day twice."""
    working_days: Sequence[date] = loaded.get("extra_working_days", ())
    holidays: Sequence[Mapping[str, Any]] = loaded.get("extra_holidays", ())
    errors = [
        *_repeated("/extraWorkingDays/{}", working_days),
        *_repeated("/extraHolidays/{}/date", [each["date"] for each in holidays]),
    ]
    if errors:
        raise InvalidRequest("the policy contradicts itself", *errors)
    weekend: Sequence[str] | None = loaded.get("weekend")
    return ConfirmationPolicy(
        loaded["country_code"],
        loaded["time_zone"],
        loaded["window_business_days"],
        None if weekend is None else frozenset(WEEKDAYS.index(day) + 1 for day in weekend),
        frozenset(working_days),
        {each["date"]: each["name"] for each in holidays},
    )


def invalid_request(error: InvalidPolicy) -> InvalidRequest:
    """Return the problem that says which field of a policy is wrong."""
    return InvalidRequest(
        "no deadline could be counted by the policy", FieldError(str(error), f"/{camel_case(error.field)}")
    )


def _repeated(pointer: str, days: Sequence[date]) -> Iterable[FieldError]:
    first = {day: number for number, day in reversed([*enumerate(days)])}
    return [
        FieldError("is listed before", pointer.format(number)) for number, day in enumerate(days) if first[day] < number
    ]


def marketplace_json(
    marketplace: Marketplace, policy: ConfirmationPolicy, calendars: Sequence[Calendar], now: datetime
) -> dict[str, Any]:
    """Return a marketplace as the schema dumps it; the policy tells the weekend in force."""
    told = {
        "marketplace_id": marketplace.marketplace_id,
        "marketplace_name": marketplace.marketplace_name,
        "policy_version": marketplace.policy_version,
        "country_code": marketplace.country_code,
        "time_zone": marketplace.time_zone,
        "window_business_days": marketplace.window_business_days,
        "weekend": _weekend(policy, now),
        "weekend_is_countrys": marketplace.weekend is None,
        "extra_working_days": sorted(marketplace.extra_working_days),
        "extra_holidays": [{"date": day, "name": name} for day, name in sorted(marketplace.extra_holidays.items())],
        "created_time": marketplace.created_time,
        "created_by": marketplace.created_by,
        "reason": marketplace.reason,
        "calendars": calendars,
    }
    return {name: value for name, value in told.items() if value is not None}


def _weekend(policy: ConfirmationPolicy, now: datetime) -> list[str] | None:
    if policy.weekend is not None:
        return [WEEKDAYS[day - 1] for day in sorted(policy.weekend)]
    try:
        return [WEEKDAYS[day - 1] for day in sorted(policy.year(now.year).weekend)]
    except ValueError:  # no deadline can be counted in such a year either
        return None

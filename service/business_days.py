"""Deadlines counted in the business days of a marketplace's country (R8, D1)."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from functools import cache, lru_cache
from typing import Literal, TypeAlias
from zoneinfo import ZoneInfo, available_timezones

from holidays import country_holidays, list_supported_countries

MAX_WINDOW, MAX_EXTRA_DAYS, MAX_HOLIDAY_NAME = 30, 366, 100

DayReason: TypeAlias = Literal[
    "WEEKEND", "HOLIDAY", "EXTRA_HOLIDAY", "EXTRA_WORKING_DAY", "WEEKEND_WORKDAY", "SKIPPED_BY_ZONE"
]

_ONE_DAY = timedelta(days=1)
_SECONDS_OF_A_DAY = 86_400
# What the host is set to, and a zone that says that it is set to none: another host means another time by them.
_NO_PLACES = frozenset({"localtime", "Factory"})


class InvalidPolicy(ValueError):  # noqa: N818  # says what is not valid
    """No deadline could be counted by the policy; `field` is the one that is wrong."""

    def __init__(self, field_name: str, detail: str) -> None:
        super().__init__(detail)
        self.field = field_name


@dataclass(frozen=True, slots=True)
class CalendarYear:
    """The days of one year of a country: its weekend (ISO weekdays), the weekend days worked, and its holidays."""

    weekend: frozenset[int]
    weekend_workdays: frozenset[date]
    holidays: Mapping[date, str]


@dataclass(frozen=True, slots=True)
class ConfirmationPolicy:
    """How long a marketplace waits for the confirmation of a shipment.

    One that is stored was judged when it came in, by `refuse_invalid`, and is not judged again: where this host has
    lost its time zone, or this version its country, a deadline cannot be counted, and the policy can still be shown.
    """

    country_code: str
    """ISO 3166-1 alpha-2, in upper case."""
    time_zone: str
    """IANA name."""
    window_business_days: int = 7
    weekend: frozenset[int] | None = None
    """ISO weekdays, Monday is 1; None: those of the country."""
    extra_working_days: frozenset[date] = frozenset()
    extra_holidays: Mapping[date, str] = field(default_factory=dict[date, str])
    years: Mapping[int, CalendarYear] | None = field(default=None, compare=False)
    """The days of the country as they are stored; None: as the library has them now."""
    # Orders outnumber the dates they ship by: an import asks once per date and marketplace.
    deadlines: dict[date, datetime] = field(default_factory=dict[date, datetime], init=False, repr=False, compare=False)

    def year(self, year: int) -> CalendarYear:
        """Return the days of a year; raise ValueError where its holidays are not known."""
        return library_year(self.country_code, year) if self.years is None else self.years[year]


def refuse_invalid(policy: ConfirmationPolicy, this_year: int) -> None:
    """Raise `InvalidPolicy` where no deadline could be counted by a policy, this year or the next."""
    if not is_supported_country(policy.country_code):
        raise InvalidPolicy("country_code", f"the working days of country {policy.country_code!r} are not known")
    for year in (this_year, this_year + 1):
        try:
            library_year(policy.country_code, year)
        except ValueError as error:
            raise InvalidPolicy("country_code", f"{error}; deadlines reach into the next year") from error
    if policy.time_zone not in _time_zones():
        raise InvalidPolicy("time_zone", f"{policy.time_zone!r} is not a time zone")
    if not 1 <= policy.window_business_days <= MAX_WINDOW:
        detail = f"a confirmation window has 1 to {MAX_WINDOW} business days, not {policy.window_business_days}"
        raise InvalidPolicy("window_business_days", detail)
    if policy.weekend is not None and not policy.weekend < frozenset(range(1, 8)):
        raise InvalidPolicy("weekend", "a weekend has at most six days, numbered from 1 (Monday) to 7 (Sunday)")
    _refuse_extra_days(policy.extra_working_days, policy.extra_holidays)


def _refuse_extra_days(working_days: frozenset[date], holidays: Mapping[date, str]) -> None:
    for name, days in (("extra_working_days", working_days), ("extra_holidays", holidays)):
        if len(days) > MAX_EXTRA_DAYS:
            raise InvalidPolicy(name, f"lists {len(days)} days; at most {MAX_EXTRA_DAYS} are taken")
    if both := sorted(working_days & holidays.keys()):
        raise InvalidPolicy("extra_holidays", f"{both[0]} cannot be an extra holiday and an extra working day")
    for day, name in holidays.items():
        if not 1 <= len(name) <= MAX_HOLIDAY_NAME:
            raise InvalidPolicy("extra_holidays", f"the name of {day} must have 1 to {MAX_HOLIDAY_NAME} characters")


@dataclass(frozen=True, slots=True)
class CountedDay:
    """A day on the way to a deadline: its number among the business days, None where it is skipped, and why."""

    date: date
    number: int | None
    reason: DayReason | None
    name: str | None


# The library's calendars grow while they are read, so threads share these instead. The bound is for memory. A year
# needs none of its neighbours: the library gives it all of its own days, among them the eve on which the New Year's Day
# of the next year is observed.
@lru_cache(maxsize=1024)
def library_year(country_code: str, year: int) -> CalendarYear:
    """Return what the library says of a year; raise ValueError where it does not know its holidays."""
    if not is_supported_country(country_code):
        raise ValueError(f"the working days of country {country_code!r} are not known")
    calendar = country_holidays(country_code, years=year, expand=False)
    if not calendar.start_year <= year <= calendar.end_year:
        raise ValueError(
            f"the holidays of {country_code} are known from {calendar.start_year} to {calendar.end_year}, not in {year}"
        )
    last = date(year, 12, 31)
    weekend = frozenset(day.isoweekday() for day in (last - n * _ONE_DAY for n in range(7)) if calendar.is_weekend(day))
    workdays, holidays = set[date](), dict[date, str]()
    for day in map(date.fromordinal, range(date(year, 1, 1).toordinal(), last.toordinal() + 1)):
        works = calendar.is_working_day(day)
        if works and day.isoweekday() in weekend:
            workdays.add(day)
        elif not works and (day in calendar or day.isoweekday() not in weekend):
            # Some countries moved their weekend within a year.
            holidays[day] = calendar.get(day) or "Weekend"
    return CalendarYear(weekend, frozenset(workdays), holidays)


def is_supported_country(country_code: str) -> bool:
    """Tell whether the working days of a country, given by its ISO 3166-1 alpha-2 code, are known."""
    return country_code in _supported_countries()


def ship_by_date(ship_by: datetime, policy: ConfirmationPolicy) -> date:
    """Return the local date of a ship-by instant; raise ValueError where it has no offset."""
    if ship_by.utcoffset() is None:
        raise ValueError("ship_by needs a UTC offset")
    try:
        return ship_by.astimezone(_zone(policy.time_zone)).date()
    except OverflowError as error:
        raise ValueError(f"no deadline can be computed for {ship_by.isoformat()}") from error


def confirm_by(ship_by: datetime, policy: ConfirmationPolicy) -> datetime:
    """Return the first instant, in UTC, at which a shipment can no longer be confirmed (R8, D1).

    The ship-by date is the local date of `ship_by`; the window's last business day is counted from the day after it;
    the deadline is the first instant that belongs to a later local date.

    Raises ValueError where `ship_by` has no offset, and where the window reaches a year whose holidays are not known:
    without its holidays a year has too many business days, and the deadline would come too early.
    """
    day = ship_by_date(ship_by, policy)
    if day not in policy.deadlines:
        policy.deadlines[day] = end_of_day(explain_days(day, policy)[-1].date, policy)
    return policy.deadlines[day]


def explain_days(ship_by_date: date, policy: ConfirmationPolicy) -> tuple[CountedDay, ...]:
    """Return every day from the one after the ship-by date to the last of the window."""
    return count_days(ship_by_date, policy.window_business_days, policy)


def count_days(after: date, business_days: int, policy: ConfirmationPolicy) -> tuple[CountedDay, ...]:
    """Return the days after a date until so many business days are counted; raise ValueError as `confirm_by` does."""
    days: list[CountedDay] = []
    number = 0
    walk = _days_after(after, policy)
    while number < business_days:
        day, works, reason, name = next(walk)
        number += works
        days.append(CountedDay(day, number if works else None, reason, name))
    return tuple(days)


def end_of_day(day: date, policy: ConfirmationPolicy) -> datetime:
    """Return the first instant, in UTC, that belongs to a later local date."""
    return _first_instant(day + _ONE_DAY, _zone(policy.time_zone))


def extend_by_business_days(confirm_by: datetime, policy: ConfirmationPolicy, business_days: int) -> datetime:
    """Return the deadline that comes so many business days after another one; raise ValueError as `confirm_by` does."""
    last_day = ship_by_date(confirm_by - datetime.resolution, policy)
    return end_of_day(count_days(last_day, business_days, policy)[-1].date, policy)


def local_day(now: datetime, time_zone: str) -> tuple[datetime, datetime]:
    """Return the present day of a time zone, in UTC: its first instant, and that of the next day."""
    zone = _zone(time_zone)
    today = now.astimezone(zone).date()
    return _first_instant(today, zone), _first_instant(today + _ONE_DAY, zone)


def _days_after(day: date, policy: ConfirmationPolicy) -> Iterator[tuple[date, bool, DayReason | None, str | None]]:
    """Yield each day after `day`: whether it is a business day, and why, where the weekday alone does not tell."""
    zone = _zone(policy.time_zone)
    while True:
        if day == date.max:
            raise ValueError("the calendar ends here")
        day += _ONE_DAY
        works, reason, name = _judge(day, policy)
        if works and not _occurs(day, zone):
            works, reason = False, "SKIPPED_BY_ZONE"
        yield day, works, reason, name


def _judge(day: date, policy: ConfirmationPolicy) -> tuple[bool, DayReason | None, str | None]:
    year = policy.year(day.year)
    if day in policy.extra_working_days:
        return True, "EXTRA_WORKING_DAY", None
    if day in policy.extra_holidays:
        return False, "EXTRA_HOLIDAY", policy.extra_holidays[day]
    if day.isoweekday() in (year.weekend if policy.weekend is None else policy.weekend):
        works = day in year.weekend_workdays
        return works, "WEEKEND_WORKDAY" if works else "WEEKEND", None
    if day in year.holidays:
        return False, "HOLIDAY", year.holidays[day]
    return True, None, None


# ZoneInfo keeps only the last eight zones it was asked for, and there are more marketplaces.
@cache
def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError) as error:  # An unknown name, a directory, and an absolute path.
        raise ValueError(f"this host does not know the time zone {name!r}") from error


@cache
def _time_zones() -> frozenset[str]:
    return frozenset(available_timezones()) - _NO_PLACES


@cache
def _supported_countries() -> frozenset[str]:
    return frozenset(list_supported_countries(include_aliases=False))


# Windows of one time overlap, and a date is asked for again and again.
@lru_cache(maxsize=4096)
def _occurs(day: date, zone: ZoneInfo) -> bool:
    """Tell whether a zone has this date: one that crosses the date line may skip a date as a whole."""
    noon = datetime.combine(day, time(12), zone)
    return noon.astimezone(UTC).astimezone(zone).date() == day


def _first_instant(day: date, zone: ZoneInfo) -> datetime:
    """Return the first instant whose local date is `day`, or a later one where the zone skips `day`."""
    # A midnight that occurs twice is read as its first occurrence, for want of a fold. One that does not occur is read
    # with the offset of the time before it, so never earlier than the moment the clocks moved.
    midnight = datetime.combine(day, time.min, zone).astimezone(UTC)
    if (midnight - datetime.resolution).astimezone(zone).date() < day:
        return midnight
    # The clocks moved from before this midnight to after it, as from 23:30 to 00:30: the day begins where they moved.
    before = midnight - _ONE_DAY
    second = bisect_left(
        range(_SECONDS_OF_A_DAY),
        day,
        key=lambda seconds: (before + timedelta(seconds=seconds)).astimezone(zone).date(),
    )
    return before + timedelta(seconds=second)

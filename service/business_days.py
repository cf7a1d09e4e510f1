"""Deadlines counted in the business days of a marketplace's country (R8, D1)."""

from bisect import bisect_left
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache, lru_cache
from zoneinfo import ZoneInfo

from holidays import country_holidays, list_supported_countries

_ONE_DAY = timedelta(days=1)
_SECONDS_OF_A_DAY = 86_400


@dataclass(frozen=True, slots=True)
class ConfirmationPolicy:
    """How long a marketplace waits for the confirmation of a shipment.

    A policy that no deadline could be computed with is refused here, with a ValueError, and not at its first order.
    """

    country_code: str
    """ISO 3166-1 alpha-2, in upper case."""
    time_zone: str
    """IANA name."""
    window_business_days: int = 7

    def __post_init__(self) -> None:
        if not is_supported_country(self.country_code):
            raise ValueError(f"the working days of country {self.country_code!r} are not known")
        if self.window_business_days < 1:
            raise ValueError("a confirmation window has at least one business day")
        try:
            _zone(self.time_zone)
        except (KeyError, OSError, ValueError) as error:  # An unknown name, a directory, and an absolute path.
            raise ValueError(f"{self.time_zone!r} is not a time zone") from error


def is_supported_country(country_code: str) -> bool:
    """Tell whether the working days of a country, given by its ISO 3166-1 alpha-2 code, are known."""
    return country_code in _supported_countries()


def confirm_by(ship_by: datetime, policy: ConfirmationPolicy) -> datetime:
    """Return the first instant, in UTC, at which a shipment can no longer be confirmed (R8, D1).

    The ship-by date is the local date of `ship_by`; the window's last business day is counted from the day after it;
    the deadline is the first instant that belongs to a later local date.

    Raises ValueError where `ship_by` has no offset, and where the window reaches a year whose holidays are not known:
    without its holidays a year has too many business days, and the deadline would come too early.
    """
    if ship_by.utcoffset() is None:
        raise ValueError("ship_by needs a UTC offset")
    try:
        ship_by_date = ship_by.astimezone(_zone(policy.time_zone)).date()
        return _confirm_by(policy.country_code, policy.time_zone, policy.window_business_days, ship_by_date)
    except OverflowError as error:
        raise ValueError(f"no deadline can be computed for {ship_by.isoformat()}") from error


def local_day(now: datetime, time_zone: str) -> tuple[datetime, datetime]:
    """Return the present day of a time zone, in UTC: its first instant, and that of the next day."""
    zone = _zone(time_zone)
    today = now.astimezone(zone).date()
    return _first_instant(today, zone), _first_instant(today + _ONE_DAY, zone)


# Orders outnumber the dates they ship by: an import asks this once per date and marketplace. The arguments are plain
# values because hashing a policy costs more than the rest of a cached answer.
@lru_cache(maxsize=65_536)
def _confirm_by(country_code: str, time_zone: str, window: int, ship_by_date: date) -> datetime:
    zone = _zone(time_zone)
    day, remaining = ship_by_date, window
    while remaining:
        day += _ONE_DAY
        if day in _working_days(country_code, day.year) and _occurs(day, zone):
            remaining -= 1
    return _first_instant(day + _ONE_DAY, zone)


# The library's calendars grow while they are read, so threads share these sets instead. The bound is for memory, about
# 24 kB a year. A year needs none of its neighbours: the library gives it all of its own days, among them the eve on
# which the New Year's Day of the next year is observed.
@lru_cache(maxsize=1024)
def _working_days(country_code: str, year: int) -> frozenset[date]:
    calendar = country_holidays(country_code, years=year, expand=False)
    if not calendar.start_year <= year <= calendar.end_year:
        raise ValueError(
            f"the holidays of {country_code} are known from {calendar.start_year} to {calendar.end_year}, not in {year}"
        )
    first = date(year, 1, 1).toordinal()
    days = map(date.fromordinal, range(first, date(year, 12, 31).toordinal() + 1))
    return frozenset(day for day in days if calendar.is_working_day(day))


# ZoneInfo keeps only the last eight zones it was asked for, and there are more marketplaces.
@cache
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


@cache
def _supported_countries() -> frozenset[str]:
    return frozenset(list_supported_countries(include_aliases=False))


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

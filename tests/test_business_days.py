import importlib.resources
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pytest
from holidays import country_holidays, list_supported_countries
from hypothesis import given
from hypothesis import strategies as st

from service.business_days import (
    ConfirmationPolicy,
    InvalidPolicy,
    confirm_by,
    explain_days,
    extend_by_business_days,
    is_supported_country,
    refuse_invalid,
)

Days = npt.NDArray[np.datetime64]
Seconds = npt.NDArray[np.int64]

COUNTRIES = (
    *("AE", "AU", "BR", "CA", "CN", "DE", "EG", "ES", "FR", "GB"),
    *("IN", "IT", "JP", "MX", "PL", "SA", "SE", "SG", "TR", "US"),
)
FRIDAY, SATURDAY, SUNDAY = 4, 5, 6
DAY = 86_400


def local(text: str, zone: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# Facts, by hand.


@pytest.mark.parametrize(
    ("ship_by_date", "last_day", "expected"),
    [
        ("2017-11-01", "2017-11-13", "2017-11-14T02:00"),  # All Souls' Day; daylight saving time on both ends.
        ("2016-10-12", "2016-10-21", "2016-10-22T02:00"),  # From a holiday, over the start of daylight saving time.
        ("2018-02-06", "2018-02-15", "2018-02-16T02:00"),  # Carnival is no public holiday.
        ("2018-03-08", "2018-03-19", "2018-03-20T03:00"),  # No daylight saving time.
    ],
)
def test_brazilian_orders_end_on_the_seventh_business_day(ship_by_date: str, last_day: str, expected: str) -> None:
    # Mutants: a window of 6 or 8; counting the ship-by date; the deadline at the start of the last day.
    zone = "America/Sao_Paulo"
    deadline = confirm_by(local(f"{ship_by_date}T15:00", zone), ConfirmationPolicy("BR", zone))
    assert deadline == utc(expected)
    assert (deadline - timedelta(microseconds=1)).astimezone(ZoneInfo(zone)).date() == date.fromisoformat(last_day)


@pytest.mark.parametrize(
    ("country", "zone", "window", "ship_by", "expected"),
    [
        # The date of UTC instead of the local one; also over the start of daylight saving time on 8 March.
        pytest.param("US", "America/New_York", 7, "2026-03-02T23:59:59", "2026-03-12T04:00", id="last second"),
        pytest.param("US", "America/New_York", 7, "2026-03-03T00:00:00", "2026-03-13T04:00", id="first second"),
        # One offset for the whole window: daylight saving time ends on 25 October.
        pytest.param("DE", "Europe/Berlin", 7, "2026-10-15T12:00", "2026-10-26T23:00", id="autumn"),
        # Rolling a weekend or a holiday forward to a business day before counting.
        pytest.param("BR", "America/Sao_Paulo", 7, "2026-07-10T12:00", "2026-07-22T03:00", id="from Friday"),
        pytest.param("BR", "America/Sao_Paulo", 7, "2026-07-11T12:00", "2026-07-22T03:00", id="from Saturday"),
        pytest.param("US", "America/New_York", 1, "2026-07-03T12:00", "2026-07-07T04:00", id="from a holiday"),
        # Observed holidays left out: 1 January 2022, a Saturday, is observed on the Friday, a year earlier.
        pytest.param("US", "America/New_York", 1, "2021-12-30T12:00", "2022-01-04T05:00", id="observed before"),
        # The last day of the window in another year than its first.
        pytest.param("US", "America/New_York", 7, "2021-12-21T12:00", "2022-01-04T05:00", id="over the year's end"),
        # A Western weekend everywhere, and one weekend for all years.
        pytest.param("SA", "Asia/Riyadh", 7, "2026-06-01T12:00", "2026-06-10T21:00", id="Friday and Saturday"),
        pytest.param("SA", "Asia/Riyadh", 1, "2026-06-04T12:00", "2026-06-07T21:00", id="a working Sunday"),
        pytest.param("AE", "Asia/Dubai", 1, "2021-12-23T12:00", "2021-12-26T20:00", id="Emirates until 2021"),
        pytest.param("AE", "Asia/Dubai", 1, "2022-01-13T12:00", "2022-01-14T20:00", id="Emirates from 2022"),
        # Weekends that never work.
        pytest.param("CN", "Asia/Shanghai", 1, "2024-09-13T12:00", "2024-09-14T16:00", id="a working Saturday"),
        # A window fixed at 7, an end of the range left out.
        pytest.param("BR", "America/Sao_Paulo", 1, "2026-07-10T12:00", "2026-07-14T03:00", id="window of 1"),
        pytest.param("BR", "America/Sao_Paulo", 30, "2026-07-10T12:00", "2026-08-22T03:00", id="window of 30"),
        # A missing midnight read with the later offset: an hour early, on a day that can still be confirmed.
        pytest.param("EG", "Africa/Cairo", 7, "2026-04-14T12:00", "2026-04-23T22:00", id="no midnight"),
        # A midnight that occurs twice, at 21:00 and 22:00 UTC, read as the second.
        pytest.param("JO", "Asia/Amman", 1, "2021-10-27T12:00", "2021-10-28T21:00", id="midnight twice"),
        # A date that does not occur awaited as the deadline's, or counted as a business day.
        pytest.param("WS", "Pacific/Apia", 1, "2011-12-28T12:00", "2011-12-30T10:00", id="before a skipped date"),
        pytest.param("WS", "Pacific/Apia", 1, "2011-12-29T12:00", "2012-01-03T10:00", id="over a skipped date"),
        # A midnight inside a gap from 23:30 to 00:30 read as 01:00: half an hour late.
        pytest.param("SA", "America/Toronto", 1, "1919-03-29T12:00", "1919-03-31T04:30", id="a gap around midnight"),
    ],
)
def test_the_deadline_is_the_first_instant_after_the_last_business_day(
    country: str, zone: str, window: int, ship_by: str, expected: str
) -> None:
    assert confirm_by(local(ship_by, zone), ConfirmationPolicy(country, zone, window)) == utc(expected)


def test_the_answer_is_in_utc_whatever_the_offset_of_the_question() -> None:
    # Mutant: reading the date in the offset that came with the instant.
    policy = ConfirmationPolicy("BR", "America/Sao_Paulo")
    instant = utc("2026-07-16T02:30")  # Still Wednesday the 15th in Sao Paulo.
    answers = {confirm_by(instant.astimezone(timezone(timedelta(hours=h))), policy) for h in (-12, 0, 14)}
    assert answers == {utc("2026-07-25T03:00")}
    assert {answer.tzinfo for answer in answers} == {UTC}


# Refusals.


def test_a_time_without_offset_is_refused() -> None:
    # Mutant: reading it in the time zone of the server.
    with pytest.raises(ValueError, match="offset"):
        confirm_by(datetime(2026, 7, 10), ConfirmationPolicy("BR", "America/Sao_Paulo"))  # noqa: DTZ001 the case itself


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York"])
@pytest.mark.parametrize("hours", [-14, 0, 14])
@pytest.mark.parametrize("edge", [datetime.min, datetime.max])  # noqa: DTZ901 the test gives them an offset
@pytest.mark.parametrize("country", ["JP", "BR"])
def test_the_ends_of_the_calendar_are_refused_as_values(country: str, edge: datetime, hours: int, zone: str) -> None:
    # Mutant: letting the OverflowError of the conversion through, which no caller expects.
    with pytest.raises(ValueError):  # noqa: PT011 conversion and calendar refuse with different texts
        confirm_by(edge.replace(tzinfo=timezone(timedelta(hours=hours))), ConfirmationPolicy(country, zone))


@pytest.mark.parametrize("country", ["BR", "ES", "JP"])
def test_years_without_known_holidays_are_refused(country: str) -> None:
    # Mutant: taking such a year for one without holidays, so that the deadline comes early.
    calendar, policy = country_holidays(country), ConfirmationPolicy(country, "UTC")
    with pytest.raises(ValueError, match="are known from"):
        confirm_by(datetime(calendar.start_year - 1, 6, 1, tzinfo=UTC), policy)
    with pytest.raises(ValueError, match="are known from"):
        confirm_by(datetime(calendar.end_year, 12, 30, tzinfo=UTC), policy)
    assert confirm_by(datetime(calendar.start_year, 6, 1, tzinfo=UTC), policy).year == calendar.start_year
    assert confirm_by(datetime(calendar.end_year, 6, 1, tzinfo=UTC), policy).year == calendar.end_year


@pytest.mark.parametrize("window", [0, -1, 31])
def test_a_window_of_none_or_too_many_business_days_is_refused(window: int) -> None:
    # Mutants: a window below one never ends; one of a year is a typing error.
    with pytest.raises(ValueError, match="1 to 30"):
        refuse_invalid(ConfirmationPolicy("BR", "America/Sao_Paulo", window), 2026)


NO_ZONES = ["", "America", "America/Nowhere", "../UTC", "/etc/localtime", "UTC\0", "Z" * 5000]


@pytest.mark.parametrize(
    "zone", [*NO_ZONES, "localtime", "posixrules", "Factory", "right/Europe/Lisbon", "posix/Europe/Lisbon"]
)
def test_an_unknown_time_zone_is_refused(zone: str) -> None:
    # Mutant: taking whatever file the host has among its zones, which another host has not, or as another time.
    with pytest.raises(InvalidPolicy, match="is not a time zone") as refused:
        refuse_invalid(ConfirmationPolicy("BR", zone), 2026)
    assert refused.value.field == "time_zone"


@pytest.mark.parametrize("zone", NO_ZONES)
def test_by_a_stored_policy_whose_time_zone_the_host_lacks_no_deadline_is_counted(zone: str) -> None:
    # Mutants: letting KeyError or OSError through; refusing to read the policy at all.
    with pytest.raises(ValueError, match="does not know the time zone"):
        confirm_by(utc("2026-03-06"), ConfirmationPolicy("BR", zone))


def test_a_country_whose_days_end_with_this_year_is_refused() -> None:
    # Mutant: looking at the present year only, when deadlines reach into the next one from December on.
    calendar = country_holidays("LK")
    policy = ConfirmationPolicy("LK", "Asia/Colombo")
    refuse_invalid(policy, calendar.end_year - 1)
    for year in (calendar.end_year, calendar.start_year - 1):
        with pytest.raises(InvalidPolicy, match="holidays of LK are known from") as refused:
            refuse_invalid(policy, year)
        assert refused.value.field == "country_code"


@pytest.mark.parametrize("country", ["", "br", "UK", "BRA", "ZZ", "HolidayBase", "XNYS"])
def test_only_alpha_2_codes_of_known_countries_are_supported(country: str) -> None:
    # Mutants: the library's aliases; any name the library exports.
    assert not is_supported_country(country)
    policy = ConfirmationPolicy(country, "UTC")
    with pytest.raises(InvalidPolicy, match="working days"):
        refuse_invalid(policy, 2026)
    with pytest.raises(ValueError, match="working days"):
        confirm_by(utc("2026-03-06"), policy)


def test_the_countries_of_the_marketplaces_are_supported() -> None:
    assert [country for country in COUNTRIES if not is_supported_country(country)] == []


# Properties.

POLICIES = st.builds(
    ConfirmationPolicy,
    st.sampled_from(COUNTRIES),
    st.sampled_from(["America/Sao_Paulo", "Africa/Cairo", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia"]),
    st.integers(1, 30),
)
INSTANTS = st.datetimes(datetime(2015, 1, 1), datetime(2030, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 bounds are naive by contract


@given(INSTANTS, POLICIES)
def test_the_instant_before_the_deadline_is_on_a_working_day(ship_by: datetime, policy: ConfirmationPolicy) -> None:
    # Mutants: a deadline late by any amount of time, or at the end of a day that is not a business day.
    deadline = confirm_by(ship_by, policy)
    zone = ZoneInfo(policy.time_zone)
    first, last = ship_by.astimezone(zone).date(), (deadline - timedelta(microseconds=1)).astimezone(zone).date()
    calendar = country_holidays(policy.country_code)
    days = [first + timedelta(days=n) for n in range(1, (last - first).days + 1)]
    assert deadline > ship_by
    assert deadline.astimezone(zone).date() > last
    assert calendar.is_working_day(last)
    assert sum(map(calendar.is_working_day, days)) == policy.window_business_days


@given(INSTANTS, INSTANTS, POLICIES)
def test_who_ships_later_confirms_no_earlier(one: datetime, other: datetime, policy: ConfirmationPolicy) -> None:
    # Mutant: a cache that leaves the date out of its key.
    assert confirm_by(min(one, other), policy) <= confirm_by(max(one, other), policy)


@given(INSTANTS, POLICIES, st.integers(1, 29))
def test_an_extension_by_business_days_is_a_longer_window(
    ship_by: datetime, policy: ConfirmationPolicy, business_days: int
) -> None:
    # Mutants: counting from the deadline's own date instead of the last day before it; an answer cached for another
    # policy or window.
    shorter = replace(policy, window_business_days=min(policy.window_business_days, 30 - business_days))
    longer = replace(shorter, window_business_days=shorter.window_business_days + business_days)
    deadline = confirm_by(ship_by, longer)
    assert extend_by_business_days(confirm_by(ship_by, shorter), shorter, business_days) == deadline
    assert deadline > confirm_by(ship_by, shorter)


def test_threads_get_the_same_answers() -> None:
    # Mutant: one library calendar shared by all threads, which each of them extends. Nobody asked for these years yet.
    def deadlines(zone: str) -> list[datetime]:
        policy = ConfirmationPolicy("US", zone)
        return [confirm_by(datetime(year, 12, 20, 12, tzinfo=UTC), policy) for year in range(2040, 2090)]

    with ThreadPoolExecutor(8) as pool:
        assert len({tuple(answer) for answer in pool.map(deadlines, ["America/New_York", "US/Eastern"] * 8)}) == 1


def test_each_country_keeps_its_observed_holidays_around_the_year_end() -> None:
    # Mutant: a library that yields a moved holiday or working day only when the neighbouring year is asked for, too.
    years = range(2019, 2027)
    different: list[tuple[str, int, int]] = []
    for country in list_supported_countries(include_aliases=False):
        calendar = country_holidays(country, years=years)
        for year in range(2020, 2025):
            start = datetime(year, 12, 20, 12, tzinfo=UTC)
            if year < calendar.start_year:
                continue
            for window in (4, 7, 10, 15):
                last = calendar.get_nth_working_day(start.date(), window)
                if confirm_by(start, ConfirmationPolicy(country, "UTC", window)).date() != last + timedelta(days=1):
                    different.append((country, year, window))
    assert different == []


# The oracle: business days by numpy, instants from a table of each zone's offsets.


def zones_of_countries() -> Iterator[tuple[str, str]]:
    table = (importlib.resources.files("tzdata.zoneinfo") / "zone.tab").read_text("utf-8")
    for line in table.splitlines():
        if not line.startswith("#") and (fields := line.split("\t"))[0] in COUNTRIES:
            yield fields[0], fields[2]


@cache
def numpy_calendar(country: str) -> np.busdaycalendar:
    """Every day that does not work is listed, since numpy's week has no working Saturdays."""
    library = country_holidays(country, years=range(2014, 2034))
    days = [date(2014, 1, 1) + timedelta(days=n) for n in range(20 * 365)]
    idle: list[date] = []
    for day in days:
        arabian = country in {"EG", "SA"} or (country == "AE" and day.year < 2022)
        if day.weekday() in ({FRIDAY, SATURDAY} if arabian else {SATURDAY, SUNDAY}):
            if day not in library.weekend_workdays:
                idle.append(day)
        elif day in library:
            idle.append(day)
    return np.busdaycalendar("1111111", np.array(idle, "datetime64[D]"))


def offsets_of(name: str) -> tuple[Seconds, Seconds]:
    """Return when each offset begins, as seconds since 1970, and the offset: days first, then hours, then minutes."""
    zone = ZoneInfo(name)

    def offset(second: int) -> int:
        delta = datetime.fromtimestamp(second, zone).utcoffset()
        assert delta is not None
        return int(delta.total_seconds())

    start, end = int(utc("2014-01-01").timestamp()), int(utc("2033-01-01").timestamp())
    begins, offsets = [start], [offset(start)]
    for day in range(start, end, DAY):
        if offset(day + DAY) != offsets[-1]:
            hour = next(t for t in range(day, day + DAY, 3600) if offset(t + 3600) != offsets[-1])
            minute = next(t for t in range(hour + 60, hour + 3601, 60) if offset(t) != offsets[-1])
            begins.append(minute)
            offsets.append(offset(minute))
    return np.array(begins, np.int64), np.array(offsets, np.int64)


def first_seconds(days: Days, begins: Seconds, offsets: Seconds) -> Seconds:
    """Return the earliest second of any offset's reign at which its clock shows the day or a later one."""
    midnights = days.astype("datetime64[s]").astype(np.int64)
    candidates = np.maximum(begins, midnights[:, None] - offsets)
    ends = np.append(begins[1:], np.iinfo(np.int64).max)
    return np.where(candidates < ends, candidates, np.iinfo(np.int64).max).min(axis=1)


def test_100_000_random_cases_agree_with_numpy() -> None:
    # Mutants: any error in weekends, holidays, windows, zones or clock changes that the cases by hand leave open.
    random = np.random.default_rng(20260424)
    zones = list(zones_of_countries())
    assert {country for country, _ in zones} == set(COUNTRIES)
    assert len(zones) > 100
    total = 0
    different: list[tuple[str, str, int, datetime]] = []
    for index, (country, name) in enumerate(zones):
        size = 100_000 // len(zones) + (index < 100_000 % len(zones))
        begins, offsets = offsets_of(name)
        ship_by = random.integers(int(utc("2015-01-01").timestamp()), int(utc("2031-01-01").timestamp()), size)
        # A third of the cases lies within a second of a local midnight.
        shift = ship_by + offsets[np.searchsorted(begins, ship_by, "right") - 1]
        near = ship_by - shift % DAY + random.integers(-1, 2, size)
        ship_by = np.where(random.random(size) < 1 / 3, near, ship_by)
        windows = np.where(random.random(size) < 0.6, 7, random.integers(1, 31, size))  # Mostly the default.

        local_seconds = ship_by + offsets[np.searchsorted(begins, ship_by, "right") - 1]
        dates = (local_seconds // DAY).astype("datetime64[D]")
        last = np.busday_offset(dates, windows, roll="backward", busdaycal=numpy_calendar(country))
        expected = first_seconds(last + np.timedelta64(1, "D"), begins, offsets)
        policies = {window: ConfirmationPolicy(country, name, window) for window in range(1, 31)}
        for second, window, deadline in zip(ship_by.tolist(), windows.tolist(), expected.tolist(), strict=True):
            instant = datetime.fromtimestamp(second, UTC)
            total += 1
            if confirm_by(instant, policies[window]) != datetime.fromtimestamp(deadline, UTC):
                different.append((country, name, window, instant))
    assert total == 100_000
    assert different == []


# The same oracle for policies of their own: numpy knows the weekend as a mask, and extra days turn single days around.

FIRST_DAY, DAYS_KNOWN = date(2019, 1, 1), 10 * 365


@cache
def holidays_of(country: str) -> frozenset[date]:
    library = country_holidays(country, years=range(2018, 2030))
    assert not library.weekend_workdays
    return frozenset(library)


@st.composite
def own_policies(draw: st.DrawFn) -> ConfirmationPolicy:
    near = st.dates(date(2023, 11, 1), date(2024, 3, 1))
    working_days = draw(st.frozensets(near, max_size=20))
    holidays = draw(st.frozensets(near, max_size=20)) - working_days
    return ConfirmationPolicy(
        draw(st.sampled_from(["US", "BR", "GB"])),
        draw(st.sampled_from(["America/New_York", "America/Sao_Paulo", "Asia/Kathmandu"])),
        draw(st.integers(1, 30)),
        draw(st.frozensets(st.integers(1, 7), max_size=6)),
        working_days,
        dict.fromkeys(holidays, "Closed"),
    )


def numpy_days(policy: ConfirmationPolicy) -> np.busdaycalendar:
    days = [FIRST_DAY + timedelta(days=n) for n in range(DAYS_KNOWN)]
    mask = "".join("0" if day in (policy.weekend or ()) else "1" for day in range(1, 8))
    off = holidays_of(policy.country_code)
    holidays = np.array(sorted(off), "datetime64[D]")
    plain = np.is_busday(np.array(days, "datetime64[D]"), weekmask=mask, holidays=holidays)
    idle = [day for day, works in zip(days, plain.tolist(), strict=True) if not works]
    idle = [day for day in idle if day not in policy.extra_working_days]
    return np.busdaycalendar("1111111", np.array([*idle, *policy.extra_holidays], "datetime64[D]"))


@given(st.datetimes(datetime(2023, 10, 1), datetime(2024, 3, 15), timezones=st.just(UTC)), own_policies())  # noqa: DTZ001 bounds are naive by contract
def test_policies_with_other_weekends_and_extra_days_agree_with_numpy(
    ship_by: datetime, policy: ConfirmationPolicy
) -> None:
    # Mutants: an extra day looked at behind the weekend or the holidays; a weekend that adds to the country's.
    zone = ZoneInfo(policy.time_zone)
    first = ship_by.astimezone(zone).date()
    calendar = numpy_days(policy)
    offset = np.busday_offset(np.datetime64(first), policy.window_business_days, roll="backward", busdaycal=calendar)
    last = date.fromisoformat(str(offset))

    days = explain_days(first, policy)

    assert confirm_by(ship_by, policy) == datetime.combine(last + timedelta(days=1), datetime.min.time(), zone)
    assert [day.date for day in days] == [first + timedelta(days=n + 1) for n in range((last - first).days)]
    counted = [day.number is not None for day in days]
    assert counted == np.is_busday([day.date for day in days], busdaycal=calendar).tolist()
    numbers = [day.number for day in days if day.number is not None]
    assert numbers == list(range(1, policy.window_business_days + 1))
    for day in days:
        if day.number is None:
            assert (day.reason, day.name) != (None, None), day


def test_each_day_says_why() -> None:
    # Mutants: a reason taken for another; the name left out. Each line stands for one branch of the judgement.
    policy = ConfirmationPolicy(
        "CN",
        "Asia/Shanghai",
        4,
        extra_working_days=frozenset({date(2024, 9, 15)}),
        extra_holidays={date(2024, 9, 13): "Move of the warehouse"},
    )
    told = [(day.date.day, day.number, day.reason) for day in explain_days(date(2024, 9, 12), policy)]
    assert told == [
        (13, None, "EXTRA_HOLIDAY"),
        (14, 1, "WEEKEND_WORKDAY"),
        (15, 2, "EXTRA_WORKING_DAY"),
        (16, None, "HOLIDAY"),
        (17, None, "HOLIDAY"),
        (18, 3, None),
        (19, 4, None),
    ]
    days = {day.date: day for day in explain_days(date(2011, 12, 28), ConfirmationPolicy("WS", "Pacific/Apia", 3))}
    assert days[date(2011, 12, 30)].reason == "SKIPPED_BY_ZONE"
    assert days[date(2011, 12, 31)].reason == "WEEKEND"
    new_year = explain_days(date(2025, 12, 31), ConfirmationPolicy("US", "UTC", 1))[0]
    assert (new_year.reason, new_year.name) == ("HOLIDAY", "New Year's Day")


@pytest.mark.parametrize(("country", "year"), [("SA", 2013), ("TW", 1999), ("AE", 2021), ("SD", 2008), ("CN", 2024)])
def test_a_stored_year_works_on_the_days_that_the_library_says(country: str, year: int) -> None:
    # Mutants: one weekend for a year in which the country moved it; weekend days that are worked left out.
    library, policy = country_holidays(country, years=year), ConfirmationPolicy(country, "UTC", 1)
    days = [date(year, 1, 1) + timedelta(days=n) for n in range(365)]
    differing = [
        day
        for day in days[1:]
        if (explain_days(day - timedelta(days=1), policy)[0].number is not None) != library.is_working_day(day)
    ]
    assert differing == []


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"weekend": frozenset(range(1, 8))}, "weekend"),
        ({"weekend": frozenset({0})}, "weekend"),
        ({"weekend": frozenset({8})}, "weekend"),
        (
            {"extra_working_days": frozenset({date(2026, 1, 1)}), "extra_holidays": {date(2026, 1, 1): "Both"}},
            "extra_holidays",
        ),
        ({"extra_holidays": {date(2026, 1, 1): ""}}, "extra_holidays"),
        ({"extra_holidays": {date(2026, 1, 1): "x" * 101}}, "extra_holidays"),
        ({"extra_working_days": frozenset(date.fromordinal(700_000 + n) for n in range(367))}, "extra_working_days"),
        ({"extra_holidays": {date.fromordinal(700_000 + n): "x" for n in range(367)}}, "extra_holidays"),
    ],
)
def test_a_policy_that_contradicts_itself_is_refused(changes: dict[str, Any], field: str) -> None:
    # Mutants: any of the limits left out; a week without working days would be walked to the end of the calendar.
    with pytest.raises(InvalidPolicy) as refused:
        refuse_invalid(ConfirmationPolicy("US", "UTC", **changes), 2026)
    assert refused.value.field == field

"""The days that deadlines are counted by, as they were first taken from the library: a newer one moves no deadline."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from importlib.metadata import version

import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Json

from service import business_days
from service.business_days import CalendarYear

_TAKING_LOCK = 6_001

PolicyKey = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Calendar:
    """Which year is stored for a version of a policy, and what it was taken from."""

    marketplace_id: str
    year: int
    library_version: str
    taken_time: datetime


class YearNotTaken(LookupError):  # noqa: N818  # says what has not been done
    """A day was asked for of a year that is not stored yet, where none may be stored."""


class Years(dict[int, CalendarYear]):
    """Years that are stored, and how to get any other when it is asked for."""

    def __init__(self, stored: Mapping[int, CalendarYear], get: Callable[[int], CalendarYear]) -> None:
        super().__init__(stored)
        self._get = get

    def __missing__(self, year: int) -> CalendarYear:
        self[year] = self._get(year)
        return self[year]


def refuse_year(year: int) -> CalendarYear:
    """Raise `YearNotTaken`: for `Years` that are asked while orders are locked, when it is too late to take one."""
    raise YearNotTaken(f"the days of {year} are not stored yet")


def find_years(connection: psycopg.Connection, keys: Collection[PolicyKey]) -> dict[PolicyKey, dict[int, CalendarYear]]:
    """Return the years that are stored for versions of policies."""
    rows = connection.execute(
        """
        SELECT c.marketplace_id, c.policy_version, c.year, c.weekend, c.weekend_workdays, c.holidays
        FROM marketplace_calendars c
        JOIN unnest(%(marketplace_ids)s::text[], %(policy_versions)s::integer[])
            AS key (marketplace_id, policy_version)
            ON c.marketplace_id = key.marketplace_id AND c.policy_version = key.policy_version
        """,
        {"marketplace_ids": [key[0] for key in keys], "policy_versions": [key[1] for key in keys]},
    )
    found: dict[PolicyKey, dict[int, CalendarYear]] = {key: {} for key in keys}
    for marketplace_id, policy_version, year, weekend, weekend_workdays, holidays in rows:
        found[marketplace_id, policy_version][year] = CalendarYear(
            frozenset(weekend),
            frozenset(weekend_workdays),
            {date.fromisoformat(day): name for day, name in holidays.items()},
        )
    return found


def take_year(connection: psycopg.Connection, key: PolicyKey, country_code: str, year: int) -> CalendarYear:
    """Store what the library says of a year; what another process, maybe with another library, has stored wins.

    The takers wait for each other until they commit: ask before any order is locked, or nobody could go on. Raises
    ValueError where the library does not know the year.
    """
    taken = business_days.library_year(country_code, year)
    connection.execute("SELECT pg_advisory_xact_lock(%(key)s)", {"key": _TAKING_LOCK})
    marketplace_id, policy_version = key
    connection.execute(
        """
        INSERT INTO marketplace_calendars (
            marketplace_id, policy_version, year, weekend, weekend_workdays, holidays, library_version
        ) VALUES (
            %(marketplace_id)s, %(policy_version)s, %(year)s, %(weekend)s, %(weekend_workdays)s, %(holidays)s,
            %(library_version)s
        )
        ON CONFLICT ON CONSTRAINT marketplace_calendars_pkey DO NOTHING
        """,
        {
            "marketplace_id": marketplace_id,
            "policy_version": policy_version,
            "year": year,
            "weekend": sorted(taken.weekend),
            "weekend_workdays": sorted(taken.weekend_workdays),
            "holidays": Json({day.isoformat(): name for day, name in sorted(taken.holidays.items())}),
            "library_version": version("holidays"),
        },
    )
    return find_years(connection, [key])[key][year]


def find_calendars(connection: psycopg.Connection, keys: Collection[PolicyKey]) -> list[Calendar]:
    """Return which years are stored for versions of policies, by marketplace and year."""
    with connection.cursor(row_factory=class_row(Calendar)) as cursor:
        return cursor.execute(
            """
            SELECT c.marketplace_id, c.year, c.library_version, c.taken_time
            FROM marketplace_calendars c
            JOIN unnest(%(marketplace_ids)s::text[], %(policy_versions)s::integer[])
                AS key (marketplace_id, policy_version)
                ON c.marketplace_id = key.marketplace_id AND c.policy_version = key.policy_version
            ORDER BY c.marketplace_id, c.policy_version, c.year
            """,
            {"marketplace_ids": [key[0] for key in keys], "policy_versions": [key[1] for key in keys]},
        ).fetchall()

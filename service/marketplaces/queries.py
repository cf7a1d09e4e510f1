"""Marketplaces and their confirmation policies: reference data, the same for every seller.

A policy is never changed. A marketplace goes by its newest version, and an order by the one that it was counted by.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import partial
from typing import Any, LiteralString, NamedTuple

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Json

from service.business_days import ConfirmationPolicy, library_year, refuse_invalid
from service.marketplaces.calendars import PolicyKey, Years, find_years, take_year

_POLICIES_LOCK = 6_002


@dataclass(frozen=True, slots=True, kw_only=True)
class Marketplace:
    """Where orders are placed, and how their confirmation window is counted by now (D1)."""

    marketplace_id: str
    marketplace_name: str
    policy_version: int
    country_code: str
    time_zone: str
    window_business_days: int
    weekend: frozenset[int] | None
    extra_working_days: frozenset[date]
    extra_holidays: Mapping[date, str]
    created_time: datetime | None
    created_by: str
    reason: str | None

    @property
    def key(self) -> PolicyKey:
        """Return what identifies the version of the policy."""
        return self.marketplace_id, self.policy_version

    @property
    def policy(self) -> ConfirmationPolicy:
        """Return the policy by itself, for planning: it counts by the library's days, not by those that are stored."""
        return ConfirmationPolicy(
            self.country_code,
            self.time_zone,
            self.window_business_days,
            self.weekend,
            self.extra_working_days,
            self.extra_holidays,
        )


class VersionedPolicy(NamedTuple):
    """A policy as orders keep it: by its version, and with the days that are stored for it."""

    policy_version: int
    policy: ConfirmationPolicy


_COLUMNS: LiteralString = """
m.marketplace_id, m.marketplace_name, p.policy_version, p.country_code, p.time_zone, p.window_business_days, p.weekend,
p.extra_working_days, p.extra_holidays, p.created_time, p.created_by, p.reason
"""
_NEWEST: LiteralString = "SELECT max(policy_version) FROM marketplace_policies WHERE marketplace_id = m.marketplace_id"


def find_marketplaces(
    connection: psycopg.Connection, marketplace_ids: Collection[str] | None = None
) -> list[Marketplace]:
    """Return those of the marketplaces that exist, or every one when none is named, by id."""
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(
            f"""
            SELECT {_COLUMNS}
            FROM marketplaces m
            JOIN marketplace_policies p
                ON p.marketplace_id = m.marketplace_id AND p.policy_version = ({_NEWEST})
            WHERE %(marketplace_ids)s::text[] IS NULL OR m.marketplace_id = ANY(%(marketplace_ids)s)
            ORDER BY m.marketplace_id
            """,
            {"marketplace_ids": None if marketplace_ids is None else list(marketplace_ids)},
        ).fetchall()
    return [_marketplace(row) for row in rows]


def find_marketplace(
    connection: psycopg.Connection, marketplace_id: str, policy_version: int | None = None
) -> Marketplace | None:
    """Return a marketplace with a version of its policy, by default the newest; None where there is none."""
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(
            f"""
            SELECT {_COLUMNS}
            FROM marketplaces m
            JOIN marketplace_policies p
                ON p.marketplace_id = m.marketplace_id
                    AND p.policy_version = COALESCE(%(policy_version)s::integer, ({_NEWEST}))
            WHERE m.marketplace_id = %(marketplace_id)s
            """,
            {"marketplace_id": marketplace_id, "policy_version": policy_version},
        ).fetchone()
    return _marketplace(row) if row else None


def find_policy(
    connection: psycopg.Connection, marketplace_id: str, policy_version: int | None = None
) -> ConfirmationPolicy | None:
    """Return a version of a marketplace's policy, by default the newest, which counts by the days stored for it.

    A year that is not stored yet is stored when the policy is first asked for it: see `take_year`.
    """
    found = find_marketplace(connection, marketplace_id, policy_version)
    return _with_taken_years(connection, [found])[marketplace_id].policy if found else None


def find_policies(connection: psycopg.Connection, marketplace_ids: Collection[str]) -> Mapping[str, VersionedPolicy]:
    """Return the newest policies of those of the marketplaces that exist, by id, as `find_policy` does."""
    return _with_taken_years(connection, find_marketplaces(connection, marketplace_ids))


def shown_policies(
    connection: psycopg.Connection, marketplaces: Collection[Marketplace]
) -> Mapping[str, ConfirmationPolicy]:
    """Return the policies of marketplaces by id, which store nothing: a year that is not stored is the library's."""
    stored = find_years(connection, [each.key for each in marketplaces])
    return {
        each.marketplace_id: replace(
            each.policy, years=Years(stored[each.key], partial(library_year, each.country_code))
        )
        for each in marketplaces
    }


def wait_for_policies(connection: psycopg.Connection) -> None:
    """Hold off new policies until the transaction ends: whoever writes orders reads the policies after this."""
    connection.execute("SELECT pg_advisory_xact_lock_shared(%(key)s)", {"key": _POLICIES_LOCK})


def lock_policies(connection: psycopg.Connection) -> None:
    """Wait until all orders counted by the present policies are visible, and hold off those who write new ones."""
    connection.execute("SELECT pg_advisory_xact_lock(%(key)s)", {"key": _POLICIES_LOCK})


def insert_marketplace(
    connection: psycopg.Connection,
    marketplace_id: str,
    marketplace_name: str,
    policy: ConfirmationPolicy,
    *,
    created_by: str,
) -> None:
    """Add a marketplace with the first version of its policy, or raise `MarketplaceExists` or `InvalidPolicy`."""
    refuse_invalid(policy, _this_year(connection))
    connection.execute(
        """
        INSERT INTO marketplaces (marketplace_id, marketplace_name)
        VALUES (%(marketplace_id)s, %(marketplace_name)s)
        """,
        {"marketplace_id": marketplace_id, "marketplace_name": marketplace_name},
    )
    insert_policy(connection, marketplace_id, 1, policy, created_by=created_by, reason=None)


_INSERT_POLICY: LiteralString = """
INSERT INTO marketplace_policies (
    marketplace_id, policy_version, country_code, time_zone, window_business_days, weekend, extra_working_days,
    extra_holidays, created_by, reason
) VALUES (
    %(marketplace_id)s, %(policy_version)s, %(country_code)s, %(time_zone)s, %(window_business_days)s, %(weekend)s,
    %(extra_working_days)s, %(extra_holidays)s, %(created_by)s, %(reason)s
)
"""


def insert_policy(  # noqa: PLR0913  # one for each column
    connection: psycopg.Connection,
    marketplace_id: str,
    policy_version: int,
    policy: ConfirmationPolicy,
    *,
    created_by: str,
    reason: str | None,
) -> None:
    """Add a version of a marketplace's policy, by which its new orders are counted from now on.

    The days of this year and its neighbours are stored at once, and any other year's when an order needs it.
    """
    connection.execute(
        _INSERT_POLICY,
        {
            "marketplace_id": marketplace_id,
            "policy_version": policy_version,
            "country_code": policy.country_code,
            "time_zone": policy.time_zone,
            "window_business_days": policy.window_business_days,
            "weekend": None if policy.weekend is None else sorted(policy.weekend),
            "extra_working_days": sorted(policy.extra_working_days),
            "extra_holidays": Json({day.isoformat(): name for day, name in sorted(policy.extra_holidays.items())}),
            "created_by": created_by,
            "reason": reason,
        },
    )
    this_year = _this_year(connection)
    for year in range(this_year - 1, this_year + 2):
        # A year that the library does not know is refused to the orders that need it.
        with suppress(ValueError):
            take_year(connection, (marketplace_id, policy_version), policy.country_code, year)


def rename_marketplace(connection: psycopg.Connection, marketplace_id: str, marketplace_name: str) -> None:
    """Give a marketplace another name; its policy stays as it is."""
    connection.execute(
        """
        UPDATE marketplaces SET marketplace_name = %(marketplace_name)s
        WHERE marketplace_id = %(marketplace_id)s AND marketplace_name <> %(marketplace_name)s
        """,
        {"marketplace_id": marketplace_id, "marketplace_name": marketplace_name},
    )


def _this_year(connection: psycopg.Connection) -> int:
    row = connection.execute("SELECT extract(year FROM app_now())::integer").fetchone()
    if row is None:
        raise LookupError("the clock has no time")
    return row[0]


def _marketplace(row: dict[str, Any]) -> Marketplace:
    row["weekend"] = None if row["weekend"] is None else frozenset(row["weekend"])
    row["extra_working_days"] = frozenset(row["extra_working_days"])
    row["extra_holidays"] = {date.fromisoformat(day): name for day, name in row["extra_holidays"].items()}
    return Marketplace(**row)


def _with_taken_years(
    connection: psycopg.Connection, marketplaces: Collection[Marketplace]
) -> Mapping[str, VersionedPolicy]:
    stored = find_years(connection, [each.key for each in marketplaces])
    policies: dict[str, VersionedPolicy] = {}
    for each in marketplaces:
        years = Years(stored[each.key], partial(take_year, connection, each.key, each.country_code))
        policies[each.marketplace_id] = VersionedPolicy(each.policy_version, replace(each.policy, years=years))
    return policies

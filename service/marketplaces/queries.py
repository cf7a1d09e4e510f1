"""Marketplaces and their confirmation policies: reference data, the same for every seller."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import psycopg
from psycopg.rows import class_row

from service.business_days import ConfirmationPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class Marketplace:
    """Where orders are placed, and how their confirmation window is counted (D1)."""

    marketplace_id: str
    marketplace_name: str
    country_code: str
    time_zone: str
    window_business_days: int

    @property
    def policy(self) -> ConfirmationPolicy:
        """Return what `confirmBy` is computed from."""
        return ConfirmationPolicy(self.country_code, self.time_zone, self.window_business_days)


def find_marketplaces(
    connection: psycopg.Connection, marketplace_ids: Collection[str] | None = None
) -> list[Marketplace]:
    """Return those of the marketplaces that exist, or every one when none is named, by id."""
    with connection.cursor(row_factory=class_row(Marketplace)) as cursor:
        return cursor.execute(
            """
            SELECT marketplace_id, marketplace_name, country_code, time_zone, window_business_days
            FROM marketplaces
            WHERE %(marketplace_ids)s::text[] IS NULL OR marketplace_id = ANY(%(marketplace_ids)s)
            ORDER BY marketplace_id
            """,
            {"marketplace_ids": None if marketplace_ids is None else list(marketplace_ids)},
        ).fetchall()


def find_policies(connection: psycopg.Connection, marketplace_ids: Collection[str]) -> Mapping[str, ConfirmationPolicy]:
    """Return the policies of those of the marketplaces that exist, by id."""
    return {each.marketplace_id: each.policy for each in find_marketplaces(connection, marketplace_ids)}


def insert_marketplace(connection: psycopg.Connection, marketplace: Marketplace) -> None:
    """Add a marketplace, or raise `MarketplaceExists`."""
    connection.execute(
        """
        INSERT INTO marketplaces (marketplace_id, marketplace_name, country_code, time_zone, window_business_days)
        VALUES (%(marketplace_id)s, %(marketplace_name)s, %(country_code)s, %(time_zone)s, %(window_business_days)s)
        """,
        {
            "marketplace_id": marketplace.marketplace_id,
            "marketplace_name": marketplace.marketplace_name,
            "country_code": marketplace.country_code,
            "time_zone": marketplace.time_zone,
            "window_business_days": marketplace.window_business_days,
        },
    )

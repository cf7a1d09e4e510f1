"""Marketplaces and their confirmation policies: reference data, the same for every seller."""

from __future__ import annotations

from collections.abc import Mapping
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


def find_marketplaces(connection: psycopg.Connection) -> list[Marketplace]:
    """Return every marketplace, by id."""
    with connection.cursor(row_factory=class_row(Marketplace)) as cursor:
        return cursor.execute(
            """
            SELECT marketplace_id, marketplace_name, country_code, time_zone, window_business_days
            FROM marketplaces ORDER BY marketplace_id
            """
        ).fetchall()


def find_policies(connection: psycopg.Connection) -> Mapping[str, ConfirmationPolicy]:
    """Return the policy of every marketplace, by id."""
    return {marketplace.marketplace_id: marketplace.policy for marketplace in find_marketplaces(connection)}


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

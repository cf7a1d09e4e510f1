"""How far a package has got, as it is stored."""

from __future__ import annotations

from dataclasses import asdict

import psycopg

from service.orders.package_queries import PackageKey
from service.tracking.rules import PackageProgress


def find_progress(connection: psycopg.Connection, key: PackageKey) -> tuple[PackageProgress, str | None] | None:
    """Return how far a package of a locked order has got, and the code of its carrier."""
    row = connection.execute(
        """
        SELECT package_status, detailed_status, tracking_time, delivered_time, carrier_code FROM packages
        WHERE seller_id = %(seller_id)s AND order_id = %(order_id)s
            AND package_reference_id = %(package_reference_id)s
        """,
        asdict(key),
    ).fetchone()
    if row is None:
        return None
    status, detailed_status, tracking_time, delivered_time, carrier_code = row
    progress = PackageProgress(
        status=status,
        detailed_status=detailed_status,
        tracking_time=tracking_time,
        delivered_time=delivered_time,
    )
    return progress, carrier_code


def update_progress(connection: psycopg.Connection, key: PackageKey, progress: PackageProgress) -> None:
    """Write how far a package has got."""
    connection.execute(
        """
        UPDATE packages SET
            version = version + 1, package_status = %(status)s, detailed_status = %(detailed_status)s,
            tracking_time = %(tracking_time)s, delivered_time = %(delivered_time)s
        WHERE seller_id = %(seller_id)s AND order_id = %(order_id)s
            AND package_reference_id = %(package_reference_id)s
        """,
        asdict(key) | asdict(progress),
    )

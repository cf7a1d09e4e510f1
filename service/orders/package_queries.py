"""One package of an order, and all of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime

import psycopg

from service.errors import OrderNotFound, PackageNotFound
from service.orders.order_json import PACKAGE_JSON, PACKAGES


@dataclass(frozen=True, slots=True)
class PackageKey:
    """Which package."""

    seller_id: str
    order_id: str
    package_reference_id: str


@dataclass(frozen=True, slots=True)
class Package:
    """A package as JSON text, and its version."""

    text: str
    version: int


def find_packages(connection: psycopg.Connection, seller_id: str, order_id: str) -> str | None:
    """Return the packages of an order as the JSON text of a list; None when the seller has no such order."""
    row = connection.execute(
        f"""
        SELECT COALESCE({PACKAGES}, '[]')
        FROM orders o WHERE o.seller_id = %(seller_id)s AND o.order_id = %(order_id)s
        """,
        {"seller_id": seller_id, "order_id": order_id},
    ).fetchone()
    return row[0] if row else None


def find_package(connection: psycopg.Connection, key: PackageKey) -> Package:
    """Return a package; raises `OrderNotFound` or `PackageNotFound`."""
    row = connection.execute(
        f"""
        SELECT p.version, {PACKAGE_JSON}
        FROM orders o LEFT JOIN packages p ON p.seller_id = o.seller_id AND p.order_id = o.order_id
            AND p.package_reference_id = %(package_reference_id)s
        WHERE o.seller_id = %(seller_id)s AND o.order_id = %(order_id)s
        """,
        asdict(key),
    ).fetchone()
    if row is None:
        raise OrderNotFound(f"the seller has no order {key.order_id}")
    version, text = row
    if version is None:
        raise PackageNotFound(f"the order has no package {key.package_reference_id}")
    return Package(text, version)


def save_order_changed(connection: psycopg.Connection, key: PackageKey, now: datetime) -> None:
    """Note on the order that a package of it changed: the package is part of what the order shows."""
    connection.execute(
        """
        UPDATE orders SET version = version + 1, last_updated_time = %(now)s
        WHERE seller_id = %(seller_id)s AND order_id = %(order_id)s
        """,
        {"seller_id": key.seller_id, "order_id": key.order_id, "now": now},
    )

"""The packages of an order, and what a confirmation writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime

import psycopg
from psycopg.types.json import Json

from service.database import as_json
from service.orders.package_queries import PackageKey
from service.orders.rules import FulfillmentStatus, OrderState
from service.search.rules import search_text
from service.shipments.corrections import PackageDetails
from service.shipments.rules import Decision, KnownPackages, ShipmentConfirmation


def find_known_packages(
    connection: psycopg.Connection, seller_id: str, order_id: str, confirmation: ShipmentConfirmation
) -> KnownPackages:
    """Return what a confirmation needs to know of an order's packages; they are looked through where they are."""
    row = connection.execute(
        """
        SELECT count(*), max(package_reference_id::numeric), bool_or(package_reference_id = %(package_reference_id)s),
            (array_agg(package_reference_id ORDER BY created_time, package_reference_id) FILTER (
                WHERE confirmation_digest = %(digest)s
                    AND package_reference_id = COALESCE(%(package_reference_id)s, package_reference_id)
            ))[1]
        FROM packages WHERE seller_id = %(seller_id)s AND order_id = %(order_id)s
        """,
        {
            "seller_id": seller_id,
            "order_id": order_id,
            "package_reference_id": confirmation.package_reference_id,
            "digest": confirmation.digest,
        },
    ).fetchone()
    package_count, greatest, is_taken, made_before = row or (0, None, None, None)
    return KnownPackages(
        package_count=package_count, greatest=int(greatest or 0), made_before=made_before, is_taken=bool(is_taken)
    )


def find_free_reference(
    connection: psycopg.Connection, seller_id: str, order_id: str, package_count: int
) -> str | None:
    """Return the least number that none of the packages has, of which there are so many."""
    row = connection.execute(
        """
        SELECT number::text FROM generate_series(1, %(package_count)s + 1) AS numbers (number)
        WHERE NOT EXISTS (
            SELECT FROM packages
            WHERE seller_id = %(seller_id)s AND order_id = %(order_id)s AND package_reference_id = number::text
        )
        ORDER BY number LIMIT 1
        """,
        {"seller_id": seller_id, "order_id": order_id, "package_count": package_count},
    ).fetchone()
    return None if row is None else row[0]


def find_order_tracked_by(
    connection: psycopg.Connection, seller_id: str, tracking_number: str, except_order_id: str
) -> str | None:
    """Return another order of the seller that has a package with this tracking number."""
    row = connection.execute(
        """
        SELECT order_id FROM packages
        WHERE seller_id = %(seller_id)s AND tracking_number = %(tracking_number)s AND order_id <> %(order_id)s
        ORDER BY order_id LIMIT 1
        """,
        {"seller_id": seller_id, "tracking_number": tracking_number, "order_id": except_order_id},
    ).fetchone()
    return None if row is None else row[0]


def insert_package(
    connection: psycopg.Connection,
    order: OrderState,
    confirmation: ShipmentConfirmation,
    decision: Decision,
    now: datetime,
) -> None:
    """Write the package, which has its number, and its items, and add its units to the order's items."""
    codes = {item.order_item_id: item.transparency_codes for item in confirmation.items or ()}
    items = [
        {"order_item_id": item, "quantity": quantity, "transparency_codes": codes.get(item) or None}
        for item, quantity in decision.quantities.items()
    ]
    connection.execute(
        """
        WITH package AS (
            INSERT INTO packages (
                seller_id, order_id, package_reference_id, created_time, package_status, carrier_code, carrier_name,
                shipping_service, tracking_number, tracking_text, ship_time, ship_from_address, confirmation_digest
            ) VALUES (
                %(seller_id)s, %(order_id)s, %(package_reference_id)s, %(now)s, 'SHIPPED', %(carrier_code)s,
                %(carrier_name)s, %(shipping_service)s, %(tracking_number)s, %(tracking_text)s, %(ship_time)s,
                %(ship_from_address)s, %(digest)s
            )
        ), confirmed AS (
            SELECT order_item_id, quantity, transparency_codes
            FROM json_populate_recordset(NULL::package_items, %(items)s)
        ), packed AS (
            INSERT INTO package_items (
                seller_id, order_id, package_reference_id, order_item_id, quantity, transparency_codes
            )
            SELECT %(seller_id)s, %(order_id)s, %(package_reference_id)s, order_item_id, quantity, transparency_codes
            FROM confirmed
        )
        UPDATE order_items SET quantity_fulfilled = quantity_fulfilled + confirmed.quantity
        FROM confirmed
        WHERE order_items.seller_id = %(seller_id)s AND order_items.order_id = %(order_id)s
            AND order_items.order_item_id = confirmed.order_item_id
        """,
        {
            "seller_id": order.seller_id,
            "order_id": order.order_id,
            "package_reference_id": confirmation.package_reference_id,
            "now": now,
            "carrier_code": confirmation.carrier_code,
            "carrier_name": confirmation.carrier_name,
            "shipping_service": confirmation.shipping_method,
            "tracking_number": confirmation.tracking_number,
            "tracking_text": tracking_text(confirmation.tracking_number),
            "ship_time": decision.ship_time,
            "ship_from_address": optional_json(confirmation.ship_from_address),
            "digest": confirmation.digest,
            "items": as_json(items),
        },
    )


@dataclass(frozen=True, slots=True)
class StoredPackage:
    """What a correction looks at."""

    version: int
    delivered_time: datetime | None
    details: PackageDetails


def find_stored_package(connection: psycopg.Connection, key: PackageKey) -> StoredPackage | None:
    """Return a package of an order that is locked."""
    row = connection.execute(
        """
        SELECT version, delivered_time, carrier_code, carrier_name, shipping_service, tracking_number, ship_time,
            ship_from_address
        FROM packages
        WHERE seller_id = %(seller_id)s AND order_id = %(order_id)s
            AND package_reference_id = %(package_reference_id)s
        """,
        asdict(key),
    ).fetchone()
    if row is None:
        return None
    version, delivered_time, carrier_code, carrier_name, shipping_method, tracking_number, ship_date, address = row
    details = PackageDetails(
        carrier_code=carrier_code,
        carrier_name=carrier_name,
        shipping_method=shipping_method,
        tracking_number=tracking_number,
        ship_date=ship_date,
        ship_from_address=address,
    )
    return StoredPackage(version, delivered_time, details)


def update_package(connection: psycopg.Connection, key: PackageKey, details: PackageDetails, now: datetime) -> None:
    """Write what the seller tells of a package anew; from then on it is not the channel's to tell."""
    connection.execute(
        """
        UPDATE packages SET
            version = version + 1, corrected_time = %(now)s, carrier_code = %(carrier_code)s,
            carrier_name = %(carrier_name)s, shipping_service = %(shipping_method)s,
            tracking_number = %(tracking_number)s, tracking_text = %(tracking_text)s, ship_time = %(ship_date)s,
            ship_from_address = %(ship_from_address)s
        WHERE seller_id = %(seller_id)s AND order_id = %(order_id)s
            AND package_reference_id = %(package_reference_id)s
        """,
        asdict(key)
        | asdict(details)
        | {
            "tracking_text": tracking_text(details.tracking_number),
            "ship_from_address": optional_json(details.ship_from_address),
            "now": now,
        },
    )


def tracking_text(tracking_number: str | None) -> str | None:
    """Return what a search finds a tracking number by."""
    return search_text([tracking_number]) if tracking_number else None


def optional_json(value: Mapping[str, str] | None) -> Json | None:
    """Return a value for a column of JSON, in which nothing is NULL."""
    return None if value is None else as_json(value)


def save_confirmed(connection: psycopg.Connection, order: OrderState, decision: Decision, now: datetime) -> None:
    """Write the order's new status. The first confirmation sets the time and charges the order (R10)."""
    shipped = decision.fulfillment_status is FulfillmentStatus.SHIPPED
    connection.execute(
        """
        UPDATE orders SET
            version = version + 1, last_updated_time = %(now)s, fulfillment_status = %(fulfillment_status)s,
            payment_status = CASE WHEN %(charges_order)s THEN 'CHARGED' ELSE payment_status END,
            confirmed_time = COALESCE(confirmed_time, %(now)s), shipped_time = %(shipped_time)s
        WHERE seller_id = %(seller_id)s AND order_id = %(order_id)s
        """,
        {
            "seller_id": order.seller_id,
            "order_id": order.order_id,
            "now": now,
            "fulfillment_status": decision.fulfillment_status,
            "charges_order": decision.charges_order,
            "shipped_time": now if shipped else None,
        },
    )

"""The packages of an order, and what a confirmation writes."""

from __future__ import annotations

from datetime import datetime

import psycopg

from service.orders.rules import FulfillmentStatus, OrderState
from service.search.rules import search_text
from service.shipments.rules import Decision, ShipmentConfirmation


def find_confirmation_digest(
    connection: psycopg.Connection, seller_id: str, order_id: str, package_reference_id: str
) -> tuple[bool, bytes | None]:
    """Tell whether the order has the package, and the digest of its confirmation (None when it was imported)."""
    row = connection.execute(
        """
        SELECT confirmation_digest FROM packages
        WHERE seller_id = %(seller_id)s AND order_id = %(order_id)s
            AND package_reference_id = %(package_reference_id)s
        """,
        {"seller_id": seller_id, "order_id": order_id, "package_reference_id": package_reference_id},
    ).fetchone()
    return (False, None) if row is None else (True, row[0])


def insert_package(
    connection: psycopg.Connection,
    order: OrderState,
    confirmation: ShipmentConfirmation,
    decision: Decision,
    now: datetime,
) -> None:
    """Write the package and its items, and add its units to the order's items."""
    key = {"seller_id": order.seller_id, "order_id": order.order_id}
    connection.execute(
        """
        INSERT INTO packages (
            seller_id, order_id, package_reference_id, created_time, package_status, carrier_code, carrier_name,
            shipping_service, tracking_number, tracking_text, ship_time, confirmation_digest
        ) VALUES (
            %(seller_id)s, %(order_id)s, %(package_reference_id)s, %(now)s, 'SHIPPED', %(carrier_code)s,
            %(carrier_name)s, %(shipping_service)s, %(tracking_number)s, %(tracking_text)s, %(ship_time)s, %(digest)s
        )
        """,
        key
        | {
            "package_reference_id": confirmation.package_reference_id,
            "now": now,
            "carrier_code": confirmation.carrier_code,
            "carrier_name": confirmation.carrier_name,
            "shipping_service": confirmation.shipping_method,
            "tracking_number": confirmation.tracking_number,
            "tracking_text": search_text([confirmation.tracking_number]) if confirmation.tracking_number else None,
            "ship_time": confirmation.ship_date,
            "digest": confirmation.digest,
        },
    )
    connection.execute(
        """
        WITH confirmed AS (
            SELECT order_item_id, quantity
            FROM unnest(%(order_item_ids)s::text[], %(quantities)s::integer[]) AS item (order_item_id, quantity)
        ), packed AS (
            INSERT INTO package_items (seller_id, order_id, package_reference_id, order_item_id, quantity)
            SELECT %(seller_id)s, %(order_id)s, %(package_reference_id)s, order_item_id, quantity FROM confirmed
        )
        UPDATE order_items SET quantity_fulfilled = quantity_fulfilled + confirmed.quantity
        FROM confirmed
        WHERE order_items.seller_id = %(seller_id)s AND order_items.order_id = %(order_id)s
            AND order_items.order_item_id = confirmed.order_item_id
        """,
        key
        | {
            "package_reference_id": confirmation.package_reference_id,
            "order_item_ids": list(decision.quantities),
            "quantities": list(decision.quantities.values()),
        },
    )


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

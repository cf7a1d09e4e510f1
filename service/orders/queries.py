"""An order as it is shown, the locked state that decisions are taken on, and what every change writes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import LiteralString

import orjson
import psycopg
from psycopg.rows import dict_row

from service.money import Money
from service.orders.order_json import late_at, order_json
from service.orders.rules import EventType, FulfilledBy, FulfillmentStatus, ItemState, OrderState


def find_order(
    connection: psycopg.Connection, seller_id: str, order_id: str, members: Collection[str] | None = None
) -> str | None:
    """Return the JSON text of one order, with these members if not all; None when the seller has no such order."""
    row = connection.execute(
        f"""
        SELECT {order_json(members)}
        FROM orders o WHERE o.seller_id = %(seller_id)s AND o.order_id = %(order_id)s
        """,
        {"seller_id": seller_id, "order_id": order_id},
    ).fetchone()
    return row[0] if row else None


def read_clock(connection: psycopg.Connection) -> datetime:
    """Return the time that decisions are taken at."""
    row = connection.execute("SELECT app_now()").fetchone()
    if row is None:
        raise LookupError("the clock has no time")
    return row[0]


LOCK_ORDER: LiteralString = """
SELECT o.order_id FROM orders o
WHERE o.seller_id = %(seller_id)s AND o.order_id = %(order_id)s
FOR UPDATE
"""


def lock_order(connection: psycopg.Connection, seller_id: str, order_id: str) -> bool:
    """Lock an order for a change; False when the seller has no such order. Read its state and the clock afterwards."""
    key = {"seller_id": seller_id, "order_id": order_id}
    return connection.execute(LOCK_ORDER, key).fetchone() is not None


def read_locked_order(connection: psycopg.Connection, seller_id: str, order_id: str) -> tuple[OrderState, datetime]:
    """Return the state of an order that is locked, and the clock as it stands after the wait for the lock."""
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(
            """
            SELECT app_now() AS now, o.version, o.created_time, o.fulfilled_by, o.fulfillment_status, o.payment_status,
                o.ship_by_latest, o.confirm_by, o.grand_total, o.currency_code, o.confirmed_time, o.cancel_reason,
                o.cancellation_requested_time, o.cancellation_request_reason,
                (SELECT array_agg(
                    ROW(i.order_item_id, i.quantity_ordered, i.quantity_fulfilled) ORDER BY i.order_item_id)
                 FROM order_items i WHERE i.seller_id = o.seller_id AND i.order_id = o.order_id) AS items
            FROM orders o
            WHERE o.seller_id = %(seller_id)s AND o.order_id = %(order_id)s
            """,
            {"seller_id": seller_id, "order_id": order_id},
        ).fetchone()
    if row is None:
        raise LookupError("the order is not locked")
    now, amount, currency_code = row.pop("now"), row.pop("grand_total"), row.pop("currency_code")
    state = OrderState(
        seller_id=seller_id,
        order_id=order_id,
        fulfilled_by=FulfilledBy(row.pop("fulfilled_by")),
        fulfillment_status=FulfillmentStatus(row.pop("fulfillment_status")),
        grand_total=None if amount is None else Money(amount, currency_code),
        items={key: ItemState(int(ordered), int(fulfilled)) for key, ordered, fulfilled in row.pop("items")},
        **row,
    )
    return state, now


def insert_events(
    connection: psycopg.Connection,
    event_type: EventType,
    event_time: datetime,
    actor: str,
    events: Iterable[tuple[str, str, int, Mapping[str, object]]],
) -> None:
    """Append to the histories of orders: `seller_id`, `order_id`, the order's new `version`, and the details.

    The orders have been written before: an event keeps how its order stands from then on, and what it is sorted by.
    """
    seller_ids, order_ids, versions, details = zip(*events, strict=True)
    connection.execute(
        f"""
        INSERT INTO order_events (
            seller_id, order_id, version, event_type, event_time, actor, details,
            ship_by_sort, confirm_by_sort, grand_total_sort, fulfillment_status, shipment_is_late
        )
        SELECT event.seller_id, event.order_id, event.version, %(event_type)s, %(event_time)s, %(actor)s,
            event.details::json, o.ship_by_sort, o.confirm_by_sort, o.grand_total_sort, o.fulfillment_status,
            COALESCE({late_at("%(event_time)s")}, false)
        FROM unnest(%(seller_ids)s::text[], %(order_ids)s::text[], %(versions)s::integer[], %(details)s::text[])
            AS event (seller_id, order_id, version, details)
        JOIN orders o ON o.seller_id = event.seller_id AND o.order_id = event.order_id
        """,
        {
            "event_type": event_type,
            "event_time": event_time,
            "actor": actor,
            "seller_ids": list(seller_ids),
            "order_ids": list(order_ids),
            "versions": list(versions),
            "details": [orjson.dumps(each, option=orjson.OPT_UTC_Z).decode() for each in details],
        },
    )


def save_delivered_time(connection: psycopg.Connection, seller_id: str, order_id: str) -> None:
    """Note when the last package of a shipped order was delivered, or that one is not: its packages tell."""
    connection.execute(
        """
        UPDATE orders o SET delivered_time = (
            SELECT CASE WHEN bool_and(p.package_status = 'DELIVERED') THEN max(p.delivered_time) END
            FROM packages p WHERE p.seller_id = o.seller_id AND p.order_id = o.order_id
        )
        WHERE o.seller_id = %(seller_id)s AND o.order_id = %(order_id)s AND o.fulfillment_status = 'SHIPPED'
        """,
        {"seller_id": seller_id, "order_id": order_id},
    )


def has_payment_service(connection: psycopg.Connection) -> bool:
    """Tell whether charges are made by a payment service, also if this process was told of none."""
    return connection.execute("SELECT FROM payment_service").fetchone() is not None


def insert_charge(  # noqa: PLR0913  # all that a charge is, by name
    connection: psycopg.Connection,
    seller_id: str,
    order_id: str,
    total: Money,
    now: datetime,
    *,
    settled_outside: bool,
) -> None:
    """Record the charge of the whole order (R10): a second one for the order breaks `charges_pkey`.

    What is settled outside, and what costs nothing, is charged at once; any other is requested, and made by a worker
    once this is committed.
    """
    is_settled = settled_outside or not total.amount
    connection.execute(
        """
        INSERT INTO charges (
            seller_id, order_id, amount, currency_code, charge_status, settled_outside, requested_time, charged_time,
            next_attempt_time
        ) VALUES (
            %(seller_id)s, %(order_id)s, %(amount)s, %(currency_code)s, %(charge_status)s, %(settled_outside)s,
            %(now)s, %(charged_time)s, %(next_attempt_time)s
        )
        """,
        {
            "seller_id": seller_id,
            "order_id": order_id,
            "amount": total.amount,
            "currency_code": total.currency_code,
            "charge_status": "SUCCEEDED" if is_settled else "REQUESTED",
            "settled_outside": is_settled,
            "now": now,
            "charged_time": now if is_settled else None,
            "next_attempt_time": None if is_settled else now,
        },
    )

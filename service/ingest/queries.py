"""Write what the channel sends: new orders many at a time, later versions one by one.

Rows travel as one JSON array a table, named by column, and PostgreSQL takes them apart by the table's own types.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import LiteralString

import orjson
import psycopg
from psycopg.rows import dict_row

from service.database import as_json
from service.ingest.changes import payment_status_after
from service.ingest.content import content_of, digest_of
from service.ingest.deadlines import Deadline
from service.ingest.rows import item_rows, order_row, package_item_rows, package_row
from service.ingest.rules import IncomingOrder, StoredOrder
from service.money import Money
from service.orders.order_json import order_json
from service.orders.queries import save_delivered_time
from service.orders.rules import FulfilledBy, FulfillmentStatus, ItemState

Key = tuple[str, str]

LOCK_STORED_ORDERS: LiteralString = """
SELECT o.seller_id, o.order_id
FROM orders o
JOIN unnest(%(seller_ids)s::text[], %(order_ids)s::text[]) AS key (seller_id, order_id)
    ON o.seller_id = key.seller_id AND o.order_id = key.order_id
ORDER BY o.seller_id, o.order_id
FOR UPDATE OF o
"""

_STORED_ORDERS: LiteralString = """
SELECT o.seller_id, o.order_id, o.version, o.created_time, o.marketplace_id, o.channel_name, o.fulfilled_by,
    o.fulfillment_status, o.payment_status, o.ship_by_earliest, o.ship_by_latest, o.confirm_by,
    o.policy_version, o.extended_until, o.grand_total, o.currency_code, o.confirmed_time, o.shipped_time,
    o.cancelled_time, o.cancel_reason, o.channel_digest, o.channel_updated_time,
    (SELECT jsonb_object_agg(i.order_item_id, jsonb_build_array(i.quantity_ordered, i.quantity_fulfilled))
     FROM order_items i WHERE i.seller_id = o.seller_id AND i.order_id = o.order_id) AS items,
    (SELECT jsonb_object_agg(p.package_reference_id, (
         SELECT jsonb_object_agg(pi.order_item_id, pi.quantity) FROM package_items pi
         WHERE pi.seller_id = p.seller_id AND pi.order_id = p.order_id
             AND pi.package_reference_id = p.package_reference_id))
     FROM packages p WHERE p.seller_id = o.seller_id AND p.order_id = o.order_id) AS packages
FROM orders o
JOIN unnest(%(seller_ids)s::text[], %(order_ids)s::text[]) AS key (seller_id, order_id)
    ON o.seller_id = key.seller_id AND o.order_id = key.order_id
ORDER BY o.seller_id, o.order_id
"""


def lock_stored_orders(connection: psycopg.Connection, keys: Collection[Key]) -> dict[Key, StoredOrder]:
    """Lock those of the orders that exist, in the order of their keys, and return their state after the wait."""
    parameters = {"seller_ids": [key[0] for key in keys], "order_ids": [key[1] for key in keys]}
    if not connection.execute(LOCK_STORED_ORDERS, parameters).fetchall():
        return {}
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(_STORED_ORDERS, parameters).fetchall()
    stored: dict[Key, StoredOrder] = {}
    for row in rows:
        key = row.pop("seller_id"), row.pop("order_id")
        amount, currency_code = row.pop("grand_total"), row.pop("currency_code")
        items = {item: ItemState(*quantities) for item, quantities in row.pop("items").items()}
        row["fulfilled_by"] = FulfilledBy(row["fulfilled_by"])
        row["fulfillment_status"] = FulfillmentStatus(row["fulfillment_status"])
        stored[key] = StoredOrder(
            grand_total=None if amount is None else Money(amount, currency_code),
            items=items,
            packages=row.pop("packages") or {},
            **row,
        )
    return stored


def shown_digests(connection: psycopg.Connection, keys: Collection[Key]) -> dict[Key, bytes]:
    """Return what stands for the content of orders as they are given out."""
    rows = connection.execute(
        f"""
        SELECT o.seller_id, o.order_id, {order_json(None)}
        FROM orders o
        JOIN unnest(%(seller_ids)s::text[], %(order_ids)s::text[]) AS key (seller_id, order_id)
            ON o.seller_id = key.seller_id AND o.order_id = key.order_id
        """,
        {"seller_ids": [key[0] for key in keys], "order_ids": [key[1] for key in keys]},
    )
    return {(seller_id, order_id): digest_of(content_of(orjson.loads(text))) for seller_id, order_id, text in rows}


def find_item_ids(connection: psycopg.Connection, keys: Collection[Key]) -> dict[Key, set[str]]:
    """Return the ids of the items of those of the orders that exist."""
    rows = connection.execute(
        """
        SELECT i.seller_id, i.order_id, array_agg(i.order_item_id)
        FROM order_items i
        JOIN unnest(%(seller_ids)s::text[], %(order_ids)s::text[]) AS key (seller_id, order_id)
            ON i.seller_id = key.seller_id AND i.order_id = key.order_id
        GROUP BY i.seller_id, i.order_id
        """,
        {"seller_ids": [key[0] for key in keys], "order_ids": [key[1] for key in keys]},
    )
    return {(seller_id, order_id): set(item_ids) for seller_id, order_id, item_ids in rows}


def known_sellers(connection: psycopg.Connection, seller_ids: Collection[str]) -> set[str]:
    """Return those of the sellers that exist."""
    rows = connection.execute(
        "SELECT seller_id FROM sellers WHERE seller_id = ANY(%(seller_ids)s)", {"seller_ids": list(seller_ids)}
    )
    return {row[0] for row in rows}


def find_policies_counted_by(
    connection: psycopg.Connection, orders: Iterable[tuple[IncomingOrder, Deadline]]
) -> dict[Key, tuple[str, int]]:
    """Return by which policies those orders were counted whose ship-by date is moved, where they are older ones.

    Nothing is locked: what is returned may have changed since.
    """
    told = list(orders)
    rows = connection.execute(
        """
        SELECT o.seller_id, o.order_id, o.marketplace_id, o.policy_version
        FROM orders o
        JOIN unnest(%(seller_ids)s::text[], %(order_ids)s::text[], %(ship_bys)s::timestamptz[], %(versions)s::integer[])
            AS told (seller_id, order_id, ship_by, policy_version)
            ON o.seller_id = told.seller_id AND o.order_id = told.order_id
        WHERE o.policy_version < told.policy_version AND o.ship_by_latest IS DISTINCT FROM told.ship_by
        """,
        {
            "seller_ids": [order.seller_id for order, _ in told],
            "order_ids": [order.order_id for order, _ in told],
            "ship_bys": [order.ship_by_latest for order, _ in told],
            "versions": [deadline.policy_version for _, deadline in told],
        },
    )
    return {(seller_id, order_id): (marketplace, version) for seller_id, order_id, marketplace, version in rows}


# What a later version may bring anew, and what a cancelled order keeps as it was: some channels send 0 for all of it.
_COLUMNS: LiteralString = """
last_updated_time, fulfillment_status, fulfillment_service_level, payment_status, deliver_by_earliest,
deliver_by_latest, confirmed_time, shipped_time, cancelled_time, cancel_reason, channel_digest, channel_updated_time,
sales_channel, buyer, recipient, payment_executions, label_printing_window, details, programs, ship_to_country
"""
_TERMS: LiteralString = """
ship_by_earliest, ship_by_latest, confirm_by, policy_version, extended_until, grand_total, currency_code, proceeds
"""

_INSERTED: LiteralString = f"""
seller_id, order_id, version, created_time, marketplace_id, channel_name, fulfilled_by, delivered_time, {_TERMS},
{_COLUMNS}
"""
_INSERT_ORDERS: LiteralString = f"""
INSERT INTO orders ({_INSERTED})
SELECT {_INSERTED} FROM json_populate_recordset(NULL::orders, %(rows)s)
ON CONFLICT ON CONSTRAINT orders_pkey DO NOTHING
RETURNING seller_id, order_id
"""

_INSERT_ITEMS: LiteralString = """
INSERT INTO order_items (
    seller_id, order_id, order_item_id, item_number, quantity_ordered, quantity_fulfilled, details, fulfillment_details
)
SELECT seller_id, order_id, order_item_id, item_number, quantity_ordered, quantity_fulfilled, details,
    fulfillment_details
FROM json_populate_recordset(NULL::order_items, %(rows)s)
ON CONFLICT ON CONSTRAINT order_items_pkey DO UPDATE SET
    item_number = EXCLUDED.item_number, quantity_ordered = EXCLUDED.quantity_ordered,
    quantity_fulfilled = EXCLUDED.quantity_fulfilled, details = EXCLUDED.details,
    fulfillment_details = EXCLUDED.fulfillment_details
"""

# What the seller confirmed or corrected here is not the channel's to tell. How far a package got is, unless the carrier
# tells it here; a delivery is final, and its earliest time is right.
_IS_TOLD_HERE: LiteralString = "(p.confirmation_digest IS NOT NULL OR p.corrected_time IS NOT NULL)"
_PROGRESS: tuple[LiteralString, ...] = ("package_status", "detailed_status", "delivered_time")
_TOLD: tuple[LiteralString, ...] = (
    "carrier_code", "carrier_name", "shipping_service", "tracking_number", "tracking_text", "ship_time",
    "ship_from_address",
)  # fmt: skip
_PACKAGE_COLUMNS: LiteralString = ", ".join(
    ("seller_id", "order_id", "package_reference_id", "created_time", *_PROGRESS, *_TOLD)
)


def _differ(columns: tuple[LiteralString, ...]) -> LiteralString:
    was: LiteralString = ", ".join(f"p.{column}::text" for column in columns)
    told: LiteralString = ", ".join(f"EXCLUDED.{column}::text" for column in columns)
    return f"({was}) IS DISTINCT FROM ({told})"


_INSERT_PACKAGES: LiteralString = f"""
INSERT INTO packages AS p ({_PACKAGE_COLUMNS})
SELECT {_PACKAGE_COLUMNS} FROM json_populate_recordset(NULL::packages, %(rows)s)
ON CONFLICT ON CONSTRAINT packages_pkey DO UPDATE SET
    version = p.version + 1, {", ".join(f"{column} = EXCLUDED.{column}" for column in _PROGRESS)},
    {", ".join(f"{column} = CASE WHEN {_IS_TOLD_HERE} THEN p.{column} ELSE EXCLUDED.{column} END" for column in _TOLD)}
WHERE (p.package_status <> 'DELIVERED' OR EXCLUDED.delivered_time < p.delivered_time)
    AND (p.tracking_time IS NULL OR EXCLUDED.package_status = 'DELIVERED')
    AND ({_differ(_PROGRESS)} OR NOT {_IS_TOLD_HERE} AND {_differ(_TOLD)})
"""

_INSERT_PACKAGE_ITEMS: LiteralString = """
INSERT INTO package_items (seller_id, order_id, package_reference_id, order_item_id, quantity, transparency_codes)
SELECT seller_id, order_id, package_reference_id, order_item_id, quantity, transparency_codes
FROM json_populate_recordset(NULL::package_items, %(rows)s)
ON CONFLICT ON CONSTRAINT package_items_pkey DO NOTHING
"""


def insert_orders(
    connection: psycopg.Connection, orders: Iterable[tuple[IncomingOrder, Deadline]], now: datetime
) -> set[Key]:
    """Insert orders, each with its deadline, and return the keys of those that did not exist already."""
    rows = [order_row(order, deadline, now) for order, deadline in orders]
    return set(connection.execute(_INSERT_ORDERS, {"rows": as_json(rows)}).fetchall())


def update_order(
    connection: psycopg.Connection,
    stored: StoredOrder,
    order: IncomingOrder,
    deadline: Deadline,
    now: datetime,
) -> None:
    """Write a later version of an order. What happened here keeps its time; what happens now takes `now`."""
    row = order_row(order, deadline, now)
    row["confirmed_time"] = stored.confirmed_time or (row["confirmed_time"] and now)
    row["shipped_time"] = stored.shipped_time or (row["shipped_time"] and now)
    row["cancelled_time"] = stored.cancelled_time or row["cancelled_time"]
    row["cancel_reason"] = stored.cancel_reason or row["cancel_reason"]
    row["channel_updated_time"] = order.channel_updated_time or stored.channel_updated_time
    row["payment_status"] = payment_status_after(stored, order)
    is_cancelled = order.fulfillment_status is FulfillmentStatus.CANCELLED
    columns: LiteralString = _COLUMNS if is_cancelled else f"{_COLUMNS}, {_TERMS}"
    connection.execute(
        f"""
        UPDATE orders SET version = version + 1, ({columns}) =
            (SELECT {columns} FROM json_populate_record(NULL::orders, %(row)s))
        WHERE seller_id = %(seller_id)s AND order_id = %(order_id)s
        """,
        {"seller_id": order.seller_id, "order_id": order.order_id, "row": as_json(row)},
    )
    if is_cancelled:
        return
    if stored.fulfillment_status is FulfillmentStatus.PENDING:
        connection.execute(
            """
            DELETE FROM order_items
            WHERE seller_id = %(seller_id)s AND order_id = %(order_id)s AND order_item_id <> ALL(%(kept)s)
            """,
            {"seller_id": order.seller_id, "order_id": order.order_id, "kept": list(order.item_states)},
        )
    save_parts(connection, [order], now)
    save_delivered_time(connection, order.seller_id, order.order_id)


def note_channel_time(connection: psycopg.Connection, order: IncomingOrder) -> None:
    """Remember that the channel still said the same at a later time: what it said in between is outdated."""
    connection.execute(
        """
        UPDATE orders SET channel_updated_time = %(channel_updated_time)s
        WHERE seller_id = %(seller_id)s AND order_id = %(order_id)s
        """,
        {
            "seller_id": order.seller_id,
            "order_id": order.order_id,
            "channel_updated_time": order.channel_updated_time,
        },
    )


def save_parts(connection: psycopg.Connection, orders: Sequence[IncomingOrder], now: datetime) -> None:
    """Write the items and packages of orders."""
    packages = [(order, package) for order in orders for package in order.packages]
    rows = [row for order in orders for row in item_rows(order)]
    connection.execute(_INSERT_ITEMS, {"rows": as_json(rows)})
    if packages:
        rows = [package_row(order, package, now) for order, package in packages]
        connection.execute(_INSERT_PACKAGES, {"rows": as_json(rows)})
        rows = [row for order, package in packages for row in package_item_rows(order, package)]
        connection.execute(_INSERT_PACKAGE_ITEMS, {"rows": as_json(rows)})

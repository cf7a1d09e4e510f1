"""The one JSON representation of an order, and the locked state that decisions are taken on."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import LiteralString

import orjson
import psycopg

from service.money import Money
from service.orders.rules import DETAILS, EventType, FulfilledBy, FulfillmentStatus, ItemState, OrderState

_ITEMS: LiteralString = """
(SELECT string_agg(
    '{"orderItemId":' || to_json(i.order_item_id)::text || ',"quantityOrdered":' || i.quantity_ordered
    || i.details
    || ',"fulfillment":{"quantityFulfilled":' || i.quantity_fulfilled
    || ',"quantityUnfulfilled":' || (i.quantity_ordered - i.quantity_fulfilled) || i.fulfillment_details || '}}',
    ',' ORDER BY i.item_number, i.order_item_id)
FROM order_items i WHERE i.seller_id = o.seller_id AND i.order_id = o.order_id)
"""

_PACKAGES: LiteralString = """
(SELECT '[' || string_agg(
    '{"packageReferenceId":' || to_json(p.package_reference_id)::text
    || json_time('createdTime', p.created_time)
    || ',"packageStatus":' || json_braces(
        json_text('status', p.package_status) || json_text('detailedStatus', p.detailed_status))
    || json_text('carrier', COALESCE(p.carrier_name, p.carrier_code)) || json_text('carrierCode', p.carrier_code)
    || json_time('shipTime', p.ship_time) || json_time('deliveredTime', p.delivered_time)
    || json_text('shippingService', p.shipping_service) || json_text('trackingNumber', p.tracking_number)
    || json_member('shipFromAddress', p.ship_from_address::text)
    || ',"packageItems":[' || (
        SELECT string_agg(
            '{"orderItemId":' || to_json(pi.order_item_id)::text || ',"quantity":' || pi.quantity
            || json_member('transparencyCodes', to_json(pi.transparency_codes)::text) || '}',
            ',' ORDER BY pi.order_item_id)
        FROM package_items pi
        WHERE pi.seller_id = p.seller_id AND pi.order_id = p.order_id
            AND pi.package_reference_id = p.package_reference_id
    ) || ']}',
    ',' ORDER BY p.created_time, p.package_reference_id) || ']'
FROM packages p WHERE p.seller_id = o.seller_id AND p.order_id = o.order_id)
"""

_CHARGE: LiteralString = """
(SELECT '{"amount":{"amount":"' || c.amount || '","currencyCode":"' || c.currency_code || '"}'
    || json_time('chargedTime', c.charged_time) || ',"chargeStatus":"' || c.charge_status
    || '","settledOutside":' || c.settled_outside || '}'
FROM charges c WHERE c.seller_id = o.seller_id AND c.order_id = o.order_id)
"""

# R11, D4, D7: late from the ship-by instant until everything is confirmed, refunded or not.
IS_LATE: LiteralString = """
(o.fulfilled_by = 'MERCHANT' AND o.fulfillment_status IN ('UNSHIPPED', 'PARTIALLY_SHIPPED')
    AND o.ship_by_sort < (SELECT app_now()))
"""

# The representation of an order `o`, as JSON text, member by member, each behind a comma. Whatever shows an order
# shows this; those in DETAILS are kept together, as the channel sent them.
_ORDER_ID: LiteralString = """ '"orderId":' || to_json(o.order_id)::text """
_MEMBERS: Mapping[str, LiteralString] = {
    "orderId": f"',' || {_ORDER_ID}",
    "sellerId": "json_text('sellerId', o.seller_id)",
    "createdTime": "json_time('createdTime', o.created_time)",
    "lastUpdatedTime": "json_time('lastUpdatedTime', o.last_updated_time)",
    "version": """ ',"version":' || o.version """,
    "salesChannel": "json_member('salesChannel', o.sales_channel::text)",
    "buyer": "json_member('buyer', o.buyer::text)",
    "recipient": "json_member('recipient', o.recipient::text)",
    "proceeds": "json_member('proceeds', o.proceeds::text)",
    "payment": f"""
        json_member('payment', json_braces(
            json_text('paymentStatus', o.payment_status)
            || CASE WHEN o.confirmed_time IS NULL THEN '' ELSE json_member('charge', {_CHARGE}) END
            || json_member('paymentExecutions', o.payment_executions::text)))
    """,
    "fulfillment": f"""
        ',"fulfillment":{{"fulfillmentStatus":"' || o.fulfillment_status || '","fulfilledBy":"' || o.fulfilled_by || '"'
        || json_text('fulfillmentServiceLevel', o.fulfillment_service_level)
        || json_member('shipByWindow', json_braces(
            json_time('earliestDateTime', o.ship_by_earliest) || json_time('latestDateTime', o.ship_by_latest)))
        || json_time('confirmBy', o.confirm_by)
        || ',"shipmentIsLate":' || COALESCE({IS_LATE}, false)
        || json_member('deliverByWindow', json_braces(
            json_time('earliestDateTime', o.deliver_by_earliest) || json_time('latestDateTime', o.deliver_by_latest)))
        || json_member('labelPrintingWindow', o.label_printing_window::text) || '}}'
    """,
    "cancellation": """
        json_member('cancellation', json_braces(
            json_time('cancelledTime', o.cancelled_time) || json_text('cancelReason', o.cancel_reason)
            || json_text('cancellationRunId', o.cancellation_run_id::text)))
    """,
    "orderItems": f""" ',"orderItems":[' || {_ITEMS} || ']' """,
    "packages": f"""
        json_member('packages', CASE WHEN o.confirmed_time IS NULL THEN NULL ELSE {_PACKAGES} END)
    """,
    "warnings": f"""
        CASE WHEN {IS_LATE} THEN
            ',"warnings":[{{"code":"SHIPMENT_IS_LATE","message":"Shipment is late"'
            || json_time('since', o.ship_by_latest)
            || ',"resolution":"Confirm the shipment of every item that remains."}}]'
            ELSE '' END
    """,
}


def order_json(members: Collection[str] | None = None) -> LiteralString:
    """Return the SQL that writes an order `o` as JSON text: all of it, or at least the named members."""
    parts: list[LiteralString] = [sql for name, sql in _MEMBERS.items() if members is None or name in members]
    if members is None or not DETAILS.isdisjoint(members):
        parts.append("o.details")
    if members is None or "orderId" in members:
        return " || ".join(("'{' || " + _ORDER_ID, *parts[1:], "'}'"))
    # What takes the first comma away goes through the whole text, character by character.
    return "'{' || substr(" + " || ".join(parts) + ", 2) || '}'" if parts else "'{}'"


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
    row = connection.execute(
        """
        SELECT app_now(), o.version, o.fulfilled_by, o.fulfillment_status, o.confirm_by,
            o.grand_total, o.currency_code, o.confirmed_time,
            (SELECT array_agg(ROW(i.order_item_id, i.quantity_ordered, i.quantity_fulfilled) ORDER BY i.order_item_id)
             FROM order_items i WHERE i.seller_id = o.seller_id AND i.order_id = o.order_id)
        FROM orders o
        WHERE o.seller_id = %(seller_id)s AND o.order_id = %(order_id)s
        """,
        {"seller_id": seller_id, "order_id": order_id},
    ).fetchone()
    if row is None:
        raise LookupError("the order is not locked")
    now, version, fulfilled_by, status, confirm_by, amount, currency, confirmed_time, items = row
    state = OrderState(
        seller_id=seller_id,
        order_id=order_id,
        version=version,
        fulfilled_by=FulfilledBy(fulfilled_by),
        fulfillment_status=FulfillmentStatus(status),
        confirm_by=confirm_by,
        grand_total=None if amount is None else Money(amount, currency),
        confirmed_time=confirmed_time,
        items={key: ItemState(int(ordered), int(fulfilled)) for key, ordered, fulfilled in items},
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

    The orders have been written before: an event keeps what its order is sorted by from then on.
    """
    seller_ids, order_ids, versions, details = zip(*events, strict=True)
    connection.execute(
        """
        INSERT INTO order_events (
            seller_id, order_id, version, event_type, event_time, actor, details,
            ship_by_sort, confirm_by_sort, grand_total_sort
        )
        SELECT event.seller_id, event.order_id, event.version, %(event_type)s, %(event_time)s, %(actor)s,
            event.details::json, o.ship_by_sort, o.confirm_by_sort, o.grand_total_sort
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
            "details": [orjson.dumps(each).decode() for each in details],
        },
    )


def insert_charge(
    connection: psycopg.Connection, seller_id: str, order_id: str, total: Money, charged_time: datetime
) -> None:
    """Record the charge of the whole order (R10): a second one for the order breaks `charges_pkey`.

    No payment service is called yet, so that the charge counts as settled outside and says so.
    """
    connection.execute(
        """
        INSERT INTO charges
            (seller_id, order_id, amount, currency_code, charge_status, settled_outside, charged_time)
        VALUES (%(seller_id)s, %(order_id)s, %(amount)s, %(currency_code)s, 'SUCCEEDED', true, %(charged_time)s)
        """,
        {
            "seller_id": seller_id,
            "order_id": order_id,
            "amount": total.amount,
            "currency_code": total.currency_code,
            "charged_time": charged_time,
        },
    )

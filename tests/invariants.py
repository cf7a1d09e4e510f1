"""What must hold whatever happened: each query returns the rows that break a rule, so none at all."""

from __future__ import annotations

from typing import LiteralString

import psycopg

INVARIANTS: dict[str, LiteralString] = {
    "a cancelled order is never charged": """
        SELECT o.seller_id, o.order_id FROM orders o JOIN charges c USING (seller_id, order_id)
        WHERE o.fulfillment_status = 'CANCELLED'
    """,
    "an order is charged at most once": """
        SELECT seller_id, order_id FROM charges GROUP BY seller_id, order_id HAVING count(*) > 1
    """,
    "an order with a confirmed item is charged, and no other": """
        SELECT o.seller_id, o.order_id FROM orders o LEFT JOIN charges c USING (seller_id, order_id)
        WHERE (o.fulfillment_status IN ('PARTIALLY_SHIPPED', 'SHIPPED')) <> (c.order_id IS NOT NULL)
    """,
    "the charge is for the order's total": """
        SELECT o.seller_id, o.order_id FROM orders o JOIN charges c USING (seller_id, order_id)
        WHERE c.amount <> o.grand_total OR c.currency_code <> o.currency_code
    """,
    "cancelled is unpaid, and unpaid is cancelled": """
        SELECT seller_id, order_id FROM orders
        WHERE (fulfillment_status = 'CANCELLED') <> (payment_status IS NOT DISTINCT FROM 'UNPAID')
    """,
    "no more is packed than was ordered": """
        SELECT i.seller_id, i.order_id, i.order_item_id
        FROM order_items i JOIN package_items p USING (seller_id, order_id, order_item_id)
        GROUP BY i.seller_id, i.order_id, i.order_item_id, i.quantity_ordered
        HAVING sum(p.quantity) > i.quantity_ordered
    """,
    "what the seller confirmed is what the packages hold": """
        SELECT i.seller_id, i.order_id, i.order_item_id
        FROM orders o JOIN order_items i USING (seller_id, order_id)
        LEFT JOIN package_items p USING (seller_id, order_id, order_item_id)
        WHERE o.fulfilled_by = 'MERCHANT'
        GROUP BY i.seller_id, i.order_id, i.order_item_id, i.quantity_fulfilled
        HAVING COALESCE(sum(p.quantity), 0) <> i.quantity_fulfilled
    """,
    "the status is what the quantities make it": """
        SELECT o.seller_id, o.order_id FROM orders o JOIN order_items i USING (seller_id, order_id)
        GROUP BY o.seller_id, o.order_id, o.fulfillment_status
        HAVING (o.fulfillment_status = 'SHIPPED') <>
                (sum(i.quantity_fulfilled) > 0 AND sum(i.quantity_fulfilled) = sum(i.quantity_ordered))
            OR (o.fulfillment_status = 'PARTIALLY_SHIPPED') <>
                (sum(i.quantity_fulfilled) > 0 AND sum(i.quantity_fulfilled) < sum(i.quantity_ordered))
    """,
    "nothing is cancelled before its deadline, nor without a run": """
        SELECT seller_id, order_id FROM orders WHERE cancel_reason = 'NOT_CONFIRMED_IN_TIME'
            AND (cancelled_time < confirm_by OR cancellation_run_id IS NULL OR fulfilled_by <> 'MERCHANT')
    """,
    "nothing is confirmed for the first time at or after its deadline": """
        SELECT o.seller_id, o.order_id FROM orders o JOIN order_events e USING (seller_id, order_id)
        WHERE e.event_type = 'SHIPMENT_CONFIRMED' AND (e.details ->> 'charged')::boolean
            AND e.event_time >= o.confirm_by
    """,
    "every change has its event, and only one": """
        SELECT o.seller_id, o.order_id FROM orders o LEFT JOIN order_events e USING (seller_id, order_id)
        GROUP BY o.seller_id, o.order_id, o.version
        HAVING count(e.version) <> o.version OR max(e.version) IS DISTINCT FROM o.version
    """,
    "an order is cancelled by one event": """
        SELECT o.seller_id, o.order_id
        FROM orders o LEFT JOIN order_events e
            ON e.seller_id = o.seller_id AND e.order_id = o.order_id AND e.event_type = 'ORDER_CANCELLED'
        GROUP BY o.seller_id, o.order_id, o.cancel_reason
        HAVING count(e.version) <> CASE WHEN o.cancel_reason = 'NOT_CONFIRMED_IN_TIME' THEN 1 ELSE 0 END
    """,
    "a slot is worked once": """
        SELECT slot FROM cancellation_runs WHERE slot IS NOT NULL GROUP BY slot HAVING count(*) > 1
    """,
    "a run counts what it cancelled": """
        SELECT r.run_id FROM cancellation_runs r LEFT JOIN orders o ON o.cancellation_run_id = r.run_id
        GROUP BY r.run_id, r.cancelled_count HAVING count(o.order_id) <> r.cancelled_count
    """,
}


def broken_invariants(connection: psycopg.Connection) -> dict[str, list[tuple[object, ...]]]:
    """Return the invariants that do not hold, each with its first rows."""
    found = {name: connection.execute(query).fetchmany(5) for name, query in INVARIANTS.items()}
    return {name: rows for name, rows in found.items() if rows}

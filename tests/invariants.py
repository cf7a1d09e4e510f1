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
    "an order that is cancelled here is so by one event, which says why": """
        SELECT o.seller_id, o.order_id
        FROM orders o LEFT JOIN order_events e
            ON e.seller_id = o.seller_id AND e.order_id = o.order_id AND e.event_type = 'ORDER_CANCELLED'
        GROUP BY o.seller_id, o.order_id, o.cancel_reason
        HAVING count(e.version) > 1 OR (count(e.version) = 0 AND o.cancel_reason = 'NOT_CONFIRMED_IN_TIME')
            OR bool_or(e.version IS NOT NULL AND e.details ->> 'cancelReason' IS DISTINCT FROM o.cancel_reason)
    """,
    "the last event tells how far the order got": """
        SELECT o.seller_id, o.order_id
        FROM orders o JOIN order_events e
            ON e.seller_id = o.seller_id AND e.order_id = o.order_id AND e.version = o.version
        WHERE e.fulfillment_status <> o.fulfillment_status
    """,
    "a seller cancels before the deadline": """
        SELECT o.seller_id, o.order_id FROM orders o JOIN order_events e USING (seller_id, order_id)
        WHERE e.event_type = 'ORDER_CANCELLED' AND e.cancellation_run_id IS NULL AND o.cancelled_time >= o.confirm_by
            AND e.details -> 'fulfillmentStatus' ->> 'was' = 'UNSHIPPED'
    """,
    "no more is refunded than was charged, and nothing before": """
        SELECT r.seller_id, r.order_id FROM refunds r JOIN charges c USING (seller_id, order_id)
        WHERE r.refund_status <> 'DECLINED'
        GROUP BY r.seller_id, r.order_id, c.amount, c.charge_status
        HAVING c.charge_status <> 'SUCCEEDED' OR sum(r.amount) > c.amount
    """,
    "of an item no more is refunded than was ordered, or than it is worth": """
        SELECT i.seller_id, i.order_id, i.order_item_id
        FROM order_items i JOIN refund_items ri USING (seller_id, order_id, order_item_id)
        JOIN refunds r USING (seller_id, order_id, refund_id)
        CROSS JOIN LATERAL (SELECT ('{' || substr(i.details, 2) || '}')::jsonb AS told) AS item
        WHERE r.refund_status <> 'DECLINED'
        GROUP BY i.seller_id, i.order_id, i.order_item_id, i.quantity_ordered, item.told, r.currency_code
        HAVING sum(ri.quantity) > i.quantity_ordered
            OR sum(ri.amount) > (
                SELECT COALESCE(
                    (item.told #>> '{proceeds,proceedsTotal,amount}')::numeric,
                    (item.told #>> '{product,price,unitPrice,amount}')::numeric * i.quantity_ordered
                )
                WHERE r.currency_code = COALESCE(
                    item.told #>> '{proceeds,proceedsTotal,currencyCode}',
                    item.told #>> '{product,price,unitPrice,currencyCode}'
                )
            )
    """,
    "what was refunded here is what the payment status says": """
        SELECT o.seller_id, o.order_id
        FROM orders o JOIN charges c USING (seller_id, order_id) JOIN refunds r USING (seller_id, order_id)
        GROUP BY o.seller_id, o.order_id, o.payment_status, c.amount
        HAVING o.payment_status <> CASE COALESCE(sum(r.amount) FILTER (WHERE r.refund_status = 'SUCCEEDED'), 0)
            WHEN 0 THEN 'CHARGED' WHEN c.amount THEN 'REFUNDED' ELSE 'PARTIALLY_REFUNDED' END
    """,
    "an order tells of a declined charge while it is declined": """
        SELECT o.seller_id, o.order_id FROM orders o LEFT JOIN charges c USING (seller_id, order_id)
        WHERE (o.charge_declined_time IS NOT NULL) <> (c.charge_status IS NOT DISTINCT FROM 'DECLINED')
    """,
    "an order is delivered with its last package": """
        SELECT o.seller_id, o.order_id FROM orders o JOIN packages p USING (seller_id, order_id)
        GROUP BY o.seller_id, o.order_id, o.fulfillment_status, o.delivered_time
        HAVING o.delivered_time IS DISTINCT FROM CASE
            WHEN o.fulfillment_status = 'SHIPPED' AND bool_and(p.package_status = 'DELIVERED')
            THEN max(p.delivered_time) END
    """,
    "a deadline is only ever moved later by a change": """
        SELECT seller_id, order_id FROM order_events
        WHERE event_type = 'DEADLINE_EXTENDED'
            AND (details #>> '{confirmBy,is}')::timestamptz <= (details #>> '{confirmBy,was}')::timestamptz
        UNION ALL
        SELECT seller_id, order_id FROM orders WHERE extended_until > confirm_by
    """,
    "a change moves an order once, and counts what it moved": """
        SELECT d.change_id, count(e.version)
        FROM deadline_changes d LEFT JOIN order_events e
            ON e.event_type = 'DEADLINE_EXTENDED' AND e.details ->> 'deadlineChangeId' = d.change_id::text
        GROUP BY d.change_id, d.changed_count
        HAVING count(e.version) <> d.changed_count
            OR count(DISTINCT e.seller_id || '/' || e.order_id) <> count(e.version)
    """,
    "a run that is held has cancelled nothing, and an approval is used by one run": """
        SELECT held.run_id FROM cancellation_runs held JOIN orders o ON o.cancellation_run_id = held.run_id
        WHERE held.state = 'HELD'
        UNION ALL
        SELECT approved_run_id FROM cancellation_runs WHERE approved_run_id IS NOT NULL
        GROUP BY approved_run_id HAVING count(*) > 1
    """,
    "a slot is worked once in each pass of the clock": """
        SELECT slot, slot_pass FROM cancellation_runs WHERE slot IS NOT NULL
        GROUP BY slot, slot_pass HAVING count(*) > 1
    """,
    "a run counts what it cancelled": """
        SELECT r.run_id FROM cancellation_runs r LEFT JOIN orders o ON o.cancellation_run_id = r.run_id
        GROUP BY r.run_id, r.cancelled_count HAVING count(o.order_id) <> r.cancelled_count
    """,
}


def broken_invariants(connection: psycopg.Connection) -> dict[str, list[tuple[object, ...]]]:
    """Return the invariants that do not hold, each with its first rows."""
    with connection.pipeline():  # Some tests ask a thousand times.
        cursors = {name: connection.execute(query) for name, query in INVARIANTS.items()}
    return {name: rows for name, cursor in cursors.items() if (rows := cursor.fetchmany(5))}

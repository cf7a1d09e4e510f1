"""The one JSON representation of an order, written by PostgreSQL: whatever shows an order shows this."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import LiteralString

from service.orders.rules import DETAILS

_ITEMS: LiteralString = """
(SELECT string_agg(
    '{"orderItemId":' || to_json(i.order_item_id)::text || ',"quantityOrdered":' || i.quantity_ordered
    || i.details
    || ',"fulfillment":{"quantityFulfilled":' || i.quantity_fulfilled
    || ',"quantityUnfulfilled":' || (i.quantity_ordered - i.quantity_fulfilled) || i.fulfillment_details || '}}',
    ',' ORDER BY i.item_number, i.order_item_id)
FROM order_items i WHERE i.seller_id = o.seller_id AND i.order_id = o.order_id)
"""

# A package `p`.
PACKAGE_JSON: LiteralString = """
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
) || '],"version":' || p.version || '}'
"""

# The packages of an order `o`, as a list; NULL when it has none.
PACKAGES: LiteralString = f"""
(SELECT '[' || string_agg({PACKAGE_JSON}, ',' ORDER BY p.created_time, p.package_reference_id) || ']'
FROM packages p WHERE p.seller_id = o.seller_id AND p.order_id = o.order_id)
"""

_CHARGE: LiteralString = """
(SELECT '{"amount":{"amount":"' || c.amount || '","currencyCode":"' || c.currency_code || '"}'
    || json_time('requestedTime', c.requested_time) || json_time('chargedTime', c.charged_time)
    || ',"chargeStatus":"' || c.charge_status || '","settledOutside":' || c.settled_outside
    || json_text('declineReason', CASE WHEN c.charge_status = 'DECLINED' THEN c.decline_reason END) || '}'
FROM charges c WHERE c.seller_id = o.seller_id AND c.order_id = o.order_id)
"""

_REFUNDS: LiteralString = """
(SELECT '[' || string_agg(
    '{"refundId":"' || r.refund_id || '","amount":{"amount":"' || r.amount
    || '","currencyCode":"' || r.currency_code || '"},"refundStatus":"' || r.refund_status
    || '","refundReason":"' || r.refund_reason || '"' || json_time('requestedTime', r.requested_time)
    || json_time('refundedTime', r.refunded_time) || ',"settledOutside":' || r.settled_outside || '}',
    ',' ORDER BY r.requested_time, r.refund_id) || ']'
FROM refunds r WHERE r.seller_id = o.seller_id AND r.order_id = o.order_id)
"""


def late_at(instant: LiteralString) -> LiteralString:
    """Return whether an order `o` is late: from the ship-by instant until all is confirmed (R11, D4, D7)."""
    return f"""
(o.fulfilled_by = 'MERCHANT' AND o.fulfillment_status IN ('UNSHIPPED', 'PARTIALLY_SHIPPED')
    AND o.ship_by_sort < {instant})
"""


IS_LATE: LiteralString = late_at("(SELECT app_now())")

# D4: judged by when the last confirmation was received.
CONFIRMED_LATE: LiteralString = """
(o.fulfilled_by = 'MERCHANT' AND o.fulfillment_status = 'SHIPPED' AND o.shipped_time > o.ship_by_latest)
"""

# The buyer asks to cancel, and the seller can still do so.
CANCELLATION_IS_REQUESTED: LiteralString = """
(o.cancellation_requested_time IS NOT NULL AND o.fulfillment_status IN ('PENDING', 'UNSHIPPED'))
"""

# What the seller should attend to, each warning behind a comma. Refunds end none of them (R12).
_WARNINGS: LiteralString = f"""
CASE WHEN {IS_LATE} THEN
    ',{{"code":"SHIPMENT_IS_LATE","message":"Shipment is late"' || json_time('since', o.ship_by_latest)
    || CASE WHEN o.fulfillment_status = 'UNSHIPPED'
        THEN ',"resolution":"Confirm the shipment before confirmBy. Otherwise the order is cancelled and stays unpaid."'
        ELSE ',"resolution":"Confirm the shipment of every item that remains. A refund does not end it."' END || '}}'
    ELSE '' END
|| CASE WHEN o.charge_declined_time IS NOT NULL THEN
    ',{{"code":"CHARGE_DECLINED","message":"The charge was declined"' || json_time('since', o.charge_declined_time)
    || ',"resolution":"It is tried again after 1, 6, 24 and 72 hours and 7 days, '
    || 'and whenever operators ask for it. The order stays shipped."}}'
    ELSE '' END
|| CASE WHEN {CANCELLATION_IS_REQUESTED} THEN
    ',{{"code":"CANCELLATION_REQUESTED","message":"The buyer asks to cancel"'
    || json_time('since', o.cancellation_requested_time)
    || ',"resolution":"Cancel the order, or confirm it with overrideCancellationRequest."}}'
    ELSE '' END
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
            || CASE WHEN o.payment_status IN ('PARTIALLY_REFUNDED', 'REFUNDED')
                THEN json_member('refunds', {_REFUNDS}) ELSE '' END
            || json_member('paymentExecutions', o.payment_executions::text)))
    """,
    "fulfillment": f"""
        ',"fulfillment":{{"fulfillmentStatus":"' || o.fulfillment_status || '","fulfilledBy":"' || o.fulfilled_by || '"'
        || json_text('fulfillmentServiceLevel', o.fulfillment_service_level)
        || json_member('shipByWindow', json_braces(
            json_time('earliestDateTime', o.ship_by_earliest) || json_time('latestDateTime', o.ship_by_latest)))
        || json_time('confirmBy', o.confirm_by)
        || ',"shipmentIsLate":' || COALESCE({IS_LATE}, false)
        || ',"confirmedLate":' || COALESCE({CONFIRMED_LATE}, false)
        || json_time('deliveredTime', o.delivered_time)
        || json_member('deliverByWindow', json_braces(
            json_time('earliestDateTime', o.deliver_by_earliest) || json_time('latestDateTime', o.deliver_by_latest)))
        || json_member('labelPrintingWindow', o.label_printing_window::text) || '}}'
    """,
    "cancellation": """
        json_member('cancellation', json_braces(
            json_time('cancelledTime', o.cancelled_time) || json_text('cancelReason', o.cancel_reason)
            || json_text('cancellationRunId', o.cancellation_run_id::text)
            || CASE WHEN o.cancellation_requested_time IS NULL THEN '' ELSE
                ',"cancellationRequest":{"requester":"BUYER"'
                || json_time('requestedTime', o.cancellation_requested_time)
                || json_text('cancelReason', o.cancellation_request_reason) || '}' END))
    """,
    "orderItems": f""" ',"orderItems":[' || {_ITEMS} || ']' """,
    "packages": f"""
        json_member('packages', CASE WHEN o.confirmed_time IS NULL THEN NULL ELSE {PACKAGES} END)
    """,
    "warnings": f"""
        COALESCE(',"warnings":[' || substr(NULLIF({_WARNINGS}, ''), 2) || ']', '')
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

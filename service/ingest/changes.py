"""What a later version of an order changes, as its event tells it."""

from __future__ import annotations

from datetime import datetime

from service.ingest.rules import PAYMENT_STATUS_OF, IncomingOrder, StoredOrder, is_refunded_by_platform
from service.money import Money
from service.orders.rules import CONFIRMED, FulfillmentStatus


def payment_status_after(stored: StoredOrder, incoming: IncomingOrder) -> str | None:
    """Return how far the payment has got: once an item is confirmed, only refunds of the platform still move it."""
    if stored.fulfillment_status in CONFIRMED and not is_refunded_by_platform(stored, incoming):
        return stored.payment_status
    return incoming.payment_status or PAYMENT_STATUS_OF[incoming.fulfillment_status]


def changes_of(stored: StoredOrder, incoming: IncomingOrder, confirm_by: datetime | None) -> dict[str, object]:
    """Return what was before and is afterwards of all that decides over the order; what is the same is left out.

    A cancelled order keeps its window and its total, whatever its channel says of them.
    """
    compared: dict[str, tuple[object, object]] = {
        "fulfillmentStatus": (stored.fulfillment_status, incoming.fulfillment_status),
        "paymentStatus": (stored.payment_status, payment_status_after(stored, incoming)),
    }
    if incoming.fulfillment_status is not FulfillmentStatus.CANCELLED:
        compared |= {
            "shipBy": (stored.ship_by_latest, incoming.ship_by_latest),
            "confirmBy": (stored.confirm_by, confirm_by),
            "grandTotal": (stored.grand_total, incoming.grand_total),
        }
    return {name: {"was": _told(was), "is": _told(now)} for name, (was, now) in compared.items() if was != now}


def _told(value: object) -> object:
    if isinstance(value, Money):
        return {"amount": format(value.amount, "f"), "currencyCode": value.currency_code}
    return value

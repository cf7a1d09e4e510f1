"""The wire shape of cancellations, and of the requests for them."""

from __future__ import annotations

from typing import Any

from service.cancellation.rules import CancelReason
from service.fields import Choice, Text
from service.orders.examples import NEW_ORDER
from service.schema import Schema


class CancelOrderSchema(Schema):
    """Why the seller cancels the order."""

    cancel_reason_code = Choice(tuple(CancelReason), "Why.", required=True, example=CancelReason.NO_INVENTORY)


class RequestCancellationSchema(Schema):
    """What the buyer says."""

    cancel_reason = Text("Why, by the buyer's word.", max_length=500, example="Ordered by mistake")


CANCELLED_ORDER: dict[str, Any] = NEW_ORDER | {
    "lastUpdatedTime": "2026-03-03T10:05:12.704318Z",
    "version": 2,
    "payment": {"paymentStatus": "UNPAID"},
    "fulfillment": NEW_ORDER["fulfillment"] | {"fulfillmentStatus": "CANCELLED"},
    "cancellation": {"cancelledTime": "2026-03-03T10:05:12.704318Z", "cancelReason": "NO_INVENTORY"},
}
REQUESTED_ORDER: dict[str, Any] = NEW_ORDER | {
    "lastUpdatedTime": "2026-03-03T08:00:41.220917Z",
    "version": 2,
    "cancellation": {
        "cancellationRequest": {
            "requester": "BUYER",
            "requestedTime": "2026-03-03T08:00:41.220917Z",
            "cancelReason": "Ordered by mistake",
        }
    },
    "warnings": [
        {
            "code": "CANCELLATION_REQUESTED",
            "message": "The buyer asks to cancel",
            "since": "2026-03-03T08:00:41.220917Z",
            "resolution": "Cancel the order, or confirm it with overrideCancellationRequest.",
        }
    ],
}

"""The account home that the OpenAPI document shows."""

from __future__ import annotations

from typing import Any

HOME: dict[str, Any] = {
    "computedTime": "2026-03-06T16:20:41.120934Z",
    "warnings": [
        {
            "code": "SHIPMENT_IS_LATE",
            "message": "Shipment is late",
            "count": 2,
            "capped": False,
            "oldest": {"orderId": "902-3159896-1390916", "since": "2026-03-05T07:59:59Z"},
            "links": {"orders": "/v1/orders?shipmentIsLate=true&sort=shipBy"},
        },
        {
            "code": "CANCELLATION_REQUESTED",
            "message": "The buyer asks to cancel",
            "count": 1,
            "capped": False,
            "oldest": {"orderId": "902-5512207-0041932", "since": "2026-03-06T11:02:17.004711Z"},
            "links": {"orders": "/v1/orders?cancellationIsRequested=true"},
        },
    ],
    "ordersByStatus": [
        {"fulfillmentStatus": status, "count": count, "capped": capped, "links": {"orders": link}}
        for status, count, capped, link in (
            ("PENDING", 3, False, "/v1/orders?fulfillmentStatuses=PENDING"),
            ("UNSHIPPED", 212, False, "/v1/orders?fulfillmentStatuses=UNSHIPPED"),
            ("PARTIALLY_SHIPPED", 4, False, "/v1/orders?fulfillmentStatuses=PARTIALLY_SHIPPED"),
            ("SHIPPED", 1000, True, "/v1/orders?fulfillmentStatuses=SHIPPED"),
            ("CANCELLED", 97, False, "/v1/orders?fulfillmentStatuses=CANCELLED"),
        )
    ],
    "dueToday": [
        {
            "marketplaceId": "ATVPDKIKX0DER",
            "until": "2026-03-07T08:00:00Z",
            "count": 41,
            "capped": False,
            "links": {
                "orders": "/v1/orders?fulfillmentStatuses=UNSHIPPED,PARTIALLY_SHIPPED&fulfilledBy=MERCHANT"
                "&shipmentIsLate=false&marketplaceIds=ATVPDKIKX0DER&shipByAfter=2026-03-06T08:00:00Z"
                "&shipByBefore=2026-03-07T07:59:59.999999Z&sort=shipBy",
            },
        }
    ],
    "lateShipmentRate": [
        {
            "periodDays": days,
            "lateCount": late,
            "orderCount": orders,
            "rate": rate,
            "target": "0.04",
            "isWithinTarget": is_within_target,
            "capped": False,
        }
        for days, late, orders, rate, is_within_target in (
            (10, 12, 280, "0.0429", False),
            (30, 26, 833, "0.0312", True),
        )
    ],
    "cancellationRate": {
        "periodDays": 7,
        "cancelledCount": 3,
        "orderCount": 196,
        "rate": "0.0153",
        "target": "0.025",
        "isWithinTarget": True,
        "capped": False,
    },
}

"""The order that the OpenAPI document shows: as its channel sends it, as it is received, and half shipped."""

from __future__ import annotations

from typing import Any

INCOMING_ORDER: dict[str, Any] = {
    "orderId": "902-3159896-1390916",
    "orderAliases": [{"aliasId": "2026-0017", "aliasType": "SELLER_ORDER_ID"}],
    "createdTime": "2026-03-02T09:15:00Z",
    "salesChannel": {"channelName": "AMAZON", "marketplaceId": "ATVPDKIKX0DER", "marketplaceName": "Amazon.com"},
    "buyer": {"buyerName": "Ada Example", "buyerEmail": "k3x9@relay.example.com"},
    "recipient": {
        "deliveryAddress": {
            "name": "Ada Example",
            "addressLine1": "1 Example Street",
            "city": "Seattle",
            "stateOrRegion": "WA",
            "postalCode": "98101",
            "countryCode": "US",
        }
    },
    "proceeds": {"grandTotal": {"amount": "37.98", "currencyCode": "USD"}},
    "fulfillment": {
        "fulfillmentStatus": "UNSHIPPED",
        "fulfilledBy": "MERCHANT",
        "fulfillmentServiceLevel": "STANDARD",
        "shipByWindow": {"earliestDateTime": "2026-03-02T09:15:00Z", "latestDateTime": "2026-03-05T07:59:59Z"},
        "deliverByWindow": {"latestDateTime": "2026-03-12T06:59:59Z"},
    },
    "orderItems": [
        {
            "orderItemId": "68828574383266",
            "quantityOrdered": 2,
            "product": {
                "sellerSku": "MUG-BLUE",
                "asin": "B0EXAMPLE1",
                "title": "Blue mug",
                "price": {"unitPrice": {"amount": "18.99", "currencyCode": "USD"}},
            },
            "proceeds": {"proceedsTotal": {"amount": "37.98", "currencyCode": "USD"}},
        }
    ],
}

NEW_ORDER: dict[str, Any] = INCOMING_ORDER | {
    "sellerId": "A1SELLER",
    "lastUpdatedTime": "2026-03-02T09:15:31.041772Z",
    "version": 1,
    "payment": {"paymentStatus": "AUTHORIZED"},
    "fulfillment": INCOMING_ORDER["fulfillment"]
    | {"confirmBy": "2026-03-14T07:00:00Z", "shipmentIsLate": False, "confirmedLate": False},
    "orderItems": [
        INCOMING_ORDER["orderItems"][0] | {"fulfillment": {"quantityFulfilled": 0, "quantityUnfulfilled": 2}}
    ],
}

ORDER: dict[str, Any] = INCOMING_ORDER | {
    "sellerId": "A1SELLER",
    "lastUpdatedTime": "2026-03-06T16:20:41.120934Z",
    "version": 2,
    "payment": {
        "paymentStatus": "CHARGED",
        "charge": {
            "amount": {"amount": "37.98", "currencyCode": "USD"},
            "requestedTime": "2026-03-06T16:20:41.120934Z",
            "chargedTime": "2026-03-06T16:20:41.120934Z",
            "chargeStatus": "SUCCEEDED",
            "settledOutside": True,
        },
    },
    "fulfillment": INCOMING_ORDER["fulfillment"]
    | {
        "fulfillmentStatus": "PARTIALLY_SHIPPED",
        "confirmBy": "2026-03-14T07:00:00Z",
        "shipmentIsLate": True,
        "confirmedLate": False,
    },
    "orderItems": [
        INCOMING_ORDER["orderItems"][0] | {"fulfillment": {"quantityFulfilled": 1, "quantityUnfulfilled": 1}}
    ],
    "packages": [
        {
            "packageReferenceId": "1",
            "createdTime": "2026-03-06T16:20:41.120934Z",
            "packageStatus": {"status": "SHIPPED"},
            "carrier": "UPS",
            "carrierCode": "UPS",
            "shipTime": "2026-03-06T15:00:00Z",
            "shippingService": "Ground",
            "trackingNumber": "1Z999AA10123456784",
            "packageItems": [{"orderItemId": "68828574383266", "quantity": 1}],
            "version": 1,
        }
    ],
    "warnings": [
        {
            "code": "SHIPMENT_IS_LATE",
            "message": "Shipment is late",
            "since": "2026-03-05T07:59:59Z",
            "resolution": "Confirm the shipment of every item that remains. A refund does not end it.",
        }
    ],
}

"""The wire shape of a shipment confirmation: SP-API's `packageDetail`."""

from __future__ import annotations

from collections import Counter
from typing import Any

from marshmallow import ValidationError, validates_schema

from service.fields import Integer, List, Nested, Text, Timestamp
from service.orders.item_schemas import IDENTIFIER, MAX_QUANTITY
from service.orders.schemas import MAX_ITEMS, PACKAGE_REFERENCE_ID
from service.schema import Schema
from service.shipments.rules import ConfirmedItem, ShipmentConfirmation

OTHER_CARRIER = "Other"

CONFIRMATION: dict[str, Any] = {
    "packageReferenceId": "1",
    "carrierCode": "UPS",
    "shippingMethod": "Ground",
    "trackingNumber": "1Z999AA10123456784",
    "shipDate": "2026-03-06T15:00:00Z",
    "orderItems": [{"orderItemId": "68828574383266", "quantity": 1}],
}


class ConfirmedItemSchema(Schema):
    """Units of an item that are in the package."""

    order_item_id = Text("The item.", max_length=50, pattern=IDENTIFIER, required=True)
    quantity = Integer("Units of it in the package.", minimum=1, maximum=MAX_QUANTITY, required=True)


class ShipmentConfirmationSchema(Schema):
    """One package that the seller has handed to a carrier."""

    package_reference_id = Text(
        "The seller's number of the package in its order, as text. The same number and content again changes nothing.",
        max_length=19,
        pattern=PACKAGE_REFERENCE_ID,
        required=True,
    )
    carrier_code = Text("Code of the carrier, or `Other`.", max_length=50, required=True)
    # Shipping software sends what it does not have as empty text.
    carrier_name = Text("Name of the carrier when its code is `Other`.", max_length=100, min_length=0)
    shipping_method = Text("Service of the carrier.", max_length=100, min_length=0)
    tracking_number = Text("Number by which the carrier finds the package.", max_length=100, min_length=0)
    ship_date = Timestamp(
        "When the carrier took it, by the seller's word. Lateness is judged without it.", required=True
    )
    order_items = List(
        Nested(ConfirmedItemSchema), "What is in it; all that remains when left out.", min_items=1, max_items=MAX_ITEMS
    )

    @validates_schema
    def check(self, data: dict[str, Any], **_: object) -> None:
        """Refuse an item that is listed twice, and a carrier without a name."""
        errors: dict[str, list[str]] = {}
        counted = Counter(item["order_item_id"] for item in data.get("order_items", ()))
        if any(count > 1 for count in counted.values()):
            errors["orderItems"] = ["lists an item more than once"]
        if data["carrier_code"] == OTHER_CARRIER and not data.get("carrier_name"):
            errors["carrierName"] = ["is required when carrierCode is Other"]
        if errors:
            raise ValidationError(dict(errors))


def read_confirmation(loaded: dict[str, Any]) -> ShipmentConfirmation:
    """Return the confirmation that the schema loaded."""
    items = loaded.get("order_items")
    return ShipmentConfirmation(
        package_reference_id=loaded["package_reference_id"],
        carrier_code=loaded["carrier_code"],
        carrier_name=loaded.get("carrier_name") or None,
        shipping_method=loaded.get("shipping_method") or None,
        tracking_number=loaded.get("tracking_number") or None,
        ship_date=loaded["ship_date"],
        items=None if items is None else [ConfirmedItem(item["order_item_id"], item["quantity"]) for item in items],
    )

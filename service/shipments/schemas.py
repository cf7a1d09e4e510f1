"""The wire shape of a shipment confirmation, SP-API's `packageDetail`, and of what is corrected of a package."""

from __future__ import annotations

from collections import Counter
from typing import Any, cast

from marshmallow import ValidationError, validates_schema

from service.fields import Boolean, Integer, List, Nested, Text, Timestamp
from service.orders.address_schemas import MerchantAddressSchema
from service.orders.examples import ORDER
from service.orders.item_schemas import IDENTIFIER, MAX_ITEMS, MAX_QUANTITY
from service.orders.package_schemas import PACKAGE_REFERENCE_ID, OrderPackageSchema
from service.orders.schemas import OrderWarningSchema
from service.schema import Schema
from service.shipments.carriers import CARRIERS, NAME_IS_REQUIRED, OTHER, spelling_of
from service.shipments.rules import MAX_PACKAGES, ConfirmedItem, ShipmentConfirmation

CONFIRMATION: dict[str, Any] = {
    "packageReferenceId": "1",
    "carrierCode": "UPS",
    "shippingMethod": "Ground",
    "trackingNumber": "1Z999AA10123456784",
    "shipDate": "2026-03-06T15:00:00Z",
    "orderItems": [{"orderItemId": "68828574383266", "quantity": 1}],
}
CORRECTION: dict[str, Any] = {"shippingMethod": "Next Day Air", "trackingNumber": "1Z999AA10123456793"}
PACKAGE: dict[str, Any] = ORDER["packages"][0]
CORRECTED_PACKAGE: dict[str, Any] = PACKAGE | {
    "shippingService": CORRECTION["shippingMethod"],
    "trackingNumber": CORRECTION["trackingNumber"],
    "version": 2,
    "warnings": [
        {
            "code": "TRACKING_NUMBER_USED_BEFORE",
            "message": "the tracking number 1Z999AA10123456793 is that of order 902-3159896-1390917 as well",
        }
    ],
}

_CARRIER_CODE = f"Code of the carrier, whatever its case and spaces: {', '.join(CARRIERS)}."
_CARRIER_CODES: dict[str, Any] = {"examples": ["UPS", "Royal Mail", OTHER]}
_SHIP_DATE = (
    "When the carrier took it, by the seller's word: not before the order, nor more than 24 hours from now. "
    "Lateness is judged without it."
)


class OneLine(Text):
    """Text of one line: space around it is no part of it, and within it there is one where there was any."""

    def _read(self, value: object) -> str:
        return " ".join(super()._read(value).split())


class ConfirmedItemSchema(Schema):
    """Units of an item that are in the package."""

    order_item_id = Text("The item.", max_length=50, pattern=IDENTIFIER, required=True)
    quantity = Integer("Units of it in the package.", minimum=1, maximum=MAX_QUANTITY, required=True)
    transparency_codes = List(
        Text("Code of one unit.", pattern=r"^[^,]+$"), "Codes that prove the units genuine.", max_items=1000
    )


class PackageDetailsSchema(Schema):
    """What a seller tells of a package, beside what is in it."""

    # Shipping software sends what it does not have as empty text.
    carrier_name = OneLine("Name of the carrier when its code is `Other`.", max_length=100, min_length=0)
    shipping_method = OneLine("Service of the carrier.", max_length=100, min_length=0)
    tracking_number = OneLine(
        "Number by which the carrier finds the package. One that its carrier does not give, or that is on another "
        "order, is taken with a warning.",
        max_length=100,
        min_length=0,
    )
    ship_from_address = Nested(MerchantAddressSchema, "Where the package leaves from.")


class ShipmentConfirmationSchema(PackageDetailsSchema):
    """One package that the seller has handed to a carrier."""

    package_reference_id = Text(
        "The seller's number of the package in its order, as text. The same number and content again changes nothing.",
        max_length=19,
        pattern=PACKAGE_REFERENCE_ID,
        required=True,
    )
    carrier_code = Text(_CARRIER_CODE, max_length=50, metadata=_CARRIER_CODES, required=True)
    ship_date = Timestamp(_SHIP_DATE, required=True)
    order_items = List(
        Nested(ConfirmedItemSchema), "What is in it; all that remains when left out.", min_items=1, max_items=MAX_ITEMS
    )
    override_cancellation_request = Boolean(
        "Must be true for the first package of an order that the buyer asks to cancel. Not in SP-API."
    )

    @validates_schema
    def check(self, data: dict[str, Any], **_: object) -> None:
        """Refuse an item that is listed twice, and a carrier without a name."""
        errors: dict[str, list[str]] = {}
        counted = Counter(item["order_item_id"] for item in data.get("order_items", ()))
        if any(count > 1 for count in counted.values()):
            errors["orderItems"] = ["lists an item more than once"]
        if spelling_of(data["carrier_code"]) == OTHER and not data.get("carrier_name"):
            errors["carrierName"] = [NAME_IS_REQUIRED]
        if errors:
            raise ValidationError(dict(errors))


class PackageCorrectionSchema(PackageDetailsSchema):
    """What is to be corrected of a package. What is left out stays; empty text takes it away."""

    carrier_code = Text(
        f"{_CARRIER_CODE} Another code takes the carrierName away, unless it comes with one.",
        max_length=50,
        metadata=_CARRIER_CODES,
    )
    ship_date = Timestamp(_SHIP_DATE)

    @validates_schema
    def check(self, data: dict[str, Any], **_: object) -> None:
        """Refuse a correction of nothing."""
        if not data:
            raise ValidationError("must say what is to be corrected")


class CorrectedPackageSchema(OrderPackageSchema):
    """A package as it stands, and what may be wrong with it."""

    warnings = List(Nested(OrderWarningSchema), "What may be wrong with its tracking number.", max_items=2)


class PackageListSchema(Schema):
    """The packages of an order."""

    packages = List(Nested(OrderPackageSchema), "The packages.", max_items=MAX_PACKAGES, required=True)


_address_schema = MerchantAddressSchema()


def _address(loaded: dict[str, Any]) -> dict[str, str]:
    """Return an address in the words of the wire, in which it is stored and shown."""
    return cast("dict[str, str]", _address_schema.dump(loaded))


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
        items=None if items is None else [ConfirmedItem(**item) for item in items],
        ship_from_address=_address(loaded.get("ship_from_address", {})) or None,
        override_cancellation_request=loaded.get("override_cancellation_request", False),
    )


def read_correction(loaded: dict[str, Any]) -> dict[str, Any]:
    """Return the changes that the schema loaded."""
    if "ship_from_address" not in loaded:
        return loaded
    return loaded | {"ship_from_address": _address(loaded["ship_from_address"])}

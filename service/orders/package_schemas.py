"""The packages of an order."""

from service.fields import Choice, Integer, List, Nested, Text, Timestamp
from service.orders.address_schemas import MerchantAddressSchema
from service.orders.item_schemas import IDENTIFIER, MAX_ITEMS, MAX_QUANTITY
from service.schema import Schema

PACKAGE_REFERENCE_ID = r"^[1-9][0-9]{0,18}$"
PACKAGE_STATUSES = ("PENDING", "IN_TRANSIT", "SHIPPED", "DELIVERED", "CANCELLED", "UNDELIVERABLE")


class PackageStatusSchema(Schema):
    """How far a package has got."""

    status = Choice(PACKAGE_STATUSES, "How far it has got.", required=True)
    detailed_status = Text("More exactly, such as PICKED_UP, OUT_FOR_DELIVERY or LOST.", max_length=50)


class PackageItemSchema(Schema):
    """What of an item is in a package."""

    order_item_id = Text("The item.", max_length=50, pattern=IDENTIFIER, required=True)
    quantity = Integer("Units of it in the package.", minimum=1, maximum=MAX_QUANTITY, required=True)
    transparency_codes = List(Text("Code of one unit."), "Codes that prove the units genuine.", max_items=1000)


class OrderPackageSchema(Schema):
    """One parcel, as the seller confirmed it."""

    package_reference_id = Text(
        "The seller's number of the package in its order.", max_length=19, pattern=PACKAGE_REFERENCE_ID, required=True
    )
    created_time = Timestamp("When the package was confirmed.")
    package_status = Nested(PackageStatusSchema, "How far it has got.")
    carrier = Text("Carrier, in words.")
    carrier_code = Text("Carrier, by its code. Not in SP-API.", max_length=50)
    ship_time = Timestamp("When it was handed to the carrier, by the seller's word.")
    delivered_time = Timestamp("When it was delivered. Not in SP-API.")
    shipping_service = Text("Service of the carrier.")
    tracking_number = Text("Number by which the carrier finds it.")
    ship_from_address = Nested(MerchantAddressSchema, "Where it leaves from.")
    package_items = List(Nested(PackageItemSchema), "What is in it.", min_items=1, max_items=MAX_ITEMS)
    version = Integer(
        "Grows with every change of the package. Also its ETag. Not in SP-API; ignored on input.", minimum=1
    )

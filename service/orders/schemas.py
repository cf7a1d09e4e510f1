from service.fields import Boolean, Choice, DateTimeRangeSchema, Integer, List, MoneySchema, Nested, Text, Timestamp
from service.orders.address_schemas import CustomerAddressSchema, RecipientSchema
from service.orders.item_schemas import IDENTIFIER, MAX_ITEMS, OrderItemSchema
from service.orders.package_schemas import OrderPackageSchema
from service.orders.payment_schemas import UUID, OrderPaymentSchema
from service.schema import Schema

CHANNEL_NAMES = ("AMAZON", "NON_AMAZON")
FULFILLED_BY = ("AMAZON", "MERCHANT")
FULFILLMENT_STATUSES = ("PENDING", "UNSHIPPED", "PARTIALLY_SHIPPED", "SHIPPED", "CANCELLED")

SELLER_ID = r"^[A-Za-z0-9._-]{1,64}$"


class AliasSchema(Schema):
    """Other name of the order."""

    alias_id = Text("The other name.", max_length=100, required=True)
    alias_type = Text("Whose name it is, such as SELLER_ORDER_ID.", max_length=50, required=True)


class AssociatedOrderSchema(Schema):
    """Order that belongs to this one."""

    order_id = Text("That order.", max_length=50, pattern=IDENTIFIER)
    association_type = Text("Such as REPLACEMENT_ORIGINAL_ID or EXCHANGE_ORIGINAL_ID.", max_length=50)


class SalesChannelSchema(Schema):
    """Where the order was placed."""

    channel_name = Choice(CHANNEL_NAMES, "Sales channel.", required=True)
    marketplace_id = Text("Marketplace of the channel.", max_length=50, pattern=IDENTIFIER, required=True)
    marketplace_name = Text("Name of the marketplace, for people.")


class BuyerSchema(Schema):
    """Who bought."""

    buyer_name = Text("Full name.")
    buyer_email = Text("Address that forwards to the buyer.", max_length=320)
    buyer_company_name = Text("Company, if it is a business order.")
    buyer_purchase_order_number = Text("The buyer's own number of the purchase.")


class OrderProceedsBreakdownSchema(Schema):
    """Part of the proceeds of the order."""

    type = Text("Such as ITEM, SHIPPING, GIFT_WRAP, TAX, DISCOUNT or DELIVERY_TIP.", max_length=50, required=True)
    status = Text("PENDING or FINALIZED, for a part that is charged after checkout.", max_length=50)
    subtotal = Nested(MoneySchema, "Amount of this part.", required=True)


class OrderProceedsSchema(Schema):
    """What the seller receives for the order."""

    grand_total = Nested(MoneySchema, "Total of the order, which the buyer is charged.")
    breakdowns = List(Nested(OrderProceedsBreakdownSchema), "What the total consists of.", max_items=100)


class TaxRegistrationAttributeSchema(Schema):
    """More about a tax registration."""

    key = Text("Such as TAX_OFFICE.")
    value = Text("Its value.")


class OrderTaxRegistrationSchema(Schema):
    """Tax registration of one of the parties."""

    entity_type = Text("Whose it is, such as BUYER, MERCHANT or MARKETPLACE.", max_length=50)
    legal_name = Text("Registered name.")
    tax_registration_type = Text("Such as BUSINESS, VAT, CST, CPF or CNPJ.", max_length=50)
    tax_registration_number = Text("Registered number.")
    tax_registration_address = Nested(CustomerAddressSchema, "Registered address.")
    tax_registration_attributes = List(Nested(TaxRegistrationAttributeSchema), "More about it.", max_items=50)


class OrderTaxInvoicingSchema(Schema):
    """Invoice of the order."""

    buyer_invoice_preference = Text("Kind of invoice the buyer wants, INDIVIDUAL or BUSINESS.", max_length=50)
    invoice_status = Text("Such as NOT_REQUIRED, NOT_FOUND, PROCESSING, ERRORED or ACCEPTED.", max_length=50)


class OrderTaxSchema(Schema):
    """Taxes of the order."""

    tax_registrations = List(Nested(OrderTaxRegistrationSchema), "Registrations of the parties.", max_items=50)
    tax_invoicing = Nested(OrderTaxInvoicingSchema, "Invoice of the order.")


class OrderFulfillmentSchema(Schema):
    """How far the order has got, and by when it must."""

    fulfillment_status = Choice(FULFILLMENT_STATUSES, "How far the order has got.", required=True)
    fulfilled_by = Choice(FULFILLED_BY, "Who ships: AMAZON, the platform, or MERCHANT, the seller.", required=True)
    fulfillment_service_level = Text("Shipping speed, such as STANDARD, EXPEDITED or NEXT_DAY.", max_length=50)
    ship_by_window = Nested(DateTimeRangeSchema, "When to ship. Its end is the ship-by date.")
    deliver_by_window = Nested(DateTimeRangeSchema, "When the order should be at the buyer's.")
    label_printing_window = Nested(DateTimeRangeSchema, "From when the label can be printed.")
    confirm_by = Timestamp(
        "From this instant on the shipment can no longer be confirmed for the first time, and the order is cancelled "
        "unpaid: seven business days after the ship-by date, unless the marketplace says otherwise. Not in SP-API; "
        "ignored on input."
    )
    shipment_is_late = Boolean(
        "Whether the ship-by date has passed and not all is confirmed, refunded or not. Not in SP-API; ignored on "
        "input."
    )
    confirmed_late = Boolean(
        "Whether all was confirmed, but not before the ship-by date had passed. Not in SP-API; ignored on input."
    )
    delivered_time = Timestamp("When the last package was delivered. Not in SP-API; ignored on input.")


class FulfillmentOrderSchema(Schema):
    """Unit in which the platform fulfils the order."""

    fulfillment_order_id = Text("Its number.", max_length=100, required=True)


class CancellationRequestSchema(Schema):
    """The buyer's request to cancel the order."""

    requester = Choice(("BUYER",), "Who asks.")
    requested_time = Timestamp("When it was made.")
    cancel_reason = Text("Why, by the buyer's word.", max_length=500)


class OrderCancellationSchema(Schema):
    """Cancellation of the order, or the buyer's request for it."""

    cancelled_time = Timestamp("When it was cancelled. Absent while it is not.")
    cancel_reason = Text("Why.", max_length=500)
    cancellation_run_id = Text("Run of the cancellation job that did it.", min_length=36, max_length=36, pattern=UUID)
    cancellation_request = Nested(
        CancellationRequestSchema, "The buyer's request. An order that is not cancelled can have one."
    )


class OrderWarningSchema(Schema):
    """Something that the seller should attend to."""

    code = Text("What it is, for programs.", max_length=100)
    message = Text("What it is, for people.", max_length=500)
    since = Timestamp("Since when.")
    resolution = Text("What the seller can do about it.", max_length=1000)


class OrderSchema(Schema):
    """An order: what the buyer bought, and how far it has got."""

    order_id = Text(
        "Identifier of the order. Orders placed on Amazon have 3-7-7 digits, other channels have their own form.",
        max_length=50,
        pattern=IDENTIFIER,
        required=True,
        example="902-3159896-1390916",
    )
    seller_id = Text(
        "The seller. Always there in answers. Not in SP-API.", max_length=64, pattern=SELLER_ID, example="A1SELLER"
    )
    order_aliases = List(
        Nested(AliasSchema),
        "Other names of the order.",
        max_items=50,
        example=[{"aliasId": "2026-0017", "aliasType": "SELLER_ORDER_ID"}],
    )
    created_time = Timestamp("When the buyer ordered.", required=True, example="2026-03-02T09:15:00Z")
    last_updated_time = Timestamp("When the order last changed.", example="2026-03-02T09:15:00Z")
    programs = List(
        Text("Such as AMAZON_BUSINESS, PREMIUM or PRIME.", max_length=50), "Programs.", max_items=50, example=["PRIME"]
    )
    associated_orders = List(
        Nested(AssociatedOrderSchema),
        "Orders that belong to this one.",
        max_items=100,
        example=[{"orderId": "902-3159896-1390917", "associationType": "REPLACEMENT_ORIGINAL_ID"}],
    )
    sales_channel = Nested(
        SalesChannelSchema,
        "Where the order was placed.",
        required=True,
        example={"channelName": "AMAZON", "marketplaceId": "ATVPDKIKX0DER"},
    )
    buyer = Nested(BuyerSchema, "Who bought.", example={"buyerName": "Ada Example"})
    recipient = Nested(
        RecipientSchema,
        "Who receives the order, and where.",
        example={"deliveryAddress": {"city": "Seattle", "countryCode": "US"}},
    )
    proceeds = Nested(
        OrderProceedsSchema,
        "What the seller receives for the order.",
        example={"grandTotal": {"amount": "24.90", "currencyCode": "USD"}},
    )
    payment = Nested(OrderPaymentSchema, "How the order is paid.", example={"paymentStatus": "AUTHORIZED"})
    tax = Nested(OrderTaxSchema, "Taxes of the order.", example={"taxInvoicing": {"invoiceStatus": "NOT_REQUIRED"}})
    fulfillment = Nested(
        OrderFulfillmentSchema,
        "How far the order has got, and by when it must.",
        required=True,
        example={
            "fulfillmentStatus": "UNSHIPPED",
            "fulfilledBy": "MERCHANT",
            "shipByWindow": {"latestDateTime": "2026-03-05T07:59:59Z"},
        },
    )
    order_items = List(
        Nested(OrderItemSchema),
        "What the buyer ordered.",
        min_items=1,
        max_items=MAX_ITEMS,
        required=True,
        example=[{"orderItemId": "1", "quantityOrdered": 2, "product": {"sellerSku": "MUG-BLUE", "title": "Blue mug"}}],
    )
    packages = List(
        Nested(OrderPackageSchema),
        "Parcels confirmed so far.",
        max_items=MAX_ITEMS,
        example=[
            {
                "packageReferenceId": "1",
                "carrierCode": "UPS",
                "trackingNumber": "1Z999AA10123456784",
                "packageItems": [{"orderItemId": "1", "quantity": 2}],
            }
        ],
    )
    fulfillment_orders = List(
        Nested(FulfillmentOrderSchema),
        "Units in which the platform fulfils it.",
        max_items=MAX_ITEMS,
        example=[{"fulfillmentOrderId": "F-1"}],
    )
    cancellation = Nested(
        OrderCancellationSchema,
        "When and why the order was cancelled, or that the buyer asks for it. Not in SP-API; ignored on input, but for "
        "the time and the reason of an order that comes in cancelled.",
        example={"cancelledTime": "2026-03-17T07:00:00Z", "cancelReason": "Shipment not confirmed in time"},
    )
    warnings = List(
        Nested(OrderWarningSchema),
        "What the seller should attend to. Not in SP-API; ignored on input.",
        max_items=50,
        example=[{"code": "SHIPMENT_IS_LATE", "message": "Shipment is late", "since": "2026-03-05T07:59:59Z"}],
    )
    version = Integer("Grows with every change of the order. Not in SP-API; ignored on input.", minimum=1, example=3)

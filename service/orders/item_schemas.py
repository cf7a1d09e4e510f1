from service.fields import Choice, DateTimeRangeSchema, Integer, List, MoneySchema, Nested, Number, Text
from service.schema import Schema

# An identifier can stand in a path, a file name and a cell of a table; one of nothing but dots could not.
IDENTIFIER = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
MAX_QUANTITY = 1_000_000
MAX_ITEMS = 1000

CONSTRAINT_TYPES = ("MANDATORY",)
SUBSTITUTION_TYPES = ("CUSTOMER_PREFERENCE", "AMAZON_RECOMMENDED", "DO_NOT_SUBSTITUTE")
MEASUREMENT_UNITS = (
    *("OUNCES", "POUNDS", "KILOGRAMS", "GRAMS", "MILLIGRAMS"),
    *("INCHES", "FEET", "METERS", "CENTIMETERS", "MILLIMETERS"),
    *("SQUARE_METERS", "SQUARE_CENTIMETERS", "SQUARE_FEET", "SQUARE_INCHES"),
    *("GALLONS", "PINTS", "QUARTS", "FLUID_OUNCES", "LITERS"),
    *("CUBIC_METERS", "CUBIC_FEET", "CUBIC_INCHES", "CUBIC_CENTIMETERS", "COUNT"),
)


class MeasurementSchema(Schema):
    """Quantity of what is sold by weight, volume or length."""

    unit = Choice(MEASUREMENT_UNITS, "Unit of measure.", required=True)
    value = Number("How many of the unit.", required=True)


class AssociatedOrderItemSchema(Schema):
    """Order item that belongs to this one."""

    order_id = Text("Order of that item.", max_length=50, pattern=IDENTIFIER)
    order_item_id = Text("That item.", max_length=50, pattern=IDENTIFIER)
    association_type = Text("How they belong together, such as VALUE_ADD_SERVICE.", max_length=50)


class ItemConditionSchema(Schema):
    """State of the goods."""

    condition_type = Text("Such as NEW, USED, COLLECTIBLE or REFURBISHED.", max_length=50)
    condition_subtype = Text("Such as NEW, MINT, VERY_GOOD, GOOD, ACCEPTABLE or OPEN_BOX.", max_length=50)
    condition_note = Text("What the seller says of it.", max_length=2000)


class ItemPriceSchema(Schema):
    """Price of the product."""

    unit_price = Nested(MoneySchema, "Price of one unit.")
    price_designation = Text("Kind of special price, such as BUSINESS_PRICE.", max_length=50)


class ItemCustomizationSchema(Schema):
    """How the product is made to order."""

    customized_url = Text("Where the buyer's wishes can be fetched.", max_length=2000)


class ItemProductSchema(Schema):
    """What is sold."""

    asin = Text("Catalog number of the product.", max_length=50)
    title = Text("Name of the product.", max_length=500)
    seller_sku = Text("The seller's own number of the product.", max_length=80)
    condition = Nested(ItemConditionSchema, "State of the goods.")
    price = Nested(ItemPriceSchema, "Price of the product.")
    serial_numbers = List(Text("Serial number."), "Serial numbers of the units.", max_items=1000)
    customization = Nested(ItemCustomizationSchema, "How the product is made to order.")


class ItemProceedsDetailedBreakdownSchema(Schema):
    """Part of a part of the proceeds."""

    subtype = Text("Such as ITEM, SHIPPING, GIFT_WRAP, COD_FEE, OTHER or DISCOUNT.", max_length=50)
    value = Nested(MoneySchema, "Amount of this part.")


class ItemProceedsBreakdownSchema(Schema):
    """Part of the proceeds of an item."""

    type = Text("Such as ITEM, SHIPPING, GIFT_WRAP, COD_FEE, OTHER, TAX or DISCOUNT.", max_length=50, required=True)
    subtotal = Nested(MoneySchema, "Amount of this part.", required=True)
    detailed_breakdowns = List(
        Nested(ItemProceedsDetailedBreakdownSchema), "What a tax or discount consists of.", max_items=100
    )


class ItemProceedsSchema(Schema):
    """What the seller receives for the item."""

    proceeds_total = Nested(MoneySchema, "Total for the item.")
    breakdowns = List(Nested(ItemProceedsBreakdownSchema), "What the total consists of.", max_items=100)


class PointsGrantedSchema(Schema):
    """Points that the buyer gets for the item."""

    points_number = Integer("How many.", minimum=0)
    points_monetary_value = Nested(MoneySchema, "What they are worth.")


class ItemPointsCostSchema(Schema):
    """What points cost the seller."""

    points_granted = Nested(PointsGrantedSchema, "Points that the buyer gets.")


class ItemExpenseSchema(Schema):
    """What the item costs the seller."""

    points_cost = Nested(ItemPointsCostSchema, "What points cost the seller.")


class ItemPromotionBreakdownSchema(Schema):
    """Promotion applied to the item."""

    promotion_id = Text("Name or number of the promotion.")


class ItemPromotionSchema(Schema):
    """Promotions applied to the item."""

    breakdowns = List(Nested(ItemPromotionBreakdownSchema), "One entry a promotion.", max_items=100)


class ItemCancellationRequestSchema(Schema):
    """Wish that the item be cancelled."""

    requester = Text("Who asks, such as BUYER.", max_length=50)
    cancel_reason = Text("Why.", max_length=500)


class ItemCancellationExecutionSchema(Schema):
    """How the item was cancelled."""

    cancelled_by = Text("Who did it, such as BUYER, MERCHANT or AMAZON.", max_length=50)
    cancel_reason = Text("Why.", max_length=500)


class ItemCancellationSchema(Schema):
    """Cancellation of the item."""

    cancellation_request = Nested(ItemCancellationRequestSchema, "Wish that the item be cancelled.")
    cancellation_execution = Nested(ItemCancellationExecutionSchema, "How it was cancelled.")


class ItemSubstitutionOptionSchema(Schema):
    """Product that may replace the one ordered."""

    asin = Text("Catalog number of the product.", max_length=50)
    quantity_ordered = Integer("Units of it to send.", minimum=0, maximum=MAX_QUANTITY)
    seller_sku = Text("The seller's own number of the product.", max_length=80)
    title = Text("Name of the product.", max_length=500)
    measurement = Nested(MeasurementSchema, "Quantity, if it is not sold by the piece.")


class ItemSubstitutionPreferenceSchema(Schema):
    """What to do when the product has run out."""

    substitution_type = Choice(SUBSTITUTION_TYPES, "Who chooses the substitute, or that none be sent.", required=True)
    substitution_options = List(Nested(ItemSubstitutionOptionSchema), "Products that may replace it.", max_items=100)


class ItemPickingSchema(Schema):
    """How to take the item from the shelf."""

    substitution_preference = Nested(ItemSubstitutionPreferenceSchema, "What to do when the product has run out.")


class GiftOptionSchema(Schema):
    """How to wrap the item as a gift."""

    gift_message = Text("What the buyer writes on the card.", max_length=2000)
    gift_wrap_level = Text("Kind of wrapping.")


class SerialNumberRequirementSchema(Schema):
    """Whether serial numbers must be stated."""

    requirement_type = Text("Such as REQUIRED.", max_length=50)


class ItemPackingSchema(Schema):
    """How to pack the item."""

    gift_option = Nested(GiftOptionSchema, "How to wrap it as a gift.")
    serial_number_requirement = Nested(SerialNumberRequirementSchema, "Whether serial numbers must be stated.")


class ItemShippingConstraintsSchema(Schema):
    """What the carrier must do."""

    pallet_delivery = Choice(CONSTRAINT_TYPES, "Deliver on a pallet.")
    cash_on_delivery = Choice(CONSTRAINT_TYPES, "Collect the payment.")
    signature_confirmation = Choice(CONSTRAINT_TYPES, "Have the recipient sign.")
    recipient_identity_verification = Choice(CONSTRAINT_TYPES, "Hand over to the intended recipient only.")
    recipient_age_verification = Choice(CONSTRAINT_TYPES, "Check that the recipient is of age.")


class ItemInternationalShippingSchema(Schema):
    """What crossing a border needs."""

    ioss_number = Text("Import One-Stop Shop number, for the carrier.", max_length=50)


class ItemShippingSchema(Schema):
    """How to ship the item."""

    scheduled_delivery_window = Nested(DateTimeRangeSchema, "When it is expected at the buyer's.")
    shipping_constraints = Nested(ItemShippingConstraintsSchema, "What the carrier must do.")
    international_shipping = Nested(ItemInternationalShippingSchema, "What crossing a border needs.")


class ItemFulfillmentSchema(Schema):
    """How far the item has got, and how to treat it."""

    quantity_fulfilled = Integer("Units confirmed as shipped.", minimum=0, maximum=MAX_QUANTITY)
    quantity_unfulfilled = Integer("Units still to be shipped.", minimum=0, maximum=MAX_QUANTITY)
    picking = Nested(ItemPickingSchema, "How to take it from the shelf.")
    packing = Nested(ItemPackingSchema, "How to pack it.")
    shipping = Nested(ItemShippingSchema, "How to ship it.")


class ItemTaxCalculationBreakdownSchema(Schema):
    """How a tax of the item is computed."""

    reporting_scheme = Text("Such as UOSS or IOSS.", max_length=50)


class ItemTaxCollectionSchema(Schema):
    """Who collects a tax of the item."""

    model = Text("Such as MARKETPLACE_FACILITATOR.", max_length=50)
    responsible_party = Text("Who withholds and remits the tax.")


class ItemTaxSchema(Schema):
    """Taxes of the item."""

    tax_calculation_breakdowns = List(
        Nested(ItemTaxCalculationBreakdownSchema), "How they are computed.", max_items=100
    )
    tax_collections = List(Nested(ItemTaxCollectionSchema), "Who collects them.", max_items=100)


class OrderItemSchema(Schema):
    """One line of the order."""

    order_item_id = Text("Identifier of the item in its order.", max_length=50, pattern=IDENTIFIER, required=True)
    quantity_ordered = Integer("Units ordered.", minimum=0, maximum=MAX_QUANTITY, required=True)
    measurement = Nested(MeasurementSchema, "Quantity, if it is not sold by the piece.")
    associated_order_items = List(Nested(AssociatedOrderItemSchema), "Items that belong to this one.", max_items=100)
    programs = List(Text("Such as TRANSPARENCY or SUBSCRIBE_AND_SAVE.", max_length=50), "Programs.", max_items=50)
    product = Nested(ItemProductSchema, "What is sold.", required=True)
    proceeds = Nested(ItemProceedsSchema, "What the seller receives for it.")
    expense = Nested(ItemExpenseSchema, "What it costs the seller.")
    promotion = Nested(ItemPromotionSchema, "Promotions applied to it.")
    cancellation = Nested(ItemCancellationSchema, "Its cancellation.")
    fulfillment = Nested(ItemFulfillmentSchema, "How far it has got, and how to treat it.")
    tax = Nested(ItemTaxSchema, "Its taxes.")

from service.fields import Choice, Day, Integer, List, Nested, Text
from service.schema import Schema

DAYS_OF_WEEK = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
EXCEPTION_DATE_TYPES = ("CLOSED", "OPEN")

COUNTRY = r"^[A-Z]{2}$"


class AddressExtendedFieldsSchema(Schema):
    """Parts of an address that some countries, such as Brazil, name separately."""

    street_name = Text("Street, without the number.")
    street_number = Text("Number of the building.")
    complement = Text("Floor or unit.")
    neighborhood = Text("Neighbourhood.")


class MerchantAddressSchema(Schema):
    """Where a parcel leaves from."""

    name = Text("Name of the business or warehouse.")
    address_line1 = Text("Street and number.")
    address_line2 = Text("More of the address.")
    address_line3 = Text("More of the address.")
    city = Text("City.")
    district_or_county = Text("District or county.")
    state_or_region = Text("State, province or region.")
    municipality = Text("Municipality.")
    postal_code = Text("Postal code.", max_length=20)
    country_code = Text("ISO 3166-1 code of two letters.", min_length=2, max_length=2, pattern=COUNTRY)


class CustomerAddressSchema(MerchantAddressSchema):
    """Where a parcel goes to."""

    name = Text("Full name of who receives the parcel.")
    company_name = Text("Business or organization at the address.")
    phone = Text(
        "The buyer's number. Accepted, so that an order can be sent as it is; not stored, and never shown.",
        max_length=50,
    )
    extended_fields = Nested(AddressExtendedFieldsSchema, "Parts that some countries name separately.")
    address_type = Text("Kind of place, such as RESIDENTIAL, COMMERCIAL or PICKUP_POINT.", max_length=50)


class HourMinuteSchema(Schema):
    """Time of day, on the clock of the address."""

    hour = Integer("Hour.", minimum=0, maximum=23)
    minute = Integer("Minute.", minimum=0, maximum=59)


class TimeWindowSchema(Schema):
    """Part of a day."""

    start_time = Nested(HourMinuteSchema, "When it begins.")
    end_time = Nested(HourMinuteSchema, "When it ends.")


class BusinessHourSchema(Schema):
    """Opening hours of a day of the week."""

    day_of_week = Choice(DAYS_OF_WEEK, "Day of the week.")
    time_windows = List(Nested(TimeWindowSchema), "When deliveries are taken that day.", max_items=50)


class ExceptionDateSchema(Schema):
    """Date that differs from the usual opening hours."""

    exception_date = Day("The date.")
    exception_date_type = Choice(EXCEPTION_DATE_TYPES, "Whether the address is open or closed that day.")
    time_windows = List(Nested(TimeWindowSchema), "When deliveries are taken that day.", max_items=50)


class PreferredDeliveryTimeSchema(Schema):
    """When the buyer would like the delivery."""

    business_hours = List(Nested(BusinessHourSchema), "Opening hours by day of the week.", max_items=50)
    exception_dates = List(Nested(ExceptionDateSchema), "Dates that differ from them.", max_items=100)


class DeliveryPreferenceSchema(Schema):
    """How the buyer would like the delivery."""

    drop_off_location = Text("Where to leave the parcel.")
    address_instruction = Text("How to find the place or get in.", max_length=1000)
    delivery_time = Nested(PreferredDeliveryTimeSchema, "When deliveries are taken.")
    delivery_capabilities = List(
        Text("Such as HAS_ACCESS_POINT, PALLET_ENABLED or PALLET_DISABLED.", max_length=50),
        "What the address can take.",
        max_items=50,
    )


class RecipientSchema(Schema):
    """Who receives the order, and where."""

    delivery_address = Nested(CustomerAddressSchema, "Where the order goes.")
    delivery_preference = Nested(DeliveryPreferenceSchema, "How the buyer would like it delivered.")

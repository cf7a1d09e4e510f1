"""What a request for orders can hold. The same filters stand in a query and, as JSON, in a saved view."""

from __future__ import annotations

from datetime import timedelta
from types import MappingProxyType

from marshmallow import ValidationError

from service.api import SellerQuery
from service.fields import Amount, Boolean, Choice, CurrencyCode, Integer, Leaf, List, Nested, Text, Timestamp
from service.input import MAX_RESULTS_PER_PAGE, PageQuery, PaginationSchema, QueryBoolean, QueryList
from service.orders.item_schemas import IDENTIFIER
from service.orders.payment_schemas import PAYMENT_STATUSES
from service.orders.schemas import CHANNEL_NAMES, FULFILLED_BY, FULFILLMENT_STATUSES
from service.orders.sparse_schemas import OrderAnswer, ShapeQuery
from service.schema import Schema
from service.search.counts import CountBy
from service.search.rules import (
    COUNT_CAP,
    MAX_SEARCH_LENGTH,
    MAX_SEARCH_WORDS,
    MIN_SEARCH_LENGTH,
    SORTS,
    fold,
    read_duration,
)

DURATION = r"^P(\d{1,6}W|(\d{1,6}D)?(T(\d{1,6}H)?(\d{1,6}M)?)?)$"
COUNTRY = r"^[A-Z]{2}$"


class Duration(Leaf[timedelta]):
    """Length of time, counted from the moment of the request."""

    facts = MappingProxyType({"type": "string", "pattern": DURATION, "maxLength": 20})

    def _read(self, value: object) -> timedelta:
        duration = read_duration(value) if isinstance(value, str) else None
        if duration is None:
            raise ValidationError(
                "must be a duration of weeks, or of days, hours and minutes, such as P7D or PT24H, up to P3660D"
            )
        return duration


class SearchWords(Text):
    """Words to look for, of which at least one has something to look for."""

    def _read(self, value: object) -> str:
        words = super()._read(value.strip() if isinstance(value, str) else value)
        if not 1 <= len(fold(words).split()) <= MAX_SEARCH_WORDS:
            raise ValidationError(f"must have 1 to {MAX_SEARCH_WORDS} words, and more than accents")
        return words


def _texts(description: str, example: str, *, max_length: int = 50, pattern: str | None = None) -> QueryList:
    return QueryList(Text(max_length=max_length, pattern=pattern), description, example=[example])


class OrderFilterSchema(Schema):
    """Which orders: all that meet every condition. Of a list, any value will do; the ends of a range belong to it."""

    created_after = Timestamp("Ordered at this time or later.", example="2026-03-01T00:00:00Z")
    created_before = Timestamp("Ordered at this time or earlier.", example="2026-03-31T23:59:59Z")
    created_within = Duration(
        "Ordered within the last days or hours: an ISO 8601 duration of weeks, or of days, hours and minutes.",
        example="P7D",
    )
    last_updated_after = Timestamp("Changed at this time or later.", example="2026-03-01T00:00:00Z")
    last_updated_before = Timestamp("Changed at this time or earlier.", example="2026-03-31T23:59:59Z")
    ship_by_after = Timestamp("To be shipped by this time or later.", example="2026-03-05T00:00:00Z")
    ship_by_before = Timestamp("To be shipped by this time or earlier.", example="2026-03-06T00:00:00Z")
    ship_by_within = Duration(
        "To be shipped between now and this long from now. Late orders are not among them: see `shipByBefore`.",
        example="P2D",
    )
    deliver_by_after = Timestamp("To be delivered by this time or later.", example="2026-03-10T00:00:00Z")
    deliver_by_before = Timestamp("To be delivered by this time or earlier.", example="2026-03-12T00:00:00Z")
    confirm_by_after = Timestamp("Whose `confirmBy` is this time or later.", example="2026-03-14T07:00:00Z")
    confirm_by_before = Timestamp("Whose `confirmBy` is this time or earlier.", example="2026-03-17T07:00:00Z")
    confirm_by_within = Duration("Whose `confirmBy` lies between now and this long from now.", example="PT24H")
    fulfillment_statuses = QueryList(
        Choice(FULFILLMENT_STATUSES), "How far the order has got.", example=["UNSHIPPED", "PENDING"]
    )
    payment_statuses = QueryList(Choice(PAYMENT_STATUSES), "How far the payment has got.", example=["CHARGED"])
    channel_names = QueryList(Choice(CHANNEL_NAMES), "Sales channels; all when left out.", example=["NON_AMAZON"])
    marketplace_ids = _texts("Ids of marketplaces.", "ATVPDKIKX0DER", pattern=IDENTIFIER)
    fulfilled_by = QueryList(Choice(FULFILLED_BY), "Who ships.", example=["MERCHANT"])
    fulfillment_service_levels = _texts(
        "Shipping speeds as the channel names them, such as STANDARD or EXPEDITED.", "STANDARD"
    )
    programs = _texts("Programs of the order: one of these at least.", "PRIME")
    shipment_is_late = QueryBoolean("Whether the shipment is late.", example=True)
    confirmed_late = QueryBoolean("Whether all was confirmed, but late.", example=True)
    charge_is_declined = QueryBoolean("Whether the charge stands declined.", example=True)
    cancellation_is_requested = QueryBoolean(
        "Whether the buyer asks to cancel the order, and nothing of it is confirmed yet.", example=True
    )
    cancel_reasons = _texts(
        "Why it was cancelled; NOT_CONFIRMED_IN_TIME when its shipment was not confirmed in time.",
        "NOT_CONFIRMED_IN_TIME",
        max_length=500,
    )
    ship_to_countries = _texts(
        "Codes of the countries it goes to, of two letters.", "US", max_length=2, pattern=COUNTRY
    )
    order_ids = _texts("Numbers of orders.", "902-3159896-1390916", pattern=IDENTIFIER)
    seller_order_ids = _texts("The seller's own numbers of orders.", "2026-0017", max_length=100)
    skus = _texts("The seller's numbers of a product in the order.", "MUG-BLUE", max_length=80)
    asins = _texts("Catalog numbers of a product in the order.", "B0EXAMPLE1")
    tracking_numbers = _texts("Tracking numbers of a package.", "1Z999AA10123456784", max_length=200)
    buyer_email = Text("Address of the buyer, in any case.", max_length=320, example="k3x9@relay.example.com")
    grand_total_min = Amount("Least total; needs `currencyCode`.", example="10.00")
    grand_total_max = Amount("Greatest total; needs `currencyCode`.", example="99.99")
    currency_code = CurrencyCode("Currency of the total.", example="USD")
    q = SearchWords(
        "Words that all occur in the order's number, the seller's number of it, SKU, ASIN or title of an item, the "
        "tracking number of a package, name of the buyer or recipient, city or postal code, whatever their case and "
        f"accents; {MAX_SEARCH_WORDS} words at most. Words of one or two characters match the beginning of a word, "
        "longer ones any part of it.",
        min_length=MIN_SEARCH_LENGTH,
        max_length=MAX_SEARCH_LENGTH,
        example="mug seattle",
    )


class SelectionQuery(SellerQuery, OrderFilterSchema):
    """Query of every operation on the orders of a list."""

    view = Text(
        "A saved view. What is given beside it takes the place of the view's own; a date is given as a whole.",
        max_length=64,
        pattern=IDENTIFIER,
        example="unshipped",
    )


class OrderSelectionQuery(SelectionQuery, ShapeQuery):
    """Which orders, in which order, and how much of them."""

    sort = Choice(
        SORTS,
        "What the orders are sorted by, and then by `orderId`; descending with `-`. Without the value an order comes "
        "last, and first when descending. `grandTotal` compares the numbers: give `currencyCode` beside it. "
        "`-createdTime` when left out.",
        example="-createdTime",
    )


class OrderListQuery(OrderSelectionQuery, PageQuery):
    """A page of a list."""


class OrderCountsQuery(SelectionQuery):
    """What is counted, by what."""

    by = Choice(tuple(CountBy), "What to count by.", required=True, example="fulfillmentStatus")


class OrderPageSchema(Schema):
    """A page of orders."""

    orders = List(OrderAnswer(), "The orders.", max_items=MAX_RESULTS_PER_PAGE, required=True)
    pagination = Nested(PaginationSchema, "Absent when this is the only page.")


class GroupSchema(Schema):
    """Orders of one kind."""

    value = Text("The kind.", required=True)
    count = Integer("How many; 10,000 when there are more.", minimum=0, maximum=COUNT_CAP, required=True)
    capped = Boolean("Whether there are more.", required=True)


class OrderCountsSchema(Schema):
    """Numbers of orders by kind."""

    by = Choice(tuple(CountBy), "What was counted by.", required=True)
    groups = List(Nested(GroupSchema), "The kinds.", max_items=1000, required=True)

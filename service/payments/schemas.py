"""The wire shape of refunds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from marshmallow import EXCLUDE, ValidationError, pre_load, validates_schema

from service.errors import FieldError
from service.fields import Boolean, Choice, Integer, List, MoneySchema, Nested, Text, Timestamp
from service.money import Money
from service.orders.examples import ORDER
from service.orders.item_schemas import IDENTIFIER, MAX_ITEMS, MAX_QUANTITY
from service.orders.payment_schemas import CHARGE_STATUSES, UUID
from service.orders.schemas import OrderWarningSchema
from service.payments.errors import IdempotencyKeyRequired
from service.payments.refund_rules import MAX_REFUNDS, RefundedItem, RefundRequest
from service.schema import Schema

# Those of the platform's payment adjustments, in capitals.
REFUND_REASONS = (
    *("NO_INVENTORY", "COULD_NOT_SHIP", "PRODUCT_OUT_OF_STOCK", "CUSTOMER_RETURN", "BUYER_CANCELLED", "ABANDONED"),
    *("DIFFERENT_ITEM", "EXCHANGE", "PRICE_ERROR", "CUSTOMER_ADDRESS_INCORRECT", "UNDELIVERABLE", "REFUSED_DELIVERY"),
    *("MERCHANDISE_NOT_RECEIVED", "CARRIER_CREDIT_DECISION", "CARRIER_COVERAGE_FAILURE", "TRANSACTION_RECORD"),
    *("RISK_ASSESSMENT_INFORMATION_NOT_VALID", "GENERAL_ADJUSTMENT", "OTHER"),
)

REFUND: dict[str, Any] = {
    "reason": "COULD_NOT_SHIP",
    "orderItems": [{"orderItemId": "68828574383266", "quantity": 1}],
}
REFUNDED: dict[str, Any] = {
    "refundId": "8d6f1c5e-0f57-4f0e-9d53-0a6f8a3c2b11",
    "amount": {"amount": "18.99", "currencyCode": "USD"},
    "refundStatus": "SUCCEEDED",
    "refundReason": "COULD_NOT_SHIP",
    "requestedTime": "2026-03-06T17:02:11.530112Z",
    "refundedTime": "2026-03-06T17:02:11.530112Z",
    "settledOutside": True,
    "orderItems": [
        {"orderItemId": "68828574383266", "quantity": 1, "amount": {"amount": "18.99", "currencyCode": "USD"}}
    ],
}
REFUNDED_LATE: dict[str, Any] = REFUNDED | {
    "warnings": [
        {
            "code": "SHIPMENT_IS_LATE",
            "message": "Shipment is late",
            "since": "2026-03-05T07:59:59Z",
            "resolution": "Confirm the shipment of every item that remains. A refund does not end it.",
        }
    ]
}

DECLINED_ORDER: dict[str, Any] = ORDER | {
    "payment": {
        "paymentStatus": "CHARGED",
        "charge": {
            "amount": {"amount": "37.98", "currencyCode": "USD"},
            "requestedTime": "2026-03-06T16:20:41.120934Z",
            "chargeStatus": "DECLINED",
            "settledOutside": False,
            "declineReason": "insufficient funds",
        },
    }
}


class RefundedItemSchema(Schema):
    """What is given back for an item: the worth of units of it, or an amount."""

    order_item_id = Text("The item.", max_length=50, pattern=IDENTIFIER, required=True)
    quantity = Integer(
        "So many units: their part of `proceeds.proceedsTotal`, or of the price where that is not told. In whatever "
        "portions, all units come to exactly that. A portion that comes to nothing is refused: where a unit is worth "
        "less than the smallest amount, several have to be refunded together. Either this or `amount`.",
        minimum=1,
        maximum=MAX_QUANTITY,
    )
    amount = Nested(MoneySchema, "An amount, in the currency of the charge. Either this or `quantity`.")

    @validates_schema
    def check(self, data: dict[str, Any], **_: object) -> None:
        """Demand one of the two."""
        if ("quantity" in data) == ("amount" in data):
            raise ValidationError("needs either quantity or amount")


class RefundRequestSchema(Schema):
    """A refund: of items, or of an amount of the order as a whole."""

    reason = Choice(REFUND_REASONS, "Why.", required=True, example="COULD_NOT_SHIP")
    order_items = List(
        Nested(RefundedItemSchema),
        "Of these items. Either this or `amount`.",
        min_items=1,
        max_items=MAX_ITEMS,
        example=REFUND["orderItems"],
    )
    amount = Nested(
        MoneySchema,
        "An amount of the order, in the currency of the charge. Either this or `orderItems`.",
        example={"amount": "5.00", "currencyCode": "USD"},
    )

    @validates_schema
    def check(self, data: dict[str, Any], **_: object) -> None:
        """Demand one of the two, and name an item once."""
        if ("order_items" in data) == ("amount" in data):
            raise ValidationError("needs either orderItems or amount")
        counts = Counter(item["order_item_id"] for item in data.get("order_items", ()))
        if counts and max(counts.values()) > 1:
            raise ValidationError("name each orderItemId once", "orderItems")


class IdempotencyKeySchema(Schema):
    """What tells a request that is sent again from a new one."""

    class Meta:
        """A request has many headers."""

        unknown = EXCLUDE

    idempotency_key = Text(
        "New for each refund, and the same when the request is sent again: the same key is the same refund.",
        data_key="Idempotency-Key",
        max_length=200,
        pattern=r"^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$",  # space at the ends is lost on the way
        required=True,
        example="return-2026-00017",
    )

    @pre_load
    def demand(self, headers: Mapping[str, str], **_: object) -> Mapping[str, str]:
        """Refuse what could be worked twice."""
        if not headers.get("Idempotency-Key"):
            raise IdempotencyKeyRequired(
                "send a key that is new for each refund, and the same when it is sent again",
                FieldError("is required", header="Idempotency-Key"),
            )
        return headers


class ItemRefundSchema(Schema):
    """What was given back for an item."""

    order_item_id = Text("The item.", max_length=50, pattern=IDENTIFIER, required=True)
    quantity = Integer("Units, if it was asked for by that.", minimum=1, maximum=MAX_QUANTITY)
    amount = Nested(MoneySchema, "Amount.", required=True)


class RefundSchema(Schema):
    """A refund of a part of the charge, or of all of it."""

    refund_id = Text("Identifier of the refund.", min_length=36, max_length=36, pattern=UUID, required=True)
    amount = Nested(MoneySchema, "Amount refunded.", required=True)
    refund_status = Choice(
        CHARGE_STATUSES,
        "What became of it: REQUESTED is yet to be made, and of UNKNOWN the payment service is being asked what became "
        "of it. One that is DECLINED is not made, and its amount can be refunded again.",
        required=True,
    )
    refund_reason = Choice(REFUND_REASONS, "Why.", required=True)
    requested_time = Timestamp("When it was asked for.", required=True)
    refunded_time = Timestamp("When it was made. Absent until it is.")
    settled_outside = Boolean("Whether the buyer is refunded by other means than this service.", required=True)
    decline_reason = Text("Why it is DECLINED, by the payment service's word.", max_length=500)
    order_items = List(
        Nested(ItemRefundSchema), "What of it is for which item. Absent when it is of the order.", max_items=MAX_ITEMS
    )
    warnings = List(
        Nested(OrderWarningSchema),
        "What the seller should still attend to: a refund ends none of the order's warnings. Not in lists.",
        max_items=50,
    )


class RefundListSchema(Schema):
    """The refunds of an order."""

    refunds = List(Nested(RefundSchema), "The refunds, the oldest first.", max_items=MAX_REFUNDS, required=True)


def read_refund(idempotency_key: str, body: Mapping[str, Any]) -> RefundRequest:
    """Return what is asked for in a body that the schema has loaded."""
    return RefundRequest(
        idempotency_key=idempotency_key,
        reason=body["reason"],
        items=[
            RefundedItem(item["order_item_id"], item.get("quantity"), _money(item.get("amount")))
            for item in body.get("order_items", ())
        ],
        amount=_money(body.get("amount")),
    )


def _money(loaded: Mapping[str, Any] | None) -> Money | None:
    return None if loaded is None else Money(loaded["amount"], loaded["currency_code"])

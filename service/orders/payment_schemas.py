"""How an order is paid: its executions, its one charge, and the refunds of it."""

from service.fields import Boolean, Choice, List, MoneySchema, Nested, Text, Timestamp
from service.orders.item_schemas import MAX_ITEMS
from service.schema import Schema

PAYMENT_STATUSES = ("AUTHORIZED", "CHARGED", "PARTIALLY_REFUNDED", "REFUNDED", "UNPAID")
CHARGE_STATUSES = ("REQUESTED", "SUCCEEDED", "DECLINED", "UNKNOWN")
UUID = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"


class PaymentExecutionSchema(Schema):
    """Payment by one method."""

    payment_method = Text("Such as CreditCard, Invoice, CashOnDelivery or Pix.", max_length=50)
    payment_amount = Nested(MoneySchema, "Amount paid this way.")
    acquirer_id = Text("Payment processor or acquiring bank.")
    card_brand = Text("Card network.", max_length=50)
    authorization_code = Text("Code that confirms the authorization.")


class OrderChargeSchema(Schema):
    """The one charge of the buyer for the entire order."""

    amount = Nested(MoneySchema, "Amount charged.")
    requested_time = Timestamp("When the first confirmation asked for it.")
    charged_time = Timestamp("When the charge was made. Absent until it is.")
    charge_status = Choice(
        CHARGE_STATUSES,
        "What became of it: REQUESTED is yet to be made, and of UNKNOWN the payment service is being asked what became "
        "of it. A charge that is DECLINED is tried again after 1, 6, 24 and 72 hours and 7 days, and whenever "
        "operators ask for it.",
    )
    settled_outside = Boolean("Whether the buyer paid by other means than this service.")
    decline_reason = Text("Why it is DECLINED, by the payment service's word.", max_length=500)


class OrderRefundSchema(Schema):
    """Refund of a part of the charge, or of all of it."""

    refund_id = Text("Identifier of the refund.", min_length=36, max_length=36, pattern=UUID)
    amount = Nested(MoneySchema, "Amount refunded.")
    refund_status = Choice(CHARGE_STATUSES, "What became of it. A refund that is DECLINED is not made.")
    refund_reason = Text("Why, such as CUSTOMER_RETURN.", max_length=50)
    requested_time = Timestamp("When it was asked for.")
    refunded_time = Timestamp("When it was made. Absent until it is.")
    settled_outside = Boolean("Whether the buyer is refunded by other means than this service.")


class OrderPaymentSchema(Schema):
    """How the order is paid."""

    payment_executions = List(Nested(PaymentExecutionSchema), "One entry a payment method.", max_items=100)
    payment_status = Choice(
        PAYMENT_STATUSES,
        "How far the payment has got. CHARGED from the first confirmed item on: `charge` tells what became of the "
        "charge. Not in SP-API.",
    )
    charge = Nested(OrderChargeSchema, "The charge for the entire order. Not in SP-API.")
    refunds = List(
        Nested(OrderRefundSchema),
        "Refunds, once one was made. Not in SP-API; ignored on input.",
        max_items=MAX_ITEMS,
    )

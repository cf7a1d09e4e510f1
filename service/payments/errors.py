"""What is refused of charges and refunds."""

from __future__ import annotations

from service.errors import FieldError, Problem


class IdempotencyKeyRequired(Problem):
    code, title, status = "idempotency-key-required", "The request must bring a key of its own", 400
    example = "send a key that is new for each refund, and the same when it is sent again"
    example_errors = (FieldError("is required", header="Idempotency-Key"),)


class IdempotencyKeyReused(Problem):
    code, title = "idempotency-key-reused", "The key came with another request before"
    example = "the key belongs to another refund; a new one needs another key"
    example_errors = (FieldError("came with other content", header="Idempotency-Key"),)


class NotCharged(Problem):
    code, title, status = "not-charged", "There is no charge to refund", 409
    example = "nothing of the order is confirmed, so the buyer was not charged"


class ChargeNotDeclined(Problem):
    code, title, status = "charge-not-declined", "The charge is not declined", 409
    example = "only a charge that is DECLINED can be tried again; see `payment.charge`"


class PaymentServiceMissing(Problem):
    code, title, status = "payment-service-missing", "There is no payment service", 409
    example = "the buyer was charged by a payment service; set PAYMENT_SERVICE_URL to refund by it"


class RefundTooLarge(Problem):
    code, title = "refund-too-large", "More than is left to refund"
    example = "refund at most what was charged and is not refunded yet"
    example_errors = (FieldError("18.99 USD of the item are left, not 37.98", pointer="/orderItems/0/quantity"),)


class ItemWithoutPrice(Problem):
    code, title = "item-without-price", "It is not known what the item is worth"
    example = "refund an amount instead"
    example_errors = (FieldError("the channel told no price of this item", pointer="/orderItems/0/quantity"),)


class RefundNotFound(Problem):
    code, title, status = "refund-not-found", "The order has no such refund", 404
    example = "the order has no refund 8d6f1c5e-0f57-4f0e-9d53-0a6f8a3c2b11"

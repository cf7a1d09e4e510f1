"""How the model's orders and refunds are written for the API, and read from it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from tests.conftest import order_document
from tests.payment_model import Item, Shares

ITEMS = {"1": Item(3, Decimal("10.00")), "2": Item(1, Decimal("15.50")), "3": Item(1, None)}
TOTAL = Decimal("40.00")


def order_sent(name: str, ship_by: datetime, status: str, fulfilled_by: str) -> dict[str, Any]:
    worth = {"amount": "10.00", "currencyCode": "USD"}
    price = {"unitPrice": {"amount": "15.50", "currencyCode": "USD"}}
    return order_document(
        orderAliases=[{"aliasId": name, "aliasType": "SELLER_ORDER_ID"}],
        proceeds__grandTotal={"amount": str(TOTAL), "currencyCode": "USD"},
        fulfillment__fulfillmentStatus=status,
        fulfillment__fulfilledBy=fulfilled_by,
        fulfillment__shipByWindow={"latestDateTime": ship_by.isoformat()},
        orderItems=[
            {"orderItemId": "1", "quantityOrdered": 3, "product": {}, "proceeds": {"proceedsTotal": worth}},
            {"orderItemId": "2", "quantityOrdered": 1, "product": {"price": price}},
            {"orderItemId": "3", "quantityOrdered": 1, "product": {}},
        ],
    )


def refund_sent(shares: Shares) -> dict[str, Any]:
    money = [{"amount": str(share.amount), "currencyCode": "USD"} for share in shares]
    if shares[0].item is None:
        return {"reason": "GENERAL_ADJUSTMENT", "amount": money[0]}
    items = [
        {"orderItemId": share.item} | ({"amount": amount} if share.units is None else {"quantity": share.units})
        for share, amount in zip(shares, money, strict=True)
    ]
    return {"reason": "GENERAL_ADJUSTMENT", "orderItems": items}


def shown_by(order: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an order of the API shows, as the model names it."""
    fulfillment, payment = order["fulfillment"], order.get("payment", {})
    cancellation, charge = order.get("cancellation", {}), payment.get("charge")
    request = cancellation.get("cancellationRequest")
    quantities = {item["orderItemId"]: item["fulfillment"]["quantityFulfilled"] for item in order["orderItems"]}
    return {
        "version": order["version"],
        "status": fulfillment["fulfillmentStatus"],
        "payment": payment.get("paymentStatus"),
        "charge": None
        if charge is None
        else (charge["chargeStatus"], charge["settledOutside"], charge.get("declineReason")),
        "refunds": {
            each["refundId"]: (Decimal(each["amount"]["amount"]), each["refundStatus"])
            for each in payment.get("refunds", ())
        },
        "fulfilled": {key: quantity for key, quantity in quantities.items() if quantity},
        "late": fulfillment["shipmentIsLate"],
        "confirmed late": fulfillment["confirmedLate"],
        "delivered": _instant(fulfillment.get("deliveredTime")),
        "cancelled": cancellation.get("cancelReason"),
        "request": None if request is None else (request.get("cancelReason"),),
        "warnings": {warning["code"] for warning in order.get("warnings", ())},
        "packages": {each["packageReferenceId"]: _package(each) for each in order.get("packages", ())},
    }


def _package(package: Mapping[str, Any]) -> tuple[Any, ...]:
    quantities = {item["orderItemId"]: item["quantity"] for item in package["packageItems"]}
    delivered = _instant(package.get("deliveredTime"))
    status = package["packageStatus"]["status"]
    return package["version"], status, delivered, package["trackingNumber"], quantities


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)

"""What a seller may correct of a package before it is delivered; what is in it stays as it was confirmed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from service.errors import PackageDelivered, PlatformFulfilled
from service.orders.rules import FulfilledBy, OrderState
from service.shipments.carriers import listed_carrier, refuse_nameless
from service.shipments.rules import ship_time


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageDetails:
    """What the seller tells of a package, beside what is in it."""

    carrier_code: str | None
    carrier_name: str | None
    shipping_method: str | None
    tracking_number: str | None
    ship_date: datetime | None
    ship_from_address: Mapping[str, str] | None


# How a request and an event name the details.
_NAMES: Mapping[str, str] = {
    "carrier_code": "carrierCode",
    "carrier_name": "carrierName",
    "shipping_method": "shippingMethod",
    "tracking_number": "trackingNumber",
    "ship_date": "shipDate",
    "ship_from_address": "shipFromAddress",
}


def refuse_settled(order: OrderState, package_reference_id: str, delivered_time: datetime | None) -> None:
    """Raise the `Problem` that keeps a package as it is: it is not the seller's, or with the buyer already."""
    if order.fulfilled_by is FulfilledBy.AMAZON:
        raise PlatformFulfilled("the platform ships this order, and tells what there is to tell of its packages")
    if delivered_time is not None:
        raise PackageDelivered(
            f"package {package_reference_id} was delivered at {delivered_time:%Y-%m-%dT%H:%M:%SZ}; "
            "it can no longer be corrected"
        )


def corrected(
    details: PackageDetails, changes: Mapping[str, Any], created_time: datetime, now: datetime
) -> PackageDetails:
    """Return the details with changes to some of them; what is empty takes a detail away.

    The name of a carrier goes with its code, unless another is given. What stays as it is, is not judged anew. Raises
    `UnknownCarrier`, `ShipDateOutOfRange`, or `InvalidRequest` for a carrier without a name.
    """
    told = {name: value or None for name, value in changes.items()}
    carrier_code = changes.get("carrier_code", details.carrier_code)
    if carrier_code != details.carrier_code:
        told["carrier_code"] = listed_carrier(carrier_code)
    result = replace(details, **told)
    if result.carrier_code != details.carrier_code and "carrier_name" not in told:
        result = replace(result, carrier_name=None)
    if (result.carrier_code, result.carrier_name) != (details.carrier_code, details.carrier_name):
        refuse_nameless(result.carrier_code, result.carrier_name)
    if result.ship_date is not None and result.ship_date != details.ship_date:
        ship_time(result.ship_date, created_time, now)
    return result


def changed_members(was: PackageDetails, now: PackageDetails) -> dict[str, dict[str, object]]:
    """Return each detail that differs, as an event tells it."""
    pairs = {wire: (getattr(was, name), getattr(now, name)) for name, wire in _NAMES.items()}
    return {wire: {"was": before, "is": after} for wire, (before, after) in pairs.items() if before != after}

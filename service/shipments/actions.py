"""Confirm a shipment, or correct one: a transaction that locks the order, decides, and writes all or nothing."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import orjson
import psycopg

from service.database import Database
from service.errors import OrderNotFound, PackageNotFound
from service.orders.package_queries import Package, PackageKey, find_package, save_order_changed
from service.orders.queries import (
    find_order,
    has_payment_service,
    insert_charge,
    insert_events,
    lock_order,
    read_locked_order,
)
from service.orders.rules import EventType, OrderState
from service.shipments import queries
from service.shipments.carriers import is_unusual, listed_carrier, refuse_nameless
from service.shipments.corrections import changed_members, corrected, refuse_settled
from service.shipments.rules import (
    Decision,
    KnownPackages,
    ShipmentConfirmation,
    decide,
    find_same,
    next_reference,
    refuse_too_many,
)
from service.versions import refuse_outdated


@dataclass(frozen=True, slots=True)
class PackageWarning:
    """What may be wrong with a package that was taken all the same."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class ConfirmedPackage:
    """The package, and whether this call made it (False when the same came before)."""

    package_reference_id: str
    created: bool
    warnings: Sequence[PackageWarning]


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The order as it stands, and whether this call changed it (False when the same came before)."""

    order_json: str
    created: bool


def confirm_shipment(  # noqa: PLR0913  # who confirms what, and how it is paid
    database: Database,
    seller_id: str,
    order_id: str,
    confirmation: ShipmentConfirmation,
    actor: str,
    *,
    settled_outside: bool,
) -> Confirmed:
    """Confirm one package, as `confirm_package` does, in a transaction of its own."""
    with database.seller_pipeline(seller_id) as connection:
        package = confirm_package(connection, seller_id, order_id, confirmation, actor, settled_outside=settled_outside)
        document = find_order(connection, seller_id, order_id)
        if document is None:
            raise LookupError("the locked order is gone")
        return Confirmed(with_warnings(document, package.warnings), package.created)


def confirm_package(  # noqa: PLR0913  # who confirms what, and how it is paid
    connection: psycopg.Connection,
    seller_id: str,
    order_id: str,
    confirmation: ShipmentConfirmation,
    actor: str,
    *,
    settled_outside: bool,
) -> ConfirmedPackage:
    """Confirm one package in the caller's transaction (R8, R9, R10).

    The order is locked first; the clock and the order's state are read after the wait for it, so that a
    confirmation and a cancellation see each other (D2). Raises the `Problem` that refuses the confirmation before
    anything is written, so that the transaction can go on.
    """
    carrier_code = listed_carrier(confirmation.carrier_code)
    refuse_nameless(carrier_code, confirmation.carrier_name)
    confirmation = replace(confirmation, carrier_code=carrier_code)
    if not lock_order(connection, seller_id, order_id):
        raise OrderNotFound(f"the seller has no order {order_id}")
    known = queries.find_known_packages(connection, seller_id, order_id, confirmation)
    same = find_same(confirmation, known)
    reference = same or confirmation.package_reference_id or _free_reference(connection, seller_id, order_id, known)
    # Read before anything is written: in a pipeline the writes then travel together.
    warnings = package_warnings(connection, seller_id, order_id, carrier_code, confirmation.tracking_number)
    if same is None:
        order, now = read_locked_order(connection, seller_id, order_id)
        decision = decide(order, confirmation, now)
        if decision.charges_order and settled_outside:
            settled_outside = not has_payment_service(connection)
        refuse_too_many(known)
        confirmation = replace(confirmation, package_reference_id=reference)
        queries.insert_package(connection, order, confirmation, decision, now)
        queries.save_confirmed(connection, order, decision, now)
        if decision.charges_order and order.grand_total is not None:
            insert_charge(connection, seller_id, order_id, order.grand_total, now, settled_outside=settled_outside)
        event = (seller_id, order_id, order.version + 1, _event_details(order, reference, decision))
        insert_events(connection, EventType.SHIPMENT_CONFIRMED, now, actor, [event])
    return ConfirmedPackage(reference, same is None, warnings)


def _free_reference(connection: psycopg.Connection, seller_id: str, order_id: str, known: KnownPackages) -> str:
    following = next_reference(known.greatest)
    free = following or queries.find_free_reference(connection, seller_id, order_id, known.package_count)
    if free is None:
        raise LookupError("of one number more than there are packages none is free")
    return free


def _event_details(order: OrderState, reference: str, decision: Decision) -> Mapping[str, object]:
    paid = {"paymentStatus": {"was": order.payment_status, "is": "CHARGED"}} if decision.charges_order else {}
    return {
        "packageReferenceId": reference,
        "orderItems": [
            {"orderItemId": order_item_id, "quantity": quantity}
            for order_item_id, quantity in decision.quantities.items()
        ],
        "fulfillmentStatus": {"was": order.fulfillment_status, "is": decision.fulfillment_status},
        "charged": decision.charges_order,
        **paid,
    }


def package_warnings(
    connection: psycopg.Connection, seller_id: str, order_id: str, carrier_code: str | None, tracking_number: str | None
) -> list[PackageWarning]:
    """Return what may be wrong with a tracking number; it is never refused."""
    if tracking_number is None:
        return []
    warnings: list[PackageWarning] = []
    if is_unusual(carrier_code, tracking_number):
        message = f"{tracking_number} does not look like a tracking number of {carrier_code}"
        warnings.append(PackageWarning("TRACKING_NUMBER_UNUSUAL", message))
    other = queries.find_order_tracked_by(connection, seller_id, tracking_number, except_order_id=order_id)
    if other is not None:
        message = f"the tracking number {tracking_number} is that of order {other} as well"
        warnings.append(PackageWarning("TRACKING_NUMBER_USED_BEFORE", message))
    return warnings


def with_warnings(document: str, warnings: Sequence[PackageWarning]) -> str:
    """Return the JSON of an order or a package with warnings added to its own, if there are any."""
    if not warnings:
        return document
    parsed = orjson.loads(document)
    parsed["warnings"] = [*parsed.get("warnings", ()), *map(asdict, warnings)]
    return orjson.dumps(parsed).decode()


def correct_package(
    database: Database, key: PackageKey, changes: Mapping[str, Any], if_match: Container[str], actor: str
) -> Package:
    """Correct what the seller told of a package that is at one of the versions of `if_match`.

    The digest of its confirmation stays: the confirmation sent again is still the same. Raises the `Problem` that
    refuses the correction.
    """
    with database.seller_transaction(key.seller_id) as connection:
        if not lock_order(connection, key.seller_id, key.order_id):
            raise OrderNotFound(f"the seller has no order {key.order_id}")
        stored = queries.find_stored_package(connection, key)
        if stored is None:
            raise PackageNotFound(f"the order has no package {key.package_reference_id}")
        refuse_outdated("package", stored.version, if_match)
        order, now = read_locked_order(connection, key.seller_id, key.order_id)
        refuse_settled(order, key.package_reference_id, stored.delivered_time)
        details = corrected(stored.details, changes, order.created_time, now)
        changed = changed_members(stored.details, details)
        if changed:
            queries.update_package(connection, key, details, now)
            save_order_changed(connection, key, now)
            told = {"packageReferenceId": key.package_reference_id, **changed}
            event = (key.seller_id, key.order_id, order.version + 1, told)
            insert_events(connection, EventType.PACKAGE_CHANGED, now, actor, [event])
        package = find_package(connection, key)
        warnings = package_warnings(
            connection, key.seller_id, key.order_id, details.carrier_code, details.tracking_number
        )
        return replace(package, text=with_warnings(package.text, warnings))

"""Confirm a shipment: one transaction that locks the order, decides, and writes everything or nothing."""

from __future__ import annotations

from dataclasses import dataclass

from service.database import Database
from service.errors import FieldError, OrderNotFound, PackageConflict
from service.orders.queries import find_order, insert_charge, insert_events, lock_order, read_locked_order
from service.orders.rules import EventType
from service.shipments.queries import find_confirmation_digest, insert_package, save_confirmed
from service.shipments.rules import ShipmentConfirmation, decide


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The order as it stands, and whether this call changed it (False when the same came before)."""

    order_json: str
    created: bool


def confirm_shipment(
    database: Database, seller_id: str, order_id: str, confirmation: ShipmentConfirmation, actor: str
) -> Confirmed:
    """Confirm one package (R8, R9, R10).

    The order is locked first; the clock and the order's state are read after the wait for it, so that a
    confirmation and a cancellation see each other (D2). Raises the `Problem` that refuses the confirmation.
    """
    with database.seller_transaction(seller_id) as connection:
        if not lock_order(connection, seller_id, order_id):
            raise OrderNotFound(f"the seller has no order {order_id}")
        reference = confirmation.package_reference_id
        exists, digest = find_confirmation_digest(connection, seller_id, order_id, reference)
        if exists and digest != confirmation.digest:
            raise PackageConflict(
                f"package {reference} of the order has other content; a new package needs another id",
                FieldError("is taken by a package with other content", "/packageReferenceId"),
            )
        if not exists:
            order, now = read_locked_order(connection, seller_id, order_id)
            decision = decide(order, confirmation, now)
            insert_package(connection, order, confirmation, decision, now)
            save_confirmed(connection, order, decision, now)
            if decision.charges_order and order.grand_total is not None:
                insert_charge(connection, seller_id, order_id, order.grand_total, now)
            details = {
                "packageReferenceId": reference,
                "orderItems": [
                    {"orderItemId": order_item_id, "quantity": quantity}
                    for order_item_id, quantity in decision.quantities.items()
                ],
                "fulfillmentStatus": {"was": order.fulfillment_status, "is": decision.fulfillment_status},
                "charged": decision.charges_order,
            }
            event = (seller_id, order_id, order.version + 1, details)
            insert_events(connection, EventType.SHIPMENT_CONFIRMED, now, actor, [event])
        document = find_order(connection, seller_id, order_id)
        if document is None:
            raise LookupError("the locked order is gone")
        return Confirmed(document, created=not exists)

"""Take what a carrier tells of a package: one transaction that locks the order."""

from __future__ import annotations

from collections.abc import Mapping

from service.database import Database
from service.errors import OrderNotFound, PackageNotFound
from service.orders.package_queries import Package, PackageKey, find_package, save_order_changed
from service.orders.queries import insert_events, lock_order, read_locked_order, save_delivered_time
from service.orders.rules import EventType
from service.tracking import queries
from service.tracking.rules import PackageProgress, TrackingEvent, after, refuse_impossible


def track_package(database: Database, key: PackageKey, event: TrackingEvent, actor: str) -> Package:
    """Take one event of a package; raises the `Problem` that refuses it."""
    with database.seller_transaction(key.seller_id) as connection:
        if not lock_order(connection, key.seller_id, key.order_id):
            raise OrderNotFound(f"the seller has no order {key.order_id}")
        found = queries.find_progress(connection, key)
        if found is None:
            raise PackageNotFound(f"the order has no package {key.package_reference_id}")
        known, carrier_code = found
        order, now = read_locked_order(connection, key.seller_id, key.order_id)
        refuse_impossible(event.event_time, order.created_time, now)
        progress = after(known, event)
        if progress != known:
            queries.update_progress(connection, key, progress)
            save_order_changed(connection, key, now)
            if progress.delivered_time != known.delivered_time:
                save_delivered_time(connection, key.seller_id, key.order_id)
            details = {
                "packageReferenceId": key.package_reference_id,
                "carrierCode": carrier_code,
                "eventTime": event.event_time,
                **_changes(known, progress),
            }
            change = (key.seller_id, key.order_id, order.version + 1, details)
            insert_events(connection, EventType.PACKAGE_TRACKED, now, actor, [change])
        return find_package(connection, key)


def _changes(was: PackageProgress, now: PackageProgress) -> Mapping[str, object]:
    """Return what an event tells: the status in any case, the rest when it changed."""
    rest = {
        "detailedStatus": (was.detailed_status, now.detailed_status),
        "deliveredTime": (was.delivered_time, now.delivered_time),
    }
    return {"packageStatus": {"was": was.status, "is": now.status}} | {
        name: {"was": before, "is": after} for name, (before, after) in rest.items() if before != after
    }

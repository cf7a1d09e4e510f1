"""Whether an incoming order agrees with itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from service.errors import ContradictoryOrder, FieldError
from service.ingest.rules import PAYMENT_STATUS_OF, REFUNDED, IncomingOrder
from service.orders.rules import CONFIRMED, FulfilledBy, FulfillmentStatus, status_of

PENDING, UNSHIPPED, CANCELLED = FulfillmentStatus.PENDING, FulfillmentStatus.UNSHIPPED, FulfillmentStatus.CANCELLED


def refuse_contradictions(order: IncomingOrder) -> None:
    """Raise `ContradictoryOrder` naming everything in which the order disagrees with itself."""
    errors = [
        *_item_errors(order),
        *_package_errors(order),
        *_window_errors(order),
        *_payment_errors(order),
        *_cancellation_errors(order),
    ]
    if errors:
        raise ContradictoryOrder("the order's parts do not agree; nothing was stored", *errors)


def _item_errors(order: IncomingOrder) -> Iterator[FieldError]:
    status, states = order.fulfillment_status, order.item_states
    if len(states) < len(order.items):
        yield FieldError("two items have the same orderItemId", "/orderItems")
    for number, item in enumerate(order.items):
        ordered, fulfilled = item.state.quantity_ordered, item.state.quantity_fulfilled
        unfulfilled = item.told_unfulfilled
        pointer = f"/orderItems/{number}/fulfillment"
        if fulfilled > ordered:
            yield FieldError(f"is {fulfilled}, more than the {ordered} ordered", f"{pointer}/quantityFulfilled")
        # What is cancelled is neither fulfilled nor unfulfilled.
        elif status is not CANCELLED and unfulfilled is not None and fulfilled + unfulfilled != ordered:
            yield FieldError(
                f"is {unfulfilled}, but {ordered - fulfilled} of the {ordered} ordered remain",
                f"{pointer}/quantityUnfulfilled",
            )
    if status is not CANCELLED and not any(item.state.quantity_ordered for item in order.items):
        yield FieldError("no item has a quantityOrdered of 1 or more", "/orderItems")
    reached = status_of(states)
    if (status in CONFIRMED or reached is not UNSHIPPED) and status is not reached:
        yield FieldError(
            f"the status is {status}, but the fulfilled quantities make it {reached}", "/fulfillment/fulfillmentStatus"
        )


def _package_errors(order: IncomingOrder) -> Iterator[FieldError]:
    if len({package.package_reference_id for package in order.packages}) < len(order.packages):
        yield FieldError("two packages have the same packageReferenceId", "/packages")
    packed: Counter[str] = Counter()
    for number, package in enumerate(order.packages):
        packed.update(package.quantities)
        if not package.quantities:
            yield FieldError("is needed: a package holds something", f"/packages/{number}/packageItems")
        if package.package_status in {"PENDING", "CANCELLED"}:
            yield FieldError(
                f"a package that is {package.package_status} confirms nothing; leave it out",
                f"/packages/{number}/packageStatus/status",
            )
        if package.delivered_time is not None and package.package_status != "DELIVERED":
            yield FieldError("has a delivery time, but is not DELIVERED", f"/packages/{number}/deliveredTime")
    states = order.item_states
    for order_item_id in packed.keys() - states.keys():
        yield FieldError(f"item {order_item_id} is in a package, but not in the order", "/packages")
    for order_item_id, state in states.items():
        in_packages, fulfilled = packed[order_item_id], state.quantity_fulfilled
        seller_ships = order.fulfilled_by is FulfilledBy.MERCHANT
        if in_packages != fulfilled if seller_ships else in_packages > fulfilled:
            yield FieldError(
                f"the packages hold {in_packages} of item {order_item_id}, of which {fulfilled} are fulfilled",
                "/packages",
            )


def _window_errors(order: IncomingOrder) -> Iterator[FieldError]:
    windows = {
        "shipByWindow": (order.ship_by_earliest, order.ship_by_latest),
        "deliverByWindow": (order.deliver_by_earliest, order.deliver_by_latest),
    }
    for name, (earliest, latest) in windows.items():
        if earliest is not None and latest is not None and earliest > latest:
            yield FieldError("earliestDateTime is after latestDateTime", f"/fulfillment/{name}/earliestDateTime")
    if (
        order.fulfilled_by is FulfilledBy.MERCHANT
        and order.fulfillment_status not in {PENDING, CANCELLED}
        and order.ship_by_latest is None
    ):
        yield FieldError(
            "a seller-fulfilled order needs its ship-by date: confirmBy is counted from it",
            "/fulfillment/shipByWindow/latestDateTime",
        )


def _payment_errors(order: IncomingOrder) -> Iterator[FieldError]:
    status, total = order.fulfillment_status, order.grand_total
    if total is None and status not in {PENDING, CANCELLED}:
        yield FieldError("the order needs the total that is charged for it", "/proceeds/grandTotal")
    if total is not None and total.amount < 0:
        yield FieldError("the total is negative", "/proceeds/grandTotal/amount")
    expected = PAYMENT_STATUS_OF[status]
    is_refunded = status in CONFIRMED and order.payment_status in REFUNDED
    if order.payment_status is not None and order.payment_status != expected and not is_refunded:
        yield FieldError(
            f"a {status} order is {expected or 'not authorized yet: leave this out'}, not {order.payment_status}",
            "/payment/paymentStatus",
        )
    if order.charge is None:
        return
    if status not in CONFIRMED:
        yield FieldError(f"a {status} order is not charged", "/payment/charge")
    if order.charge.amount not in {None, total}:
        yield FieldError("the charge is not for the order's total", "/payment/charge/amount")
    if order.charge.charge_status not in {None, "SUCCEEDED"}:
        yield FieldError(
            f"a charge that is {order.charge.charge_status} charged nothing", "/payment/charge/chargeStatus"
        )


def _cancellation_errors(order: IncomingOrder) -> Iterator[FieldError]:
    if order.fulfillment_status is not CANCELLED and (order.cancelled_time or order.cancel_reason):
        yield FieldError(f"a {order.fulfillment_status} order is not cancelled", "/cancellation")

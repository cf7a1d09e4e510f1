"""The wire shape of extensions, and of the other changes of deadlines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from service.deadlines.changes_queries import DeadlineChange
from service.deadlines.changes_rules import ChangeState, ChangeType, Move, Selection
from service.deadlines.extension_actions import MAX_LISTED
from service.fields import Choice, Integer, List, Nested, Text, Timestamp
from service.input import MAX_RESULTS_PER_PAGE, PageQuery, PaginationSchema, QueryList
from service.schema import Schema

MAX_BUSINESS_DAYS = 30
_WAYS = frozenset({"business_days", "confirm_by", "policy_version"})


class OrderKeySchema(Schema):
    """One order."""

    seller_id = Text("Its seller.", max_length=64, required=True, example="A1SELLER")
    order_id = Text("The order.", max_length=50, required=True, example="902-3159896-1390916")


class ExtensionSelectionSchema(Schema):
    """Which open orders: those that meet all that is named here."""

    orders = List(Nested(OrderKeySchema), "These orders, and nothing beside them.", min_items=1, max_items=1000)
    seller_id = Text("Orders of this seller.", max_length=64, example="A1SELLER")
    marketplace_id = Text("Orders of this marketplace.", max_length=50, example="ATVPDKIKX0DER")
    confirm_by_after = Timestamp("Whose `confirmBy` is this time or later.", example="2026-03-14T07:00:00Z")
    confirm_by_before = Timestamp("Whose `confirmBy` is this time or earlier.", example="2026-03-17T07:00:00Z")


class ExtensionRequestSchema(ExtensionSelectionSchema):
    """Which open orders get more time, how much, and why."""

    business_days = Integer(
        "So many business days more than each has, by its marketplace's calendar. Either this or `confirmBy`.",
        minimum=1,
        maximum=MAX_BUSINESS_DAYS,
        example=1,
    )
    confirm_by = Timestamp("Until this time, which is still to come, unless they have more already.")
    reason = Text(
        "Why; the history of each order tells it.",
        max_length=500,
        required=True,
        example="The API was down on 16 March",
    )


class ExtensionApprovalSchema(Schema):
    """What the extension is approved for."""

    expected_count = Integer("The `foundCount` that was seen.", minimum=0, required=True, example=2)


class ExtensionSchema(Schema):
    """A change of deadlines, and how far it has got. It only ever moves deadlines to later."""

    extension_id = Text("Identifier of the change.", max_length=36, required=True)
    change_type = Choice(
        tuple(ChangeType),
        "EXTENSION: asked for here. POLICY_CHANGE: open orders counted anew by a marketplace's new policy.",
        required=True,
    )
    state = Choice(
        tuple(ChangeState),
        "PREVIEWED: nothing is moved before it is approved. RUNNING: approved; no order that it gives more time is "
        "cancelled. DONE: every order is moved.",
        required=True,
    )
    selection = Nested(ExtensionSelectionSchema, "The orders it is for. A list leaves `orders` out.", required=True)
    business_days = Integer("So many business days more.", minimum=1, maximum=MAX_BUSINESS_DAYS)
    confirm_by = Timestamp("Until this time.")
    policy_version = Integer("Of a POLICY_CHANGE: the version they are counted by.", minimum=1)
    reason = Text("Why.", max_length=500, required=True)
    requested_by = Text("Who asked for it.", required=True)
    requested_time = Timestamp("When.", required=True)
    found_count = Integer("Orders that get later: as it was previewed, and so approved.", minimum=0, required=True)
    kept_count = Integer(
        "Selected orders that stay as they are: they have as much time already, or their business days are not known.",
        minimum=0,
        required=True,
    )
    orders_digest = Text(
        "SHA-256 of a line for each order that gets later, sorted: `sellerId/orderId`, and of an EXTENSION a space and "
        "the new `confirmBy` behind it. An approval is for exactly these.",
        max_length=64,
        required=True,
    )
    approved_by = Text("Who approved it.")
    approved_time = Timestamp("When.")
    finished_time = Timestamp("When the last order was moved.")
    changed_count = Integer("Orders that were moved so far.", minimum=0, required=True)


class ExtendedOrderSchema(OrderKeySchema):
    """An order that gets later."""

    confirm_by = Timestamp("Until when it must be confirmed now.", required=True)
    new_confirm_by = Timestamp("Until when it must be confirmed then.", required=True)


class ExtensionPreviewSchema(ExtensionSchema):
    """An extension, with the orders that get later."""

    orders = List(
        Nested(ExtendedOrderSchema), "The first 1,000 orders that get later.", max_items=MAX_LISTED, required=True
    )


class ExtensionPageSchema(Schema):
    """A page of changes of deadlines, the newest first."""

    extensions = List(Nested(ExtensionSchema), "The changes.", max_items=MAX_RESULTS_PER_PAGE, required=True)
    pagination = Nested(PaginationSchema, "Absent on the last page.")


class ExtensionListQuery(PageQuery):
    """Which changes."""

    states = QueryList(
        Choice(tuple(ChangeState)), "Changes in one of these states; in any when left out.", example=["RUNNING"]
    )


REQUEST_EXAMPLE: dict[str, Any] = {
    "marketplaceId": "ATVPDKIKX0DER",
    "confirmByAfter": "2026-03-16T07:00:00Z",
    "confirmByBefore": "2026-03-17T07:00:00Z",
    "businessDays": 1,
    "reason": "The API was down on 16 March",
}
PREVIEWED_EXAMPLE: dict[str, Any] = {
    "extensionId": "7c9e6679-7425-40de-944b-e07fc1f90ae7",
    "changeType": "EXTENSION",
    "state": "PREVIEWED",
    "selection": {
        "marketplaceId": "ATVPDKIKX0DER",
        "confirmByAfter": "2026-03-16T07:00:00Z",
        "confirmByBefore": "2026-03-17T07:00:00Z",
    },
    "businessDays": 1,
    "reason": "The API was down on 16 March",
    "requestedBy": "token:13a16741-579d-43c5-a213-6ba3887037ae",
    "requestedTime": "2026-03-17T08:12:00.120934Z",
    "foundCount": 1,
    "keptCount": 0,
    "ordersDigest": "1f3c0c6cf5b4d9c3e7d0a2f5a8c6b1e4d7f90a3b6c9e2d5f8a1b4c7e0d3f6a9b",
    "changedCount": 0,
}
PREVIEW_EXAMPLE: dict[str, Any] = PREVIEWED_EXAMPLE | {
    "orders": [
        {
            "sellerId": "A1SELLER",
            "orderId": "902-3159896-1390916",
            "confirmBy": "2026-03-17T07:00:00Z",
            "newConfirmBy": "2026-03-18T07:00:00Z",
        }
    ]
}
RUNNING_EXAMPLE: dict[str, Any] = PREVIEWED_EXAMPLE | {
    "state": "RUNNING",
    "approvedBy": "token:13a16741-579d-43c5-a213-6ba3887037ae",
    "approvedTime": "2026-03-17T08:14:30.704318Z",
}
DONE_EXAMPLE: dict[str, Any] = RUNNING_EXAMPLE | {
    "state": "DONE",
    "finishedTime": "2026-03-17T08:14:31.220917Z",
    "changedCount": 1,
}


def read_selection(body: dict[str, Any]) -> Selection:
    """Return what a request selects, and what it gives; an order that is named twice is one."""
    told = {name: value for name, value in body.items() if name != "reason"}
    if "orders" in told:
        told["orders"] = tuple(dict.fromkeys((each["seller_id"], each["order_id"]) for each in told["orders"]))
    return Selection(**told)


def extension_json(change: DeadlineChange) -> dict[str, Any]:
    """Return a change as the schema dumps it; what it does not have is left out."""
    given = change.selection.as_json()
    selected = {name: value for name, value in given.items() if name not in _WAYS}
    if "orders" in selected:
        selected["orders"] = [{"seller_id": seller_id, "order_id": order_id} for seller_id, order_id in given["orders"]]
    told: dict[str, Any] = {
        "extension_id": str(change.change_id),
        "change_type": change.change_type,
        "state": change.state,
        "selection": selected,
        "reason": change.reason,
        "requested_by": change.requested_by,
        "requested_time": change.requested_time,
        "found_count": change.found_count,
        "kept_count": change.kept_count,
        "orders_digest": change.orders_digest,
        "approved_by": change.approved_by,
        "approved_time": change.approved_time,
        "finished_time": change.finished_time,
        "changed_count": change.changed_count,
    } | {name: value for name, value in given.items() if name in _WAYS}
    return {name: value for name, value in told.items() if value is not None}


def preview_json(change: DeadlineChange, moves: Sequence[Move]) -> dict[str, Any]:
    """Return a preview as the schema dumps it."""
    orders = [
        {
            "seller_id": move.order.seller_id,
            "order_id": move.order.order_id,
            "confirm_by": move.order.confirm_by,
            "new_confirm_by": move.confirm_by,
        }
        for move in moves
    ]
    return extension_json(change) | {"orders": orders}

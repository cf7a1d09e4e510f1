"""The wire shape of an order's timeline."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from service.events.queries import Event
from service.events.rules import Actor, ActorType, read_details
from service.fields import Boolean, Choice, Integer, Leaf, List, Nested, Text, Timestamp
from service.input import MAX_RESULTS_PER_PAGE, PaginationSchema
from service.orders.rules import EventType
from service.orders.schemas import FULFILLMENT_STATUSES, UUID
from service.schema import Schema


class AnyValue(Leaf[Any]):
    """Any JSON: what it is depends on what it is a value of."""


class AnyObject(Leaf[Any]):
    """An object of any members."""

    facts = MappingProxyType({"type": "object"})


class ActorSchema(Schema):
    """Who changed the order."""

    type = Choice(
        tuple(ActorType),
        "TOKEN: who called with it. CARRIER: a token that tracks packages. CANCELLATION_RUN: a run of the cancellation "
        "job. DEADLINE_CHANGE: an extension, or a marketplace's new policy. COMMAND_LINE: an operator's command. "
        "PAYMENTS: what makes the charges and refunds.",
        required=True,
    )
    id = Text("Which one: the id of the token, the run or the change; what else was written down for OTHER.")


class ChangeSchema(Schema):
    """What a field was before, and is afterwards."""

    field = Text("The field, as the order or the package names it.", max_length=100, required=True)
    was = AnyValue("Its value before; null where it had none.", required=True)
    now = AnyValue("Its value afterwards; null where it has none.", data_key="is", required=True)


class EventSchema(Schema):
    """One change of an order."""

    version = Integer("The order's version afterwards.", minimum=1, required=True)
    event_type = Choice(tuple(EventType), "What happened.", required=True)
    event_time = Timestamp("When.", required=True)
    actor = Nested(ActorSchema, "Who did it.", required=True)
    changes = List(
        Nested(ChangeSchema),
        "Before and after. Of ORDER_UPDATED these are the statuses, `shipBy`, `confirmBy` and `grandTotal`, of those "
        "that changed; what else the channel told anew is not among them.",
        max_items=100,
        required=True,
    )
    details = AnyObject("What else there is to say of it, by the kind of event.", required=True)
    fulfillment_status = Choice(
        FULFILLMENT_STATUSES, "How far the order had got afterwards; absent where it was not recorded."
    )
    shipment_is_late = Boolean("Whether the shipment was late then; absent where it was not recorded.")
    cancellation_run_id = Text("Run of the cancellation job that did it.", min_length=36, max_length=36, pattern=UUID)


class EventPageSchema(Schema):
    """A page of an order's timeline, the oldest event first."""

    events = List(Nested(EventSchema), "The events.", max_items=MAX_RESULTS_PER_PAGE, required=True)
    pagination = Nested(PaginationSchema, "Absent on the last page.")


EVENT_EXAMPLE: dict[str, Any] = {
    "version": 2,
    "eventType": "SHIPMENT_CONFIRMED",
    "eventTime": "2026-03-06T16:20:41.120934Z",
    "actor": {"type": "TOKEN", "id": "13a16741-579d-43c5-a213-6ba3887037ae"},
    "changes": [
        {"field": "fulfillmentStatus", "was": "UNSHIPPED", "is": "PARTIALLY_SHIPPED"},
        {"field": "paymentStatus", "was": "AUTHORIZED", "is": "CHARGED"},
    ],
    "details": {
        "packageReferenceId": "1",
        "orderItems": [{"orderItemId": "68828574383266", "quantity": 1}],
        "charged": True,
    },
    "fulfillmentStatus": "PARTIALLY_SHIPPED",
    "shipmentIsLate": True,
}


def event_json(event: Event) -> dict[str, Any]:
    """Return an event as the schema dumps it; what is not known of it is left out."""
    actor, (changes, details) = Actor.read(event.actor), read_details(event.details)
    told = {
        "version": event.version,
        "event_type": event.event_type,
        "event_time": event.event_time,
        "actor": {"type": actor.type} if actor.id is None else {"type": actor.type, "id": actor.id},
        "changes": changes,
        "details": details,
        "fulfillment_status": event.fulfillment_status,
        "shipment_is_late": event.shipment_is_late,
        "cancellation_run_id": None if event.cancellation_run_id is None else str(event.cancellation_run_id),
    }
    return {name: value for name, value in told.items() if value is not None}

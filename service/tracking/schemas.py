"""The wire shape of what a carrier tells."""

from __future__ import annotations

from typing import Any

from service.fields import Choice, Text, Timestamp
from service.orders.examples import ORDER
from service.schema import Schema
from service.tracking.rules import TrackedStatus

TRACKING_EVENT: dict[str, Any] = {
    "status": "DELIVERED",
    "eventTime": "2026-03-09T14:02:00Z",
    "detailedStatus": "LEFT_WITH_NEIGHBOUR",
}
TRACKED_PACKAGE: dict[str, Any] = ORDER["packages"][0] | {
    "packageStatus": {"status": "DELIVERED", "detailedStatus": TRACKING_EVENT["detailedStatus"]},
    "deliveredTime": TRACKING_EVENT["eventTime"],
    "version": 2,
}


class TrackingEventSchema(Schema):
    """What a carrier tells of a package."""

    status = Choice(tuple(TrackedStatus), "How far the package has got.", required=True)
    event_time = Timestamp(
        "When, by the carrier's clock: not before the order, nor more than 24 hours from now.", required=True
    )
    detailed_status = Text("More exactly, such as PICKED_UP, OUT_FOR_DELIVERY or LOST.", max_length=50)

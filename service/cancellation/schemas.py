"""The wire shape of cancellations, of the requests for them, and of the ledger of the sweep."""

from __future__ import annotations

from typing import Any

from service.cancellation.ledger import CancellationRun
from service.cancellation.queries import DueOrder
from service.cancellation.rules import CancelReason
from service.fields import Boolean, Choice, Integer, List, Nested, Text, Timestamp
from service.input import MAX_RESULTS_PER_PAGE, PaginationSchema
from service.orders.examples import NEW_ORDER
from service.schema import Schema

MAX_LISTED = 1000
RUN_STATES = ("RUNNING", "SUCCEEDED", "PARTIAL", "FAILED", "ABANDONED")


class CancelOrderSchema(Schema):
    """Why the seller cancels the order."""

    cancel_reason_code = Choice(tuple(CancelReason), "Why.", required=True, example=CancelReason.NO_INVENTORY)


class RequestCancellationSchema(Schema):
    """What the buyer says."""

    cancel_reason = Text("Why, by the buyer's word.", max_length=500, example="Ordered by mistake")


class CancellationRunSchema(Schema):
    """One run of the sweep."""

    run_id = Text("Identifier of the run.", required=True)
    slot = Timestamp("The minute of the database clock that a scheduled run works; each minute is worked once.")
    dry_run = Boolean("Whether it only looked.", required=True)
    state = Choice(
        RUN_STATES,
        "PARTIAL: some orders stayed locked or failed, and the next run takes them. ABANDONED: its process died.",
        required=True,
    )
    requested_by = Text("Who asked for it.", required=True)
    cutoff = Timestamp("Orders whose confirmBy had come by then were due.", required=True)
    started_time = Timestamp("When it started.", required=True)
    finished_time = Timestamp("When it ended.")
    found_count = Integer("Orders that were due.", minimum=0, required=True)
    cancelled_count = Integer("Orders that it cancelled.", minimum=0, required=True)
    skipped_count = Integer("Orders that stayed locked.", minimum=0, required=True)
    error_count = Integer("Orders that could not be cancelled.", minimum=0, required=True)


class CancellationErrorSchema(Schema):
    """An order that a run could not cancel."""

    seller_id = Text("Its seller.", required=True)
    order_id = Text("The order.", required=True)
    error = Text("Why.", max_length=2000, required=True)


class DueOrderSchema(Schema):
    """An order that a run would cancel."""

    seller_id = Text("Its seller.", required=True)
    order_id = Text("The order.", required=True)
    confirm_by = Timestamp("Until when it had to be confirmed.", required=True)


class CancellationRunDetailSchema(CancellationRunSchema):
    """One run, with the orders that a dry run would cancel or that a run could not cancel."""

    due_orders = List(Nested(DueOrderSchema), "Of a dry run: the first 1,000 due.", max_items=MAX_LISTED)
    errors = List(Nested(CancellationErrorSchema), "The first 1,000 that failed.", max_items=MAX_LISTED)


class CancellationRunRequestSchema(Schema):
    """Whether to cancel or only to look."""

    dry_run = Boolean("true: cancel nothing, and list what is due.", example=True)


class CancellationRunPageSchema(Schema):
    """A page of the ledger, the newest run first."""

    cancellation_runs = List(Nested(CancellationRunSchema), "The runs.", max_items=MAX_RESULTS_PER_PAGE, required=True)
    pagination = Nested(PaginationSchema, "Absent on the last page.")


CANCELLED_ORDER: dict[str, Any] = NEW_ORDER | {
    "lastUpdatedTime": "2026-03-03T10:05:12.704318Z",
    "version": 2,
    "payment": {"paymentStatus": "UNPAID"},
    "fulfillment": NEW_ORDER["fulfillment"] | {"fulfillmentStatus": "CANCELLED"},
    "cancellation": {"cancelledTime": "2026-03-03T10:05:12.704318Z", "cancelReason": "NO_INVENTORY"},
}
REQUESTED_ORDER: dict[str, Any] = NEW_ORDER | {
    "lastUpdatedTime": "2026-03-03T08:00:41.220917Z",
    "version": 2,
    "cancellation": {
        "cancellationRequest": {
            "requester": "BUYER",
            "requestedTime": "2026-03-03T08:00:41.220917Z",
            "cancelReason": "Ordered by mistake",
        }
    },
    "warnings": [
        {
            "code": "CANCELLATION_REQUESTED",
            "message": "The buyer asks to cancel",
            "since": "2026-03-03T08:00:41.220917Z",
            "resolution": "Cancel the order, or confirm it with overrideCancellationRequest.",
        }
    ],
}
RUN_EXAMPLE: dict[str, Any] = {
    "runId": "5f0c5c4e-7a53-4d5a-9d0c-0d5a0f6b1c11",
    "slot": "2026-03-14T07:00:00Z",
    "dryRun": False,
    "state": "SUCCEEDED",
    "requestedBy": "scheduler:orders-1:4711",
    "cutoff": "2026-03-14T07:00:00.004711Z",
    "startedTime": "2026-03-14T07:00:00.004711Z",
    "finishedTime": "2026-03-14T07:00:00.093124Z",
    "foundCount": 3,
    "cancelledCount": 3,
    "skippedCount": 0,
    "errorCount": 0,
}


def run_json(run: CancellationRun) -> dict[str, Any]:
    """Return a run as the schema dumps it; what it does not have is left out."""
    told = {name: getattr(run, name) for name in CancellationRun.__dataclass_fields__}
    return {name: value for name, value in told.items() if value is not None} | {"run_id": str(run.run_id)}


def due_json(due: DueOrder) -> dict[str, Any]:
    """Return a due order as the schema dumps it."""
    return {"seller_id": due.seller_id, "order_id": due.order_id, "confirm_by": due.confirm_by}

"""The wire shape of the ledger of the sweep."""

from __future__ import annotations

from typing import Any

from service.cancellation_job.control import Approval
from service.cancellation_job.ledger import CancellationRun
from service.cancellation_job.queries import DueOrder
from service.cancellation_job.rules import HeldCode, RunState
from service.fields import Boolean, Choice, Integer, List, Nested, Text, Timestamp
from service.input import MAX_RESULTS_PER_PAGE, PageQuery, PaginationSchema, QueryBoolean, QueryList
from service.schema import Schema

MAX_LISTED = 1000
MAX_REASON_LENGTH = 500
SHA256 = r"^[0-9a-f]{64}$"


class HeldReasonSchema(Schema):
    """Why a run is held."""

    code = Choice(
        tuple(HeldCode),
        "TOO_MANY: more orders than a run may cancel. TOO_MANY_OF_OPEN, TOO_MANY_OF_SELLER: a larger share of the open "
        "orders, or of one seller's. CLOCK_SKEWED: the database's clock is not that of the scheduler's host. "
        "CLOCK_WENT_BACK: it is behind what the ledger tells. CLOCK_JUMPED: it moved while the scheduler looked.",
        required=True,
    )
    detail = Text("The same for people, with the figures.", max_length=2000, required=True)


class CancellationRunSchema(Schema):
    """One run of the sweep."""

    run_id = Text("Identifier of the run.", required=True)
    run_number = Integer("Counts the runs as they begin.", minimum=1, maximum=2**53, required=True)
    slot = Timestamp(
        "When the slot begins that a scheduled run works, by the database's own clock; each slot is worked once."
    )
    slot_count = Integer("Of a run that is MISSED: how many slots nobody worked, from this one on.", minimum=1)
    dry_run = Boolean("Whether it only looked.", required=True)
    state = Choice(
        tuple(RunState),
        "PARTIAL: some orders stayed locked or failed, and the next run takes them. ABANDONED: its process died. HELD: "
        "it cancelled nothing, for `heldReasons`. PAUSED: operators had paused it. MISSED: nobody worked the slot.",
        required=True,
    )
    requested_by = Text("Who asked for it.", required=True)
    cutoff = Timestamp("Orders whose confirmBy had come by then were due.", required=True)
    started_time = Timestamp("When it started.", required=True)
    heartbeat_time = Timestamp("When it last showed that it lives.", required=True)
    finished_time = Timestamp("When it ended.")
    found_count = Integer("Orders that were due when it began.", minimum=0, required=True)
    open_count = Integer("Open orders, of which those were a share; absent where so few were due that none is judged.")
    cancelled_count = Integer("Orders that it cancelled.", minimum=0, required=True)
    skipped_count = Integer("Orders that stayed locked.", minimum=0, required=True)
    error_count = Integer("Orders that could not be cancelled.", minimum=0, required=True)
    orders_digest = Text(
        "SHA-256 of the orders, `sellerId/orderId` a line, sorted: of those that it cancelled, or would have. Two runs "
        "of the same digest are about the same orders.",
        pattern=SHA256,
    )
    held_reasons = List(
        Nested(HeldReasonSchema),
        "Why it is held; of a dry run, why another would be.",
        max_items=MAX_LISTED,
    )
    approved_run_id = Text("The held run that operators had approved, and whose orders it cancelled.")


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


class RunApprovalSchema(Schema):
    """That the next run may cancel what a held one found."""

    run_id = Text("The held run.", required=True)
    expected_count = Integer("The most orders that may be cancelled.", minimum=0, required=True)
    reason = Text("Why.", max_length=MAX_REASON_LENGTH, required=True)
    approved_by = Text("Who approved it.", required=True)
    approved_time = Timestamp("When.", required=True)
    expires_time = Timestamp("Until when a run can use it.", required=True)
    used_by_run_id = Text("The run that used it; no other can.")


class RunApprovalRequestSchema(Schema):
    """What an operator has looked at, and approves."""

    expected_count = Integer("The `foundCount` of the held run.", minimum=0, required=True, example=1250)
    reason = Text("Why.", max_length=MAX_REASON_LENGTH, required=True, example="The warehouse was closed for a week")


class CancellationRunDetailSchema(CancellationRunSchema):
    """One run, with the orders that it would cancel, or could not."""

    due_orders = List(
        Nested(DueOrderSchema),
        "The first 1,000 due: of a dry run when it was asked for, of a held run those that are due now at its cutoff.",
        max_items=MAX_LISTED,
    )
    errors = List(Nested(CancellationErrorSchema), "The first 1,000 that failed.", max_items=MAX_LISTED)
    approval = Nested(RunApprovalSchema, "Of a held run: that it is approved.")


class CancellationRunRequestSchema(Schema):
    """Whether to cancel or only to look."""

    dry_run = Boolean("true: cancel nothing, and list what is due.", example=True)


class RunListQuery(PageQuery):
    """Query of the ledger."""

    states = QueryList(Choice(tuple(RunState)), "Runs in one of these states.", example=["SUCCEEDED", "PARTIAL"])
    dry_run = QueryBoolean("Dry runs only, or all others.", example=False)
    started_after = Timestamp("Started at this time or later.", example="2026-03-14T00:00:00Z")
    started_before = Timestamp("Started earlier than this.", example="2026-03-15T00:00:00Z")
    requested_by = Text("Asked for by exactly this one.", example="command-line")
    with_cancellations = QueryBoolean("Runs that cancelled orders, or those that cancelled none.", example=True)


class CancellationRunPageSchema(Schema):
    """A page of the ledger, the newest run first."""

    cancellation_runs = List(Nested(CancellationRunSchema), "The runs.", max_items=MAX_RESULTS_PER_PAGE, required=True)
    pagination = Nested(PaginationSchema, "Absent on the last page.")


class RunOrderSchema(Schema):
    """An order that a run has cancelled."""

    seller_id = Text("Its seller.", required=True)
    order_id = Text("The order.", required=True)
    confirm_by = Timestamp("Until when it had to be confirmed.", required=True)
    cancelled_time = Timestamp("When it was cancelled.", required=True)


class RunOrderPageSchema(Schema):
    """A page of what a run has cancelled, by seller and order."""

    orders = List(Nested(RunOrderSchema), "The orders.", max_items=MAX_RESULTS_PER_PAGE, required=True)
    pagination = Nested(PaginationSchema, "Absent on the last page.")


def run_json(run: CancellationRun) -> dict[str, Any]:
    """Return a run as the schema dumps it; what it does not have is left out."""
    told = {name: getattr(run, name) for name in CancellationRun.__dataclass_fields__}
    told |= {"slot_count": run.slot_count if run.state == "MISSED" else None, "run_id": str(run.run_id)}
    told |= {"approved_run_id": str(run.approved_run_id) if run.approved_run_id else None}
    told |= {"held_reasons": run.held_reasons[:MAX_LISTED] if run.held_reasons else None}
    return {name: value for name, value in told.items() if value is not None}


def due_json(due: DueOrder) -> dict[str, Any]:
    """Return a due order as the schema dumps it."""
    return {"seller_id": due.seller_id, "order_id": due.order_id, "confirm_by": due.confirm_by}


def approval_json(approval: Approval) -> dict[str, Any]:
    """Return an approval as the schema dumps it."""
    told = {name: getattr(approval, name) for name in Approval.__dataclass_fields__} | {"run_id": str(approval.run_id)}
    if approval.used_by_run_id is None:
        del told["used_by_run_id"]
        return told
    return told | {"used_by_run_id": str(approval.used_by_run_id)}

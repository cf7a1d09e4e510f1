"""Count open orders anew by a marketplace's new policy, and work changes of deadlines (R8, D2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from uuid import UUID

import psycopg
import structlog

from service.business_days import ConfirmationPolicy
from service.database import Database
from service.deadlines import changes_order_queries as order_queries
from service.deadlines import changes_queries as queries
from service.deadlines.changes_queries import DeadlineChange
from service.deadlines.changes_rules import (
    ChangeState,
    Move,
    OpenOrder,
    PolicyEffect,
    Selection,
    compare_policy,
    digest_of,
    plan_moves,
)
from service.marketplaces.calendars import YearNotTaken
from service.orders.queries import insert_events, read_clock
from service.orders.rules import EventType

BATCH_SIZE = 1000

_log = structlog.stdlib.get_logger(__name__)


def preview_policy_change(
    connection: psycopg.Connection, marketplace_id: str, policy: ConfirmationPolicy
) -> PolicyEffect:
    """Return what a policy would mean for the open orders of its marketplace, extended ones as they stand."""
    later, earlier, unchanged = list[tuple[str, str]](), 0, 0
    for page in order_queries.look_at_open_orders(connection, Selection(marketplace_id=marketplace_id)):
        compared = compare_policy(page, policy)
        later += compared.later
        earlier += compared.earlier_count
        unchanged += compared.unchanged_count
    return PolicyEffect(len(later), earlier, unchanged, digest_of(later))


def begin_policy_change(  # noqa: PLR0913  # which policy, what it means, and who says so
    connection: psycopg.Connection,
    marketplace_id: str,
    policy_version: int,
    effect: PolicyEffect,
    *,
    reason: str,
    actor: str,
) -> UUID:
    """Have the open orders of a marketplace counted anew by a new version of its policy; return the change's id.

    To be called in the transaction that writes the version. An order that came in since its effect was seen counts too.
    """
    change = queries.insert_change(
        connection,
        Selection(marketplace_id=marketplace_id, policy_version=policy_version),
        found_count=effect.later_count,
        kept_count=effect.earlier_count + effect.unchanged_count,
        orders_digest=effect.orders_digest,
        reason=reason,
        actor=actor,
        is_approved=True,
    )
    return change.change_id


def finish_deadline_changes(database: Database, on_batch: Callable[[], None] | None = None) -> None:
    """Work every approved change to its end, the one that was approved first before the others.

    Any number of workers may, killed at any line: a batch is one transaction, which moves orders, tells so in their
    histories and writes how far the change has got, and one at a time works a change. Raises `Contended` where an order
    stays locked: nothing is left out for that. `on_batch` is called after each that is committed.
    """
    while _work_batch(database):
        if on_batch is not None:
            on_batch()


def _work_batch(database: Database) -> bool:
    """Work the next orders of a change; return False when no change is to be worked."""
    while True:
        # The days of another year are needed than when the orders were looked at: the next look takes them.
        with suppress(YearNotTaken), database.operator_transaction() as connection:
            change_id = queries.find_running_change(connection)
            if change_id is None:
                return False
            try:
                _work_change(connection, change_id)
            except psycopg.OperationalError as error:  # most often a lock that somebody holds
                reason = error.diag.message_primary or type(error).__name__
                _log.warning("deadline_change_waits", change_id=str(change_id), reason=reason)
                raise
            return True


def _work_change(connection: psycopg.Connection, change_id: UUID) -> None:
    """Move the next orders of a change, or end it.

    What is to be moved is looked at before it is locked, so that an order that is as late already disturbs nobody, and
    that days of another year are taken before an order is locked. The locked orders are then judged again.
    """
    change = queries.lock_change(connection, change_id)
    if change is None or change.state != ChangeState.RUNNING:
        return  # another worker has ended it meanwhile
    selection, policy_of = change.selection, order_queries.policies_of(connection)
    page = order_queries.find_open_orders(connection, selection, change_id, change.position, BATCH_SIZE)
    if not page:
        queries.finish_change(connection, change_id)
        return
    wanted = plan_moves(page, selection, policy_of)
    keys = [move.order.key for move in wanted.moves]
    locked = order_queries.lock_open_orders(connection, selection, change_id, keys) if keys else []
    now = read_clock(connection)
    plan = plan_moves(locked, selection, order_queries.with_taken_years(policy_of))
    changed = _move(connection, change, plan.moves, now)
    for order, error in [*wanted.failed, *plan.failed]:
        _tell_left_out(change, order, str(error))
    # What was found without a deadline before the lock was among the kept ones of the preview.
    kept = len(plan.failed) + len(plan.moves) - changed
    queries.save_progress(connection, change_id, page[-1].key, changed=changed, kept=kept)


def _move(connection: psycopg.Connection, change: DeadlineChange, moves: Sequence[Move], now: datetime) -> int:
    """Move orders and return how many were. If it fails they are halved until the failing order is alone, and left.

    It would otherwise keep all that is approved, and the sweep with it, from ever being worked.
    """
    if not moves:
        return 0
    try:
        with connection.transaction():
            order_queries.save_moves(connection, change, moves, now)
            events = [(*move.order.key, move.order.version + 1, _details(change, move)) for move in moves]
            actor = f"deadline-change:{change.change_id}"
            insert_events(connection, EventType.DEADLINE_EXTENDED, now, actor, events)
    except psycopg.OperationalError:  # a lock, a limit or the connection: no fault of an order
        raise
    except psycopg.DatabaseError as error:
        if len(moves) == 1:
            _tell_left_out(change, moves[0].order, error.diag.message_primary or type(error).__name__)
            return 0
        middle = len(moves) // 2
        return sum(_move(connection, change, half, now) for half in (moves[:middle], moves[middle:]))
    return len(moves)


def _details(change: DeadlineChange, move: Move) -> dict[str, object]:
    return {
        "confirmBy": {"was": move.order.confirm_by, "is": move.confirm_by},
        "deadlineChangeId": str(change.change_id),
        "changeType": change.change_type,
        "reason": change.reason,
    }


def _tell_left_out(change: DeadlineChange, order: OpenOrder, reason: str) -> None:
    _log.error(
        "deadline_not_moved",
        change_id=str(change.change_id),
        seller_id=order.seller_id,
        order_id=order.order_id,
        reason=reason,
    )

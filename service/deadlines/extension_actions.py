"""Preview and approve extensions of deadlines (R8, D2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import psycopg

from service.database import Database
from service.deadlines import changes_order_queries as order_queries
from service.deadlines import changes_queries as queries
from service.deadlines.changes_queries import DeadlineChange
from service.deadlines.changes_rules import (
    ChangeState,
    Move,
    Selection,
    digest_of_lines,
    line_of,
    plan_moves,
    refuse_outdated_preview,
    refuse_past,
)
from service.deadlines.errors import (
    ExtensionApproved,
    ExtensionCountDiffers,
    ExtensionNotFound,
    ExtensionOutdated,
    UnknownSelection,
)
from service.errors import FieldError
from service.marketplaces.queries import find_marketplace
from service.orders.queries import read_clock
from service.sellers.queries import has_seller

MAX_LISTED = 1000


@dataclass(frozen=True, slots=True)
class _Effect:
    """What a change would do now."""

    found_count: int
    kept_count: int
    orders_digest: str
    first_moves: Sequence[Move]


def preview_extension(
    database: Database, selection: Selection, *, reason: str, actor: str
) -> tuple[DeadlineChange, Sequence[Move]]:
    """Record what an extension would do, and return it with the first orders that would get later; none of them does.

    Raises `UnknownSelection`, and `InvalidRequest` where its deadline has come.
    """
    with database.operator_transaction() as connection:
        refuse_past(selection, read_clock(connection))
        _refuse_unknown(connection, selection)
        effect = _effect(connection, selection)
        change = queries.insert_change(
            connection,
            selection,
            found_count=effect.found_count,
            kept_count=effect.kept_count,
            orders_digest=effect.orders_digest,
            reason=reason,
            actor=actor,
        )
        return change, effect.first_moves


def _refuse_unknown(connection: psycopg.Connection, selection: Selection) -> None:
    errors: list[FieldError] = []
    if selection.seller_id is not None and not has_seller(connection, selection.seller_id):
        errors.append(FieldError(f"there is no seller {selection.seller_id}", "/sellerId"))
    if selection.marketplace_id is not None and find_marketplace(connection, selection.marketplace_id) is None:
        errors.append(FieldError(f"there is no marketplace {selection.marketplace_id}", "/marketplaceId"))
    for place in order_queries.find_unknown_orders(connection, selection.orders or ()):
        seller_id, order_id = (selection.orders or ())[place]
        errors.append(FieldError(f"there is no order {order_id} of a seller {seller_id}", f"/orders/{place}/orderId"))
    if errors:
        raise UnknownSelection("the selection names what is not known here", *errors)


def _effect(connection: psycopg.Connection, selection: Selection) -> _Effect:
    policy_of, lines, first_moves, seen = order_queries.policies_of(connection), list[str](), list[Move](), 0
    for page in order_queries.look_at_open_orders(connection, selection):
        moves = plan_moves(page, selection, policy_of).moves
        lines += map(line_of, moves)
        first_moves += moves[: MAX_LISTED - len(first_moves)]
        seen += len(page)
    return _Effect(len(lines), seen - len(lines), digest_of_lines(lines), first_moves)


def approve_extension(database: Database, change_id: UUID, expected_count: int, actor: str) -> DeadlineChange:
    """Let an extension be worked if it still does exactly what its preview showed; the same again changes nothing.

    Raises `ExtensionNotFound`, `ExtensionApproved`, `ExtensionOutdated` and `ExtensionCountDiffers`.
    """
    with database.operator_transaction() as connection:
        change = queries.lock_change(connection, change_id)
        if change is None:
            raise ExtensionNotFound(f"there is no extension {change_id}")
        if change.state != ChangeState.PREVIEWED:
            if change.found_count == expected_count:
                return change
            raise ExtensionApproved(f"the extension was approved before, for {change.found_count} orders")
        refuse_outdated_preview(change.selection, change.requested_time, *queries.read_clocks(connection))
        effect = _effect(connection, change.selection)
        if effect.found_count != expected_count:
            raise ExtensionCountDiffers(
                f"{effect.found_count} orders would be extended now, not {expected_count}: look at it again",
                FieldError(f"is {effect.found_count}", "/expectedCount"),
            )
        if effect.orders_digest != change.orders_digest:
            raise ExtensionOutdated(
                "other orders would be extended now, or to other deadlines, than the preview showed: preview it again"
            )
        return queries.approve_change(connection, change_id, kept_count=effect.kept_count, actor=actor)

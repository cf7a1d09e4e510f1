"""The open orders that a change of deadlines means, and what it writes of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cache
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from psycopg.rows import class_row

from service.business_days import ConfirmationPolicy
from service.deadlines.changes_queries import DeadlineChange, Key
from service.deadlines.changes_rules import Move, OpenOrder, PolicyOf, Selection
from service.marketplaces.calendars import Years, refuse_year
from service.marketplaces.queries import find_policy

LOOK_SIZE = 10_000

_ORDER_COLUMNS: LiteralString = """
o.seller_id, o.order_id, o.version, o.marketplace_id, o.policy_version, o.ship_by_latest, o.confirm_by,
o.extended_until
"""
# The condition of the index orders_open_idx, but for orders that have no deadline yet.
_IS_OPEN: LiteralString = """
o.fulfilled_by = 'MERCHANT' AND o.fulfillment_status IN ('PENDING', 'UNSHIPPED') AND o.confirm_by IS NOT NULL
"""
_NAMED: LiteralString = """
(o.seller_id, o.order_id) IN (SELECT * FROM unnest(%(named_seller_ids)s::text[], %(named_order_ids)s::text[]))
"""
_CONDITIONS: Mapping[str, LiteralString] = {
    "orders": _NAMED,
    "seller_id": "o.seller_id = %(seller_id)s",
    "marketplace_id": "o.marketplace_id = %(marketplace_id)s",
    "confirm_by_after": "o.confirm_by >= %(confirm_by_after)s",
    "confirm_by_before": "o.confirm_by <= %(confirm_by_before)s",
    "policy_version": "o.policy_version < %(policy_version)s",
}


def _selected(selection: Selection) -> tuple[LiteralString, dict[str, Any]]:
    """Return the condition of what is selected and still open, and its parameters."""
    told = selection.as_json()
    condition: LiteralString = " AND ".join([_IS_OPEN, *(_CONDITIONS[name] for name in _CONDITIONS if name in told)])
    named = told.pop("orders", ())
    return condition, told | {
        "named_seller_ids": [seller_id for seller_id, _ in named],
        "named_order_ids": [order_id for _, order_id in named],
    }


def find_open_orders(
    connection: psycopg.Connection, selection: Selection, change_id: UUID | None, after: Key, limit: int
) -> list[OpenOrder]:
    """Return selected orders behind a position that the change has not moved, by their key, which no change moves."""
    condition, parameters = _selected(selection)
    with connection.cursor(row_factory=class_row(OpenOrder)) as cursor:
        return cursor.execute(
            f"""
            SELECT {_ORDER_COLUMNS} FROM orders o
            WHERE {condition} AND (o.seller_id, o.order_id) > (%(after_seller_id)s, %(after_order_id)s)
                AND (o.deadline_change_id = %(change_id)s) IS NOT TRUE
            ORDER BY o.seller_id, o.order_id LIMIT %(limit)s
            """,
            parameters
            | {"after_seller_id": after[0], "after_order_id": after[1], "change_id": change_id, "limit": limit},
        ).fetchall()


def look_at_open_orders(connection: psycopg.Connection, selection: Selection) -> Iterator[Sequence[OpenOrder]]:
    """Yield all selected orders, a page at a time."""
    after = "", ""
    while page := find_open_orders(connection, selection, None, after, LOOK_SIZE):
        yield page
        after = page[-1].key


def policies_of(connection: psycopg.Connection) -> PolicyOf:
    """Return what finds a version of a marketplace's policy, and reads each once."""

    @cache
    def policy_of(marketplace_id: str, policy_version: int) -> ConfirmationPolicy:
        policy = find_policy(connection, marketplace_id, policy_version)
        if policy is None:
            raise ValueError(f"the marketplace {marketplace_id} has no policy {policy_version}")
        return policy

    return policy_of


def with_taken_years(policy_of: PolicyOf) -> PolicyOf:
    """Return what finds the same policies, which store nothing: a year that is not stored raises `YearNotTaken`.

    For as long as orders are locked: whoever takes a year meanwhile may wait for one of them.
    """

    @cache
    def taken_policy_of(marketplace_id: str, policy_version: int) -> ConfirmationPolicy:
        policy = policy_of(marketplace_id, policy_version)
        return replace(policy, years=Years(policy.years or {}, refuse_year))

    return taken_policy_of


def lock_open_orders(
    connection: psycopg.Connection, selection: Selection, change_id: UUID, keys: Collection[Key]
) -> list[OpenOrder]:
    """Lock those of the orders that are still selected once whoever holds them is done, and return them as they are.

    None is left out because somebody holds it: one that stays locked too long raises `Contended`.
    """
    condition, parameters = _selected(selection)
    with connection.cursor(row_factory=class_row(OpenOrder)) as cursor:
        return cursor.execute(
            f"""
            SELECT {_ORDER_COLUMNS} FROM orders o
            JOIN unnest(%(seller_ids)s::text[], %(order_ids)s::text[]) AS key (seller_id, order_id)
                ON o.seller_id = key.seller_id AND o.order_id = key.order_id
            WHERE {condition} AND (o.deadline_change_id = %(change_id)s) IS NOT TRUE
            ORDER BY o.seller_id, o.order_id
            FOR UPDATE OF o
            """,
            parameters
            | {
                "seller_ids": [seller_id for seller_id, _ in keys],
                "order_ids": [order_id for _, order_id in keys],
                "change_id": change_id,
            },
        ).fetchall()


def save_moves(connection: psycopg.Connection, change: DeadlineChange, moves: Sequence[Move], now: datetime) -> None:
    """Write the later deadlines of orders that are locked."""
    connection.execute(
        """
        UPDATE orders o SET
            version = o.version + 1, last_updated_time = %(now)s, confirm_by = moved.confirm_by,
            extended_until = CASE WHEN %(policy_version)s::integer IS NULL THEN moved.confirm_by
                ELSE o.extended_until END,
            policy_version = COALESCE(%(policy_version)s, o.policy_version), deadline_change_id = %(change_id)s
        FROM unnest(%(seller_ids)s::text[], %(order_ids)s::text[], %(confirm_bys)s::timestamptz[])
            AS moved (seller_id, order_id, confirm_by)
        WHERE o.seller_id = moved.seller_id AND o.order_id = moved.order_id
        """,
        {
            "now": now,
            "change_id": change.change_id,
            "policy_version": change.selection.policy_version,
            "seller_ids": [move.order.seller_id for move in moves],
            "order_ids": [move.order.order_id for move in moves],
            "confirm_bys": [move.confirm_by for move in moves],
        },
    )


def find_unknown_orders(connection: psycopg.Connection, orders: Sequence[Key]) -> list[int]:
    """Return the places, from 0, of the orders that do not exist."""
    rows = connection.execute(
        """
        SELECT key.place - 1 FROM unnest(%(seller_ids)s::text[], %(order_ids)s::text[])
            WITH ORDINALITY AS key (seller_id, order_id, place)
        WHERE NOT EXISTS (SELECT FROM orders o WHERE o.seller_id = key.seller_id AND o.order_id = key.order_id)
        ORDER BY key.place
        """,
        {
            "seller_ids": [seller_id for seller_id, _ in orders],
            "order_ids": [order_id for _, order_id in orders],
        },
    )
    return [row[0] for row in rows]

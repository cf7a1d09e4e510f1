"""The ledger of changes of deadlines: what each is for, who approved it, and how far it has got."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from psycopg.rows import class_row

from service.database import as_json
from service.deadlines.changes_rules import ChangeState, ChangeType, Selection

Key = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlineChange:
    """A change of deadlines. It was found for what its preview showed, and is approved for no other."""

    change_id: UUID
    change_type: str
    state: str
    stored_selection: Mapping[str, Any]
    reason: str
    requested_by: str
    requested_time: datetime
    found_count: int
    kept_count: int
    orders_digest: str
    approved_by: str | None
    approved_time: datetime | None
    finished_time: datetime | None
    changed_count: int
    position_seller_id: str
    position_order_id: str

    @property
    def selection(self) -> Selection:
        """Return which orders are meant, and what they get."""
        return Selection.read(self.stored_selection)

    @property
    def position(self) -> Key:
        """Return the order that was looked at last."""
        return self.position_seller_id, self.position_order_id


_COLUMNS: LiteralString = """
change_id, change_type, state, reason, requested_by, requested_time, found_count, kept_count, orders_digest,
approved_by, approved_time, finished_time, changed_count, position_seller_id, position_order_id
"""
_ALL_COLUMNS: LiteralString = f"{_COLUMNS}, selection AS stored_selection"


_INSERT: LiteralString = f"""
INSERT INTO deadline_changes (
    change_type, state, selection, reason, requested_by, marketplace_id, policy_version, found_count, kept_count,
    orders_digest, approved_by, approved_time
) VALUES (
    %(change_type)s, %(state)s, %(selection)s, %(reason)s, %(actor)s, %(marketplace_id)s, %(policy_version)s,
    %(found_count)s, %(kept_count)s, %(orders_digest)s, CASE WHEN %(is_approved)s THEN %(actor)s END,
    CASE WHEN %(is_approved)s THEN statement_timestamp() END
)
RETURNING {_ALL_COLUMNS}
"""


def insert_change(  # noqa: PLR0913  # the columns of the row
    connection: psycopg.Connection,
    selection: Selection,
    *,
    found_count: int,
    kept_count: int,
    orders_digest: str,
    reason: str,
    actor: str,
    is_approved: bool = False,
) -> DeadlineChange:
    """Write a change: a preview, or one that is approved by who asks for it and is worked from then on."""
    is_policy_change = selection.policy_version is not None
    parameters: dict[str, object] = {
        "change_type": ChangeType.POLICY_CHANGE if is_policy_change else ChangeType.EXTENSION,
        "state": ChangeState.RUNNING if is_approved else ChangeState.PREVIEWED,
        "selection": as_json(selection.as_json()),
        "reason": reason,
        "actor": actor,
        "marketplace_id": selection.marketplace_id,
        "policy_version": selection.policy_version,
        "found_count": found_count,
        "kept_count": kept_count,
        "orders_digest": orders_digest,
        "is_approved": is_approved,
    }
    with connection.cursor(row_factory=class_row(DeadlineChange)) as cursor:
        return _one(cursor.execute(_INSERT, parameters).fetchone())


def approve_change(connection: psycopg.Connection, change_id: UUID, *, kept_count: int, actor: str) -> DeadlineChange:
    """Write that a change is approved, and how many orders it leaves by now: it is worked from then on."""
    with connection.cursor(row_factory=class_row(DeadlineChange)) as cursor:
        return _one(
            cursor.execute(
                f"""
                UPDATE deadline_changes SET
                    state = 'RUNNING', approved_by = %(actor)s, approved_time = statement_timestamp(),
                    kept_count = %(kept_count)s
                WHERE change_id = %(change_id)s
                RETURNING {_ALL_COLUMNS}
                """,
                {"change_id": change_id, "kept_count": kept_count, "actor": actor},
            ).fetchone()
        )


def _one(change: DeadlineChange | None) -> DeadlineChange:
    if change is None:
        raise LookupError("the change is gone")
    return change


def find_change(connection: psycopg.Connection, change_id: UUID) -> DeadlineChange | None:
    """Return a change, None when there is none."""
    with connection.cursor(row_factory=class_row(DeadlineChange)) as cursor:
        return cursor.execute(
            f"SELECT {_ALL_COLUMNS} FROM deadline_changes WHERE change_id = %(change_id)s", {"change_id": change_id}
        ).fetchone()


_BEFORE_THE_FIRST = datetime.max.replace(tzinfo=UTC), UUID(int=2**128 - 1)


def find_changes(
    connection: psycopg.Connection, states: Collection[str], after: tuple[datetime, UUID] | None, limit: int
) -> list[DeadlineChange]:
    """Return changes in one of the states, the newest first, a page at a time, without their lists of orders."""
    requested_time, change_id = after or _BEFORE_THE_FIRST
    with connection.cursor(row_factory=class_row(DeadlineChange)) as cursor:
        return cursor.execute(
            f"""
            SELECT {_COLUMNS}, (selection::jsonb - 'orders')::json AS stored_selection FROM deadline_changes
            WHERE state = ANY(%(states)s) AND (requested_time, change_id) < (%(requested_time)s, %(change_id)s)
            ORDER BY requested_time DESC, change_id DESC LIMIT %(limit)s
            """,
            {"states": list(states), "requested_time": requested_time, "change_id": change_id, "limit": limit},
        ).fetchall()


def lock_change(connection: psycopg.Connection, change_id: UUID) -> DeadlineChange | None:
    """Lock a change and return it as it stands then: one transaction at a time approves or works it."""
    with connection.cursor(row_factory=class_row(DeadlineChange)) as cursor:
        return cursor.execute(
            f"SELECT {_ALL_COLUMNS} FROM deadline_changes WHERE change_id = %(change_id)s FOR UPDATE",
            {"change_id": change_id},
        ).fetchone()


def read_clocks(connection: psycopg.Connection) -> tuple[datetime, datetime]:
    """Return the database's own time, by which previews age, and the time that decisions are taken at."""
    row = connection.execute("SELECT statement_timestamp(), app_now()").fetchone()
    if row is None:
        raise LookupError("the clock has no time")
    return row


def find_running_change(connection: psycopg.Connection) -> UUID | None:
    """Return the change that is to be worked first: that which was approved first."""
    row = connection.execute(
        "SELECT change_id FROM deadline_changes WHERE state = 'RUNNING' ORDER BY approved_time, change_id LIMIT 1"
    ).fetchone()
    return row[0] if row else None


def save_progress(connection: psycopg.Connection, change_id: UUID, position: Key, *, changed: int, kept: int) -> None:
    """Write how far a change has got, in the transaction that moved the orders."""
    connection.execute(
        """
        UPDATE deadline_changes SET
            position_seller_id = %(seller_id)s, position_order_id = %(order_id)s,
            changed_count = changed_count + %(changed)s, kept_count = kept_count + %(kept)s
        WHERE change_id = %(change_id)s
        """,
        {"change_id": change_id, "seller_id": position[0], "order_id": position[1], "changed": changed, "kept": kept},
    )


def finish_change(connection: psycopg.Connection, change_id: UUID) -> None:
    """Write that nothing is left for a change to do."""
    connection.execute(
        """
        UPDATE deadline_changes SET state = 'DONE', finished_time = statement_timestamp()
        WHERE change_id = %(change_id)s
        """,
        {"change_id": change_id},
    )

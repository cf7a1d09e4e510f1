"""Saved views: those that are private to a user, and those that a seller's users share."""

from __future__ import annotations

from typing import LiteralString
from uuid import UUID

import orjson
import psycopg
from psycopg.rows import TupleRow

from service.saved_views.rules import SavedView, ViewDefinition

_COLUMNS: LiteralString = """
view_id, version, created_time, last_updated_time,
view_name, filters, columns, sort, max_results_per_page, private_to IS NULL, is_default
"""
# Whoever is not the user of a private view does not learn of it.
_IS_VISIBLE: LiteralString = "seller_id = %(seller_id)s AND (private_to IS NULL OR private_to = %(user)s)"


def find_saved_views(connection: psycopg.Connection, seller_id: str, user: str) -> list[SavedView]:
    """Return the views that a user sees: the shared ones, then the user's own, by name."""
    rows = connection.execute(
        f"""
        SELECT {_COLUMNS} FROM saved_views WHERE {_IS_VISIBLE}
        ORDER BY private_to IS NOT NULL, view_name, view_id
        """,
        {"seller_id": seller_id, "user": user},
    )
    return [_view(row) for row in rows]


def find_saved_view(connection: psycopg.Connection, seller_id: str, user: str, view_id: UUID) -> SavedView | None:
    """Return one of the views that a user sees, None when there is no such view."""
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM saved_views WHERE {_IS_VISIBLE} AND view_id = %(view_id)s",
        {"seller_id": seller_id, "user": user, "view_id": view_id},
    ).fetchone()
    return None if row is None else _view(row)


def lock_saved_views(connection: psycopg.Connection, seller_id: str) -> None:
    """Let one transaction at a time change a seller's views, until it ends: what it reads from then on stays true.

    A default is taken from another view, and the views are counted, so that the lock of one row is not enough.
    """
    connection.execute(
        "SELECT pg_advisory_xact_lock(hashtextextended('saved_views ' || %(seller_id)s, 0))", {"seller_id": seller_id}
    )


def count_saved_views(connection: psycopg.Connection, seller_id: str, private_to: str | None) -> int:
    """Return how many views are private to a user, or shared when none is named."""
    row = connection.execute(
        """
        SELECT count(*) FROM saved_views
        WHERE seller_id = %(seller_id)s AND private_to IS NOT DISTINCT FROM %(private_to)s::text
        """,
        {"seller_id": seller_id, "private_to": private_to},
    ).fetchone()
    return row[0] if row else 0


def insert_saved_view(
    connection: psycopg.Connection, seller_id: str, private_to: str | None, definition: ViewDefinition
) -> SavedView:
    """Add a view, or raise `ViewExists`."""
    row = connection.execute(
        f"""
        INSERT INTO saved_views (
            seller_id, private_to, view_name, filters, columns, sort, max_results_per_page, is_default,
            version, created_time, last_updated_time
        )
        VALUES (
            %(seller_id)s, %(private_to)s, %(view_name)s, %(filters)s, %(columns)s, %(sort)s,
            %(max_results_per_page)s, %(is_default)s, 1, app_now(), app_now()
        )
        RETURNING {_COLUMNS}
        """,
        {"seller_id": seller_id, "private_to": private_to} | _values(definition),
    ).fetchone()
    return _stored(row)


def update_saved_view(
    connection: psycopg.Connection, seller_id: str, private_to: str | None, view_id: UUID, definition: ViewDefinition
) -> SavedView:
    """Replace what a view holds, or raise `ViewExists`."""
    row = connection.execute(
        f"""
        UPDATE saved_views SET
            private_to = %(private_to)s, view_name = %(view_name)s, filters = %(filters)s, columns = %(columns)s,
            sort = %(sort)s, max_results_per_page = %(max_results_per_page)s, is_default = %(is_default)s,
            version = version + 1, last_updated_time = app_now()
        WHERE seller_id = %(seller_id)s AND view_id = %(view_id)s
        RETURNING {_COLUMNS}
        """,
        {"seller_id": seller_id, "private_to": private_to, "view_id": view_id} | _values(definition),
    ).fetchone()
    return _stored(row)


def unset_default(
    connection: psycopg.Connection, seller_id: str, private_to: str | None, kept: UUID | None = None
) -> None:
    """Take the default from whichever of a user's private views, or of the shared ones, has it, but for one to keep."""
    connection.execute(
        """
        UPDATE saved_views SET is_default = false, version = version + 1, last_updated_time = app_now()
        WHERE seller_id = %(seller_id)s AND private_to IS NOT DISTINCT FROM %(private_to)s::text AND is_default
            AND view_id IS DISTINCT FROM %(kept)s::uuid
        """,
        {"seller_id": seller_id, "private_to": private_to, "kept": kept},
    )


def delete_saved_view(connection: psycopg.Connection, seller_id: str, view_id: UUID) -> None:
    """Remove a view."""
    connection.execute(
        "DELETE FROM saved_views WHERE seller_id = %(seller_id)s AND view_id = %(view_id)s",
        {"seller_id": seller_id, "view_id": view_id},
    )


def _values(definition: ViewDefinition) -> dict[str, object]:
    return {
        "view_name": definition.name,
        "filters": orjson.dumps(definition.filters).decode(),
        "columns": orjson.dumps(definition.columns).decode(),
        "sort": definition.sort,
        "max_results_per_page": definition.max_results_per_page,
        "is_default": definition.is_default,
    }


def _stored(row: TupleRow | None) -> SavedView:
    if row is None:
        raise LookupError("the view was not stored")
    return _view(row)


def _view(row: TupleRow) -> SavedView:
    view_id, version, created_time, last_updated_time, *definition = row
    name, filters, columns, sort, max_results_per_page, is_shared, is_default = definition
    return SavedView(
        view_id=str(view_id),
        definition=ViewDefinition(
            name=name,
            filters=filters,
            columns=columns,
            sort=sort,
            max_results_per_page=max_results_per_page,
            is_shared=is_shared,
            is_default=is_default,
        ),
        version=version,
        created_time=created_time,
        last_updated_time=last_updated_time,
    )

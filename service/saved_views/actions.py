"""Save, change and read views. One transaction at a time changes a seller's views, so that no change is lost."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import replace
from uuid import UUID

import psycopg

from service.database import Database
from service.errors import (
    FieldError,
    Forbidden,
    InvalidRequest,
    TooManyViews,
    ViewNotFound,
    ViewOutdated,
    ViewReadOnly,
)
from service.marketplaces.queries import find_marketplaces
from service.saved_views import queries
from service.saved_views.rules import (
    BUILT_IN_VIEWS,
    MAX_PRIVATE_VIEWS,
    MAX_SHARED_VIEWS,
    SavedView,
    ViewDefinition,
    ViewUser,
    marketplaces_of,
    unknown_marketplaces,
    without,
)
from service.search.rules import ViewRequest
from service.versions import refuse_outdated

# What of a stored definition this version of the service does not know: its schema tells, which is no business of ours.
DefinitionErrors = Callable[[ViewDefinition], Sequence[FieldError]]


def find_view(
    database: Database, definition_errors: DefinitionErrors, seller_id: str, user: str, view_id: str
) -> ViewRequest:
    """Return what a view asks for, or raise `ViewNotFound`, or `ViewOutdated` before it finds the wrong orders."""
    view = read_view(database, definition_errors, seller_id, user, view_id)
    if view.errors:
        raise ViewOutdated(
            f"the view {view.definition.name} refers to what no longer exists; change it or delete it", *view.errors
        )
    return view.request()


def read_view(
    database: Database, definition_errors: DefinitionErrors, seller_id: str, user: str, view_id: str
) -> SavedView:
    """Return a view that a user sees, with what no longer exists of it, or raise `ViewNotFound`."""
    if view_id in BUILT_IN_VIEWS:
        return BUILT_IN_VIEWS[view_id]
    with database.seller_transaction(seller_id) as connection:
        view = _find(connection, seller_id, user, view_id)
        return _checked(connection, [view], definition_errors)[0]


def list_views(database: Database, definition_errors: DefinitionErrors, seller_id: str, user: str) -> list[SavedView]:
    """Return every view that a user sees: the built-in ones, the shared ones, then the user's own."""
    with database.seller_transaction(seller_id) as connection:
        views = queries.find_saved_views(connection, seller_id, user)
        return [*BUILT_IN_VIEWS.values(), *_checked(connection, views, definition_errors)]


def create_view(database: Database, author: ViewUser, definition: ViewDefinition) -> SavedView:
    """Save a new view; raises the `Problem` that refuses it."""
    _refuse_sharing(author, definition)
    with database.seller_transaction(author.seller_id) as connection:
        _refuse_unknown_marketplaces(connection, definition)
        queries.lock_saved_views(connection, author.seller_id)
        private_to = None if definition.is_shared else author.user
        _refuse_too_many(connection, author.seller_id, private_to)
        if definition.is_default:
            queries.unset_default(connection, author.seller_id, private_to)
        return queries.insert_saved_view(connection, author.seller_id, private_to, definition)


def replace_view(
    database: Database, author: ViewUser, view_id: str, definition: ViewDefinition, if_match: Container[str]
) -> SavedView:
    """Replace a view that is at one of the versions of `if_match`; raises the `Problem` that refuses it."""
    _refuse_built_in(view_id)
    _refuse_sharing(author, definition)
    with database.seller_transaction(author.seller_id) as connection:
        _refuse_unknown_marketplaces(connection, definition)
        stored = _lock(connection, author, view_id, if_match)
        private_to = None if definition.is_shared else author.user
        if stored.definition.is_shared != definition.is_shared:
            _refuse_too_many(connection, author.seller_id, private_to)
        key = UUID(stored.view_id)
        if definition.is_default:
            queries.unset_default(connection, author.seller_id, private_to, kept=key)
        return queries.update_saved_view(connection, author.seller_id, private_to, key, definition)


def delete_view(database: Database, author: ViewUser, view_id: str, if_match: Container[str]) -> None:
    """Remove a view that is at one of the versions of `if_match`; raises the `Problem` that refuses it."""
    _refuse_built_in(view_id)
    with database.seller_transaction(author.seller_id) as connection:
        stored = _lock(connection, author, view_id, if_match)
        queries.delete_saved_view(connection, author.seller_id, UUID(stored.view_id))


def _lock(connection: psycopg.Connection, author: ViewUser, view_id: str, if_match: Container[str]) -> SavedView:
    """Return a view that the author may change, as it is once nobody else can change it."""
    queries.lock_saved_views(connection, author.seller_id)
    view = _find(connection, author.seller_id, author.user, view_id)
    _refuse_sharing(author, view.definition)
    refuse_outdated("view", view.version, if_match)
    return view


def _find(connection: psycopg.Connection, seller_id: str, user: str, view_id: str) -> SavedView:
    key = _uuid(view_id)
    view = None if key is None else queries.find_saved_view(connection, seller_id, user, key)
    if view is None:
        raise ViewNotFound(f"there is no view {view_id} for this token")
    return view


def _uuid(view_id: str) -> UUID | None:
    try:
        return UUID(view_id)
    except ValueError:
        return None


def _checked(
    connection: psycopg.Connection, views: Sequence[SavedView], definition_errors: DefinitionErrors
) -> list[SavedView]:
    """Return views with what of them no longer exists."""
    errors = [list(definition_errors(view.definition)) for view in views]
    readable = [without(view.definition, found) for view, found in zip(views, errors, strict=True)]
    known = _known_marketplaces(connection, readable)
    return [
        replace(view, errors=[*found, *unknown_marketplaces(definition, known)])
        for view, found, definition in zip(views, errors, readable, strict=True)
    ]


def _known_marketplaces(connection: psycopg.Connection, definitions: Sequence[ViewDefinition]) -> set[str]:
    wanted = {marketplace_id for definition in definitions for marketplace_id in marketplaces_of(definition)}
    return {each.marketplace_id for each in find_marketplaces(connection, wanted)} if wanted else set()


def _refuse_unknown_marketplaces(connection: psycopg.Connection, definition: ViewDefinition) -> None:
    errors = unknown_marketplaces(definition, _known_marketplaces(connection, [definition]))
    if errors:
        raise InvalidRequest("the view refers to what does not exist", *errors)


def _refuse_sharing(author: ViewUser, definition: ViewDefinition) -> None:
    if definition.is_shared and not author.may_share:
        raise Forbidden("the token lacks the scope orders:write, which a change of a shared view needs")


def _refuse_built_in(view_id: str) -> None:
    if view_id in BUILT_IN_VIEWS:
        raise ViewReadOnly(f"the view {view_id} is built in; save another like it")


def _refuse_too_many(connection: psycopg.Connection, seller_id: str, private_to: str | None) -> None:
    limit, whose = (MAX_SHARED_VIEWS, "seller") if private_to is None else (MAX_PRIVATE_VIEWS, "user")
    if queries.count_saved_views(connection, seller_id, private_to) >= limit:
        raise TooManyViews(f"the {whose} has {limit} views, the most there can be; delete one first")

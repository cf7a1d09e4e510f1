"""Views are saved, changed, shared and run over HTTP (R4)."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, LiteralString, TypeAlias
from unittest.mock import Mock

import flask
import psycopg
import pytest
from werkzeug.test import TestResponse

from service.database import Database
from service.saved_views import queries
from service.saved_views.rules import BUILT_IN_VIEWS, MAX_PRIVATE_VIEWS, MAX_SHARED_VIEWS
from service.sellers.actions import create_token
from tests.conftest import (
    CONFIRM_BY,
    NOW,
    OTHER_SELLER,
    SECRET_KEY,
    SELLER,
    SHIP_BY,
    ApiClient,
    confirmation,
    order_document,
)
from tests.contract import Contract

Json: TypeAlias = Any
ClientOf = Callable[..., ApiClient]
INSTANT = timedelta(microseconds=1)
FILTERS = {"fulfillmentStatuses": ["UNSHIPPED", "PENDING"], "shipmentIsLate": True, "marketplaceIds": ["ATVPDKIKX0DER"]}
COLUMNS = [{"field": "fulfillment.confirmBy", "width": 170}, {"field": "orderId"}, {"field": "orderItems.product"}]


@pytest.fixture
def client_named(app: flask.Flask, contract: Contract, database: Database) -> ClientOf:
    """Return a function that makes a client of a new token with a name: tokens of one name are one user's."""

    def make(name: str, seller_id: str | None = SELLER, scopes: list[str] | None = None) -> ApiClient:
        token = create_token(database, SECRET_KEY, seller_id=seller_id, name=name, scopes=scopes)[1]
        return ApiClient(app, contract, token)

    return make


def definition(name: str = "Mine", **changes: Json) -> dict[str, Any]:
    return {"name": name, "filters": FILTERS, "columns": COLUMNS} | changes


def save(client: ApiClient, body: dict[str, Any], **query: Json) -> dict[str, Any]:
    response = client.post("/v1/views", body, **query)
    assert response.status_code == 201, response.text
    return response.get_json()


def show(client: ApiClient, view: dict[str, Any], **query: Json) -> TestResponse:
    return client.get(f"/v1/views/{view['viewId']}", **query)


def replace(
    client: ApiClient, view: dict[str, Any], body: object, if_match: str | None = "*", **query: Json
) -> TestResponse:
    headers = {} if if_match is None else {"If-Match": if_match}
    return client.request("PUT", f"/v1/views/{view['viewId']}", json=body, headers=headers, query_string=query)


def remove(client: ApiClient, view: dict[str, Any], if_match: str | None = "*", **query: Json) -> TestResponse:
    headers = {} if if_match is None else {"If-Match": if_match}
    return client.request("DELETE", f"/v1/views/{view['viewId']}", headers=headers, query_string=query)


def run(client: ApiClient, view_id: str, **query: Json) -> TestResponse:
    return client.get("/v1/orders", view=view_id, **query)


def saved(client: ApiClient, **query: Json) -> list[dict[str, Any]]:
    views = client.get("/v1/views", **query).get_json()["views"]
    return [view for view in views if not view["isBuiltIn"]]


def names(views: list[dict[str, Any]]) -> list[str]:
    return [view["name"] for view in views]


def refusal(response: TestResponse, status: int, code: str) -> list[dict[str, str]]:
    assert response.status_code == status, response.text
    body = response.get_json()
    assert body["type"] == f"urn:manage-orders:problem:{code}"
    return body.get("errors", [])


def pointers(errors: list[dict[str, str]]) -> list[str]:
    return [error["pointer"] for error in errors]


# Saved, shown, changed, removed.


def test_a_view_is_saved_as_it_was_sent(seller: ApiClient, set_clock: Callable[[object], object]) -> None:
    set_clock(NOW)
    whole = definition(sort="-confirmBy", maxResultsPerPage=25, isShared=True, isDefault=True)
    response = seller.post("/v1/views", whole)
    view = response.get_json()

    assert response.status_code == 201
    assert response.headers["Location"] == f"/v1/views/{view['viewId']}"
    assert response.headers["ETag"] == '"1"'
    assert uuid.UUID(view["viewId"])
    assert datetime.fromisoformat(view["createdTime"]) - NOW < timedelta(minutes=10)
    assert view == whole | {
        "viewId": view["viewId"],
        "isBuiltIn": False,
        "version": 1,
        "createdTime": view["createdTime"],
        "lastUpdatedTime": view["createdTime"],
    }
    shown = show(seller, view)
    assert shown.get_json() == view
    assert shown.headers["ETag"] == '"1"'
    assert saved(seller) == [view]


def test_a_view_needs_no_more_than_a_name(seller: ApiClient) -> None:
    view = save(seller, {"name": "All"})

    assert (view["filters"], view["columns"]) == ({}, [])
    assert not view["isShared"]
    assert not view["isDefault"]
    assert not {"sort", "maxResultsPerPage", "errors"} & view.keys()


def test_a_change_replaces_the_whole_view_and_is_a_new_version(
    seller: ApiClient, set_clock: Callable[[object], object]
) -> None:
    set_clock(NOW)
    view = save(seller, definition(sort="shipBy", maxResultsPerPage=10, isDefault=True))
    set_clock(NOW + timedelta(days=1))
    response = replace(seller, view, {"name": "Other", "filters": {"q": "mug"}}, '"1"')
    changed = response.get_json()

    assert response.status_code == 200
    assert response.headers["ETag"] == '"2"'
    assert changed["lastUpdatedTime"] > view["lastUpdatedTime"]
    assert changed == {
        "viewId": view["viewId"],
        "name": "Other",
        "filters": {"q": "mug"},
        "columns": [],
        "isShared": False,
        "isDefault": False,
        "isBuiltIn": False,
        "version": 2,
        "createdTime": view["createdTime"],
        "lastUpdatedTime": changed["lastUpdatedTime"],
    }
    assert show(seller, view).get_json() == changed


def test_a_view_that_is_removed_is_gone(seller: ApiClient) -> None:
    view = save(seller, definition())
    response = remove(seller, view, '"1"')

    assert (response.status_code, response.data) == (204, b"")
    assert saved(seller) == []
    for again in (show(seller, view), replace(seller, view, definition()), remove(seller, view)):
        refusal(again, 404, "view-not-found")
    refusal(run(seller, view["viewId"]), 404, "view-not-found")


@pytest.mark.parametrize("view_id", ["not-a-view", str(uuid.uuid4()), "0" * 32])
def test_a_view_that_does_not_exist_is_not_found(view_id: str, seller: ApiClient) -> None:
    view = {"viewId": view_id}
    for response in (show(seller, view), replace(seller, view, definition()), remove(seller, view)):
        refusal(response, 404, "view-not-found")
    refusal(run(seller, view_id), 404, "view-not-found")


def test_a_view_of_one_name_is_saved_once_among_the_private_and_once_among_the_shared_ones(
    seller: ApiClient, client_named: ClientOf
) -> None:
    private, shared = save(seller, definition()), save(seller, definition(isShared=True))
    other = save(seller, definition("Other"))
    save(client_named("another"), definition())

    for response in (
        seller.post("/v1/views", definition()),
        client_named("another").post("/v1/views", definition(isShared=True)),
        replace(seller, other, definition()),
        replace(seller, private, definition(isShared=True)),
        replace(seller, shared, definition()),
    ):
        refusal(response, 409, "view-exists")
    assert replace(seller, private, definition()).status_code == 200


# What can be saved.


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"filters": {"fulfillmentStatuses": ["LOST"]}}, "/filters/fulfillmentStatuses/0"),
        ({"filters": {"fulfillmentStatuses": "SHIPPED"}}, "/filters/fulfillmentStatuses"),
        ({"filters": {"orderIds": [9]}}, "/filters/orderIds/0"),
        ({"filters": {"orderIds": []}}, "/filters/orderIds"),
        ({"filters": {"colour": ["red"]}}, "/filters/colour"),
        ({"filters": {"view": "late"}}, "/filters/view"),
        ({"filters": {"sellerId": OTHER_SELLER}}, "/filters/sellerId"),
        ({"filters": {"createdWithin": "P1M"}}, "/filters/createdWithin"),
        ({"filters": {"shipmentIsLate": 1}}, "/filters/shipmentIsLate"),
        ({"filters": {"marketplaceIds": ["ATVPDKIKX0DER", "A1GONE"]}}, "/filters/marketplaceIds/1"),
        (
            {"filters": {"shipByAfter": "2026-03-02T00:00:00Z", "shipByBefore": "2026-03-01T00:00:00Z"}},
            "/filters/shipByAfter",
        ),
        ({"filters": {"grandTotalMax": "5.00"}}, "/filters/currencyCode"),
        ({"filters": []}, "/filters"),
        ({"columns": [{"field": "orderId"}, {"field": "orderID"}]}, "/columns/1/field"),
        ({"columns": [{"field": "orderId"}, {"field": "orderId", "width": 50}]}, "/columns/1/field"),
        ({"columns": [{"field": "orderId", "width": 19}]}, "/columns/0/width"),
        ({"columns": [{"field": "orderId", "width": 2001}]}, "/columns/0/width"),
        ({"columns": [{"width": 50}]}, "/columns/0/field"),
        ({"columns": [{"field": "orderId"}] * 51}, "/columns"),
        ({"sort": "colour"}, "/sort"),
        ({"maxResultsPerPage": 0}, "/maxResultsPerPage"),
        ({"maxResultsPerPage": 101}, "/maxResultsPerPage"),
        ({"name": ""}, "/name"),
        ({"name": " Late"}, "/name"),
        ({"name": "Late\n"}, "/name"),
        ({"name": "Late\u200b"}, "/name"),
        ({"name": "La\u00adte"}, "/name"),
        ({"name": "Late\u0085"}, "/name"),
        ({"name": "\u2060"}, "/name"),
        ({"name": "\u00a0Late"}, "/name"),
        ({"name": "Late\u3000"}, "/name"),
        ({"name": "\ufb1d" * 51}, "/name"),
        ({"name": "x" * 101}, "/name"),
        ({"isShared": "true"}, "/isShared"),
        ({"viewId": "mine"}, "/viewId"),
        ({"isBuiltIn": True}, "/isBuiltIn"),
    ],
)
def test_what_does_not_fit_is_pointed_at_when_a_view_is_saved_and_when_it_is_changed(
    changes: dict[str, Any], pointer: str, seller: ApiClient
) -> None:
    view = save(seller, definition("Good"))
    for response in (
        seller.post("/v1/views", definition() | changes),
        replace(seller, view, definition() | changes),
    ):
        assert pointers(refusal(response, 422, "invalid-request")) == [pointer]
    assert saved(seller) == [view]


@pytest.mark.parametrize("name", ["x", "x" * 100, "\u9045\u308c \U0001f600", "a  b", "100% 'late' _\\"])
def test_a_name_is_any_text_of_up_to_100_characters(name: str, seller: ApiClient) -> None:
    assert save(seller, definition(name))["name"] == name


def test_filters_are_answered_as_the_document_describes_them(seller: ApiClient) -> None:
    # Broken by naming the filters that a query writes loosely one by one, and forgetting one.
    loosely = {"q": " mug" + " " * 300, "shipmentIsLate": False, "confirmedLate": "false", "chargeIsDeclined": "true"}
    filters = save(seller, definition(filters=loosely))["filters"]

    assert filters == {"q": "mug", "shipmentIsLate": False, "confirmedLate": False, "chargeIsDeclined": True}


# Changes that meet.


def test_names_that_look_alike_are_alike(seller: ApiClient) -> None:
    composed, apart = "Caf\u00e9", "Cafe\u0301"
    view = save(seller, definition(apart))
    assert view["name"] == composed
    assert seller.post("/v1/views", definition(composed)).status_code == 409
    assert replace(seller, view, definition(apart, filters={}), '"1"').get_json()["name"] == composed


def test_a_change_names_the_version_that_it_is_meant_for(seller: ApiClient) -> None:
    view = save(seller, definition())
    assert replace(seller, view, definition("Second"), '"1"').status_code == 200
    now = show(seller, view).get_json()

    for missing in (None, ""):
        for response in (replace(seller, view, definition(), missing), remove(seller, view, missing)):
            assert [error["header"] for error in refusal(response, 428, "precondition-required")] == ["If-Match"]
    for stale in ('"1"', '"3"', 'W/"2"', '"1", "3"', '"*"', "nonsense", '"'):
        for response in (replace(seller, view, definition(), stale), remove(seller, view, stale)):
            assert [error["header"] for error in refusal(response, 412, "precondition-failed")] == ["If-Match"]
    too_long = replace(seller, view, definition(), f'"{"2" * 200}"')
    assert [error["header"] for error in refusal(too_long, 422, "invalid-request")] == ["If-Match"]
    assert show(seller, view).get_json() == now

    assert replace(seller, view, definition(), '"1", "2"').status_code == 200
    assert replace(seller, view, definition(), "*").status_code == 200
    assert remove(seller, view, '"4"').status_code == 204


@pytest.mark.parametrize("second", ["PUT", "DELETE"])
@pytest.mark.parametrize("is_locked", [True, False])
def test_of_two_changes_at_once_exactly_one_wins_and_without_the_lock_one_would_be_lost(
    second: str,
    is_locked: bool,  # noqa: FBT001  # a parameter of pytest
    seller: ApiClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    view = save(seller, definition())
    both_have_read = threading.Barrier(2)
    read = queries.find_saved_view

    def read_together(*arguments: Any) -> Any:
        found = read(*arguments)
        # Under the lock the other one has not read yet, and this one goes on alone.
        with suppress(threading.BrokenBarrierError):
            both_have_read.wait(0.5)
        return found

    monkeypatch.setattr(queries, "find_saved_view", read_together)
    if not is_locked:
        monkeypatch.setattr(queries, "lock_saved_views", Mock())

    def change(number: int) -> int:
        if number and second == "DELETE":
            return remove(seller, view, '"1"').status_code
        return replace(seller, view, definition(f"Of writer {number}"), '"1"').status_code

    with ThreadPoolExecutor(2) as pool:
        statuses = sorted(pool.map(change, range(2)))

    if is_locked:
        assert statuses in ([200, 412], [204, 404])
    else:
        assert 412 not in statuses, "the test would not notice that the lock is gone"


def test_of_many_changes_at_once_exactly_one_wins(seller: ApiClient) -> None:
    view = save(seller, definition())
    start = threading.Barrier(8)

    def change(number: int) -> int:
        start.wait()
        return replace(seller, view, definition(f"Of writer {number}"), '"1"').status_code

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(change, range(8)))

    assert sorted(statuses) == [200] + [412] * 7
    (left,) = saved(seller)
    assert left["name"] == f"Of writer {statuses.index(200)}"
    assert left["version"] == 2


# Whose views are seen by whom.


def test_private_views_are_the_users_and_outlive_a_token(client_named: ClientOf) -> None:
    clerk, exchanged, colleague = client_named("clerk"), client_named("clerk"), client_named("colleague")
    view = save(clerk, definition())

    assert saved(exchanged) == [view]
    assert show(exchanged, view).get_json() == view
    assert run(exchanged, view["viewId"]).status_code == 200
    assert saved(colleague) == []
    for response in (
        show(colleague, view),
        replace(colleague, view, definition()),
        remove(colleague, view),
        run(colleague, view["viewId"]),
        colleague.get("/v1/orders/counts", view=view["viewId"], by="fulfilledBy"),
    ):
        refusal(response, 404, "view-not-found")
    assert show(clerk, view).get_json() == view
    assert remove(exchanged, view).status_code == 204


def test_shared_views_are_seen_and_changed_by_every_token_of_the_seller(
    client_named: ClientOf, other_seller: ApiClient
) -> None:
    clerk, colleague = client_named("clerk"), client_named("colleague")
    view = save(clerk, definition(isShared=True))

    assert saved(colleague) == [view]
    assert run(colleague, view["viewId"]).status_code == 200
    changed = replace(colleague, view, definition("Ours", isShared=True), '"1"').get_json()
    assert show(clerk, view).get_json() == changed
    assert saved(other_seller) == []
    for response in (
        show(other_seller, view),
        replace(other_seller, view, definition()),
        remove(other_seller, view),
        run(other_seller, view["viewId"]),
    ):
        refusal(response, 404, "view-not-found")
    assert remove(clerk, view, '"2"').status_code == 204


def test_a_view_becomes_shared_or_private_to_whoever_makes_it_so(client_named: ClientOf) -> None:
    clerk, colleague = client_named("clerk"), client_named("colleague")
    view = save(clerk, definition())
    assert replace(clerk, view, definition(isShared=True)).get_json()["isShared"]
    assert names(saved(colleague)) == ["Mine"]
    assert not replace(colleague, view, definition("Taken")).get_json()["isShared"]

    assert names(saved(colleague)) == ["Taken"]
    refusal(show(clerk, view), 404, "view-not-found")


def test_who_may_only_read_has_private_views_and_no_say_in_shared_ones(
    seller: ApiClient, client_named: ClientOf
) -> None:
    reader = client_named("reader", SELLER, ["orders:read"])
    shared = save(seller, definition("Ours", isShared=True))
    own = save(reader, definition())

    assert replace(reader, own, definition("Renamed")).status_code == 200
    assert saved(reader)[0] == shared
    assert run(reader, shared["viewId"]).status_code == 200
    for response in (
        reader.post("/v1/views", definition(isShared=True)),
        replace(reader, own, definition(isShared=True)),
        replace(reader, shared, definition("Ours", isShared=True)),
        replace(reader, shared, definition("Ours")),
        remove(reader, shared),
    ):
        refusal(response, 403, "forbidden")
        assert "orders:write" in response.get_json()["detail"]
    assert show(seller, shared).get_json() == shared
    assert remove(reader, own).status_code == 204


def test_a_token_that_may_not_read_orders_has_no_views(client_named: ClientOf) -> None:
    writer = client_named("writer", SELLER, ["orders:write", "shipments:write"])
    for response in (
        writer.get("/v1/views"),
        writer.post("/v1/views", definition()),
        show(writer, {"viewId": "late"}),
        replace(writer, {"viewId": "late"}, definition()),
        remove(writer, {"viewId": "late"}),
    ):
        refusal(response, 403, "forbidden")


def test_an_operator_sees_a_sellers_shared_views_and_has_views_of_its_own_for_each_seller(
    client_named: ClientOf,
) -> None:
    # Of the same name as the seller's token: still another user.
    operator, clerk = client_named("clerk", None), client_named("clerk")
    private, shared = save(clerk, definition()), save(clerk, definition("Ours", isShared=True))
    own = save(operator, definition("Operator's"), sellerId=SELLER)

    assert saved(operator, sellerId=SELLER) == [shared, own]
    assert saved(operator, sellerId=OTHER_SELLER) == []
    assert saved(clerk) == [shared, private]
    refusal(show(operator, private, sellerId=SELLER), 404, "view-not-found")
    refusal(show(operator, own, sellerId=OTHER_SELLER), 404, "view-not-found")
    refusal(show(operator, own), 422, "invalid-request")
    assert run(operator, own["viewId"], sellerId=SELLER).status_code == 200
    assert replace(operator, shared, definition("Ours"), sellerId=SELLER).status_code == 200


def test_the_list_shows_built_in_views_then_shared_ones_then_the_users_own_by_name(client_named: ClientOf) -> None:
    clerk, colleague = client_named("clerk"), client_named("colleague")
    for name in ("b", "a", "c"):
        save(clerk, definition(f"own {name}"))
        save(colleague, definition(f"shared {name}", isShared=True))
        save(colleague, definition(f"other {name}"))
    views = clerk.get("/v1/views").get_json()["views"]

    built_in = len(BUILT_IN_VIEWS)
    assert [view["viewId"] for view in views[:built_in]] == list(BUILT_IN_VIEWS)
    assert names(views[built_in:]) == ["shared a", "shared b", "shared c", "own a", "own b", "own c"]
    assert [show(clerk, view).get_json() for view in views] == views


# Defaults and caps.


def test_one_private_view_and_one_shared_view_is_the_default(client_named: ClientOf) -> None:
    clerk, colleague = client_named("clerk"), client_named("colleague")

    def defaults(client: ApiClient) -> set[str]:
        return {view["name"] for view in saved(client) if view["isDefault"]}

    first = save(clerk, definition("first", isDefault=True))
    save(colleague, definition("colleague's", isDefault=True))
    save(clerk, definition("ours", isShared=True, isDefault=True))
    assert defaults(clerk) == {"first", "ours"}

    second = save(clerk, definition("second", isDefault=True))
    assert defaults(clerk) == {"second", "ours"}
    lost = show(clerk, first)
    assert (lost.get_json()["version"], lost.headers["ETag"]) == (2, '"2"')

    assert replace(clerk, first, definition("first", isDefault=True)).status_code == 200
    assert defaults(clerk) == {"first", "ours"}
    again = replace(clerk, first, definition("first", isDefault=True)).get_json()
    assert again["version"] == 4
    replace(clerk, second, definition("second", isShared=True, isDefault=True))
    assert defaults(clerk) == {"first", "second"}
    replace(clerk, first, definition("first"))
    assert defaults(clerk) == {"second"}
    assert defaults(colleague) == {"colleague's", "second"}


def test_a_refused_view_takes_the_default_from_none(seller: ApiClient) -> None:
    view = save(seller, definition(isDefault=True))
    refusal(seller.post("/v1/views", definition(isDefault=True)), 409, "view-exists")

    assert saved(seller) == [view]


def test_the_database_holds_that_there_is_one_default(seller: ApiClient, owner: psycopg.Connection) -> None:
    for is_shared in (False, True):
        save(seller, definition("default", isShared=is_shared, isDefault=True))
        save(seller, definition("other", isShared=is_shared))
        with pytest.raises(psycopg.errors.UniqueViolation, match="saved_views_default_idx"):
            owner.execute(
                "UPDATE saved_views SET is_default = true WHERE view_name = 'other' AND (private_to IS NULL) = %s",
                (is_shared,),
            )


def test_of_views_that_become_the_default_at_once_one_is_it(seller: ApiClient) -> None:
    start = threading.Barrier(8)

    def become(number: int) -> int:
        start.wait()
        return seller.post("/v1/views", definition(f"view {number}", isDefault=True)).status_code

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(become, range(8))) == [201] * 8
    assert sum(view["isDefault"] for view in saved(seller)) == 1


def fill(owner: psycopg.Connection, private_to: str | None, count: int) -> None:
    owner.execute(
        """
        INSERT INTO saved_views (seller_id, private_to, view_name, filters, columns, is_default, version,
            created_time, last_updated_time)
        SELECT %s, %s, 'view ' || number, '{}', '[]', false, 1, now(), now() FROM generate_series(1, %s) number
        """,
        (SELLER, private_to, count),
    )


@pytest.mark.parametrize("is_shared", [False, True])
def test_there_are_no_more_views_than_the_cap_however_many_are_saved_at_once(
    is_shared: bool,  # noqa: FBT001  # a parameter of pytest
    seller: ApiClient,
    client_named: ClientOf,
    owner: psycopg.Connection,
) -> None:
    fill(owner, None if is_shared else "seller:test", (MAX_SHARED_VIEWS if is_shared else MAX_PRIVATE_VIEWS) - 1)
    start = threading.Barrier(4)

    def add(number: int) -> int:
        start.wait()
        return seller.post("/v1/views", definition(f"new {number}", isShared=is_shared)).status_code

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(add, range(4))) == [201, 409, 409, 409]
    refusal(seller.post("/v1/views", definition(isShared=is_shared)), 409, "too-many-views")
    outside = save(seller, definition(isShared=not is_shared))
    refusal(replace(seller, outside, definition(isShared=is_shared)), 409, "too-many-views")
    inside = next(view for view in saved(seller) if view["name"] == "view 1")
    assert replace(seller, inside, definition("Renamed", isShared=is_shared)).status_code == 200
    if not is_shared:
        save(client_named("another"), definition())


# Built in.


def test_built_in_views_are_shown_and_not_changed(seller: ApiClient) -> None:
    for view_id in BUILT_IN_VIEWS:
        view = show(seller, {"viewId": view_id})
        assert view.get_json()["isBuiltIn"]
        etag = view.headers["ETag"]
        refusal(replace(seller, {"viewId": view_id}, definition(), etag), 409, "view-read-only")
        refusal(remove(seller, {"viewId": view_id}, etag), 409, "view-read-only")


@pytest.fixture
def stop_clock(database: Database, owner: psycopg.Connection) -> Iterator[Callable[[datetime], None]]:
    """Yield a function that makes `app_now()` stand still, which the sandbox clock never does."""
    del database
    row = owner.execute("SELECT pg_get_functiondef('app_now()'::regprocedure)").fetchone()
    assert row is not None

    def stop(now: datetime) -> None:
        owner.execute(
            "CREATE OR REPLACE FUNCTION app_now() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE AS $$ "
            f"SELECT timestamptz '{now.isoformat()}' $$".encode()
        )

    yield stop
    owner.execute(row[0])


ORDERED = NOW - timedelta(days=1)


# The clock goes by an order, which does not move, so that every edge is met to the microsecond.
@pytest.mark.parametrize(
    ("view_id", "edges"),
    [
        (
            "all",
            [
                (ORDERED - INSTANT, False),
                (ORDERED, True),
                (ORDERED + timedelta(days=7) - INSTANT, True),
                (ORDERED + timedelta(days=7), True),
                (ORDERED + timedelta(days=7) + INSTANT, False),
            ],
        ),
        ("late", [(SHIP_BY - INSTANT, False), (SHIP_BY, False), (SHIP_BY + INSTANT, True)]),
        (
            "cancels-within-24-hours",
            [
                (CONFIRM_BY - timedelta(hours=24) - INSTANT, False),
                (CONFIRM_BY - timedelta(hours=24), True),
                (CONFIRM_BY - timedelta(hours=24) + INSTANT, True),
                (CONFIRM_BY - INSTANT, True),
                (CONFIRM_BY, True),
                (CONFIRM_BY + INSTANT, False),
            ],
        ),
        (
            "cancels-within-7-days",
            [
                (CONFIRM_BY - timedelta(days=7) - INSTANT, False),
                (CONFIRM_BY - timedelta(days=7), True),
                (CONFIRM_BY, True),
                (CONFIRM_BY + INSTANT, False),
            ],
        ),
    ],
)
def test_a_built_in_view_finds_an_order_on_one_side_of_its_edges(
    view_id: str, edges: list[tuple[datetime, bool]], seller: ApiClient, stop_clock: Callable[[datetime], None]
) -> None:
    stop_clock(NOW)
    assert seller.post("/v1/orders", order_document()).status_code == 201
    for now, is_found in edges:
        stop_clock(now)
        assert len(run(seller, view_id).get_json()["orders"]) == is_found, now


def receive(client: ApiClient, **changes: Json) -> str:
    response = client.post("/v1/orders", order_document(**changes))
    assert response.status_code == 201, response.text
    return response.get_json()["orderId"]


def confirm(client: ApiClient, order_id: str, **changes: Json) -> None:
    response = client.post(f"/v1/orders/{order_id}/shipment-confirmations", confirmation(**changes))
    assert response.status_code == 201, response.text


@pytest.fixture
def orders_of_every_kind(
    seller: ApiClient, operator: ApiClient, owner: psycopg.Connection, set_clock: Callable[[object], object]
) -> dict[str, str]:
    """Return an order of each kind that a built-in view tells apart; all become late, or would."""
    set_clock(NOW)
    amazon = {"fulfillment__fulfilledBy": "AMAZON"}
    orders = {
        "pending": receive(seller, fulfillment__fulfillmentStatus="PENDING"),
        "unshipped": receive(seller),
        "partial": receive(seller),
        "shipped": receive(seller),
        "cancelled": receive(
            seller, fulfillment__fulfillmentStatus="CANCELLED", cancellation={"cancelReason": "BUYER_REQUESTED"}
        ),
        "amazon": receive(seller, **amazon),
        "old": receive(seller, createdTime=(NOW - timedelta(days=30)).isoformat()),
    }
    confirm(seller, orders["partial"], orderItems=[{"orderItemId": "1", "quantity": 1}])
    confirm(seller, orders["shipped"])
    request = operator.post(f"/v1/orders/{orders['pending']}/cancellation-request", {}, sellerId=SELLER)
    assert request.status_code == 200, request.text
    owner.execute(DECLINE, {"order_id": orders["partial"]})
    return orders


DECLINE: LiteralString = """
WITH declined AS (
    UPDATE charges SET charge_status = 'DECLINED', charged_time = NULL, settled_outside = false, decline_count = 1
    WHERE order_id = %(order_id)s RETURNING seller_id, order_id
)
UPDATE orders o SET charge_declined_time = last_updated_time FROM declined d
WHERE o.seller_id = d.seller_id AND o.order_id = d.order_id
"""


def test_the_built_in_views_find_what_their_names_say(
    seller: ApiClient, orders_of_every_kind: dict[str, str], set_clock: Callable[[object], object]
) -> None:
    expected = {
        "all": {"pending", "unshipped", "partial", "shipped", "cancelled", "amazon"},
        "pending": {"pending"},
        "unshipped": {"unshipped", "amazon", "old"},
        "late": set[str](),
        "cancels-within-24-hours": set[str](),
        "cancels-within-7-days": set[str](),
        "cancellation-requests": {"pending"},
        "declined-charges": {"partial"},
        "partially-shipped": {"partial"},
        "shipped": {"shipped"},
        "confirmed-late": set[str](),
        "cancelled": {"cancelled"},
        "platform-fulfilled": {"amazon"},
    }
    kinds = {order_id: kind for kind, order_id in orders_of_every_kind.items()}

    def found() -> dict[str, set[str]]:
        return {
            view_id: {kinds[order["orderId"]] for order in run(seller, view_id).get_json()["orders"]}
            for view_id in BUILT_IN_VIEWS
        }

    assert found() == expected
    set_clock(CONFIRM_BY - timedelta(hours=1))
    expected |= {
        "all": set[str](),
        "late": {"unshipped", "partial", "old"},
        "cancels-within-24-hours": {"unshipped", "old"},
        "cancels-within-7-days": {"unshipped", "old"},
    }
    assert found() == expected
    confirm(seller, orders_of_every_kind["partial"], packageReferenceId="2", shipDate=SHIP_BY.isoformat())
    assert found() == expected | {
        "late": {"unshipped", "old"},
        "partially-shipped": set[str](),
        "shipped": {"shipped", "partial"},
        "confirmed-late": {"partial"},
    }


# Run.


def test_a_view_is_the_same_as_what_it_saves(seller: ApiClient, orders_of_every_kind: dict[str, str]) -> None:
    view = save(
        seller,
        definition(
            filters={"fulfillmentStatuses": ["UNSHIPPED", "SHIPPED"], "createdWithin": "P7D"},
            columns=[{"field": "orderId"}, {"field": "fulfillment.fulfillmentStatus"}],
            sort="createdTime",
            maxResultsPerPage=1,
        ),
    )
    query = {
        "fulfillmentStatuses": "UNSHIPPED,SHIPPED",
        "createdWithin": "P7D",
        "fields": "orderId,fulfillment.fulfillmentStatus",
        "sort": "createdTime",
        "maxResultsPerPage": 1,
    }
    walked: list[str] = []
    token = None
    while True:
        more = {} if token is None else {"paginationToken": token}
        page, same = run(seller, view["viewId"], **more), seller.get("/v1/orders", **query, **more)
        assert page.get_json()["orders"] == same.get_json()["orders"]
        (order,) = page.get_json()["orders"]
        assert order.keys() == {"orderId", "fulfillment"}
        assert order["fulfillment"].keys() == {"fulfillmentStatus"}
        walked.append(order["orderId"])
        token = page.get_json().get("pagination", {}).get("nextToken")
        if token is None:
            break

    assert sorted(walked) == sorted(orders_of_every_kind[kind] for kind in ("unshipped", "shipped", "amazon"))


def test_what_is_given_beside_a_view_takes_the_place_of_what_it_saves(
    seller: ApiClient, orders_of_every_kind: dict[str, str]
) -> None:
    view = save(
        seller,
        definition(
            filters={"fulfillmentStatuses": ["UNSHIPPED"], "fulfilledBy": ["MERCHANT"], "createdWithin": "P7D"},
            columns=[{"field": "orderId"}],
            sort="createdTime",
            maxResultsPerPage=1,
        ),
    )
    kinds = {order_id: kind for kind, order_id in orders_of_every_kind.items()}

    def found(**query: Json) -> list[str]:
        orders = run(seller, view["viewId"], maxResultsPerPage=100, **query).get_json()["orders"]
        return [kinds[order["orderId"]] for order in orders]

    assert found() == ["unshipped"]
    assert found(fulfillmentStatuses="PENDING") == ["pending"]
    assert found(fulfilledBy="AMAZON") == ["amazon"]
    old = (NOW - timedelta(days=40)).isoformat()
    assert found(createdAfter=old) == ["old", "unshipped"]
    assert found(createdAfter=old, sort="-createdTime") == ["unshipped", "old"]
    (order,) = run(seller, view["viewId"]).get_json()["orders"]
    assert order.keys() == {"orderId"}
    (order,) = run(seller, view["viewId"], fields="version").get_json()["orders"]
    assert order.keys() == {"version"}
    (order,) = run(seller, view["viewId"], includedData="PACKAGES").get_json()["orders"]
    assert {"orderId", "salesChannel"} <= order.keys()


def test_a_view_drives_counts(seller: ApiClient, orders_of_every_kind: dict[str, str]) -> None:
    del orders_of_every_kind
    view = save(seller, definition(filters={"fulfillmentStatuses": ["UNSHIPPED", "SHIPPED"]}))
    response = seller.get("/v1/orders/counts", view=view["viewId"], by="fulfillmentStatus")

    counted = {group["value"]: group["count"] for group in response.get_json()["groups"]}
    assert counted == {"PENDING": 0, "UNSHIPPED": 3, "PARTIALLY_SHIPPED": 0, "SHIPPED": 1, "CANCELLED": 0}


def test_a_relative_date_of_a_view_is_counted_from_each_run(
    seller: ApiClient, orders_of_every_kind: dict[str, str], set_clock: Callable[[object], object]
) -> None:
    del orders_of_every_kind
    view = save(seller, definition(filters={"createdWithin": "P7D"}))
    assert len(run(seller, view["viewId"]).get_json()["orders"]) == 6
    set_clock(NOW + timedelta(days=7))
    assert run(seller, view["viewId"]).get_json()["orders"] == []


# What no longer exists.


@pytest.fixture
def outdated(owner: psycopg.Connection, seller: ApiClient) -> dict[str, Any]:
    """Return a view as another version of the service may have stored it, as the API shows it."""
    view = save(seller, {"name": "Old"})
    owner.execute(
        """
        UPDATE saved_views SET
            filters = '{"shipmentIsLate": true, "colours": ["red"], "marketplaceIds": ["ATVPDKIKX0DER", "A1GONE"]}',
            columns = '[{"field": "orderId", "width": 100}, {"field": "colour"}]', sort = 'colour'
        """
    )
    return show(seller, view).get_json()


LOST = ["/filters/colours", "/columns/1/field", "/sort", "/filters/marketplaceIds/1"]


def test_an_outdated_view_says_so_instead_of_finding_the_wrong_orders(
    seller: ApiClient, outdated: dict[str, Any]
) -> None:
    view_id = outdated["viewId"]
    for response in (
        run(seller, view_id),
        run(seller, view_id, sort="createdTime", marketplaceIds="ATVPDKIKX0DER", fields="orderId"),
        seller.get("/v1/orders/counts", view=view_id, by="fulfilledBy"),
    ):
        assert sorted(pointers(refusal(response, 409, "view-outdated"))) == sorted(LOST)
        assert "change it" in response.get_json()["detail"]


@pytest.mark.parametrize(
    ("column", "value", "pointer"),
    [
        ("filters", '{"colours": ["red"]}', "/filters/colours"),
        ("filters", '{"fulfillmentStatuses": ["SHIPPED", "LOST"]}', "/filters/fulfillmentStatuses/1"),
        ("filters", '{"marketplaceIds": ["A1GONE"]}', "/filters/marketplaceIds/0"),
        ("columns", '[{"field": "colour"}]', "/columns/0/field"),
        ("sort", "colour", "/sort"),
    ],
)
def test_anything_that_no_longer_exists_makes_a_view_outdated(
    column: str, value: str, pointer: str, seller: ApiClient, owner: psycopg.Connection
) -> None:
    view = save(seller, definition())
    assert run(seller, view["viewId"]).status_code == 200
    owner.execute(f"UPDATE saved_views SET {column} = %s".encode(), (value,))

    assert pointers(refusal(run(seller, view["viewId"]), 409, "view-outdated")) == [pointer]
    assert pointers(show(seller, view).get_json()["errors"]) == [pointer]


def test_an_outdated_view_is_listed_and_shown_with_what_is_left_of_it(
    seller: ApiClient, outdated: dict[str, Any]
) -> None:
    assert sorted(pointers(outdated["errors"])) == sorted(LOST)
    assert outdated["filters"] == {"shipmentIsLate": True}
    assert outdated["columns"] == [{"field": "orderId", "width": 100}]
    assert "sort" not in outdated
    assert saved(seller) == [outdated]


def test_an_outdated_view_that_is_saved_as_it_is_shown_runs_again(seller: ApiClient, outdated: dict[str, Any]) -> None:
    left = {name: outdated[name] for name in ("name", "filters", "columns", "isShared", "isDefault")}
    repaired = replace(seller, outdated, left, f'"{outdated["version"]}"')

    assert repaired.status_code == 200
    assert "errors" not in repaired.get_json()
    assert run(seller, outdated["viewId"]).status_code == 200


def test_an_outdated_view_can_be_removed(seller: ApiClient, outdated: dict[str, Any]) -> None:
    assert remove(seller, outdated, f'"{outdated["version"]}"').status_code == 204

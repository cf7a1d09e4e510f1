"""One seller never sees, changes or learns of what belongs to another: held by the database, and by every route."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import flask
import psycopg
import pytest
from psycopg import sql
from werkzeug.test import TestResponse

from service.app import create_app
from service.database import Database
from service.deadlines.policy_schemas import POLICY_CHANGE
from service.sellers.actions import authenticate, create_token
from service.sellers.queries import revoke_token
from service.sellers.rules import OPERATOR_SCOPES, scopes_allowed
from service.settings import Settings
from tests.conftest import NOW, OTHER_SELLER, SECRET_KEY, SELLER, ApiClient, confirmation, order_document

# Found by the name of their column, not listed: a new table is held to the same rules.
SELLER_TABLES = """
    SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'seller_id'
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' ORDER BY c.relname
"""
# Their keys begin otherwise: a token is found before its seller is known, and an operator's file is of several.
NOT_KEYED_BY_SELLER = {"tokens", "confirmation_batches"}
PRIVATE_TITLE = "Nobody else's teapot"
SHARED_VIEW = "3f0d6c2e-6f0e-4b7e-9a55-0d9f3c1b7a42"


def seller_tables(owner: psycopg.Connection) -> list[str]:
    return [row[0] for row in owner.execute(SELLER_TABLES)]


def all_rows(connection: psycopg.Connection, table: str) -> list[tuple[Any, ...]]:
    return connection.execute(sql.SQL("SELECT seller_id FROM {}").format(sql.Identifier(table))).fetchall()


def usd(amount: str) -> dict[str, str]:
    return {"amount": amount, "currencyCode": "USD"}


@pytest.fixture
def rows_of_two(
    owner: psycopg.Connection,
    client_of: Callable[[str | None], ApiClient],
    set_clock: Callable[[object], object],
) -> dict[str, str]:
    """Put rows of both sellers into every table that has a seller, and return an order of each.

    The first seller's view is shared, for all of its tokens to see.
    """
    set_clock(NOW)
    orders: dict[str, str] = {}
    for seller_id in (SELLER, OTHER_SELLER):
        client = client_of(seller_id)
        product = {"title": PRIVATE_TITLE if seller_id == SELLER else "Mug"}
        order = order_document(orderItems=[{"orderItemId": "1", "quantityOrdered": 2, "product": product}])
        orders[seller_id] = order["orderId"]
        assert client.post("/v1/orders", order).status_code == 201
        shipped = confirmation(orderItems=[{"orderItemId": "1", "quantity": 1}])
        assert client.post(f"/v1/orders/{order['orderId']}/shipment-confirmations", shipped).status_code == 201
        path = f"/v1/orders/{order['orderId']}"
        refund = {"reason": "GENERAL_ADJUSTMENT", "orderItems": [{"orderItemId": "1", "amount": usd("1.00")}]}
        key = {"Idempotency-Key": "first"}
        assert client.request("POST", f"{path}/refunds", json=refund, headers=key).status_code == 201
        file = {"shipmentConfirmations": [confirmation() | {"orderId": order["orderId"]}]}
        assert client.post("/v1/shipment-confirmation-batches", file).status_code == 202
        owner.execute(
            """
            WITH run AS (
                INSERT INTO cancellation_runs (dry_run, state, requested_by, cutoff, finished_time)
                VALUES (false, 'PARTIAL', 'test', now(), now()) RETURNING run_id
            )
            INSERT INTO cancellation_errors (seller_id, order_id, run_id, error)
            SELECT %s, %s, run_id, 'made up' FROM run
            """,
            (seller_id, order["orderId"]),
        )
        assert client.post("/v1/views", {"name": "Private"}).status_code == 201
    share_view(owner)
    extend_nothing(owner)
    return orders


def extend_nothing(owner: psycopg.Connection) -> None:
    owner.execute(
        """
        INSERT INTO deadline_changes (
            change_type, state, selection, reason, requested_by, found_count, kept_count, orders_digest
        ) VALUES ('EXTENSION', 'PREVIEWED', %s, 'made up', 'test', 0, 0, '')
        """,
        (f'{{"seller_id": "{SELLER}", "business_days": 1}}',),
    )


def share_view(owner: psycopg.Connection) -> None:
    owner.execute(
        """
        INSERT INTO saved_views (seller_id, view_id, view_name, filters, columns, is_default, version,
            created_time, last_updated_time)
        VALUES (%s, %s, %s, '{}', '[]', false, 1, now(), now())
        ON CONFLICT ON CONSTRAINT saved_views_pkey DO NOTHING
        """,
        (SELLER, SHARED_VIEW, PRIVATE_TITLE),
    )


def test_row_security_is_on_and_forced_on_every_table_with_a_seller(
    database: Database, owner: psycopg.Connection
) -> None:
    del database
    tables = seller_tables(owner)
    loose = owner.execute(
        "SELECT relname FROM pg_class WHERE relname = ANY(%s) AND NOT (relrowsecurity AND relforcerowsecurity)",
        (tables,),
    ).fetchall()

    assert {"orders", "order_items", "packages", "package_items", "charges", "order_events"} <= set(tables)
    assert loose == []


def test_every_key_and_foreign_key_of_a_sellers_table_begins_with_the_seller(owner: psycopg.Connection) -> None:
    reference = {"sellers", "marketplaces", "cancellation_runs"}
    keys = owner.execute(
        """
        SELECT t.relname, k.conname, k.contype, f.relname,
            (SELECT attname FROM pg_attribute WHERE attrelid = k.conrelid AND attnum = k.conkey[1])
        FROM pg_constraint k JOIN pg_class t ON t.oid = k.conrelid LEFT JOIN pg_class f ON f.oid = k.confrelid
        WHERE k.contype IN ('p', 'u', 'x', 'f') AND t.relname = ANY(%s)
        """,
        (seller_tables(owner),),
    ).fetchall()
    wrong = [
        name
        for table, name, kind, target, first in keys
        if first != "seller_id" and table not in NOT_KEYED_BY_SELLER and not (kind == "f" and target in reference)
    ]

    assert {kind for _, _, kind, _, _ in keys} >= {"p", "f"}
    assert wrong == []


def test_the_roles_of_the_service_own_nothing_and_pass_no_policy(owner: psycopg.Connection) -> None:
    roles = owner.execute(
        "SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication FROM pg_roles "
        "WHERE rolname IN ('manage_orders_service', 'manage_orders_operator')"
    ).fetchall()
    owned = owner.execute(
        "SELECT relname FROM pg_class WHERE pg_get_userbyid(relowner) LIKE 'manage_orders_%' "
        "UNION ALL SELECT proname FROM pg_proc WHERE pg_get_userbyid(proowner) LIKE 'manage_orders_%' "
        "UNION ALL SELECT datname FROM pg_database WHERE pg_get_userbyid(datdba) LIKE 'manage_orders_%'"
    ).fetchall()
    member = owner.execute("SELECT pg_has_role('manage_orders_service', 'manage_orders_operator', 'member')").fetchone()

    assert roles == [(False,) * 6] * 2
    assert owned == []
    assert member == (False,)


def test_a_connection_of_the_service_works_as_the_service_role(database: Database) -> None:
    with database.seller_transaction(SELLER) as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("manage_orders_service",)


def test_a_query_without_a_condition_shows_one_sellers_rows_only(
    database: Database, owner: psycopg.Connection, rows_of_two: dict[str, str]
) -> None:
    del rows_of_two
    for table in seller_tables(owner):
        there = {row[0] for row in all_rows(owner, table)}
        assert {SELLER, OTHER_SELLER} <= there, f"{table} has no rows of both sellers: this test would prove nothing"
        for seller_id in (SELLER, OTHER_SELLER):
            with database.seller_transaction(seller_id) as connection:
                assert {row[0] for row in all_rows(connection, table)} == {seller_id}, table


def test_without_a_seller_no_row_shows(
    database: Database, owner: psycopg.Connection, rows_of_two: dict[str, str]
) -> None:
    del rows_of_two
    for table in seller_tables(owner):
        with database.connection() as connection:
            assert all_rows(connection, table) == [], table
        for nobody in ("", "%", "A3NOBODY"):
            with database.seller_transaction(nobody) as connection:
                assert all_rows(connection, table) == [], table


def test_an_operator_sees_the_rows_of_both(database: Database, rows_of_two: dict[str, str]) -> None:
    with database.operator_transaction() as connection:
        assert {row[0] for row in all_rows(connection, "orders")} == rows_of_two.keys()


def test_a_row_of_another_seller_cannot_be_written(
    database: Database, owner: psycopg.Connection, rows_of_two: dict[str, str]
) -> None:
    del rows_of_two
    for table in seller_tables(owner):
        writable = owner.execute(
            "SELECT has_table_privilege('manage_orders_service', %s, 'INSERT')", (table,)
        ).fetchone()
        if writable == (True,):
            columns = sql.SQL(", ").join(
                sql.Identifier(row[0])
                for row in owner.execute(
                    "SELECT attname FROM pg_attribute "
                    "WHERE attrelid = %s::regclass AND attnum > 0 AND attgenerated = '' AND NOT attisdropped",
                    (table,),
                )
            )
            copied = sql.SQL("CREATE TEMPORARY TABLE mine ON COMMIT DROP AS SELECT {} FROM {}").format(
                columns, sql.Identifier(table)
            )
            steal = sql.SQL("INSERT INTO {} ({}) SELECT {} FROM mine").format(sql.Identifier(table), columns, columns)
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):  # noqa: PT012, SIM117  # one transaction
                with database.seller_transaction(SELLER) as connection:
                    connection.execute(copied)
                    connection.execute("UPDATE mine SET seller_id = %s", (OTHER_SELLER,))
                    connection.execute(steal)


def test_a_row_of_another_seller_cannot_be_changed_taken_or_given_away(
    database: Database, rows_of_two: dict[str, str]
) -> None:
    with database.seller_transaction(SELLER) as connection:
        changed = connection.execute(
            "UPDATE orders SET version = version WHERE order_id = %s", (rows_of_two[OTHER_SELLER],)
        )
        assert changed.rowcount == 0
        locked = connection.execute(
            "SELECT 1 FROM orders WHERE order_id = %s FOR UPDATE", (rows_of_two[OTHER_SELLER],)
        ).fetchall()
        assert locked == []
    for table in ("orders", "order_items", "packages", "saved_views"):
        give = sql.SQL("UPDATE {} SET seller_id = %s").format(sql.Identifier(table))
        with (
            pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"),
            database.seller_transaction(SELLER) as connection,
        ):
            connection.execute(give, (OTHER_SELLER,))


def test_history_charges_and_orders_are_never_deleted_or_rewritten_by_the_service(database: Database) -> None:
    forbidden = [
        "DELETE FROM orders", "DELETE FROM packages", "DELETE FROM package_items", "DELETE FROM charges",
        "DELETE FROM order_events", "UPDATE charges SET amount = 0", "UPDATE order_events SET actor = 'x'",
        "TRUNCATE orders", "UPDATE sandbox_clock SET clock_offset = '1 day'", "INSERT INTO sellers VALUES ('x', 'x')",
        "UPDATE tokens SET revoked_time = NULL", "SET LOCAL row_security = off; SELECT * FROM orders",
    ]  # fmt: skip
    for statement in forbidden:
        with (
            pytest.raises(psycopg.errors.InsufficientPrivilege),
            database.seller_transaction(SELLER) as connection,
        ):
            connection.execute(statement)  # pyright: ignore[reportArgumentType, reportCallIssue]  # literals of a list


def test_the_seller_does_not_survive_into_the_next_transaction_of_a_connection(
    settings: Settings, database: Database, rows_of_two: dict[str, str]
) -> None:
    del database, rows_of_two
    single = Database(settings, pool_size=1)
    try:
        with single.seller_transaction(SELLER) as connection:
            first = connection.info.backend_pid
            assert all_rows(connection, "orders")
        with single.connection() as connection:
            assert connection.info.backend_pid == first
            assert all_rows(connection, "orders") == []
        with single.operator_transaction() as connection:
            assert len(all_rows(connection, "orders")) == 2
        with single.connection() as connection:
            assert connection.execute("SELECT current_user").fetchone() == ("manage_orders_service",)
            assert all_rows(connection, "orders") == []
    finally:
        single.close()


# What is stored of tokens.


def test_a_token_is_stored_as_a_keyed_hash_and_nowhere_in_the_clear(
    database: Database, owner: psycopg.Connection
) -> None:
    _, token = create_token(database, SECRET_KEY, seller_id=SELLER, name="test")
    (row,) = owner.execute("SELECT tokens::text, token_hash FROM tokens").fetchall()

    assert token not in row[0]
    assert token.removeprefix("mo_") not in row[0]
    assert token.encode().hex() not in row[0]
    assert len(row[1]) == 32


def test_a_token_is_worth_nothing_under_another_secret_key(database: Database) -> None:
    _, token = create_token(database, SECRET_KEY, seller_id=SELLER, name="test")

    assert authenticate(database, SECRET_KEY, token) is not None
    assert authenticate(database, "another key that is long enough!", token) is None


def test_a_revoked_token_stops_at_once(seller: ApiClient, database: Database, owner: psycopg.Connection) -> None:
    assert seller.get("/v1/orders").status_code == 200
    ((token_id,),) = owner.execute("SELECT token_id FROM tokens").fetchall()
    with database.operator_transaction() as connection:
        assert revoke_token(connection, token_id)
    with database.operator_transaction() as connection:
        assert not revoke_token(connection, token_id)

    assert seller.get("/v1/orders").status_code == 401


def test_a_seller_cannot_hold_the_scope_of_operators(database: Database) -> None:
    with pytest.raises(Exception, match="cannot have operations"):
        create_token(database, SECRET_KEY, seller_id=SELLER, name="test", scopes=["operations"])


# Every route with every kind of caller.


@dataclass(frozen=True)
class Call:
    """How to call a route well, if the caller may."""

    scope: str | None
    body: object = None
    of_seller: bool = True
    names_seller: bool = True
    of_anyone: bool = False
    query: Mapping[str, str] = field(default_factory=dict[str, str])


def calls(order_id: str) -> dict[tuple[str, str], Call]:
    """Return how to call each route; a route that is not here fails the test that walks them."""
    order = order_document(orderId=order_id)
    run = Call("operations:read", of_seller=False)
    clock = Call("operations", of_seller=False)
    approval = {"expectedCount": 0, "reason": "made up"}
    until = (datetime.now(UTC) + timedelta(hours=1)).isoformat()  # the database's own clock, which no sandbox moves
    order_path = "/v1/orders/<order_id:order_id>"
    package_path = f"{order_path}/packages/<package_reference_id:package_reference_id>"
    batch_path = "/v1/shipment-confirmation-batches/<batch_id:batch_id>"
    marketplace_path = "/v1/marketplaces/<marketplace_id:marketplace_id>"
    extension_path = "/v1/deadline-extensions/<extension_id:extension_id>"
    file = {"shipmentConfirmations": [confirmation("9") | {"orderId": order_id}]}
    return {
        ("GET", "/v1/account/home"): Call("orders:read"),
        ("GET", f"{order_path}/events"): Call("orders:read"),
        ("GET", f"{order_path}/packages"): Call("orders:read"),
        ("GET", package_path): Call("orders:read"),
        ("PATCH", package_path): Call("shipments:write", {"trackingNumber": "1Z999AA10123456785"}),
        ("POST", f"{package_path}/tracking-events"): Call(
            "tracking:write", {"status": "IN_TRANSIT", "eventTime": NOW.isoformat()}
        ),
        ("POST", f"{order_path}/refunds"): Call("refunds:write", {"reason": "CUSTOMER_RETURN", "amount": usd("2.00")}),
        # It names the seller, as what operators do for one does; no seller may.
        ("POST", f"{order_path}/charge-attempts"): Call("operations", of_seller=False, query={"sellerId": SELLER}),
        ("GET", f"{order_path}/refunds"): Call("orders:read"),
        ("GET", f"{order_path}/refunds/<refund_id:refund_id>"): Call("orders:read"),
        ("POST", "/v1/shipment-confirmation-batches"): Call("shipments:write", file, names_seller=False),
        ("GET", "/v1/shipment-confirmation-batches"): Call("orders:read", names_seller=False),
        ("GET", batch_path): Call("orders:read", names_seller=False),
        ("GET", f"{batch_path}/results"): Call("orders:read", names_seller=False),
        ("GET", "/v1/orders"): Call("orders:read"),
        ("GET", "/v1/orders/counts"): Call("orders:read", query={"by": "fulfillmentStatus"}),
        ("GET", "/v1/orders/export"): Call("orders:read", query={"format": "ndjson"}),
        ("POST", "/v1/orders"): Call("orders:write", order),
        ("GET", "/v1/orders/<order_id:order_id>"): Call("orders:read"),
        ("POST", "/v1/orders/<order_id:order_id>/shipment-confirmations"): Call("shipments:write", confirmation("9")),
        ("POST", "/v1/orders/<order_id:order_id>/cancellation"): Call(
            "cancellations:write", {"cancelReasonCode": "NO_INVENTORY"}
        ),
        ("POST", "/v1/orders/<order_id:order_id>/cancellation-request"): Call("channel:write", {}),
        ("DELETE", "/v1/orders/<order_id:order_id>/cancellation-request"): Call("channel:write"),
        ("GET", "/v1/views"): Call("orders:read"),
        ("POST", "/v1/views"): Call("orders:read", {"name": "New"}),
        ("GET", "/v1/views/<view_id:view_id>"): Call("orders:read"),
        ("PUT", "/v1/views/<view_id:view_id>"): Call("orders:read", {"name": "Changed", "isShared": True}),
        ("DELETE", "/v1/views/<view_id:view_id>"): Call("orders:read"),
        ("GET", "/v1/cancellation-job"): run,
        ("POST", "/v1/cancellation-job/pause"): Call(
            "operations", {"reason": "made up", "until": until}, of_seller=False
        ),
        ("POST", "/v1/cancellation-job/resume"): clock,
        ("GET", "/v1/cancellation-runs"): run,
        ("POST", "/v1/cancellation-runs"): Call("operations", {"dryRun": True}, of_seller=False),
        ("GET", "/v1/cancellation-runs/<uuid:run_id>"): run,
        ("GET", "/v1/cancellation-runs/<uuid:run_id>/orders"): run,
        # The run is not held, which only who may approve is told.
        ("POST", "/v1/cancellation-runs/<uuid:run_id>/approval"): Call("operations", approval, of_seller=False),
        ("POST", "/v1/deadline-extensions"): Call(
            "operations", {"sellerId": SELLER, "businessDays": 1, "reason": "made up"}, of_seller=False
        ),
        ("GET", "/v1/deadline-extensions"): Call("operations:read", of_seller=False),
        ("GET", extension_path): Call("operations:read", of_seller=False),
        ("POST", f"{extension_path}/approval"): Call("operations", {"expectedCount": 0}, of_seller=False),
        ("GET", "/v1/marketplaces"): run,
        ("GET", marketplace_path): run,
        ("PUT", marketplace_path): Call("operations", POLICY_CHANGE, of_seller=False, query={"dryRun": "true"}),
        ("GET", "/v1/business-days"): Call(
            "orders:read",
            of_seller=False,
            of_anyone=True,
            query={"marketplaceId": "ATVPDKIKX0DER", "from": "2026-03-06", "days": "1"},
        ),
        ("GET", f"{order_path}/window"): Call("orders:read"),
        ("GET", "/v1/sandbox/clock"): clock,
        ("PUT", "/v1/sandbox/clock"): Call("operations", {"now": NOW.isoformat()}, of_seller=False),
        ("DELETE", "/v1/sandbox/clock"): clock,
        ("GET", "/metrics"): run,
        ("GET", "/health/live"): Call(None, of_seller=False),
        ("GET", "/health/ready"): Call(None, of_seller=False),
        ("GET", "/openapi.json"): Call(None, of_seller=False),
        ("GET", "/docs/"): Call(None, of_seller=False),
        ("GET", "/docs/<path:path>"): Call(None, of_seller=False),
    }


ROUTES = sorted(
    (method, rule.rule)
    for rule in create_app(
        Settings(database_url="postgresql://", secret_key="-" * 32, sandbox=True)
    ).url_map.iter_rules()
    for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
)


def test_the_matrix_knows_every_route() -> None:
    assert set(ROUTES) == calls("x").keys()


def address(rule: str, order_id: str, owner: psycopg.Connection) -> str:
    """Return the address at which a route shows what belongs to the first seller."""
    ids = owner.execute(
        """
        SELECT (SELECT refund_id::text FROM refunds WHERE seller_id = %(seller_id)s),
            (SELECT batch_id::text FROM confirmation_batches WHERE seller_id = %(seller_id)s),
            (SELECT run_id::text FROM cancellation_runs ORDER BY run_id LIMIT 1),
            (SELECT change_id::text FROM deadline_changes)
        """,
        {"seller_id": SELLER},
    ).fetchall()[0]
    parts = {"refund_id": ids[0], "batch_id": ids[1], "uuid": ids[2], "order_id": order_id, "view_id": SHARED_VIEW}
    parts |= {
        "package_reference_id": "1",
        "path": "index.html",
        "extension_id": ids[3],
        "marketplace_id": "ATVPDKIKX0DER",
    }
    return re.sub(r"<(\w+):\w+>", lambda part: parts[part[1]], rule)


def state_of_first_seller(owner: psycopg.Connection) -> list[tuple[Any, ...]]:
    """Return all that nobody may change who may not."""
    query = """
        SELECT orders::text FROM orders WHERE seller_id = %(seller_id)s
        UNION ALL SELECT saved_views::text FROM saved_views WHERE seller_id = %(seller_id)s
        UNION ALL SELECT packages::text FROM packages WHERE seller_id = %(seller_id)s
        UNION ALL SELECT charges::text FROM charges WHERE seller_id = %(seller_id)s
        UNION ALL SELECT refunds::text FROM refunds WHERE seller_id = %(seller_id)s
        UNION ALL SELECT batch_id::text FROM confirmation_batches WHERE seller_id = %(seller_id)s
    """
    return sorted(owner.execute(query, {"seller_id": SELLER}).fetchall())


@pytest.mark.parametrize(("method", "rule"), ROUTES)
def test_a_route_lets_nobody_in_who_may_not_and_tells_them_nothing(  # noqa: C901  # a step for each way in
    method: str, rule: str, app: flask.Flask, database: Database, rows_of_two: dict[str, str], owner: psycopg.Connection
) -> None:
    victim, thief = SELLER, OTHER_SELLER
    order_id = rows_of_two[victim]
    call = calls(order_id)[method, rule]
    path = address(rule, order_id, owner)

    def token(seller_id: str | None, scopes: Sequence[str] = ()) -> str:
        scopes = scopes or scopes_allowed(seller_id)
        return create_token(database, SECRET_KEY, seller_id=seller_id, name="test", scopes=list(scopes))[1]

    def revoked() -> str:
        token_id, text = create_token(database, SECRET_KEY, seller_id=victim, name="test")
        with database.operator_transaction() as connection:
            revoke_token(connection, token_id)
        return text

    def send(authorization: str | None, query: dict[str, str] | None = None) -> TestResponse:
        changes = "view_id" in rule or method == "PATCH" or "marketplace_id" in rule
        key = "second" if rule.endswith("/refunds") and method == "POST" else None
        sent = {"Authorization": authorization, "If-Match": "*" if changes else None, "Idempotency-Key": key}
        headers = {name: value for name, value in sent.items() if value is not None}
        given = {**call.query, **(query or {})}
        return app.test_client().open(
            path, method=method, headers=headers, query_string=given, json=call.body, buffered=True
        )

    if call.scope is None:
        response = send(None)
        assert response.status_code == 200
        assert PRIVATE_TITLE not in response.text
        return

    before = state_of_first_seller(owner)
    good = token(victim if call.of_seller else None)
    other_scopes = [each for each in OPERATOR_SCOPES if each != call.scope]
    foreign = f"Bearer {token(thief)}"
    without_scope = token(victim, [each for each in other_scopes if not each.startswith("operations")])
    refused: list[tuple[str, TestResponse, set[int]]] = [
        ("no token", send(None), {401}),
        ("an empty token", send("Bearer "), {401}),
        ("a made-up token", send("Bearer mo_" + "x" * 43), {401}),
        ("another scheme", send(f"Basic {good}"), {401}),
        ("a token and more", send(f"Bearer {good} {good}"), {401}),
        ("a token in capitals", send(f"Bearer {good.upper()}"), {401}),
        ("a long token", send("Bearer " + "x" * 10_000), {401}),
        ("a token of strange characters", send("Bearer \u00ff\u0080"), {401}),
        ("a revoked token", send(f"Bearer {revoked()}"), {401}),
        ("a token without the scope", send(f"Bearer {without_scope}"), {403}),
    ]
    if call.of_seller:
        refused += [
            ("an operator without the scope", send(f"Bearer {token(None, other_scopes)}", {"sellerId": victim}), {403}),
            ("a seller who names another", send(foreign, {"sellerId": victim}), {404}),
            ("a seller who names nobody known", send(foreign, {"sellerId": "A9NOBODY"}), {404}),
            ("an operator who names nobody known", send(f"Bearer {token(None)}", {"sellerId": "A9NOBODY"}), {404}),
        ]
        if call.names_seller:
            refused.append(("an operator who names none", send(f"Bearer {token(None)}"), {422}))
        if "_id" in rule:
            refused.append(("another seller", send(foreign), {404}))
    else:
        refused += [] if call.of_anyone else [("a seller", send(foreign), {403})]
    for who, response, expected in refused:
        assert response.status_code in expected, (who, response.status_code, response.text[:300])
        assert response.mimetype == "application/problem+json", who
        assert PRIVATE_TITLE not in response.text, who
        assert ("WWW-Authenticate" in response.headers) == (response.status_code == 401), who
    assert state_of_first_seller(owner) == before, "somebody who may not has changed an order or a view"

    own = send(foreign) if call.of_seller and "_id" not in rule else None
    if own is not None:
        assert own.status_code in {200, 201, 202}, own.text
        assert PRIVATE_TITLE not in own.text
        assert state_of_first_seller(owner) == before, "the order of the same id belongs to another seller"
    answered = send(f"bearer {good}")
    assert answered.status_code in {200, 201, 202, 204, 409}, answered.text
    if call.of_seller:
        share_view(owner)  # it may have been deleted
        answered = send(f"Bearer {token(None)}", {"sellerId": victim})
        assert answered.status_code in {200, 201, 202, 204, 409}, answered.text


def test_an_order_of_another_seller_and_one_that_does_not_exist_are_told_alike(
    other_seller: ApiClient, rows_of_two: dict[str, str]
) -> None:
    def told(order_id: str) -> dict[str, Any]:
        body = other_seller.get(f"/v1/orders/{order_id}").get_json()
        return {key: str(text).replace(order_id, "") for key, text in body.items() if key != "requestId"}

    assert told(rows_of_two[SELLER]) == told("902-9999999-9999999")


def test_two_sellers_may_have_orders_of_the_same_id(
    other_seller: ApiClient, seller: ApiClient, rows_of_two: dict[str, str]
) -> None:
    order_id = rows_of_two[SELLER]
    created = other_seller.post("/v1/orders", order_document(orderId=order_id))

    assert created.status_code == 201
    assert created.get_json()["sellerId"] == OTHER_SELLER
    assert seller.get(f"/v1/orders/{order_id}").get_json()["sellerId"] == SELLER


def test_a_seller_named_in_an_order_is_the_tokens_own(
    seller: ApiClient, operator: ApiClient, set_clock: Callable[[object], object]
) -> None:
    set_clock(NOW)
    assert seller.post("/v1/orders", order_document(sellerId=OTHER_SELLER)).status_code == 404
    assert operator.post("/v1/orders", order_document(sellerId="A9NOBODY")).status_code == 404
    assert operator.post("/v1/orders", order_document(sellerId=SELLER), sellerId=OTHER_SELLER).status_code == 422
    assert operator.post("/v1/orders", order_document(sellerId=OTHER_SELLER)).status_code == 201


def test_a_run_that_does_not_exist_is_not_found(operator: ApiClient) -> None:
    assert operator.get(f"/v1/cancellation-runs/{uuid.uuid4()}").status_code == 404

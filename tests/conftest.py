"""A real PostgreSQL for every test, and clients whose every answer is checked against the OpenAPI document."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import flask
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo
from werkzeug.test import TestResponse

from service.app import create_app
from service.cancellation_job.rules import Limits, SweepOptions
from service.database import Database, upgrade_schema
from service.sandbox.actions import enter_sandbox, move_clock
from service.sellers.actions import create_token
from service.sellers.queries import insert_seller
from service.settings import Settings
from tests.contract import Contract
from tests.invariants import broken_invariants
from tests.server import running_server

SECRET_KEY = "a key that is only for tests, 32+"
SELLER, OTHER_SELLER = "A1SELLER", "A2SELLER"
# Of a test's few orders all may be due.
LIFTED = SweepOptions(limits=Limits(max_orders=10**9, max_percent=100, max_seller_percent=100))
SHARED = Path(__file__).resolve().parent.parent.parent / "shared"


@pytest.fixture(scope="session")
def server_url() -> Iterator[str]:
    """Yield the PostgreSQL of the session."""
    with running_server() as url:
        yield url


@pytest.fixture(scope="session")
def make_database_url(server_url: str) -> Iterator[Callable[[], str]]:
    """Yield a function that makes an empty database and returns its URL, as a role that may do everything."""
    numbers, made = itertools.count(1), list[str]()

    def make() -> str:
        name = f"manage_orders_test_{os.getpid()}_{next(numbers)}"
        with psycopg.connect(server_url, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        made.append(name)
        return make_conninfo(server_url, dbname=name)

    yield make
    with psycopg.connect(server_url, autocommit=True) as connection:
        for name in made:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="session")
def database_url(make_database_url: Callable[[], str]) -> str:
    """Return a migrated database that the tests of this session share, each finding it empty."""
    url = make_database_url()
    upgrade_schema(url)
    return url


@pytest.fixture(scope="session")
def settings(database_url: str) -> Settings:
    """Return the settings of a sandbox."""
    return Settings(database_url=database_url, secret_key=SECRET_KEY, sandbox=True, threads=32)


@pytest.fixture(scope="session")
def shared_database(settings: Settings) -> Iterator[Database]:
    """Yield the connections that the tests of this session share."""
    database = Database(settings, pool_size=settings.threads)
    yield database
    database.close()


@pytest.fixture
def owner(database_url: str) -> Iterator[psycopg.Connection]:
    """Yield an autocommit connection of the role that owns the tables."""
    with psycopg.connect(database_url, autocommit=True, options="-c timezone=UTC") as connection:
        yield connection


# Each behind those that refer to it.
TABLES = (
    *("cancellation_errors", "cancellation_approvals", "cancellation_runs", "cancellation_pauses", "schedulers"),
    *("deadline_changes", "confirmation_batch_rows", "confirmation_batches", "saved_views"),
    *("refund_items", "refunds", "charges", "package_items", "packages", "order_items", "order_events"),
    *("order_search", "orders", "tokens", "sellers", "payment_service", "sandbox_clock"),
)
MANY = 300


def empty_tables(owner: psycopg.Connection) -> None:
    """Empty every table. To truncate them takes a tenth of a second, a hundred times as long as to delete some rows."""
    (count,) = owner.execute("SELECT count(*) FROM (SELECT FROM orders LIMIT 300) AS first_ones").fetchall()[0]
    if count < MANY:
        with owner.transaction(), owner.pipeline():
            for table in TABLES:
                owner.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table)))
    else:
        owner.execute(sql.SQL("TRUNCATE {}").format(sql.SQL(", ").join(map(sql.Identifier, TABLES))))


@pytest.fixture
def database(shared_database: Database, owner: psycopg.Connection) -> Iterator[Database]:
    """Yield an empty sandbox with two sellers; afterwards every invariant must hold."""
    empty_tables(owner)
    enter_sandbox(shared_database)
    with shared_database.operator_transaction() as connection:
        insert_seller(connection, SELLER, "First seller")
        insert_seller(connection, OTHER_SELLER, "Other seller")
    yield shared_database
    with shared_database.operator_transaction() as connection:
        broken = broken_invariants(connection)
    assert not broken, f"invariants do not hold: {broken}"


@pytest.fixture
def own_policies(owner: psycopg.Connection) -> Iterator[None]:
    """Take away the marketplaces and policies that a test makes: those that come with the schema are shared.

    To be named in `usefixtures`, so that the invariants are looked at before.
    """
    yield
    empty_tables(owner)
    with owner.transaction():
        owner.execute(
            """
            DELETE FROM marketplace_calendars c USING marketplace_policies p
            WHERE c.marketplace_id = p.marketplace_id AND c.policy_version = p.policy_version
                AND p.created_by <> 'migration'
            """
        )
        owner.execute("DELETE FROM marketplace_policies WHERE created_by <> 'migration'")
        owner.execute(
            """
            DELETE FROM marketplaces m
            WHERE NOT EXISTS (SELECT FROM marketplace_policies p WHERE p.marketplace_id = m.marketplace_id)
            """
        )


@dataclass(frozen=True)
class ApiClient:
    """Calls the API with one token; an answer that the OpenAPI document does not describe fails the test."""

    app: flask.Flask
    contract: Contract
    token: str | None

    def request(self, method: str, path: str, **options: Any) -> TestResponse:
        """Call, check the answer against the document, and return it."""
        headers = dict(options.pop("headers", {}))
        if self.token is not None:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        response = self.app.test_client().open(path, method=method, headers=headers, **options)
        self.contract.check(self.app, method, path, response)
        return response

    def get(self, path: str, **query: Any) -> TestResponse:
        """Call GET."""
        return self.request("GET", path, query_string=query)

    def post(self, path: str, body: object, **query: Any) -> TestResponse:
        """Call POST with a JSON body."""
        return self.request("POST", path, json=body, query_string=query)

    def put(self, path: str, body: object) -> TestResponse:
        """Call PUT with a JSON body."""
        return self.request("PUT", path, json=body)

    def delete(self, path: str) -> TestResponse:
        """Call DELETE."""
        return self.request("DELETE", path)


@pytest.fixture(scope="session")
def app(settings: Settings) -> Iterator[flask.Flask]:
    """Yield the application in sandbox mode."""
    app = create_app(settings)
    yield app
    app.extensions["manage-orders"].database.close()


@pytest.fixture(scope="session")
def contract(app: flask.Flask) -> Contract:
    """Return what answers are checked against."""
    return Contract(app.test_client().get("/openapi.json").get_json())


@pytest.fixture
def client_of(app: flask.Flask, contract: Contract, database: Database) -> Callable[[str | None], ApiClient]:
    """Return a function that makes a client for a seller, or for an operator when there is none."""

    def make(seller_id: str | None, scopes: list[str] | None = None) -> ApiClient:
        _, token = create_token(database, SECRET_KEY, seller_id=seller_id, name="test", scopes=scopes)
        return ApiClient(app, contract, token)

    return make


@pytest.fixture
def seller(client_of: Callable[[str | None], ApiClient]) -> ApiClient:
    """Return a client of the first seller."""
    return client_of(SELLER)


@pytest.fixture
def other_seller(client_of: Callable[[str | None], ApiClient]) -> ApiClient:
    """Return a client of the other seller."""
    return client_of(OTHER_SELLER)


@pytest.fixture
def operator(client_of: Callable[[str | None], ApiClient]) -> ApiClient:
    """Return a client of an operator."""
    return client_of(None)


@pytest.fixture
def set_clock(database: Database) -> Callable[[datetime | str], datetime]:
    """Return a function that moves the sandbox clock."""

    def move(now: datetime | str) -> datetime:
        instant = datetime.fromisoformat(now) if isinstance(now, str) else now
        move_clock(database, instant)
        return instant

    return move


# A Monday. Seven business days after Friday 6 March end with Tuesday 17 March in Los Angeles.
NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
SHIP_BY = datetime(2026, 3, 6, 20, 0, tzinfo=UTC)
CONFIRM_BY = datetime(2026, 3, 18, 7, 0, tzinfo=UTC)

_order_numbers = itertools.count(1)


def order_document(**changes: Any) -> dict[str, Any]:
    """Return an `UNSHIPPED` seller-fulfilled order of two items (2 and 1 units), with changes by dotted path.

    A path is written with double underscores: `fulfillment__fulfillmentStatus="PENDING"`. `None` takes a member away.
    """
    document: dict[str, Any] = {
        "orderId": f"902-{next(_order_numbers):07d}-0000000",
        "createdTime": (NOW - timedelta(days=1)).isoformat(),
        "salesChannel": {"channelName": "AMAZON", "marketplaceId": "ATVPDKIKX0DER"},
        "proceeds": {"grandTotal": {"amount": "50.00", "currencyCode": "USD"}},
        "fulfillment": {
            "fulfillmentStatus": "UNSHIPPED",
            "fulfilledBy": "MERCHANT",
            "shipByWindow": {"latestDateTime": SHIP_BY.isoformat()},
        },
        "orderItems": [
            {"orderItemId": "1", "quantityOrdered": 2, "product": {"sellerSku": "MUG", "title": "Mug"}},
            {"orderItemId": "2", "quantityOrdered": 1, "product": {"sellerSku": "POT", "title": "Pot"}},
        ],
    }
    for path, value in changes.items():
        *parents, name = path.split("__")
        place = document
        for parent in parents:
            place = place.setdefault(parent, {})
        if value is None:
            place.pop(name, None)
        else:
            place[name] = deepcopy(value)
    return document


def confirmation(package_reference_id: str = "1", **changes: Any) -> dict[str, Any]:
    """Return the confirmation of a package with all that remains; `orderItems` says otherwise."""
    return {
        "packageReferenceId": package_reference_id,
        "carrierCode": "UPS",
        "trackingNumber": "1Z999AA10123456784",
        "shipDate": NOW.isoformat(),
    } | changes


@pytest.fixture
def received(seller: ApiClient, set_clock: Callable[[datetime | str], datetime]) -> dict[str, Any]:
    """Return an `UNSHIPPED` order of the first seller, as the API shows it at `NOW`."""
    set_clock(NOW)
    response = seller.post("/v1/orders", order_document())
    assert response.status_code == 201, response.text
    return response.get_json()

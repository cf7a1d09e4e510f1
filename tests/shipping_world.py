"""A sandbox for many desks, each a seller of its own."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import flask

from service.app import create_app
from service.database import Database, upgrade_schema
from service.sandbox.actions import enter_sandbox
from service.sellers.actions import create_token
from service.sellers.queries import insert_seller
from service.settings import Settings
from tests.conftest import SECRET_KEY, ApiClient
from tests.contract import Contract
from tests.shipping_desk import Desk


@dataclass(frozen=True)
class World:
    """A sandbox in which every run is a seller of its own; whether charges are settled outside decides the app."""

    database: Database
    apps: Mapping[bool, flask.Flask]
    contract: Contract
    operator_token: str
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def seller(self, *, outside: bool) -> tuple[ApiClient, ApiClient, str]:
        """Return a client of a new seller, one of the operator, and the seller's id."""
        seller_id = f"M{next(self.numbers)}"
        with self.database.operator_transaction() as connection:
            insert_seller(connection, seller_id, "A seller")
        _, token = create_token(self.database, SECRET_KEY, seller_id=seller_id, name="desk")
        seller, operator = (ApiClient(self.apps[outside], self.contract, each) for each in (token, self.operator_token))
        return seller, operator, seller_id

    def desk(self, *, outside: bool) -> Desk:
        """Return the desk of a new seller, with its orders."""
        seller, operator, seller_id = self.seller(outside=outside)
        return Desk(self.database, seller_id, seller, operator, outside=outside)


@contextmanager
def shipping_world(database_url: str, contract: Contract) -> Generator[World]:
    """Make the sandbox of an empty database."""
    upgrade_schema(database_url)
    settings = [
        Settings(database_url=database_url, secret_key=SECRET_KEY, sandbox=True, threads=4, payment_service_url=url)
        for url in ("", "http://payments.invalid")
    ]
    apps = {each.settles_outside: create_app(each) for each in settings}
    databases: list[Database] = [app.extensions["manage-orders"].database for app in apps.values()]
    with databases[0].closing(), databases[1].closing():
        enter_sandbox(databases[0])
        _, token = create_token(databases[0], SECRET_KEY, seller_id=None, name="operator")
        yield World(databases[0], apps, contract, token)

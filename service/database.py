"""The pool, the transactions that name whom they act for, and the schema's version."""

from __future__ import annotations

import math
import select
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Self
from weakref import WeakKeyDictionary

import orjson
import psycopg
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from psycopg import errors as pg
from psycopg.conninfo import make_conninfo
from psycopg.types.json import Json
from psycopg_pool import ConnectionPool, PoolTimeout

from service.errors import (
    Contended,
    MarketplaceExists,
    Overloaded,
    Problem,
    SandboxRefused,
    SellerExists,
    SellerNotFound,
    UnknownMarketplace,
    ViewExists,
)
from service.settings import Settings

MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"

# What a broken constraint means to the caller. A constraint that is not here is a fault of ours.
CONSTRAINT_PROBLEMS: dict[str, tuple[type[Problem], str]] = {
    "sellers_pkey": (SellerExists, "a seller with this id exists already"),
    "marketplaces_pkey": (MarketplaceExists, "a marketplace with this id exists already"),
    "orders_seller_id_fkey": (SellerNotFound, "the seller is not known here"),
    "tokens_seller_id_fkey": (SellerNotFound, "the seller is not known here"),
    "orders_marketplace_id_fkey": (UnknownMarketplace, "the marketplace is not known here"),
    "saved_views_view_name_key": (
        ViewExists,
        "a view of this name exists already; give this one another, or change that one",
    ),
}

# Operational errors too, but of one statement: they are looked at first.
_CONTENTION = (pg.QueryCanceled, pg.LockNotAvailable, pg.DeadlockDetected)
TEST_AGAIN_AFTER_S = 1
SANDBOX_MISMATCH = "MO001"  # raised by app_now()

_PASSING_FAULTS = (
    PoolTimeout,
    pg.OperationalError,  # the connection or the server went away
    pg.InterfaceError,
)


class Database:
    """Connections of one process. The pool opens on first use, so that it is never shared across a fork."""

    def __init__(self, settings: Settings, *, pool_size: int) -> None:
        self._lock = threading.Lock()
        self._opened = False
        self._drained_at = -math.inf
        self._tested_at = WeakKeyDictionary[psycopg.Connection, float]()
        self._pool = ConnectionPool(
            conninfo(settings),
            min_size=0,
            max_size=pool_size,
            timeout=settings.pool_timeout_ms / 1000,
            # The pool's own patience doubles up to five minutes; a request that finds no connection tries at once.
            reconnect_timeout=settings.pool_timeout_ms / 1000,
            check=self._check,
            kwargs={"autocommit": True, "prepare_threshold": 1},  # to plan a list takes as long as to read it
            open=False,
        )

    def close(self) -> None:
        """Close every connection."""
        self._pool.close()

    @contextmanager
    def closing(self) -> Generator[Self]:
        """Close every connection at the end."""
        try:
            yield self
        finally:
            self.close()

    def _check(self, connection: psycopg.Connection) -> None:
        """Test a connection before it is lent. A lost one tells that the server went away, and the others with it.

        Left to itself the pool finds them one by one, waiting longer each time, until the request has timed out. One
        that was well a moment ago, and to which the server has said nothing since, is not asked again: that would take
        as long as to read an order.
        """
        now = time.monotonic()
        if now - self._tested_at.get(connection, -math.inf) < TEST_AGAIN_AFTER_S and _is_silent(connection):
            return
        self._tested_at[connection] = now
        try:
            ConnectionPool.check_connection(connection)
        except psycopg.OperationalError:
            with self._lock:
                is_news = now - self._drained_at > 1
                self._drained_at = now if is_news else self._drained_at
            if is_news:
                self._pool.drain()
            raise

    @contextmanager
    def connection(self, timeout_s: float | None = None) -> Generator[psycopg.Connection]:
        """Lend an autocommit connection that sees no seller's rows; raise `Overloaded` when there is none in time."""
        if not self._opened:
            with self._lock:
                if not self._opened:
                    self._pool.open()
                    self._opened = True
        try:
            with self._pool.connection(timeout=timeout_s) as connection:
                yield connection
        except _CONTENTION as error:
            raise Contended("the database did not answer in time", retry_after_s=1) from error
        except _PASSING_FAULTS as error:
            raise Overloaded("the database did not answer in time", retry_after_s=1) from error
        except pg.IntegrityError as error:
            if error.diag.constraint_name not in CONSTRAINT_PROBLEMS:
                raise
            problem, detail = CONSTRAINT_PROBLEMS[error.diag.constraint_name]
            raise problem(detail) from error
        except pg.DatabaseError as error:
            if error.sqlstate != SANDBOX_MISMATCH:
                raise
            raise SandboxRefused(f"{error.diag.message_primary}: set MANAGE_ORDERS_SANDBOX=1") from error

    @contextmanager
    def seller_transaction(self, seller_id: str) -> Generator[psycopg.Connection]:
        """Open a transaction that sees one seller's rows and no others."""
        with self.connection() as connection, connection.transaction():
            connection.execute("SELECT set_config('app.seller_id', %(seller_id)s, true)", {"seller_id": seller_id})
            yield connection

    @contextmanager
    def seller_pipeline(self, seller_id: str) -> Generator[psycopg.Connection]:
        """Open the same for statements that travel together until one is read from, where a failure of them shows."""
        with self.connection() as connection, connection.pipeline(), connection.transaction():
            connection.execute("SELECT set_config('app.seller_id', %(seller_id)s, true)", {"seller_id": seller_id})
            yield connection

    @contextmanager
    def seller_reading(self, seller_id: str) -> Generator[psycopg.Connection]:
        """Do the same for a few statements that only read: they travel together, and are a transaction by that."""
        with self.connection() as connection, connection.pipeline():
            connection.execute("SELECT set_config('app.seller_id', %(seller_id)s, true)", {"seller_id": seller_id})
            yield connection

    @contextmanager
    def operator_transaction(self, timeout_s: float | None = None) -> Generator[psycopg.Connection]:
        """Open a transaction that sees every seller's rows: for operations and scheduled jobs only."""
        with self.connection(timeout_s) as connection, connection.transaction():
            connection.execute("SET LOCAL ROLE manage_orders_operator")
            yield connection

    @contextmanager
    def operator_pipeline(self) -> Generator[psycopg.Connection]:
        """Open the same for statements that travel together with their commit: read what they return afterwards.

        Nothing of it is left open by a process that is stopped half-way.
        """
        with self.connection() as connection, connection.pipeline(), connection.transaction():
            connection.execute("SET LOCAL ROLE manage_orders_operator")
            yield connection


def _is_silent(connection: psycopg.Connection) -> bool:
    """Tell whether there is nothing to read: what closes an idle connection says so, or ends it."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return not poll.poll(0)


def as_json(rows: object) -> Json:
    """Return rows as the JSON in which they travel to PostgreSQL, named by column."""
    return Json(rows, partial(orjson.dumps, default=str))


def conninfo(settings: Settings) -> str:
    """Return the connection string of the service: its role and limits hold from the first statement on."""
    options = {
        "role": "manage_orders_service",
        "timezone": "UTC",
        "app.sandbox": "on" if settings.sandbox else "off",
        "statement_timeout": str(settings.statement_timeout_ms),
        "lock_timeout": str(settings.lock_timeout_ms),
        # A list is read along an index, not gathered and sorted: its pages come from memory, or from a disk without a
        # head. Only the search needs a bitmap, and says so.
        "random_page_cost": "1.1",
        "enable_bitmapscan": "off",
        "max_parallel_workers_per_gather": "0",  # one request is not worth three processes
        "idle_in_transaction_session_timeout": str(max(60_000, 2 * settings.statement_timeout_ms)),
    }
    return make_conninfo(
        settings.database_url,
        options=" ".join(f"-c {name}={value}" for name, value in options.items()),
        application_name="manage-orders",
        connect_timeout=10,
        # A server that vanished without a word is noticed within a minute, also by a job that waits for its answer.
        keepalives_idle=30,
        keepalives_interval=10,
        keepalives_count=3,
        tcp_user_timeout=60_000,
    )


def upgrade_schema(owner_url: str) -> None:
    """Migrate to the newest schema, as the role that owns it. Waits for a migration already under way."""
    config = _alembic()
    config.attributes["connect"] = lambda: psycopg.connect(owner_url, options="-c timezone=UTC")
    command.upgrade(config, "head")


@cache
def newest_schema_version() -> str:
    """Return the version that this code was written for."""
    version = ScriptDirectory.from_config(_alembic()).get_current_head()
    if version is None:
        raise RuntimeError("the package has no migrations")
    return version


def schema_version(connection: psycopg.Connection) -> str | None:
    """Return the version of the database's schema, None when it was never migrated."""
    try:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except pg.UndefinedTable:
        return None
    return row[0] if row else None


def _alembic() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config

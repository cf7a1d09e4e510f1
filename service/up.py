"""Everything in one command, for one person on one machine: database, tables, demo data, API and scheduler."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click
import psycopg

from service.app import DOCUMENTATION_PATH
from service.database import Database, schema_version, upgrade_schema
from service.demo import DEMO_SELLERS, add_late_orders, create_demo
from service.embedded import EmbeddedServer, locked
from service.errors import SandboxRefused
from service.running import read_file, write_file, write_running
from service.sandbox.actions import enter_sandbox
from service.sandbox.queries import Clock, find_clock
from service.search.queries import find_orders
from service.search.rules import DEFAULT_SORT, OrderFilter
from service.sellers.actions import authenticate, create_token
from service.settings import Settings
from service.unprivileged import end_with_parent
from service.watchdog import STALLED

START_LIMIT_S = 60
STOP_LIMIT_S = 20
PORT_LIMIT_S = 10
KEYS_FILE = "keys.json"

_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# A proxy of the environment does not reach this machine's own addresses.
_without_proxy = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class UpError(Exception):
    """Why the service could not be started or went down."""


@dataclass(frozen=True, slots=True)
class Keys:
    """What a second start needs again: the secret key and the demo tokens."""

    secret_key: str
    tokens: Mapping[str, str]


def run_up(settings: Settings) -> None:
    """Start everything, show where it is, and stop it all on SIGINT or SIGTERM."""
    directory = settings.data_directory.absolute()
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UpError(
            f"cannot make {directory} ({error.strerror}): set MANAGE_ORDERS_DATA to another folder"
        ) from error
    with _stoppable(), ExitStack() as stack:
        try:
            _start(settings, directory, stack)
        finally:
            _ignore_signals()


def _start(settings: Settings, directory: Path, stack: ExitStack) -> NoReturn:
    """Start everything, and watch it until a part of it goes down; the stack stops it."""
    owner_url, url = settings.database_owner_url, settings.database_url
    if url:
        stack.enter_context(locked(directory))
    else:
        owner_url = url = stack.enter_context(EmbeddedServer(directory, on_progress=_say)).url
    _wait_for_port(settings)
    _refuse_real_orders(replace(settings, database_url=url, sandbox=True))
    _say("migrating the tables")
    upgrade_schema(owner_url or url)
    secret_key = settings.secret_key or read_file(directory / KEYS_FILE).get("secretKey") or secrets.token_urlsafe(48)
    settings = replace(settings, database_url=url, secret_key=secret_key, sandbox=True)
    with Database(settings, pool_size=2).closing() as database:
        keys, example = _prepare(database, directory, secret_key)
        with database.connection() as connection:
            clock = find_clock(connection)
    stack.callback(write_running(settings, directory).unlink, missing_ok=True)
    _say("starting the API and the scheduler")
    children = {name: stack.enter_context(_child(name, settings, directory)) for name in ("serve", "scheduler")}
    _wait_until_ready(settings, children, directory)
    click.echo(_banner(settings, directory, keys, example, clock))
    while True:
        if children["scheduler"].poll() == STALLED:
            children["scheduler"] = stack.enter_context(_child("scheduler", settings, directory))
        _refuse_dead(children, directory)
        time.sleep(0.5)


class _Stop(BaseException):
    """Somebody asked for the end."""


@contextmanager
def _stoppable() -> Generator[None]:
    def stop(_number: int, _frame: FrameType | None) -> None:
        _ignore_signals()
        raise _Stop

    before = {number: signal.signal(number, stop) for number in _STOP_SIGNALS}
    try:
        yield
    except _Stop:
        click.echo("\nStopped.")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ignore_signals() -> None:
    """Let the end take its course: somebody impatient must not leave a part of it behind."""

    def ignore(_number: int, _frame: FrameType | None) -> None:
        """Do nothing; `SIG_IGN` would be inherited."""

    for number in _STOP_SIGNALS:
        signal.signal(number, ignore)


def _refuse_real_orders(settings: Settings) -> None:
    """Refuse a database in use, before anything is done to it."""
    with psycopg.connect(settings.database_url) as connection:
        if schema_version(connection) is None:
            return
    try:
        with Database(settings, pool_size=1).closing() as database:
            enter_sandbox(database)
    except SandboxRefused as error:
        raise UpError(
            "the database holds orders that were not made in a sandbox, which `up` is: name another with DATABASE_URL"
        ) from error


def _prepare(database: Database, directory: Path, secret_key: str) -> tuple[Keys, str]:
    enter_sandbox(database)
    create_demo(database, lambda done, total: _say(f"creating demo orders: {done} of {total}"))
    kept = read_file(directory / KEYS_FILE)
    tokens: dict[str, str] = kept.get("tokens", {}) if kept.get("secretKey") == secret_key else {}
    if not _are_valid(database, secret_key, tokens):
        owners = {"operator": None} | {seller_id: seller_id for seller_id in DEMO_SELLERS}
        tokens = {
            name: create_token(database, secret_key, seller_id=seller_id, name="demo")[1]
            for name, seller_id in owners.items()
        }
    keys = Keys(secret_key, tokens)
    write_file(directory / KEYS_FILE, {"secretKey": secret_key, "tokens": keys.tokens})
    example = _example_order(database)
    if example is None:
        add_late_orders(database)  # time, or somebody moving it, has closed every window
        example = _example_order(database)
    return keys, example or "ORDER-ID"


def _are_valid(database: Database, secret_key: str, tokens: Mapping[str, str]) -> bool:
    return tokens.keys() >= {"operator", *DEMO_SELLERS} and all(
        authenticate(database, secret_key, token) is not None for token in tokens.values()
    )


def _example_order(database: Database) -> str | None:
    """Return an order whose shipment can be confirmed now: a late one if there is one."""
    seller_id = next(iter(DEMO_SELLERS))
    wanted = OrderFilter(fulfillment_statuses=["UNSHIPPED"], fulfilled_by=["MERCHANT"])
    with database.seller_transaction(seller_id) as connection:
        now = find_clock(connection).now
        page = find_orders(connection, seller_id, wanted, DEFAULT_SORT, limit=1000)
    orders = [json.loads(document) for document in page.documents]
    can_be = [each for each in orders if datetime.fromisoformat(each["fulfillment"]["confirmBy"]) > now]
    late = [each for each in can_be if each["fulfillment"]["shipmentIsLate"]]
    return next((each["orderId"] for each in late + can_be), None)


def _wait_for_port(settings: Settings) -> None:
    """Wait a little for the port: the API of an `up` that was killed may be on its way down."""
    deadline = time.monotonic() + PORT_LIMIT_S
    while True:
        with socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((settings.host, settings.port))
            except OSError as error:
                if time.monotonic() > deadline:
                    raise UpError(
                        f"cannot listen on {settings.host}:{settings.port} ({error.strerror}); "
                        "set MANAGE_ORDERS_PORT to another port"
                    ) from error
            else:
                return
        time.sleep(0.2)


@contextmanager
def _child(name: str, settings: Settings, directory: Path) -> Generator[subprocess.Popen[bytes]]:
    """Run one of our commands as a process that ends with this one, its log in the data directory."""
    environment = os.environ | {
        "DATABASE_URL": settings.database_url,
        "MANAGE_ORDERS_SECRET_KEY": settings.secret_key,
        "MANAGE_ORDERS_SANDBOX": "1",
    }
    with (directory / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(  # noqa: S603  # our own command
            end_with_parent([sys.executable, "-P", "-m", "service.cli", name]),
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # a Ctrl-C in the terminal is for this process, which stops its children in order
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(settings: Settings, children: Mapping[str, subprocess.Popen[bytes]], directory: Path) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        _refuse_dead(children, directory)
        try:
            with _without_proxy.open(f"{_address(settings)}/health/ready", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise UpError(f"the API was not ready within {START_LIMIT_S} s; see {directory / 'serve.log'}")


def _refuse_dead(children: Mapping[str, subprocess.Popen[bytes]], directory: Path) -> None:
    for name, process in children.items():
        if process.poll() is not None:
            raise UpError(f"`{name}` ended with {process.returncode}; see {directory / f'{name}.log'}")


def _address(settings: Settings) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104  # compared, not bound
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"


def _banner(settings: Settings, directory: Path, keys: Keys, example: str, clock: Clock) -> str:
    api, (first, *_) = _address(settings), DEMO_SELLERS
    token, confirmations = keys.tokens[first], f"{api}/v1/orders/{example}/shipment-confirmations"
    body = json.dumps(
        {
            "packageReferenceId": "1",
            "carrierCode": "UPS",
            "trackingNumber": "1Z999AA10123456784",
            "shipDate": clock.now.astimezone(UTC).isoformat(timespec="seconds"),
        }
    )
    moved = f" It is at {clock.now:%Y-%m-%d %H:%M} UTC." if abs(clock.clock_offset) > timedelta(seconds=1) else ""
    return f"""
Manage Orders is running, in SANDBOX mode: operators can move its clock.{moved}

  API            {api}/v1/orders
  Documentation  {api}{DOCUMENTATION_PATH}/
  Data and logs  {directory}

  Tokens         operator    {keys.tokens["operator"]}
{chr(10).join(f"                 {seller}  {keys.tokens[seller]}" for seller in DEMO_SELLERS)}

Find orders that wait for their shipment, and confirm one that is late:

curl -s -H 'Authorization: Bearer {token}' '{api}/v1/orders?fulfillmentStatuses=UNSHIPPED&maxResultsPerPage=3'
curl -s -H 'Authorization: Bearer {token}' -H 'Content-Type: application/json' -d '{body}' '{confirmations}'

Ctrl-C stops everything.
"""


def _say(text: str) -> None:
    click.echo(text, err=True)

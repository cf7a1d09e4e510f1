"""The commands that read and change data: each talks to the database that `DATABASE_URL` or a running `up` names."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, cast

import click
import psycopg
from marshmallow import ValidationError
from psycopg import errors as pg
from psycopg.conninfo import make_conninfo

from service.database import Database, newest_schema_version, schema_version, upgrade_schema
from service.errors import Problem, SellerNotFound
from service.fields import Text, Timestamp
from service.ingest.actions import receive_orders, receive_reported_orders
from service.ingest.jobs import BYTE_ORDER_MARK, MAX_LINE_BYTES, Begun, Refusal, import_entries, line_entries
from service.ingest.report_rows import Header
from service.ingest.reports import SALES_CHANNEL, FindMarketplace, report_entries, scattered_orders
from service.ingest.schemas import read_line
from service.marketplaces.queries import find_marketplaces
from service.orders.schemas import SELLER_ID
from service.sandbox.actions import enter_sandbox, move_clock
from service.sandbox.queries import find_clock
from service.schema import field_errors
from service.sellers import queries as sellers
from service.settings import Settings, SettingsError

# What a command ends with: 0 when all is done, 1 when it failed, 2 when it was called wrongly, and this one.
DONE_IN_PART = 3
COMMAND_LINE = "command-line"
MAX_REASON_LENGTH = 2000

settings_of = click.make_pass_decorator(Settings)


def open_database(settings: Settings) -> Database:
    """Return the connections of one command, or say why there are none."""
    if not settings.database_url:
        raise SettingsError("DATABASE_URL is not set, and no `manage-orders up` is running in this folder")
    _refuse_unusable(settings.database_url)
    database = Database(settings, pool_size=2)
    if settings.sandbox:
        enter_sandbox(database)
    return database


def _refuse_unusable(url: str) -> None:
    """Say what is wrong with a database, where the pool could only say that it got no connection in time."""
    with psycopg.connect(make_conninfo(url, connect_timeout=10), autocommit=True) as connection:
        try:
            for statement in (b"SET ROLE manage_orders_operator", b"SET ROLE manage_orders_service"):
                connection.execute(statement)
            version = schema_version(connection)
        except pg.InvalidParameterValue:  # there are no such roles, so nothing has ever been migrated
            version = None
        except pg.InsufficientPrivilege as error:
            user = connection.info.user
            raise click.ClickException(
                f"{error.diag.message_primary}: GRANT manage_orders_service, manage_orders_operator TO {user}"
            ) from error
    if version != newest_schema_version():
        raise click.ClickException("the tables are not those of this version: run `manage-orders db upgrade`")


@click.group(epilog="Example: manage-orders db upgrade")
def db() -> None:
    """Look after the database."""


@db.command(epilog="Example: manage-orders db upgrade")
@settings_of
def upgrade(settings: Settings) -> None:
    """Create or migrate the tables, as the role of DATABASE_OWNER_URL (or DATABASE_URL)."""
    url = settings.database_owner_url or settings.require("database_url").database_url
    upgrade_schema(url)
    click.echo("The tables are current.")


def _show_refusal(refusal: Refusal) -> None:
    places = "; ".join(f"{error.pointer or '(line)'}: {error.detail}" for error in refusal.problem.errors)
    reason = f"{refusal.problem.detail}: {places}" if places else refusal.problem.detail
    if isinstance(refusal.problem, SellerNotFound):
        reason += " (--create-sellers creates it)"
    click.echo(f"line {refusal.line_number}: {printable(reason)}", err=True)


def printable(reason: str) -> str:
    """Return what may hold words of a file as one that a terminal shows: what is not printable is shown, not done."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in reason[:MAX_REASON_LENGTH])


def read_seller_id(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """Return the value of an option that names a seller, or refuse it."""
    if value is not None and not re.fullmatch(SELLER_ID, value, re.ASCII):
        raise click.BadParameter("is no seller's id")
    return value


def checked(field: Text) -> Callable[[click.Context, click.Parameter, str], str]:
    """Return a callback that takes what the API takes, so that nothing is made which it could not name."""

    def check(_: click.Context, parameter: click.Parameter, value: str) -> str:
        try:
            return field.deserialize(value)
        except ValidationError as error:
            raise click.BadParameter(text_of(error), param=parameter) from error

    return check


def _refuse_misplaced(
    first_line: bytes, header: Header | None, seller_id: str | None, marketplace_id: str | None
) -> None:
    """Refuse options that the file has no use for, and a report that cannot be read."""
    if header is None:
        if seller_id or marketplace_id:
            _refuse_as_no_report(first_line)
        return
    header.refuse_unusable()
    if seller_id is None:
        raise click.UsageError("the file is a report, which names no seller: say whose it is with --seller")
    if SALES_CHANNEL not in header.columns and marketplace_id is None:
        raise click.UsageError(f"the report has no column {SALES_CHANNEL}: name the marketplace with --marketplace")


def _refuse_as_no_report(first_line: bytes) -> None:
    if first_line.removeprefix(BYTE_ORDER_MARK).lstrip().startswith(b"{"):
        raise click.UsageError("--seller and --marketplace are for reports; each line of NDJSON names its own")
    raise click.UsageError(
        "the file is neither NDJSON nor a report: that is UTF-8, with lines that end in LF, and the first of them "
        "names the column order-id"
    )


def _marketplaces(database: Database, otherwise: str | None) -> FindMarketplace:
    """Return what finds a marketplace by its name or id, and `otherwise` for any other."""
    with database.connection() as connection:
        known = find_marketplaces(connection)
    ids = {
        name.casefold(): each.marketplace_id for each in known for name in (each.marketplace_name, each.marketplace_id)
    }
    if otherwise is not None and otherwise not in ids.values():
        raise click.BadParameter(f"the marketplace {otherwise} is not known here", param_hint="--marketplace")
    return lambda name: ids.get(name.strip().casefold(), otherwise)


def _progress_of(size: int | None) -> AbstractContextManager[Any]:
    """Return a bar for whoever watches a file of this size, and nothing where nobody does."""
    if size is None or not sys.stderr.isatty():
        return nullcontext()
    return click.progressbar(length=size, label="Importing", file=sys.stderr)


@click.command(name="import", epilog="Example: manage-orders import orders.ndjson --create-sellers")
@click.argument("file", type=click.File("rb"))
@click.option("--create-sellers", is_flag=True, help="Create the sellers that are not known yet.")
@click.option("--seller", "seller_id", metavar="ID", callback=read_seller_id, help="Whose orders a report holds.")
@click.option("--marketplace", "marketplace_id", metavar="ID", help="For rows of a report that name no known one.")
@settings_of
def import_(
    settings: Settings, file: BinaryIO, *, create_sellers: bool, seller_id: str | None, marketplace_id: str | None
) -> None:
    """Import orders from FILE, or from standard input when it is "-".

    FILE is NDJSON: an Orders 2026-01-01 Order object a line, with its sellerId. Or it is an unshipped-orders report,
    separated by tabs, commas or semicolons, as its header line shows: --seller says whose it is, and it adds orders,
    but changes none. A new order needs order-total and currency, which the reports exported here have. The rows of an
    order must be adjacent: an order whose rows are not is refused; on standard input, only its later rows are.

    What cannot be taken is reported on standard error and the rest goes in; the command then ends with 3. Importing a
    file again adds nothing twice.
    """
    first_line = file.readline(MAX_LINE_BYTES + 1)
    header = Header.read(first_line)
    _refuse_misplaced(first_line, header, seller_id, marketplace_id)
    create_missing = sellers.insert_missing_sellers if create_sellers else None
    size = Path(file.name).stat().st_size if file.name != "<stdin>" else None
    with open_database(settings).closing() as database, _progress_of(size) as progress:
        if header is not None and seller_id is not None:
            receive, find_marketplace = receive_reported_orders, _marketplaces(database, marketplace_id)
            # What is piped in goes by once.
            scattered = scattered_orders(header, file) if file.seekable() else frozenset[str]()
            entries = report_entries(header, file, seller_id, find_marketplace, scattered)
        else:
            receive, entries = receive_orders, line_entries(Begun(first_line, file), read_line)
        summary = import_entries(
            database,
            entries,
            lambda connection, orders: receive(connection, orders, COMMAND_LINE, create_missing),
            on_refusal=_show_refusal,
            on_progress=progress.update if progress else lambda _: None,
        )
    click.echo(
        f"{summary.lines} orders: {summary.created} created, {summary.updated} updated, "
        f"{summary.unchanged} unchanged, {summary.refused} refused"
    )
    if summary.refused:
        click.get_current_context().exit(DONE_IN_PART)


@click.group(epilog="Example: manage-orders sandbox clock --reset")
def sandbox() -> None:
    """Move the clock of a sandbox."""


@sandbox.command(epilog="Example: manage-orders sandbox clock 2026-03-14T06:59:00Z")
@click.argument("now", required=False)
@click.option("--reset", is_flag=True, help="Put the clock back to real time.")
@settings_of
def clock(settings: Settings, *, now: str | None, reset: bool) -> None:
    """Show the clock, or move it to NOW, a date and time with an offset."""
    if now and reset:
        raise click.UsageError("give either NOW or --reset")
    if not settings.sandbox:
        raise SettingsError("MANAGE_ORDERS_SANDBOX is not 1: the clock moves in the sandbox only")
    try:
        instant = Timestamp().deserialize(now) if now else None
    except ValidationError as error:
        raise click.BadParameter(text_of(error), param_hint="NOW") from error
    with open_database(settings).closing() as database:
        if now or reset:
            shown = move_clock(database, instant)
        else:
            with database.connection() as connection:
                shown = find_clock(connection)
    click.echo(f"{utc(shown.now)} ({shown.clock_offset.total_seconds():+.0f} s from real time)")


def told(problem: Problem) -> str:
    """Return a problem, and where it lies, in one line."""
    places = (f"{each.pointer or each.parameter or ''} {each.detail}".strip() for each in problem.errors)
    text = f"{problem}: {'; '.join(places)}" if problem.errors else str(problem)
    return " ".join(text.split())


def text_of(error: ValidationError) -> str:
    """Return what is wrong with a value."""
    return "; ".join(each.detail for each in field_errors(cast("object", error.messages)))


def utc(instant: datetime) -> str:
    """Return an instant as commands print it."""
    return instant.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")

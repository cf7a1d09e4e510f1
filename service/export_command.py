"""The command that exports orders: what the API's export does, without a server."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import click
import flask
from werkzeug.test import EnvironBuilder

from service.commands import COMMAND_LINE, open_database, read_seller_id, settings_of, told
from service.database import Database
from service.errors import FieldError, InvalidRequest, SellerNotFound
from service.export.actions import Export, export_orders
from service.export.files import FileFormat
from service.export.layouts import LayoutName
from service.export.schemas import ExportQuery, file_of
from service.input import Parser
from service.saved_views.actions import find_view
from service.saved_views.schemas import definition_errors
from service.search.requests import Selection, selection_of
from service.sellers.actions import seller_exists
from service.settings import Settings

_OPTIONS = ("sellerId", "format", "layout")


def _read_query(_: click.Context, __: click.Parameter, value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise click.BadParameter("is not UTF-8 text") from error
    return value


@click.command(
    name="export",
    epilog="Example: manage-orders export --seller A1SELLER --query 'view=unshipped&createdWithin=P7D' --output o.csv",
)
@click.option("--seller", "seller_id", required=True, metavar="ID", callback=read_seller_id, help="Whose orders.")
@click.option(
    "--query",
    default="",
    callback=_read_query,
    help="Which orders and columns, as in an address: the parameters of the API.",
)
@click.option("--format", "file_format", type=click.Choice([*map(str, FileFormat)]), help="csv when left out.")
@click.option("--layout", type=click.Choice([*map(str, LayoutName)]), help="Columns of a report, usually tsv.")
@click.option("--gzip", "is_gzipped", is_flag=True, help="Compress the file.")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Where to; standard output otherwise.")
@settings_of
def export_(  # noqa: PLR0913  # one argument an option
    settings: Settings,
    *,
    seller_id: str,
    query: str,
    file_format: str | None,
    layout: str | None,
    is_gzipped: bool,
    output: Path | None,
) -> None:
    """Export the orders of a seller as csv, tsv or ndjson.

    A file appears once it is complete, in place of the one before; a new one is readable by its owner alone. What
    breaks off on standard output, or on a pipe or device, is not complete, and ends with 1. Built-in and shared views
    can be named; those of a token's name cannot.
    """
    options = {name: value for name, value in (("format", file_format), ("layout", layout)) if value is not None}
    with _called_wrongly():
        loaded = _load(query) | options
        written_as, report = file_of(loaded)
    with open_database(settings).closing() as database, _opened(output) as file:
        selection = _selected(database, seller_id, loaded)
        export = Export(
            seller_id=seller_id,
            filters=selection.filters,
            sort=selection.sort,
            shape=selection.shape,
            columns=selection.columns,
            file_format=written_as,
            layout=report,
            is_gzipped=is_gzipped,
        )
        for content in export_orders(database, export):
            file.write(content)


def _load(query: str) -> dict[str, Any]:
    """Read a query as the API reads it; what the options say belongs there."""
    request = flask.Request(EnvironBuilder(query_string=query).get_environ())
    errors = [FieldError("is an option of the command", parameter=name) for name in _OPTIONS if name in request.args]
    if errors:
        raise InvalidRequest("the query cannot say this", *errors)
    return cast("dict[str, Any]", Parser().parse(ExportQuery(), request, location="query"))


def _selected(database: Database, seller_id: str, query: dict[str, Any]) -> Selection:
    if not seller_exists(database, seller_id):
        raise SellerNotFound(f"there is no seller {seller_id}")
    view = None
    if "view" in query:
        view = find_view(database, definition_errors, seller_id, f"operator:{COMMAND_LINE}", query["view"])
    with _called_wrongly():
        return selection_of(seller_id, query, view)


@contextmanager
def _called_wrongly() -> Generator[None]:
    """Let what is wrong with the query end the command as what is wrong with its options does."""
    try:
        yield
    except InvalidRequest as error:
        raise click.UsageError(told(error)) from error


@contextmanager
def _opened(output: Path | None) -> Generator[BinaryIO]:
    """Open standard output, what is no file, such as a pipe, or a file that takes its name when it is complete."""
    if output is None:
        yield sys.stdout.buffer
        sys.stdout.flush()
    elif output.exists() and not output.is_file():
        with output.open("wb") as device:
            yield device
    else:
        with _replacing(output.resolve()) as file:
            yield file


@contextmanager
def _replacing(target: Path) -> Generator[BinaryIO]:
    """Open a file that takes the place, and the mode, of the target in the end; readable by its owner alone if new."""
    descriptor, name = tempfile.mkstemp(prefix=".manage-orders.", suffix=".part", dir=target.parent)
    part = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            part.chmod(stat.S_IMODE(target.stat().st_mode))
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)

"""The command that confirms shipments by the file: what the API and the scheduler do, at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, BinaryIO

import click

from service.commands import COMMAND_LINE, DONE_IN_PART, open_database, printable, read_seller_id, settings_of
from service.confirmation_batches.actions import create_batch, find_batch, worked_rows
from service.confirmation_batches.jobs import work_batch
from service.confirmation_batches.queries import Batch
from service.confirmation_batches.result_file import problem_text, result_lines
from service.confirmation_batches.row_schemas import read_flat_batch
from service.confirmation_batches.rules import RowResult
from service.database import Database
from service.errors import RequestTooLarge, SellerNotFound
from service.sellers.actions import seller_exists
from service.settings import Settings

MAX_SHOWN = 100
REJECTS = "--rejects"


@click.command(
    name="confirm", epilog="Example: manage-orders confirm shipped.tsv --seller A1SELLER --rejects rejects.tsv"
)
@click.argument("file", type=click.File("rb"))
@click.option("--seller", "seller_id", metavar="ID", callback=read_seller_id, help="Whose orders the file confirms.")
@click.option(
    REJECTS,
    type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
    help='Where refused rows go, to be corrected and sent again; "-" is standard output. The file is replaced at the '
    "end, and removed when nothing is refused.",
)
@settings_of
def confirm_(settings: Settings, *, file: BinaryIO, seller_id: str | None, rejects: Path | None) -> None:
    """Confirm the shipments of FILE, or of standard input when it is "-".

    FILE is a flat-file shipping confirmation, as the API takes it: UTF-8, a row a line, separated by tabs. Without
    --seller each row names its own in the column seller-id.

    What is refused is reported on standard error and the rest is confirmed; the command then ends with 3. A file that
    was begun is finished by the scheduler if the command is stopped, and the same file again confirms nothing twice.
    Its number, printed on standard error, finds it in the API.
    """
    body = file.read(settings.max_batch_bytes + 1)
    if len(body) > settings.max_batch_bytes:
        raise RequestTooLarge(f"the file has more than {settings.max_batch_bytes} bytes; send it in parts")
    with open_database(settings).closing() as database, _rejects_file(rejects, file) as rejected:
        if seller_id is not None and not seller_exists(database, seller_id):
            raise SellerNotFound(f"there is no seller {seller_id}")
        batch = create_batch(database, seller_id, COMMAND_LINE, *read_flat_batch(body))
        click.echo(f"batch {batch.batch_id}", err=True)
        with _progress(batch) as on_progress:
            work_batch(database, batch, settled_outside=settings.settles_outside, on_progress=on_progress)
        done = find_batch(database, None, batch.batch_id)
        _report(database, done, to_stderr=str(rejects) == "-")
        if rejected is not None and done.refused_count:
            rejected.writelines(result_lines(done.columns, worked_rows(database, done, [RowResult.REFUSED])))
    if done.worked_row_count < done.row_count or done.refused_count:
        click.get_current_context().exit(DONE_IN_PART)


@contextmanager
def _rejects_file(rejects: Path | None, source: BinaryIO) -> Generator[IO[str] | None]:
    """Yield what refused rows are written to. That it can be is known before anything is confirmed.

    A file takes its place when all is written; with nothing in it there is none.
    """
    if rejects is None:
        yield None
        return
    target = rejects.resolve()
    if str(rejects) == "-" or (target.exists() and not target.is_file()):  # standard output, a device or a pipe
        with click.open_file(str(rejects), "w", encoding="utf-8") as stream:
            yield stream
        return
    if target == Path(source.name).resolve():
        raise click.BadParameter("is FILE itself", param_hint=REJECTS)
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        stream = part.open("x", encoding="utf-8", newline="")
    except OSError as error:
        raise click.BadParameter(f"cannot be written: {error.strerror}", param_hint=REJECTS) from error
    try:
        with stream:
            yield stream
        if part.stat().st_size:
            part.replace(target)
        elif target.exists():
            target.unlink()
            click.echo(f"nothing is refused: {rejects} is removed", err=True)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def _progress(batch: Batch) -> Generator[Callable[[int], None]]:
    """Show how many rows have a result, where somebody looks."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    with click.progressbar(length=batch.row_count, label="Confirming", file=sys.stderr) as bar:
        bar.update(batch.refused_count)
        yield bar.update


def _report(database: Database, done: Batch, *, to_stderr: bool) -> None:
    refused = worked_rows(database, done, [RowResult.REFUSED])
    for row in islice(refused, MAX_SHOWN):
        click.echo(f"line {row.row_number}: {printable(problem_text(row.outcome['problem']))}", err=True)
    if done.refused_count > MAX_SHOWN:
        click.echo(f"and {done.refused_count - MAX_SHOWN} more", err=True)
    left = done.row_count - done.worked_row_count
    click.echo(
        f"{done.row_count} rows: {done.confirmed_count} confirmed, {done.already_confirmed_count} already confirmed, "
        f"{done.refused_count} refused" + (f", {left} left to the scheduler: their orders are locked" if left else ""),
        err=to_stderr,
    )

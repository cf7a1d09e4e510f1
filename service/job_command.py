"""The commands that show the cancellation job and steer it, and the one that sweeps at once."""

from __future__ import annotations

import re
import sys
from datetime import datetime, timedelta
from uuid import UUID

import click
import orjson
from marshmallow import ValidationError

from service.cancellation_job.actions import preview_sweep, sweep
from service.cancellation_job.control import find_pause, read_database_clock
from service.cancellation_job.control_actions import approve_run, pause_job, resume_job
from service.cancellation_job.job_actions import look_at_job
from service.cancellation_job.job_rules import JobState
from service.cancellation_job.job_schemas import JobSchema, job_json
from service.cancellation_job.rules import SweepOptions
from service.cancellation_job.run_queries import RunFilters, find_cancelled_orders, find_run_detail, find_runs
from service.cancellation_job.schemas import MAX_REASON_LENGTH
from service.commands import COMMAND_LINE, DONE_IN_PART, checked, open_database, printable, settings_of, text_of, utc
from service.errors import CancellationRunNotFound
from service.fields import Text, Timestamp
from service.job_page import approve_command, held_reasons, job_page, run_page, told_at, told_state
from service.settings import Settings

_DURATION = re.compile(r"([1-9][0-9]{0,4})(m|h|d)")
_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
_reason = click.option(
    "--reason", required=True, callback=checked(Text(max_length=MAX_REASON_LENGTH)), help="Why; it is recorded."
)


@click.command(name="sweep", epilog="Example: manage-orders sweep --dry-run")
@click.option("--dry-run", is_flag=True, help="List what would be cancelled, and cancel nothing.")
@settings_of
def sweep_(settings: Settings, *, dry_run: bool) -> None:
    """Cancel the orders that were not confirmed in time, now.

    Ends with 3 when some orders stayed locked or failed, which the next run takes; when the run is held, because it
    would cancel more than is plausible or doubts the clock; and when the job is paused.
    """
    options = SweepOptions.of(settings)
    with open_database(settings).closing() as database:
        if dry_run:
            run, due = preview_sweep(database, requested_by=COMMAND_LINE, limit=sys.maxsize, options=options)
            for order in due:
                click.echo(f"{order.seller_id}\t{order.order_id}\t{utc(order.confirm_by)}")
            click.echo(f"{run.found_count} orders would be cancelled", err=True)
            for reason in held_reasons(run):
                click.echo(f"the run would be held: {reason}", err=True)
            return
        done = sweep(database, requested_by=COMMAND_LINE, options=options)
    if done is None:
        raise click.ClickException("the run was not started")
    click.echo(
        f"{done.state}: {done.found_count} due, {done.cancelled_count} cancelled, {done.skipped_count} skipped, "
        f"{done.error_count} failed (run {done.run_id})"
    )
    for reason in held_reasons(done):
        click.echo(reason, err=True)
    if done.state == "HELD":
        click.echo(f"to cancel them all the same: {approve_command(done)}", err=True)
    if done.state == "PAUSED":
        click.echo("the job is paused: see `manage-orders job status`", err=True)
    if done.state != "SUCCEEDED":
        click.get_current_context().exit(DONE_IN_PART)


@click.group(epilog="Example: manage-orders job status")
def job() -> None:
    """See the cancellation job, pause it, and approve runs that were held."""


@job.command(epilog="Example: manage-orders job status")
@click.option("--json", "as_json", is_flag=True, help="Print what the API answers.")
@settings_of
def status(settings: Settings, *, as_json: bool) -> None:
    """Show whether the job does its work. Ends with 3 when it is PAUSED, HELD or STALLED."""
    with open_database(settings).closing() as database:
        found = look_at_job(database, SweepOptions.of(settings))
    if as_json:
        click.echo(orjson.dumps(JobSchema().dump(job_json(found)), option=orjson.OPT_INDENT_2).decode())
    else:
        for label, fact in job_page(found):
            click.echo(f"{label:<16}{printable(fact)}")
    if found.state in {JobState.PAUSED, JobState.HELD, JobState.STALLED}:
        click.get_current_context().exit(DONE_IN_PART)


def _read_until(_: click.Context, parameter: click.Parameter, value: str) -> datetime | timedelta:
    """Return an instant, or how long from now."""
    if match := _DURATION.fullmatch(value):
        return int(match[1]) * _UNITS[match[2]]
    try:
        return Timestamp().deserialize(value)
    except ValidationError as error:
        raise click.BadParameter(f"{text_of(error)}, or a while such as 90m, 2h or 3d", param=parameter) from error


@job.command(epilog='Example: manage-orders job pause --reason "The carrier\'s feed is late" --until 2h')
@_reason
@click.option("--until", required=True, callback=_read_until, help="2h, 90m or 3d, or a date and time with an offset.")
@settings_of
def pause(settings: Settings, *, reason: str, until: datetime | timedelta) -> None:
    """Cancel nothing for a while, at most 72 hours; a run under way stops at its next batch.

    A second pause takes the place of the first. Deadlines go on: what is overdue by then is cancelled after the pause.
    """
    with open_database(settings).closing() as database:
        with database.operator_transaction() as connection:
            now = read_database_clock(connection).now
        instant = now + until if isinstance(until, timedelta) else until
        pause_job(database, reason=reason, until=instant, actor=COMMAND_LINE)
    click.echo(f"The job is paused until {told_at(instant, now)}.")


@job.command(epilog="Example: manage-orders job resume")
@settings_of
def resume(settings: Settings) -> None:
    """End the pause; the next slot is worked again."""
    with open_database(settings).closing() as database:
        with database.operator_transaction() as connection:
            was_paused = find_pause(connection) is not None
        resume_job(database, COMMAND_LINE)
    click.echo("The job goes on." if was_paused else "The job was not paused.")


@job.command(
    epilog="Example: manage-orders job approve 9b1f6e0a-3f0d-4a1c-8f52-6a7d9e1c2b33 --expected-count 1250 "
    '--reason "The warehouse was closed for a week"'
)
@click.argument("run_id", type=click.UUID)
@click.option("--expected-count", type=click.IntRange(0, 2**31 - 1), required=True, help="What the held run found due.")
@_reason
@settings_of
def approve(settings: Settings, *, run_id: UUID, expected_count: int, reason: str) -> None:
    """Let the next run cancel what the held run RUN_ID found: the orders due at its cutoff, and no more.

    It is valid for an hour and for one run. Look at the run first: `manage-orders job show` lists the orders.
    """
    with open_database(settings).closing() as database:
        given = approve_run(database, run_id, expected_count=expected_count, reason=reason, actor=COMMAND_LINE)
    click.echo(f"The next run may cancel {given.expected_count} orders, until {utc(given.expires_time)}.")


@job.command(epilog="Example: manage-orders job runs --limit 10")
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many, the newest first."
)
@settings_of
def runs(settings: Settings, *, limit: int) -> None:
    """List the runs, the newest first, a line each; what stands in the columns is told on standard error."""
    with open_database(settings).closing() as database, database.operator_transaction() as connection:
        found = find_runs(connection, RunFilters(), None, limit)
    click.echo("number\tbegan\tstate\tdry run\tdue\tcancelled\tskipped\tfailed\trequested by\trun", err=True)
    for run in found:
        counts = f"{run.found_count}\t{run.cancelled_count}\t{run.skipped_count}\t{run.error_count}"
        click.echo(
            f"{run.run_number}\t{utc(run.started_time)}\t{told_state(run)}\t{'yes' if run.dry_run else 'no'}\t{counts}"
            f"\t{run.requested_by}\t{run.run_id}"
        )


@job.command(epilog="Example: manage-orders job show 9b1f6e0a-3f0d-4a1c-8f52-6a7d9e1c2b33")
@click.argument("run_id", type=click.UUID)
@settings_of
def show(settings: Settings, *, run_id: UUID) -> None:
    """Show the run RUN_ID on standard error, and on standard output its orders: those that it cancelled.

    Of a held run they are those that it would cancel now. A line is an order: seller, order, and until when it had to
    be confirmed.
    """
    with open_database(settings).closing() as database, database.operator_transaction() as connection:
        found = find_run_detail(connection, run_id, sys.maxsize)
        if found is None:
            raise CancellationRunNotFound(f"there is no run {run_id}")
        now = read_database_clock(connection).now
        orders = found.due_orders
        if orders is None:
            orders = find_cancelled_orders(connection, run_id, ("", ""), sys.maxsize)
    for label, fact in run_page(found, now):
        click.echo(f"{label:<16}{printable(fact)}", err=True)
    for order in orders:
        click.echo(f"{order.seller_id}\t{order.order_id}\t{utc(order.confirm_by)}")

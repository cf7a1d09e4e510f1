"""The `manage-orders` command."""

from __future__ import annotations

import os
import sys
from dataclasses import replace

import click
import psycopg
from alembic.util import CommandError
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from service import admin_commands, commands
from service.app import create_app, openapi_document
from service.confirm_command import confirm_
from service.embedded import EmbeddedError
from service.errors import Problem
from service.export_command import export_
from service.job_command import job, sweep_
from service.liveness import LivenessError
from service.logs import configure_logs
from service.marketplace_commands import marketplaces
from service.running import DamagedFileError, running_settings
from service.scheduler import run_scheduler
from service.settings import Settings, SettingsError
from service.up import UpError, run_up

FAILED, CALLED_WRONGLY = 1, 2


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(package_name="manage-orders")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Find orders, confirm shipments, and cancel what is not confirmed in time.

    Settings come from the environment; the README lists them. Commands end with 0 when all is done, 1 when they failed,
    2 when they were called wrongly, and 3 when something was left over.
    """
    settings = Settings.from_environment(os.environ)
    for variable, url in (("DATABASE_URL", settings.database_url), ("DATABASE_OWNER_URL", settings.database_owner_url)):
        try:
            conninfo_to_dict(url)
        except psycopg.ProgrammingError:  # its text may quote a part of the password
            raise SettingsError(f"{variable} is no libpq URL, such as postgresql://user@host/database") from None
    ctx.obj = settings if ctx.invoked_subcommand == "up" else running_settings(settings)


@cli.command(epilog="Example: manage-orders up")
@commands.settings_of
def up(settings: Settings) -> None:
    """Start everything on this machine: PostgreSQL, tables, demo data, API and scheduler.

    PostgreSQL is the embedded one, in the folder MANAGE_ORDERS_DATA, unless DATABASE_URL names another. Sandbox mode is
    on. Ctrl-C stops everything.
    """
    run_up(settings)


@cli.command(epilog="Example: manage-orders serve")
@commands.settings_of
def serve(settings: Settings) -> None:
    """Serve the API."""
    from service.server import Server  # noqa: PLC0415  # gunicorn runs on POSIX only; other commands run anywhere

    settings.require("database_url", "secret_key")
    configure_logs(settings.log_level)
    if settings.sandbox:
        commands.open_database(settings).close()
    Server(settings).run()


@cli.command(epilog="Example: manage-orders scheduler")
@commands.settings_of
def scheduler(settings: Settings) -> None:
    """Run the cancellation sweep, every minute unless set otherwise. Any number of schedulers may run."""
    settings.require("database_url")
    configure_logs(settings.log_level)
    if settings.sandbox:
        commands.open_database(settings).close()
    run_scheduler(settings)


@cli.command(epilog="Example: manage-orders openapi > openapi/openapi.json")
@commands.settings_of
def openapi(settings: Settings) -> None:
    """Print the OpenAPI document."""
    app = create_app(replace(settings, sandbox=True, secret_key=settings.secret_key or "none"))
    click.echo(openapi_document(app), nl=False)


for command in (
    commands.db, commands.import_, confirm_, export_, sweep_, job, commands.sandbox, admin_commands.sellers_,
    admin_commands.tokens, marketplaces,
):  # fmt: skip
    cli.add_command(command)


def main() -> None:
    """Run the command; say in one line what went wrong, and end with a code that means something."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run the command with arguments and return what it ends with."""
    try:
        code = cli.main(arguments, prog_name="manage-orders", standalone_mode=False)
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "manage-orders"
        return _fail(f"{error.format_message()} (see {path} --help)", CALLED_WRONGLY)
    except SettingsError as error:
        return _fail(str(error), CALLED_WRONGLY)
    except BrokenPipeError:
        # Whoever read the output has gone. The interpreter would say so once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (click.ClickException, click.Abort, Problem, *_EXPECTED) as error:
        return _fail(_in_one_line(error))
    return code if isinstance(code, int) else 0


_EXPECTED = (
    EmbeddedError,
    UpError,
    DamagedFileError,
    LivenessError,
    SQLAlchemyError,
    CommandError,
    psycopg.Error,
    OSError,
)


def _in_one_line(error: BaseException) -> str:
    if isinstance(error, click.ClickException):
        return error.format_message()
    if isinstance(error, click.Abort):
        return "stopped"
    if isinstance(error, Problem):
        return commands.told(error)
    return " ".join(str(error.orig if isinstance(error, DBAPIError) else error).split())


def _fail(text: str, code: int = FAILED) -> int:
    click.echo(f"manage-orders: {text}", err=True)
    return code


if __name__ == "__main__":
    main()

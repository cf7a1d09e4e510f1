"""The commands that keep the marketplaces and their confirmation policies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from typing import Any

import click

from service.business_days import ConfirmationPolicy, InvalidPolicy
from service.commands import COMMAND_LINE, checked, open_database, settings_of
from service.deadlines.policy_actions import PolicyChange, PolicyChanged, preview_policy, replace_policy
from service.deadlines.policy_schemas import WEEKDAYS
from service.fields import Text
from service.marketplaces.errors import MarketplaceNotFound
from service.marketplaces.queries import Marketplace, find_marketplace, find_marketplaces, insert_marketplace
from service.orders.item_schemas import IDENTIFIER
from service.settings import Settings

_MARKETPLACE_ID = checked(Text(max_length=50, pattern=IDENTIFIER))
_NAME = checked(Text(pattern=r"[^\t\r\n]+"))  # the list shows one a line, with tabs between the columns
_REASON = checked(Text(max_length=500))
_DAY = click.DateTime(["%Y-%m-%d"])


class _Holiday(click.ParamType[tuple[date, str]]):
    """A day and its name, such as 2026-12-24=Christmas Eve."""

    name = "date=name"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> tuple[date, str]:
        """Return the day and its name."""
        day, _, name = value.partition("=")
        if not name.strip():
            self.fail("give a name as well, such as 2026-12-24=Christmas Eve", param, ctx)
        return _DAY.convert(day, param, ctx).date(), name.strip()


@click.group(epilog="Example: manage-orders marketplaces list")
def marketplaces() -> None:
    """List marketplaces, add those that Amazon does not have, and change how their deadlines are counted."""


@marketplaces.command(
    name="add",
    epilog='Example: manage-orders marketplaces add MYSHOP "My shop" --country PT --time-zone Europe/Lisbon',
)
@click.argument("marketplace_id", callback=_MARKETPLACE_ID)
@click.argument("marketplace_name", callback=_NAME)
@click.option("--country", required=True, help="ISO 3166-1 code of the country whose working days count.")
@click.option("--time-zone", required=True, help="IANA time zone in which days begin and end.")
@click.option("--window-business-days", type=click.IntRange(1, 30), default=7, show_default=True)
@settings_of
def add_marketplace(  # noqa: PLR0913, PLR0917  # one for each column
    settings: Settings,
    marketplace_id: str,
    marketplace_name: str,
    country: str,
    time_zone: str,
    window_business_days: int,
) -> None:
    """Add a marketplace with its confirmation policy."""
    policy = ConfirmationPolicy(country, time_zone, window_business_days)
    with open_database(settings).closing() as database, database.operator_transaction() as connection:
        try:
            insert_marketplace(connection, marketplace_id, marketplace_name, policy, created_by=COMMAND_LINE)
        except InvalidPolicy as error:
            raise click.UsageError(str(error)) from error
    click.echo(f"Marketplace {marketplace_id} added.")


@marketplaces.command(name="list", epilog="Example: manage-orders marketplaces list")
@settings_of
def list_marketplaces(settings: Settings) -> None:
    """List the marketplaces with their country, time zone, window in business days, and version of the policy."""
    with open_database(settings).closing() as database, database.connection() as connection:
        for each in find_marketplaces(connection):
            click.echo(
                f"{each.marketplace_id}\t{each.marketplace_name}\t{each.country_code}\t{each.time_zone}"
                f"\t{each.window_business_days}\t{each.policy_version}"
            )


@marketplaces.command(
    name="set",
    epilog="Example: manage-orders marketplaces set A2Q3Y263D00KWC --extra-holiday '2026-12-24=Christmas Eve' "
    "--reason 'The carriers are closed' --dry-run",
)
@click.argument("marketplace_id", callback=_MARKETPLACE_ID)
@click.option("--country", "country_code", help="ISO 3166-1 code of the country whose working days count.")
@click.option("--time-zone", help="IANA time zone in which days begin and end.")
@click.option("--window-business-days", type=click.IntRange(1, 30))
@click.option(
    "--weekend",
    multiple=True,
    type=click.Choice(("COUNTRY", *WEEKDAYS), case_sensitive=False),
    help="A day of the weekend; repeat it. COUNTRY: the country's weekend again.",
)
@click.option("--extra-holiday", "holidays", multiple=True, type=_Holiday(), help="A day that does not count. Repeat.")
@click.option("--extra-working-day", "working_days", multiple=True, type=_DAY, help="A day that counts. Repeat.")
@click.option("--clear-extra-days", is_flag=True, help="Take away the extra days that are there first.")
@click.option("--retake-calendar", is_flag=True, help="Count by the country's days as this version has them.")
@click.option("--reason", required=True, callback=_REASON, help="Why; it is kept with the policy.")
@click.option("--dry-run", is_flag=True, help="Show what it would mean, and change nothing.")
@settings_of
def set_policy(  # noqa: PLR0913  # one for each part of a policy
    settings: Settings,
    *,
    marketplace_id: str,
    weekend: tuple[str, ...],
    holidays: tuple[tuple[date, str], ...],
    working_days: tuple[date, ...],
    clear_extra_days: bool,
    retake_calendar: bool,
    reason: str,
    dry_run: bool,
    **others: str | int | None,
) -> None:
    """Change how a marketplace counts its deadlines. What is not named stays as it is.

    New orders are counted by it from now on. Open orders get later where it gives them more time, and never earlier.
    """
    with open_database(settings).closing() as database:
        with database.operator_transaction() as connection:
            present = find_marketplace(connection, marketplace_id)
        if present is None:
            raise MarketplaceNotFound(f"the marketplace {marketplace_id} is not known here; add it first")
        changes: dict[str, Any] = {name: value for name, value in others.items() if value is not None}
        changes |= {"weekend": _weekend(weekend)} if weekend else {}
        changes |= _extra_days(present, dict(holidays), working_days, clear=clear_extra_days)
        policy = replace(present.policy, **changes)
        change = PolicyChange(
            marketplace_name=present.marketplace_name, policy=policy, reason=reason, retakes_calendar=retake_calendar
        )
        act = preview_policy if dry_run else replace_policy
        try:
            done = act(database, marketplace_id, change, {str(present.policy_version)}, COMMAND_LINE)
        except InvalidPolicy as error:
            raise click.UsageError(str(error)) from error
    _tell(done, dry_run=dry_run)


def _weekend(words: tuple[str, ...]) -> frozenset[int] | None:
    if "COUNTRY" not in words:
        return frozenset(WEEKDAYS.index(word) + 1 for word in words)
    if set(words) > {"COUNTRY"}:
        raise click.UsageError("--weekend COUNTRY stands alone")
    return None


def _extra_days(
    present: Marketplace, holidays: Mapping[date, str], working_days: tuple[date, ...], *, clear: bool
) -> dict[str, object]:
    kept_working_days = frozenset[date]() if clear else present.extra_working_days
    kept_holidays: Mapping[date, str] = {} if clear else present.extra_holidays
    return {
        "extra_working_days": kept_working_days | {date(day.year, day.month, day.day) for day in working_days},
        "extra_holidays": {**kept_holidays, **holidays},
    }


def _tell(done: PolicyChanged, *, dry_run: bool) -> None:
    version = done.marketplace.policy_version
    if done.effect is None:
        click.echo(f"Nothing differs; the policy stays at version {version}.")
        return
    click.echo(f"{'This would be' if dry_run else 'This is'} version {version} of the policy.")
    click.echo(f"Open orders that get more time: {done.effect.later_count}")
    click.echo(f"Open orders that would get less, and stay as they are: {done.effect.earlier_count}")
    click.echo(f"Open orders to which it makes no difference: {done.effect.unchanged_count}")
    if done.change_id is not None:
        click.echo(f"The scheduler counts them anew now: change {done.change_id}.")

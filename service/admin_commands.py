"""The commands that keep the registers: sellers, tokens and marketplaces."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

import click
from marshmallow import ValidationError

from service.business_days import ConfirmationPolicy
from service.commands import open_database, settings_of, text_of, utc
from service.errors import InvalidRequest
from service.fields import Text
from service.marketplaces.queries import Marketplace, find_marketplaces, insert_marketplace
from service.orders.item_schemas import IDENTIFIER
from service.orders.schemas import SELLER_ID
from service.sellers import queries as sellers
from service.sellers.actions import create_token
from service.sellers.rules import OPERATOR_SCOPES, PLATFORM_SCOPES
from service.settings import Settings


def _checked(field: Text) -> Callable[[click.Context, click.Parameter, str], str]:
    """Return a callback that takes what the API takes, so that nothing is made which it could not name."""

    def check(_: click.Context, parameter: click.Parameter, value: str) -> str:
        try:
            return field.deserialize(value)
        except ValidationError as error:
            raise click.BadParameter(text_of(error), param=parameter) from error

    return check


_SELLER_ID = _checked(Text(max_length=64, pattern=SELLER_ID))
_MARKETPLACE_ID = _checked(Text(max_length=50, pattern=IDENTIFIER))
_NAME = _checked(Text(pattern=r"[^\t\r\n]+"))  # the lists show one a line, with tabs between the columns


@click.group(name="sellers", epilog="Example: manage-orders sellers list")
def sellers_() -> None:
    """Add and list sellers."""


@sellers_.command(name="add", epilog='Example: manage-orders sellers add A1SELLER "First Shop"')
@click.argument("seller_id", callback=_SELLER_ID)
@click.argument("seller_name", callback=_NAME)
@settings_of
def add_seller(settings: Settings, seller_id: str, seller_name: str) -> None:
    """Add a seller."""
    with open_database(settings).closing() as database, database.operator_transaction() as connection:
        sellers.insert_seller(connection, seller_id, seller_name)
    click.echo(f"Seller {seller_id} added.")


@sellers_.command(name="list", epilog="Example: manage-orders sellers list")
@settings_of
def list_sellers(settings: Settings) -> None:
    """List the sellers."""
    with open_database(settings).closing() as database, database.operator_transaction() as connection:
        for seller in sellers.find_sellers(connection):
            click.echo(f"{seller.seller_id}\t{seller.seller_name}")


_SCOPES = (
    "What the token may do; repeat it. By default an operator's token may do all of them, and a seller's all but "
    f"{', '.join(PLATFORM_SCOPES)}, which must be named, and operations, which only an operator's may have."
)


@click.group(epilog="Example: manage-orders tokens list")
def tokens() -> None:
    """Create, list and revoke API tokens."""


@tokens.command(
    name="create",
    epilog="Example: manage-orders tokens create --seller A1SELLER --name carrier --scope orders:read --scope "
    "tracking:write",
)
@click.option("--seller", "seller_id", help="The seller that the token is bound to.")
@click.option("--operator", is_flag=True, help="Make an operator's token, bound to no seller.")
@click.option("--name", required=True, callback=_NAME, help="What the token is for.")
@click.option("--scope", "scopes", multiple=True, type=click.Choice(OPERATOR_SCOPES), help=_SCOPES)
@settings_of
def create(settings: Settings, *, seller_id: str | None, operator: bool, name: str, scopes: tuple[str, ...]) -> None:
    """Create a token and print it, this once. Only its hash is kept."""
    if operator == (seller_id is not None):
        raise click.UsageError("give either --seller or --operator")
    settings.require("secret_key")
    with open_database(settings).closing() as database:
        try:
            token_id, token = create_token(
                database, settings.secret_key, seller_id=seller_id, name=name, scopes=list(scopes) or None
            )
        except InvalidRequest as error:
            raise click.UsageError(error.detail) from error
    click.echo(f"Token {token_id}, shown this once:", err=True)
    click.echo(token)


@tokens.command(name="list", epilog="Example: manage-orders tokens list")
@settings_of
def list_tokens(settings: Settings) -> None:
    """List the tokens, without what would let anyone use them."""
    with open_database(settings).closing() as database, database.operator_transaction() as connection:
        for token in sellers.find_tokens(connection):
            state = f"revoked {utc(token.revoked_time)}" if token.revoked_time else "valid"
            owner = token.seller_id or "operator"
            click.echo(f"{token.token_id}\t{owner}\t{token.token_name}\t{','.join(token.scopes)}\t{state}")


@tokens.command(name="revoke", epilog="Example: manage-orders tokens revoke 5f0c5c4e-7a53-4d5a-9d0c-0d5a0f6b1c11")
@click.argument("token_id", type=click.UUID)
@settings_of
def revoke(settings: Settings, token_id: UUID) -> None:
    """Revoke a token, from this moment on."""
    with open_database(settings).closing() as database, database.operator_transaction() as connection:
        if not sellers.revoke_token(connection, token_id):
            raise click.ClickException(f"there is no valid token {token_id}")
    click.echo(f"Token {token_id} revoked.")


@click.group(epilog="Example: manage-orders marketplaces list")
def marketplaces() -> None:
    """List marketplaces, and add those that Amazon does not have."""


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
    try:
        ConfirmationPolicy(country, time_zone, window_business_days)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    marketplace = Marketplace(
        marketplace_id=marketplace_id,
        marketplace_name=marketplace_name,
        country_code=country,
        time_zone=time_zone,
        window_business_days=window_business_days,
    )
    with open_database(settings).closing() as database, database.operator_transaction() as connection:
        insert_marketplace(connection, marketplace)
    click.echo(f"Marketplace {marketplace_id} added.")


@marketplaces.command(name="list", epilog="Example: manage-orders marketplaces list")
@settings_of
def list_marketplaces(settings: Settings) -> None:
    """List the marketplaces with their country, time zone and window in business days."""
    with open_database(settings).closing() as database, database.connection() as connection:
        for each in find_marketplaces(connection):
            click.echo(
                f"{each.marketplace_id}\t{each.marketplace_name}\t{each.country_code}\t{each.time_zone}"
                f"\t{each.window_business_days}"
            )

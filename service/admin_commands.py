"""The commands that keep the registers of sellers and tokens."""

from __future__ import annotations

from uuid import UUID

import click

from service.commands import checked, open_database, settings_of, utc
from service.errors import InvalidRequest
from service.fields import Text
from service.orders.schemas import SELLER_ID
from service.sellers import queries as sellers
from service.sellers.actions import create_token
from service.sellers.rules import OPERATOR_SCOPES, PLATFORM_SCOPES
from service.settings import Settings

_SELLER_ID = checked(Text(max_length=64, pattern=SELLER_ID))
_NAME = checked(Text(pattern=r"[^\t\r\n]+"))  # the lists show one a line, with tabs between the columns


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
    f"{', '.join(PLATFORM_SCOPES)}, which must be named, and those of operations, which only an operator's may have."
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

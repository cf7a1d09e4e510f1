"""Make and check tokens."""

from __future__ import annotations

from uuid import UUID

from service.database import Database
from service.errors import InvalidRequest
from service.sellers import queries
from service.sellers.rules import hash_token, new_token, scopes_allowed, scopes_given


def authenticate(database: Database, secret_key: str, token: str) -> queries.ValidToken | None:
    """Return what a token may do, None when it is unknown or revoked."""
    with database.connection() as connection:
        return queries.find_token(connection, hash_token(secret_key, token))


def seller_exists(database: Database, seller_id: str) -> bool:
    """Tell whether there is such a seller."""
    with database.seller_transaction(seller_id) as connection:
        return queries.has_seller(connection, seller_id)


def create_token(
    database: Database, secret_key: str, *, seller_id: str | None, name: str, scopes: list[str] | None = None
) -> tuple[UUID, str]:
    """Store a new token for a seller, or for an operator when there is none; return its id and, this once, itself."""
    allowed = scopes_allowed(seller_id)
    refused = sorted(set(scopes or ()) - set(allowed))
    if refused:
        raise InvalidRequest(f"a token of this kind cannot have {', '.join(refused)}; it can have {', '.join(allowed)}")
    token = new_token()
    with database.operator_transaction() as connection:
        token_id = queries.insert_token(
            connection, seller_id, name, hash_token(secret_key, token), list(scopes or scopes_given(seller_id))
        )
    return token_id, token

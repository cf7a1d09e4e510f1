"""Sellers and the tokens that act for them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import psycopg
from psycopg.rows import class_row


@dataclass(frozen=True, slots=True)
class Seller:
    """A seller of the marketplace."""

    seller_id: str
    seller_name: str
    created_time: datetime


@dataclass(frozen=True, slots=True)
class Token:
    """A token, without what would let anyone use it; an operator's is bound to no seller."""

    token_id: UUID
    seller_id: str | None
    token_name: str
    scopes: list[str]
    created_time: datetime
    revoked_time: datetime | None


@dataclass(frozen=True, slots=True)
class ValidToken:
    """What a request learns of its token."""

    token_id: UUID
    seller_id: str | None
    token_name: str
    scopes: list[str]


def find_token(connection: psycopg.Connection, token_hash: bytes) -> ValidToken | None:
    """Return the token with this hash unless it is revoked. Works before any seller is known."""
    with connection.cursor(row_factory=class_row(ValidToken)) as cursor:
        return cursor.execute(
            "SELECT token_id, seller_id, token_name, scopes FROM find_token(%(token_hash)s)",
            {"token_hash": token_hash},
        ).fetchone()


def has_seller(connection: psycopg.Connection, seller_id: str) -> bool:
    """Tell whether there is such a seller."""
    key = {"seller_id": seller_id}
    return connection.execute("SELECT 1 FROM sellers WHERE seller_id = %(seller_id)s", key).fetchone() is not None


def insert_seller(connection: psycopg.Connection, seller_id: str, seller_name: str) -> None:
    """Add a seller, or raise `SellerExists`."""
    connection.execute(
        "INSERT INTO sellers (seller_id, seller_name) VALUES (%(seller_id)s, %(seller_name)s)",
        {"seller_id": seller_id, "seller_name": seller_name},
    )


def insert_missing_sellers(connection: psycopg.Connection, seller_ids: list[str]) -> None:
    """Add those of the sellers that do not exist, named by their ids."""
    connection.execute(
        """
        INSERT INTO sellers (seller_id, seller_name)
        SELECT seller_id, seller_id FROM unnest(%(seller_ids)s::text[]) AS new (seller_id) ORDER BY seller_id
        ON CONFLICT ON CONSTRAINT sellers_pkey DO NOTHING
        """,
        {"seller_ids": seller_ids},
    )


def find_sellers(connection: psycopg.Connection) -> list[Seller]:
    """Return every seller, by id."""
    with connection.cursor(row_factory=class_row(Seller)) as cursor:
        return cursor.execute("SELECT seller_id, seller_name, created_time FROM sellers ORDER BY seller_id").fetchall()


def insert_token(
    connection: psycopg.Connection, seller_id: str | None, token_name: str, token_hash: bytes, scopes: list[str]
) -> UUID:
    """Store a token's hash and return the token's id; raise `SellerNotFound` for an unknown seller."""
    row = connection.execute(
        """
        INSERT INTO tokens (seller_id, token_name, token_hash, scopes)
        VALUES (%(seller_id)s, %(token_name)s, %(token_hash)s, %(scopes)s)
        RETURNING token_id
        """,
        {"seller_id": seller_id, "token_name": token_name, "token_hash": token_hash, "scopes": scopes},
    ).fetchone()
    if row is None:
        raise LookupError("the token was not stored")
    return row[0]


def find_tokens(connection: psycopg.Connection) -> list[Token]:
    """Return every token, the oldest first."""
    with connection.cursor(row_factory=class_row(Token)) as cursor:
        return cursor.execute(
            """
            SELECT token_id, seller_id, token_name, scopes, created_time, revoked_time
            FROM tokens ORDER BY created_time, token_id
            """
        ).fetchall()


def revoke_token(connection: psycopg.Connection, token_id: UUID) -> bool:
    """Revoke a token from this moment on; False when there is no such valid token."""
    cursor = connection.execute(
        """
        UPDATE tokens SET revoked_time = statement_timestamp()
        WHERE token_id = %(token_id)s AND revoked_time IS NULL
        """,
        {"token_id": token_id},
    )
    return cursor.rowcount == 1

"""Tokens: what they may do, and how they are kept."""

from __future__ import annotations

import hashlib
import hmac
import secrets

SELLER_SCOPES = ("orders:read", "orders:write", "shipments:write", "refunds:write", "cancellations:write")
# What the buyer wants is the channel's to say, and what became of a parcel the carrier's: a seller's own software gets
# neither unless somebody means it to.
PLATFORM_SCOPES = ("channel:write", "tracking:write")
OPERATOR_SCOPES = (*SELLER_SCOPES, *PLATFORM_SCOPES, "operations:read", "operations")

_PREFIX = "mo_"


def new_token() -> str:
    """Return a token that nobody can guess. It is shown once; only its hash is kept."""
    return _PREFIX + secrets.token_urlsafe(32)


def hash_token(secret_key: str, token: str) -> bytes:
    """Return the keyed hash under which a token is stored: of no use without the key."""
    return hmac.digest(secret_key.encode(), b"token:" + token.encode(errors="replace"), hashlib.sha256)


def scopes_allowed(seller_id: str | None) -> tuple[str, ...]:
    """Return the scopes a token may have: a seller's, or an operator's when it is bound to no seller."""
    return OPERATOR_SCOPES if seller_id is None else (*SELLER_SCOPES, *PLATFORM_SCOPES)


def scopes_given(seller_id: str | None) -> tuple[str, ...]:
    """Return the scopes a token has when none are named."""
    return OPERATOR_SCOPES if seller_id is None else SELLER_SCOPES

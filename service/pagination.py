"""Page tokens: opaque and signed, they hold a position and what the list was filtered by, and never expire."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import orjson
from itsdangerous import BadData, URLSafeSerializer

from service.errors import FieldError, InvalidRequest


class PageTokens:
    """Make and read page tokens. The `scope` of a token is all but the position: which list, seller and filters."""

    def __init__(self, secret_key: str) -> None:
        self._serializer = URLSafeSerializer(secret_key, salt="page-token")

    def encode(self, scope: object, position: Sequence[str]) -> str:
        """Return the token for the page that begins behind a position."""
        return self._serializer.dumps([_digest(scope), *position])

    def decode(self, scope: object, token: str) -> Sequence[str]:
        """Return the position of a token, or raise `InvalidRequest` when it was made for another list or not by us."""
        try:
            made_for, *position = self._serializer.loads(token)
        except (BadData, ValueError, TypeError):
            reason = "is not a token of this service"
        else:
            if made_for == _digest(scope):
                return position
            reason = "belongs to another seller, sort or filter; repeat the request it came from, or start anew"
        raise InvalidRequest("the page token cannot be used", FieldError(reason, parameter="paginationToken"))


def _digest(scope: object) -> str:
    return hashlib.sha256(orjson.dumps(scope, default=str, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]

"""Changes that name the version they are meant for, so that two do not undo each other."""

from __future__ import annotations

from collections.abc import Container

from service.errors import FieldError, PreconditionFailed


def refuse_outdated(what: str, version: int, if_match: Container[str]) -> None:
    """Raise `PreconditionFailed` unless what is to be changed is at one of the versions of `if_match`."""
    if str(version) not in if_match:
        raise PreconditionFailed(
            f"the {what} is at version {version}; read it again, and change what it holds now",
            FieldError("names another version", header="If-Match"),
        )

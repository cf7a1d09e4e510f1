"""How an event is told: who did it, and what was before and after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class ActorType(StrEnum):
    """Who changes orders."""

    TOKEN = "TOKEN"  # noqa: S105  # a kind of actor
    CARRIER = "CARRIER"
    CANCELLATION_RUN = "CANCELLATION_RUN"
    DEADLINE_CHANGE = "DEADLINE_CHANGE"
    COMMAND_LINE = "COMMAND_LINE"
    PAYMENTS = "PAYMENTS"
    OTHER = "OTHER"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who changed an order: its kind, and which one of several, or what else was written down."""

    type: ActorType
    id: str | None

    @classmethod
    def read(cls, text: str) -> Actor:
        """Return the actor that an event names, such as `token:13a16741-...` or `payments`."""
        kind, _, named = text.partition(":")
        word = kind.replace("-", "_").upper()
        if word not in ActorType.__members__:
            return cls(ActorType.OTHER, text)
        return cls(ActorType(word), named or None)


@dataclass(frozen=True, slots=True)
class Change:
    """What a field was before, and is afterwards."""

    field: str
    was: Any
    now: Any


def read_details(details: Mapping[str, Any]) -> tuple[list[Change], dict[str, Any]]:
    """Return the changes that the details of an event tell of, and the other members."""
    changes: list[Change] = []
    others: dict[str, Any] = {}
    for name, value in details.items():
        match value:
            case {"was": was, "is": now, **rest} if not rest:
                changes.append(Change(name, was, now))
            case _:
                others[name] = value
    return changes, others

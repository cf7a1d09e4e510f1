"""Which open orders a change of deadlines means, and what each of them gets by it: only ever later (R8, D2)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Self, TypeAlias

from service.business_days import ConfirmationPolicy, confirm_by, extend_by_business_days
from service.deadlines.errors import ExtensionOutdated
from service.errors import FieldError, InvalidRequest

APPROVABLE_FOR = timedelta(hours=24)

# By marketplace and version.
PolicyOf: TypeAlias = Callable[[str, int], ConfirmationPolicy]


class ChangeType(StrEnum):
    """Why deadlines are moved."""

    EXTENSION = "EXTENSION"
    POLICY_CHANGE = "POLICY_CHANGE"


class ChangeState(StrEnum):
    """How far a change has got."""

    PREVIEWED = "PREVIEWED"
    RUNNING = "RUNNING"
    DONE = "DONE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The open orders that meet all that is set, and their new deadlines, by the one of the last three that is set."""

    orders: tuple[tuple[str, str], ...] | None = None
    """By seller and order."""
    seller_id: str | None = None
    marketplace_id: str | None = None
    confirm_by_after: datetime | None = None
    confirm_by_before: datetime | None = None
    business_days: int | None = None
    confirm_by: datetime | None = None
    policy_version: int | None = None
    """Counted anew by this version, where an older one was."""

    @classmethod
    def read(cls, stored: Mapping[str, Any]) -> Self:
        """Return what `as_json` returned."""
        told = dict(stored)
        if "orders" in told:
            told["orders"] = tuple((seller_id, order_id) for seller_id, order_id in told["orders"])
        for name in ("confirm_by_after", "confirm_by_before", "confirm_by"):
            if name in told:
                told[name] = datetime.fromisoformat(told[name])
        return cls(**told)

    def as_json(self) -> dict[str, Any]:
        """Return what is set."""
        told = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in told.items() if value is not None}


def refuse_contradictions(selection: Selection) -> None:
    """Raise `InvalidRequest` unless an extension means some orders, and gives them one thing."""
    others = {
        "/sellerId": selection.seller_id,
        "/marketplaceId": selection.marketplace_id,
        "/confirmByAfter": selection.confirm_by_after,
        "/confirmByBefore": selection.confirm_by_before,
    }
    named = [pointer for pointer, value in others.items() if value is not None]
    errors: list[FieldError] = []
    if selection.orders is None and not named:
        errors.append(FieldError("name orders, a seller, a marketplace or a range of confirmBy", ""))
    if selection.orders is not None:
        errors += [FieldError("may not stand beside orders, which are named one by one", each) for each in named]
    if selection.business_days is None and selection.confirm_by is None:
        errors.append(FieldError("name businessDays or confirmBy", ""))
    if selection.business_days is not None and selection.confirm_by is not None:
        errors.append(FieldError("may not stand beside businessDays", "/confirmBy"))
    after, before = selection.confirm_by_after, selection.confirm_by_before
    if after is not None and before is not None and after > before:
        errors.append(FieldError("is earlier than confirmByAfter", "/confirmByBefore"))
    if errors:
        raise InvalidRequest("the extension contradicts itself", *errors)


def refuse_past(selection: Selection, now: datetime) -> None:
    """Raise `InvalidRequest` where the new deadline has come already: nothing could be confirmed until then."""
    if selection.confirm_by is not None and selection.confirm_by <= now:
        error = FieldError(f"must be later than now, {now:%Y-%m-%dT%H:%M:%SZ}", "/confirmBy")
        raise InvalidRequest("a deadline is extended into the future", error)


def refuse_outdated_preview(
    selection: Selection, requested_time: datetime, database_now: datetime, now: datetime
) -> None:
    """Raise `ExtensionOutdated` where the preview is too old to be approved, or its deadline has come since."""
    if database_now - requested_time > APPROVABLE_FOR:
        raise ExtensionOutdated("the extension was previewed more than 24 hours ago: preview it again")
    if selection.confirm_by is not None and selection.confirm_by <= now:
        raise ExtensionOutdated(f"its confirmBy, {selection.confirm_by:%Y-%m-%dT%H:%M:%SZ}, has come: preview another")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenOrder:
    """An order that may still be confirmed for the first time, or is overdue and not cancelled yet."""

    seller_id: str
    order_id: str
    version: int
    marketplace_id: str
    policy_version: int
    ship_by_latest: datetime
    confirm_by: datetime
    extended_until: datetime | None

    @property
    def key(self) -> tuple[str, str]:
        """Return what identifies the order, and what orders are locked in the order of."""
        return self.seller_id, self.order_id


@dataclass(frozen=True, slots=True)
class Move:
    """An order, and the later deadline that it gets."""

    order: OpenOrder
    confirm_by: datetime


@dataclass(frozen=True, slots=True)
class Plan:
    """What a change does to some orders: which it moves, and which of the others have no deadline that can be told."""

    moves: Sequence[Move]
    failed: Sequence[tuple[OpenOrder, ValueError]]


def plan_moves(orders: Iterable[OpenOrder], selection: Selection, policy_of: PolicyOf) -> Plan:
    """Return what becomes of orders. Many have their deadline in common, and it is counted once for them."""
    known: dict[tuple[object, ...], datetime | ValueError] = {}
    moves, failed = list[Move](), list[tuple[OpenOrder, ValueError]]()
    for order in orders:
        basis = order.marketplace_id, order.policy_version, order.ship_by_latest, order.confirm_by
        if basis not in known:
            known[basis] = _counted(order, selection, policy_of)
        counted = known[basis]
        if isinstance(counted, ValueError):
            failed.append((order, counted))
        elif counted > order.confirm_by:
            moves.append(Move(order, counted))
    return Plan(moves, failed)


def _counted(order: OpenOrder, selection: Selection, policy_of: PolicyOf) -> datetime | ValueError:
    if selection.confirm_by is not None:
        return selection.confirm_by
    try:
        if selection.business_days is not None:
            policy = policy_of(order.marketplace_id, order.policy_version)
            return extend_by_business_days(order.confirm_by, policy, selection.business_days)
        policy = policy_of(order.marketplace_id, selection.policy_version or order.policy_version)
        return confirm_by(order.ship_by_latest, policy)
    except ValueError as error:
        return error


@dataclass(frozen=True, slots=True)
class PolicyEffect:
    """What a policy means for the open orders of its marketplace. Those that would come earlier stay as they are."""

    later_count: int
    earlier_count: int
    unchanged_count: int
    orders_digest: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a policy means for some orders: which would get later, and how many not."""

    later: Sequence[tuple[str, str]]
    earlier_count: int
    unchanged_count: int


def compare_policy(orders: Iterable[OpenOrder], policy: ConfirmationPolicy) -> Comparison:
    """Return what a policy means for orders: what was promised to one stands, whatever the policy counts."""
    later, earlier, unchanged = list[tuple[str, str]](), 0, 0
    for order in orders:
        try:
            counted = confirm_by(order.ship_by_latest, policy)
        except ValueError:  # it keeps what it has
            counted = order.confirm_by
        deadline = max(counted, order.extended_until or counted)
        if deadline > order.confirm_by:
            later.append(order.key)
        elif deadline < order.confirm_by:
            earlier += 1
        else:
            unchanged += 1
    return Comparison(later, earlier, unchanged)


def digest_of(keys: Iterable[tuple[str, str]]) -> str:
    """Return what stands for a set of orders."""
    return digest_of_lines(f"{seller_id}/{order_id}\n" for seller_id, order_id in keys)


def line_of(move: Move) -> str:
    """Return what stands for an order and its new deadline, as a line."""
    new = move.confirm_by.astimezone(UTC).isoformat().removesuffix("+00:00")
    return f"{move.order.seller_id}/{move.order.order_id} {new}Z\n"


def digest_of_lines(lines: Iterable[str]) -> str:
    """Return what stands for lines, in whatever order they come."""
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()

"""Until when an order that its channel sends can be confirmed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from service.business_days import ConfirmationPolicy, confirm_by
from service.errors import Contended
from service.ingest.rules import IncomingOrder, StoredOrder


@dataclass(frozen=True, slots=True)
class Deadline:
    """Until when an order can be confirmed, by which version of the policy, and what operations have promised.

    `confirm_by` is None where the rule does not apply: without a ship-by date, and to the platform's orders (D6).
    """

    confirm_by: datetime | None
    policy_version: int
    extended_until: datetime | None = None


def count_by_older(incoming: IncomingOrder, policy_version: int, policy: ConfirmationPolicy) -> Deadline:
    """Return the deadline by the version that the order was counted by; it has none where the days are not known."""
    try:
        return Deadline(incoming.ship_by_latest and confirm_by(incoming.ship_by_latest, policy), policy_version)
    except ValueError:
        return Deadline(None, policy_version)


def deadline_after(
    stored: StoredOrder, incoming: IncomingOrder, counted: Deadline, counted_by_older: Deadline | None
) -> Deadline:
    """Return the deadline that a later version leaves: another ship-by date is counted anew, but no promise is broken.

    The same date keeps its deadline, whatever the policy has become. Another one is counted by the newest policy, and
    by the one that the order was counted by: the later deadline stands, for a shorter window is for new orders only.
    Raises `Contended` where the order was changed by others since it was counted by the older one.
    """
    if incoming.ship_by_latest == stored.ship_by_latest:
        return Deadline(stored.confirm_by, stored.policy_version, stored.extended_until)
    latest = counted
    if counted.confirm_by is not None and stored.policy_version < counted.policy_version:
        if counted_by_older is None or counted_by_older.policy_version != stored.policy_version:
            raise Contended("the order was changed meanwhile", retry_after_s=1)
        if counted_by_older.confirm_by is not None and counted_by_older.confirm_by > counted.confirm_by:
            latest = counted_by_older
    if latest.confirm_by is None or stored.extended_until is None:
        return replace(latest, extended_until=stored.extended_until)
    return replace(
        latest, confirm_by=max(latest.confirm_by, stored.extended_until), extended_until=stored.extended_until
    )

"""Give a marketplace another confirmation policy (R8, D1, D2)."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, replace
from uuid import UUID

import psycopg

from service.business_days import ConfirmationPolicy, refuse_invalid
from service.database import Database
from service.deadlines.changes_actions import begin_policy_change, preview_policy_change
from service.deadlines.changes_rules import PolicyEffect
from service.marketplaces.errors import MarketplaceNotFound
from service.marketplaces.queries import (
    Marketplace,
    find_marketplace,
    insert_policy,
    lock_policies,
    rename_marketplace,
)
from service.orders.queries import read_clock
from service.versions import refuse_outdated


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyChange:
    """A policy that is to take the place of the present one, and why; a calendar that is retaken makes it new."""

    marketplace_name: str
    policy: ConfirmationPolicy
    reason: str
    retakes_calendar: bool = False


@dataclass(frozen=True, slots=True)
class PolicyChanged:
    """The marketplace afterwards, what it means for open orders if anything differs, and the change that moves them."""

    marketplace: Marketplace
    effect: PolicyEffect | None = None
    change_id: UUID | None = None


def replace_policy(
    database: Database, marketplace_id: str, change: PolicyChange, if_match: Container[str], actor: str
) -> PolicyChanged:
    """Give a marketplace a new version of its policy, unless nothing differs.

    Open orders are moved to later by it, and none to earlier. What it means for them is counted before the lock, which
    keeps everybody waiting who writes orders; the change that moves them looks again. Raises `MarketplaceNotFound`,
    `PreconditionFailed`, and `InvalidPolicy` where no deadline could be counted by the new one.
    """
    effect = preview_policy(database, marketplace_id, change, if_match, actor).effect
    with database.operator_transaction() as connection:
        # Waits for those who write orders: all that were counted by the present policy are seen when it is replaced.
        lock_policies(connection)
        present = _find(connection, marketplace_id, if_match)
        rename_marketplace(connection, marketplace_id, change.marketplace_name)
        if effect is None:
            return PolicyChanged(replace(present, marketplace_name=change.marketplace_name))
        new_version = present.policy_version + 1
        insert_policy(connection, marketplace_id, new_version, change.policy, created_by=actor, reason=change.reason)
        change_id = begin_policy_change(
            connection, marketplace_id, new_version, effect, reason=change.reason, actor=actor
        )
        return PolicyChanged(_find(connection, marketplace_id, None), effect, change_id)


def preview_policy(
    database: Database, marketplace_id: str, change: PolicyChange, if_match: Container[str], actor: str
) -> PolicyChanged:
    """Return what `replace_policy` would do, counted by the days that the library has now; nothing is written.

    Raises as it does.
    """
    with database.operator_transaction() as connection:
        present = replace(_find(connection, marketplace_id, if_match), marketplace_name=change.marketplace_name)
        if not _differs(present, change):
            return PolicyChanged(present)
        refuse_invalid(change.policy, read_clock(connection).year)
        effect = preview_policy_change(connection, marketplace_id, change.policy)
    policy = change.policy
    new = Marketplace(
        marketplace_id=marketplace_id,
        marketplace_name=change.marketplace_name,
        policy_version=present.policy_version + 1,
        country_code=policy.country_code,
        time_zone=policy.time_zone,
        window_business_days=policy.window_business_days,
        weekend=policy.weekend,
        extra_working_days=policy.extra_working_days,
        extra_holidays=policy.extra_holidays,
        created_time=None,
        created_by=actor,
        reason=change.reason,
    )
    return PolicyChanged(new, effect)


def _find(connection: psycopg.Connection, marketplace_id: str, if_match: Container[str] | None) -> Marketplace:
    present = find_marketplace(connection, marketplace_id)
    if present is None:
        raise MarketplaceNotFound(f"the marketplace {marketplace_id} is not known here; operators can add it")
    if if_match is not None:
        refuse_outdated("policy", present.policy_version, if_match)
    return present


def _differs(present: Marketplace, change: PolicyChange) -> bool:
    return change.retakes_calendar or present.policy != change.policy

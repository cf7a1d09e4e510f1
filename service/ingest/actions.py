"""Receive orders: one transaction for any number of them, each accepted or refused on its own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime

import psycopg

from service.business_days import confirm_by
from service.errors import ContradictoryOrder, FieldError, InvalidRequest, Problem, SellerNotFound, UnknownMarketplace
from service.ingest import queries
from service.ingest.changes import changes_of
from service.ingest.contradictions import refuse_contradictions
from service.ingest.deadlines import Deadline, count_by_older, deadline_after
from service.ingest.rules import (
    IncomingOrder,
    Outcome,
    StoredOrder,
    confirmed_times,
    is_said_later,
    is_unchanged,
    refuse_conflicts,
)
from service.marketplaces.queries import VersionedPolicy, find_policies, find_policy, wait_for_policies
from service.orders.queries import insert_charge, insert_events, read_clock
from service.orders.rules import CONFIRMED, EventType, FulfilledBy, FulfillmentStatus
from service.search.documents import refresh_document, save_documents

CreateSellers = Callable[[psycopg.Connection, list[str]], None]
Policies = Mapping[str, VersionedPolicy]
Accepted = Mapping[queries.Key, tuple[IncomingOrder, Deadline]]
Results = dict[queries.Key, Outcome | Problem]


def receive_orders(
    connection: psycopg.Connection,
    orders: Sequence[IncomingOrder],
    actor: str,
    create_missing_sellers: CreateSellers | None = None,
    *,
    changes_known: bool = True,
) -> list[Outcome | Problem]:
    """Store new orders and later versions of known ones; return what became of each, in the order given.

    Runs in the caller's transaction: a batch is all there or not at all. The keys of `orders` are distinct. The sellers
    of orders that are acceptable otherwise are created, if the caller brings the means. Known orders can be left alone.
    """
    results: Results = {}
    accepted: dict[queries.Key, tuple[IncomingOrder, Deadline]] = {}
    wait_for_policies(connection)
    policies = find_policies(connection, {order.marketplace_id for order in orders})
    # Sorted by key, as every transaction writes, so that two of them never wait for each other in a circle.
    for order in sorted(orders, key=lambda each: each.key):
        try:
            accepted[order.key] = order, _check(order, policies)
        except Problem as problem:
            results[order.key] = problem
    if accepted:
        for seller_id in _missing_sellers(connection, accepted, create_missing_sellers):
            for key in [key for key in accepted if key[0] == seller_id]:
                del accepted[key]
                error = FieldError("not known here", "/sellerId")
                results[key] = SellerNotFound(f"the seller {seller_id} is not known here", error)
    if accepted:
        results |= _store(connection, accepted, actor, changes_known=changes_known)
    return [results[order.key] for order in orders]


def receive_reported_orders(
    connection: psycopg.Connection,
    orders: Sequence[IncomingOrder],
    actor: str,
    create_missing_sellers: CreateSellers | None = None,
) -> list[Outcome | Problem]:
    """Store those orders of a report that are new, as `receive_orders` does.

    A report tells less of an order than its channel did, so that the known ones stay as they are.
    """
    known = queries.find_item_ids(connection, [order.key for order in orders])
    results: Results = {}
    new: list[IncomingOrder] = []
    for order in orders:
        problem = _unknown_items(order, known[order.key]) if order.key in known else _untold(order)
        if problem is not None:
            results[order.key] = problem
        elif order.key in known:
            results[order.key] = Outcome.UNCHANGED
        else:
            new.append(order)
    received = receive_orders(connection, new, actor, create_missing_sellers, changes_known=False)
    results |= {order.key: result for order, result in zip(new, received, strict=True)}
    return [results[order.key] for order in orders]


def _unknown_items(order: IncomingOrder, known: Collection[str]) -> Problem | None:
    unknown = ", ".join(sorted(order.item_states.keys() - known))
    if not unknown:
        return None
    reason = f"has no item {unknown} here; the rows of an order belong together"
    return InvalidRequest("the order is known already, with other items", FieldError(reason, "order-item-id"))


def _untold(order: IncomingOrder) -> Problem | None:
    """Return what a new order needs, and the report does not tell."""
    if order.fulfillment_status is FulfillmentStatus.PARTIALLY_SHIPPED:
        reason = "the report does not tell which packages hold what was shipped; import the order as NDJSON"
        return InvalidRequest("a part of the order was shipped", FieldError(reason, "quantity-shipped"))
    if order.grand_total is None:
        reason = "a new order needs what the buyer is charged for it, and its currency"
        return InvalidRequest("the report has no order-total for the order", FieldError(reason, "order-total"))
    return None


def _check(order: IncomingOrder, policies: Policies) -> Deadline:
    """Refuse an order that cannot be stored; return until when it can be confirmed (D1)."""
    known = policies.get(order.marketplace_id)
    if known is None:
        raise UnknownMarketplace(
            f"the marketplace {order.marketplace_id} is not known here; operators can add it",
            FieldError(f"{order.marketplace_id} is not known here", "/salesChannel/marketplaceId"),
        )
    refuse_contradictions(order)
    if order.ship_by_latest is None or order.fulfilled_by is FulfilledBy.AMAZON:
        return Deadline(None, known.policy_version)
    try:
        return Deadline(confirm_by(order.ship_by_latest, known.policy), known.policy_version)
    except ValueError as error:
        pointer = "/fulfillment/shipByWindow/latestDateTime"
        raise ContradictoryOrder("confirmBy cannot be counted", FieldError(str(error), pointer)) from error


def _missing_sellers(
    connection: psycopg.Connection, keys: Iterable[queries.Key], create: CreateSellers | None
) -> list[str]:
    """Return the sellers that are not known, none of them once they are created."""
    wanted = {seller_id for seller_id, _ in keys}
    missing = sorted(wanted - queries.known_sellers(connection, wanted))
    if missing and create is not None:
        create(connection, missing)
        return []
    return missing


def _count_by_older_policies(connection: psycopg.Connection, accepted: Accepted) -> Mapping[queries.Key, Deadline]:
    """Count orders whose ship-by date is moved by the older version of the policy that they were counted by, too.

    This takes the days of another year where they are needed, and no order may be locked by then.
    """
    counted = [each for each in accepted.values() if each[1].confirm_by is not None and each[1].policy_version > 1]
    older = queries.find_policies_counted_by(connection, counted) if counted else {}
    policies = {key: find_policy(connection, *key) for key in set(older.values())}
    return {
        key: count_by_older(accepted[key][0], policy[1], known)
        for key, policy in older.items()
        if (known := policies[policy])
    }


def _store(connection: psycopg.Connection, accepted: Accepted, actor: str, *, changes_known: bool) -> Results:
    older: Mapping[queries.Key, Deadline] = {}
    if changes_known:
        older = _count_by_older_policies(connection, accepted)
    # Inserted before any order is locked: who waits for another's insert holds no lock that anyone could wait for.
    now = read_clock(connection)
    inserted = queries.insert_orders(connection, accepted.values(), now)
    results: Results = dict.fromkeys(inserted, Outcome.CREATED)
    if inserted:
        _record_new(connection, [order for key, (order, _) in accepted.items() if key in inserted], actor, now)
    known = [key for key in accepted if key not in inserted]
    if not known or not changes_known:
        return results | dict.fromkeys(known, Outcome.UNCHANGED)
    stored_orders = queries.lock_stored_orders(connection, known)
    now = read_clock(connection)
    coming_back = [key for key in stored_orders if accepted[key][0].comes_back]
    shown = queries.shown_digests(connection, coming_back) if coming_back else {}
    for key, stored in stored_orders.items():
        order, counted = accepted[key]
        if shown.get(key) == order.channel_digest:
            results[key] = Outcome.UNCHANGED
            continue
        try:
            results[key] = _update(connection, stored, order, (counted, older.get(key)), actor, now)
        except Problem as problem:
            results[key] = problem
    return results


def _record_new(connection: psycopg.Connection, orders: Sequence[IncomingOrder], actor: str, now: datetime) -> None:
    queries.save_parts(connection, orders, now)
    save_documents(connection, [(*order.key, order.search) for order in orders])
    insert_events(
        connection,
        EventType.ORDER_RECEIVED,
        now,
        actor,
        [(order.seller_id, order.order_id, 1, {"fulfillmentStatus": order.fulfillment_status}) for order in orders],
    )
    with connection.pipeline():
        for order in orders:
            _charge(connection, order, min(confirmed_times(order, now)))


def _charge(connection: psycopg.Connection, order: IncomingOrder, confirmed_time: datetime) -> None:
    """Record the charge of an order of which something is confirmed (R10): whoever confirmed it has charged for it."""
    if order.fulfillment_status in CONFIRMED and order.grand_total is not None:
        told = order.charge.charged_time if order.charge else None
        insert_charge(
            connection,
            order.seller_id,
            order.order_id,
            order.grand_total,
            told or confirmed_time,
            settled_outside=True,
        )


def _update(  # noqa: PLR0913, PLR0917  # a decision needs all it decides on
    connection: psycopg.Connection,
    stored: StoredOrder,
    order: IncomingOrder,
    counted: tuple[Deadline, Deadline | None],
    actor: str,
    now: datetime,
) -> Outcome:
    if is_unchanged(stored, order):
        if is_said_later(stored, order):
            queries.note_channel_time(connection, order)
        return Outcome.UNCHANGED
    deadline = deadline_after(stored, order, *counted)
    refuse_conflicts(stored, order, deadline.confirm_by, now)
    queries.update_order(connection, stored, order, deadline, now)
    refresh_document(connection, *order.key)
    if stored.confirmed_time is None:
        _charge(connection, order, now)
    event = (order.seller_id, order.order_id, stored.version + 1, changes_of(stored, order, deadline.confirm_by))
    insert_events(connection, EventType.ORDER_UPDATED, now, actor, [event])
    return Outcome.UPDATED

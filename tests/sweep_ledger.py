"""What a thousand slots must have left in the ledger and of the orders: each query tells of a fault, or of none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import LiteralString

import psycopg

from tests.drill import INTERVAL_S
from tests.invariants import broken_invariants

# A row that is MISSED stands for several slots.
_SLOTS: LiteralString = """
SELECT slot + number * make_interval(secs => %(interval_s)s)
FROM cancellation_runs, generate_series(0, slot_count - 1) AS number WHERE slot IS NOT NULL
"""
_STATES: LiteralString = """
SELECT state, sum(slot_count), sum(cancelled_count) FROM cancellation_runs
WHERE slot IS NOT NULL GROUP BY state ORDER BY state
"""
FAULTS: Mapping[str, LiteralString] = {
    "cancelled twice": """
        SELECT seller_id, order_id FROM order_events WHERE event_type = 'ORDER_CANCELLED'
        GROUP BY seller_id, order_id HAVING count(*) > 1
    """,
    "cancelled early": "SELECT seller_id, order_id FROM orders WHERE cancelled_time < confirm_by",
    "left open": """
        SELECT seller_id, order_id FROM orders
        WHERE fulfillment_status = 'UNSHIPPED' AND fulfilled_by = 'MERCHANT'
            AND confirm_by <= (SELECT max(cutoff) FROM cancellation_runs WHERE state = 'SUCCEEDED')
    """,
    # The cutoff and the deadlines are by the sandbox clock, the end of a run by the database's.
    "left behind by a run that says it succeeded": """
        SELECT o.seller_id, o.order_id, r.run_id
        FROM sandbox_clock c, orders o JOIN cancellation_runs r ON r.cutoff >= o.confirm_by
        WHERE r.state = 'SUCCEEDED' AND o.cancelled_time > r.finished_time + c.clock_offset
    """,
    "not cancelled for a reason": "SELECT seller_id, order_id, error FROM cancellation_errors",
    "under way for no reason": """
        SELECT run_id FROM cancellation_runs
        WHERE state = 'RUNNING' AND heartbeat_time < statement_timestamp() - interval '300 seconds'
    """,
    "changes of deadlines that were not worked": "SELECT change_id FROM deadline_changes WHERE state <> 'DONE'",
}


def slot_faults(slots: Counter[datetime]) -> list[str]:
    """Return the slots from the first to the last that nobody accounts for, and those that come twice."""
    length = timedelta(seconds=INTERVAL_S)
    first, last = min(slots), max(slots)
    wanted = [first + number * length for number in range((last - first) // length + 1)]
    faults = [f"slot {slot} is not recorded" for slot in wanted if slot not in slots]
    return faults + [f"slot {slot} is recorded {count} times" for slot, count in slots.items() if count > 1]


def count_slots(owner: psycopg.Connection) -> Counter[datetime]:
    """Return how often each slot is recorded, as worked or as missed."""
    return Counter(slot for (slot,) in owner.execute(_SLOTS, {"interval_s": INTERVAL_S}))


def find_faults(owner: psycopg.Connection, expected: Mapping[tuple[str, str], str]) -> list[str]:
    """Return all that is wrong."""
    faults = slot_faults(count_slots(owner))
    for name, query in FAULTS.items():
        faults += [f"{name}: {row}" for row in owner.execute(query)]
    found = owner.execute("SELECT seller_id, order_id, fulfillment_status FROM orders").fetchall()
    statuses = {(seller_id, order_id): status for seller_id, order_id, status in found}
    faults += [
        f"order {key} is {statuses.get(key)}, not {status}"
        for key, status in expected.items()
        if statuses.get(key) != status
    ]
    return faults + [f"invariant: {name}: {rows}" for name, rows in broken_invariants(owner).items()]


def describe(owner: psycopg.Connection) -> list[str]:
    """Return how many slots are in which state, and what became of their orders, for people."""
    return [
        f"{slots} {state}" + (f" ({cancelled} orders)" if cancelled else "")
        for state, slots, cancelled in owner.execute(_STATES)
    ]

"""Pages are found by indexes, on thousands of orders and under row security."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import psycopg
import pytest
from psycopg import sql

from service.cancellation_job.actions import sweep
from service.cancellation_job.job_queries import find_job_facts, find_last_success
from service.cancellation_job.run_queries import RunFilters, find_cancelled_orders, find_runs
from service.database import Database
from service.deadlines.changes_order_queries import find_open_orders
from service.deadlines.changes_rules import Selection
from service.monitoring.queries import find_day, observe
from service.search.queries import find_orders
from service.search.rules import Sort
from tests.conftest import LIFTED, SELLER, ApiClient, confirmation
from tests.plans import PAGE, SHAPES, Explained, broken_plans, faults_of, nodes

OWN_INDEXES = {
    "orders confirmed late": "orders_confirmed_late_idx",
    "orders confirmed late by another sort": "orders_confirmed_late_idx",
    "declined charges": "orders_charge_declined_idx",
    "buyers who ask to cancel": "orders_cancellation_requested_idx",
}

LOOK_INDEXES = {
    "status of the job": "orders_due_idx",
    "open orders": "orders_open_idx",
    "orders of a run": "orders_cancellation_run_idx",
}


@pytest.fixture
def many_orders(owner: psycopg.Connection, database: Database) -> None:
    """Put 30,000 orders of each of two sellers into the tables: most are cancelled, some open, few shipped."""
    del database
    owner.execute(
        """
        INSERT INTO orders (
            seller_id, order_id, version, created_time, last_updated_time, marketplace_id, channel_name, fulfilled_by,
            fulfillment_status, payment_status, ship_by_latest, confirm_by, grand_total, currency_code, cancelled_time,
            cancel_reason, policy_version, channel_digest, sales_channel, details
        )
        SELECT seller_id, '902-' || lpad(number::text, 7, '0') || '-' || lpad(number::text, 7, '0'), 1, moment, moment,
            CASE WHEN number % 1500 = 0 THEN 'A1PA6795UKMFR9' ELSE 'ATVPDKIKX0DER' END, 'AMAZON', 'MERCHANT',
            CASE WHEN is_open THEN 'UNSHIPPED' ELSE 'CANCELLED' END,
            CASE WHEN is_open THEN 'AUTHORIZED' ELSE 'UNPAID' END,
            moment + interval '2 days', moment + interval '11 days', number % 977, 'USD',
            CASE WHEN NOT is_open THEN moment END, CASE WHEN NOT is_open THEN 'BUYER_CANCELLED' END, 1, '',
            '{"channelName":"AMAZON","marketplaceId":"ATVPDKIKX0DER"}', ''
        FROM (
            SELECT number, number % 10 = 3 AS is_open,
                timestamptz '2026-01-01Z' + number * 7 % 29989 * interval '1 minute' AS moment
            FROM generate_series(1, 30000) number
        ) made CROSS JOIN sellers;
        UPDATE orders SET
            fulfillment_status = 'SHIPPED', payment_status = 'CHARGED', cancelled_time = NULL, cancel_reason = NULL,
            confirmed_time = created_time, shipped_time = created_time + interval '3 days',
            charge_declined_time = CASE WHEN right(order_id, 4) < '2000' THEN created_time END
        WHERE fulfillment_status = 'CANCELLED' AND right(order_id, 3) BETWEEN '500' AND '510';
        UPDATE orders SET cancellation_requested_time = created_time
        WHERE fulfillment_status = 'UNSHIPPED' AND right(order_id, 3) BETWEEN '500' AND '510';
        INSERT INTO charges (
            seller_id, order_id, amount, currency_code, charge_status, settled_outside, requested_time, charged_time
        )
        SELECT seller_id, order_id, grand_total, currency_code,
            CASE WHEN charge_declined_time IS NULL THEN 'SUCCEEDED' ELSE 'DECLINED' END, false, created_time,
            CASE WHEN charge_declined_time IS NULL THEN created_time END
        FROM orders WHERE fulfillment_status = 'SHIPPED';
        INSERT INTO order_items
        SELECT seller_id, order_id, '1', 0, 1, (fulfillment_status = 'SHIPPED')::integer, ',"product":{}', ''
        FROM orders;
        INSERT INTO order_search
        SELECT seller_id, order_id, ' ' || order_id || ' a mug in a fine colour' ||
                CASE WHEN number % 1009 = 7 THEN ' marmalade zqx' ELSE '' END,
            ARRAY['S-' || number], ARRAY['SKU-' || lpad((number % 3000)::text, 5, '0')],
            ARRAY['B' || lpad((number % 3000)::text, 9, '0')], number || '@relay.example.com'
        FROM (SELECT seller_id, order_id, substr(order_id, 5, 7)::integer AS number FROM orders) numbered;
        INSERT INTO packages (
            seller_id, order_id, package_reference_id, created_time, package_status, tracking_number, tracking_text
        )
        SELECT seller_id, order_id, '1', created_time, 'SHIPPED', '1Z' || substr(order_id, 5, 7),
            ' 1z' || substr(order_id, 5, 7)
        FROM orders;
        INSERT INTO package_items (seller_id, order_id, package_reference_id, order_item_id, quantity)
        SELECT seller_id, order_id, '1', '1', 1 FROM orders WHERE fulfillment_status = 'SHIPPED';
        INSERT INTO order_events
        SELECT seller_id, order_id, 1, 'ORDER_RECEIVED', created_time, 'test', NULL, '{}',
            pg_current_xact_id()::text::bigint, ship_by_sort, confirm_by_sort, grand_total_sort
        FROM orders;
        """
    )
    owner.execute("VACUUM (ANALYZE) orders, order_items, order_search, packages, order_events")


@pytest.mark.usefixtures("many_orders")
def test_every_shape_of_request_is_answered_from_indexes(database: Database) -> None:
    # Broken by a filter that the planner would rather sort for, by an operator that leaks, and by a missing index.
    assert broken_plans(database, SELLER, SHAPES) == []
    # What is rare is found by an index that holds nothing else. Broken by a condition that is not that of the index.
    for name, index in OWN_INDEXES.items():
        sort, filters, _ = SHAPES[name]
        with database.seller_transaction(SELLER) as connection:
            explained: Any = Explained(connection)
            find_orders(explained, SELLER, filters, Sort.parse(sort), limit=PAGE)
        assert index in {each.get("Index Name") for each in explained.plans}, name


@pytest.mark.usefixtures("many_orders")
def test_whoever_watches_the_job_or_moves_deadlines_reads_parts_of_indexes(
    database: Database, owner: psycopg.Connection
) -> None:
    # Broken by a clock that is VOLATILE, and by a missing index: of what is due, of what is open, of runs, and of what
    # a run has cancelled.
    owner.execute(
        """
        INSERT INTO cancellation_runs (dry_run, state, requested_by, cutoff, started_time, finished_time)
        SELECT false, CASE WHEN number % 100 = 0 THEN 'FAILED' ELSE 'SUCCEEDED' END, 'test', now(), moment, moment
        FROM (SELECT number, now() - (3000 - number) * interval '20 minutes' AS moment
            FROM generate_series(1, 3000) number) made;
        ANALYZE cancellation_runs
        """
    )
    looks: dict[str, Callable[[Any], object]] = {
        "status of the job": lambda connection: find_job_facts(connection, 60),
        "last success": find_last_success,
        "observations": observe,
        "runs of a day": find_day,
        "runs": lambda connection: find_runs(connection, RunFilters(), 2000, PAGE),
        "failed runs": lambda connection: find_runs(connection, RunFilters(states=["FAILED"]), None, PAGE),
        "open orders": lambda connection: find_open_orders(
            connection, Selection(marketplace_id="ATVPDKIKX0DER"), None, (SELLER, ""), PAGE
        ),
    }
    assert _faults_of_looks(database, looks) == []

    run = sweep(database, requested_by="test", options=LIFTED)
    assert run is not None
    assert run.cancelled_count == 6000
    owner.execute("VACUUM (ANALYZE) orders")
    looks = {"orders of a run": lambda connection: find_cancelled_orders(connection, run.run_id, (SELLER, ""), PAGE)}
    assert _faults_of_looks(database, looks) == []


def _faults_of_looks(database: Database, looks: Mapping[str, Callable[[Any], object]]) -> list[str]:
    found: list[str] = []
    for name, look in looks.items():
        with database.operator_transaction() as connection:
            explained = Explained(connection)
            look(explained)
        assert explained.plans, name
        used = {each.get("Index Name") for each in explained.plans}
        assert LOOK_INDEXES.get(name) in {None, *used}, (name, used)
        found += [f"{name}: {fault}" for fault in faults_of(explained.plans, PAGE)]
    return found


def test_an_order_is_found_by_its_key_while_the_statistics_are_those_of_an_almost_empty_table(
    owner: psycopg.Connection, seller: ApiClient, received: dict[str, Any]
) -> None:
    # Broken by an index of few different entries, which is smaller than the key: each foreign key is checked by it.
    assert seller.post(f"/v1/orders/{received['orderId']}/shipment-confirmations", confirmation()).status_code == 201
    tables = ("orders", "order_items", "packages", "order_search", "order_events")
    for table in tables:
        # Full, so that nothing of the tests before makes the table larger than it is.
        owner.execute(sql.SQL("VACUUM (FULL, ANALYZE) {}").format(sql.Identifier(table)))
        plan = owner.execute(
            sql.SQL(
                "EXPLAIN (FORMAT JSON) SELECT 1 FROM {} WHERE seller_id = %s AND order_id = %s FOR KEY SHARE"
            ).format(sql.Identifier(table)),
            (SELLER, received["orderId"]),
        ).fetchall()[0][0][0]["Plan"]
        used = {each.get("Index Name") for each in nodes(plan)} - {None}
        assert used <= {f"{table}_pkey"}, table


def test_every_whole_index_of_a_sellers_table_ends_with_what_tells_its_rows_apart(owner: psycopg.Connection) -> None:
    # The same, whatever the statistics: an index without it is smaller than the key.
    ends = owner.execute(
        """
        SELECT c.relname, (SELECT attname FROM pg_attribute WHERE attrelid = i.indexrelid AND attnum = i.indnkeyatts)
        FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am am ON am.oid = c.relam
        WHERE i.indpred IS NULL AND NOT i.indisunique AND am.amname = 'btree'
            AND i.indrelid = ANY(ARRAY['orders', 'order_items', 'packages', 'order_events']::regclass[])
        ORDER BY c.relname
        """
    ).fetchall()

    assert len(ends) >= 9
    assert {column for _, column in ends} == {"order_id"}, ends

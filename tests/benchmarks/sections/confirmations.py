"""Confirmations beside the bare transaction: lock, package, items, charge, status, event."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import orjson
import psycopg

from tests.benchmarks.bench import Bench, Ratio, rate, show
from tests.benchmarks.building import import_files
from tests.benchmarks.data import SMALL_SELLER
from tests.benchmarks.limits import pgbench
from tests.benchmarks.load import CONNECTIONS, Load, Request, burst

_ORDERS = 200 * CONNECTIONS  # for each side of each round

_numbers = itertools.count(1)

# As the service writes it, a statement at a time, under row-level security. A connection takes its own orders in turn.
_BARE = """\\set turn :turn + 1
\\set number :client_id * {share} + :turn - 1
BEGIN;
SELECT set_config('app.seller_id', '{seller_id}', true);
SELECT order_id FROM orders WHERE seller_id = '{seller_id}' AND order_id = '{prefix}' || :number FOR UPDATE;
SELECT app_now(), version, fulfillment_status, confirm_by, grand_total FROM orders WHERE seller_id = '{seller_id}' AND order_id = '{prefix}' || :number;
INSERT INTO packages (seller_id, order_id, package_reference_id, created_time, package_status, carrier_code, tracking_number, tracking_text, ship_time) VALUES ('{seller_id}', '{prefix}' || :number, '1', app_now(), 'SHIPPED', 'UPS', '1Z999AA10123456784', '1z999aa10123456784', app_now());
INSERT INTO package_items (seller_id, order_id, package_reference_id, order_item_id, quantity) SELECT '{seller_id}', '{prefix}' || :number, '1', order_item_id, quantity_ordered FROM order_items WHERE seller_id = '{seller_id}' AND order_id = '{prefix}' || :number;
UPDATE order_items SET quantity_fulfilled = quantity_ordered WHERE seller_id = '{seller_id}' AND order_id = '{prefix}' || :number;
UPDATE orders SET version = version + 1, last_updated_time = app_now(), fulfillment_status = 'SHIPPED', payment_status = 'CHARGED', confirmed_time = app_now(), shipped_time = app_now() WHERE seller_id = '{seller_id}' AND order_id = '{prefix}' || :number;
INSERT INTO charges (seller_id, order_id, amount, currency_code, charge_status, settled_outside, requested_time, charged_time) VALUES ('{seller_id}', '{prefix}' || :number, 24.90, 'USD', 'SUCCEEDED', true, app_now(), app_now());
INSERT INTO order_events (seller_id, order_id, version, event_type, event_time, actor, details, ship_by_sort, confirm_by_sort, grand_total_sort) SELECT seller_id, order_id, version, 'SHIPMENT_CONFIRMED', app_now(), 'pgbench', '{{}}', ship_by_sort, confirm_by_sort, grand_total_sort FROM orders WHERE seller_id = '{seller_id}' AND order_id = '{prefix}' || :number;
COMMIT;
"""  # noqa: E501  # pgbench takes a statement a line


def measure(bench: Bench) -> Iterator[Ratio]:
    """Confirm whole orders of two items, each once, by either way; every commit is flushed to disk on both sides."""
    loads = bench.interleaved(
        {
            "confirmations over HTTP": lambda: _over_http(bench),
            "by pgbench, a statement at a time": lambda: _bare(bench),
        }
    )
    for name, each in loads.items():
        show(name, each)
    yield Ratio(
        "confirmation over HTTP / pgbench, a statement at a time",
        rate(loads["confirmations over HTTP"]) / rate(loads["by pgbench, a statement at a time"]),
        0.4,
    )


def _over_http(bench: Bench) -> Load:
    prefix = new_orders(bench, _ORDERS)
    requests = [
        Request(
            f"/v1/orders/{prefix}{number}/shipment-confirmations",
            bench.tokens[SMALL_SELLER],
            body=orjson.dumps(
                {
                    "packageReferenceId": "1",
                    "carrierCode": "UPS",
                    "trackingNumber": "1Z999AA10123456784",
                    "shipDate": datetime.now(UTC).isoformat(),
                }
            ).decode(),
        )
        for number in range(_ORDERS)
    ]
    return burst(bench.service.port, requests, None)


def _bare(bench: Bench) -> Load:
    prefix = new_orders(bench, _ORDERS)
    script = bench.directory / "confirmation.sql"
    script.write_text(_BARE.format(seller_id=SMALL_SELLER, prefix=prefix, share=_ORDERS // CONNECTIONS))
    return pgbench(bench.url, SMALL_SELLER, script, None, _ORDERS)


def new_orders(bench: Bench, count: int) -> str:
    """Import so many orders that can be confirmed; return what their ids begin with, before a number from 0."""
    now, prefix = datetime.now(UTC), f"C{datetime.now(UTC):%H%M%S}-{next(_numbers)}-"
    file = bench.directory / "to-confirm.ndjson"
    file.write_bytes(b"\n".join(orjson.dumps(_order(f"{prefix}{number}", now)) for number in range(count)))
    import_files(bench.url, [file])
    with psycopg.connect(bench.url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE orders, order_items, packages, charges, order_events")
    return prefix


def _order(order_id: str, now: datetime) -> dict[str, object]:
    return {
        "sellerId": SMALL_SELLER,
        "orderId": order_id,
        "createdTime": (now - timedelta(days=1)).isoformat(),
        "salesChannel": {"channelName": "AMAZON", "marketplaceId": "ATVPDKIKX0DER"},
        "proceeds": {"grandTotal": {"amount": "24.90", "currencyCode": "USD"}},
        "fulfillment": {
            "fulfillmentStatus": "UNSHIPPED",
            "fulfilledBy": "MERCHANT",
            "shipByWindow": {"latestDateTime": (now + timedelta(days=2)).isoformat()},
        },
        "orderItems": [
            {"orderItemId": "1", "quantityOrdered": 2, "product": {"sellerSku": "MUG", "title": "Mug"}},
            {"orderItemId": "2", "quantityOrdered": 1, "product": {"sellerSku": "POT", "title": "Pot"}},
        ],
    }

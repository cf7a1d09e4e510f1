"""Many clients confirm the first item of one order at once: the buyer is charged once (R10).

`FIRST_CONFIRMATION_ORDERS=1000 pytest tests/test_first_confirmation.py` does it with a thousand orders.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import psycopg

from service.database import Database
from service.errors import NothingToConfirm, QuantityTooLarge
from tests.payment_service import calling, confirm, running_service, sell, work

ORDERS = int(os.environ.get("FIRST_CONFIRMATION_ORDERS", "12"))
CLIENTS = 50
UNITS = 4


def test_fifty_clients_confirm_the_first_item_of_an_order_at_once_and_it_is_charged_once(
    database: Database, owner: psycopg.Connection
) -> None:
    # Without the lock of the order more than one is the first: `charges_pkey` is broken, or the order oversold, and a
    # confirmation ends in neither of the two ways it may.
    items = [{"orderItemId": "1", "quantityOrdered": UNITS, "product": {"sellerSku": "MUG", "title": "Mug"}}]
    order_ids = sell(database, ORDERS, orderItems=items)
    together = threading.Barrier(CLIENTS)

    def confirm_all(client: int) -> int:
        confirmed = 0
        for order_id in order_ids:
            together.wait()
            try:
                confirm(database, order_id, reference=str(client + 1))
                confirmed += 1
            except (QuantityTooLarge, NothingToConfirm):
                pass
            except BaseException:
                together.abort()  # nobody waits for this one
                raise
        return confirmed

    with ThreadPoolExecutor(CLIENTS) as pool:
        assert sum(pool.map(confirm_all, range(CLIENTS))) == ORDERS * UNITS
    with running_service(forgets=True) as service, calling(service) as client:
        assert work(database, client) == ORDERS
    assert service.captured() == dict.fromkeys(order_ids, 1)
    assert owner.execute("SELECT charge_status, count(*) FROM charges GROUP BY 1").fetchall() == [("SUCCEEDED", ORDERS)]
    # One confirmation of each order charged it, by its own word.
    first = "SELECT count(*), count(DISTINCT order_id) FROM order_events WHERE (details ->> 'charged')::boolean"
    assert owner.execute(first).fetchone() == (ORDERS, ORDERS)

"""Keep what is searched of orders."""

from __future__ import annotations

from collections.abc import Iterable

import orjson
import psycopg

from service.database import as_json
from service.orders.queries import find_order
from service.search.rules import SearchDocument, search_document


def save_documents(connection: psycopg.Connection, documents: Iterable[tuple[str, str, SearchDocument]]) -> None:
    """Write what is searched of orders, each with its `seller_id` and `order_id`. What is the same is left alone."""
    rows = [
        {"seller_id": seller_id, "order_id": order_id, **document.as_row()}
        for seller_id, order_id, document in documents
    ]
    connection.execute(
        """
        INSERT INTO order_search AS s
            (seller_id, order_id, search_text, seller_order_ids, skus, asins, buyer_email)
        SELECT seller_id, order_id, search_text, seller_order_ids, skus, asins, buyer_email
        FROM json_populate_recordset(NULL::order_search, %(rows)s)
        ON CONFLICT ON CONSTRAINT order_search_pkey DO UPDATE SET
            search_text = EXCLUDED.search_text, seller_order_ids = EXCLUDED.seller_order_ids, skus = EXCLUDED.skus,
            asins = EXCLUDED.asins, buyer_email = EXCLUDED.buyer_email
        WHERE (s.search_text, s.seller_order_ids, s.skus, s.asins, s.buyer_email) IS DISTINCT FROM
            (EXCLUDED.search_text, EXCLUDED.seller_order_ids, EXCLUDED.skus, EXCLUDED.asins, EXCLUDED.buyer_email)
        """,
        {"rows": as_json(rows)},
    )


def refresh_document(connection: psycopg.Connection, seller_id: str, order_id: str) -> None:
    """Write anew what is searched of an order that changed, from what is stored of it."""
    order = find_order(connection, seller_id, order_id)
    if order is None:
        raise LookupError("the order is gone")
    save_documents(connection, [(seller_id, order_id, search_document(orjson.loads(order)))])

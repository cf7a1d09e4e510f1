"""Find any order: what is searched, sorted and counted, and where an order stood when a walk began."""

from typing import Any

import psycopg
from psycopg.types.json import Json

from migrations.sql import driver_connection, execute
from service.search.rules import search_document, search_text

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Run the step."""
    execute(_EXTENSIONS)
    execute(_TOKENS)
    execute(_ORDERS)
    execute(_PACKAGES)
    execute(_EVENTS)
    execute(_SEARCH)
    execute(_SEARCH_FUNCTION)
    execute(_UNFORCED)
    execute(_KNOWN_EVENTS)
    _index_known_orders(driver_connection())
    execute(_FORCED)


# Both are trusted: whoever may create objects in the database may create them.
_EXTENSIONS = """
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE EXTENSION IF NOT EXISTS btree_gin;
"""

# A token's name tells whose private views it sees.
_TOKENS = """
DROP FUNCTION find_token(bytea);
CREATE FUNCTION find_token(hash bytea)
RETURNS TABLE (token_id uuid, seller_id text, token_name text, scopes text[])
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT token_id, seller_id, token_name, scopes FROM tokens WHERE token_hash = hash AND revoked_time IS NULL
$$;
REVOKE EXECUTE ON FUNCTION find_token(bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION find_token(bytea) TO manage_orders_service;
"""

# A sort column is never NULL, so that a page continues by comparing rows: an order without the value sorts as the
# greatest. Its type compares without leaking, as it must under row security to reach an index: numeric does not, so
# that an amount is sorted as a whole number of ten-thousandths. Every index ends with the order: one with few
# different entries is smaller than the primary key, and while the statistics are those of an empty table it would be
# taken for it, to read all orders of the seller for each check of a foreign key.
_ORDERS = """
ALTER TABLE orders
    ADD COLUMN programs text[],
    ADD COLUMN ship_to_country text,
    ADD COLUMN ship_by_sort timestamptz NOT NULL GENERATED ALWAYS AS (COALESCE(ship_by_latest, 'infinity')) STORED,
    ADD COLUMN confirm_by_sort timestamptz NOT NULL GENERATED ALWAYS AS (COALESCE(confirm_by, 'infinity')) STORED,
    ADD COLUMN grand_total_sort bigint NOT NULL
        GENERATED ALWAYS AS (COALESCE((grand_total * 10000)::bigint, 9223372036854775807)) STORED;
CREATE INDEX orders_ship_by_sort_idx ON orders (seller_id, ship_by_sort, order_id);
CREATE INDEX orders_confirm_by_sort_idx ON orders (seller_id, confirm_by_sort, order_id);
CREATE INDEX orders_grand_total_sort_idx ON orders (seller_id, grand_total_sort, order_id);
CREATE INDEX orders_marketplace_id_idx ON orders (seller_id, marketplace_id, fulfilled_by, order_id);
CREATE INDEX orders_open_ship_by_idx ON orders (seller_id, ship_by_sort, order_id)
    WHERE fulfillment_status IN ('UNSHIPPED', 'PARTIALLY_SHIPPED');
CREATE INDEX orders_open_confirm_by_idx ON orders (seller_id, confirm_by_sort, order_id)
    WHERE fulfillment_status IN ('UNSHIPPED', 'PARTIALLY_SHIPPED');
"""

_PACKAGES = """
ALTER TABLE packages ADD COLUMN tracking_text text;
CREATE INDEX packages_tracking_number_idx ON packages (seller_id, tracking_number, order_id);
CREATE INDEX packages_tracking_text_idx ON packages USING gin (seller_id, tracking_text gin_trgm_ops);
CREATE POLICY owner_rows ON packages TO CURRENT_USER USING (true);
"""

# What an order was sorted by after each of its changes, and the transaction that made the change: a walk that began
# before goes on with the order where it stood.
_EVENTS = """
ALTER TABLE order_events
    ADD COLUMN transaction_id bigint NOT NULL DEFAULT pg_current_xact_id()::text::bigint,
    ADD COLUMN ship_by_sort timestamptz,
    ADD COLUMN confirm_by_sort timestamptz,
    ADD COLUMN grand_total_sort bigint;
"""

# Apart from the order, so that a change of its status does not write hundreds of index entries anew.
_SEARCH = """
CREATE TABLE order_search (
    seller_id text NOT NULL,
    order_id text NOT NULL,
    search_text text NOT NULL,
    seller_order_ids text[] NOT NULL,
    skus text[] NOT NULL,
    asins text[] NOT NULL,
    buyer_email text,
    CONSTRAINT order_search_pkey PRIMARY KEY (seller_id, order_id),
    CONSTRAINT order_search_order_fkey FOREIGN KEY (seller_id, order_id) REFERENCES orders (seller_id, order_id)
);
CREATE INDEX order_search_terms_idx ON order_search
    USING gin (seller_id, search_text gin_trgm_ops, seller_order_ids, skus, asins, buyer_email);
ALTER TABLE order_search ENABLE ROW LEVEL SECURITY;
ALTER TABLE order_search FORCE ROW LEVEL SECURITY;
CREATE POLICY seller_rows ON order_search TO manage_orders_service
    USING (seller_id = NULLIF(current_setting('app.seller_id', true), ''));
CREATE POLICY operator_rows ON order_search TO manage_orders_operator USING (true);
CREATE POLICY owner_rows ON order_search TO CURRENT_USER USING (true);
GRANT SELECT, INSERT, UPDATE ON order_search TO manage_orders_service, manage_orders_operator;
"""

# LIKE and the array operators leak, so that under a policy they never reach an index. The function runs as the owner,
# whom no policy keeps from it, and names the seller itself: that of the transaction, whatever its arguments.
_SEARCH_FUNCTION = """
CREATE FUNCTION search_orders(
    patterns text[], seller_order_ids text[], skus text[], asins text[], buyer_email text, max_results integer
)
RETURNS SETOF text LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = public, pg_temp SET enable_bitmapscan = on AS $$
DECLARE
    seller text := NULLIF(current_setting('app.seller_id', true), '');
    identified text := 's.seller_id = $1';
    in_order text := '';
    in_a_package text := 'false';
    anywhere text := '';
BEGIN
    IF seller_order_ids IS NOT NULL THEN identified := identified || ' AND s.seller_order_ids && $3'; END IF;
    IF skus IS NOT NULL THEN identified := identified || ' AND s.skus && $4'; END IF;
    IF asins IS NOT NULL THEN identified := identified || ' AND s.asins && $5'; END IF;
    IF buyer_email IS NOT NULL THEN identified := identified || ' AND s.buyer_email = $6'; END IF;
    FOR n IN 1..COALESCE(cardinality(patterns), 0) LOOP
        in_order := in_order || format(' AND s.search_text LIKE ($2)[%s]', n);
        in_a_package := in_a_package || format(' OR p.tracking_text LIKE ($2)[%s]', n);
        anywhere := anywhere || format(
            ' AND (s.search_text LIKE ($2)[%1$s] OR EXISTS (SELECT FROM packages other WHERE other.seller_id = $1'
            ' AND other.order_id = s.order_id AND other.tracking_text LIKE ($2)[%1$s]))', n);
    END LOOP;
    -- An order that does not hold every word has one of them in the tracking number of a package. What holds them in
    -- both comes twice.
    RETURN QUERY EXECUTE
        'SELECT s.order_id FROM order_search s WHERE ' || identified || in_order
        || CASE WHEN in_order = '' THEN '' ELSE
            ' UNION ALL SELECT s.order_id FROM packages p JOIN order_search s USING (seller_id, order_id)'
            ' WHERE p.seller_id = $1 AND (' || in_a_package || ') AND ' || identified || anywhere
        END || ' LIMIT $7'
        USING seller, patterns, seller_order_ids, skus, asins, buyer_email, max_results;
END
$$;
REVOKE EXECUTE ON FUNCTION search_orders(text[], text[], text[], text[], text, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION search_orders(text[], text[], text[], text[], text, integer) TO manage_orders_service;
"""

# The policies hold for the owner as well, and would show it nothing of what it has to convert.
_UNFORCED = """
ALTER TABLE orders NO FORCE ROW LEVEL SECURITY;
ALTER TABLE order_items NO FORCE ROW LEVEL SECURITY;
ALTER TABLE order_events NO FORCE ROW LEVEL SECURITY;
"""
_KNOWN_EVENTS = """
UPDATE order_events e SET
    ship_by_sort = o.ship_by_sort, confirm_by_sort = o.confirm_by_sort, grand_total_sort = o.grand_total_sort
FROM orders o WHERE o.seller_id = e.seller_id AND o.order_id = e.order_id;
ALTER TABLE order_events
    ALTER COLUMN ship_by_sort SET NOT NULL,
    ALTER COLUMN confirm_by_sort SET NOT NULL,
    ALTER COLUMN grand_total_sort SET NOT NULL;
CREATE INDEX order_events_transaction_id_idx ON order_events (seller_id, transaction_id, order_id);
"""
_FORCED = """
ALTER TABLE orders FORCE ROW LEVEL SECURITY;
ALTER TABLE order_items FORCE ROW LEVEL SECURITY;
ALTER TABLE order_events FORCE ROW LEVEL SECURITY;
"""


def _index_known_orders(connection: psycopg.Connection) -> None:
    """Fill in what new orders bring with them. Text is folded here and not by PostgreSQL, whose locales differ."""
    with connection.cursor("known_orders") as known, connection.cursor() as write:
        known.execute(
            """
            SELECT o.seller_id, o.order_id, o.buyer, o.recipient, ('{' || substr(o.details, 2) || '}')::json,
                (SELECT json_agg(('{' || substr(i.details, 2) || '}')::json ORDER BY i.item_number)
                 FROM order_items i WHERE i.seller_id = o.seller_id AND i.order_id = o.order_id)
            FROM orders o ORDER BY o.seller_id, o.order_id
            """
        )
        while rows := known.fetchmany(_BATCH_SIZE):
            orders = [_order(row) for row in rows]
            write.executemany(
                """
                UPDATE orders SET programs = %(programs)s, ship_to_country = %(ship_to_country)s
                WHERE seller_id = %(seller_id)s AND order_id = %(order_id)s
                """,
                [_filtered(order) for order in orders],
            )
            write.executemany(
                "INSERT INTO order_search SELECT * FROM json_populate_record(NULL::order_search, %s)",
                [(Json({**_key(order), **search_document(order).as_row()}),) for order in orders],
            )
    with connection.cursor("known_packages") as known, connection.cursor() as write:
        known.execute(
            """
            SELECT seller_id, order_id, package_reference_id, tracking_number FROM packages
            WHERE tracking_number IS NOT NULL ORDER BY seller_id, order_id, package_reference_id
            """
        )
        while rows := known.fetchmany(_BATCH_SIZE):
            write.executemany(
                """
                UPDATE packages SET tracking_text = %s
                WHERE seller_id = %s AND order_id = %s AND package_reference_id = %s
                """,
                [(search_text([row[3]]), *row[:3]) for row in rows],
            )


_BATCH_SIZE = 1000


def _order(row: tuple[Any, ...]) -> dict[str, Any]:
    """Return as much of an order as is searched."""
    seller_id, order_id, buyer, recipient, details, items = row
    order: dict[str, Any] = {**details, "sellerId": seller_id, "orderId": order_id, "orderItems": items}
    return order | {"buyer": buyer or {}, "recipient": recipient or {}}


def _key(order: dict[str, Any]) -> dict[str, Any]:
    return {"seller_id": order["sellerId"], "order_id": order["orderId"]}


def _filtered(order: dict[str, Any]) -> dict[str, Any]:
    country = order["recipient"].get("deliveryAddress", {}).get("countryCode")
    return {**_key(order), "programs": order.get("programs"), "ship_to_country": country}

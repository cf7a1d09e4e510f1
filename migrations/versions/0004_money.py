"""Charges that a payment service makes, refunds, delivery, and a buyer who asks to cancel."""

from migrations.sql import execute

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Run the step."""
    execute(_UNFORCED)
    execute(_ORDERS)
    execute(_PACKAGES)
    execute(_CHARGES)
    execute(_REFUNDS)
    execute(_EVENTS)
    execute(_GRANTS)
    execute(_FORCED)


# The policies hold for the owner as well, and would show it nothing of what it has to convert.
_UNFORCED = """
ALTER TABLE orders NO FORCE ROW LEVEL SECURITY;
ALTER TABLE packages NO FORCE ROW LEVEL SECURITY;
ALTER TABLE charges NO FORCE ROW LEVEL SECURITY;
"""

# What a seller should attend to is found by indexes that hold nothing else. The rates of the home page count index
# entries; who fulfils an order is in the index that counts what came in.
_ORDERS = """
ALTER TABLE orders
    ADD COLUMN delivered_time timestamptz,
    ADD COLUMN cancellation_requested_time timestamptz,
    ADD COLUMN cancellation_request_reason text,
    ADD COLUMN charge_declined_time timestamptz;
UPDATE orders o SET delivered_time = delivered.last_time
FROM (
    SELECT seller_id, order_id, max(delivered_time) AS last_time FROM packages
    GROUP BY seller_id, order_id HAVING bool_and(package_status = 'DELIVERED')
) AS delivered
WHERE o.seller_id = delivered.seller_id AND o.order_id = delivered.order_id AND o.fulfillment_status = 'SHIPPED';
ALTER TABLE orders
    ADD CONSTRAINT orders_delivered_check CHECK (delivered_time IS NULL OR fulfillment_status = 'SHIPPED'),
    ADD CONSTRAINT orders_cancellation_request_check
        CHECK (cancellation_request_reason IS NULL OR cancellation_requested_time IS NOT NULL),
    ADD CONSTRAINT orders_charge_declined_check CHECK (charge_declined_time IS NULL OR confirmed_time IS NOT NULL);
CREATE INDEX orders_to_ship_idx ON orders (seller_id, ship_by_sort, order_id)
    WHERE fulfilled_by = 'MERCHANT' AND fulfillment_status IN ('UNSHIPPED', 'PARTIALLY_SHIPPED');
CREATE INDEX orders_charge_declined_idx ON orders (seller_id, charge_declined_time, order_id)
    WHERE charge_declined_time IS NOT NULL;
CREATE INDEX orders_cancellation_requested_idx ON orders (seller_id, cancellation_requested_time, order_id)
    WHERE cancellation_requested_time IS NOT NULL AND fulfillment_status IN ('PENDING', 'UNSHIPPED');
CREATE INDEX orders_shipped_time_idx ON orders (seller_id, shipped_time DESC, order_id DESC)
    INCLUDE (ship_by_latest) WHERE fulfilled_by = 'MERCHANT' AND shipped_time IS NOT NULL;
CREATE INDEX orders_cancelled_time_idx ON orders (seller_id, cancelled_time DESC, order_id DESC)
    WHERE fulfilled_by = 'MERCHANT' AND cancelled_time IS NOT NULL;
CREATE INDEX orders_confirmed_late_idx ON orders (seller_id, created_time DESC, order_id DESC)
    WHERE fulfilled_by = 'MERCHANT' AND fulfillment_status = 'SHIPPED' AND shipped_time > ship_by_latest;
DROP INDEX orders_created_time_idx;
CREATE INDEX orders_created_time_idx ON orders (seller_id, created_time DESC, order_id DESC) INCLUDE (fulfilled_by);
"""

_PACKAGES = """
ALTER TABLE packages
    ADD COLUMN version integer NOT NULL DEFAULT 1,
    ADD COLUMN corrected_time timestamptz,
    ADD COLUMN tracking_time timestamptz;
"""

# A row in payment_service says that charges are made by one, whatever a single process was told: one that knows of none
# would settle outside what nobody settles. A charge that may have been made, or is to be made, always has a time at
# which the worker comes back to it.
_CHARGES = """
CREATE TABLE payment_service (
    singleton boolean NOT NULL DEFAULT true,
    CONSTRAINT payment_service_pkey PRIMARY KEY (singleton),
    CONSTRAINT payment_service_singleton_check CHECK (singleton)
);
ALTER TABLE charges
    ALTER COLUMN charged_time DROP NOT NULL,
    ADD COLUMN requested_time timestamptz,
    ADD COLUMN attempt_count integer NOT NULL DEFAULT 0,
    ADD COLUMN decline_count integer NOT NULL DEFAULT 0,
    ADD COLUMN next_attempt_time timestamptz,
    ADD COLUMN payment_reference text,
    ADD COLUMN decline_reason text;
UPDATE charges SET requested_time = charged_time;
ALTER TABLE charges
    ALTER COLUMN requested_time SET NOT NULL,
    ADD CONSTRAINT charges_charged_check CHECK ((charge_status = 'SUCCEEDED') = (charged_time IS NOT NULL)),
    ADD CONSTRAINT charges_settled_outside_check CHECK (NOT settled_outside OR charge_status = 'SUCCEEDED'),
    ADD CONSTRAINT charges_next_attempt_check CHECK (
        CASE charge_status WHEN 'SUCCEEDED' THEN next_attempt_time IS NULL WHEN 'DECLINED' THEN true
            ELSE next_attempt_time IS NOT NULL END
    ),
    ADD CONSTRAINT charges_counts_check CHECK (attempt_count >= 0 AND decline_count >= 0);
CREATE INDEX charges_next_attempt_idx ON charges (next_attempt_time, seller_id, order_id)
    WHERE next_attempt_time IS NOT NULL;
"""

# A refund belongs to a charge. Its key is the caller's: the same key is the same refund.
_REFUNDS = """
CREATE TABLE refunds (
    seller_id text NOT NULL,
    order_id text NOT NULL,
    refund_id uuid NOT NULL,
    idempotency_key text NOT NULL,
    request_digest bytea NOT NULL,
    amount numeric NOT NULL,
    currency_code text NOT NULL,
    refund_reason text NOT NULL,
    refund_status text NOT NULL,
    settled_outside boolean NOT NULL,
    requested_time timestamptz NOT NULL,
    requested_by text NOT NULL,
    refunded_time timestamptz,
    attempt_count integer NOT NULL DEFAULT 0,
    next_attempt_time timestamptz,
    payment_reference text,
    decline_reason text,
    CONSTRAINT refunds_pkey PRIMARY KEY (seller_id, order_id, refund_id),
    CONSTRAINT refunds_idempotency_key_key UNIQUE (seller_id, idempotency_key),
    CONSTRAINT refunds_charge_fkey FOREIGN KEY (seller_id, order_id) REFERENCES charges (seller_id, order_id),
    CONSTRAINT refunds_amount_check CHECK (amount > 0),
    CONSTRAINT refunds_refund_status_check CHECK (refund_status IN ('REQUESTED', 'SUCCEEDED', 'DECLINED', 'UNKNOWN')),
    CONSTRAINT refunds_refunded_check CHECK ((refund_status = 'SUCCEEDED') = (refunded_time IS NOT NULL)),
    CONSTRAINT refunds_settled_outside_check CHECK (NOT settled_outside OR refund_status = 'SUCCEEDED'),
    CONSTRAINT refunds_next_attempt_check
        CHECK ((refund_status IN ('REQUESTED', 'UNKNOWN')) = (next_attempt_time IS NOT NULL))
);
CREATE INDEX refunds_next_attempt_idx ON refunds (next_attempt_time, seller_id, order_id, refund_id)
    WHERE next_attempt_time IS NOT NULL;
CREATE TABLE refund_items (
    seller_id text NOT NULL,
    order_id text NOT NULL,
    refund_id uuid NOT NULL,
    order_item_id text NOT NULL,
    quantity integer,
    amount numeric NOT NULL,
    CONSTRAINT refund_items_pkey PRIMARY KEY (seller_id, order_id, refund_id, order_item_id),
    CONSTRAINT refund_items_refund_fkey FOREIGN KEY (seller_id, order_id, refund_id)
        REFERENCES refunds (seller_id, order_id, refund_id),
    CONSTRAINT refund_items_order_item_fkey FOREIGN KEY (seller_id, order_id, order_item_id)
        REFERENCES order_items (seller_id, order_id, order_item_id),
    CONSTRAINT refund_items_quantity_check CHECK (quantity > 0),
    CONSTRAINT refund_items_amount_check CHECK (amount >= 0)
);
DO $$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY['refunds', 'refund_items'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', table_name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', table_name);
        EXECUTE format(
            'CREATE POLICY seller_rows ON %I TO manage_orders_service '
            'USING (seller_id = NULLIF(current_setting(''app.seller_id'', true), ''''))', table_name);
        EXECUTE format('CREATE POLICY operator_rows ON %I TO manage_orders_operator USING (true)', table_name);
    END LOOP;
END
$$;
"""

# An event tells how the order stood afterwards.
_EVENTS = """
ALTER TABLE order_events
    ADD COLUMN fulfillment_status text,
    ADD COLUMN shipment_is_late boolean,
    DROP CONSTRAINT order_events_event_type_check,
    ADD CONSTRAINT order_events_event_type_check CHECK (event_type IN (
        'ORDER_RECEIVED', 'ORDER_UPDATED', 'SHIPMENT_CONFIRMED', 'ORDER_CANCELLED', 'PACKAGE_CHANGED',
        'PACKAGE_TRACKED', 'CHARGE_SUCCEEDED', 'CHARGE_DECLINED', 'CHARGE_UNKNOWN', 'REFUND_REQUESTED',
        'REFUND_SUCCEEDED', 'REFUND_DECLINED', 'REFUND_UNKNOWN', 'CANCELLATION_REQUESTED'
    ));
"""

# What a charge is for is never changed: only how far it got.
_GRANTS = """
GRANT UPDATE (
    charge_status, charged_time, attempt_count, decline_count, next_attempt_time, payment_reference, decline_reason
) ON charges TO manage_orders_service, manage_orders_operator;
GRANT SELECT ON payment_service TO manage_orders_service, manage_orders_operator;
GRANT INSERT ON payment_service TO manage_orders_operator;
GRANT SELECT, INSERT ON refunds, refund_items TO manage_orders_service, manage_orders_operator;
GRANT UPDATE (refund_status, refunded_time, attempt_count, next_attempt_time, payment_reference, decline_reason)
    ON refunds TO manage_orders_service, manage_orders_operator;
"""

_FORCED = """
ALTER TABLE orders FORCE ROW LEVEL SECURITY;
ALTER TABLE packages FORCE ROW LEVEL SECURITY;
ALTER TABLE charges FORCE ROW LEVEL SECURITY;
"""

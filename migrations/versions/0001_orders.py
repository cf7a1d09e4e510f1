"""Sellers, tokens, marketplaces, orders with their items, packages, charges and events, and the cancellation ledger."""

from migrations.sql import execute

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Run the step."""
    execute(_ROLES)
    execute(_CLOCK)
    execute(_JSON)
    execute(_REFERENCE)
    execute(_SELLERS)
    execute(_ORDERS)
    execute(_ORDER_PARTS)
    execute(_CANCELLATION)
    execute(_ROW_SECURITY)
    execute(_GRANTS)


# Roles belong to the cluster, not to the database: another database may have made them, perhaps at this moment. The
# owner becomes a member if it is allowed to, so that it may serve as well; owning the tables takes no membership.
_ROLES = """
DO $$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['manage_orders_service', 'manage_orders_operator'] LOOP
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) THEN
                EXECUTE format('CREATE ROLE %I NOLOGIN NOBYPASSRLS', role_name);
            END IF;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
        IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
            BEGIN
                EXECUTE format('GRANT %I TO CURRENT_USER', role_name);
            EXCEPTION WHEN insufficient_privilege OR unique_violation THEN
                NULL;
            END;
        END IF;
    END LOOP;
END
$$;
"""

# A row in sandbox_clock marks the database as a sandbox. A process outside sandbox mode says so on each connection, and
# is refused the time there: two clocks on one database would cancel orders that the other has not got to yet.
# statement_timestamp() is STABLE: an index can be searched with it, and a new statement reads it anew.
_CLOCK = """
CREATE TABLE sandbox_clock (
    singleton boolean NOT NULL DEFAULT true,
    clock_offset interval NOT NULL,
    CONSTRAINT sandbox_clock_pkey PRIMARY KEY (singleton),
    CONSTRAINT sandbox_clock_singleton_check CHECK (singleton)
);
CREATE FUNCTION app_now() RETURNS timestamptz LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
DECLARE
    moved interval;
BEGIN
    SELECT clock_offset INTO moved FROM sandbox_clock;
    IF moved IS NULL THEN
        RETURN statement_timestamp();
    END IF;
    IF current_setting('app.sandbox', true) = 'off' THEN
        RAISE EXCEPTION 'the database is a sandbox, and this process is not in sandbox mode' USING ERRCODE = 'MO001';
    END IF;
    RETURN statement_timestamp() + moved;
END
$$;
"""

# Answers are put together as text: a NULL member is left out, and nothing is parsed again. A member brings its comma.
_JSON = """
CREATE FUNCTION json_member(name text, value text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN COALESCE(',"' || name || '":' || value, '');
CREATE FUNCTION json_text(name text, value text) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
    RETURN COALESCE(',"' || name || '":' || to_json(value)::text, '');
CREATE FUNCTION json_time(name text, value timestamptz) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE
    RETURN COALESCE(',"' || name || '":' || replace(to_json(value)::text, '+00:00', 'Z'), '');
CREATE FUNCTION json_braces(members text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN '{' || substr(NULLIF(members, ''), 2) || '}';
"""

_REFERENCE = """
CREATE TABLE marketplaces (
    marketplace_id text NOT NULL,
    marketplace_name text NOT NULL,
    country_code text NOT NULL,
    time_zone text NOT NULL,
    window_business_days integer NOT NULL DEFAULT 7,
    CONSTRAINT marketplaces_pkey PRIMARY KEY (marketplace_id),
    CONSTRAINT marketplaces_window_business_days_check CHECK (window_business_days BETWEEN 1 AND 30)
);
INSERT INTO marketplaces (marketplace_id, marketplace_name, country_code, time_zone) VALUES
    ('A2EUQ1WTGCTBG2', 'Amazon.ca', 'CA', 'America/Toronto'),
    ('ATVPDKIKX0DER', 'Amazon.com', 'US', 'America/Los_Angeles'),
    ('A1AM78C64UM0Y8', 'Amazon.com.mx', 'MX', 'America/Mexico_City'),
    ('A2Q3Y263D00KWC', 'Amazon.com.br', 'BR', 'America/Sao_Paulo'),
    ('A28R8C7NBKEWEA', 'Amazon.ie', 'IE', 'Europe/Dublin'),
    ('A1RKKUPIHCS9HS', 'Amazon.es', 'ES', 'Europe/Madrid'),
    ('A1F83G8C2ARO7P', 'Amazon.co.uk', 'GB', 'Europe/London'),
    ('A13V1IB3VIYZZH', 'Amazon.fr', 'FR', 'Europe/Paris'),
    ('AMEN7PMS3EDWL', 'Amazon.com.be', 'BE', 'Europe/Brussels'),
    ('A1805IZSGTT6HS', 'Amazon.nl', 'NL', 'Europe/Amsterdam'),
    ('A1PA6795UKMFR9', 'Amazon.de', 'DE', 'Europe/Berlin'),
    ('APJ6JRA9NG5V4', 'Amazon.it', 'IT', 'Europe/Rome'),
    ('A2NODRKZP88ZB9', 'Amazon.se', 'SE', 'Europe/Stockholm'),
    ('AE08WJ6YKNBMC', 'Amazon.co.za', 'ZA', 'Africa/Johannesburg'),
    ('A1C3SOZRARQ6R3', 'Amazon.pl', 'PL', 'Europe/Warsaw'),
    ('ARBP9OOSHTCHU', 'Amazon.eg', 'EG', 'Africa/Cairo'),
    ('A33AVAJ2PDY3EV', 'Amazon.com.tr', 'TR', 'Europe/Istanbul'),
    ('A17E79C6D8DWNP', 'Amazon.sa', 'SA', 'Asia/Riyadh'),
    ('A2VIGQ35RCS4UG', 'Amazon.ae', 'AE', 'Asia/Dubai'),
    ('A21TJRUUN4KGV', 'Amazon.in', 'IN', 'Asia/Kolkata'),
    ('A19VAU5U5O7RUS', 'Amazon.sg', 'SG', 'Asia/Singapore'),
    ('A39IBJ37TRP1C6', 'Amazon.com.au', 'AU', 'Australia/Sydney'),
    ('A1VC38T7YXB528', 'Amazon.co.jp', 'JP', 'Asia/Tokyo');
"""

# A token is looked up before its seller is known, by a function that runs as the owner and takes nothing but the hash.
_SELLERS = """
CREATE TABLE sellers (
    seller_id text NOT NULL,
    seller_name text NOT NULL,
    created_time timestamptz NOT NULL DEFAULT statement_timestamp(),
    CONSTRAINT sellers_pkey PRIMARY KEY (seller_id)
);
CREATE TABLE tokens (
    token_id uuid NOT NULL DEFAULT gen_random_uuid(),
    seller_id text,
    token_name text NOT NULL,
    token_hash bytea NOT NULL,
    scopes text[] NOT NULL,
    created_time timestamptz NOT NULL DEFAULT statement_timestamp(),
    revoked_time timestamptz,
    CONSTRAINT tokens_pkey PRIMARY KEY (token_id),
    CONSTRAINT tokens_token_hash_key UNIQUE (token_hash),
    CONSTRAINT tokens_seller_id_fkey FOREIGN KEY (seller_id) REFERENCES sellers (seller_id)
);
CREATE FUNCTION find_token(hash bytea)
RETURNS TABLE (token_id uuid, seller_id text, scopes text[])
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT token_id, seller_id, scopes FROM tokens WHERE token_hash = hash AND revoked_time IS NULL
$$;
REVOKE EXECUTE ON FUNCTION find_token(bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION find_token(bytea) TO manage_orders_service;
"""

# json, not jsonb, where a column holds what the channel sent: it is copied into answers as text and never searched.
_ORDERS = """
CREATE TABLE orders (
    seller_id text NOT NULL,
    order_id text NOT NULL,
    version integer NOT NULL,
    created_time timestamptz NOT NULL,
    last_updated_time timestamptz NOT NULL,
    marketplace_id text NOT NULL,
    channel_name text NOT NULL,
    fulfilled_by text NOT NULL,
    fulfillment_status text NOT NULL,
    fulfillment_service_level text,
    payment_status text,
    ship_by_earliest timestamptz,
    ship_by_latest timestamptz,
    confirm_by timestamptz,
    deliver_by_earliest timestamptz,
    deliver_by_latest timestamptz,
    grand_total numeric,
    currency_code text,
    confirmed_time timestamptz,
    shipped_time timestamptz,
    cancelled_time timestamptz,
    cancel_reason text,
    cancellation_run_id uuid,
    channel_digest bytea NOT NULL,
    channel_updated_time timestamptz,
    sales_channel json NOT NULL,
    buyer json,
    recipient json,
    proceeds json,
    payment_executions json,
    label_printing_window json,
    details text NOT NULL,
    CONSTRAINT orders_pkey PRIMARY KEY (seller_id, order_id),
    CONSTRAINT orders_seller_id_fkey FOREIGN KEY (seller_id) REFERENCES sellers (seller_id),
    CONSTRAINT orders_marketplace_id_fkey FOREIGN KEY (marketplace_id) REFERENCES marketplaces (marketplace_id),
    CONSTRAINT orders_channel_name_check CHECK (channel_name IN ('AMAZON', 'NON_AMAZON')),
    CONSTRAINT orders_fulfilled_by_check CHECK (fulfilled_by IN ('AMAZON', 'MERCHANT')),
    CONSTRAINT orders_fulfillment_status_check
        CHECK (fulfillment_status IN ('PENDING', 'UNSHIPPED', 'PARTIALLY_SHIPPED', 'SHIPPED', 'CANCELLED')),
    CONSTRAINT orders_payment_status_check
        CHECK (payment_status IN ('AUTHORIZED', 'CHARGED', 'PARTIALLY_REFUNDED', 'REFUNDED', 'UNPAID')),
    CONSTRAINT orders_pending_check CHECK ((fulfillment_status = 'PENDING') = (payment_status IS NULL)),
    CONSTRAINT orders_cancelled_check CHECK (
        (fulfillment_status = 'CANCELLED') = (cancelled_time IS NOT NULL)
        AND (fulfillment_status = 'CANCELLED') = (cancel_reason IS NOT NULL)
        AND (fulfillment_status = 'CANCELLED') = (COALESCE(payment_status, '') = 'UNPAID')
    ),
    CONSTRAINT orders_confirmed_check CHECK (
        (fulfillment_status IN ('PARTIALLY_SHIPPED', 'SHIPPED')) = (confirmed_time IS NOT NULL)
        AND (confirmed_time IS NOT NULL)
            = (COALESCE(payment_status, '') IN ('CHARGED', 'PARTIALLY_REFUNDED', 'REFUNDED'))
    ),
    CONSTRAINT orders_shipped_check CHECK ((fulfillment_status = 'SHIPPED') = (shipped_time IS NOT NULL)),
    CONSTRAINT orders_grand_total_check CHECK (
        grand_total >= 0 AND (grand_total IS NULL) = (currency_code IS NULL)
        AND (grand_total IS NOT NULL OR fulfillment_status IN ('PENDING', 'CANCELLED'))
    ),
    CONSTRAINT orders_confirm_by_check CHECK (
        (confirm_by IS NULL) = (ship_by_latest IS NULL OR fulfilled_by = 'AMAZON')
        AND confirm_by > ship_by_latest
        AND (confirm_by IS NOT NULL OR fulfilled_by = 'AMAZON' OR fulfillment_status IN ('PENDING', 'CANCELLED'))
    ),
    CONSTRAINT orders_not_confirmed_in_time_check CHECK (
        cancel_reason <> 'NOT_CONFIRMED_IN_TIME'
        OR (cancelled_time >= confirm_by AND cancellation_run_id IS NOT NULL)
    )
);
CREATE INDEX orders_created_time_idx ON orders (seller_id, created_time DESC, order_id DESC);
CREATE INDEX orders_last_updated_time_idx ON orders (seller_id, last_updated_time DESC, order_id DESC);
CREATE INDEX orders_fulfillment_status_idx
    ON orders (seller_id, fulfillment_status, created_time DESC, order_id DESC);
CREATE INDEX orders_due_idx ON orders (confirm_by, seller_id, order_id)
    WHERE fulfillment_status = 'UNSHIPPED' AND fulfilled_by = 'MERCHANT';
"""

_ORDER_PARTS = """
CREATE TABLE order_items (
    seller_id text NOT NULL,
    order_id text NOT NULL,
    order_item_id text NOT NULL,
    item_number integer NOT NULL,
    quantity_ordered integer NOT NULL,
    quantity_fulfilled integer NOT NULL,
    details text NOT NULL,
    fulfillment_details text NOT NULL,
    CONSTRAINT order_items_pkey PRIMARY KEY (seller_id, order_id, order_item_id),
    CONSTRAINT order_items_order_fkey FOREIGN KEY (seller_id, order_id) REFERENCES orders (seller_id, order_id),
    CONSTRAINT order_items_quantity_check CHECK (quantity_fulfilled BETWEEN 0 AND quantity_ordered)
);
CREATE TABLE packages (
    seller_id text NOT NULL,
    order_id text NOT NULL,
    package_reference_id text NOT NULL,
    created_time timestamptz NOT NULL,
    package_status text NOT NULL,
    delivered_time timestamptz,
    carrier_code text,
    carrier_name text,
    shipping_service text,
    tracking_number text,
    ship_time timestamptz,
    confirmation_digest bytea,
    ship_from_address json,
    detailed_status text,
    CONSTRAINT packages_pkey PRIMARY KEY (seller_id, order_id, package_reference_id),
    CONSTRAINT packages_order_fkey FOREIGN KEY (seller_id, order_id) REFERENCES orders (seller_id, order_id),
    CONSTRAINT packages_package_status_check
        CHECK (package_status IN ('PENDING', 'IN_TRANSIT', 'SHIPPED', 'DELIVERED', 'CANCELLED', 'UNDELIVERABLE')),
    CONSTRAINT packages_delivered_check CHECK ((package_status = 'DELIVERED') = (delivered_time IS NOT NULL))
);
CREATE TABLE package_items (
    seller_id text NOT NULL,
    order_id text NOT NULL,
    package_reference_id text NOT NULL,
    order_item_id text NOT NULL,
    quantity integer NOT NULL,
    transparency_codes text[],
    CONSTRAINT package_items_pkey PRIMARY KEY (seller_id, order_id, package_reference_id, order_item_id),
    CONSTRAINT package_items_package_fkey FOREIGN KEY (seller_id, order_id, package_reference_id)
        REFERENCES packages (seller_id, order_id, package_reference_id),
    CONSTRAINT package_items_order_item_fkey FOREIGN KEY (seller_id, order_id, order_item_id)
        REFERENCES order_items (seller_id, order_id, order_item_id),
    CONSTRAINT package_items_quantity_check CHECK (quantity > 0)
);
CREATE TABLE charges (
    seller_id text NOT NULL,
    order_id text NOT NULL,
    amount numeric NOT NULL,
    currency_code text NOT NULL,
    charge_status text NOT NULL,
    settled_outside boolean NOT NULL,
    charged_time timestamptz NOT NULL,
    CONSTRAINT charges_pkey PRIMARY KEY (seller_id, order_id),
    CONSTRAINT charges_order_fkey FOREIGN KEY (seller_id, order_id) REFERENCES orders (seller_id, order_id),
    CONSTRAINT charges_amount_check CHECK (amount >= 0),
    CONSTRAINT charges_charge_status_check CHECK (charge_status IN ('REQUESTED', 'SUCCEEDED', 'DECLINED', 'UNKNOWN'))
);
CREATE TABLE order_events (
    seller_id text NOT NULL,
    order_id text NOT NULL,
    version integer NOT NULL,
    event_type text NOT NULL,
    event_time timestamptz NOT NULL,
    actor text NOT NULL,
    cancellation_run_id uuid,
    details json NOT NULL,
    CONSTRAINT order_events_pkey PRIMARY KEY (seller_id, order_id, version),
    CONSTRAINT order_events_order_fkey FOREIGN KEY (seller_id, order_id) REFERENCES orders (seller_id, order_id),
    CONSTRAINT order_events_event_type_check
        CHECK (event_type IN ('ORDER_RECEIVED', 'ORDER_UPDATED', 'SHIPMENT_CONFIRMED', 'ORDER_CANCELLED'))
);
"""

_CANCELLATION = """
CREATE TABLE cancellation_runs (
    run_id uuid NOT NULL DEFAULT gen_random_uuid(),
    slot timestamptz,
    dry_run boolean NOT NULL,
    state text NOT NULL,
    requested_by text NOT NULL,
    cutoff timestamptz NOT NULL,
    started_time timestamptz NOT NULL DEFAULT statement_timestamp(),
    heartbeat_time timestamptz NOT NULL DEFAULT statement_timestamp(),
    finished_time timestamptz,
    found_count integer NOT NULL DEFAULT 0,
    cancelled_count integer NOT NULL DEFAULT 0,
    skipped_count integer NOT NULL DEFAULT 0,
    error_count integer NOT NULL DEFAULT 0,
    CONSTRAINT cancellation_runs_pkey PRIMARY KEY (run_id),
    CONSTRAINT cancellation_runs_slot_key UNIQUE (slot),
    CONSTRAINT cancellation_runs_state_check
        CHECK (state IN ('RUNNING', 'SUCCEEDED', 'PARTIAL', 'FAILED', 'ABANDONED')),
    CONSTRAINT cancellation_runs_finished_check CHECK ((state = 'RUNNING') = (finished_time IS NULL)),
    CONSTRAINT cancellation_runs_dry_run_check CHECK (NOT dry_run OR (slot IS NULL AND cancelled_count = 0))
);
CREATE INDEX cancellation_runs_started_time_idx ON cancellation_runs (started_time DESC, run_id DESC);
CREATE INDEX cancellation_runs_running_idx ON cancellation_runs (heartbeat_time) WHERE state = 'RUNNING';
CREATE TABLE cancellation_errors (
    seller_id text NOT NULL,
    order_id text NOT NULL,
    run_id uuid NOT NULL,
    error text NOT NULL,
    CONSTRAINT cancellation_errors_pkey PRIMARY KEY (seller_id, order_id, run_id),
    CONSTRAINT cancellation_errors_order_fkey
        FOREIGN KEY (seller_id, order_id) REFERENCES orders (seller_id, order_id),
    CONSTRAINT cancellation_errors_run_fkey FOREIGN KEY (run_id) REFERENCES cancellation_runs (run_id)
);
CREATE INDEX cancellation_errors_run_idx ON cancellation_errors (run_id, seller_id, order_id);
"""

# Forced: the owner is held to the policies too. A service transaction sees the rows of the seller it has named and
# no others; after a commit the setting reads '' and matches nothing.
_ROW_SECURITY = """
DO $$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY[
        'sellers', 'tokens', 'orders', 'order_items', 'packages', 'package_items', 'charges', 'order_events',
        'cancellation_errors'
    ] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', table_name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', table_name);
        EXECUTE format(
            'CREATE POLICY seller_rows ON %I TO manage_orders_service '
            'USING (seller_id = NULLIF(current_setting(''app.seller_id'', true), ''''))', table_name);
        EXECUTE format('CREATE POLICY operator_rows ON %I TO manage_orders_operator USING (true)', table_name);
    END LOOP;
END
$$;
CREATE POLICY owner_rows ON tokens TO CURRENT_USER USING (true);
"""

# Events and charges are never changed, and nothing is deleted but the items of an order that is still PENDING.
_GRANTS = """
GRANT USAGE ON SCHEMA public TO manage_orders_service, manage_orders_operator;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO manage_orders_service, manage_orders_operator;
GRANT INSERT ON orders, order_items, packages, package_items, charges, order_events
    TO manage_orders_service, manage_orders_operator;
GRANT UPDATE ON orders, order_items, packages TO manage_orders_service, manage_orders_operator;
GRANT DELETE ON order_items TO manage_orders_service, manage_orders_operator;
GRANT INSERT ON sellers, tokens, marketplaces, cancellation_runs, cancellation_errors TO manage_orders_operator;
GRANT UPDATE ON tokens, marketplaces, cancellation_runs TO manage_orders_operator;
GRANT INSERT, UPDATE ON sandbox_clock TO manage_orders_operator;
"""

"""Deadlines that operations move to later: by an extension, or by a marketplace's new policy."""

from migrations.sql import execute

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Run the step."""
    execute(_DEADLINE_CHANGES)
    execute(_ORDERS)
    execute(_EVENTS)
    execute(_GRANTS)


# What is changed is said by the selection, and is looked up again at each batch: open orders only, and each to later
# only. The position is where the next batch goes on.
_DEADLINE_CHANGES = """
CREATE TABLE deadline_changes (
    change_id uuid NOT NULL DEFAULT gen_random_uuid(),
    change_type text NOT NULL,
    state text NOT NULL,
    selection json NOT NULL,
    reason text NOT NULL,
    requested_by text NOT NULL,
    requested_time timestamptz NOT NULL DEFAULT statement_timestamp(),
    marketplace_id text,
    policy_version integer,
    found_count integer NOT NULL,
    kept_count integer NOT NULL,
    orders_digest text NOT NULL,
    approved_by text,
    approved_time timestamptz,
    finished_time timestamptz,
    changed_count integer NOT NULL DEFAULT 0,
    position_seller_id text NOT NULL DEFAULT '',
    position_order_id text NOT NULL DEFAULT '',
    CONSTRAINT deadline_changes_pkey PRIMARY KEY (change_id),
    CONSTRAINT deadline_changes_policy_fkey FOREIGN KEY (marketplace_id, policy_version)
        REFERENCES marketplace_policies (marketplace_id, policy_version),
    CONSTRAINT deadline_changes_change_type_check CHECK (change_type IN ('EXTENSION', 'POLICY_CHANGE')),
    CONSTRAINT deadline_changes_state_check CHECK (state IN ('PREVIEWED', 'RUNNING', 'DONE')),
    CONSTRAINT deadline_changes_policy_check CHECK (
        (change_type = 'POLICY_CHANGE') = (policy_version IS NOT NULL)
        AND (policy_version IS NULL OR marketplace_id IS NOT NULL)
    ),
    CONSTRAINT deadline_changes_approved_check
        CHECK ((state = 'PREVIEWED') = (approved_time IS NULL) AND (approved_time IS NULL) = (approved_by IS NULL)),
    CONSTRAINT deadline_changes_finished_check CHECK ((state = 'DONE') = (finished_time IS NOT NULL))
);
CREATE INDEX deadline_changes_requested_time_idx ON deadline_changes (requested_time DESC, change_id DESC);
CREATE INDEX deadline_changes_running_idx ON deadline_changes (approved_time, change_id) WHERE state = 'RUNNING';
"""

# A change goes through the open orders by their key, which it does not move. Of a large table few are open, and those
# that are PENDING are in no other index of open ones: along the primary key a batch would read orders long shipped.
_ORDERS = """
CREATE INDEX orders_open_idx ON orders (seller_id, order_id)
    WHERE fulfilled_by = 'MERCHANT' AND fulfillment_status IN ('PENDING', 'UNSHIPPED');
"""

_EVENTS = """
ALTER TABLE order_events
    DROP CONSTRAINT order_events_event_type_check,
    ADD CONSTRAINT order_events_event_type_check CHECK (event_type IN (
        'ORDER_RECEIVED', 'ORDER_UPDATED', 'SHIPMENT_CONFIRMED', 'ORDER_CANCELLED', 'PACKAGE_CHANGED',
        'PACKAGE_TRACKED', 'CHARGE_SUCCEEDED', 'CHARGE_DECLINED', 'CHARGE_UNKNOWN', 'REFUND_REQUESTED',
        'REFUND_SUCCEEDED', 'REFUND_DECLINED', 'REFUND_UNKNOWN', 'CANCELLATION_REQUESTED', 'DEADLINE_EXTENDED'
    ));
"""

# A selection names orders of any seller: whoever acts for one reads none.
_GRANTS = """
GRANT SELECT, INSERT, UPDATE ON deadline_changes TO manage_orders_operator;
"""

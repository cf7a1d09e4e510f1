"""Files of confirmations: what they hold, row by row, and what became of each row."""

from migrations.sql import execute

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Run the step."""
    execute(_BATCHES)
    execute(_ROWS)
    execute(_ROW_SECURITY)


# A file without a seller is an operator's, whose rows name theirs. Files are worked in turns: at its turn one goes to
# the end of the queue, and it goes on behind the row at its position. The counts are exact once it is done.
_BATCHES = """
CREATE SEQUENCE confirmation_batch_turns;
CREATE TABLE confirmation_batches (
    batch_id uuid NOT NULL DEFAULT gen_random_uuid(),
    seller_id text,
    requested_by text NOT NULL,
    batch_format text NOT NULL,
    columns text[],
    state text NOT NULL,
    created_time timestamptz NOT NULL,
    finished_time timestamptz,
    row_count integer NOT NULL,
    confirmed_count integer NOT NULL DEFAULT 0,
    already_confirmed_count integer NOT NULL DEFAULT 0,
    refused_count integer NOT NULL DEFAULT 0,
    turn bigint NOT NULL DEFAULT nextval('confirmation_batch_turns'),
    position integer NOT NULL DEFAULT 0,
    CONSTRAINT confirmation_batches_pkey PRIMARY KEY (batch_id),
    CONSTRAINT confirmation_batches_seller_id_fkey FOREIGN KEY (seller_id) REFERENCES sellers (seller_id),
    CONSTRAINT confirmation_batches_batch_format_check CHECK (batch_format IN ('JSON', 'TSV')),
    CONSTRAINT confirmation_batches_columns_check CHECK ((batch_format = 'TSV') = (columns IS NOT NULL)),
    CONSTRAINT confirmation_batches_state_check CHECK (state IN ('RUNNING', 'DONE')),
    CONSTRAINT confirmation_batches_finished_check CHECK ((state = 'DONE') = (finished_time IS NOT NULL)),
    CONSTRAINT confirmation_batches_counts_check
        CHECK (state = 'RUNNING' OR confirmed_count + already_confirmed_count + refused_count = row_count)
);
CREATE INDEX confirmation_batches_seller_idx ON confirmation_batches (seller_id, created_time DESC, batch_id DESC);
CREATE INDEX confirmation_batches_created_time_idx ON confirmation_batches (created_time DESC, batch_id DESC);
CREATE INDEX confirmation_batches_open_idx ON confirmation_batches (turn, batch_id) WHERE state = 'RUNNING';
ALTER SEQUENCE confirmation_batch_turns OWNED BY confirmation_batches.turn;
"""

# The rows of some packages of an order are worked together: the first of them stands for all, and is what a worker
# locks, once the rows of the same order that come before are worked. A row whose order or seller cannot be read has a
# result from the start. Sellers are as the file names them, known or not.
_ROWS = """
CREATE TABLE confirmation_batch_rows (
    seller_id text NOT NULL,
    batch_id uuid NOT NULL,
    row_number integer NOT NULL,
    first_row_number integer NOT NULL,
    after_row_number integer,
    order_id text,
    content json NOT NULL,
    confirmation json,
    result text,
    outcome json,
    CONSTRAINT confirmation_batch_rows_pkey PRIMARY KEY (seller_id, batch_id, row_number),
    CONSTRAINT confirmation_batch_rows_order_check
        CHECK (after_row_number < first_row_number AND first_row_number <= row_number),
    CONSTRAINT confirmation_batch_rows_result_check CHECK (result IN ('CONFIRMED', 'ALREADY_CONFIRMED', 'REFUSED')),
    CONSTRAINT confirmation_batch_rows_outcome_check CHECK ((result IS NULL) = (outcome IS NULL)),
    CONSTRAINT confirmation_batch_rows_open_check
        CHECK (result IS NOT NULL OR (order_id IS NOT NULL AND confirmation IS NOT NULL))
);
CREATE INDEX confirmation_batch_rows_batch_idx ON confirmation_batch_rows (batch_id, row_number);
CREATE INDEX confirmation_batch_rows_open_idx ON confirmation_batch_rows (batch_id, first_row_number, row_number)
    WHERE result IS NULL;
"""

# What came in is never changed: only what became of it is added.
_ROW_SECURITY = """
DO $$
DECLARE
    table_name text;
BEGIN
    FOREACH table_name IN ARRAY ARRAY['confirmation_batches', 'confirmation_batch_rows'] LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', table_name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', table_name);
        EXECUTE format(
            'CREATE POLICY seller_rows ON %I TO manage_orders_service '
            'USING (seller_id = NULLIF(current_setting(''app.seller_id'', true), ''''))', table_name);
        EXECUTE format('CREATE POLICY operator_rows ON %I TO manage_orders_operator USING (true)', table_name);
    END LOOP;
END
$$;
GRANT SELECT, INSERT ON confirmation_batches, confirmation_batch_rows
    TO manage_orders_service, manage_orders_operator;
GRANT USAGE ON SEQUENCE confirmation_batch_turns TO manage_orders_service, manage_orders_operator;
GRANT UPDATE (state, finished_time, confirmed_count, already_confirmed_count, refused_count, turn, position)
    ON confirmation_batches TO manage_orders_operator;
GRANT UPDATE (result, outcome) ON confirmation_batch_rows TO manage_orders_service;
"""

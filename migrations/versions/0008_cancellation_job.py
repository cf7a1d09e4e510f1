"""The cancellation job: runs that are held, paused or missed, approvals, pauses, and the schedulers' signs of life."""

from migrations.sql import execute

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Run the step."""
    execute(_RUNS)
    execute(_CONTROL)
    execute(_SCHEDULERS)
    execute(_GRANTS)


# Runs are numbered as they begin, for a clock that is put back puts their times out of order, and passes its slots once
# more. A row that is MISSED stands for all slots from its own on that nobody worked. found_count is what was due when
# the run began. A dry run has the reasons for which another would be held.
_RUNS = """
ALTER TABLE cancellation_runs
    ADD COLUMN run_number bigint,
    ADD COLUMN slot_pass integer NOT NULL DEFAULT 1,
    ADD COLUMN slot_count integer NOT NULL DEFAULT 1,
    ADD COLUMN interval_s integer,
    ADD COLUMN open_count integer,
    ADD COLUMN orders_digest text,
    ADD COLUMN held_reasons json,
    ADD COLUMN approved_run_id uuid,
    DROP CONSTRAINT cancellation_runs_state_check,
    ADD CONSTRAINT cancellation_runs_state_check CHECK (
        state IN ('RUNNING', 'SUCCEEDED', 'PARTIAL', 'FAILED', 'ABANDONED', 'HELD', 'PAUSED', 'MISSED')
    ),
    DROP CONSTRAINT cancellation_runs_slot_key,
    ADD CONSTRAINT cancellation_runs_slot_key UNIQUE (slot, slot_pass),
    ADD CONSTRAINT cancellation_runs_held_check CHECK (
        (dry_run OR (state = 'HELD') = (held_reasons IS NOT NULL)) AND (state <> 'HELD' OR cancelled_count = 0)
    ),
    ADD CONSTRAINT cancellation_runs_slot_count_check CHECK (slot_count = 1 OR state = 'MISSED'),
    ADD CONSTRAINT cancellation_runs_missed_check
        CHECK (state <> 'MISSED' OR (slot IS NOT NULL AND cancelled_count = 0)),
    ADD CONSTRAINT cancellation_runs_approved_run_fkey
        FOREIGN KEY (approved_run_id) REFERENCES cancellation_runs (run_id);
UPDATE cancellation_runs SET interval_s = 60 WHERE slot IS NOT NULL;
WITH numbered AS (SELECT run_id, row_number() OVER (ORDER BY started_time, run_id) AS number FROM cancellation_runs)
UPDATE cancellation_runs r SET run_number = n.number FROM numbered n WHERE r.run_id = n.run_id;
ALTER TABLE cancellation_runs ALTER COLUMN run_number SET NOT NULL;
ALTER TABLE cancellation_runs ALTER COLUMN run_number ADD GENERATED ALWAYS AS IDENTITY;
SELECT setval(
    pg_get_serial_sequence('cancellation_runs', 'run_number'),
    (SELECT COALESCE(max(run_number), 0) + 1 FROM cancellation_runs), false
);
DROP INDEX cancellation_runs_started_time_idx;
CREATE UNIQUE INDEX cancellation_runs_run_number_idx ON cancellation_runs (run_number);
CREATE INDEX cancellation_runs_state_idx ON cancellation_runs (state, run_number);
CREATE INDEX cancellation_runs_slot_idx ON cancellation_runs (run_number) WHERE slot IS NOT NULL;
-- A sweep leaves dead entries at the end of the index that an idle one reads; a fifth of all orders would be too many.
ALTER TABLE orders SET (autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX orders_cancellation_run_idx ON orders (cancellation_run_id, seller_id, order_id)
    WHERE cancellation_run_id IS NOT NULL;
"""

# Times here are the database's own, not the sandbox clock's: a pause is for people. Nothing is ever taken out.
_CONTROL = """
CREATE TABLE cancellation_pauses (
    pause_id uuid NOT NULL DEFAULT gen_random_uuid(),
    paused_time timestamptz NOT NULL DEFAULT statement_timestamp(),
    paused_by text NOT NULL,
    reason text NOT NULL,
    until_time timestamptz NOT NULL,
    resumed_time timestamptz,
    resumed_by text,
    CONSTRAINT cancellation_pauses_pkey PRIMARY KEY (pause_id),
    CONSTRAINT cancellation_pauses_until_check
        CHECK (until_time > paused_time AND until_time <= paused_time + interval '72 hours'),
    CONSTRAINT cancellation_pauses_resumed_check CHECK ((resumed_time IS NULL) = (resumed_by IS NULL))
);
CREATE UNIQUE INDEX cancellation_pauses_standing_idx ON cancellation_pauses ((true)) WHERE resumed_time IS NULL;
CREATE TABLE cancellation_approvals (
    run_id uuid NOT NULL,
    expected_count integer NOT NULL,
    reason text NOT NULL,
    approved_by text NOT NULL,
    approved_time timestamptz NOT NULL DEFAULT statement_timestamp(),
    expires_time timestamptz NOT NULL,
    used_time timestamptz,
    used_by_run_id uuid,
    CONSTRAINT cancellation_approvals_pkey PRIMARY KEY (run_id),
    CONSTRAINT cancellation_approvals_run_fkey FOREIGN KEY (run_id) REFERENCES cancellation_runs (run_id),
    CONSTRAINT cancellation_approvals_used_by_run_fkey
        FOREIGN KEY (used_by_run_id) REFERENCES cancellation_runs (run_id),
    CONSTRAINT cancellation_approvals_used_check CHECK ((used_time IS NULL) = (used_by_run_id IS NULL)),
    CONSTRAINT cancellation_approvals_expires_check CHECK (expires_time > approved_time)
);
"""

# scheduler_events counts what APScheduler has told the process since its start, by the name of the event.
_SCHEDULERS = """
CREATE TABLE schedulers (
    scheduler_id text NOT NULL,
    host text NOT NULL,
    process_id integer NOT NULL,
    program_version text NOT NULL,
    started_time timestamptz NOT NULL DEFAULT statement_timestamp(),
    heartbeat_time timestamptz NOT NULL DEFAULT statement_timestamp(),
    stopped_time timestamptz,
    clock_skew_ms bigint NOT NULL DEFAULT 0,
    scheduler_events json NOT NULL DEFAULT '{}',
    CONSTRAINT schedulers_pkey PRIMARY KEY (scheduler_id)
);
CREATE INDEX schedulers_heartbeat_time_idx ON schedulers (heartbeat_time, scheduler_id);
"""

_GRANTS = """
GRANT SELECT, INSERT, UPDATE ON cancellation_pauses, cancellation_approvals TO manage_orders_operator;
GRANT SELECT, INSERT, UPDATE, DELETE ON schedulers TO manage_orders_operator;
"""

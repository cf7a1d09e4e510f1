"""Views that users save: filters, columns, sort and page size."""

from migrations.sql import execute

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Run the step."""
    execute(_SAVED_VIEWS)
    execute(_ROW_SECURITY)


# A view without `private_to` is shared with the seller: NULLs are equal here, so that its names are unique as well.
# Every list a user sees is read from the name's index.
_SAVED_VIEWS = """
CREATE TABLE saved_views (
    seller_id text NOT NULL,
    view_id uuid NOT NULL DEFAULT gen_random_uuid(),
    private_to text,
    view_name text NOT NULL,
    filters json NOT NULL,
    columns json NOT NULL,
    sort text,
    max_results_per_page integer,
    is_default boolean NOT NULL,
    version integer NOT NULL,
    created_time timestamptz NOT NULL,
    last_updated_time timestamptz NOT NULL,
    CONSTRAINT saved_views_pkey PRIMARY KEY (seller_id, view_id),
    CONSTRAINT saved_views_view_name_key UNIQUE NULLS NOT DISTINCT (seller_id, private_to, view_name),
    CONSTRAINT saved_views_seller_id_fkey FOREIGN KEY (seller_id) REFERENCES sellers (seller_id)
);
CREATE UNIQUE INDEX saved_views_default_idx ON saved_views (seller_id, private_to) NULLS NOT DISTINCT
    WHERE is_default;
"""

_ROW_SECURITY = """
ALTER TABLE saved_views ENABLE ROW LEVEL SECURITY;
ALTER TABLE saved_views FORCE ROW LEVEL SECURITY;
CREATE POLICY seller_rows ON saved_views TO manage_orders_service
    USING (seller_id = NULLIF(current_setting('app.seller_id', true), ''));
CREATE POLICY operator_rows ON saved_views TO manage_orders_operator USING (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON saved_views TO manage_orders_service;
GRANT SELECT ON saved_views TO manage_orders_operator;
"""

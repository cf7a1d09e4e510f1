"""Policies of marketplaces in versions, each with the days it was counted by, and what orders keep of them."""

from datetime import UTC, datetime
from importlib.metadata import version

from psycopg.types.json import Json

from migrations.sql import driver_connection, execute
from service.business_days import library_year

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Run the step."""
    execute(_POLICIES)
    execute(_CALENDARS)
    _take_calendars()
    execute(_ORDERS)
    execute(_GRANTS)


# A policy is never changed: a marketplace goes by its newest version, and an order by the one it was counted by.
# Weekdays are ISO numbers, Monday is 1; without any, the weekend is the country's.
_POLICIES = """
CREATE TABLE marketplace_policies (
    marketplace_id text NOT NULL,
    policy_version integer NOT NULL,
    country_code text NOT NULL,
    time_zone text NOT NULL,
    window_business_days integer NOT NULL,
    weekend smallint[],
    extra_working_days date[] NOT NULL DEFAULT '{}',
    extra_holidays json NOT NULL DEFAULT '{}',
    created_time timestamptz NOT NULL DEFAULT statement_timestamp(),
    created_by text NOT NULL,
    reason text,
    CONSTRAINT marketplace_policies_pkey PRIMARY KEY (marketplace_id, policy_version),
    CONSTRAINT marketplace_policies_marketplace_fkey
        FOREIGN KEY (marketplace_id) REFERENCES marketplaces (marketplace_id),
    CONSTRAINT marketplace_policies_policy_version_check CHECK (policy_version >= 1),
    CONSTRAINT marketplace_policies_window_business_days_check CHECK (window_business_days BETWEEN 1 AND 30),
    CONSTRAINT marketplace_policies_weekend_check
        CHECK (weekend <@ ARRAY[1, 2, 3, 4, 5, 6, 7]::smallint[] AND cardinality(weekend) <= 6)
);
INSERT INTO marketplace_policies (
    marketplace_id, policy_version, country_code, time_zone, window_business_days, created_by
)
SELECT marketplace_id, 1, country_code, time_zone, window_business_days, 'migration' FROM marketplaces;
ALTER TABLE marketplaces
    DROP COLUMN country_code,
    DROP COLUMN time_zone,
    DROP COLUMN window_business_days;
"""

# What the library said of a year when it was first needed. A deadline is counted by this, so that a newer library moves
# none; a new version of the policy asks the library again.
_CALENDARS = """
CREATE TABLE marketplace_calendars (
    marketplace_id text NOT NULL,
    policy_version integer NOT NULL,
    year integer NOT NULL,
    weekend smallint[] NOT NULL,
    weekend_workdays date[] NOT NULL,
    holidays json NOT NULL,
    library_version text NOT NULL,
    taken_time timestamptz NOT NULL DEFAULT statement_timestamp(),
    CONSTRAINT marketplace_calendars_pkey PRIMARY KEY (marketplace_id, policy_version, year),
    CONSTRAINT marketplace_calendars_policy_fkey FOREIGN KEY (marketplace_id, policy_version)
        REFERENCES marketplace_policies (marketplace_id, policy_version),
    CONSTRAINT marketplace_calendars_year_check CHECK (year BETWEEN 1 AND 9999),
    CONSTRAINT marketplace_calendars_weekend_check
        CHECK (weekend <@ ARRAY[1, 2, 3, 4, 5, 6, 7]::smallint[] AND cardinality(weekend) <= 6)
);
"""


def _take_calendars() -> None:
    """Take the days of the years around this one; any other is taken when an order needs it."""
    this_year = datetime.now(UTC).year
    connection = driver_connection()
    policies = connection.execute("SELECT marketplace_id, country_code FROM marketplace_policies").fetchall()
    for marketplace_id, country_code in policies:
        for year in range(this_year - 1, this_year + 2):
            try:
                days = library_year(country_code, year)
            except ValueError:  # not known to the library: refused to the orders that need it
                continue
            connection.execute(
                """
                INSERT INTO marketplace_calendars (
                    marketplace_id, policy_version, year, weekend, weekend_workdays, holidays, library_version
                ) VALUES (
                    %(marketplace_id)s, 1, %(year)s, %(weekend)s, %(weekend_workdays)s, %(holidays)s,
                    %(library_version)s
                )
                """,
                {
                    "marketplace_id": marketplace_id,
                    "year": year,
                    "weekend": sorted(days.weekend),
                    "weekend_workdays": sorted(days.weekend_workdays),
                    "holidays": Json({day.isoformat(): name for day, name in sorted(days.holidays.items())}),
                    "library_version": version("holidays"),
                },
            )


# Orders that were there were counted by the first versions. extended_until is what operations have promised: a deadline
# that is counted anew is never earlier. The default is for the rows that are there; new ones name their version.
_ORDERS = """
ALTER TABLE orders
    ADD COLUMN policy_version integer NOT NULL DEFAULT 1,
    ADD COLUMN extended_until timestamptz,
    ADD COLUMN deadline_change_id uuid,
    ADD CONSTRAINT orders_extended_until_check CHECK (extended_until IS NULL OR extended_until <= confirm_by);
ALTER TABLE orders ALTER COLUMN policy_version DROP DEFAULT;
"""

_GRANTS = """
GRANT SELECT ON marketplace_policies, marketplace_calendars TO manage_orders_service, manage_orders_operator;
GRANT INSERT ON marketplace_policies TO manage_orders_operator;
GRANT INSERT ON marketplace_calendars TO manage_orders_service, manage_orders_operator;
"""

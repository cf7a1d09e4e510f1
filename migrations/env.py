"""Run migrations under an advisory lock, as plain SQL, over psycopg."""

import time

import sqlalchemy
from alembic import context

# Two processes may start at once. A blocking lock would deadlock with CREATE INDEX CONCURRENTLY, so this one is polled.
ADVISORY_LOCK_KEY = 5_204_917_336
LOCK_POLL_S = 0.2
LOCK_TIMEOUT_S = 300


def _lock(connection: sqlalchemy.Connection) -> None:
    statement = sqlalchemy.text("SELECT pg_try_advisory_lock(:key)")
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    while not connection.execute(statement, {"key": ADVISORY_LOCK_KEY}).scalar_one():
        if time.monotonic() > deadline:
            raise TimeoutError("another migration has been running for five minutes")
        time.sleep(LOCK_POLL_S)
    connection.commit()


def _run() -> None:
    engine = sqlalchemy.create_engine(
        "postgresql+psycopg://",
        creator=context.config.attributes["connect"],
        poolclass=sqlalchemy.NullPool,  # the lock ends with its connection
    )
    with engine.connect() as connection:
        _lock(connection)
        context.configure(connection=connection, transaction_per_migration=True)
        with context.begin_transaction():
            context.run_migrations()


_run()

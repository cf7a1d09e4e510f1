"""Shows that a scheduler process lives, in the database, where operations look for it."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from uuid import uuid4

import structlog
from apscheduler.events import (
    EVENT_JOB_ERROR,
    EVENT_JOB_EXECUTED,
    EVENT_JOB_MAX_INSTANCES,
    EVENT_JOB_MISSED,
    EVENT_JOB_SUBMITTED,
    JobEvent,
)

from service.cancellation_job.heartbeats import (
    Scheduler,
    delete_silent_schedulers,
    read_database_time,
    save_heartbeat,
    save_stop,
)
from service.database import Database

COUNTED_EVENTS = {
    EVENT_JOB_SUBMITTED: "SUBMITTED",
    EVENT_JOB_EXECUTED: "EXECUTED",
    EVENT_JOB_ERROR: "ERROR",
    EVENT_JOB_MISSED: "MISSED",
    EVENT_JOB_MAX_INSTANCES: "MAX_INSTANCES",
}

# Logs that the heart cannot beat, and nothing else: once a minute is enough (see `service.logs`).
_log = structlog.stdlib.get_logger(__name__)


class Heart:
    """Beats for one process, and counts what APScheduler tells of its jobs."""

    def __init__(self, database: Database) -> None:
        host, process_id = socket.gethostname(), os.getpid()
        self.scheduler = Scheduler(
            scheduler_id=f"{host}:{process_id}:{uuid4().hex[:8]}",
            host=host,
            process_id=process_id,
            program_version=version("manage-orders"),
        )
        self._database = database
        self._born_s = time.monotonic()
        # Events come from the threads of all executors.
        self._lock = threading.Lock()
        self._events = Counter(dict.fromkeys(COUNTED_EVENTS.values(), 0))

    def count(self, event: JobEvent) -> None:
        """Count an event of `COUNTED_EVENTS`."""
        with self._lock:
            self._events[COUNTED_EVENTS[event.code]] += 1

    def beat(self) -> None:
        """Write that the process lives, and what it counted; a failure is logged, and the next beat tries again."""
        with self._lock:
            events = dict(self._events)
        try:
            with self._database.operator_transaction() as connection:
                save_heartbeat(
                    connection,
                    self.scheduler,
                    age_s=time.monotonic() - self._born_s,
                    clock_skew_ms=_measure_skew_ms(lambda: read_database_time(connection)),
                    events=events,
                )
                delete_silent_schedulers(connection)
        except Exception:  # noqa: BLE001  # whatever it is, the next beat must try again
            _log.exception("heartbeat_failed")

    def stop(self) -> None:
        """Write that the process ends in order; without a database it ends all the same."""
        try:
            with self._database.operator_transaction() as connection:
                save_stop(connection, self.scheduler.scheduler_id)
        except Exception:  # noqa: BLE001  # its silence says it later
            _log.exception("heartbeat_failed")


def _measure_skew_ms(read: Callable[[], datetime]) -> int:
    """Return by how much the database's clock is ahead of the host's in the middle of a round trip."""
    before = datetime.now(UTC)
    told = read()
    after = datetime.now(UTC)
    return (told - before - (after - before) / 2) // timedelta(milliseconds=1)

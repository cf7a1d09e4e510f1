"""The scheduler process. Any number may run: the database decides which of them works a slot."""

from __future__ import annotations

import os
import signal
import socket
import threading
from datetime import UTC, datetime

import structlog
from apscheduler.events import EVENT_SCHEDULER_STARTED
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.blocking import BlockingScheduler
from apscheduler.triggers.cron import CronTrigger

from service.cancellation.jobs import run_scheduled_sweep
from service.database import Database
from service.settings import Settings

_log = structlog.stdlib.get_logger("service.scheduler")
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def run_scheduler(settings: Settings) -> None:
    """Sweep once now and then every minute, until SIGTERM or SIGINT; a sweep under way is finished first.

    Jobs are kept in memory and in UTC. A run that comes late is run all the same (`misfire_grace_time=None`), and
    several late ones are run once (`coalesce`). The scheduler blocks the main thread, so that its death is the
    process's death, which a supervisor sees.
    """
    database = Database(settings, pool_size=2)
    scheduler = BlockingScheduler(
        timezone=UTC,
        executors={"default": ThreadPoolExecutor(1)},
        job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
    )
    scheduler.add_job(
        run_scheduled_sweep,
        CronTrigger(second=0, timezone=UTC),
        kwargs={
            "database": database,
            "requested_by": f"scheduler:{socket.gethostname()}:{os.getpid()}",
            "batch_size": settings.sweep_batch_size,
        },
        id="cancellation-sweep",
        next_run_time=datetime.now(UTC),
    )

    def stop() -> None:
        number = signal.sigwait(_STOP_SIGNALS)
        _log.info("scheduler_stopping", signal=signal.Signals(number).name)
        scheduler.shutdown(wait=True)

    # A thread waits for the signal. A handler would run in the main thread, wherever that is: it could wait for a lock
    # that the main thread itself holds. Until the scheduler runs, and once it stops, a signal is kept waiting.
    def wait_for_signal(_: object) -> None:
        threading.Thread(target=stop, daemon=True).start()

    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    scheduler.add_listener(wait_for_signal, EVENT_SCHEDULER_STARTED)
    _log.info("scheduler_started", sandbox=settings.sandbox)
    scheduler.start()
    database.close()

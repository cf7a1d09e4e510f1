"""The scheduler process. Any number may run: the database decides which of them does what."""

from __future__ import annotations

import os
import signal
import socket
import threading
from datetime import UTC, datetime, timedelta

import structlog
from apscheduler.events import EVENT_SCHEDULER_STARTED
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.blocking import BlockingScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from service.cancellation.jobs import run_scheduled_sweep
from service.confirmation_batches.jobs import work_batches
from service.database import Database
from service.payments.client import PaymentClient
from service.payments.jobs import note_payment_service, warn_of_waiting_payments, work_payments
from service.settings import Settings

WORK_INTERVAL_S = 2

_log = structlog.stdlib.get_logger("service.scheduler")
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def run_scheduler(settings: Settings) -> None:
    """Sweep once now and then every minute, and work files and payments as they come, until SIGTERM or SIGINT.

    Jobs are kept in memory and in UTC. A run that comes late is run all the same (`misfire_grace_time=None`), and
    several late ones are run once (`coalesce`). Each job has a thread of its own: a long file holds up no sweep. The
    scheduler blocks the main thread, so that its death is the process's death, which a supervisor sees. At the end a
    sweep under way is finished; a file is left at the next order, and the payments at the next one.
    """
    stopping = threading.Event()
    with Database(settings, pool_size=4).closing() as database:
        scheduler = BlockingScheduler(
            timezone=UTC,
            executors={name: ThreadPoolExecutor(1) for name in ("default", "batches", "payments")},
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        )
        _add_sweep(scheduler, database, settings)
        _add_batches(scheduler, database, settings, stopping)
        _add_payments(scheduler, database, settings, stopping)
        _stop_by_signal(scheduler, stopping)
        _log.info("scheduler_started", sandbox=settings.sandbox)
        scheduler.start()


def _add_sweep(scheduler: BlockingScheduler, database: Database, settings: Settings) -> None:
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


def _add_batches(
    scheduler: BlockingScheduler, database: Database, settings: Settings, stopping: threading.Event
) -> None:
    scheduler.add_job(
        work_batches,
        IntervalTrigger(seconds=WORK_INTERVAL_S, timezone=UTC),
        kwargs={
            "database": database,
            "settled_outside": settings.settles_outside,
            "is_stopping": stopping.is_set,
        },
        id="confirmation-batches",
        executor="batches",
    )


def _add_payments(
    scheduler: BlockingScheduler, database: Database, settings: Settings, stopping: threading.Event
) -> None:
    """Let payments be made; without a payment service, let it be told that some wait for one."""
    every = IntervalTrigger(seconds=WORK_INTERVAL_S, timezone=UTC)
    hourly = IntervalTrigger(hours=1, start_date=datetime.now(UTC) + timedelta(seconds=WORK_INTERVAL_S), timezone=UTC)
    if settings.settles_outside:
        scheduler.add_job(warn_of_waiting_payments, hourly, (database,), id="waiting-payments", executor="payments")
        return
    work = (database, PaymentClient(settings), stopping.is_set)
    scheduler.add_job(note_payment_service, hourly, (database,), id="payment-service", executor="payments")
    scheduler.add_job(work_payments, every, work, id="payments", executor="payments")


def _stop_by_signal(scheduler: BlockingScheduler, stopping: threading.Event) -> None:
    """Let a thread wait for the signal.

    A handler would run in the main thread, wherever that is: it could wait for a lock that the main thread itself
    holds. Until the scheduler runs, and once it stops, a signal is kept waiting.
    """

    def stop() -> None:
        number = signal.sigwait(_STOP_SIGNALS)
        _log.info("scheduler_stopping", signal=signal.Signals(number).name)
        stopping.set()
        scheduler.shutdown(wait=True)

    def wait_for_signal(_: object) -> None:
        threading.Thread(target=stop, daemon=True).start()

    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    scheduler.add_listener(wait_for_signal, EVENT_SCHEDULER_STARTED)

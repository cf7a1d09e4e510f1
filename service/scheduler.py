"""The scheduler process. Any number may run: the database decides which of them does what."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import structlog
from apscheduler.events import EVENT_SCHEDULER_STARTED
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.blocking import BlockingScheduler
from apscheduler.triggers.interval import IntervalTrigger

from service.cancellation_job.jobs import run_scheduled_sweep
from service.cancellation_job.rules import ClockWatch, SweepOptions
from service.confirmation_batches.jobs import work_batches
from service.database import Database
from service.deadlines.changes_jobs import work_deadline_changes
from service.heart import COUNTED_EVENTS, Heart
from service.liveness import serving_liveness
from service.payments.client import PaymentClient
from service.payments.jobs import note_payment_service, warn_of_waiting_payments, work_payments
from service.pings import sending_pings
from service.settings import Settings
from service.watchdog import Watchdog, end_process

WORK_INTERVAL_S = 2
BEAT_INTERVAL_S = 10
# A sweep starts so much after its slot, or a quarter of a short one: the database, whose clock tells the slots, may be
# a little behind the host, and would find it in the slot before.
SLOT_MARGIN_S = 1
# The liveness is doubted when so much of what the watchdog allows has passed: an orchestrator sees it coming.
DOUBT_SHARE = 0.5
EXECUTORS = ("sweep", "deadlines", "batches", "payments", "heart")

_log = structlog.stdlib.get_logger("service.scheduler")
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def run_scheduler(settings: Settings) -> None:
    """Sweep once now and then every slot, and work files and payments as they come, until SIGTERM or SIGINT.

    Jobs are kept in memory and in UTC. A run that comes late is run all the same (`misfire_grace_time=None`), and
    several late ones are run once (`coalesce`). Each kind of job has a thread of its own: a long file holds up no
    sweep. At the end a sweep under way is finished; a file is left at the next order, and the payments at the next one.

    The process never lives on without its sweep: whatever ends the scheduler, or keeps a sweep from beginning or from
    ending, ends the process, which a supervisor sees.
    """
    # Before the first thread starts, for a signal goes to any that does not block it.
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOP_SIGNALS)
    stopping = threading.Event()
    watchdog = Watchdog(
        interval_s=settings.sweep_interval_s, limit_s=settings.sweep_limit_s, is_stopping=stopping.is_set
    )
    with (
        Database(settings, pool_size=len(EXECUTORS) + 1).closing() as database,
        serving_liveness(settings.host, settings.scheduler_port, lambda: watchdog.find_stall(DOUBT_SHARE)),
        sending_pings(settings.ping_url) as ping,
    ):
        heart = Heart(database)
        requested_by = f"scheduler:{heart.scheduler.scheduler_id}"
        # One clock for all of them: it compares the database's with its own.
        sweep = partial(run_scheduled_sweep, database, requested_by, SweepOptions.of(settings), ClockWatch(), ping)
        scheduler = _make_scheduler()
        _add_sweep(scheduler, sweep, watchdog, settings)
        _add_heart(scheduler, heart, settings)
        _add_work(scheduler, database, settings, stopping)
        stopped = _stop_by_signal(scheduler, stopping)
        watchdog.start()
        _log.info("scheduler_started", sandbox=settings.sandbox, scheduler_id=heart.scheduler.scheduler_id)
        _block(scheduler, stopping)
        stopped.wait()  # the scheduler may return while a sweep under way still needs the database
        heart.stop()


def _make_scheduler() -> BlockingScheduler:
    return BlockingScheduler(
        timezone=UTC,
        executors={name: ThreadPoolExecutor(1) for name in EXECUTORS},
        job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
    )


def _block(scheduler: BlockingScheduler, stopping: threading.Event) -> None:
    """Run until the stop; end the process if it comes without being asked for."""
    try:
        scheduler.start()
    except BaseException as error:  # noqa: BLE001  # the threads of its jobs would keep the process alive
        _log.exception("scheduler_failed")
        end_process(f"the scheduler failed: {type(error).__name__}")
    if not stopping.is_set():
        end_process("the scheduler ended by itself")


def _add_sweep(scheduler: BlockingScheduler, sweep: Callable[[], None], watchdog: Watchdog, settings: Settings) -> None:
    """Sweep at once and then in every slot, in one thread, under the eyes of the watchdog."""

    def watched_sweep() -> None:
        with watchdog.sweeping():
            sweep()

    # Apart, for an interval is counted from the run before it.
    scheduler.add_job(watched_sweep, id="first-cancellation-sweep", executor="sweep")
    every_slot = slot_trigger(settings.sweep_interval_s)
    scheduler.add_job(watched_sweep, every_slot, id="cancellation-sweep", executor="sweep")


def slot_trigger(interval_s: int) -> IntervalTrigger:
    """Return what fires in every slot, which are counted from the epoch."""
    start = datetime.fromtimestamp(min(SLOT_MARGIN_S, interval_s / 4), UTC)
    return IntervalTrigger(seconds=interval_s, start_date=start, timezone=UTC)


def _add_heart(scheduler: BlockingScheduler, heart: Heart, settings: Settings) -> None:
    every = IntervalTrigger(seconds=min(BEAT_INTERVAL_S, settings.sweep_interval_s), timezone=UTC)
    scheduler.add_listener(heart.count, sum(COUNTED_EVENTS))
    scheduler.add_job(heart.beat, every, id="heartbeat", executor="heart", next_run_time=datetime.now(UTC))


def _add_work(scheduler: BlockingScheduler, database: Database, settings: Settings, stopping: threading.Event) -> None:
    """Let operators' changes of deadlines, sellers' files and payments be worked."""
    every = IntervalTrigger(seconds=WORK_INTERVAL_S, timezone=UTC)
    scheduler.add_job(work_deadline_changes, every, (database,), id="deadline-changes", executor="deadlines")
    batches = {"database": database, "settled_outside": settings.settles_outside, "is_stopping": stopping.is_set}
    scheduler.add_job(work_batches, every, kwargs=batches, id="confirmation-batches", executor="batches")
    _add_payments(scheduler, database, settings, stopping)


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


def _stop_by_signal(scheduler: BlockingScheduler, stopping: threading.Event) -> threading.Event:
    """Let a thread wait for the signal, and return what is set when every job has come to its end.

    A handler would run in the main thread, wherever that is: it could wait for a lock that the main thread itself
    holds. Until the scheduler runs, and once it stops, a signal is kept waiting.
    """
    stopped = threading.Event()

    def stop() -> None:
        number = signal.sigwait(_STOP_SIGNALS)
        _log.info("scheduler_stopping", signal=signal.Signals(number).name)
        stopping.set()
        try:
            scheduler.shutdown(wait=True)
        finally:
            stopped.set()

    def wait_for_signal(_: object) -> None:
        threading.Thread(target=stop, daemon=True).start()

    scheduler.add_listener(wait_for_signal, EVENT_SCHEDULER_STARTED)
    return stopped

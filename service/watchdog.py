"""Ends a scheduler whose sweep has stopped: what hangs in a thread cannot be ended without its process."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import NoReturn

import structlog

from service.cancellation_job.job_rules import PATIENCE_INTERVALS

# What such a process ends with, so that a supervisor knows to start it anew: EX_SOFTWARE of sysexits.h.
STALLED = 70
LOOK_EVERY_S = 1.0
# No sweep has begun for as many intervals as the job is waited for, and a little more for a machine that is busy.
GRACE_S = 10
# What is last logged must not keep the process alive: whoever reads the log may hang too.
LAST_WORDS_S = 2

_log = structlog.stdlib.get_logger(__name__)


class Watchdog:
    """Judges from outside whether sweeps begin and come to their end.

    Time is the time for which the process was awake: no step counts for more than two looks. A process that was
    suspended, or stopped and continued, has missed its sweeps for no fault of its threads.
    """

    def __init__(
        self,
        *,
        interval_s: int,
        limit_s: int,
        is_stopping: Callable[[], bool],
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.look_every_s = min(LOOK_EVERY_S, interval_s / 4)
        self._limit_s = limit_s
        self._patience_s = PATIENCE_INTERVALS * interval_s + min(GRACE_S, interval_s)
        self._is_stopping = is_stopping
        self._monotonic_s = monotonic_s
        self._looked_s = monotonic_s()
        self._awake_s = 0.0
        # When a sweep last began or ended, and the thread that is at it now.
        self._changed_s = 0.0
        self._sweeper: int | None = None

    @contextmanager
    def sweeping(self) -> Generator[None]:
        """Be told that a sweep is running."""
        # The time first: whoever looks in between sees an old state that is young, and waits.
        self._changed_s, self._sweeper = self._awake_s, threading.get_ident()
        try:
            yield
        finally:
            self._changed_s, self._sweeper = self._awake_s, None

    def look(self) -> None:
        """Let time pass."""
        now = self._monotonic_s()
        self._awake_s += min(now - self._looked_s, 2 * self.look_every_s)
        self._looked_s = now

    def find_stall(self, share: float = 1.0) -> str | None:
        """Return why the sweep is taken for stalled, None while it is not; with a share of its limits, sooner."""
        sweeper, unchanged_s = self._sweeper, self._awake_s - self._changed_s
        if sweeper is not None:
            return f"a sweep has been running for {unchanged_s:.0f} s" if unchanged_s > share * self._limit_s else None
        if self._is_stopping():
            return None
        if not threading.main_thread().is_alive():
            return "the main thread has ended"
        return f"no sweep has begun for {unchanged_s:.0f} s" if unchanged_s > share * self._patience_s else None

    def start(self) -> None:
        """Look from a thread of its own, for as long as the process lives, and end it when its sweep has stalled."""
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def _watch(self) -> None:
        try:
            while True:
                time.sleep(self.look_every_s)
                self.look()
                if reason := self.find_stall():
                    end_process(reason, self._sweeper)
        except Exception as error:  # noqa: BLE001  # without it nobody would notice the next stall
            end_process(f"the watchdog failed: {type(error).__name__}")


def end_process(reason: str, thread_id: int | None = None) -> NoReturn:
    """End the process at once, whatever its threads do, and say why, and where the thread is."""
    # Nothing else tells where another thread is.
    frames = sys._current_frames()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    stack = traceback.extract_stack(frames[thread_id]) if thread_id in frames else ()
    where = [f"{each.filename}:{each.lineno} {each.name}" for each in stack]

    def tell() -> None:
        _log.critical("watchdog_ends_process", reason=reason, where=where)
        for handler in logging.getLogger().handlers:
            handler.flush()

    last_words = threading.Thread(target=tell, daemon=True)
    last_words.start()
    last_words.join(LAST_WORDS_S)
    os._exit(STALLED)

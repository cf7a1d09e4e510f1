"""The sweep as the scheduler runs it."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from service.cancellation_job.actions import sweep
from service.cancellation_job.ledger import CancellationRun
from service.cancellation_job.rules import ClockWatch, SweepOptions
from service.database import Database

# Told what happened (`start`, `fail`, or nothing for success) and what there is to say of it.
Ping = Callable[[str, str], None]

# With these the job did what it should: what is left is for the next run, or somebody wants it so.
_WELL = frozenset({"SUCCEEDED", "PARTIAL", "PAUSED"})

_log = structlog.stdlib.get_logger(__name__)


def run_scheduled_sweep(
    database: Database,
    requested_by: str,
    options: SweepOptions,
    clock: ClockWatch,
    ping: Ping = lambda _event, _text: None,
) -> None:
    """Work the present slot unless another scheduler does; a failure is logged, and the next slot tries again.

    Who works the slot pings, and who cannot even find out who does.
    """
    try:
        run = sweep(
            database,
            requested_by=requested_by,
            options=options,
            scheduled=True,
            clock=clock,
            on_begun=lambda begun: ping("start", _told(begun)),
        )
    except Exception:  # noqa: BLE001  # whatever it is, the next slot must try again
        _log.exception("sweep_failed")
        ping("fail", "FAILED")
        return
    if run is None:
        _log.debug("slot_taken")
        return
    ping("" if run.state in _WELL else "fail", _told(run))
    log = _log.warning if run.state != "SUCCEEDED" else _log.info
    log(
        "sweep_finished",
        run_id=str(run.run_id),
        state=run.state,
        found=run.found_count,
        cancelled=run.cancelled_count,
        skipped=run.skipped_count,
        errors=run.error_count,
    )


def _told(run: CancellationRun) -> str:
    return f"{run.state} {run.cancelled_count} {run.found_count} {run.run_id}"

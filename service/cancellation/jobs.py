"""The sweep as the scheduler runs it."""

from __future__ import annotations

import structlog

from service.cancellation.actions import sweep
from service.database import Database

_log = structlog.stdlib.get_logger(__name__)


def run_scheduled_sweep(database: Database, requested_by: str, batch_size: int) -> None:
    """Work this minute's slot unless another scheduler does; a failure is logged, and the next minute tries again."""
    try:
        run = sweep(database, requested_by=requested_by, scheduled=True, batch_size=batch_size)
    except Exception:  # noqa: BLE001  # whatever it is, the next minute must try again
        _log.exception("sweep_failed")
        return
    if run is None:
        _log.debug("slot_taken")
        return
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

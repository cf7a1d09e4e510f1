"""Changes of deadlines as the scheduler has them worked."""

from __future__ import annotations

import structlog

from service.database import Database
from service.deadlines.changes_actions import finish_deadline_changes

_log = structlog.stdlib.get_logger(__name__)


def work_deadline_changes(database: Database) -> None:
    """Work what is approved; a failure is logged, and the next run goes on from there."""
    try:
        finish_deadline_changes(database)
    except Exception:  # noqa: BLE001  # whatever it is, the next run must try again
        _log.exception("deadline_changes_failed")

"""Structured logs: one JSON object a line, without tokens and without personal data."""

from __future__ import annotations

import logging
import math
import sys
from typing import Any

import psycopg
import structlog
from psycopg_pool import PoolTimeout

# Their texts are about the database and its connections. The text of any other exception may repeat what somebody
# sent, as in `invalid input syntax for type integer: "Ada"`: only its type and its place are told.
_TEXTS_TOLD = (psycopg.OperationalError, PoolTimeout, OSError)

_traceback = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)


def _describe(exc_info: structlog.typing.ExcInfo) -> list[dict[str, Any]]:
    stacks = _traceback(exc_info)
    error: BaseException | None = exc_info[1]
    for stack in stacks:
        if not isinstance(error, _TEXTS_TOLD):
            del stack["exc_value"], stack["exc_notes"]
        if error is not None:
            error = error.__cause__ or error.__context__
    return stacks


class _OnceAMinute(logging.Filter):
    """Lets one record pass, and the next one a minute later."""

    _passed = -math.inf

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether the record passes."""
        if record.created < self._passed + 60:
            return False
        self._passed = record.created
        return True


def configure_logs(level: str) -> None:
    """Send the logs of this process, and of its libraries, to standard error as JSON lines."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,  # first, for the rest costs what nobody reads
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.ExceptionRenderer(_describe),
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    # The pool reports every refused connection of a database that is down, several times a second. The others tell one
    # thing only, every few seconds while it lasts.
    for name in ("psycopg.pool", "service.heart", "service.pings"):
        logging.getLogger(name).filters = [_OnceAMinute()]
    # Each call of the payment service with its address; and each run of a job, or that the one before it is still under
    # way, which is as it should be: what matters of them is told here.
    for name, least in (("httpx", logging.WARNING), ("httpcore", logging.WARNING), ("apscheduler", logging.ERROR)):
        logging.getLogger(name).setLevel(max(logging.getLevelNamesMapping()[level], least))

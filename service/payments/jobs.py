"""Charges and refunds as the scheduler has them made."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

import structlog

from service.database import Database
from service.payments import queries
from service.payments.actions import PaymentService, make_payment
from service.payments.queries import DuePayment
from service.payments.rules import NO_ANSWER

PAGE = 500
# A round ends after this, and the next one looks anew what has waited the longest.
RUN_LIMIT_S = 8
# A round ends after so many payments in a row without an answer: the service is down, and the next round asks again.
MAX_SILENCES = 5

_log = structlog.stdlib.get_logger(__name__)


def work_payments(database: Database, service: PaymentService, is_stopping: Callable[[], bool] = lambda: False) -> int:
    """Try what is due, one payment after the other, and return how many were tried; the next round has the rest.

    Any number of workers may run. What fails is logged and stays due, if it was claimed once its lease ends.
    """
    deadline, tried, silences = monotonic() + RUN_LIMIT_S, 0, 0
    for due in _find_due(database):
        if is_stopping() or silences == MAX_SILENCES or monotonic() > deadline:
            break
        try:
            verdict = make_payment(database, service, due)
        except Exception:  # noqa: BLE001  # the others must not wait for this one
            _log.exception("payment_failed", order_id=due.order_id, seller_id=due.seller_id)
            continue
        if verdict is not None:
            tried += 1
            silences = silences + 1 if verdict in NO_ANSWER else 0
    return tried


def note_payment_service(database: Database) -> None:
    """Keep that charges are made by a payment service, for processes that were told of none."""
    try:
        with database.operator_transaction() as connection:
            queries.note_payment_service(connection)
    except Exception:  # noqa: BLE001  # whatever it is, the next time must try again
        _log.exception("payments_failed")


def warn_of_waiting_payments(database: Database) -> None:
    """Say that payments are waiting, where no payment service is configured any more: nobody makes them."""
    try:
        with database.operator_transaction() as connection:
            waiting = queries.count_waiting_payments(connection)
    except Exception:  # noqa: BLE001  # whatever it is, the next time must try again
        _log.exception("payments_failed")
        return
    if waiting:
        _log.error("payments_waiting", count=waiting, missing="PAYMENT_SERVICE_URL")


def _find_due(database: Database) -> list[DuePayment]:
    try:
        with database.operator_transaction() as connection:
            return queries.find_due_payments(connection, PAGE)
    except Exception:  # noqa: BLE001  # whatever it is, the next round must try again
        _log.exception("payments_failed")
        return []

"""How many files a process sends at a time: each takes a thread, an export a connection too, while its client reads."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager

import flask

from service.errors import Overloaded

RETRY_AFTER_S = 10
# As long as the transaction may idle at least: the database would soon end the export of such a client anyway.
SEND_TIMEOUT_S = 60
SLOTS = "manage-orders-export-slots"


class Slots:
    """Places for exports, of which a seller has one at most: those of one cannot keep the others waiting."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._lock = threading.Lock()
        self._sellers = set[str]()

    @contextmanager
    def taken_by(self, seller_id: str) -> Generator[None]:
        """Take a slot, or raise `Overloaded`."""
        with self._lock:
            if seller_id in self._sellers:
                raise Overloaded("another export of the seller is under way", retry_after_s=RETRY_AFTER_S)
            if len(self._sellers) >= self.limit:
                raise Overloaded("other exports are under way", retry_after_s=RETRY_AFTER_S)
            self._sellers.add(seller_id)
        try:
            yield
        finally:
            with self._lock:
                self._sellers.remove(seller_id)

    @property
    def taken(self) -> int:
        """Return how many exports are under way."""
        return len(self._sellers)


def limit_sending() -> None:
    """Give a client that reads nothing up, and with it the thread, the slot and the connection that wait for it."""
    socket = flask.request.environ.get("gunicorn.socket")
    if socket is not None:
        socket.settimeout(SEND_TIMEOUT_S)  # until the next request, for which gunicorn lifts it

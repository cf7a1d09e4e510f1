"""How many exports a process runs at a time: each takes a thread and a connection for as long as its client reads."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import contextmanager

from service.errors import Overloaded

RETRY_AFTER_S = 10


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

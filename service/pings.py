"""Tells a dead-man's switch of every sweep, by the convention of healthchecks.io: its silence raises the alarm."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from urllib.parse import urlsplit, urlunsplit

import httpx
import structlog

from service.settings import SettingsError

# Of a whole call, however slowly it is answered.
CALL_LIMIT_S = 5
# More waiting than this is old news: it is dropped.
MOST_WAITING = 8

# Logs that a ping was lost, and nothing else: once a minute is enough (see `service.logs`).
_log = structlog.stdlib.get_logger(__name__)


class Pings:
    """Sends pings one after the other from a thread of its own: no sweep waits for them, or fails with them."""

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(_checked(url))
        self._tls = httpx.create_ssl_context()
        self._waiting: queue.Queue[tuple[str, str] | None] = queue.Queue(MOST_WAITING)

    def send(self, event: str, text: str) -> None:
        """Have the text sent to the address of the event: `start`, `fail`, or none for success."""
        try:
            self._waiting.put_nowait((self._address(event), text))
        except queue.Full:
            _log.warning("ping_lost", reason="those before it are still waiting")

    @contextmanager
    def sending(self) -> Generator[None]:
        """Send until the end, which waits no longer than for two calls."""
        thread = threading.Thread(target=self._work, name="pings", daemon=True)
        thread.start()
        try:
            yield
        finally:
            try:
                self._waiting.put(None, timeout=CALL_LIMIT_S)
            except queue.Full:
                return
            thread.join(CALL_LIMIT_S)

    def _address(self, event: str) -> str:
        """Return the address with the event behind its path, which a query may follow."""
        path = f"{self._parts.path.rstrip('/')}/{event}" if event else self._parts.path
        return urlunsplit(self._parts._replace(path=path))

    def _work(self) -> None:
        while (ping := self._waiting.get()) is not None:
            try:
                status = asyncio.run(self._post(*ping))
            except Exception as error:  # noqa: BLE001  # the next ping must be sent whatever it is
                # Only its type: the text may hold the address, which is a secret to those who could ping it too.
                _log.warning("ping_lost", reason=type(error).__name__)
            else:
                if not httpx.codes.is_success(status):
                    _log.warning("ping_lost", reason=f"status {status}")

    async def _post(self, address: str, text: str) -> int:
        async with (
            asyncio.timeout(CALL_LIMIT_S),
            httpx.AsyncClient(timeout=CALL_LIMIT_S, verify=self._tls) as client,
            client.stream("POST", address, content=text) as response,
        ):
            return response.status_code


@contextmanager
def sending_pings(url: str) -> Generator[Callable[[str, str], None]]:
    """Lend a function that pings, or that does nothing where there is no address."""
    if not url:
        yield lambda _event, _text: None
        return
    pings = Pings(url)
    with pings.sending():
        yield pings.send


def _checked(url: str) -> str:
    try:
        is_address = bool(httpx.URL(url).host)
    except httpx.InvalidURL:
        is_address = False
    if not is_address:
        raise SettingsError("MANAGE_ORDERS_PING_URL must be an http or https address")
    return url

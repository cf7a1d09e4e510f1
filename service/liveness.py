"""Tells an orchestrator over HTTP whether the scheduler works: `GET /health/live`."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import Any

LIVE_PATH = "/health/live"
# A caller that neither asks nor listens is hung up on.
REQUEST_LIMIT_S = 5
# It notices within this that it should stop.
STOP_LIMIT_S = 0.1

FindStall = Callable[[], str | None]


class LivenessError(Exception):
    """The liveness cannot be told; the text says why, and what to do."""


class _Server(ThreadingTCPServer):
    """An HTTP server without the look-up of its own name, which takes as long as a broken resolver wants."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, host: str, port: int, find_stall: FindStall) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.find_stall = find_stall
        super().__init__((host, port), _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401  # as the library declares them
        """Say nothing of callers that hang up."""


class _Handler(BaseHTTPRequestHandler):
    timeout = REQUEST_LIMIT_S
    server_version, sys_version = "manage-orders", ""
    server: _Server  # pyright: ignore[reportIncompatibleVariableOverride]  # no other makes this handler

    def do_GET(self) -> None:
        if self.path.partition("?")[0] != LIVE_PATH:
            self._answer(HTTPStatus.NOT_FOUND, {"status": "not-found"})
        elif reason := self.server.find_stall():
            self._answer(HTTPStatus.SERVICE_UNAVAILABLE, {"status": "stalled", "reason": reason})
        else:
            self._answer(HTTPStatus.OK, {"status": "ok"})

    def do_HEAD(self) -> None:
        self.do_GET()

    def _answer(self, status: HTTPStatus, body: dict[str, str]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]  # says nothing
        """Say nothing: it is asked every few seconds."""


@contextmanager
def serving_liveness(host: str, port: int, find_stall: FindStall) -> Generator[None]:
    """Answer until the end, if there is a port for it; raise `LivenessError` when it cannot be listened on."""
    if not port:
        yield
        return
    try:
        server = _Server(host, port, find_stall)
    except OSError as error:
        raise LivenessError(
            f"cannot listen on {host}:{port} ({error.strerror}); set MANAGE_ORDERS_SCHEDULER_PORT to another port"
        ) from error
    with server:
        threading.Thread(target=server.serve_forever, args=(STOP_LIMIT_S,), name="liveness", daemon=True).start()
        try:
            yield
        finally:
            server.shutdown()

"""The API's worker processes."""

from __future__ import annotations

import gc
import logging
from typing import Any

import flask
from gunicorn.app.base import BaseApplication
from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.http.errors import ParseException

from service.app import create_app
from service.errors import FieldError, MalformedRequest
from service.logs import configure_logs
from service.problems import render_problem
from service.settings import Settings


class _Log(Logger):
    """What gunicorn itself has to say, where the service's logs go: its own configuration writes to standard output."""

    def setup(self, cfg: Config) -> None:
        """Leave the messages to the root logger."""
        super().setup(cfg)
        for log in (self.error_log, self.access_log):
            log.handlers.clear()
            log.propagate = True
            log.setLevel(logging.ERROR)  # its warnings repeat what was sent, header lines included


def refuse_malformed_bodies(app: flask.Flask) -> None:
    """Have the application answer what gunicorn finds wrong with a body, which it does not say before it is read."""

    def refuse(error: Exception) -> flask.Response:
        return render_problem(MalformedRequest("the body could not be read", FieldError(str(error), pointer="")))

    app.register_error_handler(ParseException, refuse)


class Server(BaseApplication):
    """Gunicorn with the service's settings: each worker makes its own application, so that nothing crosses a fork."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        super().__init__()

    def load_config(self) -> None:
        """Configure gunicorn. Its control socket and access log are off: the service logs requests itself."""
        options: dict[str, Any] = {
            "bind": f"[{self._settings.host}]:{self._settings.port}",  # with brackets, any kind of address will do
            "workers": self._settings.workers,
            "worker_class": "gthread",
            "threads": self._settings.threads,
            "control_socket_disable": True,
            "proc_name": "manage-orders",
            "logger_class": _Log,
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> flask.Flask:  # pyright: ignore[reportIncompatibleMethodOverride]  # gunicorn narrows WSGI's types
        """Make the application of one worker."""
        configure_logs(self._settings.log_level)
        app = create_app(self._settings)
        refuse_malformed_bodies(app)
        gc.freeze()  # what is there now stays: collections need not go through it again and again
        return app

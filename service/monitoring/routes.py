"""The figures of the cancellation job for Prometheus, whose rules are `alerts.yml` beside this file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

import flask
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from service.api import Blueprint, context
from service.errors import Overloaded
from service.monitoring.figures import Figures, find_figures
from service.monitoring.metrics import render
from service.problems import OPERATIONS_READ

blueprint = Blueprint("monitoring", __name__, description="What a monitoring system reads.")

_EXAMPLE = """\
# HELP manage_orders_database_up 1 when the database answered this scrape.
# TYPE manage_orders_database_up gauge
manage_orders_database_up 1.0
# HELP manage_orders_cancellation_last_success_timestamp_seconds When the last run ended that cancelled what was due; \
none: never.
# TYPE manage_orders_cancellation_last_success_timestamp_seconds gauge
manage_orders_cancellation_last_success_timestamp_seconds 1.773471602481e+09
# HELP manage_orders_cancellation_runs_24h Runs of the last 24 hours by state.
# TYPE manage_orders_cancellation_runs_24h gauge
manage_orders_cancellation_runs_24h{state="SUCCEEDED"} 1440.0
"""
_RESPONSE: Mapping[str, Any] = {
    "description": "The text format of Prometheus, version 0.0.4.",
    "content": {"text/plain": {"schema": {"type": "string"}, "example": _EXAMPLE}},
}


def _told_without_database(view: Callable[[], flask.Response]) -> Callable[[], flask.Response]:
    """Tell that the database is unreachable rather than fail, also where the token could not be looked up.

    What is told then tells nothing else, so that anybody may see it.
    """

    @wraps(view)
    def wrapper() -> flask.Response:
        try:
            return view()
        except Overloaded:
            return _text(None)

    return wrapper


@blueprint.get("/metrics")
@_told_without_database
@blueprint.requires(OPERATIONS_READ)
@blueprint.doc(responses={"200": _RESPONSE})
def get_metrics() -> flask.Response:
    """Show how the cancellation job does, for Prometheus.

    Everything is read from the database at each call: any worker of any API process tells the same, and it is right
    with no scheduler alive. `manage_orders_database_up 0`, and nothing else, tells that the database did not answer.
    """
    settings = context().settings
    with context().database.operator_transaction() as connection:
        figures = find_figures(
            connection, interval_s=settings.sweep_interval_s, max_clock_skew_s=settings.max_clock_skew_s
        )
    return _text(figures)


def _text(figures: Figures | None) -> flask.Response:
    return flask.Response(render(context().settings, figures), content_type=CONTENT_TYPE_PLAIN_0_0_4)

"""What Flask and its server cost by themselves."""

import flask

app = flask.Flask(__name__)


@app.get("/")
def answer() -> flask.Response:
    """Answer with nothing."""
    return flask.Response("{}", content_type="application/json")

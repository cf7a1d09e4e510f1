"""Check answers against the OpenAPI document."""

from __future__ import annotations

from typing import Any

import flask
import jsonschema_rs
import orjson
from werkzeug.exceptions import HTTPException
from werkzeug.test import TestResponse

from service.api import PathPlugin
from service.problems import PROBLEM_JSON


class Contract:
    """The OpenAPI document as a judge of answers."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self._validators: dict[str, jsonschema_rs.Draft202012Validator] = {}

    def check(self, app: flask.Flask, method: str, path: str, response: TestResponse) -> None:
        """Fail when the status, the content type or the body of an answer is not as documented."""
        assert response.headers["X-Request-Id"]
        documented = self._responses(app, method, path).get(str(response.status_code))
        assert documented is not None, f"{method} {path} answered {response.status_code}: {response.text[:500]}"
        if "content" not in documented:
            assert not response.data, f"{method} {path} answered {response.status_code} with a body"
            return
        media = documented["content"].get(response.mimetype)
        assert media is not None, f"{method} {path} answered with {response.mimetype}"
        if not response.is_json:  # a file, whose schema is text
            return
        errors = self.errors(media["schema"], orjson.loads(response.data))
        assert not errors, f"{method} {path} broke the contract: {errors[:3]}"

    def errors(self, schema: dict[str, Any], value: object) -> list[str]:
        """Return in what a value breaks a schema of the document."""
        key = repr(schema)
        if key not in self._validators:
            whole = schema | {"components": self.document["components"]}
            self._validators[key] = jsonschema_rs.Draft202012Validator(whole, validate_formats=True)
        return [f"{error.instance_path}: {error.message}" for error in self._validators[key].iter_errors(value)]

    def _responses(self, app: flask.Flask, method: str, path: str) -> dict[str, Any]:
        """Return the documented answers of the operation that a request meets, or what any other address answers."""
        try:
            rule, _ = app.url_map.bind("localhost").match(path.partition("?")[0], method, return_rule=True)
        except HTTPException:
            problem = {"content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
            return {"404": problem, "405": problem}
        template = PathPlugin.flaskpath2openapi(rule.rule)
        return self.document["paths"][template][method.lower()]["responses"]

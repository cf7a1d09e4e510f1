# A JSON value is anything.
# pyright: reportUnknownVariableType=false
"""The OpenAPI document: in step with the program, valid, complete, and true in its examples."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import flask
import jsonschema_rs
import pytest
import schemathesis

from service import errors
from service.app import create_app, openapi_document
from service.errors import TYPE_PREFIX, Problem
from service.search.schemas import OrderFilterSchema
from service.settings import Settings
from tests.contract import Contract

Json: TypeAlias = Any

COMMITTED = Path(__file__).resolve().parent.parent / "openapi" / "openapi.json"
METHODS = {"get", "put", "post", "delete", "patch"}
MAY_BE_EMPTY = {"post /v1/cancellation-runs", "post /v1/orders/{orderId}/cancellation-request"}
# Raised by commands only: no operation answers with these.
OF_COMMANDS = {errors.SellerExists, errors.MarketplaceExists, errors.SandboxRefused}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return json.loads(COMMITTED.read_text("utf-8"))


@pytest.fixture(scope="module")
def judge(document: dict[str, Any]) -> Contract:
    return Contract(document)


def generate(*, sandbox: bool) -> tuple[flask.Flask, str]:
    app = create_app(Settings(database_url="postgresql://", secret_key="-" * 32, sandbox=sandbox))
    return app, openapi_document(app)


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each operation by its name; its parameters include those of its path."""
    for path, item in document["paths"].items():
        shared = item.get("parameters", [])
        for method in METHODS & item.keys():
            yield f"{method} {path}", item[method] | {"parameters": [*shared, *item[method].get("parameters", [])]}


def examples(media: dict[str, Any]) -> list[Any]:
    found = [each["value"] for each in media.get("examples", {}).values()]
    return found + ([media["example"]] if "example" in media else [])


def nodes(value: Json, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every object in a schema with its place; what an example holds is no schema."""
    if isinstance(value, dict):
        members: dict[str, Any] = value
        yield path, members
        for key, below in members.items():
            if key not in {"examples", "example", "enum", "default"}:
                yield from nodes(below, f"{path}/{key}")
    elif isinstance(value, list):
        elements: list[Any] = value
        for number, below in enumerate(elements):
            yield from nodes(below, f"{path}/{number}")


def test_the_committed_document_is_what_the_program_generates() -> None:
    _, generated = generate(sandbox=True)

    assert COMMITTED.read_text("utf-8") == generated, "run: manage-orders openapi > openapi/openapi.json"


def test_the_served_document_is_the_committed_one_and_outside_sandbox_mode_it_lacks_the_sandbox_operations() -> None:
    sandbox, _ = generate(sandbox=True)
    production, _ = generate(sandbox=False)
    served = sandbox.test_client().get("/openapi.json").get_json()
    without = production.test_client().get("/openapi.json").get_json()

    assert served == json.loads(COMMITTED.read_text("utf-8"))
    missing = {name: each for name, each in operations(served) if name not in dict(operations(without))}
    assert missing.keys() == {"get /v1/sandbox/clock", "put /v1/sandbox/clock", "delete /v1/sandbox/clock"}
    assert all(each["tags"] == ["sandbox"] for each in missing.values())
    assert "sandbox mode only" in served["info"]["description"]


def test_the_document_is_openapi_3_1_and_its_schemas_are_json_schemas(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1.")
    schemathesis.openapi.from_dict(document).validate()
    for name, schema in document["components"]["schemas"].items():
        assert jsonschema_rs.meta.is_valid(schema), name


def test_every_operation_is_named_and_summed_up(document: dict[str, Any]) -> None:
    found = dict(operations(document))
    names = [each["operationId"] for each in found.values()]

    assert len(set(names)) == len(names)
    assert all(name.isidentifier() and name[0].islower() and "_" not in name for name in names)
    assert {"searchOrders", "getOrder", "receiveOrder", "confirmShipment"} <= set(names)
    for name, each in found.items():
        assert each["summary"].endswith("."), name
        assert each["tags"], name


def test_every_parameter_has_a_description_and_an_example(document: dict[str, Any]) -> None:
    for name, each in operations(document):
        for parameter in each["parameters"]:
            assert parameter["description"], (name, parameter["name"])
            assert parameter["schema"]["examples"], (name, parameter["name"])
            assert "_" not in parameter["name"], (name, parameter["name"])


def test_every_request_and_every_answer_has_an_example(document: dict[str, Any]) -> None:
    for name, each in operations(document):
        if "requestBody" in each:
            assert each["requestBody"]["required"] or name in MAY_BE_EMPTY, name
            media = each["requestBody"]["content"]
            assert {*media} <= {"application/json", "text/tab-separated-values"}, name
            assert all(map(examples, media.values())), name
        for status, response in each["responses"].items():
            assert response["description"], (name, status)
            for media in response.get("content", {}).values():
                assert examples(media), (name, status)


def test_every_error_is_a_problem_with_an_example_of_each_cause(document: dict[str, Any]) -> None:
    for name, each in operations(document):
        for status, response in each["responses"].items():
            if status < "400" or "application/problem+json" not in response.get("content", {}):
                continue
            media = response["content"]["application/problem+json"]
            assert media["schema"] == {"$ref": "#/components/schemas/Problem"}
            for code, example in media["examples"].items():
                assert example["value"]["type"] == TYPE_PREFIX + code, (name, status)
                assert example["value"]["status"] == int(status), (name, code)


def test_only_readiness_fails_without_being_a_problem(document: dict[str, Any]) -> None:
    others = [
        (name, status)
        for name, each in operations(document)
        for status, response in each["responses"].items()
        if status >= "400" and "application/problem+json" not in response.get("content", {})
    ]
    assert others == [("get /health/ready", "503")]


def test_every_operation_that_needs_a_token_documents_who_is_refused(document: dict[str, Any]) -> None:
    for name, each in operations(document):
        if name.endswith(("/live", "/ready")):
            assert "security" not in each
            continue
        ((scope,),) = (one["bearer"] for one in each["security"])
        assert each["description"].endswith(f"Needs the scope `{scope}`."), name
        assert f"- `{scope}`: " in document["info"]["description"], name
        assert {"401", "403", "422", "503"} <= each["responses"].keys(), name


def test_responses_are_in_order_and_what_is_made_says_where_it_is(document: dict[str, Any]) -> None:
    for name, each in operations(document):
        assert [*each["responses"]] == sorted(each["responses"]), name
        if {"201", "202"} & each["responses"].keys() and not name.endswith("/charge-attempts"):
            made = each["responses"].get("201") or each["responses"]["202"]
            assert "Location" in made["headers"], name


def test_every_tag_is_of_words_and_described(document: dict[str, Any]) -> None:
    assert all(each["description"] and "_" not in each["name"] for each in document["tags"])
    assert {tag for _, each in operations(document) for tag in each["tags"]} == {
        each["name"] for each in document["tags"]
    }


def test_every_problem_is_documented(document: dict[str, Any]) -> None:
    def below(kind: type[Problem]) -> Iterator[type[Problem]]:
        for each in kind.__subclasses__():
            yield each
            yield from below(each)

    text = json.dumps(document)
    for kind in {*below(Problem)} - OF_COMMANDS:
        assert f"{TYPE_PREFIX}{kind.code}" in text, kind
    for kind in OF_COMMANDS:
        assert f"{TYPE_PREFIX}{kind.code}" not in text, kind


def test_every_example_fits_its_schema(document: dict[str, Any], judge: Contract) -> None:
    for name, each in operations(document):
        bodies = [each["requestBody"]["content"]["application/json"]] if "requestBody" in each else []
        bodies += [media for response in each["responses"].values() for media in response.get("content", {}).values()]
        for media in bodies:
            for example in examples(media):
                assert judge.errors(media["schema"], example) == [], name
        for parameter in each["parameters"]:
            for example in parameter["schema"]["examples"]:
                assert judge.errors(parameter["schema"], example) == [], (name, parameter["name"])


def test_every_example_of_a_field_fits_its_schema(document: dict[str, Any], judge: Contract) -> None:
    for place, schema in nodes(document["components"]["schemas"]):
        for example in schema.get("examples", []):
            assert judge.errors(schema, example) == [], place


def test_every_field_has_a_description(document: dict[str, Any]) -> None:
    for name, schema in document["components"]["schemas"].items():
        for field, described in schema["properties"].items():
            assert described.get("description") or "$ref" in described, (name, field)


def test_every_text_and_list_has_a_limit(document: dict[str, Any]) -> None:
    for place, schema in nodes(document["components"]["schemas"]):
        if schema.get("type") == "array":
            assert "maxItems" in schema, place
        if schema.get("type") == "string":
            assert {"maxLength", "enum", "format", "pattern"} & schema.keys(), place


def test_no_component_is_unused(document: dict[str, Any]) -> None:
    used = {each["$ref"] for _, each in nodes(document) if isinstance(each.get("$ref"), str)}
    declared = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}

    assert declared == used
    assert document["components"].keys() == {"schemas", "securitySchemes"}
    assert not any("Pagination" in name and "Metadata" in name for name in document["components"]["schemas"])


def test_every_object_refuses_what_it_does_not_know(document: dict[str, Any]) -> None:
    for name, schema in document["components"]["schemas"].items():
        assert schema["type"] == "object", name
        assert schema["additionalProperties"] is False, name


def test_every_parameter_that_a_list_takes_is_documented(document: dict[str, Any]) -> None:
    # Broken by documenting parameters beside those of the schemas: they take their place.
    filters = {field.data_key for field in OrderFilterSchema().fields.values()}
    shape = {"fields", "includedData", "sellerId"}
    page = {"maxResultsPerPage", "paginationToken", "sort", "view"}
    expected = {
        "/v1/orders": filters | shape | page | {"If-None-Match"},
        "/v1/orders/counts": filters | {"sellerId", "view", "by"},
        "/v1/orders/export": filters | shape | {"sort", "view", "format", "layout"},
        "/v1/orders/{orderId}": shape | {"If-None-Match"},
    }

    for path, names in expected.items():
        assert {each["name"] for each in document["paths"][path]["get"]["parameters"]} == names, path

# Marshmallow leaves the type arguments out of its own signatures, so what comes from there is "partially unknown".
# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import marshmallow
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import InvalidRequest
from service.fields import Boolean, Integer, List, Nested, Number
from service.orders.examples import ORDER
from service.orders.schemas import OrderSchema
from service.orders.shapes import DATA_SETS, DETAILS, FIELD_PATHS, WHOLE, Shape

PATHS = sorted(FIELD_PATHS)


def full(schema: marshmallow.Schema) -> dict[str, Any]:
    """Return an object in which every field of the schema has a value, lists two."""
    return {field.data_key or name: value_of(field) for name, field in schema.fields.items()}


def value_of(field: marshmallow.fields.Field[Any]) -> Any:
    match field:
        case List():
            return [value_of(field.inner), value_of(field.inner)]
        case Nested():
            return full(field.schema)
        case Boolean():
            return False
        case Integer() | Number():
            return 0
        case _:
            return "x"


FULL = full(OrderSchema())


def leaves(value: Any, path: str = "") -> Iterator[str]:
    """Yield the path of every value without members, once for each time that it occurs."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield from leaves(part, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for part in value:
            yield from leaves(part, path)
    else:
        yield path


def is_within(path: str, parents: Any) -> bool:
    return any(path == parent or path.startswith(f"{parent}.") for parent in parents)


def built(shape: Shape) -> str:
    """Return the order as a query builds it: the members asked for, and what is stored together with them."""
    members = set(shape.members if shape.members is not None else FULL)
    members |= DETAILS if members & DETAILS else set()
    return orjson.dumps({name: value for name, value in FULL.items() if name in members}).decode()


def test_the_paths_are_those_of_the_order_in_the_words_of_the_wire() -> None:
    assert {path for path in PATHS if "." not in path} == set(FULL)
    assert {*leaves(FULL)} < FIELD_PATHS
    assert {"sellerId", "version", "warnings", "cancellation", "fulfillment.confirmBy", "packages"} < FIELD_PATHS
    assert "orderItems.product.price.unitPrice.amount" in FIELD_PATHS


@pytest.mark.parametrize("path", PATHS)
def test_each_path_shows_exactly_what_it_names(path: str) -> None:
    shape = Shape.of([path], [])
    pruned = shape.prune(FULL)
    assert sorted(leaves(pruned)) == sorted(each for each in leaves(FULL) if is_within(each, [path]))
    assert shape.members == {path.partition(".")[0]}
    assert orjson.loads(shape.prune_text(built(shape))) == pruned


@given(
    st.lists(st.sampled_from(PATHS), max_size=8, unique=True),
    st.lists(st.sampled_from(sorted(DATA_SETS)), unique=True),
)
def test_fields_and_included_data_show_what_both_name(fields: list[str], included: list[str]) -> None:
    shape = Shape.of(fields, included)
    left_out = [path for name, paths in DATA_SETS.items() if included and name not in included for path in paths]
    pruned = shape.prune(FULL)
    expected = [
        each for each in leaves(FULL) if (not fields or is_within(each, fields)) and not is_within(each, left_out)
    ]
    assert sorted(leaves(pruned)) == sorted(expected)
    assert shape.prune(pruned) == pruned
    assert orjson.loads(shape.prune_text(built(shape))) == pruned
    assert shape.is_whole == (pruned == FULL)


def test_everything_is_the_text_as_it_was_built() -> None:
    text = '{"orderId": "1", "more": 1.50}'
    for shape in (WHOLE, Shape.of([], []), Shape.of([], list(DATA_SETS)), Shape.of(list(FULL), [])):
        assert shape.is_whole
        assert shape.members is None
        assert shape.prune_text(text) is text
        assert shape.prune(FULL) is FULL


def test_text_is_parsed_only_when_a_query_builds_more_than_is_shown() -> None:
    text = "{}"
    assert Shape.of(["orderId", "fulfillment"], []).prune_text(text) is text
    assert Shape.of(sorted(DETAILS), []).prune_text(text) is text
    assert Shape.of(["programs"], []).prune_text('{"programs":["PRIME"],"tax":{}}') == '{"programs":["PRIME"]}'


def test_a_shape_narrows_to_fields_of_what_it_shows() -> None:
    named = ["orderId", "buyer.buyerName", "orderItems.proceeds", "orderItems.orderItemId"]
    assert WHOLE.only(named) == Shape.of(named, [])
    assert Shape.of([], ["BUYER"]).only(named) == Shape.of(named, ["BUYER"])
    assert Shape.of(["orderId"], []).only(["orderId", "payment"]) == Shape.of(["orderId"], [])


def test_nothing_in_common_shows_an_empty_order() -> None:
    shape = Shape.of(["buyer.buyerName", "orderItems.tax"], ["PAYMENT"])
    assert shape.members == set()
    assert shape.prune(FULL) == {}


def test_absent_members_and_empty_objects_are_left_out_but_lists_keep_their_length() -> None:
    fields = ["orderId", "cancellation.cancelReason", "buyer.buyerCompanyName", "orderItems.tax", "packages.carrier"]
    assert Shape.of(fields, []).prune(ORDER) == {
        "orderId": ORDER["orderId"],
        "orderItems": [{}],
        "packages": [{"carrier": "UPS"}],
    }


def test_each_unknown_path_is_named() -> None:
    with pytest.raises(InvalidRequest) as refused:
        Shape.of(["orderId", "colour", "orderId.x", "orderItems.", "OrderId"], [])
    assert [(error.parameter, error.detail.partition(" ")[0]) for error in refused.value.errors] == [
        ("fields", "colour"),
        ("fields", "orderId.x"),
        ("fields", "orderItems."),
        ("fields", "OrderId"),
    ]

# Marshmallow leaves its type arguments out, so what comes from there is "partially unknown".
# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false, reportUnknownVariableType=false
"""An order in answers: whole, or with no more than what was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from marshmallow import fields

from service.fields import Choice, Leaf, Text
from service.input import QueryList
from service.orders.schemas import OrderSchema
from service.orders.shapes import DATA_SETS
from service.schema import Schema

SPARSE_ORDER = "SparseOrder"


def _kind(field: fields.Field[Any]) -> Mapping[str, Any]:
    if isinstance(field, fields.List):
        return {"type": "array", "items": {"type": ["object", "string"]}, "maxItems": field.metadata["maxItems"]}
    if isinstance(field, fields.Nested):
        return {"type": "object"}
    return {name: fact for name, fact in field.metadata.items() if name not in {"description", "examples"}}


# It repeats no schema of its members: whatever of them is there is as in Order.
SPARSE_ORDER_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "description": "What stands in the place of an Order when `fields`, `includedData` or the columns of a view leave "
    "members out: those that are there are as in Order, but none is required.",
    "properties": {
        field.data_key: {"description": field.metadata["description"], **_kind(field)}
        for field in OrderSchema().fields.values()
    },
    "additionalProperties": False,
}
ORDER_ANSWER: Mapping[str, Any] = {
    "anyOf": [{"$ref": "#/components/schemas/Order"}, {"$ref": f"#/components/schemas/{SPARSE_ORDER}"}]
}


class OrderAnswer(Leaf[Any]):
    """An order in an answer, which is JSON text already."""

    facts = MappingProxyType(ORDER_ANSWER)


class ShapeQuery(Schema):
    """How much of an order is shown."""

    included_data = QueryList(
        Choice(tuple(DATA_SETS)), "Of these sets of data, only the named ones; all when left out.", example=["BUYER"]
    )
    fields_ = QueryList(
        Text(),
        "Only these members, as paths, which lead through lists: `orderItems.product.title`. All when left out.",
        example=["orderId", "fulfillment.confirmBy", "orderItems.product.sellerSku"],
        data_key="fields",
        attribute="fields",
    )

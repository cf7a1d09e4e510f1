# Marshmallow leaves its type arguments out, so what comes from there is "partially unknown".
# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false, reportUnknownVariableType=false
"""How much of an order an answer shows: `fields` names paths, `includedData` names sets of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import marshmallow
import orjson
from marshmallow import fields as marshmallow_fields

from service.errors import FieldError, InvalidRequest
from service.orders.rules import DETAILS
from service.orders.schemas import OrderSchema

# The members of an object, each with its own members; None for one that is taken as it is, with all that it has.
Tree: TypeAlias = "dict[str, Tree | None]"

DATA_SETS: Mapping[str, tuple[str, ...]] = {
    "BUYER": ("buyer",),
    "RECIPIENT": ("recipient",),
    "PROCEEDS": ("proceeds", "orderItems.proceeds"),
    "EXPENSE": ("orderItems.expense",),
    "PROMOTION": ("orderItems.promotion",),
    "CANCELLATION": ("cancellation", "orderItems.cancellation"),
    "FULFILLMENT": ("fulfillment", "orderItems.fulfillment"),
    "PACKAGES": ("packages",),
    "TAX": ("tax", "orderItems.tax"),
    "PAYMENT": ("payment",),
    "FULFILLMENT_ORDERS": ("fulfillmentOrders",),
}


def _members_of(schema: marshmallow.Schema) -> Tree:
    members: Tree = {}
    for name, field in schema.fields.items():
        inner = field.inner if isinstance(field, marshmallow_fields.List) else field
        nested = isinstance(inner, marshmallow_fields.Nested)
        members[field.data_key or name] = _members_of(inner.schema) if nested else None
    return members


def _paths(tree: Tree, parent: str = "") -> Iterator[str]:
    for name, members in tree.items():
        yield parent + name
        yield from _paths(members or {}, f"{parent}{name}.")


_ORDER = _members_of(OrderSchema())
FIELD_PATHS = frozenset(_paths(_ORDER))


@dataclass(frozen=True, slots=True)
class Shape:
    """What is shown of an order. `members` are those that a query has to build, None when it is all of them."""

    members: frozenset[str] | None
    _tree: Tree
    _members_suffice: bool

    @classmethod
    def of(cls, fields: Collection[str], included_data: Collection[str]) -> Shape:
        """Return the shape that shows `fields` within `included_data`; of either, an empty one leaves nothing out."""
        errors = [
            FieldError(f"{path} is not a path of an order", parameter="fields")
            for path in fields
            if path not in FIELD_PATHS
        ]
        if errors:
            raise InvalidRequest("an order has no such fields", *errors)
        return _shape(
            _common(_tree_of(fields) if fields else None, _included(included_data) if included_data else None)
        )

    def only(self, fields: Collection[str]) -> Shape:
        """Return the shape that shows no more than `fields` of what this one shows."""
        return _shape(_common(None if self.is_whole else self._tree, _tree_of(fields)))

    @property
    def is_whole(self) -> bool:
        """Tell whether nothing is left out."""
        return self.members is None

    def prune(self, document: dict[str, Any]) -> dict[str, Any]:
        """Return what the shape shows of an order: no object of which nothing is left, but lists at their length."""
        return document if self.members is None else _pruned(document, self._tree)

    def prune_text(self, text: str) -> str:
        """Return what the shape shows of an order that was built with `members`, as JSON."""
        return text if self._members_suffice else orjson.dumps(_pruned(orjson.loads(text), self._tree)).decode()


WHOLE = Shape(None, {}, True)


def _shape(tree: Tree | None) -> Shape:
    if tree is None or tree == dict.fromkeys(_ORDER):
        return WHOLE
    exact = all(members is None for members in tree.values()) and len(DETAILS - tree.keys()) in {0, len(DETAILS)}
    return Shape(frozenset(tree), tree, exact)


def _tree_of(paths: Iterable[str]) -> Tree:
    tree: Tree = {}
    for path in paths:
        *parents, name = path.split(".")
        place = tree
        for parent in parents:
            members = place.setdefault(parent, {})
            if members is None:  # another path takes all of it
                break
            place = members
        else:
            place[name] = None
    return tree


def _included(data_sets: Collection[str]) -> Tree:
    return _without(_ORDER, [path for name, paths in DATA_SETS.items() if name not in data_sets for path in paths])


def _without(tree: Tree, left_out: Collection[str], parent: str = "") -> Tree:
    kept: Tree = {}
    for name, members in tree.items():
        path = parent + name
        if path not in left_out:
            is_cut = members is not None and any(each.startswith(f"{path}.") for each in left_out)
            kept[name] = _without(members, left_out, f"{path}.") if is_cut and members else None
    return kept


def _common(one: Tree | None, other: Tree | None) -> Tree | None:
    """Return what two trees have in common; None stands for all."""
    if one is None or other is None:
        return other if one is None else one
    common = {name: _common(members, other[name]) for name, members in one.items() if name in other}
    return {name: members for name, members in common.items() if members != {}}


def _pruned(value: Any, tree: Tree) -> Any:  # noqa: ANN401  # any JSON value
    if isinstance(value, list):
        return [_pruned(each, tree) for each in value]
    kept: dict[str, Any] = {}
    for name, members in tree.items():
        if name in value:
            part = value[name] if members is None else _pruned(value[name], members)
            if members is None or part:
                kept[name] = part
    return kept

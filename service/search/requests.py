"""What a request for orders asks for, put together with the view that it names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any

from service.api import acting_seller, caller, context
from service.errors import FieldError, InvalidRequest
from service.orders.shapes import Shape
from service.schema import camel_case
from service.search.rules import AMOUNT_SCALE, DEFAULT_SORT, OrderFilter, Sort, ViewRequest
from service.search.schemas import OrderFilterSchema

_NAMES = [item.name for item in fields(OrderFilter)]
_DATES = ("created_", "last_updated_", "ship_by_", "deliver_by_", "confirm_by_")
_AMOUNTS = ("grand_total_min", "grand_total_max")
# One question, to which a request's answer takes the place of a view's as a whole.
_FAMILIES = [
    *([name for name in _NAMES if name.startswith(stem)] for stem in _DATES),
    [*_AMOUNTS, "currency_code"],
]
_filter_schema = OrderFilterSchema()


@dataclass(frozen=True, slots=True)
class Selection:
    """Orders of a seller, how they are sorted, and how they are shown; `columns` are those of a view or of `fields`."""

    seller_id: str
    filters: OrderFilter
    sort: Sort
    shape: Shape
    columns: Sequence[str]
    page_size: int | None

    @property
    def scope(self) -> object:
        """Return what a page token of the list belongs to."""
        return ["orders", self.seller_id, str(self.sort), self.filters.set_values()]


def selected(query: Mapping[str, Any]) -> Selection:
    """Return what a request asks for, as an `OrderSelectionQuery` loaded it."""
    seller_id = acting_seller(query.get("seller_id"))
    view = context().find_view(seller_id, caller().user, query["view"]) if "view" in query else None
    return selection_of(seller_id, query, view)


def selection_of(seller_id: str, query: Mapping[str, Any], view: ViewRequest | None) -> Selection:
    """Return what a query beside a view asks for; raise `InvalidRequest` where its parts do not go together."""
    wanted = {name: query[name] for name in _NAMES if name in query}
    sort, shown, included = query.get("sort"), query.get("fields", ()), query.get("included_data", ())
    columns = shown
    if view is not None:
        wanted = _beside(wanted, _filter_schema.load(view.parameters))
        sort = sort or view.sort
        if not shown and not included:
            shown = columns = view.columns
    return Selection(
        seller_id=seller_id,
        filters=filter_of(wanted),
        sort=Sort.parse(sort) if sort else DEFAULT_SORT,
        shape=Shape.of(shown, included),
        columns=columns,
        page_size=view.page_size if view else None,
    )


def _beside(given: dict[str, Any], of_view: Mapping[str, Any]) -> dict[str, Any]:
    replaced = {name for family in _FAMILIES if not given.keys().isdisjoint(family) for name in family}
    return {name: value for name, value in of_view.items() if name not in replaced} | given


def filter_of(wanted: Mapping[str, Any]) -> OrderFilter:
    """Return loaded parameters as a filter; raise `InvalidRequest` when they contradict each other."""
    errors = [
        FieldError(f"is greater than {camel_case(before)}", parameter=camel_case(after))
        for after, before in _ranges()
        if after in wanted and before in wanted and wanted[after] > wanted[before]
    ]
    if "currency_code" not in wanted and not wanted.keys().isdisjoint(_AMOUNTS):
        errors.append(FieldError("is needed: amounts of different currencies do not compare", parameter="currencyCode"))
    if errors:
        raise InvalidRequest("the parameters do not go together", *errors)
    amounts: dict[str, Any] = {name: _scaled(wanted[name]) for name in _AMOUNTS if name in wanted}
    return OrderFilter(**{**wanted, **amounts})


def _ranges() -> list[tuple[str, str]]:
    afters = [name for name in _NAMES if name.endswith("_after")]
    return [(name, name.replace("_after", "_before")) for name in afters] + [_AMOUNTS]


def _scaled(amount: Decimal) -> int:
    return int(amount * AMOUNT_SCALE)

"""Views without a database: those that come built in, and what is left of one that is outdated (R4)."""

from __future__ import annotations

from typing import Any

import pytest

from service.errors import FieldError
from service.saved_views.rules import BUILT_IN_VIEWS, SavedView, ViewDefinition, unknown_marketplaces, without
from service.saved_views.schemas import definition_errors, view_json


def definition(**changes: Any) -> ViewDefinition:
    values: dict[str, Any] = {
        "name": "Mine",
        "filters": {"shipmentIsLate": True, "marketplaceIds": ["ATVPDKIKX0DER", "A1PA6795UKMFR9"]},
        "columns": [{"field": "orderId"}, {"field": "fulfillment.confirmBy", "width": 100}],
        "sort": "confirmBy",
        "max_results_per_page": 20,
    }
    return ViewDefinition(**values | changes)


def pointers(errors: list[FieldError]) -> list[str | None]:
    return [error.pointer for error in errors]


def test_the_built_in_views_are_those_of_the_page_in_its_order() -> None:
    assert [view.definition.name for view in BUILT_IN_VIEWS.values()] == [
        "All (last 7 days)",
        "Pending",
        "Unshipped",
        "Late",
        "Cancels within 24 hours",
        "Cancels within 7 days",
        "Cancellation requests",
        "Declined charges",
        "Partially shipped",
        "Shipped",
        "Confirmed late",
        "Cancelled",
        "Platform-fulfilled",
    ]


@pytest.mark.parametrize("view_id", BUILT_IN_VIEWS)
def test_a_built_in_view_is_one_that_a_user_could_save(view_id: str) -> None:
    view = BUILT_IN_VIEWS[view_id]

    assert view.view_id == view_id
    assert definition_errors(view.definition) == []
    assert view.is_built_in
    assert 10 <= len(view.definition.columns) <= 12
    assert view.definition.columns[0]["field"] == "orderId"
    assert all(column["width"] >= 20 for column in view.definition.columns)


def test_a_view_asks_for_its_filters_and_for_its_columns_in_their_order() -> None:
    request = SavedView(view_id="v", definition=definition()).request()

    assert request.view_id == "v"
    assert request.parameters == definition().filters
    assert request.columns == ("orderId", "fulfillment.confirmBy")
    assert (request.sort, request.page_size) == ("confirmBy", 20)


# Each would be accepted if its check were taken out of the schema, and a stored view would then run as something else.
@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"filters": {"colours": ["red"]}}, ["/filters/colours"]),
        ({"filters": {"a/b~c": 1}}, ["/filters/a~1b~0c"]),
        ({"filters": {"fulfillmentStatuses": ["SHIPPED", "LOST"]}}, ["/filters/fulfillmentStatuses/1"]),
        ({"filters": {"marketplaceIds": [7]}}, ["/filters/marketplaceIds/0"]),
        ({"filters": {"marketplaceIds": [None]}}, ["/filters/marketplaceIds/0"]),
        ({"filters": {"createdAfter": "2026-03-02T00:00:00Z", "createdBefore": "2026-03-01T00:00:00Z"}},
         ["/filters/createdAfter"]),
        ({"filters": {"grandTotalMin": "1"}}, ["/filters/currencyCode"]),
        ({"columns": [{"field": "orderId"}, {"field": "colour"}]}, ["/columns/1/field"]),
        ({"columns": [{"field": "orderId"}, {"field": "orderId"}]}, ["/columns/1/field"]),
        ({"columns": [{"field": "orderId", "width": 1}]}, ["/columns/0/width"]),
        ({"columns": [{"field": "orderId"}] * 51}, ["/columns"]),
        ({"sort": "colour"}, ["/sort"]),
        ({"max_results_per_page": 101}, ["/maxResultsPerPage"]),
    ],
)  # fmt: skip
def test_what_a_stored_view_refers_to_and_is_not_known_is_pointed_at(
    changes: dict[str, Any], expected: list[str]
) -> None:
    assert pointers(definition_errors(definition(**changes))) == expected


def test_a_comma_in_a_saved_value_belongs_to_the_value() -> None:
    commas = definition(filters={"skus": ["A,B"], "cancelReasons": ["late, and lost"]})

    assert definition_errors(commas) == []
    assert SavedView(view_id="v", definition=commas).request().parameters["skus"] == ["A,B"]


def test_a_marketplace_that_does_not_exist_is_pointed_at() -> None:
    assert pointers(unknown_marketplaces(definition(), {"ATVPDKIKX0DER"})) == ["/filters/marketplaceIds/1"]
    assert unknown_marketplaces(definition(filters={}), set()) == []


def test_what_is_left_of_an_outdated_view_can_be_saved() -> None:
    outdated = definition(
        filters={"shipmentIsLate": True, "a/b~c": 1, "marketplaceIds": ["A1GONE"]},
        columns=[{"field": "colour"}, {"field": "orderId"}, "orderId", {"field": "version", "height": 3}],
        sort="colour",
        max_results_per_page=1000,
    )
    errors = [*definition_errors(outdated), *unknown_marketplaces(outdated, set())]
    left = without(outdated, errors)

    assert left == definition(
        filters={"shipmentIsLate": True}, columns=[{"field": "orderId"}], sort=None, max_results_per_page=None
    )
    assert definition_errors(left) == []


def test_an_outdated_view_is_shown_without_what_it_has_lost_and_with_the_reasons() -> None:
    outdated = definition(sort="colour")
    shown = view_json(SavedView(view_id="v", definition=outdated, errors=definition_errors(outdated)))

    assert "sort" not in shown
    assert shown["filters"] == outdated.filters
    assert [error["pointer"] for error in shown["errors"]] == ["/sort"]


def test_a_view_that_runs_is_shown_without_errors() -> None:
    assert "errors" not in view_json(SavedView(view_id="v", definition=definition()))

"""Answers with no more than was asked for, and none where the caller has it already."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.conftest import NOW, SHIP_BY, ApiClient, confirmation, order_document

SetClock = Callable[[datetime | str], datetime]


def test_an_order_that_has_not_changed_is_not_sent_again(seller: ApiClient, received: dict[str, Any]) -> None:
    path = f"/v1/orders/{received['orderId']}"
    first = seller.get(path)
    tag = first.headers["ETag"]

    assert not tag.startswith("W/")
    for told in (tag, f'"other", {tag}', f"W/{tag}", "*"):
        again = seller.request("GET", path, headers={"If-None-Match": told})
        assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", tag), told
    for told in ('"other"', "", "nonsense", tag.strip('"')[:-1]):
        assert seller.request("GET", path, headers={"If-None-Match": told}).status_code == 200, told
    assert seller.request("GET", path, headers={"If-Match": '"other"'}).status_code == 200
    assert seller.post(f"{path}/shipment-confirmations", confirmation()).status_code == 201
    changed = seller.request("GET", path, headers={"If-None-Match": tag})
    assert changed.status_code == 200
    assert changed.headers["ETag"] != tag


def test_an_order_that_becomes_late_has_another_tag_though_nobody_changed_it(
    seller: ApiClient, received: dict[str, Any], set_clock: SetClock
) -> None:
    path = f"/v1/orders/{received['orderId']}"
    tag = seller.get(path).headers["ETag"]
    set_clock(SHIP_BY + timedelta(minutes=1))

    late = seller.request("GET", path, headers={"If-None-Match": tag})
    assert late.status_code == 200
    assert late.get_json()["version"] == received["version"]


@pytest.mark.parametrize("sort", ["-createdTime", "-lastUpdatedTime"])
def test_a_page_that_has_not_changed_is_not_sent_again(
    sort: str, seller: ApiClient, received: dict[str, Any], set_clock: SetClock
) -> None:
    del received
    set_clock(NOW)
    for _ in range(2):
        assert seller.post("/v1/orders", order_document()).status_code == 201
    query = {"sort": sort, "maxResultsPerPage": 2}
    first = seller.get("/v1/orders", **query)
    tag = first.headers["ETag"]
    assert "nextToken" in first.get_json()["pagination"]

    again = seller.request("GET", "/v1/orders", query_string=query, headers={"If-None-Match": tag})
    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", tag)
    assert seller.get("/v1/orders", **query, fields="orderId").headers["ETag"] != tag
    assert seller.post("/v1/orders", order_document(createdTime=NOW.isoformat())).status_code == 201
    changed = seller.request("GET", "/v1/orders", query_string=query, headers={"If-None-Match": tag})
    assert changed.status_code == 200


def test_a_tag_of_one_seller_says_nothing_to_another(
    seller: ApiClient, other_seller: ApiClient, received: dict[str, Any]
) -> None:
    path = f"/v1/orders/{received['orderId']}"
    tag = seller.get(path).headers["ETag"]

    assert other_seller.request("GET", path, headers={"If-None-Match": tag}).status_code == 404
    assert other_seller.request("GET", path, headers={"If-None-Match": "*"}).status_code == 404


def test_only_the_fields_that_are_named_are_shown(seller: ApiClient, received: dict[str, Any]) -> None:
    fields = "orderId,fulfillment.confirmBy,orderItems.product.sellerSku,proceeds"
    expected = {
        "orderId": received["orderId"],
        "fulfillment": {"confirmBy": received["fulfillment"]["confirmBy"]},
        "orderItems": [{"product": {"sellerSku": "MUG"}}, {"product": {"sellerSku": "POT"}}],
        "proceeds": received["proceeds"],
    }

    assert seller.get(f"/v1/orders/{received['orderId']}", fields=fields).get_json() == expected
    assert seller.get("/v1/orders", fields=fields).get_json()["orders"] == [expected]
    repeated = seller.request("GET", "/v1/orders?fields=orderId&fields=version").get_json()["orders"]
    assert repeated == [{"orderId": received["orderId"], "version": 1}]


def test_only_the_sets_of_data_that_are_named_are_shown(seller: ApiClient, received: dict[str, Any]) -> None:
    path = f"/v1/orders/{received['orderId']}"
    without = seller.get(path, includedData="PACKAGES").get_json()
    assert {"fulfillment", "proceeds", "payment"}.isdisjoint(without)
    assert not any("fulfillment" in item for item in without["orderItems"])
    some = seller.get(path, includedData="FULFILLMENT,PROCEEDS").get_json()
    assert some == {name: value for name, value in received.items() if name != "payment"}
    assert seller.get("/v1/orders", includedData="FULFILLMENT,PROCEEDS").get_json()["orders"] == [some]
    both = seller.get(path, includedData="FULFILLMENT", fields="orderId,payment,fulfillment.fulfilledBy").get_json()
    assert both == {"orderId": received["orderId"], "fulfillment": {"fulfilledBy": "MERCHANT"}}


@pytest.mark.parametrize("path", ["/v1/orders", "/v1/orders/902-0000000-0000001"])
def test_fields_that_an_order_does_not_have_are_named(path: str, seller: ApiClient) -> None:
    response = seller.get(path, fields="orderId,colour,fulfillment.colour,orderItems.0")

    assert response.status_code == 422
    errors = response.get_json()["errors"]
    assert {each["parameter"] for each in errors} == {"fields"}
    assert [each["detail"].split()[0] for each in errors] == ["colour", "fulfillment.colour", "orderItems.0"]


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ({"shipByAfter": "2026-03-02T00:00:00Z", "shipByBefore": "2026-03-01T00:00:00Z"}, "shipByAfter"),
        ({"grandTotalMin": "2.00", "grandTotalMax": "1.00", "currencyCode": "USD"}, "grandTotalMin"),
        ({"grandTotalMin": "2.00"}, "currencyCode"),
        ({"grandTotalMin": "1.005", "currencyCode": "USD"}, "grandTotalMin"),
        ({"currencyCode": "usd"}, "currencyCode"),
        *(({"createdWithin": text}, "createdWithin") for text in ("P", "PT", "P1Y", "P1M", "-P1D", "PT0M", "P1.5D")),
        *(({"shipByWithin": text}, "shipByWithin") for text in ("P9999D", "P999999D", "P" + "9" * 5000 + "D")),
        ({"confirmByWithin": "P99999999999999999D"}, "confirmByWithin"),
        ({"shipmentIsLate": "yes"}, "shipmentIsLate"),
        ({"sort": "orderId"}, "sort"),
        ({"sort": "+createdTime"}, "sort"),
        ({"q": "x"}, "q"),
        ({"q": " \u0301\u0301 "}, "q"),
        ({"shipToCountries": "us"}, "shipToCountries"),
        ({"orderIds": ",".join(["902-1"] * 51)}, "orderIds"),
        ({"orderIds": ""}, "orderIds"),
        ({"includedData": "EVERYTHING"}, "includedData"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_for_is_refused_by_name(query: dict[str, str], parameter: str, seller: ApiClient) -> None:
    for path, more in (("/v1/orders", {}), ("/v1/orders/counts", {"by": "fulfilledBy"})):
        if path == "/v1/orders/counts" and parameter in {"sort", "includedData"}:
            continue
        response = seller.get(path, **query, **more)
        assert response.status_code == 422, response.text
        assert parameter in {each["parameter"] for each in response.get_json()["errors"]}

"""`q` finds text wherever an order shows it to people, as it is typed: any case, any accent, any character."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from service.database import Database
from service.search import rules
from tests.conftest import NOW, OTHER_SELLER, SELLER, ApiClient, confirmation, order_document
from tests.order_model import fold, matches_text

Order = dict[str, Any]
Clock = Callable[[datetime | str], datetime]


@pytest.fixture(autouse=True)
def clock(set_clock: Clock) -> None:
    set_clock(NOW)


def receive(client: ApiClient, **changes: Any) -> Order:
    response = client.post("/v1/orders", order_document(**changes))
    assert response.status_code in {200, 201}, response.text
    return response.get_json()


def titled(client: ApiClient, *titles: str, **changes: Any) -> Order:
    items = [
        {"orderItemId": str(number), "quantityOrdered": 1, "product": {"title": title}}
        for number, title in enumerate(titles)
    ]
    return receive(client, orderItems=items, **changes)


def search(client: ApiClient, q: str) -> list[str]:
    response = client.get("/v1/orders", q=q)
    assert response.status_code == 200, response.text
    return [order["orderId"] for order in response.get_json()["orders"]]


FIELDS: dict[str, dict[str, Any]] = {
    "orderId": {"orderId": "XX-Zebra.7"},
    "seller's order id": {"orderAliases": [{"aliasId": "XX-Zebra.7", "aliasType": "SELLER_ORDER_ID"}]},
    "SKU": {"orderItems": [{"orderItemId": "1", "quantityOrdered": 1, "product": {"sellerSku": "XX-Zebra.7"}}]},
    "ASIN": {"orderItems": [{"orderItemId": "1", "quantityOrdered": 1, "product": {"asin": "XX-Zebra.7"}}]},
    "title of the second item": {
        "orderItems": [
            {"orderItemId": "1", "quantityOrdered": 1, "product": {"title": "Mug"}},
            {"orderItemId": "2", "quantityOrdered": 1, "product": {"title": "XX-Zebra.7"}},
        ]
    },
    "tracking number": {
        "fulfillment__fulfillmentStatus": "SHIPPED",
        "packages": [
            {
                "packageReferenceId": "1",
                "trackingNumber": "XX-Zebra.7",
                "packageItems": [{"orderItemId": "1", "quantity": 2}, {"orderItemId": "2", "quantity": 1}],
            }
        ],
    },
    "buyer's name": {"buyer__buyerName": "XX-Zebra.7"},
    "recipient's name": {"recipient__deliveryAddress__name": "XX-Zebra.7"},
    "city": {"recipient__deliveryAddress__city": "XX-Zebra.7"},
    "postal code": {"recipient__deliveryAddress__postalCode": "XX-Zebra.7"},
}
NOT_SEARCHED: dict[str, dict[str, Any]] = {
    "another alias": {"orderAliases": [{"aliasId": "XX-Zebra.7", "aliasType": "OTHER"}]},
    "e-mail": {"buyer__buyerEmail": "zebra@example.com"},
    "street": {"recipient__deliveryAddress__addressLine1": "Zebra street"},
    "company": {"buyer__buyerCompanyName": "Zebra"},
}


@pytest.mark.parametrize("field", FIELDS)
def test_each_searched_field_is_found_by_any_part_of_it(field: str, seller: ApiClient) -> None:
    order, other = receive(seller, **FIELDS[field]), receive(seller)

    for q in ("XX-Zebra.7", "xx-zebra.7", "ZEB", "bra.", "-zebra", ".7 xx", "xx", "XX", " xx- \t zebra "):
        expected = [each["orderId"] for each in (order, other) if matches_text(each, q)]
        assert order["orderId"] in expected or q == ".7 xx"
        assert sorted(search(seller, q)) == sorted(expected), q
    for q in ("zebras", "zebra x7", "ra", "xx_zebra", "xx zebra%", "zebra 902-x"):
        assert search(seller, q) == [], q


@pytest.mark.parametrize("field", NOT_SEARCHED)
def test_other_fields_are_not_searched(field: str, seller: ApiClient) -> None:
    receive(seller, **NOT_SEARCHED[field])

    assert search(seller, "zebra") == []


def test_short_words_match_where_a_word_begins_and_longer_ones_anywhere(seller: ApiClient) -> None:
    order = titled(seller, "Mug-blue blue 42 \u6f22\u5b57 \u5b57")

    for q in ("mu", "bl", "4 mu", "mu bl", "lue", "g-b", "\u6f22\u5b57", "\u5b57 mug", "42"):
        assert search(seller, q) == [order["orderId"]], q
    for q in ("gb", "ug", "ue", "-b", "g b", "gb bl", "2 mug", "\u5b57\u6f22", "eb"):
        assert search(seller, q) == [], q


def test_words_may_be_in_different_fields_and_must_all_be_somewhere(seller: ApiClient) -> None:
    order = titled(
        seller, "Blue mug", "Tea pot", buyer__buyerName="Ada Example", recipient__deliveryAddress__city="Graz"
    )
    path = f"/v1/orders/{order['orderId']}/shipment-confirmations"
    for number, item in (("1", "0"), ("2", "1")):
        package = confirmation(
            number, trackingNumber=f"TRACK-{number}", orderItems=[{"orderItemId": item, "quantity": 1}]
        )
        assert seller.post(path, package).status_code == 201

    for q in (
        "ada track-1",
        "track-1 track-2",
        "example graz blue pot track 902-",
        "TRACK-2 mug",
        "ck-2 ple",
        "gr tr ad",
    ):
        assert search(seller, q) == [order["orderId"]], q
    for q in ("ada track-3", "track-1 track-3", "bob graz", "bluemug", "mugtea", "ada track-1 nothing"):
        assert search(seller, q) == [], q


SPECIAL = "% _ \\ ' \" %%% ___ \\\\\\ \\% $1 {} '' -- ; & + # %(q)s %s".split()  # noqa: SIM905  # legible so


@pytest.mark.parametrize("special", SPECIAL)
def test_characters_that_mean_something_elsewhere_are_just_characters(special: str, seller: ApiClient) -> None:
    holding = titled(seller, f"ab{special}cd {special}{special}")
    titled(seller, "ab-cd", "abxcd", "abxxxcd", "ab cd", "x xx xxx")

    for q in (f"ab{special}cd", f"b{special}c", f"{special}{special}"):
        assert search(seller, q) == [holding["orderId"]], q


ALIKE = [
    ("Zo\u00eb", "zoe"), ("zoe", "ZO\u00cb"), ("Zoe\u0308", "zo\u00eb"), ("Stra\u00dfe", "STRASSE"),
    ("strasse", "stra\u00dfe"), ("\u0130stanbul", "istanbul"), ("DIYARBAKIR", "diyarbak\u0131r"),
    ("\u0141\u00f3d\u017a", "lodz"), ("\u00d8rsted", "orsted"), ("\ufb01nance", "FINANCE"), ("o\ufb03ce", "office"),
    ("\uff21\uff24\uff21", "ada"), ("\u2167 a", "viii"), ("No\u00a0break", "no break"),
    ("Nguy\u1ec5n V\u0103n", "nguyen van"),
    ("\u03a3\u03af\u03c3\u03c5\u03c6\u03bf\u03c2", "\u03c3\u03b9\u03c3\u03c5\u03c6\u03bf\u03c3"),
    ("\u0645\u062d\u0645\u062f \u0639\u0644\u064a", "\u0645\u062d\u0645\u062f"),
    ("\u6771\u4eac\u90fd\u5343\u4ee3\u7530\u533a", "\u5343\u4ee3\u7530"), ("I \u2764\ufe0f U", "\u2764\ufe0f u"),
    ("\U0001f600\U0001f600\U0001f600", "\U0001f600\U0001f600\U0001f600"), ("\uc11c\uc6b8\uc2dc", "\uc6b8\uc2dc"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "q"), ALIKE)
def test_case_accents_and_forms_of_letters_do_not_matter(text: str, q: str, seller: ApiClient) -> None:
    order = titled(seller, f"x{text}y {text}")

    assert search(seller, q) == [order["orderId"]]
    assert search(seller, q.upper()) == [order["orderId"]]


@pytest.mark.parametrize(
    "q",
    ["", "a", " a ", "  ", "\t\n", "\u00a0x\u00a0", "x" * 201, " ".join("abcdefghijk"), "ab\0cd", "\u0301\u0301\u0301"],
)  # fmt: skip
def test_what_cannot_be_searched_for_is_refused_by_name(q: str, seller: ApiClient) -> None:
    response = seller.get("/v1/orders", q=q)

    assert response.status_code == 422
    assert {error["parameter"] for error in response.get_json()["errors"]} == {"q"}


def test_half_a_surrogate_pair_is_refused_by_name_or_is_no_character(seller: ApiClient) -> None:
    titled(seller, "abcd")
    response = seller.request("GET", "/v1/orders?q=ab%ED%A0%80cd")

    # Bytes that are no UTF-8 become replacement characters before anyone can tell.
    assert response.get_json() == {"orders": []} or response.status_code == 422


@pytest.mark.parametrize("q", ["ab", "x" * 200, "  " + "x" * 200 + "  ", " ".join("abcdefghij")])
def test_the_limits_themselves_can_be_searched_for(q: str, seller: ApiClient) -> None:
    order = titled(seller, "x" * 200 + "y " + " ".join("abcdefghij"), "ab")

    assert search(seller, q) == [order["orderId"]]


def test_what_a_confirmation_or_a_later_version_brings_is_found_at_once(seller: ApiClient) -> None:
    sent = order_document(
        fulfillment__fulfillmentStatus="PENDING", recipient__deliveryAddress={"city": "Oldtown", "name": "Ada"}
    )
    order_id = sent["orderId"]
    assert seller.post("/v1/orders", sent).status_code == 201
    assert search(seller, "oldtown ada") == [order_id]

    later = sent | {
        "recipient": {"deliveryAddress": {"city": "Newville"}},
        "fulfillment": sent["fulfillment"] | {"fulfillmentStatus": "UNSHIPPED"},
        "orderItems": [{"orderItemId": "9", "quantityOrdered": 1, "product": {"sellerSku": "PAN"}}],
    }
    assert seller.post("/v1/orders", later).status_code == 200
    assert search(seller, "newville pan") == [order_id]
    for gone in ("oldtown", "ada", "mug"):
        assert search(seller, gone) == [], gone
    for name, gone, here in (("skus", "MUG", "PAN"), ("q", "pot", "pan")):
        assert seller.get("/v1/orders", **{name: gone}).get_json() == {"orders": []}
        assert len(seller.get("/v1/orders", **{name: here}).get_json()["orders"]) == 1

    assert (
        seller.post(
            f"/v1/orders/{order_id}/shipment-confirmations", confirmation(trackingNumber="JUST-NOW-1")
        ).status_code
        == 201
    )
    assert search(seller, "now-1 newville") == [order_id]
    assert len(seller.get("/v1/orders", trackingNumbers="JUST-NOW-1").get_json()["orders"]) == 1


def test_another_sellers_orders_are_never_found(
    seller: ApiClient, other_seller: ApiClient, operator: ApiClient, database: Database
) -> None:
    secret = {"buyer__buyerName": "Secret Person", "buyer__buyerEmail": "secret@example.com"}
    aliases = [{"aliasId": "SECRET-1", "aliasType": "SELLER_ORDER_ID"}]
    foreign = receive(other_seller, **secret, orderAliases=aliases)
    path = f"/v1/orders/{foreign['orderId']}/shipment-confirmations"
    assert other_seller.post(path, confirmation(trackingNumber="SECRET-TRACK")).status_code == 201
    own = receive(seller, buyer__buyerName="Own Person")

    for query in (
        {"q": "secret"}, {"q": "se pe"}, {"q": "secret-track"}, {"skus": "NOPE"}, {"sellerOrderIds": "SECRET-1"},
        {"buyerEmail": "secret@example.com"}, {"trackingNumbers": "SECRET-TRACK"}, {"orderIds": foreign["orderId"]},
    ):  # fmt: skip
        assert seller.get("/v1/orders", **query).get_json() == {"orders": []}, query
        groups = seller.get("/v1/orders/counts", by="fulfilledBy", **query).get_json()["groups"]
        assert [group["count"] for group in groups] == [0, 0], query
    assert search(seller, "person") == [own["orderId"]]
    assert search(other_seller, "secret track") == [foreign["orderId"]]
    theirs = operator.get("/v1/orders", sellerId=OTHER_SELLER, q="person").get_json()["orders"]
    assert [order["orderId"] for order in theirs] == [foreign["orderId"]]

    def found(*arguments: object) -> list[str]:
        rows = connection.execute("SELECT search_orders(%s, %s, %s, %s, %s, 100)", arguments).fetchall()
        return [row[0] for row in rows]

    with database.seller_transaction(SELLER) as connection:
        assert found(["%secret%"], None, None, None, None) == []
        assert found(["%secret-track%"], None, None, None, None) == []
        assert found(None, ["SECRET-1"], None, None, None) == []
        assert found(None, None, None, None, "secret@example.com") == []
        assert found(["%' OR true --%"], None, None, None, None) == []
        assert found(None, None, ["MUG"], None, None) == [own["orderId"]]
        assert found(["%person%"], None, None, None, None) == [own["orderId"]]
    with database.connection() as connection:
        assert found(["%person%"], None, None, None, None) == []


STORABLE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=3, max_size=60)


def test_a_title_is_found_by_any_part_of_it(seller: ApiClient) -> None:
    @settings(
        max_examples=150,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(title=STORABLE, data=st.data())
    def check(title: str, data: st.DataObject) -> None:
        parts = [part for part in title.split() if len(fold(part)) >= 3]
        order = titled(seller, title)
        for part in parts[:3]:
            start = data.draw(st.integers(0, len(part) - 1))
            q = part[start : start + data.draw(st.integers(3, 40))]
            if len(q) >= 2 and len(fold(q)) >= 3 and len(fold(q).split()) == 1:
                found = seller.get("/v1/orders", q=q, orderIds=order["orderId"]).get_json()["orders"]
                assert [each["orderId"] for each in found] == [order["orderId"]], (title, q)

    check()


@settings(max_examples=2000, derandomize=True, deadline=None, database=None)
@given(text=st.text())
@example("\u0130\u0131I \u00df\u1e9e \ufb03 \u0141\u0142\u00d8\u00f8\u01fe \u03c2\u03a3 \uff21\u00b2\u2167")
@example("\u1fb3 a\u00a0\u2003\tb \x1c \x85 \uac01 \u1100\u1161\u11a8 \u2764\ufe0f 1\ufe0f\u20e3")
def test_folding_is_that_of_the_model(text: str) -> None:
    assert rules.fold(text) == fold(text)
    assert rules.fold(rules.fold(text)) == rules.fold(text)

# Marshmallow leaves the type arguments out of its own signatures, so what comes from there is "partially unknown".
# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

import json
from collections.abc import Iterator
from copy import deepcopy
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import ValidationError

from service.fields import Amount, Boolean, Day, Integer, List, Nested, Number, Timestamp
from service.orders.schemas import OrderSchema
from service.schema import Schema

Json: TypeAlias = Any
Steps: TypeAlias = tuple[str | int, ...]

BESIDE = Path(__file__).parents[2] / "shared"
OLIST = BESIDE / "data" / "olist" / "orders.ndjson"
MODEL = BESIDE / "reference" / "spapi-models" / "orders_2026-01-01.json"

ORDER = OrderSchema()
MISSING = object()
ID = "01890a5d-ac96-774b-bcce-b302099a8057"
TEXTS = {"countryCode": "BR", "currencyCode": "BRL", "cancellationRunId": ID, "refundId": ID}
SAMPLES = {
    Amount: "12.30",
    Boolean: False,
    Day: "2026-02-28",
    Integer: 7,
    Number: 0.5,
    Timestamp: "2026-01-31T08:30:00Z",
}


def complete(schema: Json) -> dict[str, Json]:
    """Return an object in which every field of the schema is used."""
    return {str(each.data_key): sample(each) for each in schema.load_fields.values()}


def sample(field: Json) -> Json:
    if isinstance(field, Nested):
        return complete(field.schema)
    if isinstance(field, List):
        return [sample(field.inner)]
    if "enum" in field.metadata:
        return field.metadata["enum"][0]
    return SAMPLES[type(field)] if type(field) in SAMPLES else TEXTS.get(field.data_key, "1234")


def paths(value: Json, path: Steps = ()) -> Iterator[Steps]:
    if path:
        yield path
    below_by_step: Json = (
        value if isinstance(value, dict) else dict(enumerate(value if isinstance(value, list) else ()))
    )
    for step, below in below_by_step.items():
        yield from paths(below, (*path, step))


FULL = complete(ORDER)
PATHS = list(paths(FULL))


def changed(path: Steps, value: Json) -> dict[str, Json]:
    order = deepcopy(FULL)
    place: Json = order
    for step in path[:-1]:
        place = place[step]
    if value is MISSING:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return order


def errors_of(order: Json) -> Json:
    with pytest.raises(ValidationError) as caught:
        ORDER.load(order)
    return caught.value.messages


def split(path: str) -> Steps:
    return tuple(int(step) if step.isdigit() else step for step in path.split("."))


def test_real_orders_load() -> None:
    if not OLIST.exists():
        pytest.skip(f"no real orders at {OLIST}")
    lines = OLIST.read_text(encoding="utf-8").splitlines()
    orders = [ORDER.load(json.loads(line)) for line in lines]
    assert len(orders) == 2255
    assert orders[0]["fulfillment"]["ship_by_window"]["latest_date_time"] == datetime(2017, 2, 8, 21, 6, tzinfo=UTC)
    # Breaks when a field is lost, renamed or written differently from how it came.
    assert all(ORDER.dump(order) == json.loads(line) for order, line in zip(orders, lines, strict=True))


def test_an_order_that_uses_every_field_loads_and_is_written_as_it_came() -> None:
    order = ORDER.load(FULL)
    assert order["order_items"][0]["fulfillment"]["shipping"]["shipping_constraints"]["pallet_delivery"] == "MANDATORY"
    # Breaks when an amount passes through a float or loses its last zero.
    assert str(order["proceeds"]["grand_total"]["amount"]) == "12.30"
    assert isinstance(order["proceeds"]["grand_total"]["amount"], Decimal)
    assert ORDER.dump(order) == FULL


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-03-01T00:30:00+02:00", "2026-02-28T22:30:00Z"),
        ("2026-03-01t00:30:00z", "2026-03-01T00:30:00Z"),
        ("2026-03-01T00:30:00z", "2026-03-01T00:30:00Z"),
        ("2026-03-01T00:30:00.1234567-00:00", "2026-03-01T00:30:00.123456Z"),
    ],
)
def test_a_time_with_any_offset_becomes_utc(text: str, utc: str) -> None:
    order = ORDER.load(changed(("createdTime",), text))
    assert order["created_time"].tzinfo is UTC
    assert ORDER.dump({"created_time": order["created_time"]}) == {"createdTime": utc}


TIME = "must be a date and time such as 2026-01-31T08:30:00Z"
CALENDAR = "is not a date and time of the calendar"
UNSTORABLE = "contains a NUL character or half of a surrogate pair, which cannot be stored"
YEARS = "must be in the years 1970 to 2999"
AMOUNT = 'must be a decimal number as text, such as "12.34"'
MONEY = "proceeds.grandTotal"
TITLE = "orderItems.0.product.title"
ITEM = FULL["orderItems"][0]


# Each row breaks when the check it names is taken out; the last part of a path is where the error must stand.
@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("createdTime", "2026-01-31T08:30:00", "needs an offset, such as Z or +02:00"),
        ("createdTime", "0001-01-01T00:00:00+14:00", CALENDAR),
        ("createdTime", "9999-12-31T23:59:59-14:00", CALENDAR),
        ("createdTime", "0001-01-02T00:00:00Z", YEARS),
        ("createdTime", "1970-01-01T00:00:00+01:00", YEARS),
        ("createdTime", "2026-02-30T00:00:00Z", CALENDAR),
        ("createdTime", "2026-01-31T08:30:00+24:00", CALENDAR),
        ("createdTime", "2026-01-31x08:30:00Z", TIME),
        ("createdTime", "2026-01-31T08:30:00Z\n", TIME),
        ("createdTime", 1769848200, TIME),
        ("createdTime", None, "may not be null; leave the field out instead"),
        ("createdTime", MISSING, "is required"),
        ("orderItems.0.product", MISSING, "is required"),
        ("salesChannel.marketplaceId", MISSING, "is required"),
        ("fulfillment.fulfilledBy", MISSING, "is required"),
        (f"{MONEY}.amount", 12.3, AMOUNT),
        (f"{MONEY}.amount", "1e3", AMOUNT),
        (f"{MONEY}.amount", "\u0661", AMOUNT),
        (f"{MONEY}.amount", "1234567890123456", AMOUNT),
        (MONEY, {"amount": "1.234", "currencyCode": "USD"}, {"amount": ["has more decimals than USD, which has 2"]}),
        (MONEY, {"amount": "1.0", "currencyCode": "JPY"}, {"amount": ["has more decimals than JPY, which has 0"]}),
        (f"{MONEY}.currencyCode", "ZZZ", "must be the ISO 4217 code of a currency, such as USD"),
        (f"{MONEY}.currencyCode", "XAU", "must be the ISO 4217 code of a currency, such as USD"),
        (TITLE, "a\0b", UNSTORABLE),
        (TITLE, "é\0", UNSTORABLE),
        (TITLE, "\ud83d", UNSTORABLE),
        (TITLE, "", "must have 1 to 500 characters, not 0"),
        (TITLE, "x" * 501, "must have 1 to 500 characters, not 501"),
        (TITLE, 5, "must be text"),
        ("orderId", "..", "must match the pattern ^[A-Za-z0-9][A-Za-z0-9._-]*$"),
        ("orderId", "902-1\n", "must match the pattern ^[A-Za-z0-9][A-Za-z0-9._-]*$"),
        ("packages.0.packageReferenceId", "0", "must match the pattern ^[1-9][0-9]{0,18}$"),
        ("orderItems.0.quantityOrdered", True, "must be a whole number"),
        ("orderItems.0.quantityOrdered", "5", "must be a whole number"),
        ("orderItems.0.quantityOrdered", 5.0, "must be a whole number"),
        ("orderItems.0.quantityOrdered", -1, "must be from 0 to 1000000"),
        ("orderItems.0.quantityOrdered", 10**400, "must be from 0 to 1000000"),
        ("version", 2**31, "must be from 1 to 2147483647"),
        ("orderItems.0.measurement.value", float("nan"), "must be a number from -1000000000000000 to 1000000000000000"),
        ("fulfillment.shipmentIsLate", 1, "must be true or false"),
        ("surprise", 1, "is not a known field"),
        ("orderItems.0.product.condition.surprise", 1, "is not a known field"),
        ("orderItems", [], "must have 1 to 1000 items, not 0"),
        ("orderItems", [ITEM] * 1001, "must have 1 to 1000 items, not 1001"),
        ("orderItems", {"0": ITEM}, "must be a list"),
        ("orderItems.0", "item", "must be an object"),
        ("recipient", [], "must be an object"),
        ("salesChannel.channelName", "EBAY", "must be one of AMAZON, NON_AMAZON"),
        ("fulfillment.fulfilledBy", [], "must be one of AMAZON, MERCHANT"),
        (
            "recipient.deliveryPreference.deliveryTime.exceptionDates.0.exceptionDate",
            "20260131",
            "must be a date such as 2026-01-31",
        ),
    ],
    ids=lambda each: each[:40] if isinstance(each, str) and each.isprintable() else "",
)
def test_an_error_stands_where_the_mistake_is(
    path: str, value: Json, message: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = changed(split(path), value)
    expected = errors = errors_of(order)
    for step in split(path):
        assert list(errors) == [step]
        errors = errors[step]
    assert errors == (message if isinstance(message, dict) else [message])
    # Our loop over what is there and marshmallow's over all there could be must judge alike.
    monkeypatch.delattr(Schema, "load")
    assert errors_of(order) == expected


def test_what_marshmallow_loads_itself_is_judged_alike() -> None:
    refused: list[Json] = [[], None, "order", 5]
    for order in refused:
        assert errors_of(order) == {"_schema": ["must be an object"]}
    assert ORDER.load([FULL, FULL], many=True) == [ORDER.load(FULL)] * 2
    assert ORDER.load({"version": 2}, partial=True) == {"version": 2}
    assert ORDER.load({**FULL, "surprise": 1}, unknown="exclude") == ORDER.load(FULL)


NASTY = st.sampled_from(
    ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-23:59", "2026-01-01T24:00:00Z", "NaN", "-0", 10**400, 1e308]
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | NASTY
VALUES = st.recursive(
    SCALARS, lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(), below, max_size=3), max_leaves=5
)


@given(path=st.sampled_from(PATHS), value=VALUES)
def test_whatever_stands_in_a_field_is_loaded_or_refused(path: Steps, value: Json) -> None:
    try:
        ORDER.load(changed(path, value))
    except ValidationError as error:
        errors: Json = error.messages
        # Breaks when an error is reported outside the object that holds the mistake.
        for step in path[:-1]:
            assert list(errors) == [step]
            errors = errors[step]


def differences(node: Json, field: Json, place: str, model: Json) -> Iterator[str]:
    """Say where a field is not what the SP-API model makes of it."""
    while "$ref" in node:
        node = model[node["$ref"].rpartition("/")[2]]
    shown = field.metadata
    if node["type"] == "object":
        yield from object_differences(node, field.schema, place, model)
    elif node["type"] == "array":
        yield from differences(node["items"], field.inner, place, model)
    elif (node["type"], node.get("format")) != (shown["type"], shown.get("format")):
        yield f"{place} has another type"
    elif "enum" in node and not set(shown["enum"]) <= set(node["enum"]):
        yield f"{place} has other values"


def object_differences(node: Json, schema: Json, place: str, model: Json) -> Iterator[str]:
    ours: dict[str, Json] = {each.data_key: each for each in schema.load_fields.values()}
    for name, below in node["properties"].items():
        if name not in ours:
            yield f"{place}.{name} is missing"
            continue
        yield from differences(below, ours[name], f"{place}.{name}", model)
        if name in node.get("required", ()) and not ours[name].required:
            yield f"{place}.{name} is not required"
    for name in sorted(ours.keys() - node["properties"].keys()):
        if "Not in SP-API" not in ours[name].metadata["description"]:
            yield f"{place}.{name} does not say that SP-API lacks it"


def test_every_property_of_the_sp_api_order_is_here() -> None:
    if not MODEL.exists():
        pytest.skip(f"no SP-API model at {MODEL}")
    model = json.loads(MODEL.read_text(encoding="utf-8"))["definitions"]
    # The service sets the time of the last change itself, so senders need not.
    assert list(object_differences(model["Order"], ORDER, "Order", model)) == ["Order.lastUpdatedTime is not required"]


def test_the_document_describes_every_field() -> None:
    spec = APISpec("t", "1", "3.1.0", plugins=[MarshmallowPlugin()])
    spec.components.schema("Order", schema=OrderSchema)
    components: Json = spec.to_dict()["components"]["schemas"]
    assert {"Order", "OrderItem", "OrderPackage", "CustomerAddress", "Money", "DateTimeRange"} <= components.keys()
    undescribed = [
        f"{name}.{key}"
        for name, component in components.items()
        for key, each in component["properties"].items()
        if not each.get("description") or not ({"type", "$ref"} & each.keys())
    ]
    assert undescribed == []
    assert all(component["additionalProperties"] is False for component in components.values())
    order = components["Order"]["properties"]
    assert order["createdTime"]["format"] == "date-time"
    assert order["orderItems"]["maxItems"] == 1000
    assert components["OrderItem"]["properties"]["quantityOrdered"]["maximum"] == 1_000_000
    # The examples together are an order that loads; one left out raises KeyError.
    assert ORDER.load({key: each["examples"][0] for key, each in order.items()})

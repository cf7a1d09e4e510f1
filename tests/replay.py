"""Replay a marketplace's history through the API: `python -m tests.replay FOLDER`, beside a running `manage-orders up`.

The folder holds `orders.ndjson` (imported before, with the clock at the beginning), `confirmations.tsv` (what sellers
handed to the carrier, and when) and `expected_cancellations.tsv` (the orders that must end cancelled, and no others).
"""

from __future__ import annotations

import csv
import itertools
import json
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import click

LAST_SWEEP_AFTER = timedelta(days=60)


class Call(Protocol):
    """Calls the API as an operator and returns the status and the body."""

    def __call__(self, method: str, path: str, body: object = None, **query: str) -> tuple[int, dict[str, Any]]:
        """Call it."""
        ...


@dataclass(frozen=True, slots=True)
class HandOver:
    """What a seller handed to the carrier at one moment: one package."""

    time: datetime
    seller_id: str
    order_id: str
    confirmation: Mapping[str, Any]


@dataclass(slots=True)
class Outcome:
    """What the replay did, and everything that is not as expected."""

    confirmed: int = 0
    refused: int = 0
    cancelled: int = 0
    faults: list[str] = field(default_factory=list[str])


def read_hand_overs(folder: Path) -> list[HandOver]:
    """Return the packages in the order of time; the rows of one order and moment are one package."""
    with (folder / "confirmations.tsv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    rows.sort(key=lambda row: (row["seller-id"], row["order-id"], datetime.fromisoformat(row["ship-date"])))
    hand_overs: list[HandOver] = []
    for (seller_id, order_id), of_order in itertools.groupby(rows, lambda row: (row["seller-id"], row["order-id"])):
        packages = itertools.groupby(of_order, lambda row: row["ship-date"])
        for number, (ship_date, of_package) in enumerate(packages, start=1):
            items = list(of_package)
            confirmation = {
                "packageReferenceId": str(number),
                "carrierCode": items[0]["carrier-code"],
                "trackingNumber": items[0]["tracking-number"],
                "shippingMethod": items[0]["ship-method"],
                "shipDate": ship_date,
                "orderItems": [
                    {"orderItemId": row["order-item-id"], "quantity": int(row["quantity"])} for row in items
                ],
            }
            hand_overs.append(HandOver(datetime.fromisoformat(ship_date), seller_id, order_id, confirmation))
    return sorted(hand_overs, key=lambda each: (each.time, each.seller_id, each.order_id))


def replay(call: Call, folder: Path) -> Outcome:
    """Walk through history day by day: confirm what was handed over at its hour, then sweep; compare the end."""
    outcome = Outcome()
    hand_overs = read_hand_overs(folder)
    for day, of_day in itertools.groupby(hand_overs, lambda each: each.time.astimezone(UTC).date()):
        for hand_over in of_day:
            _set_clock(call, hand_over.time)
            _confirm(call, hand_over, outcome)
        _set_clock(call, datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1))
        _sweep(call, outcome)
    _set_clock(call, hand_overs[-1].time + LAST_SWEEP_AFTER)
    _sweep(call, outcome)
    _compare(call, folder, outcome)
    return outcome


def _set_clock(call: Call, now: datetime) -> None:
    status, body = call("PUT", "/v1/sandbox/clock", {"now": now.isoformat()})
    if status != 200:
        raise RuntimeError(f"the clock was not moved: {body}")


def _confirm(call: Call, hand_over: HandOver, outcome: Outcome) -> None:
    path = f"/v1/orders/{hand_over.order_id}/shipment-confirmations"
    status, body = call("POST", path, hand_over.confirmation, sellerId=hand_over.seller_id)
    if status == 201:
        outcome.confirmed += 1
    elif status == 409 and body["type"].endswith((":order-cancelled", ":confirmation-window-closed")):
        outcome.refused += 1
    else:
        outcome.faults.append(f"confirming {hand_over.order_id} was answered {status}: {body}")


def _sweep(call: Call, outcome: Outcome) -> None:
    status, run = call("POST", "/v1/cancellation-runs", {})
    if status != 201 or run["state"] != "SUCCEEDED":
        outcome.faults.append(f"a sweep was answered {status}: {run}")
    outcome.cancelled += run.get("cancelledCount", 0)


def _compare(call: Call, folder: Path, outcome: Outcome) -> None:
    with (folder / "expected_cancellations.tsv").open(newline="", encoding="utf-8") as file:
        expected = {(row["seller-id"], row["order-id"]) for row in csv.DictReader(file, delimiter="\t")}
    with (folder / "orders.ndjson").open(encoding="utf-8") as file:
        orders = {(order["sellerId"], order["orderId"]): order for order in map(json.loads, file)}
    ended = {
        (seller_id, order["orderId"]): order
        for seller_id in sorted({seller_id for seller_id, _ in orders})
        for order in all_orders(call, seller_id)
    }
    for key, order in orders.items():
        fault = _fault(ended.get(key), order, cancelled=key in expected)
        if fault:
            outcome.faults.append(f"{key[1]} of {key[0]}: {fault}")


def _fault(ended: Mapping[str, Any] | None, order: Mapping[str, Any], *, cancelled: bool) -> str | None:
    if ended is None:
        return "is missing"
    status, payment = ended["fulfillment"]["fulfillmentStatus"], ended["payment"]
    if cancelled:
        right = status == "CANCELLED" and payment == {"paymentStatus": "UNPAID"}
        return None if right else f"should be cancelled and unpaid, but is {status}, {payment}"
    right = (
        status == "SHIPPED"
        and payment["paymentStatus"] == "CHARGED"
        and payment["charge"]["amount"] == order["proceeds"]["grandTotal"]
    )
    return None if right else f"should be shipped and charged, but is {status}, {payment}"


def all_orders(call: Call, seller_id: str) -> Iterator[dict[str, Any]]:
    """Yield every order of a seller, page by page."""
    query = {"sellerId": seller_id, "maxResultsPerPage": "100"}
    while True:
        status, page = call("GET", "/v1/orders", **query)
        if status != 200:
            raise RuntimeError(f"the orders of {seller_id} were not listed: {page}")
        yield from page["orders"]
        if "nextToken" not in page.get("pagination", {}):
            return
        query["paginationToken"] = page["pagination"]["nextToken"]


def caller_over_http(api: str, token: str) -> Call:
    """Return a function that calls a running API."""

    def call(method: str, path: str, body: object = None, **query: str) -> tuple[int, dict[str, Any]]:
        request = urllib.request.Request(  # noqa: S310  # the address is the user's own
            f"{api}{path}" + (f"?{urllib.parse.urlencode(query)}" if query else ""),
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310  # the same
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    return call


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--api", default="http://127.0.0.1:8080", show_default=True)
@click.option("--token", required=True, help="An operator's token.")
def main(folder: Path, api: str, token: str) -> None:
    """Replay the history in FOLDER, whose orders have been imported, and compare the end with what is expected."""
    outcome = replay(caller_over_http(api, token), folder)
    click.echo(f"{outcome.confirmed} confirmed, {outcome.refused} refused, {outcome.cancelled} cancelled")
    for fault in outcome.faults:
        click.echo(fault, err=True)
    sys.exit(1 if outcome.faults else 0)


if __name__ == "__main__":
    main()

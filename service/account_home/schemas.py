"""The wire shape of the account home."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode

from service.account_home.queries import COUNT_CAP, RATE_CAP, DueToday, Home
from service.account_home.rules import ATTENTIONS, Rate
from service.fields import Boolean, Choice, Integer, Leaf, List, Nested, Text, Timestamp
from service.orders.item_schemas import IDENTIFIER
from service.orders.schemas import FULFILLMENT_STATUSES
from service.schema import Schema

_LINK_LENGTH = 1000


class Share(Leaf[Decimal]):
    """Part of a whole, as a decimal number in text; it can be more than 1 where the two are counted apart."""

    facts = MappingProxyType({"type": "string", "pattern": r"^\d+\.\d{1,4}$"})

    def _write(self, value: Decimal) -> str:
        return format(value, "f")


class CountLinksSchema(Schema):
    """Where more of it is."""

    orders = Text("The list of exactly these orders.", max_length=_LINK_LENGTH, required=True)


class CountedSchema(Schema):
    """How many orders, and where they are listed."""

    count = Integer("How many; 1,000 when there are more.", minimum=0, maximum=COUNT_CAP, required=True)
    capped = Boolean("Whether there are, or may be, more.", required=True)
    links = Nested(CountLinksSchema, "Where they are listed.", required=True)


class OldestOrderSchema(Schema):
    """The order that a warning has been true of the longest."""

    order_id = Text("The order.", max_length=50, pattern=IDENTIFIER, required=True)
    since = Timestamp("Since when.", required=True)


class HomeWarningSchema(CountedSchema):
    """What the seller should attend to."""

    code = Choice(tuple(ATTENTIONS), "What it is, for programs.", required=True)
    message = Text("What it is, for people.", required=True)
    oldest = Nested(OldestOrderSchema, "The order that it has been true of the longest.", required=True)


class StatusCountSchema(CountedSchema):
    """Orders that have got equally far."""

    fulfillment_status = Choice(FULFILLMENT_STATUSES, "How far they have got.", required=True)


class DueTodaySchema(CountedSchema):
    """Orders of a marketplace that are to be shipped today."""

    marketplace_id = Text("The marketplace.", max_length=50, pattern=IDENTIFIER, required=True)
    until = Timestamp("When the present day ends in the marketplace's time zone.", required=True)


class RateSchema(Schema):
    """How many of the orders of a period went wrong."""

    period_days = Integer("The period: so many times 24 hours, up to now.", minimum=1, required=True)
    order_count = Integer("Seller-fulfilled orders in the period.", minimum=0, maximum=RATE_CAP, required=True)
    rate = Share("The share of them, rounded; absent where there are none.")
    target = Share("What the share is to stay below.", required=True)
    is_within_target = Boolean(
        "Whether it does, before it is rounded; without orders, whether none went wrong.", required=True
    )
    capped = Boolean("Whether there may be more orders, so that the rate is that of the newest 10,000.", required=True)


class LateShipmentRateSchema(RateSchema):
    """Orders whose confirmation was complete only after the ship-by date, of all whose confirmation became complete.

    Amazon's late shipment rate, which is to stay under 4 % (seller help 200285190).
    """

    late_count = Integer("Those confirmed late.", minimum=0, maximum=RATE_CAP, required=True)


class CancellationRateSchema(RateSchema):
    """Orders that the seller cancelled, or did not confirm in time, beside all that were placed.

    Amazon's cancellation rate, which is to stay under 2.5 % (seller help 200285210). Orders that the buyer asked to
    cancel do not count, nor do those that the channel cancelled.
    """

    cancelled_count = Integer(
        "Those cancelled in the period, whenever placed.", minimum=0, maximum=RATE_CAP, required=True
    )


class AccountHomeSchema(Schema):
    """A seller's orders at a glance."""

    computed_time = Timestamp("When this was found out.", required=True)
    warnings = List(
        Nested(HomeWarningSchema), "What to attend to; each is absent without orders.", max_items=20, required=True
    )
    orders_by_status = List(Nested(StatusCountSchema), "All orders, by status.", max_items=5, required=True)
    due_today = List(
        Nested(DueTodaySchema),
        "Orders to be shipped by the seller in what is left of the present day, by marketplace. The first 1,000 are "
        "looked at: where a `count` is capped, other marketplaces may have orders too.",
        max_items=1000,
        required=True,
    )
    late_shipment_rate = List(
        Nested(LateShipmentRateSchema), "Late shipments, by period.", min_items=2, max_items=2, required=True
    )
    cancellation_rate = Nested(CancellationRateSchema, "Cancellations by the seller.", required=True)


def home_json(home: Home, named_seller: str | None) -> dict[str, Any]:
    """Return all of the home but its time, as the schema dumps it; links name the seller where the caller has to."""
    seller = {} if named_seller is None else {"sellerId": named_seller}
    return {
        "warnings": [
            {
                "code": code,
                "message": attention.message,
                "oldest": {"order_id": found.order_id, "since": found.since},
                **_counted(found.number, attention.query | seller),
            }
            for code, attention in ATTENTIONS.items()
            if (found := home.attended.get(code))
        ],
        "orders_by_status": [
            {
                "fulfillment_status": status,
                **_counted(home.number_by_status[status], {"fulfillmentStatuses": status} | seller),
            }
            for status in FULFILLMENT_STATUSES
        ],
        "due_today": [_due_today_json(due, seller) for due in home.due_today],
        "late_shipment_rate": [_rate_json(rate) | {"late_count": rate.failed} for rate in home.late_shipment_rates],
        "cancellation_rate": _rate_json(home.cancellation_rate) | {"cancelled_count": home.cancellation_rate.failed},
    }


def _counted(number: int, query: dict[str, str]) -> dict[str, Any]:
    link = f"/v1/orders?{urlencode(query, safe=',:')}"
    return {"count": min(number, COUNT_CAP), "capped": number > COUNT_CAP, "links": {"orders": link}}


def _due_today_json(due: DueToday, seller: dict[str, str]) -> dict[str, Any]:
    # That the orders are not late says that they are due from now on, without a time that each answer tells anew. Both
    # ends of the list's range belong to it.
    query = {
        "fulfillmentStatuses": "UNSHIPPED,PARTIALLY_SHIPPED",
        "fulfilledBy": "MERCHANT",
        "shipmentIsLate": "false",
        "marketplaceIds": due.marketplace_id,
        "shipByAfter": f"{due.day_start:%Y-%m-%dT%H:%M:%SZ}",
        "shipByBefore": f"{due.day_end - timedelta.resolution:%Y-%m-%dT%H:%M:%S.%fZ}",
        "sort": "shipBy",
    }
    counted = _counted(due.number, query | seller)
    return {
        "marketplace_id": due.marketplace_id,
        "until": due.day_end,
        **counted,
        "capped": counted["capped"] or due.capped,
    }


def _rate_json(rate: Rate) -> dict[str, Any]:
    told = {
        "period_days": rate.period_days,
        "order_count": rate.orders,
        "target": rate.target,
        "is_within_target": rate.is_within_target,
        "capped": rate.capped,
    }
    return told if rate.value is None else told | {"rate": round(rate.value, 4)}

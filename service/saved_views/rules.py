"""Views: what they hold, which come built in, and what is left of one that refers to what no longer exists (R4)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from service.errors import FieldError
from service.search.rules import ViewRequest

MAX_PRIVATE_VIEWS = 200
MAX_SHARED_VIEWS = 200
MAX_COLUMNS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewDefinition:
    """What a user saves. Filters and columns are JSON as it was sent, read anew at each run."""

    name: str
    filters: Mapping[str, Any]
    columns: Sequence[Mapping[str, Any]]
    sort: str | None = None
    max_results_per_page: int | None = None
    is_shared: bool = False
    is_default: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return the definition in the words of the wire."""
        told = {
            "name": self.name,
            "filters": self.filters,
            "columns": self.columns,
            "sort": self.sort,
            "maxResultsPerPage": self.max_results_per_page,
            "isShared": self.is_shared,
            "isDefault": self.is_default,
        }
        return {name: value for name, value in told.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewUser:
    """Who reads or changes views: a user of a seller, and whether they may change what all its users see."""

    seller_id: str
    user: str
    may_share: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedView:
    """A view as it is stored; a built-in one has no times. `errors` tell what of it no longer exists."""

    view_id: str
    definition: ViewDefinition
    errors: Sequence[FieldError] = ()
    version: int = 1
    created_time: datetime | None = None
    last_updated_time: datetime | None = None

    @property
    def is_built_in(self) -> bool:
        """Tell whether the view comes with the service, so that nobody can change it."""
        return self.created_time is None

    def request(self) -> ViewRequest:
        """Return what the view asks for when it runs."""
        definition = self.definition
        return ViewRequest(
            view_id=self.view_id,
            parameters=definition.filters,
            sort=definition.sort,
            columns=tuple(column["field"] for column in definition.columns),
            page_size=definition.max_results_per_page,
        )


def marketplaces_of(definition: ViewDefinition) -> Sequence[str]:
    """Return the marketplaces that a definition refers to."""
    return definition.filters.get("marketplaceIds", ())


def unknown_marketplaces(definition: ViewDefinition, known: Collection[str]) -> list[FieldError]:
    """Return an error for each marketplace of a definition that does not exist."""
    return [
        FieldError(f"the marketplace {marketplace_id} is not known here", f"/filters/marketplaceIds/{number}")
        for number, marketplace_id in enumerate(marketplaces_of(definition))
        if marketplace_id not in known
    ]


def without(definition: ViewDefinition, errors: Sequence[FieldError]) -> ViewDefinition:
    """Return what is left of a definition without the filters, columns and options that the errors point into."""
    places = list(_places(errors))
    return replace(
        definition,
        filters={name: value for name, value in definition.filters.items() if ("filters", name) not in places},
        columns=[column for number, column in enumerate(definition.columns) if ("columns", str(number)) not in places],
        sort=None if ("sort", "") in places else definition.sort,
        max_results_per_page=None if ("maxResultsPerPage", "") in places else definition.max_results_per_page,
    )


def _places(errors: Sequence[FieldError]) -> Iterator[tuple[str, str]]:
    """Yield the member of the definition that each error is in, and which part of the member."""
    for error in errors:
        member, _, rest = (error.pointer or "").removeprefix("/").partition("/")
        # The escapes of RFC 6901: the name of a filter that is no longer known may be any text.
        yield member, rest.partition("/")[0].replace("~1", "/").replace("~0", "~")


# Each column of a built-in view, and how wide it is shown.
_WIDTHS: Mapping[str, int] = {
    "orderId": 190,
    "createdTime": 170,
    "salesChannel.marketplaceId": 140,
    "proceeds.grandTotal": 110,
    "payment.paymentStatus": 130,
    "payment.charge.chargeStatus": 130,
    "payment.charge.declineReason": 220,
    "recipient.deliveryAddress.city": 140,
    "recipient.deliveryAddress.countryCode": 80,
    "fulfillment.fulfillmentStatus": 150,
    "fulfillment.fulfilledBy": 110,
    "fulfillment.fulfillmentServiceLevel": 130,
    "fulfillment.shipByWindow.latestDateTime": 170,
    "fulfillment.confirmBy": 170,
    "fulfillment.shipmentIsLate": 90,
    "fulfillment.confirmedLate": 90,
    "fulfillment.deliverByWindow.latestDateTime": 170,
    "orderItems.product.title": 320,
    "orderItems.product.sellerSku": 140,
    "orderItems.quantityOrdered": 80,
    "orderItems.fulfillment.quantityFulfilled": 90,
    "orderItems.fulfillment.quantityUnfulfilled": 90,
    "packages.carrier": 120,
    "packages.trackingNumber": 190,
    "packages.shipTime": 170,
    "packages.packageStatus.status": 130,
    "cancellation.cancelledTime": 170,
    "cancellation.cancelReason": 220,
    "cancellation.cancellationRequest.requestedTime": 170,
    "cancellation.cancellationRequest.cancelReason": 220,
}
# What was ordered, and what there is to do.
_ORDERED = (
    "orderId", "createdTime", "salesChannel.marketplaceId", "orderItems.product.title", "orderItems.product.sellerSku",
    "orderItems.quantityOrdered", "proceeds.grandTotal",
)  # fmt: skip
_TO_SHIP = (
    "orderId", "fulfillment.shipByWindow.latestDateTime", "fulfillment.confirmBy", "fulfillment.shipmentIsLate",
    "fulfillment.fulfillmentServiceLevel", "orderItems.product.title", "orderItems.product.sellerSku",
    "orderItems.fulfillment.quantityUnfulfilled", "recipient.deliveryAddress.city",
    "recipient.deliveryAddress.countryCode",
)  # fmt: skip


def _built_in(name: str, filters: Mapping[str, Any], fields: Sequence[str], sort: str | None = None) -> ViewDefinition:
    columns = [{"field": field, "width": _WIDTHS[field]} for field in fields]
    return ViewDefinition(name=name, filters=filters, columns=columns, sort=sort, is_shared=True)


def _of_status(name: str, status: str, fields: Sequence[str], sort: str | None = None) -> ViewDefinition:
    return _built_in(name, {"fulfillmentStatuses": [status]}, fields, sort)


_DEFINITIONS: Mapping[str, ViewDefinition] = {
    "all": _built_in(
        "All (last 7 days)", {"createdWithin": "P7D"},
        (*_ORDERED, "fulfillment.fulfillmentStatus", "fulfillment.fulfilledBy",
         "fulfillment.shipByWindow.latestDateTime", "payment.paymentStatus"),
    ),
    "pending": _of_status(
        "Pending", "PENDING",
        (*_ORDERED, "fulfillment.fulfilledBy", "fulfillment.fulfillmentServiceLevel",
         "fulfillment.shipByWindow.latestDateTime"),
    ),
    "unshipped": _of_status("Unshipped", "UNSHIPPED", (*_TO_SHIP, "createdTime"), "shipBy"),
    "late": _built_in(
        "Late", {"shipmentIsLate": True}, (*_TO_SHIP, "fulfillment.fulfillmentStatus", "createdTime"), "shipBy"
    ),
    "cancels-within-24-hours": _built_in(
        "Cancels within 24 hours", {"fulfillmentStatuses": ["UNSHIPPED"], "confirmByWithin": "PT24H"},
        (*_TO_SHIP, "createdTime"), "confirmBy",
    ),
    "cancels-within-7-days": _built_in(
        "Cancels within 7 days", {"fulfillmentStatuses": ["UNSHIPPED"], "confirmByWithin": "P7D"},
        (*_TO_SHIP, "createdTime"), "confirmBy",
    ),
    "cancellation-requests": _built_in(
        "Cancellation requests", {"cancellationIsRequested": True},
        (*_ORDERED, "cancellation.cancellationRequest.requestedTime", "cancellation.cancellationRequest.cancelReason",
         "fulfillment.fulfillmentStatus", "fulfillment.confirmBy"),
    ),
    "declined-charges": _built_in(
        "Declined charges", {"chargeIsDeclined": True},
        (*_ORDERED, "payment.charge.chargeStatus", "payment.charge.declineReason", "fulfillment.fulfillmentStatus"),
    ),
    "partially-shipped": _of_status(
        "Partially shipped", "PARTIALLY_SHIPPED",
        (*_TO_SHIP, "orderItems.fulfillment.quantityFulfilled", "packages.trackingNumber"),
    ),
    "shipped": _of_status(
        "Shipped", "SHIPPED",
        (*_ORDERED, "packages.carrier", "packages.trackingNumber", "packages.shipTime",
         "packages.packageStatus.status", "payment.paymentStatus"),
    ),
    "confirmed-late": _built_in(
        "Confirmed late", {"confirmedLate": True},
        (*_ORDERED, "fulfillment.shipByWindow.latestDateTime", "fulfillment.confirmedLate", "packages.shipTime",
         "packages.packageStatus.status"),
    ),
    "cancelled": _of_status(
        "Cancelled", "CANCELLED",
        (*_ORDERED, "cancellation.cancelledTime", "cancellation.cancelReason", "payment.paymentStatus"),
    ),
    "platform-fulfilled": _built_in(
        "Platform-fulfilled", {"fulfilledBy": ["AMAZON"]},
        (*_ORDERED, "fulfillment.fulfillmentStatus", "fulfillment.deliverByWindow.latestDateTime",
         "recipient.deliveryAddress.countryCode", "payment.paymentStatus"),
    ),
}  # fmt: skip
# In the order in which a list shows them.
BUILT_IN_VIEWS: Mapping[str, SavedView] = {
    view_id: SavedView(view_id=view_id, definition=definition) for view_id, definition in _DEFINITIONS.items()
}

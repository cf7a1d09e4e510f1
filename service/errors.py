"""Domain errors. Each class is one stable problem `type` (RFC 9457); only the API knows that they travel over HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

TYPE_PREFIX = "urn:manage-orders:problem:"


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing that is wrong with the input: a JSON pointer (`/orderItems/0/quantity`) or a parameter's name."""

    detail: str
    pointer: str | None = None
    parameter: str | None = None
    header: str | None = None

    def as_dict(self) -> dict[str, str]:
        """Return the members that are set, in the words of the wire."""
        places = {"pointer": self.pointer, "parameter": self.parameter, "header": self.header}
        return {"detail": self.detail} | {name: place for name, place in places.items() if place is not None}


class Problem(Exception):  # noqa: N818  # the word of RFC 9457
    """A refusal the caller can act on: what is wrong in `detail`, where in `errors`, and what would be right."""

    code: ClassVar[str] = "invalid-request"
    title: ClassVar[str] = "The request is not valid"
    status: ClassVar[int] = 422
    example: ClassVar[str] = "the input does not fit the contract"
    example_errors: ClassVar[tuple[FieldError, ...]] = ()

    def __init__(self, detail: str, *errors: FieldError, retry_after_s: int | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = errors
        self.retry_after_s = retry_after_s

    @property
    def type(self) -> str:
        """Return the URN that names the cause."""
        return TYPE_PREFIX + self.code


class InvalidRequest(Problem):
    """The input breaks the contract; `errors` says where."""


class MalformedRequest(Problem):
    code, title, status = "malformed-request", "The request could not be read", 400
    example = "the body is not JSON"
    example_errors = (FieldError("unexpected end of data: line 1 column 2 (char 1)", pointer=""),)


class Unauthenticated(Problem):
    code, title, status = "unauthenticated", "A valid token is needed", 401
    example = "send a valid token"
    example_errors = (FieldError("Bearer <token>", header="Authorization"),)


class Forbidden(Problem):
    code, title, status = "forbidden", "The token does not allow this", 403
    example = "the token lacks the scope shipments:write"


class NotFound(Problem):
    code, title, status = "not-found", "There is no such resource", 404
    example = "there is nothing at this address"


class MethodNotAllowed(Problem):
    code, title, status = "method-not-allowed", "The resource does not have this method", 405


class RequestTooLarge(Problem):
    code, title, status = "request-too-large", "The request is too large", 413
    example = "send less at a time"


class UnsupportedMediaType(Problem):
    code, title, status = "unsupported-media-type", "The body is of a media type that is not taken", 415
    example = "send the body as application/json"


class CancellationRunNotFound(Problem):
    code, title, status = "cancellation-run-not-found", "There is no such run", 404
    example = "there is no run 5f0c5c4e-7a53-4d5a-9d0c-0d5a0f6b1c11"


class OrderNotFound(Problem):
    code, title, status = "order-not-found", "The seller has no such order", 404
    example = "the seller has no order 902-3159896-1390916"


class SellerNotFound(Problem):
    code, title, status = "seller-not-found", "There is no such seller", 404
    example = "there is no seller A1SELLER for this token"
    example_errors = (FieldError("not known", parameter="sellerId"),)


class SellerExists(Problem):
    code, title, status = "seller-exists", "The seller exists already", 409


class MarketplaceExists(Problem):
    code, title, status = "marketplace-exists", "The marketplace exists already", 409


class UnknownMarketplace(Problem):
    code, title = "unknown-marketplace", "The marketplace is not known here"
    example = "the marketplace A1NEW is not known here; operators can add it"
    example_errors = (FieldError("A1NEW is not known here", pointer="/salesChannel/marketplaceId"),)


class ContradictoryOrder(Problem):
    code, title = "contradictory-order", "The order contradicts itself"
    example = "the order's parts do not agree; nothing was stored"
    example_errors = (FieldError("two items have the same orderItemId", pointer="/orderItems"),)


class OrderConflict(Problem):
    code, title, status = "order-conflict", "The order would undo what has happened here", 409
    example = "the order was not changed"
    example_errors = (FieldError("the window is fixed once an item is confirmed", pointer="/fulfillment/shipByWindow"),)


class PackageConflict(Problem):
    code, title, status = "package-conflict", "The package was confirmed with other content", 409
    example = "package 1 of the order has other content; a new package needs another id"
    example_errors = (FieldError("is taken by a package with other content", pointer="/packageReferenceId"),)


class OrderCancelled(Problem):
    code, title, status = "order-cancelled", "The order is cancelled", 409
    example = "the order is cancelled and unpaid, and stays so; do not ship it"


class ConfirmationWindowClosed(Problem):
    code, title, status = "confirmation-window-closed", "The confirmation window is closed", 409
    example = "the order had to be confirmed before 2026-03-14T07:00:00Z; it is being cancelled and stays unpaid"


class OrderPending(Problem):
    code, title, status = "order-pending", "The order is not ready to ship", 409
    example = "the payment is not authorized yet; confirm once the order is UNSHIPPED"


class PlatformFulfilled(Problem):
    code, title, status = "platform-fulfilled", "The platform ships this order", 409
    example = "the platform ships and confirms this order; there is nothing for the seller to do"


class NothingToConfirm(Problem):
    code, title, status = "nothing-to-confirm", "Everything in the order is confirmed", 409
    example = "every item of the order is confirmed already"


class TooManyPackages(Problem):
    code, title, status = "too-many-packages", "There are too many packages", 409
    example = "the order has 1000 packages, the most there can be"


class UnknownOrderItem(Problem):
    code, title = "unknown-order-item", "The order has no such item"
    example = "the order's items are 68828574383266"
    example_errors = (FieldError("7 is not an item of the order", pointer="/orderItems/0/orderItemId"),)


class QuantityTooLarge(Problem):
    code, title = "quantity-too-large", "More units than remain to be confirmed"
    example = "confirm at most what remains"
    example_errors = (FieldError("1 of 2 remain to be confirmed, not 2", pointer="/orderItems/0/quantity"),)


class ShipDateOutOfRange(Problem):
    code, title = "ship-date-out-of-range", "The ship date cannot be right"
    example = "a package is handed over after it was ordered, and not more than a day from now"
    example_errors = (FieldError("is before the order, of 2026-03-02T09:15:00Z", pointer="/shipDate"),)


class UnknownCarrier(Problem):
    code, title = "unknown-carrier", "The carrier is not known here"
    example = "use a code of the list, or Other with the carrierName"
    example_errors = (FieldError("Fast Mail is not a known code", pointer="/carrierCode"),)


class CancellationRequested(Problem):
    code, title, status = "cancellation-requested", "The buyer asks to cancel the order", 409
    example = "the buyer asked to cancel at 2026-03-03T08:00:00Z; cancel the order, or confirm it all the same"
    example_errors = (
        FieldError("must be true to confirm against the buyer's request", pointer="/overrideCancellationRequest"),
    )


class PackageNotFound(Problem):
    code, title, status = "package-not-found", "The order has no such package", 404
    example = "the order has no package 7"


class PackageDelivered(Problem):
    code, title, status = "package-delivered", "The package is delivered", 409
    example = "package 1 was delivered at 2026-03-09T14:02:00Z; it can no longer be corrected"


class TrackingTimeOutOfRange(Problem):
    code, title = "tracking-time-out-of-range", "The time of the tracking event cannot be right"
    example = "a package is tracked after it was ordered, and not more than a day from now"
    example_errors = (FieldError("is before the order, of 2026-03-02T09:15:00Z", pointer="/eventTime"),)


class OrderConfirmed(Problem):
    code, title, status = "order-confirmed", "An item of the order is confirmed", 409
    example = "an item is confirmed and the order is charged, so it cannot be cancelled; refund what is not shipped"


class BatchNotFound(Problem):
    code, title, status = "batch-not-found", "There is no such file of confirmations", 404
    example = "there is no batch 3a5d1f0e-7c53-4d5a-8d0c-0d5a0f6b1c22"


class BatchUnreadable(Problem):
    code, title = "batch-unreadable", "The file cannot be read as confirmations"
    example = "nothing was taken from the file"
    example_errors = (FieldError("is not a known column", pointer="/order-item-ids"),)


class ViewNotFound(Problem):
    code, title, status = "view-not-found", "There is no such view", 404
    example = "there is no view 3f0d6c2e-6f0e-4b7e-9a55-0d9f3c1b7a42 for this token"


class ViewExists(Problem):
    code, title, status = "view-exists", "There is a view of this name already", 409
    example = "a view of this name exists already; give this one another, or change that one"


class ViewReadOnly(Problem):
    code, title, status = "view-read-only", "The view is built in", 409
    example = "the view late is built in; save another like it"


class ViewOutdated(Problem):
    code, title, status = "view-outdated", "The view refers to what no longer exists", 409
    example = "the view Germany refers to what no longer exists; change it or delete it"
    example_errors = (FieldError("the marketplace A1GONE is not known here", pointer="/filters/marketplaceIds/0"),)


class TooManyViews(Problem):
    code, title, status = "too-many-views", "There are too many views", 409
    example = "the user has 200 views, the most there can be; delete one first"


class PreconditionFailed(Problem):
    code, title, status = "precondition-failed", "It has changed since it was read", 412
    example = "the view is at version 4; read it again, and change what it holds now"
    example_errors = (FieldError("names another version", header="If-Match"),)


class PreconditionRequired(Problem):
    code, title, status = "precondition-required", "The request must say which version it changes", 428
    example = "send the ETag of what is to be changed"
    example_errors = (FieldError("is required", header="If-Match"),)


class SandboxRefused(Problem):
    code, title, status = "sandbox-refused", "The process and the database are not of one mode", 503


class Overloaded(Problem):
    code, title, status = "overloaded", "The service is busy", 503
    example = "the database did not answer in time"


class Contended(Overloaded):
    """A statement that waited or ran too long, or in a circle: the connection is well, and other rows may be too."""


class InternalError(Problem):
    code, title, status = "internal-error", "Something went wrong here", 500
    example = "the fault is recorded under the request id"

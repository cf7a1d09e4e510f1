"""What may stand in an address: each part is described, and what cannot be one is an address that does not exist."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from werkzeug.routing import BaseConverter, UUIDConverter

from service.orders.item_schemas import IDENTIFIER
from service.orders.package_schemas import PACKAGE_REFERENCE_ID


class OrderIdConverter(BaseConverter):
    """An order's id in a path."""

    regex = IDENTIFIER.strip("^$")


class ViewIdConverter(OrderIdConverter):
    """A view's id in a path."""


class MarketplaceIdConverter(OrderIdConverter):
    """A marketplace's id in a path."""


class PackageReferenceIdConverter(BaseConverter):
    """A package's number in a path."""

    regex = PACKAGE_REFERENCE_ID.strip("^$")


class RefundIdConverter(UUIDConverter):
    """A refund's id in a path."""


class BatchIdConverter(UUIDConverter):
    """A file's id in a path."""


class ExtensionIdConverter(UUIDConverter):
    """An extension's id in a path."""


CONVERTERS: Mapping[str, type[BaseConverter]] = {
    "order_id": OrderIdConverter,
    "view_id": ViewIdConverter,
    "marketplace_id": MarketplaceIdConverter,
    "package_reference_id": PackageReferenceIdConverter,
    "refund_id": RefundIdConverter,
    "batch_id": BatchIdConverter,
    "extension_id": ExtensionIdConverter,
}


def _text(description: str, pattern: str, max_length: int, example: str) -> Mapping[str, Any]:
    return {
        "description": description,
        "type": "string",
        "pattern": pattern,
        "maxLength": max_length,
        "examples": [example],
    }


def _uuid(description: str, example: str) -> Mapping[str, Any]:
    return {"description": description, "type": "string", "format": "uuid", "examples": [example]}


SCHEMAS: Mapping[type[BaseConverter], Mapping[str, Any]] = {
    OrderIdConverter: _text("The order.", IDENTIFIER, 50, "902-3159896-1390916"),
    ViewIdConverter: _text("The view: one that was saved, or a built-in one.", IDENTIFIER, 64, "unshipped"),
    MarketplaceIdConverter: _text("The marketplace.", IDENTIFIER, 50, "A2Q3Y263D00KWC"),
    PackageReferenceIdConverter: _text(
        "The seller's number of the package in the order.", PACKAGE_REFERENCE_ID, 19, "1"
    ),
    UUIDConverter: _uuid("The run.", "5f0c5c4e-7a53-4d5a-9d0c-0d5a0f6b1c11"),
    RefundIdConverter: _uuid("The refund.", "8d6f1c5e-0f57-4f0e-9d53-0a6f8a3c2b11"),
    BatchIdConverter: _uuid("The file of confirmations.", "3a5d1f0e-7c53-4d5a-8d0c-0d5a0f6b1c22"),
    ExtensionIdConverter: _uuid("The change of deadlines.", "7c9e6679-7425-40de-944b-e07fc1f90ae7"),
}


def path_schema(converter: BaseConverter) -> dict[str, Any]:
    """Return a copy of what describes a part of an address: whoever gets it takes the description out."""
    return dict(SCHEMAS[type(converter)])

"""What tells one version of an order from another."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson

# An order that we gave out can come back: what is derived here is not the channel's to say, and is not stored.
DERIVED = frozenset({"sellerId", "version", "lastUpdatedTime", "cancellation", "warnings"})
_DERIVED_FULFILLMENT = frozenset({"confirmBy", "shipmentIsLate", "confirmedLate", "deliveredTime"})


def content_of(document: Mapping[str, Any]) -> bytes:
    """Return what an order says, whatever the order of its members."""
    told = {key: part for key, part in document.items() if key not in DERIVED}
    told["fulfillment"] = {
        key: part for key, part in document["fulfillment"].items() if key not in _DERIVED_FULFILLMENT
    }
    if "payment" in told:
        told["payment"] = {key: part for key, part in document["payment"].items() if key != "refunds"}
    if "packages" in told:
        told["packages"] = [
            {key: part for key, part in package.items() if key != "version"} for package in document["packages"]
        ]
    return orjson.dumps(told, option=orjson.OPT_SORT_KEYS)


def digest_of(content: bytes) -> bytes:
    """Return what stands for the content of an order."""
    return hashlib.sha256(content).digest()

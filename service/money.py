"""Money as the domain sees it: an exact amount and its currency."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Money:
    """An exact amount in one currency; the amount keeps the decimals it was given with."""

    amount: Decimal
    currency_code: str

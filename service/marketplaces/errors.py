"""Refusals of who names a marketplace."""

from __future__ import annotations

from service.errors import Problem


class MarketplaceNotFound(Problem):
    code, title, status = "marketplace-not-found", "There is no such marketplace", 404
    example = "the marketplace A1NEW is not known here; operators can add it"

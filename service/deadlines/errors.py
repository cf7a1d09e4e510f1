"""Refusals of who moves deadlines."""

from __future__ import annotations

from service.errors import FieldError, Problem


class ExtensionNotFound(Problem):
    code, title, status = "extension-not-found", "There is no such extension", 404
    example = "there is no extension 7c9e6679-7425-40de-944b-e07fc1f90ae7"


class UnknownSelection(Problem):
    code, title = "unknown-selection", "The selection names what is not known here"
    example = "nothing is extended by a selection that names what is not known here"
    example_errors = (FieldError("the seller A1SELLER has no such order", "/orders/0/orderId"),)


class ExtensionApproved(Problem):
    code, title, status = "extension-approved", "The extension is approved already", 409
    example = "the extension was approved before, for 120 orders"


class ExtensionCountDiffers(Problem):
    code, title, status = "extension-count-differs", "The count of orders is not the one that was expected", 409
    example = "121 orders would be extended now, not 120: look at it again"
    example_errors = (FieldError("is 121", "/expectedCount"),)


class ExtensionOutdated(Problem):
    code, title, status = "extension-outdated", "The preview is no longer what would be done", 409
    example = "the extension was previewed more than 24 hours ago: preview it again"

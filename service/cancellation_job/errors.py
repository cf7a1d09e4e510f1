"""Refusals of who steers the job."""

from __future__ import annotations

from service.errors import FieldError, Problem


class PauseTooLong(Problem):
    code, title = "pause-too-long", "A pause ends within 72 hours, and not before it begins"
    example = "a pause ends at most 72 hours from now: pause again later, if need be"
    example_errors = (FieldError("lies more than 72 hours ahead", "/until"),)


class RunNotHeld(Problem):
    code, title, status = "run-not-held", "The run is not held", 409
    example = "the run is SUCCEEDED: only a run that is HELD can be approved"


class CountDiffers(Problem):
    code, title, status = "count-differs", "The count is not the one that was expected", 409
    example = "the run found 1250 orders, not 1200: look at it again"
    example_errors = (FieldError("is 1250", "/expectedCount"),)


class ApprovalTooLate(Problem):
    code, title, status = "approval-too-late", "The run was held too long ago", 409
    example = "the run was held more than 24 hours ago: approve a newer one"


class RunApproved(Problem):
    code, title, status = "run-approved", "The run is approved already", 409
    example = "the run has been approved before, and an approval is given once: approve a newer run"

"""The cancellation job as people read it: one fact a line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import chain, repeat

from service.cancellation_job.control import Approval
from service.cancellation_job.job_actions import JobStatus
from service.cancellation_job.ledger import CancellationRun
from service.cancellation_job.rules import RunState
from service.cancellation_job.run_queries import RunDetail
from service.commands import utc

_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def job_page(job: JobStatus) -> Iterator[tuple[str, str]]:
    """Yield each fact with its label; the labels of one that takes several lines are empty behind the first."""
    facts = job.facts
    now = facts.database_now
    yield "state", job.state
    yield "last success", _told_run(job.last_success, now) if job.last_success else "never"
    yield "last run", _told_run(job.last_run, now) if job.last_run else "none"
    yield "next run", told_at(facts.next_run_time, now)
    if job.pause is not None:
        yield "paused", f"until {told_at(job.pause.until_time, now)}, by {job.pause.paused_by}: {job.pause.reason}"
    if job.held_run is not None and facts.held_since is not None:
        yield from _held_facts(job, job.held_run, facts.held_since)
    oldest = f", the oldest since {told_at(facts.oldest_confirm_by, facts.now)}" if facts.oldest_confirm_by else ""
    yield "overdue", f"{facts.overdue_count} orders{oldest}"
    yield "missed slots", f"{facts.missed_slot_count} in the last 24 hours"
    if not any(each.is_alive for each in job.schedulers):
        yield "schedulers", "none is alive"
    for each in job.schedulers:
        life = f"{'alive' if each.is_alive else 'not alive'}, last sign {told_at(each.heartbeat_time, now)}"
        yield "scheduler", f"{each.scheduler_id} on {each.host}: {life}, clock {each.clock_skew_ms:+d} ms"
    limits = job.options.limits
    yield "interval", f"{job.options.interval_s} s"
    yield "limits", f"{limits.max_orders} orders, {limits.max_percent} % of the open ones"
    yield "", f"{limits.max_seller_percent} % of one seller's open ones; shares from {limits.percent_from} orders on"
    yield "", f"clock within {limits.max_clock_skew_s} s"
    yield "clock", f"{utc(facts.now)}, by which deadlines are judged"


def _held_facts(job: JobStatus, run: CancellationRun, since: datetime) -> Iterator[tuple[str, str]]:
    now = job.facts.database_now
    yield "held", f"run {run.run_id}: {run.found_count} orders due; held since {told_at(since, now)}"
    for reason in held_reasons(run):
        yield "", reason
    if job.approval is None:
        yield "", approve_command(run)
    else:
        yield "approved", _told_approval(job.approval, now)


def _told_run(run: CancellationRun, now: datetime) -> str:
    ended = (
        told_at(run.finished_time, now) if run.finished_time else f"not ended, begun {told_at(run.started_time, now)}"
    )
    return f"{run.state}, {ended}: {run.found_count} due, {run.cancelled_count} cancelled (run {run.run_id})"


def run_page(found: RunDetail, now: datetime) -> Iterator[tuple[str, str]]:
    """Yield each fact of one run with its label, as `job_page` does."""
    run = found.run
    yield "run", f"{run.run_id}, number {run.run_number}"
    yield "state", f"{told_state(run)}{', a dry run' if run.dry_run else ''}"
    if run.slot is not None:
        yield "slot", utc(run.slot)
    yield "requested by", run.requested_by
    yield "began", told_at(run.started_time, now)
    yield "ended", told_at(run.finished_time, now) if run.finished_time else "not yet"
    yield "cutoff", f"{utc(run.cutoff)}: orders were due whose confirmBy had come by then"
    of_open = "" if run.open_count is None else f" of {run.open_count} open ones"
    yield "due", f"{run.found_count}{of_open}"
    yield "done", f"{run.cancelled_count} cancelled, {run.skipped_count} skipped, {run.error_count} failed"
    if run.approved_run_id is not None:
        yield "by approval", f"of run {run.approved_run_id}"
    yield from _under("held", _held_lines(found))
    if found.approval is not None:
        yield "approved", _told_approval(found.approval, now)
    yield from _under("failed", [f"{seller_id} {order_id}: {error}" for seller_id, order_id, error in found.errors])


def _held_lines(found: RunDetail) -> list[str]:
    can_be_approved = found.run.state == RunState.HELD and found.approval is None
    return held_reasons(found.run) + ([approve_command(found.run)] if can_be_approved else [])


def _under(label: str, lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield lines that have one label, before the first."""
    return zip(chain([label], repeat("")), lines, strict=False)


def _told_approval(given: Approval, now: datetime) -> str:
    if given.used_by_run_id is not None:
        use = f"run {given.used_by_run_id} has used it"
    elif given.expires_time <= now:
        use = f"no run has used it until {told_at(given.expires_time, now)}"
    else:
        use = f"the next run uses it, until {told_at(given.expires_time, now)}"
    return f"{given.expected_count} orders, by {given.approved_by}: {given.reason}; {use}"


def told_state(run: CancellationRun) -> str:
    """Return the state of a run, and how many slots one that is MISSED stands for."""
    return f"{run.slot_count} slots MISSED" if run.state == RunState.MISSED else run.state


def held_reasons(run: CancellationRun) -> list[str]:
    """Return why a run is held, a reason a line."""
    return [f"{reason['code']}: {reason['detail']}" for reason in run.held_reasons or ()]


def approve_command(run: CancellationRun) -> str:
    """Return the command that lets the next run cancel what a held one found."""
    return f'manage-orders job approve {run.run_id} --expected-count {run.found_count} --reason "..."'


def told_at(instant: datetime, now: datetime) -> str:
    """Return an instant, and how far it is from now in the largest unit of which there are two."""
    seconds = round((now - instant).total_seconds())
    length, unit = next((each for each in _UNITS if abs(seconds) >= 2 * each[0]), _UNITS[-1])
    number = abs(seconds) // length
    return f"{utc(instant)} ({f'{number} {unit} ago' if seconds >= 0 else f'in {number} {unit}'})"

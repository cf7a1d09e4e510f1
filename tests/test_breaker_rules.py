"""When a run is held: more than is plausible is due, or the database's clock is not to be trusted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from service.cancellation_job.rules import (
    MAX_SELLERS_TOLD,
    Assessment,
    ClockReading,
    ClockWatch,
    DueOfSeller,
    Limits,
    judge_clock,
    judge_counts,
)

NOW = datetime(2026, 3, 18, 7, 0, tzinfo=UTC)
LIMITS = Limits(max_orders=1000, max_percent=20, max_seller_percent=50, percent_from=50, max_clock_skew_s=60)


def found(due_count: int, open_count: int | None = None, *sellers: DueOfSeller) -> Assessment:
    return Assessment(due_count, "digest", open_count, sellers)


@pytest.mark.parametrize(
    ("assessment", "codes"),
    [
        (found(0), []),
        (found(1000, 5000), []),
        (found(1001, 6000), ["TOO_MANY"]),
        (found(200, 1000), []),
        (found(201, 1000), ["TOO_MANY_OF_OPEN"]),
        (found(49), []),
        (found(100, 1000, DueOfSeller("A", 50, 100), DueOfSeller("B", 50, 99)), ["TOO_MANY_OF_SELLER"]),
        (found(98, 1000, DueOfSeller("A", 49, 49), DueOfSeller("B", 49, 49)), []),
        (found(1001, 1001, DueOfSeller("A", 1001, 1001)), ["TOO_MANY", "TOO_MANY_OF_OPEN", "TOO_MANY_OF_SELLER"]),
    ],
)
def test_a_run_is_held_when_it_would_cancel_more_than_is_allowed_and_not_one_order_before(
    assessment: Assessment, codes: list[str]
) -> None:
    assert [reason.code for reason in judge_counts(assessment, LIMITS)] == codes


def test_without_anything_allowed_the_first_order_holds_a_run() -> None:
    nothing = Limits(max_orders=0, max_percent=0, max_seller_percent=0, percent_from=1)
    assert judge_counts(found(0), nothing) == []
    assert [reason.code for reason in judge_counts(found(1, 10, DueOfSeller("A", 1, 9)), nothing)] == [
        "TOO_MANY",
        "TOO_MANY_OF_OPEN",
        "TOO_MANY_OF_SELLER",
    ]


def test_the_sellers_with_the_most_are_named_and_not_thousands_of_them() -> None:
    sellers = [DueOfSeller(f"S{number:03}", 50 + number, 50 + number) for number in range(100)]
    reasons = judge_counts(found(900, 100_000, *sellers), LIMITS)
    assert len(reasons) == MAX_SELLERS_TOLD
    assert "149 of 149 open orders of seller S099" in reasons[0].detail


@pytest.mark.parametrize(
    ("host_behind_s", "newest_behind_s", "jumped_s", "codes"),
    [
        (0, None, 0, []),
        (60, 0, 60, []),
        (-60, -60, -60, []),
        (61, 0, 0, ["CLOCK_SKEWED"]),
        (-61, 0, 0, ["CLOCK_SKEWED"]),
        (0, -61, 0, ["CLOCK_WENT_BACK"]),
        (0, 10**7, 0, []),
        (0, 0, 61, ["CLOCK_JUMPED"]),
        (0, 0, -61, ["CLOCK_JUMPED"]),
        (11 * 86_400, 0, 11 * 86_400, ["CLOCK_SKEWED", "CLOCK_JUMPED"]),
        (-7200, -7200, -7200, ["CLOCK_SKEWED", "CLOCK_WENT_BACK", "CLOCK_JUMPED"]),
    ],
)
def test_a_run_is_held_when_the_clock_is_further_off_than_is_allowed(
    host_behind_s: int, newest_behind_s: int | None, jumped_s: float, codes: list[str]
) -> None:
    newest = None if newest_behind_s is None else NOW - timedelta(seconds=newest_behind_s)
    reading = ClockReading(NOW, NOW - timedelta(seconds=host_behind_s), newest, jumped_s)
    assert [reason.code for reason in judge_clock(reading, LIMITS)] == codes


def test_a_jump_is_seen_until_the_clock_is_back() -> None:
    # Broken by a watch that compares with its last look only: the run after the one that was held would go on.
    looks = iter([1000.0, 1060.0, 1120.0, 1180.0, 1240.0])
    watch = ClockWatch(lambda: next(looks))
    hour, jump = timedelta(minutes=1), timedelta(days=11)
    moments = [NOW, NOW + hour, NOW + 2 * hour + jump, NOW + 3 * hour + jump, NOW + 4 * hour]
    assert [round(watch.jumped_s(moment)) for moment in moments] == [0, 0, 950_400, 950_400, 0]


def test_a_jump_since_the_last_look_is_seen_though_a_run_was_approved_in_between() -> None:
    # Broken by taking the clock for right as it is by then: to set it right would look like a jump.
    looks = iter([1000.0, 1060.0, 1120.0, 1180.0])
    watch = ClockWatch(lambda: next(looks))
    minute, jump = timedelta(minutes=1), timedelta(days=11)
    moments = [(NOW, 0), (NOW + minute + jump, 7), (NOW + 2 * minute + jump, 9), (NOW + 3 * minute, 9)]
    assert [round(watch.jumped_s(*moment)) for moment in moments] == [0, 950_400, 0, -950_400]


def test_a_clock_that_drifts_for_a_year_has_not_jumped() -> None:
    seconds = 0.0

    def elapsed_s() -> float:
        return seconds

    watch, jumped_s = ClockWatch(elapsed_s), 0.0
    for minute in range(500_000):
        seconds = minute * 60.0
        jumped_s = watch.jumped_s(NOW + timedelta(seconds=seconds * 1.0001))
    assert jumped_s == 0

"""The evaluator of alerts: what it knows has the value that Prometheus gives it, and the rest is refused."""

from __future__ import annotations

import pytest

from tests.promql import PromqlError, Scraped, Value, evaluate, names

TEXT = """
# TYPE a gauge
a{x="1"} 3
a{x="2"} 5
# TYPE b gauge
b{x="1"} 4
# TYPE c gauge
c 7
"""
SCRAPED = Scraped.of(TEXT, 100)
ONE, TWO, NONE = frozenset({("x", "1")}), frozenset({("x", "2")}), frozenset[tuple[str, str]]()


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("1 + 2 * 3 - 4", 3.0),
        ("(1 + 2) * 3", 9.0),
        ("time() - c", {NONE: 93.0}),
        ('a{x="2"}', {TWO: 5.0}),
        ('a{x="3"}', {}),
        ("unknown", {}),
        ("a + b", {ONE: 7.0}),
        ("a > 3", {TWO: 5.0}),
        ("4 < a", {TWO: 5.0}),
        ("a < b", {ONE: 3.0}),
        ("a >= 3 and b", {ONE: 3.0}),
        ("a unless b", {TWO: 5.0}),
        ("a unless b unless a", {}),
        ("b or a", {ONE: 4.0, TWO: 5.0}),
        ("a == 5 or a == 3 unless a", {TWO: 5.0}),
        ("a > 1 + 2", {TWO: 5.0}),
        ("absent(c)", {}),
        ("absent(unknown)", {NONE: 1.0}),
        ("max(a)", {NONE: 5.0}),
        ("sum(a) + 1", {NONE: 9.0}),
        ("max by (x) (a)", {ONE: 3.0, TWO: 5.0}),
        ("max(unknown)", {}),
        ("min(a)", {NONE: 3.0}),
        ("abs(a - 4)", {ONE: 1.0, TWO: 1.0}),
        ("max(abs(3 - a))", {NONE: 2.0}),
        ("abs(unknown)", {}),
    ],
)
def test_an_expression_has_the_value_that_prometheus_gives_it(expression: str, expected: Value) -> None:
    assert evaluate(expression, SCRAPED) == expected


@pytest.mark.parametrize(
    "expression",
    [
        "rate(a[5m])",
        "a / 2",
        "1 < 2",
        "1 and 2",
        "a b",
        "(a",
        "a >",
        "",
        "-a",
        "time",
        "max()",
        "abs",
        "abs(1)",
        "a{x=~'1'}",
        "A",
        "by(a)",
    ],
)
def test_an_expression_that_is_not_known_is_refused(expression: str) -> None:
    with pytest.raises(PromqlError):
        evaluate(expression, SCRAPED)


def test_the_metrics_of_an_expression_are_neither_its_words_nor_its_labels() -> None:
    assert names('max by (x) (a{y="b"}) unless time() - c > 1') == {"a", "c"}

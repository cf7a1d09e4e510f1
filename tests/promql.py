"""Evaluates the part of PromQL that the alert rules keep to, on scraped text. What it does not know it refuses."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from prometheus_client.parser import text_string_to_metric_families

Labels: TypeAlias = frozenset[tuple[str, str]]
Vector: TypeAlias = dict[Labels, float]
Value: TypeAlias = float | Vector

_TOKEN = re.compile(r'\s*(?:(\d+(?:\.\d+)?)|([a-z_][a-z0-9_]*)|("[^"\\]*")|(>=|<=|==|!=|[-+*<>(){},=]))')
# The weakest first. Those of a level are taken from left to right.
_LEVELS = (("or",), ("and", "unless"), ("==", "!=", ">", "<", ">=", "<="), ("+", "-"), ("*",))
_ARITHMETIC: Mapping[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
}
_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
}
_AGGREGATES: Mapping[str, Callable[[list[float]], float]] = {"max": max, "min": min, "sum": sum}
_WORDS = {"or", "and", "unless", "by", "time", "absent", "abs", *_AGGREGATES}


class PromqlError(Exception):
    """The expression is not of the part that is known here, or Prometheus would refuse it."""


@dataclass(frozen=True)
class Scraped:
    """The samples of one scrape by name, and when it was made."""

    samples: Mapping[str, Vector]
    now: float

    @classmethod
    def of(cls, text: str, now: float) -> Scraped:
        """Read the text format of Prometheus."""
        samples: dict[str, Vector] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                samples.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
        return cls(samples, now)


def evaluate(expression: str, scraped: Scraped) -> Value:
    """Return what Prometheus would: an alert fires for each element of a vector."""
    reader = _Reader(expression, scraped)
    value = reader.level(0)
    reader.expect("")
    return value


def names(expression: str) -> set[str]:
    """Return the metrics that an expression uses: the words that are neither its own nor labels."""
    bare = re.sub(r"by\s*\([^)]*\)|\{[^}]*\}", "", expression)
    return {word for _, word, _, _ in _TOKEN.findall(bare) if word} - _WORDS


def _tokens(expression: str) -> Iterator[str]:
    position = 0
    while position < len(expression.rstrip()):
        found = _TOKEN.match(expression, position)
        if found is None:
            raise PromqlError(f"{expression[position:]!r} is not known here")
        yield found[0].strip()
        position = found.end()
    yield ""


class _Reader:
    """Reads an expression from left to right, and knows its value when it is through."""

    def __init__(self, expression: str, scraped: Scraped) -> None:
        self._tokens = _tokens(expression)
        self._token = next(self._tokens)
        self._scraped = scraped

    def take(self) -> str:
        """Return the present token and go on."""
        token = self._token
        self._token = next(self._tokens, "")
        return token

    def accept(self, token: str) -> bool:
        """Go on if the present token is this one."""
        if self._token != token:
            return False
        self.take()
        return True

    def expect(self, token: str) -> None:
        """Go on, or refuse what stands there instead."""
        if self._token != token:
            raise PromqlError(f"{token or 'the end'} is expected where {self._token!r} stands")
        self.take()

    def level(self, number: int) -> Value:
        """Return the value of operators as strong as this level, and stronger ones."""
        if number == len(_LEVELS):
            return self.atom()
        value = self.level(number + 1)
        while self._token in _LEVELS[number]:
            sign = self.take()
            value = _apply(sign, value, self.level(number + 1))
        return value

    def atom(self) -> Value:
        """Return a number, a series, a function of something, or what is in parentheses."""
        token = self.take()
        if token == "(":
            value = self.level(0)
            self.expect(")")
            return value
        if token[:1].isdigit():
            return float(token)
        if token in _AGGREGATES:
            return self.aggregate(_AGGREGATES[token])
        if token == "time" and self.accept("("):
            self.expect(")")
            return self._scraped.now
        if token in _FUNCTIONS and self.accept("("):
            value = _FUNCTIONS[token](_vector(self.level(0)))
            self.expect(")")
            return value
        if token in _WORDS or not token.isidentifier():
            raise PromqlError(f"{token!r} is not known here")
        return self.series(token)

    def aggregate(self, function: Callable[[list[float]], float]) -> Vector:
        """Return one element for each value of the labels that it is by, or one at all."""
        kept: set[str] = set()
        if self.accept("by"):
            self.expect("(")
            kept.add(self.take())
            while self.accept(","):
                kept.add(self.take())
            self.expect(")")
        self.expect("(")
        groups: dict[Labels, list[float]] = {}
        for labels, value in _vector(self.level(0)).items():
            groups.setdefault(frozenset(each for each in labels if each[0] in kept), []).append(value)
        self.expect(")")
        return {labels: function(values) for labels, values in groups.items()}

    def series(self, name: str) -> Vector:
        """Return the samples of a name that have all of the labels."""
        wanted: set[tuple[str, str]] = set()
        if self.accept("{"):
            while not self.accept("}"):
                label = self.take()
                self.expect("=")
                wanted.add((label, self.take().strip('"')))
                self.accept(",")
        return {labels: value for labels, value in self._scraped.samples.get(name, {}).items() if wanted <= labels}


def _apply(sign: str, left: Value, right: Value) -> Value:
    if sign in {"or", "and", "unless"}:
        ours, others = _vector(left), _vector(right)
        if sign == "or":
            return others | ours
        return {labels: value for labels, value in ours.items() if (labels in others) == (sign == "and")}
    if isinstance(left, dict):
        others = right if isinstance(right, dict) else dict.fromkeys(left, right)
        pairs = [(labels, value, others[labels]) for labels, value in left.items() if labels in others]
    elif isinstance(right, dict):
        pairs = [(labels, left, value) for labels, value in right.items()]
    elif sign in _COMPARISONS:
        raise PromqlError("two numbers are not compared")
    else:
        return _ARITHMETIC[sign](left, right)
    if sign in _ARITHMETIC:
        return {labels: _ARITHMETIC[sign](one, other) for labels, one, other in pairs}
    # A comparison keeps the element, with the value of the vector.
    return {
        labels: one if isinstance(left, dict) else other
        for labels, one, other in pairs
        if _COMPARISONS[sign](one, other)
    }


def _vector(value: Value) -> Vector:
    if not isinstance(value, dict):
        raise PromqlError("a number stands where series are needed")
    return value


_FUNCTIONS: Mapping[str, Callable[[Vector], Vector]] = {
    "abs": lambda vector: {labels: abs(value) for labels, value in vector.items()},
    "absent": lambda vector: {} if vector else {frozenset(): 1.0},
}

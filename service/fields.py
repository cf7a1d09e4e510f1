# Marshmallow leaves the type arguments out of its own signatures, so what comes from there is "partially unknown".
# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any, TypeAlias, Unpack, cast

import iso4217
from marshmallow import ValidationError, fields
from marshmallow.types import StrSequenceOrSet

from service.schema import Documented, Facts, Field, Loaded, Schema, T, documented

INT4_MAX = 2**31 - 1
INT4_MIN = -(2**31)
NUMBER_LIMIT = 1e15
# More than anybody reads: a body may hold millions.
MAX_BAD_ITEMS = 50
FIRST_YEAR, LAST_YEAR = 1970, 2999
AMOUNT = r"^-?\d{1,14}(\.\d{1,4})?$"
CURRENCY = r"^[A-Z]{3}$"
# Codes without a minor unit (gold, drawing rights, testing) are no money that anyone can be charged.
MINOR_UNITS = {each.code: each.exponent for each in iso4217.Currency if each.exponent is not None}

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
_AMOUNT = re.compile(AMOUNT, re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d+)?([Zz]|[+-]\d\d:\d\d)?", re.ASCII)


class Leaf(Field[T]):
    """Value without parts: `_read` checks and converts what the sender wrote, `_write` does the reverse."""

    facts: Facts = MappingProxyType({})

    def __init__(self, description: str = "", **options: Unpack[Documented]) -> None:
        super().__init__(**documented(description, self.facts, options))

    def _read(self, value: object) -> T:
        raise NotImplementedError

    def _write(self, value: T) -> object:
        return value

    def _deserialize(self, value: object, attr: str | None, data: Mapping[str, Any] | None, **kwargs: object) -> T:
        del attr, data, kwargs
        return self._read(value)

    def _serialize(self, value: T | None, attr: str | None, obj: object, **kwargs: object) -> object:
        del attr, obj, kwargs
        return None if value is None else self._write(value)


class Text(Leaf[str]):
    """String that PostgreSQL can store, neither longer nor shorter than declared."""

    def __init__(
        self,
        description: str = "",
        *,
        max_length: int = 200,
        min_length: int = 1,
        pattern: str | None = None,
        **options: Unpack[Documented],
    ) -> None:
        self.min_length, self.max_length, self.pattern = min_length, max_length, pattern
        self._matches = None if pattern is None else re.compile(pattern, re.ASCII).fullmatch
        self.facts = {"type": "string", "minLength": min_length, "maxLength": max_length}
        if pattern is not None:
            self.facts = {**self.facts, "pattern": pattern}
        super().__init__(description, **options)

    def _read(self, value: object) -> str:
        if not isinstance(value, str):
            raise ValidationError("must be text")
        if not self.min_length <= len(value) <= self.max_length:
            raise ValidationError(f"must have {self.min_length} to {self.max_length} characters, not {len(value)}")
        # Only text beyond ASCII can hold a surrogate, and asking for that costs nothing.
        if ("\0" in value) if value.isascii() else _UNSTORABLE.search(value):
            raise ValidationError("contains a NUL character or half of a surrogate pair, which cannot be stored")
        if self._matches is not None and not self._matches(value):
            raise ValidationError(f"must match the pattern {self.pattern}")
        return value


class Choice(Leaf[str]):
    """One of a few words."""

    def __init__(self, values: Sequence[str], description: str = "", **options: Unpack[Documented]) -> None:
        self.values = frozenset(values)
        self.facts = {"type": "string", "enum": list(values)}
        super().__init__(description, **options)
        self._refusal = f"must be one of {', '.join(values)}"

    def _read(self, value: object) -> str:
        if isinstance(value, str) and value in self.values:
            return value
        raise ValidationError(self._refusal)


class Integer(Leaf[int]):
    """Whole number that fits a column of type integer; text, fractions and booleans are none."""

    def __init__(
        self, description: str = "", *, minimum: int = INT4_MIN, maximum: int = INT4_MAX, **options: Unpack[Documented]
    ) -> None:
        self.minimum, self.maximum = minimum, maximum
        self.facts = {"type": "integer", "minimum": minimum, "maximum": maximum}
        super().__init__(description, **options)

    def _read(self, value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValidationError("must be a whole number")
        if not self.minimum <= value <= self.maximum:
            raise ValidationError(f"must be from {self.minimum} to {self.maximum}")
        return value


class Number(Leaf[float]):
    """Number for measuring, never for money: the sender's float or integer as it is."""

    facts = MappingProxyType({"type": "number", "minimum": -NUMBER_LIMIT, "maximum": NUMBER_LIMIT})

    def _read(self, value: object) -> float:
        # The comparison is false for NaN and exact for integers of any size.
        if isinstance(value, int | float) and not isinstance(value, bool) and -NUMBER_LIMIT <= value <= NUMBER_LIMIT:
            return value
        raise ValidationError(f"must be a number from {-NUMBER_LIMIT:.0f} to {NUMBER_LIMIT:.0f}")


class Boolean(Leaf[bool]):
    """True or false, and nothing that looks like it."""

    facts = MappingProxyType({"type": "boolean"})

    def _read(self, value: object) -> bool:
        if isinstance(value, bool):
            return value
        raise ValidationError("must be true or false")


class Timestamp(Leaf[datetime]):
    """Instant: text with an offset on the wire, UTC here."""

    facts = MappingProxyType({"type": "string", "format": "date-time"})

    def _read(self, value: object) -> datetime:
        match = _TIMESTAMP.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            raise ValidationError("must be a date and time such as 2026-01-31T08:30:00Z")
        if match[1] is None:
            raise ValidationError("needs an offset, such as Z or +02:00")
        try:
            moment = datetime.fromisoformat(match[0].upper()).astimezone(UTC)
        except (ValueError, OverflowError):
            raise ValidationError("is not a date and time of the calendar") from None
        if not FIRST_YEAR <= moment.year <= LAST_YEAR:
            raise ValidationError(f"must be in the years {FIRST_YEAR} to {LAST_YEAR}")
        return moment

    def _write(self, value: datetime) -> str:
        return value.astimezone(UTC).isoformat().removesuffix("+00:00") + "Z"


class Day(Leaf[date]):
    """Calendar day."""

    facts = MappingProxyType({"type": "string", "format": "date"})

    def _read(self, value: object) -> date:
        try:
            if isinstance(value, str) and _DATE.fullmatch(value):
                return date.fromisoformat(value)
        except ValueError:
            pass
        raise ValidationError("must be a date such as 2026-01-31")

    def _write(self, value: date) -> str:
        return value.isoformat()


class Amount(Leaf[Decimal]):
    """Decimal number written as text, so that nobody's floats change it; not finer than the currency beside it."""

    facts = MappingProxyType({"type": "string", "pattern": AMOUNT})

    def _read(self, value: object) -> Decimal:
        if isinstance(value, str) and _AMOUNT.fullmatch(value):
            return Decimal(value)
        raise ValidationError('must be a decimal number as text, such as "12.34"')

    def _deserialize(
        self, value: object, attr: str | None, data: Mapping[str, Any] | None, **kwargs: object
    ) -> Decimal:
        amount = super()._deserialize(value, attr, data, **kwargs)
        code: object = data.get("currencyCode") if data else None
        digits = MINOR_UNITS.get(code) if isinstance(code, str) else None
        if digits is not None and isinstance(value, str) and len(value.partition(".")[2]) > digits:
            raise ValidationError(f"has more decimals than {code}, which has {digits}")
        return amount

    def _write(self, value: Decimal) -> str:
        return format(value, "f")


class CurrencyCode(Leaf[str]):
    """Code of a currency in which amounts can be stated."""

    facts = MappingProxyType({"type": "string", "pattern": CURRENCY})

    def _read(self, value: object) -> str:
        if isinstance(value, str) and value in MINOR_UNITS:
            return value
        raise ValidationError("must be the ISO 4217 code of a currency, such as USD")


Partial: TypeAlias = bool | StrSequenceOrSet | None


class Nested(Field[Loaded], fields.Nested):
    """Object within an object."""

    def __init__(self, nested: type[Schema], description: str = "", **options: Unpack[Documented]) -> None:
        fields.Nested.__init__(self, nested, **documented(description, {}, options))

    def _deserialize(
        self, value: object, attr: str | None, data: Mapping[str, Any] | None, partial: Partial = None, **kwargs: object
    ) -> Loaded:
        del attr, data, kwargs
        # Refused here, the error stands at the field and not at a made-up "_schema" below it.
        if not isinstance(value, Mapping):
            raise self.make_error("type")
        return self.schema.load(value, partial=partial)


class List(Field[list[T | None]], fields.List[T]):
    """List of bounded length; when it is too long, its items are not looked at, and behind many bad ones no more."""

    def __init__(
        self,
        inner: fields.Field[T],
        description: str = "",
        *,
        max_items: int,
        min_items: int = 0,
        **options: Unpack[Documented],
    ) -> None:
        facts = {"minItems": min_items, "maxItems": max_items}
        fields.List.__init__(self, inner, **documented(description, facts, options))
        self.min_items, self.max_items = min_items, max_items

    def _deserialize(
        self, value: object, attr: str | None, data: Mapping[str, Any] | None, **kwargs: object
    ) -> list[T | None]:
        del attr, data, kwargs
        if not isinstance(value, list):
            raise self.make_error("invalid")
        if not self.min_items <= len(value) <= self.max_items:
            raise ValidationError(f"must have {self.min_items} to {self.max_items} items, not {len(value)}")
        read, errors = list[T | None](), dict[int, object]()
        for number, each in enumerate(cast("list[object]", value)):
            try:
                read.append(self.inner.deserialize(each))
            except ValidationError as error:
                errors[number] = error.messages
                if len(errors) == MAX_BAD_ITEMS:
                    break
        if errors:
            raise ValidationError(cast("dict[str, Any]", errors))
        return read


class MoneySchema(Schema):
    """Amount of money in a currency."""

    amount = Amount("Decimal number as text, no finer than the currency's smallest unit.", required=True)
    currency_code = CurrencyCode("ISO 4217 code.", required=True)


class DateTimeRangeSchema(Schema):
    """Period of time."""

    earliest_date_time = Timestamp("Beginning of the period.")
    latest_date_time = Timestamp("End of the period.")

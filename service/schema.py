# Marshmallow leaves the type arguments out of its own signatures, so what comes from there is "partially unknown".
# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeAlias, TypedDict, TypeVar

import marshmallow
from marshmallow import RAISE, ValidationError, fields, missing
from marshmallow.exceptions import SCHEMA
from marshmallow.types import ErrorMessages, StrSequenceOrSet, UnknownOption

from service.errors import FieldError

T = TypeVar("T")
# A schema made with many=True loads a list, any other a dict; marshmallow leaves the type open as well.
Loaded: TypeAlias = Any
Facts: TypeAlias = Mapping[str, object]

MESSAGES: ErrorMessages = {
    "required": "is required",
    "null": "may not be null; leave the field out instead",
    "type": "must be an object",
    "invalid": "must be a list",
}
# More than anybody reads; a body may hold a million names that nobody knows.
MAX_UNKNOWN = 100
SCHEMA_MESSAGES = {"type": "must be an object", "unknown": "is not a known field"}


class Documented(TypedDict, total=False):
    """What every field takes by keyword: marshmallow's options, an example, and more facts for the OpenAPI document."""

    required: bool
    data_key: str
    attribute: str
    validate: Callable[[Any], Any] | Iterable[Callable[[Any], Any]]
    error_messages: ErrorMessages
    example: object
    metadata: Facts


def documented(description: str, facts: Facts, options: Documented) -> dict[str, Any]:
    """Return the options as marshmallow takes them: all that the OpenAPI document shows goes into the metadata."""
    passed: dict[str, Any] = {key: value for key, value in options.items() if key != "example"}
    shown = {**facts, **options.get("metadata", {})}
    if description:
        shown["description"] = description
    if "example" in options:
        shown["examples"] = [options["example"]]
    return {**passed, "metadata": shown}


def camel_case(name: str) -> str:
    """Return the word of the wire for a Python name."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


class Field(fields.Field[T]):
    """What all fields share: the texts of their errors, and no cost for validators they do not have."""

    default_error_messages = MESSAGES

    def _validate(self, value: object) -> None:
        # Marshmallow builds a validator at every call, even of no validators at all.
        if self.validators:
            super()._validate(value)


class Schema(marshmallow.Schema):
    """Object whose fields are snake_case here and camelCase on the wire, and which refuses what it does not know.

    Make one instance and keep it: loading and dumping leave no state in it, whereas making one copies every field.
    """

    error_messages = SCHEMA_MESSAGES

    class Meta:
        """What holds for every schema."""

        unknown = RAISE

    def on_bind_field(self, field_name: str, field_obj: fields.Field[Any]) -> None:
        """Name the field in camelCase on the wire."""
        if field_obj.data_key is None:
            field_obj.data_key = camel_case(field_name)

    def _init_fields(self) -> None:
        super()._init_fields()
        self._readers: dict[str, tuple[str, Callable[..., object]]] = {
            field.data_key or name: (field.attribute or name, field.deserialize)
            for name, field in self.load_fields.items()
        }
        self._awaited = [
            field.data_key or name
            for name, field in self.load_fields.items()
            if field.required or field.load_default is not missing
        ]
        self._has_hooks = any(self._hooks.values())  # pyright: ignore[reportPrivateUsage]  # nothing public tells

    def load(
        self,
        data: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        *,
        many: bool | None = None,
        partial: bool | StrSequenceOrSet | None = None,
        unknown: UnknownOption | None = None,
    ) -> Loaded:
        """Validate `data` and return it as a dict with Python names and values."""
        # An import loads 200,000 orders of some forty fields each out of two hundred. Marshmallow's own loop visits
        # all two hundred; this one visits what is there. What it does not cover is left to marshmallow.
        strict = (unknown or self.unknown) == RAISE
        if many or self.many or partial or self.partial or self._has_hooks or not strict:
            return super().load(data, many=many, partial=partial, unknown=unknown)
        if not isinstance(data, Mapping):
            raise ValidationError({SCHEMA: [self.error_messages["type"]]})
        loaded: dict[str, object] = {}
        errors: dict[str, object] = {}
        readers = self._readers
        # With more members than these, that many are not known.
        for key, value in islice(data.items(), len(readers) + MAX_UNKNOWN):
            if key not in readers:
                errors[key] = [self.error_messages["unknown"]]
                continue
            name, read = readers[key]
            try:
                loaded[name] = read(value, key, data)
            except ValidationError as error:
                errors[key] = error.messages
        for key in self._awaited:
            if key not in data:
                name, read = readers[key]
                try:
                    loaded[name] = read(missing, key, data)
                except ValidationError as error:
                    errors[key] = error.messages
        if errors:
            raise ValidationError(errors, data=data, valid_data=loaded)
        return loaded


def field_errors(messages: object, path: tuple[str, ...] = ()) -> Iterator[FieldError]:
    """Yield each message of a marshmallow error with the JSON pointer (RFC 6901) of the value it is about."""
    if isinstance(messages, Mapping):
        for key, value in messages.items():
            yield from field_errors(value, path if key == SCHEMA else (*path, str(key)))
    elif isinstance(messages, Sequence) and not isinstance(messages, str):
        for value in messages:
            yield from field_errors(value, path)
    else:
        yield FieldError(str(messages), "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in path))

"""Settings: read from the environment once; a bad one stops the start and is named."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from service.settings import Settings, SettingsError

FIELDS = {field.name: field for field in dataclasses.fields(Settings)}
NUMBERS = {name: field for name, field in FIELDS.items() if type(field.default) is int}


def variable(name: str) -> str:
    return FIELDS[name].metadata["variable"]


def test_an_empty_environment_gives_the_defaults() -> None:
    assert Settings.from_environment({}) == Settings()


def test_every_setting_has_a_variable_of_its_own_and_a_description() -> None:
    names = [field.metadata["variable"] for field in FIELDS.values()]

    assert len(set(names)) == len(names)
    assert all(field.metadata["description"] for field in FIELDS.values())
    prefixes = ("MANAGE_ORDERS_", "DATABASE_", "PAYMENT_SERVICE_")
    assert all(name.startswith(prefixes) and name.isupper() for name in names)


def test_every_setting_is_read_from_its_variable() -> None:
    values: dict[str, Any] = {"data_directory": Path("/x"), "sandbox": True, "log_level": "DEBUG"}
    values["payment_service_url"] = "https://payments.example.com"
    values["ping_url"] = "https://pings.example.com/1"
    texts = {"sandbox": "1", "data_directory": "/x"}
    for name, field in FIELDS.items():
        number = field.metadata["at_least"] + 1
        values.setdefault(name, number if name in NUMBERS else f"{name} that is long enough for a key")
        texts.setdefault(name, str(values[name]))
    environment = {variable(name): f" {text} " for name, text in texts.items()}

    assert dataclasses.asdict(Settings.from_environment(environment)) == values


def test_an_empty_variable_counts_as_unset() -> None:
    assert Settings.from_environment({field.metadata["variable"]: "  " for field in FIELDS.values()}) == Settings()


@pytest.mark.parametrize("name", ["PAYMENT_SERVICE_URL", "MANAGE_ORDERS_PING_URL"])
@pytest.mark.parametrize("text", ["payments.example.com", "ftp://payments.example.com", "http:"])
def test_an_address_that_cannot_be_called_stops_the_start(name: str, text: str) -> None:
    with pytest.raises(SettingsError, match=rf"^{name} must "):
        Settings.from_environment({name: text})


def test_settings_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().port = 1  # pyright: ignore[reportAttributeAccessIssue]  # frozen


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize(
    "text", ["ten", "1.5", "-1", "+1", "1e3", "0x10", "1_000", "\u0661", "9" * 12, "9" * 5000, "1 0"]
)
def test_what_is_no_whole_number_is_refused_and_named(name: str, text: str) -> None:
    with pytest.raises(SettingsError, match=f"^{variable(name)} must be a whole number from "):
        Settings.from_environment({variable(name): text})


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_may_be_either_limit_and_not_beyond(name: str) -> None:
    least, most = NUMBERS[name].metadata["at_least"], NUMBERS[name].metadata["at_most"]
    for number in (least, most):
        assert getattr(Settings.from_environment({variable(name): str(number)}), name) == number
    for number in (least - 1, most + 1):
        with pytest.raises(SettingsError, match=f"^{variable(name)} must be a whole number from {least} to {most}"):
            Settings.from_environment({variable(name): str(number)})


@pytest.mark.parametrize("text", ["true", "yes", "on", "2", "01", "no"])
def test_a_switch_is_0_or_1(text: str) -> None:
    with pytest.raises(SettingsError, match=r"^MANAGE_ORDERS_SANDBOX must be 0 or 1"):
        Settings.from_environment({"MANAGE_ORDERS_SANDBOX": text})
    assert Settings.from_environment({"MANAGE_ORDERS_SANDBOX": "0"}).sandbox is False
    assert Settings.from_environment({"MANAGE_ORDERS_SANDBOX": "1"}).sandbox is True


@pytest.mark.parametrize("text", ["debug", "TRACE", "10"])
def test_a_log_level_is_one_of_four(text: str) -> None:
    with pytest.raises(SettingsError, match=r"^MANAGE_ORDERS_LOG_LEVEL must be one of DEBUG, INFO, WARNING, ERROR"):
        Settings.from_environment({"MANAGE_ORDERS_LOG_LEVEL": text})


def test_a_secret_key_has_32_characters_and_is_not_repeated_in_the_refusal() -> None:
    with pytest.raises(SettingsError, match=r"^MANAGE_ORDERS_SECRET_KEY must have at least 32") as refused:
        Settings.from_environment({"MANAGE_ORDERS_SECRET_KEY": "s3cret" * 5})
    assert "s3cret" not in str(refused.value)
    assert Settings.from_environment({"MANAGE_ORDERS_SECRET_KEY": "x" * 32}).secret_key == "x" * 32


@pytest.mark.parametrize("name", ["database_url", "secret_key", "database_owner_url"])
def test_what_a_command_requires_and_is_not_set_is_named(name: str) -> None:
    with pytest.raises(SettingsError, match=f"^{variable(name)} is not set: "):
        Settings().require(name)
    values: dict[str, Any] = {name: "given"}
    given = Settings(**values)
    assert given.require(name) is given


def test_secrets_do_not_show_when_settings_are_printed() -> None:
    secrets: dict[str, Any] = dict.fromkeys(("secret_key", "database_url", "database_owner_url"), "s3cret")
    shown = repr(Settings(**secrets))

    assert "s3cret" not in shown


def test_a_misspelled_setting_is_named() -> None:
    with pytest.raises(SettingsError, match="MANAGE_ORDERS_WORKER is not a setting"):
        Settings.from_environment({"MANAGE_ORDERS_WORKER": "4"})

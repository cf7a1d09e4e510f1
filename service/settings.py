"""Settings: read from the environment once, frozen, and listed in the README (a test compares the two)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self

MIN_SECRET_KEY_LENGTH = 32
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


class SettingsError(Exception):
    """A setting is missing or bad; the text names it and says what it should be."""


def _about(variable: str, description: str, *, at_least: int = 0, at_most: int = 2**31 - 1) -> dict[str, Any]:
    return {"variable": variable, "description": description, "at_least": at_least, "at_most": at_most}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a process needs to know. Every field's metadata holds its variable's name and description."""

    database_url: str = field(
        default="", repr=False, metadata=_about("DATABASE_URL", "PostgreSQL 15 or later, as a libpq URL")
    )
    database_owner_url: str = field(
        default="",
        repr=False,
        metadata=_about(
            "DATABASE_OWNER_URL", "the role that migrates and owns the tables; `DATABASE_URL` when left out"
        ),
    )
    secret_key: str = field(
        default="",
        repr=False,
        metadata=_about(
            "MANAGE_ORDERS_SECRET_KEY", "at least 32 characters; keys the token hashes and signs the page tokens"
        ),
    )
    sandbox: bool = field(
        default=False,
        metadata=_about("MANAGE_ORDERS_SANDBOX", "`1` lets operators move the clock; never in production"),
    )
    data_directory: Path = field(
        default=Path("manage-orders-data"),
        metadata=_about("MANAGE_ORDERS_DATA", "where `up` keeps its database, its key and the demo tokens"),
    )
    host: str = field(default="127.0.0.1", metadata=_about("MANAGE_ORDERS_HOST", "address the API listens on"))
    port: int = field(
        default=8080, metadata=_about("MANAGE_ORDERS_PORT", "port the API listens on", at_least=1, at_most=65535)
    )
    workers: int = field(
        default=2, metadata=_about("MANAGE_ORDERS_WORKERS", "worker processes of the API", at_least=1, at_most=256)
    )
    threads: int = field(
        default=8,
        metadata=_about(
            "MANAGE_ORDERS_THREADS", "threads, and database connections, of each worker", at_least=1, at_most=256
        ),
    )
    pool_timeout_ms: int = field(
        default=5000,
        metadata=_about("MANAGE_ORDERS_POOL_TIMEOUT_MS", "wait for a connection before answering 503", at_least=1),
    )
    statement_timeout_ms: int = field(
        default=15_000,
        metadata=_about("MANAGE_ORDERS_STATEMENT_TIMEOUT_MS", "limit of one SQL statement", at_least=100),
    )
    lock_timeout_ms: int = field(
        default=5000, metadata=_about("MANAGE_ORDERS_LOCK_TIMEOUT_MS", "limit of a wait for a lock", at_least=10)
    )
    max_request_bytes: int = field(
        default=1_048_576,
        metadata=_about("MANAGE_ORDERS_MAX_REQUEST_BYTES", "largest accepted request body", at_least=1024),
    )
    max_batch_bytes: int = field(
        default=33_554_432,
        metadata=_about("MANAGE_ORDERS_MAX_BATCH_BYTES", "largest accepted file of confirmations", at_least=1024),
    )
    payment_service_url: str = field(
        default="",
        metadata=_about(
            "PAYMENT_SERVICE_URL", "where charges and refunds are made; without it they are settled outside"
        ),
    )
    payment_service_token: str = field(
        default="", repr=False, metadata=_about("PAYMENT_SERVICE_TOKEN", "the bearer token for the payment service")
    )
    payment_timeout_ms: int = field(
        default=10_000,
        metadata=_about(
            "PAYMENT_SERVICE_TIMEOUT_MS", "limit of one call to the payment service", at_least=100, at_most=60_000
        ),
    )
    sweep_interval_s: int = field(
        default=60,
        metadata=_about("MANAGE_ORDERS_SWEEP_INTERVAL_S", "seconds between sweeps", at_least=1, at_most=3600),
    )
    sweep_batch_size: int = field(
        default=1000,
        metadata=_about(
            "MANAGE_ORDERS_SWEEP_BATCH_SIZE",
            "orders that the sweep cancels in one transaction",
            at_least=1,
            at_most=10_000,
        ),
    )
    sweep_limit_s: int = field(
        default=900,
        metadata=_about(
            "MANAGE_ORDERS_SWEEP_LIMIT_S", "a scheduler whose sweep takes longer ends, to be started anew", at_least=1
        ),
    )
    max_sweep_orders: int = field(
        default=5000,
        metadata=_about("MANAGE_ORDERS_MAX_SWEEP_ORDERS", "a sweep that would cancel more is held"),
    )
    max_sweep_percent: int = field(
        default=20,
        metadata=_about(
            "MANAGE_ORDERS_MAX_SWEEP_PERCENT", "the same, as a share of all open orders", at_least=0, at_most=100
        ),
    )
    max_seller_sweep_percent: int = field(
        default=50,
        metadata=_about(
            "MANAGE_ORDERS_MAX_SELLER_SWEEP_PERCENT", "the same, as a share of one seller's", at_least=0, at_most=100
        ),
    )
    sweep_percent_from: int = field(
        default=50,
        metadata=_about(
            "MANAGE_ORDERS_SWEEP_PERCENT_FROM", "fewer orders are no reason to hold, whatever their share", at_least=1
        ),
    )
    max_clock_skew_s: int = field(
        default=60,
        metadata=_about(
            "MANAGE_ORDERS_MAX_CLOCK_SKEW_S", "a sweep is held when the database's clock is further off", at_least=1
        ),
    )
    scheduler_port: int = field(
        default=0,
        metadata=_about(
            "MANAGE_ORDERS_SCHEDULER_PORT", "port of the scheduler's `/health/live`; none when 0", at_most=65535
        ),
    )
    ping_url: str = field(
        default="",
        repr=False,
        metadata=_about(
            "MANAGE_ORDERS_PING_URL",
            "told of every sweep: `/start`, then itself or `/fail`, so that silence is noticed",
        ),
    )
    log_level: str = field(
        default="INFO", metadata=_about("MANAGE_ORDERS_LOG_LEVEL", "`DEBUG`, `INFO`, `WARNING` or `ERROR`")
    )

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Return the settings of an environment; raise `SettingsError` naming the first bad variable."""
        values: dict[str, Any] = {}
        known = {item.metadata["variable"] for item in fields(cls)}
        for variable in sorted(environment.keys() - known):
            if variable.startswith("MANAGE_ORDERS_"):  # most likely misspelled, so that what was meant is not set
                raise SettingsError(f"{variable} is not a setting; the README lists them")
        for item in fields(cls):
            text = environment.get(item.metadata["variable"], "").strip()
            if text:
                values[item.name] = _parse(item.metadata, item.default, text)
        settings = cls(**values)
        if settings.secret_key and len(settings.secret_key) < MIN_SECRET_KEY_LENGTH:
            raise SettingsError(f"MANAGE_ORDERS_SECRET_KEY must have at least {MIN_SECRET_KEY_LENGTH} characters")
        for name in ("payment_service_url", "ping_url"):
            url: str = getattr(settings, name)
            if url and not url.startswith(("http://", "https://")):
                raise SettingsError(
                    f"{cls.__dataclass_fields__[name].metadata['variable']} must begin with http:// or https://"
                )
        if settings.log_level not in LOG_LEVELS:
            raise SettingsError(f"MANAGE_ORDERS_LOG_LEVEL must be one of {', '.join(LOG_LEVELS)}")
        return settings

    @property
    def settles_outside(self) -> bool:
        """Tell whether buyers are charged by other means than a payment service."""
        return not self.payment_service_url

    def require(self, *names: str) -> Self:
        """Return the settings, or raise `SettingsError` for the first of these fields that is empty."""
        for item in fields(self):
            if item.name in names and not getattr(self, item.name):
                raise SettingsError(f"{item.metadata['variable']} is not set: {item.metadata['description']}")
        return self


def _parse(about: Mapping[str, Any], default: object, text: str) -> object:
    variable = about["variable"]
    if isinstance(default, bool):
        if text not in {"0", "1"}:
            raise SettingsError(f"{variable} must be 0 or 1, not {text!r}")
        return text == "1"
    if isinstance(default, int):
        at_least, at_most = about["at_least"], about["at_most"]
        # Python refuses to read a number of thousands of digits.
        is_number = text.isascii() and text.isdigit() and len(text) <= len(str(at_most))
        if not (is_number and at_least <= int(text) <= at_most):
            raise SettingsError(f"{variable} must be a whole number from {at_least} to {at_most}, not {text!r}")
        return int(text)
    return Path(text) if isinstance(default, Path) else text

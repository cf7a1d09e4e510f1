"""The payment service, seen from here: a small HTTP contract that anything may fulfil.

Below `PAYMENT_SERVICE_URL`, with `PAYMENT_SERVICE_TOKEN` as the bearer token when it is set, it answers

* `POST /charges`: `{"sellerId", "orderId", "amount": {"amount", "currencyCode"}}`
* `POST /refunds`: the same, and `"refundId"`, `"reason"`, `"chargeKey"` and `"paymentReference"`, the key of the charge
  and the `reference` that was answered for it
* `GET /charges/{key}` and `GET /refunds/{key}`

Both `POST` bring an `Idempotency-Key`. A key that came before is never worked again: it is answered with what became of
it. An answer is 200 or 201 with `{"idempotencyKey", "status", "reference", "declineReason"}`: the key that it is about,
always, and a status that is `SUCCEEDED`, `DECLINED`, both of which are final for the key, or `PENDING`. A `GET` is
answered 404 when the key was never received. Anything else decides nothing: no other status, no body that is not as
agreed or names another key, no timeout and no lost connection. A service that takes back what was final is not
followed: that is logged as an error (`payment_contradicted`), for a person to settle.

Each call has a connection of its own, so that what comes late, or twice, is not taken for the answer to the next call.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from http import HTTPStatus
from urllib.parse import quote

import httpx
import orjson
import stamina
import structlog

from service.payments.rules import Answer, PaymentRequest, Verdict, read_answer
from service.settings import Settings, SettingsError

MAX_ANSWER_BYTES = 65_536
# Tries within one attempt: few, for a service that is being restarted. The worker has the long patience. An attempt is
# a look-up of all tries, and a request that is repeated until there is a connection.
TRIES = 2
_NO_CONNECTION = (httpx.ConnectError, httpx.ConnectTimeout)
# A look-up changes nothing, so that it may be repeated after a hang-up too.
_NO_LOOK_UP = (*_NO_CONNECTION, httpx.ReadError, httpx.RemoteProtocolError)
_ANSWERED = (HTTPStatus.OK, HTTPStatus.CREATED)
# For the pauses between tries, and for a resolver of names, to which no limit can be set.
_MARGIN_S = 60

_retrying = stamina.RetryingCaller(attempts=TRIES, wait_max=1)
_log = structlog.stdlib.get_logger(__name__)


class PaymentClient:
    """Calls the payment service. Without an address it can be made, but nothing can be asked of it."""

    def __init__(self, settings: Settings) -> None:
        self._timeout_s = settings.payment_timeout_ms / 1000
        token = settings.payment_service_token
        self._address = _address(settings.payment_service_url)
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._tls = httpx.create_ssl_context()

    @property
    def lease(self) -> timedelta:
        """Return how long a payment is kept from other workers: longer than an attempt can take."""
        return timedelta(seconds=2 * TRIES * self._timeout_s + _MARGIN_S)

    def send(self, request: PaymentRequest) -> Answer:
        """Ask for a payment. Within the call that is repeated only while no connection was made."""
        try:
            return _retrying(_NO_CONNECTION, self._send, request)
        except httpx.HTTPError as error:
            return _fault(request, error)

    def look_up(self, request: PaymentRequest) -> Answer | None:
        """Ask what became of a payment that may have been asked for; None when it never arrived."""
        try:
            return _retrying(_NO_LOOK_UP, self._look_up, request)
        except httpx.HTTPError as error:
            return _fault(request, error)

    def _send(self, request: PaymentRequest) -> Answer:
        headers = {"Idempotency-Key": request.key, "Content-Type": "application/json"}
        content = orjson.dumps(request.body)
        return _read(request, *asyncio.run(self._call("POST", f"/{request.collection}", headers, content)))

    def _look_up(self, request: PaymentRequest) -> Answer | None:
        status, body = asyncio.run(self._call("GET", f"/{request.collection}/{quote(request.key, safe=':')}"))
        return None if status == HTTPStatus.NOT_FOUND else _read(request, status, body)

    async def _call(
        self, method: str, path: str, headers: dict[str, str] | None = None, content: bytes | None = None
    ) -> tuple[int, bytes]:
        """Return the status and, if it is an answer, the body.

        The limit is of the whole call: httpx limits each wait, of which a service can make any number, one for each
        byte. Asynchronous because only that can be ended from outside. Half of it is for the connection, so that one
        that is not made is told from an answer that does not come.
        """
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._client() as client,
                client.stream(method, path, headers=headers, content=content) as response,
            ):
                return response.status_code, await _body(response) if response.status_code in _ANSWERED else b""
        except TimeoutError as error:
            raise httpx.ReadTimeout("the answer did not come to its end in time") from error

    def _client(self) -> httpx.AsyncClient:
        timeout = httpx.Timeout(self._timeout_s, connect=self._timeout_s / 2)
        return httpx.AsyncClient(base_url=self._address, headers=self._headers, timeout=timeout, verify=self._tls)


async def _body(response: httpx.Response) -> bytes:
    body = b""
    async for part in response.aiter_bytes():
        body += part
        if len(body) > MAX_ANSWER_BYTES:
            raise httpx.DecodingError("the answer is too long")
    return body


def _read(request: PaymentRequest, status: int, body: bytes) -> Answer:
    if status not in _ANSWERED:
        return _undecided(request, f"status {status}")
    try:
        answer = read_answer(orjson.loads(body), request.key)
    except orjson.JSONDecodeError:
        return _undecided(request, "not JSON")
    return _undecided(request, "not as agreed") if answer.verdict is Verdict.UNDECIDED else answer


def _fault(request: PaymentRequest, error: httpx.HTTPError) -> Answer:
    if isinstance(error, _NO_CONNECTION):
        _log.warning("payment_service_unreachable", key=request.key, reason=str(error))
        return Answer(Verdict.NOT_SENT)
    return _undecided(request, type(error).__name__)


def _undecided(request: PaymentRequest, reason: str) -> Answer:
    _log.warning("payment_undecided", key=request.key, reason=reason)
    return Answer(Verdict.UNDECIDED)


def _address(url: str) -> httpx.URL:
    try:
        address = httpx.URL(url)
    except httpx.InvalidURL:
        address = httpx.URL()
    # A password in an address would be told wherever the address is; there is a setting for a token. Behind a query or
    # a fragment nothing can be added to the path.
    is_address = address.scheme in {"http", "https"} and address.host and not address.userinfo
    if url and (not is_address or "?" in url or "#" in url):
        raise SettingsError(
            "PAYMENT_SERVICE_URL must be an http or https address, without a user or a password, a query or a fragment"
        )
    return address

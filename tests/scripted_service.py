"""A payment service without a wire, for the worker to call."""

from __future__ import annotations

from datetime import timedelta

from service.payments.rules import Answer, PaymentRequest, Verdict
from tests.payment_model import MADE, NO_FUNDS, SILENT, Mode

_VERDICTS = {status: Verdict(status) for status in ("SUCCEEDED", "DECLINED", "PENDING")}


class ScriptedService:
    """A payment service that forgets: it makes again what it is asked for again, so that only a look-up prevents it.

    It knows one seller; others, whose tests may have failed half way, cannot reach it.
    """

    lease = timedelta(minutes=5)

    def __init__(self, seller_id: str) -> None:
        self.seller_id = seller_id
        self.mode = Mode.ACCEPTS
        self.ledger: dict[str, str] = {}
        self.made: list[str] = []

    def send(self, request: PaymentRequest) -> Answer:
        """Make a payment, or do what else the mode says."""
        if self._is_down_for(request):
            return Answer(Verdict.NOT_SENT)
        if self.mode in MADE:
            self.ledger[request.key] = MADE[self.mode]
            self.made.append(request.key)
        return Answer(Verdict.UNDECIDED) if self.mode in SILENT else self._answer(request.key)

    def look_up(self, request: PaymentRequest) -> Answer | None:
        """Tell what became of a payment."""
        if self._is_down_for(request):
            return Answer(Verdict.NOT_SENT)
        return self._answer(request.key) if request.key in self.ledger else None

    def _is_down_for(self, request: PaymentRequest) -> bool:
        return self.mode is Mode.IS_DOWN or request.body["sellerId"] != self.seller_id

    def _answer(self, key: str) -> Answer:
        verdict = _VERDICTS.get(self.ledger.get(key, ""), Verdict.UNDECIDED)
        return Answer(verdict, decline_reason=NO_FUNDS if verdict is Verdict.DECLINED else None)

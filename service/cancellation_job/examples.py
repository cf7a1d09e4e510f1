"""Examples of the job's answers: a run that cancelled, one that is held, and the job as a whole."""

from __future__ import annotations

from typing import Any

RUN_ID = "5f0c5c4e-7a53-4d5a-9d0c-0d5a0f6b1c11"
HELD_RUN_ID = "9b1f6e0a-3f0d-4a1c-8f52-6a7d9e1c2b33"
TOKEN_ACTOR = "token:13a16741-579d-43c5-a213-6ba3887037ae"  # noqa: S105  # the name of one, not the token

DUE_ORDER = {"sellerId": "A1SELLER", "orderId": "902-3159896-1390916", "confirmBy": "2026-03-14T07:00:00Z"}

RUN: dict[str, Any] = {
    "runId": RUN_ID,
    "runNumber": 10482,
    "slot": "2026-03-14T07:00:00Z",
    "dryRun": False,
    "state": "SUCCEEDED",
    "requestedBy": "scheduler:orders-1:4711",
    "cutoff": "2026-03-14T07:00:00.004711Z",
    "startedTime": "2026-03-14T07:00:00.004711Z",
    "heartbeatTime": "2026-03-14T07:00:00.093124Z",
    "finishedTime": "2026-03-14T07:00:00.093124Z",
    "foundCount": 3,
    "cancelledCount": 3,
    "skippedCount": 0,
    "errorCount": 0,
    "ordersDigest": "6a1f0f0b9f0a4e0e8d4f3b4de2b8f9a25f2f7a9d4c9d1a8b3e6c7d5f4a3b2c1d",
}

DRY_RUN: dict[str, Any] = {name: value for name, value in RUN.items() if name != "slot"} | {
    "requestedBy": TOKEN_ACTOR,
    "dryRun": True,
    "cancelledCount": 0,
    "foundCount": 1,
    "dueOrders": [DUE_ORDER],
}

HELD_REASON = {"code": "TOO_MANY_OF_OPEN", "detail": "1250 of 5000 open orders are due, and 20 % are allowed"}

APPROVAL: dict[str, Any] = {
    "runId": HELD_RUN_ID,
    "expectedCount": 1250,
    "reason": "The warehouse was closed for a week",
    "approvedBy": TOKEN_ACTOR,
    "approvedTime": "2026-03-14T07:12:09.330711Z",
    "expiresTime": "2026-03-14T08:12:09.330711Z",
}

HELD_RUN: dict[str, Any] = RUN | {
    "runId": HELD_RUN_ID,
    "state": "HELD",
    "foundCount": 1250,
    "openCount": 5000,
    "cancelledCount": 0,
    "heldReasons": [HELD_REASON],
    "approval": APPROVAL,
    "dueOrders": [DUE_ORDER],
}

RUN_ORDER = DUE_ORDER | {"cancelledTime": "2026-03-14T07:00:00.051207Z"}

JOB: dict[str, Any] = {
    "state": "WAITING",
    "now": "2026-03-14T07:00:41.330711Z",
    "lastSuccess": {
        "runId": RUN_ID,
        "runNumber": 10482,
        "slot": "2026-03-14T07:00:00Z",
        "finishedTime": "2026-03-14T07:00:00.093124Z",
        "cancelledCount": 3,
    },
    "lastRun": RUN,
    "nextRunTime": "2026-03-14T07:01:00Z",
    "overdueCount": 0,
    "missedSlotCount": 0,
    "schedulers": [
        {
            "schedulerId": "orders-1:4711",
            "host": "orders-1",
            "startedTime": "2026-03-13T22:14:07.512094Z",
            "heartbeatTime": "2026-03-14T07:00:39.871002Z",
            "isAlive": True,
            "clockSkewMs": 3,
        }
    ],
    "intervalSeconds": 60,
    "limits": {
        "maxOrders": 5000,
        "maxPercent": 20,
        "maxSellerPercent": 50,
        "percentFrom": 50,
        "maxClockSkewSeconds": 60,
    },
}

PAUSE: dict[str, Any] = {
    "reason": "The carrier's feed is late",
    "until": "2026-03-14T11:00:00Z",
    "pausedBy": TOKEN_ACTOR,
    "pausedTime": "2026-03-14T07:00:40.118203Z",
}

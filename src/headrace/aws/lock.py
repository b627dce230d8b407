"""The publisher's lock: a lease on the head of the ledger, one holder at a time, whatever function or machine it is on.

A lease lives longer than the function that takes it, so nothing renews it; one whose holder died is over by itself.
Each holder gets a higher number, the fence, under which alone its decisions are taken: who was slow is refused.

| code | means |
|---|---|
| HR521 | another publisher holds the lease |
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from headrace.aws.ledger import DynamoLedger
from headrace.aws.ledger_rows import Head
from headrace.aws.table import Refused
from headrace.engine.faults import point
from headrace.model.errors import InfrastructureError
from headrace.model.times import text_of

PAUSE = 0.25  # seconds between two tries


class LockHeld(InfrastructureError):
    """Another publisher holds the lease. `until` is when it is over at the latest."""

    def __init__(self, pipeline: str, holder: str, until: str) -> None:
        self.until = until
        super().__init__(
            "HR521", pipeline, f"{holder or 'another publisher'} holds its lease until {until}", "wait for it"
        )


@contextmanager
def exclusive(ledger: DynamoLedger, lease: float, wait: float = 0) -> Iterator[bool]:
    """Hold the lease of the ledger's pipeline for the block. `wait`: seconds to try, then LockHeld.

    Yields whether its last holder left the block in peace: a lease that ran out was not given back. `lease`: seconds,
    more than the block may take; what the ledger would decide later is refused.
    """
    me = f"{os.environ.get('AWS_LAMBDA_FUNCTION_NAME') or socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}"
    clean = _acquire(ledger, me, timedelta(seconds=lease), wait)
    point("lock.acquired")
    try:
        yield clean
    except BaseException:
        _give_back(ledger, "SET #until = :now", now=text_of(ledger.clock.now()))  # in trouble: the name stays
        raise
    _give_back(ledger, "REMOVE #holder, #until")


def holder(ledger: DynamoLedger) -> str | None:
    """Who holds the lease now; None if nobody does."""
    head = ledger.log.peek()
    return head.holder if head.holder and head.until > text_of(ledger.clock.now()) else None


def _give_back(ledger: DynamoLedger, change: str, **values: str) -> None:
    fence, ledger.log.fence = ledger.log.fence, None
    try:
        ledger.table.update(ledger.log.at, change, "#fence = :fence", fence=fence, **values)
    except Refused:
        pass  # it outlived its lease, and another holds it now


def _acquire(ledger: DynamoLedger, me: str, lease: timedelta, wait: float) -> bool:
    until = time.monotonic() + wait
    while True:
        before = ledger.log.peek()
        taken = bool(before.holder) and before.until > text_of(ledger.clock.now())
        if not taken and _take(ledger, me, lease, before):
            return not before.holder
        if time.monotonic() >= until:
            held = ledger.log.peek()
            raise LockHeld(ledger.pipeline, held.holder, held.until)
        time.sleep(PAUSE)


def _take(ledger: DynamoLedger, me: str, lease: timedelta, before: Head) -> bool:
    """Take the lease from nobody, or from whom it ran out; False if another was faster."""
    condition = "#fence = :was" if before.fence else "attribute_not_exists(#fence)"
    values = {"was": before.fence} if before.fence else {}
    if before.fence:
        condition += " AND #holder = :holder" if before.holder else " AND attribute_not_exists(#holder)"
        values |= {"holder": before.holder} if before.holder else {}  # type: ignore[dict-item]
    try:
        ledger.table.update(
            ledger.log.at,
            "SET #holder = :me, #until = :until, #fence = :fence",
            condition,
            me=me,
            until=text_of(ledger.clock.now() + lease),
            fence=before.fence + 1,
            **values,
        )
    except Refused:
        if ledger.log.peek().holder != me:
            return False  # otherwise the lease was taken, and the answer was lost
    ledger.log.fence = before.fence + 1
    return True

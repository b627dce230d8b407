"""Alarms about a pipeline as a whole: too many rejected rows, nothing arriving. `status` tells them.

What concerns one object (dead, held) is said by the publisher when it happens; this is about what does not happen.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from headrace.engine import log
from headrace.engine.home import Home
from headrace.engine.loop import Loop
from headrace.model.errors import InfrastructureError
from headrace.model.loads import Alert, Counts, Settlement
from headrace.model.words import count, span_seconds


@dataclass(frozen=True, slots=True)
class Alarm:
    """`name` is the same for as long as it is the same alarm, so that it is sent once."""

    name: str
    found: str
    next: str


def alarms(home: Home, totals: Counts | None = None) -> list[Alarm]:
    """What is the matter now. `totals`: the accounting of what stands, where it is known already."""
    found = (_rejects(home, totals or home.ledger.totals()), _silence(home))
    return [alarm for alarm in found if alarm is not None]


def rejected(home: Home, totals: Counts) -> int:
    """Rejected rows of what stands, with those that conflict where the record rejects these."""
    return totals.rejected + (totals.conflict if home.contract.on_conflict == "reject" else 0)


def _rejects(home: Home, totals: Counts) -> Alarm | None:
    """More rejected than `tolerate` allows; another alarm on another day."""
    n, read = rejected(home, totals), totals.read
    if n <= home.pipeline.tolerate * read:
        return None
    return Alarm(
        f"rejects:{home.name}:{home.clock.now().date()}",
        f"{count(n, 'row')} rejected ({n / read:.2%} of what stands)",
        f"headrace quarantine ls {home.name}",
    )


def _silence(home: Home) -> Alarm | None:
    """Nothing arrived for longer than `expect_every`, or ever since the pipeline was first opened here."""
    every = home.pipeline.expect_every
    if not every:
        return None
    last = home.ledger.last_arrival()
    since = last or home.ledger.known_since()
    if since is None or home.clock.now() - since <= timedelta(seconds=span_seconds(every)):
        return None
    found = "nothing arrived since" if last else "nothing ever arrived since it was first opened at"
    return Alarm(
        f"silence:{home.name}:{since.isoformat()}",
        f"{found} {since.isoformat(timespec='seconds')}, expected every {every}",
        f"headrace history {home.name}",
    )


def sending(homes: Sequence[Home], loop: Loop, done: threading.Event) -> None:
    """Until `done`: look now and then, and have the publisher send what is new."""
    sent: set[str] = set()
    while not done.is_set():
        for home in homes:
            try:
                if send(home, sent):
                    loop.wake()
            except InfrastructureError as exc:
                log.event("alarms.failed", pipeline=home.name, error=str(exc))
        done.wait(homes[0].settings.scan_every if homes else None)


def send(home: Home, sent: set[str]) -> int:
    """Store a message about each alarm that is not among `sent`; the ledger keeps each name once. Returns how many."""
    new = [alarm for alarm in alarms(home) if alarm.name not in sent]
    if new:
        messages = [Alert(a.name, "", f"{home.name}: {a.found}", f"{a.found}\nNext: {a.next}") for a in new]
        home.ledger.settle(Settlement(alerts=tuple(messages)))
        home.bell.ring()
        sent.update(a.name for a in new)
    return len(new)

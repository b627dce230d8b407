"""Alarms about a pipeline as a whole: too many rejected rows, nothing arriving. Told by `status`, sent by `up`.

What concerns one object (dead, held) is said by the publisher when it happens; this is about what does not happen.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from headrace.engine import log
from headrace.engine.home import Home
from headrace.engine.loop import Loop
from headrace.model.errors import InfrastructureError
from headrace.model.loads import Alert, Settlement
from headrace.model.pipeline import interval_seconds
from headrace.project.tables import ledger_of


@dataclass(frozen=True, slots=True)
class Alarm:
    """`name` is the same for as long as it is the same alarm, so that it is sent once."""

    name: str
    found: str
    next: str


def alarms(home: Home) -> list[Alarm]:
    """What is the matter now."""
    return [alarm for alarm in (_rejects(home), _silence(home)) if alarm is not None]


def rejected(home: Home) -> int:
    """Rejected rows of what stands, with those that conflict where the record rejects these."""
    totals = ledger_of(home).totals()
    return totals.rejected + (totals.conflict if home.contract.on_conflict == "reject" else 0)


def last_arrival(home: Home) -> datetime | None:
    newest = ledger_of(home).history(limit=1)
    return newest[-1].seen_at if newest else None


def _rejects(home: Home) -> Alarm | None:
    """More rejected than `tolerate` allows; another alarm on another day."""
    n, read = rejected(home), ledger_of(home).totals().read
    if n <= home.pipeline.tolerate * read:
        return None
    return Alarm(
        f"rejects:{home.name}:{home.clock.now().date()}",
        f"{n:,} rows rejected ({n / read:.2%} of what stands)",
        f"headrace quarantine ls {home.name}",
    )


def _silence(home: Home) -> Alarm | None:
    """Nothing arrived for longer than `expect_every`, or ever since the pipeline was first opened here."""
    every = home.pipeline.expect_every
    if not every:
        return None
    last = last_arrival(home)
    since = last or ledger_of(home).known_since(home.contract.digest)
    if since is None or home.clock.now() - since <= timedelta(seconds=interval_seconds(every)):
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

"""A scan in parts: a function lives for minutes, and to walk all that is under a prefix may take longer.

Where the scan is stands in the ledger's table. Its schedule begins one, unless one is under way; the sweep of each
minute goes on with it until it is through. The function does not call itself: after some sixteen rounds Lambda takes
that for a loop which nobody meant, and ends it.
"""

from __future__ import annotations

from datetime import timedelta

from headrace.aws.ledger import DynamoLedger
from headrace.aws.table import Refused
from headrace.engine import log
from headrace.engine.home import Home
from headrace.engine.reconcile import scan_on
from headrace.engine.time_left import SecondsLeft
from headrace.model.times import text_of

BACKLOG = 20_000
"""Messages that wait, from which on a scan adds none: what it would find, mostly waits already."""
LEASE = 60.0
"""Seconds for which a part is its function's after the function's end: a sweep goes on with what died."""


class Course:
    """The item that tells where the scan of a ledger's pipeline is: it is there while one is under way."""

    def __init__(self, ledger: DynamoLedger) -> None:
        self._table, self._clock = ledger.table, ledger.clock
        self._at = (f"{ledger.pipeline}/scan", "course")

    def begin(self) -> None:
        """From the first key on. One that is under way stays where it is."""
        try:
            self._table.update(self._at, "SET #after = :none, #until = :none", "attribute_not_exists(#pk)", none="")
        except Refused:
            pass

    def take(self, seconds: float) -> str | None:
        """The key after which to go on, for who has so many seconds. None if no scan waits for anybody."""
        if self._table.get(self._at) is None:
            return None  # as at most times: to ask costs less than to try
        now = self._clock.now()
        until = text_of(now + timedelta(seconds=seconds + LEASE))
        free = "attribute_exists(#pk) AND #until < :now"
        try:
            item = self._table.update(self._at, "SET #until = :until", free, until=until, now=text_of(now))
            return str(item["after"])
        except Refused:
            return None

    def leave(self, after: str | None) -> None:
        """The scan has come to this key, or to its end. Said late, by who was slow, it costs others time alone."""
        if after is None:
            self._table.batch_write(deletes=[self._at])
        else:
            self._table.put({"pk": self._at[0], "sk": self._at[1], "after": after, "until": ""})


def go_on(home: Home, course: Course, seconds_left: SecondsLeft) -> int:
    """Take the scan as far as there is time, if one waits for somebody; returns how many events were put."""
    after = course.take(seconds_left())
    if after is None:
        return 0
    if sum(home.queue.depth(home.name)) > BACKLOG:
        log.event("scan.waits", pipeline=home.name)
        course.leave(after)
        return 0
    scanned = scan_on(home, after, seconds_left)
    course.leave(scanned.after)
    if scanned.after is not None:
        log.event("scan.stopped", pipeline=home.name, after=scanned.after, events=scanned.events)
    return scanned.events

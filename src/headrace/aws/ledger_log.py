"""The ledger's record: what was decided, in one line of steps, and how its items come to show it.

Why this is safe: a step is written whole under a name of its own, then one conditional write of the head names it. That
is the decision; it needs the head as it was read, everything before it applied, and the lease that this publisher took.
What follows is the same for everybody: any process applies the named step, as often as it likes, in transactions that
fall unless the head still waits for this very step. So who was killed leaves work to the next reader, and who was only
slow is refused. Loads are moved by id: what a worker did to another load of the key meanwhile stays.
"""

from __future__ import annotations

import secrets
import time
from typing import Any

from headrace.aws.bodies import Bodies
from headrace.aws.ledger_apply import Overtaken, Parts, Step, apply
from headrace.aws.ledger_keys import Keys
from headrace.aws.ledger_outbox import Outbox
from headrace.aws.ledger_rows import Head, Totals, padded
from headrace.aws.table import Item, Key, Refused, Table
from headrace.engine.faults import point
from headrace.model.errors import RevisionRefused
from headrace.model.times import text_of
from headrace.ports import Clock

POLITE = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.4, 2.4)
"""Seconds for which a reader lets a publisher that holds the lease apply its own step, before it helps.

Who helps too early gets into its way: transactions of both are refused where they meet.
"""


class Log:
    """The head of one pipeline's ledger and what it names."""

    def __init__(self, table: Table, bodies: Bodies, keys: Keys, outbox: Outbox, pipeline: str, clock: Clock) -> None:
        self._table, self._bodies, self._keys, self._outbox = table, bodies, keys, outbox
        self._clock = clock
        self.pipeline = pipeline
        self.at: Key = (pipeline, "head")
        self.fence: int | None = None  # of the lease that this process holds; see lock.py

    def peek(self) -> Head:
        """The head as it is, applied or not."""
        return Head.of(self._table.get(self.at))

    def head(self) -> Head:
        """The head, once everything that it names is applied."""
        head = self.peek()
        for wait in POLITE if head.holder and head.fence != self.fence else ():
            if head.applied == head.step:
                break
            if head.until > text_of(self._clock.now()):
                time.sleep(wait)
                head = self.peek()
        while head.applied < head.step:
            self._apply(head)
            head = self.peek()
        return head

    def entry(self, name: str) -> Step:
        """A step by its name. Raises Overtaken if it is gone: it was applied, others followed, and whoever recorded it
        did not hear of that."""
        at = (f"{self.pipeline}/entry", name)
        item = self._table.get(at)
        found: Step | None = None
        if item is not None:
            found = self._bodies.read_if_there(item, lambda: self._table.get(at) is not None)
        if found is None:
            raise Overtaken(name)
        return found

    # -- deciding ------------------------------------------------------------------------------------------------

    def commit(self, head: Head, step: Step, totals: Totals, shape: str) -> None:
        """Make a step the next one, and apply it. Raises RevisionRefused if the head is not as it was read."""
        name = f"{padded(head.step + 1)}-{secrets.token_hex(6)}"
        body = self._bodies.keep(f"entry-{name}", step)
        self._table.put({"pk": f"{self.pipeline}/entry", "sk": name, **body})
        if not head.step:
            self._table.put({"pk": "*/pipeline", "sk": self.pipeline})
        point("ledger.before-head")
        try:
            self._move(head, name, head.number if step["number"] is None else step["number"], totals, shape)
        except Refused:
            if not self._moved(name, step["number"]):
                self._table.batch_write(deletes=[(f"{self.pipeline}/entry", name)])
                self._bodies.drop(body)
                raise self.refused(f"step {head.step + 1} is not the next one, or the lease was lost") from None
        point("ledger.head-moved")
        self.head()

    def _move(self, head: Head, name: str, number: int, totals: Totals, shape: str) -> None:
        condition = "#step = :was AND #applied = :was"
        if not head.step:
            condition = f"(attribute_not_exists(#step) OR ({condition}))"
        fence: dict[str, Any] = {}
        if self.fence is not None:
            condition, fence = f"{condition} AND #fence = :fence", {"fence": self.fence}
        self._table.update(
            self.at,
            "SET #number = :number, #step = :step, #applied = :was, #entry = :entry, #totals = :totals,"
            " #shape = :shape",
            condition,
            was=head.step,
            step=head.step + 1,
            number=number,
            entry=name,
            totals=totals.text(),
            shape=shape,
            **fence,
        )

    def _moved(self, name: str, number: int | None) -> bool:
        """Whether the head did move to this step: the answer of a write that succeeded may have been lost."""
        if self.peek().entry == name:
            return True
        told = self._revision(number) if number is not None else None
        return told is not None and told["entry"] == name

    def _revision(self, number: int) -> Item | None:
        return self._table.get((f"{self.pipeline}/revision", padded(number)))

    def lost(self) -> bool:
        """Whether the lease that this process took is another's by now."""
        return self.fence is not None and self.peek().fence != self.fence

    def refused(self, found: str) -> RevisionRefused:
        return RevisionRefused("HR526", self.pipeline, found, "start again")

    # -- applying ------------------------------------------------------------------------------------------------

    def _apply(self, head: Head) -> None:
        """Show one step in the items. Returns also when somebody else did, or is further on."""
        parts = Parts(self._table, self._bodies, self._keys, self._outbox)
        try:
            apply(parts, self.pipeline, head, self.entry(head.entry))
        except Overtaken:
            return

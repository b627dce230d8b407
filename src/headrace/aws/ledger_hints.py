"""Which keys the publisher is to look at, and what a person said of them: the part of the ledger between both.

A hint is a level, not an edge: it names a key, and each asking gives it another number. One that comes while the
publisher looks is therefore not forgotten with the one that was read: it is deleted only under the number that was.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from datetime import datetime

from headrace.aws.ledger_history import DynamoHistory
from headrace.aws.ledger_rows import seq_of
from headrace.aws.table import Refused, Write, chunks, update
from headrace.model.loads import Hint
from headrace.model.times import text_of


class DynamoHints(DynamoHistory):
    """The hinted half of a ledger."""

    def hints(self) -> dict[str, Hint]:
        """Keys to look at. What is asked for meanwhile is another hint, which settling this one leaves."""
        self.log.head()
        found = self.table.query(f"{self.pipeline}/hint")
        return {str(x["sk"]): Hint("held" in x, bool(x.get("confirmed")), int(x.get("asked", 0))) for x in found}

    def hold(self, keys: Iterable[str]) -> None:
        """Keep retractions waiting for a person."""
        now = text_of(self.clock.now())
        change = "SET #held = if_not_exists(#held, :now), #asked = if_not_exists(#asked, :none)"
        self._change([self._of(key, change, now=now, none=0) for key in keys])

    def confirm(self) -> int:
        """A person says that the held retractions are meant."""
        held = [key for key, hint in self.hints().items() if hint.held]
        there, confirmed = "attribute_exists(#held)", 0
        for key in held:
            change = self._of(key, "SET #confirmed = :yes, #asked = :asked", there, yes=True, asked=_asked())
            try:
                self.table.transact([change])
                confirmed += 1
            except Refused:
                continue  # the publisher settled it at this very moment
        return confirmed

    def let_go(self, keys: Iterable[str]) -> None:
        """A person says of these keys that what stands shall do so no more, if their objects are gone."""
        now = text_of(self.clock.now())
        change = "SET #held = if_not_exists(#held, :now), #confirmed = :yes, #asked = :asked"
        self._change([self._of(key, change, now=now, yes=True, asked=_asked()) for key in keys])

    def retracted_since(self, instant: datetime) -> int:
        """How many loads were retracted since then, without a person's word, and have not come back."""
        self.log.head()
        found = 0
        for item in self.table.query(f"{self.pipeline}/revision", newest=True):
            if item["at"] < text_of(instant):
                break
            if item["reason"] == "retract":
                step = self.log.entry(str(item["entry"]))
                found += sum(self._still_gone(id, step["keys"][id]) for id in step["retired"])
        return found

    def _still_gone(self, load: str, key: str) -> bool:
        live = self._keys.read([key])[key].loads
        later = any(seq_of(x.load.id) > seq_of(load) for x in live)
        return not later and not self._keys.past(key, after=seq_of(load))

    def _hint(self, keys: Iterable[str]) -> None:
        self._change([self._of(key, "SET #asked = :asked", asked=_asked()) for key in dict.fromkeys(keys)])

    def _of(self, key: str, change: str, condition: str = "", **values: object) -> Write:
        return update((f"{self.pipeline}/hint", key), change, condition, **values)

    def _change(self, writes: list[Write]) -> None:
        for part in chunks([write] for write in writes):
            self.table.transact(part)


def _asked() -> int:
    """Another number each time that somebody asks."""
    return secrets.randbits(62) + 1

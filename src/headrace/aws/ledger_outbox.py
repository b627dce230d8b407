"""Messages to people, kept until they went out: each is said once by its name, and only when its load stands.

Why this is safe: a message and the note that it was said are one transaction whose condition is that it was not. The
note stays when the message goes. Who is killed in between writes nothing, or finds the note.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from headrace.aws.ledger_rows import padded
from headrace.aws.table import MOST_WRITES, Item, Key, Refused, Table, Write, delete, fitting, put, update
from headrace.model.loads import Load, LoadState

SAYABLE = (LoadState.STANDING, LoadState.DEAD)
POINTLESS = (LoadState.ABANDONED, LoadState.RETIRED)

UNITS = MOST_WRITES // 2
"""Messages of one transaction: each is at most two writes."""

Guarded = Callable[[Sequence[Write]], None]
"""Runs a transaction beside a check that this record is still being applied. Raises Refused by the writes' places."""


class Outbox:
    """The messages of one pipeline."""

    def __init__(self, table: Table, pipeline: str) -> None:
        self._table = table
        self.pipeline = pipeline

    def add(self, alerts: Iterable[Sequence[str]], revision: int, at: str, transact: Guarded) -> None:
        """Let messages wait for their loads; one that waits already is about this load from now on."""
        left: dict[str, Sequence[str]] = {}
        for name, load, *words in alerts:  # said in the words that came first, of the load that came last
            left[name] = [name, load, *left.get(name, ["", "", *words])[2:]]
        while left:
            notes = self._table.batch_get(self._note(name) for name in left)
            said = {str(note["alert"]): int(note["id"]) for note in notes.values()}
            known = self._table.batch_get(self._place(id) for id in said.values())
            again = [known[place] for id in said.values() if (place := self._place(id)) in known]
            self._tell_again([m for m in again if m["state"] == "waiting"], left, revision, transact)
            fresh = [alert for name, alert in left.items() if name not in said]
            left = self._say(fresh, revision, at, transact)

    def _say(
        self, alerts: Sequence[Sequence[str]], revision: int, at: str, transact: Guarded
    ) -> dict[str, Sequence[str]]:
        """Write new messages; returns those that somebody else wrote first."""
        units = []
        if alerts:
            first = int(self._table.update((self.pipeline, "said"), "ADD #last :n", n=len(alerts))["last"]) - len(
                alerts
            )
        for i, (name, load, subject, body) in enumerate(alerts, 1):
            pk, sk = self._place(first + i)
            note, digest = self._note(name)
            message = {"pk": pk, "sk": sk, "id": first + i, "alert": name, "load": load, "revision": revision}
            message |= {"subject": subject, "text": body, "state": "waiting", "at": at}
            said = {"pk": note, "sk": digest, "alert": name, "id": first + i}
            units.append((alerts[i - 1], [put(said, "attribute_not_exists(#pk)"), put(message)]))
        refused: dict[str, Sequence[str]] = {}
        for part in fitting(units, lambda unit: unit[1], MOST_WRITES - 1):  # one is the guard
            try:
                transact([write for _, unit in part for write in unit])
            except Refused:
                refused |= {alert[0]: alert for alert, _ in part}
        return refused

    def _tell_again(
        self, waiting: Sequence[Item], alerts: Mapping[str, Sequence[str]], revision: int, transact: Guarded
    ) -> None:
        for message in waiting:
            load = alerts[str(message["alert"])][1]
            if (message["load"], message["revision"]) == (load, revision):
                continue
            change = "SET #load = :load, #revision = :revision"
            try:
                waits = update(
                    self._place(message["id"]),
                    change,
                    "#state = :waiting",
                    waiting="waiting",
                    load=load,
                    revision=revision,
                )
                transact([waits])
            except Refused:
                continue  # it went out, or was dropped, at this very moment

    def release(self, loads: Callable[[Iterable[str]], Mapping[str, Load]]) -> None:
        """Let messages go out whose loads stand or are dead; drop those of loads that never will, or do so no more."""
        waiting = [m for m in self._all() if m["state"] == "waiting"]
        states = {id: load.state for id, load in loads({m["load"] for m in waiting if m["load"]}).items()}
        left = [unit for m in waiting if (unit := self._released(m, states.get(str(m["load"]))))]
        while left:
            part, left = left[:UNITS], left[UNITS:]
            places = [unit for unit in part for _ in unit]
            try:
                self._table.transact([write for unit in part for write in unit])
            except Refused as exc:  # another publisher was faster with these: the others are tried again
                faster = [places[i] for i in exc.which]
                left += [unit for unit in part if not any(unit is other for other in faster)]

    def _released(self, message: Item, state: LoadState | None) -> list[Write]:
        """What happens to a waiting message, given the state of its load; nothing while that is not known.

        Only while it is about that load: another publisher may have learnt of a later one meanwhile.
        """
        place = self._place(message["id"])
        same = "#state = :waiting AND #load = :load AND #revision = :revision"
        known = {"waiting": "waiting", "load": message["load"], "revision": message["revision"]}
        if not message["load"] or state in SAYABLE:
            return [update(place, "SET #state = :ready", same, ready="ready", **known)]
        if state in POINTLESS:
            return [delete(place, same, **known), delete(self._note(str(message["alert"])))]
        return []

    def messages(self, state: str, limit: int) -> list[dict[str, Any]]:
        names = {"alert": "name", "text": "body"}
        wanted = islice((m for m in self._all() if m["state"] == state), limit)
        return [{names.get(k, k): v for k, v in m.items() if k not in ("pk", "sk")} for m in wanted]

    def sent(self, ids: Iterable[int]) -> None:
        self._table.batch_write(deletes=[self._place(id) for id in ids])

    def _all(self) -> Iterator[Item]:
        """The oldest first; asked for a megabyte at a time, as far as somebody reads."""
        return self._table.query(f"{self.pipeline}/message")

    def _place(self, id: int) -> Key:
        return f"{self.pipeline}/message", padded(id)

    def _note(self, name: str) -> Key:
        return f"{self.pipeline}/said", hashlib.sha256(name.encode()).hexdigest()

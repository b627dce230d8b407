"""One recorded step of the ledger, shown in its items. Called by `ledger_log.py`, by whichever process comes first.

Why this is safe: every transaction here falls unless the head still waits for this very step, and each of them, made
twice, changes nothing the second time: files are put and deleted by path, loads moved by id, messages said by name.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from headrace.aws.bodies import Bodies
from headrace.aws.ledger_keys import Change, KeyLoads, Keys
from headrace.aws.ledger_outbox import Outbox
from headrace.aws.ledger_rows import Head, Kept, padded
from headrace.aws.table import MOST_WRITES, Item, Refused, Table, Write, check, chunks, delete, put, update
from headrace.engine.faults import point
from headrace.model.loads import Counts, Load, LoadState

Step = Mapping[str, Any]
"""A recorded step, as JSON. Shared: never changed."""


class Overtaken(Exception):
    """The step is applied already, and perhaps others after it."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a step is applied to."""

    table: Table
    bodies: Bodies
    keys: Keys
    outbox: Outbox


def advance(before: KeyLoads, step: Step) -> Change:
    """What a step makes of a key, whichever loads of it are still live."""
    after: list[Kept] = []
    past: list[Load] = []
    for kept in before.loads:
        moved = _advanced(kept, step)
        if moved.load.state in (LoadState.RETIRED, LoadState.ABANDONED):
            past.append(moved.load)
        else:
            after.append(moved)
    return Change(before, tuple(after), tuple(past))


def _advanced(kept: Kept, step: Step) -> Kept:
    id = kept.load.id
    if id in step["counts"]:
        kept = replace(kept, load=replace(kept.load, counts=Counts(*step["counts"][id])))
    if id in step["retired"]:
        kept = kept.moved(LoadState.RETIRED, retired=step["number"], stale=False)
    elif id in step["standing"]:
        kept = Kept(replace(kept.load, state=LoadState.DECIDED, decided=step["number"]))
    if id in step["abandoned"]:
        kept = kept.moved(LoadState.ABANDONED)
    elif id in step["skipped"]:
        kept = Kept(replace(kept.load, state=LoadState.SKIPPED, stale=False))
    if id in step["stale"] or id in step["recovered"]:
        kept = replace(kept, load=replace(kept.load, stale=id in step["stale"]))
    return kept


def apply(parts: Parts, pipeline: str, head: Head, step: Step) -> None:
    """Show the step that the head names in every item. Raises Overtaken if that is done."""
    _Application(parts, pipeline, head, step).run()


class _Application:
    """One process applying one step."""

    def __init__(self, parts: Parts, pipeline: str, head: Head, step: Step) -> None:
        self._parts, self._table, self._p = parts, parts.table, pipeline
        self._head, self._step = head, step
        names = ("counts", "retired", "standing", "abandoned", "skipped", "stale", "recovered")
        self._looked_up = {**step, **{name: frozenset(step[name]) for name in names[1:]}}
        self._waits = "#step = :step AND #applied = :applied"
        self._guard = check((pipeline, "head"), self._waits, step=head.step, applied=head.applied)

    def run(self) -> None:
        point("ledger.applying")
        self._files()
        point("ledger.files-moved")
        self._loads()
        if any(self._step[name] for name in ("standing", "abandoned", "skipped", "doomed")):
            self._attempts()
        point("ledger.attempts-settled")
        self._hints()
        self._parts.outbox.add(self._step["alerts"], self._head.number, self._step["at"], self._transact)
        point("ledger.before-applied")
        self._finish()

    def _files(self) -> None:
        """Files that come to stand, and those that go."""
        n, at = self._step["number"], self._step["at"]
        writes = []
        for file in self._step["added"]:
            item = {"pk": f"{self._p}/file/{file['kind']}", "sk": file["path"], "added": n, **self._body(file)}
            writes.append([put(item)])
        for file, added in self._step["removed"]:
            gone = {"pk": f"{self._p}/gone", "sk": file["path"], "kind": file["kind"], "added": added, "removed": n}
            writes.append([put({**gone, "at": at, **self._body(file)})])
            writes.append([delete((f"{self._p}/file/{file['kind']}", file["path"]))])
        self._all(writes)

    def _body(self, file: Mapping[str, Any]) -> dict[str, Any]:
        return self._parts.bodies.keep(f"file-{hashlib.sha256(file['path'].encode()).hexdigest()}", file)

    def _loads(self) -> None:
        def think(before: KeyLoads) -> Change:
            return advance(before, self._looked_up)

        try:
            self._parts.keys.change_all(self._step["keys"].values(), think, self._beside)
        except Refused as exc:
            raise self._judged(exc) from exc

    def _beside(self, changes: Sequence[Change]) -> list[Write]:
        """The guard, and of each attempt the loads that it has no more to answer for.

        An attempt that is gone is no error: then another process was here, and the keys are not as they were read.
        """
        left: dict[str, set[str]] = defaultdict(set)
        for change in changes:
            for token, ids in change.attempts_left.items():
                left[token] |= {f"{id} {change.before.key}" for id in ids}
        there = "attribute_exists(#pk)"
        changed = [
            update((f"{self._p}/attempt", token), "DELETE #left :gone", there, gone=gone)
            for token, gone in left.items()
        ]
        return [self._guard, *changed]

    def _attempts(self) -> None:
        """Forget attempts whose loads are all decided; what was not adopted of their files is trash."""
        adopted, doomed = set(self._step["adopted"]), set(self._step["doomed"])
        for attempt in self._table.query(f"{self._p}/attempt"):
            at = (str(attempt["pk"]), str(attempt["sk"]))
            body = self._parts.bodies.read_if_there(attempt, lambda at=at: self._table.get(at) is not None)  # type: ignore[misc]
            if body is None:
                continue
            paths = [file["path"] for file in body["files"]]
            rest = [path for path in paths if path not in adopted and path not in attempt.get("out", ())]
            if attempt.get("left"):
                self._take_out(attempt, [p for p in paths if p in adopted], [p for p in rest if p in doomed])
                continue
            self._all([self._trash(path)] for path in rest)
            self._transact([delete(at)])
            self._parts.bodies.drop(attempt)

    def _take_out(self, attempt: Item, adopted: Sequence[str], doomed: Sequence[str]) -> None:
        """Some files of an attempt are settled while others wait for their loads."""
        if out := {*adopted, *doomed}:
            change = update((attempt["pk"], attempt["sk"]), "ADD #out :out", "attribute_exists(#pk)", out=out)
            self._transact([change])
            self._all([self._trash(path)] for path in doomed)

    def _trash(self, path: str) -> Write:
        return put({"pk": f"{self._p}/trash", "sk": path})

    def _hints(self) -> None:
        """Forget the hints that were looked at, unless somebody asked again meanwhile."""
        writes = [
            delete((f"{self._p}/hint", key), "#asked = :asked", asked=asked)
            for key, asked in self._step["forgotten"].items()
        ]
        while writes:
            part, writes = writes[: MOST_WRITES - 1], writes[MOST_WRITES - 1 :]
            try:
                self._transact(part)
            except Refused as exc:
                writes += [write for i, write in enumerate(part) if i not in exc.which]

    def _finish(self) -> None:
        writes = []
        if (n := self._step["number"]) is not None:
            told = {"number": n, "entry": self._head.entry, "shape": self._head.shape}
            told |= {name: self._step[name] for name in ("at", "reason")}
            counted = {name: len(self._step[name]) for name in ("standing", "retired")}
            writes = [put({"pk": f"{self._p}/revision", "sk": padded(n), **told, **counted})]
        head, seen = self._head, {"step": self._head.step, "applied": self._head.applied}
        done = update((self._p, "head"), "SET #applied = :step", self._waits, **seen)
        try:
            self._table.transact([done, *writes])
        except Refused as exc:
            raise Overtaken(head.entry) from exc

    # -- pieces --------------------------------------------------------------------------------------------------

    def _all(self, units: Any) -> None:
        for part in chunks(units, MOST_WRITES - 1):
            self._transact(part)

    def _transact(self, writes: Sequence[Write]) -> None:
        """Write, if the head still waits for this step. Raises Refused by the places of these writes."""
        try:
            self._table.transact([self._guard, *writes])
        except Refused as exc:
            raise self._judged(exc) from exc

    def _judged(self, exc: Refused) -> Exception:
        if 0 in exc.which:
            return Overtaken(self._head.entry)
        return Refused([place - 1 for place in exc.which])

"""The ledger of one pipeline in DynamoDB: what was seen, staged and decided. `ledger_rows.py` says what the items are.

Why each method is safe, with many workers and several publishers that may die between any two calls:

- `pin`, `skip`, `take_up`, `bury`: read a key's loads, think, write them back under the `rev` that was read, with all
  traces, in one transaction (`ledger_keys.py`). A number that was reserved for nothing is a gap, no more.
- `stage`: one transaction moves every load of the job and puts the attempt, or nothing is staged. Files that nobody
  will refer to are called trash before; events are acknowledged after. Who dies between is asked again by the event.
- `record`, `settle`: one step of the line in `ledger_log.py`: its head moves once, the items follow, whoever leads.
- `stand`, `mark`, `forget_sink`: say what is true of the sinks for good; saying it late or twice changes nothing.
- hints are levels under numbers (`ledger_hints.py`), messages are said by name (`ledger_outbox.py`).

What workers do is not fenced and need not be: done late, it is done to loads that have moved on, and refused.
"""

from __future__ import annotations

import json
import math
import secrets
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from headrace.aws.ledger_apply import advance
from headrace.aws.ledger_hints import DynamoHints
from headrace.aws.ledger_history import staged_files
from headrace.aws.ledger_keys import Change, KeyLoads
from headrace.aws.ledger_pin import Pinning
from headrace.aws.ledger_rows import (
    Head,
    Kept,
    Totals,
    alert_list,
    counts_list,
    file_dict,
    seq_of,
)
from headrace.aws.ledger_step import check_accounts, settling
from headrace.aws.session import Session
from headrace.aws.table import MOST_BYTES, MOST_WRITES, TRIES, Refused, Write, delete, pause, put, size_of
from headrace.engine.faults import point
from headrace.model.accounts import check_files, check_staged
from headrace.model.contract import Contract
from headrace.model.errors import InfrastructureError, LeaseLost, RevisionRefused
from headrace.model.loads import (
    STANDS,
    Arrival,
    Counts,
    DataFile,
    Decision,
    Lease,
    Load,
    LoadState,
    Settlement,
    Staged,
)
from headrace.model.times import text_of
from headrace.model.waiting import Waiting, first_of
from headrace.ports import Clock, Queue

MOST_STAGED = MOST_WRITES - 2
"""Loads of one job: they are staged by one transaction."""
NOTHING = Settlement()
EARLIER = (LoadState.SEEN, LoadState.STAGED, *STANDS)


class DynamoLedger(DynamoHints):
    """ports.Ledger for one pipeline."""

    def __init__(self, session: Session, table: str, bucket: str, queue: Queue, pipeline: str, clock: Clock) -> None:
        super().__init__(session, table, bucket, pipeline, clock)
        self._queue = queue

    # -- arriving ------------------------------------------------------------------------------------------------

    def keep_contract(self, contract: Contract) -> None:
        """Store what loads will refer to by digest."""
        at = (f"{self.pipeline}/contract", contract.digest)
        if self.table.get(at) is not None:
            return
        body = zlib.compress(json.dumps(contract.to_dict()).encode())
        item = {"pk": at[0], "sk": at[1], "contract": body, "at": text_of(self.clock.now())}
        self.table.put({"pk": "*/pipeline", "sk": self.pipeline})
        try:
            self.table.transact([put(item, "attribute_not_exists(#pk)")])
        except Refused:
            return  # another process opened the pipeline at this moment

    def pin(self, arrivals: Sequence[Arrival]) -> list[Load]:
        found: dict[int, Load] = {}
        head, left = self.log.peek(), dict(enumerate(arrivals))
        for attempt in range(TRIES):
            refused = self._pin(left, found)
            left = {i: a for i, a in left.items() if a.key in refused}
            if not left:
                return [head.shown(found[i]) for i in range(len(arrivals))]
            pause(attempt)
        raise self._keys.contended(min(a.key for a in left.values()))

    def _pin(self, arrivals: Mapping[int, Arrival], found: dict[int, Load]) -> list[str]:
        """Pin what is not found yet; returns the keys that another worker changed meanwhile."""
        before = self._keys.read(a.key for a in arrivals.values())
        pinning = Pinning(self.pipeline, self.clock.now(), before)
        found |= {i: pinning.pin(a) for i, a in arrivals.items()}
        if pinning.born:  # thought through once more, with numbers: most often there is nothing new
            first = self._keys.number(pinning.born, text_of(self.clock.now()) if pinning.arrived else "")
            point("ledger.numbered")
            pinning = Pinning(self.pipeline, self.clock.now(), before, first)
            found |= {i: pinning.pin(a) for i, a in arrivals.items()}
        return self._keys.write_all(pinning.changes())

    def earlier_twin(self, load: Load) -> Load | None:
        """A live load of another key with the same bytes and an earlier place in the order."""
        head, place = self.log.head(), (load.arrived_at, load.key)
        alike = [x.load for x in self._keys.alike([load.version])[load.version]]
        others = [x for x in alike if x.key != load.key and x.state in EARLIER and (x.arrived_at, x.key) < place]
        return head.shown(min(others, key=lambda x: (x.arrived_at, x.key))) if others else None

    def skip(self, load: str) -> None:
        """Leave a seen load unread because of its twin."""
        self._move(load, LoadState.SEEN, lambda kept: kept.moved(LoadState.SKIPPED))

    def take_up(self, load: str) -> Load:
        """A new load in place of a skipped one, whose twin has gone. What is live, if another worker was faster.

        New, because the old one may have been staged before its twin came: no load is ever staged twice.
        """
        key = self.find_load(load).key

        def think(before: KeyLoads) -> Change:
            old = before.find(load)
            if old is None or old.load.state is not LoadState.SKIPPED:
                return Change(before, before.loads)
            id = f"{self.pipeline}.{self._keys.number(1)}"
            new = replace(old.load, id=id, state=LoadState.SEEN, counts=Counts(), decided=None)
            rest = [x for x in before.loads if x is not old]
            return Change(before, (*rest, Kept(new)), (replace(old.load, state=LoadState.ABANDONED),))

        change = self._keys.change(key, think)
        if change.born:
            return change.born[0]
        version = self.find_load(load).version
        return [x for x in self.history(key) if x.version == version][-1]

    def _move(self, load: str, state: LoadState, move: Callable[[Kept], Kept]) -> str:
        """Move a load if it is in that state; returns its key."""
        key = self.find_load(load).key

        def think(before: KeyLoads) -> Change:
            moved = (move(x) if x.load.id == load and x.load.state is state else x for x in before.loads)
            return Change(before, tuple(moved))

        self._keys.change(key, think)
        return key

    # -- staging -------------------------------------------------------------------------------------------------

    def stage(self, staged: Sequence[Staged], files: Sequence[DataFile], leases: Sequence[Lease]) -> None:
        check_staged(staged, files)
        if len(staged) > MOST_STAGED:
            raise self._too_big(staged, MOST_STAGED)
        keys = self._keys.locate(s.load for s in staged)
        for attempt in range(TRIES):
            if (missed := self._stage(staged, files, keys)) is not None:
                break
            pause(attempt)
        else:
            raise self._keys.contended(min(keys.values()))
        point("ledger.staged")
        # What was abandoned meanwhile may be just what the store holds: somebody has to look.
        self._hint(keys[id] for id in missed)
        self._acknowledge(leases)

    def _stage(self, staged: Sequence[Staged], files: Sequence[DataFile], keys: Mapping[str, str]) -> list[str] | None:
        """Stage what is still to be staged, all at once; returns what was abandoned, or None if a key moved."""
        before = self._keys.read(keys.values())
        kept = {s.load: before[keys[s.load]].find(s.load) for s in staged if s.load in keys}
        seen = {id for id, x in kept.items() if x is not None and x.load.state is LoadState.SEEN}
        torn = next((f for f in files if not seen.isdisjoint(f.loads) and not seen.issuperset(f.loads)), None)
        trash = files if torn is not None else [f for f in files if seen.isdisjoint(f.loads)]
        self.table.batch_write({"pk": f"{self.pipeline}/trash", "sk": f.path} for f in trash)
        if torn is not None:  # these files are trash, and known as such
            raise LeaseLost("HR525", torn.path, "another worker staged part of this batch", "nothing to do")
        point("ledger.before-stage")
        if seen:
            writes = self._staging([s for s in staged if s.load in seen], files, before, keys)
            if len(seen) > 1 and size_of(writes) > MOST_BYTES:
                raise self._too_big(staged, len(staged) // 2)
            try:
                self.table.transact(writes)
            except Refused:
                return None
        gone = self._keys.find(id for id, x in kept.items() if x is None)
        return [id for id, x in gone.items() if x.load.state is LoadState.ABANDONED]

    def _staging(
        self,
        staged: Sequence[Staged],
        files: Sequence[DataFile],
        before: Mapping[str, KeyLoads],
        keys: Mapping[str, str],
    ) -> list[Write]:
        token, now = secrets.token_hex(8), self.clock.now()
        coming = {s.load: s for s in staged}

        def moved(kept: Kept) -> Kept:
            s = coming.get(kept.load.id)
            if s is None:
                return kept
            also = {"counts": s.counts, "dialect": s.dialect, "seconds": s.seconds, "staged_at": now}
            return replace(kept.moved(LoadState.STAGED, **also), attempt=token)

        changes = [Change(before[key], tuple(map(moved, before[key].loads))) for key in {keys[id] for id in coming}]
        ours = [f for f in files if not coming.keys().isdisjoint(f.loads)]
        body = {
            "files": [file_dict(f) for f in ours],
            "alerts": [alert_list(alert) for s in staged for alert in s.alerts],
        }
        left = {f"{id} {keys[id]}" for id in coming}
        attempt: dict[str, Any] = {"pk": f"{self.pipeline}/attempt", "sk": token, "left": left}
        attempt |= {"bytes": sum(f.size for f in ours)}
        attempt |= self._bodies.keep(f"attempt-{token}", body)
        return [put(attempt), *(write for change in changes for write in self._keys.writes(change))]

    def _too_big(self, staged: Sequence[Staged], most: int) -> InfrastructureError:
        """The worker halves a job that this is raised for."""
        found = f"a job of {len(staged)} loads is too big to be staged at once"
        return InfrastructureError("HR872", self.pipeline, found, f"it is halved; set `batch_files` to at most {most}")

    def bury(self, load: str, cause: str, leases: Sequence[Lease]) -> None:
        key = self._move(load, LoadState.SEEN, lambda kept: kept.moved(LoadState.DEAD, cause=cause))
        point("ledger.buried")
        self._hint([key])
        self._acknowledge(leases)

    def hint(self, keys: Iterable[str], leases: Sequence[Lease] = ()) -> None:
        """Ask the publisher to look at keys whose object is gone or in doubt, and acknowledge their events."""
        self._hint(keys)
        point("ledger.hinted")
        self._acknowledge(leases)

    def _acknowledge(self, leases: Sequence[Lease]) -> None:
        try:
            self._queue.acknowledge(leases)
        except LeaseLost:
            # Somebody else holds the event now and will find this work done. Losing it here would do it twice.
            pass

    # -- deciding ------------------------------------------------------------------------------------------------

    def pending(self, most: float = math.inf, beside: Iterable[str] = ()) -> set[str]:
        """Keys with staged loads that wait for the publisher. What was staged together is an attempt."""
        self.log.head()
        jobs = []
        for attempt in self.table.query(f"{self.pipeline}/attempt"):
            if entries := [entry.partition(" ") for entry in attempt.get("left", ())]:
                order, keys = min(seq_of(id) for id, _, _ in entries), frozenset(key for _, _, key in entries)
                jobs.append(Waiting(order, keys, int(attempt["bytes"])))
        return first_of(jobs, most, beside)

    def live(self, keys: Sequence[str]) -> dict[str, list[Load]]:
        """Every load of those keys that is not history yet, oldest first."""
        head = self.log.head()
        found = self._keys.read(keys)
        return {key: [head.shown(x.load) for x in live.loads] for key, live in found.items() if live.loads}

    def record(self, decision: Decision) -> None:
        check_files(decision.fresh)
        for attempt in range(TRIES):
            head = self.log.head()
            if decision.number != head.number + 1:
                raise self.log.refused(f"revision {decision.number} is not the next one")
            try:
                self._record(head, decision)
                return
            except RevisionRefused:  # something was settled meanwhile, unless another publisher was here
                if self.log.lost():
                    raise
                pause(attempt)
        raise self.log.refused("others settle something all the time")

    def _record(self, head: Head, d: Decision) -> None:
        changed = self._about([*d.standing, *d.retired, *d.counts], d.settlement)
        about = changed | self._about({x for f in d.fresh for x in f.loads} - changed.keys())
        step = settling(d.settlement, changed, self.clock.now(), d.reason) | {
            "number": d.number,
            "standing": [id for id in d.standing if id in about],
            "retired": [id for id in d.retired if id in about],
            "counts": {id: counts_list(counts) for id, counts in d.counts.items()},
        }
        step |= self._files_step(d, changed)
        self._decide(head, step, about, self._shapes.keep(d.shape, head.shape))

    def settle(self, settlement: Settlement) -> None:
        """Record what a look settled without changing any row: no revision is needed."""
        for attempt in range(TRIES):
            head, about = self.log.head(), self._about([], settlement)
            try:
                step = settling(settlement, about, self.clock.now(), "settle")
                self._decide(head, step, about, head.shape)
                return
            except RevisionRefused:
                if self.log.lost():
                    raise
                pause(attempt)
        raise self.log.refused("others decide something all the time")

    def _about(self, loads: Iterable[str], s: Settlement = NOTHING) -> dict[str, KeyLoads]:
        """The keys of everything that a step is about, as they are, by load."""
        ids = dict.fromkeys([*loads, *s.abandoned, *s.skipped, *s.stale, *s.recovered])
        keys = self._keys.locate(ids)
        found = self._keys.read(keys.values())
        return {id: found[key] for id, key in keys.items()}

    def _files_step(self, d: Decision, about: Mapping[str, KeyLoads]) -> dict[str, Any]:
        """The files of a step, each whole: what is applied later needs to ask nothing."""
        tokens = {x.attempt for found in about.values() for x in found.loads if x.attempt}
        attempts = self._attempts(tokens)
        staged = {file.path: file for file in staged_files(attempts)}
        standing = self._files() if d.removed else {}
        added = [*d.fresh, *(staged[path] for path in d.adopted if path in staged)]
        alerts = [alert for _, body in attempts for alert in body["alerts"] if alert[1] in d.standing]
        return {
            "added": [file_dict(file) for file in added],
            "removed": [[file_dict(standing[p][0]), standing[p][1]] for p in d.removed if p in standing],
            "adopted": list(d.adopted),
            "doomed": list(d.doomed),
            "alerts": [*alerts, *(alert_list(alert) for alert in d.settlement.alerts)],
        }

    def _decide(self, head: Head, step: dict[str, Any], about: Mapping[str, KeyLoads], shape: str) -> None:
        """Check that a step adds up and record it."""
        point("ledger.looked-up")
        changes = [advance(before, step) for before in {x.key: x for x in about.values()}.values()]
        after = {x.load.id: x.load for change in changes for x in change.after}
        try:
            check_accounts(step, after, self._files)
        except InfrastructureError:
            if self.log.peek().step != head.step:  # what was read is of two revisions: nothing can be said of it
                raise self.log.refused(f"step {head.step} was overtaken while it was looked at") from None
            raise
        before = (x.load for change in changes for x in change.before.loads)
        totals = head.totals.plus(Totals.of(after.values())).plus(Totals.of(before), -1)
        self.log.commit(head, step, totals, shape)

    def mark(self, sink: str, number: int) -> None:
        """Remember what a sink said of itself. It holds this pipeline's rows now, whosever they were before."""
        self.table.put({"pk": "*/sink", "sk": sink, "pipeline": self.pipeline, "number": number})

    def forget_sink(self, sink: str) -> None:
        """A sink that the definition no longer has holds nothing back; if it returns it is filled as a new one."""
        try:
            self.table.transact([delete(("*/sink", sink), "#pipeline = :mine", mine=self.pipeline)])
        except Refused:
            return  # it is another's, or nobody's

    def stand(self, number: int) -> None:
        """Every sink is at `number` or beyond: its loads stand, and messages about them may go out.

        What was to be said of a load that never came to stand, or does so no more, is dropped.
        """
        head = self.log.head()
        if number > head.stood:
            less = "attribute_not_exists(#stood) OR #stood < :number"
            try:
                self.table.update(self.log.at, "SET #stood = :number", less, number=number)
            except Refused:
                pass  # another publisher said so already, or more
        self._outbox.release(self._loads)

"""Reading the ledger: for people (history, status, explain), for queries (which files stand) and for housekeeping.

Nothing here changes what stands; the only writes are messages sent and files forgotten. Whoever reads
first sees to it that the newest step is applied: nobody is told half a revision.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any

from headrace.aws.bodies import Bodies
from headrace.aws.ledger_corrections import DynamoCorrections
from headrace.aws.ledger_keys import KeyLoads, Keys
from headrace.aws.ledger_log import Log
from headrace.aws.ledger_outbox import Outbox
from headrace.aws.ledger_rows import OPEN, Head, file_of, overlaps, padded, seq_of
from headrace.aws.ledger_shapes import Shapes
from headrace.aws.session import Session
from headrace.aws.table import Item, Table
from headrace.model.accounts import Census
from headrace.model.contract import Contract
from headrace.model.errors import InfrastructureError, UsageError
from headrace.model.loads import STANDS, Counts, DataFile, Load, LoadState, Outline, Revision, Shape
from headrace.model.times import instant_of
from headrace.ports import Clock

KINDS = ("data", "losers", "rejected")
PAGE = 200
"""Loads that a walk back through history looks at together."""


class DynamoHistory(DynamoCorrections):
    """ports.History: the reading half of a ledger."""

    def __init__(self, session: Session, table: str, bucket: str, pipeline: str, clock: Clock) -> None:
        super().__init__(Table(session, table), pipeline)
        self.clock = clock
        self._bodies = Bodies(session, bucket, f"ledger/{pipeline}")
        self._keys = Keys(self.table, self._bodies, pipeline)
        self._outbox = Outbox(self.table, pipeline)
        self.log = Log(self.table, self._bodies, self._keys, self._outbox, pipeline, clock)
        self._shapes = Shapes(self.table, pipeline)
        self._standing: tuple[int, dict[str, tuple[DataFile, int]]] = (0, {})  # at which revision, by path

    # -- loads ---------------------------------------------------------------------------------------------------

    def load(self, id: str) -> Load | None:
        return self._loads([id]).get(id)

    def _loads(self, ids: Iterable[str], keys: Mapping[str, str] | None = None) -> dict[str, Load]:
        head = self.log.head()
        return {id: head.shown(kept.load) for id, kept in self._keys.find(ids, keys).items()}

    def keys_of(self, loads: Iterable[str]) -> dict[str, str]:
        """The key of each of the loads, given by id, that there ever was."""
        return self._keys.locate(loads)

    def history(
        self, key: str | None = None, since: datetime | None = None, limit: int | None = None, after: int = 0
    ) -> list[Load]:
        """Loads as they were first seen, newest last. With `limit`, the newest so many."""
        if limit == 0:
            return []
        found = self._of_key(key, after) if key is not None else self._newest(after, since)
        asked = (x for x in found if _seen_since(x, since))
        return list(islice(asked, limit))[::-1]

    def _of_key(self, key: str, after: int) -> Iterator[Load]:
        head = self.log.head()
        live = [head.shown(x.load) for x in self._keys.read([key])[key].loads]
        known = {x.id: x for x in [*live, *self._keys.past(key)]}  # what was live and is history since then
        yield from sorted((x for x in known.values() if seq_of(x.id) > after), key=_seq, reverse=True)

    def _newest(self, after: int, since: datetime | None) -> Iterator[Load]:
        """Back through the numbers, until they are too low, or a whole page was seen before that."""
        ids = iter(self._keys.newest())
        while page := {id: key for id, key in islice(ids, PAGE) if seq_of(id) > after}:
            found = self._loads(page, page)
            yield from (found[id] for id in page if id in found)
            if not any(_seen_since(x, since) for x in found.values()):
                return

    def last_seq(self) -> int:
        return int(self._keys.counter().get("last", 0))

    def in_state(self, *states: str) -> list[Load]:
        """Loads in any of the live states, oldest first."""
        head = self.log.head()
        return sorted(self._in_state(head, set(states)), key=_seq)

    def _in_state(self, head: Head, states: set[str]) -> Iterator[Load]:
        some: Iterable[KeyLoads] = ()
        if "standing" in states:
            some = self._keys.walk()
        else:
            open = self._keys.open() if states.intersection(OPEN) else []
            known = {x.key for x in open}
            decided = self._deciding(head) if "decided" in states else []
            some = [*open, *(x for x in decided if x.key not in known)]
        for found in some:
            yield from (x for kept in found.loads if (x := head.shown(kept.load)).state in states)

    def _deciding(self, head: Head) -> list[KeyLoads]:
        """Keys with loads that were decided, and do not stand yet because a sink is behind."""
        steps = [self._step(number) for number in range(head.stood + 1, head.number + 1)]
        keys = [step["keys"][id] for step in steps for id in step["standing"]]
        return list(self._keys.read(keys).values())

    def retired(self, keys: Iterable[str]) -> list[Load]:
        """What stood under these keys once and does no more, as far as it is remembered."""
        self.log.head()
        pages = self.table.parallel(self._keys.past, list(keys))
        return [load for page in pages for load in page if load.state is LoadState.RETIRED]

    def outline(self, after: str = "") -> Iterator[Outline]:
        """Every load of a key beyond `after` that is not history, by key and oldest first, without holding them all."""
        head = self.log.head()
        for found in self._keys.walk(after):
            for x in (head.shown(kept.load) for kept in found.loads):
                yield Outline(x.key, x.id, x.version, x.contract, x.corrections, x.state, x.fingerprint, x.stale)

    def standing(self) -> dict[str, Load]:
        """What stands under each key, skipped twins included."""
        return {x.key: x for x in self.in_state("decided", "standing", "skipped")}

    def count_standing(self) -> int:
        """Under how many keys something stands, skipped twins included: the head knows, but for the skipped."""
        head = self.log.head()
        return head.totals.loads + sum(1 for _ in self._in_state(head, {"skipped"}))

    def wanted(self, loads: Iterable[str]) -> set[str]:
        """Those of the loads, given by id, that stand or may come to stand without being read again."""
        return self._among(loads, LoadState.SEEN, LoadState.STAGED, *STANDS)

    def standing_among(self, loads: Iterable[str]) -> set[str]:
        """Those of the loads, given by id, that stand."""
        return self._among(loads, *STANDS)

    def _among(self, loads: Iterable[str], *states: LoadState) -> set[str]:
        ids = list(loads)
        return {id for id, load in self._loads(ids).items() if load.state in states} if ids else set()

    def dead(self) -> list[Load]:
        """Objects that cannot load as they are."""
        return self.in_state("dead")

    def outdated(self, digest: str) -> list[Load]:
        """Standing loads of another contract than this."""
        return [x for x in self.in_state("decided", "standing") if x.contract != digest]

    def twins(self, version: str) -> list[Load]:
        """Live loads of these bytes under any key."""
        head = self.log.head()
        alike = [head.shown(x.load) for x in self._keys.alike([version])[version]]
        return sorted((x for x in alike if x.state is not LoadState.DEAD), key=lambda x: (x.arrived_at, x.key))

    def repeated(self, versions: Iterable[str]) -> set[str]:
        """Those of the versions that more than one live load has."""
        self.log.head()
        alike = self._keys.alike(versions)
        return {v for v, found in alike.items() if sum(x.load.state is not LoadState.DEAD for x in found) > 1}

    def census(self, digest: str) -> Census:
        """The numbers that health is told by: the head knows what stands, only what is open is looked up."""
        head = self.log.head()
        open = self._in_state(head, {"seen", "staged", "dead", "skipped", "decided"})
        states: dict[str, int] = {}
        for load in open:
            states[load.state.value] = states.get(load.state.value, 0) + 1
        if standing := head.totals.loads - states.get("decided", 0):
            states["standing"] = standing
        outdated = head.totals.loads - head.totals.contracts.get(digest, 0)
        return Census(states, outdated, head.totals.stale, len(self.held()))

    def any_in_state(self, *states: str) -> bool:
        """Whether there is a load in any of these states."""
        head = self.log.head()
        asked = set(states)
        if "standing" in asked and head.totals.loads and head.stood >= head.number:
            return True
        return next(self._in_state(head, asked if head.totals.loads else asked - {"standing"}), None) is not None

    def totals(self) -> Counts:
        """The accounting of everything that stands."""
        return self.log.head().totals.counts

    def contract(self, digest: str) -> Contract:
        item = self.table.get((f"{self.pipeline}/contract", digest))
        if item is None:
            raise InfrastructureError("HR528", digest, "this contract is not in the ledger", "restore a backup")
        return Contract.from_dict(json.loads(zlib.decompress(item["contract"])))

    def known_since(self) -> datetime | None:
        """When the pipeline was first opened here, under whichever contract."""
        known = [str(item["at"]) for item in self.table.query(f"{self.pipeline}/contract")]
        return instant_of(min(known)) if known else None

    def last_arrival(self) -> datetime | None:
        """When a version that was not there already was last seen under any key; no replay, redrive or correction."""
        at = self._keys.counter().get("arrived")
        return instant_of(str(at)) if at else None

    # -- files and revisions -------------------------------------------------------------------------------------

    def files(self, kind: str, at: int | None = None) -> list[DataFile]:
        standing = self._files().values()
        if at is None:
            return [file for file, _ in standing if file.kind == kind]
        found = [(added, file) for file, added in standing if file.kind == kind and added <= at]
        for item in self.table.query(f"{self.pipeline}/gone"):
            if item["kind"] == kind and item["added"] <= at < item["removed"]:
                found.append((int(item["added"]), self._file(item)))
        return [file for _, file in sorted(found, key=lambda entry: (entry[0], entry[1].path))]

    def _files(self) -> dict[str, tuple[DataFile, int]]:
        """What stands now and since which revision, by path, in the order of coming. Read anew for each revision."""
        head = self.log.head()
        if head.number != self._standing[0]:
            pages = self.table.parallel(self._of_kind, KINDS)
            found = sorted((entry for page in pages for entry in page), key=lambda entry: (entry[1], entry[0].path))
            if self.log.peek().number != head.number:
                return self._files()
            self._standing = (head.number, {file.path: (file, added) for file, added in found})
        return self._standing[1]

    def _of_kind(self, kind: str) -> list[tuple[DataFile, int]]:
        return [(self._file(x), int(x["added"])) for x in self.table.query(f"{self.pipeline}/file/{kind}")]

    def _file(self, item: Item) -> DataFile:
        return file_of(self._bodies.read(item))

    def standing_paths(self) -> list[str]:
        """Where the files are that stand now, of every kind."""
        return list(self._files())

    def overlapping(self, kind: str, lo: Any, hi: Any) -> list[DataFile]:
        """Standing files whose first key column may hold a value in [lo, hi], or of unknown range."""
        return [file for file in self.files(kind) if overlaps(file, lo, hi)]

    def files_of(self, loads: Iterable[str], *, staged: bool) -> list[DataFile]:
        """Files that hold rows of these loads: the staged ones, or the standing ones."""
        ids = set(loads)
        if not ids:
            return []
        if not staged:
            return [file for file, _ in self._files().values() if not ids.isdisjoint(file.loads)]
        self.log.head()
        tokens = {kept.attempt for kept in self._keys.find(ids).values() if kept.attempt}
        return [file for file in staged_files(self._attempts(tokens)) if not ids.isdisjoint(file.loads)]

    def _attempts(self, tokens: Iterable[str]) -> list[tuple[Item, Mapping[str, Any]]]:
        """Those of the attempts that are not decided, each with what its job handed over."""
        items = self.table.batch_get((f"{self.pipeline}/attempt", token) for token in sorted(tokens))
        return [(item, self._staged(item)) for item in items.values()]

    def _staged(self, attempt: Item) -> Mapping[str, Any]:
        """What a job handed over; nothing if all of it was decided since the item was read."""
        at = (str(attempt["pk"]), str(attempt["sk"]))
        return self._bodies.read_if_there(attempt, lambda: self.table.get(at) is not None) or {
            "files": [],
            "alerts": [],
        }

    def sinks(self) -> dict[str, int]:
        """The number each sink was last seen at."""
        found = self.table.query("*/sink")
        return {str(x["sk"]): int(x["number"]) for x in found if x["pipeline"] == self.pipeline}

    def revisions(self, limit: int | None = None) -> list[dict[str, Any]]:
        """Numbers, instants, reasons and how many loads each decided and retired; newest last."""
        self.log.head()
        found = self.table.query(f"{self.pipeline}/revision", newest=True, limit=limit)
        names = {"number": "number", "at": "at", "reason": "reason", "decided": "standing", "retired": "retired"}
        return [{name: x[stored] for name, stored in names.items()} for x in found][::-1]

    def _step(self, number: int) -> Mapping[str, Any]:
        """What was recorded as this revision. Raises InfrastructureError HR527 if there is none."""
        item = self.table.get((f"{self.pipeline}/revision", padded(number)))
        if item is None:
            raise InfrastructureError("HR527", self.pipeline, f"revision {number} is not in the ledger")
        return self.log.entry(str(item["entry"]))

    def head(self) -> int:
        return self.log.head().number

    def shape(self, number: int | None = None) -> Shape | None:
        """The tables' shape after that revision; None before the first."""
        head = self.log.head()
        name = head.shape
        if number is not None and number != head.number:
            item = self.table.get((f"{self.pipeline}/revision", padded(number)))
            name = str(item["shape"]) if item else ""
        return self._shapes.read(name) if name else None

    def revision(self, number: int) -> Revision:
        self.log.head()
        step, shape = self._step(number), self.shape(number)
        assert shape is not None, f"revision {number} has a shape"
        added, removed = [file_of(x) for x in step["added"]], [file_of(x) for x, _ in step["removed"]]
        return Revision(
            pipeline=self.pipeline,
            number=number,
            at=instant_of(step["at"]),
            reason=step["reason"],
            added=tuple(file for file in added if file.kind == "data"),
            removed=tuple(file for file in removed if file.kind == "data"),
            columns=shape.columns,
            standing=tuple(sorted(step["standing"], key=seq_of)),
            retired=tuple(sorted(step["retired"], key=seq_of)),
        )

    def standing_number(self) -> int:
        """The newest revision that every known sink has."""
        return min(self.sinks().values(), default=0)

    def held(self) -> list[str]:
        """Keys whose retraction waits for a person."""
        found = self.table.query(f"{self.pipeline}/hint")
        return [str(x["sk"]) for x in found if "held" in x and not x.get("confirmed")]

    # -- messages and housekeeping -------------------------------------------------------------------------------

    def messages(self, state: str = "ready", limit: int = 100) -> list[dict[str, Any]]:
        return self._outbox.messages(state, limit)

    def sent(self, ids: Sequence[int]) -> None:
        self._outbox.sent(ids)

    def trash(self) -> list[str]:
        """Paths that nothing ever referred to, or will: of abandoned loads, and of staged files written anew."""
        self.log.head()
        return [str(item["sk"]) for item in self.table.query(f"{self.pipeline}/trash")]

    def retired_files(self, upto: int) -> list[tuple[DataFile, datetime]]:
        """Files that a revision up to that one removed, and when; the oldest first."""
        self.log.head()
        gone = [x for x in self.table.query(f"{self.pipeline}/gone") if x["removed"] <= upto]
        found = [(self._file(item), instant_of(item["at"])) for item in gone]
        return sorted(found, key=lambda entry: entry[1])

    def forget_files(self, paths: Iterable[str]) -> None:
        """Drop what is known of files that were deleted."""
        known = list(paths)
        gone = self.table.batch_get((f"{self.pipeline}/gone", path) for path in known)
        self.table.batch_write(deletes=[(f"{self.pipeline}/{kind}", p) for p in known for kind in ("gone", "trash")])
        for item in gone.values():
            self._bodies.drop(item)

    def known_paths(self, below: str) -> set[str]:
        """Every path below a folder that any pipeline of this table knows, whatever its state."""
        self.log.head()
        found: set[str] = set()
        for name in {self.pipeline, *self._pipelines()}:
            # In the order in which files move, so that none is between two places: others may be applying a step.
            for attempt in self.table.query(f"{name}/attempt"):
                found.update(file["path"] for file in self._staged(attempt)["files"])
            for parts in ([f"{name}/file/{kind}" for kind in KINDS], [f"{name}/gone", f"{name}/trash"]):
                for page in self.table.parallel(partial(self._below, folder=below), parts):
                    found.update(page)
        return {path for path in found if path.startswith(f"{below}/")}

    def strangers(self, below: str) -> list[str]:
        """Other pipelines whose standing rows are in files below a folder."""
        others = [name for name in self._pipelines() if name != self.pipeline]
        return [name for name in others if any(self._below(f"{name}/file/{kind}", below, 1) for kind in KINDS)]

    def _below(self, partition: str, folder: str, limit: int | None = None) -> list[str]:
        return [str(x["sk"]) for x in self.table.query(partition, begins=f"{folder}/", limit=limit)]

    def _pipelines(self) -> list[str]:
        return [str(item["sk"]) for item in self.table.query("*/pipeline")]

    def filled_by(self, sink: str) -> str | None:
        """Another pipeline that this table last saw fill a sink of that name."""
        item = self.table.get(("*/sink", sink))
        others = item is not None and item["pipeline"] != self.pipeline and item["number"] > 0
        return str(item["pipeline"]) if item is not None and others else None

    def find_load(self, id: str) -> Load:
        found = self.load(id)
        if found is None:
            raise UsageError("HR130", id, "there is no such load", "see `headrace history`")
        return found


def staged_files(attempts: Iterable[tuple[Item, Mapping[str, Any]]]) -> list[DataFile]:
    """The files of attempts that may come to stand."""
    return [file_of(x) for item, body in attempts for x in body["files"] if x["path"] not in item.get("out", ())]


def _seen_since(load: Load, instant: datetime | None) -> bool:
    return instant is None or (load.seen_at is not None and load.seen_at >= instant)


def _seq(load: Load) -> int:
    return seq_of(load.id)

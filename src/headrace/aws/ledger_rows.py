"""How the ledger's items become values and back, in one place for writing and reading. Nothing here asks AWS.

| partition | sort key | holds |
|---|---|---|
| `P` | head, seq | how far the ledger is, its totals, the publisher's lease; the last number given to a load |
| `P/key/<shard>` | object key | the loads of that key that are not history, under a `rev` that changes with them |
| `P/open` | object key | nothing: the key has a load that was seen, staged, dead or skipped |
| `P/load/<shard>` | load number | its key |
| `P/past/<object key>` | load number | a load that is history |
| `P/bytes/<version>` | object key | nothing: a live load of that key has these bytes |
| `P/attempt` | its token | what one job staged, until all of its loads are decided |
| `P/file/<kind>` | path | a file that stands |
| `P/gone`, `P/trash` | path | a file that a revision removed; one that nothing will refer to |
| `P/entry` | step and token | a decision as it was recorded, if the head names it |
| `P/revision` | number | what is told of a revision, and its entry |
| `P/dialect` | its digest | how an object was read, where that is long |
| `P/hint`, `P/correction`, `P/contract`, `P/shape`, `P/message`, `P/said` | | as their names say |
| `*/pipeline`, `*/sink` | name | what pipelines of one table know of each other |
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from headrace.aws.table import Item
from headrace.model.loads import STANDS, Alert, Counts, DataFile, Load, LoadState, Shape
from headrace.model.times import instant_of, text_of

SHARDS = 16
OPEN = (LoadState.SEEN, LoadState.STAGED, LoadState.DEAD, LoadState.SKIPPED)

_INSTANTS = ("arrived_at", "seen_at", "staged_at")
_DEFAULTS = {f.name: f.default for f in fields(Load)}


@dataclass(frozen=True, slots=True)
class Kept:
    """A live load as its key's item holds it. `attempt` names the job that staged it."""

    load: Load
    attempt: str = ""

    def moved(self, state: LoadState, **also: Any) -> Kept:
        return replace(self, load=replace(self.load, state=state, **also))


@dataclass(frozen=True, slots=True)
class Totals:
    """What is told of everything that stands: kept by the one who decides, so that nobody has to count."""

    loads: int = 0
    stale: int = 0
    counts: Counts = field(default_factory=Counts)
    contracts: Mapping[str, int] = field(default_factory=dict)

    @staticmethod
    def of(loads: Iterable[Load]) -> Totals:
        found = Totals()
        for load in loads:
            if load.state in STANDS:
                found = found.plus(Totals(1, int(load.stale), load.counts, {load.contract: 1}))
        return found

    def plus(self, other: Totals, sign: int = 1) -> Totals:
        counts = Counts(*(a + sign * b for a, b in zip(_numbers(self.counts), _numbers(other.counts), strict=True)))
        names = self.contracts.keys() | other.contracts.keys()
        contracts = {n: self.contracts.get(n, 0) + sign * other.contracts.get(n, 0) for n in sorted(names)}
        return Totals(
            self.loads + sign * other.loads,
            self.stale + sign * other.stale,
            counts,
            {n: count for n, count in contracts.items() if count},
        )

    def text(self) -> str:
        return json.dumps([self.loads, self.stale, _numbers(self.counts), dict(self.contracts)])

    @staticmethod
    def of_text(text: str) -> Totals:
        loads, stale, counts, contracts = json.loads(text)
        return Totals(loads, stale, Counts(*counts), contracts)


@dataclass(frozen=True, slots=True)
class Head:
    """How far the ledger is. `step` counts everything that was recorded, `applied` what its items show already.

    `number` is the newest revision, `stood` the newest that every sink has, `entry` the name of the newest record.
    """

    number: int = 0
    step: int = 0
    applied: int = 0
    stood: int = 0
    entry: str = ""
    shape: str = ""
    totals: Totals = Totals()
    fence: int = 0
    holder: str = ""
    until: str = ""

    @staticmethod
    def of(item: Item | None) -> Head:
        if item is None:
            return Head()
        known = {f.name: item[f.name] for f in fields(Head) if f.name in item}
        return Head(**{**known, "totals": Totals.of_text(item["totals"]) if "totals" in item else Totals()})

    def shown(self, load: Load) -> Load:
        """The load as it is: what was decided stands once every sink has its revision. No item is written for that."""
        if load.state is LoadState.DECIDED and load.decided is not None and load.decided <= self.stood:
            return replace(load, state=LoadState.STANDING)
        return load


def load_dict(load: Load) -> dict[str, Any]:
    """What differs from the defaults, as JSON takes it."""
    found: dict[str, Any] = {}
    for name, default in _DEFAULTS.items():
        value = getattr(load, name)
        if name in ("pipeline", "key") or value == default:
            continue
        if name in _INSTANTS:
            value = text_of(value)
        elif name == "counts":
            value = _numbers(value)
        elif name == "dialect":
            value = dict(value)
        if value not in ({}, ""):
            found[name] = value
    return found


def load_of(raw: Mapping[str, Any], pipeline: str, key: str) -> Load:
    values = {"version": "", "contract": "", "corrections": "", **raw}
    for name in _INSTANTS:
        if name in values:
            values[name] = instant_of(values[name])
    values["state"] = LoadState(values["state"])
    if "counts" in values:
        values["counts"] = Counts(*values["counts"])
    return Load(pipeline=pipeline, key=key, **values)


def kept_text(loads: Sequence[Kept]) -> str:
    raw = [load_dict(x.load) | ({"attempt": x.attempt} if x.attempt else {}) for x in loads]
    return json.dumps(raw, separators=(",", ":"))


def kept_of(text: str, pipeline: str, key: str) -> list[Kept]:
    raw = [dict(x) for x in json.loads(text)]
    return [Kept(attempt=x.pop("attempt", ""), load=load_of(x, pipeline, key)) for x in raw]


def file_dict(file: DataFile) -> dict[str, Any]:
    return {
        "path": file.path,
        "kind": file.kind,
        "rows": file.rows,
        "size": file.size,
        "loads": dict(file.loads),
        "partition": dict(file.partition),
        "ranges": [list(pair) for pair in file.ranges],
    }


def file_of(raw: Mapping[str, Any]) -> DataFile:
    return DataFile(**{**raw, "ranges": tuple((lo, hi) for lo, hi in raw["ranges"])})


def alert_list(alert: Alert) -> list[str]:
    return [alert.name, alert.load, alert.subject, alert.body]


def counts_list(counts: Counts) -> list[int]:
    return _numbers(counts)


def _numbers(counts: Counts) -> list[int]:
    return list(counts.to_dict().values())


def shape_text(shape: Shape) -> str:
    return json.dumps([shape.columns, shape.key, shape.on_conflict, shape.partitions])


def shape_of(text: str) -> Shape:
    columns, key, on_conflict, partitions = json.loads(text)
    return Shape(tuple(map(tuple, columns)), tuple(key), on_conflict, tuple(map(tuple, partitions)))


def shard(key: str) -> int:
    return zlib.crc32(key.encode()) % SHARDS


def padded(number: int) -> str:
    """A number whose text order is its order."""
    return f"{number:015d}"


def seq_of(load: str) -> int:
    """The number of a load in its name; 0 for what is no name of a load."""
    number = load.rpartition(".")[2]
    return int(number) if number.isascii() and number.isdigit() else 0


def overlaps(file: DataFile, lo: Any, hi: Any) -> bool:
    """Whether the file's first key column may hold a value in [lo, hi]; numbers come before texts."""
    if not file.ranges or file.ranges[0][0] is None:
        return True
    low, high = file.ranges[0]
    return _order(low) <= _order(hi) and _order(high) >= _order(lo)


def _order(value: Any) -> tuple[bool, Any]:
    return isinstance(value, str), value

"""The nouns of the protocol: occurrences, loads, files and revisions, as values.

Standard library only. Who changes their state is the ledger; who decides is `engine.publish`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, NamedTuple


class LoadState(StrEnum):
    """Where a load is on its way (docs/architecture.md has the table with recovery)."""

    SEEN = "seen"  # known and ordered, not read yet
    STAGED = "staged"  # its rows are durable files; no sink has them
    DEAD = "dead"  # cannot load as it is; cause recorded; redrivable
    DECIDED = "decided"  # a durable revision says it stands
    STANDING = "standing"  # every sink is at that revision or beyond
    SKIPPED = "skipped"  # same bytes as an earlier object under same_bytes="skip"; unread
    RETIRED = "retired"  # a later revision removed or replaced it
    ABANDONED = "abandoned"  # staged, never decided; its files are deleted


STANDS = (LoadState.DECIDED, LoadState.STANDING)
"""States in which a load's rows stand, or will once every sink has them."""


@dataclass(frozen=True, slots=True)
class Stat:
    """What a store says of the object under a key now.

    `created` orders occurrences (UTC). `fingerprint` tells cheaply whether to hash again; it is no identity.
    `version` is the store's own VersionId, or None where only the content tells. `fresh`: written so recently that a
    further write might leave the fingerprint as it is.
    """

    key: str
    size: int
    created: datetime
    fingerprint: str
    version: str | None = None
    fresh: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a store's list: each object beyond the page before, as far as the key `upto`; None: to the end."""

    stats: tuple[Stat, ...]
    upto: str | None


@dataclass(frozen=True, slots=True)
class Event:
    """ "Look at this object." Nothing else in it is believed."""

    pipeline: str
    key: str
    hint: str = ""  # what the notifier said: created, removed, scan, redrive, rehint


@dataclass(frozen=True, slots=True)
class Lease:
    """An event that one worker alone sees until its visibility ends. `receives` counts deliveries, with this one."""

    id: int
    event: Event
    token: str
    receives: int


class Hint(NamedTuple):
    """That the publisher must look at a key. `asked` tells one asking from the next, which may come while it looks."""

    held: bool  # by the retraction guard
    confirmed: bool  # by a person
    asked: int


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows of one load: `read = accepted + rejected + filtered`, `accepted = loaded + duplicate + conflict`."""

    read: int = 0
    accepted: int = 0
    rejected: int = 0
    filtered: int = 0
    loaded: int = 0
    duplicate: int = 0
    conflict: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, n) + getattr(other, n) for n in self.__slots__))

    def to_dict(self) -> dict[str, int]:
        return {n: getattr(self, n) for n in self.__slots__}

    @property
    def staged_exactly(self) -> bool:
        return self.read == self.accepted + self.rejected + self.filtered

    @property
    def decided_exactly(self) -> bool:
        return self.accepted == self.loaded + self.duplicate + self.conflict


@dataclass(frozen=True, slots=True)
class Load:
    """One object version under one contract: the unit of history, accounting and lineage.

    `arrived_at` is the pinned order; `corrections` the digest of the row corrections it was staged with ("" for none).
    """

    id: str
    pipeline: str
    key: str
    version: str
    contract: str
    corrections: str
    arrived_at: datetime
    state: LoadState
    size: int = 0
    fingerprint: str = ""
    counts: Counts = Counts()
    dialect: Mapping[str, Any] = field(default_factory=dict)
    cause: str = ""  # "HR401 …" of a dead load
    decided: int | None = None  # revision that made it stand
    retired: int | None = None
    stale: bool = False  # stands although the store holds a newer version that cannot load
    seen_at: datetime | None = None
    staged_at: datetime | None = None
    seconds: float = 0.0


class Outline(NamedTuple):
    """As much of a load as tells whether its key is settled: a scan passes by every load there is."""

    key: str
    id: str
    version: str
    contract: str
    corrections: str
    state: LoadState
    fingerprint: str
    stale: bool


UNREAD = "unread"
"""The version of an object of which nothing could be read."""


Again = Literal["", "redrive", "replay"]


@dataclass(frozen=True, slots=True)
class Arrival:
    """A version that was found under a key, before the ledger knows what to make of it.

    `again` asks for a new load even where this version stands: "redrive" of a dead one, "replay" under the present
    contract. `corrections` is the digest of the corrections that apply to this version.
    """

    key: str
    version: str
    created: datetime
    size: int
    fingerprint: str
    contract: str
    corrections: str = ""
    again: Again = ""


@dataclass(frozen=True, slots=True)
class Correction:
    """One corrected record: its whole row by header, in place of what the object says."""

    key: str
    version: str
    member: str
    record: int
    cells: Mapping[str, str | None]
    at: datetime

    @property
    def file(self) -> str:
        """The record's file as its row names it: the key, or key!member."""
        return source_file(self.key, self.member)


def source_file(key: str, member: str) -> str:
    """What `_source_file` says of a row: the object's key, or key!member inside a zip (empty outside)."""
    return f"{key}!{member}" if member else key


FileKind = Literal["data", "losers", "rejected"]


@dataclass(frozen=True, slots=True)
class DataFile:
    """One immutable Parquet file of the base. `path` is relative to the target's root, never reused.

    `loads` tells how many rows of each load are in it. `partition` holds the values of the base's partition columns as
    Hive text (None for null). `ranges` holds (lowest, highest) of each key column, in key order, as plain values (int,
    float, or text; times as ISO text in UTC), so that a search for a key can pass the file by; empty when unknown.
    """

    path: str
    kind: FileKind
    rows: int
    size: int
    loads: Mapping[str, int]
    partition: Mapping[str, str | None] = field(default_factory=dict)
    ranges: tuple[tuple[Any, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Revision:
    """A numbered, durable decision about which loads stand. Sinks apply revisions in order, each exactly once.

    `added` and `removed` are the data files of the base that come and go: what a sink must hold afterwards is what it
    held, without the rows of `removed`, with the rows of `added`. Both together are one atomic change.
    `columns` is the row's shape as (name, DuckDB type) from this revision on.
    """

    pipeline: str
    number: int
    at: datetime
    reason: str  # publish, compact, retract, replay
    added: tuple[DataFile, ...]
    removed: tuple[DataFile, ...]
    columns: tuple[tuple[str, str], ...]
    standing: tuple[str, ...] = ()  # load ids that begin to stand
    retired: tuple[str, ...] = ()  # load ids that stop standing


@dataclass(frozen=True, slots=True)
class Shape:
    """What a pipeline's tables look like: two shapes that differ in more than added columns cannot share a table.

    `on_conflict` is the record's policy for contested keys; without a key its `dedupe`.
    """

    columns: tuple[tuple[str, str], ...]
    key: tuple[str, ...]
    on_conflict: str
    partitions: tuple[tuple[str, str], ...]

    def admits(self, newer: Shape) -> bool:
        """True when loads of the newer shape can stand beside those of this one: same key, order and folders."""
        mine = dict(self.columns)
        return (self.key, self.on_conflict, self.partitions) == (
            newer.key,
            newer.on_conflict,
            newer.partitions,
        ) and all(mine.get(name, kind) == kind for name, kind in newer.columns)

    def joined(self, newer: Shape) -> Shape:
        """This shape with the newer one's added columns behind its own."""
        mine = dict(self.columns)
        extra = tuple(c for c in newer.columns if c[0] not in mine)
        return Shape(self.columns + extra, self.key, self.on_conflict, self.partitions)


@dataclass(frozen=True, slots=True)
class Alert:
    """A message to people about one load, said once per `name` and only after the load stands.

    What a row holds can be of any length, and is said in these words: they are cut to `MOST_SUBJECT` and `MOST_BODY`
    characters, so that every ledger can keep a message and whoever reads it is served.
    """

    name: str
    load: str
    subject: str
    body: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "subject", _cut(self.subject, MOST_SUBJECT))
        object.__setattr__(self, "body", _cut(self.body, MOST_BODY))


MOST_SUBJECT, MOST_BODY = 200, 4_000


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


@dataclass(frozen=True, slots=True)
class Staged:
    """What a worker hands over: one load's counts and how it was read. Its files come beside it."""

    load: str
    counts: Counts
    dialect: Mapping[str, Any]
    seconds: float
    alerts: tuple[Alert, ...] = ()


@dataclass(frozen=True, slots=True)
class Settlement:
    """What a look at the store settled besides rows: loads by id, hinted keys, messages."""

    abandoned: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()  # standing loads whose key now holds a version that cannot load
    recovered: tuple[str, ...] = ()  # stale no more
    forgotten: Mapping[str, int] = field(default_factory=dict)  # hinted keys that were looked at, each as `asked`
    alerts: tuple[Alert, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """What the publisher wants to be true from revision `number` on. Recorded whole, or refused whole.

    `fresh` are new files that the ledger has not seen (resolved or compacted); `adopted` staged paths that come to
    stand as they are; `removed` standing paths that go; `doomed` staged paths that a fresh file replaced.
    `counts` holds the counts of every load that this revision changes.
    """

    pipeline: str
    number: int
    reason: str
    shape: Shape
    standing: tuple[str, ...] = ()
    retired: tuple[str, ...] = ()
    fresh: tuple[DataFile, ...] = ()
    adopted: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    doomed: tuple[str, ...] = ()
    counts: Mapping[str, Counts] = field(default_factory=dict)
    settlement: Settlement = Settlement()

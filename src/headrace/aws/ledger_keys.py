"""The loads of each object key: one item per key holds what is live, and moves whole.

Why this is safe: a key's item is only ever written by a transaction whose condition is the `rev` that was read, and
each write gives it a new one. In the same transaction go the load's other traces (history, markers), so that none of
them can say anything else than the key's item. Who is refused reads again and thinks again.
"""

from __future__ import annotations

import heapq
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from headrace.aws.bodies import Bodies
from headrace.aws.ledger_dialects import Dialects
from headrace.aws.ledger_rows import (
    OPEN,
    SHARDS,
    Kept,
    kept_of,
    kept_text,
    padded,
    seq_of,
    shard,
)
from headrace.aws.table import MOST_WRITES, TRIES, Item, Key, Refused, Table, Write, delete, fitting, pause, put, update
from headrace.engine.faults import point
from headrace.model.errors import InfrastructureError
from headrace.model.loads import Load, LoadState


@dataclass(frozen=True, slots=True)
class KeyLoads:
    """The live loads of a key as they were read, oldest first. `rev` is empty while there is no item."""

    key: str
    rev: str = ""
    loads: tuple[Kept, ...] = ()

    def find(self, id: str) -> Kept | None:
        return next((x for x in self.loads if x.load.id == id), None)


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of a key: its live loads afterwards, and those that are history from now on."""

    before: KeyLoads
    after: tuple[Kept, ...]
    past: tuple[Load, ...] = ()

    @property
    def born(self) -> list[Load]:
        known = {x.load.id for x in self.before.loads}
        return [x.load for x in self.after if x.load.id not in known]

    @property
    def changes(self) -> bool:
        return bool(self.past) or self.after != self.before.loads

    @property
    def attempts_left(self) -> dict[str, set[str]]:
        """The loads that are not staged any more, by the attempt that has to answer for them no more."""
        still = {x.load.id for x in self.after if x.load.state is LoadState.STAGED}
        left: dict[str, set[str]] = {}
        for kept in self.before.loads:
            if kept.attempt and kept.load.id not in still:
                left.setdefault(kept.attempt, set()).add(kept.load.id)
        return left


Think = Callable[[KeyLoads], Change]

ABOUT = 5
"""Members of a transaction that are left to those who move keys: a guard beside the writes about attempts."""

MOST_PAST = 25
"""Loads of one key that become history at once: each is up to three members of a transaction of 100."""


class Keys:
    """Reading and moving the loads of one pipeline."""

    def __init__(self, table: Table, bodies: Bodies, pipeline: str) -> None:
        self._table = table
        self._dialects = Dialects(table, bodies, pipeline)
        self.pipeline = pipeline

    # -- reading -------------------------------------------------------------------------------------------------

    def read(self, keys: Iterable[str]) -> dict[str, KeyLoads]:
        """Each of the keys, whether it has live loads or not."""
        wanted = {key: (self._partition(key), key) for key in dict.fromkeys(keys)}
        found = self._table.batch_get(wanted.values())
        return {key: self._loads_of(key, found.get(at)) for key, at in wanted.items()}

    def locate(self, ids: Iterable[str]) -> dict[str, str]:
        """The keys of those of the loads that exist."""
        wanted = {id: self._pointer(seq_of(id)) for id in ids if id == f"{self.pipeline}.{seq_of(id)}"}
        found = self._table.batch_get(wanted.values())
        return {id: str(found[at]["key"]) for id, at in wanted.items() if at in found}

    def find(self, ids: Iterable[str], known: Mapping[str, str] | None = None) -> dict[str, Kept]:
        """Those of the loads that exist, live or history. What moves meanwhile is found: it is history by then.

        `known`: their keys, where these were read already.
        """
        keys = self.locate(ids) if known is None else known
        live = self.read(keys.values())
        found = {id: kept for id, key in keys.items() if (kept := live[key].find(id)) is not None}
        past = {id: (self._past(key), padded(seq_of(id))) for id, key in keys.items() if id not in found}
        items = self._table.batch_get(past.values())
        return found | {id: Kept(self._load_of(items[at])) for id, at in past.items() if at in items}

    def past(self, key: str, after: int = 0) -> list[Load]:
        """What is history of a key, oldest first."""
        return [self._load_of(item) for item in self._table.query(self._past(key), after=padded(after))]

    def newest(self) -> Iterator[tuple[str, str]]:
        """The ids and keys of all loads there ever were, newest first."""
        shards = (self._table.query(f"{self.pipeline}/load/{i}", newest=True, page=50) for i in range(SHARDS))
        for item in heapq.merge(*shards, key=lambda item: str(item["sk"]), reverse=True):
            yield f"{self.pipeline}.{int(item['sk'])}", str(item["key"])

    def walk(self, after: str = "") -> Iterator[KeyLoads]:
        """Every key beyond `after` with live loads, in order, without holding them all."""
        shards = (self._table.query(f"{self.pipeline}/key/{i}", after=after) for i in range(SHARDS))
        for item in heapq.merge(*shards, key=lambda item: str(item["sk"])):
            yield self._loads_of(str(item["sk"]), item)

    def open(self) -> list[KeyLoads]:
        """Keys with a load that was seen, staged, dead or skipped."""
        keys = [str(item["sk"]) for item in self._table.query(f"{self.pipeline}/open")]
        return list(self.read(keys).values())

    def alike(self, versions: Iterable[str]) -> dict[str, list[Kept]]:
        """The live loads of each version, whatever their key and state."""
        wanted = list(dict.fromkeys(versions))
        pages = self._table.parallel(self._keys_with, wanted)
        live = self.read(key for keys in pages for key in keys)
        return {
            version: [x for key in keys for x in live[key].loads if x.load.version == version]
            for version, keys in zip(wanted, pages, strict=True)
        }

    def _keys_with(self, version: str) -> list[str]:
        return [str(item["sk"]) for item in self._table.query(f"{self.pipeline}/bytes/{version}")]

    # -- writing -------------------------------------------------------------------------------------------------

    def number(self, count: int, arrived: str = "") -> int:
        """Reserve numbers for so many loads; returns the first. `arrived` is when something new came, if it did."""
        also, values = (" SET #arrived = :arrived", {"arrived": arrived}) if arrived else ("", {})
        item = self._table.update((self.pipeline, "seq"), f"ADD #last :count{also}", count=count, **values)
        return int(item["last"]) - count + 1

    def counter(self) -> Item:
        return self._table.get((self.pipeline, "seq")) or {}

    def change(self, key: str, think: Think) -> Change:
        """Move one key by what `think` makes of it, as often as it takes; returns what was made true."""
        for attempt in range(TRIES):
            found = think(self.read([key])[key])
            try:
                self._table.transact(self.writes(found))
                return found
            except Refused:
                pause(attempt)
        raise self.contended(key)

    def change_all(self, keys: Iterable[str], think: Think, also: Callable[[Sequence[Change]], list[Write]]) -> None:
        """Move many keys, as many at a time as a transaction takes, beside what `also` writes about them.

        `think` must come to the same when part of what it said is true already: what is too much for a transaction is
        moved a part at a time.
        Raises Refused if the first write of `also` is refused. Its others change with the keys, and are thought over.
        """
        left = list(dict.fromkeys(keys))
        tries = 0
        while left:
            thought = [change for before in self.read(left).values() if (change := think(before)).changes]
            moving = [_bounded(change) for change in thought]
            left = [key for part in self._parts(moving) for key in self._try(part, also(part))]
            if left:
                tries += 1
                if tries == TRIES:
                    raise self.contended(left[0])
                pause(tries)
            left += [whole.before.key for whole, part in zip(thought, moving, strict=True) if part is not whole]

    def write_all(self, changes: Sequence[Change]) -> list[str]:
        """Write changes as many at a time as a transaction takes; returns the keys that are to be thought over."""
        parts = self._table.parallel(self._try, list(self._parts([x for x in changes if x.changes])))
        return [key for part in parts for key in part]

    def _try(self, changes: Sequence[Change], also: Sequence[Write] = ()) -> list[str]:
        """Write some changes together; returns the keys if any of them was refused."""
        try:
            self._table.transact([*also, *(write for change in changes for write in self.writes(change))])
        except Refused as exc:
            if also and 0 in exc.which:
                raise
            return [change.before.key for change in changes]
        point("ledger.keys-moved")
        return []

    def _parts(self, changes: Sequence[Change]) -> Iterator[list[Change]]:
        """Changes that fit into one transaction, with room for a write about each of their attempts."""

        def writes(change: Change) -> list[Write]:
            attempts = [update(("", token), "", gone=gone) for token, gone in change.attempts_left.items()]
            return [*self.writes(change), *attempts]

        return fitting(changes, writes, MOST_WRITES - ABOUT)

    def writes(self, change: Change) -> list[Write]:
        """A change as members of a transaction; none if nothing changes."""
        if not change.changes:
            return []
        before, key = change.before, change.before.key
        at = (self._partition(key), key)
        condition, values = ("#rev = :was", {"was": before.rev}) if before.rev else ("attribute_not_exists(#pk)", {})
        if change.after:
            item = {"pk": at[0], "sk": key, "rev": secrets.token_hex(6), "loads": self._text(change.after)}
            found = [put(item, condition, **values)]
        else:
            found = [delete(at, condition, **values)]
        found += self._marker(change)
        for load in change.past:
            body = self._text([Kept(load)])
            found.append(put({"pk": self._past(key), "sk": padded(seq_of(load.id)), "key": key, "load": body}))
        for load in change.born:
            pk, sk = self._pointer(seq_of(load.id))
            found.append(put({"pk": pk, "sk": sk, "key": key}))
        return found + self._bytes(change)

    def _marker(self, change: Change) -> list[Write]:
        was, now = (any(x.load.state in OPEN for x in some) for some in (change.before.loads, change.after))
        at = (f"{self.pipeline}/open", change.before.key)
        if was == now:
            return []
        return [put({"pk": at[0], "sk": at[1]}) if now else delete(at)]

    def _bytes(self, change: Change) -> list[Write]:
        was, now = ({x.load.version for x in some} for some in (change.before.loads, change.after))
        at = {version: (f"{self.pipeline}/bytes/{version}", change.before.key) for version in was ^ now}
        return [
            put({"pk": pk, "sk": sk}) if version in now else delete((pk, sk))
            for version, (pk, sk) in sorted(at.items())
        ]

    # -- pieces --------------------------------------------------------------------------------------------------

    def contended(self, key: str) -> InfrastructureError:
        return InfrastructureError(
            "HR871", f"pipeline {self.pipeline!r}", f"others change {key!r} all the time", "it is tried again later"
        )

    def _partition(self, key: str) -> str:
        return f"{self.pipeline}/key/{shard(key)}"

    def _pointer(self, seq: int) -> Key:
        return f"{self.pipeline}/load/{seq % SHARDS}", padded(seq)

    def _past(self, key: str) -> str:
        return f"{self.pipeline}/past/{key}"

    def _loads_of(self, key: str, item: Item | None) -> KeyLoads:
        if item is None:
            return KeyLoads(key)
        return KeyLoads(key, str(item["rev"]), tuple(self._kept(item["loads"], key)))

    def _load_of(self, item: Item) -> Load:
        return self._kept(item["load"], str(item["key"]))[0].load

    def _text(self, loads: Iterable[Kept]) -> str:
        return kept_text([_read_as(x, self._dialects.short(x.load.dialect)) for x in loads])

    def _kept(self, text: str, key: str) -> list[Kept]:
        held = kept_of(text, self.pipeline, key)
        return [_read_as(x, d) for x, d in zip(held, self._dialects.whole(x.load.dialect for x in held), strict=True)]


def _read_as(kept: Kept, dialect: Mapping[str, Any]) -> Kept:
    """The same load with that dialect."""
    return kept if dialect is kept.load.dialect else replace(kept, load=replace(kept.load, dialect=dialect))


def _bounded(change: Change) -> Change:
    """The change, or as much of it as a transaction takes: an object may be replaced often before anybody decides."""
    if len(change.past) <= MOST_PAST:
        return change
    past = change.past[:MOST_PAST]
    going = {load.id for load in past}
    return Change(change.before, tuple(x for x in change.before.loads if x.load.id not in going), past)

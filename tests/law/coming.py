"""What comes into the small world: files with their times, and the definitions that say what to make of them."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from headrace import Pipeline, Record, column, derived, files, keyed, lake
from headrace import skip as skip_rows

START = datetime(2025, 1, 1, tzinfo=UTC)
FEW = ("in/a.csv", "in/b.csv", "in/c.csv", "in/d.csv")
MANY = tuple(f"in/{n:02}.csv" for n in range(14))
CONTENTS = (
    "k,v\n1,1\n2,2\n3,3\n",
    "k,v\n2,2\n3,1\n4,0\n",
    "k,v\n3,3\n3,2\n5,5\n5,5\n",
    "k,v\n1,x\n2,1\n6,2\n",
    "k,v\n1,1\n7,-1\n4,9\n2\n",
    "k,v\n4,4\n1,0\n8,8,8\n6,7\n",
    "k,v\n1,1\n2,2\n3,3\n4,4\n5,5\n6,6\n",
    "k,v,w\n1,1,1\n2,2,\n3,3,3\n5,x,5\n",
    "k,v,w\n1,1,2\n1,1,1\n4,4,4\n6,9,6\n",
    "k,v\n",
)
BROKEN = "nothing,like\nthe,contract\n"
Occurrence = tuple[str, datetime]
"""A text under a key, and the creation time that it came with."""
VERSIONS = {hashlib.sha256(text.encode()).hexdigest(): text for text in (*CONTENTS, BROKEN)}


def text_of(version: str) -> str:
    """The bytes of a version, which must have existed."""
    return VERSIONS[version]


@dataclass(frozen=True)
class Definition:
    """The part of a definition that changes during a history."""

    most: int = 100
    wide: bool = False
    sinks: tuple[str, ...] = ("items", "by_key")

    def changed(self, random: Random) -> Definition:
        if random.random() < 0.5:
            return replace(self, most=4 if self.most == 100 else 100)
        return replace(self, wide=not self.wide)

    def with_sinks(self, sinks: tuple[str, ...]) -> Definition:
        return replace(self, sinks=sinks)


@dataclass(frozen=True)
class Policies:
    """The part of a definition that stays."""

    identity: str
    on_conflict: str
    same_bytes: str
    on_delete: str
    after: str
    composite: bool  # a key of two columns, a text and a time, that say the same as k
    partition: tuple[str, ...]
    keys: tuple[str, ...]

    @staticmethod
    def drawn(random: Random) -> Policies:
        crowded = random.random() < 0.15
        on_delete = "retract" if crowded else random.choice(("keep", "retract"))
        same_bytes = random.choice(("load", "alert", "skip"))
        may_archive = on_delete == "keep" and same_bytes != "skip"
        return Policies(
            random.choice(("key", "key", "key", "key", "key", "key", "row", "none")),
            random.choice(("last", "first", "reject")),
            same_bytes,
            on_delete,
            random.choice(("leave", "archive")) if may_archive else "leave",
            random.random() < 0.4,
            random.choice(((), ("k",), ("k",), ("v",))),
            MANY if crowded else FEW,
        )

    @property
    def crowded(self) -> bool:
        """So many keys that the guard against mass deletion has something to do."""
        return len(self.keys) > 10

    def first_sinks(self, random: Random) -> tuple[str, ...]:
        return random.choice((("items", "by_key"), ("items", "by_key"), *self._sinks()))

    def other_sinks(self, random: Random) -> tuple[str, ...]:
        return random.choice(self._sinks())

    def _sinks(self) -> tuple[tuple[str, ...], ...]:
        """What this pipeline can have: `keyed` needs a key, and a partitioned lake cannot go without being replayed."""
        if self.identity != "key":
            return (("items",),)
        lakes = (("items",), ("items", "by_key"))
        return lakes if self.partition else (*lakes, ("by_key",))

    @cache  # noqa: B019  # a few hundred at most; making record classes takes a tenth of a history
    def pipeline(self, definition: Definition) -> Pipeline:
        sinks = {"items": lake("items", partition_by=self.partition), "by_key": keyed("by_key")}
        if self.identity != "key":
            sinks.pop("by_key")
        return Pipeline(
            "p",
            source=files(
                "in/",
                suffix=".csv",
                on_delete=self.on_delete,  # type: ignore[arg-type]
                same_bytes=self.same_bytes,  # type: ignore[arg-type]
                after=self.after,  # type: ignore[arg-type]
            ),
            record=self._record(definition),
            rules=(skip_rows("negative", when="v < 0"),),
            sinks=tuple(sink for name, sink in sinks.items() if name in definition.sinks),
        )

    def _record(self, definition: Definition) -> type[Record]:
        options: dict[str, Any] = {
            "key": {"key": ("name", "at") if self.composite else "k", "on_conflict": self.on_conflict},
            "row": {"dedupe": "row"},
            "none": {},
        }[self.identity]

        class Plain(Record, **({} if self.composite else options)):  # type: ignore[misc]
            k: int
            v: int = column(le=definition.most)

        class Named(Plain, **options):  # type: ignore[misc]
            name: str = derived("'n' || (k % 3)")
            at: datetime = derived("timestamp '2025-01-01' + to_milliseconds(k * 500)")

        Item = Named if self.composite else Plain
        if not definition.wide:
            return Item

        class Wide(Item):  # type: ignore[misc, valid-type]
            w: int | None = None

        return Wide


@dataclass
class Landing:
    """The landing folder as the outside uses it: files come whole, with times that need not rise."""

    root: Path
    random: Random
    keys: tuple[str, ...]
    ticks: int = 0
    latest: dict[str, Occurrence] = field(default_factory=dict)  # what came last under a key, unless it was taken away

    def path(self, key: str) -> Path:
        return self.root / key

    def text(self, key: str) -> str | None:
        return self.path(key).read_text() if self.path(key).exists() else None

    def present(self) -> list[str]:
        return [k for k in self.keys if self.path(k).exists()]

    def arrive(self, text: str | None, key: str = "") -> tuple[str, str]:
        """Let a file come under some key; says how it stands to what was there."""
        key = key or self.random.choice(self.keys)
        before = self._created(key) if self.path(key).exists() else None
        self.write(key, text or self.random.choice(CONTENTS))
        if before is None:
            return key, "a file arrived"
        after = self._created(key)
        return key, "a newer one replaced it" if after > before else "an older one replaced it"

    def pair(self) -> tuple[str, str, str]:
        """A key and two different texts for it."""
        first, second = self.random.sample(CONTENTS, 2)
        return self.random.choice(self.keys), first, second

    def write(self, key: str, text: str) -> None:
        self.ticks += 1
        seconds = self.random.choice((self.ticks, self.ticks, -self.ticks, 5))
        put(self.root, key, text, START + timedelta(seconds=seconds))
        self._remember(key, text)

    def remove(self, key: str) -> str:
        self.path(key).unlink()
        del self.latest[key]
        return key

    def rename(self, old: str, new: str) -> None:
        text = self.path(old).read_text()
        self.path(old).rename(self.path(new))
        del self.latest[old]
        self._remember(new, text)

    def _created(self, key: str) -> datetime:
        return datetime.fromtimestamp(self.path(key).stat().st_mtime, UTC)

    def _remember(self, key: str, text: str) -> None:
        self.latest[key] = (text, self._created(key))


def put(landing: Path, key: str, text: str, created: datetime) -> None:
    """Let a file arrive whole, with a creation time."""
    path = landing / key
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = landing / ".next"
    temporary.write_text(text)
    since = created - datetime(1970, 1, 1, tzinfo=UTC)
    os.utime(temporary, ns=(since // timedelta(microseconds=1) * 1000,) * 2)
    temporary.rename(path)

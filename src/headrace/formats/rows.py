"""What reading hands to staging: relations of text cells, structural misfits, and the way back to raw text.

Not for parsing itself (see csv, json, parquet, excel). Called by `engine.stage`, `engine.corrections` and `open`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Protocol

from headrace.formats.dialect import Dialect
from headrace.model.errors import BadObject

Place = tuple[int, str | None]
"""(item, member): one file, or one member of an archive."""

PLACE = ("_item", "_member", "_record")
"""Columns that a numbered relation adds."""


@dataclass(frozen=True, slots=True)
class Item:
    """One input of a batch: its position in it, the object's key (whose suffix names the format), the local copy."""

    index: int
    key: str
    path: Path


@dataclass(frozen=True, slots=True)
class Misfit:
    """A record that does not have the shape of a row. It counts as read and rejected; its text is kept.

    `record` counts from 1 within the file or member, header not counted; `line` is the physical line it starts on.
    """

    item: int
    member: str | None
    record: int
    line: int
    raw: str
    reason: str


@dataclass(frozen=True, slots=True)
class Finish:
    """What is known once all rows were read. `skipped_before[i]` good rows precede `misfits[i]` (un-numbered only).

    So the n-th good row (from 0) is record `n + 1 + (how many of skipped_before are <= n)`.
    """

    misfits: list[Misfit] = field(default_factory=list)
    skipped_before: list[int] = field(default_factory=list)


class BadItem(BadObject):
    """One input of a batch can never load as it is. `index` tells which; `also` are others found in the same look.

    With `again`, it can after all: when read anew, from the beginning, with that dialect pinned.
    """

    def __init__(self, index: int, error: BadObject, again: Dialect | None = None) -> None:
        self.index, self.error, self.again = index, error, again
        self.also: tuple[BadItem, ...] = ()
        super().__init__(error.code, error.which, error.found, error.next)


class Blame:
    """Gathers what is wrong with single inputs while others are looked at: no batch is read more than twice for it."""

    def __init__(self) -> None:
        self._found: dict[int, BadItem] = {}

    @contextmanager
    def of(self, item: int) -> Iterator[None]:
        """A BadObject raised within is this item's, and does not keep the next one from being looked at."""
        try:
            yield
        except BadObject as exc:
            self._found.setdefault(item, BadItem(item, exc))

    def tell(self) -> None:
        """Raise what was gathered, if anything, as one BadItem."""
        if self._found:
            first, *others = self._found.values()
            first.also = tuple(others)
            raise first


class Rows(Protocol):
    """Rows of one or many inputs that share a format, a dialect and headers: one staging query.

    `relation` goes after FROM and yields one VARCHAR column per header, called `cell_name(index)`; when `numbered` also
    `_item` INTEGER, `_member` VARCHAR (null unless from a zip) and `_record` BIGINT. Not numbered only for one big CSV,
    where the n-th row staged is the n-th row read, of `item` and `member`. Reading it may raise duckdb.Error: see
    `blame`.
    """

    @property
    def headers(self) -> tuple[str, ...]: ...
    @property
    def relation(self) -> str: ...
    @property
    def numbered(self) -> bool: ...
    @property
    def item(self) -> int: ...
    @property
    def member(self) -> str | None: ...
    @property
    def dialects(self) -> Mapping[int, Dialect]: ...
    @property
    def plain(self) -> bool:
        """No cell holds U+001E or U+001F, for certain: `row_hash()` need not look for what it joins cells with."""
        ...

    def finish(self, rows: int | None = None) -> Finish:
        """Called once, after `relation` was read to its end on the same connection. May raise BadItem with `again`.

        `rows` is how many rows it gave, if the caller knows: then raw text of a big file is found much faster.
        """
        ...

    def raw(self, wanted: Mapping[Place, Sequence[int]]) -> Mapping[tuple[int, str | None, int], tuple[int, str]]:
        """(item, member, record) → (physical line it starts on, its text as in the file, without the line end).

        Records that do not exist are left out. Reads the local copies again: they must still be there.
        """
        ...


class Group(ABC):
    """What all implementations of Rows share. `decided` holds a dialect per file or member; `open` makes `dialects`."""

    numbered = True
    plain = False
    member: str | None = None

    def __init__(self, headers: tuple[str, ...], decided: Mapping[Place, Dialect]) -> None:
        self.headers, self.decided = headers, decided
        self.item = next(iter(decided))[0]
        self.relation = ""
        self.dialects: Mapping[int, Dialect] = {item: d for (item, _), d in decided.items()}

    def finish(self, rows: int | None = None) -> Finish:
        return Finish()

    @abstractmethod
    def raw(self, wanted: Mapping[Place, Sequence[int]]) -> Mapping[tuple[int, str | None, int], tuple[int, str]]: ...


_names = count(1)


def fresh_name(kind: str) -> str:
    """A name for a temporary table or view that no earlier batch on the same connection has used."""
    return f"headrace_{kind}_{next(_names)}"


def quoted(name: str) -> str:
    """A SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A SQL string."""
    return "'" + text.replace("'", "''") + "'"

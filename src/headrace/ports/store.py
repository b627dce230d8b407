"""Where objects land, and where the base keeps the rows that were read from them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from headrace.model.loads import (
    DataFile,
    Page,
    Stat,
)


class Store(Protocol):
    """Where objects land. Keys are relative, with `/`; one that would leave the root is refused (HR311)."""

    def stat(self, key: str) -> Stat | None:
        """What stands under `key` now, or None if it is gone.

        Raises StoreUnavailable when the place itself cannot be read: absence is only ever claimed of a key.
        """
        ...

    def list(self, prefix: str) -> Iterator[Stat]:
        """Every object under `prefix`, in key order. Raises StoreUnavailable like `stat`; never a short list."""
        ...

    def pages(self, prefix: str, after: str = "") -> Iterator[Page]:
        """`list` of what is beyond the key `after`, page by page, for who may have to stop and go on later.

        One may hold nothing, and the list be far from its end: what is passed over there takes time as well.
        """
        ...

    def fetch(self, key: str, into: Path) -> tuple[Stat, str]:
        """Copy the object to the file `into` while hashing it; returns its stat and its version.

        Raises ObjectMoving when it changed meanwhile or vanished; the copy is then worthless.
        """
        ...

    def digest(self, key: str) -> tuple[Stat, str]:
        """Like `fetch`, without a copy: for telling whether a changed fingerprint is a changed object."""
        ...

    def put(self, key: str, source: Path) -> Stat:
        """Store a copy of a local file under `key`, whole or not at all, created now by the home's own clock."""
        ...

    def put_many(self, items: Iterable[tuple[str, Path]]) -> Sequence[Stat]:
        """`put` for many, with creation times in their order where the home gives them itself."""
        ...

    def has_archived(self, key: str, version: str) -> bool:
        """Whether `fetch_archived` would find something; it is not read."""
        ...

    def fetch_archived(self, key: str, version: str, into: Path) -> bool:
        """Copy what `archive` moved away to the file `into`; False if that version of the key is not there."""
        ...

    def archive(self, key: str, version: str) -> None:
        """Move the object out of the prefix, if it still is that version."""
        ...


class Base(Protocol):
    """The durable Parquet files of the base, and this machine's copies of them below `Home.root`.

    Files are immutable and their names are never used twice, so a copy is always right.
    """

    def lost(self, paths: Iterable[str]) -> set[str]:
        """Those of the paths under which nothing is any more, though the ledger names them. Copies nothing."""
        ...

    def bring(self, files: Iterable[DataFile]) -> list[DataFile]:
        """Have these files below the root, to be read; returns those that are lost.

        They stay there until the next call of `bring` or `keep`, at least.
        """
        ...

    def keep(self, files: Sequence[DataFile]) -> None:
        """Make files durable that were just written below the root: before anyone hears of them."""
        ...

    def delete(self, paths: Iterable[str]) -> None:
        """Delete files for good. What is not there is passed over."""
        ...

    def paths(self, below: str) -> Iterator[str]:
        """Every Parquet file below a folder of the base that no attempt under way may still be writing."""
        ...

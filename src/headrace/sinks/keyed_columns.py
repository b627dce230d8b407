"""Which columns of a keyed table hold its key: one rule for every home, whose layouts say how the values lie there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from headrace.sinks.keyed import Key, key_of

PLAIN = ("VARCHAR", "BIGINT", "INTEGER", "BOOLEAN", "DATE", "TIMESTAMP", "TIMESTAMPTZ", "UUID")
"""Types whose stored form is their form as a key: such a key column is not stored twice."""


@dataclass(frozen=True)
class KeyedColumns:
    """The shape of one table. `columns` are (name, DuckDB type) in the record's order."""

    key: Key
    columns: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, key: Sequence[str], columns: Sequence[tuple[str, str]]) -> Self:
        return cls(key_of(key, columns), tuple((n, t) for n, t in columns))

    @classmethod
    def from_meta(cls, key: str, columns: str) -> Self:
        """The value whose `meta` a table has kept."""
        return cls.of(json.loads(key), [(n, t) for n, t in json.loads(columns)])

    @property
    def meta(self) -> tuple[str, str]:
        """(columns, key) as the table keeps them."""
        names = [p.name for p in (self.key.partition, *self.key.sort)]
        return json.dumps(self.columns), json.dumps(names)

    @cached_property
    def partition(self) -> str:
        """What the stored partition key is called."""
        return self.key.partition.name if self.key.partition.type in PLAIN else "_pk"

    @cached_property
    def sort(self) -> str | None:
        """What the stored sort key is called, if there is one."""
        if not self.key.sort:
            return None
        (first, *others) = self.key.sort
        return first.name if not others and first.type in PLAIN else "_sk"

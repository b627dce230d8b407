"""The shapes of tables that revisions name: each is stored once, under a name that only it has, and never changes."""

from __future__ import annotations

import hashlib
import zlib

from headrace.aws.ledger_rows import shape_of, shape_text
from headrace.aws.table import Table
from headrace.model.loads import Shape


class Shapes:
    """The shapes of one pipeline."""

    def __init__(self, table: Table, pipeline: str) -> None:
        self._table, self._partition = table, f"{pipeline}/shape"
        self._known: dict[str, Shape] = {}

    def keep(self, shape: Shape, known: str) -> str:
        """Store it, unless it has the name that is known; returns its name."""
        text = shape_text(shape)
        name = hashlib.sha256(text.encode()).hexdigest()[:24]
        if name != known:
            self._table.put({"pk": self._partition, "sk": name, "shape": zlib.compress(text.encode())})
        return name

    def read(self, name: str) -> Shape:
        if name not in self._known:
            item = self._table.get((self._partition, name))
            assert item is not None, f"a revision names shape {name}"
            self._known[name] = shape_of(zlib.decompress(item["shape"]).decode())
        return self._known[name]

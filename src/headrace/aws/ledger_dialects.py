"""How objects were read, where that is too long to lie with each load: a zip has a dialect for every member.

Called by `ledger_keys.py`, whose items hold up to a hundred loads. A long dialect is an item under its digest, written
before any load names it and never changed; what is read alike shares one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from threading import Lock
from typing import Any

from headrace.aws.bodies import Bodies
from headrace.aws.table import Key, Table

LONG = 1_000
"""Characters as JSON up to which a dialect lies with its load: any file's, and that of a zip of thirty members."""
KEPT = 64
"""How many are remembered."""
NAMED = "digest"
"""The only member of what stands for a long dialect: a dialect always has a kind."""

Dialect = Mapping[str, Any]


class Dialects:
    """The long dialects of one pipeline's loads."""

    def __init__(self, table: Table, bodies: Bodies, pipeline: str) -> None:
        self._table, self._bodies = table, bodies
        self.pipeline = pipeline
        self._known: dict[str, Dialect] = {}
        self._lock = Lock()

    def short(self, dialect: Dialect) -> Dialect:
        """What a load holds of it; what that names is durable when this returns."""
        text = json.dumps(dict(dialect), sort_keys=True)
        if len(text) <= LONG:
            return dialect
        digest = hashlib.sha256(text.encode()).hexdigest()
        if digest not in self._known:
            pk, sk = self._at(digest)
            self._table.put({"pk": pk, "sk": sk, **self._bodies.keep(f"dialect-{digest}", dict(dialect))})
            self._remember(digest, dialect)
        return {NAMED: digest}

    def whole(self, held: Iterable[Dialect]) -> list[Dialect]:
        """The dialects of which loads hold these. Shared: not to be changed."""
        found = list(held)
        wanted = {x[NAMED] for x in found if NAMED in x}
        with self._lock:
            known = {digest: self._known[digest] for digest in wanted & self._known.keys()}
        for (_, digest), item in self._table.batch_get(map(self._at, wanted - known.keys())).items():
            known[digest] = self._bodies.read(item)
            self._remember(digest, known[digest])
        return [known[x[NAMED]] if NAMED in x else x for x in found]

    def _remember(self, digest: str, dialect: Dialect) -> None:
        with self._lock:
            self._known[digest] = dialect
            while len(self._known) > KEPT:
                self._known.pop(next(iter(self._known)))

    def _at(self, digest: str) -> Key:
        return f"{self.pipeline}/dialect", digest

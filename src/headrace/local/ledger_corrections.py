"""Records that people corrected: the part of the ledger that history is built on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import datetime

from headrace.local.database import Database
from headrace.model.loads import Correction
from headrace.model.times import instant_of, text_of


class SqliteCorrections:
    """The corrections of one pipeline."""

    def __init__(self, database: Database, pipeline: str) -> None:
        self._db, self.pipeline = database, pipeline

    def correct(
        self, key: str, version: str, member: str, rows: Mapping[int, Mapping[str, str | None]], now: datetime
    ) -> None:
        """Store corrected records of one version: for each record its whole row, header → text."""
        with self._db.transaction() as db:
            db.executemany(
                "insert or replace into corrections values (?, ?, ?, ?, ?, ?, ?)",
                [
                    (self.pipeline, key, version, member, record, json.dumps(dict(cells)), text_of(now))
                    for record, cells in rows.items()
                ],
            )

    def corrections(self, key: str, version: str) -> list[tuple[str, int, dict[str, str | None]]]:
        """(member, record, header → text) of every correction that is bound to this version."""
        rows = self._db.connection().execute(
            "select member, record, cells from corrections where pipeline = ? and key = ? and version = ?"
            " order by member, record",
            (self.pipeline, key, version),
        )
        return [(member, record, json.loads(cells)) for member, record, cells in rows]

    def stored_corrections(self, key: str | None = None) -> list[Correction]:
        """Every correction of the pipeline, or of one key, whichever version it is bound to."""
        rows = self._db.connection().execute(
            "select key, version, member, record, cells, at from corrections where pipeline = ?"
            " and (? is null or key = ?) order by key, version, member, record",
            (self.pipeline, key, key),
        )
        return [
            Correction(key, version, member, record, json.loads(cells), instant_of(at))
            for key, version, member, record, cells, at in rows
        ]

    def drop_corrections(self, corrections: Iterable[Correction]) -> None:
        """Forget corrections: the object's own record counts again once it is read again."""
        with self._db.transaction() as db:
            db.executemany(
                "delete from corrections where pipeline = ? and key = ? and version = ? and member = ? and record = ?",
                [(self.pipeline, c.key, c.version, c.member, c.record) for c in corrections],
            )

    def corrected(self) -> set[tuple[str, str]]:
        """Key and version of everything that people corrected."""
        rows = self._db.connection().execute(
            "select distinct key, version from corrections where pipeline = ?", (self.pipeline,)
        )
        return {(key, version) for key, version in rows}

    def corrections_digest(self, key: str, version: str) -> str:
        """A name for the set of corrections of a version; empty when there are none."""
        found = self.corrections(key, version) if self._any_corrections() else []
        return hashlib.sha256(json.dumps(found).encode()).hexdigest()[:16] if found else ""

    def _any_corrections(self) -> bool:
        query = "select exists (select 1 from corrections where pipeline = ?)"
        return bool(self._db.connection().execute(query, (self.pipeline,)).fetchone()[0])

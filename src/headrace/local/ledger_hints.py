"""Which keys the publisher is to look at, and what a person said of them: the part of the ledger between both.

A hint is a level, not an edge: it names a key, and each asking gives it another number. One that comes while the
publisher looks is therefore not forgotten with the one that was read.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from datetime import datetime

from headrace.local.database import Database
from headrace.local.ledger_history import SqliteHistory
from headrace.model.loads import Hint
from headrace.model.times import text_of
from headrace.ports import Clock


class SqliteHints(SqliteHistory):
    """The hinted half of a ledger."""

    def __init__(self, database: Database, pipeline: str, clock: Clock) -> None:
        super().__init__(database, pipeline)
        self._clock = clock

    def hints(self) -> dict[str, Hint]:
        """Keys to look at. What is asked for meanwhile is another hint, which settling this one leaves."""
        rows = self._db.connection().execute(
            "select key, held is not null, confirmed, asked from hints where pipeline = ?", (self.pipeline,)
        )
        return {key: Hint(bool(held), bool(confirmed), asked) for key, held, confirmed, asked in rows}

    def hold(self, keys: Iterable[str]) -> None:
        """Keep retractions waiting for a person."""
        now = text_of(self._clock.now())
        with self._db.transaction() as db:
            db.executemany(
                "insert into hints (pipeline, key, held) values (?, ?, ?)"
                " on conflict (pipeline, key) do update set held = coalesce(held, excluded.held)",
                [(self.pipeline, key, now) for key in keys],
            )

    def confirm(self) -> int:
        """A person says that the held retractions are meant."""
        with self._db.transaction() as db:
            return db.execute(
                "update hints set confirmed = 1, asked = random() where pipeline = ? and held is not null",
                (self.pipeline,),
            ).rowcount

    def let_go(self, keys: Iterable[str]) -> None:
        """A person says of these keys that what stands shall do so no more, if their objects are gone."""
        now = text_of(self._clock.now())
        with self._db.transaction() as db:
            db.executemany(
                "insert into hints (pipeline, key, held, confirmed, asked) values (?, ?, ?, 1, random())"
                " on conflict (pipeline, key) do update set held = coalesce(held, excluded.held), confirmed = 1,"
                " asked = excluded.asked",
                [(self.pipeline, key, now) for key in keys],
            )

    def retracted_since(self, instant: datetime) -> int:
        """How many loads were retracted since then, without a person's word, and have not come back."""
        (n,) = (
            self._db.connection()
            .execute(
                "select count(*) from loads l join revisions r on r.pipeline = l.pipeline and r.number = l.retired"
                " where l.pipeline = ? and r.at >= ? and r.reason = 'retract' and not exists (select 1 from loads o"
                " where o.pipeline = l.pipeline and o.key = l.key and o.seq > l.seq)",
                (self.pipeline, text_of(instant)),
            )
            .fetchone()
        )
        return int(n)

    def _hint(self, db: sqlite3.Connection, keys: Iterable[str]) -> None:
        db.executemany(
            "insert into hints (pipeline, key, asked) values (?, ?, random())"
            " on conflict (pipeline, key) do update set asked = excluded.asked",
            [(self.pipeline, key) for key in keys],
        )

    def _forget(self, db: sqlite3.Connection, hints: Mapping[str, int]) -> None:
        """Drop hints that were looked at, unless somebody asked again meanwhile: that may tell of something newer."""
        db.executemany(
            "delete from hints where pipeline = ? and key = ? and asked = ?",
            [(self.pipeline, key, asked) for key, asked in hints.items()],
        )

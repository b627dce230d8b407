"""SQLite as durable state: one connection per thread, WAL, synced at every commit, a version in the file.

Used by the ledger and the queue, which share one file so that acknowledging and recording are one transaction.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headrace.model.errors import InfrastructureError

STATE_VERSION = 3
"""The layout of `ledger.db`, kept in the file itself. Raised when it changes, together with a step in `UPGRADES`."""

UPGRADES = {
    1: """
        drop index if exists loads_live;
        drop index if exists loads_by_version;
        insert or ignore into meta select 'arrived ' || pipeline, max(seen_at) from loads
            where seen_at is not null group by pipeline;
    """,
    2: "alter table hints add column asked integer not null default 0;",
}
"""From each older version that can still be opened, the SQL that leads to the next. Tables and indexes that the schema
adds need no step: it is applied afterwards.
"""


class Database:
    """A SQLite file that several threads and processes share.

    Opening a file of an older version upgrades it, whole or not at all; one that is newer, that no step leads from, or
    that is not ours is refused untouched (HR502).
    """

    def __init__(self, path: Path, schema: str) -> None:
        self.path = path
        self._local = threading.local()
        self._opened: list[sqlite3.Connection] = []
        self._guard = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = self.connection()
        with self._wrapped():
            if _version(connection) != STATE_VERSION:
                self._upgrade()
            connection.executescript(schema)

    def connection(self) -> sqlite3.Connection:
        """This thread's connection, opened on first use."""
        found: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if found is None:
            with self._wrapped():
                found = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=60)
                found.execute("pragma journal_mode = wal")
                found.execute("pragma synchronous = full")
                found.execute("pragma foreign_keys = on")
                found.execute("pragma cache_size = -32000")
                found.row_factory = sqlite3.Row
            self._local.connection = found
            with self._guard:
                self._opened.append(found)
        return found

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All or nothing, synced before it returns. Takes the write lock at once, so that reads in it stay true."""
        connection = self.connection()
        with self._wrapped():
            connection.execute("begin immediate")
            try:
                yield connection
                connection.execute("commit")
            except BaseException:
                if connection.in_transaction:  # SQLite ends some of them itself, on a full disk for one
                    connection.execute("rollback")
                raise

    def close(self) -> None:
        with self._guard:
            for connection in self._opened:
                connection.close()
            self._opened.clear()
        self._local = threading.local()

    @contextmanager
    def _wrapped(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as exc:
            raise InfrastructureError(
                "HR501", self.path.name, f"the state file could not be used: {exc}", "check the disk, then run again"
            ) from exc

    def _upgrade(self) -> None:
        """Lead the file to this version, or refuse it. In one transaction: a crash leaves it as it was."""
        with self.transaction() as db:
            found = _version(db)  # again, as another process may have been faster
            if found > STATE_VERSION:
                raise self._refused(f"it was written by a newer Headrace (state version {found})", "upgrade Headrace")
            if found == 0 and db.execute("select 1 from sqlite_master limit 1").fetchone():
                raise self._refused("it has tables, but no state version", "it is no file of ours: move it away")
            for version in range(found, STATE_VERSION) if found else ():
                if version not in UPGRADES:
                    raise self._refused(f"its state version is {found}", "open it with the Headrace that wrote it")
                for statement in _statements(UPGRADES[version]):
                    db.execute(statement)
            db.execute(f"pragma user_version = {STATE_VERSION}")

    def _refused(self, found: str, next: str) -> InfrastructureError:
        return InfrastructureError(
            "HR502", self.path.name, f"{found}, this one knows {STATE_VERSION}", f"{next}, or restore a backup"
        )


def _version(connection: sqlite3.Connection) -> int:
    (found,) = connection.execute("pragma user_version").fetchone()
    return int(found)


def _statements(script: str) -> Iterator[str]:
    """One by one, since `executescript` would end the transaction first."""
    statement = ""
    for piece in script.split(";")[:-1]:
        statement += f"{piece};"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""

"""SQLite as durable state: one connection per living thread, WAL, synced at every commit, a version in the file.

Used by the ledger and the queue, which share one file so that acknowledging and recording are one transaction.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

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


class Connection(sqlite3.Connection):
    """Raises InfrastructureError HR501 for whatever SQLite cannot do, also while rows are being read."""

    file = "ledger.db"

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        return self.cursor(_Cursor).execute(sql, parameters)

    def executemany(self, sql: str, parameters: Any, /) -> sqlite3.Cursor:
        return self.cursor(_Cursor).executemany(sql, parameters)

    def executescript(self, script: str, /) -> sqlite3.Cursor:
        return self.cursor(_Cursor).executescript(script)


class _Cursor(sqlite3.Cursor):
    """What `Connection` hands out. No context manager: it would cost more than the reading of a row."""

    connection: Connection

    def execute(self, sql: str, parameters: Any = (), /) -> _Cursor:
        try:
            return super().execute(sql, parameters)
        except sqlite3.Error as exc:
            raise _fault(self.connection.file, exc) from exc

    def executemany(self, sql: str, parameters: Any, /) -> _Cursor:
        try:
            return super().executemany(sql, parameters)
        except sqlite3.Error as exc:
            raise _fault(self.connection.file, exc) from exc

    def executescript(self, script: str, /) -> sqlite3.Cursor:
        try:
            return super().executescript(script)
        except sqlite3.Error as exc:
            raise _fault(self.connection.file, exc) from exc

    def fetchone(self) -> Any:
        try:
            return super().fetchone()
        except sqlite3.Error as exc:
            raise _fault(self.connection.file, exc) from exc

    def fetchall(self) -> list[Any]:
        try:
            return super().fetchall()
        except sqlite3.Error as exc:
            raise _fault(self.connection.file, exc) from exc

    def __next__(self) -> Any:
        try:
            return super().__next__()
        except sqlite3.Error as exc:
            raise _fault(self.connection.file, exc) from exc


_ADVICE = {
    sqlite3.SQLITE_NOTADB: "its bytes are damaged: restore a backup of the whole root",
    sqlite3.SQLITE_CORRUPT: "its bytes are damaged: restore a backup of the whole root",
    sqlite3.SQLITE_FULL: "free space on the disk, then run again",
    sqlite3.SQLITE_READONLY: "make the root writable, then run again",
    sqlite3.SQLITE_CANTOPEN: "make the root writable, then run again",
    sqlite3.SQLITE_BUSY: "another process holds it: wait for that one, then run again",
}


def _fault(name: str, exc: sqlite3.Error) -> InfrastructureError:
    code = getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF  # extended codes hold the plain one
    advice = _ADVICE.get(code, "see `headrace doctor`, then run again")
    return InfrastructureError("HR501", name, f"the state file could not be used: {exc}", advice)


class Database:
    """A SQLite file that several threads and processes share.

    Opening a file of an older version upgrades it, whole or not at all; one that is newer, that no step leads from, or
    that is not ours is refused untouched (HR502).
    """

    def __init__(self, path: Path, schema: str) -> None:
        self.path = path
        self._local = threading.local()
        self._opened: list[tuple[threading.Thread, Connection]] = []
        self._guard = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = self.connection()
        if _version(connection) != STATE_VERSION:
            self._upgrade()
        connection.executescript(schema)

    def connection(self) -> Connection:
        """This thread's connection, opened on first use. Those of threads that have ended are closed then."""
        found: Connection | None = getattr(self._local, "connection", None)
        if found is None:
            found = self._open()
            self._local.connection = found
            with self._guard:
                for thread, connection in self._opened:
                    if not thread.is_alive():
                        connection.close()
                self._opened = [entry for entry in self._opened if entry[0].is_alive()]
                self._opened.append((threading.current_thread(), found))
        return found

    def _open(self) -> Connection:
        try:
            found = sqlite3.connect(
                self.path, isolation_level=None, check_same_thread=False, timeout=60, factory=Connection
            )
        except sqlite3.Error as exc:
            raise _fault(self.path.name, exc) from exc
        found.file = self.path.name
        try:
            found.execute("pragma journal_mode = wal")
            found.execute("pragma synchronous = full")
            found.execute("pragma foreign_keys = on")
            found.execute("pragma cache_size = -32000")
        except BaseException:
            found.close()
            raise
        found.row_factory = sqlite3.Row
        return found

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """All or nothing, synced before it returns. Takes the write lock at once, so that reads in it stay true."""
        connection = self.connection()
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
            for _, connection in self._opened:
                connection.close()
            self._opened.clear()
        self._local = threading.local()

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

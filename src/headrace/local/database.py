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

STATE_VERSION = 1
"""Raised when a state file's layout changes; an older root is upgraded, a newer one refused."""


class Database:
    """A SQLite file that several threads and processes share."""

    def __init__(self, path: Path, schema: str) -> None:
        self.path = path
        self._local = threading.local()
        self._opened: list[sqlite3.Connection] = []
        self._guard = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = self.connection()
        with self._wrapped():
            self._accept_version(connection)
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

    def _accept_version(self, connection: sqlite3.Connection) -> None:
        (found,) = connection.execute("pragma user_version").fetchone()
        if found > STATE_VERSION:
            raise InfrastructureError(
                "HR502",
                self.path.name,
                f"it was written by a newer Headrace (state version {found}, this one knows {STATE_VERSION})",
                "upgrade Headrace, or restore a backup",
            )
        if found < STATE_VERSION:
            connection.execute(f"pragma user_version = {STATE_VERSION}")

"""What the Iceberg catalog says of one table, asked and changed with the standard library alone.

`status` and the publisher's first step ask a lake for its number: neither should wait for PyIceberg's import. Every
commit is one compare-and-swap here; PyIceberg's own catalog takes SQLAlchemy's import to do the same (half a second of
CPU), and can be used to read. Used by `sinks.lake`.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headrace.model.errors import InfrastructureError
from headrace.sinks.disk import make, path_of

CATALOG, NAMESPACE = "headrace", "lake"
NUMBER = "headrace.revision"
"""The snapshot property that holds the revision's number."""

SCHEMA = """
    CREATE TABLE IF NOT EXISTS iceberg_tables (
        catalog_name VARCHAR(255) NOT NULL, table_namespace VARCHAR(255) NOT NULL, table_name VARCHAR(255) NOT NULL,
        metadata_location VARCHAR(1000), previous_metadata_location VARCHAR(1000), iceberg_type VARCHAR(5),
        PRIMARY KEY (catalog_name, table_namespace, table_name)
    );
    CREATE TABLE IF NOT EXISTS iceberg_namespace_properties (
        catalog_name VARCHAR(255) NOT NULL, namespace VARCHAR(255) NOT NULL, property_key VARCHAR(255) NOT NULL,
        property_value VARCHAR(1000) NOT NULL, PRIMARY KEY (catalog_name, namespace, property_key)
    );
"""
"""What PyIceberg's SqlCatalog would make, so that it can be used to read the table."""

READ = """
    SELECT metadata_location FROM iceberg_tables
    WHERE catalog_name = ? AND table_namespace = ? AND table_name = ?
"""
SWAP = """
    INSERT INTO iceberg_tables (catalog_name, table_namespace, table_name, metadata_location, iceberg_type)
    VALUES (?, ?, ?, ?, 'TABLE')
    ON CONFLICT DO UPDATE
        SET metadata_location = excluded.metadata_location, previous_metadata_location = metadata_location
        WHERE metadata_location IS ?
"""


@dataclass(frozen=True, slots=True)
class State:
    """What the catalog points at: the metadata file, its content, and the revision that it shows."""

    pointer: str
    metadata: dict[str, Any]
    number: int


class CatalogPointer:
    """The catalog's row for one table, whose metadata lies below `folder`."""

    def __init__(self, catalog: Path, table: str, folder: Path) -> None:
        self.catalog, self.table, self.folder = catalog, table, folder

    def state(self) -> State | None:
        """What the catalog says now; None before the first commit, and when it names a table below another root.

        None, too, when the metadata file was deleted: the table holds nothing, and is filled like a new one.
        Raises InfrastructureError (HR513) if any of it cannot be read.
        """
        pointer = self.read()
        if pointer is None or not path_of(pointer).is_relative_to(self.folder):
            return None
        try:
            metadata: dict[str, Any] = json.loads(path_of(pointer).read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as exc:
            found = f"its metadata {path_of(pointer).name} cannot be read: {exc}"
            raise self._fault("HR513", found, f"run `headrace rebuild {self.table}`") from exc
        return State(pointer, metadata, self._history(metadata))

    def read(self) -> str | None:
        """The metadata file that the catalog names, wherever that is."""
        if not self.catalog.exists():
            return None
        with self._sqlite() as db:
            if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'iceberg_tables'").fetchone() is None:
                return None
            row = db.execute(READ, (CATALOG, NAMESPACE, self.table)).fetchone()
        return str(row[0]) if row else None

    def swap(self, before: str | None, after: str) -> None:
        """Let the catalog name `after` if it still names `before`; one synced transaction. Else raises HR511.

        Makes the catalog if there is none.
        """
        make(self.catalog.parent)
        with self._sqlite() as db:
            if before is None:
                db.execute("PRAGMA journal_mode = wal")
                db.executescript(SCHEMA)
                row = (CATALOG, NAMESPACE, "exists", "true")
                db.execute("INSERT OR IGNORE INTO iceberg_namespace_properties VALUES (?, ?, ?, ?)", row)
            if db.execute(SWAP, (CATALOG, NAMESPACE, self.table, after, before)).rowcount != 1:
                raise self._fault("HR511", "another process changed the table meanwhile", "it is tried again")

    def _history(self, metadata: dict[str, Any]) -> int:
        """The number that the newest snapshot with one carries: others may have committed after us (a compaction)."""
        snapshots = {s["snapshot-id"]: s for s in metadata["snapshots"]}
        snapshot = snapshots.get(metadata.get("current-snapshot-id"))
        while snapshot is not None:
            number = number_in(snapshot)
            if number is not None:
                return number
            snapshot = snapshots.get(snapshot.get("parent-snapshot-id"))
        found = "no snapshot in its history carries a revision's number"
        raise self._fault("HR513", found, f"run `headrace rebuild {self.table}`")

    @contextmanager
    def _sqlite(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self.catalog, isolation_level=None, timeout=60)) as db:
                db.execute("PRAGMA synchronous = full")
                yield db
        except sqlite3.Error as exc:
            raise self._fault("HR513", f"the catalog cannot be used: {exc}", "check the disk") from exc

    def _fault(self, code: str, found: str, next: str) -> InfrastructureError:
        return InfrastructureError(code, f"lake {self.table!r}", found, next)


def number_in(snapshot: dict[str, Any]) -> int | None:
    """The revision's number among a snapshot's properties, if we made it."""
    number = snapshot.get("summary", {}).get(NUMBER)
    return None if number is None else int(number)

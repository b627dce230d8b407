"""The catalog of a local root: a SQLite file that names the metadata of each Iceberg table. Twin of `aws/catalog.py`.

Every commit of the lake is one compare-and-swap here; PyIceberg's own catalog takes SQLAlchemy's import to do the same
(half a second of CPU), and can be used to read. Opened by the target, used by `sinks.lake`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from headrace.local.disk import make_folders
from headrace.model.errors import InfrastructureError

CATALOG, NAMESPACE = "headrace", "lake"

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


class SqliteCatalog:
    """`ports.Catalog` for one table in the file `catalog`."""

    def __init__(self, catalog: Path, table: str) -> None:
        self.catalog, self.table = catalog.resolve(), table

    def read(self) -> str | None:
        if not self.catalog.exists():
            return None
        with self._sqlite() as db:
            if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'iceberg_tables'").fetchone() is None:
                return None
            row = db.execute(READ, (CATALOG, NAMESPACE, self.table)).fetchone()
        return str(row[0]) if row else None

    def swap(self, before: str | None, after: str, columns: Sequence[tuple[str, str]]) -> None:
        """One synced transaction. Makes the file if there is none; it shows no columns."""
        make_folders(self.catalog.parent)
        with self._sqlite() as db:
            if before is None:
                db.execute("PRAGMA journal_mode = wal")
                db.executescript(SCHEMA)
                row = (CATALOG, NAMESPACE, "exists", "true")
                db.execute("INSERT OR IGNORE INTO iceberg_namespace_properties VALUES (?, ?, ?, ?)", row)
            if db.execute(SWAP, (CATALOG, NAMESPACE, self.table, after, before)).rowcount != 1:
                raise self._fault("HR511", "another process changed the table meanwhile", "it is tried again")

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

"""A keyed sink on this machine: one SQLite file per table, items in key order, the revision's number beside them.

Opened by `local.target`; fed by the publisher one revision at a time. It decides nothing about rows: which stand was
decided when the revision was recorded. Looking up is `keyed_lookup`, the file's shape `keyed_layout`.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import chain
from pathlib import Path

import duckdb

from headrace.engine.faults import point
from headrace.local.disk import make_folders, sync
from headrace.local.keyed_layout import META, PAGE_SIZE, STATE_VERSION, Layout
from headrace.local.keyed_lookup import KeyedLookup
from headrace.local.keyed_rows import Origin, RowReader
from headrace.model.errors import InfrastructureError
from headrace.model.loads import DataFile, Revision
from headrace.sinks.delta import come, gone
from headrace.sinks.keyed import quoted

BULK_ROWS = 50_000
"""From here an empty table is built in a fresh file without a journal, instead of through the write-ahead log."""

FEW_ROWS = 1_000
"""Up to here rows are taken in one piece, as they lie in their file."""


class KeyedWriter:
    """`ports.Writer` and `ports.Lookup` over the file `path`. `root` is where the files of a revision are found.

    One process writes at a time (the publisher's lock); any number reads. `memory_limit` bounds DuckDB's part in
    reading and sorting; beyond it the rows spill next to the file.
    """

    def __init__(
        self,
        root: Path,
        path: Path,
        table: str,
        key: Sequence[str],
        index: Sequence[str] = (),
        memory_limit: str = "512MB",
        threads: int = 2,
    ) -> None:
        self.name = table
        self.root, self.path, self.table = root, path, table
        self.key, self.index = tuple(key), tuple(index)
        self._rows = RowReader(path.with_name(f".{path.name}.spill"), memory_limit, threads)
        self._fresh = path.with_name(path.name + ".build")
        self._lookup = KeyedLookup(path, table)
        self.get, self.find = self._lookup.get, self._lookup.find
        self._writing: sqlite3.Connection | None = None

    def number(self) -> int:
        """The last revision applied; 0 before the first."""
        with self._wrapped():
            return self._meta()[0] if self.path.exists() else 0

    def apply(self, revision: Revision) -> None:
        """Delete the rows that `removed` held and `added` does not, insert the rest of `added`; one transaction.

        Raises InfrastructureError: HR512 not the next revision, HR514 a column changed its type, HR517 two rows with
        one key, HR518 the files or the table hold other rows than the ledger says, HR519 SQLite or DuckDB failed.
        """
        number = self.number()
        if revision.number <= number:
            return
        if revision.number != number + 1:
            found = f"revision {revision.number} does not follow {number}"
            raise self._fault("HR512", found, "let the publisher apply the recorded revisions in order")
        coming = sum(f.rows for f in revision.added)
        with self._wrapped():
            if coming >= BULK_ROWS and (number == 0 or self._meta()[1] == 0):
                self._build(revision.number, revision.added, revision.columns)
            else:
                self._change(revision)

    def rebuild(self, number: int, files: Sequence[DataFile], columns: Sequence[tuple[str, str]]) -> None:
        """Build the table afresh beside the old one, then take its place at once. Raises like `apply`."""
        with self._wrapped():
            self._build(number, files, columns)

    def oldest(self) -> int:
        """Readers see the items alone; only this writer reads the base, and only for the next revision."""
        return self.number()

    def warm(self) -> None:
        """Open the file."""
        if self.path.exists():
            with self._wrapped():
                self._connection()

    def maintain(self) -> None:
        """Fold the write-ahead log back into the file; delete what a killed build left."""
        with self._wrapped():
            _remove(self._fresh)
            if self.path.exists():
                self._connection().execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        self._lookup.close()
        self._rows.close()
        if self._writing is not None:
            self._writing.close()
        self._writing = None

    def _change(self, revision: Revision) -> None:
        make_folders(self.path.parent)
        db = self._connection()
        db.execute("BEGIN IMMEDIATE")
        try:
            layout, rows = self._evolved(db, revision.columns)
            deleted, removed = self._delete_lost(db, revision)
            between = (self.root, revision.added, removed, layout.columns)
            deleted += self._delete(db, layout, gone(*between)) if removed else 0
            coming = sum(f.rows for f in revision.added)
            inserted = self._insert(db, layout, come(*between), coming) if coming else 0
            expected = coming - sum(f.rows for f in revision.removed)
            if inserted - deleted != expected:
                raise self._differs(f"{inserted} rows came and {deleted} went, the ledger says {expected:+} in all")
            db.executemany("DELETE FROM headrace_sources WHERE _load_id = ?", [(load,) for load in revision.retired])
            meta = (revision.number, rows + expected, *layout.meta)
            db.execute("UPDATE headrace_meta SET number = ?, rows = ?, columns = ?, key = ?", meta)
            point("keyed.before-commit")
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
        point("keyed.after-commit")

    def _delete_lost(self, db: sqlite3.Connection, revision: Revision) -> tuple[int, Sequence[DataFile]]:
        """Delete the rows of removed files that are not there to be read, load by load; and the removed files that are.

        A load in such a file must retire as a whole in this revision, as the publisher sees to.
        """
        missing = [f for f in revision.removed if not (self.root / f.path).exists()]
        loads = {load for f in missing for load in f.loads}
        if not missing:
            return 0, revision.removed
        if not loads.issubset(revision.retired):
            raise self._fault("HR518", f"{missing[0].path} is missing", f"run `headrace rebuild {self.table}`")
        query = "DELETE FROM items WHERE _source IN (SELECT id FROM headrace_sources WHERE _load_id = ?)"
        deleted = db.executemany(query, [(load,) for load in sorted(loads)]).rowcount
        return deleted, [f for f in revision.removed if f not in missing]

    def _evolved(self, db: sqlite3.Connection, columns: Sequence[tuple[str, str]]) -> tuple[Layout, int]:
        """The table's shape with new columns added at the end, and its number of rows."""
        if not _has_table(db, "headrace_meta"):
            layout = Layout.of(self.key, columns)
            self._create(db, layout)
            return layout, 0
        number, rows, key, known = db.execute("SELECT number, rows, key, columns FROM headrace_meta").fetchone()
        before = Layout.from_meta(key, known)
        if before.meta[1] != json.dumps(self.key):
            found = f"its key was {key} until revision {number} and is {json.dumps(self.key)} now"
            raise self._fault("HR514", found, f"run `headrace replay`, then `headrace rebuild {self.table}`")
        types = dict(before.columns)
        for name, kind in columns:
            if types.get(name, kind) != kind:
                found = f"column {name!r} was {types[name]} until revision {number} and is {kind} now"
                raise self._fault("HR514", found, f"run `headrace replay`, then `headrace rebuild {self.table}`")
        new = [(name, kind) for name, kind in columns if name not in types]
        if not new:
            return before, rows
        after = Layout(before.key, (*before.columns, *new))
        self._widen(db, before, after)
        return after, rows

    def _widen(self, db: sqlite3.Connection, before: Layout, after: Layout) -> None:
        known = {name for name, _, _ in before.stored}
        for name, kind, _ in after.stored:
            if name not in known:
                db.execute(f"ALTER TABLE items ADD COLUMN {quoted(name)} {kind}")
        for statement in after.indexes(self.index):
            db.execute(statement)

    def _create(self, db: sqlite3.Connection, layout: Layout) -> None:
        for statement in (*META.split(";"), layout.create(), *layout.indexes(self.index)):
            db.execute(statement)
        db.execute("INSERT INTO headrace_meta VALUES (0, 0, ?, ?)", layout.meta)
        db.execute(f"PRAGMA user_version = {STATE_VERSION}")

    def _insert(self, db: sqlite3.Connection, layout: Layout, rows: str, expected: int) -> int:
        try:
            if expected <= FEW_ROWS:
                return self._insert_few(db, layout, rows)
            if not (numbers := self._numbers(db, self._rows.origins(rows))):
                return 0
            with closing(self._rows.batches(layout, rows, numbers)) as batches:  # else nothing more can be asked there
                return sum(db.executemany(layout.insert(), batch).rowcount for batch in batches)
        except sqlite3.IntegrityError as exc:
            raise self._collision(layout, rows) from exc

    def _insert_few(self, db: sqlite3.Connection, layout: Layout, rows: str) -> int:
        """For the file that has just arrived: one query without sorting or joining takes half the time."""
        origins, found = self._rows.few(layout, rows)
        numbers, at = self._numbers(db, origins), layout.source_at
        items = [(*row[:at], numbers[origin], *row[at + 1 :]) for origin, row in found]
        return db.executemany(layout.insert(), items).rowcount if items else 0

    def _delete(self, db: sqlite3.Connection, layout: Layout, rows: str) -> int:
        numbers = self._numbers(db, self._rows.origins(rows), new=False)
        batches = self._rows.batches(layout, rows, numbers, layout.identity) if numbers else ()
        return sum(db.executemany(layout.delete(), batch).rowcount for batch in batches)

    def _numbers(self, db: sqlite3.Connection, origins: Iterable[Origin], *, new: bool = True) -> dict[Origin, int]:
        """The number under which the table knows each origin; new ones get one, if there may be any."""
        if new:
            fill = "INSERT OR IGNORE INTO headrace_sources (_load_id, _source_file, _source_version, _arrived_at)"
            db.executemany(f"{fill} VALUES (?, ?, ?, ?)", origins)
        ask = "SELECT id FROM headrace_sources WHERE _load_id = ? AND _source_file = ?"
        numbers = {}
        for origin in origins:
            row = db.execute(ask, origin[:2]).fetchone()
            if row is None:
                raise self._differs(f"no row of load {origin[0]} is in the table")
            numbers[origin] = row[0]
        return numbers

    def _build(self, number: int, files: Sequence[DataFile], columns: Sequence[tuple[str, str]]) -> None:
        """Write a whole new file without a journal, sync it, then put it in the old one's place in one step."""
        make_folders(self.path.parent)
        fresh = self._fresh
        _remove(fresh)
        layout = Layout.of(self.key, columns)
        db = sqlite3.connect(fresh, isolation_level=None)
        try:
            for pragma in (
                f"page_size = {PAGE_SIZE}",
                "journal_mode = off",
                "synchronous = off",
                "cache_size = -65536",
            ):
                db.execute(f"PRAGMA {pragma}")
            self._fill(db, layout, number, files)
            db.execute("PRAGMA journal_mode = wal")
        finally:
            db.close()
        sync(fresh)
        point("keyed.built")
        self._install(fresh)
        point("keyed.after-commit")

    def _fill(self, db: sqlite3.Connection, layout: Layout, number: int, files: Sequence[DataFile]) -> None:
        db.execute("BEGIN")
        for statement in (*META.split(";"), layout.create()):
            db.execute(statement)
        expected = sum(f.rows for f in files)
        rows = self._insert(db, layout, come(self.root, files, (), layout.columns), expected)
        if rows != expected:
            raise self._differs(f"the files hold {rows} rows, the ledger says {expected}")
        for statement in layout.indexes(self.index):
            db.execute(statement)
        db.execute("INSERT INTO headrace_meta VALUES (?, ?, ?, ?)", (number, rows, *layout.meta))
        db.execute(f"PRAGMA user_version = {STATE_VERSION}")
        db.execute("COMMIT")

    def _install(self, fresh: Path) -> None:
        if not self.path.exists():
            _remove(self.path)  # a log without its file must not be taken for this one's
            os.replace(fresh, self.path)
            sync(self.path.parent)
            return
        # Readers hold the old file and its log open: copy the pages over in one transaction instead of renaming
        source = sqlite3.connect(fresh)
        try:
            source.backup(self._connection())
        finally:
            source.close()
        self._connection().execute("PRAGMA wal_checkpoint(TRUNCATE)")
        _remove(fresh)

    def _meta(self) -> tuple[int, int]:
        """(number, rows) of the file, which exists."""
        db = self._connection()
        if not _has_table(db, "headrace_meta"):
            return 0, 0
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version != STATE_VERSION:
            found = f"its file has layout {version}, this Headrace knows {STATE_VERSION}"
            raise self._fault("HR516", found, "upgrade Headrace, or delete the file and rebuild the sink")
        number, rows = db.execute("SELECT number, rows FROM headrace_meta").fetchone()
        return number, rows

    def _connection(self) -> sqlite3.Connection:
        if self._writing is None:
            db = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False, timeout=60)
            for pragma in (
                f"page_size = {PAGE_SIZE}",
                "journal_mode = wal",
                "synchronous = full",
                "cache_size = -65536",
                "wal_autocheckpoint = 4000",
            ):
                db.execute(f"PRAGMA {pragma}")
            self._writing = db
        return self._writing

    def _collision(self, layout: Layout, rows: str) -> InfrastructureError:
        twice = self._rows.doubled(layout, rows)
        which = f"{twice[0]} rows have the key {twice[1]}" if twice else "a row's key is held by another load's row"
        return self._fault("HR517", which, f"nothing was written; run `headrace rebuild {self.table}`")

    def _differs(self, found: str) -> InfrastructureError:
        return self._fault("HR518", found, f"nothing was written; run `headrace rebuild {self.table}`")

    def _fault(self, code: str, found: str, next: str) -> InfrastructureError:
        return InfrastructureError(code, f"keyed {self.table!r}", found, next)

    @contextmanager
    def _wrapped(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, duckdb.Error, OSError) as exc:
            raise self._fault("HR519", f"cannot be written: {exc}", "nothing was changed; it is tried again") from exc


def _has_table(db: sqlite3.Connection, name: str) -> bool:
    return db.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (name,)).fetchone() is not None


def _remove(path: Path) -> None:
    """Delete a database with what SQLite keeps beside it."""
    for file in (path.with_name(path.name + end) for end in chain(("",), ("-wal", "-shm", "-journal"))):
        file.unlink(missing_ok=True)

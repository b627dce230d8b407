"""The lake: an Iceberg table over the Parquet files of the base, one snapshot per revision.

Opened by a target, fed by the publisher. It adopts files by path and never reads or writes a row. PyIceberg is imported
on the first write only: `number` reads the catalog and the metadata JSON with the standard library. Nothing else here
asks Iceberg what stands; the ledger knows. Where the catalog and the files are, a home says (`ports.Catalog`,
`ports.TableFolder`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from headrace.engine.faults import point
from headrace.model.contract import LINEAGE
from headrace.model.errors import InfrastructureError
from headrace.model.loads import DataFile, Revision
from headrace.ports import Catalog, TableFolder
from headrace.sinks.pointer import NUMBER, State, number_in, state_of

if TYPE_CHECKING:
    from pyiceberg.table import Table, Transaction

KEEP_SNAPSHOTS = 10
"""Expired down to this many whenever there are twice as many: a commit rewrites the list of all of them."""


class LakeWriter:
    """`ports.Writer` for one Iceberg table: its files are in `folder`, and `catalog` names its metadata.

    `partitions` are the base's Hive folders as (column name, DuckDB type or SQL that ends in a cast to it); the type is
    asked only where the name is no column of the row. `key` are the record's key columns: their ranges go into the
    manifests, so that other engines can pass files by. One process writes at a time. Metadata files that
    nothing refers to any more are deleted `grace_seconds` after they were written, so that a reader who has just looked
    up the table can finish.
    """

    def __init__(
        self,
        folder: TableFolder,
        catalog: Catalog,
        table: str,
        partitions: Sequence[tuple[str, str]] = (),
        key: Sequence[str] = (),
        grace_seconds: float = 60.0,
    ) -> None:
        self.name = table
        self.folder, self.catalog, self.table = folder, catalog, table
        self.partitions, self.key = tuple(partitions), tuple(key)
        self.grace_seconds = grace_seconds
        self._table: Table | None = None
        self._known: dict[str, frozenset[str]] = {}

    def number(self) -> int:
        """The last revision applied; 0 before the first, and for a table whose files are in another folder.

        Iceberg's paths are absolute: in a copied or moved root the table has to be rebuilt from the base.
        Raises InfrastructureError (HR513) if the catalog, the metadata or the number in it cannot be read.
        """
        state = self._state()
        return state.number if state else 0

    def oldest(self) -> int:
        """The oldest revision that a snapshot still shows: files retired at or before it may be deleted."""
        state = self._state()
        shown = [number_in(s) for s in state.metadata["snapshots"]] if state else []
        return min((n for n in shown if n is not None), default=0)

    def files(self) -> set[str]:
        """The data files of the current snapshot, relative to the root. For checks; reads every manifest."""
        state = self._state()
        if state is None:
            return set()
        table = self._opened(state)
        snapshot = table.current_snapshot()
        manifests = snapshot.manifests(table.io) if snapshot else []
        entries = (e for m in manifests for e in m.fetch_manifest_entry(table.io))
        return {self.folder.path(e.data_file.file_path) for e in entries}

    def apply(self, revision: Revision) -> None:
        """Commit one snapshot without `removed`, with `added`, with the number among its properties.

        Raises InfrastructureError: HR511 the commit failed, HR512 not the next revision, HR514 a column changed its
        type or the partitions changed.
        """
        state = self._state()
        number = state.number if state else 0
        if revision.number <= number:
            return
        if revision.number != number + 1:
            found = f"revision {revision.number} does not follow {number}"
            raise self._fault("HR512", found, "let the publisher apply the recorded revisions in order")
        with self._settled(revision.number):
            if state is None:
                self._replace(self.catalog.read(), revision.number, revision.added, revision.columns)
            else:
                self._commit(state, revision)
        point("lake.after-commit")
        if revision.number % KEEP_SNAPSHOTS == 0:
            self._sweep()

    def rebuild(self, number: int, files: Sequence[DataFile], columns: Sequence[tuple[str, str]]) -> None:
        """Put a new table with just these files in the old one's place: schema, partitions and history begin again."""
        pointer = self.catalog.read()
        with self._settled(number, pointer):
            self._replace(pointer, number, files, columns)
        point("lake.after-commit")

    def maintain(self) -> None:
        """Expire snapshots and delete metadata files that nothing refers to."""
        state = self._state()
        if state is None:
            return
        with self._settled(state.number, state.pointer):
            from headrace.sinks.snapshot import OneCopyTransaction

            with OneCopyTransaction(self._opened(state), self.catalog) as transaction:
                self._expire(transaction, KEEP_SNAPSHOTS)
        self._sweep()

    def warm(self) -> None:
        """Import PyIceberg now, rather than while the first file waits."""
        import headrace.sinks.iceberg
        import headrace.sinks.snapshot  # noqa: F401

        self.folder.io()

    def close(self) -> None:
        self._table = None

    def _commit(self, state: State, revision: Revision) -> None:
        from headrace.sinks.snapshot import OneCopyTransaction, ReplaceByPath

        table = self._opened(state)
        with OneCopyTransaction(table, self.catalog) as transaction:
            self._evolve(transaction, revision.columns)
            update = ReplaceByPath(transaction, self._known, {NUMBER: str(revision.number)})
            for file in self._described(transaction, revision.removed):
                update.delete_data_file(file)
            for file in self._described(transaction, revision.added):
                update.append_data_file(file)
            update.commit()
            self._expire(transaction, 2 * KEEP_SNAPSHOTS)
            point("lake.before-commit")

    def _replace(
        self, pointer: str | None, number: int, files: Sequence[DataFile], columns: Sequence[tuple[str, str]]
    ) -> None:
        """Write metadata of a table that never was before, then let the catalog point at it instead of `pointer`."""
        from headrace.sinks.iceberg import new_table
        from headrace.sinks.snapshot import OneCopyTransaction, ReplaceByPath

        names = [name for name, _ in self.partitions]
        fresh = new_table(self.table, self.folder, self._shape(columns), names)
        transaction = OneCopyTransaction(fresh, self.catalog)
        update = ReplaceByPath(transaction, self._known, {NUMBER: str(number)})
        for file in self._described(transaction, files):
            update.append_data_file(file)
        update.commit()
        transaction.commit_new(pointer)
        self._table = None

    def _described(self, transaction: Transaction, files: Iterable[DataFile]) -> Iterable[Any]:
        from headrace.sinks.iceberg import describe

        metadata = transaction.table_metadata
        return describe(files, metadata.schema(), metadata.spec(), self.key, self.folder.locate)

    def _shape(self, columns: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        """Columns of the data files: the row's, the lineage, partition columns that are not the row's own."""
        shape = dict((*columns, *LINEAGE))
        return [*shape.items(), *((n, text.rpartition("::")[2]) for n, text in self.partitions if n not in shape)]

    def _evolve(self, transaction: Transaction, columns: Sequence[tuple[str, str]]) -> None:
        """Add new columns at the end. What an older file lacks is null in it."""
        from headrace.sinks.iceberg import type_of

        metadata = transaction.table_metadata
        spec, parts = [f.name for f in metadata.spec().fields], [name for name, _ in self.partitions]
        if spec != parts:
            raise self._changed(f"it is partitioned by ({', '.join(spec)}), the pipeline says ({', '.join(parts)})")
        known = {field.name: field.field_type for field in metadata.schema().fields}
        shape = self._shape(columns)
        for name, kind in shape:
            if name in known and known[name] != type_of(kind):
                raise self._changed(f"column {name!r} is {known[name]} there and {type_of(kind)} in the record")
        new = [(name, kind) for name, kind in shape if name not in known]
        if new:
            with transaction.update_schema() as schema:
                for name, kind in new:
                    schema.add_column((name,), type_of(kind))

    def _expire(self, transaction: Transaction, most: int) -> None:
        """If there are more snapshots than `most`, forget all but the newest few, in the same commit."""
        from pyiceberg.table.update.snapshot import ExpireSnapshots

        snapshots = sorted(transaction.table_metadata.snapshots, key=lambda s: s.sequence_number or 0)
        if len(snapshots) <= most:
            return
        old = [s.snapshot_id for s in snapshots[:-KEEP_SNAPSHOTS]]
        ExpireSnapshots(transaction).by_ids(old).commit()

    def _sweep(self) -> None:
        """Delete manifests, manifest lists and metadata that the table no longer refers to, or never did (a crash)."""
        state = self._state()
        if state is None:
            return
        try:
            self._delete_unused(self._opened(state))
        except OSError as exc:
            raise self._fault("HR513", f"old metadata cannot be deleted: {exc}", "check the folder") from exc
        point("lake.swept")

    def _delete_unused(self, table: Table) -> None:
        metadata = table.metadata
        used = {table.metadata_location, *(entry.metadata_file for entry in metadata.metadata_log)}
        for snapshot in metadata.snapshots:
            used |= {snapshot.manifest_list, *(m.manifest_path for m in snapshot.manifests(table.io))}
        self._known = {path: files for path, files in self._known.items() if path in used}
        before = datetime.now(UTC) - timedelta(seconds=self.grace_seconds)
        self.folder.delete(
            location
            for location, written in self.folder.metadata()
            if location.endswith((".avro", ".metadata.json")) and location not in used and written <= before
        )

    def _state(self) -> State | None:
        return state_of(self.table, self.catalog, self.folder)

    def _opened(self, state: State) -> Table:
        """The table as the catalog has it now."""
        if self._table is None or self._table.metadata_location != state.pointer:
            from headrace.sinks.iceberg import open_table

            self._table = open_table(self.table, state.pointer, self.folder)
        return self._table

    @contextmanager
    def _settled(self, number: int, pointer: str | None = None) -> Iterator[None]:
        """Whatever went wrong, ask the catalog first whether the commit has landed all the same.

        `pointer`: where the catalog pointed before, for a commit whose number may not be new.
        """
        try:
            yield
        except BaseException as exc:
            self._table = None
            if isinstance(exc, Exception) and self._landed(number, pointer):
                return
            if isinstance(exc, InfrastructureError) or not isinstance(exc, Exception):
                raise
            raise self._fault("HR511", f"the commit failed: {exc}", "nothing was changed; it is tried again") from exc

    def _landed(self, number: int, pointer: str | None) -> bool:
        state = self._state()
        return state is not None and state.number == number and state.pointer != pointer

    def _changed(self, found: str) -> InfrastructureError:
        return self._fault("HR514", found, f"run `headrace replay`, then `headrace rebuild {self.table}`")

    def _fault(self, code: str, found: str, next: str) -> InfrastructureError:
        return InfrastructureError(code, f"lake {self.table!r}", found, next)

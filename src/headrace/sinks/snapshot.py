"""The Iceberg snapshot that a revision makes: files by path, few manifests, no copy of the metadata too many.

Stands on PyIceberg's own snapshot producer, whose inner methods it replaces: hence the narrow version range in
pyproject.toml. Used by `sinks.lake`.
"""

from __future__ import annotations

from pyiceberg.manifest import DataFile as IcebergFile
from pyiceberg.manifest import ManifestEntry, ManifestEntryStatus, ManifestFile
from pyiceberg.serializers import ToOutputFile
from pyiceberg.table import Table, Transaction
from pyiceberg.table.locations import load_location_provider
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Operation
from pyiceberg.table.update import TableUpdate, update_table_metadata
from pyiceberg.table.update.snapshot import _OverwriteFiles

from headrace.engine.faults import point
from headrace.ports import Catalog

ENTRIES = 500
"""Data files per manifest: what a commit that removes one of them reads and writes again."""

MERGE_AT = 20
"""So many manifests with room left are merged into full ones."""


class OneCopyTransaction(Transaction):
    """A transaction that commits by one swap, without retries: whether a commit landed only its number tells.

    PyIceberg copies the whole metadata at each look at it, some 25 times per commit; this one when it changed.
    """

    def __init__(self, table: Table, catalog: Catalog) -> None:
        super().__init__(table)
        self._catalog = catalog
        self._seen: tuple[tuple[TableUpdate, ...], TableMetadata] | None = None

    def commit_transaction(self) -> Table:
        """Write the metadata that the updates make, and let the catalog name it."""
        table, before = self._table, self._table.metadata_location
        if self._updates:
            metadata = update_table_metadata(table.metadata, self._updates, metadata_location=before)
            version = int(before.rpartition("/")[2].partition("-")[0]) + 1
            places = load_location_provider(metadata.location, metadata.properties)
            after = places.new_table_metadata_file_location(version)
            ToOutputFile.table_metadata(metadata, table.io.new_output(after))
            self._catalog.swap(before, after, _columns(metadata))
            table.metadata, table.metadata_location = metadata, after
        return table

    def commit_new(self, instead_of: str | None) -> None:
        """Commit the first metadata of a table that never was before, which the catalog names instead of another."""
        location = self._table.metadata_location
        ToOutputFile.table_metadata(self.table_metadata, self._table.io.new_output(location))
        point("lake.before-commit")
        self._catalog.swap(instead_of, location, _columns(self.table_metadata))

    @property
    def table_metadata(self) -> TableMetadata:
        if self._seen is None or self._seen[0] is not self._updates:
            self._seen = (self._updates, super().table_metadata)
        return self._seen[1]


class ReplaceByPath(_OverwriteFiles):
    """One snapshot that removes data files by path, adds others, and keeps manifests few and small.

    PyIceberg's own overwrite looks for what it removes by partition predicates and merges nothing, so that each commit
    costs more than the one before. `known` remembers which paths a manifest holds (manifests never change): only those
    that hold a removed path are read.
    """

    def __init__(self, transaction: Transaction, known: dict[str, frozenset[str]], properties: dict[str, str]) -> None:
        metadata = transaction.table_metadata
        operation = Operation.OVERWRITE if metadata.current_snapshot() else Operation.APPEND
        super().__init__(operation, transaction, transaction._table.io, snapshot_properties=properties)
        self._known = known

    def _manifests(self) -> list[ManifestFile]:
        gone = {file.file_path for file in self._deleted_data_files}
        kept, entries = self._parent(gone)
        deleted = [e for e in entries if e.data_file.file_path in gone]
        if len(deleted) != len(gone):
            missing = sorted(gone - {e.data_file.file_path for e in deleted})
            raise ValueError(f"not in the table: {', '.join(missing[:3])}")
        left = [e for e in entries if e.data_file.file_path not in gone]
        roomy = [m for m in kept if _files_in(m) < ENTRIES]
        if len(roomy) >= MERGE_AT:
            left += [e for m in roomy for e in self._entries(m)]
            kept = [m for m in kept if _files_in(m) >= ENTRIES]
        added = [self._entry(ManifestEntryStatus.ADDED, file) for file in self._added_data_files]
        return [
            *self._written(added),
            *self._written([self._copy(ManifestEntryStatus.DELETED, e) for e in deleted]),
            *self._written([self._copy(ManifestEntryStatus.EXISTING, e) for e in left]),
            *kept,
        ]

    def _parent(self, gone: set[str]) -> tuple[list[ManifestFile], list[ManifestEntry]]:
        """The parent's manifests that hold nothing of `gone`, and the entries of all others."""
        snapshot = self._transaction.table_metadata.current_snapshot()
        kept: list[ManifestFile] = []
        entries: list[ManifestEntry] = []
        for manifest in snapshot.manifests(self._io) if snapshot else ():
            if _files_in(manifest) == 0:
                continue  # it only told what an earlier snapshot removed
            if gone and not gone.isdisjoint(self._paths(manifest)):
                entries += self._entries(manifest)
            else:
                kept.append(manifest)
        return kept, entries

    def _paths(self, manifest: ManifestFile) -> frozenset[str]:
        if manifest.manifest_path not in self._known:
            self._known[manifest.manifest_path] = frozenset(e.data_file.file_path for e in self._entries(manifest))
        return self._known[manifest.manifest_path]

    def _entries(self, manifest: ManifestFile) -> list[ManifestEntry]:
        return self.fetch_manifest_entry(manifest, discard_deleted=True)

    def _written(self, entries: list[ManifestEntry]) -> list[ManifestFile]:
        """New manifests of at most `ENTRIES` each, in the table's one partition spec."""
        manifests = []
        for start in range(0, len(entries), ENTRIES):
            part = entries[start : start + ENTRIES]
            with self.new_manifest_writer(self._transaction.table_metadata.spec()) as writer:
                for entry in part:
                    writer.add_entry(entry)
            manifest = writer.to_manifest_file()
            self._known[manifest.manifest_path] = frozenset(e.data_file.file_path for e in part)
            manifests.append(manifest)
        return manifests

    def _entry(self, status: ManifestEntryStatus, file: IcebergFile) -> ManifestEntry:
        return ManifestEntry.from_args(status=status, snapshot_id=self._snapshot_id, data_file=file)

    def _copy(self, status: ManifestEntryStatus, entry: ManifestEntry) -> ManifestEntry:
        """A file that stays keeps the snapshot that added it; one that goes names this one."""
        return ManifestEntry.from_args(
            status=status,
            snapshot_id=self._snapshot_id if status == ManifestEntryStatus.DELETED else entry.snapshot_id,
            sequence_number=entry.sequence_number,
            file_sequence_number=entry.file_sequence_number,
            data_file=entry.data_file,
        )


def _files_in(manifest: ManifestFile) -> int:
    """Live data files of a manifest."""
    return (manifest.added_files_count or 0) + (manifest.existing_files_count or 0)


def _columns(metadata: TableMetadata) -> list[tuple[str, str]]:
    return [(field.name, str(field.field_type)) for field in metadata.schema().fields]

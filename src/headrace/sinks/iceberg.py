"""Our values as Iceberg's: schemas, partition specs, data files, and the snapshot that a revision makes.

The only module besides `durable` that imports PyIceberg at its top (0.5 s, with scanning 2 s): `sinks.lake` imports it
when it first writes. Data files are described from the ledger's figures alone; no Parquet footer is read again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.conversions import to_bytes
from pyiceberg.manifest import DataFile as IcebergFile
from pyiceberg.manifest import DataFileContent, FileFormat, ManifestEntry, ManifestEntryStatus, ManifestFile
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table, Transaction
from pyiceberg.table.locations import load_location_provider
from pyiceberg.table.metadata import TableMetadata, new_table_metadata
from pyiceberg.table.name_mapping import create_mapping_from_schema
from pyiceberg.table.snapshots import Operation
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER
from pyiceberg.table.update import TableUpdate
from pyiceberg.table.update.snapshot import _OverwriteFiles
from pyiceberg.transforms import IdentityTransform
from pyiceberg.typedef import Record
from pyiceberg.types import (
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IcebergType,
    IntegerType,
    LongType,
    NestedField,
    StringType,
    TimestampType,
    TimestamptzType,
    UUIDType,
)
from sqlalchemy import event

from headrace.model.loads import DataFile

ENTRIES = 500
"""Data files per manifest: what a commit that removes one of them reads and writes again."""

MERGE_AT = 20
"""So many manifests with room left are merged into full ones."""

PROPERTIES = {
    "commit.retry.num-retries": "0",  # a commit that seems to have failed may have landed: only the number tells
    "write.avro.compression-codec": "null",  # a block per entry: nothing in it repeats
    "write.metadata.previous-versions-max": "10",
}

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BOUNDED = (LongType, IntegerType, StringType, DateType, TimestampType, TimestamptzType)
"""Types whose lowest and highest value go into the manifest. Others would need care with rounding or zeroes."""

_TYPES: dict[str, IcebergType] = {
    "VARCHAR": StringType(),
    "BIGINT": LongType(),
    "INTEGER": IntegerType(),
    "SMALLINT": IntegerType(),
    "DOUBLE": DoubleType(),
    "FLOAT": FloatType(),
    "BOOLEAN": BooleanType(),
    "DATE": DateType(),
    "TIMESTAMP": TimestampType(),
    "TIMESTAMPTZ": TimestamptzType(),
    "UUID": UUIDType(),
}


def type_of(kind: str) -> IcebergType:
    """The Iceberg type of a DuckDB type. Raises KeyError for one that no record can have."""
    if kind.startswith("DECIMAL("):
        precision, scale = kind.removeprefix("DECIMAL(").rstrip(")").split(",")
        return DecimalType(int(precision), int(scale))
    return _TYPES[kind]


def schema_of(columns: Sequence[tuple[str, str]]) -> Schema:
    """Every column is optional: a file written before a column was added has none of it."""
    return Schema(*(NestedField(i, name, type_of(kind)) for i, (name, kind) in enumerate(columns, 1)))


def spec_of(schema: Schema, partitions: Sequence[str]) -> PartitionSpec:
    """Identity on each partition column: the engine has computed them, and they stand in the files."""
    return PartitionSpec(
        *(
            PartitionField(schema.find_field(name).field_id, 1000 + i, IdentityTransform(), name)
            for i, name in enumerate(partitions)
        )
    )


def describe(
    files: Iterable[DataFile], schema: Schema, spec: PartitionSpec, key: Sequence[str], locate: Callable[[str], str]
) -> list[IcebergFile]:
    """Manifest entries' data files, with the bounds of the key columns where the ledger knows them."""
    fields = [(f.name, schema.find_field(f.source_id).field_type) for f in spec.fields]
    keys = [schema.find_field(name) for name in key]
    return [_describe(file, spec.spec_id, fields, keys, locate(file.path)) for file in files]


def _describe(
    file: DataFile, spec_id: int, fields: list[tuple[str, IcebergType]], keys: list[NestedField], location: str
) -> IcebergFile:
    bounds = [
        (field.field_id, field.field_type, low, high)
        for field, (low, high) in zip(keys, file.ranges, strict=False)
        if isinstance(field.field_type, BOUNDED) and low is not None
    ]
    described = IcebergFile.from_args(
        content=DataFileContent.DATA,
        file_path=location,
        file_format=FileFormat.PARQUET,
        partition=Record(*(value_of(kind, file.partition.get(name)) for name, kind in fields)),
        record_count=file.rows,
        file_size_in_bytes=file.size,
        lower_bounds={i: to_bytes(kind, value_of(kind, low)) for i, kind, low, _ in bounds} or None,
        upper_bounds={i: to_bytes(kind, value_of(kind, high)) for i, kind, _, high in bounds} or None,
    )
    described.spec_id = spec_id
    return described


def value_of(kind: IcebergType, text: Any) -> Any:
    """A value from DuckDB's text, as PyIceberg keeps it: dates in days, times in microseconds since 1970."""
    if text is None:
        return None
    match kind:
        case StringType():
            return str(text)
        case LongType() | IntegerType():
            return int(text)
        case DoubleType() | FloatType():
            return float(text)
        case BooleanType():
            return str(text).lower() == "true"
        case DateType():
            return (date.fromisoformat(str(text)[:10]) - EPOCH.date()).days
        case TimestampType():
            return _micros(datetime.fromisoformat(str(text)).replace(tzinfo=UTC))
        case TimestamptzType():
            moment = datetime.fromisoformat(str(text))
            return _micros(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
        case UUIDType():
            return UUID(str(text))
        case DecimalType():
            return Decimal(str(text))
        case _:
            raise KeyError(f"no value of type {kind}")


def _micros(moment: datetime) -> int:
    passed = moment - EPOCH
    return (passed.days * 86_400 + passed.seconds) * 1_000_000 + passed.microseconds


class OneCopyTransaction(Transaction):
    """PyIceberg copies the whole metadata at each look at it, some 25 times per commit; this one when it changed."""

    def __init__(self, table: Table) -> None:
        super().__init__(table)
        self._seen: tuple[tuple[TableUpdate, ...], TableMetadata] | None = None

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


def open_catalog(name: str, namespace: str, path: Path, warehouse: str) -> SqlCatalog:
    """The SQLite catalog at `path`, synced at every commit."""
    catalog = SqlCatalog(
        name, uri=f"sqlite:///{path}", warehouse=warehouse, **{"py-io-impl": "headrace.sinks.durable.DurableFileIO"}
    )

    def durable(connection: Any, _: Any) -> None:
        for pragma in ("journal_mode = wal", "synchronous = full", "busy_timeout = 60000"):
            connection.execute(f"PRAGMA {pragma}")

    event.listen(catalog.engine, "connect", durable)
    catalog.engine.dispose()  # what was opened before the listener
    catalog.create_namespace_if_not_exists(namespace)
    return catalog


def new_table(
    catalog: SqlCatalog,
    identifier: tuple[str, str],
    location: str,
    columns: Sequence[tuple[str, str]],
    partitions: Sequence[str],
) -> Table:
    """A table without snapshots that the catalog does not know yet. The name mapping lets files without ids be read."""
    schema = schema_of(columns)
    mapping = create_mapping_from_schema(schema).model_dump_json()
    properties = {**PROPERTIES, "schema.name-mapping.default": mapping}
    metadata = new_table_metadata(schema, spec_of(schema, partitions), UNSORTED_SORT_ORDER, location, properties)
    pointer = load_location_provider(location, properties).new_table_metadata_file_location()
    return Table(identifier, metadata, pointer, catalog._load_file_io(properties, pointer), catalog)

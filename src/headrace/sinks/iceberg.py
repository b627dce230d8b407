"""Our values as Iceberg's: catalog, tables, schemas, partition specs, and data files.

This module and `snapshot` import PyIceberg at their top (0.5 s): `sinks.lake` imports them when it first writes. Data
files are described from the ledger's figures alone; no Parquet footer is read again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from pyiceberg.catalog.noop import NoopCatalog
from pyiceberg.conversions import to_bytes
from pyiceberg.manifest import DataFile as IcebergFile
from pyiceberg.manifest import DataFileContent, FileFormat
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.serializers import FromInputFile
from pyiceberg.table import Table
from pyiceberg.table.locations import load_location_provider
from pyiceberg.table.metadata import new_table_metadata
from pyiceberg.table.name_mapping import create_mapping_from_schema
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER
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

from headrace.model.loads import DataFile
from headrace.ports import TableFolder

PROPERTIES = {
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


def open_table(name: str, pointer: str, folder: TableFolder) -> Table:
    """The table whose metadata lies at `pointer`. It has no catalog: see `snapshot.OneCopyTransaction`."""
    io = folder.io()
    return Table(("lake", name), FromInputFile.table_metadata(io.new_input(pointer)), pointer, io, NoopCatalog("none"))


def new_table(name: str, folder: TableFolder, columns: Sequence[tuple[str, str]], partitions: Sequence[str]) -> Table:
    """A table without snapshots that no catalog knows yet. The name mapping lets files without ids be read."""
    schema = schema_of(columns)
    mapping = create_mapping_from_schema(schema).model_dump_json()
    properties = {**PROPERTIES, "schema.name-mapping.default": mapping}
    metadata = new_table_metadata(schema, spec_of(schema, partitions), UNSORTED_SORT_ORDER, folder.location, properties)
    pointer = load_location_provider(folder.location, properties).new_table_metadata_file_location()
    return Table(("lake", name), metadata, pointer, folder.io(), NoopCatalog("none"))

"""How a row lies in a DynamoDB table: attributes, their types, and the way there and back; keys and indexes as values.

Used by `aws.keyed` (writing), `aws.keyed_lookup` (reading) and the resources of a stack (`key_schema`). Mirrors
`local.keyed_layout`.

| column | attribute |
|---|---|
| text | S |
| int, decimal | N: 38 digits hold both; a decimal gets its scale back when it is read |
| float | N; as S what N cannot hold: NaN, infinities, minus zero, magnitudes below 1e-130 or from 1e126 |
| bool | BOOL, except as the key or the sort key alone: N, 0 or 1 |
| date, datetime, uuid | S, as in a key: fixed width, instants in UTC |
| null | no attribute: it costs nothing, and absence is what readers of DynamoDB test for |
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from functools import cached_property
from typing import Any
from uuid import UUID

from headrace.contract.compile import compile_contract
from headrace.contract.query import columns_of
from headrace.model.contract import LINEAGE
from headrace.model.pipeline import Keyed, Pipeline
from headrace.sinks.keyed import EXACT, NUMBERS, Part, alone
from headrace.sinks.keyed_columns import KeyedColumns

STATE_VERSION = 1
"""`_layout` of the control item. Raised when this layout changes; a newer table is refused (HR854)."""

VERSION = "_layout"
"""The attribute that the control item has and no other: columns never begin with `_`."""

CONTROL = "\x00headrace"
"""Partition key of the control item. A record's key that begins with it gets one more character, so none equals it."""

BEYOND = "99999999999999999999"
"""The control item's partition key where keys are numbers: none of 64 bits is that large."""

INDEX_BYTES = 1024
"""Text longer than this is in no index; nor is empty text, which DynamoDB takes for no key."""

Attribute = Mapping[str, Any]


@dataclass(frozen=True)
class Layout(KeyedColumns):
    """How the columns of one table lie in its items. `index` are the names of indexed ones."""

    index: tuple[str, ...] = field(default=())

    def indexed_by(self, names: Sequence[str]) -> Layout:
        """The same with sparse indexes on those of the names that are columns."""
        known = dict(self.columns)
        return replace(self, index=tuple(name for name in names if name in known))

    @property
    def partition_type(self) -> str:
        return _key_type(self.key.partition)

    @property
    def sort_type(self) -> str:
        """Of the sort key; S where there is none."""
        return _key_type(self.key.sort[0]) if len(self.key.sort) == 1 else "S"

    def partition_value(self, key: Any) -> Attribute:
        """The partition key of the records with this value."""
        value = self.key.encode_partition(key)
        if isinstance(value, int):
            return {"N": str(value)}
        return {"S": value + "\x00" if value.startswith(CONTROL) else value}

    def sort_value(self, encoded: int | str) -> Attribute:
        return {self.sort_type: str(encoded)}

    @property
    def schema(self) -> dict[str, str]:
        """(attribute, type) of partition key and sort key."""
        return {self.partition: self.partition_type} | ({self.sort: self.sort_type} if self.sort else {})

    def index_value(self, column: str, value: Any) -> Attribute | None:
        """What an index of the column holds of rows with this value; None for what it never holds."""
        part = Part(column, dict(self.columns)[column])
        encoded = alone(part, value)
        if part.type in NUMBERS:
            return {"N": str(encoded)}
        text = str(encoded)
        return {"S": text} if 0 < len(text.encode()) <= INDEX_BYTES else None

    def read(self, item: Mapping[str, Attribute]) -> dict[str, Any]:
        """The row that an item is: its columns, then the lineage, as Python values."""
        return {
            name: None if (found := item.get(name)) is None else read(*found.values())
            for name, read in self._readers.items()
        }

    @cached_property
    def _readers(self) -> dict[str, Callable[[Any], Any]]:
        readers = {name: reader_of(kind) for name, kind in (*self.columns, *LINEAGE)}
        if self.partition_type == "S" and self.key.partition.type == "VARCHAR":
            readers[self.partition] = _unescaped
        return readers


Values = list[dict[str, Any]]


def key_schema(pipeline: Pipeline, sink: Keyed) -> tuple[Values, Values, Values]:
    """AttributeDefinitions, KeySchema and GlobalSecondaryIndexes of a keyed sink's table, as CreateTable takes them."""
    contract = compile_contract(pipeline)
    return table_schema(Layout.of(contract.key, columns_of(contract)).indexed_by(sink.index))


def table_schema(layout: Layout) -> tuple[Values, Values, Values]:
    """The same for a layout.

    Every index is sparse. A flag's holds the rows where it is true, under the table's own partition key and in its
    order: so many alike rows spread over partitions, and those of one key are found by a Query. Another column's holds
    the rows by its value.
    """
    types = layout.schema
    keys = [{"AttributeName": n, "KeyType": k} for n, k in zip(layout.schema, ("HASH", "RANGE"), strict=False)]
    indexes: Values = []
    for column in layout.index:
        attribute, kind = indexed(column), dict(layout.columns)[column]
        if kind == "BOOLEAN":
            types[attribute] = layout.sort_type
            schema = [keys[0], {"AttributeName": attribute, "KeyType": "RANGE"}]
        else:
            types[attribute] = _key_type(Part(column, kind))
            schema = [{"AttributeName": attribute, "KeyType": "HASH"}]
        projected = {"ProjectionType": "ALL"}
        indexes.append({"IndexName": index_name(column), "KeySchema": schema, "Projection": projected})
    return [{"AttributeName": name, "AttributeType": kind} for name, kind in types.items()], keys, indexes


def control_key(schema: Mapping[str, str]) -> dict[str, Attribute]:
    """The key of the control item of a table with these keys."""
    partition, *sort = schema.items()
    key: dict[str, Attribute] = {partition[0]: {"S": CONTROL} if partition[1] == "S" else {"N": BEYOND}}
    for name, kind in sort:
        key[name] = {"S": CONTROL} if kind == "S" else {"N": "0"}
    return key


def indexed(column: str) -> str:
    """The attribute by which a column's index knows an item."""
    return f"_by_{column}"


def index_name(column: str) -> str:
    """Of letters, digits, `_`, `-` and `.` alone, as DynamoDB wants it."""
    return "by_" + re.sub(r"[^A-Za-z0-9_]", lambda found: f"-{ord(found[0]):x}.", column)


def _key_type(part: Part) -> str:
    return "N" if part.type in NUMBERS else "S"


def reader_of(kind: str) -> Callable[[Any], Any]:
    """Turns what an attribute holds into its Python value. Python's dates end with the year 9999: what lies outside
    stays text."""
    match kind:
        case "VARCHAR":
            return str
        case "BOOLEAN":
            return lambda held: held if isinstance(held, bool) else bool(int(held))
        case "DATE":
            return _or_text(date.fromisoformat)
        case "TIMESTAMP" | "TIMESTAMPTZ":
            return _or_text(datetime.fromisoformat)
        case "UUID":
            return UUID
        case "DOUBLE" | "FLOAT":
            return float
        case _ if kind.startswith("DECIMAL"):
            unit = Decimal(1).scaleb(-int(kind.rstrip(")").rpartition(",")[2]))
            return lambda held: Decimal(held).quantize(unit, context=EXACT)
        case _:
            return lambda held: int(Decimal(held))


def _or_text(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            return parse(text)
        except ValueError:
            return text

    return read


def _unescaped(text: str) -> str:
    return text[:-1] if text.startswith(CONTROL) else text

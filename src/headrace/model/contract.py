"""A contract: everything that shapes rows, as an inert value that can be stored, hashed and sent to a child process.

`headrace.contract.compile` makes one from a Pipeline; engines turn it into a query. It holds no classes of the user's,
no docs, no sinks' names and no library versions, so that its digest changes only when rows would.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Literal

Kind = Literal["str", "int", "float", "decimal", "bool", "date", "datetime", "uuid", "json"]
Policy = Literal["last", "first", "reject"]

LINEAGE: tuple[tuple[str, str], ...] = (
    ("_source_file", "VARCHAR"),  # object key, or key!member inside an archive
    ("_source_version", "VARCHAR"),  # identity of the object's version: a content hash, or the store's VersionId
    ("_source_row", "BIGINT"),  # record number from 1 within the file or member, header not counted
    ("_load_id", "VARCHAR"),
    ("_arrived_at", "TIMESTAMPTZ"),  # pinned creation time of the occurrence; UTC
)
"""Columns that every row carries behind its own, in this order, with their DuckDB types."""


@dataclass(frozen=True, slots=True)
class Type:
    """What a value is. `digits` = (precision, scale) for decimal; `zone` makes a datetime an instant."""

    kind: Kind
    digits: tuple[int, int] | None = None
    zone: str | None = None
    choices: tuple[str, ...] = ()
    format: str | None = None
    round: bool = False

    @property
    def sql(self) -> str:
        """The DuckDB type of the column."""
        match self.kind:
            case "str" | "json":
                return "VARCHAR"
            case "int":
                return "BIGINT"
            case "float":
                return "DOUBLE"
            case "decimal":
                precision, scale = self.digits or (18, 4)
                return f"DECIMAL({precision},{scale})"
            case "bool":
                return "BOOLEAN"
            case "date":
                return "DATE"
            case "datetime":
                return "TIMESTAMPTZ" if self.zone else "TIMESTAMP"
            case "uuid":
                return "UUID"


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a row. Either read (from a header or JSON path), or derived (`sql`).

    `optional`: the header may be absent. `default`: text that stands in for a missing or empty value (cast like any
    other value); `default_sql`: an expression instead. `checks` are (name, boolean SQL): true or null passes.
    """

    name: str
    type: Type
    nullable: bool = False
    optional: bool = False
    headers: tuple[str, ...] = ()
    path: str | None = None
    default: str | None = None
    default_sql: str | None = None
    sql: str | None = None
    checks: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class RowRule:
    """A named boolean over a typed row. True fires, null does not. `alert` fires a message per loaded row."""

    kind: Literal["reject", "skip", "flag", "alert"]
    name: str
    when: str
    subject: str = ""
    body: str = ""


@dataclass(frozen=True, slots=True)
class StepSpec:
    """A step by reference: a query over `input`, or `module:function` with the digest of its source."""

    kind: Literal["sql", "python"]
    text: str
    digest: str = ""


@dataclass(frozen=True, slots=True)
class CsvSpec:
    """A declared dialect; None means: decide on evidence."""

    delimiter: str | None = None
    quote: str | None = None
    escape: str | None = None
    header: bool | None = None
    encoding: str | None = None
    skip: int | None = None


@dataclass(frozen=True)
class Contract:
    """What shapes the rows of one pipeline. Equal digests promise equal rows for equal bytes, in equal folders."""

    pipeline: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    on_conflict: Policy = "last"
    dedupe: Literal["none", "row"] = "none"
    extra: Literal["ignore", "keep", "reject"] = "ignore"
    null: tuple[str, ...] = ("",)
    root: str = ""  # JSON Pointer to the list of records inside a document
    csv: CsvSpec = CsvSpec()
    sheet: str | None = None
    steps: tuple[StepSpec, ...] = ()
    rules: tuple[RowRule, ...] = ()
    limits: tuple[tuple[str, str], ...] = ()  # (name, boolean SQL that must hold): what the sinks can store
    partitions: tuple[tuple[str, str], ...] = ()  # (name, SQL): the folders that rows are staged in

    @cached_property
    def digest(self) -> str:
        """Sixteen hex digits that stay the same exactly as long as rows would: alerts tell of rows, they shape none."""
        shaping = replace(self, rules=tuple(r for r in self.rules if r.kind != "alert")).to_dict()
        if not self.partitions:
            del shaping["partitions"]  # as it was before there were any
        text = json.dumps(shaping, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_dict(raw: Mapping[str, Any]) -> Contract:
        """The value that `to_dict` wrote, after any trip through JSON (lists come back as tuples)."""
        return Contract(
            **{
                **raw,
                "columns": tuple(_column(c) for c in raw["columns"]),
                "key": tuple(raw["key"]),
                "null": tuple(raw["null"]),
                "csv": CsvSpec(**raw["csv"]),
                "steps": tuple(StepSpec(**s) for s in raw["steps"]),
                "rules": tuple(RowRule(**r) for r in raw["rules"]),
                "limits": tuple((n, s) for n, s in raw["limits"]),
                "partitions": tuple((n, s) for n, s in raw.get("partitions", ())),
            }
        )


def _column(raw: Mapping[str, Any]) -> Column:
    of = raw["type"]
    digits = tuple(of["digits"]) if of["digits"] else None
    return Column(
        **{
            **raw,
            "type": Type(**{**of, "digits": digits, "choices": tuple(of["choices"])}),
            "headers": tuple(raw["headers"]),
            "checks": tuple((n, s) for n, s in raw["checks"]),
        }
    )

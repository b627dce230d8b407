"""Writing Parquet files of the base: never-reused names, what is in them, and durable before anyone hears of them.

Used by staging (in the child) and by the publisher when it resolves contested keys or compacts. A base is a folder
with `data/` (Hive folders, adopted by the lake), `losers/` and `rejected/`.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb

from headrace.engine.faults import point
from headrace.model.contract import Contract
from headrace.model.errors import BaseLost
from headrace.model.loads import DataFile, FileKind
from headrace.ports import Base

PARQUET = "format parquet, compression snappy, row_group_size 122880, return_stats true"
INSTANT = re.compile(r"\d{4}-\d\d-\d\d")


def quoted(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def file_list(root: Path, paths: Iterable[str]) -> str:
    """A list literal of absolute paths, for `read_parquet`."""
    return "[" + ", ".join(literal(str(root / p)) for p in paths) + "]"


def lost(base: Base, files: Sequence[DataFile]) -> list[DataFile]:
    """Those of the files that are not there, though the ledger names them."""
    gone = base.lost(f.path for f in files)
    return [f for f in files if f.path in gone]


def base_lost(pipeline: str, files: Sequence[DataFile]) -> BaseLost:
    """What to say of lost files: HR532."""
    loads = len({load for file in files for load in file.loads})
    return BaseLost(
        "HR532",
        f"pipeline {pipeline!r}",
        f"{len(files):,} files of the base, with rows of {loads:,} loads, are missing: {files[0].path}",
        f"load them again with `headrace replay {pipeline} --all`",
    )


def key_columns(contract: Contract, columns: Sequence[str]) -> tuple[str, ...]:
    """What makes two rows contest each other: the key, all columns under dedupe="row", or nothing."""
    if contract.key:
        return contract.key
    return tuple(columns) if contract.dedupe == "row" else ()


class BaseWriter:
    """Writes query results into one base, each file under the attempt's name."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        root: Path,
        base: str,
        attempt: str,
        partitions: Sequence[tuple[str, str]],
        key: Mapping[str, str],
    ) -> None:
        self._db = connection
        self._root, self._base, self._attempt = root, base, attempt
        self._partitions, self._key = partitions, key

    def write(self, kind: FileKind, query: str, loads: Mapping[str, int] | None = None) -> list[DataFile]:
        """Write a query's rows; the query yields row columns, lineage, and what the kind adds.

        `loads` gives the rows per load, if the caller knows; they are counted where they go into several files, unless
        it is one load alone. A query without rows writes nothing.
        """
        folder = self._root / self._base / kind
        folder.mkdir(parents=True, exist_ok=True)
        partitions = self._partitions if kind == "data" else ()
        computed = [(n, e) for n, e in partitions if e != quoted(n)]
        # A losers file keeps the same columns as a data file, so that a loser can win again without being computed.
        if kind == "losers":
            computed = [(n, e) for n, e in self._partitions if e != quoted(n)]
        select = f"select *{''.join(f', {e} as {quoted(n)}' for n, e in computed)} from ({query})"
        if partitions:
            names = ", ".join(quoted(n) for n, _ in partitions)
            target, options = str(folder), (
                f", partition_by ({names}), write_partition_columns true, overwrite_or_ignore true,"
                f" filename_pattern '{self._attempt}_{{i}}'"
            )  # fmt: skip
        else:
            target, options = str(folder / f"{self._attempt}.parquet"), ""
        written = self._db.execute(f"copy ({select}) to {literal(target)} ({PARQUET}{options})").fetchall()
        point(f"base.written-{kind}")
        files = [self._file(kind, row) for row in written if row[1]]
        for row in written:
            if not row[1]:
                Path(row[0]).unlink(missing_ok=True)
        sync(self._root, [f.path for f in files])
        point(f"base.synced-{kind}")
        return self._with_loads(files, loads)

    def _file(self, kind: FileKind, row: tuple[Any, ...]) -> DataFile:
        path, rows, size, _, stats, partition = row[:6]
        ranges = tuple(_range(stats.get(quoted(n), {}), t) for n, t in self._key.items()) if kind != "rejected" else ()
        return DataFile(
            path=str(Path(path).relative_to(self._root)),
            kind=kind,
            rows=rows,
            size=size,
            loads={},
            partition=dict(partition or {}),
            ranges=ranges if all(lo is not None for lo, _ in ranges) else (),
        )

    def _with_loads(self, files: list[DataFile], loads: Mapping[str, int] | None) -> list[DataFile]:
        if not files:
            return []
        if loads is not None and len(loads) == 1:
            (load,) = loads
            return [_replace_loads(f, {load: f.rows}) for f in files]
        if loads is not None and len(files) == 1:
            return [_replace_loads(files[0], loads)]
        counted: dict[str, dict[str, int]] = {}
        for path, load, rows in self._db.execute(
            "select _path, _load_id, count(*) from read_parquet("
            f"{file_list(self._root, [f.path for f in files])}, filename = '_path', hive_partitioning = false,"
            " union_by_name = true) group by all order by all"
        ).fetchall():
            counted.setdefault(str(Path(path).relative_to(self._root)), {})[load] = rows
        return [_replace_loads(f, counted[f.path]) for f in files]


def _replace_loads(file: DataFile, loads: Mapping[str, int]) -> DataFile:
    return DataFile(file.path, file.kind, file.rows, file.size, dict(loads), file.partition, file.ranges)


def _range(stats: Mapping[str, str], kind: str) -> tuple[Any, Any]:
    """(lowest, highest) of a column as values whose order is the column's, or (None, None) where not certain."""
    exact = stats.get("min_is_exact") == stats.get("max_is_exact") == "true"
    whole = stats.get("null_count") == "0" and stats.get("has_nan", "false") == "false"
    if not (exact and whole):
        return (None, None)
    lo, hi = stats["min"], stats["max"]
    match kind:
        case "BIGINT" | "INTEGER":
            return (int(lo), int(hi))
        case "DOUBLE":
            return (float(lo), float(hi))
        case "DATE" | "TIMESTAMP" | "TIMESTAMPTZ":
            # Text order is time order only for years of four digits.
            return (lo, hi) if INSTANT.match(lo) and INSTANT.match(hi) else (None, None)
        case "VARCHAR" | "UUID":
            return (lo, hi)
        case _:
            return (
                (math.nextafter(float(lo), -math.inf), math.nextafter(float(hi), math.inf))
                if (kind.startswith("DECIMAL"))
                else (None, None)
            )


def sync(root: Path, paths: Iterable[str]) -> None:
    """Make files durable: their bytes, then every folder between them and the root."""
    folders: set[Path] = set()
    for path in paths:
        _fsync(root / path)
        folder = (root / path).parent
        while folder not in folders and folder.is_relative_to(root):
            folders.add(folder)
            folder = folder.parent
    for folder in sorted(folders, reverse=True):
        _fsync(folder)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

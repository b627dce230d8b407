"""Files of a base as the engine writes them, and revisions over them, for tests of sinks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import duckdb

from headrace.model.loads import DataFile, Revision

AT = datetime(2025, 1, 1, tzinfo=UTC)
COLUMNS = (("asset", "VARCHAR"), ("seen", "TIMESTAMP"), ("value", "DOUBLE"))
KEY = ("asset", "seen")
LINEAGE_SQL = """
    '{load}.csv' AS _source_file, 'v-{load}' AS _source_version, row_number() OVER ()::BIGINT AS _source_row,
    '{load}' AS _load_id, TIMESTAMPTZ '2025-01-01 00:00:00+00' AS _arrived_at"""
_HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"


@dataclass
class Base:
    """Writes data files below `root`, and numbers revisions."""

    root: Path
    columns: tuple[tuple[str, str], ...] = COLUMNS
    partitions: tuple[tuple[str, str, str], ...] = ()  # name, type, expression over the row
    number: int = 0
    written: int = field(default=0)
    keep: Callable[[Sequence[DataFile]], None] = field(default=lambda files: None)  # what a home does with new files

    def __post_init__(self) -> None:
        self.duckdb = duckdb.connect()
        self.duckdb.execute("SET TimeZone = 'UTC'")

    def load(self, load: str, rows: str, columns: Sequence[tuple[str, str]] | None = None) -> list[DataFile]:
        """Write the rows of one load: `rows` is a query, or the text of VALUES tuples for the columns."""
        shape = columns or self.columns
        names = ", ".join(f'"{n}"' for n, _ in shape)
        source = rows if rows.lstrip().lower().startswith("select") else f"SELECT * FROM (VALUES {rows}) t({names})"
        typed = ", ".join(f'"{n}"::{t} AS "{n}"' for n, t in shape)
        extra = "".join(f', ({sql})::{t} AS "{n}"' for n, t, sql in self.partitions if n not in dict(shape))
        query = f"SELECT {typed}, {LINEAGE_SQL.format(load=load)}{extra} FROM ({source}) r"
        return self.write(query, {load: 0})

    def hourly(self, asset: str, hours: int, load: str = "") -> list[DataFile]:
        """A row an hour of one asset, from 20:00 of the last day of a month on; values count from 0."""
        rows = f"SELECT '{asset}' AS asset, TIMESTAMP '2025-01-31 20:00:00' + to_hours(i) AS seen, i AS value"
        return self.load(load or f"L-{asset}", f"{rows} FROM range({hours}) t(i)")

    def write(self, query: str, loads: Mapping[str, int]) -> list[DataFile]:
        """One COPY of any query; returns its files with their rows, loads and partitions."""
        self.written += 1
        folder = self.root / "lake" / "t" / "data"
        folder.mkdir(parents=True, exist_ok=True)
        name = f"attempt{self.written}"
        if self.partitions:
            by = ", ".join(f'"{n}"' for n, _, _ in self.partitions)
            options = f"PARTITION_BY ({by}), WRITE_PARTITION_COLUMNS true, OVERWRITE_OR_IGNORE true"
            options += f", FILENAME_PATTERN '{name}_{{i}}'"
            self.duckdb.execute(f"COPY ({query}) TO '{folder}' (FORMAT parquet, {options})")
            paths = sorted(folder.rglob(f"{name}_*.parquet"))
        else:
            paths = [folder / f"{name}.parquet"]
            self.duckdb.execute(f"COPY ({query}) TO '{paths[0]}' (FORMAT parquet)")
        files = [self._file(path, folder) for path in paths]
        self.keep(files)
        return files

    def _file(self, path: Path, folder: Path) -> DataFile:
        counted = self.duckdb.execute(
            "SELECT _load_id, count(*) FROM read_parquet(?, hive_partitioning = false) GROUP BY 1", [str(path)]
        ).fetchall()
        values = dict(p.split("=", 1) for p in path.relative_to(folder).parts[:-1])
        return DataFile(
            path=str(path.relative_to(self.root)),
            kind="data",
            rows=sum(n for _, n in counted),
            size=path.stat().st_size,
            loads=dict(counted),
            partition={unquote(n): None if v == _HIVE_NULL else unquote(v) for n, v in values.items()},
        )

    def revision(self, added: Sequence[DataFile] = (), removed: Sequence[DataFile] = (), **given: Any) -> Revision:
        """The next revision."""
        self.number += 1
        columns = given.pop("columns", self.columns)
        return Revision("p", self.number, AT, "publish", tuple(added), tuple(removed), tuple(columns), **given)

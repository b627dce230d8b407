"""Compare what the sinks and the ledger hold with what the oracle says. Used by every trial of the law."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from pyarrow.parquet import ParquetFile

from headrace.engine.home import Home
from headrace.sinks.lake import LakeWriter

from .oracle import Outcome

Rows = list[tuple[Any, ...]]
STOOD = ("decided", "standing")
LOSERS = ("k", "v", "w", "_source_file", "_source_row", "_verdict")
REJECTED = ("_source_file", "_source_row", "_source_line", "rule", "column", "value", "reason", "raw")


def rows_in(home: Home, sink: str) -> Rows:
    """k, v, w, source file and source row of everything a sink shows its readers."""
    writer: Any = home.writers[sink]
    found = lake_rows(home, sink) if isinstance(writer, LakeWriter) else _keyed_rows(writer, sink)
    return [(r["k"], r["v"], r.get("w"), r["_source_file"], r["_source_row"]) for r in found]


def lake_rows(home: Home, table: str, where: str = "") -> list[dict[str, Any]]:
    """What Iceberg readers see, through PyIceberg and its own metadata. `where` lets them pass files by."""
    from pyiceberg.catalog.sql import SqlCatalog
    from pyiceberg.exceptions import NoSuchTableError

    if not (home.root / "catalog.db").exists():
        return []
    catalog = SqlCatalog("headrace", uri=f"sqlite:///{home.root / 'catalog.db'}", warehouse=home.root.as_uri())
    try:
        found: list[dict[str, Any]] = _scan(catalog.load_table(("lake", table)), where).to_arrow().to_pylist()
        return found
    except NoSuchTableError:
        return []
    finally:
        catalog.engine.dispose()


def _keyed_rows(writer: Any, table: str) -> list[dict[str, Any]]:
    """What lookups see, key by key."""
    if not writer.path.exists():
        return []
    with closing(sqlite3.connect(f"file:{writer.path}?mode=ro", uri=True)) as db:
        if not db.execute("select 1 from sqlite_master where name = 'items'").fetchone():
            return []
        keys = [k for (k,) in db.execute(f"select distinct {writer.key[0]} from items")]
    return [r for k in keys for r in writer.get(table, k)]


def _scan(table: Any, where: str) -> Any:
    return table.scan(row_filter=where) if where else table.scan()


def base_rows(home: Home, kind: str, *columns: str) -> Rows:
    """What people see of losers and rejected rows: standing files, standing loads."""
    found = home.ledger.files(kind)
    if not found:
        return []
    loads = {x.id for x in home.ledger.in_state(*STOOD)}
    rows = [row for file in found for row in _parquet_rows(home.root / file.path, {*columns, "_load_id"})]
    return [tuple(row.get(c) for c in columns) for row in rows if row["_load_id"] in loads]


def _parquet_rows(path: Path, columns: set[str]) -> list[dict[str, Any]]:
    """The rows of one file, whatever columns it has of those."""
    with ParquetFile(path) as file:
        rows: list[dict[str, Any]] = file.read(columns=sorted(columns & set(file.schema_arrow.names))).to_pylist()
        return rows


def check(home: Home, want: Outcome) -> None:
    """Raise AssertionError unless every sink, the losers, the rejected rows and every count are as F says."""
    for name in home.writers:
        rows = rows_in(home, name)
        assert len(rows) == len(set(rows)), f"{name} holds a row twice"
        assert set(rows) == want.rows, f"{name}: too many {set(rows) - want.rows}, missing {want.rows - set(rows)}"
    losers = base_rows(home, "losers", *LOSERS)
    _same("losers", losers, want.losers)
    _same("rejected", base_rows(home, "rejected", *REJECTED[:2]), want.rejected)
    counts = {x.key: x.counts for x in home.ledger.in_state(*STOOD)}
    assert counts.keys() == want.counts.keys(), f"{sorted(counts)} stand instead of {sorted(want.counts)}"
    for key, found in counts.items():
        have = {n: getattr(found, n) for n in want.counts[key]}
        assert have == want.counts[key], f"{key}: {have} instead of {want.counts[key]}"
    skipped = {x.key for x in home.ledger.in_state("skipped")}
    assert skipped == want.skipped, f"skipped {skipped} instead of {want.skipped}"


def _same(what: str, have: Rows, want: set[Any]) -> None:
    assert len(have) == len(set(have)), f"{what}: a row is there twice in {sorted(have, key=str)}"
    assert set(have) == want, f"{what}: too many {set(have) - want}, missing {want - set(have)}"


def check_tidy(home: Home) -> None:
    """Raise AssertionError unless every base file is known to the ledger, and every file that it refers to is there."""
    known = home.ledger.known_paths(home.base)
    there = {
        str(p.relative_to(home.root))
        for kind in ("data", "losers", "rejected")
        for p in (home.root / home.base / kind).rglob("*.parquet")
    }
    assert not there - known, f"stray files {there - known}"
    standing = {f.path for kind in ("data", "losers", "rejected") for f in home.ledger.files(kind)}
    missing = {path for path in standing if not (home.root / path).exists()}
    assert not missing, f"files that should be there {missing}"
    left = [p.name for folder in (home.spool, home.quick) for p in folder.iterdir() if p.is_file()]
    assert not left, f"copies left in the spool: {left}"

"""Compare what the sinks and the ledger hold with what the oracle says."""

from __future__ import annotations

import sqlite3
from typing import Any

import duckdb

from headrace.engine.base import file_list

from .oracle import Outcome, f
from .world import World


def lake_rows(world: World) -> list[tuple[Any, ...]]:
    """What Iceberg readers see, through PyIceberg and its own metadata."""
    from pyiceberg.catalog.sql import SqlCatalog
    from pyiceberg.exceptions import NoSuchTableError

    catalog = SqlCatalog("headrace", uri=f"sqlite:///{world.root / 'catalog.db'}", warehouse=world.root.as_uri())
    try:
        table = catalog.load_table("lake.items")
    except NoSuchTableError:
        return []
    rows = table.scan().to_arrow().to_pylist()
    return [(r["k"], r["v"], r["_source_file"], r["_source_row"]) for r in rows]


def keyed_rows(world: World) -> list[tuple[Any, ...]]:
    """What lookups see."""
    writer: Any = world.home.writers["by_key"]
    if not (world.root / "keyed" / "by_key.db").exists():
        return []
    with sqlite3.connect(f"file:{world.root / 'keyed' / 'by_key.db'}?mode=ro", uri=True) as db:
        keys = [k for (k,) in db.execute("select k from items")]
    return [(r["k"], r["v"], r["_source_file"], r["_source_row"]) for k in keys for r in writer.get("by_key", k)]


def base_rows(world: World, kind: str, columns: str) -> list[tuple[Any, ...]]:
    """What SQL sees of losers and rejected rows: standing files, standing loads."""
    found = world.home.ledger.files(kind)
    if not found:
        return []
    loads = {x.id for x in world.home.ledger.in_state("decided", "standing")}
    paths = file_list(world.root, [x.path for x in found])
    query = f"select {columns}, _load_id from read_parquet({paths}, union_by_name=true, hive_partitioning=false)"
    return [row[:-1] for row in duckdb.connect().execute(query).fetchall() if row[-1] in loads]


def expected(world: World) -> Outcome:
    policies: Any = world.policies
    return f(world.standing(), policies.on_conflict, policies.same_bytes)


def check(world: World) -> None:
    """Raise AssertionError unless both sinks, the losers, the rejected rows and every count are as F says."""
    want = expected(world)
    for name, rows in (("lake", lake_rows(world)), ("keyed", keyed_rows(world))):
        assert len(rows) == len(set(rows)), f"{name} holds a row twice"
        assert set(rows) == want.rows, f"{name}: too many {set(rows) - want.rows}, missing {want.rows - set(rows)}"
    losers = base_rows(world, "losers", "k, v, _source_file, _source_row, _verdict")
    assert sorted(losers) == sorted(want.losers), f"losers: {sorted(losers)} instead of {sorted(want.losers)}"
    rejected = base_rows(world, "rejected", "_source_file, _source_row")
    assert sorted(rejected) == sorted(want.rejected), f"rejected: {sorted(rejected)} not {sorted(want.rejected)}"
    for load in world.home.ledger.in_state("decided", "standing"):
        have = {n: getattr(load.counts, n) for n in want.counts[load.key]}
        assert have == want.counts[load.key], f"{load.key}: {have} instead of {want.counts[load.key]}"
    skipped = {x.key for x in world.home.ledger.in_state("skipped")}
    assert skipped == want.skipped, f"skipped {skipped} instead of {want.skipped}"
    known = world.home.ledger.known_paths()
    strays = [
        str(p.relative_to(world.root))
        for kind in ("data", "losers", "rejected")
        for p in (world.root / world.home.base / kind).rglob("*.parquet")
        if str(p.relative_to(world.root)) not in known
    ]
    assert not strays, f"stray files {strays}"

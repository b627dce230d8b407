"""Compaction moves no row, and what it writes is found again by key."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import duckdb

from headrace import Pipeline, Record, files, keyed, lake
from headrace.engine import ingest
from headrace.engine.compact import compact
from headrace.engine.home import Home
from headrace.engine.publish import publish
from headrace.engine.reconcile import scan
from headrace.engine.sandbox import InProcess
from headrace.local.target import LocalTarget


class Reading(Record, key=("asset", "place")):
    """The key's columns stand in another order than the record's."""

    value: int
    place: str
    asset: str


def work(home: Home) -> None:
    scan(home)
    ingest.ingest(home, InProcess(), home.queue.lease("p", 10, timedelta(minutes=1)))
    publish(home)


def test_a_row_that_comes_again_after_compaction_replaces_the_old_one(tmp_path: Path) -> None:
    pipeline = Pipeline("p", source=files("in/"), record=Reading, sinks=[lake("t"), keyed("k")])
    target = LocalTarget(tmp_path / "root")
    home = target.home(pipeline)
    landing = target.landing / "in"
    landing.mkdir()
    for n, place in enumerate("xyz"):
        (landing / f"{place}.csv").write_text(f"asset,place,value\na{n},{place},{n}\n")
        work(home)
    assert compact(home) == 3
    (landing / "later.csv").write_text("asset,place,value\na1,y,100\n")
    work(home)

    paths = [str(target.root / f.path) for f in home.ledger.files("data")]
    rows = duckdb.execute("select asset, place, value from read_parquet($1) order by all", [paths]).fetchall()
    assert rows == [("a0", "x", 0), ("a1", "y", 100), ("a2", "z", 2)]
    lookup = home.writers["k"].get("k", "a1")  # type: ignore[attr-defined]
    assert [item["value"] for item in lookup] == [100]
    target.close()


def test_no_revision_joins_more_than_it_may(tmp_path: Path) -> None:
    pipeline = Pipeline("p", source=files("in/"), record=Reading, sinks=[lake("t")])
    target = LocalTarget(tmp_path / "root")
    home = target.home(pipeline)
    (target.landing / "in").mkdir()
    for n in range(6):
        (target.landing / f"in/{n}.csv").write_text(f"asset,place,value\na{n},x,{n}\n")
        work(home)
    before, size = home.ledger.head(), home.ledger.files("data")[0].size
    assert compact(home, most=3 * size) > 6  # what was joined first is joined again with the others
    assert len(home.ledger.files("data")) == 1
    revisions = [home.ledger.revision(n) for n in range(before + 1, home.ledger.head() + 1)]
    assert len(revisions) > 1 and all(len(r.removed) <= 3 for r in revisions)
    target.close()

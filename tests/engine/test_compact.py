"""Compaction moves no row, and what it writes is found again by key."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import duckdb

from headrace import Pipeline, Record, files, keyed, lake
from headrace.engine import ingest
from headrace.engine.compact import TOO_MANY, compact
from headrace.engine.home import Home
from headrace.engine.loop import chores, keep_house
from headrace.engine.publish import publish
from headrace.engine.reconcile import scan
from headrace.engine.sandbox import InProcess
from headrace.engine.settings import Settings
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


class Line(Record):
    n: int


def crowd(tmp_path: Path, count: int) -> LocalTarget:
    """A root with so many small files of one partition."""
    target = LocalTarget(tmp_path / "root", Settings(batch_files=1))
    home = target.home(Pipeline("p", source=files("in/"), record=Line, sinks=[lake("t")]))
    (target.landing / "in").mkdir()
    for n in range(count):
        (target.landing / f"in/{n}.csv").write_text(f"n\n{n}\n")
    scan(home)
    while leases := home.queue.lease("p", 1, timedelta(minutes=1)):
        ingest.ingest(home, InProcess(), leases)
    publish(home)
    assert len(home.ledger.files("data")) == count
    return target


def test_no_revision_is_begun_without_as_much_time_as_the_longest_took(tmp_path: Path) -> None:
    target = crowd(tmp_path, 8)
    home = target.home(Pipeline("p", source=files("in/"), record=Line, sinks=[lake("t")]))
    size = home.ledger.files("data")[0].size
    begun = home.ledger.head()

    def left() -> float:
        return 300.0 - 110.0 * (home.ledger.head() - begun)

    assert compact(home, most=2 * size, seconds_left=lambda: 0) == 0
    compact(home, most=2 * size, seconds_left=left)
    assert home.ledger.head() == begun + 2
    target.close()


def test_housekeeping_ends_with_the_time_for_it(tmp_path: Path) -> None:
    target = crowd(tmp_path, TOO_MANY)
    home = target.home(Pipeline("p", source=files("in/"), record=Line, sinks=[lake("t")]))
    keep_house(home, *chores(lambda: 0))  # what is begun looks at the time itself
    assert len(home.ledger.files("data")) == TOO_MANY
    done: list[Home] = []
    keep_house(home, done.append, seconds_left=lambda: 0)
    assert not done
    keep_house(home, *chores(lambda: 300.0), seconds_left=lambda: 300.0)
    assert len(home.ledger.files("data")) < TOO_MANY
    target.close()

"""Expressions of a record may look at where a row comes from, and see the right place whatever was read before it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import duckdb

from headrace import Pipeline, Record, derived, files, lake
from headrace.engine import ingest
from headrace.engine.publish import publish
from headrace.engine.reconcile import scan
from headrace.engine.sandbox import InProcess
from headrace.engine.settings import Settings
from headrace.local.target import LocalTarget


class Row(Record):
    k: int
    place: str = derived("_source_file || ':' || _source_row")


def rows(tmp_path: Path, settings: Settings) -> list[tuple[int, str]]:
    pipeline = Pipeline("p", source=files("in/"), record=Row, sinks=[lake("t")])
    target = LocalTarget(tmp_path / "root", settings)
    home = target.home(pipeline)
    (target.landing / "in").mkdir()
    (target.landing / "in" / "a.csv").write_text('k,v\n1,"a\nb"\n2,too,many\n3,c\n')
    (target.landing / "in" / "b.csv").write_text("k,v\n4,d\n")
    scan(home)
    ingest.ingest(home, InProcess(), home.queue.lease("p", 10, timedelta(minutes=1)))
    publish(home)
    paths = [str(target.root / f.path) for f in home.ledger.files("data")]
    target.close()
    return duckdb.execute("select k, place from read_parquet($1) order by k", [paths]).fetchall()


EXPECTED = [(1, "in/a.csv:1"), (3, "in/a.csv:3"), (4, "in/b.csv:1")]


def test_files_that_are_staged_together(tmp_path: Path) -> None:
    assert rows(tmp_path, Settings()) == EXPECTED


def test_a_file_that_is_staged_alone(tmp_path: Path) -> None:
    assert rows(tmp_path, Settings(batch_bytes=1)) == EXPECTED

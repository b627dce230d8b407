"""`after="archive"`: what stands moves out of the way, and can still be replayed and corrected."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from headrace import Pipeline, Record, column, files, lake
from headrace.engine import ingest
from headrace.engine.home import Home
from headrace.engine.publish import publish
from headrace.engine.reconcile import scan
from headrace.engine.replay import replay
from headrace.engine.sandbox import InProcess
from headrace.local.target import LocalTarget


def pipeline_of(most: int) -> Pipeline:
    class Row(Record, key="k"):
        k: int
        v: int = column(le=most)

    return Pipeline("p", source=files("in/", after="archive"), record=Row, sinks=[lake("t")])


def work(home: Home) -> None:
    ingest.ingest(home, InProcess(), home.queue.lease("p", 10, timedelta(minutes=1)))
    publish(home)


def test_what_stands_is_archived_and_a_replay_reads_it_there(tmp_path: Path) -> None:
    target = LocalTarget(tmp_path / "root")
    home = target.home(pipeline_of(100))
    landing = target.landing / "in"
    landing.mkdir()
    (landing / "a.csv").write_text("k,v\n1,1\n2,50\n")
    scan(home)
    work(home)
    assert not (landing / "a.csv").exists()
    (archived,) = (tmp_path / "root" / "archive").rglob("a.csv")
    assert archived.read_text() == "k,v\n1,1\n2,50\n"
    assert scan(home) == 0, "what was archived is at rest"

    home = target.home(pipeline_of(10))
    (old,) = home.ledger.outdated(home.contract.digest)
    replay(home, [old])
    work(home)
    (load,) = home.ledger.standing().values()
    assert (load.counts.loaded, load.counts.rejected) == (1, 1)
    assert load.arrived_at == old.arrived_at
    target.close()

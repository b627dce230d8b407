"""`after="archive"`: what stands moves out of the way, and can still be replayed and corrected."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from headrace import Pipeline, Record, column, files, lake
from headrace.engine import ingest
from headrace.engine.home import Home
from headrace.engine.publish import publish
from headrace.engine.reconcile import scan
from headrace.engine.replay import let_go, replay
from headrace.engine.sandbox import InProcess
from headrace.local.clock import ManualClock
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


def test_what_is_let_go_leaves_although_it_was_just_read_again(tmp_path: Path) -> None:
    target = LocalTarget(tmp_path / "root")
    home = target.home(pipeline_of(100))
    landing = target.landing / "in"
    landing.mkdir()
    for name in ("a", "b"):
        (landing / f"{name}.csv").write_text(f"k,v\n{ord(name)},1\n")
    scan(home)
    work(home)
    replay(home, home.ledger.standing().values())
    ingest.ingest(home, InProcess(), home.queue.lease("p", 10, timedelta(minutes=1)))
    let_go(home, ["in/a.csv"])
    work(home)
    assert list(home.ledger.standing()) == ["in/b.csv"]
    assert [str(x.state) for x in home.ledger.history("in/a.csv")] == ["retired", "abandoned"]
    target.close()


class Watched:
    """A home's store that tells whether an object was moved while a publisher could not work."""

    def __init__(self, home: Home) -> None:
        self._home, self.moved = home, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._home.store, name)

    def archive(self, key: str, version: str) -> None:
        with self._home.lock():  # raises LockHeld, if it is held
            self._home.store.archive(key, version)
            self.moved += 1


def test_archiving_keeps_no_publisher_back_and_what_there_was_no_time_for_the_scan_finds(tmp_path: Path) -> None:
    later = ManualClock(datetime.now(UTC) + timedelta(days=1))  # so that no file looks fresh
    target = LocalTarget(tmp_path / "root", clock=later)
    home = target.home(pipeline_of(100))
    landing = target.landing / "in"
    landing.mkdir()
    for n in range(3):
        (landing / f"{n}.csv").write_text(f"k,v\n{n},1\n")
    scan(home)
    home = replace(home, store=(watched := Watched(home)))
    ingest.ingest(home, InProcess(), home.queue.lease("p", 10, timedelta(minutes=1)))
    looks = iter([300.0, 0.0, 0.0])
    assert publish(home, lambda: next(looks))
    assert (watched.moved, len(list(landing.iterdir()))) == (1, 2)
    assert scan(home) == 0 and not list(landing.iterdir())
    target.close()

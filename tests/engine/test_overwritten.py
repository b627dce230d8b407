"""An object that is replaced all the time, while nothing can be decided."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from headrace import Pipeline, Record, files, lake
from headrace.engine import ingest as engine
from headrace.engine.ingest import ingest
from headrace.engine.publish import publish
from headrace.engine.sandbox import InProcess
from headrace.engine.settings import Settings
from headrace.local.clock import ManualClock
from headrace.local.target import LocalTarget
from headrace.model.loads import Event


class Row(Record, key="k"):
    k: int


def test_no_more_of_its_versions_wait_than_need_to_and_the_last_one_stands(tmp_path: Path) -> None:
    clock = ManualClock()
    home = LocalTarget(tmp_path / "root", Settings(), clock).home(
        Pipeline("p", source=files("in/"), record=Row, sinks=[lake("t")])
    )
    path = tmp_path / "root/landing/in/latest.csv"
    path.parent.mkdir(parents=True, exist_ok=True)

    def look() -> None:
        clock.advance(timedelta(hours=2))
        ingest(home, InProcess(), home.queue.lease("p", 10, timedelta(minutes=1)))

    last = engine.MOST_WAITING + 5
    for n in range(last):
        path.write_text(f"k\n{n + 1}\n")
        home.queue.put([Event("p", "in/latest.csv", "created")])
        look()
    assert len(home.ledger.in_state("staged")) == engine.MOST_WAITING
    assert home.queue.empty("p"), "what is not read is not asked for again and again"
    publish(home)
    look()
    publish(home)
    [standing] = home.ledger.in_state("standing")
    assert (home.ledger.in_state("staged"), home.store.digest("in/latest.csv")[1]) == ([], standing.version)

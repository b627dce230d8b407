"""A publisher in a process that has no PyArrow: `python without_pyarrow.py ROOT`, with this folder on the path.

It stages through the confined child, which has it. Prints the revisions it made.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

from headrace import Pipeline, Record, files, lake
from headrace.engine import ingest
from headrace.engine.compact import compact
from headrace.engine.home import Home
from headrace.engine.publish import publish
from headrace.engine.reconcile import scan
from headrace.engine.replay import rebuild
from headrace.engine.retain import prune
from headrace.engine.sandbox import Sandbox
from headrace.engine.settings import Settings
from headrace.local.target import LocalTarget

FILES = {
    "a.csv": "asset,day,value\nx,2025-01-01,1\ny,2025-01-02,2\n",
    "b.csv": "asset,day,value\nx,2025-01-01,10\nz,2026-01-03,3\nz,never,4\n",
    "c.csv": "asset,day,value\nw,2026-01-04,5\n",
}


class NoPyArrow(MetaPathFinder):
    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        if fullname.partition(".")[0] == "pyarrow":
            raise ImportError(f"{fullname} is not installed here")


class Reading(Record, key=("asset", "day")):
    asset: str
    day: str
    value: int


def pipeline() -> Pipeline:
    return Pipeline(
        "p", source=files("in/", on_delete="retract"), record=Reading, sinks=[lake("t", partition_by="asset")]
    )


def work(home: Home, sandbox: Sandbox) -> None:
    scan(home)
    ingest.ingest(home, sandbox, home.queue.lease("p", 10, timedelta(minutes=1)))
    publish(home)


def main(root: Path) -> None:
    sys.meta_path.insert(0, NoPyArrow())
    settings = Settings(threads=1, memory_limit="400MB")
    target = LocalTarget(root, settings)
    home = target.home(pipeline())
    landing = target.landing / "in"
    landing.mkdir()
    with Sandbox(settings) as sandbox:
        for name, text in FILES.items():  # one after the other: rows of the second take keys from the first
            (landing / name).write_text(text)
            work(home, sandbox)
        (landing / "c.csv").unlink()
        work(home, sandbox)
    rebuild(home, "t")
    compact(home)
    prune(home)
    home.writers["t"].maintain()
    assert "pyarrow" not in sys.modules
    print(home.ledger.head())
    target.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))

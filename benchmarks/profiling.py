"""Where the CPU seconds go: the measured work once more, step by step in one process, DuckDB's threads included.

The child's work is done here, unconfined and never beside the parent's: the sum is what the two processes share. Steps
are timed by wrapping them, since a profiler would cost more than a small file does.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from benchmarks.data import events_csv, reading_files
from benchmarks.harness import run
from benchmarks.place import fresh_project, land
from headrace import open_project
from headrace.engine import ingest, publish, reconcile, stage
from headrace.engine.home import Home
from headrace.engine.sandbox import InProcess
from headrace.local.keyed import KeyedWriter
from headrace.local.ledger import SqliteLedger
from headrace.sinks.lake import LakeWriter

STEPS: tuple[tuple[str, Any, str], ...] = (
    ("scan of the landing folder", reconcile, "scan"),
    ("look, hash, copy to the spool", ingest, "look"),
    ("pin version and order", SqliteLedger, "pin"),
    ("child: decide how to read; JSON into columns", stage, "open_input"),
    ("child: cast, check, hash ids", stage.Staging, "_stage_group"),
    ("child: rejected rows with their text", stage, "gather_rejected"),
    ("child: keys that are contested within a file", stage.Staging, "_find_losers"),
    ("child: count", stage.Staging, "_count"),
    ("child: write Parquet and sync", stage.Staging, "_write"),
    ("ledger owns the staged loads", SqliteLedger, "stage"),
    ("publisher: judge against the store", publish, "judge"),
    ("publisher: contested keys", publish, "resolve"),
    ("publisher: record the revision", SqliteLedger, "record"),
    ("sink keyed", KeyedWriter, "apply"),
    ("sink lake", LakeWriter, "apply"),
)
START = "import headrace.engine.stage, headrace.project, headrace.sinks.iceberg"


def profile(work: str, rows: int) -> None:
    """Print the table of one work: `bulk`, `small` (50 records a file) or `single` (one)."""
    import headrace.sinks.iceberg  # noqa: F401 - told as `start`

    name, prefix, files = {
        "bulk": lambda: ("events", "raw", [events_csv(rows)]),
        "small": lambda: ("readings", "in", sorted(reading_files(10_000, 50).iterdir())),
        "single": lambda: ("readings", "in", sorted(reading_files(17_568, 1).iterdir())),
    }[work]()
    project = fresh_project(name)
    land(project, prefix, files)
    spent: Counter[str] = Counter()
    with open_project(project, target="local") as opened, _timed(spent):
        home = opened.home(name)
        began = time.process_time()
        _work(home)
        whole = time.process_time() - began
    start = run([sys.executable, "-c", START]).cpu
    total = whole + start
    lines = [*((step, spent[step]) for step, _, _ in STEPS)]
    lines += [("the rest", whole - sum(spent.values())), ("start: Python and libraries (the child's besides)", start)]
    print(f"\n### Profile of {work}: {total:.1f} CPU seconds, all of it in one process\n")
    print("| step | CPU s | share |\n|---|---:|---:|")
    for step, seconds in lines:
        print(f"| {step} | {seconds:.2f} | {seconds / total:.0%} |")
    sys.stdout.flush()


def _work(home: Home) -> None:
    reconcile.scan(home)
    child = InProcess()
    while leases := home.queue.lease(home.name, home.settings.batch_files, ingest.patience(home)):
        ingest.ingest(home, child, leases)
        publish.publish(home)


@contextmanager
def _timed(spent: Counter[str]) -> Iterator[None]:
    """Add up what each step takes. None of them calls another."""
    with ExitStack() as stack:
        for step, owner, name in STEPS:
            act = getattr(owner, name)
            setattr(owner, name, _watched(spent, step, act))
            stack.callback(setattr, owner, name, act)
        yield


def _watched(spent: Counter[str], step: str, act: Callable[..., Any]) -> Callable[..., Any]:
    def watched(*args: Any, **more: Any) -> Any:
        began = time.process_time()
        try:
            return act(*args, **more)
        finally:
            spent[step] += time.process_time() - began  # type: ignore[assignment]

    return watched

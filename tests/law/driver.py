"""A process to kill: it opens a root and works on everything that lies there, with confined children and two workers.

Run as `python -m law.driver ROOT [PRELOAD]` under strace, or forked by `multiprocessing` after the imports. It holds no
state of its own, so that whoever killed it can run it again, and only that.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from headrace import Pipeline, Record, column, derived, files, keyed, lake
from headrace.engine import faults
from headrace.engine.compact import compact
from headrace.engine.home import Home
from headrace.engine.loop import chores, work_until_idle
from headrace.engine.reconcile import scan
from headrace.engine.replay import rebuild
from headrace.engine.retain import sweep, sweep_spool
from headrace.engine.sandbox import ChildDied, Sandbox
from headrace.engine.settings import Settings
from headrace.local.ledger import SqliteLedger
from headrace.local.target import LocalTarget
from headrace.model.loads import DataFile, Decision, Lease, Staged

from .coming import START, put

FILES, FEW, ROWS, KEYS = 80, 40, 6, 150
SETTINGS = Settings(
    memory_limit="400MB",
    threads=1,
    workers=2,
    batch_files=10,
    max_receives=1000,
    backoff=0.01,
    backoff_limit=0.05,
)


class Item(Record, key="k"):
    """Keys are shared across files; a value over 100 is rejected."""

    k: int
    v: int = column(le=100)
    part: int = derived("k % 3")


PIPELINE = Pipeline(
    "p",
    source=files("in/", suffix=".csv"),
    record=Item,
    sinks=(lake("items", partition_by=("part",)), keyed("by_key")),
)


class LaterClock:
    """An hour ahead: no file looks as fresh as if it might still be written, which would only be waited for."""

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(hours=1)


def text(n: int) -> str:
    """What stands in file n: some keys of its neighbours, now and then a dirty row."""
    rows = [f"{(n * 5 + i * 7) % KEYS},{(n + i) % 100}" for i in range(ROWS)]
    if n % 9 == 0:
        rows[2] = f"{n % KEYS},x"
    if n % 7 == 0:
        rows[3] = rows[1]
    return "k,v\n" + "\n".join(rows) + "\n"


def created(n: int) -> datetime:
    """Neither in the order of names nor of arrival."""
    return START + timedelta(seconds=n * 37 % 101)


def arrive(target: LocalTarget, n: int) -> None:
    """The first n files, whole."""
    for i in range(n):
        put(target.landing, f"in/{i:03}.csv", text(i), created(i))


class Watched(Sandbox):
    """Notes that its child died, so that whoever killed it can tell that it did."""

    def __init__(self, note: Path, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._note = note

    def result(self) -> dict[str, Any]:
        try:
            return super().result()
        except ChildDied as exc:
            with self._note.open("a") as file:
                file.write(f"{exc.reason}\n")
            raise


def work(home: Home, preload: tuple[str, ...] = ()) -> None:
    """Everything that lies there, then housekeeping. The same after a crash as before."""
    sweep(home)
    for folder in (home.spool, home.quick):
        sweep_spool(folder)
    scan(home)
    while True:
        work_until_idle([home], lambda: child(home, preload))
        if not scan(home):
            break
    compact(home)
    for sink in home.writers:
        rebuild(home, sink)
    for piece in chores():
        piece(home)


def child(home: Home, preload: tuple[str, ...] = ()) -> Sandbox:
    """A confined child as a project makes it, that has what `preload` names imported before its first job."""
    folders = [home.spool, home.root / home.base]
    folders[1].mkdir(parents=True, exist_ok=True)
    modules = ("headrace.engine.stage", *preload)
    return Watched(home.root / "deaths", home.settings, writable=folders, preload=modules)


class MarkingLedger(SqliteLedger):
    """Says in a file what a commit is about to refer to, and when it has returned; for a reader of system calls."""

    def __init__(self, target: LocalTarget) -> None:
        super().__init__(target.database, target.queue, PIPELINE.name, target.clock)
        self._marks = os.open(target.root / "mark", os.O_WRONLY | os.O_CREAT)

    def say(self, what: str, *paths: str) -> None:
        for path in paths:
            os.write(self._marks, f"{what} {path}\n".encode())

    def stage(self, staged: Sequence[Staged], files: Sequence[DataFile], leases: Sequence[Lease]) -> None:
        self.say("refer", *(f.path for f in files))
        super().stage(staged, files, leases)
        self.say("committed", "ledger.db")

    def record(self, decision: Decision) -> None:
        self.say("refer", *(f.path for f in decision.fresh), *decision.adopted)
        super().record(decision)
        self.say("committed", "ledger.db")

    def mark(self, sink: str, number: int) -> None:
        self.say("durable", "catalog.db" if sink == "items" else f"keyed/{sink}.db")
        super().mark(sink, number)


def main(root: str, fault: str = "") -> None:
    """Open the root, be killed where `fault` says (see `engine.faults`), or finish."""
    if fault:
        os.environ[faults.VARIABLE] = fault  # for the children
    else:
        os.environ.pop(faults.VARIABLE, None)
    with faults.install(faults.parse(fault)) if fault else nullcontext():
        target = LocalTarget(Path(root), SETTINGS, LaterClock())
        work(target.home(PIPELINE))
        target.close()


def traced(root: str, *preload: str) -> None:
    """A run from the very first that says what it refers to. `preload` names modules for the child: bugs to plant."""
    target = LocalTarget(Path(root), SETTINGS, LaterClock())
    arrive(target, FEW)
    work(replace(target.home(PIPELINE), ledger=MarkingLedger(target)), preload)
    target.close()


if __name__ == "__main__":
    traced(*sys.argv[1:])

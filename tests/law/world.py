"""A small world in which anything may happen to files, events, workers and the publisher, on real parts.

Real folder, real SQLite, real DuckDB, real Iceberg; only time is moved by hand and crashes are raised at fault points
(a new "process" then opens the same root). Driven by a seeded random source, so that a failing history replays.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from headrace import Pipeline, Record, column, files, keyed, lake
from headrace import skip as skip_rows
from headrace.engine import faults, ingest, stage
from headrace.engine.compact import compact
from headrace.engine.home import Home
from headrace.engine.publish import decide, publish
from headrace.engine.reconcile import scan
from headrace.engine.recover import recover
from headrace.engine.replay import rebuild, redrive, replay
from headrace.engine.retain import prune, sweep, sweep_spool
from headrace.engine.settings import Settings
from headrace.local.clock import ManualClock
from headrace.local.target import LocalTarget
from headrace.model.errors import LeaseLost, RevisionRefused
from headrace.model.loads import Event, Lease, Load

from .oracle import Stands

KEYS = ("in/a.csv", "in/b.csv", "in/c.csv", "in/d.csv")
CONTENTS = (
    "k,v\n1,1\n2,2\n3,3\n",
    "k,v\n2,2\n3,1\n4,0\n",
    "k,v\n3,3\n3,2\n5,5\n5,5\n",
    "k,v\n1,x\n2,1\n6,2\n",
    "k,v\n1,1\n7,-1\n4,9\n2\n",
    "k,v\n4,4\n1,0\n8,8,8\n6,7\n",
    "k,v\n1,1\n2,2\n3,3\n4,4\n5,5\n6,6\n",
    "k,v\n",
)
BROKEN = "nothing,like\nthe,contract\n"
START = datetime(2025, 1, 1, tzinfo=UTC)
ALWAYS = timedelta(days=1)


class Crash(BaseException):
    """The process died here. Not an Exception: nothing may handle it."""


class HereChild:
    """Stages in this process, like the confined child does in its own."""

    def call(self, kind: str, payload: dict[str, Any], timeout: float) -> dict[str, Any]:
        return stage.handle(payload)


@dataclass(frozen=True)
class Policies:
    on_conflict: str
    same_bytes: str
    on_delete: str

    @staticmethod
    def drawn(random: Random) -> Policies:
        return Policies(
            random.choice(("last", "first", "reject")),
            random.choice(("load", "skip")),
            random.choice(("keep", "retract")),
        )


def pipeline_of(policies: Policies, most: int) -> Pipeline:
    """The pipeline under test; `most` is what a contract change changes."""

    class Item(Record, key="k", on_conflict=policies.on_conflict):  # type: ignore[call-arg]
        k: int
        v: int = column(le=most)

    return Pipeline(
        "p",
        source=files(
            "in/",
            suffix=".csv",
            on_delete=policies.on_delete,  # type: ignore[arg-type]
            same_bytes=policies.same_bytes,  # type: ignore[arg-type]
        ),
        record=Item,
        rules=(skip_rows("negative", when="v < 0"),),
        sinks=(lake("items", partition_by=("k",)), keyed("by_key")),
    )


class World:
    def __init__(self, root: Path, seed: int) -> None:
        self.root, self.random = root, Random(seed)
        self.policies = Policies.drawn(self.random)
        self.most = 100
        self.clock = ManualClock(datetime.now(UTC) + timedelta(days=1))  # so that no file looks fresh
        self.times: dict[tuple[str, str], set[datetime]] = {}
        self.ticks = 0
        self.late: list[Event] = []
        self.corrected: dict[str, dict[int, tuple[str, str]]] = {"": {}}
        self.zombies: list[Callable[[], None]] = []
        self.story: list[str] = []
        self.child: ingest.Child = HereChild()
        self.open()

    # -- the process -----------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Start a process on the root, after whatever happened to the one before."""
        self.target = LocalTarget(self.root, Settings(threads=1, memory_limit="400MB", max_receives=1000), self.clock)
        self.home: Home = self.target.home(pipeline_of(self.policies, self.most))

    def restart(self) -> None:
        self.target.close()
        self.clock.advance(ALWAYS)
        self.open()
        sweep_spool(self.home.spool)
        sweep(self.home)
        self.zombies.clear()

    # -- the outside -----------------------------------------------------------------------------------------------

    def path(self, key: str) -> Path:
        return self.target.landing / key

    def write(self, key: str, text: str) -> None:
        """Let a version arrive, newer or older than anything before, and perhaps tell about it."""
        self.ticks += 1
        created = START + timedelta(seconds=self.random.choice((self.ticks, self.ticks, -self.ticks, 5)))
        self.path(key).parent.mkdir(parents=True, exist_ok=True)
        temporary = self.target.landing / ".next"
        temporary.write_text(text)
        os.utime(temporary, ns=(int(created.timestamp()) * 10**9,) * 2)
        temporary.rename(self.path(key))
        self.times.setdefault((key, text), set()).add(created)
        self.tell(key)

    def tell(self, key: str) -> None:
        """An event for a key: perhaps lost, doubled, or late."""
        event = Event("p", key, self.random.choice(("created", "created", "removed")))
        fate = self.random.random()
        if fate < 0.6:
            self.home.queue.put([event])
        elif fate < 0.75:
            self.late.append(event)
        if self.random.random() < 0.2:
            self.late.append(event)

    def present(self) -> list[str]:
        return [k for k in KEYS if self.path(k).exists()]

    # -- steps -----------------------------------------------------------------------------------------------------

    def step(self) -> None:
        name = self.random.choices(
            (
                "arrive",
                "remove",
                "rename",
                "late",
                "work",
                "publish",
                "correct",
                "contract",
                "zombie",
                "upkeep",
                "crash",
            ),
            (24, 6, 5, 5, 22, 18, 4, 2, 5, 4, 7),
        )[0]
        self.story.append(name)
        getattr(self, f"step_{name}")()

    def step_arrive(self) -> None:
        text = BROKEN if self.random.random() < 0.1 else self.random.choice(CONTENTS)
        self.write(self.random.choice(KEYS), text)

    def step_remove(self) -> None:
        if here := self.present():
            key = self.random.choice(here)
            self.path(key).unlink()
            self.tell(key)

    def step_rename(self) -> None:
        if here := self.present():
            old, new = self.random.choice(here), self.random.choice(KEYS)
            if old != new:
                text = self.path(old).read_text()
                created = datetime.fromtimestamp(self.path(old).stat().st_mtime, UTC)
                self.path(old).rename(self.path(new))
                self.times.setdefault((new, text), set()).add(created)
                self.tell(old)
                self.tell(new)

    def step_late(self) -> None:
        self.random.shuffle(self.late)
        if self.late:
            self.home.queue.put([self.late.pop()])

    def step_work(self) -> None:
        leases = self.home.queue.lease("p", self.random.randint(1, 4), timedelta(minutes=5))
        if leases:
            ingest.ingest(self.home, self.child, leases)

    def step_publish(self) -> None:
        publish(self.home)

    def step_correct(self) -> None:
        """Correct a rejected record of a standing load."""
        for load in self.home.ledger.in_state("decided", "standing"):
            text = self.text_of(load)
            broken = [n for n, line in enumerate(text.splitlines()[1:], 1) if line in ("1,x", "8,8,8", "2")]
            if broken and self.random.random() < 0.7:
                cells = {"k": str(self.random.randint(1, 8)), "v": str(self.random.randint(0, 4))}
                self.home.ledger.correct(load.key, load.version, "", {broken[0]: cells}, self.clock.now())
                digest = self.home.ledger.corrections_digest(load.key, load.version)
                self.corrected[digest] = self.corrections(load)
                self.home.queue.put([Event("p", load.key, "correct")])
                return

    def step_contract(self) -> None:
        """Change the definition, with or without a replay."""
        self.most = 4 if self.most == 100 else 100
        self.restart()
        if self.random.random() < 0.5:
            replay(self.home, self.home.ledger.outdated(self.home.contract.digest))

    def step_upkeep(self) -> None:
        what = self.random.choice(("compact", "prune", "rebuild", "scan", "maintain"))
        if what == "compact":
            compact(self.home)
        elif what == "prune":
            self.clock.advance(timedelta(days=30))
            prune(self.home)
        elif what == "rebuild":
            rebuild(self.home, self.random.choice(list(self.home.writers)))
        elif what == "scan":
            scan(self.home)
        else:
            for writer in self.home.writers.values():
                writer.maintain()

    def step_zombie(self) -> None:
        """Start work and let it finish much later, when the world has moved on; or let such a one finish now."""
        if self.zombies and self.random.random() < 0.5:
            self.zombies.pop(self.random.randrange(len(self.zombies)))()
        elif self.random.random() < 0.5:
            self._zombie_worker()
        else:
            self._zombie_publisher()

    def _zombie_worker(self) -> None:
        leases: list[Lease] = self.home.queue.lease("p", 3, timedelta(seconds=1))
        if not leases:
            return
        batch = ingest.prepare(self.home, leases)
        self.clock.advance(10)  # its leases run out: others will take its events
        for job in batch.jobs:
            try:
                result = self.child.call("stage", ingest.job_of(self.home, job).to_dict(), 60)
            except ingest.BadObject:
                continue
            home = self.home

            def finish(job: list[ingest.Found] = job, result: dict[str, Any] = result, home: Home = home) -> None:
                try:
                    ingest.hand_over(home, job, result, 0.1)
                except LeaseLost:
                    pass

            self.zombies.append(finish)

    def _zombie_publisher(self) -> None:
        recover(self.home)
        decision, _ = decide(self.home)
        if decision is None:
            return
        home = self.home

        def finish() -> None:
            try:
                home.ledger.record(decision)
            except RevisionRefused:
                return
            recover(home)

        self.zombies.append(finish)
        if self.random.random() < 0.7:  # most of the time somebody else decides first
            publish(self.home)

    def step_crash(self) -> None:
        """Do some work, die at a random fault point, and start again."""
        left = self.random.randint(1, 25)

        def hook(name: str) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                self.story.append(f"  died at {name}")
                raise Crash(name)

        try:
            with faults.install(hook):
                self.step_work()
                self.step_publish()
                compact(self.home) if self.random.random() < 0.2 else self.step_work()
        except Crash:
            pass
        self.restart()

    # -- quiet -----------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Let it be quiet and scanned: everything that waits is done, nothing new happens."""
        for zombie in self.zombies:
            zombie()
        self.zombies.clear()
        self.restart()
        for _ in range(12):
            if self.random.random() < 0.5 and self.home.ledger.held():
                self.home.ledger.confirm()
            scan(self.home)
            self.clock.advance(ALWAYS)
            while leases := self.home.queue.lease("p", 10, timedelta(minutes=5)):
                ingest.ingest(self.home, self.child, leases)
                self.clock.advance(ALWAYS)
            publish(self.home)
            if self.home.queue.depth("p") == (0, 0) and not scan(self.home) and not self.home.ledger.pending():
                break
        else:
            raise AssertionError("it never became quiet")
        prune(self.home)

    # -- what should be --------------------------------------------------------------------------------------------

    def text_of(self, load: Load) -> str:
        import hashlib

        for text in (*CONTENTS, BROKEN):
            if hashlib.sha256(text.encode()).hexdigest() == load.version:
                return text
        raise AssertionError(f"{load.id} has a version that never existed")

    def corrections(self, load: Load) -> dict[int, tuple[str, str]]:
        """What people made of records of this version, in the order of the columns."""
        return {
            record: (cells["k"] or "", cells["v"] or "")
            for _, record, cells in self.home.ledger.corrections(load.key, load.version)
        }

    def standing(self) -> list[Stands]:
        """The standing versions by the law: what the store holds, else what stood last as the policy says."""
        found: list[Stands] = []
        ledger = self.home.ledger.standing()
        for key in KEYS:
            text = self.path(key).read_text() if self.path(key).exists() else None
            load = ledger.get(key)
            if text is not None and text != BROKEN:
                assert load is not None, f"{key} is there and does not stand"
                assert self.text_of(load) == text, f"{key} stands with another version than the store's"
            if text is None and self.policies.on_delete == "retract":
                assert load is None, f"{key} is gone and stands"
            if load is None:
                continue
            version = self.text_of(load)
            assert load.arrived_at in self.times[(key, version)], f"{key} was pinned to a time it never had"
            # An object that is gone cannot be read again: its load keeps the corrections that it was read with.
            corrections = self.corrections(load) if text == version else self.corrected[load.corrections]
            most = next(
                int(sql.split()[-1])
                for c in self.home.ledger.contract(load.contract).columns
                for name, sql in c.checks
                if name == "le"
            )
            found.append(Stands(key, version, load.arrived_at, most, corrections))
        return found


def fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    return folder


__all__ = ["Crash", "HereChild", "World", "fresh", "redrive"]

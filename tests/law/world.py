"""A small world in which anything may happen to files, events, workers, sinks and the publisher, on real parts.

Real folder, real SQLite, real DuckDB, real Iceberg; only time is moved by hand and crashes are raised at fault points
(a new "process" then opens the same root). Driven by a seeded random source, so that a failing history replays.
`coming.py` holds what arrives; `clean.py` runs what stands a second time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Any

from headrace.engine import faults, ingest
from headrace.engine.compact import compact
from headrace.engine.home import Home
from headrace.engine.publish import decide, publish
from headrace.engine.reconcile import scan
from headrace.engine.recover import recover
from headrace.engine.replay import confirm_retraction, rebuild, redrive, replay
from headrace.engine.retain import prune, sweep, sweep_spool
from headrace.engine.settings import Settings
from headrace.engine.together import Found, job_of
from headrace.local.clock import ManualClock
from headrace.local.notify import FileNotifier
from headrace.local.target import LocalTarget
from headrace.model.errors import BadObject, InfrastructureError, LeaseLost, RevisionRefused, SinkAhead
from headrace.model.loads import Event, Lease, Load

from .children import FlakyChild
from .coming import BROKEN, Definition, Landing, Policies, text_of
from .oracle import Cells, Stands
from .watch import Watch

LONG = timedelta(days=1)
STEPS = {
    "arrive": 24,
    "restore": 4,
    "spoil": 4,
    "remove": 6,
    "remove_most": 2,
    "rename": 5,
    "late": 5,
    "work": 22,
    "publish": 18,
    "correct": 6,
    "redefine": 4,
    "resink": 5,
    "redrive": 2,
    "zombie": 10,
    "upkeep": 9,
    "crash": 6,
    "child_dies": 3,
    "sink_fails": 3,
}
SINK_POINTS = ("lake.before-commit", "lake.after-commit", "keyed.before-commit", "keyed.after-commit")
Plant = Callable[[Home], Home]


def right(home: Home) -> Home:
    """Nothing planted."""
    return home


class Crash(BaseException):
    """The process died here. Not an Exception: nothing may handle it."""


class World:
    """One history. `plant` puts a collaborator with a bug in the place of a right one; `often` weighs steps anew."""

    def __init__(
        self,
        root: Path,
        seed: int,
        child: ingest.Child,
        plant: Plant = right,
        often: Mapping[str, int] = MappingProxyType({}),
    ) -> None:
        self.root, self.random, self._plant = root, Random(seed), plant
        self._steps = {**STEPS, **often}
        self.policies = Policies.drawn(self.random)
        self.portion = self.random.choice((0, 0, 0, 0, 1, 2000))  # bytes that a revision takes of what waits; 0: all
        self.definition = Definition(sinks=self.policies.first_sinks(self.random))
        fresh = self.random.random() < 0.3  # in some worlds files are so new that their fingerprint may deceive
        self.clock = ManualClock(datetime.now(UTC) + (timedelta(0) if fresh else LONG))
        self.child = FlakyChild(child)
        self.corrected: dict[str, dict[int, Cells]] = {"": {}}
        self.late: list[Event] = []
        self.zombies: list[Callable[[], None]] = []
        self.story: list[str] = []
        self.seen: Counter[str] = Counter()
        self.open()
        self.landing = Landing(self.target.landing, self.random, self.policies.keys)
        self.watch = Watch(self.target.root / "ledger.db", self.policies, self.landing)
        self._begin()

    def _begin(self) -> None:
        """Most worlds are not empty at first."""
        for key in self.policies.keys if self.policies.crowded else ():
            self.tell(self.landing.arrive(None, key)[0])
        for _ in range(self.random.choice((0, 3, 6, 12))):
            self.step_arrive()
        if self.random.random() < 0.7:
            scan(self.home)
            self.work(100)
            self.publish()

    # -- the process -----------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Start a process on the root, after whatever happened to the one before."""
        settings = Settings(threads=1, memory_limit="400MB", max_receives=1000, revision_bytes=self.portion)
        self.target = LocalTarget(self.root, settings, self.clock)
        home = self.target.home(self.policies.pipeline(self.definition))
        quiet = FileNotifier(self.root / "logs" / "notifications.jsonl", self.clock, stream=StringIO())
        self.home: Home = self._plant(replace(home, notifier=quiet))

    def restart(self) -> None:
        """A new process, once the leases of the old one have run out."""
        self.target.close()
        self.clock.advance(LONG)
        self.open()
        for folder in (self.home.spool, self.home.quick):
            sweep_spool(folder)
        sweep(self.home)
        self.zombies.clear()

    def close(self) -> None:
        self.target.close()

    def note(self, what: str, times: int = 1) -> None:
        """Count what has happened, for the assertion that all of it did."""
        self.seen[what] += times

    # -- the outside -----------------------------------------------------------------------------------------------

    def tell(self, *keys: str) -> None:
        """An event for each key: perhaps wrong, lost, doubled, or late."""
        for key in keys:
            event = Event("p", key, self.random.choice(("created", "created", "removed")))
            fate = self.random.random()
            if fate < 0.6:
                self.home.queue.put([event])
            elif fate < 0.75:
                self.late.append(event)
                self.note("an event was late")
            else:
                self.note("an event was lost")
            if self.random.random() < 0.2:
                self.late.append(event)
                self.note("an event was doubled")

    # -- steps -----------------------------------------------------------------------------------------------------

    def step(self) -> None:
        (name,) = self.random.choices(list(self._steps), list(self._steps.values()))
        self.story.append(name)
        getattr(self, f"step_{name}")()
        self.watch.look()

    def step_arrive(self) -> None:
        broken = self.random.random() < 0.1
        key, what = self.landing.arrive(BROKEN if broken else None)
        self.note("a broken file arrived" if broken else what)
        self.tell(key)

    def step_restore(self) -> None:
        """A → B → A under one key, with whatever of it workers and the publisher notice."""
        key, first, second = self.landing.pair()
        for text in (first, second, first):
            self.landing.write(key, text)
            self.tell(key)
            if self.random.random() < 0.7:
                self.home.queue.put([Event("p", key, "created")])
                self.work(10)
                self.publish()

    def step_spoil(self) -> None:
        """A broken version comes over one that stands, perhaps."""
        if here := self.landing.present():
            key, _ = self.landing.arrive(BROKEN, self.random.choice(here))
            self.note("a broken file arrived")
            self.tell(key)

    def step_remove(self) -> None:
        if here := self.landing.present():
            self.tell(self.landing.remove(self.random.choice(here)))
            self.note("a file was removed")

    def step_remove_most(self) -> None:
        """So many at once that the guard against mass deletion has something to do."""
        here = self.landing.present()
        if len(here) > 11:
            self.tell(*(self.landing.remove(key) for key in here[self.random.randint(0, 2) :]))

    def step_rename(self) -> None:
        if here := self.landing.present():
            old, new = self.random.choice(here), self.random.choice(self.policies.keys)
            if old != new:
                self.landing.rename(old, new)
                self.note("a file was renamed")
                self.tell(old, new)

    def step_late(self) -> None:
        self.random.shuffle(self.late)
        if self.late:
            self.home.queue.put([self.late.pop()])
            self.note("a late event came")

    def work(self, most: int) -> None:
        leases = self.home.queue.lease("p", most, timedelta(minutes=5))
        if leases:
            ingest.ingest(self.home, self.child, leases)
            self.watch.look()

    def publish(self) -> bool:
        revised = publish(self.home)
        self.watch.look()
        return revised

    def step_work(self) -> None:
        self.work(self.random.randint(1, 8))

    def step_publish(self) -> None:
        self.publish()

    def step_correct(self) -> None:
        """Correct a rejected record of a standing load."""
        for load in self.home.ledger.in_state("decided", "standing"):
            lines = text_of(load.version).splitlines()[1:]
            broken = [n for n, line in enumerate(lines, 1) if line in ("1,x", "8,8,8", "2", "5,x,5")]
            if broken and self.random.random() < 0.7:
                cells = {"k": str(self.random.randint(1, 8)), "v": str(self.random.randint(0, 4))}
                self.home.ledger.correct(load.key, load.version, "", {broken[0]: cells}, self.clock.now())
                digest = self.home.ledger.corrections_digest(load.key, load.version)
                self.corrected[digest] = self.corrections(load)
                self.home.queue.put([Event("p", load.key, "correct")])
                return

    def step_redefine(self) -> None:
        """Change the contract: another check or another column, with or without a replay."""
        self.definition = self.definition.changed(self.random)
        self.restart()
        outdated = self.home.ledger.outdated(self.home.contract.digest)
        if self.random.random() < 0.5:
            self.note("loads were replayed", replay(self.home, outdated))
        else:
            self.note("loads were left outdated", len(outdated))

    def step_resink(self) -> None:
        """Change where rows go; a sink that comes back, or comes later, is filled from the base."""
        before = set(self.home.writers)
        self.definition = self.definition.with_sinks(self.policies.other_sinks(self.random))
        self.restart()
        if set(self.home.writers) - before and self.home.ledger.head():
            self.note("a sink was added later")

    def step_redrive(self) -> None:
        self.note("dead objects were tried again", redrive(self.home, [x.key for x in self.home.ledger.dead()]))

    def step_upkeep(self) -> None:
        what = self.random.choice(("compact", "prune", "rebuild", "scan", "maintain"))
        if what == "compact":
            self.note("files were compacted", compact(self.home))
        elif what == "prune":
            self.clock.advance(timedelta(days=30))
            self.note("files were pruned", prune(self.home))
        elif what == "rebuild":
            sink = self.random.choice(list(self.home.writers))
            rebuild(self.home, sink)
            self.note(f"{sink} was rebuilt")
        elif what == "scan":
            scan(self.home)
        else:
            for writer in self.home.writers.values():
                writer.maintain()

    def step_child_dies(self) -> None:
        """The child is killed in the midst of its next job: the worker carries on."""
        self.child.armed = True
        self.work(4)
        self.note("a child died", not self.child.armed)
        self.child.armed = False

    def step_sink_fails(self) -> None:
        """A sink cannot be written for a while."""
        failing = self.random.choice(SINK_POINTS)

        def hook(name: str) -> None:
            if name == failing:
                raise InfrastructureError("HR519", name, "no space left on the disk", "try again")

        for _ in range(self.random.randint(1, 2)):
            try:
                with faults.install(hook):
                    publish(self.home)
            except InfrastructureError as exc:
                self.fault(exc)
                self.note("a sink failed")
            self.work(2)

    def fault(self, exc: InfrastructureError) -> None:
        """Whoever catches faults goes on, but never over what only a bug of ours can cause."""
        if isinstance(exc, SinkAhead):
            raise exc

    def step_zombie(self) -> None:
        """Start work and let it finish much later, when the world has moved on; or let such a one finish now."""
        if self.zombies and self.random.random() < 0.5:
            self.zombies.pop(self.random.randrange(len(self.zombies)))()
        elif self.random.random() < 0.5:
            self._zombie_worker()
        else:
            self._zombie_publisher()

    def _zombie_worker(self) -> None:
        home = self.home
        leases: list[Lease] = home.queue.lease("p", 3, timedelta(seconds=1))
        if not leases:
            return
        batch = ingest.prepare(home, leases)
        self.clock.advance(10)  # its leases run out: others will take its events
        for job in batch.jobs:
            try:
                result = self.child.call("stage", job_of(home, job).to_dict(), 60)
            except BadObject:
                continue

            def finish(job: list[Found] = job, result: dict[str, Any] = result) -> None:
                try:
                    ingest.hand_over(home, job, result, 0.1)
                    self.note("a zombie worker finished")
                except LeaseLost:
                    self.note("a zombie worker was refused")

            self.zombies.append(finish)

    def _zombie_publisher(self) -> None:
        home = self.home
        self.work(4)
        recover(home)
        decision, _ = decide(home)
        held = dict(self.landing.latest)
        if decision is None:
            return

        def finish() -> None:
            try:
                home.ledger.record(decision)
            except RevisionRefused:
                self.note("a zombie publisher was refused")
                return
            self.watch.look(held)
            self.note("a zombie publisher finished")
            recover(home)

        self.zombies.append(finish)
        if self.random.random() < 0.6:  # most of the time somebody else decides first
            self.publish()
        elif self.random.random() < 0.5:
            self.zombies.pop()()

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
                publish(self.home)
                compact(self.home) if self.random.random() < 0.2 else self.step_work()
        except Crash:
            self.note("the process died")
        self.restart()

    # -- quiet -----------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Let the last late ones finish, then let it be quiet and scanned."""
        for zombie in self.zombies:
            zombie()
        self.restart()
        self.watch.look()
        self.quiet()
        if self.policies.crowded and self.random.random() < 0.5:
            self.step_remove_most()
            self.quiet()

    def quiet(self) -> None:
        """Everything that waits is done; what the retraction guard holds goes on waiting."""
        for _ in range(12):
            scan(self.home)
            self.clock.advance(LONG)
            while leases := self.home.queue.lease("p", 20, timedelta(minutes=5)):
                ingest.ingest(self.home, self.child, leases)
                self.clock.advance(LONG)
            while self.publish():
                pass
            idle = self.home.queue.depth("p") == (0, 0) and not self.home.ledger.pending()
            if idle and scan(self.home) == len(self.home.ledger.held()):
                break
        else:
            raise AssertionError("it never became quiet")
        prune(self.home)

    def confirm(self) -> bool:
        """A person says that the held retractions are meant; False if none are."""
        confirmed = confirm_retraction(self.home)
        if confirmed:
            self.note("a held retraction was confirmed", confirmed)
            self.quiet()
        return confirmed > 0

    # -- what should be --------------------------------------------------------------------------------------------

    def corrections(self, load: Load) -> dict[int, Cells]:
        """What people made of records of this version, in the order of the columns."""
        return {
            record: (cells["k"] or "", cells["v"] or "")
            for _, record, cells in self.home.ledger.corrections(load.key, load.version)
        }

    def standing(self) -> Sequence[Stands]:
        """The standing versions, once the watch has found that these are the right ones."""
        found: list[Stands] = []
        self.watch.check_quiet(self.home.ledger.held())
        for key, load in self.home.ledger.standing().items():
            text = self.landing.text(key)
            version = text_of(load.version)
            if text is None and key in self.landing.latest:
                assert self.policies.after == "archive", f"{key} was taken away"
                self.note("what stands was archived")
            # An object that is gone cannot be read again: its load keeps the corrections that it was read with.
            archived = text is None and (self.root / "archive" / load.version[:16] / key).exists()
            readable = text == version or archived
            corrections = self.corrections(load) if readable else self.corrected[load.corrections]
            columns = self.home.ledger.contract(load.contract).columns
            most = next(int(sql.split()[-1]) for c in columns for name, sql in c.checks if name == "le")
            wide = any(c.name == "w" for c in columns)
            found.append(Stands(key, version, load.arrived_at, most, wide, corrections))
        return found


__all__ = ["Crash", "World"]

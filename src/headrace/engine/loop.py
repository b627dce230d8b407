"""Workers and a publisher, in threads, until there is nothing left to do or somebody says stop.

Each worker thread owns one confined child and turns leased events into staged loads; one thread publishes whatever is
staged. `run` works until idle, `up` serves. A fault backs off and is tried again; it is never swallowed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

from headrace.engine import log
from headrace.engine.compact import compact, crowded
from headrace.engine.deliver import remind
from headrace.engine.hands import Hands
from headrace.engine.home import Home
from headrace.engine.ingest import Child, patience
from headrace.engine.publish import publish
from headrace.engine.reconcile import scan
from headrace.engine.retain import prune
from headrace.engine.settings import Settings
from headrace.engine.time_left import SecondsLeft, forever
from headrace.model.errors import DefinitionError, HeadraceError, InfrastructureError

TICK = 0.05
"""Seconds between looks for delayed events, where nothing rings."""
HOUSEKEEPING = 20
"""Revisions between expiry of snapshots, deletion of trash and a look for crowds of small files."""

Progress = Callable[[Home, int], None]
Work = Callable[[Home], object]


class Loop:
    """The threads of one root. `children` makes a child for each worker."""

    def __init__(
        self,
        homes: Sequence[Home],
        children: Callable[[], Child],
        on_progress: Progress | None = None,
        warm: bool = False,
    ) -> None:
        self._warm = warm
        self._homes = homes
        self._make_child = children
        self._on_progress = on_progress
        self._stopping = threading.Event()
        self._work = threading.Condition()
        self._heard = threading.Condition()
        self._busy = 0
        self._failures: dict[str, HeadraceError] = {}
        self._mislaid = False  # the ledger failed, and with it perhaps the giving back of leased events
        self._untidy = threading.Event()
        self._crashed: BaseException | None = None
        self._threads: list[threading.Thread] = []

    def start(self, workers: int) -> None:
        for home in self._homes:
            home.queue.recall(home.name)  # who works on a root works alone: whoever leased these has died
            home.bell.share(self._heard)
            home.bell.ring()  # what an earlier process left undone
        bodies = [self._publishing, *[self._working] * workers]
        self._threads = [threading.Thread(target=self._guard, args=(body,), daemon=True) for body in bodies]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End after what is in hand; raises what made a thread end early."""
        self._stopping.set()
        self.wake()
        for thread in self._threads:
            thread.join()
        if self._crashed is not None:
            raise self._crashed

    def wake(self) -> None:
        """Events were put: look at once."""
        with self._work:
            self._work.notify_all()
        with self._heard:
            self._heard.notify_all()

    def wait_until_idle(self) -> None:
        """Return when no event waits, nothing is in hand and everything is decided; raise what kept it from that.

        Faults of single objects are waited for while they are retried; what concerns all of them is raised.
        """
        while not self._stopping.is_set() and not self._failures and not self._idle():
            time.sleep(0.004)
        for failure in self._failures.values():
            raise failure

    @property
    def stopped(self) -> bool:
        """It was told to, or a bug ended one of its threads."""
        return self._stopping.is_set()

    def tidy(self) -> None:
        """Ask the publisher's thread for housekeeping: sinks are its own."""
        self._untidy.set()
        self.wake()

    def _idle(self) -> bool:
        if self._busy or any(h.bell.rung for h in self._homes):
            return False
        quiet = all(h.queue.empty(h.name) for h in self._homes)
        # Whoever took the last event was busy before the queue was empty, and rings before it is not.
        return quiet and not self._busy and not any(h.bell.rung for h in self._homes)

    # -- workers -------------------------------------------------------------------------------------------------

    def _working(self) -> None:
        child = self._make_child()
        hands = Hands(child, self._staged)
        try:
            while not self._stopping.is_set():
                if not self._work_once(hands):
                    with self._work:
                        self._work.wait(TICK)
            self._attempt(self._homes[0], hands.finish)
        finally:
            close = getattr(child, "close", None)
            if close is not None:
                close()

    def _work_once(self, hands: Hands) -> bool:
        """Take what waits for each pipeline, or finish what is in the child; False if there was neither."""
        with self._count():
            taken = [home for home in self._homes if self._take(home, hands)]
            worked = bool(taken) or self._attempt(self._homes[0], hands.finish)
            if self._mislaid and not worked:
                # At worst another worker's are taken twice, which is harmless.
                recalled = [self._attempt(home, lambda home=home: self._recall(home)) for home in self._homes]  # type: ignore[misc]
                self._mislaid = not all(recalled)
            return worked

    def _recall(self, home: Home) -> bool:
        home.queue.recall(home.name)
        return True

    def _take(self, home: Home, hands: Hands) -> bool:
        """Lease a batch and begin to ingest it; True if there was any."""
        taken = False

        def work() -> bool:
            nonlocal taken
            if leases := home.queue.lease(home.name, home.settings.batch_files, patience(home)):
                taken = True
                hands.take(home, leases)
            return taken

        self._attempt(home, work)
        return taken

    def _attempt(self, home: Home, work: Callable[[], bool]) -> bool:
        """Do a piece of work; a fault that is not one object's shows as a failure, and its events come back."""
        name = f"ingest {home.name}"
        try:
            done = work()
        except InfrastructureError as exc:
            log.event("ingest.failed", pipeline=home.name, error=str(exc))
            self._failures[name] = exc
            self._mislaid = self._mislaid or exc.code == "HR501"
            self._stopping.wait(TICK)
            return False
        self._failures.pop(name, None)
        return done

    def _staged(self, home: Home, loads: int) -> None:
        if loads:
            log.event("ingest.staged", pipeline=home.name, loads=loads)
            if self._on_progress is not None:
                self._on_progress(home, loads)

    def _count(self) -> _Counted:
        return _Counted(self)

    # -- the publisher -------------------------------------------------------------------------------------------

    def _publishing(self) -> None:
        for home in self._homes if self._warm else ():
            keep_house(home, warm)
        backoff = {home.name: Backoff() for home in self._homes}
        revisions = dict.fromkeys(backoff, 0)
        while not self._stopping.is_set():
            ready = [h for h in self._homes if h.bell.rung and backoff[h.name].over]
            if self._untidy.is_set():
                self._untidy.clear()
                for home in self._homes:
                    keep_house(home, *chores())
            if not ready:
                with self._heard:
                    if not any(h.bell.rung and backoff[h.name].over for h in self._homes):
                        self._heard.wait(TICK)
                continue
            for home in ready:
                with self._count():
                    home.bell.take()
                    if self._publish(home, backoff[home.name]):
                        revisions[home.name] += 1
                        if revisions[home.name] % HOUSEKEEPING == 0:
                            keep_house(home, *chores())
        for home in self._homes if self._crashed is None else ():
            keep_house(home, *(chores() if revisions[home.name] else (tidy_up,)))

    def _publish(self, home: Home, backoff: Backoff) -> bool:
        """Publish once; a fault backs off and rings again, and shows as a failure once it was there too often."""
        name = f"publish {home.name}"
        try:
            made = publish(home)
        except DefinitionError as exc:
            if str(self._failures.get(name)) != str(exc):
                log.event("publish.blocked", pipeline=home.name, error=str(exc))
            self._failures[name] = exc
            return False
        except InfrastructureError as exc:
            log.event("publish.failed", pipeline=home.name, error=str(exc))
            tries = backoff.fail(home.settings)
            if tries >= home.settings.max_receives:
                self._failures[name] = exc
            home.bell.ring()
            return False
        backoff.reset()
        self._failures.pop(name, None)
        return made

    def _guard(self, body: Callable[[], None]) -> None:
        """A bug ends the process with its trace, never a thread in silence."""
        try:
            body()
        except BaseException as exc:  # handed to whoever stops the loop
            log.event("loop.crashed", error=repr(exc))
            self._crashed = exc
            self._stopping.set()


class Backoff:
    """How long to wait after how many failures in a row."""

    def __init__(self) -> None:
        self._tries, self._until = 0, 0.0

    @property
    def over(self) -> bool:
        return time.monotonic() >= self._until

    def fail(self, settings: Settings) -> int:
        self._tries += 1
        self._until = time.monotonic() + settings.delay(self._tries)
        return self._tries

    def reset(self) -> None:
        self._tries, self._until = 0, 0.0


class _Counted:
    """Marks a thread as busy, from before it takes work until after it rang for the next."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop

    def __enter__(self) -> None:
        with self._loop._work:
            self._loop._busy += 1

    def __exit__(self, *exc: object) -> None:
        with self._loop._work:
            self._loop._busy -= 1


def warm(home: Home) -> None:
    """Let the sinks do what the first revision would have to wait for."""
    for writer in home.writers.values():
        writer.warm()


def join_files(home: Home, seconds_left: SecondsLeft = forever) -> None:
    """Fewer small files."""
    if crowded(home):
        compact(home, seconds_left=seconds_left)


def maintain(home: Home) -> None:
    """Fewer snapshots."""
    with home.lock():
        for writer in home.writers.values():
            writer.maintain()


def tidy_up(home: Home) -> None:
    """Delete what nothing needs any more: all that there is to do where no revision was made."""
    with home.lock():
        prune(home)


def keep_house(home: Home, *works: Work, seconds_left: SecondsLeft = forever) -> None:
    """Work that changes no row: each piece can fail, or find no time, and be done another time, by itself."""
    for work in works:
        if seconds_left() <= 0:
            return
        try:
            work(home)
        except (DefinitionError, InfrastructureError) as exc:
            log.event("housekeeping.failed", pipeline=home.name, error=str(exc))


def chores(seconds_left: SecondsLeft = forever) -> tuple[Work, ...]:
    """What keeps a long life cheap."""
    return partial(join_files, seconds_left=seconds_left), maintain, tidy_up


def work_until_idle(homes: Sequence[Home], children: Callable[[], Child], on_progress: Progress | None = None) -> None:
    """Work on everything that waits, then return. Raises what kept it from finishing."""
    loop = Loop(homes, children, on_progress)
    loop.start(homes[0].settings.workers if homes else 1)
    try:
        loop.wait_until_idle()
    finally:
        loop.stop()


def serve(
    homes: Sequence[Home],
    children: Callable[[], Child],
    stop: threading.Event,
    on_start: Callable[[Loop], None] | None = None,
    on_progress: Progress | None = None,
) -> None:
    """Work until `stop`, with a reconciling scan now and then. `on_start` gets the loop, to wake it."""
    loop = Loop(homes, children, on_progress, warm=True)
    loop.start(homes[0].settings.workers)
    if on_start is not None:
        on_start(loop)
    try:
        scanned = 0.0
        while not stop.is_set() and not loop.stopped:
            if time.monotonic() - scanned >= homes[0].settings.scan_every or not scanned:
                scanned = time.monotonic()
                for home in homes:
                    try:
                        remind(home)  # a scan that fails is no reason to say nothing
                        scan(home)
                    except InfrastructureError as exc:
                        log.event("scan.failed", pipeline=home.name, error=str(exc))
                loop.tidy()
            stop.wait(min(1.0, homes[0].settings.scan_every))
    finally:
        loop.stop()

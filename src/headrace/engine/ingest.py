"""From events to staged loads: the file to read first.

    event ─lease─▶ look at the key ─▶ spool a copy while hashing it ─▶ pin version and order ─▶ stage in the child
                        │ gone                                              │ stands already         │
                        ▼                                                   ▼                        ▼
                     a hint to the publisher                            acknowledge         ledger owns it, acknowledge

Nothing here decides what stands: that is `publish.py`. Ingest is pure, so doing it twice, or late, or in two workers at
once is harmless; the ledger takes the first.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

from headrace.engine.answer import check_answer, data_file, staged_of
from headrace.engine.failing import MOVING, delay_of, failed, nobodys_fault, tell_dead, unlooked
from headrace.engine.faults import point
from headrace.engine.home import Home
from headrace.engine.job import Job
from headrace.engine.look import NO_ROOM, Seen, look_at, windows
from headrace.engine.time_left import SecondsLeft, forever
from headrace.engine.together import Found, job_of, jobs, leases_of
from headrace.model.errors import InfrastructureError, LeaseLost
from headrace.model.loads import Again, Lease, Load, LoadState

SLOW, FULL = "HR603", "HR606"
"""The child took longer than it was given; it found no room on the disk."""
HANDOVER = 10.0
"""Seconds that a worker whose time is bounded keeps for itself: to hand over what was staged, or to give it back."""
MOST_WAITING = 100
"""Versions of one key that are staged while nothing is decided: an object may be replaced each second for days."""


class Child(Protocol):
    """Where untrusted bytes are parsed: a confined process, or this one in tests."""

    def call(self, kind: str, payload: dict[str, Any], timeout: float) -> dict[str, Any]:
        """Answers as `stage.handle` does; raises InfrastructureError when the child itself failed."""
        ...

    def submit(self, kind: str, payload: dict[str, Any], timeout: float) -> None:
        """Begin a call; `result` must follow before the next one."""
        ...

    def result(self) -> dict[str, Any]:
        """The answer of the call under way; raises as `call` does."""
        ...


@dataclass(slots=True)
class Batch:
    """What one round of leases came to. `jobs` are staged one after the other; the rest is settled already."""

    jobs: list[list[Found]] = field(default_factory=list)
    settled: list[Lease] = field(default_factory=list)
    gone: dict[str, list[Lease]] = field(default_factory=dict)
    doubted: set[str] = field(default_factory=set)
    rest: list[Lease] = field(default_factory=list)  # not looked at yet


def ingest(home: Home, child: Child, leases: Sequence[Lease], seconds_left: SecondsLeft = forever) -> int:
    """Take leased events to staged loads, dead loads or hints; returns how many loads were staged.

    A job is begun only while there is time for it; the events of those that are not come again at once. The first is
    begun also with less, since to copy a large object may have taken long, and will again.
    """
    staged, first = 0, True
    for batch in rounds(home, leases):
        for i, found in enumerate(batch.jobs):
            if seconds_left() < (_seconds_least(home) if first else _seconds_wanted(home, found)):
                if first:  # to look and to copy took all the time, and will again: that counts
                    home.queue.release([*_given_up(batch.jobs), *batch.rest], timedelta(0))
                else:
                    _ask_anew(home, [*_given_up(batch.jobs[i:]), *batch.rest])
                return staged
            try:
                staged, first = staged + stage(home, child, found, seconds_left), False
            except Exception:
                home.queue.release([*_given_up(batch.jobs[i + 1 :]), *batch.rest], MOVING)
                raise
    return staged


def _given_up(jobs: Sequence[Sequence[Found]]) -> list[Lease]:
    """The leases of jobs that are not begun; their copies go."""
    for found in jobs:
        _clear(found)
    return [lease for found in jobs for lease in leases_of(found)]


def _ask_anew(home: Home, leases: Sequence[Lease]) -> None:
    """Have events come again that were not begun. Put anew, they count as never delivered: nothing was tried."""
    home.queue.put([lease.event for lease in leases])
    home.queue.acknowledge(leases)


def _seconds_wanted(home: Home, found: Sequence[Found]) -> float:
    """What a job may take: a large object all that a child is given, a few small ones a part of it."""
    share = sum(f.load.size for f in found) / (4 * home.settings.batch_bytes)
    return max(_seconds_least(home), home.settings.child_timeout * min(1.0, share))


def _seconds_least(home: Home) -> float:
    return home.settings.child_timeout / 4


def rounds(home: Home, leases: Sequence[Lease]) -> Iterator[Batch]:
    """Prepare leased events, no more bytes at a time than `batch_bytes` (but at least one object)."""
    while leases:
        batch = prepare(home, leases)
        yield batch
        leases = batch.rest


def patience(home: Home) -> timedelta:
    """How long an event is hidden: until the job before it and its own have had all the time they may take."""
    return timedelta(seconds=home.settings.visibility + 2 * home.settings.child_timeout)


def prepare(home: Home, leases: Sequence[Lease]) -> Batch:
    """Look at each key, copy what is new, pin it, and say what is to be staged together.

    Raises InfrastructureError for what no object is to blame for; nothing is copied then, and the events come again.
    """
    looked: list[tuple[Seen, list[Lease]]] = []
    try:
        return _prepared(home, leases, looked)
    except InfrastructureError:
        for seen, _ in looked:
            _unlink(seen.copy)
        home.queue.release(leases, delay_of(home, leases))
        raise


def _prepared(home: Home, leases: Sequence[Lease], looked: list[tuple[Seen, list[Lease]]]) -> Batch:
    """`looked` is filled with what was found, as it is found."""
    batch = Batch()
    by_key = _by_key(leases)
    live = home.ledger.live(list(by_key))
    ours = {key for key in by_key if home.wants(key)}
    batch.doubted |= {key for key in ours if _enough(live.get(key, ())) and not _again(by_key[key])}
    wanted = [key for key in by_key if key in ours - batch.doubted]
    batch.settled += [lease for key in by_key.keys() - set(wanted) for lease in by_key[key]]
    _look(home, live, {key: by_key[key] for key in wanted}, batch, looked)
    point("ingest.spooled")

    loads = home.ledger.pin([seen.arrival for seen, _ in looked])
    point("ingest.pinned")
    ready: list[Found] = []
    for load, (seen, asked) in zip(loads, looked, strict=True):
        if seen.copy is not None:
            found = Found(load, asked, seen.copy)
            if _wants_staging(home, found, batch):
                ready.append(found)
                continue
            _unlink(seen.copy)
        elif load.stale or load.state is LoadState.DEAD:
            batch.doubted.add(load.key)
        batch.settled += asked
    batch.jobs = list(jobs(home, ready))

    hints = [*batch.gone, *batch.doubted]
    if hints or batch.settled:
        home.ledger.hint(hints, [*batch.settled, *(x for asked in batch.gone.values() for x in asked)])
        home.bell.ring()
    return batch


def _look(
    home: Home,
    live: Mapping[str, Sequence[Load]],
    wanted: Mapping[str, list[Lease]],
    batch: Batch,
    looked: list[tuple[Seen, list[Lease]]],
) -> None:
    """Look at keys until that is enough for one round; what is over comes into the next.

    So does what no object is to blame for, as long as there is something to go on with; else it is raised.
    """
    copied, fault, away = 0, None, False
    for keys in windows(home, list(wanted)):
        if away or copied >= home.settings.batch_bytes:
            batch.rest += [lease for key in keys for lease in wanted[key]]
            continue
        for key, what in look_at(home, live, {key: _again(wanted[key]) for key in keys}).items():
            if isinstance(what, Seen):
                looked.append((what, wanted[key]))
                copied += what.arrival.size if what.copy else 0
            elif what is None:
                batch.gone[key] = wanted[key]
            elif nobodys_fault(what):
                fault, away = fault or what, away or what.code != NO_ROOM
                batch.rest += wanted[key]
            else:
                unlooked(home, key, wanted[key], what)
    if fault and not (looked or batch.gone):
        raise fault


def stage(home: Home, child: Child, found: list[Found], seconds_left: SecondsLeft = forever) -> int:
    """Stage one job in the child, start to end."""
    job = job_of(home, found)
    timeout = min(home.settings.child_timeout, max(seconds_left() - HANDOVER, 1.0))

    def answer() -> dict[str, Any]:
        return child.call("stage", job.to_dict(), timeout)

    return conclude(home, child, found, job, answer, time.perf_counter(), seconds_left, timeout)


def conclude(
    home: Home,
    child: Child,
    found: list[Found],
    job: Job,
    answer: Callable[[], dict[str, Any]],
    started: float,
    seconds_left: SecondsLeft = forever,
    timeout: float = math.inf,
) -> int:
    """Hand the child's answer to the ledger; on failure split the job until the poison stands alone.

    Where there is no time for that the events come again, and at their last delivery each object stands alone at once.
    Whatever is raised, the events of the whole job come again.
    """
    try:
        result = answer()
        check_answer(job, result)
        point("ingest.staged")
        seconds = (time.perf_counter() - started) / len(found)
        found = _bury(home, found, {bad["load"]: bad["error"] for bad in result["bad"]})
        return hand_over(home, found, result, seconds) if found else 0
    except LeaseLost:
        give_back(home, found, MOVING)
        return 0
    except InfrastructureError as exc:
        if len(found) > 1 and (exc.code == FULL or not nobodys_fault(exc)):
            return _halved(home, child, found, seconds_left)
        if nobodys_fault(exc):
            give_back(home, found, delay_of(home, leases_of(found)))
            raise
        if exc.code == SLOW and timeout < home.settings.child_timeout:
            give_back(home, found, delay_of(home, leases_of(found)))  # it was not given all the time that it may take
            return 0
        failed(home, found[0].load.key, found[0].leases, exc, found[0].load)
        found[0].path.unlink(missing_ok=True)
        return 0
    except Exception:
        give_back(home, found, delay_of(home, leases_of(found)))
        raise


def _halved(home: Home, child: Child, found: list[Found], seconds_left: SecondsLeft) -> int:
    """Stage each half by itself; one that raises takes nothing from the other."""
    half = len(found) // 2
    try:
        staged = _part(home, child, found[:half], seconds_left)
    except Exception:
        give_back(home, found[half:], MOVING)
        raise
    return staged + _part(home, child, found[half:], seconds_left)


def _part(home: Home, child: Child, found: list[Found], seconds_left: SecondsLeft) -> int:
    if seconds_left() >= _seconds_wanted(home, found):
        return stage(home, child, found, seconds_left)
    give_back(home, found, delay_of(home, leases_of(found)))
    return 0


def _bury(home: Home, found: list[Found], errors: Mapping[str, str]) -> list[Found]:
    """Let what can never load be dead; returns the others."""
    for bad in (f for f in found if f.load.id in errors):
        home.ledger.bury(bad.load.id, errors[bad.load.id], bad.leases)
        tell_dead(home, bad.load, errors[bad.load.id])
        bad.path.unlink(missing_ok=True)
        home.bell.ring()
    return [f for f in found if f.load.id not in errors]


def give_back(home: Home, found: Sequence[Found], delay: timedelta) -> None:
    """Give a job back: its events come again, its copies go."""
    _clear(found)
    home.queue.release(leases_of(found), delay)


def _clear(found: Iterable[Found]) -> None:
    for f in found:
        _unlink(f.path)


def _unlink(copy: Path | None) -> None:
    if copy is not None:
        copy.unlink(missing_ok=True)


def hand_over(home: Home, found: Sequence[Found], result: dict[str, Any], seconds: float) -> int:
    """Let the ledger own what the child staged, acknowledge the events, and ring the publisher."""
    staged = [staged_of(entry, seconds) for entry in result["loads"]]
    files = [data_file(raw) for raw in result["files"]]
    home.files.keep(files)
    home.ledger.stage(staged, files, leases_of(found))
    _clear(found)
    point("ingest.owned")
    home.bell.ring()
    return len(staged)


def _wants_staging(home: Home, found: Found, batch: Batch) -> bool:
    """Whether a pinned load is still to be read; settles it otherwise."""
    load = found.load
    match load.state:
        case LoadState.SEEN | LoadState.SKIPPED:
            if home.pipeline.source.same_bytes == "skip" and load.size > 0 and home.ledger.earlier_twin(load):
                home.ledger.skip(load.id)
                batch.doubted.add(load.key)  # what stood under this key does so no more
                return False
            if load.state is LoadState.SKIPPED:
                found.load = home.ledger.take_up(load.id)
            return found.load.state is LoadState.SEEN
        case LoadState.STAGED:
            return False
        case LoadState.DEAD | LoadState.DECIDED | LoadState.STANDING:
            batch.doubted.add(load.key)
            return False
        case LoadState.RETIRED | LoadState.ABANDONED:
            raise AssertionError(f"{load.id} was pinned as {load.state}")


def _enough(live: Sequence[Load]) -> bool:
    """Whether so many versions of a key wait already that the publisher is left to ask for the one that counts."""
    return sum(x.state is LoadState.STAGED for x in live) >= MOST_WAITING


def _again(leases: Sequence[Lease]) -> Again:
    hints = {x.event.hint for x in leases}
    return "replay" if "replay" in hints else "redrive" if "redrive" in hints else ""


def _by_key(leases: Sequence[Lease]) -> dict[str, list[Lease]]:
    found: dict[str, list[Lease]] = {}
    for lease in leases:
        found.setdefault(lease.event.key, []).append(lease)
    return found

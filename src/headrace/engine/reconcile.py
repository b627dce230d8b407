"""The reconciling scan: the same mechanism without events. Compares the store with the ledger and asks for a look.

Run at start and now and then; with it, lost events cost time and never rows. Both sides come in key order, so that a
million settled objects are passed by without being held in memory, and that who has little time goes on later.

Why a part of a scan is safe: what it puts says "look at this key" and no more, and a key is called absent only once the
store's list has gone past it. What lies beyond the place where it stopped, or failed, is not spoken of.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from headrace.engine import log
from headrace.engine.home import Home
from headrace.engine.time_left import SecondsLeft, forever
from headrace.model.errors import BadObject, InfrastructureError, ObjectMoving, StoreUnavailable
from headrace.model.loads import STANDS, Alert, Event, LoadState, Outline, Settlement, Stat

TOGETHER = 1000
"""Keys that are passed before what was found among them is put."""

Step = tuple[str, Stat | None, list[Outline]]
"""A key with its object, if there is one, and with its loads that are not history, oldest first."""


@dataclass(frozen=True, slots=True)
class Scanned:
    """How many events were put, and the key after which to go on; None: it is through."""

    events: int
    after: str | None


def scan(home: Home, hint: str = "scan") -> int:
    """Put an event for every key whose object and ledger entry do not plainly agree; returns how many."""
    return scan_on(home, hint=hint).events


def scan_on(home: Home, after: str = "", seconds_left: SecondsLeft = forever, hint: str = "scan") -> Scanned:
    """The scan of the keys beyond `after`, for as long as there is time; of one at least."""
    corrected = home.ledger.corrected() if home.pipeline.source.after == "archive" else set()
    events, walk = 0, _side_by_side(_listed(home, after), home.ledger.outline(after))
    for steps in _together(walk, seconds_left):
        found: list[Event] = []
        left: list[str] = []  # stands, and was not moved out of the way when it began to
        for key, stat, loads in steps:
            if _differs(home, key, stat, loads, corrected):
                found.append(Event(home.name, key, hint))
            elif stat is not None:
                left += [x.id for x in loads if x.state is LoadState.STANDING]
        home.queue.put(found)
        events += len(found)
        if not archive(home, left, seconds_left):
            return Scanned(events, after)  # these are passed once more, when there is time for them
        after = steps[-1][0]
        if seconds_left() <= 0:
            return Scanned(events, after)
    return Scanned(events, None)


def _listed(home: Home, after: str) -> Iterator[tuple[str, Stat | None]]:
    """The source's objects; and at the end of each page the key that the list has come to, whatever is under it."""
    for page in home.store.pages(home.pipeline.source.prefix, after):
        yield from ((stat.key, stat) for stat in page.stats if home.wants(stat.key))
        if page.upto is not None:
            yield page.upto, None


def _side_by_side(listed: Iterable[tuple[str, Stat | None]], loads: Iterable[Outline]) -> Iterator[Step]:
    """Both in the order of keys. Where the list came to a key that neither has, that is a step of its own."""
    known = groupby(loads, key=lambda load: load.key)
    key, its = next(known, (None, iter(())))
    for at, stat in listed:
        while key is not None and key < at:
            yield key, None, list(its)
            key, its = next(known, (None, iter(())))
        if key == at:
            yield at, stat, list(its)
            key, its = next(known, (None, iter(())))
        else:
            yield at, stat, []
    while key is not None:
        yield key, None, list(its)
        key, its = next(known, (None, iter(())))


def _together(walk: Iterable[Step], seconds_left: SecondsLeft) -> Iterator[list[Step]]:
    """So many steps that putting what they found is worth a request, or as many as there was time for."""
    some: list[Step] = []
    for step in walk:
        some.append(step)
        if len(some) == TOGETHER or seconds_left() <= 0:
            yield some
            some = []
    if some:
        yield some


def _differs(
    home: Home, key: str, stat: Stat | None, loads: Sequence[Outline], corrected: set[tuple[str, str]]
) -> bool:
    """Whether somebody must look at a key."""
    if stat is not None:
        return not _agrees(home, stat.fingerprint, loads)
    if not loads or not home.wants(key):
        return False
    return not (_rightly_absent(home, loads) and _as_corrected(home, loads[-1], corrected))


def archive(home: Home, loads: Sequence[str], seconds_left: SecondsLeft = forever) -> bool:
    """Move objects whose rows stand out of the way, if the source asks for it. One that changed meanwhile is left.

    One that cannot be moved is told, and tried again by the next scan: it stands, and keeps no other back. False if the
    time was too short for all: the next scan finds the others.
    """
    if home.pipeline.source.after != "archive":
        return True
    failed: list[tuple[str, Exception]] = []
    short = False
    for load in map(home.ledger.find_load, loads):
        if short := seconds_left() <= 0:
            break
        try:
            if home.store.stat(load.key) is not None:
                home.store.archive(load.key, load.version)
        except ObjectMoving:
            continue  # its new version has an event of its own
        except (InfrastructureError, BadObject) as exc:
            log.event("archive.failed", pipeline=home.name, key=load.key, error=str(exc))
            failed.append((load.id, exc))
            if isinstance(exc, StoreUnavailable):
                break
    if failed:
        home.ledger.settle(Settlement(alerts=(_left(home, len(failed), *failed[0]),)))
        home.bell.ring()  # the publisher sends it
    return not short


def _left(home: Home, count: int, load: str, exc: Exception) -> Alert:
    return Alert(
        name=f"unarchived:{load}",
        load=load,
        subject=f"{home.name}: {count} objects could not be archived",
        body=f"{exc}\nTheir rows stand; every scan tries again to move them.",
    )


def _agrees(home: Home, fingerprint: str, loads: Sequence[Outline]) -> bool:
    """The newest load is settled and has this very fingerprint, and nothing else is open.

    Beside a dead one the last that stood may stay, marked stale; a skipped one needs its twin.
    """
    if not loads or loads[-1].fingerprint != fingerprint:
        return False
    *others, load = loads
    if load.state is LoadState.DEAD:
        return load.contract == home.contract.digest and all(x.stale for x in others)
    if load.state is LoadState.SKIPPED:
        return not others and home.ledger.earlier_twin(home.ledger.find_load(load.id)) is not None
    return not others and load.state in STANDS


def _rightly_absent(home: Home, loads: Sequence[Outline]) -> bool:
    """Under `keep`, what stood stays when its object has gone, and there is nothing more to say.

    Beside it may be what came of reading it again from the archive, if it cannot load by the present contract.
    """
    if home.pipeline.source.on_delete != "keep" or loads[0].state not in STANDS:
        return False
    if len(loads) == 1:
        return not loads[0].stale
    standing, *others = loads
    return (
        home.pipeline.source.after == "archive"
        and standing.stale
        and [(x.state, x.version, x.contract) for x in others]
        == [(LoadState.DEAD, standing.version, home.contract.digest)]
    )


def _as_corrected(home: Home, load: Outline, corrected: set[tuple[str, str]]) -> bool:
    """Whether what stands and was archived has the corrections that people made: if not, it can still be read again."""
    if home.pipeline.source.after != "archive":
        return True
    asked = (load.key, load.version)
    if load.corrections == (home.ledger.corrections_digest(*asked) if asked in corrected else ""):
        return True
    try:
        return not home.store.has_archived(*asked)
    except InfrastructureError:
        return False  # a worker says what is wrong with it

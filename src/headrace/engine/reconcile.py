"""The reconciling scan: the same mechanism without events. Compares the store with the ledger and asks for a look.

Run at start and now and then; with it, lost events cost time and never rows. Both sides come in key order, so that a
million settled objects are passed by without being held in memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from headrace.engine import log
from headrace.engine.home import Home
from headrace.model.errors import BadObject, InfrastructureError, ObjectMoving, StoreUnavailable
from headrace.model.loads import Alert, Event, LoadState, Outline, Settlement, Stat

SETTLED = (LoadState.DECIDED, LoadState.STANDING)


def scan(home: Home, hint: str = "scan") -> int:
    """Put an event for every key whose object and ledger entry do not plainly agree; returns how many."""
    source = home.pipeline.source
    corrected = home.ledger.corrected() if source.after == "archive" else set()
    found: list[Event] = []
    left: list[str] = []  # stands, and was not moved out of the way when it began to
    objects = (stat for stat in home.store.list(source.prefix) if home.wants(stat.key))
    for key, stat, loads in _side_by_side(objects, home.ledger.outline()):
        if stat is None:
            if home.wants(key) and not (_rightly_absent(home, loads) and _as_corrected(home, loads[-1], corrected)):
                found.append(Event(home.name, key, hint))
        elif not _agrees(home, stat.fingerprint, loads):
            found.append(Event(home.name, key, hint))
        elif source.after == "archive":
            left += [x.id for x in loads if x.state is LoadState.STANDING]
    home.queue.put(found)
    archive(home, left)
    return len(found)


def _side_by_side(
    objects: Iterable[Stat], loads: Iterable[Outline]
) -> Iterator[tuple[str, Stat | None, list[Outline]]]:
    """Each key with its object, if there is one, and with its loads that are not history, oldest first."""
    known = groupby(loads, key=lambda load: load.key)
    key, its = next(known, (None, iter(())))
    for stat in objects:
        while key is not None and key < stat.key:
            yield key, None, list(its)
            key, its = next(known, (None, iter(())))
        if key == stat.key:
            yield stat.key, stat, list(its)
            key, its = next(known, (None, iter(())))
        else:
            yield stat.key, stat, []
    while key is not None:
        yield key, None, list(its)
        key, its = next(known, (None, iter(())))


def archive(home: Home, loads: Sequence[str]) -> None:
    """Move objects whose rows stand out of the way, if the source asks for it. One that changed meanwhile is left.

    One that cannot be moved is told, and tried again by the next scan: it stands, and keeps no other back.
    """
    if home.pipeline.source.after != "archive":
        return
    failed: list[tuple[str, Exception]] = []
    for load in map(home.ledger.find_load, loads):
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
    return not others and load.state in SETTLED


def _rightly_absent(home: Home, loads: Sequence[Outline]) -> bool:
    """Under `keep`, what stood stays when its object has gone, and there is nothing more to say.

    Beside it may be what came of reading it again from the archive, if it cannot load by the present contract.
    """
    if home.pipeline.source.on_delete != "keep" or loads[0].state not in SETTLED:
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

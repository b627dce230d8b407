"""Objects that stand, read again or let go at a person's word: replay, correction, retraction, and what came of each.

Each asks through the queue like everybody else; the work is done by whoever holds the root. Called by `Project`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from headrace.engine.home import Home
from headrace.model.errors import DefinitionError, UsageError
from headrace.model.loads import Event, Load, LoadState
from headrace.model.where import meant
from headrace.project.arriving import result_of
from headrace.project.given import Since, instant
from headrace.project.kept import Kept, lost
from headrace.project.results import LoadResult

if TYPE_CHECKING:
    from headrace.project.opened import Progress, Project


def replay(project: Project, home: Home, loads: Sequence[Load], on_progress: Progress | None) -> list[LoadResult]:
    """Load these again under the present definition. Raises DefinitionError HR240 where that did not bring it over."""
    from headrace.engine.replay import replay
    from headrace.engine.shapes import blocked

    before = home.ledger.last_seq()
    replay(home, loads)
    try:
        project.work([home.name], on_progress=on_progress)
        error: DefinitionError | None = blocked(home)
    except DefinitionError as exc:
        error = exc
    told = replayed(home, loads, before)
    if error is not None:
        raise stuck(home, told, error)
    return told


def replayable(home: Home, since: Since = None, files: Sequence[str] = (), outdated: bool = False) -> list[Load]:
    """Standing loads that are chosen. Raises UsageError HR129 for a file that does not stand."""
    standing = home.ledger.standing()
    start = instant(home, since)
    for file in files:
        if file not in standing:
            raise UsageError("HR129", file, "does not stand", meant(file, standing))
    return [
        load
        for key, load in standing.items()
        if (not files or key in files)
        and (start is None or (load.seen_at is not None and load.seen_at >= start))
        and (not outdated or load.contract != home.contract.digest)
    ]


def again(project: Project, home: Home, loads: Sequence[Load], on_progress: Progress | None) -> list[LoadResult]:
    """Have objects read again whose corrections changed."""
    before = home.ledger.last_seq()
    home.queue.put([Event(home.name, load.key, "redrive") for load in loads])
    project.work([home.name], on_progress=on_progress)
    return replayed(home, loads, before)


def retract(project: Project, home: Home, on_progress: Progress | None) -> int:
    """Confirm what is held; returns how many objects stand no more."""
    from headrace.engine.replay import confirm_retraction

    held = home.ledger.held()
    confirm_retraction(home)
    home.queue.put([Event(home.name, key, "retract") for key in held])  # so that whoever holds the root looks
    project.work([home.name], on_progress=on_progress)
    standing = home.ledger.standing()
    return sum(key not in standing for key in held)


def let_go(project: Project, home: Home, keys: Iterable[str], on_progress: Progress | None) -> int:
    """Let the rows of these go; returns how many objects stand no more."""
    from headrace.engine.replay import let_go

    asked = list(keys)
    let_go(home, asked)
    try:
        project.work([home.name], on_progress=on_progress)
    except DefinitionError as exc:
        if exc.code != "HR240":
            raise
    live = home.ledger.standing()
    return sum(key not in live for key in asked)


def replayed(home: Home, asked: Sequence[Load], before: int) -> list[LoadResult]:
    """What came of each load that was asked for again: its key's new load, or `retired` with its object.

    `gone` or `damaged` are those that cannot be read again and were left as they stood.
    """
    newest = {load.key: load for load in home.ledger.history(after=before)}
    standing = home.ledger.standing()
    left = [old for old in asked if old.key in standing and old.key not in newest]
    cannot = lost(home, left)
    waiting = home.ledger.live([old.key for old in left if old.key not in cannot])
    found = []
    for old in asked:
        if old.key not in newest and old.key not in standing:
            found.append(result_of(old, home.pipeline, str(LoadState.RETIRED)))
        elif old.key in cannot:
            found.append(as_it_stands(home, old, str(cannot[old.key])))
        elif load := newest.get(old.key) or _staged(waiting.get(old.key, ())):
            found.append(result_of(load, home.pipeline))
        else:
            found.append(result_of(old, home.pipeline, "unchanged"))
    return found


def as_it_stands(home: Home, load: Load, state: str) -> LoadResult:
    """A load that nothing came of: it tells no counts."""
    return replace(result_of(load, home.pipeline, "unchanged"), state=state)


def _staged(loads: Sequence[Load]) -> Load | None:
    """What was read before already, and waits for the others to come along."""
    return next((x for x in reversed(loads) if x.state is LoadState.STAGED), None)


def gone(home: Home, files: Sequence[str] = ()) -> list[str]:
    """Keys that stand and whose objects cannot be read again: not in the source, nor whole in the archive.

    With `files` those, archived or not. Raises UsageError HR129 for one that does not stand, HR141 for one whose object
    is there: it would be loaded again at the next look.
    """
    standing = home.ledger.standing()
    for file in files:
        if file not in standing:
            raise UsageError("HR129", file, "does not stand", meant(file, standing))
        if home.wants(file) and home.store.stat(file) is not None:
            raise UsageError("HR141", file, "it is in the landing folder and would be loaded again", "delete it first")
    if files:
        return list(dict.fromkeys(files))
    listed = home.store.list(home.pipeline.source.prefix)  # one request for many objects
    there = {stat.key for stat in listed if home.wants(stat.key)}
    return list(lost(home, (load for key, load in standing.items() if key not in there)))


def stuck(home: Home, told: Sequence[LoadResult], error: DefinitionError) -> DefinitionError:
    """HR240 after a replay of everything, with what keeps the rest from being brought over."""
    of = {state: [x.object for x in told if x.state == str(state)] for state in Kept}
    dead = [x.object for x in told if x.state == str(LoadState.DEAD)]
    archive = " and the archive" if home.pipeline.source.after == "archive" else ""
    why = {
        Kept.GONE: f"gone from the landing folder{archive}",
        Kept.DAMAGED: "damaged in the archive",
        Kept.OUTSIDE: "no longer objects of its source",
    }
    left = {state: text for state, text in why.items() if of[state]}
    if error.code != "HR240" or not (left or dead):
        return error
    found, next = [error.found], []
    found += [f"{_some(of[state])} cannot be read again, being {text}" for state, text in left.items()]
    if left:
        back = [str(state) for state in left if state is not Kept.OUTSIDE]
        put = f"put back what is {' or '.join(back)}" if back else "take them into the source again"
        next.append(f"{put}, or let it go with `headrace retract {home.name} --gone`")
    if dead:
        found.append(f"{_some(dead)} cannot load under the new one")
        next.append(f"see `headrace dlq ls {home.name}`")
    return DefinitionError("HR240", error.which, "; ".join(found), "; ".join(next))


def _some(keys: Sequence[str]) -> str:
    """`2 objects (a.csv, b.csv)`, no more than three by name."""
    names = ", ".join(keys[:3]) + (", …" if len(keys) > 3 else "")
    return f"{len(keys):,} object{'' if len(keys) == 1 else 's'} ({names})"

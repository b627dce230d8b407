"""One `run`: files into the landing prefix, events into the queue, work until idle, and what came of it.

The work is done here, or by the process that holds the root; either way the answer is read from the ledger.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.engine.home import Home
from headrace.engine.retain import refuse_strangers, sweep, sweep_spool
from headrace.local.lock import LockHeld, exclusive
from headrace.model.errors import DefinitionError, UsageError
from headrace.model.loads import Event, Load, LoadState
from headrace.model.where import meant
from headrace.project.arriving import exit_code, keys_for, result_of
from headrace.project.results import LoadResult, RunResult
from headrace.project.tables import ledger_of
from headrace.project.waiting import wait

if TYPE_CHECKING:
    from headrace.project.opened import Progress, Project

STANDING = (LoadState.DECIDED, LoadState.STANDING, LoadState.SKIPPED)


def run(project: Project, home: Home, files: Sequence[str | Path], on_progress: Progress | None) -> RunResult:
    """Put, work, tell. Without files the landing prefix is scanned."""
    from headrace.engine.reconcile import scan

    started = time.perf_counter()
    before = ledger_of(home).last_seq()
    if files:
        keys = keys_for(home.pipeline.source, files)
        landing = project.landing.resolve()
        home.store.put_many([(key, path) for key, path in keys.items() if path.resolve() != landing / key])
        home.queue.put([Event(home.name, key, "created") for key in keys])
    else:
        keys = {}
        scan(home)
    work(project, [home], on_progress, thorough=not files)
    loads = _results(home, list(keys), before)
    code = exit_code(loads, home.pipeline.tolerate)
    standing = {home.name: ledger_of(home).totals().loaded}
    return RunResult(tuple(loads), time.perf_counter() - started, code, standing)


def work(project: Project, homes: Sequence[Home], on_progress: Progress | None, *, thorough: bool = False) -> None:
    """Work until idle here; or wait while the process that holds the root does, and take over should it end."""
    from headrace.engine.loop import work_until_idle

    while True:
        with ExitStack() as held:
            try:
                held.enter_context(holding(project, thorough=thorough))
            except LockHeld:
                if wait(project.lock_file, homes):
                    return
                continue
            work_until_idle(list(homes), project.children, on_progress)
            return


@contextmanager
def holding(project: Project, *, thorough: bool = False) -> Iterator[None]:
    """Hold the root, and begin with what a process that died left lying; `thorough`: look for it in any case.

    Raises LockHeld (HR521) while another process works on the root, DefinitionError HR241 like `tidy`.
    """
    with exclusive(project.lock_file) as clean:
        tidy(project, strays=thorough or not clean)
        yield


def tidy(project: Project, *, strays: bool = True) -> None:
    """Delete what a process that died left lying: copies, files of unfinished attempts. For the root's holder alone.

    `strays` False leaves the bases as they are, whose every file would have to be looked at.
    Raises DefinitionError HR241 before anything is touched if a base holds another pipeline's rows.
    """
    for home in project.homes.values():
        refuse_strangers(home)
    for home in project.homes.values() if strays else ():
        sweep(home)
    for folder in (project.root / "spool", project.target.quick):
        sweep_spool(folder)


def replayed(home: Home, asked: Sequence[Load], before: int) -> list[LoadResult]:
    """What came of each load that was asked for again: its key's new load, `gone` from the landing folder and left as
    it stood, or `retired` with its object.
    """
    newest = {load.key: load for load in ledger_of(home).history(after=before)}
    standing = ledger_of(home).standing()
    found = []
    for old in asked:
        if old.key in newest:
            found.append(result_of(newest[old.key], home.pipeline))
        elif old.key not in standing:
            found.append(result_of(old, home.pipeline, str(LoadState.RETIRED)))
        else:
            state = "gone" if home.store.stat(old.key) is None else "unchanged"
            found.append(replace(result_of(old, home.pipeline, "unchanged"), state=state))
    return found


def gone(home: Home, files: Sequence[str] = ()) -> list[str]:
    """Keys that stand and whose objects cannot be read again: not in the landing folder, nor archived.

    With `files` those, archived or not. Raises UsageError HR129 for one that does not stand, HR141 for one whose object
    is there: it would be loaded again at the next look.
    """
    standing = ledger_of(home).standing()
    for file in files:
        if file not in standing:
            raise UsageError("HR129", file, "does not stand", meant(file, standing))
        if home.store.stat(file) is not None:
            raise UsageError("HR141", file, "it is in the landing folder and would be loaded again", "delete it first")
    if files:
        return list(dict.fromkeys(files))
    there = {stat.key for stat in home.store.list(home.pipeline.source.prefix)}
    archives = home.pipeline.source.after == "archive"
    return [
        key
        for key, load in standing.items()
        if key not in there and not (archives and home.store.has_archived(key, load.version))
    ]


def stuck(home: Home, told: Sequence[LoadResult], error: DefinitionError) -> DefinitionError:
    """HR240 after a replay of everything, with what keeps the rest from being brought over."""
    gone = [x.object for x in told if x.state == "gone"]
    dead = [x.object for x in told if x.state == str(LoadState.DEAD)]
    if error.code != "HR240" or not (gone or dead):
        return error
    found, next = [error.found], []
    if gone:
        found.append(f"{_some(gone)} cannot be read again, being gone from the landing folder")
        next.append(f"put back what is gone, or let it go with `headrace retract {home.name} --gone`")
    if dead:
        found.append(f"{_some(dead)} cannot load under the new one")
        next.append(f"see `headrace dlq ls {home.name}`")
    return DefinitionError("HR240", error.which, "; ".join(found), "; ".join(next))


def _some(keys: Sequence[str]) -> str:
    """`2 objects (a.csv, b.csv)`, no more than three by name."""
    names = ", ".join(keys[:3]) + (", …" if len(keys) > 3 else "")
    return f"{len(keys):,} object{'' if len(keys) == 1 else 's'} ({names})"


def _results(home: Home, keys: Sequence[str], before: int) -> list[LoadResult]:
    """Loads that began in this call, and for each given key without one what it is: unchanged, or dead as before."""
    ledger = ledger_of(home)
    newest = {load.key: load for load in ledger.history(after=before)}
    found = [result_of(load, home.pipeline) for load in newest.values()]
    for loads in home.ledger.live([key for key in keys if key not in newest]).values():
        dead = next((x for x in loads if x.state is LoadState.DEAD), None)
        standing = next((x for x in loads if x.state in STANDING), None)
        if dead is not None:
            found.append(result_of(dead, home.pipeline))
        elif standing is not None:
            found.append(result_of(standing, home.pipeline, "unchanged"))
    return sorted(found, key=lambda x: x.object)

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
from headrace.model.loads import Event, LoadState
from headrace.project.arriving import exit_code, keys_for, replaced_rows, result_of
from headrace.project.results import LoadResult, RunResult
from headrace.project.waiting import wait

if TYPE_CHECKING:
    from headrace.project.opened import Progress, Project

STANDING = (LoadState.DECIDED, LoadState.STANDING, LoadState.SKIPPED)


def run(project: Project, home: Home, files: Sequence[str | Path], on_progress: Progress | None) -> RunResult:
    """Put, work, tell. Without files the landing prefix is scanned."""
    from headrace.engine.reconcile import scan

    started = time.perf_counter()
    before = home.ledger.last_seq()
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
    standing = {home.name: home.ledger.totals().loaded}
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


def _results(home: Home, keys: Sequence[str], before: int) -> list[LoadResult]:
    """Loads that began in this call, and for each given key without one what it is: unchanged, or dead as before."""
    ledger = home.ledger
    newest = {load.key: load for load in ledger.history(after=before)}
    replaced = replaced_rows(home, newest.values())
    found = [replace(result_of(x, home.pipeline), replaced=replaced.get(x.id)) for x in newest.values()]
    for loads in home.ledger.live([key for key in keys if key not in newest]).values():
        dead = next((x for x in loads if x.state is LoadState.DEAD), None)
        standing = next((x for x in loads if x.state in STANDING), None)
        if dead is not None:
            found.append(result_of(dead, home.pipeline))
        elif standing is not None:
            found.append(result_of(standing, home.pipeline, "unchanged"))
    return sorted(found, key=lambda x: x.object)

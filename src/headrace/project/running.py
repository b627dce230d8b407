"""One `run`: files into the landing prefix, events into the queue, work until idle, and what came of it.

Whoever does the work, the answer is read from the ledger.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from headrace.engine.home import Home
from headrace.model.errors import BadObject, UsageError
from headrace.model.identity import STANDS
from headrace.model.loads import Load, LoadState
from headrace.project.arriving import exit_code, keys_for, replaced_rows, result_of, retracted
from headrace.project.results import LoadResult, RunResult
from headrace.project.side import Progress, Side


def run(side: Side, home: Home, files: Sequence[str | Path], on_progress: Progress | None) -> RunResult:
    """Put, work, tell. Without files the landing prefix is scanned."""
    from headrace.engine.reconcile import scan

    started = time.perf_counter()
    before, head = home.ledger.last_seq(), home.ledger.head()
    if files:
        keys = keys_for(home.pipeline.source, files)
        try:
            side.put(home, keys)
        except BadObject as exc:  # nothing was put: a name was given that no object can have
            raise UsageError(exc.code, exc.which, f"{exc.found}; no file was taken", exc.next) from exc
    else:
        keys = {}
        scan(home)
    side.work([home], on_progress, thorough=not files)
    newest = {load.key: load for load in home.ledger.history(after=before)}
    loads = _results(home, list(keys), newest)
    gone = retracted(home, newest.values(), head)
    code = exit_code(loads, home.pipeline.tolerate)
    standing = {home.name: home.ledger.totals().loaded}
    return RunResult(tuple(loads), time.perf_counter() - started, code, standing, tuple(gone))


def _results(home: Home, keys: Sequence[str], newest: Mapping[str, Load]) -> list[LoadResult]:
    """Loads that began in this call, and for each given key without one what it is: unchanged, or dead as before."""
    replaced = replaced_rows(home, newest.values())
    found = [replace(result_of(x, home.pipeline), replaced=replaced.get(x.id)) for x in newest.values()]
    for loads in home.ledger.live([key for key in keys if key not in newest]).values():
        dead = next((x for x in loads if x.state is LoadState.DEAD), None)
        standing = next((x for x in loads if x.state in STANDS), None)
        if dead is not None:
            found.append(result_of(dead, home.pipeline))
        elif standing is not None:
            found.append(result_of(standing, home.pipeline, "unchanged"))
    return sorted(found, key=lambda x: x.object)

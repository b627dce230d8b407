"""The reconciling scan: the same mechanism without events. Compares the store with the ledger and asks for a look.

Run at start and now and then; with it, lost events cost time and never rows.
"""

from __future__ import annotations

from collections.abc import Sequence

from headrace.engine.home import Home
from headrace.model.errors import ObjectMoving
from headrace.model.loads import Event, Load, LoadState

SETTLED = (LoadState.DECIDED, LoadState.STANDING)
EVERY = ("seen", "staged", "dead", "decided", "standing", "skipped")


def scan(home: Home, hint: str = "scan") -> int:
    """Put an event for every key whose object and ledger entry do not plainly agree; returns how many."""
    live: dict[str, list[Load]] = {}
    for load in home.ledger.in_state(*EVERY):
        live.setdefault(load.key, []).append(load)
    found: list[Event] = []
    left: list[str] = []  # stands, and was not moved out of the way when it began to
    for stat in home.store.list(home.pipeline.source.prefix):
        if not home.wants(stat.key):
            continue
        loads = live.pop(stat.key, [])
        if not _agrees(home, stat.fingerprint, loads):
            found.append(Event(home.name, stat.key, hint))
        else:
            left += [x.id for x in loads if x.state is LoadState.STANDING]
    archive(home, left)
    for key, loads in live.items():
        if home.wants(key) and not (_rightly_absent(home, loads) and _as_corrected(home, loads)):
            found.append(Event(home.name, key, hint))
    home.queue.put(found)
    return len(found)


def _as_corrected(home: Home, loads: Sequence[Load]) -> bool:
    """Whether what stands and was archived has the corrections that people made: if not, it can still be read again."""
    if home.pipeline.source.after != "archive":
        return True
    behind = [x for x in loads if x.corrections != home.ledger.corrections_digest(x.key, x.version)]
    return not any(home.store.has_archived(x.key, x.version) for x in behind)


def archive(home: Home, loads: Sequence[str]) -> None:
    """Move objects whose rows stand out of the way, if the source asks for it. One that changed meanwhile is left."""
    if home.pipeline.source.after != "archive":
        return
    for load in map(home.ledger.find_load, loads):
        try:
            if home.store.stat(load.key) is not None:
                home.store.archive(load.key, load.version)
        except ObjectMoving:
            continue  # its new version has an event of its own


def _agrees(home: Home, fingerprint: str, loads: list[Load]) -> bool:
    """The newest load is settled and has this very fingerprint, and nothing else is open.

    Beside a dead one the last that stood may stay, marked stale; a skipped one needs its twin.
    """
    if not loads or loads[-1].fingerprint != fingerprint:
        return False
    *others, load = loads
    if load.state is LoadState.DEAD:
        return load.contract == home.contract.digest and all(x.stale for x in others)
    if load.state is LoadState.SKIPPED:
        return not others and home.ledger.earlier_twin(load) is not None
    return not others and load.state in SETTLED


def _rightly_absent(home: Home, loads: list[Load]) -> bool:
    """Under `keep`, what stood stays when its object has gone, and there is nothing more to say."""
    keeps = home.pipeline.source.on_delete == "keep"
    return keeps and len(loads) == 1 and loads[0].state in SETTLED and not loads[0].stale

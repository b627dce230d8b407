"""Whether rows of the present definition can stand beside those that do: same key, order, partitions and types.

Where they cannot, new loads wait and sinks take nothing more, until everything that stands was replayed.
"""

from __future__ import annotations

from collections.abc import Set

from headrace.engine.home import Home
from headrace.model.errors import Outgrown
from headrace.model.loads import STANDS, Shape


def reshapes(home: Home, shape: Shape) -> bool:
    """Whether a revision of this shape takes the place of all that stands."""
    old = home.ledger.shape()
    return old is not None and not old.admits(shape)


def blocked(home: Home, leaving: Set[str] = frozenset()) -> Outgrown | None:
    """What keeps new loads from standing beside the old ones: the definition changed, and loads of the old remain."""
    old, new = home.ledger.shape(), home.shape
    if old is None or old.admits(new):
        return None
    remaining = [x for x in home.ledger.in_state(*STANDS) if x.id not in leaving]
    if not remaining:
        return None
    return Outgrown(
        "HR240",
        f"pipeline {home.name!r}",
        f"{_difference(old, new)}, and {len(remaining)} loads stand under the old definition; new files stay staged",
        f"bring them over with `headrace replay {home.name} --all`, or undo the change",
    )


def unlimited(home: Home, sink: str, found: str) -> Outgrown | None:
    """Why a sink cannot be filled, if rows stand that were loaded before it and so never held to what it takes."""
    contracts = {x.contract for x in home.ledger.in_state(*STANDS)}
    if all(home.ledger.contract(digest).limits == home.contract.limits for digest in contracts):
        return None
    return Outgrown(
        "HR242",
        f"sink {sink!r}",
        f"it cannot hold some of the rows that were loaded before it was declared: {found}",
        f"`headrace replay {home.name} --all` loads them again and rejects those, or take the sink away",
    )


def _difference(old: Shape, new: Shape) -> str:
    if old.key != new.key:
        return f"its key changed from ({', '.join(old.key)}) to ({', '.join(new.key)})"
    if old.on_conflict != new.on_conflict:
        return f"{'on_conflict' if new.key else 'dedupe'} changed from {old.on_conflict!r} to {new.on_conflict!r}"
    if old.partitions != new.partitions:
        return "the partitions of its lake changed"
    mine = dict(old.columns)
    name, kind = next((n, k) for n, k in new.columns if mine.get(n, k) != k)
    return f"column {name!r} changed from {mine[name]} to {kind}"

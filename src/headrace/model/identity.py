"""What an arrival is: the rules of identity and order, by which every ledger pins. Asks nobody.

Already done means that this version stands now, never that it once was loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from headrace.model.loads import Arrival, Load, LoadState

PENDING = (LoadState.SEEN, LoadState.STAGED)
STANDS = (LoadState.DECIDED, LoadState.STANDING, LoadState.SKIPPED)


@dataclass(frozen=True, slots=True)
class Identity:
    """`load` is what the arrival is already; without one it becomes a new load, in the order at `arrived_at`.

    `overtaken` are live loads of the key that it leaves behind: they are abandoned.
    """

    load: Load | None
    arrived_at: datetime
    overtaken: tuple[Load, ...] = ()


def identify(a: Arrival, live: Sequence[Load]) -> Identity:
    """Judge an arrival by its key's loads that are not history, newest first."""
    pending = [x for x in live if x.state in PENDING]
    standing = next((x for x in live if x.state in STANDS), None)
    dead = next((x for x in live if x.state is LoadState.DEAD), None)
    wanted = (a.version, a.contract, a.corrections)

    ours = next((x for x in pending if (x.version, x.contract, x.corrections) == wanted), None)
    # What was seen under this key before and never staged is overtaken; whoever still reads it finds out.
    overtaken = tuple(x for x in pending if x.state is LoadState.SEEN and x is not ours)
    if ours:
        return Identity(ours, ours.arrived_at, overtaken)
    failed = dead if dead and dead.version == a.version else None
    known = failed is not None and (failed.contract, failed.corrections) == wanted[1:] and not a.again
    if standing and standing.version == a.version:
        tried = failed is not None and a.again  # it was read again, could not load, and a person asks once more
        if standing.corrections == a.corrections and a.again != "replay" and not tried:
            return Identity(standing, standing.arrived_at, overtaken)
        if failed and known:
            return Identity(failed, failed.arrived_at, overtaken)
        return Identity(None, standing.arrived_at, (*overtaken, *([failed] if failed else [])))
    if pending and pending[0].version == a.version:
        return Identity(None, pending[0].arrived_at, overtaken)
    if failed and known:
        return Identity(failed, failed.arrived_at, overtaken)
    if failed:
        return Identity(None, failed.arrived_at, (*overtaken, failed))
    return Identity(None, a.created, overtaken)

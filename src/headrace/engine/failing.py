"""What becomes of an object that cannot be read: tried again, set aside as dead, or no fault of its own."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta

from headrace.engine import log
from headrace.engine.home import Home
from headrace.engine.look import doubtful
from headrace.model.errors import BadObject, HeadraceError, InfrastructureError, ObjectMoving, StoreUnavailable
from headrace.model.loads import UNREAD, Arrival, Lease, Load

MACHINE = ("HR304", "HR501", "HR605", "HR606", "HR801", "HR802", "HR803", "HR804", "HR871")
"""Faults that no object is to blame for: the disk, the ledger, the child that does not start, a service far away.

Neither is it for a landing place that cannot be read at all (StoreUnavailable).
"""
MOVING = timedelta(milliseconds=200)
"""When to look again at an object that changed while it was copied."""


def nobodys_fault(exc: HeadraceError) -> bool:
    return isinstance(exc, StoreUnavailable) or exc.code in MACHINE


def unlooked(home: Home, key: str, asked: Sequence[Lease], exc: HeadraceError) -> None:
    """What could not be looked at for a reason of its own is tried again; raises what is no fault of any object."""
    if isinstance(exc, ObjectMoving):
        home.queue.release(asked, MOVING)
    elif not isinstance(exc, (InfrastructureError, BadObject)):
        raise exc
    else:
        failed(home, key, asked, exc)


def failed(home: Home, key: str, leases: Sequence[Lease], exc: HeadraceError, load: Load | None = None) -> None:
    """What concerns one object alone: a fault is tried again, and called dead when that was too often."""
    log.event("ingest.object-failed", pipeline=home.name, key=key, error=str(exc))
    if not isinstance(exc, BadObject) and max(x.receives for x in leases) < home.settings.max_receives:
        home.queue.release(leases, delay_of(home, leases))
        return
    if load is None:
        arrival = Arrival(key, UNREAD, home.clock.now(), 0, _shown(home, key, exc), home.contract.digest)
        (load,) = home.ledger.pin([arrival])
    home.ledger.bury(load.id, str(exc), leases)
    tell_dead(home, load, str(exc))
    home.bell.ring()


def tell_dead(home: Home, load: Load, cause: str) -> None:
    log.event("load.dead", logging.WARNING, pipeline=home.name, load=load.id, object=load.key, cause=cause)


def delay_of(home: Home, leases: Sequence[Lease]) -> timedelta:
    return timedelta(seconds=home.settings.delay(max(x.receives for x in leases)))


def _shown(home: Home, key: str, exc: HeadraceError) -> str:
    """The fingerprint of what cannot be read: while it stays so, no scan asks again. A fault may pass at any time."""
    try:
        stat = home.store.stat(key) if isinstance(exc, BadObject) else None
    except (InfrastructureError, BadObject):
        return ""
    return doubtful(stat) if stat else ""

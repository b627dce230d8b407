"""Waiting for the process that holds the root, such as `up`, to do what was asked. Called by `running.work`.

It does the work; whether it is done is read from the ledger. A wait without any progress ends with an error.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from headrace.engine.home import Home
from headrace.engine.publish import blocked
from headrace.local.lock import holder
from headrace.model.errors import InfrastructureError
from headrace.model.loads import LoadState

POLL = 0.05
"""Seconds between looks at the ledger while another process works."""
PATIENCE = 60.0
"""Seconds without any change in the ledger, and nothing visibly in work, after which the other process is stuck."""
OPEN = (LoadState.SEEN, LoadState.STAGED, LoadState.DECIDED)


def wait(lock: Path, homes: Sequence[Home], patience: float = PATIENCE) -> bool:
    """True once the process that holds `lock` has settled everything; False when it ended before.

    Raises DefinitionError HR240 when what is staged must wait for a replay, InfrastructureError HR126 when that process
    makes no progress for `patience` seconds.
    """
    seen: dict[str, tuple[object, float]] = {}
    while (pid := holder(lock)) is not None:
        unsettled = [home for home in homes if not settled(home)]
        if not unsettled:
            return True
        for home in unsettled:
            now, state = time.monotonic(), _state(home)
            before, since = seen.get(home.name, (None, now))
            if state != before:
                seen[home.name] = state, now
            elif now - since > min(1.0, patience):
                _raise_if_blocked(home)
                if now - since > patience + _in_work(home, lock.parent):
                    raise InfrastructureError(
                        "HR126",
                        f"process {pid}" if pid else "the process that holds this root",
                        f"made no progress with pipeline {home.name!r} for {now - since:.0f} s",
                        "`headrace logs` says why; what was asked for waits in the queue",
                    )
        time.sleep(POLL)
    return False


def settled(home: Home) -> bool:
    """Nothing waits but retractions that a person must confirm, and every sink has what was decided."""
    ledger = home.ledger
    return (
        home.queue.empty(home.name)
        and not ledger.any_in_state(*OPEN)
        and ledger.standing_number() == home.ledger.head()
        and all(hint.held and not hint.confirmed for hint in home.ledger.hints().values())
    )


def _state(home: Home) -> object:
    """What changes when there is progress; not the queue, where an event that fails comes and goes."""
    ledger = home.ledger
    hints = {key: (hint.held, hint.confirmed) for key, hint in home.ledger.hints().items()}  # each scan asks anew
    return ledger.census(home.contract.digest), home.ledger.head(), ledger.sinks(), hints


def _in_work(home: Home, locks: Path) -> float:
    """How much longer it may take, as an object is being read or a revision being made."""
    leased = home.queue.depth(home.name)[1] > 0
    return home.settings.child_timeout if leased or holder(locks / f"{home.name}.lock") is not None else 0.0


def _raise_if_blocked(home: Home) -> None:
    if not home.queue.empty(home.name):
        return
    replaced = home.ledger.pending() | {key for key, hint in home.ledger.hints().items() if hint.confirmed}
    leaving = {load.id for load in home.ledger.in_state("decided", "standing") if load.key in replaced}
    if replaced and (error := blocked(home, leaving)) is not None:
        raise error

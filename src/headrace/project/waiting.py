"""Waiting for somebody else to do what was asked: the process that holds the root, such as `up`, or a stack.

They do the work; whether it is done is read from the ledger. A wait without any progress ends with an error.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from headrace.engine.home import Home
from headrace.engine.shapes import blocked
from headrace.model.errors import InfrastructureError
from headrace.model.loads import LoadState

OPEN = (LoadState.SEEN, LoadState.STAGED, LoadState.DECIDED)


def wait(
    homes: Sequence[Home],
    worker: Callable[[], str | None],
    in_work: Callable[[Home], float],
    *,
    done: Callable[[Home], bool] | None = None,
    patience: float,
    poll: float,
) -> bool:
    """True once `worker` has settled everything; False when it ended before.

    `worker` names who works, or is None once nobody does. `in_work` says how many seconds more than `patience` it may
    take without any change in the ledger; `done` whether nothing is left of a home (None: as `settled`). Looks every
    `poll` seconds. Raises DefinitionError HR240 when what is staged must wait for a replay, InfrastructureError HR126
    when there is no progress.
    """
    seen: dict[str, tuple[object, float]] = {}
    while (name := worker()) is not None:
        unsettled = [home for home in homes if not (done or settled)(home)]
        if not unsettled:
            return True
        for home in unsettled:
            now, state = time.monotonic(), _state(home)
            before, since = seen.get(home.name, (None, now))
            if state != before:
                seen[home.name] = state, now
            elif now - since > min(1.0, patience):
                _raise_if_blocked(home)
                if now - since > patience + in_work(home):
                    raise InfrastructureError(
                        "HR126",
                        name,
                        f"made no progress with pipeline {home.name!r} for {now - since:.0f} s",
                        "`headrace logs` says why; what was asked for waits in the queue",
                    )
        time.sleep(poll)
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


def _raise_if_blocked(home: Home) -> None:
    if not home.queue.empty(home.name):
        return
    replaced = home.ledger.pending() | {key for key, hint in home.ledger.hints().items() if hint.confirmed}
    leaving = {load.id for load in home.ledger.in_state("decided", "standing") if load.key in replaced}
    if replaced and (error := blocked(home, leaving)) is not None:
        raise error

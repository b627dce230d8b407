"""Objects that a person lets go: their rows leave although nothing replaces them, whatever `on_delete` says.

For what can be read no more and should not stand either, as when it is all that keeps a definition from coming into
force. Called by the publisher beside `verdict.judge`, which knows the policies alone.
"""

from __future__ import annotations

from headrace.engine.home import Home
from headrace.engine.verdict import STANDS, Verdict
from headrace.model.errors import BadObject, InfrastructureError, StoreUnavailable


def let_go(home: Home, verdict: Verdict) -> None:
    """Retire what stands under each key that a person has let go, if its object is still gone at this moment."""
    keys = [key for key, hint in home.ledger.hints().items() if hint.confirmed]
    leaving = {x.id for x in [*verdict.retire, *verdict.skip]}
    for key, loads in home.ledger.live(keys).items():
        standing = next((x for x in loads if x.state in STANDS and x.id not in leaving), None)
        if standing is not None and _gone(home, key):
            verdict.retire.append(standing)
            verdict.confirmed = True


def _gone(home: Home, key: str) -> bool:
    try:
        return home.store.stat(key) is None
    except StoreUnavailable:
        raise
    except (InfrastructureError, BadObject):
        return False  # there is something, if nothing that can be looked at now

"""What a decision did, as log lines: for `headrace logs`, for machines, and for whoever watches `up`.

Numbers only; which rows and loads they were is in the ledger. Called by the publisher, where the thing happens.
"""

from __future__ import annotations

from headrace.engine import log
from headrace.engine.home import Home
from headrace.model.loads import Counts, Decision, Settlement

ROWS = ("read", "loaded", "duplicate", "conflict", "rejected", "filtered")


def decided(home: Home, decision: Decision) -> None:
    """A revision is durable; no sink has it yet."""
    log.event(
        "revision.decided",
        pipeline=home.name,
        revision=decision.number,
        reason=decision.reason,
        files_added=len(decision.fresh) + len(decision.adopted),
        files_removed=len(decision.removed),
        **_loads(decision.settlement),
    )


def stands(home: Home, decision: Decision) -> None:
    """Every sink has the revision. `objects` begin to stand with these counts, `retired` stand no more."""
    counts = sum((decision.counts[x] for x in decision.standing if x in decision.counts), Counts())
    log.event(
        "revision.stands",
        pipeline=home.name,
        revision=decision.number,
        reason=decision.reason,
        objects=len(decision.standing),
        retired=len(decision.retired),
        **{name: getattr(counts, name) for name in ROWS},
    )


def settled(home: Home, settlement: Settlement) -> None:
    """A look at the store changed what loads are, and no row."""
    if found := _loads(settlement):
        log.event("loads.settled", pipeline=home.name, **found)


def _loads(settlement: Settlement) -> dict[str, int]:
    names = ("abandoned", "skipped", "stale", "recovered")
    return {name: len(getattr(settlement, name)) for name in names if getattr(settlement, name)}

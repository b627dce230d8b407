"""The publisher: one per pipeline, the only one who decides what stands.

    0 recover   every sink takes the revisions it lacks
    1 judge     look in the store what should stand, just before deciding
    2 resolve   contested keys; write and sync the files that change
    3 record    one ledger transaction, compare-and-swap on the number: from here on only forward
    4 apply     each sink in turn, then the loads stand and messages about them go out

A crash before 3 wastes work, after 3 step 0 finishes it. What is decided together is one revision, however many loads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import timedelta

from headrace.engine import log, telling
from headrace.engine.contest import Change, Resolution, resolve
from headrace.engine.deliver import deliver
from headrace.engine.faults import point
from headrace.engine.home import Home
from headrace.engine.reconcile import archive
from headrace.engine.recover import recover, release
from headrace.engine.shapes import blocked, reshapes
from headrace.engine.sql import mechanics
from headrace.engine.time_left import SecondsLeft, forever
from headrace.engine.verdict import Verdict, judge
from headrace.model.errors import BaseLost, HeadraceError, Outgrown
from headrace.model.loads import STANDS, Decision, Event, Load, LoadState, Settlement, Shape

LATER = timedelta(seconds=30)
"""Longer than a decision takes to be recorded once it is made."""


def publish(home: Home, seconds_left: SecondsLeft = forever) -> bool:
    """Decide everything that is staged or hinted; True if a revision was made.

    Raises Outgrown HR240 when the definition changed so much that the standing loads must be replayed first.
    """
    with home.lock(), mechanics(home.name):
        try:
            decision = _revise(home)
        except HeadraceError:
            release(home, 0)  # nothing begins to stand; but what cannot load, or waits for a person, waits for no sink
            deliver(home, seconds_left)  # it may be about this very trouble
            raise
        deliver(home, seconds_left)
    if decision is not None:
        archive(home, decision.standing, seconds_left)  # not under the lock: nothing that is staged waits for it
    return decision is not None


def _revise(home: Home) -> Decision | None:
    """The next revision, decided, recorded and applied; None if there is none to make."""
    stuck = _recovered(home)
    if stuck and home.queue.replaying(home.name):
        return None  # it heals all at once, or not at all
    decision, events = decide(home, whole=stuck is not None)
    if decision is not None:
        _promise(home, events)
        point("publish.before-record")
        home.ledger.record(decision)  # compare-and-swap: a publisher that lost its lock is refused here
        point("publish.recorded")
        telling.decided(home, decision)
    if events:
        home.queue.put(events)
    if decision is None and stuck:
        raise stuck
    if decision is None:
        release(home, home.ledger.head())
        return None
    recover(home)
    telling.stands(home, decision)
    return decision


def _recovered(home: Home) -> BaseLost | Outgrown | None:
    """Recover; what only a decision can mend is returned, not raised: there is nothing to fill a sink from."""
    try:
        recover(home)
    except (BaseLost, Outgrown) as exc:
        return exc
    return None


def _promise(home: Home, events: Sequence[Event]) -> None:
    """Have events come a little later, in case that this process dies once they are due.

    They must not be seen before what they follow from is recorded: then they are put once more, to be seen at once.
    """
    if events:
        home.queue.put(events, LATER)


def decide(home: Home, whole: bool = False) -> tuple[Decision | None, list[Event]]:
    """The next revision, written and synced but not recorded; and keys that workers must look at again.

    `whole`: it takes all that waits, however much that is.
    """
    most = math.inf if whole else _most(home)
    verdict = judge(home, most)
    if verdict.warning:
        # In this order: who dies in between says it once more. The other way round it would never be said.
        home.ledger.settle(Settlement(alerts=(verdict.warning,)))
        home.ledger.hold(verdict.hold)
    if not verdict.changes_rows:
        return None, _settle(home, verdict)
    try:
        shape = _shape(home, verdict)
    except Outgrown:
        home.queue.put(_settle(home, verdict.aside()))
        raise
    if shape is None:
        return None, _settle(home, verdict.aside())
    point("publish.judged")

    going = [*verdict.retire, *(x for x in verdict.skip if x.state in STANDS)]
    change = Change(home, shape, verdict.stand, going)
    if missing := change.missing():
        _stage_again(home, [x for x in verdict.stand if x.id in missing])
        return decide(home, whole)
    _leave_behind(home, change, verdict)
    number = home.ledger.head() + 1
    try:
        resolution = resolve(home, number, shape, change)
    except BaseLost:
        if home.queue.replaying(home.name):
            return None, verdict.again  # it may replace what is lost, all at once
        if most < math.inf:
            return decide(home, whole=True)  # or that has come already, and waits
        raise
    point("publish.resolved")
    return _decision(home, number, shape, verdict, resolution), [*verdict.again, *_freed(home, verdict)]


def _settle(home: Home, verdict: Verdict) -> list[Event]:
    """Record what changes no row; returns the keys that workers must look at again."""
    if not verdict.settles:
        return verdict.again
    events = [*verdict.again, *_freed(home, verdict)]
    _promise(home, events)
    settlement = _settlement(verdict)
    home.ledger.settle(settlement)
    telling.settled(home, settlement)
    return events


def _most(home: Home) -> float:
    """How many staged bytes a revision takes. What replaces all that stands under another shape comes whole."""
    limit = home.settings.revision_bytes
    return math.inf if not limit or reshapes(home, home.shape) else limit


def _decision(home: Home, number: int, shape: Shape, verdict: Verdict, resolution: Resolution) -> Decision:
    return Decision(
        pipeline=home.name,
        number=number,
        reason="reshape" if reshapes(home, shape) else verdict.reason,
        shape=shape,
        standing=_ids(verdict.stand),
        retired=_ids(verdict.retire),
        fresh=tuple(resolution.fresh),
        adopted=tuple(resolution.adopted),
        removed=tuple(resolution.removed),
        doomed=tuple(resolution.doomed),
        counts=resolution.counts,
        settlement=_settlement(verdict),
    )


def _stage_again(home: Home, loads: Sequence[Load]) -> None:
    """Loads whose staged files are lost never stand: their objects are read once more."""
    events = [Event(home.name, x.key, "moved") for x in loads]
    _promise(home, events)
    home.ledger.settle(Settlement(abandoned=_ids(loads)))
    home.queue.put(events)
    log.event("publish.staged-lost", pipeline=home.name, loads=len(loads))


def _leave_behind(home: Home, change: Change, verdict: Verdict) -> None:
    """What was staged beside coming loads, but after we looked which keys there are, is read once more.

    A file is settled as a whole: from now on it is a standing one, or written anew without the rows of others.
    """
    settled = {x.id for x in [*verdict.stand, *verdict.abandon, *verdict.skip]}
    beside = {load for file in change.staged for load in file.loads} - settled
    late = [x for x in map(home.ledger.find_load, sorted(beside)) if x.state is LoadState.STAGED]
    verdict.abandon += late
    verdict.again += [Event(home.name, x.key, "moved") for x in late]


def _shape(home: Home, verdict: Verdict) -> Shape | None:
    """The tables' shape after this revision; None while a replay that must come whole is under way."""
    old, new = home.ledger.shape(), home.shape
    if old is None:
        return new
    if old.admits(new):
        return old.joined(new)
    error = blocked(home, {x.id for x in [*verdict.retire, *verdict.skip]})
    if error is None:
        return new
    if home.queue.depth(home.name) != (0, 0):
        return None
    raise error


def _settlement(verdict: Verdict) -> Settlement:
    return Settlement(
        abandoned=_ids(verdict.abandon),
        skipped=_ids(verdict.skip),
        stale=_ids(verdict.stale),
        recovered=_ids(verdict.recovered),
        forgotten=dict(verdict.forget),
        alerts=tuple(verdict.alerts),
    )


def _freed(home: Home, verdict: Verdict) -> list[Event]:
    """Skipped twins of what leaves: perhaps one of them is the first of its bytes now."""
    if home.pipeline.source.same_bytes != "skip":
        return []
    versions = {x.version for x in [*verdict.retire, *verdict.abandon]}
    return [
        Event(home.name, x.key, "twin")
        for version in sorted(versions)
        for x in home.ledger.twins(version)
        if x.state is LoadState.SKIPPED
    ]


def _ids(loads: Sequence[Load]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(x.id for x in loads))

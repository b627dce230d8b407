"""What should stand, judged from the store as it is at this moment. Called by the publisher just before it decides.

Works from levels: events, hints and staged loads only name keys. For each, the store says which version is there now,
and the policies say what follows. Nothing is changed here but by returning a Verdict.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from headrace.engine.home import Home
from headrace.engine.many import each
from headrace.model.errors import BadObject, HeadraceError, InfrastructureError, ObjectMoving, StoreUnavailable
from headrace.model.hints import typed
from headrace.model.loads import STANDS, UNREAD, Alert, Event, Hint, Load, LoadState, Stat

GUARD_SHARE, GUARD_COUNT = 0.10, 10
"""What would retract more than this share and more than this number waits for a person."""
GUARD_WINDOW = timedelta(hours=1)
"""Deletions trickle in one event at a time: those of the last hour count together."""


@dataclass(slots=True)
class Verdict:
    """What the publisher is to make true. Loads by value, so that it need not look again."""

    stand: list[Load] = field(default_factory=list)
    retire: list[Load] = field(default_factory=list)
    skip: list[Load] = field(default_factory=list)  # had rows or was staged; its twin is earlier
    abandon: list[Load] = field(default_factory=list)
    stale: list[Load] = field(default_factory=list)
    recovered: list[Load] = field(default_factory=list)  # stale no more
    hold: list[str] = field(default_factory=list)
    warning: Alert | None = None  # some of those are not held yet
    forget: dict[str, int] = field(default_factory=dict)  # hints, as they were when they were read
    again: list[Event] = field(default_factory=list)  # keys that a worker must look at
    alerts: list[Alert] = field(default_factory=list)
    retracted: bool = False
    confirmed: bool = False

    @property
    def reason(self) -> str:
        """Why rows change: retractions that nobody confirmed count towards the guard."""
        return "retract" if self.retracted else "confirmed" if self.confirmed else "publish"

    @property
    def changes_rows(self) -> bool:
        return bool(self.stand or self.retire or any(x.state in STANDS for x in self.skip))

    def aside(self) -> Verdict:
        """What it says of keys whose rows stay as they are: that is so too where no row can change now."""
        changing = {x.key for x in [*self.stand, *self.retire, *self.skip]}
        coming = {x.id for x in self.stand}

        def others(loads: Sequence[Load]) -> list[Load]:
            return [x for x in loads if x.key not in changing]

        return Verdict(
            abandon=others(self.abandon),
            stale=others(self.stale),
            recovered=others(self.recovered),
            forget={key: asked for key, asked in self.forget.items() if key not in changing},
            again=[x for x in self.again if x.key not in changing],
            alerts=[x for x in self.alerts if x.load not in coming],
        )

    @property
    def settles(self) -> bool:
        return bool(self.abandon or self.stale or self.recovered or self.forget or self.skip or self.alerts)


def judge(home: Home, most: float = math.inf) -> Verdict:
    """Look at every key that is staged or hinted and say what should follow. `most`: as `Ledger.pending`."""
    verdict = Verdict()
    hints = home.ledger.hints()
    keys = sorted(home.ledger.pending(most, hints) | set(hints))
    live = home.ledger.live(keys)
    gone: list[Load] = []
    for key, found in zip(keys, each(lambda key: _held(home, key), keys, home.settings.looks), strict=True):
        _judge_key(home, key, found, live.get(key, []), verdict, gone)
    _guard(home, gone, hints, verdict)
    _let_go(home, live, hints, verdict)
    held = set(verdict.hold)
    verdict.forget = {key: hint.asked for key, hint in hints.items() if key not in held}
    _same_bytes(home, verdict)
    return verdict


def _held(home: Home, key: str) -> Stat | HeadraceError | None:
    """What the store holds under a key now, or why it cannot be looked at. Raises StoreUnavailable."""
    try:
        return home.store.stat(key)
    except StoreUnavailable:
        raise
    except (InfrastructureError, BadObject) as exc:
        return exc


def _judge_key(
    home: Home,
    key: str,
    stat: Stat | HeadraceError | None,
    loads: Sequence[Load],
    verdict: Verdict,
    gone: list[Load],
) -> None:
    standing = next((x for x in loads if x.state in STANDS), None)
    skipped = [x for x in loads if x.state is LoadState.SKIPPED]
    staged = [x for x in loads if x.state is LoadState.STAGED]
    dead = [x for x in loads if x.state is LoadState.DEAD]
    verdict.abandon += staged[:-1]  # an older attempt at the same key
    newest = staged[-1] if staged else None

    if isinstance(stat, HeadraceError):
        # It cannot be looked at now: a worker tries again, and says what is wrong with it.
        verdict.abandon += staged[-1:]
        verdict.again += [Event(home.name, key, "moved")] if staged else []
        if dead and dead[-1].version == UNREAD:
            _set_aside(home, standing, dead[-1], verdict)
        return
    if stat is None:
        _judge_gone(home, standing, loads, verdict, gone)
        return
    if newest is not None:
        if newest.contract != home.contract.digest or not _is_now(home, stat, newest):
            verdict.abandon.append(newest)
            verdict.again.append(Event(home.name, key, "moved"))
            return
        verdict.stand.append(newest)
        verdict.retire += [standing] if standing else []
        verdict.abandon += [*dead, *skipped]
        return
    twin = next((x for x in reversed(skipped) if _is_now(home, stat, x)), None)
    verdict.abandon += [x for x in skipped if x is not twin]
    if twin is not None:
        verdict.retire += [standing] if standing else []
        verdict.abandon += dead
        return
    _judge_dead(home, stat, standing, dead, verdict)


def _judge_gone(home: Home, standing: Load | None, loads: Sequence[Load], verdict: Verdict, gone: list[Load]) -> None:
    """Nothing is under the key: what stands may have been archived, and be read anew from there."""
    newest = next((x for x in reversed(loads) if x.state is LoadState.STAGED), None)
    others = [x for x in loads if x.state in (LoadState.DEAD, LoadState.SKIPPED)]
    if newest and standing and _read_again(home, newest, standing):
        verdict.stand.append(newest)
        verdict.retire.append(standing)
        verdict.abandon += others
        return
    archived = standing.version if standing and _archived(home, standing) else None
    # What is being read anew from the archive goes on, or is read once more if its contract was overtaken.
    verdict.abandon += [x for x in loads if x.state is LoadState.SEEN and x.version != archived]
    if newest:
        verdict.abandon.append(newest)
        verdict.again += [Event(home.name, newest.key, "replay")] if newest.version == archived else []
    failed = next((x for x in reversed(others) if _failed_again(home, x, archived)), None)
    verdict.abandon += [x for x in others if x is not failed]
    if failed:
        _set_aside(home, standing, failed, verdict)
    elif standing:
        gone.append(standing)


def _read_again(home: Home, newest: Load, standing: Load) -> bool:
    """The object is gone, but what stood was read anew from the archive: the same bytes, by another contract."""
    keeps = home.pipeline.source.on_delete == "keep"
    return keeps and newest.version == standing.version and newest.contract == home.contract.digest


def _failed_again(home: Home, load: Load, archived: str | None) -> bool:
    """Whether this is what came of reading the archived version by the present contract: it cannot load."""
    return load.state is LoadState.DEAD and load.version == archived and load.contract == home.contract.digest


def _archived(home: Home, standing: Load) -> bool:
    if home.pipeline.source.after != "archive":
        return False
    try:
        return home.store.has_archived(standing.key, standing.version)
    except InfrastructureError:
        return True  # there is something: who reads it will say what is wrong


def _judge_dead(home: Home, stat: Stat, standing: Load | None, dead: Sequence[Load], verdict: Verdict) -> None:
    """A broken version wipes nothing out: what stood stays, marked stale, until the store holds something better."""

    def counts(load: Load) -> bool:
        # What stands was read again and could not load by a contract that is history: that says nothing any more.
        again = standing is not None and standing.version == load.version
        return not (again and load.contract != home.contract.digest) and _is_now(home, stat, load)

    current = next(filter(counts, reversed(dead)), None)
    verdict.abandon += [x for x in dead if x is not current]
    if current is not None:
        _set_aside(home, standing, current, verdict)
    elif standing is None or not _is_now(home, stat, standing):
        verdict.again.append(Event(home.name, stat.key, "moved"))
    elif standing.stale:
        verdict.recovered.append(standing)


def _set_aside(home: Home, standing: Load | None, dead: Load, verdict: Verdict) -> None:
    """Tell people that this cannot load, and that what stands is older."""
    verdict.stale += [standing] if standing else []
    verdict.alerts.append(
        Alert(
            name=f"dead:{dead.id}",
            load=dead.id,
            subject=f"{home.name}: {dead.key} cannot load",
            body=f"{dead.cause}\nNext: {typed('dlq', 'show', home.name, dead.key)}",
        )
    )


def _is_now(home: Home, stat: Stat, load: Load) -> bool:
    """Whether the store holds this load's version: by fingerprint, and by content only where that differs.

    What could never be read has no content to compare: it is now for as long as it still cannot be read.
    """
    if load.fingerprint.lstrip("~") == stat.fingerprint and load.version != UNREAD:
        return True
    try:
        return home.store.digest(load.key)[1] == load.version
    except StoreUnavailable:
        raise
    except ObjectMoving:
        return False
    except (InfrastructureError, BadObject):
        return load.version == UNREAD


def _guard(home: Home, gone: Sequence[Load], hints: Mapping[str, Hint], verdict: Verdict) -> None:
    """What is gone stays (`keep`), or is retracted, unless that would be too much to happen without a person."""
    if home.pipeline.source.on_delete == "keep":
        verdict.recovered += [x for x in gone if x.stale]
        return
    if not gone:
        return
    meant = {key for key, hint in hints.items() if hint.confirmed}
    confirmed = [x for x in gone if x.key in meant]
    others = [x for x in gone if x.key not in meant]
    lately = home.ledger.retracted_since(home.clock.now() - GUARD_WINDOW)
    missing = lately + len(others)
    if others and missing > GUARD_COUNT and missing > GUARD_SHARE * (home.ledger.count_standing() + lately):
        verdict.hold += [x.key for x in others]
        if more := [x for x in others if x.key not in hints or not hints[x.key].held]:
            verdict.warning = _held_back(home, len(others), more, hints)
        others = []
    verdict.retire += [*confirmed, *others]
    verdict.retracted, verdict.confirmed = bool(others), bool(confirmed)


def _let_go(home: Home, live: Mapping[str, Sequence[Load]], hints: Mapping[str, Hint], verdict: Verdict) -> None:
    """What a person lets go leaves although nothing replaces it, whatever `on_delete` says, if its object is gone, or
    is none of the source's any more.

    For what can be read no more and should not stand either, as when it is all that keeps a definition from coming into
    force.
    """
    leaving = {x.id for x in [*verdict.retire, *verdict.skip]}
    for key in (key for key, hint in hints.items() if hint.confirmed):
        standing = next((x for x in live.get(key, ()) if x.state in STANDS and x.id not in leaving), None)
        anew = [x for x in verdict.stand if x.key == key]  # read again from the archive
        if (standing or anew) and (not home.wants(key) or _is_gone(home, key)):
            verdict.retire += [standing] if standing else []
            verdict.stand = [x for x in verdict.stand if x not in anew]
            verdict.abandon += anew
            verdict.confirmed = True


def _is_gone(home: Home, key: str) -> bool:
    return _held(home, key) is None  # or there is something, if nothing that can be looked at now


def _held_back(home: Home, count: int, more: Sequence[Load], hints: Mapping[str, Hint]) -> Alert:
    """Said whenever more is held. Each asking for a look has a number: what came back and is gone again is new."""
    asked = sorted(f"{x.id} {hints[x.key].asked if x.key in hints else 0}" for x in more)
    return Alert(
        name=f"held:{home.name}:{hashlib.sha256(' '.join(asked).encode()).hexdigest()[:16]}",
        load="",
        subject=f"{home.name}: {count} objects are gone and wait for you",
        body=f"Their rows still stand. Next: headrace retract {home.name} --confirm, if this is meant.",
    )


def _same_bytes(home: Home, verdict: Verdict) -> None:
    """Apply the policy on equal content under several keys, the first in order being the one that counts."""
    policy = home.pipeline.source.same_bytes
    if policy == "load":
        return
    leaving = {x.id for x in [*verdict.retire, *verdict.abandon]}
    coming = {x.id for x in verdict.stand}
    skipped: dict[str, Load] = {}
    for version in sorted(home.ledger.repeated({x.version for x in verdict.stand if x.size > 0})):
        alike = [x for x in home.ledger.twins(version) if x.id in coming or (x.state in STANDS and x.id not in leaving)]
        alike.sort(key=lambda x: (x.arrived_at, x.key))
        arrived = [x for x in alike if x.id in coming]
        if policy == "skip":  # all that come but the first of all, and what stood and is now behind one that comes
            skipped |= {x.id: x for x in alike[alike.index(arrived[0]) :] if x is not alike[0]}
        elif len(alike) > 1:
            verdict.alerts += [_twins(home, x, alike[x is alike[0]]) for x in arrived]
    verdict.skip += skipped.values()
    verdict.stand = [x for x in verdict.stand if x.id not in skipped]
    verdict.retire = [x for x in verdict.retire if x.id not in skipped]


def _twins(home: Home, load: Load, other: Load) -> Alert:
    return Alert(
        name=f"same-bytes:{load.version}:{min(load.key, other.key)}:{max(load.key, other.key)}",
        load=load.id,
        subject=f"{home.name}: {load.key} has the same bytes as {other.key}",
        body=f"Both are loaded. Next: {typed('history', home.name, '--file', load.key)}",
    )

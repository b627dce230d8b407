"""What should stand, judged from the store as it is at this moment. Called by the publisher just before it decides.

Works from levels: events, hints and staged loads only name keys. For each, the store says which version is there now,
and the policies say what follows. Nothing is changed here but by returning a Verdict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from headrace.engine.home import Home
from headrace.model.errors import BadObject, InfrastructureError, StoreUnavailable
from headrace.model.loads import Alert, Event, Load, LoadState, Stat

STANDS = (LoadState.DECIDED, LoadState.STANDING)
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
    forget: list[str] = field(default_factory=list)
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

    @property
    def settles(self) -> bool:
        return bool(self.abandon or self.stale or self.recovered or self.forget or self.skip or self.alerts)


def judge(home: Home) -> Verdict:
    """Look at every key that is staged or hinted and say what should follow."""
    verdict = Verdict()
    hints = home.ledger.hints()
    keys = sorted(home.ledger.pending() | set(hints))
    live = home.ledger.live(keys)
    gone: list[Load] = []
    for key in keys:
        _judge_key(home, key, live.get(key, []), verdict, gone)
    _guard(home, gone, hints, verdict)
    verdict.forget += [k for k in hints if k not in set(verdict.hold)]
    _same_bytes(home, verdict)
    return verdict


def _judge_key(home: Home, key: str, loads: Sequence[Load], verdict: Verdict, gone: list[Load]) -> None:
    standing = next((x for x in loads if x.state in STANDS), None)
    skipped = [x for x in loads if x.state is LoadState.SKIPPED]
    staged = [x for x in loads if x.state is LoadState.STAGED]
    dead = [x for x in loads if x.state is LoadState.DEAD]
    verdict.abandon += staged[:-1]  # an older attempt at the same key
    newest = staged[-1] if staged else None

    try:
        stat = home.store.stat(key)
    except StoreUnavailable:
        raise
    except BadObject:
        return  # a name that can hold nothing: it is dead, and stays so
    except InfrastructureError:
        verdict.abandon += staged[-1:]
        verdict.again += [Event(home.name, key, "moved")] if staged else []
        return  # this object cannot be looked at now: a worker tries again, and says what is wrong with it
    if stat is None:
        if newest and standing and _read_again(home, newest, standing):
            verdict.stand.append(newest)
            verdict.retire.append(standing)
            return
        archived = standing.version if standing and home.pipeline.source.after == "archive" else None
        # What is being read anew from the archive goes on, or is read once more if its contract was overtaken.
        unread = [x for x in loads if x.state is LoadState.SEEN and x.version != archived]
        verdict.abandon += [*unread, *staged[-1:], *dead, *skipped]
        verdict.again += [Event(home.name, key, "moved") for x in staged[-1:] if x.version == archived]
        if standing:
            gone.append(standing)
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


def _read_again(home: Home, newest: Load, standing: Load) -> bool:
    """The object is gone, but what stood was read anew from the archive: the same bytes, by another contract."""
    keeps = home.pipeline.source.on_delete == "keep"
    return keeps and newest.version == standing.version and newest.contract == home.contract.digest


def _judge_dead(home: Home, stat: Stat, standing: Load | None, dead: Sequence[Load], verdict: Verdict) -> None:
    """A broken version wipes nothing out: what stood stays, marked stale, until the store holds something better."""
    current = next((x for x in reversed(dead) if _is_now(home, stat, x)), None)
    verdict.abandon += [x for x in dead if x is not current]
    if current is None:
        if standing and standing.stale:
            verdict.recovered.append(standing)
        if standing is None or not _is_now(home, stat, standing):
            verdict.again.append(Event(home.name, stat.key, "moved"))
        return
    if standing:
        verdict.stale.append(standing)
    verdict.alerts.append(
        Alert(
            name=f"dead:{current.id}",
            load=current.id,
            subject=f"{home.name}: {stat.key} cannot load",
            body=f"{current.cause}\nNext: headrace dlq show {home.name} {stat.key}",
        )
    )


def _is_now(home: Home, stat: Stat, load: Load) -> bool:
    """Whether the store holds this load's version: by fingerprint, and by content only where that differs."""
    if load.fingerprint.lstrip("~") == stat.fingerprint:
        return True
    if load.version == "unread":
        return load.fingerprint == ""
    try:
        return home.store.digest(load.key)[1] == load.version
    except StoreUnavailable:
        raise
    except (InfrastructureError, BadObject):
        return False  # whatever is there now, it is not this


def _guard(home: Home, gone: Sequence[Load], hints: Mapping[str, tuple[bool, bool]], verdict: Verdict) -> None:
    """What is gone stays (`keep`), or is retracted, unless that would be too much to happen without a person."""
    if home.pipeline.source.on_delete == "keep":
        verdict.recovered += [x for x in gone if x.stale]
        return
    if not gone:
        return
    confirmed = [x for x in gone if hints.get(x.key, (False, False))[1]]
    others = [x for x in gone if x not in confirmed]
    standing = home.ledger.standing()
    lately = home.ledger.retracted_since(home.clock.now() - GUARD_WINDOW)
    missing = lately + len(others)
    if others and missing > GUARD_COUNT and missing > GUARD_SHARE * (len(standing) + lately):
        verdict.hold += [x.key for x in others]
        verdict.alerts.append(
            Alert(
                name=f"held:{home.name}:{home.ledger.head()}",
                load="",
                subject=f"{home.name}: {len(others)} objects are gone and wait for you",
                body=f"Their rows still stand. Next: headrace retract {home.name} --confirm, if this is meant.",
            )
        )
        others = []
    verdict.retire += [*confirmed, *others]
    verdict.retracted, verdict.confirmed = bool(others), bool(confirmed)


def _same_bytes(home: Home, verdict: Verdict) -> None:
    """Apply the policy on equal content under several keys, the first in order being the one that counts."""
    policy = home.pipeline.source.same_bytes
    if policy == "load":
        return
    leaving = {x.id for x in [*verdict.retire, *verdict.abandon]}
    coming = {x.id for x in verdict.stand}
    skipped: dict[str, Load] = {}
    repeated = home.ledger.repeated({x.version for x in verdict.stand if x.size > 0})
    for load in [x for x in verdict.stand if x.version in repeated]:
        twins = [
            x
            for x in home.ledger.twins(load.version)
            if x.key != load.key and x.id not in leaving and (x.state in STANDS or x.id in coming)
        ]
        if not twins:
            continue
        if policy == "alert":
            verdict.alerts.append(
                Alert(
                    name=f"same-bytes:{load.version}:{min(load.key, twins[0].key)}:{max(load.key, twins[0].key)}",
                    load=load.id,
                    subject=f"{home.name}: {load.key} has the same bytes as {twins[0].key}",
                    body=f"Both are loaded. Next: headrace history {home.name} --file {load.key}",
                )
            )
            continue
        for x in twins:
            later = x if (x.arrived_at, x.key) > (load.arrived_at, load.key) else load
            skipped.setdefault(later.id, later)
    verdict.skip += skipped.values()
    verdict.stand = [x for x in verdict.stand if x.id not in skipped]
    verdict.retire = [x for x in verdict.retire if x.id not in skipped]

"""What stood, written down from outside: the engine is asked after each of its steps, and only believed what may be.

The oracle says what the rows must be, given which versions stand and in which order; this says which may stand, and
which places in the order they may have. It knows nothing but what the outside did to the landing folder.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from headrace.model.times import instant_of

from .coming import BROKEN, Landing, Occurrence, Policies, text_of

STANDS = ("decided", "standing")
LIVE = ("seen", "staged", "dead", "skipped", *STANDS)


@dataclass(frozen=True)
class Seen:
    """One load as the ledger shows it. Its version is told as text."""

    key: str
    text: str
    state: str
    arrived_at: datetime
    stale: bool


@dataclass
class Watch:
    """Follows one ledger. `look` after everything that the engine did, before the outside does anything more."""

    ledger: Path
    policies: Policies
    landing: Landing
    loads: dict[str, Seen] = field(default_factory=dict)

    def look(self, held: Mapping[str, Occurrence] | None = None) -> None:
        """Raise AssertionError if a load has a place in the order, or something stands or not, that must not be so.

        `held` is what lay in the landing folder when the engine looked there, if that was not just now.
        """
        held = self.landing.latest if held is None else held
        before, self.loads = self.loads, self._read()
        for id, load in self.loads.items():
            if id in before:
                assert load.arrived_at == before[id].arrived_at, f"the place of {id} in the order was moved"
            else:
                self._check_place(id, load, held, before)
        stood, stands = _by_key(before, *STANDS), _by_key(self.loads, *STANDS)
        for key in stood.keys() | stands.keys():
            if stood.get(key) != stands.get(key):
                self._check_change(key, stood.get(key), stands.get(key), held)

    def standing(self, key: str) -> str | None:
        """The text that stands under a key, or was skipped."""
        return _by_key(self.loads, *STANDS, "skipped").get(key)

    def check_quiet(self, held_back: list[str]) -> None:
        """Once it is quiet: what is there stands, and what cannot load is dead and leaves the last good one stale."""
        stands = _by_key(self.loads, *STANDS)
        stale = {x.key for x in self.loads.values() if x.state in STANDS and x.stale}
        broken = {key for key, (text, _) in self.landing.latest.items() if text == BROKEN}
        dead = _by_key(self.loads, "dead")
        assert dead == dict.fromkeys(broken, BROKEN), f"dead are {sorted(dead)}, broken {sorted(broken)}"
        stale -= set(held_back)  # waits for a person as it is
        assert stale == broken & stands.keys(), f"stale are {sorted(stale)}, broken {sorted(broken)}"
        for key, (text, _) in self.landing.latest.items():
            if text != BROKEN:
                assert self.standing(key) == text, f"{key} is there, or was archived, and does not stand as it is"
        gone = stands.keys() - self.landing.latest.keys()
        if self.policies.on_delete == "retract":
            assert gone <= set(held_back), f"{sorted(gone - set(held_back))} are gone and stand"
        assert not held_back or self.policies.crowded, f"so few as {held_back} were held back"

    def _check_place(self, id: str, load: Seen, held: Mapping[str, Occurrence], before: Mapping[str, Seen]) -> None:
        """A new load has the creation time of what lies there now.

        Unless the same version was under way, stood or was dead when it was found again: then it has kept its place.
        """
        kept = {x.arrived_at for x in before.values() if (x.key, x.text) == (load.key, load.text) and x.state in LIVE}
        there = held.get(load.key)
        now = {there[1]} if there and there[0] == load.text else set()
        assert load.arrived_at in kept | now, (
            f"{id} ({load.key}) has its place at {load.arrived_at}, instead of {sorted(kept | now)}"
        )

    def _check_change(self, key: str, stood: str | None, stands: str | None, held: Mapping[str, Occurrence]) -> None:
        """What stands is what lay there at the moment of deciding; it goes only if it was replaced, or retracted."""
        there = held.get(key, (None, None))[0]
        if stands is not None:
            assert stands == there != BROKEN, f"{key} stands with a version that was not there"
            return
        skips = self.policies.same_bytes == "skip"
        twin = skips and (stood in _by_key(self.loads, *STANDS).values())
        skipped = skips and there is not None and self._was_skipped(key, there)
        retracted = self.policies.on_delete == "retract" and there is None
        assert twin or skipped or retracted, f"{key} stood, and was taken away under {self.policies.on_delete}"

    def _was_skipped(self, key: str, text: str) -> bool:
        """Whether what lies there was left unread for its twin; and perhaps taken up since: the twin went."""
        states = {x.state for x in self.loads.values() if (x.key, x.text) == (key, text)}
        return "skipped" in states or ("abandoned" in states and not states.isdisjoint(LIVE))

    def _read(self) -> dict[str, Seen]:
        with closing(sqlite3.connect(f"file:{self.ledger}?mode=ro", uri=True)) as db:
            rows = db.execute("select id, key, version, state, arrived_at, stale from loads order by seq")
            return {
                id: Seen(key, text_of(version), state, instant_of(at), bool(stale))
                for id, key, version, state, at, stale in rows
            }


def _by_key(loads: Mapping[str, Seen], *states: str) -> dict[str, str]:
    return {x.key: x.text for x in loads.values() if x.state in states}

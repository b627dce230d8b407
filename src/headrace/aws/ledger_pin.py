"""What arrivals make of the loads of their keys, without asking anybody: `ledger.py` reads the keys, lets this think,
and writes what came of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from headrace.aws.ledger_keys import Change, KeyLoads
from headrace.aws.ledger_rows import Kept
from headrace.model.identity import identify
from headrace.model.loads import Arrival, Load, LoadState

UNNUMBERED = -(10**9)
"""Numbers that no load has: for finding out how many are needed."""


class Pinning:
    """Some arrivals upon the loads of their keys as they were read. New loads are numbered from `first` on."""

    def __init__(self, pipeline: str, now: datetime, keys: Mapping[str, KeyLoads], first: int = UNNUMBERED) -> None:
        self._pipeline, self._now, self._first = pipeline, now, first
        self._before = keys
        self._after = {key: list(found.loads) for key, found in keys.items()}
        self._past: dict[str, list[Load]] = {key: [] for key in keys}
        self.born = 0
        self.arrived = False  # whether a version came that was not there already

    def pin(self, a: Arrival) -> Load:
        """The load that the arrival already is, or the new one that it becomes."""
        self.arrived |= all(x.load.version != a.version for x in self._after[a.key])
        found = identify(a, [x.load for x in reversed(self._after[a.key])])
        for load in found.overtaken:
            self._abandon(load)
        if found.load is not None:
            return self._touched(found.load, a)
        load = Load(
            id=f"{self._pipeline}.{self._first + self.born}",
            pipeline=self._pipeline,
            key=a.key,
            version=a.version,
            contract=a.contract,
            corrections=a.corrections,
            arrived_at=found.arrived_at,
            state=LoadState.SEEN,
            size=a.size,
            fingerprint=a.fingerprint,
            seen_at=self._now,
        )
        self.born += 1
        self._after[a.key].append(Kept(load))
        return load

    def changes(self) -> list[Change]:
        """What is to be written of it."""
        found = [
            Change(before, tuple(self._after[key]), tuple(self._past[key])) for key, before in self._before.items()
        ]
        return [change for change in found if change.changes]

    def _abandon(self, load: Load) -> None:
        self._after[load.key] = [x for x in self._after[load.key] if x.load.id != load.id]
        self._past[load.key].append(replace(load, state=LoadState.ABANDONED))

    def _touched(self, load: Load, a: Arrival) -> Load:
        """The same bytes, written again perhaps: only how they are told apart cheaply has changed."""
        touched = replace(load, fingerprint=a.fingerprint)
        self._after[a.key] = [replace(x, load=touched) if x.load.id == load.id else x for x in self._after[a.key]]
        return touched

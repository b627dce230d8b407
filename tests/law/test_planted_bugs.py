"""The trials are tried: each bug that is planted here must be found by them, or they prove nothing.

Missing syncs are planted in `test_power_loss.py`. Bugs are collaborators that take the place of right ones: no code of
ours is patched.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from headrace.engine.faults import point
from headrace.engine.home import Home
from headrace.local.ledger import SqliteLedger
from headrace.model.loads import Arrival, DataFile, Decision, Load, LoadState, Revision

from .children import HereChild
from .test_histories import run_history
from .world import Plant

MOST = 100
"""Histories that may pass before a bug must have shown itself."""
OFTEN = {"zombie": 40, "restore": 10}
"""What these bugs show in is made to happen more often than in the other trials: finding them takes less time."""


def copied(home: Home, kind: type[SqliteLedger]) -> Any:
    """The home's ledger again, as another class."""
    right: Any = home.ledger
    return kind(right._db, right._queue, home.name, home.clock)


class EagerLedger(SqliteLedger):
    """Lets the sinks have a revision before it is recorded."""

    home: Home

    def record(self, decision: Decision) -> None:
        staged = {f.path: f for f in self.files_of(decision.standing, staged=True)}
        adopted = tuple(staged[p] for p in decision.adopted if p in staged)
        standing = {f.path: f for f in self.files("data")}
        revision = Revision(
            pipeline=self.pipeline,
            number=decision.number,
            at=self._clock.now(),
            reason=decision.reason,
            added=_data((*decision.fresh, *adopted)),
            removed=tuple(standing[p] for p in decision.removed if p in standing),
            columns=decision.shape.columns,
        )
        for writer in self.home.writers.values():
            writer.apply(revision)
        point("planted.applied")
        super().record(decision)


def _data(files: Sequence[DataFile]) -> tuple[DataFile, ...]:
    return tuple(f for f in files if f.kind == "data")


def sink_before_revision(home: Home) -> Home:
    ledger = copied(home, EagerLedger)
    ledger.home = home
    return replace(home, ledger=ledger)


class CarelessLedger(SqliteLedger):
    """Records whatever it is given as the next revision, although it was decided on what stood before."""

    def record(self, decision: Decision) -> None:
        super().record(replace(decision, number=self.head() + 1))


def no_compare_and_swap(home: Home) -> Home:
    return replace(home, ledger=copied(home, CarelessLedger))


class ForgivingLedger(SqliteLedger):
    """Takes a version that was ever loaded for one that stands: "in the ledger means done"."""

    def pin(self, arrivals: Sequence[Arrival]) -> list[Load]:
        return [self._done(a) or super(ForgivingLedger, self).pin([a])[0] for a in arrivals]

    def _done(self, arrival: Arrival) -> Load | None:
        before = [x for x in self.history(arrival.key) if x.version == arrival.version and x.decided is not None]
        return replace(before[-1], state=LoadState.STANDING) if before and not arrival.again else None


def in_the_ledger_means_done(home: Home) -> Home:
    return replace(home, ledger=copied(home, ForgivingLedger))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "planted"
    shutil.rmtree(tmp_path / "planted", ignore_errors=True)


@pytest.mark.parametrize("plant", [sink_before_revision, no_compare_and_swap, in_the_ledger_means_done])
def test_a_planted_bug_is_found(place: Path, plant: Plant) -> None:
    for seed in range(MOST):
        try:
            run_history(place, seed, HereChild(), plant, OFTEN)
        except AssertionError as exc:
            print(f"{plant.__name__}: found in history {seed}: {str(exc)[:300]}")
            return
    pytest.fail(f"{MOST} histories did not find it")


def test_without_a_bug_the_same_histories_pass(place: Path) -> None:
    for seed in range(20):
        run_history(place, seed, HereChild(), often=OFTEN)

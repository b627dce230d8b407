"""The trials are tried: each bug that is planted here must be found by them, or they prove nothing.

Missing syncs are planted in `test_power_loss.py`. Bugs are collaborators that take the place of right ones; one that
nobody hands over, the judgement, is wrapped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from headrace.engine.faults import point
from headrace.engine.home import Home
from headrace.engine.verdict import Verdict, judge
from headrace.local.ledger import SqliteLedger
from headrace.model.loads import Arrival, DataFile, Decision, Load, LoadState, Revision, Settlement
from headrace.model.times import text_of

from .children import HereChild
from .test_histories import run_history
from .world import Plant, right

MOST = 40
"""Histories that may pass before a bug must have shown itself."""


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


class FirstPlaceLedger(SqliteLedger):
    """Gives a version that comes back the place in the order which it had when it was seen first."""

    def pin(self, arrivals: Sequence[Arrival]) -> list[Load]:
        return [self._moved(load) for load in super().pin(arrivals)]

    def _moved(self, load: Load) -> Load:
        first = next(x for x in self.history(load.key) if x.version == load.version)
        if load.state is not LoadState.SEEN or first.arrived_at == load.arrived_at:
            return load
        with self._db.transaction() as db:
            db.execute("update loads set arrived_at = ? where id = ?", (text_of(first.arrived_at), load.id))
        return replace(load, arrived_at=first.arrived_at)


def a_restored_version_takes_its_first_place_again(home: Home) -> Home:
    return replace(home, ledger=copied(home, FirstPlaceLedger))


class FreshLedger(SqliteLedger):
    """Never says of anything that stands that it is stale."""

    def settle(self, settlement: Settlement) -> None:
        super().settle(replace(settlement, stale=()))

    def record(self, decision: Decision) -> None:
        super().record(replace(decision, settlement=replace(decision.settlement, stale=())))


def nothing_is_ever_stale(home: Home) -> Home:
    return replace(home, ledger=copied(home, FreshLedger))


def what_is_kept_is_retracted(home: Home) -> Home:
    """A deleted file takes its rows with it, whatever the definition says."""
    source = home.pipeline.source
    if source.after == "archive":  # would be retracted as soon as it stands: no need to look for that
        return home
    return replace(home, pipeline=replace(home.pipeline, source=replace(source, on_delete="retract")))


def broken_retires(home: Home, most: float) -> Verdict:
    """Judges that a version which cannot load takes away what stood before it."""
    verdict = judge(home, most)
    verdict.retire += verdict.stale
    verdict.stale.clear()
    return verdict


PLANTS: tuple[tuple[Plant, Mapping[str, int]], ...] = (
    (sink_before_revision, {"zombie": 40}),
    (no_compare_and_swap, {"zombie": 40}),
    (in_the_ledger_means_done, {"restore": 10}),
    (a_restored_version_takes_its_first_place_again, {"restore": 30}),
    (nothing_is_ever_stale, {"spoil": 20}),
    (what_is_kept_is_retracted, {"remove": 20}),
)
"""With each what is made to happen more often than in the other trials: finding it takes less time."""


def find(memory: Path, plant: Plant, often: Mapping[str, int]) -> str:
    """What the first history says that fails; empty if none does."""
    for seed in range(MOST):
        try:
            run_history(memory, seed, HereChild(), plant, often)
        except AssertionError as exc:
            return str(exc)
    return ""


@pytest.mark.parametrize(("plant", "often"), PLANTS, ids=[plant.__name__ for plant, _ in PLANTS])
def test_a_planted_bug_is_found(memory: Path, plant: Plant, often: Mapping[str, int]) -> None:
    assert find(memory, plant, often), f"{MOST} histories did not find it"


def test_a_broken_version_that_takes_away_what_stood_is_found(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headrace.engine.publish.judge", broken_retires)
    assert "stood, and was taken away" in find(memory, right, {"spoil": 20})


@pytest.mark.parametrize("often", [often for _, often in PLANTS[1:4]], ids=["zombies", "restored", "often restored"])
def test_without_a_bug_the_same_histories_pass(memory: Path, often: Mapping[str, int]) -> None:
    for seed in range(8):
        run_history(memory, seed, HereChild(), often=often)

"""The clean run of the law, done by the code itself: what stands, read once into an empty root in the pinned order."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from headrace.engine import ingest
from headrace.engine.home import Home
from headrace.engine.publish import publish
from headrace.engine.reconcile import scan
from headrace.engine.settings import Settings
from headrace.local.clock import ManualClock
from headrace.local.target import LocalTarget
from headrace.model.loads import Counts

from .check import LOSERS, REJECTED, base_rows, rows_in
from .coming import put
from .oracle import Stands
from .world import World


def check_against_clean_run(world: World, root: Path, standing: list[Stands]) -> None:
    """Raise AssertionError unless a clean run over what stands puts the same rows into every sink.

    The pinned times, the corrections and the contract of each load are its input: what was read under an older
    contract is read under that one first.
    """
    target = LocalTarget(root, Settings(threads=1, memory_limit="400MB"), ManualClock(datetime.now(UTC) + timedelta(1)))
    now = (world.definition.most, world.definition.wide)
    orders = sorted({(s.most, s.wide) for s in standing} | {now}, key=lambda contract: contract == now)
    for most, wide in orders:
        home = target.home(world.policies.pipeline(replace(world.definition, most=most, wide=wide)))
        for s in standing:
            if (s.most, s.wide) == (most, wide):
                _arrive(target, s)
                for record, (k, v) in s.corrections.items():
                    version = home.store.digest(s.key)[1]
                    home.ledger.correct(s.key, version, "", {record: {"k": k, "v": v}}, home.clock.now())
        scan(home)
        while leases := home.queue.lease("p", 20, timedelta(minutes=5)):
            ingest.ingest(home, world.child, leases)
        publish(home)
        while publish(home):
            pass
    _compare(world, home)
    target.close()


def _arrive(target: LocalTarget, stands: Stands) -> None:
    put(target.landing, stands.key, stands.text, stands.arrived_at)


def _compare(world: World, clean: Home) -> None:
    ours = world.home
    for name in ours.writers:
        assert sorted(rows_in(ours, name), key=str) == sorted(rows_in(clean, name), key=str), f"{name} is not clean"
    for kind, columns in (("losers", LOSERS), ("rejected", REJECTED)):
        assert sorted(base_rows(ours, kind, *columns), key=str) == sorted(base_rows(clean, kind, *columns), key=str), (
            kind
        )
    counts = [_counts(ours), _counts(clean)]
    assert counts[0] == counts[1], f"counts are {counts[0]}, a clean run has {counts[1]}"


def _counts(home: Home) -> dict[str, Counts | None]:
    """By key; a skipped twin has none that mean anything (it may have stood before its twin came)."""
    standing = home.ledger.standing().values()
    return {x.key: None if x.state == "skipped" else x.counts for x in standing}

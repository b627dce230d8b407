"""The law, on random histories through the real code: whatever happened, quiet and scanned equals one clean run."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import pytest

from headrace.engine.ingest import Child
from headrace.engine.sandbox import Sandbox
from headrace.engine.settings import Settings

from .check import check, check_tidy
from .children import HereChild
from .clean import check_against_clean_run
from .oracle import f
from .world import Plant, World, right

HERE, CHILDREN = 150, 25
SOAK_HERE, SOAK_CHILDREN = int(os.environ.get("HEADRACE_HISTORIES", "5000")), 1000
CHUNK, CHUNK_CHILDREN = 25, 25
"""Histories per test: few seconds of them, so that all processes end at the same time."""
LATER = 100_000
"""Seeds of the histories with real children begin here: they are others than those in process."""
CLEAN = 10
"""Of so many histories one is also compared with a second run of the code itself."""

MUST_HAPPEN = (
    "a file arrived",
    "a newer one replaced it",
    "an older one replaced it",
    "A, then B, then A stood",
    "a broken file arrived",
    "a file was removed",
    "a file was renamed",
    "two standing files had the same bytes",
    "a file was skipped for its twin",
    "an event was lost",
    "an event was doubled",
    "an event was late",
    "a late event came",
    "rows were rejected",
    "rows were filtered",
    "a corrected row stands",
    "loads were replayed",
    "loads were left outdated",
    "loads of two contracts stand",
    "a column was added",
    "rows of several files contested a key",
    "a loser was a duplicate",
    "a loser was a conflict",
    "a broken version left the old one stale",
    "dead objects were tried again",
    "the process died",
    "a child died",
    "a sink failed",
    "a zombie worker finished",
    "a zombie publisher finished",
    "a zombie publisher was refused",
    "files were compacted",
    "files were pruned",
    "items was rebuilt",
    "by_key was rebuilt",
    "a sink was added later",
    "a retraction was held",
    "a held retraction was confirmed",
    *(f"key, {policy}" for policy in ("last", "first", "reject")),
    *(f"same bytes: {policy}" for policy in ("load", "alert", "skip")),
    "deleted: keep",
    "what stands was archived",
    "a key of two columns",
    "deleted: retract",
    "no key, dedupe by row",
    "no key",
    "a lake alone",
    "a keyed table alone",
)


def run_history(
    root: Path, seed: int, child: Child, plant: Plant = right, often: Mapping[str, int] = MappingProxyType({})
) -> Counter[str]:
    """Live one history and check it; returns what happened in it. Raises AssertionError with its story."""
    shutil.rmtree(root, ignore_errors=True)
    world = World(root / "world", seed, child, plant, often)
    try:
        for _ in range(world.random.randint(4, 24)):
            world.step()
        world.settle()
        _check(world)
        if world.home.ledger.held():
            world.note("a retraction was held")
        if world.confirm():
            _check(world)
        if seed % CLEAN == 0:
            check_against_clean_run(world, root / "clean", list(world.standing()))
        return world.seen + _what_happened(world)
    except BaseException as exc:
        story = " ".join(world.story)
        raise AssertionError(f"history {seed} ({world.policies}): {exc!r}\nstory: {story}") from exc
    finally:
        world.close()


def _check(world: World) -> None:
    policies = world.policies
    check(world.home, f(world.standing(), policies.on_conflict, policies.same_bytes, policies.identity))  # type: ignore[arg-type]
    check_tidy(world.home)


def _what_happened(world: World) -> Counter[str]:
    """What the ledger tells of a history that is over."""
    home, policies = world.home, world.policies
    stands = home.ledger.in_state("decided", "standing")
    standing = home.ledger.standing().values()
    stood: dict[str, list[str]] = {}
    for load in home.ledger.history():  # type: ignore[attr-defined]  # the local ledger can tell
        if load.decided is not None:
            stood.setdefault(load.key, []).append(load.version)
    shape = home.ledger.shape()
    conditions = {
        "A, then B, then A stood": any(
            a == c != b for v in stood.values() for a, b, c in zip(v, v[1:], v[2:], strict=False)
        ),
        "two standing files had the same bytes": len({x.version for x in standing}) < len(standing),
        "a file was skipped for its twin": bool(home.ledger.in_state("skipped")),
        "rows were rejected": any(x.counts.rejected for x in stands),
        "rows were filtered": any(x.counts.filtered for x in stands),
        "a corrected row stands": any(x.corrections for x in stands),
        "loads of two contracts stand": len({x.contract for x in stands}) > 1,
        "a column was added": shape is not None and "w" in dict(shape.columns),
        "rows of several files contested a key": any(len(f.loads) > 1 for f in home.ledger.files("losers"))
        or len(home.ledger.files("losers")) > 1,
        "a loser was a duplicate": any(x.counts.duplicate for x in stands),
        "a loser was a conflict": any(x.counts.conflict for x in stands),
        "a broken version left the old one stale": any(x.stale for x in stands),
        f"key, {policies.on_conflict}": policies.identity == "key",
        "a key of two columns": policies.identity == "key" and policies.composite,
        f"same bytes: {policies.same_bytes}": True,
        f"deleted: {policies.on_delete}": world.seen["a file was removed"] > 0,
        "no key, dedupe by row": policies.identity == "row",
        "no key": policies.identity == "none",
        "a lake alone": list(home.writers) == ["items"],
        "a keyed table alone": list(home.writers) == ["by_key"],
    }
    return Counter(name for name, happened in conditions.items() if happened)


def run_histories(root: Path, seeds: range, child: Child) -> Counter[str]:
    return sum((run_history(root, seed, child) for seed in seeds), Counter())


@pytest.fixture(scope="module")
def tally(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what happened in each chunk, that all processes of this run share."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "tally"
    folder.mkdir(exist_ok=True)
    return folder


def check_tally(folder: Path, chunk: int, happened: Counter[str]) -> None:
    """Raise AssertionError if this was the last chunk, and something in MUST_HAPPEN happened in none."""
    note = folder / f".{chunk}"
    note.write_text(json.dumps(happened))
    note.rename(folder / f"{chunk}.json")
    told = [Counter(json.loads(path.read_text())) for path in folder.glob("*.json")]
    if len(told) < HERE // CHUNK:
        return
    total = sum(told, Counter[str]())
    missing = [what for what in MUST_HAPPEN if not total[what]]
    assert not missing, f"in {HERE} histories this never happened: {missing}; but {total}"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(Settings(threads=1, memory_limit="400MB")) as child:
        yield child


@pytest.mark.parametrize("chunk", range(HERE // CHUNK))
def test_random_histories_equal_one_clean_run(memory: Path, tally: Path, chunk: int) -> None:
    happened = run_histories(memory, range(chunk * CHUNK, (chunk + 1) * CHUNK), HereChild())
    check_tally(tally, chunk, happened)


@pytest.mark.parametrize("first", range(LATER, LATER + CHILDREN, CHUNK_CHILDREN))
def test_random_histories_with_real_children_equal_one_clean_run(memory: Path, sandbox: Sandbox, first: int) -> None:
    happened = run_histories(memory, range(first, first + CHUNK_CHILDREN), sandbox)
    assert happened["a child died"] and happened["the process died"]


@pytest.mark.soak
@pytest.mark.parametrize("first", range(HERE, HERE + SOAK_HERE, CHUNK))
def test_many_random_histories_equal_one_clean_run(memory: Path, first: int) -> None:
    run_histories(memory, range(first, first + CHUNK), HereChild())


@pytest.mark.soak
@pytest.mark.parametrize("first", range(LATER + CHILDREN, LATER + CHILDREN + SOAK_CHILDREN, CHUNK_CHILDREN))
def test_many_random_histories_with_real_children_equal_one_clean_run(
    memory: Path, sandbox: Sandbox, first: int
) -> None:
    run_histories(memory, range(first, first + CHUNK_CHILDREN), sandbox)

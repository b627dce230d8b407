"""Killed at every named place, and at any time: started again, it ends as if it had never been killed.

The processes are real, with confined children and two workers over 80 files that share keys. They are forked from a
server that has only imported things, so that a trial costs its work and not its imports.
"""

from __future__ import annotations

import ast
import multiprocessing
import shutil
from collections.abc import Iterator
from functools import cache
from multiprocessing.context import ForkServerContext
from pathlib import Path
from random import Random

import pytest

import headrace
from headrace.local.target import LocalTarget

from . import driver
from .check import check, check_tidy
from .oracle import Outcome, Stands, f

IN_WORKER = {
    "ingest.spooled": 2,
    "ingest.pinned": 1,
    "ingest.staged": 3,
    "ingest.owned": 2,
}
"""Fault point → at which passing the process is killed."""
IN_PUBLISHER = {
    "publish.judged": 1,
    "publish.resolved": 2,
    "publish.before-record": 1,
    "publish.recorded": 2,
    "recover.applied": 2,
    "recover.applied-items": 1,
    "recover.applied-by_key": 1,
    "recover.standing": 2,
    "lake.before-commit": 1,
    "lake.after-commit": 2,
    "lake.swept": 1,
    "keyed.before-commit": 1,
    "keyed.after-commit": 2,
    "keyed.built": 1,
    "compact.written": 1,
}
IN_CHILD = {
    "stage.rows-staged": 3,
    "base.written-data": 2,
    "base.synced-data": 3,
    "base.written-losers": 3,
    "base.synced-losers": 3,
    "base.written-rejected": 3,
    "base.synced-rejected": 3,
}
"""These are passed by children (and some by the publisher, too): whoever passes them that often is killed."""
TRIALS = {**IN_WORKER, **IN_PUBLISHER, **IN_CHILD}
TIMES, SOAK_TIMES, IN_A_ROW = 10, 300, 5
"""Random kills in the tests and in the soak; so many of one root before it may finish."""
PATIENCE = 120.0
TESTS = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def server() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["law.driver", "pyiceberg.catalog.sql", "headrace.sinks.snapshot", "headrace.local.keyed"]
    )
    return context


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A root where 80 files lie."""
    begin(tmp_path / "root")
    yield tmp_path / "root"
    shutil.rmtree(tmp_path / "root", ignore_errors=True)


def begin(root: Path) -> None:
    """Nothing but 80 files, whatever was there before."""
    shutil.rmtree(root, ignore_errors=True)
    target = LocalTarget(root, driver.SETTINGS)
    driver.arrive(target, driver.FILES)
    target.close()


@cache
def expected() -> Outcome:
    return f([Stands(f"in/{n:03}.csv", driver.text(n), driver.created(n), most=100) for n in range(driver.FILES)])


def start(server: ForkServerContext, root: Path, fault: str = "") -> multiprocessing.context.ForkServerProcess:
    process = server.Process(target=driver.main, args=(str(root), fault))
    process.start()
    return process


def run(server: ForkServerContext, root: Path, fault: str = "") -> int | None:
    """The exit code of one run; negative signals."""
    process = start(server, root, fault)
    process.join(PATIENCE)
    if process.is_alive():
        process.kill()
        raise AssertionError(f"it still ran after {PATIENCE:.0f} s")
    return process.exitcode


def finish(server: ForkServerContext, root: Path) -> None:
    """Run it undisturbed, and compare everything with what one clean run would hold."""
    assert run(server, root) == 0
    target = LocalTarget(root, driver.SETTINGS)
    home = target.home(driver.PIPELINE)
    want = expected()
    try:
        check(home, want)
        check_tidy(home)
        totals = home.ledger.totals()  # type: ignore[attr-defined]  # the local ledger can tell
        assert totals.staged_exactly and totals.decided_exactly
        assert totals.read == driver.FILES * driver.ROWS
        assert totals.loaded == len(want.rows)
    finally:
        target.close()


def points_in(package: Path) -> set[str]:
    """Every fault point that the modules below a folder name; `*` where a name is put together."""
    named = set()
    for module in package.rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "point":
                (name,) = node.args
                if isinstance(name, ast.Constant):
                    named.add(str(name.value))
                else:
                    assert isinstance(name, ast.JoinedStr), f"{module}: a fault point needs a name that can be read"
                    named.add("".join(v.value if isinstance(v, ast.Constant) else "*" for v in name.values))
    return named


def test_every_fault_point_has_a_trial() -> None:
    package = Path(headrace.__file__).parent
    named = set().union(
        *(points_in(folder) for folder in package.iterdir() if folder.is_dir() and folder.name != "aws")
    )
    tried = {name if name in named else name.rpartition("-")[0] + "-*" for name in TRIALS}
    assert named == tried, f"without a trial {named - tried}, and no longer there {tried - named}"


def test_every_fault_point_of_the_other_home_is_tried_by_a_test_of_its_own() -> None:
    tests = [path for folder in ("aws_home", "ports", "sinks") for path in (TESTS / folder).rglob("*.py")]
    said = "".join(path.read_text() for path in tests)
    untried = {name for name in points_in(Path(headrace.__file__).parent / "aws") if name not in said}
    assert not untried - set(TRIALS)  # what twins share, the contract of writers tries in both (tests/ports)


@pytest.mark.parametrize("point", TRIALS)
def test_killed_at_a_fault_point_it_ends_the_same(server: ForkServerContext, root: Path, point: str) -> None:
    code = run(server, root, f"{point}:{TRIALS[point]}")
    if point in IN_CHILD:
        assert (root / "deaths").exists() or code == -9, "nobody was killed: is the point still passed?"
    else:
        assert code == -9, "it was not killed: is the point still passed?"
    finish(server, root)


def kill_at_random(server: ForkServerContext, root: Path, seed: int) -> None:
    """Kill the process again and again while it works, then let it finish."""
    random = Random(seed)
    longest, killed = 0.6, 0  # a run takes about a second: some are killed early, some in what others left
    while killed < IN_A_ROW:
        process = start(server, root)
        process.join(random.uniform(0.05, longest))
        process.kill()
        process.join()
        assert process.exitcode in (0, -9), "it failed by itself"
        killed += process.exitcode == -9
        if process.exitcode == 0:  # it was done before: there is nothing left to be killed in
            begin(root)
            longest *= 0.8
    finish(server, root)


@pytest.mark.parametrize("seed", range(TIMES // IN_A_ROW))
def test_killed_at_any_time_it_ends_the_same(server: ForkServerContext, root: Path, seed: int) -> None:
    kill_at_random(server, root, seed)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(TIMES // IN_A_ROW, (TIMES + SOAK_TIMES) // IN_A_ROW))
def test_killed_at_any_time_many_times_it_ends_the_same(server: ForkServerContext, root: Path, seed: int) -> None:
    kill_at_random(server, root, seed)

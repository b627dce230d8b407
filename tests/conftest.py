"""What all tests share: where the real files are, and AWS. Property and crash tests have their helpers beside them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from emulator import ROOT, Judging, MiniStack, speak_to, tool

Kind = TypeVar("Kind", bound=MiniStack)
RUNNING: list[MiniStack] = []
"""The emulators of this process, whose logs a failed test shows."""


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real files that the example systems run on; the test is skipped where it is absent."""
    given = os.environ.get("HEADRACE_REAL_DATA")
    folder = Path(given) if given else ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real files at {folder}; set HEADRACE_REAL_DATA to their folder to run this test")
    return folder


@pytest.fixture(scope="session")
def example() -> Path:
    """The folder of the substation example, to be copied and never written to."""
    return ROOT / "examples" / "substation_load"


def emulator(kind: type[Kind], folders: pytest.TempPathFactory) -> Iterator[Kind]:
    program = tool("ministack", ".ministack", "HEADRACE_MINISTACK", "ministack")
    running = kind(program, folders.mktemp("ministack"))
    RUNNING.append(running)
    try:
        running.start()
        yield running
    finally:
        running.stop()
        RUNNING.remove(running)


@pytest.fixture(scope="session")
def ministack_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MiniStack]:
    """The AWS that all tests of this process share: give what you make a name of its own."""
    yield from emulator(MiniStack, tmp_path_factory)


@pytest.fixture(scope="session")
def ministack(ministack_process: MiniStack) -> str:
    """Its endpoint. Skipped where MiniStack is not installed (it needs Python 3.12); a failure in .ci/run."""
    return ministack_process.endpoint


@pytest.fixture
def ministack_alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MiniStack]:
    """An empty AWS of this test's own (1-2 s), which it may stop and restart."""
    yield from emulator(MiniStack, tmp_path_factory)


@pytest.fixture(scope="session")
def judging(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judging]:
    """The AWS of this process that enforces IAM: for stacks that are deployed, and whose functions run."""
    yield from emulator(Judging, tmp_path_factory)


@pytest.fixture
def judging_alone(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Judging]:
    """An empty one of this test's own, to which alone the test speaks."""
    for running in emulator(Judging, tmp_path_factory):
        speak_to(running, monkeypatch, tmp_path)
        yield running


@pytest.fixture
def aws_environment(ministack_process: MiniStack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """Clients made in this test, or by what it starts, speak to `ministack` and to nothing else. Gives the endpoint."""
    speak_to(ministack_process, monkeypatch, tmp_path)
    return ministack_process.endpoint


@pytest.fixture(scope="session")
def cfn_lint() -> Path:
    return tool("cfn-lint", ".checks", "HEADRACE_CFN_LINT", "checks")


@pytest.fixture(scope="session")
def checkov() -> Path:
    return tool("checkov", ".checks", "HEADRACE_CHECKOV", "checks")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A test that failed on an emulator shows the end of its log."""
    report = yield
    if report.failed:
        report.sections += [(f"{one.log}", one.tail()) for one in RUNNING]
    return report

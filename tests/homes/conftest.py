"""The trial project, deployed once per process, and its embedded twins. Each story has a folder of its own."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from emulator import Judging, speak_to

from .both import Both, Story
from .deployed import Stack
from .embedded import Embedded

PROJECT = Path(__file__).parent / "project"
ZEROES = count(0, 1000)
"""Where the keys of each story begin."""


@pytest.fixture(autouse=True)
def _environment(judging: Judging, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The project's own clients are made within tests."""
    speak_to(judging, monkeypatch, tmp_path)


@pytest.fixture(scope="session")
def stack(judging: Judging, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The trial project, deployed as a user deploys it."""
    with Stack.of_copy(judging, PROJECT, tmp_path_factory.mktemp("trial")).standing() as deployed:
        yield deployed


@pytest.fixture
def story(stack: Stack, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Story]:
    """`story("keep")`: both homes of that pipeline, and a folder named after the test."""
    twins: list[Embedded] = []
    words = "".join(c if c.isalnum() else "-" for c in request.node.name)

    def begin(pipeline: str) -> Both:
        twin = Embedded(tmp_path / f"twin-{pipeline}", stack.project.pipelines[pipeline])
        twins.append(twin)
        zero = next(ZEROES)
        return Both(stack, twin, f"{zero}-{words[:40]}", zero)

    yield begin
    for twin in twins:
        twin.close()

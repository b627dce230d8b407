"""The law, on random histories through the real code: whatever happened, quiet and scanned equals one clean run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .check import check
from .world import World

HISTORIES = int(os.environ.get("HEADRACE_HISTORIES", "300"))
CHUNK = 10


def run_history(root: Path, seed: int) -> None:
    world = World(root, seed)
    try:
        for _ in range(world.random.randint(4, 24)):
            world.step()
        world.settle()
        check(world)
    except BaseException as exc:
        story = " ".join(world.story)
        raise AssertionError(f"history {seed} ({world.policies}): {exc}\nstory: {story}") from exc
    finally:
        world.target.close()


@pytest.mark.parametrize("chunk", range(HISTORIES // CHUNK))
def test_random_histories_equal_one_clean_run(tmp_path: Path, chunk: int) -> None:
    for seed in range(chunk * CHUNK, (chunk + 1) * CHUNK):
        run_history(tmp_path / str(seed), seed)

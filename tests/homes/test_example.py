"""The substation example as its user sees it: deployed, fed, corrected, asked, removed. On an account of its own."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulator import Judging

from .deployed import Stack
from .embedded import Embedded
from .inventory import inventory
from .lv import PREFIX, example, made_files, real_files

ROWS = 413_649
"""Of the 30 real files, each with a key of its own (the data's own page)."""


@pytest.fixture
def stack(judging_alone: Judging, tmp_path: Path) -> Iterator[Stack]:
    made = example(judging_alone, tmp_path)
    yield made
    made.close()


def test_the_example_is_deployed_fed_corrected_and_removed_without_residue(stack: Stack, tmp_path: Path) -> None:
    story(stack, real_files(3) or made_files(tmp_path / "input", 3), tmp_path)


@pytest.mark.soak
def test_all_real_files_are_in_both_homes_and_follow_what_happens_to_them(stack: Stack, tmp_path: Path) -> None:
    files = real_files(30)
    if not files:
        pytest.skip("no real files here; HEADRACE_REAL_DATA names their folder")
    assert story(stack, files, tmp_path, patience=1200) == ROWS


def story(stack: Stack, files: dict[str, Path], tmp_path: Path, patience: float = 240) -> int:
    """From nothing to nothing. Returns how many rows the files came to, in the lake as in the items."""
    before = inventory(stack)
    stack.deploy()
    twin = Embedded(tmp_path / "twin", stack.project.pipelines["lv"])
    corrected, deleted, *_ = files

    def feed(key: str, path: Path) -> None:
        body = path.read_bytes()
        twin.put(key, body, stack.put(key, body))

    def same() -> int:
        stack.quiet("lv", patience=patience)
        twin.quiet()
        aws, here = stack.facts("lv", PREFIX), twin.facts(PREFIX)
        assert aws == here, f"AWS (here) and embedded (there) differ:\n{aws.differences(here)}"
        assert len(aws.lake) == len(aws.items) > 0
        return len(aws.lake)

    for key, path in files.items():
        feed(key, path)
    rows = same()
    assert {told[0] for told in twin.facts(PREFIX).loads.values()} == {"standing"}

    shorter = tmp_path / "shorter.csv"
    shorter.write_text("".join(files[corrected].read_text().splitlines(keepends=True)[:-10]))
    feed(corrected, shorter)
    stack.delete(deleted)
    twin.delete(deleted)
    assert same() == rows - 10, "a deleted file's rows stay: that is the example's policy"

    answer = json.loads(stack.command("status", "--json").stdout)
    assert answer["target"] == "aws"
    told = json.loads(stack.command("history", "lv", "--file", corrected, "--json").stdout)
    assert [load["state"] for load in told] == ["retired", "standing"]
    assert "no changes" in stack.command("plan").stdout

    stack.command("destroy", "--delete-data", "--yes", "--confirm", stack.stack)
    assert inventory(stack) == before
    twin.close()
    shutil.rmtree(stack.folder)
    return rows

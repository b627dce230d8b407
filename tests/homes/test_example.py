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

FILES = 3


@pytest.fixture
def stack(judging_alone: Judging, tmp_path: Path) -> Iterator[Stack]:
    made = example(judging_alone, tmp_path / "example", tmp_path)
    yield made
    made.close()


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    return real_files(FILES) or made_files(tmp_path / "input", FILES)


def test_the_example_is_deployed_fed_corrected_and_removed_without_residue(
    stack: Stack, files: dict[str, Path], tmp_path: Path
) -> None:
    before = inventory(stack)
    stack.deploy()
    twin = Embedded(tmp_path / "twin", stack.project.pipelines["lv"])
    corrected, deleted, *_ = files

    def feed(key: str, path: Path) -> None:
        body = path.read_bytes()
        twin.put(key, body, stack.put(key, body))

    def same() -> int:
        stack.quiet("lv", patience=240)
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
    shutil.rmtree(tmp_path / "example")

"""After a power loss nothing that was committed refers to bytes or names that never reached the disk.

A run is recorded with strace: writes, syncs, renames and new names of the workers, their children and the publisher,
in their order. `trace.py` knows what would be left at each moment.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from .trace import CALLS, Call, Disk, calls

TESTS = Path(__file__).resolve().parent.parent
STRACE = ("strace", "-f", "-y", "-qq", "-s", "300", "-e", "signal=none", "-e", f"trace={CALLS}")


@cache
def why_not() -> str:
    """Why system calls cannot be recorded here; empty if they can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    tried = subprocess.run(["strace", "-f", "-e", "trace=none", "true"], capture_output=True, text=True, check=False)
    return "" if tried.returncode == 0 else f"ptrace is not permitted here: {tried.stderr.strip()[:100]}"


@dataclass(frozen=True)
class Recording:
    root: str
    calls: list[Call]

    def judged(self, without: Callable[[Call], bool] = lambda call: False) -> Disk:
        """What the trace says; `without` leaves out calls, as if the code did not make them."""
        return Disk(self.root).follow(call for call in self.calls if not without(call))


def record(folder: Path, *plant: str) -> Recording:
    """Run the driver in a new folder; `plant` names modules whose import breaks the child."""
    if why_not():
        pytest.skip(why_not())
    root, trace = folder.resolve() / "root", folder / "trace"
    subprocess.run(
        [*STRACE, "-o", str(trace), sys.executable, "-m", "law.driver", str(root), *plant],
        check=True,
        cwd=TESTS,
        timeout=300,
    )
    with trace.open(errors="replace") as lines:
        found = list(calls(lines))
    trace.unlink()
    shutil.rmtree(root)
    return Recording(str(root), found)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return record(tmp_path_factory.mktemp("power"))


def is_sync(call: Call) -> bool:
    return call.name in ("fsync", "fdatasync")


def test_nothing_committed_refers_to_what_a_power_loss_would_take(recording: Recording) -> None:
    disk = recording.judged()
    assert disk.violations == []
    assert disk.referred > 100 and disk.commits > 10, "the trace does not show what it should"


@pytest.mark.parametrize(
    ("what", "left_out", "said"),
    [
        ("bytes of Parquet files", lambda c: c.path.endswith(".parquet"), ".parquet, whose bytes are not synced"),
        ("folders of Parquet files", lambda c: "/part=" in c.path and "." not in c.path, ".parquet in "),
        ("manifests and metadata", lambda c: "/metadata/" in c.path, "the catalog refers to"),
        ("the folder of metadata", lambda c: c.path.endswith("/metadata"), "the catalog refers to"),
        ("the ledger's log", lambda c: c.path.endswith("ledger.db-wal"), "before its log was synced"),
        ("the keyed table", lambda c: "by_key.db" in c.path, "by_key.db"),
    ],
)
def test_a_sync_that_is_left_out_is_missed(
    recording: Recording, what: str, left_out: Callable[[Call], bool], said: str
) -> None:
    found = recording.judged(without=lambda call: is_sync(call) and left_out(call)).violations
    assert any(said in line for line in found), f"nobody missed the syncs of {what}: {found[:3]}"


@pytest.mark.parametrize(
    ("plant", "said"),
    [
        ("law.planted.no_sync", "whose bytes are not synced"),
        ("law.planted.no_folder_sync", "but the name"),
    ],
)
def test_a_child_that_does_not_sync_is_found_out(tmp_path: Path, plant: str, said: str) -> None:
    found = record(tmp_path, plant).judged().violations
    assert any(said in line for line in found), found[:3]

"""Measures a child process and all its descendants: CPU seconds, peak memory, wall time. No benchmark runs in here.

CPU is what the kernel accounts to the child, its children and its orphans (a JVM outlives the Python that started
it): on Linux this process adopts orphans and reaps them. Memory is the sum of the resident sets of the whole tree,
sampled every 50 ms, which counts shared pages more than once and so flatters nobody.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

WORK = Path(__file__).resolve().parent / "work"
_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Usage:
    """One run. `told` is the JSON object that the child printed as its last line, if it did."""

    wall: float
    cpu: float
    rss: int
    told: Mapping[str, Any] = field(default_factory=dict)


class BenchmarkFailed(Exception):
    """A measured process ended badly; its output is the message."""


def run(argv: Sequence[str | Path], *, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> Usage:
    """Run a command to its end, and until its last descendant has ended. Raises BenchmarkFailed unless it returns 0."""
    _adopt_orphans()
    with tempfile.TemporaryFile() as out:
        began = time.perf_counter()
        child = subprocess.Popen(
            [str(a) for a in argv], cwd=cwd, env={**os.environ, **(env or {})}, stdout=out, stderr=subprocess.STDOUT
        )
        peak = _Peak(child.pid)
        cpu, maxrss, status, wall = _reap(child.pid, began)
        sampled = peak.stop()
        child.returncode = os.waitstatus_to_exitcode(status)  # already reaped: Popen must not wait for it
        out.seek(0)
        text = out.read().decode(errors="replace")
    if child.returncode != 0:
        raise BenchmarkFailed(f"{' '.join(map(str, argv))} ended with {child.returncode}:\n{text[-4000:]}")
    return Usage(wall, cpu, max(sampled, maxrss), last_json(text))


def middle(runs: Sequence[Usage]) -> Usage:
    """Medians of each figure; what was told is of the run in the middle by CPU."""
    by_cpu = sorted(runs, key=lambda u: u.cpu)
    return Usage(
        median(u.wall for u in runs),
        median(u.cpu for u in runs),
        int(median(u.rss for u in runs)),
        by_cpu[len(by_cpu) // 2].told,
    )


def tell(**figures: Any) -> None:
    """Called by a measured script as its last act: hand figures to the harness."""
    sys.stdout.flush()
    print("\n" + json.dumps(figures), flush=True)


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def _reap(main: int, began: float) -> tuple[float, int, int, float]:
    """Wait for the child and every orphan: CPU of all, largest resident set, the child's status and wall time."""
    cpu, largest, status, wall = 0.0, 0, 0, 0.0
    while True:
        try:
            pid, ended, used = os.wait4(-1, 0)
        except ChildProcessError:
            return cpu, largest, status, wall
        cpu += used.ru_utime + used.ru_stime
        largest = max(largest, used.ru_maxrss * (1 if sys.platform == "darwin" else 1024))
        if pid == main:
            status, wall = ended, time.perf_counter() - began


def _adopt_orphans() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def last_json(text: str) -> Mapping[str, Any]:
    for line in reversed(text.splitlines()):
        if line.startswith("{"):
            try:
                found = json.loads(line)
            except ValueError:
                continue
            return found if isinstance(found, dict) else {}
    return {}


class _Peak:
    """The largest sum of resident sets of a process tree, watched from a thread. Zero where there is no /proc."""

    def __init__(self, root: int) -> None:
        self._root, self._peak, self._stop = root, 0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        self._stop.set()
        self._thread.join()
        return self._peak

    def _watch(self) -> None:
        while Path("/proc").is_dir() and not self._stop.wait(0.05):
            self._peak = max(self._peak, sum(_resident(pid) for pid in _tree(self._root)))


def _tree(root: int) -> list[int]:
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                todo += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())
        except OSError:
            continue  # it ended between two looks
    return found


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0

"""How long a function on AWS takes to begin: its package, unpacked, imported by a bare Python 3.12."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import zipfile
from pathlib import Path
from statistics import median

from benchmarks.place import scratch
from benchmarks.report import Line, Table
from headrace.aws.bundle import bytecode, contents
from headrace.aws.bundle.package import build
from headrace.aws.options import ROLES, Role

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "substation_load"
GOALS: dict[Role, float] = {"ingest": 1.5, "publish": 3.0}
IMPORT = """
import json, sys, time
from importlib import import_module
sys.path[:] = [sys.argv[1], *(p for p in sys.path if "site-packages" not in p)]
wall, cpu = time.perf_counter(), time.process_time()
for name in sys.argv[2:]:
    import_module(name)
print(json.dumps([time.perf_counter() - wall, time.process_time() - cpu]))
"""


def cold_start(times: int = 5) -> Table:
    """The goal is on the wall time of imports from a disk that was not read before, as it is in a new environment."""
    table = Table(f"Cold start of the functions on AWS, medians of {times}")
    python = bytecode.find()
    if python is None:
        table.lines.append(Line("cold", "no Python 3.12 here: not measured"))
        return table
    place = scratch("cold")
    for role in ROLES:
        made = build(EXAMPLE, role, _architecture(), place)
        code, bare = place / role, place / f"{role}-without"
        with zipfile.ZipFile(made.path) as opened:
            opened.extractall(code)
            opened.extractall(bare, [name for name in made.files if not name.endswith(".pyc")])
        os.sync()  # what was just written can only be forgotten once it is on the disk
        size = f"{made.path.stat().st_size / 1e6:.0f} MB, {made.unzipped_bytes / 2**20:.0f} MB unzipped"
        table.lines.append(
            Line("cold", f"{role}: package", None, size, "≤ 250 MB unzipped", made.unzipped_bytes < 250 * 2**20)
        )
        evicted = _measured(python, code, role, times, evict=True)
        goal = GOALS[role]
        table.lines.append(
            Line("cold", f"{role}: nothing in the page cache", None, _said(evicted), f"≤ {goal} s", evicted[0] <= goal)
        )
        table.lines.append(
            Line("cold", f"{role}: files in the page cache", None, _said(_measured(python, code, role, times)))
        )
        table.lines.append(Line("cold", f"{role}: without bytecode", None, _said(_measured(python, bare, role, times))))
    shutil.rmtree(place)
    return table


def _measured(python: Path, code: Path, role: Role, times: int, evict: bool = False) -> tuple[float, float]:
    """Wall and CPU seconds."""
    runs = []
    command = [str(python), "-I", "-S", "-B", "-c", IMPORT, str(code), *contents.ENTRIES[role]]
    for _ in range(times):
        if evict:
            _evict(code)
        done = subprocess.run(command, capture_output=True, text=True, check=True, env={"PATH": os.defpath})
        runs.append(json.loads(done.stdout))
    return median(wall for wall, _ in runs), median(cpu for _, cpu in runs)


def _evict(folder: Path) -> None:
    """Ask the kernel to forget these files, so that the next reader reads the disk (Linux; elsewhere they stay)."""
    if not hasattr(os, "posix_fadvise"):
        return
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)


def _said(measured: tuple[float, float]) -> str:
    return f"{measured[0]:.2f} s, {measured[1]:.2f} CPU s"


def _architecture() -> str:
    return "arm64" if os.uname().machine in ("aarch64", "arm64") else "x86_64"

"""How long a person waits before the command line answers."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from benchmarks.place import scratch
from benchmarks.report import Line, Table


def start(times: int = 15) -> Table:
    headrace = Path(sys.executable).with_name("headrace")
    table = Table(f"Command line, medians of {times}")
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        subprocess.run([headrace, "--help"], check=True, capture_output=True)
        taken.append(time.perf_counter() - began)
    wait = median(taken) * 1e3
    table.lines.append(Line("start", "headrace --help", None, f"{wait:.0f} ms", "≤ 200 ms", wait <= 200))
    demos = [_demo(headrace) for _ in range(3)]
    warm = median(demos)
    table.lines.append(Line("start", "headrace demo, warm", None, f"{warm:.1f} s", "≤ 10 s", warm <= 10))
    return table


def _demo(headrace: Path) -> float:
    place = scratch("demo")
    began = time.perf_counter()
    subprocess.run([headrace, "demo"], check=True, capture_output=True, cwd=place)
    taken = time.perf_counter() - began
    shutil.rmtree(place)
    return taken

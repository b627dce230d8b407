"""From a rename into the landing folder to rows that can be read, while `headrace up` runs: one file at a time."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlparse

from benchmarks.harness import BenchmarkFailed, percentile
from benchmarks.place import fresh_project
from benchmarks.report import Line, Table
from headrace import open_project
from headrace.project import Project

ROWS = 50
WARMING = 3
"""Files before those that are measured: they wait for the worker to start."""
PATIENCE = 20.0
GOALS = {"keyed": (20, 100), "lake": (60, 250)}


def latency(files: int) -> Table:
    project = fresh_project("latency")
    landing = project / ".headrace" / "landing"
    for prefix in GOALS:
        (landing / prefix).mkdir(parents=True)
    up = subprocess.Popen(
        [Path(sys.executable).with_name("headrace"), "up", "--project", project],
        stdout=subprocess.DEVNULL,
        stderr=(project / "up.log").open("wb"),
    )
    table = Table(f"Latency: a file of {ROWS} rows renamed into the landing folder, {files} files, one at a time")
    try:
        with open_project(project) as opened:
            for prefix, (p50_goal, p99_goal) in GOALS.items():
                seen = _keyed_seen(opened) if prefix == "keyed" else _lake_seen(project)
                _measure(project, prefix, range(-WARMING, 0), seen)
                taken = _measure(project, prefix, range(files), seen)
                p50, p99 = (percentile(taken, share) * 1e3 for share in (0.5, 0.99))
                figure = f"p50 {p50:.0f} ms, p99 {p99:.0f} ms"
                goal, met = f"p50 ≤ {p50_goal}, p99 ≤ {p99_goal} ms", p50 <= p50_goal and p99 <= p99_goal
                table.lines.append(Line("latency", f"Headrace, {prefix}", None, figure, goal, met))
            _all_there(opened, files)
    finally:
        up.send_signal(signal.SIGINT)
        up.wait(30)
    shutil.rmtree(project)
    return table


def _measure(project: Path, prefix: str, numbers: range, seen: Callable[[int], bool]) -> list[float]:
    taken = []
    for number in numbers:
        part = project / f"part{number}"
        lines = [f"device{number},2025-01-01T00:{row:02d}:00Z,{row},{row * 1.5}" for row in range(ROWS)]
        part.write_text("device_id,event_time,quantity,amount\n" + "\n".join(lines) + "\n")
        time.sleep(0.005 + random.random() * 0.05)  # not in step with anything
        began = time.perf_counter()
        os.rename(part, project / ".headrace" / "landing" / prefix / f"f{number}.csv")
        while not seen(number):
            if time.perf_counter() - began > PATIENCE:
                raise BenchmarkFailed(f"{prefix}: file {number} did not arrive; see {project / 'up.log'}")
            time.sleep(0.0005)
        taken.append(time.perf_counter() - began)
    return taken


def _keyed_seen(opened: Project) -> Callable[[int], bool]:
    def seen(number: int) -> bool:
        try:
            return len(opened.get("fresh_items", f"device{number}")) == ROWS
        except Exception as problem:  # before the first file the table is not there
            if number >= 0:
                raise BenchmarkFailed(str(problem)) from problem
            return False

    return seen


def _lake_seen(project: Path) -> Callable[[int], bool]:
    """A file's rows are readable from the moment at which the catalog points to a snapshot that has them."""
    last, rows = "", 0

    def seen(number: int) -> bool:
        nonlocal last, rows
        pointer = _pointer(project / ".headrace" / "catalog.db")
        if pointer is not None and pointer != last:
            metadata = json.loads(Path(unquote(urlparse(pointer).path)).read_bytes())
            current = metadata.get("current-snapshot-id")
            totals = [s["summary"]["total-records"] for s in metadata["snapshots"] if s["snapshot-id"] == current]
            last, rows = pointer, int(totals[0]) if totals else 0
        return rows >= (number + 1 + WARMING) * ROWS

    return seen


def _pointer(catalog: Path) -> str | None:
    if not catalog.exists():
        return None
    with closing(sqlite3.connect(f"file:{catalog}?mode=ro", uri=True)) as connection:
        try:
            query = "SELECT metadata_location FROM iceberg_tables WHERE table_name = 'fresh_lake'"
            found = connection.execute(query).fetchone()
        except sqlite3.OperationalError:
            return None
    return found[0] if found else None


def _all_there(opened: Project, files: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        rows = opened.sql("SELECT count(*) AS n FROM fresh_lake").rows()[0]["n"]
        if rows == (files + WARMING) * ROWS:
            return
        if time.monotonic() > deadline:
            raise BenchmarkFailed(f"the lake holds {rows} rows of {(files + WARMING) * ROWS}")
        time.sleep(0.1)

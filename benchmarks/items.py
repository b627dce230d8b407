"""The bulk rows into the keyed sink: how fast items are written, and how fast they are found again."""

from __future__ import annotations

import random
import shutil
import sys
import time

from benchmarks.bulk import HERE
from benchmarks.data import events_csv
from benchmarks.harness import percentile, run
from benchmarks.place import fresh_project, land
from benchmarks.report import Line, Table
from headrace import open_project
from headrace.project import Project

LOOKUPS = 2000


def items(rows: int) -> Table:
    source = events_csv(rows)
    project = fresh_project("events_keyed")
    land(project, "raw", [source])
    whole = run([sys.executable, HERE / "drive.py", "run", project, "events", "local"])
    loaded = int(whole.told["rows"])
    table = Table(f"Keyed: {loaded:,} items from a CSV of {rows:,} rows")
    end_to_end = loaded / float(whole.told["seconds"])
    table.lines.append(Line("keyed", "Headrace, file to items", whole, f"{end_to_end:,.0f} items/s"))
    again = run([sys.executable, HERE / "drive.py", "rebuild", project, "event_items"])
    rate = loaded / float(again.told["seconds"])
    table.lines.append(
        Line("keyed", "Headrace, base to items", again, f"{rate:,.0f} items/s", "≥ 150,000 items/s", rate >= 150_000)
    )
    with open_project(project) as opened:
        taken = [_lookup(opened, random.Random(n)) for n in range(LOOKUPS)]
    p50, p99 = (percentile(taken, share) * 1e3 for share in (0.5, 0.99))
    figure = f"p50 {p50:.2f} ms, p99 {p99:.2f} ms"
    table.lines.append(Line("keyed", "Headrace, key and range", None, figure, "p99 ≤ 1 ms", p99 <= 1))
    shutil.rmtree(project)
    return table


def _lookup(project: Project, draw: random.Random) -> float:
    """Seconds for one partition key and two hours of its sort key."""
    start = f"{draw.choice((2023, 2024))}-{draw.randint(1, 12):02d}-{draw.randint(1, 28):02d}"
    hour = draw.randint(0, 21)
    began = time.perf_counter()
    project.get(
        "event_items",
        f"site-{draw.randint(0, 199):03d}",
        start=f"{start}T{hour:02d}:00:00",
        end=f"{start}T{hour + 2:02d}:00:00",
    )
    return time.perf_counter() - began

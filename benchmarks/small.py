"""Many small JSON files, each with a load of its own, into lake and keyed, durable before they count."""

from __future__ import annotations

import shutil
import sys

from benchmarks.bulk import HERE
from benchmarks.data import reading_files
from benchmarks.harness import middle, run
from benchmarks.place import fresh_project, land
from benchmarks.report import Line, Table


def small(files: int, records: int, runs: int, goal: float) -> Table:
    source = reading_files(files, records)
    usages = []
    for _ in range(runs):
        project = fresh_project("readings")
        land(project, "in", sorted(source.iterdir()))
        usages.append(run([sys.executable, HERE / "drive.py", "run", project, "readings", "local"]))
        shutil.rmtree(project)
    usage = middle(usages)
    rate = files / float(usage.told["seconds"])
    table = Table(f"Small files: {files:,} JSON files of {records}, into lake and keyed, medians of {runs}")
    figure = f"{rate:,.0f} files/s, {float(usage.told['read']) / float(usage.told['seconds']):,.0f} records/s"
    table.lines.append(Line("small", "Headrace", usage, figure, f"≥ {goal:,.0f} files/s", rate >= goal))
    return table

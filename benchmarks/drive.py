"""Runs in the measured process: opens a project, does one thing through its public face, tells how long that took.

usage: drive.py run PROJECT PIPELINE TARGET | rebuild PROJECT PIPELINE SINK
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.harness import tell
from headrace import open_project


def main() -> None:
    verb, directory, pipeline, third = sys.argv[1:5]
    if verb == "run":
        with open_project(directory, target=third) as project:
            began = time.perf_counter()
            result = project.run(pipeline)
            seconds = time.perf_counter() - began
        totals = result.totals
        tell(rows=totals.loaded, rejected=totals.rejected, read=totals.read, loads=len(result.loads), seconds=seconds)
    else:
        with open_project(directory) as project:
            began = time.perf_counter()
            project.rebuild(pipeline, third)
            tell(seconds=time.perf_counter() - began)


if __name__ == "__main__":
    main()

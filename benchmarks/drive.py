"""Runs in the measured process: opens a project, does one thing through its public face, tells how long that took.

usage: drive.py run PROJECT PIPELINE TARGET | drive.py rebuild PROJECT SINK
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.harness import tell
from headrace import open_project


def main() -> None:
    verb, directory, *rest = sys.argv[1:]
    if verb == "run":
        pipeline, target = rest
        with open_project(directory, target=target) as project:
            began = time.perf_counter()
            result = project.run(pipeline)
            seconds = time.perf_counter() - began
        totals = result.totals
        tell(rows=totals["loaded"], rejected=totals["rejected"], read=totals["read"], seconds=seconds)
    else:
        with open_project(directory) as project:
            began = time.perf_counter()
            project.rebuild(rest[0])
            tell(seconds=time.perf_counter() - began)


if __name__ == "__main__":
    main()

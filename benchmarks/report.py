"""Lines of the table, and how they are printed."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version

from benchmarks.harness import Usage


@dataclass(frozen=True)
class Line:
    """One row: who did what. `figure` is what the goal speaks of; `met` is None where there is no goal."""

    work: str
    who: str
    usage: Usage | None = None
    figure: str = ""
    goal: str = ""
    met: bool | None = None


@dataclass
class Table:
    """Lines of one benchmark; `base` is whom ratios are counted from."""

    title: str
    base: str = ""
    lines: list[Line] = field(default_factory=list)

    def print(self) -> None:
        print(f"\n### {self.title}\n")
        base = next((x.usage for x in self.lines if x.who == self.base and x.usage), None)
        print("| who | CPU s | × | peak MB | wall s | figure | goal |")
        print("|---|---:|---:|---:|---:|---|---|")
        for line in self.lines:
            print(self._row(line, base))
        sys.stdout.flush()

    def _row(self, line: Line, base: Usage | None) -> str:
        used = line.usage
        measured = [f"{used.cpu:.1f}", "", f"{used.rss / 1e6:,.0f}", f"{used.wall:.1f}"] if used else [""] * 4
        if used and base:
            measured[1] = f"{used.cpu / base.cpu:.2f}"
        verdict = {None: "", True: " (met)", False: " (missed)"}[line.met]
        return f"| {' | '.join([line.who, *measured, line.figure, line.goal + verdict])} |"


def ratio_line(work: str, who: str, peer: Usage, own: Usage, least: float | None) -> Line:
    """A peer's line; its figure is how often Headrace's CPU goes into the peer's."""
    times = peer.cpu / own.cpu
    goal = f"≥ {least:g} × Headrace" if least else ""
    return Line(work, who, peer, f"{times:.1f} × Headrace", goal, None if least is None else times >= least)


def machine() -> str:
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    packages = ", ".join(f"{n} {version(n)}" for n in ("duckdb", "pyarrow", "pyiceberg"))
    return f"{platform.system()} {platform.machine()}, {cores} cores, Python {platform.python_version()}, {packages}"


def told_rows(usages: Sequence[Usage]) -> set[tuple[int, int]]:
    """(rows, rejected) of each run: equal work has one answer."""
    return {(int(u.told["rows"]), int(u.told["rejected"])) for u in usages if "rows" in u.told}

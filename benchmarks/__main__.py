"""usage: python -m benchmarks [WORK…] [--rows N] [--runs N] [--peers NAME…]

WORK: start, cold, ledger, latency, small, keyed, keyed-client, bulk (all, when none is named), or profile, which tells
where the time of bulk and small files goes. Tables go to standard output and to benchmarks/work/results.md.
`make bench ARGS="bulk --rows 560000"` is a quick look.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
from collections.abc import Callable

from benchmarks.harness import WORK
from benchmarks.report import Table, machine

ALL = ("start", "cold", "ledger", "latency", "small", "keyed", "keyed-client", "bulk")
PROFILES = ("bulk", "small", "single")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure Headrace beside its peers.")
    parser.add_argument("work", nargs="*", help=f"of {', '.join(ALL)} (default: all)")
    parser.add_argument("--rows", type=int, default=5_600_000, help="rows of the bulk CSV")
    parser.add_argument("--runs", type=int, default=3, help="runs of each; medians are shown")
    parser.add_argument("--files", type=int, default=200, help="files of the latency benchmark")
    parser.add_argument("--peers", nargs="*", default=["spark", "pandas", "polars", "dlt"], help="whom to compare with")
    given = parser.parse_args()
    unknown = set(given.work) - {*ALL, "profile"}
    if unknown:
        parser.error(f"no such work: {', '.join(sorted(unknown))}; there are {', '.join(ALL)}, profile")
    WORK.mkdir(exist_ok=True)
    lines = io.StringIO()
    _both(lines, lambda: print(machine()))
    for work in PROFILES if "profile" in given.work else ():
        from benchmarks.profiling import profile

        _both(lines, lambda work=work: profile(work, given.rows))  # type: ignore[misc]
    for name in [w for w in given.work if w != "profile"] if given.work else ALL:
        for made in _tables(name, given):
            _both(lines, made().print)
            (WORK / "results.md").write_text(lines.getvalue(), encoding="utf-8")


def _tables(name: str, given: argparse.Namespace) -> list[Callable[[], Table]]:
    """Imported when wanted: the tables need Headrace's own packages, not each other."""
    match name:
        case "start":
            from benchmarks.start import start

            return [start]
        case "cold":
            from benchmarks.cold_start import cold_start

            return [cold_start]
        case "ledger":
            from benchmarks.ledger import ledger

            return [lambda: ledger(1_000_000)]
        case "latency":
            from benchmarks.latency import latency

            return [lambda: latency(given.files)]
        case "small":
            from benchmarks.small import small

            return [lambda: small(10_000, 50, given.runs, 2500), lambda: small(17_568, 1, given.runs, 5000)]
        case "keyed":
            from benchmarks.items import items

            return [lambda: items(given.rows)]
        case "keyed-client":
            from benchmarks.keyed_client import keyed_client

            return [lambda: keyed_client(50_000, given.runs)]
        case "bulk":
            from benchmarks.bulk import bulk

            return [lambda: bulk(given.rows, given.runs, given.peers)]
        case _:
            raise AssertionError(name)


def _both(lines: io.StringIO, say: Callable[[], None]) -> None:
    with contextlib.redirect_stdout(io.StringIO()) as said:
        say()
    lines.write(said.getvalue())
    print(said.getvalue(), end="", file=sys.stdout, flush=True)


if __name__ == "__main__":
    main()

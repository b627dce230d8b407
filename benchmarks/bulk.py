"""One big CSV: exact casts, quarantine, an id per row, one row per id, Parquet by month. Everybody does that work.

Headrace does more within its figure: the file is hashed and copied aside, parsed in a confined child, each row carries
its lineage, everything is synced and committed to an Iceberg table and a ledger, and the accounting is checked.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.data import events_csv
from benchmarks.harness import WORK, BenchmarkFailed, Usage, middle, run
from benchmarks.place import fresh_project, land, scratch
from benchmarks.report import Line, Table, ratio_line, told_rows

HERE = Path(__file__).parent
PEERS = WORK / "peers"
WORK_NAME = "bulk"

CONTESTANTS: dict[str, tuple[str, list[str], float | None]] = {
    "Spark local[2]": ("spark_events.py", [], 5),
    "pandas (MD5)": ("pandas_events.py", ["md5"], 2.5),
    "pandas (64-bit hash)": ("pandas_events.py", ["hash64"], None),
    "Polars (two 64-bit hashes)": ("polars_events.py", [], None),
    "dlt, Arrow reader": ("dlt_events.py", ["arrow"], None),
    "dlt, default reader": ("dlt_events.py", ["rows"], 15),
}
"""Name, script, arguments, and how many times Headrace's CPU it is expected to need."""


def bulk(rows: int, runs: int, only: Sequence[str]) -> Table:
    """The table. `only` names parts of contestants' names; the bare query and Headrace always run."""
    source = events_csv(rows)
    bare, own = [], []
    for _ in range(runs):  # taking turns, so that a warm cache or a busy neighbour favours neither
        bare.append(_bare(source))
        own.append(_headrace(source, "local"))
    table = Table(
        f"Bulk: a CSV of {rows:,} rows, {source.stat().st_size / 1e6:,.0f} MB, medians of {runs}", "bare DuckDB"
    )
    low, high = middle(bare), middle(own)
    times = high.cpu / low.cpu
    table.lines.append(Line(WORK_NAME, "bare DuckDB", low, f"{rows / low.wall:,.0f} rows/s"))
    table.lines.append(Line(WORK_NAME, "Headrace", high, f"{times:.2f} × bare", "≤ 1.15 × bare", times <= 1.15))
    table.lines.append(_memory_line("Headrace, memory", high, 1.6))
    small = middle([_headrace(source, "small") for _ in range(min(runs, 1))])
    table.lines.append(_memory_line('Headrace, memory_limit="1GB"', small, 1.2))
    answers = told_rows([*bare, *own, small])
    for name, (script, arguments, least) in CONTESTANTS.items():
        if not any(part.lower() in name.lower() for part in only):
            continue
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            usage = _peer(script, arguments, source)
        except BenchmarkFailed as problem:
            print(f"\n{name} did not finish: {problem}", file=sys.stderr)
            table.lines.append(Line(WORK_NAME, name, None, "did not finish"))
            continue
        print(f"{name}: {usage}", file=sys.stderr, flush=True)
        table.lines.append(ratio_line(WORK_NAME, name, usage, high, least))
        answers |= told_rows([usage])
    if len(answers) != 1:
        raise BenchmarkFailed(f"the contestants disagree about (rows, rejected): {sorted(answers)}")
    return table


def _memory_line(who: str, usage: Usage, most: float) -> Line:
    return Line(WORK_NAME, who, usage, f"{usage.rss / 1e9:.2f} GB", f"≤ {most} GB", usage.rss <= most * 1e9)


def _bare(source: Path) -> Usage:
    out = scratch("bare")
    usage = run([sys.executable, HERE / "peers" / "duckdb_events.py", source, out])
    shutil.rmtree(out)
    return usage


def _headrace(source: Path, target: str) -> Usage:
    project = fresh_project("events")
    land(project, "raw", [source])
    usage = run([sys.executable, HERE / "drive.py", "run", project, "events", target])
    shutil.rmtree(project)
    return usage


def _peer(script: str, arguments: Sequence[str], source: Path) -> Usage:
    python = peers()
    out = scratch("peer")
    env = {"PYSPARK_PYTHON": str(python), "SPARK_LOCAL_IP": "127.0.0.1"}
    usage = run([python, HERE / "peers" / script, source, out, *arguments], cwd=out, env=env)
    shutil.rmtree(out)
    return usage


def peers() -> Path:
    """The interpreter of the peers, with their locked packages, made on first use."""
    python = PEERS / "bin" / "python"
    if not (PEERS / ".installed").exists():
        print("installing the peers (once, some 400 MB) ...", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", PEERS], check=True)
        locked = ["--require-hashes", "-r", HERE / "constraints.txt"]
        subprocess.run([python, "-m", "pip", "install", "--quiet", *locked], check=True)
        (PEERS / ".installed").touch()
    return python

"""A ledger with a million loads: claiming work and reading a page of history must not feel it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

from benchmarks.harness import percentile
from benchmarks.place import scratch
from benchmarks.report import Line, Table
from headrace.local.clock import SystemClock
from headrace.local.database import Database
from headrace.local.ledger import SCHEMA, SqliteLedger
from headrace.local.queue import SqliteQueue
from headrace.model.loads import Event

FILL = """
INSERT INTO loads (id, pipeline, key, version, contract, corrections, arrived_at, state, size, fingerprint,
                   read, accepted, loaded, decided, retired, seen_at, staged_at)
WITH RECURSIVE n (i, at) AS (
    SELECT 1, strftime('%Y-%m-%dT%H:%M:%f000Z', 1735689601, 'unixepoch')
    UNION ALL
    SELECT i + 1, strftime('%Y-%m-%dT%H:%M:%f000Z', 1735689601 + i, 'unixepoch') FROM n WHERE i < :loads
)
SELECT printf('ld_%012d', i), 'bench', printf('in/%02d/f%07d.csv', i % 50, i / 2), printf('%064x', i), 'c0', '',
       at, iif(i % 2, 'retired', 'standing'), 1000, '',
       50, 50, 50, i / 100 + 1, iif(i % 2, i / 100 + 2, NULL), at, at
FROM n
"""
"""Half a million keys, each with a retired load and a standing one."""


def ledger(loads: int) -> Table:
    place = scratch("ledger")
    database = Database(place / "ledger.db", SCHEMA)
    clock = SystemClock()
    queue = SqliteQueue(database, clock)
    book = SqliteLedger(database, queue, "bench", clock)
    with database.transaction() as connection:
        connection.execute(FILL, {"loads": loads})
    queue.put(Event("bench", f"in/00/new{n:06d}.csv") for n in range(100_000))
    table = Table(f"Ledger: {loads:,} loads, 100,000 events waiting")
    visibility = timedelta(minutes=5)
    claim = _timed(lambda: queue.lease("bench", 100, visibility), 200)
    table.lines.append(_line("claim of 100 events", claim, 5))
    table.lines.append(_line("newest page of history (50)", _timed(lambda: book.history(limit=50), 50), 200))
    one = _timed(lambda: book.history(key="in/10/f0250005.csv"), 50)
    table.lines.append(_line("history of one object", one, 200))
    database.close()
    return table


def _timed(action: Callable[[], object], times: int) -> list[float]:
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        action()
        taken.append(time.perf_counter() - began)
    return taken


def _line(who: str, taken: list[float], most: float) -> Line:
    p50, p99 = (percentile(taken, share) * 1e3 for share in (0.5, 0.99))
    return Line("ledger", who, None, f"p50 {p50:.2f} ms, p99 {p99:.2f} ms", f"≤ {most:g} ms", p50 <= most)

"""What a queue in SQLite has of its own: one transaction with the ledger, and processes that compete and die.

The contract that it shares with SQS is in tests/ports/test_queue.py.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

from headrace.local.clock import ManualClock
from headrace.local.database import Database
from headrace.local.queue import SqliteQueue
from headrace.model.errors import LeaseLost
from headrace.model.loads import Event

MINUTE = timedelta(minutes=1)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path / "state.db", "")


@pytest.fixture
def queue(database: Database, clock: ManualClock) -> SqliteQueue:
    return SqliteQueue(database, clock)


def events(n: int, pipeline: str = "lv") -> list[Event]:
    return [Event(pipeline, f"k{i}", "created") for i in range(n)]


def test_whether_it_is_empty_is_answered_without_counting(queue: SqliteQueue, database: Database) -> None:
    """It is asked every few milliseconds while a backlog is worked on: SQLite's own steps say what it costs."""
    queue.put(events(5000))
    steps = [0]

    def step() -> int:
        steps[0] += 1
        return 0

    database.connection().set_progress_handler(step, 10)
    assert not queue.empty("lv")
    few, steps[0] = steps[0], 0
    queue.depth("lv")
    assert few < 5 and steps[0] > 500


def test_an_equal_event_that_waits_is_not_stored_twice(queue: SqliteQueue) -> None:
    queue.put([*events(2), *events(2), Event("lv", "k0", "scan")])
    queue.put(events(1))
    assert queue.depth("lv") == (3, 0)


def test_a_delayed_event_is_not_seen_early_and_a_fresh_equal_one_hurries_it(queue: SqliteQueue) -> None:
    queue.put(events(1), delay=MINUTE)
    assert queue.lease("lv", 1, MINUTE) == []
    queue.put(events(1))
    assert len(queue.lease("lv", 9, MINUTE)) == 1


def test_a_released_event_joins_an_equal_one_and_keeps_its_count(queue: SqliteQueue) -> None:
    queue.put(events(1))
    held = queue.lease("lv", 1, MINUTE)
    queue.put(events(1))
    queue.release(held, MINUTE)
    assert queue.depth("lv") == (1, 0)
    assert queue.lease("lv", 1, MINUTE)[0].receives == 2


def test_acknowledging_falls_with_the_transaction_it_is_part_of(queue: SqliteQueue, database: Database) -> None:
    queue.put(events(1))
    held = queue.lease("lv", 1, MINUTE)
    with pytest.raises(ZeroDivisionError), database.transaction() as db:
        queue.acknowledge_in(db, held)
        _ = 1 / 0
    assert queue.depth("lv") == (0, 1)
    with database.transaction() as db:
        queue.acknowledge_in(db, held)
    assert queue.depth("lv") == (0, 0)


def test_events_outlive_the_process(tmp_path: Path, clock: ManualClock) -> None:
    first = Database(tmp_path / "state.db", "")
    SqliteQueue(first, clock).put(events(2500))
    first.close()
    assert SqliteQueue(Database(tmp_path / "state.db", ""), clock).depth("lv") == (2500, 0)


WORKER = """
import sys
from datetime import timedelta
from pathlib import Path
from headrace.local.clock import SystemClock
from headrace.local.database import Database
from headrace.local.queue import SqliteQueue
queue = SqliteQueue(Database(Path(sys.argv[1]), ""), SystemClock())
while leases := queue.lease("lv", 7, timedelta(seconds=float(sys.argv[2]))):
    print(*(lease.event.key for lease in leases), flush=True)
    if sys.argv[3] == "hang":
        sys.stdin.read()
    queue.acknowledge(leases)
"""


def start(path: Path, visibility: float, mode: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WORKER, str(path), str(visibility), mode]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_two_processes_share_the_events_and_none_is_seen_twice(tmp_path: Path, queue: SqliteQueue) -> None:
    queue.put(events(1000))
    workers = [start(tmp_path / "state.db", 60, "work") for _ in range(2)]
    seen = [worker.communicate(timeout=60)[0].split() for worker in workers]
    assert Counter(seen[0] + seen[1]) == Counter(f"k{i}" for i in range(1000))
    assert [worker.returncode for worker in workers] == [0, 0]


def test_what_a_killed_process_held_is_seen_again_by_another(tmp_path: Path, queue: SqliteQueue) -> None:
    queue.put(events(10))
    victim = start(tmp_path / "state.db", 0.5, "hang")
    assert victim.stdout is not None
    held = victim.stdout.readline().split()
    os.kill(victim.pid, signal.SIGKILL)
    victim.communicate()
    seen: list[str] = []
    for _ in range(20):  # the survivor's clock runs: at most half a second
        if len(seen) >= 10:
            break
        seen += start(tmp_path / "state.db", 60, "work").communicate(timeout=60)[0].split()
    assert len(held) == 7 and Counter(seen) == Counter(f"k{i}" for i in range(10))


def test_what_a_dead_process_leased_is_recalled_by_the_next(queue: SqliteQueue) -> None:
    queue.put(events(2))
    (lost,) = queue.lease("lv", 1, MINUTE)
    queue.recall("lv")
    again = queue.lease("lv", 5, MINUTE)
    assert {(lease.event.key, lease.receives) for lease in again} == {("k0", 2), ("k1", 1)}
    with pytest.raises(LeaseLost):
        queue.acknowledge([lost])

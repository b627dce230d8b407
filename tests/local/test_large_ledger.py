"""What is asked at every revision, or every second, must not walk through all that ever stood.

Told by SQLite's own steps, in a ledger where nearly everything is history: a missing index shows as a multiple of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from headrace.local.clock import ManualClock
from headrace.local.database import Database
from headrace.local.ledger import SCHEMA, SqliteLedger
from headrace.local.queue import SqliteQueue
from headrace.model.loads import Alert, Settlement

LOADS = 10_000
FILL = """
    insert into loads (id, pipeline, key, version, contract, corrections, arrived_at, state, size, fingerprint, read,
                       accepted, loaded, decided, retired, seen_at)
    with recursive n (i) as (select 1 union all select i + 1 from n where i < ?)
    select 'p.' || i, 'p', 'in/' || (i / 2), 'v' || i, iif(i % 10, 'old', 'new'), '',
           printf('2025-01-01T00:00:00.%06dZ', i), iif(i % 2, 'retired', 'standing'), 1, '', 3, 2, 2, i,
           iif(i % 2, i + 1, null), '2025-01-01T00:00:00.000000Z'
    from n
"""


@pytest.fixture
def database(tmp_path: Path) -> Database:
    found = Database(tmp_path / "ledger.db", SCHEMA)
    with found.transaction() as db:
        db.execute(FILL, (LOADS,))
    return found


@pytest.fixture
def ledger(database: Database) -> SqliteLedger:
    clock = ManualClock()
    return SqliteLedger(database, SqliteQueue(database, clock), "p", clock)


def steps(database: Database, act: Callable[[], object]) -> int:
    """How many instructions of SQLite's machine an act takes, in hundreds."""
    taken = [0]

    def one() -> int:
        taken[0] += 1
        return 0

    database.connection().set_progress_handler(one, 100)
    act()
    database.connection().set_progress_handler(None, 0)
    return taken[0]


def test_a_publisher_with_little_to_do_reads_little(database: Database, ledger: SqliteLedger) -> None:
    standing = next(iter(ledger.standing().values()))
    assert steps(database, ledger.pending) < 10
    assert steps(database, lambda: ledger.stand(LOADS)) < 10
    assert steps(database, lambda: ledger.earlier_twin(standing)) < 10
    assert steps(database, ledger.dead) < 10


def test_what_status_counts_is_what_the_lists_hold_and_no_load_is_read_for_it(
    database: Database, ledger: SqliteLedger
) -> None:
    with database.transaction() as db:
        db.execute("update loads set stale = 1 where seq = 20")
        db.execute("update loads set state = 'dead' where seq in (2, 4)")
        db.execute("update loads set state = 'skipped' where seq = 6")
    ledger.hold(["in/8", "in/9"])
    standing = ledger.standing().values()
    queries: list[str] = []
    database.connection().set_trace_callback(queries.append)
    census, totals = ledger.census("new"), ledger.totals()
    database.connection().set_trace_callback(None)
    assert (census.states["dead"], census.held, census.stale) == (2, 2, 1)
    assert census.standing == len(standing) == LOADS // 2 - 2
    assert census.outdated == len(ledger.outdated("new")) > 0
    assert totals.loaded == 2 * (census.standing - 1)
    plans = [row[3] for query in queries for row in database.connection().execute(f"explain query plan {query}")]
    assert len(plans) == 4 and all("COVERING INDEX" in plan or "PRIMARY KEY" in plan for plan in plans), plans


def test_whether_anything_is_in_work_is_answered_without_a_walk(database: Database, ledger: SqliteLedger) -> None:
    assert not ledger.any_in_state("seen", "staged", "decided")
    assert ledger.any_in_state("standing", "staged")
    assert steps(database, lambda: ledger.any_in_state("seen", "staged", "decided")) < 10
    assert steps(database, lambda: ledger.any_in_state("standing", "staged")) < 10


def test_releasing_a_message_and_telling_which_of_some_loads_stand_walks_through_no_others(
    database: Database, ledger: SqliteLedger
) -> None:
    alert = Alert("late", "p.4", "subject", "body")
    ledger.settle(Settlement(alerts=(alert, replace(alert, name="gone", load="p.5"))))
    assert steps(database, lambda: ledger.stand(0)) < 10
    assert [m["name"] for m in ledger.messages()] == ["late"]
    assert ledger.messages("waiting") == []  # what was to be said of a load that retired is dropped
    assert steps(database, lambda: ledger.standing_among(["p.4", "p.5"])) < 10
    assert ledger.standing_among(["p.4", "p.5", "nothing"]) == {"p.4"}

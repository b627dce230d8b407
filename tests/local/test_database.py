"""The version in a state file: an older one is led here, whole or not at all; what is not understood is left alone."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from headrace.local.clock import ManualClock
from headrace.local.database import STATE_VERSION, UPGRADES, Database
from headrace.local.ledger import SCHEMA, SqliteLedger
from headrace.local.queue import SqliteQueue
from headrace.model.errors import InfrastructureError
from headrace.model.loads import Settlement

FIRST = Path(__file__).with_name("ledger_1.sql").read_text()
"""The tables and indexes of state version 1, as they were."""
LOAD = """
    insert into loads (id, pipeline, key, version, contract, corrections, arrived_at, state, size, fingerprint, seen_at)
    values ('p.1', 'p', 'a', 'A', 'c', '', '2025-01-01T00:00:00.000000Z', 'standing', 1, '',
            '2025-01-02T00:00:00.000000Z')
"""


@contextmanager
def planted(path: Path, version: int, script: str) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path)) as db:
        db.executescript(f"{script}; pragma user_version = {version}")
        yield db
        db.commit()


def look(path: Path, query: str) -> set[object]:
    with closing(sqlite3.connect(path)) as db:
        return {row[0] for row in db.execute(query)}


INDEXES = "select name from sqlite_master where type = 'index' and tbl_name = 'loads' and sql is not null"
VERSION = "select user_version from pragma_user_version"


def test_a_ledger_of_the_first_version_is_upgraded_with_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with planted(path, 1, FIRST) as db:
        db.execute(LOAD)
        db.execute("insert into hints (pipeline, key, held) values ('p', 'b', '2025-01-02T00:00:00.000000Z')")
    database = Database(path, SCHEMA)
    clock = ManualClock()
    ledger = SqliteLedger(database, SqliteQueue(database, clock), "p", clock)
    assert [x.key for x in ledger.standing().values()] == ["a"]
    assert ledger.last_arrival() == datetime(2025, 1, 2, tzinfo=UTC)
    assert (list(ledger.hints()), ledger.held()) == (["b"], ["b"])
    ledger.settle(Settlement(forgotten={key: hint.asked for key, hint in ledger.hints().items()}))
    assert ledger.hints() == {}
    database.close()
    fresh = tmp_path / "fresh.db"
    Database(fresh, SCHEMA).close()
    assert look(path, VERSION) == look(fresh, VERSION) == {STATE_VERSION}
    assert look(path, INDEXES) == look(fresh, INDEXES)


def test_every_version_since_the_first_can_be_upgraded() -> None:
    assert sorted(UPGRADES) == list(range(1, STATE_VERSION))


def test_an_upgrade_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with planted(path, 1, FIRST + "drop table meta;") as db:
        db.execute(LOAD)
    before = look(path, INDEXES)
    with pytest.raises(InfrastructureError, match=r"HR501 ledger\.db: .*no such table: .*meta"):
        Database(path, SCHEMA)
    assert (look(path, VERSION), look(path, INDEXES)) == ({1}, before)


def test_a_newer_ledger_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with planted(path, STATE_VERSION + 1, "create table other (x)"):
        pass
    with pytest.raises(InfrastructureError, match=r"HR502 ledger\.db: .*newer Headrace.*upgrade Headrace"):
        Database(path, SCHEMA)
    assert look(path, "select name from sqlite_master") == {"other"}


def test_a_file_without_a_version_that_is_not_ours_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with planted(path, 0, "create table other (x)"):
        pass
    with pytest.raises(InfrastructureError, match=r"HR502 ledger\.db: it has tables, but no state version"):
        Database(path, SCHEMA)
    assert look(path, "select name from sqlite_master") == {"other"}


def test_a_version_that_no_step_leads_from_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with planted(path, -1, FIRST):
        pass
    with pytest.raises(InfrastructureError, match="HR502 .*its state version is -1"):
        Database(path, SCHEMA)


def test_what_sqlite_cannot_do_is_a_fault_whoever_asks(tmp_path: Path) -> None:
    database = Database(tmp_path / "ledger.db", SCHEMA)
    clock = ManualClock()
    queue = SqliteQueue(database, clock)
    ledger = SqliteLedger(database, queue, "p", clock)
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as other:
        other.executescript("alter table revisions rename to r2; alter table queue_events rename to q2")
    for ask in (ledger.head, lambda: queue.depth("p"), lambda: ledger.mark("sink", 1) or ledger.revisions()):
        with pytest.raises(InfrastructureError, match=r"HR501 ledger\.db: .*no such table.*headrace doctor"):
            ask()
    with pytest.raises(InfrastructureError, match="HR501"), database.transaction() as db:
        db.execute("insert into meta values ('kept', 'no')")
        db.execute("nonsense")
    assert not look(tmp_path / "ledger.db", "select 1 from meta where key = 'kept'")


def test_damage_that_shows_while_rows_are_read_is_a_fault_that_running_again_does_not_mend(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    database = Database(path, "create table if not exists t (x text)")
    with database.transaction() as db:
        db.executemany("insert into t values (?)", [("x" * 1000,)] * 1000)
    database.close()
    with closing(sqlite3.connect(path)) as other:
        other.execute("pragma wal_checkpoint(truncate)")
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\xff" * 65536)
    database = Database(path, "create table if not exists t (x text)")
    for read in (list, lambda rows: rows.fetchall()):
        with pytest.raises(InfrastructureError, match="HR501 .*malformed; .*restore a backup"):
            read(database.connection().execute("select * from t"))


def test_a_file_that_is_no_database_is_told_to_be_restored(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"not a database at all" * 1000)
    with pytest.raises(InfrastructureError, match=r"HR501 ledger\.db: .*not a database; .*restore a backup"):
        Database(tmp_path / "ledger.db", SCHEMA)


def test_connections_of_threads_that_have_ended_are_closed(tmp_path: Path) -> None:
    database = Database(tmp_path / "ledger.db", SCHEMA)
    found = []
    for _ in range(5):
        thread = threading.Thread(target=lambda: found.append(database.connection()))
        thread.start()
        thread.join()
    for connection in found[:-1]:
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            connection.cursor()
    assert database.connection().execute("select 1").fetchone()[0] == 1

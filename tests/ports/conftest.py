"""Both homes of the ports: one contract suite is run against each of their implementations."""

from __future__ import annotations

from pathlib import Path

import pytest
from ledgers import START, Opener, dynamodb, sqlite

from headrace.aws.session import Session
from headrace.local.clock import ManualClock
from headrace.local.database import Database
from headrace.local.ledger import SCHEMA
from headrace.local.queue import SqliteQueue
from headrace.ports import Ledger


@pytest.fixture
def aws(request: pytest.FixtureRequest) -> Session:
    """A way to the services on this machine. Names that tests make there are their own."""
    request.getfixturevalue("aws_environment")
    return Session("eu-west-2")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def queue(tmp_path: Path, clock: ManualClock) -> SqliteQueue:
    """Events, whichever home the ledger is of: it only acknowledges them."""
    return SqliteQueue(Database(tmp_path / "ledger.db", SCHEMA), clock)


@pytest.fixture(params=["sqlite", "dynamodb"])
def open_ledger(request: pytest.FixtureRequest, tmp_path: Path, queue: SqliteQueue, clock: ManualClock) -> Opener:
    if request.param == "sqlite":
        return sqlite(tmp_path, queue, clock)
    return dynamodb(request.getfixturevalue("aws"), queue, clock)


@pytest.fixture
def ledger(open_ledger: Opener) -> Ledger:
    return open_ledger("p")

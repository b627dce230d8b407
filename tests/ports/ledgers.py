"""Ledgers of both homes to test, and the short words that their tests are written in."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from emulator import REGION
from headrace.aws.ledger import DynamoLedger
from headrace.aws.session import Session
from headrace.local.clock import ManualClock
from headrace.local.database import Database
from headrace.local.ledger import SCHEMA, SqliteLedger
from headrace.local.queue import SqliteQueue
from headrace.model.loads import (
    Arrival,
    Counts,
    DataFile,
    Decision,
    FileKind,
    Lease,
    Load,
    LoadState,
    Shape,
    Staged,
)
from headrace.ports import Ledger, Queue

START = datetime(2025, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SHAPE = Shape((("k", "BIGINT"), ("v", "BIGINT")), ("k",), "last", ())
TWO = Counts(read=2, accepted=2, loaded=2)

Opener = Callable[[str], Ledger]
"""Opens the ledger of a pipeline, as another process would."""


def sqlite(folder: Path, queue: SqliteQueue, clock: ManualClock) -> Opener:
    return lambda pipeline: SqliteLedger(Database(folder / "ledger.db", SCHEMA), queue, pipeline, clock)


def dynamodb(aws: Session, queue: Queue, clock: ManualClock) -> Opener:
    """Ledgers on a table and a bucket of their own."""
    table, bucket = make_places(aws)
    return lambda pipeline: DynamoLedger(aws, table, bucket, queue, pipeline, clock)


def make_places(session: Session) -> tuple[str, str]:
    """A new table and a new bucket."""
    name = f"ledger-{secrets.token_hex(6)}"
    session.client("dynamodb").create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for n in ("pk", "sk")],
    )
    session.client("s3").create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    return name, name


def arrival(version: str, key: str = "a", minute: int = 0, **more: Any) -> Arrival:
    return Arrival(key, version, START + minute * MINUTE, 10, f"print of {version}", "contract", **more)


def pin(ledger: Ledger, *args: Any, **more: Any) -> Load:
    (load,) = ledger.pin([arrival(*args, **more)])
    return load


def data(*loads: str, path: str = "", kind: FileKind = "data", lo: int = 0, hi: int = 9) -> DataFile:
    rows = dict.fromkeys(loads, 2)
    return DataFile(path or f"{kind}/{'-'.join(loads)}.parquet", kind, 2 * len(loads), 100, rows, {}, ((lo, hi),))


def stage(ledger: Ledger, *loads: Load, leases: tuple[Lease, ...] = (), file: DataFile | None = None) -> DataFile:
    found = file or data(*(x.id for x in loads))
    ledger.stage([Staged(x.id, TWO, {}, 0.1) for x in loads], [found], leases)
    return found


def decide(ledger: Ledger, *loads: Load, **more: Any) -> int:
    """Record the next revision, in which these staged loads begin to stand."""
    number = ledger.head() + 1
    ids = tuple(x.id for x in loads)
    adopted = tuple(f.path for f in ledger.files_of(ids, staged=True))
    ledger.record(Decision("p", number, "publish", SHAPE, standing=ids, adopted=adopted, **more))
    return number


def stood(ledger: Ledger, version: str, **more: Any) -> Load:
    load = pin(ledger, version, **more)
    stage(ledger, load)
    decide(ledger, load)
    ledger.stand(ledger.head())
    return ledger.find_load(load.id)


def state(ledger: Ledger, load: Load) -> LoadState:
    return ledger.find_load(load.id).state


def said(ledger: Ledger) -> dict[str, tuple[bool, bool]]:
    """Of each hint, whether it is held and whether it is confirmed."""
    return {key: (hint.held, hint.confirmed) for key, hint in ledger.hints().items()}

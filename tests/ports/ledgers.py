"""Ledgers of both homes to test, and the short words that their tests are written in."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
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
    Alert,
    Arrival,
    Counts,
    DataFile,
    Decision,
    FileKind,
    Lease,
    Load,
    LoadState,
    Settlement,
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


# -- a small pipeline: one file for each load, and a publisher that lets the newest stand ------------------------


def stage_all(ledger: Ledger, loads: Sequence[Load], job: str, leases: Sequence[Lease] = ()) -> None:
    """Stage what is still to be read, each load with a file of its own."""
    ours = [x for x in loads if x.state is LoadState.SEEN]
    alerts = {x.id: (Alert(f"high:{x.key}:{x.version}", x.id, f"{x.key} is high", "look"),) for x in ours}
    ledger.stage(
        [Staged(x.id, TWO, {}, 0.1, alerts[x.id]) for x in ours],
        [data(x.id, path=f"data/{x.id}-{job}.parquet") for x in ours],
        leases,
    )


def publish(ledger: Ledger) -> bool:
    """Decide whatever waits, as the engine would if every object were as it was read last."""
    hints, number = ledger.hints(), ledger.head() + 1
    standing: list[Load] = []
    retired: list[Load] = []
    abandoned: list[Load] = []
    for loads in ledger.live(sorted(ledger.pending() | hints.keys())).values():
        *older, newest = [x for x in loads if x.state is LoadState.STAGED] or [None]
        if newest is not None:
            standing.append(newest)
            abandoned += [x for x in older if x is not None] + [x for x in loads if x.state is LoadState.DEAD]
            retired += [x for x in loads if x.state in (LoadState.DECIDED, LoadState.STANDING)]
    settlement = Settlement(ids(abandoned), forgotten={key: hint.asked for key, hint in hints.items()})
    if standing:
        adopted = tuple(f.path for f in ledger.files_of(ids(standing), staged=True))
        removed = tuple(f.path for f in ledger.files_of(ids(retired), staged=False))
        decision = Decision("p", number, "publish", SHAPE, ids(standing), ids(retired), (), adopted, removed)
        ledger.record(replace(decision, settlement=settlement))
    elif hints:
        ledger.settle(settlement)
    ledger.stand(ledger.head())
    return bool(standing)


def ids(loads: Iterable[Load]) -> tuple[str, ...]:
    return tuple(x.id for x in loads)


def assert_agreement(ledger: Ledger) -> None:
    """Whatever the ledger tells in two ways must be the same: counts, lists, markers, files and their rows."""
    outline = list(ledger.outline())
    every = {x.id: x for x in ledger.history()}
    live = {x.id: every[x.id] for x in outline}
    open_states = ("seen", "staged", "dead", "skipped")
    standing = ledger.in_state("decided", "standing")
    assert len(every) == len(ledger.history()), "an id was given twice"
    assert all(x.state in ("retired", "abandoned") for id, x in every.items() if id not in live)
    assert ids(ledger.in_state(*open_states)) == tuple(x for x in every if x in live and live[x].state in open_states)
    assert len({x.key for x in standing}) == len(standing), "two loads stand under one key"
    assert ledger.totals() == sum((x.counts for x in standing), Counts())
    census = ledger.census("contract")
    assert census.states == Counter(x.state.value for x in outline)
    assert census.stale == sum(x.stale for x in standing)
    for version in sorted({x.version for x in outline})[:6]:
        alike = {x.id for x in outline if x.version == version and x.state != "dead"}
        assert {x.id for x in ledger.twins(version)} == alike
    staged = [x.id for x in live.values() if x.state is LoadState.STAGED]
    assert ledger.pending() == {live[id].key for id in staged}
    assert rows_of(ledger.files_of(staged, staged=True), staged) == dict.fromkeys(staged, 2)
    assert rows_of(ledger.files("data"), ids(standing)) == {x.id: x.counts.loaded for x in standing}
    kept = {f.path for f in [*ledger.files("data"), *ledger.files_of(staged, staged=True)]}
    assert kept.isdisjoint(ledger.trash()) and kept <= ledger.known_paths("data")
    assert all(f.path not in kept for f, _ in ledger.retired_files(ledger.head()))


def rows_of(files: Iterable[DataFile], loads: Iterable[str]) -> dict[str, int]:
    held: Counter[str] = Counter(dict.fromkeys(loads, 0))
    for file in files:
        held.update({load: rows for load, rows in file.loads.items() if load in held})
    return dict(held)

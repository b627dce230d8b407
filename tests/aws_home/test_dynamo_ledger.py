"""What only the ledger on DynamoDB has: items of limited size, requests that cost, and bodies on S3."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.aws import ledger as ledger_module
from headrace.aws.ledger import MOST_STAGED, DynamoLedger
from headrace.aws.session import Session
from headrace.aws.table import THREADS, delete, fitting, put
from headrace.engine import faults
from headrace.local.clock import ManualClock
from headrace.local.database import Database
from headrace.local.ledger import SCHEMA
from headrace.local.queue import SqliteQueue
from headrace.model.errors import InfrastructureError
from headrace.model.loads import Alert, Arrival, Counts, DataFile, Decision, Load, LoadState, Settlement, Shape, Staged

SHAPE = Shape((("k", "BIGINT"),), ("k",), "last", ())
ONE = Counts(read=1, accepted=1, loaded=1)


@pytest.fixture
def session(aws_environment: str) -> Session:
    return Session("eu-west-2")


@pytest.fixture
def place(session: Session) -> str:
    """The name of a new table and of a new bucket."""
    name = f"ledger-{secrets.token_hex(6)}"
    session.client("dynamodb").create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for n in ("pk", "sk")],
    )
    session.client("s3").create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-2"})
    return name


@pytest.fixture
def open_ledger(session: Session, place: str, tmp_path: Path) -> Callable[[], DynamoLedger]:
    clock = ManualClock()
    queue = SqliteQueue(Database(tmp_path / "queue.db", SCHEMA), clock)
    return lambda: DynamoLedger(session, place, place, queue, "p", clock)


@pytest.fixture
def ledger(open_ledger: Callable[[], DynamoLedger]) -> DynamoLedger:
    return open_ledger()


def pin(ledger: DynamoLedger, count: int, version: str = "v", begin: int = 0) -> list[Load]:
    now = ledger.clock.now()
    return ledger.pin(
        [Arrival(f"in/{i:06}", f"{version}{i:06}", now, 10, "etag", "contract") for i in range(begin, begin + count)]
    )


def stage(ledger: DynamoLedger, loads: Sequence[Load], name: str = "") -> list[DataFile]:
    files = [DataFile(f"data/{x.id}{name}.parquet", "data", 1, 10, {x.id: 1}, {}, ((1, 2),)) for x in loads]
    ledger.stage([Staged(x.id, ONE, {"delimiter": ","}, 0.1) for x in loads], files, [])
    return files


def stage_much(ledger: DynamoLedger, loads: Sequence[Load]) -> list[DataFile]:
    """Files whose names alone are more than an item should hold."""
    files = [DataFile(f"data/{secrets.token_hex(400)}", "data", 1, 10, {x.id: 1}) for x in loads for _ in range(3)]
    ledger.stage([Staged(x.id, Counts(3, 3, loaded=3), {}, 0.1) for x in loads], files, [])
    return files


def decide(ledger: DynamoLedger, loads: Sequence[Load], retired: Sequence[Load] = (), **more: Any) -> None:
    ids = tuple(x.id for x in loads)
    adopted = tuple(f.path for f in ledger.files_of(ids, staged=True))
    gone = tuple(x.id for x in retired)
    ledger.record(Decision("p", ledger.head() + 1, "publish", SHAPE, ids, gone, adopted=adopted, **more))


def objects(session: Session, bucket: str) -> list[str]:
    return sorted(x["Key"] for x in session.client("s3").list_objects_v2(Bucket=bucket).get("Contents", ()))


# -- sizes -------------------------------------------------------------------------------------------------------


def test_what_is_too_big_for_an_item_is_an_object_and_goes_with_it(
    session: Session, place: str, open_ledger: Callable[[], DynamoLedger]
) -> None:
    ledger = open_ledger()
    loads = pin(ledger, 90)
    files = stage_much(ledger, loads)
    (attempt,) = objects(session, place)
    assert attempt.startswith("ledger/p/attempt-")
    assert sorted(f.path for f in open_ledger().files_of([x.id for x in loads], staged=True)) == sorted(
        f.path for f in files
    )
    decide(ledger, loads)
    (entry,) = objects(session, place)
    assert entry.startswith("ledger/p/entry-")
    other = open_ledger()
    assert len(other.revision(1).added) == len(other.files("data")) == 270
    assert (other.trash(), other.pending()) == ([], set())


def test_one_file_may_hold_rows_of_thousands_of_loads_and_loses_its_body_when_it_is_forgotten(
    session: Session, place: str, ledger: DynamoLedger
) -> None:
    loads = [x for begin in range(0, 270, 90) for x in pin(ledger, 90, begin=begin)]
    for begin in range(0, 270, 90):
        stage(ledger, loads[begin : begin + 90])
    decide(ledger, loads)
    rows = {x.id: 1 for x in loads} | {f"p.{secrets.randbits(60)}": 1 for _ in range(6000)}
    joined = DataFile("data/joined.parquet", "data", len(rows), 100, rows)
    old = tuple(f.path for f in ledger.files("data"))
    ledger.record(Decision("p", 2, "compact", SHAPE, fresh=(joined,), removed=old))
    assert ledger.files("data") == [joined]
    assert ledger.totals() == Counts(270, 270, loaded=270)
    ledger.record(Decision("p", 3, "compact", SHAPE, retired=tuple(x.id for x in loads), removed=(joined.path,)))
    assert [f for f, _ in ledger.retired_files(3) if f.path == joined.path] == [joined]
    ledger.forget_files([joined.path])
    assert not [key for key in objects(session, place) if key.startswith("ledger/p/file-")]


def test_a_zip_of_as_many_members_as_may_be_is_staged_again_while_it_stands(
    open_ledger: Callable[[], DynamoLedger],
) -> None:
    """Each member has a dialect of its own: twice that is more than the item of a key can hold."""
    dialect = {"members": {f"{secrets.token_hex(20)}.csv": {"kind": "csv", "delimiter": ";"} for _ in range(10_000)}}
    ledger = open_ledger()
    for version in ("old", "new"):
        [load] = pin(ledger, 1, version)
        files = [DataFile(f"data/{load.id}", "data", 1, 10, {load.id: 1})]
        ledger.stage([Staged(load.id, ONE, dialect, 0.1)], files, [])
        before = list(ledger.standing().values())
        decide(ledger, [load], before, removed=tuple(f.path for f in ledger.files("data")))
    other = open_ledger()
    assert [(x.state, x.dialect) for x in other.history("in/000000")] == [
        (LoadState.RETIRED, dialect),
        (LoadState.DECIDED, dialect),
    ]


def test_keys_that_hold_much_are_moved_in_as_many_transactions_as_their_bytes_need(ledger: DynamoLedger) -> None:
    now = ledger.clock.now()
    loads = ledger.pin([Arrival(f"in/{i:06}", f"v{i}", now, 10, "x" * 100_000, "contract") for i in range(60)])
    for begin in range(0, 60, 10):
        stage(ledger, loads[begin : begin + 10])
    decide(ledger, loads)
    assert len(ledger.standing()) == 60


def test_messages_of_any_length_are_said(ledger: DynamoLedger) -> None:
    said = [Alert(f"{i}", "", "é" * 500_000, "é" * 120_000) for i in range(90)]
    ledger.settle(Settlement(alerts=tuple(said)))
    ledger.stand(0)
    assert len(ledger.messages(limit=1000)) == 90


@given(st.lists(st.tuples(st.integers(0, 120), st.integers(0, 350_000), st.sampled_from("xé𝄞")), max_size=60))
def test_what_is_written_together_is_never_more_than_dynamodb_takes(made: list[tuple[int, int, str]]) -> None:
    units = [[delete(("pk" * 500, f"{n}"))] * (n % 3) + [put({"x": c * (size // 4)})] for n, size, c in made]
    parts = list(fitting(units, lambda unit: unit))
    assert [unit for part in parts for unit in part] == units
    for part in parts:
        writes = [write for unit in part for write in unit]
        assert len(writes) <= 100
        assert len(json.dumps(writes, ensure_ascii=False).encode()) < 4 * 1024 * 1024


def test_a_body_that_somebody_deleted_is_told_and_not_taken_for_nothing(
    session: Session, place: str, ledger: DynamoLedger
) -> None:
    loads = pin(ledger, 90)
    stage_much(ledger, loads)
    (attempt,) = objects(session, place)
    session.client("s3").delete_object(Bucket=place, Key=attempt)
    with pytest.raises(InfrastructureError, match="HR873"):
        ledger.files_of([loads[0].id], staged=True)


def test_an_object_that_was_replaced_often_before_anything_was_decided_is_decided_in_the_end(
    ledger: DynamoLedger,
) -> None:
    """All its versions are staged when the publisher comes: more than a transaction can move."""
    for n in range(120):
        stage(ledger, pin(ledger, 1, version=f"v{n}-"))
    (loads,) = ledger.live(["in/000000"]).values()
    *older, newest = loads
    decide(ledger, [newest], settlement=Settlement(abandoned=tuple(x.id for x in older)))
    assert [x.id for x in ledger.live(["in/000000"])["in/000000"]] == [newest.id]
    assert ledger.pending() == set()
    assert len(ledger.trash()) == len(older)
    assert [x.state for x in ledger.history("in/000000")[:-1]] == [LoadState.ABANDONED] * len(older)


def test_files_of_a_decision_that_no_item_shows_yet_are_known(open_ledger: Callable[[], DynamoLedger]) -> None:
    """A publisher died as soon as it had decided; the sweep must not take what it wrote for strays."""
    ledger = open_ledger()
    loads = pin(ledger, 1)
    stage(ledger, loads)
    fresh = DataFile("data/fresh.parquet", "data", 1, 10, {loads[0].id: 1})

    def die(place: str) -> None:
        if place == "ledger.applying":
            raise KeyboardInterrupt

    with faults.install(die), pytest.raises(KeyboardInterrupt):
        ledger.record(Decision("p", 1, "publish", SHAPE, (loads[0].id,), fresh=(fresh,)))
    assert "data/fresh.parquet" in open_ledger().known_paths("data")


def test_a_job_that_no_transaction_holds_is_refused_with_what_to_set(ledger: DynamoLedger) -> None:
    loads = pin(ledger, MOST_STAGED + 1)
    with pytest.raises(InfrastructureError, match="HR872.*batch_files"):
        stage(ledger, loads)
    assert len(stage(ledger, loads[1:])) == MOST_STAGED
    assert ledger.in_state("seen") == loads[:1]


def test_so_is_one_whose_keys_hold_too_many_bytes(ledger: DynamoLedger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Versions that wait are written with each that comes: an object may be replaced often before anybody decides."""
    stage(ledger, pin(ledger, 20))
    loads = pin(ledger, 20, version="w")
    monkeypatch.setattr(ledger_module, "MOST_BYTES", 15_000)
    with pytest.raises(InfrastructureError, match="HR872"):
        stage(ledger, loads)
    assert ledger.in_state("seen") == loads
    for some in (loads[:10], loads[10:]):
        stage(ledger, some)
    assert ledger.in_state("seen") == []


# -- requests ----------------------------------------------------------------------------------------------------


@contextmanager
def metered(session: Session) -> Iterator[dict[str, float]]:
    """Requests by operation, and the units that they consume as `read` and `write`."""
    client, told = session.client("dynamodb"), {"read": 0.0, "write": 0.0}
    before = session.meter.copy()

    def ask(params: dict[str, Any], model: Any, **_: Any) -> None:
        if model.name == "BatchGetItem":  # the emulator does not tell: no item here is over 4 KB
            told["read"] += sum(len(asked["Keys"]) for asked in params["RequestItems"].values())
        elif "ReturnConsumedCapacity" in model.input_shape.members:
            params["ReturnConsumedCapacity"] = "TOTAL"

    def count(parsed: dict[str, Any], model: Any, **_: Any) -> None:
        found = parsed.get("ConsumedCapacity", ())
        kind = "read" if model.name in ("GetItem", "BatchGetItem", "Query", "Scan") else "write"
        told[kind] += sum(x["CapacityUnits"] for x in ([found] if isinstance(found, dict) else found))

    client.meta.events.register("provide-client-params.dynamodb", ask, unique_id="ask")
    client.meta.events.register("after-call.dynamodb", count, unique_id="count")
    try:
        yield told
    finally:
        client.meta.events.unregister("provide-client-params.dynamodb", unique_id="ask")
        client.meta.events.unregister("after-call.dynamodb", unique_id="count")
        told |= {name: n for (_, name), n in (session.meter - before).items()}


def test_a_publisher_with_little_to_do_asks_little_however_much_there_is(
    session: Session, ledger: DynamoLedger
) -> None:
    def fill(begin: int, end: int) -> None:
        for i in range(begin, end, 90):
            for version in ("old", "new"):
                loads = pin(ledger, 90, version, begin=i)
                stage(ledger, loads)
                replaced = [x for x in ledger.standing().values() if x.key in {y.key for y in loads}]
                decide(ledger, loads, replaced)
        ledger.stand(ledger.head())

    def cost(act: Callable[[], object]) -> dict[str, float]:
        with metered(session) as told:
            act()
        return told

    fill(0, 90)
    standing = next(iter(ledger.standing().values()))
    acts: list[Callable[[], object]] = [
        ledger.head,
        ledger.pending,
        ledger.hints,
        ledger.dead,
        ledger.trash,
        ledger.totals,
        ledger.count_standing,
        ledger.messages,
        ledger.last_arrival,
        lambda: ledger.census("contract"),
        lambda: ledger.any_in_state("seen", "staged", "decided"),
        lambda: ledger.stand(ledger.head()),
        lambda: ledger.earlier_twin(standing),
        lambda: ledger.live([standing.key]),
        lambda: ledger.find_load(standing.id),
        lambda: ledger.history(standing.key),
        lambda: ledger.revision(ledger.head()),
        lambda: ledger.settle(Settlement()),
        lambda: pin(ledger, 1, "new"),
    ]
    for act in acts:
        act()
    few = [cost(act) for act in acts]
    fill(90, 450)
    many = [cost(act) for act in acts]
    assert few == many
    assert not any("Scan" in told for told in many)
    assert all(told["read"] <= 8 for told in many)


@pytest.mark.parametrize(
    "count, requests, per_load", [(1, 34, 40), (30, 40, 17), (305, 120, 17)], ids=["one", "thirty", "a-busy-minute"]
)
def test_what_loads_cost_from_their_pin_to_their_revision(
    session: Session, open_ledger: Callable[[], DynamoLedger], count: int, requests: int, per_load: float
) -> None:
    ledger = open_ledger()
    decide(ledger, stage_one(ledger))
    with metered(session) as told:
        loads = []
        for begin in range(0, count, 90):
            job = pin(ledger, min(90, count - begin), begin=begin)
            stage(ledger, job)
            loads += job
        assert ledger.pending() == {x.key for x in loads}
        decide(ledger, [x for found in ledger.live([x.key for x in loads]).values() for x in found])
    asked = {name: n for name, n in told.items() if name not in ("read", "write")}
    assert {x.state for x in ledger.history() if x.key.startswith("in/")} == {LoadState.DECIDED}
    assert "Scan" not in asked
    assert sum(asked.values()) <= requests, told
    assert told["write"] <= per_load * count + 20, told


def test_messages_by_the_hundred_are_released_and_dropped_many_at_a_time(
    session: Session, open_ledger: Callable[[], DynamoLedger]
) -> None:
    ledger, other = open_ledger(), open_ledger()
    [left] = pin(ledger, 1)
    said = [Alert(f"{i}", "", "subject", "body") for i in range(300)]
    about = [Alert(f"of {i}", left.id, "subject", "body") for i in range(100)]
    ledger.settle(Settlement(alerts=(*said, *about)))
    ledger.settle(Settlement(abandoned=(left.id,)))
    with metered(session) as told:
        ledger.stand(0)
    assert told["TransactWriteItems"] == 8, told
    other.stand(0)  # there is nothing left to release
    assert [m["name"] for m in ledger.messages(limit=1000)] == [alert.name for alert in said]
    assert ledger.messages("waiting") == []


def test_of_many_messages_no_more_are_read_than_are_asked_for(session: Session, ledger: DynamoLedger) -> None:
    body = "x" * 20_000
    ledger.settle(Settlement(alerts=tuple(Alert(f"{i}", "", "subject", body) for i in range(150))))
    ledger.stand(0)
    with metered(session) as told:
        assert [m["name"] for m in ledger.messages(limit=2)] == ["0", "1"]
    assert told["Query"] == 1, told
    assert len(ledger.messages(limit=1000)) == 150


def test_a_ledger_that_is_opened_for_each_invocation_takes_no_threads_of_its_own(
    open_ledger: Callable[[], DynamoLedger],
) -> None:
    ledgers = [open_ledger() for _ in range(4)]
    for ledger in ledgers:
        pin(ledger, 500)
    assert sum(thread.name.startswith("ledger") for thread in threading.enumerate()) <= THREADS


def stage_one(ledger: DynamoLedger) -> list[Load]:
    """One load besides, so that the ledger is no new one."""
    now = ledger.clock.now()
    loads = ledger.pin([Arrival("other", "other", now, 10, "etag", "contract")])
    stage(ledger, loads)
    return loads

"""The ledger on DynamoDB while the network and the service are as they can be: answers lost, work refused for now."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from random import Random
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import ConnectionClosedError
from botocore.httpsession import URLLib3Session
from ledger_journey import assert_arrived, journey
from ledgers import dynamodb, pin, stage, state

from headrace.aws.ledger import DynamoLedger
from headrace.aws.ledger_rows import Head
from headrace.aws.lock import exclusive, holder
from headrace.aws.session import Session
from headrace.local.clock import ManualClock
from headrace.local.queue import SqliteQueue
from headrace.model.errors import InfrastructureError
from headrace.model.loads import LoadState, Settlement

WRITES = ("TransactWriteItems", "UpdateItem", "PutItem", "BatchWriteItem")

Answer = Callable[[str, AWSPreparedRequest], AWSResponse | None]
"""What becomes of a request of that operation: None lets it pass."""


@pytest.fixture
def open_dynamo(aws: Session, queue: SqliteQueue, clock: ManualClock) -> Callable[[], DynamoLedger]:
    opener = dynamodb(aws, queue, clock)
    return lambda: opener("p")  # type: ignore[return-value]


@contextmanager
def between(session: Session, answer: Answer) -> Iterator[None]:
    """Stand between the clients of the session and DynamoDB."""
    events = session.client("dynamodb").meta.events

    def meet(request: AWSPreparedRequest, event_name: str, **_: Any) -> AWSResponse | None:
        return answer(event_name.rpartition(".")[2], request)

    events.register("before-send.dynamodb", meet, unique_id="between")
    try:
        yield
    finally:
        events.unregister("before-send.dynamodb", unique_id="between")


def lose(request: AWSPreparedRequest) -> None:
    """The service does what it is asked to, and nobody hears of it."""
    URLLib3Session().send(request)
    raise ConnectionClosedError(endpoint_url=request.url)


def said(request: AWSPreparedRequest, status: int, body: dict[str, Any]) -> AWSResponse:
    raw = Raw(json.dumps(body).encode())
    return AWSResponse(request.url, status, {"Content-Type": "application/x-amz-json-1.0"}, raw)


class Raw:
    """A body as urllib3 gives it."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, *_: Any, **__: Any) -> Iterator[bytes]:
        yield self._body

    def read(self, *_: Any) -> bytes:
        return self._body


def collision(request: AWSPreparedRequest) -> AWSResponse:
    """Somebody else's transaction holds the last of the items."""
    count = len(json.loads(request.body)["TransactItems"])
    reasons = [{"Code": "None"}] * (count - 1) + [{"Code": "TransactionConflict"}]
    kind = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException"
    return said(request, 400, {"__type": kind, "message": "cancelled", "CancellationReasons": reasons})


def undone(operation: str, request: AWSPreparedRequest) -> AWSResponse:
    """Nothing of a batch is done."""
    asked = json.loads(request.body)["RequestItems"]
    left = "UnprocessedItems" if operation == "BatchWriteItem" else "UnprocessedKeys"
    return said(request, 200, {"Responses": {}, left: asked})


@pytest.mark.parametrize("operation", WRITES)
def test_a_write_whose_answer_is_lost_was_done_once(
    operation: str, aws: Session, open_dynamo: Callable[[], DynamoLedger]
) -> None:
    lost: set[str] = set()

    def answer(name: str, request: AWSPreparedRequest) -> None:
        told = json.dumps(json.loads(request.body), sort_keys=True)
        if name == operation and told not in lost:
            lost.add(told)
            lose(request)

    with between(aws, answer):
        journey(open_dynamo(), "whole")
    assert lost or operation == "BatchWriteItem"
    assert_arrived(open_dynamo())
    assert open_dynamo().trash() == []


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.soak)])
def test_work_that_is_refused_for_now_is_done_in_the_end(
    seed: int, aws: Session, open_dynamo: Callable[[], DynamoLedger]
) -> None:
    random, told = Random(seed), set[str]()

    def answer(name: str, request: AWSPreparedRequest) -> AWSResponse | None:
        if name in told and random.random() > 0.15:  # the first of each kind is always one of them
            return None
        told.add(name)
        if name == "TransactWriteItems" and random.random() < 0.5:
            return collision(request)
        if name in WRITES:
            lose(request)
        return undone(name, request) if name.startswith("Batch") else None

    with between(aws, answer):
        journey(open_dynamo(), "whole")
    assert {"TransactWriteItems", "UpdateItem", "BatchGetItem"} <= told
    assert_arrived(open_dynamo())
    assert open_dynamo().trash() == []


def test_a_lease_whose_answer_was_lost_is_held(aws: Session, open_dynamo: Callable[[], DynamoLedger]) -> None:
    ledger, lost = open_dynamo(), [False]

    def answer(name: str, request: AWSPreparedRequest) -> None:
        if name == "UpdateItem" and not lost[0]:
            lost[0] = True
            lose(request)

    with between(aws, answer), exclusive(ledger, 60):
        assert lost[0] and holder(open_dynamo())
    assert holder(ledger) is None


def test_a_settlement_whose_answer_was_lost_and_that_others_followed_harms_no_slow_reader(
    aws: Session, open_dynamo: Callable[[], DynamoLedger]
) -> None:
    ledger, slow, other = open_dynamo(), open_dynamo(), open_dynamo()
    loads = [pin(ledger, version, key=version) for version in "AB"]
    moved, followed = [False], threading.Event()
    reader = ThreadPoolExecutor(1, "slow")
    heads: list[Future[Head]] = []

    def answer(name: str, request: AWSPreparedRequest) -> None:
        asked = json.loads(request.body)
        if name == "GetItem" and asked["Key"]["pk"]["S"] == "p/entry" and "slow" in threading.current_thread().name:
            reached.set()
            assert followed.wait(30)
        if name == "UpdateItem" and ":entry" in asked["ExpressionAttributeValues"] and not moved[0]:
            moved[0] = True
            URLLib3Session().send(request)
            heads.append(reader.submit(slow.log.head))
            assert reached.wait(30)  # it has seen the head, and is about to read what that names
            other.settle(Settlement(abandoned=(loads[1].id,)))
            raise ConnectionClosedError(endpoint_url=request.url)

    reached = threading.Event()
    with between(aws, answer):
        ledger.settle(Settlement(abandoned=(loads[0].id,)))
        followed.set()
        assert heads[0].result().step == ledger.log.peek().step
    reader.shutdown()
    assert [state(ledger, load) for load in loads] == [LoadState.ABANDONED] * 2


def test_what_collides_for_ever_is_a_fault_and_nothing_is_half_done(
    aws: Session, open_dynamo: Callable[[], DynamoLedger], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headrace.aws.table.TRIES", 3)
    ledger = open_dynamo()
    load = pin(ledger, "A")

    def answer(name: str, request: AWSPreparedRequest) -> AWSResponse | None:
        return collision(request) if name == "TransactWriteItems" else None

    with between(aws, answer), pytest.raises(InfrastructureError, match="HR871"):
        stage(ledger, load)
    assert (state(ledger, load), ledger.trash(), ledger.pending()) == (LoadState.SEEN, [], set())

"""What a queue in SQS has of its own: messages of S3, batches that fail in part, and what a function was handed.

The contract that it shares with SQLite is in tests/ports/test_queue.py.
"""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from other_services import Answer, service

from emulator import MiniStack
from headrace.aws.clock import SystemClock
from headrace.aws.operate.dead_letters import GivenUp, given_up, put_back
from headrace.aws.places import PipelinePlaces, Places
from headrace.aws.queue import DeliveredQueue, SqsQueue
from headrace.aws.session import Session
from headrace.engine import log
from headrace.model.errors import InfrastructureError
from headrace.model.loads import Event, Lease

pytestmark = pytest.mark.usefixtures("aws_environment")
MINUTE = timedelta(minutes=1)


class Later:
    """A clock that is a span ahead."""

    def __init__(self, ahead: timedelta) -> None:
        self.ahead = ahead

    def now(self) -> Any:
        return SystemClock().now() + self.ahead


@pytest.fixture
def session() -> Session:
    return Session("eu-west-2")


@pytest.fixture
def places(session: Session) -> Places:
    """A landing bucket, a queue that it may tell, and a table for markers."""
    name = f"q{secrets.token_hex(6)}"
    keys = [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}]
    session.client("dynamodb").create_table(
        TableName=name,
        KeySchema=keys,
        AttributeDefinitions=[{"AttributeName": k["AttributeName"], "AttributeType": "S"} for k in keys],
        BillingMode="PAY_PER_REQUEST",
    )
    place = {"LocationConstraint": session.region}
    session.client("s3").create_bucket(Bucket=name, CreateBucketConfiguration=place)
    url = session.client("sqs").create_queue(QueueName=name)["QueueUrl"]
    return made(name, url)


def made(name: str, url: str) -> Places:
    return Places(
        "s", "eu-west-2", "1", name, "", name, "", "", "", "", "", {"lv": PipelinePlaces(url, "", "", "", "")}
    )


@pytest.fixture
def queue(session: Session, places: Places) -> SqsQueue:
    return SqsQueue(session, places, SystemClock())


def send(session: Session, places: Places, *bodies: str) -> None:
    for body in bodies:
        session.client("sqs").send_message(QueueUrl=places.pipeline("lv").queue, MessageBody=body)


def records(*keys: str, bucket: str = "") -> str:
    found = [{"eventSource": "aws:s3", "s3": {"bucket": {"name": bucket}, "object": {"key": key}}} for key in keys]
    return json.dumps({"Records": found})


def keys(leases: list[Lease]) -> list[str]:
    return sorted(lease.event.key for lease in leases)


def test_what_s3_says_of_odd_keys_leads_to_these_keys(session: Session, places: Places, queue: SqsQueue) -> None:
    """A real notification, configured and sent; the test event that comes first is taken away."""
    s3, sqs = session.client("s3"), session.client("sqs")
    url = places.pipeline("lv").queue
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    told = {"QueueArn": arn, "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]}
    s3.put_bucket_notification_configuration(
        Bucket=places.landing, NotificationConfiguration={"QueueConfigurations": [told]}
    )
    odd = ["in/a b+1.csv", "in/%2F.csv", "in/ü 日本.csv", 'in/it\'s "x"!.csv', "in/100%.csv", "in/a&b=c;d?e#f.csv"]
    for key in odd:
        s3.put_object(Bucket=places.landing, Key=key, Body=b"x")
    s3.delete_object(Bucket=places.landing, Key=odd[0])
    found: list[Lease] = []
    until = time.monotonic() + 20
    while len(found) < len(odd) + 1 and time.monotonic() < until:
        found += queue.lease("lv", 20, MINUTE)
    assert keys(found) == sorted([*odd, odd[0]])
    assert [x.event.key for x in found if x.event.hint == "removed"] == [odd[0]]
    queue.acknowledge(found)
    assert (queue.empty("lv"), queue.malformed) == (True, 0)


def test_garbage_is_counted_told_of_and_gone(session: Session, places: Places, queue: SqsQueue) -> None:
    send(session, places, "garbage", "{}", records("a.csv"), '{"Event": "s3:TestEvent"}', records("b", bucket="other"))
    said: list[tuple[str, Mapping[str, Any]]] = []
    with log.listening(lambda what, fields: said.append((what, fields)), logging.WARNING):
        leases = queue.lease("lv", 20, MINUTE)
    assert (keys(leases), queue.malformed, queue.depth("lv")) == (["a.csv"], 2, (0, 1))
    assert sorted((what, told["found"], told["body"]) for what, told in said) == [
        ("queue.malformed", "it has neither records nor a key", "{}"),
        ("queue.malformed", "it is not JSON", "garbage"),
    ]


def test_a_message_of_many_records_is_done_when_all_are(session: Session, places: Places, queue: SqsQueue) -> None:
    send(session, places, records("a", "b", "c"))
    leases = queue.lease("lv", 1, MINUTE)
    assert (keys(leases), len({x.token for x in leases}), len({x.id for x in leases})) == (["a", "b", "c"], 1, 3)
    queue.acknowledge(leases[:2])
    assert queue.depth("lv") == (0, 1)
    queue.acknowledge(leases[:1])
    assert queue.depth("lv") == (0, 1)
    queue.acknowledge(leases[2:])
    assert queue.empty("lv")


def test_a_message_of_which_one_record_is_given_back_comes_again(
    session: Session, places: Places, queue: SqsQueue
) -> None:
    send(session, places, records("a", "b"))
    first, second = queue.lease("lv", 1, MINUTE)
    queue.release([second], timedelta(0))
    queue.acknowledge([first])
    again = queue.lease("lv", 1, MINUTE)
    assert (keys(again), {x.receives for x in again}) == (["a", "b"], {2})
    queue.acknowledge(again)
    assert queue.empty("lv")


def test_what_should_wait_longer_than_sqs_can_waits_as_long_as_that(queue: SqsQueue) -> None:
    queue.put([Event("lv", "a", "")], delay=timedelta(hours=3))
    assert queue.depth("lv") == (1, 0)
    queue.put([Event("lv", "b", "")])
    (held,) = queue.lease("lv", 5, timedelta(days=2))
    queue.extend([held], timedelta(days=2))
    queue.release([held], timedelta(days=2))
    assert queue.depth("lv") == (1, 1)


def test_a_replay_whose_event_is_lost_counts_for_some_hours(session: Session, places: Places) -> None:
    SqsQueue(session, places, SystemClock()).put([Event("lv", "a", "replay")])
    session.client("sqs").purge_queue(QueueUrl=places.pipeline("lv").queue)
    replaying = {h: SqsQueue(session, places, Later(timedelta(hours=h))).replaying("lv") for h in (0, 5, 7)}
    assert replaying == {0: True, 5: True, 7: False}


def batch(**told: list[dict[str, Any]]) -> Answer:
    return 200, {"content-type": "application/x-amz-json-1.0"}, json.dumps(told)


def refused(id: str, fault: bool) -> dict[str, Any]:
    return {"Id": id, "Code": "InternalError", "Message": "cannot", "SenderFault": fault}


def test_what_sqs_took_of_a_batch_is_not_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[list[str]] = []

    def answer(n: int, headers: dict[str, str], body: bytes) -> Answer:
        entries = json.loads(body)["Entries"]
        sent.append([json.loads(entry["MessageBody"])["key"] for entry in entries])
        failed = [refused(entry["Id"], False) for entry in entries[1:]]
        return batch(Successful=[], Failed=failed)

    with service(answer) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        queue = SqsQueue(Session("eu-west-2"), made("q", f"{url}/1/q"), SystemClock())
        queue.put(Event("lv", key, "") for key in "abcd")
    assert sent == [["a", "b", "c", "d"], ["b", "c", "d"], ["c", "d"], ["d"]]


@pytest.mark.parametrize(("fault", "times"), [(True, 1), (False, 6)], ids=["our fault", "its fault, all the time"])
def test_what_sqs_does_not_take_is_an_error(monkeypatch: pytest.MonkeyPatch, fault: bool, times: int) -> None:
    asked: list[int] = []

    def answer(n: int, headers: dict[str, str], body: bytes) -> Answer:
        asked.append(n)
        return batch(Successful=[], Failed=[refused("1", fault)])

    with service(answer) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        queue = SqsQueue(Session("eu-west-2"), made("q", f"{url}/1/q"), SystemClock())
        found = "HR881 queue of 'lv': 1 of 2 messages were refused: InternalError cannot; it is tried again"
        with pytest.raises(InfrastructureError) as caught:
            queue.put([Event("lv", "a", ""), Event("lv", "b", "")])
    assert (str(caught.value), len(asked)) == (found, times)


def test_a_queue_that_cannot_be_asked_is_a_fault_and_never_empty(
    ministack_alone: MiniStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", ministack_alone.endpoint)
    queue = SqsQueue(Session("eu-west-2", attempts=1), made("q", f"{ministack_alone.endpoint}/1/q"), SystemClock())
    for code in ("HR805", "HR803"):  # there is no such queue, then no such service
        for ask in (lambda: queue.empty("lv"), lambda: queue.lease("lv", 1, MINUTE), lambda: queue.replaying("lv")):
            with pytest.raises(InfrastructureError, match=code):
                ask()
        ministack_alone.stop()


# what a function is handed


def delivered(session: Session, places: Places, n: int = 10) -> dict[str, Any]:
    """Messages as the service hands them to a function: received in its name, and hidden."""
    got = session.client("sqs").receive_message(
        QueueUrl=places.pipeline("lv").queue,
        MaxNumberOfMessages=n,
        VisibilityTimeout=600,
        MessageSystemAttributeNames=["All"],
    )
    return {
        "Records": [
            {
                "messageId": m["MessageId"],
                "receiptHandle": m["ReceiptHandle"],
                "body": m["Body"],
                "attributes": m["Attributes"],
                "eventSource": "aws:sqs",
            }
            for m in got.get("Messages", ())
        ]
    }


def test_a_function_is_given_each_event_once_and_reports_what_it_did_not_settle(
    session: Session, places: Places, queue: SqsQueue
) -> None:
    send(session, places, records("a"), records("b", "c"), "garbage", '{"Event": "s3:TestEvent"}', records("d"))
    event = delivered(session, places)
    ids = {json.dumps(r["body"]): r["messageId"] for r in event["Records"]}
    mine = DeliveredQueue(session, places, SystemClock(), event)
    assert len(mine.failures()) == 5
    session.report()
    leases = sorted(mine.lease("lv", 1000, MINUTE), key=lambda x: x.event.key)
    assert (keys(leases), mine.lease("lv", 1000, MINUTE), mine.malformed) == (["a", "b", "c", "d"], [], 1)
    mine.acknowledge([leases[0], leases[1]])
    mine.extend(leases, MINUTE)
    assert session.report() == {}  # the service deletes what is not reported
    assert set(mine.failures()) == {ids[json.dumps(records("b", "c"))], ids[json.dumps(records("d"))]}
    mine.acknowledge([leases[2]])
    assert mine.failures() == [ids[json.dumps(records("d"))]]


def test_what_a_function_gives_back_is_reported_and_seen_after_its_delay(
    session: Session, places: Places, queue: SqsQueue
) -> None:
    send(session, places, records("a"), records("b"))
    mine = DeliveredQueue(session, places, SystemClock(), delivered(session, places))
    first, second = sorted(mine.lease("lv", 9, MINUTE), key=lambda x: x.event.key)
    mine.release([first], timedelta(0))
    mine.acknowledge([first, second])
    assert len(mine.failures()) == 1
    (again,) = queue.lease("lv", 9, MINUTE)
    assert (again.event.key, again.receives) == ("a", 2)


def test_a_function_that_leases_less_than_it_was_given_reports_the_rest(session: Session, places: Places) -> None:
    send(session, places, *(records(key) for key in "abc"))
    mine = DeliveredQueue(session, places, SystemClock(), delivered(session, places))
    mine.acknowledge(mine.lease("lv", 1, MINUTE))
    assert len(mine.failures()) == 2


def test_a_function_puts_replays_and_asks_like_any_other(session: Session, places: Places) -> None:
    mine = DeliveredQueue(session, places, SystemClock(), {"Records": []})
    mine.put([Event("lv", "a", "replay")])
    assert (mine.replaying("lv"), mine.depth("lv")) == (True, (1, 0))
    event = delivered(session, places)
    other = DeliveredQueue(session, places, SystemClock(), event)
    other.acknowledge(other.lease("lv", 9, MINUTE))
    assert (other.failures(), mine.replaying("lv")) == ([], False)


def test_a_call_with_records_of_s3_itself_is_taken_and_reports_nothing(session: Session, places: Places) -> None:
    mine = DeliveredQueue(session, places, SystemClock(), json.loads(records("in/a+b.csv", "c")))
    leases = mine.lease("lv", 9, MINUTE)
    assert keys(leases) == ["c", "in/a b.csv"]
    mine.release(leases[:1], MINUTE)
    mine.acknowledge(leases)
    assert mine.failures() == []


def test_what_somebody_waits_for_is_asked_until_it_is_settled_though_it_be_put_anew(
    session: Session, places: Places
) -> None:
    waiting = SqsQueue(session, places, SystemClock(), marked=True)
    waiting.put([Event("lv", "a", "redrive")])
    assert waiting.asked("lv") and not waiting.replaying("lv")
    first = DeliveredQueue(session, places, SystemClock(), delivered(session, places))
    leases = first.lease("lv", 9, MINUTE)
    first.put([lease.event for lease in leases])
    first.acknowledge(leases)
    assert waiting.asked("lv")
    second = DeliveredQueue(session, places, SystemClock(), delivered(session, places))
    second.acknowledge(second.lease("lv", 9, MINUTE))
    assert not waiting.asked("lv")
    second.put([Event("lv", "b", "moved")])  # nobody waits for that
    assert not waiting.asked("lv")


# what SQS gave up


@pytest.fixture
def apart(session: Session, places: Places) -> Places:
    """The places with a queue for dead letters."""
    url = session.client("sqs").create_queue(QueueName=f"{places.landing}-dlq")["QueueUrl"]
    return replace(places, pipelines={"lv": replace(places.pipeline("lv"), dlq=url)})


def give_up(session: Session, places: Places, *bodies: str) -> None:
    for body in bodies:
        session.client("sqs").send_message(QueueUrl=places.pipeline("lv").dlq, MessageBody=body)


def test_messages_that_were_given_up_are_put_back_more_of_them_than_sqs_hands_out_at_once(
    session: Session, apart: Places, queue: SqsQueue
) -> None:
    give_up(session, apart, *(records(f"in/{n}") for n in range(23)), "not of ours")
    assert put_back(session, apart, "lv") == 24
    assert given_up(session, apart, "lv") == GivenUp(0)
    assert {lease.event.key for lease in queue.lease("lv", 100, MINUTE)} == {f"in/{n}" for n in range(23)}
    assert put_back(session, apart, "lv") == 0


def test_who_looks_at_what_was_given_up_takes_nothing(session: Session, apart: Places) -> None:
    give_up(session, apart, records("in/a", "in/b"), "not of ours")
    for _ in range(3):
        assert given_up(session, apart, "lv") == GivenUp(2, ("in/a", "in/b"))


def test_an_empty_queue_of_dead_letters_is_only_counted(session: Session, apart: Places) -> None:
    session.meter.clear()
    given_up(session, apart, "lv")
    assert set(session.meter) == {("sqs", "GetQueueAttributes")}


def test_who_dies_while_putting_back_has_doubled_a_message_and_lost_none(
    session: Session, apart: Places, queue: SqsQueue
) -> None:
    give_up(session, apart, records("in/a"))

    def die(**_: object) -> None:
        raise KeyboardInterrupt

    events = session.client("sqs").meta.events
    events.register("before-call.sqs.DeleteMessage", die)
    with pytest.raises(KeyboardInterrupt):
        put_back(session, apart, "lv")
    events.unregister("before-call.sqs.DeleteMessage", die)
    assert [lease.event.key for lease in queue.lease("lv", 10, MINUTE)] == ["in/a"]
    assert given_up(session, apart, "lv").messages == 1

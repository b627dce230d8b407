"""Events that wait, in SQS: one queue per pipeline, fed by S3 and by us. It reads no objects.

Messages are delivered at least once, in no order, and counted roughly. A replay that is under way, and what a command
waits for, is told by markers in the ledger's table, since no queue can be asked what waits in it.

| code | means |
|---|---|
| HR503 | a lease outlived its visibility, and SQS says that another has it |
| HR881 | SQS took some messages of a batch and refused others until all attempts were used up |
"""

from __future__ import annotations

import itertools
import json
import logging
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

from headrace.aws.bucket import side_by_side
from headrace.aws.messages import Asked, Malformed, asked_in, body_of
from headrace.aws.places import Places
from headrace.aws.session import ATTEMPTS, Session
from headrace.engine import log
from headrace.model.errors import InfrastructureError, LeaseLost
from headrace.model.loads import Event, Lease
from headrace.ports import Clock

BATCH = 10
"""Messages in one request, by SQS's own limit."""
MOST = 1000
"""Events taken from an iterable at a time."""
LONGEST_DELAY = timedelta(minutes=15)
LONGEST_HIDDEN = timedelta(hours=12)
"""Limits of SQS. What should wait longer is seen earlier, which is harmless."""
WAIT = 1
"""Seconds to wait for a message: asked without waiting, SQS looks at some of its servers only."""
MARKED = timedelta(hours=6)
"""For how long a replay counts as under way if its event is lost: to the dead-letter queue, or with a crash."""
KINDS = ("replay", "other")
"""Of markers: a replay may have to come whole, anything else concerns only who asked for it."""
T = TypeVar("T")
LOST = ("ReceiptHandleIsInvalid", "InvalidParameterValue", "MessageNotInflight")


@dataclass(slots=True)
class Message:
    """A message that was received. It is done when all its leases are."""

    id: str
    receipt: str
    receives: int
    open: set[int] = field(default_factory=set)
    marks: dict[int, str] = field(default_factory=dict)
    released: bool = False


class SqsQueue:
    """headrace.ports.Queue for all pipelines of a stack. Safe for threads; leases are of the queue that gave them.

    `marked`: every event that is put gets a marker, not only that of a replay, so that `asked` tells of it.
    """

    def __init__(self, session: Session, places: Places, clock: Clock, *, marked: bool = False) -> None:
        self._marked = marked
        self._awaited: set[Event] = set()
        self.malformed = 0
        self._session, self._places, self._clock = session, places, clock
        self._messages: dict[str, Message] = {}  # by receipt
        self._ids = itertools.count(1)
        self._lock = threading.Lock()

    def put(self, events: Iterable[Event], delay: timedelta = timedelta(0)) -> None:
        """Store events durably, each once per call. A delay of more than 15 minutes is one of 15 minutes."""
        remaining = iter(events)
        seconds = _seconds(delay, LONGEST_DELAY)
        while some := list(dict.fromkeys(itertools.islice(remaining, MOST))):
            marks = {event: self._mark(event.hint) for event in some if self._wants_mark(event)}
            side_by_side(lambda item: self._put_mark(item[0].pipeline, item[1]), marks.items())
            batches = [
                (pipeline, [body_of(event, marks.get(event, "")) for event in batch])
                for pipeline, mine in _by(lambda event: event.pipeline, some).items()
                for batch in _in_batches(mine)
            ]
            side_by_side(lambda batch: self._send(*batch, seconds), batches)

    def _wants_mark(self, event: Event) -> bool:
        """Also one that came with a marker and is put again: whoever asked for it still waits."""
        return self._marked or event.hint == "replay" or event in self._awaited

    def _send(self, pipeline: str, bodies: Sequence[str], delay: int) -> None:
        entries = {str(i): {"Id": str(i), "MessageBody": b, "DelaySeconds": delay} for i, b in enumerate(bodies)}
        refused = self._batch(pipeline, "send_message_batch", entries)
        if refused:
            raise self._refused(pipeline, refused, len(bodies))

    def lease(self, pipeline: str, n: int, visibility: timedelta) -> list[Lease]:
        """Hide up to `n` messages from other workers for `visibility`, at most 12 hours, and tell their events.

        A message of S3 may hold several events: then there are more than `n`. What tells of no object is acknowledged
        at once, counted in `malformed` and logged.
        """
        found: list[Lease] = []
        hidden = _seconds(visibility, LONGEST_HIDDEN)
        while len(found) < n:
            received = self._receive(pipeline, min(BATCH, n - len(found)), hidden, 0 if found else WAIT)
            leases = [self._leases(pipeline, message, body) for message, body in received]
            self._delete(pipeline, [m.receipt for (m, _), told in zip(received, leases, strict=True) if not told])
            found += itertools.chain.from_iterable(leases)
            if not received:
                break
        return found

    def _receive(self, pipeline: str, most: int, hidden: int, wait: int) -> list[tuple[Message, str]]:
        with self._session.wrapped(f"queue of {pipeline!r}", "it is tried again"):
            answer = self._session.client("sqs").receive_message(
                QueueUrl=self._url(pipeline),
                MaxNumberOfMessages=most,
                VisibilityTimeout=hidden,
                WaitTimeSeconds=wait,
                MessageSystemAttributeNames=["ApproximateReceiveCount"],
            )
        return [
            (Message(m["MessageId"], m["ReceiptHandle"], _count(m.get("Attributes", {}))), m["Body"])
            for m in answer.get("Messages", ())
        ]

    def _leases(self, pipeline: str, message: Message, body: str) -> list[Lease]:
        """A lease for each event of a message, which share its receipt; none for what tells of no object."""
        try:
            asked: Sequence[Asked] = asked_in(pipeline, body, self._places.landing)
        except Malformed as exc:
            self.malformed += 1
            shown = self._session.scrub(body, 200)
            told = {"pipeline": pipeline, "message": message.id, "found": str(exc), "body": shown}
            log.event("queue.malformed", logging.WARNING, **told)
            return []
        with self._lock:
            given = [(next(self._ids), one) for one in asked]
            message.open = {id for id, _ in given}
            message.marks = {id: one.mark for id, one in given if one.mark}
            self._awaited |= {one.event for _, one in given if one.mark}
            if given:
                self._messages[message.receipt] = message
        return [Lease(id, one.event, message.receipt, message.receives) for id, one in given]

    def acknowledge(self, leases: Sequence[Lease]) -> None:
        """Remove events for good: a message when all its events are done. The marker of a replay goes first.

        Raises LeaseLost if SQS says that another has any of them; the others are removed. It does not always say so:
        then the ledger, which takes what comes first, is what tells.
        """
        done, marks = self._settled(leases)
        by_pipeline = {x.token: x.event.pipeline for x in leases}
        side_by_side(lambda mark: self._drop_mark(*mark), marks)
        lost: list[Any] = []
        for pipeline in sorted(set(by_pipeline.values())):
            lost += self._delete(pipeline, [receipt for receipt in done if by_pipeline[receipt] == pipeline])
        if lost:
            which = ", ".join(x.event.key for x in leases if x.token in lost[:3])
            found = f"{len(lost)} of {len(leases)} leases outlived their visibility"
            raise LeaseLost("HR503", which, found, "another worker has them; raise `visibility` if this is common")

    def _settled(self, leases: Sequence[Lease]) -> tuple[list[str], list[tuple[str, str]]]:
        """Receipts of messages of which nothing is left to do, and the markers of these leases."""
        done: list[str] = []
        marks: list[tuple[str, str]] = []
        with self._lock:
            for receipt, mine in _by(lambda lease: lease.token, leases).items():
                message = self._messages.get(receipt)
                if message is None:
                    continue  # done already
                ids = {x.id for x in mine}
                message.open -= ids
                marks += [(mine[0].event.pipeline, mark) for id, mark in message.marks.items() if id in ids]
                if not message.open and not message.released:
                    del self._messages[receipt]
                    done.append(receipt)
        return done, marks

    def _delete(self, pipeline: str, receipts: Sequence[str]) -> list[str]:
        """Delete messages; returns the receipts that are no longer ours."""
        lost: list[str] = []
        for batch in _in_batches(receipts):
            entries = {str(i): {"Id": str(i), "ReceiptHandle": receipt} for i, receipt in enumerate(batch)}
            refused = self._batch(pipeline, "delete_message_batch", entries)
            lost += [batch[int(one["Id"])] for one in refused if one.get("Code") in LOST]
            if others := [one for one in refused if one.get("Code") not in LOST]:
                raise self._refused(pipeline, others, len(batch))
        return lost

    def extend(self, leases: Sequence[Lease], visibility: timedelta) -> None:
        """Hide leased events for `visibility` from now: the work on them takes longer. A lost lease is passed over."""
        self._hide(leases, _seconds(visibility, LONGEST_HIDDEN))

    def release(self, leases: Sequence[Lease], delay: timedelta) -> None:
        """Give events back, to be seen again after `delay`: with them the others of their messages."""
        with self._lock:
            for lease in leases:
                if lease.token in self._messages:
                    self._messages[lease.token].released = True
        self._hide(leases, _seconds(delay, LONGEST_HIDDEN))

    def _hide(self, leases: Sequence[Lease], seconds: int) -> None:
        for pipeline, mine in _by(lambda lease: lease.event.pipeline, leases).items():
            for batch in _in_batches(list(_by(lambda lease: lease.token, mine))):
                entries = {
                    str(i): {"Id": str(i), "ReceiptHandle": receipt, "VisibilityTimeout": seconds}
                    for i, receipt in enumerate(batch)
                }
                refused = self._batch(pipeline, "change_message_visibility_batch", entries)
                if others := [one for one in refused if one.get("Code") not in LOST]:
                    raise self._refused(pipeline, others, len(batch))

    def recall(self, pipeline: str) -> None:
        """Nothing: what a dead holder leased is seen again when its visibility ends, and others may be at work."""

    def empty(self, pipeline: str) -> bool:
        """Whether SQS counts no message that waits, is delayed or is leased. It may count late, by a minute or so."""
        return self.depth(pipeline) == (0, 0)

    def replaying(self, pipeline: str) -> bool:
        """Whether a replay is under way: a marker of one is there, and is not so old that its event must be lost."""
        return self._marks(pipeline, "replay")

    def asked(self, pipeline: str) -> bool:
        """Whether an event that got a marker has still not been acknowledged, unless it must be lost."""
        return any(self._marks(pipeline, kind) for kind in KINDS)

    def _marks(self, pipeline: str, kind: str) -> bool:
        with self._session.wrapped(self._places.ledger, "it is tried again"):
            answer = self._session.client("dynamodb").query(
                TableName=self._places.ledger,
                KeyConditionExpression="pk = :pk and sk between :now and :end",
                ExpressionAttributeValues={
                    ":pk": {"S": _marks(pipeline)},
                    ":now": {"S": f"{kind}/{self._at()}"},
                    ":end": {"S": f"{kind}/~"},
                },
                ConsistentRead=True,
                Limit=1,
            )
        return bool(answer["Items"])

    def depth(self, pipeline: str) -> tuple[int, int]:
        """How many messages wait (delayed ones included), and how many are leased, as SQS counts them: roughly."""
        names = [f"ApproximateNumberOfMessages{what}" for what in ("", "Delayed", "NotVisible")]
        with self._session.wrapped(f"queue of {pipeline!r}", "it is tried again"):
            answer = self._session.client("sqs").get_queue_attributes(
                QueueUrl=self._url(pipeline), AttributeNames=names
            )
        waiting, delayed, leased = (int(answer["Attributes"].get(name, 0)) for name in names)
        return waiting + delayed, leased

    def _batch(self, pipeline: str, operation: str, entries: Mapping[str, Any]) -> list[Any]:
        """Do an operation for a batch, again for those that failed by SQS's own fault; returns what it refuses."""
        left, refused = dict(entries), []
        failed: list[Any] = []
        for attempt in range(ATTEMPTS):
            if attempt:
                self._session.pause(attempt)
            with self._session.wrapped(f"queue of {pipeline!r}", "it is tried again"):
                ask = getattr(self._session.client("sqs"), operation)
                answer = ask(QueueUrl=self._url(pipeline), Entries=list(left.values()))
            failed = [one for one in answer.get("Failed", ()) if not one.get("SenderFault")]
            refused += [one for one in answer.get("Failed", ()) if one.get("SenderFault")]
            left = {one["Id"]: left[one["Id"]] for one in failed}
            if not left:
                break
        return [*refused, *failed]

    def _refused(self, pipeline: str, refused: Sequence[Any], of: int) -> InfrastructureError:
        first = f"{refused[0].get('Code')} {refused[0].get('Message', '')}".strip()
        found = self._session.scrub(f"{len(refused)} of {of} messages were refused: {first}")
        return InfrastructureError("HR881", f"queue of {pipeline!r}", found, "it is tried again")

    def _url(self, pipeline: str) -> str:
        return self._places.pipeline(pipeline).queue

    # markers, by kind and in the order in which they end

    def _mark(self, hint: str) -> str:
        return f"{'replay' if hint == 'replay' else 'other'}/{self._at(MARKED)}/{secrets.token_hex(8)}"

    def _at(self, later: timedelta = timedelta(0)) -> str:
        return f"{int((self._clock.now() + later).timestamp()):012d}"

    def _put_mark(self, pipeline: str, mark: str) -> None:
        with self._session.wrapped(self._places.ledger, "it is tried again"):
            self._session.client("dynamodb").put_item(TableName=self._places.ledger, Item=_marker(pipeline, mark))

    def _drop_mark(self, pipeline: str, mark: str) -> None:
        with self._session.wrapped(self._places.ledger, "it is tried again"):
            self._session.client("dynamodb").delete_item(TableName=self._places.ledger, Key=_marker(pipeline, mark))


class DeliveredQueue(SqsQueue):
    """The same queue from within a function, which was given its messages and answers for each of them in the end.

    What is acknowledged, the service deletes after the answer; what `failures` names, it delivers again. A call with
    records of S3 itself, as `headrace invoke` may make, is taken like a message that nobody waits for.
    """

    def __init__(self, session: Session, places: Places, clock: Clock, event: Mapping[str, Any]) -> None:
        super().__init__(session, places, clock)
        self._given = [_delivered(n, record) for n, record in enumerate(event.get("Records", ()))]
        self._failing = {message.receipt: message.id for message, _ in self._given}

    def failures(self) -> list[str]:
        """The messages, by id, of which something was not acknowledged: to be reported, so that they come again."""
        return [id for id in self._failing.values() if id]

    def extend(self, leases: Sequence[Lease], visibility: timedelta) -> None:
        """Nothing: what was delivered is hidden for longer than a function can live."""

    def _receive(self, pipeline: str, most: int, hidden: int, wait: int) -> list[tuple[Message, str]]:
        some, self._given = self._given[:most], self._given[most:]
        return some

    def _delete(self, pipeline: str, receipts: Sequence[str]) -> list[str]:
        for receipt in receipts:
            del self._failing[receipt]
        return []

    def _hide(self, leases: Sequence[Lease], seconds: int) -> None:
        super()._hide([x for x in leases if self._failing.get(x.token)], seconds)


def _delivered(n: int, record: Mapping[str, Any]) -> tuple[Message, str]:
    if "body" not in record:
        return Message("", f"called/{n}", 1), json.dumps({"Records": [record]})
    receives = _count(record.get("attributes", {}))
    return Message(record["messageId"], record["receiptHandle"], receives), record["body"]


def _count(attributes: Mapping[str, str]) -> int:
    return int(attributes.get("ApproximateReceiveCount", 1))


def _seconds(span: timedelta, longest: timedelta) -> int:
    """Whole seconds, rounded up: what should be hidden for a moment is hidden for one."""
    return -(-min(max(span, timedelta(0)), longest) // timedelta(seconds=1))


def _marks(pipeline: str) -> str:
    return f"{pipeline}/asked"


def _marker(pipeline: str, mark: str) -> dict[str, dict[str, str]]:
    return {"pk": {"S": _marks(pipeline)}, "sk": {"S": mark}}


def _in_batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    return (items[start : start + BATCH] for start in range(0, len(items), BATCH))


def _by(key: Callable[[T], str], items: Iterable[T]) -> dict[str, list[T]]:
    found: dict[str, list[T]] = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return found

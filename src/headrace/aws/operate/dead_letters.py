"""What SQS gave up of a pipeline's events: looked at without taking it away, and put back into the queue.

The ledger buries an object that fails by itself long before; here lies what its function died of before it could say
anything. Called by `project/there.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headrace.aws.bucket import side_by_side
from headrace.aws.messages import Malformed, asked_in
from headrace.aws.operate.health import depth
from headrace.aws.places import Places
from headrace.aws.session import Session

BATCH = 10
"""Messages that SQS hands out at once."""

LOOKED_AT = 20
"""Seconds for which a message is hidden that is only looked at: should this process die before it gives it back."""

MOVED = 60
"""Seconds for which a message is hidden that is put back: two requests, and all their attempts."""

WAIT = 1
"""Seconds to wait for a message: asked without waiting, SQS looks at some of its servers only."""


@dataclass(frozen=True, slots=True)
class GivenUp:
    """`messages` as SQS counts them; `keys` of the first few, in the order in which it hands them out."""

    messages: int
    keys: tuple[str, ...] = ()


def given_up(session: Session, places: Places, pipeline: str) -> GivenUp:
    """How many messages lie in the dead-letter queue, and what the first ten ask to look at. All of them stay there.

    An empty queue is only counted, so that whoever may read alone is told so.
    """
    url = places.pipeline(pipeline).dlq
    messages = sum(depth(session, url).values())
    if not messages:
        return GivenUp(0)
    held = _receive(session, url, LOOKED_AT)
    if held:
        entries = [
            {"Id": str(n), "ReceiptHandle": one["ReceiptHandle"], "VisibilityTimeout": 0} for n, one in enumerate(held)
        ]
        with session.wrapped(f"dead letters of {pipeline!r}", "try again"):
            session.client("sqs").change_message_visibility_batch(QueueUrl=url, Entries=entries)
    keys = dict.fromkeys(key for one in held for key in _keys(pipeline, one["Body"], places.landing))
    return GivenUp(messages, tuple(keys))


def _keys(pipeline: str, body: str, bucket: str) -> list[str]:
    try:
        return [one.event.key for one in asked_in(pipeline, body, bucket)]
    except Malformed:  # the function will say so, and throw it away
        return []


def put_back(session: Session, places: Places, pipeline: str) -> int:
    """Move all dead letters into the pipeline's queue; returns how many.

    Each is sent before it is deleted: who is killed in between has doubled it, which changes nothing, and lost none.
    (StartMessageMoveTask does the same behind our back, and not every emulator has it.)
    """
    place, sqs = places.pipeline(pipeline), session.client("sqs")

    def move(message: Mapping[str, Any]) -> None:
        with session.wrapped(f"dead letters of {pipeline!r}", "headrace dlq redrive again"):
            sqs.send_message(QueueUrl=place.queue, MessageBody=message["Body"])
            sqs.delete_message(QueueUrl=place.dlq, ReceiptHandle=message["ReceiptHandle"])

    moved = 0
    while held := _receive(session, place.dlq, MOVED):
        side_by_side(move, held)
        moved += len(held)
    return moved


def _receive(session: Session, url: str, hidden: int) -> list[Mapping[str, Any]]:
    with session.wrapped(f"queue {url.rsplit('/', 1)[-1]}", "try again"):
        answer = session.client("sqs").receive_message(
            QueueUrl=url, MaxNumberOfMessages=BATCH, VisibilityTimeout=hidden, WaitTimeSeconds=WAIT
        )
    return list(answer.get("Messages", ()))

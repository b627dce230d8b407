"""How a deployed stack is, as AWS itself tells it: its state, alarms that are raised, and what lies in its queues.

What the ledger knows is told elsewhere (`project/health.py`). Called for `status` and by `verify.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from headrace.aws.operate.stack import Stack
from headrace.aws.places import Places
from headrace.aws.session import Session
from headrace.model.words import count

SILENCE = "-no-data"
"""How the name of an alarm ends that tells of a sender's silence."""

DEPTHS = {
    "waiting": "ApproximateNumberOfMessages",
    "delayed": "ApproximateNumberOfMessagesDelayed",
    "leased": "ApproximateNumberOfMessagesNotVisible",
}


@dataclass(frozen=True, slots=True)
class StackHealth:
    """`alarms` and `faults` are sentences with what to do; `queues` holds counts by queue, approximate as SQS's are.

    `silences` are those of the alarms that tell of nothing but a sender's silence.
    """

    state: str
    alarms: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    queues: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    silences: tuple[str, ...] = ()

    def public(self) -> dict[str, Any]:
        return {
            "stack": self.state,
            "alarms": list(self.alarms),
            "faults": list(self.faults),
            "queues": {name: dict(depths) for name, depths in self.queues.items()},
        }


def stack_health(session: Session, places: Places) -> StackHealth:
    """The health of a stack whose places are known. Raises InfrastructureError HR844 if it is gone."""
    state = Stack(session, places.stack).deployed().status
    queues: dict[str, dict[str, int]] = {}
    raised = list(_raised(session, places))
    alarms = [said for _, said in raised]
    silences = tuple(said for alarm, said in raised if alarm.endswith(SILENCE))
    for name, pipeline in sorted(places.pipelines.items()):
        queues |= {
            f"{name} events": depth(session, pipeline.queue),
            f"{name} dlq": depth(session, pipeline.dlq),
            f"{name} bell": depth(session, pipeline.bell),
        }
        if dead := sum(queues[f"{name} dlq"].values()):
            alarms.append(f"{name}: {count(dead, 'message')} in the dead-letter queue: headrace logs")
    return StackHealth(state, tuple(alarms), tuple(stack_faults(places.stack, state)), queues, silences)


def stack_faults(stack: str, state: str) -> Iterator[str]:
    """What is the matter with a stack in this state, each with the command that mends it behind a colon."""
    if state.endswith("_IN_PROGRESS"):
        yield f"stack {stack!r} is being changed ({state}): headrace deploy waits for it"
    elif "ROLLBACK" in state or state.endswith("_FAILED"):
        yield f"stack {stack!r} is in {state}, so the last deploy did not succeed: headrace deploy"


def _raised(session: Session, places: Places) -> Iterator[tuple[str, str]]:
    """Alarms of this stack that are raised now, of its name and sent to its topic, with a sentence about each."""
    with session.wrapped("CloudWatch's alarms", "try again"):
        pages = session.client("cloudwatch").get_paginator("describe_alarms")
        for page in pages.paginate(AlarmNamePrefix=f"{places.stack}-", StateValue="ALARM"):
            for one in page["MetricAlarms"]:
                if places.operations in one.get("AlarmActions", ()):
                    name = str(one["AlarmName"])
                    yield name, f"{name} is raised: {one.get('AlarmDescription') or one.get('StateReason', '')}"


def depth(session: Session, url: str) -> dict[str, int]:
    """How many messages wait in a queue, are delayed, and are leased; approximately."""
    with session.wrapped(f"queue {url.rsplit('/', 1)[-1]}", "run `headrace verify`"):
        answer = session.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=list(DEPTHS.values()))
    return {name: int(answer["Attributes"].get(attribute, 0)) for name, attribute in DEPTHS.items()}

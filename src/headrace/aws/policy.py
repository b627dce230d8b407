"""Which IAM actions our own code needs: one table from the calls that each part makes, and the roles made from it.

A role is allowed what the parts that it runs call, on the things that they touch, and nothing else. When a part begins
to make another call, the line goes here. Called by `resources`; the tests hold real recordings against it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from headrace.aws.statements import Statement

Operation = tuple[str, str]
"""(service, operation) as botocore names them, which is what `Session.meter` counts."""


@dataclass(frozen=True, slots=True)
class Call:
    """One operation of one part: the actions it needs, and on what."""

    operation: Operation
    actions: tuple[str, ...]
    on: str


def _call(service: str, operation: str, on: str, *actions: str) -> Call:
    """Most actions are called like the operation."""
    prefix = {"sesv2": "ses"}.get(service, service)
    return Call((service, operation), actions or (f"{prefix}:{operation}",), on)


CALLS: Mapping[str, tuple[Call, ...]] = {
    # What Lambda does in the function's name before and after our code.
    "runtime": (
        _call("logs", "CreateLogStream", "logs"),
        _call("logs", "PutLogEvents", "logs"),
    ),
    "events source": (
        _call("sqs", "ReceiveMessage", "events"),
        _call("sqs", "DeleteMessage", "events"),
        _call("sqs", "GetQueueAttributes", "events"),
    ),
    "bell source": (
        _call("sqs", "ReceiveMessage", "bell"),
        _call("sqs", "DeleteMessage", "bell"),
        _call("sqs", "GetQueueAttributes", "bell"),
    ),
    # aws/queue.py
    "leases": (_call("sqs", "ChangeMessageVisibility", "events"),),
    "events": (_call("sqs", "SendMessageBatch", "events", "sqs:SendMessage"),),
    # aws/bell.py
    "bell": (_call("sqs", "SendMessage", "bell"),),
    # aws/store.py
    "look": (
        _call("s3", "HeadObject", "objects", "s3:GetObject"),
        _call("s3", "HeadObject", "landing", "s3:ListBucket"),  # without it a missing key looks like a forbidden one
    ),
    "fetch": (_call("s3", "GetObject", "objects", "s3:GetObject", "s3:GetObjectVersion"),),
    "list": (_call("s3", "ListObjectsV2", "landing", "s3:ListBucket"),),
    # aws/base.py
    "bring": (
        _call("s3", "GetObject", "base", "s3:GetObject"),
        _call("s3", "GetObject", "lake", "s3:ListBucket"),  # a lost file must not look like a forbidden one
    ),
    "keep": (_call("s3", "PutObject", "base", "s3:PutObject"),),
    "clean": (_call("s3", "DeleteObjects", "base", "s3:DeleteObject"),),
    # aws/ledger*.py
    "ledger": (
        _call("dynamodb", "GetItem", "ledger"),
        _call("dynamodb", "BatchGetItem", "ledger"),
        _call("dynamodb", "Query", "ledger"),
        _call("dynamodb", "PutItem", "ledger"),
        _call("dynamodb", "UpdateItem", "ledger"),
        _call("dynamodb", "DeleteItem", "ledger"),
        _call("dynamodb", "BatchWriteItem", "ledger"),
        _call(
            "dynamodb",
            "TransactWriteItems",
            "ledger",
            "dynamodb:PutItem",
            "dynamodb:UpdateItem",
            "dynamodb:ConditionCheckItem",
        ),
        _call("s3", "GetObject", "bodies", "s3:GetObject"),
        _call("s3", "PutObject", "bodies", "s3:PutObject"),
    ),
    # aws/keyed*.py
    "keyed": (
        _call("dynamodb", "GetItem", "keyed"),
        _call("dynamodb", "BatchWriteItem", "keyed"),
        _call("dynamodb", "PutItem", "keyed"),
        _call("dynamodb", "Query", "keyed"),
        _call("dynamodb", "Scan", "keyed"),
        _call("dynamodb", "UpdateItem", "keyed"),
    ),
    # aws/catalog.py
    "catalog": (
        _call("glue", "GetTable", "catalog"),
        _call("glue", "CreateTable", "catalog"),
        _call("glue", "UpdateTable", "catalog"),
    ),
    # aws/notify.py
    "notify": (_call("sns", "Publish", "alerts"),),
}
"""Part of the program → the calls it makes."""

INGEST = ("runtime", "events source", "leases", "look", "fetch", "bring", "keep", "ledger", "bell")
PUBLISH = (
    *(
        "runtime",
        "bell source",
        "events",
        "look",
        "fetch",
        "list",
        "bring",
        "keep",
        "clean",
        "ledger",
        "bell",
        "notify",
    ),
)
"""What each function runs; `keyed` and `catalog` come with the sinks of its pipeline."""

WHY: Mapping[str, str] = {
    "logs": "its own log group; the streams below it have names that Lambda chooses",
    "events": "the pipeline's queue of events",
    "bell": "the pipeline's doorbell",
    "landing": "asking whether an object is there, and listing the prefix",
    "objects": "the objects below the pipeline's own prefix",
    "lake": "telling a file that is gone from one that is forbidden",
    "base": "the files of this pipeline's base: their names are new with each attempt",
    "bodies": "revisions and long items of the ledger, which are immutable objects",
    "ledger": "the ledger, which the pipelines of a stack share",
    "keyed": "the items of this pipeline's keyed tables",
    "catalog": "this pipeline's tables in the Glue database; Glue asks for the catalog and the database as well",
    "alerts": "the topic that people read",
}


def actions_of(operation: Operation) -> tuple[str, ...]:
    """Every action that a call of this operation may need, of whichever part. Empty for one that no part makes."""
    found = {a for calls in CALLS.values() for call in calls if call.operation == operation for a in call.actions}
    return tuple(sorted(found))


def statements(parts: Iterable[str], arns: Callable[[str], tuple[str, ...]]) -> tuple[Statement, ...]:
    """The policy of a role that runs these parts. `arns`: the resources of each thing; one without any is left out."""
    wanted: dict[str, set[str]] = {}
    for part in parts:
        for call in CALLS[part]:
            wanted.setdefault(call.on, set()).update(call.actions)
    return tuple(
        Statement("".join(w.capitalize() for w in on.split()), tuple(sorted(actions)), arns(on), WHY[on])
        for on, actions in sorted(wanted.items())
        if arns(on)
    )

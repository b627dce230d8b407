"""Which IAM actions our own code needs: one table of the calls that each part makes, and the roles made from it.

A role is allowed what the parts that it runs call, on the things that they touch, and nothing else. When a part begins
to make another call, its line goes here: a test reads the code and holds it against this table. Called by `resources`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from headrace.aws.declare.statements import Statement

Operation = tuple[str, str]
"""(service, operation) as botocore names them, which is what `Session.meter` counts."""


@dataclass(frozen=True, slots=True)
class Call:
    """One operation: the actions it needs, and on what (a key of WHY)."""

    operation: Operation
    on: str
    actions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """Calls that belong together. `module` makes them, under `aws/`; empty for what Lambda does by itself."""

    module: str
    calls: tuple[Call, ...]


def _calls(service: str, on: str, *operations: str, **renamed: tuple[str, ...]) -> Iterator[Call]:
    """Most actions are called like their operation; others are given in `renamed`."""
    for operation in operations:
        yield Call((service, operation), on, (f"{service}:{operation}",))
    for operation, actions in renamed.items():
        yield Call((service, operation), on, actions)


def _part(module: str, *calls: Iterator[Call]) -> Part:
    return Part(module, tuple(call for some in calls for call in some))


GET, PUT = ("s3:GetObject",), ("s3:PutObject",)
PINNED = ("s3:GetObject", "s3:GetObjectVersion")
"""What was begun is read on in the same version."""

TAGGED = ("s3:GetObjectTagging", "s3:GetObjectVersionTagging", "s3:PutObjectTagging")
"""A copy takes its object's tags with it, and is refused if it may not."""

UPLOAD = {
    "PutObject": PUT,
    "CreateMultipartUpload": PUT,
    "UploadPart": PUT,
    "CompleteMultipartUpload": PUT,
}
LIST = ("s3:ListBucket",)
"""Also what tells a key that is not there from one that is forbidden."""

TRANSACT = ("dynamodb:ConditionCheckItem", "dynamodb:DeleteItem", "dynamodb:PutItem", "dynamodb:UpdateItem")

PARTS: Mapping[str, Part] = {
    "lambda logs": _part("", _calls("logs", "logs", "CreateLogStream", "PutLogEvents")),
    "lambda events": _part("", _calls("sqs", "events", "ReceiveMessage", "DeleteMessage", "GetQueueAttributes")),
    "lambda bell": _part("", _calls("sqs", "bell", "ReceiveMessage", "DeleteMessage", "GetQueueAttributes")),
    "give back": _part(
        "queue.py",
        _calls("sqs", "events", ChangeMessageVisibilityBatch=("sqs:ChangeMessageVisibility",)),
        _calls("dynamodb", "ledger", "DeleteItem"),  # the marker of a replay
    ),
    "ask again": _part(
        "queue.py",
        _calls("sqs", "events", "GetQueueAttributes", SendMessageBatch=("sqs:SendMessage",)),
        _calls("dynamodb", "ledger", "PutItem", "Query"),  # markers of replays
    ),
    "ring": _part("bell.py", _calls("sqs", "bell", "SendMessage")),
    "ring later": _part("handlers.py", _calls("sqs", "bell", "ChangeMessageVisibility")),
    "look": _part("bucket.py", _calls("s3", "objects", HeadObject=GET), _calls("s3", "landing", HeadBucket=LIST)),
    "fetch": _part("bucket.py", _calls("s3", "objects", GetObject=PINNED), _calls("s3", "landing", GetObject=LIST)),
    "scan": _part("bucket.py", _calls("s3", "landing", ListObjectVersions=("s3:ListBucketVersions",))),
    "from archive": _part("bucket.py", _calls("s3", "archive", HeadObject=GET, GetObject=PINNED)),
    "to archive": _part(
        "bucket.py",
        _calls("s3", "objects", CopyObject=TAGGED[:2], UploadPartCopy=PINNED, DeleteObject=("s3:DeleteObject",)),
        _calls("s3", "archive", CopyObject=(*PUT, TAGGED[2]), UploadPartCopy=PUT, CreateMultipartUpload=PUT),
        _calls("s3", "archive", "AbortMultipartUpload", CompleteMultipartUpload=PUT),
    ),
    "bring": _part(
        "bucket.py",
        _calls("s3", "base", HeadObject=GET, GetObject=PINNED),
        _calls("s3", "lake", HeadBucket=LIST, GetObject=LIST),
    ),
    "keep": _part("bucket.py", _calls("s3", "base", "AbortMultipartUpload", **UPLOAD)),
    "tidy": _part(
        "bucket.py",
        _calls("s3", "lake", ListObjectsV2=LIST),
        _calls("s3", "base", DeleteObjects=("s3:DeleteObject",)),
    ),
    "ledger": _part(
        "table.py",
        _calls("dynamodb", "ledger", "GetItem", "BatchGetItem", "Query", "PutItem", "UpdateItem", "BatchWriteItem"),
        _calls("dynamodb", "ledger", TransactWriteItems=TRANSACT),
    ),
    "bodies": _part(
        "bodies.py",
        _calls("s3", "bodies", "GetObject", "PutObject", "DeleteObject"),
        _calls("s3", "lake", GetObject=LIST),
    ),
    "canary": _part("canary.py", _calls("dynamodb", "ledger", "UpdateItem")),
    "items": _part("keyed_control.py", _calls("dynamodb", "keyed", "DescribeTable", "GetItem", "UpdateItem")),
    "items asked": _part("keyed_taken.py", _calls("dynamodb", "keyed", "BatchGetItem")),
    "items sent": _part("wire.py", _calls("dynamodb", "keyed", "BatchWriteItem")),
    "items swept": _part("keyed_sweep.py", _calls("dynamodb", "keyed", "Scan")),
    "catalog": _part("catalog.py", _calls("glue", "catalog", "GetTable", "CreateTable", "UpdateTable")),
    "metadata": _part("metadata.py", _calls("s3", "base", "PutObject")),
    "folder": _part(
        "folder.py",
        _calls("s3", "base", GetObject=GET),
        _calls("s3", "lake", ListObjectsV2=LIST, GetObject=LIST),
    ),
    "tell": _part("notify.py", _calls("sns", "alerts", "Publish")),
}
"""Part of what functions do → the calls that it makes."""

BOTH = ("lambda logs", "look", "fetch", "keep", "ledger", "bodies", "canary")
INGEST = (*BOTH, "ask again", "lambda events", "give back", "ring")
PUBLISH = (*BOTH, "lambda bell", "ring later", "ask again", "scan", "bring", "tidy", "tell")
WITH_KEYED = ("items", "items asked", "items sent", "items swept")
WITH_LAKE = ("catalog", "metadata", "folder")
WITH_ARCHIVE: Mapping[str, tuple[str, ...]] = {
    "ingest": ("from archive",),
    "publish": ("from archive", "to archive"),
}
"""What each function runs, and what comes with a sink or with `after="archive"`."""

PEOPLE: Mapping[str, frozenset[str]] = {
    "bell.py": frozenset({"Invoke"}),
    "bucket.py": frozenset(),
    "canary.py": frozenset({"GetItem", "DeleteItem"}),
    "keyed_lookup.py": frozenset({"Query", "Scan"}),
    "queue.py": frozenset({"ReceiveMessage", "DeleteMessageBatch"}),
}
"""Operations of these modules that only commands use, with the rights of whoever types them."""

WHY: Mapping[str, str] = {
    "alerts": "the topic that people read",
    "archive": "objects of this source that were moved out of the way",
    "base": "files and tables of this pipeline: their names are new with each attempt",
    "bell": "the pipeline's doorbell",
    "bodies": "revisions and long items of the ledger, which are objects that never change",
    "catalog": "this pipeline's tables; Glue asks for the catalog and the database as well",
    "events": "the pipeline's queue of events",
    "keyed": "items of this pipeline's keyed tables",
    "lake": "listing, and telling what is gone from what is forbidden",
    "landing": "listing, and telling what is gone from what is forbidden",
    "ledger": "the ledger, which the pipelines of a stack share",
    "logs": "its own log group; Lambda chooses the names of the streams in it",
    "objects": "objects below the pipeline's own prefix",
}


def calls_of(parts: Iterable[str]) -> tuple[Call, ...]:
    """Every call that these parts make."""
    return tuple(call for part in parts for call in PARTS[part].calls)


def statements(parts: Iterable[str], arns: Callable[[str], tuple[str, ...]]) -> tuple[Statement, ...]:
    """The policy of a role that runs these parts. `arns`: what a key of WHY stands for."""
    wanted: dict[str, set[str]] = {}
    for call in calls_of(parts):
        wanted.setdefault(call.on, set()).update(call.actions)
    return tuple(
        Statement(on.capitalize(), tuple(sorted(actions)), arns(on), WHY[on]) for on, actions in sorted(wanted.items())
    )

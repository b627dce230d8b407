"""What a stack is made of, as frozen values: each knows what it is and why it is there, and nothing of templates.

Texts may hold placeholders as CloudFormation fills them: `${AWS::Region}`, `${LvEvents}` for what that resource is
called and `${LvEvents.Arn}` for an attribute of it. `aws.template` writes these down; tests and `plan` look at them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from headrace.aws.declare.statements import Statement


@dataclass(frozen=True, slots=True)
class Waiver:
    """A check of cfn-lint or checkov that a resource does not keep, and why that is right here."""

    check: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """`id` is the logical id, `why` a sentence for whoever reads the template.

    `keep`: it holds data, so that neither a deletion nor a replacement by CloudFormation takes it away. `extra`: a
    stack does its work without it. `after`: ids that must be there first although nothing refers to them. `part`: which
    part of the stack it belongs to (storage, pipeline lv, queries, watching).
    """

    id: str
    why: str
    tags: tuple[tuple[str, str], ...] = ()
    waivers: tuple[Waiver, ...] = ()
    after: tuple[str, ...] = ()
    keep: bool = False
    extra: bool = False
    part: str = ""


# storage


@dataclass(frozen=True, slots=True)
class Notification:
    """What S3 tells of, and whom. An empty suffix means every key below the prefix."""

    event: Literal["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]
    prefix: str
    suffix: str
    to: Literal["queue", "topic"]
    arn: str


@dataclass(frozen=True, slots=True)
class Lifetime:
    """A lifecycle rule for the keys below `prefix`, in days. None: that part does not apply.

    `clear_markers`: a delete marker goes with the last version that it hides; not beside `expire_after`, which does so.
    """

    name: str
    prefix: str = ""
    infrequent_after: int | None = None
    expire_after: int | None = None
    expire_old_versions_after: int | None = None
    abort_uploads_after: int | None = None
    clear_markers: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket(Resource):
    """Versioned, encrypted, closed to the public."""

    name: str
    lifetimes: tuple[Lifetime, ...]
    notifications: tuple[Notification, ...] = ()
    access_logs: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard(Resource):
    """A policy on a bucket, queue or topic itself: who but the account's own roles may use it, and how."""

    of: Literal["bucket", "queue", "topic"]
    on: str
    statements: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class KeyColumn:
    """One half of a table's key. `type` is S or N."""

    name: str
    type: Literal["S", "N"]


@dataclass(frozen=True, slots=True)
class Index:
    """A second way to a table's items, all of whose attributes it holds."""

    name: str
    partition: KeyColumn
    sort: KeyColumn | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table(Resource):
    """A DynamoDB table: on demand, restorable to any second of the last 35 days, encrypted by DynamoDB's own key."""

    name: str
    partition: KeyColumn
    sort: KeyColumn | None
    indexes: tuple[Index, ...] = ()


# events


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """Where a queue puts messages that were received more than `receives` times without being deleted."""

    arn: str
    receives: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue(Resource):
    """Seconds throughout. `fed_by`: ARN of the only queue that may leave its dead letters here."""

    name: str
    visibility: int
    retention: int
    dead_letters: DeadLetters | None = None
    fed_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic(Resource):
    """`key`: alias of the KMS key that it is encrypted with; None where the senders cannot use one."""

    name: str
    key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription(Resource):
    """Everything that a topic is told, as it is, to a queue or a person."""

    topic: str
    protocol: Literal["sqs", "email"]
    endpoint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule(Resource):
    """Invokes a function on a schedule, with `input` as its event."""

    name: str
    schedule: str
    function: str
    input: Mapping[str, str]


# functions


@dataclass(frozen=True, slots=True, kw_only=True)
class Role(Resource):
    """What one function may do."""

    statements: tuple[Statement, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Function(Resource):
    """Memory and storage in MB, timeout in seconds. `code` is the parameter that holds the key of its package."""

    name: str
    handler: str
    role: str
    logs: str
    bucket: str
    code: str
    memory: int
    timeout: int
    storage: int
    architecture: str
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped(Resource):
    """A queue's messages become invocations; only those that the function names come back."""

    queue: str
    function: str
    batch: int
    window: int
    concurrency: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Once(Resource):
    """An invocation by a rule is not tried again when it fails, nor kept for longer than `age` seconds."""

    function: str
    age: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission(Resource):
    """A rule may invoke a function."""

    function: str
    rule: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogGroup(Resource):
    name: str
    days: int


# queries


@dataclass(frozen=True, slots=True, kw_only=True)
class GlueDatabase(Resource):
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Workgroup(Resource):
    """`limit`: bytes that one query may scan. `left_out`: saved queries that Athena cannot run, with the reason."""

    name: str
    results: str
    limit: int
    left_out: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedQuery(Resource):
    name: str
    database: str
    workgroup: str
    sql: str


# watching


@dataclass(frozen=True, slots=True)
class Metric:
    namespace: str
    name: str
    dimension: tuple[str, str]
    statistic: Literal["Sum", "Maximum"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm(Resource):
    """Raised when the metric is beyond `threshold` in each of `periods` periods of `period` seconds.

    A period for which the metric says nothing raises none: a new queue has none yet, and from then on Lambda's polling
    keeps it counting. `next`: the command to type, and where more is said.
    """

    name: str
    next: str
    metric: Metric
    beyond: Literal["more", "less"]
    threshold: float
    period: int
    periods: int
    topic: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dashboard(Resource):
    """`body` is JSON as CloudWatch draws it, with placeholders."""

    name: str
    body: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget(Resource):
    """Tells `topic` when the month's cost of what carries `tag` is over 80 % of `amount`, or is going to be over it."""

    name: str
    amount: float  # US dollars
    tag: tuple[str, str]
    topic: str

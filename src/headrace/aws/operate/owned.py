"""Whose a thing is. Where there is data a name proves nothing: its tag tells, or the stack that lists it.

Asked before anything is taken up (`kept.py`) and before anything is deleted (`inventory.py`). `mark` writes the tag
onto what outlives its stack, while the stack can still tell what it holds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from botocore.exceptions import ClientError

from headrace.aws.operate.compare import name_of
from headrace.aws.operate.stack import STACK_TAG, Held
from headrace.aws.session import DENIED, Session, code_of
from headrace.model.errors import InfrastructureError

PREFIX = 40
"""Characters of a stack's name that no name derived from it has lost, however much was cut from its end."""

KINDS: Mapping[str, str] = {
    "AWS::Athena::WorkGroup": "workgroup",
    "AWS::Budgets::Budget": "budget",
    "AWS::CloudWatch::Alarm": "alarm",
    "AWS::CloudWatch::Dashboard": "dashboard",
    "AWS::DynamoDB::Table": "table",
    "AWS::Events::Rule": "rule",
    "AWS::Glue::Database": "database",
    "AWS::IAM::Role": "role",
    "AWS::Lambda::EventSourceMapping": "event source mapping",
    "AWS::Lambda::Function": "function",
    "AWS::Logs::LogGroup": "log group",
    "AWS::S3::Bucket": "bucket",
    "AWS::SNS::Subscription": "subscription",
    "AWS::SNS::Topic": "topic",
    "AWS::SQS::Queue": "queue",
}
"""What we call the types that have a life of their own; the others go with what they belong to."""

DATA = ("bucket", "table", "database")
"""Kinds that hold rows or files: they outlive their stack, and a name alone makes none of them ours."""

MISSING = ("EntityNotFoundException", "NoSuchBucket", "NoSuchEntity", "NoSuchTagSet", "NoSuchUpload", "NotFound",
           "NotFoundException", "QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue",
           "ResourceNotFound", "ResourceNotFoundException")  # fmt: skip

LOGS = "/aws/lambda/"
"""What the name of a function's log group begins with."""

LAKE = "lake/"
"""Folder of the lake bucket in which the publisher keeps the tables that it puts into the catalog."""

Name = tuple[str, str]
"""A kind, and the name of one of that kind."""

Whose = Literal["ours", "alike", "foreign"]

Owner = Callable[[], str | None]
"""Asks which stack a thing says that it belongs to; None where nothing tells."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What is known of a stack's things. `names`: what its definition gives; `listed`: what it says itself that it has.

    `kinds` are those that it declares or has, also where their names are made by CloudFormation.
    """

    stack: str
    account: str
    artifacts: str = ""
    names: frozenset[Name] = frozenset()
    kinds: frozenset[str] = frozenset()
    listed: frozenset[Name] = frozenset()

    @property
    def prefix(self) -> str:
        return f"{self.stack}-"[:PREFIX]

    @property
    def lakes(self) -> frozenset[str]:
        return frozenset(name for kind, name in self.certain if kind == "bucket")

    @property
    def certain(self) -> frozenset[Name]:
        return self.names | self.listed | {("stack", self.stack)}

    def holding(self, held: Collection[Held]) -> Scope:
        """With what the stack lists at this moment."""
        made = frozenset((KINDS[one.kind], _plain(one)) for one in held if one.made and one.name and one.kind in KINDS)
        return replace(self, listed=made, kinds=self.kinds | {kind for kind, _ in made})

    def judge(self, of: Name, owner: Owner) -> Whose:
        """Whose a thing is. Alike: its name is like one of this stack's, and nothing more makes it its own."""
        certain = of in self.certain
        if certain and of[0] not in DATA:
            return "ours"
        if not certain and of[0] != "bucket" and not of[1].removeprefix(LOGS).startswith(self.prefix):
            return "foreign"
        found = self._asked(owner, certain)
        if found == self.stack or (found is None and of in self.listed):
            return "ours"
        return "alike" if certain or found is None else "foreign"

    def _asked(self, owner: Owner, certain: bool) -> str | None:
        """What is gone meanwhile says nothing; nor does what somebody else keeps from us, if only its name is alike."""
        try:
            return owner()
        except ClientError as exc:
            if code_of(exc) in MISSING or (code_of(exc) in DENIED and not certain):
                return None
            raise


def scope_of(stack: str, template: Mapping[str, Any], account: str, region: str, artifacts: str) -> Scope:
    """What a template says of the stack that it makes, with the bucket that comes before it."""
    names, kinds = {("bucket", artifacts)}, {"bucket", "stack"}
    for id, one in template["Resources"].items():
        kind = KINDS.get(one["Type"])
        if kind is None:
            continue
        kinds.add(kind)
        name = name_of(id, one).replace("${AWS::AccountId}", account).replace("${AWS::Region}", region)
        if name != id and "${" not in name:  # roles and mappings are named by CloudFormation
            names.add((kind, name))
    return Scope(stack, account, artifacts, frozenset(names), frozenset(kinds))


def _plain(held: Held) -> str:
    """A resource's name, as lists of its service have it: queues are called by their URL, topics by their ARN."""
    match KINDS[held.kind]:
        case "queue":
            return held.name.rsplit("/", 1)[-1]
        case "topic":
            return held.name.rsplit(":", 1)[-1]
        case _:
            return held.name


# what has data says itself


def owner_of(session: Session, scope: Scope, of: Name) -> str | None:
    """The stack that something with data belongs to, by its tag or by what only that stack can have put there."""
    kind, name = of
    if (tag := tag_of(session, scope.account, of)) is not None:
        return tag
    if kind == "database" and _published(session, name, scope.lakes):
        return scope.stack
    if of == ("bucket", scope.artifacts) and not session.client("s3").list_object_versions(Bucket=name, MaxKeys=1).get(
        "Versions"
    ):
        return scope.stack  # of a deploy that was killed before it had tagged the bucket, or a loss to nobody
    return None


def tag_of(session: Session, account: str, of: Name) -> str | None:
    """The stack that the tag names. Raises ClientError for what is not there."""
    kind, name = of
    match kind:
        case "bucket":
            try:
                return told(session.client("s3").get_bucket_tagging(Bucket=name)["TagSet"])
            except ClientError as exc:
                if code_of(exc) == "NoSuchTagSet":
                    return None
                raise
        case "table":
            pages = session.client("dynamodb").get_paginator("list_tags_of_resource")
            found = pages.paginate(ResourceArn=_arn(session, account, "dynamodb", f"table/{name}"))
            return told([tag for page in found for tag in page["Tags"]])
        case "database":
            found = session.client("glue").get_tags(ResourceArn=_arn(session, account, "glue", f"database/{name}"))
            return told([{"Key": key, "Value": value} for key, value in found["Tags"].items()])
        case _:
            raise AssertionError(kind)


def told(tags: Iterable[Mapping[str, str]]) -> str | None:
    """The stack that a list of tags names."""
    return next((tag["Value"] for tag in tags if tag["Key"] == STACK_TAG), None)


def _published(session: Session, database: str, lakes: Collection[str]) -> bool:
    """Whether there is a table in it as only a publisher makes them, over files in one of these buckets."""
    roots = tuple(f"s3://{bucket}/{LAKE}" for bucket in lakes)
    return any(
        one.get("Parameters", {}).get("table_type", "").upper() == "ICEBERG"
        and one.get("StorageDescriptor", {}).get("Location", "").startswith(roots)
        for page in session.client("glue").get_paginator("get_tables").paginate(DatabaseName=database)
        for one in page["TableList"]
    )


def foreign(of: Name, stack: str, owner: str | None, other: str) -> InfrastructureError:
    """The error for something with data under a name of ours. `other`: what to do if it is to stay somebody else's."""
    whose = f"is stack {owner!r}'s by its tag {STACK_TAG}" if owner else f"has no tag {STACK_TAG}"
    tag = f"{STACK_TAG}={stack}"
    next = f"{other}; or tag it {tag} if the stack shall have it, with all that is in it"
    return InfrastructureError("HR848", f"{of[0]} {of[1]!r}", f"is there already, and {whose}", next)


def mark(session: Session, scope: Scope, names: Iterable[Name], next: str) -> None:
    """Tag those that hold data and bear no stack's tag, before the stack goes that alone could tell whose they are.

    CloudFormation tags no database, and people take tags away.
    """
    for kind, name in sorted(names):
        if kind in DATA:
            with session.wrapped(f"{kind} {name}", next):
                try:
                    if tag_of(session, scope.account, (kind, name)) is None:
                        _tag(session, scope, kind, name)
                except ClientError as exc:
                    if code_of(exc) not in MISSING:  # deleted by hand
                        raise


def _tag(session: Session, scope: Scope, kind: str, name: str) -> None:
    tags = {STACK_TAG: scope.stack}
    match kind:
        case "bucket":
            # S3's own call replaces all tags, and those of CloudFormation it lets nobody write.
            client, arn = session.client("resourcegroupstaggingapi"), f"arn:{session.partition}:s3:::{name}"
            if failed := client.tag_resources(ResourceARNList=[arn], Tags=tags).get("FailedResourcesMap"):
                said = failed[arn]
                found = f"cannot be tagged ({said.get('ErrorCode')}): {said.get('ErrorMessage')}"
                raise InfrastructureError("HR805", f"bucket {name}", session.scrub(found), "tag it by hand")
        case "table":
            listed = [{"Key": key, "Value": value} for key, value in tags.items()]
            arn = _arn(session, scope.account, "dynamodb", f"table/{name}")
            session.client("dynamodb").tag_resource(ResourceArn=arn, Tags=listed)
        case "database":
            arn = _arn(session, scope.account, "glue", f"database/{name}")
            session.client("glue").tag_resource(ResourceArn=arn, TagsToAdd=tags)


def _arn(session: Session, account: str, service: str, rest: str) -> str:
    return f"arn:{session.partition}:{service}:{session.region}:{account}:{rest}"

"""What exists of a stack in every service that it touches, whoever made it: before a deploy, after a destroy.

Looked for by name and by tag, so that it also sees what a stack left behind; whose it is, `owned.py` says. Lists,
changes nothing. `destroy.py` works through it and proves by it; tests compare it before and after.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from botocore.exceptions import ClientError

from headrace.aws.operate.owned import Name, Owner, Scope, Whose, owner_of, told
from headrace.aws.operate.stack import STACK_TAG
from headrace.aws.session import Session, code_of
from headrace.model.errors import InfrastructureError


@dataclass(frozen=True, slots=True, order=True)
class Item:
    """One thing in an account. `holds`: rows or files, which outlive a stack unless somebody says otherwise."""

    kind: str  # such as "bucket", "queue"
    name: str
    holds: bool = False

    def public(self) -> dict[str, Any]:
        return {"kind": self.kind, "name": self.name, "data": self.holds}


@dataclass(frozen=True, slots=True)
class Seen:
    """An item, the kind and name that tell whose it is, and a way to ask it that, where it has tags."""

    item: Item
    of: Name
    owner: Owner = lambda: None


@dataclass(frozen=True, slots=True)
class Found:
    """What there is of a stack. `alike`: named like its things, and none of them. `unseen`: where looking is denied."""

    ours: Sequence[Item]
    alike: Sequence[Item]
    unseen: Sequence[str]


def inventory(session: Session) -> list[Item]:
    """Everything in the account and region, in a stable order."""
    found: set[Item] = set()
    for what, (look, _) in LOOKS.items():
        with session.wrapped(what, "try again"):
            found.update(seen.item for seen in look(session, None))
    return sorted(found)


def inventory_of(session: Session, scope: Scope) -> Found:
    """Everything of one stack, in a stable order.

    Raises InfrastructureError HR802 where a look is denied, unless the stack never declared such a thing. A budget is
    passed over in any case: rights over billing are often somebody else's, and it goes with its stack.
    """
    found: dict[Whose, set[Item]] = {"ours": set(), "alike": set(), "foreign": set()}
    unseen: list[str] = []
    for what, (look, kind) in LOOKS.items():
        try:
            with session.wrapped(what, "try again"):
                for seen in look(session, scope):
                    found[scope.judge(seen.of, seen.owner)].add(seen.item)
        except InfrastructureError as exc:
            if exc.code != "HR802" or (kind in scope.kinds and kind != "budget"):
                raise
            unseen.append(f"{what}: {exc.found}")
    return Found(sorted(found["ours"]), sorted(found["alike"]), unseen)


Look = Callable[[Session, Scope | None], Iterator[Seen]]
"""Yields what may be a stack's; without a scope everything."""


def _pages(session: Session, service: str, operation: str, part: str, **values: Any) -> Iterator[Any]:
    for page in session.client(service).get_paginator(operation).paginate(**values):
        yield from page.get(part, ())


def _prefix(scope: Scope | None, name: str) -> dict[str, str]:
    """The argument that lets a service itself pick by prefix."""
    return {name: scope.prefix} if scope else {}


def _stacks(session: Session, scope: Scope | None) -> Iterator[Seen]:
    for one in _pages(session, "cloudformation", "describe_stacks", "Stacks"):
        if scope is None or one["StackName"] == scope.stack:  # others are no secret, and none of our business
            yield Seen(Item("stack", one["StackName"]), ("stack", one["StackName"]))


def _buckets(session: Session, scope: Scope | None) -> Iterator[Seen]:
    """A bucket's name begins with whatever its owner likes: only names that we give, or our tag, can make it ours."""
    if scope is None:
        for one in session.client("s3").list_buckets()["Buckets"]:
            yield Seen(Item("bucket", one["Name"], holds=True), ("bucket", one["Name"]))
        return
    arns = _pages(
        session, "resourcegroupstaggingapi", "get_resources", "ResourceTagMappingList", **_ours(scope, ["s3"])
    )
    tagged = {one["ResourceARN"].rsplit(":", 1)[-1] for one in arns}
    for one in session.client("s3").list_buckets()["Buckets"]:
        of = ("bucket", one["Name"])
        if of in scope.certain or one["Name"] in tagged:
            yield Seen(Item("bucket", one["Name"], holds=one["Name"] != scope.artifacts), of, _asks(session, scope, of))


def _asks(session: Session, scope: Scope | None, of: Name) -> Owner:
    return lambda: owner_of(session, scope, of) if scope else None


def _tables(session: Session, scope: Scope | None) -> Iterator[Seen]:
    for name in _pages(session, "dynamodb", "list_tables", "TableNames"):
        of = ("table", name)
        yield Seen(Item("table", name, holds=True), of, _asks(session, scope, of))


def _queues(session: Session, scope: Scope | None) -> Iterator[Seen]:
    for url in _pages(session, "sqs", "list_queues", "QueueUrls", **_prefix(scope, "QueueNamePrefix")):
        of = ("queue", url.rsplit("/", 1)[-1])
        yield Seen(Item("queue", url), of, _tag(session, "sqs", "list_queue_tags", QueueUrl=url))


def _functions(session: Session, scope: Scope | None) -> Iterator[Seen]:
    for one in _pages(session, "lambda", "list_functions", "Functions"):
        of = ("function", one["FunctionName"])
        yield Seen(Item(*of), of, _tag(session, "lambda", "list_tags", Resource=one["FunctionArn"]))


def _mappings(session: Session, scope: Scope | None) -> Iterator[Seen]:
    for one in _pages(session, "lambda", "list_event_source_mappings", "EventSourceMappings"):
        function = one["FunctionArn"].split(":function:")[-1].split(":")[0]
        tag = _tag(session, "lambda", "list_tags", Resource=one.get("EventSourceMappingArn", ""))
        # Known by its function, whose name tells people more than the mapping's own; it may outlive it.
        yield Seen(Item("event source mapping", f"{function} {one['UUID']}"), ("function", function), tag)


def _roles(session: Session, scope: Scope | None) -> Iterator[Seen]:
    for one in _pages(session, "iam", "list_roles", "Roles"):
        of = ("role", one["RoleName"])
        yield Seen(Item(*of), of, _tag(session, "iam", "list_role_tags", RoleName=one["RoleName"]))


def _topics(session: Session, scope: Scope | None) -> Iterator[Seen]:
    for one in _pages(session, "sns", "list_topics", "Topics"):
        of = ("topic", one["TopicArn"].rsplit(":", 1)[-1])
        tag = _tag(session, "sns", "list_tags_for_resource", ResourceArn=one["TopicArn"])
        yield Seen(Item("topic", one["TopicArn"]), of, tag)


def _subscriptions(session: Session, scope: Scope | None) -> Iterator[Seen]:
    for one in _pages(session, "sns", "list_subscriptions", "Subscriptions"):
        if one["SubscriptionArn"] in NO_SUBSCRIPTION:
            continue
        of = ("topic", one["TopicArn"].rsplit(":", 1)[-1])
        tag = _tag(session, "sns", "list_tags_for_resource", ResourceArn=one["TopicArn"])
        yield Seen(Item("subscription", f"{one['TopicArn']} {one['Protocol']}"), of, tag)


def _log_groups(session: Session, scope: Scope | None) -> Iterator[Seen]:
    below = {"logGroupNamePrefix": f"/aws/lambda/{scope.prefix}"} if scope else {}
    for one in _pages(session, "logs", "describe_log_groups", "logGroups", **below):
        name, arn = one["logGroupName"], one["arn"].removesuffix(":*")
        tag = _tag(session, "logs", "list_tags_for_resource", resourceArn=arn)
        yield Seen(Item("log group", name), ("log group", name), tag)


def _rules(session: Session, scope: Scope | None) -> Iterator[Seen]:
    for one in _pages(session, "events", "list_rules", "Rules", **_prefix(scope, "NamePrefix")):
        of = ("rule", one["Name"])
        yield Seen(Item(*of), of, _tag(session, "events", "list_tags_for_resource", ResourceARN=one["Arn"]))


def _alarms(session: Session, scope: Scope | None) -> Iterator[Seen]:
    for one in _pages(session, "cloudwatch", "describe_alarms", "MetricAlarms", **_prefix(scope, "AlarmNamePrefix")):
        of = ("alarm", one["AlarmName"])
        yield Seen(Item(*of), of, _tag(session, "cloudwatch", "list_tags_for_resource", ResourceARN=one["AlarmArn"]))


def _dashboards(session: Session, scope: Scope | None) -> Iterator[Seen]:
    picked = _prefix(scope, "DashboardNamePrefix")
    for one in _pages(session, "cloudwatch", "list_dashboards", "DashboardEntries", **picked):
        yield Seen(Item("dashboard", one["DashboardName"]), ("dashboard", one["DashboardName"]))


def _databases(session: Session, scope: Scope | None) -> Iterator[Seen]:
    for one in _pages(session, "glue", "get_databases", "DatabaseList"):
        of = ("database", one["Name"])
        asks = cache(_asks(session, scope, of))
        yield Seen(Item(*of, holds=True), of, asks)
        if scope is None or scope.judge(of, asks) == "ours":  # whatever is in a stack's database is the stack's
            for table in _pages(session, "glue", "get_tables", "TableList", DatabaseName=one["Name"]):
                yield Seen(Item("lake table", f"{one['Name']}.{table['Name']}", holds=True), of, asks)


def _workgroups(session: Session, scope: Scope | None) -> Iterator[Seen]:
    more: dict[str, str] = {}
    while True:
        page = session.client("athena").list_work_groups(**more)
        for one in page["WorkGroups"]:
            yield Seen(Item("workgroup", one["Name"]), ("workgroup", one["Name"]))
        if not page.get("NextToken"):
            return
        more = {"NextToken": page["NextToken"]}


def _budgets(session: Session, scope: Scope | None) -> Iterator[Seen]:
    account = scope.account if scope else session.account()
    client = session.client("budgets")  # of any region: botocore knows where each partition keeps them
    try:
        for page in client.get_paginator("describe_budgets").paginate(AccountId=account):
            for one in page.get("Budgets", ()):
                yield Seen(Item("budget", one["BudgetName"]), ("budget", one["BudgetName"]))
    except ClientError as exc:
        if code_of(exc) != "NotFoundException":  # said where an account has none
            raise


def _tag(session: Session, service: str, operation: str, **about: str) -> Owner:
    """Asks a service for the tags of one thing: in a list, or, as SQS and Lambda have it, a mapping."""

    def ask() -> str | None:
        answer = getattr(session.client(service), operation)(**about)
        tags = answer.get("Tags") or answer.get("tags") or {}
        return told([{"Key": k, "Value": v} for k, v in tags.items()] if isinstance(tags, Mapping) else tags)

    return ask


def _tagged(session: Session, scope: Scope | None) -> Iterator[Seen]:
    """Whatever bears the stack's tag and no look above finds: its kind and name are its ARN's."""
    pages = _pages(session, "resourcegroupstaggingapi", "get_resources", "ResourceTagMappingList", **_ours(scope))
    for one in pages:
        arn = one["ResourceARN"]
        if arn.split(":")[2] not in LOOKED_AT:
            yield Seen(Item("tagged", arn), ("stack", told(one["Tags"]) or ""))


def _ours(scope: Scope | None, kinds: Sequence[str] = ()) -> dict[str, Any]:
    """Arguments of GetResources for what bears the stack's tag, or any stack's."""
    tag = {"Key": STACK_TAG, **({"Values": [scope.stack]} if scope else {})}
    return {"TagFilters": [tag], **({"ResourceTypeFilters": list(kinds)} if kinds else {})}


LOOKED_AT = ("cloudformation", "s3", "dynamodb", "sqs", "lambda", "iam", "sns", "logs", "events", "cloudwatch", "glue",
             "athena", "budgets")  # fmt: skip
"""Services whose things are found by name; a tag is older than a deletion there, and would tell of ghosts."""

NO_SUBSCRIPTION = ("PendingConfirmation", "Deleted")
"""In place of an ARN: nobody confirmed it, or it is gone already. SNS lists either for up to three days."""

LOOKS: Mapping[str, tuple[Look, str]] = {
    "CloudFormation": (_stacks, "stack"),
    "S3": (_buckets, "bucket"),
    "DynamoDB": (_tables, "table"),
    "SQS": (_queues, "queue"),
    "Lambda": (_functions, "function"),
    "Lambda's event source mappings": (_mappings, "event source mapping"),
    "IAM": (_roles, "role"),
    "SNS": (_topics, "topic"),
    "SNS's subscriptions": (_subscriptions, "subscription"),
    "CloudWatch Logs": (_log_groups, "log group"),
    "EventBridge": (_rules, "rule"),
    "CloudWatch": (_alarms, "alarm"),
    "CloudWatch's dashboards": (_dashboards, "dashboard"),
    "Glue": (_databases, "database"),
    "Athena": (_workgroups, "workgroup"),
    "Budgets": (_budgets, "budget"),
    "tags": (_tagged, "tagged"),
}
"""Each with the kind that it finds."""

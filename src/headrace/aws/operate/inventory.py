"""What exists of a stack in every service that it touches, whoever made it: before a deploy, after a destroy.

Found by name and by tag, never by asking the stack, so that it also sees what a stack left behind. Lists, changes
nothing. `destroy.py` works through it and proves by it; tests compare it before and after.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from headrace.aws.operate.stack import STACK_TAG
from headrace.aws.session import Session, code_of

PREFIX = 40
"""Characters of a stack's name that no name derived from it has lost, however much was cut from its end."""

AMERICA = "us-east-1"
"""Where budgets are asked for."""


@dataclass(frozen=True, slots=True, order=True)
class Item:
    """One thing in an account. `holds`: rows or files, which outlive a stack unless somebody says otherwise."""

    kind: str  # such as "bucket", "queue"
    name: str
    holds: bool = False

    def public(self) -> dict[str, Any]:
        return {"kind": self.kind, "name": self.name, "data": self.holds}


@dataclass(frozen=True, slots=True)
class Scope:
    """Which things are a stack's. `exact` are names that do not begin with its own; `others` are stacks beside it."""

    stack: str
    account: str
    exact: frozenset[str] = frozenset()
    others: tuple[str, ...] = ()

    @property
    def prefix(self) -> str:
        return f"{self.stack}-"[:PREFIX]

    def mine(self, name: str) -> bool:
        """Stack `lv` has `lv-ledger`, and not `lv-test-ledger` where there is a stack `lv-test`."""
        if name in self.exact or name == self.stack:
            return True
        return name.startswith(self.prefix) and not name.startswith(tuple(f"{other}-" for other in self.others))


def scope_of(session: Session, stack: str, account: str, exact: frozenset[str]) -> Scope:
    """The scope, with other stacks of Headrace whose names begin with this one's."""
    with session.wrapped("CloudFormation", "try again"):
        pages = session.client("cloudformation").get_paginator("describe_stacks").paginate()
        others = [
            one["StackName"]
            for page in pages
            for one in page["Stacks"]
            if one["StackName"].startswith(f"{stack}-") and any(t["Key"] == STACK_TAG for t in one.get("Tags", ()))
        ]
    return Scope(stack, account, exact, tuple(sorted(others)))


def inventory(session: Session, scope: Scope | None = None) -> list[Item]:
    """Everything of the stack, in a stable order; without a scope everything in the account and region."""
    found: set[Item] = set()
    for what, look in LOOKS.items():
        with session.wrapped(what, "try again"):
            for item, owner in look(session, scope):
                if scope is None or scope.mine(owner):
                    found.add(item)
    return sorted(found)


Look = Callable[[Session, Scope | None], Iterator[tuple[Item, str]]]
"""Yields items, each with the name that tells whose it is."""


def _pages(session: Session, service: str, operation: str, part: str, **values: Any) -> Iterator[Any]:
    for page in session.client(service).get_paginator(operation).paginate(**values):
        yield from page.get(part, ())


def _prefix(scope: Scope | None, name: str) -> dict[str, str]:
    """The argument that lets a service itself pick by prefix."""
    return {name: scope.prefix} if scope else {}


def _stacks(session: Session, scope: Scope | None) -> Iterator[tuple[Item, str]]:
    for one in _pages(session, "cloudformation", "describe_stacks", "Stacks"):
        yield Item("stack", one["StackName"]), one["StackName"]


def _buckets(session: Session, scope: Scope | None) -> Iterator[tuple[Item, str]]:
    """A bucket's name begins with whatever its owner likes: only the names that we give, or our tag, make it ours."""
    arns = _pages(
        session, "resourcegroupstaggingapi", "get_resources", "ResourceTagMappingList", **_ours(scope, ["s3"])
    )
    tagged = {one["ResourceARN"].rsplit(":", 1)[-1] for one in arns} if scope else set()
    for one in session.client("s3").list_buckets()["Buckets"]:
        name = one["Name"]
        if scope is None or name in scope.exact or name in tagged:
            yield Item("bucket", name, holds="-artifacts-" not in name), scope.stack if scope else name


def _tables(session: Session, scope: Scope | None) -> Iterator[tuple[Item, str]]:
    for name in _pages(session, "dynamodb", "list_tables", "TableNames"):
        yield Item("table", name, holds=True), name


def _queues(session: Session, scope: Scope | None) -> Iterator[tuple[Item, str]]:
    for url in _pages(session, "sqs", "list_queues", "QueueUrls", **_prefix(scope, "QueueNamePrefix")):
        yield Item("queue", url), url.rsplit("/", 1)[-1]


def _functions(session: Session, scope: Scope | None) -> Iterator[tuple[Item, str]]:
    for one in _pages(session, "lambda", "list_functions", "Functions"):
        yield Item("function", one["FunctionName"]), one["FunctionName"]


def _mappings(session: Session, scope: Scope | None) -> Iterator[tuple[Item, str]]:
    for one in _pages(session, "lambda", "list_event_source_mappings", "EventSourceMappings"):
        yield Item("event source mapping", one["UUID"]), one["FunctionArn"].split(":function:")[-1].split(":")[0]


def _roles(session: Session, scope: Scope | None) -> Iterator[tuple[Item, str]]:
    for one in _pages(session, "iam", "list_roles", "Roles"):
        yield Item("role", one["RoleName"]), one["RoleName"]


def _topics(session: Session, scope: Scope | None) -> Iterator[tuple[Item, str]]:
    for one in _pages(session, "sns", "list_topics", "Topics"):
        yield Item("topic", one["TopicArn"]), one["TopicArn"].rsplit(":", 1)[-1]


def _subscriptions(session: Session, scope: Scope | None) -> Iterator[tuple[Item, str]]:
    for one in _pages(session, "sns", "list_subscriptions", "Subscriptions"):
        yield Item("subscription", f"{one['TopicArn']} {one['Protocol']}"), one["TopicArn"].rsplit(":", 1)[-1]


def _log_groups(session: Session, scope: Scope | None) -> Iterator[tuple[Item, str]]:
    below = {"logGroupNamePrefix": f"/aws/lambda/{scope.prefix}"} if scope else {}
    for one in _pages(session, "logs", "describe_log_groups", "logGroups", **below):
        yield Item("log group", one["logGroupName"]), one["logGroupName"].removeprefix("/aws/lambda/")


def _rules(session: Session, scope: Scope | None) -> Iterator[tuple[Item, str]]:
    for one in _pages(session, "events", "list_rules", "Rules", **_prefix(scope, "NamePrefix")):
        yield Item("rule", one["Name"]), one["Name"]


def _alarms(session: Session, scope: Scope | None) -> Iterator[tuple[Item, str]]:
    for one in _pages(session, "cloudwatch", "describe_alarms", "MetricAlarms", **_prefix(scope, "AlarmNamePrefix")):
        yield Item("alarm", one["AlarmName"]), one["AlarmName"]


def _dashboards(session: Session, scope: Scope | None) -> Iterator[tuple[Item, str]]:
    picked = _prefix(scope, "DashboardNamePrefix")
    for one in _pages(session, "cloudwatch", "list_dashboards", "DashboardEntries", **picked):
        yield Item("dashboard", one["DashboardName"]), one["DashboardName"]


def _databases(session: Session, scope: Scope | None) -> Iterator[tuple[Item, str]]:
    for one in _pages(session, "glue", "get_databases", "DatabaseList"):
        name = one["Name"]
        mine = scope is None or scope.mine(name)
        yield Item("database", name, holds=True), name
        for table in _pages(session, "glue", "get_tables", "TableList", DatabaseName=name) if mine else ():
            yield Item("lake table", f"{name}.{table['Name']}", holds=True), name


def _workgroups(session: Session, scope: Scope | None) -> Iterator[tuple[Item, str]]:
    more: dict[str, str] = {}
    while True:
        page = session.client("athena").list_work_groups(**more)
        for one in page["WorkGroups"]:
            yield Item("workgroup", one["Name"]), one["Name"]
        if not page.get("NextToken"):
            return
        more = {"NextToken": page["NextToken"]}


def _budgets(session: Session, scope: Scope | None) -> Iterator[tuple[Item, str]]:
    account = scope.account if scope else session.account()
    client = session.client("budgets", region=AMERICA)
    try:
        for page in client.get_paginator("describe_budgets").paginate(AccountId=account):
            for one in page.get("Budgets", ()):
                yield Item("budget", one["BudgetName"]), one["BudgetName"]
    except ClientError as exc:
        if code_of(exc) != "NotFoundException":  # said where an account has none
            raise


def _tagged(session: Session, scope: Scope | None) -> Iterator[tuple[Item, str]]:
    """Whatever bears the stack's tag and no look above finds: its kind and name are its ARN's."""
    pages = _pages(session, "resourcegroupstaggingapi", "get_resources", "ResourceTagMappingList", **_ours(scope))
    for one in pages:
        tags = {t["Key"]: t["Value"] for t in one["Tags"]}
        arn = one["ResourceARN"]
        if arn.split(":")[2] not in LOOKED_AT:
            yield Item("tagged", arn), tags[STACK_TAG]


def _ours(scope: Scope | None, kinds: Sequence[str] = ()) -> dict[str, Any]:
    """Arguments of GetResources for what bears the stack's tag, or any stack's."""
    tag = {"Key": STACK_TAG, **({"Values": [scope.stack]} if scope else {})}
    return {"TagFilters": [tag], **({"ResourceTypeFilters": list(kinds)} if kinds else {})}


LOOKED_AT = ("cloudformation", "s3", "dynamodb", "sqs", "lambda", "iam", "sns", "logs", "events", "cloudwatch", "glue",
             "athena", "budgets")  # fmt: skip
"""Services whose things are found by name; a tag is older than a deletion there, and would tell of ghosts."""

LOOKS: Mapping[str, Look] = {
    "CloudFormation": _stacks,
    "S3": _buckets,
    "DynamoDB": _tables,
    "SQS": _queues,
    "Lambda": _functions,
    "Lambda's event source mappings": _mappings,
    "IAM": _roles,
    "SNS": _topics,
    "SNS's subscriptions": _subscriptions,
    "CloudWatch Logs": _log_groups,
    "EventBridge": _rules,
    "CloudWatch": _alarms,
    "CloudWatch's dashboards": _dashboards,
    "Glue": _databases,
    "Athena": _workgroups,
    "Budgets": _budgets,
    "tags": _tagged,
}

"""Everything in an account, asked service by service with nothing of ours: before a deploy and after a destroy."""

from __future__ import annotations

from collections.abc import Iterator

from .deployed import Stack

ASKED: tuple[tuple[str, str, str, str], ...] = (
    ("s3", "list_buckets", "Buckets", "Name"),
    ("dynamodb", "list_tables", "TableNames", ""),
    ("sqs", "list_queues", "QueueUrls", ""),
    ("lambda", "list_functions", "Functions", "FunctionName"),
    ("lambda", "list_event_source_mappings", "EventSourceMappings", "EventSourceArn"),
    ("sns", "list_topics", "Topics", "TopicArn"),
    ("sns", "list_subscriptions", "Subscriptions", "Endpoint"),
    ("events", "list_rules", "Rules", "Name"),
    ("glue", "get_databases", "DatabaseList", "Name"),
    ("iam", "list_roles", "Roles", "RoleName"),
    ("logs", "describe_log_groups", "logGroups", "logGroupName"),
    ("cloudwatch", "describe_alarms", "MetricAlarms", "AlarmName"),
    ("cloudwatch", "list_dashboards", "DashboardEntries", "DashboardName"),
    ("athena", "list_work_groups", "WorkGroups", "Name"),
)
"""Service, operation, where the list is, and what names each."""


def inventory(stack: Stack) -> set[tuple[str, str]]:
    """(service and operation, name) of everything that is there."""
    return set(_asked(stack))


def _asked(stack: Stack) -> Iterator[tuple[str, str]]:
    for service, operation, where, name in ASKED:
        answer = getattr(stack.client(service), operation)()
        for one in answer.get(where, []):
            yield f"{service} {operation}", str(one[name] if name else one)
    for one in stack.client("cloudformation").describe_stacks()["Stacks"]:
        if one["StackStatus"] != "DELETE_COMPLETE":
            yield "cloudformation", one["StackName"]

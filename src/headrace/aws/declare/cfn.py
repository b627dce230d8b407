"""One resource value as CloudFormation has it: type and properties. Called by `template`, which adds the rest.

Dispatches on the value's type; one that is not known here is an error. Properties stand in the order in which a person
would ask for them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import singledispatch
from typing import Any

from headrace.aws.declare.resources import values as v
from headrace.aws.declare.statements import Statement

Properties = dict[str, Any]

VERSION = "2012-10-17"
RUNTIME = "python3.12"


def text(value: str) -> Any:
    """A text with placeholders, in the shortest form that CloudFormation has for it."""
    if found := re.fullmatch(r"\$\{([A-Za-z0-9:]+)(?:\.([A-Za-z.]+))?\}", value):
        return {"Fn::GetAtt": [found[1], found[2]]} if found[2] else {"Ref": found[1]}
    return {"Fn::Sub": value} if "${" in value else value


def deep(value: Any) -> Any:
    """`text` for every text inside of a value."""
    match value:
        case str():
            return text(value)
        case Mapping():
            return {name: deep(one) for name, one in value.items()}
        case list() | tuple():
            return [deep(one) for one in value]
        case _:
            return value


def tag_list(tags: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"Key": name, "Value": value} for name, value in tags]


def document(statements: Sequence[Statement]) -> dict[str, Any]:
    """A policy document. A single action, resource or principal stands as itself."""
    return {"Version": VERSION, "Statement": [_statement(s) for s in statements]}


def _statement(statement: Statement) -> dict[str, Any]:
    said: dict[str, Any] = {"Sid": statement.sid, "Effect": statement.effect}
    if statement.principals == ("*",):
        said["Principal"] = "*"
    elif statement.principals:
        said["Principal"] = {"Service": _one(statement.principals)}
    said["Action"] = _one(statement.actions)
    said["Resource"] = _one([text(arn) for arn in statement.resources])
    if statement.conditions:
        said["Condition"] = deep(statement.conditions)
    return said


def _one(values: Sequence[Any]) -> Any:
    return values[0] if len(values) == 1 else list(values)


@singledispatch
def typed(resource: v.Resource) -> tuple[str, Properties]:
    """(CloudFormation's type, properties) of a resource, its tags apart."""
    raise AssertionError(type(resource))


@typed.register
def _bucket(r: v.Bucket) -> tuple[str, Properties]:
    properties: Properties = {
        "BucketName": text(r.name),
        "VersioningConfiguration": {"Status": "Enabled"},
        "BucketEncryption": {
            "ServerSideEncryptionConfiguration": [{"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
        },
        "PublicAccessBlockConfiguration": {
            "BlockPublicAcls": True,
            "BlockPublicPolicy": True,
            "IgnorePublicAcls": True,
            "RestrictPublicBuckets": True,
        },
        "OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]},
        "LifecycleConfiguration": {"Rules": [_lifetime(one) for one in r.lifetimes]},
    }
    if r.notifications:
        properties["NotificationConfiguration"] = _notifications(r.notifications)
    if r.access_logs:
        prefix = f"{r.name.split('-${')[0]}/"
        properties["LoggingConfiguration"] = {"DestinationBucketName": r.access_logs, "LogFilePrefix": prefix}
    return "AWS::S3::Bucket", properties


def _lifetime(one: v.Lifetime) -> dict[str, Any]:
    rule: dict[str, Any] = {"Id": one.name, "Status": "Enabled"}
    if one.prefix:
        rule["Prefix"] = one.prefix
    if one.infrequent_after:
        rule["Transitions"] = [{"StorageClass": "STANDARD_IA", "TransitionInDays": one.infrequent_after}]
    if one.expire_after:
        rule["ExpirationInDays"] = one.expire_after
    if one.expire_old_versions_after:
        rule["NoncurrentVersionExpiration"] = {"NoncurrentDays": one.expire_old_versions_after}
    if one.clear_markers:
        rule["ExpiredObjectDeleteMarker"] = True
    if one.abort_uploads_after:
        rule["AbortIncompleteMultipartUpload"] = {"DaysAfterInitiation": one.abort_uploads_after}
    return rule


def _notifications(notifications: Sequence[v.Notification]) -> dict[str, Any]:
    said: dict[str, Any] = {}
    for one in notifications:
        rules = [{"Name": "prefix", "Value": one.prefix}] if one.prefix else []
        rules += [{"Name": "suffix", "Value": one.suffix}] if one.suffix else []
        filter = {"Filter": {"S3Key": {"Rules": rules}}} if rules else {}
        kind = {"queue": "Queue", "topic": "Topic"}[one.to]
        said.setdefault(f"{kind}Configurations", []).append({"Event": one.event, **filter, kind: text(one.arn)})
    return said


@typed.register
def _guard(r: v.Guard) -> tuple[str, Properties]:
    policy = {"PolicyDocument": document(r.statements)}
    match r.of:
        case "bucket":
            return "AWS::S3::BucketPolicy", {"Bucket": text(r.on), **policy}
        case "queue":
            return "AWS::SQS::QueuePolicy", {"Queues": [text(r.on)], **policy}
        case "topic":
            return "AWS::SNS::TopicPolicy", {"Topics": [text(r.on)], **policy}


@typed.register
def _table(r: v.Table) -> tuple[str, Properties]:
    keyed: list[v.Table | v.Index] = [r, *r.indexes]
    columns = [c for keys in keyed for c in (keys.partition, keys.sort) if c]
    indexes = [
        {"IndexName": index.name, "KeySchema": _keys(index), "Projection": {"ProjectionType": "ALL"}}
        for index in r.indexes
    ]
    return "AWS::DynamoDB::Table", {
        "TableName": text(r.name),
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{"AttributeName": c.name, "AttributeType": c.type} for c in dict.fromkeys(columns)],
        "KeySchema": _keys(r),
        **({"GlobalSecondaryIndexes": indexes} if indexes else {}),
        "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
    }


def _keys(of: v.Table | v.Index) -> list[dict[str, str]]:
    columns = [(of.partition, "HASH"), *([(of.sort, "RANGE")] if of.sort else [])]
    return [{"AttributeName": c.name, "KeyType": kind} for c, kind in columns]


@typed.register
def _queue(r: v.Queue) -> tuple[str, Properties]:
    properties: Properties = {
        "QueueName": text(r.name),
        "VisibilityTimeout": r.visibility,
        "MessageRetentionPeriod": r.retention,
        "SqsManagedSseEnabled": True,
    }
    if r.dead_letters:
        properties["RedrivePolicy"] = {
            "deadLetterTargetArn": text(r.dead_letters.arn),
            "maxReceiveCount": r.dead_letters.receives,
        }
    if r.fed_by:
        properties["RedriveAllowPolicy"] = {"redrivePermission": "byQueue", "sourceQueueArns": [text(r.fed_by)]}
    return "AWS::SQS::Queue", properties


@typed.register
def _topic(r: v.Topic) -> tuple[str, Properties]:
    return "AWS::SNS::Topic", {"TopicName": text(r.name), **({"KmsMasterKeyId": r.key} if r.key else {})}


@typed.register
def _subscription(r: v.Subscription) -> tuple[str, Properties]:
    properties: Properties = {"TopicArn": text(r.topic), "Protocol": r.protocol, "Endpoint": text(r.endpoint)}
    if r.protocol == "sqs":
        properties["RawMessageDelivery"] = True
    return "AWS::SNS::Subscription", properties


@typed.register
def _rule(r: v.Rule) -> tuple[str, Properties]:
    target = {"Id": "function", "Arn": text(r.function), "Input": json.dumps(dict(r.input))}
    return "AWS::Events::Rule", {
        "Name": text(r.name),
        "Description": r.why,
        "ScheduleExpression": r.schedule,
        "Targets": [target],
    }


@typed.register
def _role(r: v.Role) -> tuple[str, Properties]:
    assume = Statement(
        "Lambda", ("sts:AssumeRole",), (), "Lambda runs the function", principals=("lambda.amazonaws.com",)
    )
    trust = document([assume])
    del trust["Statement"][0]["Resource"]  # a role is what its own trust is about
    return "AWS::IAM::Role", {
        "Description": r.why,
        "AssumeRolePolicyDocument": trust,
        "Policies": [{"PolicyName": "calls", "PolicyDocument": document(r.statements)}],
    }


@typed.register
def _function(r: v.Function) -> tuple[str, Properties]:
    return "AWS::Lambda::Function", {
        "FunctionName": text(r.name),
        "Description": r.why,
        "Runtime": RUNTIME,
        "Architectures": [r.architecture],
        "Handler": r.handler,
        "Code": {"S3Bucket": text(r.bucket), "S3Key": {"Ref": r.code}},
        "Role": text(r.role),
        "MemorySize": r.memory,
        "Timeout": r.timeout,
        "EphemeralStorage": {"Size": r.storage},
        "LoggingConfig": {"LogGroup": text(r.logs)},
        "Environment": {"Variables": deep(r.environment)},
    }


@typed.register
def _mapped(r: v.Mapped) -> tuple[str, Properties]:
    return "AWS::Lambda::EventSourceMapping", {
        "EventSourceArn": text(r.queue),
        "FunctionName": text(r.function),
        "BatchSize": r.batch,
        "MaximumBatchingWindowInSeconds": r.window,
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "ScalingConfig": {"MaximumConcurrency": r.concurrency},
    }


@typed.register
def _once(r: v.Once) -> tuple[str, Properties]:
    return "AWS::Lambda::EventInvokeConfig", {
        "FunctionName": text(r.function),
        "Qualifier": "$LATEST",
        "MaximumRetryAttempts": 0,
        "MaximumEventAgeInSeconds": r.age,
    }


@typed.register
def _permission(r: v.Permission) -> tuple[str, Properties]:
    return "AWS::Lambda::Permission", {
        "Action": "lambda:InvokeFunction",
        "FunctionName": text(r.function),
        "Principal": "events.amazonaws.com",
        "SourceArn": text(r.rule),
    }


@typed.register
def _log_group(r: v.LogGroup) -> tuple[str, Properties]:
    return "AWS::Logs::LogGroup", {"LogGroupName": text(r.name), "RetentionInDays": r.days}


@typed.register
def _database(r: v.GlueDatabase) -> tuple[str, Properties]:
    return "AWS::Glue::Database", {
        "CatalogId": {"Ref": "AWS::AccountId"},
        "DatabaseInput": {"Name": r.name, "Description": r.why},
    }


@typed.register
def _workgroup(r: v.Workgroup) -> tuple[str, Properties]:
    return "AWS::Athena::WorkGroup", {
        "Name": r.name,
        "Description": r.why,
        "State": "ENABLED",
        "RecursiveDeleteOption": True,
        "WorkGroupConfiguration": {
            "EnforceWorkGroupConfiguration": True,
            "BytesScannedCutoffPerQuery": r.limit,
            "EngineVersion": {"SelectedEngineVersion": "Athena engine version 3"},
            "PublishCloudWatchMetricsEnabled": True,
            "ResultConfiguration": {
                "OutputLocation": text(r.results),
                "EncryptionConfiguration": {"EncryptionOption": "SSE_S3"},
            },
        },
    }


@typed.register
def _named_query(r: v.NamedQuery) -> tuple[str, Properties]:
    return "AWS::Athena::NamedQuery", {
        "Name": r.name,
        "Description": r.why,
        "WorkGroup": text(r.workgroup),
        "Database": text(r.database),
        "QueryString": text(r.sql),
    }


@typed.register
def _alarm(r: v.Alarm) -> tuple[str, Properties]:
    name, value = r.metric.dimension
    operators = {"more": "GreaterThanThreshold", "less": "LessThanThreshold"}
    return "AWS::CloudWatch::Alarm", {
        "AlarmName": text(r.name),
        "AlarmDescription": f"{r.why} {r.next}",
        "Namespace": r.metric.namespace,
        "MetricName": r.metric.name,
        "Dimensions": [{"Name": name, "Value": text(value)}],
        "Statistic": r.metric.statistic,
        "ComparisonOperator": operators[r.beyond],
        "Threshold": r.threshold,
        "Period": r.period,
        "EvaluationPeriods": r.periods,
        "TreatMissingData": "notBreaching",
        "AlarmActions": [text(r.topic)],
        "OKActions": [text(r.topic)],
    }


@typed.register
def _dashboard(r: v.Dashboard) -> tuple[str, Properties]:
    return "AWS::CloudWatch::Dashboard", {"DashboardName": text(r.name), "DashboardBody": text(r.body)}


@typed.register
def _budget(r: v.Budget) -> tuple[str, Properties]:
    subscriber = [{"SubscriptionType": "SNS", "Address": text(r.topic)}]
    return "AWS::Budgets::Budget", {
        "Budget": {
            "BudgetName": text(r.name),
            "BudgetType": "COST",
            "TimeUnit": "MONTHLY",
            "BudgetLimit": {"Amount": r.amount, "Unit": "USD"},
            "CostFilters": {"TagKeyValue": [f"user:{r.tag[0]}${r.tag[1]}"]},
        },
        "NotificationsWithSubscribers": [
            {
                "Notification": {
                    "NotificationType": kind,
                    "ComparisonOperator": "GREATER_THAN",
                    "Threshold": percent,
                    "ThresholdType": "PERCENTAGE",
                },
                "Subscribers": subscriber,
            }
            for kind, percent in (("ACTUAL", 80), ("FORECASTED", 100))
        ],
    }

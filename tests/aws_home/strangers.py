"""Somebody else's things whose names begin like a stack's: one of each kind that a stack has, without its tag."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aws_home.small_stack import ACCOUNT, REGION, code
from headrace.aws.session import Session

KINDS = {
    "alarm", "bucket", "dashboard", "event source mapping", "function", "log group", "queue", "role", "rule",
    "subscription", "table", "topic", "workgroup",
}  # fmt: skip
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


@contextmanager
def strangers(session: Session, name: str, folder: Path) -> Iterator[None]:
    """One of each of KINDS, called `name`, for as long as the block lasts."""
    s3, table, topics = session.client("s3"), session.client("dynamodb"), session.client("sns")
    queues, functions, roles = session.client("sqs"), session.client("lambda"), session.client("iam")
    logs, rules, watch = session.client("logs"), session.client("events"), session.client("cloudwatch")
    athena, group = session.client("athena"), f"/aws/lambda/{name}"
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    keyed(session, name)
    queue = queues.create_queue(QueueName=name)["QueueUrl"]
    roles.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST))
    functions.create_function(
        FunctionName=name, Runtime="python3.12", Handler="index.handler", Role=f"arn:aws:iam::{ACCOUNT}:role/{name}",
        Code={"ZipFile": code(folder).read_bytes()},
    )  # fmt: skip
    arn = queues.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    mapping = functions.create_event_source_mapping(EventSourceArn=arn, FunctionName=name)["UUID"]
    topic = topics.create_topic(Name=name)["TopicArn"]
    topics.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    logs.create_log_group(logGroupName=group)
    rules.put_rule(Name=name, ScheduleExpression="rate(1 day)")
    watch.put_metric_alarm(
        AlarmName=name, MetricName="Errors", Namespace="AWS/Lambda", Statistic="Sum", Period=300, EvaluationPeriods=1,
        Threshold=1, ComparisonOperator="GreaterThanThreshold",
    )  # fmt: skip
    watch.put_dashboard(DashboardName=name, DashboardBody='{"widgets": []}')
    athena.create_work_group(Name=name)
    try:
        yield
    finally:
        functions.delete_event_source_mapping(UUID=mapping)
        functions.delete_function(FunctionName=name)
        roles.delete_role(RoleName=name)
        logs.delete_log_group(logGroupName=group)
        rules.delete_rule(Name=name)
        watch.delete_alarms(AlarmNames=[name])
        watch.delete_dashboards(DashboardNames=[name])
        athena.delete_work_group(WorkGroup=name, RecursiveDeleteOption=True)
        for one in topics.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]:
            topics.unsubscribe(SubscriptionArn=one["SubscriptionArn"])
        topics.delete_topic(TopicArn=topic)
        queues.delete_queue(QueueUrl=queue)
        table.delete_table(TableName=name)
        s3.delete_bucket(Bucket=name)


def keyed(session: Session, name: str, key: str = "id", tags: dict[str, str] | None = None) -> None:
    """A table of DynamoDB."""
    session.client("dynamodb").create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
        KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
        Tags=[{"Key": k, "Value": v} for k, v in (tags or {}).items()],
    )


def bucket(session: Session, name: str, tags: dict[str, str] | None = None) -> None:
    """A bucket with one object."""
    s3 = session.client("s3")
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_object(Bucket=name, Key="theirs", Body=b"theirs")
    if tags:
        s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": [{"Key": k, "Value": v} for k, v in tags.items()]})

"""A stack of one of each that matters to deploying: small, so that tests can make and kill it many times."""

from __future__ import annotations

import copy
import io
import uuid
import zipfile
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from headrace.aws.declare.names import Names
from headrace.aws.operate.deploy import Wanted
from headrace.aws.operate.stack import PROJECT_TAG, STACK_TAG, Stack
from headrace.aws.session import Session

REGION = "eu-west-2"
PROJECT = "small"
ACCOUNT = "000000000000"


TABLES = {
    "readings": {"pipeline": "lv", "kind": "keyed", "key": ["id"]},
    "data": {"pipeline": "lv", "kind": "lake", "partitions": ["year(at)"]},
}


def sub(text: str) -> dict[str, str]:
    return {"Fn::Sub": text}


def held(kind: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    """A resource that outlives its stack."""
    return {
        "Type": kind,
        "DeletionPolicy": "Retain",
        "UpdateReplacePolicy": "Retain",
        "Properties": dict(properties),
    }


def template(stack: str) -> dict[str, Any]:
    """A landing bucket, a keyed table, a queue, a function with its role, log group and event source mapping."""
    names = Names(stack, "${AWS::Region}")
    role = {
        "AssumeRolePolicyDocument": {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
            ],
        },
        "Policies": [
            {
                "PolicyName": "work",
                "PolicyDocument": {
                    "Version": "2012-10-17",
                    "Statement": [
                        {
                            "Sid": "Events",
                            "Effect": "Allow",
                            "Action": ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"],
                            "Resource": {"Fn::GetAtt": ["Events", "Arn"]},
                        }
                    ],
                },
            }
        ],
    }
    function = {
        "FunctionName": names.function("lv", "ingest"),
        "Runtime": "python3.12",
        "Handler": "index.handler",
        "Role": {"Fn::GetAtt": ["IngestRole", "Arn"]},
        "Timeout": 30,
        "Code": {"S3Bucket": {"Ref": "ArtifactsBucket"}, "S3Key": {"Ref": "IngestCode"}},
    }
    key = [{"AttributeName": "id", "KeyType": "HASH"}]
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Parameters": {"ArtifactsBucket": {"Type": "String"}, "IngestCode": {"Type": "String"}},
        "Resources": {
            "Landing": held(
                "AWS::S3::Bucket",
                {
                    "BucketName": sub(names.bucket("landing")),
                    "VersioningConfiguration": {"Status": "Enabled"},
                },
            ),
            "Readings": held(
                "AWS::DynamoDB::Table",
                {
                    "TableName": names.keyed("readings"),
                    "BillingMode": "PAY_PER_REQUEST",
                    "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
                    "KeySchema": key,
                },
            ),
            "Events": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": names.queue("lv", "events")}},
            "IngestRole": {"Type": "AWS::IAM::Role", "Properties": role},
            "IngestLogs": {
                "Type": "AWS::Logs::LogGroup",
                "Properties": {"LogGroupName": names.log_group("lv", "ingest"), "RetentionInDays": 30},
            },
            "Ingest": {"Type": "AWS::Lambda::Function", "DependsOn": "IngestLogs", "Properties": function},
            "IngestEvents": {
                "Type": "AWS::Lambda::EventSourceMapping",
                "Properties": {
                    "EventSourceArn": {"Fn::GetAtt": ["Events", "Arn"]},
                    "FunctionName": {"Ref": "Ingest"},
                    "FunctionResponseTypes": ["ReportBatchItemFailures"],
                },
            },
        },
        "Metadata": {"Headrace": {"tables": TABLES}},
        "Outputs": {"Queue": {"Value": {"Ref": "Events"}}},
    }


def code(folder: Path, text: str = "def handler(event, context):\n    return {'batchItemFailures': []}\n") -> Path:
    """A zip with a function; the same text gives the same bytes."""
    path, out = folder / "ingest.zip", io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr(zipfile.ZipInfo("index.py"), text)
    path.write_bytes(out.getvalue())
    return path


def new_name() -> str:
    return f"hr{uuid.uuid4().hex[:8]}"


def wanted(stack: str, folder: Path, change: Callable[[dict[str, Any]], None] = lambda t: None, **more: Any) -> Wanted:
    """What the tests deploy. `change` gets the template's resources."""
    made = copy.deepcopy(template(stack))
    change(made["Resources"])
    names = Names(stack, REGION, ACCOUNT)
    values: dict[str, Any] = {
        "stack": stack,
        "project": PROJECT,
        "template": made,
        "tags": {STACK_TAG: stack, PROJECT_TAG: PROJECT},
        "artifacts": names.bucket("artifacts"),
        "code": {"IngestCode": code(folder)},
        "parameters": {"ArtifactsBucket": names.bucket("artifacts")},
    }
    return Wanted(**{**values, **more})


@lru_cache
def shared(endpoint: str) -> Session:
    """One session for all tests on an emulator: making its clients takes longer than most of what they ask."""
    return Session(REGION)


def quick(session: Session, name: str) -> Stack:
    """A stack that is looked at often, since MiniStack is done at once."""
    return Stack(session, name, poll=0.05, patience=60)

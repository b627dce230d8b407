"""What the example asks of AWS: its handlers run in this process against an emulator, and every request is counted.

`AWS_ENDPOINT_URL=http://127.0.0.1:4600 … python -m benchmarks.metered FOLDER [FILES]` prints the sample that
`headrace plan` tells the cost of a million rows by (`src/headrace/aws/declare/sample.json`). Not run by anything else.
"""

from __future__ import annotations

import io
import json
import os
import secrets
import shutil
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3

from headrace import config
from headrace.aws.declare.cost import Sample
from headrace.aws.declare.template import template
from headrace.aws.options import AwsOptions, Role
from headrace.aws.places import PIPELINE, TARGET, VARIABLE, Places

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "substation_load"
BATCH = 10  # messages of one ReceiveMessage, at most


class Context:
    """What Lambda gives a handler beside the event."""

    aws_request_id = "metered"

    def __init__(self, seconds: float) -> None:
        self._ends = time.monotonic() + seconds

    def get_remaining_time_in_millis(self) -> int:
        return int((self._ends - time.monotonic()) * 1000)


def main() -> None:
    folder, most = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else None
    files = sorted(folder.rglob("*.csv"))[:most]
    with tempfile.TemporaryDirectory() as scratch:
        project = Path(scratch) / "project"
        shutil.copytree(EXAMPLE, project)
        _name_stack(project)
        places = _deploy(project)
        os.environ |= {
            VARIABLE: places.only("lv").to_json(),
            PIPELINE: "lv",
            TARGET: "aws",
            "LAMBDA_TASK_ROOT": str(project),
        }
        print(json.dumps(_measure(places, files).to_mapping(), indent=2))


def _name_stack(project: Path) -> None:
    """A name of its own: another run's data may be left."""
    file = project / config.FILE
    file.write_text(file.read_text("utf-8").replace('"substation-load"', f'"metered-{secrets.token_hex(3)}"'), "utf-8")


def _deploy(project: Path) -> Places:
    """The example's own stack with its queues unmapped: here this process takes what arrives."""
    found = config.read(project)
    options = AwsOptions.from_mapping(found.target("aws").settings)
    document = template("metered", list(config.load_pipelines(found).values()), options)
    for one in document["Resources"].values():
        if one["Type"] == "AWS::Lambda::EventSourceMapping":
            one["Properties"]["Enabled"] = False
        if one["Type"] == "AWS::Events::Rule":
            one["Properties"]["State"] = "DISABLED"
    s3, stacks = boto3.client("s3"), boto3.client("cloudformation")
    account = boto3.client("sts").get_caller_identity()["Account"]
    bucket = f"{options.stack}-artifacts-{account}-{options.region}"
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": options.region})
    s3.put_object(Bucket=bucket, Key="template.json", Body=json.dumps(document).encode())
    s3.put_object(Bucket=bucket, Key="empty.zip", Body=_empty())
    given = {"IngestCode": "empty.zip", "PublishCode": "empty.zip", "Extras": "no"}
    stacks.create_stack(
        StackName=options.stack,
        TemplateURL=f"{s3.meta.endpoint_url}/{bucket}/template.json",
        Capabilities=["CAPABILITY_IAM"],
        Parameters=[
            {"ParameterKey": name, "ParameterValue": value}
            for name, value in given.items()
            if name in document["Parameters"]
        ],
    )
    stacks.get_waiter("stack_create_complete").wait(StackName=options.stack, WaiterConfig={"Delay": 1})
    (stack,) = stacks.describe_stacks(StackName=options.stack)["Stacks"]
    return Places.from_outputs({one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]})


def _empty() -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as package:
        package.writestr("nothing.py", "")
    return held.getvalue()


def _measure(places: Places, files: list[Path]) -> Sample:
    from headrace.aws import handlers

    s3, mine = boto3.client("s3"), places.pipeline("lv")
    for file in files:
        s3.upload_file(str(file), places.landing, f"raw/prod/lv/{file.name}")
    invocations: Counter[str] = Counter()
    seconds: Counter[str] = Counter()

    def invoke(role: Role, handler: Callable[[Mapping[str, Any], Any], Mapping[str, Any]], queue: str, n: int) -> bool:
        messages = list(_received(queue, n))
        if not messages:
            return False
        began = time.perf_counter()
        answer = handler({"Records": messages}, Context(300))
        seconds[role] += time.perf_counter() - began
        invocations[role] += 1
        failed = {one["itemIdentifier"] for one in answer["batchItemFailures"]}
        for message in messages:
            if message["messageId"] not in failed:
                boto3.client("sqs").delete_message(QueueUrl=queue, ReceiptHandle=message["receiptHandle"])
        return True

    while invoke("ingest", handlers.ingest, mine.queue, 90) | invoke("publish", handlers.publish, mine.bell, 10):
        pass
    calls = sum((handlers.function(role).session.meter for role in ("ingest", "publish")), Counter[tuple[str, str]]())
    items, rows = _items(mine.tables["asset_data"])
    return Sample(
        about=f"examples/substation_load against an emulator, {datetime.now(UTC):%Y-%m-%d}; seconds of this machine",
        rows=rows,
        files=len(files),
        calls=dict(calls),
        invocations=dict(invocations),
        seconds={role: round(n, 1) for role, n in seconds.items()},
        landed=sum(file.stat().st_size for file in files),
        lake=sum(one["Size"] for one in _objects(places.lake)),
        items=items,
    )


def _received(queue: str, most: int) -> Iterator[dict[str, Any]]:
    """Messages as Lambda delivers them."""
    sqs, n = boto3.client("sqs"), 0
    while n < most:
        found = sqs.receive_message(
            QueueUrl=queue, MaxNumberOfMessages=min(BATCH, most - n), WaitTimeSeconds=1, AttributeNames=["All"]
        ).get("Messages", [])
        if not found:
            return
        n += len(found)
        for one in found:
            yield {
                "messageId": one["MessageId"],
                "receiptHandle": one["ReceiptHandle"],
                "body": one["Body"],
                "attributes": one["Attributes"],
            }


def _objects(bucket: str) -> Iterator[Any]:
    for page in boto3.client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket):
        yield from page.get("Contents", ())


def _items(table: str) -> tuple[int, int]:
    """(bytes as DynamoDB counts them, by the first thousand, items): names and values, and 100 bytes for each item."""
    dynamodb = boto3.client("dynamodb")
    count = dynamodb.describe_table(TableName=table)["Table"]["ItemCount"] - 1  # the control item
    some = [item for item in dynamodb.scan(TableName=table, Limit=1000)["Items"] if "_load_id" in item]
    size = sum(100 + sum(len(name.encode()) + _bytes(value) for name, value in item.items()) for item in some)
    return round(size / len(some) * count), count


def _bytes(value: Mapping[str, Any]) -> int:
    ((kind, held),) = value.items()
    match kind:
        case "N":
            return len(held) // 2 + 2
        case "BOOL" | "NULL":
            return 1
        case _:
            return len(str(held).encode())


if __name__ == "__main__":
    main()

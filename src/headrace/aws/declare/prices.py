"""What AWS asks for what our stacks use: list prices of London (eu-west-2) as data, with their date and sources.

No free tier, discount, tax, or traffic out of the region. Nothing is fetched: who changes a price, or holds it against
AWS's price list again, changes its date.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from headrace.model.errors import DefinitionError

HOME = "eu-west-2"
CURRENCY = "USD"


@dataclass(frozen=True, slots=True)
class Price:
    """`amount` US dollars for `unit`, as the named page or price list had it in that month."""

    amount: float
    unit: str
    source: str
    as_of: str = "2026-10"

    def __str__(self) -> str:
        return f"{self.amount:g} {CURRENCY} per {self.unit} (list price, {self.source}, {self.as_of})"


EARLIER = "2025-06"
"""Since when nobody has held a price against a price list again."""

LAMBDA, S3, SQS, SNS = "AWS Lambda pricing", "Amazon S3 pricing", "Amazon SQS pricing", "Amazon SNS pricing"
DYNAMODB, ATHENA, GLUE = "Amazon DynamoDB pricing", "Amazon Athena pricing", "AWS Glue pricing"
CLOUDWATCH, EVENTBRIDGE = "Amazon CloudWatch pricing", "Amazon EventBridge pricing"

PRICES: Mapping[str, Price] = {
    "lambda.x86_64": Price(0.0000166667, "GB-second", LAMBDA),
    "lambda.arm64": Price(0.0000133334, "GB-second", LAMBDA),
    "lambda.request": Price(0.20e-6, "invocation", LAMBDA),
    "lambda.storage": Price(0.0000000358, "GB-second of /tmp beyond 512 MB", LAMBDA),
    "s3.standard": Price(0.024, "GB-month", S3),
    "s3.infrequent": Price(0.0131, "GB-month", S3, EARLIER),
    "s3.write": Price(0.0053e-3, "PUT, COPY, POST or LIST", S3),
    "s3.read": Price(0.00042e-3, "GET or HEAD", S3),
    "s3.free": Price(0.0, "DELETE or abort", S3),
    "sqs.request": Price(0.40e-6, "request", SQS),
    "sns.publish": Price(0.50e-6, "publication; deliveries to SQS are free", SNS, EARLIER),
    "dynamodb.write": Price(0.7423e-6, "write request unit, on demand since November 2024", DYNAMODB, EARLIER),
    "dynamodb.read": Price(0.1485e-6, "read request unit, on demand since November 2024", DYNAMODB, EARLIER),
    "dynamodb.storage": Price(0.2973, "GB-month", DYNAMODB, EARLIER),
    "dynamodb.restore": Price(0.2378, "GB-month of point-in-time recovery", DYNAMODB, EARLIER),
    "dynamodb.free": Price(0.0, "description of a table", DYNAMODB),
    "athena.scan": Price(5.0, "TB scanned", ATHENA, EARLIER),
    "glue.request": Price(1.0e-6, "request to the catalog", GLUE, EARLIER),
    "logs.ingest": Price(0.5985, "GB written", CLOUDWATCH),
    "logs.storage": Price(0.0315, "GB-month", CLOUDWATCH),
    "cloudwatch.alarm": Price(0.10, "alarm and month", CLOUDWATCH),
    "cloudwatch.dashboard": Price(3.0, "dashboard and month", CLOUDWATCH, EARLIER),
    "events.rule": Price(0.0, "scheduled rule", EVENTBRIDGE),
}

FACTORS: Mapping[str, float] = {
    HOME: 1.0,
    "eu-west-1": 0.96,
    "eu-west-3": 1.0,
    "eu-central-1": 1.02,
    "eu-north-1": 0.93,
    "us-east-1": 0.87,
    "us-east-2": 0.87,
    "us-west-2": 0.87,
    "ca-central-1": 0.94,
    "ap-southeast-1": 0.98,
    "ap-southeast-2": 0.98,
    "ap-northeast-1": 0.98,
    "ap-south-1": 0.95,
}
"""What London's prices are multiplied by for other regions: within about a fifth, and said wherever it is used."""

_WRITES = (
    *("PutObject", "CopyObject", "CreateMultipartUpload", "UploadPart", "UploadPartCopy", "CompleteMultipartUpload"),
    *("ListObjectsV2", "ListObjectVersions"),
)
_READS = ("GetObject", "HeadObject", "HeadBucket")
_QUEUE = (
    *("ReceiveMessage", "DeleteMessage", "DeleteMessageBatch", "SendMessage", "SendMessageBatch"),
    *("ChangeMessageVisibility", "ChangeMessageVisibilityBatch", "GetQueueAttributes"),
)

OPERATIONS: Mapping[tuple[str, str], str] = {
    **{("s3", name): "s3.write" for name in _WRITES},
    **{("s3", name): "s3.read" for name in _READS},
    **{("s3", name): "s3.free" for name in ("DeleteObject", "DeleteObjects", "AbortMultipartUpload")},
    **{("sqs", name): "sqs.request" for name in _QUEUE},
    **{("glue", name): "glue.request" for name in ("GetTable", "CreateTable", "UpdateTable")},
    ("sns", "Publish"): "sns.publish",
    ("dynamodb", "DescribeTable"): "dynamodb.free",
}
"""What one call of an operation costs. DynamoDB counts units instead: UNITS."""

UNITS: Mapping[tuple[str, str], tuple[str, float]] = {
    ("dynamodb", "GetItem"): ("dynamodb.read", 1),
    ("dynamodb", "BatchGetItem"): ("dynamodb.read", 25),
    ("dynamodb", "Query"): ("dynamodb.read", 3),
    ("dynamodb", "Scan"): ("dynamodb.read", 128),
    ("dynamodb", "PutItem"): ("dynamodb.write", 2),
    ("dynamodb", "UpdateItem"): ("dynamodb.write", 2),
    ("dynamodb", "DeleteItem"): ("dynamodb.write", 1),
    ("dynamodb", "BatchWriteItem"): ("dynamodb.write", 25),
    ("dynamodb", "TransactWriteItems"): ("dynamodb.write", 40),
}
"""Units of one call where the sample did not measure them: strongly consistent reads of 4 KB, writes of 1 KB, both
doubled in transactions. Scan is a page of 1 MB at half a unit per 4 KB, doubled for consistency and halved as they end.
"""


def price(name: str, region: str) -> float:
    """US dollars for one unit of a price. Raises DefinitionError HR809 for a region without a factor."""
    if region not in FACTORS:
        known = ", ".join(sorted(FACTORS))
        found = f"there are no prices for it; there are for {known}"
        raise DefinitionError("HR809", f"region {region!r}", found, "look at AWS's own price pages")
    return PRICES[name].amount * FACTORS[region]

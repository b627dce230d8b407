"""Keyed tables in DynamoDB for tests: one per folder, in whatever AWS the environment names."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from headrace.aws.keyed import DynamoWriter
from headrace.aws.keyed_layout import Layout, table_schema
from headrace.aws.session import Session
from headrace.local.base import FolderBase

REGION = "eu-west-2"
LEASE = 0.5
"""Seconds after which what a killed process held is free: nothing of it is under way on one machine."""


def physical_of(root: Path) -> str:
    return f"t-{hashlib.sha256(str(root).encode()).hexdigest()[:20]}"


def make_table(session: Session, physical: str, layout: Layout) -> None:
    """Make the table unless it is there."""
    client = session.client("dynamodb")
    definitions, keys, indexes = table_schema(layout)
    given = {"GlobalSecondaryIndexes": indexes} if indexes else {}
    with contextlib.suppress(client.exceptions.ResourceInUseException):
        client.create_table(
            TableName=physical,
            AttributeDefinitions=definitions,
            KeySchema=keys,
            BillingMode="PAY_PER_REQUEST",
            **given,
        )


def open_dynamo(
    root: Path,
    key: Sequence[str],
    columns: Sequence[tuple[str, str]],
    index: Sequence[str] = (),
    lease: float = LEASE,
    **given: Any,
) -> DynamoWriter:
    session = Session(REGION)
    make_table(session, physical_of(root), Layout.of(key, columns).indexed_by(index))
    return DynamoWriter(session, FolderBase(root), root, physical_of(root), "t", key, index, lease=lease, **given)


def outlive(writer: DynamoWriter) -> None:
    """Until the lease of a killed writer has run out, if one holds it."""
    free = writer._control.read().until + LEASE / 10  # what `take` allows for clocks that differ
    time.sleep(max(free + 0.01 - time.time(), 0))


def items(writer: DynamoWriter) -> list[dict[str, Any]]:
    """Every item of the table as DynamoDB holds it, but the control item."""
    client = Session(REGION).client("dynamodb")
    found: list[dict[str, Any]] = []
    for page in client.get_paginator("scan").paginate(TableName=writer.physical, ConsistentRead=True):
        found += [item for item in page["Items"] if "_load_id" in item]
    return found


def rows(writer: DynamoWriter) -> list[dict[str, Any]]:
    """Every item as the row it holds, in the shape that the control item tells."""
    control = writer._lookup.control()
    if control.key is None or control.columns is None:
        return []
    layout = Layout.from_meta(control.key, control.columns)
    return [layout.read(item) for item in items(writer)]

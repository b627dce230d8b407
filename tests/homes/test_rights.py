"""A function without one of its rights is refused where it needs it, and says which.

The emulator judges each request by the role's policy. All other tests here run under the same judgement, with all
rights. That no role has a right too many is held by `aws_home/test_policy.py`, for rare occasions too.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from emulator import Judging

from .deployed import CALLS, Role, Stack, as_list

PROJECT = Path(__file__).parent / "rights"
REFUSED = "is denied to these credentials"
NUMBERS = count()
"""Of the stories told to this process's stack: each has keys of its own."""

FIRST = (
    ("strict", "ingest", "Objects", "s3:GetObject"),
    ("strict", "publish", "Catalog", "glue:UpdateTable"),
)
MORE = (
    ("strict", "ingest", "Ledger", "dynamodb:BatchGetItem"),
    ("strict", "ingest", "Ledger", "dynamodb:PutItem"),
    ("strict", "ingest", "Base", "s3:PutObject"),
    ("strict", "ingest", "Bell", "sqs:SendMessage"),
    ("strict", "publish", "Ledger", "dynamodb:ConditionCheckItem"),
    ("strict", "publish", "Keyed", "dynamodb:BatchWriteItem"),
    ("strict", "publish", "Keyed", "dynamodb:UpdateItem"),
    ("strict", "publish", "Landing", "s3:ListBucketVersions"),
    ("moved", "publish", "Archive", "s3:PutObject"),
    ("moved", "publish", "Objects", "s3:DeleteObject"),
)
"""Pipeline, role, statement and action, of what each story here asks for."""


@pytest.fixture(scope="module")
def rights(judging: Judging, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack.of_copy(judging, PROJECT, tmp_path_factory.mktemp("rights")).standing() as made:
        yield made


@pytest.mark.parametrize(
    ("pipeline", "role", "sid", "action"), [*FIRST, *(pytest.param(*one, marks=pytest.mark.soak) for one in MORE)]
)
def test_a_function_without_a_right_is_refused(rights: Stack, pipeline: str, role: Role, sid: str, action: str) -> None:
    whole = policy(rights, pipeline, role)
    assert less(whole, sid, action) != whole, "the role has no such right"
    since = int(time.time() * 1000)
    allow(rights, pipeline, role, less(whole, sid, action))
    try:
        assert any(refused(rights, pipeline, role, since) for _ in story(rights, pipeline))
    finally:
        allow(rights, pipeline, role, whole)
        rights.let_leases_end(pipeline)
    rights.quiet(pipeline)


def policy(stack: Stack, pipeline: str, role: Role) -> Any:
    return stack.client("iam").get_role_policy(RoleName=stack.role(pipeline, role), PolicyName=CALLS)["PolicyDocument"]


def less(whole: Any, sid: str, action: str) -> Any:
    kept = []
    for one in whole["Statement"]:
        actions = [a for a in as_list(one["Action"]) if (one["Sid"], a) != (sid, action)]
        kept += [{**one, "Action": actions}] if actions else []
    return {**whole, "Statement": kept}


def allow(stack: Stack, pipeline: str, role: Role, document: Any) -> None:
    name = stack.role(pipeline, role)
    stack.client("iam").put_role_policy(RoleName=name, PolicyName=CALLS, PolicyDocument=json.dumps(document))
    stack.name_batches()


def story(stack: Stack, pipeline: str, patience: float = 6) -> Iterator[None]:
    """What comes to a pipeline, step by step; it is waited for as long as something is going on, and not for long."""
    zero = next(NUMBERS) * 100
    prefix = stack.project.pipelines[pipeline].source.prefix

    def put(name: str, *rows: str) -> None:
        told = "".join(f"{zero + n},{row}\n" for n, row in enumerate(rows))
        stack.put(f"{prefix}{zero}/{name}", f"k,v\n{told}".encode())

    def scan() -> None:
        stack.functions.invoke(FunctionName=stack.of(pipeline).publish, Payload=b'{"do": "scan"}')

    put("a.csv", "1", "2", "300")
    put("b.csv", "1", "2", "300")  # the same bytes
    yield from worked(stack, pipeline, patience)
    put("a.csv", "4", "5")  # takes the place of what stands
    stack.delete(f"{prefix}{zero}/b.csv")
    stack.put(f"{prefix}{zero}/poison.csv", b"nothing,like\nthe,contract\n")
    yield from worked(stack, pipeline, patience)
    scan()
    yield from worked(stack, pipeline, patience)


def worked(stack: Stack, pipeline: str, patience: float) -> Iterator[None]:
    until = time.monotonic() + patience
    while time.monotonic() < until and stack.busy(pipeline):
        yield
        time.sleep(0.2)
    yield


def refused(stack: Stack, pipeline: str, role: Role, since: int) -> bool:
    return any(REFUSED in text for text in stack.said(pipeline, role, since))

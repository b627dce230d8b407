"""What a deploy would do is known before it does it: with an account as a difference, without one as a whole."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from aws_home.declaring import declared, made, new_name, pipeline, planned, unmaking
from aws_home.small_stack import quick, shared
from headrace.aws.declare.declared import tables
from headrace.aws.operate.inventory import inventory
from headrace.aws.operate.plan import plan
from headrace.aws.session import Session
from headrace.engine.faults import VARIABLE
from headrace.model.errors import InfrastructureError, UsageError


@pytest.fixture
def session(aws_environment: str) -> Session:
    return shared(aws_environment)


@pytest.fixture
def name(session: Session, tmp_path: Path) -> Iterator[str]:
    """A stack's name. The account is the same before the test and after it."""
    name, before = new_name(), inventory(session)
    yield name
    unmaking(session, declared(name, tmp_path), delete_data=True).destroy(lambda text: None)
    assert inventory(session) == before


def test_without_an_account_a_plan_is_everything_that_is_declared(tmp_path: Path) -> None:
    of = declared("shop", tmp_path)
    found = plan(of, of.cost(None))
    kinds = {one["kind"] for one in found.resources}
    assert kinds >= {"AWS::S3::Bucket", "AWS::DynamoDB::Table", "AWS::SQS::Queue", "AWS::Lambda::Function"}
    assert {c.action for c in found.changes} == {"added"}
    assert any("sqs:ReceiveMessage" in one["actions"] for one in found.statements)
    assert found.cost.monthly > 0
    assert not found.nothing


def test_what_a_plan_says_as_json_has_one_shape(tmp_path: Path) -> None:
    of = declared("shop", tmp_path)
    told = json.loads(json.dumps(plan(of, of.cost(None)).public()))
    assert list(told) == ["stack", "region", "account", "state", "no_changes", "data_loss", "changes", "iam", "code",
                          "drift", "cost", "resources"]  # fmt: skip
    assert list(told["changes"][0]) == ["action", "id", "kind", "name", "properties", "data_loss", "why"]
    assert list(told["iam"]) == ["granted", "withdrawn", "all"]


def test_an_unchanged_stack_has_no_changes_and_a_changed_one_names_them(
    session: Session, name: str, tmp_path: Path
) -> None:
    of = declared(name, tmp_path)
    assert planned(session, of).state is None
    assert made(session, of, tmp_path).state == "created"
    found = planned(session, of)
    assert found.nothing and not found.changes and not found.granted and not found.withdrawn

    slower = declared(name, tmp_path, ingest_timeout=120)
    found = planned(session, slower)
    assert not found.nothing and not found.data_loss
    assert "Timeout" in next(c.properties for c in found.changes if c.kind == "AWS::Lambda::Function")
    assert made(session, slower, tmp_path).state == "updated"
    assert planned(session, slower).nothing


def test_another_key_of_a_keyed_table_is_told_as_data_loss_and_nothing_happens(
    session: Session, name: str, tmp_path: Path
) -> None:
    made(session, declared(name, tmp_path), tmp_path)
    other = declared(name, tmp_path, pipeline(key=("id",)))
    found = planned(session, other)
    assert found.data_loss
    assert {(c.name, c.why) for c in found.changes if c.data_loss} == {
        (f"{name}-keyed-sales", "its key schema changes"),
        ("sales", "its key changes from id, at to id"),
    }
    before = inventory(session)
    with pytest.raises(UsageError, match="HR836"):
        made(session, other, tmp_path)
    assert inventory(session) == before
    assert planned(session, declared(name, tmp_path)).nothing


def test_a_table_of_another_key_is_made_anew_when_that_is_meant(session: Session, name: str, tmp_path: Path) -> None:
    of, table = declared(name, tmp_path), f"{name}-keyed-sales"
    made(session, of, tmp_path)
    dynamodb = session.client("dynamodb")
    before = dynamodb.describe_table(TableName=table)["Table"]["KeySchema"]
    other = declared(name, tmp_path, pipeline(key=("id",)))
    assert made(session, other, tmp_path, lose=True).state == "updated"
    after = dynamodb.describe_table(TableName=table)["Table"]["KeySchema"]
    assert [one["KeyType"] for one in before] == ["HASH", "RANGE"]
    assert [one["KeyType"] for one in after] == ["HASH"]
    assert planned(session, other).nothing


AGAIN = """
import sys
from pathlib import Path
from aws_home.declaring import declared, made, pipeline
from headrace.aws.session import Session
name, folder = sys.argv[1], Path(sys.argv[2])
made(Session("eu-west-2"), declared(name, folder, pipeline(key=("id",))), folder, lose=True)
"""


@pytest.mark.parametrize("step", ["deploy.taken-out", "destroy.swept", "deploy.change-set"])
def test_making_a_table_anew_goes_on_after_a_kill(session: Session, name: str, tmp_path: Path, step: str) -> None:
    made(session, declared(name, tmp_path), tmp_path)
    program = [sys.executable, "-c", AGAIN, name, str(tmp_path)]
    path = os.pathsep.join([str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, VARIABLE: step, "PYTHONPATH": path}
    ended = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=60)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    other = declared(name, tmp_path, pipeline(key=("id",)))
    made(session, other, tmp_path, lose=True)
    assert planned(session, other).nothing


def test_another_partitioning_is_told_as_data_loss(session: Session, name: str, tmp_path: Path) -> None:
    made(session, declared(name, tmp_path), tmp_path)
    found = planned(session, declared(name, tmp_path, pipeline(by="month(at)")))
    lost = [c for c in found.changes if c.data_loss]
    assert [(c.name, c.why) for c in lost] == [("sales_data", "its partitioning changes from year(at) to month(at)")]


@pytest.mark.parametrize(("left", "gone"), [("lake", "{name}-keyed-sales"), ("keyed", "sales_data")])
def test_a_table_that_leaves_the_definition_is_told_as_data_loss(
    session: Session, name: str, tmp_path: Path, left: str, gone: str
) -> None:
    made(session, declared(name, tmp_path), tmp_path)
    found = planned(session, declared(name, tmp_path, pipeline(sinks=(left,))))
    assert [c.name for c in found.changes if c.data_loss] == [gone.format(name=name)]


def test_kept_data_is_taken_up_again_and_then_nothing_changes(session: Session, name: str, tmp_path: Path) -> None:
    of = declared(name, tmp_path)
    made(session, of, tmp_path)
    session.client("glue").create_table(DatabaseName=name, TableInput={"Name": "sales_data"})
    kept = unmaking(session, of, delete_data=False).destroy(lambda text: None).staying
    assert {item.kind for item in kept} == {"bucket", "table", "database", "lake table"}
    assert not planned(session, of).data_loss
    assert made(session, of, tmp_path).state == "created"
    assert planned(session, of).nothing
    assert made(session, of, tmp_path).state == "unchanged"
    assert session.client("glue").get_table(DatabaseName=name, Name="sales_data")


def test_a_kept_table_of_another_key_is_told_before_it_is_made_anew(
    session: Session, name: str, tmp_path: Path
) -> None:
    of = declared(name, tmp_path)
    made(session, of, tmp_path)
    unmaking(session, of, delete_data=False).destroy(lambda text: None)
    other = declared(name, tmp_path, pipeline(key=("id",)))
    assert planned(session, other).data_loss
    with pytest.raises(UsageError, match="HR836"):
        made(session, other, tmp_path)
    assert made(session, other, tmp_path, lose=True).state == "created"


def test_what_was_changed_or_deleted_by_hand_is_drift(session: Session, name: str, tmp_path: Path) -> None:
    of = declared(name, tmp_path)
    made(session, of, tmp_path)
    assert not planned(session, of, look=True).drift
    held, sqs = quick(session, name).resources(), session.client("sqs")
    sqs.set_queue_attributes(QueueUrl=held["ShopEvents"], Attributes={"VisibilityTimeout": "7"})
    session.client("logs").delete_log_group(logGroupName=held["ShopIngestLogs"])
    found = planned(session, of, look=True).drift
    assert [(d.id, d.deleted) for d in found] == [("ShopIngestLogs", True), ("ShopEvents", False)]
    assert found[1].properties == ("/VisibilityTimeout",)


def test_a_plan_for_the_stack_of_another_project_is_refused(session: Session, name: str, tmp_path: Path) -> None:
    made(session, declared(name, tmp_path), tmp_path)
    other = replace(declared(name, tmp_path), project="other")
    with pytest.raises(InfrastructureError, match="HR834"):
        planned(session, other)


def test_what_is_said_of_the_tables_is_kind_key_and_partitioning() -> None:
    assert tables({"shop": pipeline()}) == {
        "sales": {"pipeline": "shop", "kind": "keyed", "key": ["id", "at"]},
        "sales_data": {"pipeline": "shop", "kind": "lake", "partitions": ["year(at)"]},
    }

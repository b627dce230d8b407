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
from headrace.aws.declare.cost import shipped
from headrace.aws.declare.declared import tables
from headrace.aws.operate.inventory import inventory
from headrace.aws.operate.plan import Plan, plan
from headrace.aws.session import Session
from headrace.cli.page import RED, Page
from headrace.cli.planned import lines
from headrace.cli.planned_changes import from_to
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


def text(found: Plan, width: int = 160, *, colours: bool = False) -> list[str]:
    """What `plan` prints."""
    return list(lines(found, Page(width, colours)))


def below(told: list[str], first: str) -> list[str]:
    """What stands under a line that begins so: everything that is further in."""
    at = next(n for n, line in enumerate(told) if line.strip().startswith(first))
    inside = len(told[at]) - len(told[at].lstrip())
    end = (n for n, line in enumerate(told) if n > at and len(line) - len(line.lstrip()) <= inside)
    return [line.strip() for line in told[at + 1 : next(end, len(told))]]


def test_without_an_account_a_plan_is_everything_that_is_declared(tmp_path: Path) -> None:
    of = declared("shop", tmp_path)
    found = plan(of, of.cost(None))
    kinds = {one["kind"] for one in found.resources}
    assert kinds >= {"AWS::S3::Bucket", "AWS::DynamoDB::Table", "AWS::SQS::Queue", "AWS::Lambda::Function"}
    assert {c.action for c in found.changes} == {"added"}
    assert any("sqs:ReceiveMessage" in one["actions"] for one in found.statements)
    assert found.cost.monthly > 0
    assert not found.nothing


def test_a_plan_reads_by_what_things_are_for_with_the_reason_beside_each(tmp_path: Path) -> None:
    of = declared("shop", tmp_path)
    told = text(plan(of, of.cost(None)))
    parts = ["storage", "pipeline shop", "queries", "watching", "rights", "cost"]
    assert [line for line in told if line in parts] == parts
    (events,) = [line for line in below(told, "pipeline shop") if "shop-shop-events" in line]
    assert events.startswith("+ queue ") and events.endswith("Events that say: look at this object.")
    assert any("artifacts" in line and "made before it" in line for line in below(told, "storage"))
    assert any("2 roles" in line and "3 queue policies" in line for line in below(told, "pipeline shop"))


def test_a_plan_says_under_each_role_what_it_may_do_to_what(tmp_path: Path) -> None:
    of = declared("shop", tmp_path)
    may = below(text(plan(of, None), 200), "ShopIngestRole")
    on = next(n for n, line in enumerate(may) if line.startswith("shop-shop-events"))
    assert may[on] == "shop-shop-events  the pipeline's queue of events"
    assert may[on + 1].startswith("+ sqs: ChangeMessageVisibility, DeleteMessage, ")
    assert "table/shop-ledger" in "".join(may) and not [line for line in may if "AWS::" in line]


def test_cost_is_told_with_its_positions_and_assumptions(tmp_path: Path) -> None:
    of = declared("shop", tmp_path)
    found = plan(of, of.cost(shipped()))
    told = below(text(found), "cost")
    amounts = [line.split()[:2] for line in below(text(found), f"{found.cost.monthly:.2f} USD a month before")]
    assert amounts[0] == ["3.00", "dashboard"] and ["0.53", "watching"] in amounts
    assert [line.removeprefix("- ") for line in below(text(found, 1000), "assumed")] == list(found.cost.assumptions)
    assert any("to load a million rows" in line for line in told)


@pytest.mark.parametrize("width", [60, 80, 160])
def test_a_plan_is_as_wide_as_the_terminal_and_breaks_no_name(tmp_path: Path, width: int) -> None:
    of = declared("shop", tmp_path)
    told = text(plan(of, of.cost(shipped())), width)
    assert not [line for line in told if len(line) > width and len(line.split()) > 2]
    assert any("shop-artifacts-000000000000-eu-west-2" in line.split() for line in told)


def test_values_are_told_from_old_to_new_as_short_as_they_can_be_read() -> None:
    assert from_to(2048, 3008) == "2048 → 3008"
    assert from_to(None, {"Fn::Sub": "x-${AWS::AccountId}"}) == "nothing → x-<account>"
    assert from_to([{"Key": "a", "Value": "1"}], [{"Key": "a", "Value": "2"}, 3]) == "- a=1, + a=2, + 3"
    assert from_to(["a", "b"], ["b", "a"]) == "in another order"
    long, longer = f"{'x' * 80} old {'y' * 80}", f"{'x' * 80} new {'y' * 80}"
    assert from_to(long, longer) == f"…{'x' * 11} old {'y' * 11}… → …{'x' * 11} new {'y' * 11}…"


def test_what_a_plan_says_as_json_has_one_shape(tmp_path: Path) -> None:
    of = declared("shop", tmp_path)
    told = json.loads(json.dumps(plan(of, of.cost(None)).public()))
    assert list(told) == ["stack", "region", "account", "state", "no_changes", "data_loss", "changes", "iam", "code",
                          "drift", "cost", "resources"]  # fmt: skip
    assert list(told["changes"][0]) == ["action", "id", "kind", "name", "properties", "data_loss", "why",
                                       "values", "kept", "note"]  # fmt: skip
    assert list(told["iam"]) == ["granted", "withdrawn", "all", "changes"]
    assert list(told["iam"]["changes"][0]) == ["role", "effect", "resources", "granted", "withdrawn", "why"]
    assert list(told["resources"][0]) == ["id", "kind", "name", "why", "part"]


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
    assert "Timeout  300 → 120" in below(text(found), f"~ function  {name}-shop-ingest")
    assert text(found)[-1] == "3 changed"
    assert made(session, slower, tmp_path).state == "updated"
    assert planned(session, slower).nothing


def test_rights_that_change_are_told_under_their_role(session: Session, name: str, tmp_path: Path) -> None:
    made(session, declared(name, tmp_path), tmp_path)
    found = planned(session, declared(name, tmp_path, pipeline(sinks=("lake",), after="archive")))
    may = below(text(found), "ShopPublishRole")
    archive = next(n for n, line in enumerate(may) if "/.headrace/archive/*" in line)
    assert may[archive + 1].startswith("+ s3: AbortMultipartUpload, GetObject")
    items = next(n for n, line in enumerate(may) if line.startswith(f"table/{name}-keyed-sales"))
    assert may[items + 1].startswith("- dynamodb: BatchGetItem, ")
    assert "its rights, see below" in below(text(found), "~ role")


def test_an_index_is_deployed_alone_and_said_to_lack_older_rows(session: Session, name: str, tmp_path: Path) -> None:
    made(session, declared(name, tmp_path), tmp_path)
    found = planned(session, declared(name, tmp_path, pipeline(index=("till",))))
    found.refuse()
    filled = "once the publisher of shop has put every row into it: `headrace status` says when"
    said = f"index by_till of sales answers {filled}"
    assert said in below(text(found), f"~ table  {name}-keyed-sales")
    several, before = declared(name, tmp_path, pipeline(index=("till", "amount"))), inventory(session)
    with pytest.raises(UsageError, match=f"HR846 .*{name}-keyed-sales would make by_amount, by_till"):
        planned(session, several).refuse()
    with pytest.raises(UsageError, match="HR846"):
        made(session, several, tmp_path)
    assert inventory(session) == before


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
    told = text(found, colours=True)
    assert any(line.startswith(RED) and "LEFT BEHIND: it leaves the" in line for line in told)
    assert any("stays in the account with its data, no longer updated" in line for line in told)
    assert any("to delete it" in line for line in told) and "--accept-data-loss" in "".join(told)


def test_kept_data_is_taken_up_again_and_then_nothing_changes(session: Session, name: str, tmp_path: Path) -> None:
    of = declared(name, tmp_path)
    made(session, of, tmp_path)
    session.client("glue").create_table(DatabaseName=name, TableInput={"Name": "sales_data"})
    kept = unmaking(session, of, delete_data=False).destroy(lambda text: None).staying
    assert {item.kind for item in kept} == {"bucket", "table", "database", "lake table"}
    found = planned(session, of)
    assert not found.data_loss
    taken = [line for line in text(found) if line.endswith("taken up, with what it holds")]
    assert [line.split()[1] for line in taken] == ["bucket", "bucket", "table", "table", "database"]
    assert "5 taken up" in text(found)[-1]
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
    sqs.delete_queue(QueueUrl=held["ShopDlq"])
    found = {d.id: d for d in planned(session, of, look=True).drift}
    assert {id: d.deleted for id, d in found.items()} == {"ShopDlq": True, "ShopEvents": False}
    assert found["ShopEvents"].properties == ("/VisibilityTimeout",)


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

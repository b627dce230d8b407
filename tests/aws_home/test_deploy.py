"""A stack becomes what was declared, however often and from wherever it is begun; what fails is said with its cause."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from aws_home import declaring
from aws_home.deploying import of_stack, scope, unmaking
from aws_home.small_stack import ACCOUNT, PROJECT, REGION, code, new_name, quick, shared, template, wanted
from aws_home.strangers import bucket, keyed
from headrace.aws.declare.kept import taken_up
from headrace.aws.declare.names import Names
from headrace.aws.operate.artifacts import Artifacts
from headrace.aws.operate.compare import settled
from headrace.aws.operate.deploy import Deployed, deploy
from headrace.aws.operate.inventory import inventory
from headrace.aws.operate.stack import STACK_TAG, Event
from headrace.aws.operate.sweep import empty
from headrace.aws.session import Session
from headrace.engine.faults import VARIABLE
from headrace.model.errors import InfrastructureError, UsageError

STEPS = ("deploy.settled", "deploy.bucket-made", "deploy.bucket", "deploy.upload", "deploy.uploaded",
         "deploy.change-set", "deploy.executing")  # fmt: skip


@pytest.fixture
def session(aws_environment: str) -> Session:
    return shared(aws_environment)


@pytest.fixture
def name(session: Session) -> Iterator[str]:
    """A stack's name. Nothing of it is there before the test, nor is it afterwards."""
    name = new_name()
    yield name
    unmaking(session, name, delete_data=True).destroy(lambda text: None)


@pytest.fixture
def deployed(session: Session, name: str, tmp_path: Path) -> Callable[..., Deployed]:
    def run(change: Callable[[dict[str, Any]], None] = lambda r: None, lose: bool = False, **more: Any) -> Deployed:
        told.clear()
        asked = wanted(name, tmp_path, change, **more)
        return deploy(session, asked, told.append, lose=lose, stack=quick(session, name))

    told: list[str] = []
    return run


def killed(step: str, verb: str, name: str, folder: Path) -> None:
    """Begin in another process, which dies there."""
    program = [sys.executable, str(Path(__file__).with_name("deploying.py")), verb, name, str(folder)]
    ended = subprocess.run(program, env={**os.environ, VARIABLE: step}, capture_output=True, text=True, timeout=60)
    assert ended.returncode == -signal.SIGKILL, ended.stdout + ended.stderr


def slower(resources: dict[str, Any]) -> None:
    resources["Events"]["Properties"]["VisibilityTimeout"] = 99


def broken(resources: dict[str, Any]) -> None:
    """A bucket that is to tell a queue which nobody has."""
    nobody = {"Event": "s3:ObjectCreated:*", "Queue": f"arn:aws:sqs:{REGION}:{ACCOUNT}:nobody"}
    properties = {"NotificationConfiguration": {"QueueConfigurations": [nobody]}}
    resources["Broken"] = {"Type": "AWS::S3::Bucket", "Properties": properties}


def test_a_first_deploy_makes_everything_and_the_next_one_says_that_nothing_changes(
    session: Session, name: str, deployed: Callable[..., Deployed]
) -> None:
    first = deployed()
    assert (first.state, first.facts.status) == ("created", "CREATE_COMPLETE")
    assert first.facts.outputs["Queue"].endswith(f"{name}-lv-events")
    kinds = {item.kind for item in of_stack(inventory(session), name)}
    assert kinds >= {"stack", "bucket", "table", "queue", "function", "role", "log group"}
    assert deployed().state == "unchanged"


def test_a_change_is_deployed_alone(session: Session, name: str, deployed: Callable[..., Deployed]) -> None:
    deployed()
    second = deployed(slower)
    assert second.state == "updated"
    assert [(c.action, c.id, c.properties) for c in second.changes] == [("changed", "Events", ("VisibilityTimeout",))]
    url = session.client("sqs").get_queue_url(QueueName=f"{name}-lv-events")["QueueUrl"]
    found = session.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["VisibilityTimeout"])
    assert found["Attributes"]["VisibilityTimeout"] == "99"


def test_other_code_alone_is_an_update(
    session: Session, name: str, tmp_path: Path, deployed: Callable[..., Deployed]
) -> None:
    before = deployed().facts.parameters["IngestCode"]
    (tmp_path / "other").mkdir()
    other = code(tmp_path / "other", "def handler(event, context):\n    return 'other'\n")
    second = deployed(code={"IngestCode": other})
    assert (second.state, second.changes) == ("updated", [])
    assert second.facts.parameters["IngestCode"] != before


def test_code_is_kept_under_its_own_hash_and_uploaded_once(session: Session, deployed: Callable[..., Deployed]) -> None:
    deployed()
    session.meter.clear()
    deployed()
    assert session.meter["s3", "PutObject"] == 0


@pytest.mark.parametrize("step", STEPS)
def test_a_deploy_that_was_killed_is_finished_by_the_next(
    session: Session, name: str, tmp_path: Path, deployed: Callable[..., Deployed], step: str
) -> None:
    killed(step, "deploy", name, tmp_path)
    deployed()
    assert quick(session, name).deployed().status == "CREATE_COMPLETE"
    assert deployed().state == "unchanged"


def test_what_failed_is_named_first_and_the_next_deploy_makes_the_stack_anew(
    session: Session, name: str, deployed: Callable[..., Deployed]
) -> None:
    with pytest.raises(InfrastructureError) as caught:
        deployed(broken)
    assert caught.value.code == "HR833"
    assert caught.value.exit_code == 3
    assert caught.value.found.startswith("Broken (AWS::S3::Bucket): ")
    assert "headrace deploy" in caught.value.next
    assert deployed().state == "created"


def test_an_update_that_fails_is_rolled_back_and_can_be_repeated(deployed: Callable[..., Deployed]) -> None:
    deployed()
    with pytest.raises(InfrastructureError, match="HR833.*Broken"):
        deployed(broken)
    assert deployed().state == "unchanged"
    assert deployed(slower).state == "updated"


def test_what_a_destroy_kept_is_taken_up_again_with_what_it_holds(
    session: Session, name: str, deployed: Callable[..., Deployed]
) -> None:
    deployed()
    bucket, table = Names(name, REGION, ACCOUNT).bucket("landing"), Names(name, REGION).keyed("readings")
    session.client("s3").put_object(Bucket=bucket, Key="in/a.csv", Body=b"kept")
    session.client("dynamodb").put_item(TableName=table, Item={"id": {"S": "a"}})
    unmaking(session, name, delete_data=False).destroy(lambda text: None)

    assert deployed().state == "created"
    assert session.client("s3").get_object(Bucket=bucket, Key="in/a.csv")["Body"].read() == b"kept"
    assert session.client("dynamodb").get_item(TableName=table, Key={"id": {"S": "a"}})["Item"]
    assert {"Landing", "Readings"} <= set(quick(session, name).resources())


class Heard:
    """What is asked of CloudFormation meanwhile: (operation, parameters)."""

    def __init__(self, session: Session, *operations: str) -> None:
        self._events = session.client("cloudformation").meta.events
        self._names = [f"provide-client-params.cloudformation.{operation}" for operation in operations]
        self.said: list[tuple[str, dict[str, Any]]] = []

    def __enter__(self) -> list[tuple[str, dict[str, Any]]]:
        for name in self._names:
            self._events.register(name, self._hear)
        return self.said

    def __exit__(self, *_: object) -> None:
        for name in self._names:
            self._events.unregister(name, self._hear)

    def _hear(self, params: dict[str, Any], model: Any, **_: object) -> None:
        self.said.append((model.name, params))


def test_a_rollback_may_delete_what_is_new_only_where_nothing_was_taken_up(
    session: Session, name: str, deployed: Callable[..., Deployed]
) -> None:
    with Heard(session, "ExecuteChangeSet") as asked:
        deployed()
        deployed(slower)
        unmaking(session, name, delete_data=False).destroy(lambda text: None)
        deployed()
    assert [params.get("RetainExceptOnCreate") for _, params in asked] == [True, True, None]


def test_what_was_taken_up_is_brought_to_what_is_declared(
    session: Session, name: str, deployed: Callable[..., Deployed]
) -> None:
    """That it is asked for: MiniStack's change sets revert no drift."""
    deployed()
    table, tables = Names(name, REGION).keyed("readings"), session.client("dynamodb")
    unmaking(session, name, delete_data=False).destroy(lambda text: None)
    tables.update_table(TableName=table, DeletionProtectionEnabled=True)
    protect = {"DeletionProtectionEnabled": False}
    with Heard(session, "CreateChangeSet", "DetectStackDrift") as asked:
        deployed(lambda resources: resources["Readings"]["Properties"].update(protect))
    assert [(of, params.get("DeploymentMode")) for of, params in asked] == [
        ("CreateChangeSet", None),
        ("DetectStackDrift", None),
        ("CreateChangeSet", "REVERT_DRIFT"),
    ]


@pytest.mark.parametrize("step", ["deploy.change-set", "deploy.executing"])
def test_a_taking_up_that_was_killed_is_finished_by_the_next_deploy(
    session: Session, name: str, tmp_path: Path, deployed: Callable[..., Deployed], step: str
) -> None:
    deployed()
    unmaking(session, name, delete_data=False).destroy(lambda text: None)
    killed(step, "deploy", name, tmp_path)
    with Heard(session, "DetectStackDrift") as asked:
        deployed()
    assert len(asked) == 1
    with Heard(session, "DetectStackDrift") as asked:
        assert deployed().state == "unchanged"
    assert not asked


def test_a_failed_deploy_over_kept_data_leaves_the_data(
    session: Session, name: str, deployed: Callable[..., Deployed]
) -> None:
    deployed()
    bucket = Names(name, REGION, ACCOUNT).bucket("landing")
    session.client("s3").put_object(Bucket=bucket, Key="in/a.csv", Body=b"kept")
    unmaking(session, name, delete_data=False).destroy(lambda text: None)
    with pytest.raises(InfrastructureError, match="HR833"):
        deployed(broken)
    assert session.client("s3").get_object(Bucket=bucket, Key="in/a.csv")["Body"].read() == b"kept"
    assert deployed().state == "created"
    assert session.client("s3").get_object(Bucket=bucket, Key="in/a.csv")["Body"].read() == b"kept"


def test_a_stack_of_another_project_is_left_alone(name: str, deployed: Callable[..., Deployed]) -> None:
    deployed()
    with pytest.raises(InfrastructureError) as caught:
        deployed(slower, project="other")
    assert caught.value.code == "HR834"
    assert PROJECT in caught.value.found


class Strange(BaseHTTPRequestHandler):
    """An S3 in which every bucket is somebody else's. (In MiniStack each account has names of its own.)"""

    def do_HEAD(self) -> None:
        self.send_response(403)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def strange(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Strange) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with monkeypatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{server.server_port}")
            yield
        server.shutdown()


def test_a_bucket_that_cannot_be_looked_at_is_told_with_both_causes_before_anything_is_made(
    aws_environment: str, strange: None, tmp_path: Path
) -> None:
    session, name = Session(REGION), new_name()
    asked = wanted(name, tmp_path)
    with pytest.raises(InfrastructureError) as caught:
        deploy(session, asked, print, stack=quick(session, name))
    assert (caught.value.code, caught.value.exit_code) == ("HR832", 3)
    assert asked.artifacts in caught.value.which
    assert "somebody else" in caught.value.found and "s3:ListBucket" in caught.value.found
    assert caught.value.next == "allow that, or give another `stack` in the target's table"
    assert quick(session, name).facts() is None


def test_a_bucket_of_data_that_cannot_be_looked_at_may_be_given_another_name(
    aws_environment: str, strange: None, tmp_path: Path
) -> None:
    name = new_name()
    stack = quick(Session(REGION), name)
    with pytest.raises(InfrastructureError) as caught:
        taken_up(stack, scope(name), settled(template(name), ACCOUNT, REGION), ())
    assert (caught.value.code, caught.value.which) == ("HR832", f"bucket {landing(name)!r}")
    assert "`landing_bucket`" in caught.value.next


def landing(name: str) -> str:
    return Names(name, REGION, ACCOUNT).bucket("landing")


TAGS = pytest.mark.parametrize("tags", [{}, {STACK_TAG: "else"}], ids=["without a tag", "another stack's"])


@TAGS
def test_a_bucket_with_a_wanted_name_that_is_not_the_stack_s_is_not_taken_up(
    session: Session, name: str, deployed: Callable[..., Deployed], tags: dict[str, str]
) -> None:
    """Taken up, it would be emptied by `destroy --delete-data`."""
    bucket(session, landing(name), tags)
    with pytest.raises(InfrastructureError) as caught:
        deployed()
    assert (caught.value.code, caught.value.exit_code) == ("HR848", 3)
    assert caught.value.which == f"bucket {landing(name)!r}"
    assert ("'else'" if tags else "has no tag headrace-stack") in caught.value.found
    assert f"headrace-stack={name}" in caught.value.next
    assert [item.name for item in of_stack(inventory(session), name)] == [landing(name)]
    empty(session, landing(name))
    session.client("s3").delete_bucket(Bucket=landing(name))


@TAGS
@pytest.mark.parametrize("key", ["id", "another"])
def test_a_table_with_a_wanted_name_that_is_not_the_stack_s_is_not_taken_up_nor_replaced(
    session: Session, name: str, deployed: Callable[..., Deployed], key: str, tags: dict[str, str]
) -> None:
    table = Names(name, REGION).keyed("readings")
    keyed(session, table, key, tags)
    with pytest.raises(InfrastructureError, match=f"HR848 table '{table}'"):
        deployed(lose=True)
    assert [item.name for item in of_stack(inventory(session), name)] == [table]
    session.client("dynamodb").delete_table(TableName=table)


def test_packages_are_not_put_among_somebody_else_s_files(
    session: Session, name: str, deployed: Callable[..., Deployed]
) -> None:
    artifacts = Names(name, REGION, ACCOUNT).bucket("artifacts")
    bucket(session, artifacts)
    with pytest.raises(InfrastructureError, match=f"HR848 bucket '{artifacts}'.*give another `stack`"):
        deployed()
    assert [item.name for item in of_stack(inventory(session), name)] == [artifacts]
    empty(session, artifacts)
    session.client("s3").delete_bucket(Bucket=artifacts)


def test_what_bears_the_stack_s_tag_is_taken_up(session: Session, name: str, deployed: Callable[..., Deployed]) -> None:
    bucket(session, landing(name), {STACK_TAG: name})
    keyed(session, Names(name, REGION).keyed("readings"), tags={STACK_TAG: name})
    assert deployed().state == "created"
    assert {"Landing", "Readings"} <= set(quick(session, name).resources())
    assert session.client("s3").get_object(Bucket=landing(name), Key="theirs")["Body"].read() == b"theirs"


def lake_table(session: Session, database: str, location: str) -> None:
    session.client("glue").create_table(
        DatabaseName=database,
        TableInput={
            "Name": "sales_data",
            "TableType": "EXTERNAL_TABLE",
            "Parameters": {"table_type": "ICEBERG"},
            "StorageDescriptor": {"Columns": [], "Location": location},
        },
    )


def test_a_database_that_is_not_the_stack_s_is_neither_taken_up_nor_destroyed(
    session: Session, name: str, tmp_path: Path
) -> None:
    glue, of = session.client("glue"), declaring.declared(name, tmp_path)
    glue.create_database(DatabaseInput={"Name": name})
    lake_table(session, name, "s3://somewhere-else/lake/sales_data")
    with pytest.raises(InfrastructureError, match=f"HR848 database '{name}'.*give another `stack`"):
        declaring.made(session, of, tmp_path)
    done = declaring.unmaking(session, of, delete_data=True).destroy(lambda text: None)
    assert [(item.kind, item.name) for item in done.alike] == [("database", name)]
    assert glue.get_table(DatabaseName=name, Name="sales_data")
    glue.delete_database(Name=name)


@pytest.mark.parametrize("proof", ["tag", "table"])
def test_a_database_that_a_destroy_kept_is_known_by_its_tag_or_by_what_was_published_into_it(
    session: Session, tmp_path: Path, proof: str
) -> None:
    """CloudFormation tags no database: `destroy` does, and whoever deleted the stack by hand did not."""
    name = new_name()
    glue, of = session.client("glue"), declaring.declared(name, tmp_path)
    declaring.made(session, of, tmp_path)
    lake_table(session, name, f"s3://{Names(name, REGION, ACCOUNT).bucket('lake')}/lake/sales_data")
    declaring.unmaking(session, of, delete_data=False).destroy(lambda text: None)
    arn = f"arn:aws:glue:{REGION}:{ACCOUNT}:database/{name}"
    assert glue.get_tags(ResourceArn=arn)["Tags"] == {STACK_TAG: name}
    if proof == "tag":
        glue.delete_table(DatabaseName=name, Name="sales_data")
    else:
        glue.untag_resource(ResourceArn=arn, TagsToRemove=[STACK_TAG])
    assert declaring.made(session, of, tmp_path).state == "created"
    declaring.unmaking(session, of, delete_data=True).destroy(lambda text: None)
    assert not of_stack(inventory(session), name)


def test_the_bucket_of_packages_is_guarded_in_the_words_of_its_partition(aws_environment: str) -> None:
    session, name = Session("cn-north-1"), new_name()
    Artifacts(session, name, ACCOUNT, {STACK_TAG: name}).make()
    policy = json.loads(session.client("s3").get_bucket_policy(Bucket=name)["Policy"])
    assert policy["Statement"][0]["Resource"] == [f"arn:aws-cn:s3:::{name}", f"arn:aws-cn:s3:::{name}/*"]
    session.client("s3").delete_bucket(Bucket=name)


def happened(id: str, status: str, reason: str, physical: str = "") -> Event:
    return Event(id, datetime.now(UTC), id, physical, "AWS::SQS::Queue", status, reason)


def test_the_first_failure_counts_and_not_those_that_came_of_it(session: Session) -> None:
    events = [
        happened("A", "CREATE_FAILED", "Resource creation cancelled"),
        happened("B", "CREATE_FAILED", "the cause\nin two lines"),
        happened("C", "CREATE_FAILED", "another"),
        happened("stack", "ROLLBACK_IN_PROGRESS", "The following resource(s) failed to create: [B, C]"),
    ]
    assert quick(session, "any").failure(events, None) == "B (AWS::SQS::Queue): the cause in two lines"


def test_nothing_that_loses_data_is_deployed_unasked(name: str, deployed: Callable[..., Deployed]) -> None:
    deployed()

    def gone(resources: dict[str, Any]) -> None:
        del resources["Readings"]

    with pytest.raises(UsageError) as caught:
        deployed(gone)
    assert (caught.value.code, caught.value.exit_code) == ("HR836", 2)
    assert "readings" in caught.value.found
    assert deployed(gone, lose=True).state == "updated"


def test_a_repair_goes_through_a_change_set_that_reverts_drift(
    session: Session, deployed: Callable[..., Deployed]
) -> None:
    """That it is asked for; MiniStack passes the mode over, so only a real account can show that it works."""
    deployed()
    with Heard(session, "CreateChangeSet") as asked:
        deployed(repair=True)
        deployed()
    assert [params.get("DeploymentMode") for _, params in asked] == ["REVERT_DRIFT", None]

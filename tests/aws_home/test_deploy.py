"""A stack becomes what was declared, however often and from wherever it is begun; what fails is said with its cause."""

from __future__ import annotations

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

from aws_home.deploying import of_stack, unmaking
from aws_home.small_stack import ACCOUNT, PROJECT, REGION, code, new_name, quick, shared, wanted
from headrace.aws.declare.names import Names
from headrace.aws.operate.deploy import Deployed, deploy
from headrace.aws.operate.inventory import inventory
from headrace.aws.operate.stack import Event
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


@pytest.mark.parametrize("buckets", [(), ("landing",)])
def test_a_bucket_of_somebody_else_is_told_before_anything_is_made(
    aws_environment: str, strange: None, tmp_path: Path, buckets: tuple[str, ...]
) -> None:
    session, name = Session(REGION), new_name()
    asked = wanted(name, tmp_path, buckets=buckets)
    with pytest.raises(InfrastructureError) as caught:
        deploy(session, asked, print, stack=quick(session, name))
    assert (caught.value.code, caught.value.exit_code) == ("HR832", 3)
    assert (*buckets, asked.artifacts)[0] in caught.value.which
    assert quick(session, name).facts() is None


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
    asked: list[dict[str, Any]] = []
    events, name = session.client("cloudformation").meta.events, "provide-client-params.cloudformation.CreateChangeSet"

    def hear(params: dict[str, Any], **_: object) -> None:
        asked.append(params)

    events.register(name, hear)
    deployed(repair=True)
    deployed()
    events.unregister(name, hear)
    assert [one.get("DeploymentMode") for one in asked] == ["REVERT_DRIFT", None]

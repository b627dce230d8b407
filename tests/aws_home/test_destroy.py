"""What was made goes without residue, data only when that is asked for, and the proof is an inventory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aws_home.deploying import unmaking
from aws_home.small_stack import ACCOUNT, PROJECT, REGION, new_name, quick, shared, wanted
from aws_home.test_deploy import killed
from headrace.aws.declare.names import Names
from headrace.aws.operate.deploy import deploy
from headrace.aws.operate.destroy import Unmaking
from headrace.aws.operate.inventory import Item, Scope, inventory
from headrace.aws.operate.sweep import empty
from headrace.aws.session import Session
from headrace.model.errors import InfrastructureError


@pytest.fixture
def session(aws_environment: str) -> Session:
    return shared(aws_environment)


@pytest.fixture
def name(session: Session) -> Iterator[str]:
    name = new_name()
    yield name
    unmaking(session, name, delete_data=True).destroy(lambda text: None)


def made(session: Session, name: str, folder: Path) -> str:
    """Deploy, and put versions, a delete marker and an unfinished upload into the landing bucket; the bucket's name."""
    deploy(session, wanted(name, folder), lambda text: None, stack=quick(session, name))
    bucket, s3 = Names(name, REGION, ACCOUNT).bucket("landing"), session.client("s3")
    for body in (b"1", b"2"):
        s3.put_object(Bucket=bucket, Key="in/a.csv", Body=body)
    s3.delete_object(Bucket=bucket, Key="in/a.csv")
    s3.create_multipart_upload(Bucket=bucket, Key="in/b.csv")
    return bucket


def test_destroy_with_data_leaves_the_account_as_it_was(session: Session, name: str, tmp_path: Path) -> None:
    before = inventory(session)
    made(session, name, tmp_path)
    assert inventory(session) != before
    unmaking(session, name, delete_data=True).destroy(lambda text: None)
    assert inventory(session) == before


def test_data_stays_unless_it_is_asked_for(session: Session, name: str, tmp_path: Path) -> None:
    before = inventory(session)
    bucket = made(session, name, tmp_path)
    done = unmaking(session, name, delete_data=False).destroy(lambda text: None)
    kept = [item for item in inventory(session) if item not in before]
    assert kept == list(done.staying)
    assert kept == [Item("bucket", bucket, True), Item("table", Names(name, REGION).keyed("readings"), True)]
    assert len(session.client("s3").list_object_versions(Bucket=bucket)["Versions"]) == 2


def test_data_that_was_kept_can_be_deleted_later(session: Session, name: str, tmp_path: Path) -> None:
    before = inventory(session)
    made(session, name, tmp_path)
    unmaking(session, name, delete_data=False).destroy(lambda text: None)
    unmaking(session, name, delete_data=True).destroy(lambda text: None)
    assert inventory(session) == before


def test_what_would_go_is_listed_before_anything_does(session: Session, name: str, tmp_path: Path) -> None:
    made(session, name, tmp_path)
    before = inventory(session)
    found = unmaking(session, name, delete_data=False).survey()
    assert {x.kind for x in found.going} >= {"stack", "queue", "function", "role", "log group", "event source mapping"}
    assert {x.kind for x in found.staying} == {"bucket", "table"}
    assert inventory(session) == before


@pytest.mark.parametrize(
    "step",
    ["stack.deleting", "destroy.stack", "destroy.emptying", "destroy.swept:1", "destroy.swept:2", "destroy.all-swept"],
)
def test_a_destroy_that_was_killed_is_finished_by_the_next(
    session: Session, name: str, tmp_path: Path, step: str
) -> None:
    before = inventory(session)
    made(session, name, tmp_path)
    killed(step, "destroy-data", name, tmp_path)
    unmaking(session, name, delete_data=True).destroy(lambda text: None)
    assert inventory(session) == before


@pytest.mark.parametrize("step", ["deploy.bucket-made", "deploy.uploaded", "deploy.change-set", "deploy.executing"])
def test_a_deploy_that_was_killed_can_be_destroyed(session: Session, name: str, tmp_path: Path, step: str) -> None:
    before = inventory(session)
    killed(step, "deploy", name, tmp_path)
    unmaking(session, name, delete_data=True).destroy(lambda text: None)
    assert inventory(session) == before


def test_destroying_nothing_is_nothing(session: Session, name: str) -> None:
    assert not unmaking(session, name, delete_data=True).destroy(lambda text: None).going


def test_a_bucket_of_thousands_of_versions_is_emptied(session: Session) -> None:
    bucket, s3 = new_name(), session.client("s3")
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for n in range(1203):
        s3.put_object(Bucket=bucket, Key=f"{n % 7}", Body=b"")
    for n in range(7):
        s3.delete_object(Bucket=bucket, Key=f"{n}")
    session.meter.clear()
    assert empty(session, bucket) == 1210
    assert session.meter["s3", "DeleteObjects"] == 2
    s3.delete_bucket(Bucket=bucket)


def test_a_stack_of_another_project_is_not_destroyed(session: Session, name: str, tmp_path: Path) -> None:
    made(session, name, tmp_path)
    other = Unmaking(quick(session, name), "other", ACCOUNT, frozenset(), True)
    with pytest.raises(InfrastructureError) as caught:
        other.destroy(lambda text: None)
    assert (caught.value.code, caught.value.exit_code) == ("HR834", 3)
    assert PROJECT in caught.value.found
    assert quick(session, name).deployed()


def test_a_table_that_only_looks_like_one_of_the_stack_is_not_deleted(session: Session, name: str) -> None:
    table, dynamodb = f"{name}-keyed-mine", session.client("dynamodb")
    dynamodb.create_table(
        TableName=table,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
    )
    with pytest.raises(InfrastructureError, match="HR840.*tag"):
        unmaking(session, name, delete_data=True).destroy(lambda text: None)
    dynamodb.delete_table(TableName=table)


def test_a_log_group_that_lambda_made_again_goes_too(session: Session, name: str, tmp_path: Path) -> None:
    before = inventory(session)
    made(session, name, tmp_path)
    unmaking(session, name, delete_data=True).destroy(lambda text: None)
    session.client("logs").create_log_group(logGroupName=Names(name, REGION).log_group("lv", "ingest"))
    unmaking(session, name, delete_data=True).destroy(lambda text: None)
    assert inventory(session) == before


def test_the_things_of_a_stack_with_a_longer_name_are_another_stack_s() -> None:
    scope = Scope("lv", ACCOUNT, frozenset({"elsewhere"}), ("lv-test",))
    assert [scope.mine(x) for x in ("lv-ledger", "lv", "elsewhere")] == [True, True, True]
    assert [scope.mine(x) for x in ("lv-test-ledger", "lvx", "other")] == [False, False, False]


def test_a_stack_that_cannot_be_deleted_names_the_resource_and_goes_once_the_cause_is_gone(
    session: Session, name: str, tmp_path: Path
) -> None:
    """A repository with an image in it: of our own kinds MiniStack lets all go, buckets with objects included."""
    before, ecr = inventory(session), session.client("ecr")

    def images(resources: dict[str, Any]) -> None:
        resources["Images"] = {"Type": "AWS::ECR::Repository", "Properties": {"RepositoryName": name}}

    deploy(session, wanted(name, tmp_path, images), lambda text: None, stack=quick(session, name))
    ecr.put_image(repositoryName=name, imageManifest='{"schemaVersion": 2}', imageTag="one")
    with pytest.raises(InfrastructureError) as caught:
        unmaking(session, name, delete_data=True).destroy(lambda text: None)
    assert (caught.value.code, caught.value.exit_code) == ("HR833", 3)
    assert "Images (AWS::ECR::Repository)" in caught.value.found
    ecr.delete_repository(repositoryName=name, force=True)
    assert deploy(session, wanted(name, tmp_path), lambda text: None, stack=quick(session, name)).state == "created"
    unmaking(session, name, delete_data=True).destroy(lambda text: None)
    assert inventory(session) == before

"""What was made goes without residue, data only when that is asked for, and the proof is an inventory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from aws_home.deploying import scope, unmaking
from aws_home.other_services import Answer, service
from aws_home.small_stack import ACCOUNT, PROJECT, REGION, new_name, quick, shared, wanted
from aws_home.strangers import KINDS, bucket, keyed, strangers
from aws_home.test_deploy import killed
from headrace.aws.declare.names import Names
from headrace.aws.operate.deploy import deploy
from headrace.aws.operate.destroy import Unmaking
from headrace.aws.operate.inventory import Item, inventory
from headrace.aws.operate.owned import Scope, scope_of
from headrace.aws.operate.stack import STACK_TAG
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
    other = Unmaking(quick(session, name), "other", scope(name), True)
    with pytest.raises(InfrastructureError) as caught:
        other.destroy(lambda text: None)
    assert (caught.value.code, caught.value.exit_code) == ("HR834", 3)
    assert PROJECT in caught.value.found
    assert quick(session, name).deployed()


# whose it is


def test_what_only_has_a_name_like_the_stack_s_is_told_and_survives(
    session: Session, name: str, tmp_path: Path
) -> None:
    made(session, name, tmp_path)
    told: list[str] = []
    with strangers(session, f"{name}-other", tmp_path):
        theirs = [item for item in inventory(session) if f"{name}-other" in item.name]
        assert {item.kind for item in theirs} == KINDS
        done = unmaking(session, name, delete_data=True).destroy(told.append)
        assert [item for item in inventory(session) if name in item.name] == theirs
    assert {item.kind for item in done.alike} == KINDS - {"bucket"}  # any name may begin a bucket's
    assert not [item for item in done.going if f"{name}-other" in item.name]
    assert any(line.startswith(f"looks alike, left alone: event source mapping {name}-other ") for line in told)


def test_a_mapping_is_told_by_the_name_of_its_function(session: Session, name: str, tmp_path: Path) -> None:
    made(session, name, tmp_path)
    found = unmaking(session, name, delete_data=False).survey()
    (mapping,) = [item.name for item in found.going if item.kind == "event source mapping"]
    assert mapping.startswith(f"{name}-lv-ingest ")


def test_what_a_stack_with_a_longer_name_kept_is_its_own(session: Session, name: str, tmp_path: Path) -> None:
    longer = f"{name}-test"
    made(session, longer, tmp_path)
    unmaking(session, longer, delete_data=False).destroy(lambda text: None)
    kept = [item for item in inventory(session) if longer in item.name]
    assert {item.kind for item in kept} == {"bucket", "table"}
    made(session, name, tmp_path)
    done = unmaking(session, name, delete_data=True).destroy(lambda text: None)
    assert (done.staying, done.alike) == ([], [])
    assert [item for item in inventory(session) if longer in item.name] == kept
    unmaking(session, longer, delete_data=True).destroy(lambda text: None)


def test_what_a_dropped_definition_made_is_known_by_the_stack_s_own_list_and_then_by_its_tags(
    session: Session, name: str, tmp_path: Path
) -> None:
    """The definition names nothing any more; the second destroy finds no stack either."""
    before = inventory(session)
    made(session, name, tmp_path)
    bare = scope_of(name, {"Resources": {}}, ACCOUNT, REGION, Names(name, REGION, ACCOUNT).bucket("artifacts"))
    Unmaking(quick(session, name), PROJECT, bare, False).destroy(lambda text: None)
    assert {item.kind for item in inventory(session) if item not in before} == {"bucket", "table"}
    Unmaking(quick(session, name), PROJECT, bare, True).destroy(lambda text: None)
    assert inventory(session) == before


@pytest.mark.parametrize("tags", [{}, {STACK_TAG: "somebody-else"}], ids=["without a tag", "another stack's"])
def test_data_of_an_exact_name_is_left_alone_without_the_stack_s_tag(
    session: Session, name: str, tags: dict[str, str]
) -> None:
    landing, table = Names(name, REGION, ACCOUNT).bucket("landing"), Names(name, REGION).keyed("readings")
    artifacts = Names(name, REGION, ACCOUNT).bucket("artifacts")
    keyed(session, table, tags=tags)
    for one in (landing, artifacts):
        bucket(session, one, tags)
    done = unmaking(session, name, delete_data=True).destroy(lambda text: None)
    assert (done.going, {item.name for item in done.alike}) == ([], {landing, table, artifacts})
    for one in (landing, artifacts):
        assert session.client("s3").get_object(Bucket=one, Key="theirs")["Body"].read() == b"theirs"
        empty(session, one)
        session.client("s3").delete_bucket(Bucket=one)
    session.client("dynamodb").delete_table(TableName=table)


def test_data_whose_tag_somebody_took_away_is_the_stack_s_as_long_as_it_says_so(
    session: Session, name: str, tmp_path: Path
) -> None:
    before = inventory(session)
    made(session, name, tmp_path)
    tables, table = session.client("dynamodb"), Names(name, REGION).keyed("readings")
    arn = tables.describe_table(TableName=table)["Table"]["TableArn"]
    tables.untag_resource(ResourceArn=arn, TagKeys=[STACK_TAG])
    unmaking(session, name, delete_data=False).destroy(lambda text: None)
    assert {STACK_TAG: name}.items() <= {
        t["Key"]: t["Value"] for t in tables.list_tags_of_resource(ResourceArn=arn)["Tags"]
    }.items()
    unmaking(session, name, delete_data=True).destroy(lambda text: None)
    assert inventory(session) == before


@pytest.mark.parametrize("what", ["stack", "bucket"])
def test_only_the_bucket_of_packages_holds_no_data_whatever_others_are_called(
    session: Session, tmp_path: Path, what: str
) -> None:
    short = new_name()
    name = f"{short}-artifacts-prod" if what == "stack" else short
    landing = Names(name, REGION, ACCOUNT).bucket("landing") if what == "stack" else f"{short}-artifacts-in"

    def called(resources: dict[str, Any]) -> None:
        resources["Landing"]["Properties"]["BucketName"] = landing

    deploy(session, wanted(name, tmp_path, called), lambda text: None, stack=quick(session, name))
    session.client("s3").put_object(Bucket=landing, Key="in/a.csv", Body=b"1")
    done = unmaking(session, name, delete_data=False).destroy(lambda text: None)
    assert Item("bucket", landing, True) in done.staying
    assert session.client("s3").get_object(Bucket=landing, Key="in/a.csv")["Body"].read() == b"1"
    unmaking(session, name, delete_data=True).destroy(lambda text: None)
    assert not [item for item in inventory(session) if short in item.name]


# where nobody may look


@contextmanager
def elsewhere(monkeypatch: pytest.MonkeyPatch, of: str, answer: Answer) -> Iterator[Session]:
    """A way to AWS on which one service always says the same."""
    with service(lambda *_: answer) as url, monkeypatch.context() as patch:
        patch.setenv(f"AWS_ENDPOINT_URL_{of}", url)
        yield Session(REGION, attempts=1)


def denied(action: str) -> Answer:
    message = f"User: arn:aws:iam::1:user/x is not authorized to perform: {action} because no policy allows it"
    return (
        400,
        {"content-type": "application/x-amz-json-1.1", "x-amzn-errortype": "AccessDeniedException"},
        json.dumps({"__type": "AccessDeniedException", "message": message}),
    )


@pytest.mark.parametrize(("of", "action"), [("BUDGETS", "budgets:ViewBudget"), ("ATHENA", "athena:ListWorkGroups")])
def test_a_look_that_is_denied_is_told_where_the_stack_never_had_such_a_thing(
    session: Session, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of: str, action: str
) -> None:
    made(session, name, tmp_path)
    told: list[str] = []
    with elsewhere(monkeypatch, of, denied(action)) as there:
        unmaking(there, name, delete_data=True).destroy(told.append)
    assert [line for line in told if line.startswith("not looked at: ") and action in line]
    assert not [item for item in inventory(session) if name in item.name]


def test_billing_is_not_asked_for_in_vain_even_where_there_is_a_budget(
    name: str, aws_environment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared = {"Resources": {"Budget": {"Type": "AWS::Budgets::Budget", "Properties": {}}}}
    with elsewhere(monkeypatch, "BUDGETS", denied("budgets:ViewBudget")) as there:
        known = scope_of(name, declared, ACCOUNT, REGION, "artifacts")
        found = Unmaking(quick(there, name), PROJECT, known, True).survey()
    assert ["Budgets: budgets:ViewBudget" in what for what in found.unseen] == [True]


def test_a_look_that_is_denied_is_an_error_where_the_stack_has_such_things(
    session: Session, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(session, name, tmp_path)
    refused = pytest.raises(InfrastructureError, match="HR802 SQS: sqs:ListQueues .*denied")
    with elsewhere(monkeypatch, "SQS", denied("sqs:ListQueues")) as there, refused:
        unmaking(there, name, delete_data=True).destroy(lambda text: None)
    assert quick(session, name).deployed()


@pytest.mark.parametrize(("arn", "there"), [("PendingConfirmation", 0), ("Deleted", 0), ("arn:aws:sns:x:1:t:1", 1)])
def test_a_subscription_that_nobody_confirmed_or_that_is_gone_is_none(
    name: str, aws_environment: str, monkeypatch: pytest.MonkeyPatch, arn: str, there: int
) -> None:
    """SNS lists it for up to three days after its topic has gone."""
    topic = f"arn:aws:sns:{REGION}:{ACCOUNT}:{name}-operations"
    member = f"<TopicArn>{topic}</TopicArn><Protocol>email</Protocol><SubscriptionArn>{arn}</SubscriptionArn>"
    listed = f"<Subscriptions><member>{member}</member></Subscriptions>"
    result = f"<ListSubscriptionsResult>{listed}</ListSubscriptionsResult>"
    topics = "<ListTopicsResult><Topics></Topics></ListTopicsResult>"

    def answers(_: int, __: dict[str, str], asked: bytes) -> Answer:
        result_of = result if b"ListSubscriptions" in asked else topics
        operation = "ListSubscriptions" if b"ListSubscriptions" in asked else "ListTopics"
        return 200, {"content-type": "text/xml"}, f"<{operation}Response>{result_of}</{operation}Response>"

    of = {"Topic": {"Type": "AWS::SNS::Topic", "Properties": {"TopicName": f"{name}-operations"}}}
    known = scope_of(name, {"Resources": of}, ACCOUNT, REGION, "artifacts")
    with service(answers) as url, monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL_SNS", url)
        found = Unmaking(quick(Session(REGION), name), PROJECT, known, True).survey()
    assert [item.kind for item in found.going] == ["subscription"] * there


def test_a_log_group_that_lambda_made_again_goes_too(session: Session, name: str, tmp_path: Path) -> None:
    before = inventory(session)
    made(session, name, tmp_path)
    unmaking(session, name, delete_data=True).destroy(lambda text: None)
    session.client("logs").create_log_group(logGroupName=Names(name, REGION).log_group("lv", "ingest"))
    unmaking(session, name, delete_data=True).destroy(lambda text: None)
    assert inventory(session) == before


def test_a_name_is_enough_where_there_is_no_data_and_else_the_tag_decides() -> None:
    known = Scope("lv", ACCOUNT, names=frozenset({("queue", "lv-a-events"), ("table", "lv-ledger")}))

    def judged(kind: str, name: str, owner: str | None = None) -> str:
        return known.judge((kind, name), lambda: owner)

    assert judged("queue", "lv-a-events") == "ours"
    assert judged("function", "lv-a-events") == "alike"  # a name of one kind says nothing of another
    assert [judged("role", "lv-admin", owner) for owner in ("lv", None, "lv-admin")] == ["ours", "alike", "foreign"]
    assert [judged("table", "lv-ledger", owner) for owner in ("lv", None, "else")] == ["ours", "alike", "alike"]
    assert judged("log group", "/aws/lambda/lv-other") == "alike"
    assert judged("role", "lvx", "lv") == "foreign"


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
    assert caught.value.next == "remove what holds it, then run `headrace destroy` again"
    ecr.delete_repository(repositoryName=name, force=True)
    assert deploy(session, wanted(name, tmp_path), lambda text: None, stack=quick(session, name)).state == "created"
    unmaking(session, name, delete_data=True).destroy(lambda text: None)
    assert inventory(session) == before

"""The example in a real account, step by step: what no emulator can prove. The steps build on each other, in order.

Skipped unless somebody asks for it (conftest.py). docs/aws/proven.md says what it needs, takes and costs, and what
an emulator passes over.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from aws.account import EXAMPLE, MOST_ROWS, PATIENCE, PIPELINE, POLL, PREFIX, Place, Trial

BROKEN, REJECTED = PREFIX + "broken.csv", PREFIX + "rejected.csv"
DENIED = ("AccessDenied", "AccessDeniedException", "403", "Forbidden")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two substations' day: generated, so that no file of anybody is needed."""
    into = tmp_path_factory.mktemp("input")
    amount = ("--substations", "2", "--days", "1", "--months", "2025-05")
    subprocess.run([sys.executable, str(EXAMPLE / "generate.py"), str(into), *amount], check=True, capture_output=True)
    found = {str(path.relative_to(into)): path for path in sorted(into.rglob("*.csv"))}
    assert sum(path.read_text().count("\n") for path in found.values()) < MOST_ROWS
    return found


@pytest.fixture(scope="module")
def corrected(files: dict[str, Path]) -> str:
    return min(files)


@pytest.fixture(scope="module")
def deleted(files: dict[str, Path]) -> str:
    return max(files)


def only_real(place: Place, why: str) -> None:
    if not place.real:
        pytest.skip(f"an emulator: {why}")


def same(trial: Trial) -> int:
    """Every home holds the same rows; how many."""
    here, items, lake = trial.sql("local"), trial.items(), trial.lake()
    assert items == here, "DynamoDB and the embedded run differ"
    assert lake == here, "the lake and the embedded run differ"
    return len(here)


def embedded(trial: Trial, path: Path, key: str) -> None:
    """The same bytes under the same key at home."""
    twin = trial.folder / ".headrace" / "landing" / key
    twin.parent.mkdir(parents=True, exist_ok=True)
    twin.write_bytes(path.read_bytes())
    trial.command("run", PIPELINE, target="local", exit=(0, 4))


def refused(call: Any, **values: Any) -> str:
    """The code with which AWS refuses a call, or "" if it does not."""
    try:
        call(**values)
    except ClientError as exc:
        return str(exc.response["Error"]["Code"])
    return ""


# what a deploy makes


def test_a_canary_comes_through_every_part_of_the_deployed_stack(trial: Trial) -> None:
    until = time.monotonic() + 2 * PATIENCE  # "no data" is an alarm until CloudWatch has counted the first message
    checks = trial.json("verify", exit=(0, 3))
    while failed := [check for check in checks if not check["ok"]]:
        assert time.monotonic() < until, failed
        time.sleep(POLL)
        checks = trial.json("verify", exit=(0, 3))
    assert any(check["what"] == f"canary of {PIPELINE}" for check in checks)


def test_a_second_plan_says_that_nothing_changes(trial: Trial) -> None:
    told = trial.json("plan")
    assert (told["account"], told["changes"]) == (trial.place.account, [])


def test_a_second_deploy_changes_nothing(trial: Trial) -> None:
    assert trial.json("deploy", "--yes")["state"] == "unchanged"


def test_what_holds_data_is_encrypted_versioned_and_closed_to_the_public(trial: Trial) -> None:
    s3 = trial.place.client("s3")
    for what in ("landing", "lake"):
        bucket = trial.bucket(what)
        assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
        assert s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
        assert all(s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"].values())


def test_tables_can_be_restored_to_any_moment(trial: Trial, place: Place) -> None:
    only_real(place, "it takes a table's recovery from no template")
    for table in trial.tables:
        found = place.client("dynamodb").describe_continuous_backups(TableName=table)
        kept = found["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]
        assert kept["PointInTimeRecoveryStatus"] == "ENABLED"


def test_whoever_does_not_use_tls_is_refused(trial: Trial, place: Place) -> None:
    only_real(place, "it judges no policy of a bucket, and speaks no TLS")
    plain = place.client("s3", use_ssl=False)
    assert refused(plain.list_objects_v2, Bucket=trial.bucket("landing")) in DENIED


def test_the_budget_and_the_saved_queries_are_there(trial: Trial, place: Place) -> None:
    only_real(place, "it has neither type of resource")
    budgets = place.client("budgets", region="us-east-1").describe_budgets(AccountId=place.account)["Budgets"]
    assert any(trial.stack in budget["BudgetName"] for budget in budgets)
    athena = place.client("athena")
    saved = athena.list_named_queries(WorkGroup=trial.stack)["NamedQueryIds"]
    assert len(saved) == len(list((EXAMPLE / "queries").glob("*.sql")))


# rows


def test_uploaded_files_become_the_rows_that_the_embedded_run_makes(trial: Trial, files: dict[str, Path]) -> None:
    for key, path in files.items():
        trial.put(key, path.read_bytes())
    trial.tell(f"{len(files)} files stood {trial.wait(dict.fromkeys(files, 'standing')):.0f} s after their upload")
    for key, path in files.items():
        embedded(trial, path, key)
    assert same(trial) > 1000


def test_a_lookup_by_key_answers_as_the_embedded_one(trial: Trial) -> None:
    asset = trial.items()[0][0]
    aws, here = (trial.json("get", "asset_data", asset, target=target) for target in ("aws", "local"))
    assert [(row["timestamp"], row["value"]) for row in aws] == [(row["timestamp"], row["value"]) for row in here]


def test_athena_finds_the_rows_of_the_embedded_run(trial: Trial, place: Place) -> None:
    only_real(place, "its Athena speaks DuckDB's dialect and reads no Iceberg table of Glue")
    assert trial.sql("aws") == trial.sql("local")


def test_athena_runs_every_saved_query(trial: Trial, place: Place) -> None:
    only_real(place, "it has no saved queries")
    athena = place.client("athena")
    for saved in athena.list_named_queries(WorkGroup=trial.stack)["NamedQueryIds"]:
        query = athena.get_named_query(NamedQueryId=saved)["NamedQuery"]
        running = athena.start_query_execution(
            QueryString=query["QueryString"],
            QueryExecutionContext={"Database": query["Database"]},
            WorkGroup=trial.stack,
        )["QueryExecutionId"]
        until = time.monotonic() + PATIENCE
        while (found := athena.get_query_execution(QueryExecutionId=running)["QueryExecution"]["Status"])["State"] in (
            "QUEUED",
            "RUNNING",
        ):
            assert time.monotonic() < until, query["Name"]
            time.sleep(1)
        assert found["State"] == "SUCCEEDED", f"{query['Name']}: {found.get('StateChangeReason')}"


def test_a_corrected_file_replaces_its_rows(
    trial: Trial, files: dict[str, Path], corrected: str, tmp_path: Path
) -> None:
    rows = len(trial.sql("local"))
    shorter = tmp_path / "shorter.csv"
    shorter.write_text("".join(files[corrected].read_text().splitlines(keepends=True)[:-10]))
    trial.put(corrected, shorter.read_bytes())
    until = time.monotonic() + PATIENCE
    while len(trial.items()) != rows - 10:
        assert time.monotonic() < until, "the corrected file does not stand"
        time.sleep(1)
    trial.wait({corrected: "standing"})
    embedded(trial, shorter, corrected)
    assert same(trial) == rows - 10


def test_a_deleted_file_keeps_its_rows_until_it_is_let_go(trial: Trial, deleted: str, files: dict[str, Path]) -> None:
    rows = len(trial.sql("local"))
    trial.delete(deleted)
    trial.json("run", PIPELINE)
    assert len(trial.items()) == rows
    (trial.folder / ".headrace" / "landing" / deleted).unlink()
    for target in ("aws", "local"):
        trial.command("retract", PIPELINE, "--file", deleted, "--yes", target=target)
    left = same(trial)
    assert 0 < left < rows


def test_what_cannot_load_is_set_aside_tried_again_and_mended(trial: Trial, files: dict[str, Path]) -> None:
    rows = len(trial.sql("local"))
    trial.put(BROKEN, b"nothing,like\nthe,contract\n")
    trial.wait({BROKEN: "dead"})
    [dead] = trial.json("dlq", "ls", PIPELINE)
    assert dead["object"] == BROKEN
    trial.command("dlq", "redrive", PIPELINE, exit=4)
    trial.wait({BROKEN: "dead"})
    header, *_ = files[min(files)].read_text().splitlines(keepends=True)
    trial.put(BROKEN, header.encode())
    trial.wait({BROKEN: "standing"})
    assert len(trial.items()) == rows
    assert trial.json("dlq", "ls", PIPELINE) == []


def test_a_rejected_row_is_told_explained_corrected_and_brought_back(
    trial: Trial, files: dict[str, Path], tmp_path: Path
) -> None:
    rows = trial.items()
    header, good, *_ = files[min(files)].read_text().splitlines(keepends=True)
    cells = good.strip().split(",")
    trial.put(REJECTED, (header + ",".join([*cells[:-1], "none"]) + "\n").replace(cells[0], "999999").encode())
    trial.wait({REJECTED: "standing"})
    assert len(trial.items()) == len(rows)
    [told] = trial.json("quarantine", "ls", PIPELINE)
    assert (told["column"], told["rows"]) == ("value", 1)
    assert "none" in trial.command("explain", told["example"])
    export = tmp_path / "rejected.csv"
    trial.command("quarantine", "export", PIPELINE, "--out", str(export))
    export.write_text(export.read_text().replace("none", "1.5"))
    trial.command("quarantine", "correct", PIPELINE, str(export), "--yes")
    trial.wait({REJECTED: "standing"})
    assert len(trial.items()) == len(rows) + 1


def test_everything_can_be_made_anew(trial: Trial) -> None:
    rows = trial.items()
    assert rows == trial.lake()
    trial.command("replay", PIPELINE, "--all", "--yes")
    assert trial.items() == trial.lake() == rows
    trial.command("compact")
    trial.command("rebuild", "asset_data", "--yes")
    trial.command("rebuild", "lv_data", "--yes")
    assert trial.items() == trial.lake() == rows
    assert trial.json("status")["pipelines"]


# who may do what, and when


def test_the_publisher_is_woken_each_minute(trial: Trial) -> None:
    logs = trial.place.client("logs")
    group = next(
        one["logGroupName"]
        for page in logs.get_paginator("describe_log_groups").paginate()
        for one in page["logGroups"]
        if trial.stack in one["logGroupName"] and "publish" in one["logGroupName"]
    )
    begun = int(time.time() * 1000)

    def invocations() -> int:
        pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group, startTime=begun)
        lines = [event["message"] for page in pages for event in page["events"]]
        return sum('"event": "invocation"' in line or '"event":"invocation"' in line for line in lines)

    until = time.monotonic() + 200
    while not invocations():
        assert time.monotonic() < until, "no sweep within three minutes"
        time.sleep(5)


@pytest.mark.parametrize("role", ["ingest", "publish"])
def test_a_function_s_role_is_refused_what_its_policy_does_not_allow(trial: Trial, place: Place, role: str) -> None:
    """Its trust is widened for this to the account that runs the trial, and narrowed again."""
    iam = place.client("iam")
    function = place.client("lambda").get_function_configuration(FunctionName=f"{trial.stack}-{PIPELINE}-{role}")
    name = function["Role"].rsplit("/", 1)[-1]
    before = iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]
    caller = place.client("sts").get_caller_identity()["Arn"]
    account = {"AWS": f"arn:{caller.split(':')[1]}:iam::{place.account}:root"}
    wider = [*before["Statement"], {"Effect": "Allow", "Principal": account, "Action": "sts:AssumeRole"}]
    iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps({**before, "Statement": wider}))
    try:
        given = assumed(place, function["Role"])
        client = lambda service: place.client(service, **given)  # noqa: E731
        landing, lake = trial.bucket("landing"), trial.bucket("lake")
        outside = {
            "write into the landing bucket": refused(
                client("s3").put_object, Bucket=landing, Key="elsewhere.csv", Body=b""
            ),
            "read elsewhere": refused(client("s3").get_object, Bucket=landing, Key="elsewhere.csv"),
            "list buckets": refused(client("s3").list_buckets),
            "search the ledger": refused(client("dynamodb").scan, TableName=trial.table("ledger"), Limit=1),
            "list functions": refused(client("lambda").list_functions),
        }
        if role == "ingest":
            outside["read rows"] = refused(client("dynamodb").scan, TableName=trial.table("asset"), Limit=1)
        if not place.real and not any(code in DENIED for code in outside.values()):
            pytest.skip("an emulator: it enforces no policies")
        assert {what: code in DENIED for what, code in outside.items()} == dict.fromkeys(outside, True), outside
        assert not refused(client("s3").head_bucket, Bucket=lake), "what the policy allows was refused too"
    finally:
        iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(before))


def assumed(place: Place, role: str) -> dict[str, str]:
    """Credentials of that role; a changed trust is known everywhere within some seconds."""
    until = time.monotonic() + 90
    while True:
        try:
            found = place.client("sts").assume_role(RoleArn=role, RoleSessionName="trial")["Credentials"]
        except ClientError as exc:
            if exc.response["Error"]["Code"] not in DENIED or time.monotonic() > until:
                raise
            time.sleep(3)
            continue
        return {
            "aws_access_key_id": found["AccessKeyId"],
            "aws_secret_access_key": found["SecretAccessKey"],
            "aws_session_token": found["SessionToken"],
        }


VISIBILITY = "VisibilityTimeout"


@pytest.fixture
def changed(trial: Trial) -> Iterator[Callable[[], str]]:
    """A queue's visibility, changed by hand; asked for as it is now. It is put back afterwards."""
    sqs = trial.place.client("sqs")
    url = sqs.get_queue_url(QueueName=f"{trial.stack}-{PIPELINE}-events")["QueueUrl"]

    def found() -> str:
        return str(sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[VISIBILITY])["Attributes"][VISIBILITY])

    kept = found()
    sqs.set_queue_attributes(QueueUrl=url, Attributes={VISIBILITY: "77"})
    yield found
    if found() != kept:
        sqs.set_queue_attributes(QueueUrl=url, Attributes={VISIBILITY: kept})


@pytest.mark.usefixtures("changed")
def test_what_was_changed_by_hand_is_drift(trial: Trial) -> None:
    assert VISIBILITY in trial.command("plan", exit=3)


def test_a_repair_takes_it_back(trial: Trial, place: Place, changed: Callable[[], str]) -> None:
    only_real(place, "its change sets revert no drift")
    trial.deploy("--repair")
    assert changed() != "77"
    assert trial.json("plan")["no_changes"]


# the end


def test_a_destroy_with_its_data_leaves_nothing(trial: Trial, place: Place) -> None:
    assert place.left_of(trial.stack)
    trial.destroy()
    assert trial.left() == []

"""The template that a project deploys: its text, what the checkers say of it, and that CloudFormation takes it."""

from __future__ import annotations

import io
import json
import subprocess
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest
from stacks import CREATED, GOLDEN, GOLDENS, created, lines, options, sales

from headrace.aws.declare.resources import resources
from headrace.aws.declare.resources.values import Resource
from headrace.aws.declare.template import LIMIT, template
from headrace.aws.declare.yaml import to_yaml
from headrace.aws.places import Places


@pytest.mark.parametrize("name", GOLDENS)
def test_a_template_is_as_it_was_agreed(name: str) -> None:
    """A wanted change is written down by `python tests/aws_home/stacks.py`, and read before it is committed."""
    assert to_yaml(GOLDENS[name]()) == (GOLDEN / f"{name}.yaml").read_text("utf-8")


def test_the_page_of_what_is_created_says_what_the_definition_says() -> None:
    assert CREATED.read_text("utf-8") == created()


@pytest.mark.parametrize("name", GOLDENS)
def test_cfn_lint_has_nothing_to_say(name: str, cfn_lint: Path) -> None:
    done = subprocess.run([cfn_lint, GOLDEN / f"{name}.yaml"], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("name", GOLDENS)
def test_checkov_has_nothing_to_say_but_what_is_justified_in_place(name: str, checkov: Path, tmp_path: Path) -> None:
    command = [checkov, "-f", GOLDEN / f"{name}.yaml", "--framework", "cloudformation", "--skip-download", "-o", "json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=tmp_path)
    results = json.loads(done.stdout)["results"]
    assert [f"{c['check_id']} {c['resource']}" for c in results["failed_checks"]] == []
    assert results["passed_checks"] and not results["parsing_errors"]
    assert all(c["check_result"]["suppress_comment"] for c in results["skipped_checks"])


def test_every_waiver_is_needed(checkov: Path, tmp_path: Path) -> None:
    """A check that a resource keeps after all is not to be waived any more."""
    document = GOLDENS["substation"]()
    waived = set()
    for id, one in document["Resources"].items():
        for skip in one["Metadata"].pop("checkov", {}).get("skip", ()):
            waived.add((skip["id"], id))
    path = tmp_path / "bare.json"
    path.write_text(json.dumps(document), "utf-8")
    command = [checkov, "-f", path, "--framework", "cloudformation", "--skip-download", "-o", "json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=tmp_path)
    failed = json.loads(done.stdout)["results"]["failed_checks"]
    assert {(c["check_id"], c["resource"].split(".")[-1]) for c in failed} == waived


def test_the_yaml_holds_what_the_template_holds(cfn_lint: Path, tmp_path: Path) -> None:
    """Read by cfn-lint's own reader, which knows CloudFormation's short forms."""
    reader = cfn_lint.parent / "python"
    program = "import json, sys; from cfnlint.decode import cfn_yaml; print(json.dumps(cfn_yaml.load(sys.argv[1])))"
    for name, make in GOLDENS.items():
        done = subprocess.run([reader, "-c", program, GOLDEN / f"{name}.yaml"], capture_output=True, timeout=120)
        assert json.loads(done.stdout) == make(), done.stderr.decode()


def test_yaml_keeps_texts_that_look_like_something_else() -> None:
    odd = [
        "yes",
        "no",
        "1",
        "1.0",
        "~",
        "a: b",
        "a:",
        "#x",
        "- x",
        "'",
        '"',
        "",
        " a",
        "a ",
        "a\nb",
        "a\n b\n",
        "!Ref x",
    ]
    text = to_yaml({"odd": odd, "map": {one: one for one in odd}})
    assert text.count('"yes"') == 3 and "!Ref x" in text


def test_the_example_can_be_sent_as_it_is() -> None:
    assert len(json.dumps(GOLDENS["substation"](), separators=(",", ":"))) < LIMIT


def test_every_saved_query_of_the_example_is_one_of_athenas() -> None:
    resources = GOLDENS["substation"]()["Resources"]
    assert sum(one["Type"] == "AWS::Athena::NamedQuery" for one in resources.values()) == 6
    assert "SavedQueriesLeftOut" not in resources["Workgroup"]["Metadata"]


def test_an_unknown_resource_is_an_error_and_not_a_gap() -> None:
    from headrace.aws.declare.cfn import typed

    with pytest.raises(AssertionError):
        typed(Resource(id="X", why="none"))


def test_outputs_are_the_places() -> None:
    document = template("shop", [sales(), lines()], options())
    told = {name: _filled(one["Value"]) for name, one in document["Outputs"].items()}
    places = Places.from_outputs(told)
    assert set(places.pipelines) == {"sales", "lines"}
    assert places.table("sales_items") == "${SalesItemsItems}"


def _filled(value: Any) -> str:
    return value["Fn::Sub"] if isinstance(value, Mapping) else value


# on an emulator


class Stack:
    """A stack on MiniStack, changed by change sets as `deploy` does it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.cloudformation = boto3.client("cloudformation")
        self.s3 = boto3.client("s3")
        account = boto3.client("sts").get_caller_identity()["Account"]
        self.artifacts = f"{name}-artifacts-{account}-eu-west-2"
        self.s3.create_bucket(Bucket=self.artifacts, CreateBucketConfiguration={"LocationConstraint": "eu-west-2"})
        self.s3.put_object(Bucket=self.artifacts, Key="code.zip", Body=_package())

    def apply(self, document: dict[str, Any], kind: str) -> list[dict[str, Any]]:
        """The changes that were made."""
        codes = [{"ParameterKey": f"{role}Code", "ParameterValue": "code.zip"} for role in ("Ingest", "Publish")]
        extras = {"ParameterKey": "Extras", "ParameterValue": "no"}  # MiniStack knows neither of the two types
        self.s3.put_object(Bucket=self.artifacts, Key="template.yaml", Body=to_yaml(document).encode())
        self.cloudformation.create_change_set(
            StackName=self.name,
            ChangeSetName=kind,
            ChangeSetType=kind,
            TemplateURL=f"{self.s3.meta.endpoint_url}/{self.artifacts}/template.yaml",
            Capabilities=["CAPABILITY_IAM"],
            Parameters=[*codes, extras],
        )
        self._wait("change_set_create_complete", ChangeSetName=kind)
        changes = self.cloudformation.describe_change_set(StackName=self.name, ChangeSetName=kind)["Changes"]
        self.cloudformation.execute_change_set(StackName=self.name, ChangeSetName=kind)
        self._wait(f"stack_{kind.lower()}_complete")
        return [change["ResourceChange"] for change in changes]

    def outputs(self) -> dict[str, str]:
        (stack,) = self.cloudformation.describe_stacks(StackName=self.name)["Stacks"]
        return {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]}

    def delete(self) -> None:
        self.cloudformation.delete_stack(StackName=self.name)
        self._wait("stack_delete_complete")

    def _wait(self, what: str, **more: str) -> None:
        waiter = self.cloudformation.get_waiter(what)
        waiter.wait(StackName=self.name, WaiterConfig={"Delay": 1, "MaxAttempts": 60}, **more)


def _package() -> bytes:
    """Handlers that write down what they got and settle it."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as file:
        for folder in ("headrace", "headrace/aws"):
            file.writestr(f"{folder}/__init__.py", "")
        lines = ("def ingest(event, context):", "    return {'batchItemFailures': []}", "publish = ingest", "")
        file.writestr("headrace/aws/handlers.py", "\n".join(lines))
    return held.getvalue()


def _names() -> dict[str, set[str]]:
    """What there is of what a stack makes, data apart."""
    return {
        "queues": set(boto3.client("sqs").list_queues().get("QueueUrls", [])),
        "functions": {f["FunctionName"] for f in boto3.client("lambda").list_functions()["Functions"]},
        "mappings": {m["UUID"] for m in boto3.client("lambda").list_event_source_mappings()["EventSourceMappings"]},
        "roles": {r["RoleName"] for r in boto3.client("iam").list_roles()["Roles"]},
        "rules": {r["Name"] for r in boto3.client("events").list_rules()["Rules"]},
        "alarms": {a["AlarmName"] for a in boto3.client("cloudwatch").describe_alarms()["MetricAlarms"]},
        "logs": {g["logGroupName"] for g in boto3.client("logs").describe_log_groups()["logGroups"]},
        "topics": {t["TopicArn"] for t in boto3.client("sns").list_topics()["Topics"]},
        "workgroups": {w["Name"] for w in boto3.client("athena").list_work_groups()["WorkGroups"]},
        "dashboards": {d["DashboardName"] for d in boto3.client("cloudwatch").list_dashboards()["DashboardEntries"]},
    }


def test_a_change_set_makes_the_whole_stack_and_its_deletion_leaves_data_alone(aws_environment: str) -> None:
    before = _names()
    stack, pipelines = Stack("deployed"), [sales("north", "north/"), sales("south", "shop/"), lines()]
    values = resources("shop", pipelines, options(stack="deployed"))
    document = template("shop", pipelines, options(stack="deployed"))
    stack.apply(document, "CREATE")
    made = stack.cloudformation.describe_stack_resources(StackName=stack.name)["StackResources"]
    assert {one["LogicalResourceId"] for one in made} == {one.id for one in values if not one.extra}

    places = Places.from_outputs(stack.outputs())
    assert set(places.pipelines) == {"north", "south", "lines"}
    told = boto3.client("lambda").get_function_configuration(FunctionName=places.pipelines["north"].ingest)
    assert Places.from_environment(told["Environment"]["Variables"]) == places.only("north")

    stack.delete()
    after = _names()
    # A function that was at work when its stack went writes its last line then, and Lambda makes the group anew for it.
    after["logs"] -= {
        f"/aws/lambda/{each}" for place in places.pipelines.values() for each in (place.ingest, place.publish)
    }
    assert after == before
    left = {b["Name"] for b in stack.s3.list_buckets()["Buckets"]}
    assert {places.landing, places.lake} <= left
    tables = boto3.client("dynamodb").list_tables()["TableNames"]
    assert {places.ledger, places.table("north_items")} <= set(tables)


def test_an_uploaded_object_reaches_every_pipeline_that_reads_it(aws_environment: str) -> None:
    """Directly or through the topic: with the mappings off, the events can be read from the queues."""
    stack, pipelines = Stack("fanned"), [sales("north", "north/"), sales("south", "shop/"), lines()]
    document = template("shop", pipelines, options(stack="fanned"))
    for one in document["Resources"].values():
        if one["Type"] == "AWS::Lambda::EventSourceMapping":
            one["Properties"]["Enabled"] = False
    stack.apply(document, "CREATE")
    places = Places.from_outputs(stack.outputs())
    for name in ("north/1.csv", "shop/2.csv", "shop/returns/3.csv", "north/no.txt", "else/4.csv"):
        stack.s3.put_object(Bucket=places.landing, Key=name, Body=b"x")
    try:
        heard = {name: _heard(where.queue) for name, where in places.pipelines.items()}
        assert heard == {
            "north": {"north/1.csv"},
            "south": {"shop/2.csv", "shop/returns/3.csv"},
            "lines": {"shop/2.csv", "shop/returns/3.csv"},  # its function passes over what it does not want
        }
    finally:
        stack.delete()


def _heard(url: str) -> set[str]:
    sqs, keys = boto3.client("sqs"), set()
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1).get("Messages"):
        for message in messages:
            keys |= {r["s3"]["object"]["key"] for r in json.loads(message["Body"]).get("Records", ())}
    return keys


def test_an_unchanged_template_changes_nothing_and_a_changed_option_only_what_it_is_about(
    aws_environment: str,
) -> None:
    stack = Stack("changed")
    stack.apply(template("shop", [sales()], options(stack="changed")), "CREATE")
    changes = stack.apply(template("shop", [sales()], options(stack="changed", ingest_memory=1024)), "UPDATE")
    assert {(c["Action"], c["LogicalResourceId"]) for c in changes} == {("Modify", "SalesIngest")}
    stack.delete()

"""The commands about a stack, called as a person would: what they print where, how they end, what they never say."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from aws_home.small_stack import new_name
from headrace.aws.operate.inventory import inventory
from headrace.aws.places import Places
from headrace.aws.session import Session
from headrace.cli import main
from headrace.project.opened import open_project

REGION = "eu-west-2"
SECRETS = {
    "AWS_SECRET_ACCESS_KEY": "canary/secret/of/the/environment/0001",
    "AWS_SESSION_TOKEN": "canary-token-of-the-environment-0002",
}
OTHER = "canary-of-another-target-0003"
HIDDEN = "canary-of-an-event-0004"


class Said(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Command = Callable[..., Said]


class Terminal(io.StringIO):
    """Somebody who can be asked, and answers this."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """One command in the present folder, which can ask nobody."""
    monkeypatch.setattr(sys, "stdin", open(os.devnull, encoding="utf-8"))  # noqa: SIM115

    def run(*words: str) -> Said:
        capsys.readouterr()
        try:
            code = main(list(words))
        except SystemExit as exc:
            code = int(exc.code or 0)
        told = capsys.readouterr()
        return Said(code, told.out, told.err)

    return run


@pytest.fixture
def project(example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the example whose stack has a name of its own, beside a target with a secret in it."""
    folder = tmp_path / "project"
    shutil.copytree(example, folder)
    (folder / "headrace.toml").write_text(
        f"""
        [project]
        module = "pipelines"
        [targets.local]
        [targets.aws]
        kind = "aws"
        stack = "{new_name()}"
        region = "{REGION}"
        extras = false
        [targets.other]
        kind = "aws"
        stack = "other"
        region = "{REGION}"
        tags = {{ secret = "{OTHER}" }}
        """,
        encoding="utf-8",
    )
    monkeypatch.chdir(folder)
    return folder


def stack_of(project: Path) -> str:
    import tomllib

    return str(tomllib.loads((project / "headrace.toml").read_text())["targets"]["aws"]["stack"])


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without credentials, and without a way to AWS."""
    for name in [n for n in os.environ if n.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")


# without an account


def test_plan_needs_no_account_and_prints_its_data_alone_on_stdout(
    command: Command, project: Path, nowhere: None
) -> None:
    said = command("plan", "--target", "aws", "--json")
    assert said.code == 0
    assert said.json["account"] is None and said.json["state"] is None
    assert {c["action"] for c in said.json["changes"]} == {"added"}
    assert said.json["cost"]["monthly"] > 0
    assert "nothing is compared" in said.err


def test_plan_without_a_network_is_soon_done(
    command: Command, project: Path, nowhere: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "anything")
    started = time.monotonic()
    said = command("plan", "--target", "aws", "--json")
    assert (said.code, said.json["account"]) == (0, None)
    assert "HR803" not in said.out
    assert time.monotonic() - started < 10


def test_a_region_without_prices_is_planned_without_a_cost(command: Command, project: Path, nowhere: None) -> None:
    toml = project / "headrace.toml"
    toml.write_text(toml.read_text().replace(f'region = "{REGION}"', 'region = "xx-nowhere-9"'))
    said = command("plan", "--target", "aws", "--json", "--offline")
    assert (said.code, said.json["cost"]) == (0, None)
    assert "HR809" in said.err


def test_plan_as_text_ends_with_what_it_comes_to(command: Command, project: Path, nowhere: None) -> None:
    said = command("plan", "--target", "aws", "--offline")
    lines = said.out.splitlines()
    assert "not compared" in lines[0]
    assert "cost" in lines and "  assumed" in lines
    assert lines[-1].endswith(" added")
    assert said.err == "" and "\033" not in said.out


@pytest.mark.parametrize("verb", ["plan", "deploy", "verify", "destroy"])
def test_a_target_of_another_kind_is_told_which_to_name(command: Command, project: Path, verb: str) -> None:
    said = command(verb)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("HR830 target 'local'")
    assert "--target aws" in said.err


def test_without_the_aws_library_a_command_says_what_to_install(project: Path) -> None:
    program = "import sys; sys.modules['botocore'] = None; from headrace.cli import main; sys.exit(main())"
    ended = subprocess.run(
        [sys.executable, "-c", program, "plan", "--target", "aws"], capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith("HR814")
    assert "pip install 'headrace[aws]'" in ended.stderr


def looked_at(said: Said) -> dict[str, dict[str, Any]]:
    return {one["what"]: one for one in said.json}


def test_doctor_without_credentials_says_so_and_looks_at_the_rest(
    command: Command, project: Path, nowhere: None
) -> None:
    said = command("doctor", "--target", "aws", "--json")
    found = looked_at(said)
    assert said.code == 3
    assert not found["credentials"]["ok"] and "there are no credentials" in found["credentials"]["found"]
    assert "log in" in found["credentials"]["next"]
    assert found["account"]["found"].startswith("not tried")
    assert found["fsync"]["ok"] and "python 3.12 for packages" in found


def test_doctor_names_the_account_the_region_and_a_stack_that_is_not_there_yet(
    command: Command, project: Path, aws_environment: str
) -> None:
    said = command("doctor", "--target", "aws", "--json")
    found = looked_at(said)
    assert said.code == 0, said.out
    assert (found["account"]["ok"], found["account"]["found"]) == (True, "000000000000")
    assert found["region and stack"]["found"] == f"{REGION} answers; stack {stack_of(project)!r} is not deployed there"
    assert found["region and stack"]["next"] == "headrace deploy"


# an AWS that refuses


def _refusing(status: int, code: str, message: str) -> type[BaseHTTPRequestHandler]:
    class Refusing(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = f"<ErrorResponse><Error><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: object) -> None: ...

    return Refusing


@contextmanager
def refused(monkeypatch: pytest.MonkeyPatch, service: str, status: int, code: str, message: str) -> Iterator[None]:
    """One service that answers every request with this error."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _refusing(status, code, message)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", f"http://127.0.0.1:{server.server_port}")
        try:
            yield
        finally:
            server.shutdown()


VERBS = (("plan",), ("deploy",), ("destroy", "--yes", "--confirm", "x"), ("logs",), ("verify",))


@pytest.mark.parametrize("words", VERBS)
def test_wrong_credentials_are_told_as_such(
    command: Command, project: Path, aws_environment: str, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    with (
        refused(monkeypatch, "STS", 403, "InvalidClientTokenId", "The security token is invalid"),
        refused(monkeypatch, "CLOUDFORMATION", 403, "InvalidClientTokenId", "The security token is invalid"),
    ):
        said = command(*words, "--target", "aws")
    assert said.code == 3
    assert "HR801" in said.out + said.err
    assert "AWS does not know the access key" in said.out + said.err
    assert "`profile`" in said.err


@pytest.mark.parametrize("words", VERBS)
def test_a_missing_permission_names_the_action(
    command: Command, project: Path, aws_environment: str, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    message = (
        "User: arn:aws:iam::1:user/a is not authorized to perform: cloudformation:DescribeStacks on resource: arn:b"
    )
    with refused(monkeypatch, "CLOUDFORMATION", 403, "AccessDenied", message):
        said = command(*words, "--target", "aws")
    assert said.code == 3
    assert "HR802" in said.out + said.err
    assert "cloudformation:DescribeStacks on arn:b is denied" in said.out + said.err


# what is said of nothing


def test_a_stack_that_is_not_deployed_is_told_with_the_next_command(
    command: Command, project: Path, aws_environment: str
) -> None:
    (project / "event.json").write_text('{"Records": []}')
    for words in (("logs",), ("invoke", "event.json")):
        said = command(*words, "--target", "aws")
        assert said.code == 3
        assert said.err.startswith("HR844") and "headrace deploy" in said.err
    said = command("verify", "--target", "aws", "--json")
    assert said.code == 3
    assert [(c["what"].split()[0], c["ok"]) for c in said.json] == [("credentials", True), ("stack", False)]
    assert "headrace deploy" in said.err
    said = command("destroy", "--target", "aws", "--json")
    assert (said.code, said.json) == (0, {"removed": [], "kept": []})


@pytest.mark.parametrize("text", [f'{{"secret": "{HIDDEN}"', f'["{HIDDEN}"]', f'"{HIDDEN}"'])
def test_an_event_that_is_none_is_refused_without_its_words(command: Command, project: Path, text: str) -> None:
    (project / "event.json").write_text(text)
    said = command("invoke", "event.json", "--target", "aws")
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("HR843 event.json")
    assert HIDDEN not in said.err


# all of it, with the functions' real packages


def test_a_stack_from_deploy_to_destroy(
    command: Command, project: Path, aws_environment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    name, session = stack_of(project), Session(REGION)
    before, everything = inventory(session), []

    def run(*words: str) -> Said:
        said = command(*words, "--target", "aws")
        everything.append(said.out + said.err)
        return said

    said = run("deploy")
    assert (said.code, said.out) == (2, "")
    shown = said.err.splitlines()
    assert {"storage", "pipeline lv", "rights"} <= set(shown) and any(line.startswith("cost: ") for line in shown)
    assert shown[-1].startswith("HR133 headrace deploy: would ask: Deploy this to stack") and "--yes" in shown[-1]
    with monkeypatch.context() as at:
        at.setattr(sys, "stdin", Terminal("n\n"))
        said = run("deploy")
    assert (said.code, said.out) == (0, "")
    assert said.err.endswith("in account 000000000000? [y/N] nothing was done\n")
    assert inventory(session) == before

    with monkeypatch.context() as at:
        at.setattr(sys, "stdin", Terminal("y\n"))
        said = run("deploy", "--json")
    assert said.code == 0, said.err
    assert (said.json["state"], said.json["status"]) == ("created", "CREATE_COMPLETE")
    said = run("deploy", "--json")
    assert (said.code, said.json["state"]) == (0, "unchanged")  # nothing to ask
    assert "rights" not in said.err and "HR133" not in said.err
    said = run("plan", "--json")
    assert (said.json["no_changes"], said.json["code"], said.json["changes"]) == (True, "unchanged", [])
    assert run("plan").out.splitlines()[-1] == "no changes"
    definition = (project / "pipelines.py").read_text()
    (project / "pipelines.py").write_text(definition.replace("isfinite(value)", "abs(value) < 1e9"))
    said = run("plan", "--json")
    assert (said.json["no_changes"], said.json["code"], said.json["changes"]) == (False, "changed", [])
    said = run("deploy")
    assert said.code == 2 and "the functions' code changes" in said.err and "HR133" in said.err
    (project / "pipelines.py").write_text(definition)

    said = run("verify", "--json")
    assert said.code == 0, said.out + said.err
    assert next(c for c in said.json if c["what"] == "canary of lv")["ok"]
    assert not session.client("s3").list_object_versions(Bucket=f"{name}-landing-000000000000-{REGION}").get("Versions")

    queue = session.client("sqs").get_queue_url(QueueName=f"{name}-lv-events")["QueueUrl"]
    session.client("sqs").set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "60"})
    said = run("plan", "--json")
    assert said.code == 3
    assert [(d["id"], d["state"]) for d in said.json["drift"]] == [("LvEvents", "changed")]
    assert said.err.startswith("HR838") and "headrace deploy --repair" in said.err
    assert run("plan", "--json", "--no-drift").code == 0

    (project / "event.json").write_text(json.dumps({"Records": [], "secret": HIDDEN}))
    said = run("invoke", "event.json", "--json")
    assert (said.code, said.json) == (0, {"batchItemFailures": []})
    said = run("logs", "--json", "-n", "5")
    assert said.code == 0
    lines = [json.loads(line) for line in said.out.splitlines()]
    assert lines and all({"at", "event", "function"} <= line.keys() for line in lines)

    assert run("destroy").code == 2
    assert "HR839" in everything[-1] and f"--yes --confirm {name}" in everything[-1]
    assert run("destroy", "--yes", "--confirm", "other").code == 2
    listed = run("destroy", "--dry-run", "--json").json
    assert {x["kind"] for x in listed["staying"]} == {"bucket", "table", "database"}
    said = run("destroy", "--yes", "--confirm", name, "--json")
    assert said.code == 0, said.err
    assert said.json["kept"] == listed["staying"]
    assert run("destroy", "--delete-data", "--yes", "--confirm", name).code == 0
    assert inventory(session) == before

    for secret in (*SECRETS.values(), OTHER, HIDDEN):
        assert not [text for text in everything if secret in text]
        kept = (project / ".headrace").rglob("*")
        assert not [path for path in kept if path.is_file() and secret.encode() in path.read_bytes()]


# a stack whose functions do nothing


@pytest.fixture
def places(project: Path, aws_environment: str, tmp_path: Path) -> Iterator[Places]:
    """Of the project's stack, deployed with functions that do nothing."""
    from aws_home.declaring import declared, made, unmaking
    from headrace import config

    session = Session(REGION)
    of = declared(stack_of(project), project, *config.load_pipelines(config.read(project)).values())
    yield Places.from_outputs(made(session, of, tmp_path).facts.outputs)
    unmaking(session, of, delete_data=True).destroy(lambda text: None)


def test_doctor_tells_the_state_of_a_stack_that_is_there(command: Command, project: Path, places: Places) -> None:
    found = looked_at(command("doctor", "--target", "aws", "--json"))["region and stack"]
    assert (found["ok"], found["next"]) == (True, "")
    assert found["found"] == f"{REGION} answers; stack {places.stack!r} is CREATE_COMPLETE"


READS = ("BatchGet", "Describe", "Get", "Head", "List", "Query", "Scan")


def test_whoever_asks_writes_nothing_although_the_definition_is_edited(project: Path, places: Places) -> None:
    definition = (project / "pipelines.py").read_text()
    (project / "pipelines.py").write_text(definition.replace("isfinite(value)", "abs(value) < 1e9"))
    with open_project(project, "aws") as opened:
        assert opened.status().stack == "CREATE_COMPLETE"
        assert (opened.history(), opened.dlq(), opened.held("lv"), opened.corrections("lv")) == ([], [], [], [])
        assert opened.quarantine("lv") == [] and opened.get("asset_data", "nobody") == []
        assert opened.replayable("lv", outdated=True) == []
        session = opened._side.session  # type: ignore[attr-defined]  # which counts what it asks
    assert [f"{service}:{name}" for service, name in session.meter if not name.startswith(READS)] == []
    assert session.client("dynamodb").scan(TableName=places.ledger)["Items"] == []


def test_following_logs_ends_with_the_interrupt(project: Path, places: Places) -> None:
    session, name = Session(REGION), stack_of(project)
    group, logs = f"/aws/lambda/{name}-lv-ingest", session.client("logs")
    logs.create_log_stream(logGroupName=group, logStreamName="one")

    def write(text: str) -> None:
        now = int(time.time() * 1000)
        logs.put_log_events(logGroupName=group, logStreamName="one", logEvents=[{"timestamp": now, "message": text}])

    write('{"event": "first", "level": "info"}')
    program = "import sys; from headrace.cli import main; sys.exit(main())"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "logs", "--target", "aws", "--follow"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=project,
    )  # fmt: skip
    assert process.stdout is not None
    told = iter(process.stdout.readline, "")  # among others: the function itself fails at S3's test event
    assert any("first" in line for line in told)
    for n in range(3):
        write(f'{{"event": "later-{n}", "level": "info"}}')
        assert any(f"later-{n}" in line for line in told)
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "later" not in rest


# dead letters


def body(*keys: str) -> str:
    """A message as S3 sends it."""
    return json.dumps({"Records": [{"eventName": "ObjectCreated:Put", "s3": {"object": {"key": k}}} for k in keys]})


def waiting(session: Session, url: str) -> dict[str, str]:
    """Body → how often it was received, of a queue that is asked whole."""
    found = session.client("sqs").receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0, MessageSystemAttributeNames=["All"]
    )
    return {one["Body"]: one["Attributes"]["ApproximateReceiveCount"] for one in found.get("Messages", ())}


def test_messages_that_sqs_gave_up_are_told_and_stay_where_they_are(
    command: Command, project: Path, places: Places
) -> None:
    session, dlq = Session(REGION), places.pipeline("lv").dlq
    assert command("dlq", "ls", "--target", "aws").err.splitlines() == ["nothing is dead"]
    given = [body("in/a+b.csv"), body("in/c.csv"), "not of ours"]
    for text in given:
        session.client("sqs").send_message(QueueUrl=dlq, MessageBody=text)
    said = command("dlq", "ls", "lv", "--target", "aws", "--json")
    assert (said.code, said.json) == (0, [])
    assert "lv: 3 messages in the dead-letter queue, about in/a b.csv, in/c.csv: headrace dlq redrive lv" in said.err
    assert set(waiting(session, dlq)) == set(given)
    said = command("dlq", "redrive", "lv", "--dry-run", "--target", "aws")
    assert "3 messages in the dead-letter queue, about in/a b.csv, in/c.csv would be put back" in said.err
    assert set(waiting(session, dlq)) == set(given)

"""What a function does around the engine. The way of a datum through it is in the scenarios."""

from __future__ import annotations

import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from headrace import Pipeline, Record, files, lake
from headrace.aws import handlers, keyed_pieces
from headrace.aws.keyed_control import Control, Work
from headrace.aws.keyed_layout import Layout
from headrace.aws.ledger import DynamoLedger
from headrace.aws.lock import exclusive
from headrace.aws.messages import asked_in
from headrace.aws.options import AwsOptions, Role
from headrace.aws.places import PIPELINE, TARGET, VARIABLE, PipelinePlaces, Places
from headrace.aws.scanning import LEASE, Course
from headrace.aws.scratch import FOLDER, own_folder
from headrace.aws.session import Session
from headrace.aws.table import Table
from headrace.aws.target import LEASE as LOCK
from headrace.aws.target import AwsTarget
from headrace.engine import faults
from headrace.engine.home import Home
from headrace.engine.ingest import ingest
from headrace.engine.sandbox import InProcess
from headrace.local.clock import ManualClock
from headrace.model.errors import InfrastructureError
from headrace.model.times import instant_of
from headrace.project.filling import Said, ask_patiently, filled
from ports.ledgers import make_places
from sinks.dynamo import make_table


class Row(Record, key="k"):
    k: int


PIPELINES = """
from headrace import Pipeline, Record, files, lake


class Row(Record, key="k"):
    k: int


p = Pipeline("p", source=files("in/"), record=Row, sinks=[lake("t")])
"""
SETTINGS = """
[project]
module = "pipelines"
[targets.prod]
kind = "aws"
stack = "shop"
region = "eu-west-2"
"""


class Life:
    """An invocation's context, whose time is told: each look at it takes some."""

    aws_request_id = "request"

    def __init__(self, seconds: float = 300.0, look: float = 0.0) -> None:
        self.left, self._look = seconds, look

    def get_remaining_time_in_millis(self) -> int:
        self.left -= self._look
        return int(max(0.0, self.left) * 1000)


@pytest.fixture
def places(aws_environment: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Places]:
    """What the functions of a pipeline find around them, but for Lambda: code, places, and a disk."""
    session, name = Session("eu-west-2"), secrets.token_hex(6)
    table, bucket = make_places(session)
    sqs, s3, sns = (session.client(service) for service in ("sqs", "s3", "sns"))
    queue, dlq, bell = (sqs.create_queue(QueueName=f"{name}-{n}")["QueueUrl"] for n in ("queue", "dlq", "bell"))
    landing = f"landing-{name}"
    s3.create_bucket(Bucket=landing, CreateBucketConfiguration={"LocationConstraint": "eu-west-2"})
    s3.put_bucket_versioning(Bucket=landing, VersioningConfiguration={"Status": "Enabled"})
    topic = sns.create_topic(Name=name)["TopicArn"]
    shared = {"account": "000000000000", "workgroup": "x", "artifacts": "x", "database": f"db{name}"}
    shared |= {"topic": topic, "operations": topic, "landing": landing, "lake": bucket, "ledger": table}
    session.client("glue").create_database(DatabaseInput={"Name": f"db{name}"})
    pipelines = {"p": PipelinePlaces(queue, dlq, bell, "ingest", "publish")}
    found = Places("shop", "eu-west-2", pipelines=pipelines, **shared)
    code, disk = tmp_path / "code", tmp_path / "tmp"
    code.mkdir()
    disk.mkdir()
    (code / "pipelines.py").write_text(PIPELINES)
    (code / "headrace.toml").write_text(SETTINGS)
    monkeypatch.setattr(tempfile, "tempdir", str(disk))
    for variable, value in ((VARIABLE, found.to_json()), (PIPELINE, "p"), (TARGET, "prod"), ("LAMBDA_TASK_ROOT", code)):
        monkeypatch.setenv(variable, str(value))
    handlers.function.cache_clear()
    yield found
    handlers.function.cache_clear()


def asked(places: Places) -> list[str]:
    """The keys of events that wait in the pipeline's queue, which is emptied."""
    sqs, url = Session("eu-west-2").client("sqs"), places.pipeline("p").queue
    keys: list[str] = []
    while got := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        for message in got:
            keys += [one.event.key for one in asked_in("p", message["Body"])]
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return sorted(keys)


def test_a_scan_that_takes_too_long_for_one_life_is_gone_on_with_by_the_sweeps(places: Places) -> None:
    s3, names = Session("eu-west-2").client("s3"), [f"in/{n:03}.csv" for n in range(100)]
    for name in names:
        s3.put_object(Bucket=places.landing, Key=name, Body=b"k\n1\n")
    told = [handlers.publish({"do": "scan"}, Life(look=7))["events"]]
    assert 0 < told[0] < 100
    handlers.publish({"do": "publish", "Records": [{"body": "{}"}]}, Life())
    first = asked(places)
    assert first == names[: len(first)], "a ring has no time for a scan"
    lives = 0
    while len(first) < 100 and lives < 10:
        handlers.publish({"do": "publish"}, Life(look=7))
        first, lives = sorted([*first, *asked(places)]), lives + 1
    assert first == names and lives > 1, "each is asked for once, as by a scan in one piece"
    handlers.publish({"do": "publish"}, Life())
    assert asked(places) == [], "it is through, until the schedule begins another"
    assert handlers.publish({"do": "scan"}, Life())["events"] == 100


def test_of_two_sweeps_one_goes_on_with_a_scan_and_after_a_death_the_next(places: Places) -> None:
    opened = handlers.function("publish")
    clock = ManualClock()
    ledger = DynamoLedger(opened.session, places.ledger, places.lake, opened.target.queue, "p", clock)
    course, other = Course(ledger), Course(ledger)
    assert course.take(300) is None
    course.begin()
    assert course.take(300) == "" and other.take(300) is None
    course.leave("in/5")
    course.begin()
    assert (other.take(300), course.take(300)) == ("in/5", None), "one that is under way is not begun anew"
    clock.advance(timedelta(seconds=300 + LEASE + 1))
    assert course.take(300) == "in/5", "whoever had it is dead"
    course.leave(None)
    assert other.take(300) is None


KEYED = """
from headrace import Pipeline, Record, files, keyed


class Row(Record, key="k"):
    k: int


p = Pipeline("p", source=files("in/"), record=Row, sinks=[keyed("t")])
"""


@pytest.fixture
def keyed_table(places: Places, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Table:
    """The same pipeline with a keyed table, which takes a hundred rows at a time."""
    monkeypatch.setattr(keyed_pieces, "PIECE_ROWS", 100)
    make_table(Session("eu-west-2"), "t-" + places.lake, Layout.of(("k",), (("k", "BIGINT"),)))
    here = replace(places.pipeline("p"), tables={"t": "t-" + places.lake})
    monkeypatch.setenv(VARIABLE, replace(places, pipelines={"p": here}).to_json())
    (tmp_path / "code" / "keyed_rows.py").write_text(KEYED)
    (tmp_path / "code" / "headrace.toml").write_text(SETTINGS.replace('"pipelines"', '"keyed_rows"'))
    return Table(Session("eu-west-2"), "t-" + places.lake)


def stage(places: Places, rows: int) -> Home:
    """A file of so many rows, staged for the publisher."""
    body = "k\n" + "".join(f"{n}\n" for n in range(rows))
    Session("eu-west-2").client("s3").put_object(Bucket=places.landing, Key="in/a.csv", Body=body.encode())
    handlers.publish({"do": "scan"}, Life())
    home = handlers.function("publish").home
    ingest(home, InProcess(), home.queue.lease("p", 10, timedelta(minutes=1)))
    return home


def heard(places: Places) -> dict[str, Any]:
    """A message that waits at the doorbell, as Lambda hands it over."""
    sqs, url = Session("eu-west-2").client("sqs"), places.pipeline("p").bell
    sqs.send_message(QueueUrl=url, MessageBody='{"pipeline": "p"}')
    [message] = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=1, VisibilityTimeout=300)["Messages"]
    return {"messageId": message["MessageId"], "receiptHandle": message["ReceiptHandle"], "body": message["Body"]}


@contextmanager
def slow_table(life: Life) -> Iterator[None]:
    """Each piece takes a minute and a half."""

    def piece(name: str) -> None:
        if name in ("keyed.sent", "keyed.swept"):
            life.left -= 90

    with faults.install(piece):
        yield


def test_what_takes_a_keyed_table_longer_than_a_life_goes_on_in_the_next_ones_and_is_no_error(
    places: Places, keyed_table: Table
) -> None:
    home = stage(places, 1000)
    message, writer = heard(places), home.writers["t"]
    lives = []
    while writer.number() == 0 and len(lives) < 9:
        life = Life()
        with slow_table(life):
            lives.append(handlers.publish({"do": "publish", "Records": [message]}, life)["batchItemFailures"])
    assert lives == [[{"itemIdentifier": message["messageId"]}]] * 2 + [[]], "the message asks until all is done"
    assert len(scanned(keyed_table)) == 1000
    life = Life()
    with slow_table(life):
        assert handlers.publish({"do": "rebuild", "sink": "t"}, life) == {"sink": "t", "done": False}
    assert writer.number() == 0
    handlers.publish({"do": "publish"}, Life())
    assert writer.number() == 1
    assert handlers.publish({"do": "rebuild", "sink": "t"}, Life()) == {"sink": "t", "done": True}


def test_a_rebuild_that_finds_another_publisher_at_work_says_so_and_is_no_error(
    places: Places, keyed_table: Table
) -> None:
    home = stage(places, 10)
    handlers.publish({"do": "publish"}, Life())
    other = DynamoLedger(Session("eu-west-2"), places.ledger, places.lake, home.queue, "p", home.clock)
    with exclusive(other, 300):
        said = handlers.publish({"do": "rebuild", "sink": "t"}, Life())
    assert (said["done"], "holds its lease until" in said["busy"]) == (False, True)


def scanned(table: Table) -> list[object]:
    client = Session("eu-west-2").client("dynamodb")
    pages = client.get_paginator("scan").paginate(TableName=table.name, ConsistentRead=True)
    return [item for page in pages for item in page["Items"] if "_load_id" in item]


# -- waiting for them --------------------------------------------------------------------------------------------


def test_a_rebuild_is_asked_for_until_nobody_is_in_the_way_and_waited_for_until_it_is_through() -> None:
    said: list[Said] = [{"busy": "x holds its lease"}, {"busy": "y holds its lease"}, {"done": False}]
    assert not ask_patiently(lambda: said.pop(0), "p", patience=60, poll=0)
    assert said == []
    work = Work("rebuild", 3, "f", 1)
    states = [Control(work=work), Control(work=replace(work, done=70)), Control(work=replace(work, done=90, swept=8))]
    states += [Control(number=3, rows=100)]
    told: list[int] = []
    filled(lambda: states.pop(0), told.append, "keyed 't'", patience=60, poll=0)
    assert (told, states) == ([70, 20, 10], [])


def test_a_rebuild_that_nobody_goes_on_with_is_told() -> None:
    with pytest.raises(InfrastructureError, match="HR521 p: x holds its lease"):
        ask_patiently(lambda: {"busy": "x holds its lease"}, "p", patience=0.05, poll=0.01)
    with pytest.raises(InfrastructureError, match="HR126 keyed 't': nothing of it was filled for 0 s; .*headrace logs"):
        filled(lambda: Control(work=Work("rebuild", 3, "f", 1)), print, "keyed 't'", patience=0.05, poll=0.01)


HOLDING = """
import sys, time
from pathlib import Path
from headrace.aws.scratch import own_folder
folder = own_folder(Path(sys.argv[1]))
(folder / "copy").write_text("x")
print(folder, flush=True)
sys.stdin.read()
"""


@contextmanager
def another_process(within: Path) -> Iterator[Path]:
    """A process with a folder of its own; it is killed in the end."""
    command = [sys.executable, "-c", HOLDING, str(within)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Path(process.stdout.readline().strip())
        finally:
            process.kill()


def test_a_function_clears_away_what_an_earlier_process_left_on_its_disk(tmp_path: Path) -> None:
    """Whatever its number was, and whoever has that number now."""
    of_others = tmp_path / "headrace-init-1"
    of_others.mkdir()
    with another_process(tmp_path) as dead:
        pass
    with another_process(tmp_path) as living:
        assert not dead.exists() and (living / "copy").exists()
        mine = own_folder(tmp_path)
        assert sorted(tmp_path.iterdir()) == sorted([living, of_others, mine])
        assert [path.name for path in mine.iterdir()] == ["lock"]
    next_one = own_folder(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([of_others, mine, next_one])


def test_a_folder_whose_deletion_was_interrupted_goes_as_well(tmp_path: Path) -> None:
    half = tmp_path / f"{FOLDER}x"
    (half / "spool").mkdir(parents=True)
    own_folder(tmp_path)
    assert not half.exists()


@pytest.mark.parametrize("role", ["ingest", "publish"])
def test_an_invocation_begins_without_what_one_before_it_left_on_the_disk(places: Places, role: Role) -> None:
    opened = handlers.function(role)
    root = opened.target.root
    left = ["spool/a-copy", "spool/tmp1/part", "spool/spill/duckdb_temp_storage-0.tmp", "lake/t/data/p.1.parquet"]
    for name in left:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    getattr(handlers, role)({"Records": []}, Life())
    assert [path.name for path in root.rglob("*") if path.is_file()] == ["lock"]


def test_a_publisher_that_is_killed_late_in_its_life_is_followed_soon(aws_environment: str, tmp_path: Path) -> None:
    session = Session("eu-west-2")
    table, bucket = make_places(session)
    shared = dict.fromkeys(("account", "landing", "topic", "operations", "database", "workgroup", "artifacts"), "x")
    places = Places(stack="s", region="eu-west-2", lake=bucket, ledger=table, **shared)
    target = AwsTarget(session, places, AwsOptions(stack="s", region="eu-west-2"), tmp_path, clock=ManualClock())
    pipeline = Pipeline("p", source=files("in/"), record=Row, sinks=[lake("t")])
    ledger = target.ledger(pipeline, target.queue)
    target.seconds_left = lambda: 20.0
    with pytest.raises(KeyboardInterrupt), target.home(pipeline).lock():
        told = instant_of(ledger.log.peek().until) - target.clock.now()
        raise KeyboardInterrupt
    assert told == timedelta(seconds=20 + LOCK)

"""A deployed stack is tried out and nothing is left of it; what is wrong is said; what its functions wrote is read."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from aws_home.declaring import declared, made, new_name, pipeline, unmaking
from aws_home.other_services import service as answering
from aws_home.small_stack import quick, shared
from headrace.aws import canary
from headrace.aws.clock import SystemClock
from headrace.aws.operate.health import stack_health
from headrace.aws.operate.logs import Wanted, follow, parse, recent
from headrace.aws.operate.verify import Check, _looks, _tried, verify
from headrace.aws.places import Places
from headrace.aws.session import Session
from headrace.model.canary import canary_key
from headrace.model.loads import Event, Lease


@pytest.fixture
def session(aws_environment: str) -> Session:
    return shared(aws_environment)


@pytest.fixture
def name(session: Session, tmp_path: Path) -> Iterator[str]:
    """A deployed stack whose functions do nothing."""
    name = new_name()
    of = declared(name, tmp_path)
    made(session, of, tmp_path)
    yield name
    unmaking(session, of, delete_data=True).destroy(lambda text: None)


@pytest.fixture
def places(session: Session, name: str) -> Places:
    return Places.from_outputs(quick(session, name).deployed().outputs)


def checks(session: Session, name: str) -> dict[str, Check]:
    return {c.what: c for c in verify(session, quick(session, name), {"shop": pipeline()}, patience=3)}


# the canary


def test_a_canary_that_does_not_come_through_is_told_and_cleared_away(
    session: Session, name: str, places: Places
) -> None:
    found = checks(session, name)
    assert [what for what, check in found.items() if not check.ok] == ["canary of shop"]
    assert found["canary of shop"].found.startswith("HR841 it was not taken by ingest")
    assert "headrace logs" in found["canary of shop"].next
    assert not session.client("s3").list_object_versions(Bucket=places.landing).get("Versions")
    assert not session.client("dynamodb").scan(TableName=places.ledger)["Items"]


def lease(key: str, hint: str = "created") -> Lease:
    return Lease(1, Event("shop", key, hint), "token", 1)


def test_a_canary_is_marked_on_its_way_and_other_objects_cost_no_request(session: Session, places: Places) -> None:
    key, clock = canary_key("in/", (".csv",), "ab"), SystemClock()
    session.meter.clear()
    assert canary.mark(session, places.ledger, "shop", [lease("in/a.csv"), lease(key, "removed")], clock, "r0") == []
    assert not session.meter
    assert canary.mark(session, places.ledger, "shop", [lease(key), lease("in/a.csv")], clock, "r1") == [key]
    assert canary.marks(session, places.ledger, "shop", key)["taken_by"] == "r1"
    assert canary.of_message({"pipeline": "shop", "canary": [key, "in/a.csv", 7]}) == [key]
    canary.mark_published(session, places.ledger, "shop", [key], clock, "r2")
    assert canary.marks(session, places.ledger, "shop", key).keys() == {
        "taken_at", "taken_by", "published_at", "published_by",
    }  # fmt: skip
    canary.forget(session, places.ledger, "shop", key)
    assert canary.marks(session, places.ledger, "shop", key) == {}


# what is wrong


def test_each_thing_that_a_stack_is_made_of_is_tried(session: Session, name: str, places: Places) -> None:
    session.client("sns").delete_topic(TopicArn=places.topic)
    session.client("dynamodb").delete_table(TableName=places.table("sales"))
    session.client("sqs").delete_queue(QueueUrl=places.pipeline("shop").dlq)
    found = checks(session, name)
    wrong = {what for what, check in found.items() if not check.ok}
    assert wrong >= {f"topic {name}-alerts", f"table {places.table('sales')}", "queue of shop's dead letters"}
    assert found[f"bucket {places.lake}"].ok


def test_a_pipeline_that_was_not_deployed_is_told(session: Session, name: str) -> None:
    found = list(verify(session, quick(session, name), {"other": pipeline()}, patience=1))
    assert (found[-1].what, found[-1].ok, found[-1].next) == ("pipeline other", False, "headrace deploy")


def test_raised_alarms_and_dead_letters_are_a_stack_s_health(session: Session, places: Places) -> None:
    before = stack_health(session, places)
    assert (before.alarms, before.faults, before.state) == ((), (), "CREATE_COMPLETE")
    alarm = f"{places.stack}-shop-dead-letters"
    session.client("cloudwatch").set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="a test")
    session.client("sqs").send_message(QueueUrl=places.pipeline("shop").dlq, MessageBody="{}")
    found = stack_health(session, places)
    assert any(alarm in one for one in found.alarms)
    assert any("1 message in the dead-letter queue" in one for one in found.alarms)
    assert found.public()["queues"]["shop dlq"]["waiting"] == 1


def test_the_silence_of_a_sender_is_noted_and_no_failure(session: Session, name: str, places: Places) -> None:
    alarm = f"{places.stack}-shop-no-data"
    session.client("cloudwatch").set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="a test")
    found = checks(session, name)
    assert (found["data"].ok, found["data"].word) == (True, "note")
    assert found["data"].found.startswith(f"{alarm} is raised: Nothing arrived for 2 hours")
    assert found["health"].found == "no other alarm is raised, nothing in the dead-letter queues"
    assert any(alarm in said for said in stack_health(session, places).alarms)  # `status` keeps it


def test_a_topic_that_nobody_hears_is_noted(session: Session, name: str, places: Places) -> None:
    sns = session.client("sns")
    sns.subscribe(TopicArn=places.topic, Protocol="sqs", Endpoint=f"arn:aws:sqs:eu-west-2:000000000000:{name}-x")
    found = checks(session, name)
    noted = [check for what, check in found.items() if what.startswith("who hears")]
    assert [(check.what, check.word) for check in noted] == [(f"who hears topic {name}-operations", "note")]
    assert "alarm_email" in noted[0].found


def test_what_is_there_and_does_not_work_is_a_failure(session: Session, name: str, places: Places) -> None:
    functions, events, publish = session.client("lambda"), session.client("events"), places.pipeline("shop").publish
    before = checks(session, name)
    assert before[f"events of {publish}"].ok and before[f"rule {name}-shop-sweep"].ok
    [mapping] = functions.list_event_source_mappings(FunctionName=publish)["EventSourceMappings"]
    functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    events.disable_rule(Name=f"{name}-shop-sweep")
    found = checks(session, name)
    for what in (f"events of {publish}", f"rule {name}-shop-sweep"):
        assert (found[what].ok, found[what].found) == (False, "HR841 is disabled")
        assert "headrace deploy --repair" in found[what].next
    functions.delete_event_source_mapping(UUID=mapping["UUID"])
    assert checks(session, name)[f"events of {publish}"].found == "HR841 is missing"


@pytest.mark.parametrize(
    ("service", "answer", "what", "found"),
    [
        ("LAMBDA", {"State": "Failed", "EventSourceMappings": []}, "function", "HR841 is failed"),
        ("DYNAMODB", {"Table": {"TableStatus": "INACCESSIBLE_ENCRYPTION_CREDENTIALS"}}, "table", "HR841 is inacc"),
    ],
)
def test_a_state_in_which_nothing_works_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, places: Places, service: str, answer: Any, what: str, found: str
) -> None:
    with answering(lambda n, headers, body: (200, {}, json.dumps(answer))) as url, monkeypatch.context() as there:
        there.setenv(f"AWS_ENDPOINT_URL_{service}", url)
        tried = {what: _tried(what, look) for what, look in _looks(Session(places.region), places)}
    assert any(not c.ok and c.found.startswith(found) for name, c in tried.items() if name.startswith(what))


# logs


def event(text: str, at: int = 1_700_000_000_000) -> dict[str, Any]:
    return {"timestamp": at, "message": text, "eventId": text}


@pytest.mark.parametrize("text", ["START RequestId: 1", "END RequestId: 1", "INIT_START Runtime", "  "])
def test_lines_of_lambda_that_say_nothing_are_left_out(text: str) -> None:
    assert parse("/aws/lambda/f", event(text)) is None


def test_lines_are_told_under_the_same_names_whoever_wrote_them() -> None:
    ours = parse("/aws/lambda/f", event('{"at": "2025-05-01T00:00:00Z", "level": "error", "event": "x", "n": 1}'))
    assert ours == {"at": "2025-05-01T00:00:00Z", "level": "error", "event": "x", "function": "f", "n": 1}
    report = "REPORT RequestId: 1\tDuration: 1234.5 ms\tBilled Duration: 1235 ms\tMax Memory Used: 90 MB"
    told = parse("/aws/lambda/f", event(report))
    assert told is not None and (told["event"], told["seconds"], told["memory_mb"]) == ("lambda.report", 1.234, 90)
    other = parse("/aws/lambda/f", event("Task timed out"))
    assert other is not None and (other["event"], other["text"]) == ("said", "Task timed out")
    assert parse("/aws/lambda/f", event("[1]")) is not None


@pytest.fixture
def group(session: Session) -> Iterator[str]:
    name = f"/aws/lambda/{new_name()}"
    logs = session.client("logs")
    logs.create_log_group(logGroupName=name)
    logs.create_log_stream(logGroupName=name, logStreamName="one")
    yield name
    logs.delete_log_group(logGroupName=name)


def write(session: Session, group: str, *lines: tuple[datetime, str]) -> None:
    events = [{"timestamp": int(at.timestamp() * 1000), "message": text} for at, text in lines]
    session.client("logs").put_log_events(logGroupName=group, logStreamName="one", logEvents=events)


def test_the_newest_lines_are_told_in_the_order_of_time(session: Session, group: str) -> None:
    now = datetime.now(UTC)
    write(session, group, *((now - timedelta(seconds=9 - n), f"line {n}") for n in range(10)))
    told = recent(session, [group, "/aws/lambda/not-there"], now - timedelta(hours=1), 3)
    assert [one["text"] for one in told] == ["line 7", "line 8", "line 9"]


REPORTED = "REPORT RequestId: {0}\tDuration: 12.0 ms\tBilled Duration: 12 ms\tMax Memory Used: 90 MB"


def said(request: str, *between: str, error: str = "") -> list[str]:
    """The lines of one invocation, as Lambda stores them."""
    ended = {"event": "invocation", "request": request} | ({"level": "error", "error": error} if error else {})
    ours = [*between, '{"event": "requests", "level": "info"}', json.dumps(ended)]
    return [f"START RequestId: {request} Version: 1", *ours, f"END RequestId: {request}", REPORTED.format(request)]


def told_of(session: Session, group: str, *texts: str, **wanted: Any) -> list[str]:
    """The events of the newest lines, of which the last is a second old."""
    now = datetime.now(UTC)
    write(session, group, *((now - timedelta(seconds=len(texts) - n), text) for n, text in enumerate(texts)))
    found = recent(session, [group], now - timedelta(hours=1), 50, Wanted(**wanted))
    return [one.get("request") or one["event"] for one in found]


def test_sweeps_that_found_nothing_to_do_are_passed_over(session: Session, group: str) -> None:
    busy = said("busy", '{"event": "revision.stands", "level": "info"}')
    lines = [*said("idle-1"), *busy, *said("idle-2"), *said("failed", error="HR804 x"), *said("idle-3")]
    shown = ["revision.stands", "requests", "busy", "lambda.report", "failed", "lambda.report"]
    assert told_of(session, group, *lines, swept=[group]) == shown


def test_all_lines_are_there_for_who_wants_them(session: Session, group: str) -> None:
    assert told_of(session, group, *said("idle"), swept=[]) == ["requests", "idle", "lambda.report"]


def test_what_went_wrong_is_told_whoever_says_so(session: Session, group: str) -> None:
    lines = [
        *said("fine"),
        *said("failed", error="HR804 x"),
        '{"event": "load.dead", "level": "warning"}',
        "2025-05-01T00:00:00Z 1 Task timed out after 300.00 seconds",
        "a word of a library",
        f"{REPORTED.format('late')}\tStatus: timeout",
    ]
    assert told_of(session, group, *lines, errors=True) == ["failed", "load.dead", "said", "lambda.report"]


def test_the_newest_lines_are_found_without_reading_the_whole_day(session: Session, group: str) -> None:
    now = datetime.now(UTC)
    write(session, group, *((now - timedelta(hours=23 - n), f"line {n}") for n in range(23)))
    asked: list[float] = []

    def note(params: dict[str, Any], **_: object) -> None:
        asked.append(params["startTime"] / 1000)

    events = session.client("logs").meta.events
    events.register("provide-client-params.cloudwatch-logs.FilterLogEvents", note)
    told = recent(session, [group], now - timedelta(days=1), 3, now=now)
    events.unregister("provide-client-params.cloudwatch-logs.FilterLogEvents", note)
    assert [one["text"] for one in told] == ["line 20", "line 21", "line 22"]
    assert asked and min(asked) > (now - timedelta(hours=7)).timestamp()
    assert len(recent(session, [group], now - timedelta(days=1), 50, now=now)) == 23


def test_a_line_is_told_once_also_when_it_is_stored_late(session: Session, group: str) -> None:
    start = datetime.now(UTC)
    write(session, group, (start + timedelta(seconds=20), "first"))
    rounds: list[float] = []

    def late(seconds: float) -> None:
        """While it waits: a line of an earlier time is stored, then nothing."""
        if not rounds:
            write(session, group, (start + timedelta(seconds=10), "late"))
        rounds.append(seconds)
        if len(rounds) == 3:
            raise KeyboardInterrupt

    told = []
    with pytest.raises(KeyboardInterrupt):
        for one in itertools.islice(follow(session, [group], start, wait=late), 10):
            told.append(one["text"])
    assert told == ["first", "late"]

"""Whatever S3, its likes, SNS or we put into a queue: the keys that it asks to look at, and nothing else of it."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import pytest

from headrace.aws.messages import Asked, Malformed, asked_in, body_of
from headrace.model.loads import Event

KEYS = [
    "in/a b+1.csv",
    "in/plain.csv",
    "in/données/ü.csv",
    "in/日本/…csv",
    "in/%2F.csv",
    "in/100%.csv",
    "in/wow!(1)*'x'.csv",
    'in/say "x".csv',
    "in/a&b=c;d,e:f@g$h?i#j.csv",
    "in/~a\\b^c|d{e}.csv",
]


def aws(key: str) -> dict[str, Any]:
    """As AWS sends it (and MiniStack): form-encoded, but for slashes."""
    encoded = quote(key, safe="/*-._").replace("%20", "+")
    return record(encoded, "aws:s3", sequencer="0055AED6DCD90281E5", versionId="096fKKXTRTtl3on89fVO.nfljtsv6qko")


def moto(key: str) -> dict[str, Any]:
    return record(quote(key, safe="").replace("%20", "+"), "aws:s3")


def localstack(key: str) -> dict[str, Any]:
    return record(quote(key, safe="/"), "aws:s3", sequencer="0055AED6DCD90281E5")


def ceph(key: str) -> dict[str, Any]:
    found = record(key, "ceph:s3", sequencer="F7E6D75DC742D108")
    return {**found, "eventName": "s3:ObjectCreated:Put"}


def record(key: str, source: str, **told: str) -> dict[str, Any]:
    return {
        "eventVersion": "2.1",
        "eventSource": source,
        "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": "landing"}, "object": {"key": key, "size": 3, **told}},
    }


def body(*records: dict[str, Any]) -> str:
    return json.dumps({"Records": records})


def events(text: str, bucket: str = "landing") -> list[Event]:
    return [asked.event for asked in asked_in("lv", text, bucket)]


@pytest.mark.parametrize("dialect", [aws, moto, localstack, ceph])
@pytest.mark.parametrize("key", KEYS)
def test_a_key_is_decoded_as_its_sender_encoded_it(key: str, dialect: Any) -> None:
    assert events(body(dialect(key))) == [Event("lv", key, "created")]


def test_the_encodings_are_those_that_were_seen() -> None:
    """So that the test before tests what these services send."""
    told = [dialect("in/a b+1.csv")["s3"]["object"]["key"] for dialect in (aws, moto, localstack, ceph)]
    assert told == ["in/a+b%2B1.csv", "in%2Fa+b%2B1.csv", "in/a%20b%2B1.csv", "in/a b+1.csv"]


@pytest.mark.parametrize("key", ["in/a b.csv", "in/ü.csv", "in/100%.csv", "in/a%zz.csv", "in/%ff.csv"])
def test_a_key_that_nobody_encoded_is_left_as_it_is(key: str) -> None:
    assert events(body(record(key, "other:s3"))) == [Event("lv", key, "created")]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("ObjectCreated:CompleteMultipartUpload", "created"),
        ("s3:ObjectCreated:Copy", "created"),
        ("ObjectRemoved:Delete", "removed"),
        ("s3:ObjectRemoved:DeleteMarkerCreated", "removed"),
        ("LifecycleExpiration:DeleteMarkerCreated", "removed"),
        ("ObjectRestore:Completed", "created"),
        ("", "created"),
    ],
)
def test_what_happened_is_a_hint(name: str, hint: str) -> None:
    assert events(body({**aws("a.csv"), "eventName": name})) == [Event("lv", "a.csv", hint)]


def test_all_records_of_a_message_are_taken() -> None:
    assert [event.key for event in events(body(*(aws(key) for key in KEYS)))] == KEYS
    assert events(body()) == []


def test_records_of_another_bucket_ask_for_nothing_here() -> None:
    other = aws("b.csv")
    other["s3"]["bucket"]["name"] = "elsewhere"
    assert [event.key for event in events(body(aws("a.csv"), other))] == ["a.csv"]


def test_the_test_event_of_s3_asks_for_nothing() -> None:
    told = {"Service": "Amazon S3", "Event": "s3:TestEvent", "Time": "2014-10-13T15:57:02.089Z", "Bucket": "landing"}
    assert events(json.dumps(told)) == []
    assert events(enveloped(json.dumps(told))) == []


def enveloped(text: str) -> str:
    return json.dumps({"Type": "Notification", "MessageId": "1", "TopicArn": "arn:aws:sns:x", "Message": text})


def test_what_came_through_a_topic_is_taken_out_of_its_envelope() -> None:
    assert events(enveloped(body(aws("in/a b+1.csv")))) == [Event("lv", "in/a b+1.csv", "created")]


@pytest.mark.parametrize("key", [*KEYS, "\x00\x01\ufffe"])
def test_our_own_events_come_back_as_they_were(key: str) -> None:
    event = Event("lv", key, "replay")
    assert asked_in("lv", body_of(event), "landing") == [Asked(event)]
    assert asked_in("lv", body_of(event, "000/mark"), "landing") == [Asked(event, "000/mark")]
    assert body_of(event).isascii()


@pytest.mark.parametrize(
    "garbage",
    [
        "",
        "{",
        "hello",
        "null",
        "42",
        "[]",
        '"text"',
        "{}",
        "[" * 100_000,
        '{"Records": null}',
        '{"Records": {"s3": 1}}',
        '{"Records": [null]}',
        '{"Records": [{"s3": {"object": {}}}]}',
        '{"Records": [{"s3": {"object": {"key": 5}}}]}',
        '{"Records": [{"s3": {"object": {"key": ""}}}]}',
        '{"Records": [{"s3": {"bucket": "landing", "object": {"key": "a"}}}]}',
        '{"pipeline": "lv"}',
        '{"pipeline": "lv", "key": ""}',
        '{"pipeline": "lv", "key": 1, "hint": ""}',
        '{"pipeline": "lv", "key": "a", "hint": []}',
        '{"pipeline": "other", "key": "a", "hint": ""}',
        '{"Type": "Notification", "Message": "not json"}',
        '{"Type": "Notification", "Message": {"Records": []}}',
        enveloped(enveloped(enveloped(enveloped("{}")))),
        '{"pipeline": "lv", "key": "in/\\udcff.csv", "hint": ""}',
        json.dumps({"pipeline": "lv", "key": "é" * 513, "hint": ""}),
        body(aws("é" * 513)),
    ],
    ids=range(27),
)
def test_what_tells_of_no_object_is_malformed(garbage: str) -> None:
    with pytest.raises(Malformed):
        asked_in("lv", garbage, "landing")

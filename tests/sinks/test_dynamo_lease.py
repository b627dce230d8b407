"""One writer at a time: the lease of the keyed sink on DynamoDB, and requests that come too late."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest
from botocore.httpsession import URLLib3Session

from headrace.aws.keyed import DynamoWriter
from headrace.engine.faults import install
from headrace.local.keyed import KeyedWriter
from headrace.model.errors import InfrastructureError
from sinks.base_files import COLUMNS, KEY, Base
from sinks.dynamo import items, open_dynamo, rows
from sinks.unreliable import unreliable

pytestmark = pytest.mark.usefixtures("aws_environment")


@pytest.fixture
def writer(base: Base) -> Iterator[DynamoWriter]:
    opened = open_dynamo(base.root, KEY, COLUMNS)
    yield opened
    opened.close()


class Hands:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


def test_a_writer_that_may_be_alive_keeps_others_out(base: Base) -> None:
    clock = Hands()
    one, other = (open_dynamo(base.root, KEY, COLUMNS, lease=390, clock=clock) for _ in "ab")
    revision = base.revision(base.hourly("a", 3))
    found: list[str] = []

    def meanwhile(name: str) -> None:
        if name == "keyed.before-commit":
            for later in (0, 300, 389, 420):
                clock.now += later - (clock.now - began)
                with pytest.raises(InfrastructureError, match=r"HR850 .*may be alive") as caught:
                    other.apply(revision)
                found.append(caught.value.code)
            clock.now = began

    began = clock.now
    with install(meanwhile):
        one.apply(revision)
    assert found == ["HR850"] * 4
    assert one.number() == 1
    other.apply(base.revision(base.hourly("b", 3)))
    assert other.number() == 2


@pytest.mark.parametrize("place", ["keyed.sent", "keyed.before-commit"])
def test_a_writer_that_wakes_up_too_late_changes_nothing(base: Base, small_pieces: None, place: str) -> None:
    clock = Hands()
    sleeper, other = (open_dynamo(base.root, KEY, COLUMNS, lease=390, clock=clock) for _ in "ab")
    first = base.hourly("a", 350)
    revision, after = base.revision(first), base.revision(base.hourly("b", 7), removed=first, retired=("L-a",))

    slept: list[str] = []

    def asleep(name: str) -> None:
        if name == place and not slept:
            slept.append(name)
            clock.now += 1000
            other.apply(revision)
            other.apply(after)

    with install(asleep), pytest.raises(InfrastructureError, match=r"HR851 .*took it over"):
        sleeper.apply(revision)
    assert other.number() == 2
    assert {row["asset"] for row in rows(other)} == {"b"}
    sleeper.apply(revision)
    assert len(rows(other)) == 7
    sleeper.close()
    other.close()


def test_a_request_of_an_earlier_time_as_the_writer_changes_nothing(
    writer: DynamoWriter, base: Base, small_pieces: None
) -> None:
    """The network may carry a repeated request about for as long as it likes."""
    begun: list[AWSPreparedRequest] = []

    def keep(request: AWSPreparedRequest, **_: Any) -> None:
        if '"#work": "work"' in request.body.decode() and not begun:
            begun.append(request)

    writer._control._client().meta.events.register("before-send.dynamodb.UpdateItem", keep)
    writer.rebuild(1, base.revision(base.hourly("a", 150)).added, COLUMNS)
    answers: list[int] = []

    def again(name: str) -> None:
        if name == "keyed.sent":
            answers.append(URLLib3Session().send(begun[0]).status_code)

    with install(again):
        writer.apply(base.revision(base.hourly("b", 250)))
    assert answers == [400, 400, 400]
    assert writer.number() == 2


def test_after_a_crash_nothing_is_left_out_although_a_removed_file_was_lost_meanwhile(
    writer: DynamoWriter, base: Base, small_pieces: None
) -> None:
    old, lost = base.hourly("old", 250), base.hourly("lost", 150)
    writer.apply(base.revision([*old, *lost]))
    revision = base.revision(base.hourly("a", 350), removed=[*old, *lost], retired=("L-old", "L-lost"))
    sent: list[str] = []

    def die(name: str) -> None:
        sent.append(name)
        if sent.count("keyed.sent") == 6:
            raise OSError("died")

    with install(die), pytest.raises(InfrastructureError, match="HR855 .*died"):
        writer.apply(revision)
    for file in lost:
        (base.root / file.path).unlink()
    writer.apply(revision)
    assert (len(rows(writer)), {row["asset"] for row in rows(writer)}) == (350, {"a"})


def test_a_request_is_only_signed_while_the_lease_outlasts_it(base: Base, small_pieces: None) -> None:
    """AWS takes a request for 300 s after the time it is signed with: the lease must hold for longer each time."""
    clock = Hands()
    writer = open_dynamo(base.root, KEY, COLUMNS, lease=390, clock=clock)
    left: list[float] = []

    def slow(name: str) -> None:
        if name == "keyed.sent":
            left.append(writer._control.read().until - clock.now)
            clock.now += 85

    with install(slow):
        writer.apply(base.revision(base.hourly("a", 900)))
    assert len(left) == 9
    assert min(left) >= 300
    assert writer.number() == 1
    writer.close()


def test_with_every_kind_of_trouble_on_the_way_the_rows_are_those_of_sqlite(
    base: Base, aws_environment: str, monkeypatch: pytest.MonkeyPatch, small_pieces: None
) -> None:
    here = KeyedWriter(base.root, base.root / "t.db", "t", KEY)
    with unreliable(aws_environment, share=0.1) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
        there = open_dynamo(base.root, KEY, COLUMNS)
        monkeypatch.setattr(there._wire, "_doubt", 0.05)
        standing: list[Any] = []
        for n in range(6):
            gone = standing[:1] if n % 2 else []
            added = base.hourly(f"k{n}", 400, f"L{n}")
            revision = base.revision(added, removed=gone, retired=tuple(load for f in gone for load in f.loads))
            standing = [f for f in standing if f not in gone] + added
            here.apply(revision)
            there.apply(revision)
        assert [here.get("t", f"k{n}") for n in range(6)] == [there.get("t", f"k{n}") for n in range(6)]
        assert sum(server.seen[t] for t in server.troubles) >= 3
        assert len(items(there)) == 1200
        there.close()
    here.close()

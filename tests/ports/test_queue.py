"""The contract of ports.Queue, held to by SQLite and by SQS, where time passes by itself.

What each has of its own is in tests/local/test_sqlite_queue.py and tests/aws_home/test_sqs_queue.py.
"""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from headrace.aws.places import PipelinePlaces, Places
from headrace.aws.queue import SqsQueue
from headrace.local.clock import ManualClock, SystemClock
from headrace.local.database import Database
from headrace.local.queue import SqliteQueue
from headrace.model.errors import LeaseLost
from headrace.model.loads import Event, Lease

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)


@dataclass
class Place:
    """A queue, and how time passes for it."""

    queue: Any
    passes: Callable[[timedelta], object]

    def lease(self, n: int = 9, visibility: timedelta = MINUTE, pipeline: str = "lv") -> list[Lease]:
        return sorted(self.queue.lease(pipeline, n, visibility), key=lambda lease: lease.event.key)


def places(session: Any, *pipelines: str) -> Places:
    """Queues of these pipelines and a table for their markers, as a stack has them."""
    name = f"q{secrets.token_hex(6)}"
    keys = [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}]
    session.client("dynamodb").create_table(
        TableName=name,
        KeySchema=keys,
        AttributeDefinitions=[{"AttributeName": k["AttributeName"], "AttributeType": "S"} for k in keys],
        BillingMode="PAY_PER_REQUEST",
    )
    found = {}
    for pipeline in pipelines:
        url = session.client("sqs").create_queue(QueueName=f"{name}-{pipeline}")["QueueUrl"]
        found[pipeline] = PipelinePlaces(url, "", "", "", "")
    return Places("s", session.region, "1", "landing", "lake", name, "", "", "", "", "", found)


@pytest.fixture(params=["sqlite", "sqs"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "sqlite":
        clock = ManualClock()
        return Place(SqliteQueue(Database(tmp_path / "state.db", ""), clock), clock.advance)
    session = request.getfixturevalue("aws")
    queue = SqsQueue(session, places(session, "lv", "other"), SystemClock())
    return Place(queue, lambda span: time.sleep(span.total_seconds() + 0.1))


def events(n: int, pipeline: str = "lv") -> list[Event]:
    return [Event(pipeline, f"k{i}", "created") for i in range(n)]


def keys(leases: list[Lease]) -> list[str]:
    return [lease.event.key for lease in leases]


def test_an_event_is_leased_by_one_worker_until_it_is_acknowledged(place: Place) -> None:
    place.queue.put(events(3))
    first, second = place.lease(2), place.lease(5)
    assert (len(first), sorted(keys(first + second))) == (2, ["k0", "k1", "k2"])
    assert [lease.event for lease in sorted(first + second, key=lambda x: x.event.key)] == events(3)
    assert (place.lease(5), place.queue.depth("lv")) == ([], (0, 3))
    place.queue.acknowledge(first)
    assert place.queue.depth("lv") == (0, 1)
    place.queue.acknowledge(second)
    assert place.queue.depth("lv") == (0, 0)
    place.queue.acknowledge([])


def test_many_events_are_all_there_each_once(place: Place) -> None:
    keys = [f"in/é {n}" for n in range(1203)]
    place.queue.put(Event("lv", key, "scan") for key in keys)
    assert place.queue.depth("lv") == (1203, 0)
    seen: Counter[str] = Counter()
    while len(seen) < len(keys):
        leases = place.lease(90)
        assert leases
        seen.update(lease.event.key for lease in leases)
        place.queue.acknowledge(leases)
    assert seen == Counter(keys)
    assert place.queue.empty("lv")


def test_a_lease_that_is_extended_outlives_its_first_visibility(place: Place) -> None:
    place.queue.put(events(2))
    extended, other = place.lease(2, SECOND)
    place.queue.extend([extended], 4 * SECOND)
    place.passes(2 * SECOND)
    (taken,) = place.lease(2, SECOND)
    assert taken.event == other.event
    place.queue.extend([other], MINUTE)  # it is another's now, and stays so
    place.passes(3 * SECOND)
    assert [x.event for x in place.lease()] == [extended.event, other.event]


def test_a_replay_is_under_way_until_its_last_event_is_acknowledged(place: Place) -> None:
    place.queue.put([*events(2), Event("lv", "k1", "replay"), Event("lv", "k0", "replay")])
    assert (place.queue.replaying("lv"), place.queue.replaying("other")) == (True, False)
    leases = sorted(place.lease(), key=lambda lease: lease.event.hint)
    assert [lease.event.hint for lease in leases] == ["created", "created", "replay", "replay"]
    for lease in leases:
        assert place.queue.replaying("lv")
        place.queue.acknowledge([lease])
    assert not place.queue.replaying("lv")


def test_it_is_empty_only_when_nothing_waits_is_delayed_or_is_leased(place: Place) -> None:
    assert place.queue.empty("lv")
    place.queue.put(events(1), delay=MINUTE)
    assert (place.queue.empty("lv"), place.queue.empty("other")) == (False, True)
    place.queue.put([Event("lv", "other", "created")])
    held = place.lease(1)
    assert not place.queue.empty("lv")
    place.queue.acknowledge(held)
    assert place.queue.depth("lv") == (1, 0)


def test_an_event_that_comes_while_an_equal_one_is_leased_is_kept(place: Place) -> None:
    """The holder may have read the object before it changed."""
    place.queue.put(events(1))
    held = place.lease(1)
    place.queue.put(events(1))
    assert place.queue.depth("lv") == (1, 1)
    place.queue.acknowledge(held)
    assert place.queue.depth("lv") == (1, 0)


def test_pipelines_do_not_see_each_others_events(place: Place) -> None:
    place.queue.put(events(1, "lv") + events(2, "other"))
    assert len(place.lease(10)) == 1
    assert place.queue.depth("other") == (2, 0)


def test_a_lease_of_a_dead_worker_reappears_with_a_higher_count(place: Place) -> None:
    place.queue.put(events(1))
    (first,) = place.lease(1, 3 * SECOND)
    assert place.lease(1) == []
    place.passes(3 * SECOND)
    assert place.queue.depth("lv") == (1, 0)
    (second,) = place.lease(1)
    assert (first.receives, second.receives, second.event) == (1, 2, first.event)
    assert first.token != second.token


def test_a_lease_that_was_taken_over_can_no_longer_acknowledge(place: Place) -> None:
    place.queue.put(events(2))
    late = place.lease(1, SECOND) + place.lease(1, MINUTE)
    place.passes(SECOND)
    (now,) = place.lease(1)
    with pytest.raises(LeaseLost, match="1 of 2 leases"):
        place.queue.acknowledge(late)
    assert place.queue.depth("lv") == (0, 1)  # what was still theirs is done
    place.queue.release(late, timedelta(0))  # and giving back what is lost changes nothing
    place.queue.acknowledge([now])
    assert place.queue.empty("lv")


def test_a_lease_that_ran_out_but_that_nobody_took_can_acknowledge(place: Place) -> None:
    place.queue.put(events(1))
    late = place.lease(1, SECOND)
    place.passes(SECOND)
    place.queue.acknowledge(late)
    assert place.queue.depth("lv") == (0, 0)


def test_a_released_event_waits_for_its_delay(place: Place) -> None:
    place.queue.put(events(1))
    place.queue.release(place.lease(1), 2 * SECOND)
    assert place.lease(1) == []
    place.passes(2 * SECOND)
    assert place.lease(1)[0].receives == 2


def test_a_delayed_event_is_not_seen_early(place: Place) -> None:
    place.queue.put(events(1), delay=3 * SECOND)
    assert place.lease(1) == []
    place.passes(3 * SECOND)
    assert len(place.lease(9)) == 1


@pytest.mark.parametrize("key", ["a b+1.csv", "in/%2F.csv", "日本/…csv", "a\nb\t\x01", 'wow! "x" & <y>', "\ufffe"])
def test_a_key_is_told_as_it_is(place: Place, key: str) -> None:
    place.queue.put([Event("lv", key, "redrive")])
    assert [lease.event for lease in place.lease()] == [Event("lv", key, "redrive")]

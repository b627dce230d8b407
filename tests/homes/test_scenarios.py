"""Stories of a pipeline told in both homes: rows, rejects, losers, counts and states of loads are equal."""

from __future__ import annotations

import json
import time
from random import Random

from .both import Story
from .deployed import shuffled


def test_events_that_come_twice_late_and_in_no_order_change_nothing(story: Story) -> None:
    both = story("keep")
    with both.stack.paused("keep"):
        for name in "abcdef":
            both.put(f"{name}.csv", f"1,{ord(name) - 90} {ord(name)},5")
        both.put("a.csv", "1,50 2,2")
        both.delete("f.csv")
        told = both.stack.taken("keep", at_least=8)
        both.stack.tell("keep", shuffled(told, Random(1)))
    found = both.same()
    assert both.states(found) == {f"{name}.csv": "standing" for name in "abcde"}
    both.stack.tell("keep", shuffled(told, Random(2)))
    assert both.same() == found


def test_a_lost_event_is_made_up_for_by_the_scan(story: Story) -> None:
    both = story("keep")
    with both.stack.paused("keep"):
        both.put("lost.csv", "1,1")
        assert both.stack.taken("keep", at_least=1)
    answer = both.stack.functions.invoke(FunctionName=both.stack.of("keep").publish, Payload=b'{"do": "scan"}')
    assert "FunctionError" not in answer, answer["Payload"].read()
    assert both.rows(both.same()) == {1: 1}


def test_a_file_that_cannot_be_read_keeps_none_of_its_neighbours(story: Story) -> None:
    both = story("keep")
    with both.stack.paused("keep"):
        both.put("good.csv", "1,1 2,2")
        both.put_bytes("poison.csv", b"nothing,like\nthe,contract\n")
        both.put_bytes("zeros.csv", bytes(500))
        both.put("more.csv", "3,3 4,nonsense 5,101")
        both.stack.tell("keep", both.stack.taken("keep", at_least=4))
    found = both.same()
    assert both.rows(found) == {1: 1, 2: 2, 3: 3}
    assert both.states(found) == {
        "good.csv": "standing",
        "poison.csv": "dead",
        "zeros.csv": "dead",
        "more.csv": "standing",
    }
    assert len(found.rejected) == 2


def test_what_is_dead_can_be_tried_again_and_be_mended(story: Story) -> None:
    both = story("keep")
    both.put_bytes("poison.csv", b"nothing,like\nthe,contract\n")
    assert both.states(both.same()) == {"poison.csv": "dead"}
    both.redrive("poison.csv")
    assert both.states(both.same()) == {"poison.csv": "dead"}
    both.put("poison.csv", "1,1")
    assert both.rows(both.same()) == {1: 1}


def test_a_corrected_file_replaces_its_rows(story: Story) -> None:
    both = story("keep")
    both.put("a.csv", "1,1 2,2 3,3")
    assert both.rows(both.same()) == {1: 1, 2: 2, 3: 3}
    both.put("a.csv", "2,20 3,3 4,4")
    found = both.same()
    assert both.rows(found) == {2: 20, 3: 3, 4: 4}
    assert list(found.retired.values()) == [1]


def test_a_file_that_comes_back_as_it_was_stands_again(story: Story) -> None:
    both = story("keep")
    for rows in ("1,1", "1,2", "1,1"):
        both.put("a.csv", rows)
        found = both.same()
    assert both.rows(found) == {1: 1}
    assert list(found.retired.values()) == [2]


def test_the_same_bytes_again_are_no_new_version(story: Story) -> None:
    both = story("keep")
    both.put("a.csv", "1,1")
    before = both.same()
    both.put("a.csv", "1,1")
    assert both.same().retired == before.retired == {}


def test_the_same_bytes_under_two_keys_load_once_or_twice_as_the_policy_says(story: Story) -> None:
    twice, once = story("keep"), story("strict")
    for both in (twice, once):
        both.put("a.csv", "1,1 2,2")
        both.same()
        both.put("b.csv", "1,1 2,2")
    assert twice.states(twice.same()) == {"a.csv": "standing", "b.csv": "standing"}
    assert once.states(once.same()) == {"a.csv": "standing", "b.csv": "skipped"}
    once.delete("a.csv")
    assert once.states(once.same()) == {"b.csv": "standing"}


def test_a_deleted_file_keeps_or_takes_its_rows_as_the_policy_says(story: Story) -> None:
    kept, taken = story("keep"), story("strict")
    for both in (kept, taken):
        both.put("a.csv", "1,1")
        both.put("b.csv", "2,2")
        both.same()
        both.delete("a.csv")
    assert kept.rows(kept.same()) == {1: 1, 2: 2}
    assert taken.rows(taken.same()) == {2: 2}


def test_of_rows_with_one_key_the_policy_chooses_and_the_others_are_kept_as_losers(story: Story) -> None:
    last, first = story("keep"), story("strict")
    for both in (last, first):
        both.put("a.csv", "1,1 2,2 2,2")
        time.sleep(1.1)  # S3's creation times have no fractions
        both.put("b.csv", "1,10 2,2 3,3")
    found = last.same()
    assert last.rows(found) == {1: 10, 2: 2, 3: 3}
    assert len(found.losers) == 3
    found = first.same()
    assert first.rows(found) == {1: 1, 2: 2, 3: 3}
    first.delete("a.csv")
    assert first.rows(first.same()) == {1: 10, 2: 2, 3: 3}


def test_keys_are_read_as_every_notifier_writes_them(story: Story) -> None:
    both = story("keep")
    names = ["a b+1.csv", "ü&=.csv", "100%.csv"]
    with both.stack.paused("keep"):
        for n, name in enumerate(names):
            both.put(name, f"{n},{n}")
        both.stack.tell("keep", both.stack.taken("keep", at_least=3))
        both.stack.tell("keep", [json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent"})])
    assert both.rows(both.same()) == {0: 0, 1: 1, 2: 2}

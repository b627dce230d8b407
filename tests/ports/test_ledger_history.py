"""The contract of ports.History, for SQLite and DynamoDB: what a ledger tells of loads, files, revisions and people."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ledgers import MINUTE, SHAPE, START, TWO, Opener, arrival, data, decide, pin, stage, stood

from headrace import Pipeline, Record, files, lake
from headrace.contract.compile import compile_contract
from headrace.local.clock import ManualClock
from headrace.model.loads import Alert, Counts, DataFile, Decision, LoadState, Settlement, Staged
from headrace.ports import Ledger


class Reading(Record, key=("k",)):
    k: int
    v: int


CONTRACT = compile_contract(Pipeline("p", source=files("in/"), record=Reading, sinks=[lake("t")]))


# -- loads -------------------------------------------------------------------------------------------------------


def test_history_is_told_newest_last_and_from_wherever_one_left_off(ledger: Ledger, clock: ManualClock) -> None:
    first = stood(ledger, "A")
    before = ledger.last_seq()
    clock.advance(MINUTE)
    second, other = pin(ledger, "B"), pin(ledger, "C", key="b")
    assert [x.id for x in ledger.history()] == [first.id, second.id, other.id]
    assert [x.id for x in ledger.history(limit=2)] == [second.id, other.id]
    assert [x.id for x in ledger.history(after=before)] == [second.id, other.id]
    assert [x.id for x in ledger.history(since=START + MINUTE)] == [second.id, other.id]
    assert [x.id for x in ledger.history("a")] == [first.id, second.id]
    assert [x.id for x in ledger.history("a", limit=1)] == [second.id]
    assert ledger.history("nothing") == ledger.history(limit=0) == []


def test_what_was_replaced_is_told_as_it_was_when_it_stood(ledger: Ledger) -> None:
    first = stood(ledger, "A")
    second = pin(ledger, "B")
    stage(ledger, second)
    decide(ledger, second, retired=(first.id,))
    (retired,) = ledger.retired(["a", "b"])
    assert retired == replace(first, state=LoadState.RETIRED, retired=2)
    assert [x.state for x in ledger.history("a")] == [LoadState.RETIRED, LoadState.DECIDED]
    assert ledger.load("p.99") is None


def test_which_loads_stand_or_may_come_to(ledger: Ledger) -> None:
    standing, dead, seen = stood(ledger, "A"), pin(ledger, "B", key="b"), pin(ledger, "C", key="c")
    ledger.bury(dead.id, "HR451 broken", [])
    ids = [standing.id, dead.id, seen.id, "p.99", "nonsense"]
    assert ledger.wanted(ids) == {standing.id, seen.id}
    assert ledger.standing_among(ids) == {standing.id}
    assert ledger.wanted([]) == ledger.standing_among([]) == set()


def test_the_keys_of_loads_are_found_together(ledger: Ledger) -> None:
    first, other = stood(ledger, "A"), pin(ledger, "C", key="c!d.csv")
    ledger.bury(other.id, "HR451 broken", [])
    assert ledger.keys_of([first.id, other.id, "p.99", "nonsense"]) == {first.id: "a", other.id: "c!d.csv"}
    assert ledger.keys_of([]) == {}


def test_loads_are_found_by_their_state_oldest_first(ledger: Ledger) -> None:
    a, b, c = (pin(ledger, key.upper(), key=key) for key in "cab")
    stage(ledger, b)
    stage(ledger, c)
    assert [x.id for x in ledger.in_state("seen", "staged")] == [a.id, b.id, c.id]
    assert [x.id for x in ledger.in_state("staged")] == [b.id, c.id]
    assert ledger.any_in_state("decided", "staged") and not ledger.any_in_state("decided", "standing", "dead")
    decide(ledger, b)
    assert ledger.any_in_state("decided") and not ledger.any_in_state("standing")
    assert [x.id for x in ledger.in_state("decided", "staged")] == [b.id, c.id]
    ledger.stand(1)
    assert ledger.any_in_state("standing") and not ledger.any_in_state("decided")
    assert [x.id for x in ledger.in_state("standing")] == [b.id]


def test_the_outline_goes_through_live_loads_in_the_order_of_keys(ledger: Ledger) -> None:
    keys = ["ä", "b/2", "b", "B", "a!", "\U0001f600", "\ufffd"]
    for key in keys:
        stood(ledger, f"of {key}", key=key)
    pin(ledger, "newer", key="b")
    found = list(ledger.outline())
    assert [x.key for x in found] == sorted([*keys, "b"])
    assert [(x.version, x.state) for x in found if x.key == "b"] == [("of b", "standing"), ("newer", "seen")]
    for after in ("", "b", "b/1", "b/2", "z", "\ufffd", "\U0001f600"):
        assert [x.key for x in ledger.outline(after)] == [x.key for x in found if x.key > after]
    assert ledger.count_standing() == len(ledger.standing()) == len(keys)


def test_what_health_is_told_by_agrees_with_the_lists(ledger: Ledger) -> None:
    first, second = stood(ledger, "A"), stood(ledger, "B", key="b")
    dead, skipped = pin(ledger, "C", key="c"), pin(ledger, "A", key="d")
    ledger.bury(dead.id, "HR451 broken", [])
    ledger.skip(skipped.id)
    staged = pin(ledger, "E", key="e")
    stage(ledger, staged)
    pin(ledger, "F", key="f")
    ledger.hold(["a", "b"])
    ledger.let_go(["b"])
    ledger.settle(Settlement(stale=(second.id,)))
    census = ledger.census("contract")
    assert census.states == {"standing": 2, "dead": 1, "skipped": 1, "staged": 1, "seen": 1}
    assert (census.standing, census.outdated, census.stale, census.held) == (3, 0, 1, 1)
    assert ledger.census("another").outdated == len(ledger.outdated("another")) == 2
    assert ledger.totals() == TWO + TWO
    ledger.record(Decision("p", 3, "retract", SHAPE, retired=(second.id,), removed=(f"data/{second.id}.parquet",)))
    census = ledger.census("contract")
    assert (census.states["standing"], census.stale, ledger.totals()) == (1, 0, first.counts)
    decide(ledger, staged)
    assert ledger.census("contract").states["decided"] == 1
    assert ledger.totals() == TWO + TWO


def test_totals_follow_counts_that_a_revision_changes(ledger: Ledger) -> None:
    first = stood(ledger, "A")
    loser = pin(ledger, "B", key="b")
    stage(ledger, loser)
    (old,) = ledger.files("data")
    won = DataFile("data/won.parquet", "data", 3, 100, {first.id: 1, loser.id: 2})
    lost = DataFile("losers/lost.parquet", "losers", 1, 50, {first.id: 1})
    counts = {first.id: Counts(read=2, accepted=2, loaded=1, conflict=1), loser.id: TWO}
    doomed = tuple(f.path for f in ledger.files_of([loser.id], staged=True))
    ledger.record(
        Decision(
            "p", 2, "publish", SHAPE, (loser.id,), fresh=(won, lost), removed=(old.path,), doomed=doomed, counts=counts
        )
    )
    assert ledger.find_load(first.id).counts == counts[first.id]
    assert ledger.totals() == sum(counts.values(), Counts())
    assert (ledger.files("data"), ledger.files("losers"), ledger.trash()) == ([won], [lost], list(doomed))
    assert ledger.files_of([first.id], staged=False) == [won, lost]
    assert sorted(ledger.standing_paths()) == [won.path, lost.path]


# -- files and revisions -----------------------------------------------------------------------------------------


def test_revisions_are_told_with_their_reasons_and_how_many_loads_they_concern(
    ledger: Ledger, clock: ManualClock
) -> None:
    assert ledger.revisions() == [] and ledger.shape() is None
    a, b = pin(ledger, "A"), pin(ledger, "B", key="b")
    stage(ledger, a, b)
    decide(ledger, a, b)
    clock.advance(MINUTE)
    ledger.record(Decision("p", 2, "retract", replace(SHAPE, key=("v",)), retired=(a.id,)))
    told = [(x["number"], x["reason"], x["decided"], x["retired"]) for x in ledger.revisions()]
    assert told == [(1, "publish", 2, 0), (2, "retract", 0, 1)]
    assert [x["number"] for x in ledger.revisions(limit=1)] == [2]
    assert (ledger.revision(1).at, ledger.revision(2).at) == (START, START + MINUTE)
    assert (ledger.revision(1).standing, ledger.revision(2).retired) == ((a.id, b.id), (a.id,))
    assert (ledger.shape(1), ledger.shape(), ledger.shape(2)) == (SHAPE, *[replace(SHAPE, key=("v",))] * 2)
    assert ledger.shape(7) is None


def test_files_of_some_loads_of_a_job_wait_while_the_others_stand(ledger: Ledger) -> None:
    a, b = pin(ledger, "A"), pin(ledger, "B", key="b")
    mine, its = data(a.id), data(b.id)
    ledger.stage([Staged(x.id, TWO, {}, 0.1) for x in (a, b)], [mine, its], [])
    decide(ledger, a)
    assert (ledger.files("data"), ledger.files_of([b.id], staged=True), ledger.trash()) == ([mine], [its], [])
    assert ledger.pending() == {"b"}
    ledger.settle(Settlement(abandoned=(b.id,)))
    assert (ledger.pending(), ledger.trash(), ledger.files("data")) == (set(), [its.path], [mine])


def test_every_path_is_known_to_all_pipelines_and_rows_of_another_are_told(ledger: Ledger, open_ledger: Opener) -> None:
    other = open_ledger("q")
    load = pin(other, "A")
    staged = stage(other, load, file=data(load.id, path="base/data/q.parquet"))
    other.record(Decision("q", 1, "publish", SHAPE, standing=(load.id,), adopted=(staged.path,)))
    waiting = pin(ledger, "A")
    mine = stage(ledger, waiting, file=data(waiting.id, path="base/data/p.parquet"))
    stage(ledger, waiting, file=data(waiting.id, path="based/data/p.parquet"))
    assert ledger.known_paths("base") == {staged.path, mine.path}
    assert (ledger.strangers("base"), ledger.strangers("based"), other.strangers("base")) == (["q"], [], [])


# -- people ------------------------------------------------------------------------------------------------------


def test_a_sink_is_the_pipeline_s_that_filled_it_last(ledger: Ledger, open_ledger: Opener) -> None:
    other = open_ledger("q")
    ledger.mark("lake", 3)
    assert (ledger.filled_by("lake"), other.filled_by("lake"), other.sinks()) == (None, "p", {})
    other.forget_sink("lake")
    assert ledger.sinks() == {"lake": 3}
    other.mark("lake", 1)
    assert (ledger.sinks(), ledger.filled_by("lake"), other.sinks()) == ({}, "q", {"lake": 1})


def test_corrections_are_listed_for_every_version_and_can_be_dropped(ledger: Ledger) -> None:
    ledger.correct("a", "A", "", {3: {"k": "1"}, 20: {"k": "2"}}, START)
    ledger.correct("a/b", "A", "m.csv", {3: {"k": None}}, START)
    ledger.correct("a", "B", "", {1: {"k": "4"}}, START)
    found = ledger.stored_corrections()
    assert [(c.key, c.version, c.file, c.record) for c in found] == [
        ("a", "A", "a", 3),
        ("a", "A", "a", 20),
        ("a", "B", "a", 1),
        ("a/b", "A", "a/b!m.csv", 3),
    ]
    assert ledger.stored_corrections("a") == found[:3] and ledger.stored_corrections("b") == []
    assert ledger.corrected() == {("a", "A"), ("a", "B"), ("a/b", "A")}
    ledger.drop_corrections(found[:2])
    assert (ledger.corrections("a", "A"), ledger.corrections_digest("a", "A")) == ([], "")
    assert ledger.corrected() == {("a", "B"), ("a/b", "A")}


def test_a_contract_is_kept_with_the_time_at_which_it_was_first_seen(ledger: Ledger, clock: ManualClock) -> None:
    assert ledger.known_since() is None
    ledger.keep_contract(CONTRACT)
    clock.advance(MINUTE)
    ledger.keep_contract(CONTRACT)
    ledger.keep_contract(replace(CONTRACT, dedupe="row"))
    assert (ledger.contract(CONTRACT.digest), ledger.known_since()) == (CONTRACT, START)


def test_a_message_about_a_load_that_never_stands_is_dropped_and_may_be_said_of_another(ledger: Ledger) -> None:
    first, second = pin(ledger, "A"), pin(ledger, "B", key="b")
    alerts = tuple(Alert("name", x.id, "subject", f"of {x.key}") for x in (first, second))
    ledger.settle(Settlement(alerts=alerts[:1]))
    ledger.settle(Settlement(alerts=(Alert("to all", "", "subject", "body"),), abandoned=(first.id,)))
    ledger.stand(0)
    assert [m["name"] for m in ledger.messages()] == ["to all"]
    assert ledger.messages("waiting") == []
    stage(ledger, second)
    decide(ledger, second, settlement=Settlement(alerts=alerts[1:]))
    assert [m["name"] for m in ledger.messages("waiting")] == ["name"]
    ledger.stand(1)
    assert [m["body"] for m in ledger.messages()] == ["body", "of b"]
    assert [m["body"] for m in ledger.messages(limit=1)] == ["body"]


def test_a_name_that_is_given_twice_is_said_in_its_first_words_about_its_last_load(ledger: Ledger) -> None:
    first, second = pin(ledger, "A"), pin(ledger, "B", key="b")
    alerts = tuple(Alert("name", x.id, x.key, f"of {x.key}") for x in (first, second))
    ledger.settle(Settlement(alerts=alerts, abandoned=(first.id,)))
    ledger.bury(second.id, "HR451 broken", [])
    ledger.stand(0)
    assert [(m["load"], m["subject"], m["body"]) for m in ledger.messages()] == [(second.id, "a", "of a")]


def test_a_waiting_message_goes_with_the_load_that_it_was_last_about(ledger: Ledger) -> None:
    first, second = pin(ledger, "A"), pin(ledger, "B", key="b")
    for load in (first, second):
        ledger.settle(Settlement(alerts=(Alert("name", load.id, "subject", "body"),)))
    ledger.settle(Settlement(abandoned=(first.id,)))
    ledger.bury(second.id, "HR451 broken", [])
    ledger.stand(0)
    assert [(m["name"], m["load"]) for m in ledger.messages()] == [("name", second.id)]


@pytest.mark.parametrize("many", [120])
def test_more_keys_than_one_request_takes_are_pinned_hinted_and_found(ledger: Ledger, many: int) -> None:
    keys = [f"in/{i:03}" for i in range(many)]
    loads = ledger.pin([arrival(f"v{i}", key=key) for i, key in enumerate(keys)])
    assert [x.key for x in loads] == [x.key for x in ledger.history()] == keys
    assert [x.id for x in ledger.pin([arrival(f"v{i}", key=key) for i, key in enumerate(keys)])] == [
        x.id for x in loads
    ]
    ledger.hint(keys)
    asked = {key: hint.asked for key, hint in ledger.hints().items()}
    assert list(asked) == keys
    ledger.hint(keys[:2])
    ledger.settle(Settlement(forgotten=asked, abandoned=tuple(x.id for x in loads[60:])))
    assert (list(ledger.hints()), len(ledger.in_state("seen"))) == (keys[:2], 60)
    assert len(ledger.live(keys)) == 60

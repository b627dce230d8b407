"""The contract of ports.Ledger, for SQLite and DynamoDB. What a load is, who may stage it, and who moves the head."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ledgers import MINUTE, SHAPE, START, TWO, Opener, arrival, data, decide, pin, said, stage, state, stood

from headrace.local.clock import ManualClock
from headrace.local.queue import SqliteQueue
from headrace.model.errors import InfrastructureError, LeaseLost, RevisionRefused, UsageError
from headrace.model.loads import Alert, Counts, DataFile, Decision, Event, LoadState, Settlement, Staged
from headrace.ports import Ledger

# -- what an arrival is ------------------------------------------------------------------------------------------


def test_a_version_is_pinned_to_the_time_at_which_it_was_first_seen(ledger: Ledger) -> None:
    first = pin(ledger, "A", minute=3)
    again = pin(ledger, "A", minute=7)
    assert (again.id, again.arrived_at) == (first.id, START + 3 * MINUTE)
    assert stood(ledger, "A", minute=9).arrived_at == START + 3 * MINUTE


def test_what_stands_already_is_not_loaded_again(ledger: Ledger) -> None:
    load = stood(ledger, "A")
    assert pin(ledger, "A").id == load.id


def test_what_once_stood_and_comes_back_is_a_new_occurrence_in_a_new_place(ledger: Ledger) -> None:
    first = stood(ledger, "A", minute=1)
    second = pin(ledger, "B", minute=2)
    stage(ledger, second)
    decide(ledger, second, retired=(first.id,))
    third = pin(ledger, "A", minute=3)
    assert third.id != first.id
    assert (third.state, third.arrived_at) == (LoadState.SEEN, START + 3 * MINUTE)


def test_a_seen_version_that_is_overtaken_is_abandoned(ledger: Ledger) -> None:
    first, second = pin(ledger, "A"), pin(ledger, "B")
    assert (state(ledger, first), state(ledger, second)) == (LoadState.ABANDONED, LoadState.SEEN)


def test_a_replay_of_what_stands_is_a_new_load_in_the_old_place(ledger: Ledger) -> None:
    load = stood(ledger, "A", minute=5)
    new = pin(ledger, "A", minute=8, again="replay")
    assert new.id != load.id
    assert (new.arrived_at, state(ledger, load)) == (load.arrived_at, LoadState.STANDING)


def test_other_corrections_make_a_new_load_of_the_same_version(ledger: Ledger) -> None:
    load = stood(ledger, "A", minute=5)
    new = pin(ledger, "A", minute=8, corrections="some")
    assert (new.id != load.id, new.arrived_at) == (True, load.arrived_at)


def test_a_dead_version_stays_dead_until_it_is_tried_again_or_read_otherwise(ledger: Ledger) -> None:
    load = pin(ledger, "A", minute=5)
    ledger.bury(load.id, "HR451 broken", [])
    assert pin(ledger, "A").id == load.id
    assert [x.cause for x in ledger.dead()] == ["HR451 broken"]
    again = pin(ledger, "A", minute=8, again="redrive")
    assert (again.state, again.arrived_at) == (LoadState.SEEN, load.arrived_at)
    assert state(ledger, load) == LoadState.ABANDONED


def test_keys_are_pinned_in_the_order_of_their_arrivals(ledger: Ledger) -> None:
    found = ledger.pin([arrival("A", key=key) for key in "cab"])
    assert [x.key for x in found] == ["c", "a", "b"]
    assert [x.key for x in ledger.history()] == ["c", "a", "b"]


# -- same bytes --------------------------------------------------------------------------------------------------


def test_the_earlier_twin_is_the_first_in_order_whatever_came_first(ledger: Ledger) -> None:
    late = pin(ledger, "A", key="a", minute=5)
    early = pin(ledger, "A", key="b", minute=1)
    found = ledger.earlier_twin(late)
    assert found is not None and found.id == early.id
    assert ledger.earlier_twin(early) is None
    assert [x.key for x in ledger.twins("A")] == ["b", "a"]
    pin(ledger, "B", key="c")
    assert ledger.repeated({"A", "B", "C"}) == {"A"}


def test_a_skipped_load_is_taken_up_as_a_new_one_whose_old_files_do_not_count(ledger: Ledger) -> None:
    load = pin(ledger, "A", minute=5)
    old = stage(ledger, load)
    ledger.settle(Settlement(skipped=(load.id,)))
    new = ledger.take_up(load.id)
    assert (new.id != load.id, new.state, new.arrived_at) == (True, LoadState.SEEN, load.arrived_at)
    assert state(ledger, load) == LoadState.ABANDONED
    assert ledger.trash() == [old.path]
    assert ledger.take_up(load.id).id == new.id  # another worker was faster
    ledger.skip(new.id)
    assert state(ledger, new) == LoadState.SKIPPED


# -- staging -----------------------------------------------------------------------------------------------------


def test_staging_owns_the_files_and_acknowledges_the_events_at_once(ledger: Ledger, queue: SqliteQueue) -> None:
    queue.put([Event("p", "a")])
    load, leases = pin(ledger, "A"), queue.lease("p", 1, MINUTE)
    file = stage(ledger, load, leases=tuple(leases))
    assert queue.depth("p") == (0, 0)
    assert ledger.pending() == {load.key}
    assert ledger.files_of([load.id], staged=True) == [file]
    assert ledger.files("data") == []


def test_of_what_waits_the_oldest_jobs_come_first_whole_and_with_all_that_is_staged_of_their_keys(
    ledger: Ledger,
) -> None:
    a, b, c, d, e = (pin(ledger, key.upper(), key=key) for key in "abcde")
    stage(ledger, c, d)  # 100 bytes each
    stage(ledger, a, b)
    stage(ledger, e)
    assert ledger.pending() == set("abcde")
    assert ledger.pending(1) == set("ab")
    assert ledger.pending(199) == set("ab")
    assert ledger.pending(200) == set("abcd")
    assert ledger.pending(1, beside="ex") == set("abe")
    newer = [pin(ledger, version, key=version.lower(), minute=1) for version in ("AA", "F")]
    assert ledger.pending(1, beside=["f"]) == set("ab")
    stage(ledger, *newer)
    assert ledger.pending(1, beside=["f"]) == {"a", "b", "aa", "f"}
    again = pin(ledger, "B2", key="b", minute=2)
    stage(ledger, again, pin(ledger, "G", key="g"))
    assert ledger.pending(1) == {"a", "b", "g"}
    decide(ledger, a)
    assert ledger.pending(1) == {"b", "g"}


def test_a_load_without_a_file_waits_like_any_other(ledger: Ledger) -> None:
    load = pin(ledger, "A")
    ledger.stage([Staged(load.id, Counts(), {}, 0.1)], [], ())
    assert (ledger.pending(), ledger.pending(1)) == ({"a"}, {"a"})


@pytest.mark.parametrize(
    "files",
    [
        [],
        [data("p.1", path="one"), data("p.1", path="two")],
        [data("p.1", kind="losers")],
        [replace(data("p.1"), rows=3)],
        [data("p.1", "p.2")],
    ],
)
def test_files_that_hold_other_rows_than_are_counted_are_refused(ledger: Ledger, files: list[DataFile]) -> None:
    load = pin(ledger, "A")
    with pytest.raises(InfrastructureError, match="HR520"):
        ledger.stage([Staged(load.id, TWO, {}, 0.1)], files, [])
    assert state(ledger, load) == LoadState.SEEN
    assert ledger.files_of([load.id], staged=True) == []


def test_a_revision_without_the_rows_of_its_loads_is_refused(ledger: Ledger) -> None:
    load = pin(ledger, "A")
    stage(ledger, load)
    with pytest.raises(InfrastructureError, match="HR520"):
        ledger.record(Decision("p", 1, "publish", SHAPE, standing=(load.id,)))
    assert (ledger.head(), state(ledger, load)) == (0, LoadState.STAGED)


def test_a_revision_that_rewrites_a_file_with_fewer_rows_is_refused(ledger: Ledger) -> None:
    load = stood(ledger, "A")
    fewer = DataFile("data/anew.parquet", "data", 1, 50, {load.id: 1}, {}, ())
    with pytest.raises(InfrastructureError, match="HR520"):
        ledger.record(Decision("p", 2, "compact", SHAPE, fresh=(fewer,), removed=(f"data/{load.id}.parquet",)))
    assert ledger.head() == 1


def test_counts_that_do_not_add_up_are_refused_whole(ledger: Ledger, queue: SqliteQueue) -> None:
    queue.put([Event("p", "a")])
    load, leases = pin(ledger, "A"), queue.lease("p", 1, MINUTE)
    wrong = Staged(load.id, Counts(read=3, accepted=2, loaded=2), {}, 0.1)
    with pytest.raises(InfrastructureError, match="HR520"):
        ledger.stage([wrong], [data(load.id)], leases)
    assert (state(ledger, load), ledger.known_paths("data"), queue.depth("p")) == (LoadState.SEEN, set(), (0, 1))


def test_what_two_workers_stage_is_taken_once_and_the_other_s_files_are_trash(ledger: Ledger) -> None:
    load = pin(ledger, "A")
    first = stage(ledger, load)
    second = stage(ledger, load, file=data(load.id, path="data/again.parquet"))
    assert ledger.files_of([load.id], staged=True) == [first]
    assert ledger.trash() == [second.path]


def test_a_batch_of_which_another_worker_staged_a_part_is_refused_and_its_files_are_trash(
    ledger: Ledger, queue: SqliteQueue
) -> None:
    queue.put([Event("p", "a"), Event("p", "b")])
    leases = queue.lease("p", 2, MINUTE)
    a, b = pin(ledger, "A"), pin(ledger, "B", key="b")
    stage(ledger, a)
    both = data(a.id, b.id)
    with pytest.raises(LeaseLost, match="HR525"):
        stage(ledger, a, b, leases=tuple(leases), file=both)
    assert (state(ledger, b), ledger.trash(), queue.depth("p")) == (LoadState.SEEN, [both.path], (0, 2))


def test_a_lost_lease_does_not_undo_what_was_staged(ledger: Ledger, queue: SqliteQueue, clock: ManualClock) -> None:
    queue.put([Event("p", "a")])
    load, lost = pin(ledger, "A"), queue.lease("p", 1, MINUTE)
    clock.advance(2 * MINUTE)
    queue.lease("p", 1, MINUTE)
    stage(ledger, load, leases=tuple(lost))
    assert (state(ledger, load), queue.depth("p")) == (LoadState.STAGED, (0, 1))


def test_what_was_overtaken_while_it_was_read_is_neither_staged_nor_buried(ledger: Ledger) -> None:
    load = pin(ledger, "A")
    pin(ledger, "B")
    file = stage(ledger, load)
    ledger.bury(load.id, "HR451 broken", [])
    assert (state(ledger, load), ledger.trash()) == (LoadState.ABANDONED, [file.path])


def test_a_dead_object_is_hinted_to_the_publisher_and_its_event_is_done(ledger: Ledger, queue: SqliteQueue) -> None:
    queue.put([Event("p", "a")])
    load = pin(ledger, "A")
    ledger.bury(load.id, "HR451 broken", queue.lease("p", 1, MINUTE))
    assert (said(ledger), queue.depth("p")) == ({"a": (False, False)}, (0, 0))


# -- deciding ----------------------------------------------------------------------------------------------------


def test_a_decision_on_what_stood_before_is_refused(ledger: Ledger) -> None:
    a, b = pin(ledger, "A"), pin(ledger, "B", key="b")
    stage(ledger, a)
    stage(ledger, b)
    decide(ledger, a)
    for number in (1, 3):
        with pytest.raises(RevisionRefused, match="HR526"):
            ledger.record(Decision("p", number, "publish", SHAPE, standing=(b.id,)))
    assert (ledger.head(), state(ledger, b)) == (1, LoadState.STAGED)


def test_a_revision_names_the_files_that_come_and_go(ledger: Ledger) -> None:
    first = stood(ledger, "A")
    second = pin(ledger, "B")
    new = stage(ledger, second)
    (old,) = ledger.files("data")
    decide(ledger, second, retired=(first.id,), removed=(old.path,))
    revision = ledger.revision(2)
    assert (revision.added, revision.removed, revision.columns) == ((new,), (old,), SHAPE.columns)
    assert (ledger.files("data"), ledger.files("data", at=1)) == ([new], [old])
    assert (state(ledger, first), ledger.find_load(first.id).retired) == (LoadState.RETIRED, 2)
    assert list(ledger.standing()) == ["a"] and ledger.standing()["a"].id == second.id


def test_a_staged_file_that_was_written_anew_is_never_adopted(ledger: Ledger) -> None:
    load = pin(ledger, "A")
    old = stage(ledger, load)
    fresh = data(load.id, path="data/fresh.parquet")
    ledger.record(Decision("p", 1, "publish", SHAPE, standing=(load.id,), fresh=(fresh,), doomed=(old.path,)))
    assert (ledger.files("data"), ledger.trash()) == ([fresh], [old.path])


def test_counts_of_a_decision_must_add_up(ledger: Ledger) -> None:
    load = pin(ledger, "A")
    stage(ledger, load)
    wrong = {load.id: replace(TWO, loaded=1)}
    with pytest.raises(InfrastructureError, match="HR520"):
        ledger.record(Decision("p", 1, "publish", SHAPE, standing=(load.id,), counts=wrong))
    assert (ledger.head(), state(ledger, load)) == (0, LoadState.STAGED)


def test_settling_moves_loads_and_no_head(ledger: Ledger) -> None:
    stale = stood(ledger, "A")
    gone = pin(ledger, "B", key="b")
    ledger.hint(["a", "b", "c"])
    forgotten = {key: hint.asked for key, hint in ledger.hints().items() if key != "c"}
    ledger.settle(Settlement(abandoned=(gone.id,), stale=(stale.id,), forgotten=forgotten))
    assert (ledger.head(), state(ledger, gone)) == (1, LoadState.ABANDONED)
    assert ledger.find_load(stale.id).stale and list(ledger.hints()) == ["c"]
    ledger.settle(Settlement(recovered=(stale.id,)))
    assert not ledger.find_load(stale.id).stale


def test_the_last_arrival_is_a_versions_and_no_replay_redrive_or_second_look_changes_it(
    ledger: Ledger, clock: ManualClock
) -> None:
    assert ledger.last_arrival() is None
    stood(ledger, "A")
    assert ledger.last_arrival() == START
    dead = pin(ledger, "B", key="b")
    ledger.bury(dead.id, "HR451 broken", ())
    clock.advance(MINUTE)
    assert pin(ledger, "A", again="replay").state == pin(ledger, "B", key="b", again="redrive").state == "seen"
    pin(ledger, "A", corrections="corrected")
    assert ledger.last_arrival() == START
    pin(ledger, "C")
    assert ledger.last_arrival() == START + MINUTE
    clock.advance(MINUTE)
    pin(ledger, "A", key="c")
    assert ledger.last_arrival() == START + 2 * MINUTE


def test_held_retractions_wait_until_a_person_confirms_them(ledger: Ledger) -> None:
    ledger.hint(["a", "b"])
    ledger.hold(["a"])
    assert (said(ledger), ledger.held()) == ({"a": (True, False), "b": (False, False)}, ["a"])
    assert ledger.confirm() == 1
    assert (said(ledger)["a"], ledger.held()) == ((True, True), [])


def test_a_hint_that_is_given_while_the_publisher_looks_is_not_forgotten_with_the_one_it_read(
    ledger: Ledger,
) -> None:
    ledger.hint(["a", "b"])
    read = {key: hint.asked for key, hint in ledger.hints().items()}
    ledger.hint(["a"])
    ledger.settle(Settlement(forgotten=read))
    assert list(ledger.hints()) == ["a"]


def test_what_a_person_lets_go_is_confirmed_whether_it_was_hinted_held_or_neither(ledger: Ledger) -> None:
    ledger.hint(["a"])
    ledger.hold(["b", "d"])
    ledger.let_go(["a", "b", "c"])
    meant = (True, True)
    assert said(ledger) == {"a": meant, "b": meant, "c": meant, "d": (True, False)}
    assert ledger.held() == ["d"]


def test_retractions_are_counted_since_an_instant_and_replacements_are_not(ledger: Ledger, clock: ManualClock) -> None:
    a, b = stood(ledger, "A"), stood(ledger, "B", key="b")
    ledger.record(Decision("p", 3, "retract", SHAPE, retired=(a.id,)))
    ledger.record(Decision("p", 4, "publish", SHAPE, retired=(b.id,)))
    assert ledger.retracted_since(clock.now() - MINUTE) == 1
    assert ledger.retracted_since(clock.now() + MINUTE) == 0


# -- files -------------------------------------------------------------------------------------------------------


def test_a_search_by_key_passes_files_by_and_never_those_of_unknown_range(ledger: Ledger) -> None:
    a, b, c = (pin(ledger, key.upper(), key=key) for key in "abc")
    low = stage(ledger, a, file=data(a.id, lo=0, hi=9))
    high = stage(ledger, b, file=data(b.id, lo=20, hi=29))
    unknown = replace(data(c.id), ranges=())
    stage(ledger, c, file=unknown)
    assert ledger.overlapping("data", 0, 99) == []  # none stands yet
    decide(ledger, a, b, c)
    assert ledger.overlapping("data", 5, 15) == [low, unknown]
    assert ledger.overlapping("data", 9, 20) == [low, high, unknown]
    assert ledger.overlapping("losers", 0, 99) == []


def test_files_of_a_load_are_its_staged_ones_or_its_standing_ones(ledger: Ledger) -> None:
    load = pin(ledger, "A")
    file = stage(ledger, load)
    assert (ledger.files_of([load.id], staged=True), ledger.files_of([load.id], staged=False)) == ([file], [])
    decide(ledger, load)
    assert (ledger.files_of([load.id], staged=True), ledger.files_of([load.id], staged=False)) == ([], [file])


def test_retired_files_are_kept_until_no_sink_needs_them(ledger: Ledger, clock: ManualClock) -> None:
    first = stood(ledger, "A")
    (old,) = ledger.files("data")
    at = clock.now()
    ledger.record(Decision("p", 2, "retract", SHAPE, retired=(first.id,), removed=(old.path,)))
    assert ledger.retired_files(upto=1) == []
    assert ledger.retired_files(upto=2) == [(old, at)]
    assert (ledger.trash(), ledger.known_paths("data")) == ([], {old.path})
    ledger.forget_files([old.path])
    assert ledger.known_paths("data") == set()


# -- sinks and messages ------------------------------------------------------------------------------------------


def test_loads_stand_once_every_sink_has_their_revision(ledger: Ledger) -> None:
    a, b = pin(ledger, "A"), pin(ledger, "B", key="b")
    stage(ledger, a)
    stage(ledger, b)
    decide(ledger, a)
    decide(ledger, b)
    ledger.stand(1)
    assert (state(ledger, a), state(ledger, b)) == (LoadState.STANDING, LoadState.DECIDED)
    ledger.mark("lake", 2)
    ledger.mark("keyed", 1)
    assert (ledger.sinks(), ledger.standing_number()) == ({"lake": 2, "keyed": 1}, 1)
    ledger.forget_sink("keyed")
    assert ledger.standing_number() == 2


def test_a_message_is_said_once_and_only_when_its_load_stands(ledger: Ledger) -> None:
    load = pin(ledger, "A")
    alert = Alert("high:a:1", load.id, "high", "look")
    ledger.stage([Staged(load.id, TWO, {}, 0.1, (alert,))], [data(load.id)], [])
    ledger.stand(0)
    assert ledger.messages() == []
    decide(ledger, load, settlement=Settlement(alerts=(alert,)))
    ledger.stand(1)
    (message,) = ledger.messages()
    assert (message["name"], message["subject"], message["body"]) == ("high:a:1", "high", "look")
    ledger.sent([message["id"]])
    ledger.settle(Settlement(alerts=(alert,)))
    ledger.stand(1)
    assert ledger.messages() == []


def test_corrections_are_bound_to_one_version(ledger: Ledger) -> None:
    ledger.correct("a", "A", "", {3: {"k": "1", "v": None}}, START)
    assert ledger.corrections("a", "A") == [("", 3, {"k": "1", "v": None})]
    assert (ledger.corrections("a", "B"), ledger.corrections_digest("a", "B")) == ([], "")
    before = ledger.corrections_digest("a", "A")
    ledger.correct("a", "A", "", {3: {"k": "2", "v": None}}, START)
    assert before and ledger.corrections_digest("a", "A") not in ("", before)


def test_what_is_not_there_is_said_with_a_code(ledger: Ledger) -> None:
    with pytest.raises(UsageError, match="HR130"):
        ledger.find_load("p.99")
    with pytest.raises(InfrastructureError, match="HR527"):
        ledger.revision(7)
    with pytest.raises(InfrastructureError, match="HR528"):
        ledger.contract("unknown")


def test_pipelines_of_one_root_do_not_see_each_other(ledger: Ledger, open_ledger: Opener) -> None:
    other = open_ledger("q")
    stood(ledger, "A")
    assert (other.head(), other.standing(), other.history(), other.files("data")) == (0, {}, [], [])

"""Files of the base that somebody deleted: what needs them says so, and loading their objects again heals all."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from headrace.engine import ingest
from headrace.engine.compact import compact
from headrace.engine.publish import publish
from headrace.engine.reconcile import scan
from headrace.engine.replay import rebuild, replay
from headrace.model.errors import BaseLost
from headrace.model.loads import Event
from law.children import HereChild
from law.place import Place


def lose(place: Place, *kinds: str) -> None:
    """Delete every file of these kinds."""
    for kind in kinds or ("data",):
        for path in (place.root / "lake/items" / kind).rglob("*.parquet"):
            path.unlink()


def replay_all(place: Place) -> None:
    replay(place.home, list(place.home.ledger.standing().values()))
    place.quiet()


@pytest.mark.parametrize("together", [True, False])
def test_a_replay_of_everything_heals_a_lost_base(place: Place, together: bool) -> None:
    for minute, (name, text) in enumerate({"a.csv": "1,10 2,20", "b.csv": "2,21 3,30", "c.csv": "4,40 9,x"}.items()):
        place.put(name, text, minute)
        if not together:
            place.quiet()
    place.quiet()
    rows, losers = place.rows(), place.losers()
    lose(place, "data", "losers", "rejected")
    replay_all(place)
    assert (place.rows(), place.losers()) == (rows, losers)
    assert [c.loaded for c in (place.load(n).counts for n in ("a.csv", "b.csv", "c.csv"))] == [1, 2, 1]
    for sink in place.home.writers:
        rebuild(place.home, sink)
    assert place.rows() == rows


@pytest.mark.parametrize("folders", [("lake",), ("keyed", "lake"), ("lake/items/metadata",), ("keyed",)])
def test_sinks_that_were_deleted_with_the_base_come_back_with_a_replay(place: Place, folders: tuple[str, ...]) -> None:
    for minute, (name, text) in enumerate({"a.csv": "1,10 2,20", "b.csv": "2,21 3,30"}.items()):
        place.put(name, text, minute)
        place.quiet()
    rows = place.rows()
    place.define()  # in a new process: nothing holds a deleted file open
    for folder in folders:
        shutil.rmtree(place.root / folder)
    if len(folders) > 1:
        with pytest.raises(BaseLost, match="HR532"):
            publish(place.home)
    replay_all(place)
    assert place.rows() == rows


def test_one_file_that_is_loaded_again_needs_nothing_of_its_lost_rows(place: Place) -> None:
    place.put("a.csv", "1,10", 1)
    place.quiet()
    place.put("b.csv", "2,20", 2)
    place.quiet()
    lose(place)
    place.put("b.csv", "2,21 3,30", 3)
    scan(place.home)
    place.clock.advance(timedelta(hours=2))
    place.work()  # staged, and not decided yet
    place.put("a.csv", "1,11", 4)
    place.quiet()
    assert place.rows() == {1: (11, "a.csv"), 2: (21, "b.csv"), 3: (30, "b.csv")}


def test_a_lost_file_whose_other_rows_would_go_with_it_is_not_written_anew(place: Place) -> None:
    place.put("a.csv", "1,10", 1)
    place.put("b.csv", "2,20", 2)
    place.quiet()  # staged together, in one file
    head = place.home.ledger.head()
    lose(place)
    place.put("a.csv", "1,11", 3)
    with pytest.raises(BaseLost, match=r"HR532 pipeline 'p': 1 files .* rows of 2 loads, .* replay p --all"):
        place.quiet()
    assert place.home.ledger.head() == head
    place.home.queue.put([Event("p", "in/b.csv", "replay")])
    place.quiet()
    assert place.rows() == {1: (11, "a.csv"), 2: (20, "b.csv")}


def test_a_replay_that_is_under_way_is_waited_for(place: Place) -> None:
    for n, name in enumerate(("a.csv", "b.csv")):
        place.put(name, f"{n},{n}", n)
    place.quiet()
    lose(place)
    replay(place.home, list(place.home.ledger.standing().values()))
    leases = place.home.queue.lease("p", 1, timedelta(minutes=5))
    ingest.ingest(place.home, HereChild(), leases)
    assert publish(place.home) is False  # the other half is still to come
    place.quiet()
    assert place.rows() == {0: (0, "a.csv"), 1: (1, "b.csv")}


def test_a_loser_wins_where_nobody_can_tell_any_more_that_its_winner_has_gone(place: Place) -> None:
    place.put("a.csv", "1,10", 1)
    place.quiet()
    place.put("b.csv", "1,20", 2)
    place.quiet()
    assert place.rows() == {1: (20, "b.csv")}
    lose(place)
    place.put("b.csv", "2,20", 3)
    place.quiet()
    assert place.rows() == {1: (10, "a.csv"), 2: (20, "b.csv")}


def test_no_sink_is_rebuilt_and_nothing_compacted_from_files_that_are_not_there(place: Place) -> None:
    for n in range(3):
        place.put(f"{n}.csv", f"{n},{n}", n)
        place.quiet()
    before = [w.number() for w in place.home.writers.values()]
    lose(place)
    for sink in place.home.writers:
        with pytest.raises(BaseLost, match="rows of 3 loads"):
            rebuild(place.home, sink)
    with pytest.raises(BaseLost):
        compact(place.home)
    assert [w.number() for w in place.home.writers.values()] == before
    replay_all(place)
    assert place.rows() == {n: (n, f"{n}.csv") for n in range(3)}


def test_rejected_rows_go_when_the_last_load_of_their_file_has_gone(place: Place) -> None:
    for i in range(3):
        place.put(f"{i}.csv", f"{i},1 9,x")
    place.quiet()
    (file,) = place.home.ledger.files("rejected")
    assert len(file.loads) == 3
    for i in range(3):
        assert place.home.ledger.files("rejected") == [file]
        place.put(f"{i}.csv", f"{i},2", minute=5 + i)
        place.quiet()
    assert place.home.ledger.files("rejected") == []


def base_files(place: Place) -> set[Path]:
    return set((place.root / "lake/items/data").rglob("*.parquet"))


@pytest.mark.parametrize("every", [True, False])
def test_a_sink_that_lacks_a_revision_whose_files_are_lost_is_healed_by_a_replay(place: Place, every: bool) -> None:
    place.put("a.csv", "1,10", minute=1)
    place.quiet()
    before = base_files(place)
    place.put("b.csv", "2,20", minute=2)
    place.killed_at("publish.recorded")
    for path in base_files(place) - (set() if every else before):
        path.unlink()
    with pytest.raises(BaseLost, match="HR532 .*headrace replay p --all"):
        place.quiet()
    replay(place.home, place.home.ledger.in_state("decided", "standing"))
    place.quiet()
    assert place.rows() == {1: (10, "a.csv"), 2: (20, "b.csv")}


@pytest.mark.parametrize("key", [1, 2])
def test_a_load_whose_staged_file_is_lost_is_staged_again(place: Place, key: int) -> None:
    place.put("a.csv", "1,10", minute=1)
    place.quiet()
    before = base_files(place)
    place.put("b.csv", f"{key},20", minute=2)
    scan(place.home)
    place.work()
    for path in base_files(place) - before:
        path.unlink()
    place.quiet()
    assert place.rows() == {1: (10, "a.csv")} | {key: (20, "b.csv")}
    assert place.history("b.csv") == ["abandoned", "standing"]

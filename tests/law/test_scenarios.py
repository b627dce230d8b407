"""The law in single stories, each of which somebody will meet one day."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace import Record, column, lake
from headrace.engine.publish import publish
from headrace.engine.reconcile import scan
from headrace.engine.replay import confirm_retraction, replay
from headrace.model.errors import DefinitionError, SinkAhead, StoreUnavailable
from headrace.model.loads import Event

from .place import Item, Place

BROKEN = "nothing,like\nthe,contract\n"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    found = Place(tmp_path / "root")
    yield found
    found.close()


# -- one file ----------------------------------------------------------------------------------------------------


def test_a_file_s_rows_are_in_every_sink(place: Place) -> None:
    place.put("a.csv", "1,10 2,20")
    place.quiet()
    assert place.rows() == {1: (10, "a.csv"), 2: (20, "a.csv")}
    assert place.load("a.csv").counts.loaded == 2


def test_the_same_file_again_changes_nothing(place: Place) -> None:
    place.put("a.csv", "1,10", minute=1)
    place.quiet()
    head = place.home.ledger.head()
    place.put("a.csv", "1,10", minute=2)
    place.quiet()
    assert (place.home.ledger.head(), place.history("a.csv")) == (head, ["standing"])


def test_a_corrected_file_replaces_its_rows(place: Place) -> None:
    place.put("a.csv", "1,10 2,20", minute=1)
    place.quiet()
    place.put("a.csv", "1,11 3,30", minute=2)
    place.quiet()
    assert place.rows() == {1: (11, "a.csv"), 3: (30, "a.csv")}
    assert place.history("a.csv") == ["retired", "standing"]


def test_a_file_that_is_restored_ends_as_it_began(place: Place) -> None:
    for minute, text in enumerate(("1,10 2,20", "1,11", "1,10 2,20")):
        place.put("a.csv", text, minute)
        place.quiet()
    assert place.rows() == {1: (10, "a.csv"), 2: (20, "a.csv")}
    assert place.history("a.csv") == ["retired", "retired", "standing"]


def test_a_restored_file_has_its_place_in_the_order_from_when_it_came_back(place: Place) -> None:
    place.put("a.csv", "1,10", minute=1)
    place.quiet()
    place.put("a.csv", "1,11", minute=2)
    place.put("b.csv", "1,99", minute=3)
    place.quiet()
    assert place.rows() == {1: (99, "b.csv")}
    place.put("a.csv", "1,10", minute=4)
    place.quiet()
    assert place.rows() == {1: (10, "a.csv")}


def test_an_older_file_replaces_a_newer_one_of_its_name_and_takes_its_own_place_in_the_order(place: Place) -> None:
    place.put("a.csv", "1,10", minute=9)
    place.put("b.csv", "1,20", minute=5)
    place.quiet()
    assert place.rows() == {1: (10, "a.csv")}
    place.put("a.csv", "1,11 2,22", minute=1)
    place.quiet()
    assert place.rows() == {1: (20, "b.csv"), 2: (22, "a.csv")}


def test_a_renamed_file_has_its_rows_under_the_new_name_alone_under_retract(place: Place) -> None:
    place.define(on_delete="retract")
    place.put("a.csv", "1,10 2,20")
    place.quiet()
    place.rename("a.csv", "b.csv")
    place.quiet()
    assert place.rows() == {1: (10, "b.csv"), 2: (20, "b.csv")}
    assert list(place.home.ledger.standing()) == ["in/b.csv"]


def test_under_keep_a_renamed_file_stands_under_both_names_and_each_row_once(place: Place) -> None:
    place.put("a.csv", "1,10 2,20")
    place.quiet()
    place.rename("a.csv", "b.csv")
    place.quiet()
    assert place.rows() == {1: (10, "b.csv"), 2: (20, "b.csv")}
    assert place.load("a.csv").counts.duplicate == 2


def test_a_deleted_file_keeps_its_rows(place: Place) -> None:
    place.put("a.csv", "1,10")
    place.quiet()
    place.remove("a.csv")
    place.quiet()
    assert place.rows() == {1: (10, "a.csv")}


def test_a_deleted_file_takes_its_rows_with_it_under_retract(place: Place) -> None:
    place.define(on_delete="retract")
    place.put("a.csv", "1,10")
    place.put("b.csv", "2,20")
    place.quiet()
    place.remove("a.csv")
    place.quiet()
    assert place.rows() == {2: (20, "b.csv")}
    assert place.history("a.csv") == ["retired"]


def test_a_broken_replacement_wipes_nothing_out_and_is_told(place: Place) -> None:
    place.put("a.csv", "1,10", minute=1)
    place.quiet()
    place.put("a.csv", BROKEN, minute=2)
    place.quiet()
    assert place.rows() == {1: (10, "a.csv")}
    assert place.load("a.csv").stale
    assert "in/a.csv cannot load" in place.said.getvalue()
    place.put("a.csv", "1,11", minute=3)
    place.quiet()
    assert place.rows() == {1: (11, "a.csv")}
    assert not place.load("a.csv").stale
    assert place.home.ledger.dead() == []


def test_the_good_version_put_back_over_a_broken_one_is_stale_no_more(place: Place) -> None:
    for minute, text in enumerate(("1,10", BROKEN, "1,10")):
        place.put("a.csv", "k,v\n1,10\n" if text == "1,10" else text, minute)
        place.quiet()
    assert place.rows() == {1: (10, "a.csv")}
    assert not place.load("a.csv").stale


def test_an_event_is_believed_nothing(place: Place) -> None:
    place.put("a.csv", "1,10")
    place.home.queue.put([Event("p", "in/a.csv", "removed"), Event("p", "in/never.csv", "created")])
    place.quiet()
    assert place.rows() == {1: (10, "a.csv")}


# -- same bytes --------------------------------------------------------------------------------------------------


def test_same_bytes_are_loaded_and_told(place: Place) -> None:
    place.put("a.csv", "1,10", minute=1)
    place.put("b.csv", "1,10", minute=2)
    place.quiet()
    assert place.rows() == {1: (10, "b.csv")}
    assert place.losers() == [(1, 10, "a.csv", "duplicate")]
    assert "has the same bytes as" in place.said.getvalue()


def test_same_bytes_are_loaded_without_a_word_where_that_is_meant(place: Place) -> None:
    place.define(same_bytes="load")
    place.put("a.csv", "1,10", minute=1)
    place.put("b.csv", "1,10", minute=2)
    place.quiet()
    assert place.load("a.csv").counts.duplicate == 1
    assert place.said.getvalue() == ""


def test_same_bytes_are_skipped_until_the_first_of_them_goes(place: Place) -> None:
    place.define(same_bytes="skip", on_delete="retract")
    place.put("b.csv", "1,10", minute=1)
    place.put("a.csv", "1,10", minute=2)
    place.quiet()
    assert place.rows() == {1: (10, "b.csv")}
    assert place.load("a.csv").state == "skipped"
    place.remove("b.csv")
    place.quiet()
    assert place.rows() == {1: (10, "a.csv")}


def test_the_first_of_the_same_bytes_counts_even_if_it_is_found_last(place: Place) -> None:
    place.define(same_bytes="skip")
    place.put("a.csv", "1,10", minute=5)
    place.quiet()
    place.put("b.csv", "1,10", minute=1)
    place.quiet()
    assert place.rows() == {1: (10, "b.csv")}
    assert place.load("a.csv").state == "skipped"


def test_a_file_that_becomes_a_twin_loses_the_rows_it_had(place: Place) -> None:
    place.define(same_bytes="skip")
    place.put("a.csv", "1,10", minute=1)
    place.put("b.csv", "2,20", minute=2)
    place.quiet()
    place.put("b.csv", "1,10", minute=3)
    place.quiet()
    assert place.rows() == {1: (10, "a.csv")}


# -- contested keys ----------------------------------------------------------------------------------------------


class First(Item, on_conflict="first"):
    """The first of several rows with one key stands."""


class Strict(Item, on_conflict="reject"):
    """The first stands; the others count as rejected."""


@pytest.mark.parametrize(("record", "winner", "v"), [(Item, "c.csv", 30), (First, "a.csv", 10), (Strict, "a.csv", 10)])
def test_of_three_files_with_one_key_one_wins_and_two_are_kept_as_losers(
    place: Place, record: type[Record], winner: str, v: int
) -> None:
    place.define(record)
    place.put("b.csv", "1,20 2,2", minute=2)
    place.put("c.csv", "1,30", minute=3)
    place.quiet()
    place.put("a.csv", "1,10 3,3", minute=1)
    place.quiet()
    assert place.rows() == {1: (v, winner), 2: (2, "b.csv"), 3: (3, "a.csv")}
    assert {(file, verdict) for _, _, file, verdict in place.losers()} == {
        (name, "conflict") for name in ("a.csv", "b.csv", "c.csv") if name != winner
    }
    assert all(place.load(n).counts.decided_exactly for n in ("a.csv", "b.csv", "c.csv"))


@pytest.mark.parametrize(
    ("record", "order"), [(Item, ("c.csv", "b.csv", "a.csv")), (First, ("a.csv", "b.csv", "c.csv"))]
)
def test_when_a_winner_goes_its_losers_are_judged_again(
    place: Place, record: type[Record], order: tuple[str, ...]
) -> None:
    place.define(record, on_delete="retract")
    for minute, name in enumerate(("a.csv", "b.csv", "c.csv")):
        place.put(name, f"1,{minute + 5} {minute + 10},0", minute)
    place.quiet()
    for winner in order:
        assert place.rows()[1][1] == winner
        place.remove(winner)
        place.quiet()
    assert place.rows() == {}


def test_a_loser_equal_to_the_winner_is_a_duplicate_and_judged_against_the_next_one_a_conflict(place: Place) -> None:
    place.define(on_delete="retract")
    place.put("a.csv", "1,10", minute=1)
    place.put("b.csv", "1,20 2,0", minute=2)
    place.put("c.csv", "1,10 3,0", minute=3)
    place.quiet()
    assert place.losers() == [(1, 10, "a.csv", "duplicate"), (1, 20, "b.csv", "conflict")]
    place.remove("c.csv")
    place.quiet()
    assert place.losers() == [(1, 10, "a.csv", "conflict")]


def test_rows_without_a_key_all_stand(place: Place) -> None:
    class Line(Record):
        k: int
        v: int

    place.define(Line, sinks=(lake("items"),))
    place.put("a.csv", "1,10 1,10", minute=1)
    place.put("b.csv", "1,10 2,20", minute=2)
    place.quiet()
    assert [place.load(n).counts.loaded for n in ("a.csv", "b.csv")] == [2, 2]


def test_equal_rows_without_a_key_stand_once_under_dedupe_by_row(place: Place) -> None:
    class Line(Record, dedupe="row"):
        k: int
        v: int

    place.define(Line, sinks=(lake("items"),))
    place.put("a.csv", "1,10 1,10", minute=1)
    place.put("b.csv", "1,10 2,20", minute=2)
    place.quiet()
    assert place.rows() == {1: (10, "a.csv"), 2: (20, "b.csv")}
    assert [place.load(n).counts.duplicate for n in ("a.csv", "b.csv")] == [1, 1]


# -- definitions that change -------------------------------------------------------------------------------------


class Checked(Item):
    """A tighter check than before."""

    v: int = column(le=15)


class Renamed(Record, key=("k", "v")):
    """Another key than before."""

    k: int
    v: int


def test_a_changed_contract_marks_what_stands_outdated_and_a_replay_brings_it_over(place: Place) -> None:
    place.put("a.csv", "1,10 2,20")
    place.quiet()
    place.define(Checked)
    place.quiet()
    digest = place.home.contract.digest
    assert place.rows() == {1: (10, "a.csv"), 2: (20, "a.csv")}
    assert [x.key for x in place.home.ledger.outdated(digest)] == ["in/a.csv"]  # type: ignore[attr-defined]
    replay(place.home, place.home.ledger.standing().values())
    place.quiet()
    assert place.rows() == {1: (10, "a.csv")}
    assert place.load("a.csv").counts.rejected == 1
    assert place.history("a.csv") == ["retired", "standing"]


def test_a_replay_leaves_a_file_that_is_gone_as_it_was(place: Place) -> None:
    place.put("a.csv", "1,10 2,20")
    place.quiet()
    place.remove("a.csv")
    place.define(Checked)
    replay(place.home, place.home.ledger.standing().values())
    place.quiet()
    assert place.rows() == {1: (10, "a.csv"), 2: (20, "a.csv")}


def test_a_replay_keeps_the_order(place: Place) -> None:
    place.put("a.csv", "1,10", minute=1)
    place.put("b.csv", "1,12", minute=2)
    place.quiet()
    place.define(Checked)
    replay(place.home, [place.load("a.csv")])
    place.quiet()
    assert place.rows() == {1: (12, "b.csv")}


def test_another_key_refuses_new_files_until_everything_is_replayed_in_one_revision(place: Place) -> None:
    place.put("a.csv", "1,10 1,11", minute=1)
    place.put("b.csv", "1,10 2,20", minute=2)
    place.quiet()
    place.define(Renamed)
    place.put("c.csv", "3,30", minute=3)
    with pytest.raises(DefinitionError, match="HR240.*its key changed from .k. to .k, v."):
        place.quiet()
    head = place.home.ledger.head()
    replay(place.home, place.home.ledger.standing().values())
    place.quiet()
    assert place.home.ledger.head() == head + 1
    assert sum(x.counts.loaded for x in place.home.ledger.standing().values()) == 4
    assert place.pairs() == [(1, 10), (1, 11), (2, 20), (3, 30)]


def test_another_dedupe_is_refused_like_another_key(place: Place) -> None:
    class Line(Record):
        k: int
        v: int

    class Once(Record, dedupe="row"):
        k: int
        v: int

    place.define(Line, sinks=(lake("items"),))
    place.put("a.csv", "1,10 1,10")
    place.quiet()
    place.define(Once, sinks=(lake("items"),))
    place.put("b.csv", "2,20")
    with pytest.raises(DefinitionError, match=r"HR240.*dedupe changed from 'none' to 'row'"):
        place.quiet()
    replay(place.home, place.home.ledger.standing().values())
    place.quiet()
    assert place.rows() == {1: (10, "a.csv"), 2: (20, "b.csv")}


def test_an_added_column_is_empty_in_what_stands_and_filled_by_a_replay(place: Place) -> None:
    class Wide(Item):
        w: int | None = None

    place.put("a.csv", "k,v,w\n1,10,7\n")
    place.quiet()
    place.define(Wide)
    place.put("b.csv", "k,v,w\n2,20,8\n")
    place.quiet()
    assert place.widths() == {1: None, 2: 8}
    replay(place.home, [place.load("a.csv")])
    place.quiet()
    assert place.widths() == {1: 7, 2: 8}


# -- corrections -------------------------------------------------------------------------------------------------


def test_a_correction_applies_to_its_version_and_falls_with_it(place: Place) -> None:
    place.put("a.csv", "1,10 2,x", minute=1)
    place.quiet()
    assert place.load("a.csv").counts.rejected == 1
    ledger = place.home.ledger
    ledger.correct("in/a.csv", place.load("a.csv").version, "", {2: {"k": "2", "v": "22"}}, place.clock.now())  # type: ignore[attr-defined]
    place.home.queue.put([Event("p", "in/a.csv", "correct")])
    place.quiet()
    assert place.rows() == {1: (10, "a.csv"), 2: (22, "a.csv")}
    place.put("a.csv", "1,10 2,y", minute=2)
    place.quiet()
    assert place.rows() == {1: (10, "a.csv")}
    place.put("a.csv", "1,10 2,x", minute=3)
    place.quiet()
    assert place.rows() == {1: (10, "a.csv"), 2: (22, "a.csv")}, "the same version has the same corrections"


# -- sinks -------------------------------------------------------------------------------------------------------


def test_a_sink_added_later_is_filled_with_everything(place: Place) -> None:
    place.define(sinks=(lake("items"),))
    place.put("a.csv", "1,10", minute=1)
    place.quiet()
    place.put("a.csv", "1,11 2,20", minute=2)
    place.quiet()
    place.define()
    place.quiet()
    assert place.rows() == {1: (11, "a.csv"), 2: (20, "a.csv")}


def test_a_sink_that_lost_everything_is_filled_again(place: Place) -> None:
    place.put("a.csv", "1,10 2,20")
    place.quiet()
    place.close()
    shutil.rmtree(place.root / "keyed")
    place.define()
    place.quiet()
    assert place.rows() == {1: (10, "a.csv"), 2: (20, "a.csv")}


def test_a_ledger_restored_from_an_older_backup_is_refused(place: Place, tmp_path: Path) -> None:
    place.put("a.csv", "1,10", minute=1)
    place.quiet()
    place.close()
    for name in ("ledger.db", "ledger.db-wal"):
        if (place.root / name).exists():
            shutil.copy(place.root / name, tmp_path / name)
    place.define()
    place.put("a.csv", "1,11", minute=2)
    place.quiet()
    place.close()
    for name in ("ledger.db", "ledger.db-wal", "ledger.db-shm"):
        (place.root / name).unlink(missing_ok=True)
        if (tmp_path / name).exists():
            shutil.copy(tmp_path / name, place.root / name)
    place.define()
    with pytest.raises(SinkAhead, match="HR530"):
        place.quiet()


# -- the guard against mass deletion -----------------------------------------------------------------------------


def crowd(place: Place, n: int) -> list[str]:
    place.define(on_delete="retract")
    names = [f"{i:02}.csv" for i in range(n)]
    for i, name in enumerate(names):
        place.put(name, f"{i},{i}")
    place.quiet()
    return names


def test_what_would_retract_too_much_waits_for_a_person(place: Place) -> None:
    names = crowd(place, 30)
    place.remove(*names[:12])
    place.quiet()
    assert len(place.rows()) == 30
    assert len(place.home.ledger.held()) == 12
    assert "12 objects are gone and wait for you" in place.said.getvalue()
    confirm_retraction(place.home)
    place.quiet()
    assert len(place.rows()) == 18
    assert place.home.ledger.held() == []


def test_deletions_that_trickle_in_are_held_like_those_at_once(place: Place) -> None:
    names = crowd(place, 30)
    place.remove(*names[:12])
    for name in names[:12]:
        place.home.ledger.hint([f"in/{name}"])
        publish(place.home)
    assert len(place.home.ledger.held()) == 2
    assert len(place.rows()) == 20


def test_what_is_held_and_comes_back_stays(place: Place) -> None:
    names = crowd(place, 30)
    place.remove(*names[:12])
    place.quiet()
    for i, name in enumerate(names[:12]):
        place.put(name, f"{i},{i}")
    place.quiet()
    assert len(place.rows()) == 30
    assert place.home.ledger.held() == []


def test_a_few_deletions_are_no_mass_deletion(place: Place) -> None:
    names = crowd(place, 30)
    place.remove(*names[:10])
    place.quiet()
    assert len(place.rows()) == 20


def test_an_unmounted_landing_folder_is_a_fault_and_no_deletion(place: Place) -> None:
    crowd(place, 3)
    (place.root / "landing").rename(place.root / "elsewhere")
    (place.root / "landing").mkdir()
    with pytest.raises(StoreUnavailable, match="HR301"):
        scan(place.home)
    place.home.queue.put([Event("p", "in/00.csv", "removed")])
    with pytest.raises(StoreUnavailable, match="HR301"):
        place.work()
    assert len(place.rows()) == 3

"""Names that pass from one pipeline to another: nobody's files go, and no sink shows another's rows as its own."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from headrace import Pipeline, files, keyed, lake
from headrace.engine import ingest
from headrace.engine.home import Home
from headrace.engine.publish import publish
from headrace.engine.reconcile import scan
from headrace.engine.recover import recover
from headrace.engine.replay import rebuild
from headrace.engine.retain import refuse_strangers, sweep
from headrace.model.errors import DefinitionError, SinkAhead
from headrace.model.pipeline import Keyed, Lake
from law.check import rows_in
from law.children import HereChild
from law.coming import START, put
from law.place import Item, Place


def another(place: Place, *sinks: Lake | Keyed, name: str = "other", prefix: str = "o/") -> Home:
    """A second pipeline of the same root, or what a renamed one becomes."""
    assert place.target is not None
    return place.target.home(Pipeline(name, source=files(prefix), record=Item, sinks=sinks))


def load(place: Place, home: Home, rows: str) -> None:
    """Let `o/x.csv` be these rows, published."""
    put(place.root / "landing", "o/x.csv", f"k,v\n{rows}\n", START)
    scan(home)
    place.clock.advance(timedelta(hours=2))
    ingest.ingest(home, HereChild(), home.queue.lease(home.name, 5, timedelta(hours=1)))
    publish(home)


def base_files(place: Place) -> list[Path]:
    return sorted((place.root / "lake/items/data").rglob("*.parquet"))


def test_a_renamed_pipeline_is_refused_before_any_of_its_files_goes(place: Place) -> None:
    place.put("a.csv", "1,10 2,20")
    place.quiet()
    before = base_files(place)
    renamed = another(place, lake("items"), keyed("by_key"), name="orders", prefix="in/")
    with pytest.raises(DefinitionError, match=r"HR241 pipeline 'orders': the files in lake/items .* call .* 'p' again"):
        refuse_strangers(renamed)
    with pytest.raises(DefinitionError, match="HR241"):
        rebuild(renamed, "by_key")
    assert sweep(renamed) == 0
    assert before and base_files(place) == before
    place.define()
    place.quiet()
    assert place.rows() == {1: (10, "a.csv"), 2: (20, "a.csv")}


def test_a_table_name_that_another_pipeline_takes_keeps_the_files_that_still_stand(place: Place) -> None:
    place.put("a.csv", "1,10")
    place.quiet()
    place.define(sinks=(keyed("by_key"),))  # its base stays where it was until it is written anew
    taker = another(place, lake("items"))
    with pytest.raises(DefinitionError, match="HR241"):
        refuse_strangers(taker)
    assert sweep(taker) == 0
    assert len(base_files(place)) == 1


def test_a_pipeline_alone_in_its_base_is_not_refused(place: Place) -> None:
    place.put("a.csv", "1,10")
    place.quiet()
    other = another(place, lake("else"))
    load(place, other, "7,70")
    refuse_strangers(place.home)
    refuse_strangers(other)


def test_a_sink_that_another_pipeline_filled_is_filled_anew_though_its_number_is_the_head(place: Place) -> None:
    place.put("a.csv", "1,10")
    place.quiet()
    load(place, another(place, keyed("o_key")), "7,70")
    taker = another(place, keyed("o_key"), keyed("by_key"))
    recover(taker)
    assert [row[:2] for row in rows_in(taker, "by_key")] == [(7, 70)]
    recover(place.home)  # and back again, if both want it: nobody ever shows the other's rows as his own
    assert [row[:2] for row in rows_in(place.home, "by_key")] == [(1, 10)]


def test_a_sink_of_a_renamed_pipeline_is_refused_by_the_name_of_its_owner(place: Place) -> None:
    place.define(sinks=(keyed("by_key"),))
    place.put("a.csv", "1,10")
    place.quiet()
    with pytest.raises(
        SinkAhead, match=r"HR530 .* rows are those of pipeline 'p'; call the pipeline 'p' again"
    ) as told:
        recover(another(place, keyed("by_key"), name="orders", prefix="in/"))
    assert "rebuild" not in str(told.value)


def test_a_sink_that_was_given_up_can_be_rebuilt_empty_by_a_pipeline_that_never_loaded(place: Place) -> None:
    place.put("a.csv", "1,10")
    place.quiet()
    place.define(sinks=(lake("items"),))
    recover(place.home)
    taker = another(place, keyed("by_key"))
    with pytest.raises(SinkAhead, match="headrace rebuild by_key"):
        recover(taker)
    rebuild(taker, "by_key")
    load(place, taker, "7,70")
    assert [row[:2] for row in rows_in(taker, "by_key")] == [(7, 70)]

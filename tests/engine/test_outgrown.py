"""A definition that no longer goes together with what stands: no sink is touched until a replay has replaced it all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from headrace import Record, column, keyed, lake
from headrace.aws.keyed_layout import Layout
from headrace.aws.session import Session
from headrace.contract.query import columns_of
from headrace.engine.compact import compact
from headrace.engine.publish import publish
from headrace.engine.replay import rebuild, replay
from headrace.model.errors import Outgrown
from law.check import base_rows, lake_rows
from law.place import Place
from sinks.dynamo import REGION, make_table, open_dynamo, physical_of


class Coarse(Record, key="k"):
    k: int
    v: int


class Fine(Record, key=("k", "v")):
    k: int
    v: int


class Text(Record, key="k"):
    k: str
    v: int


class Renamed(Record, key="other"):
    other: int = column("k")
    v: int


CHANGES = {
    "coarser": (Fine, Coarse),
    "finer": (Coarse, Fine),
    "of another type": (Coarse, Text),
    "renamed": (Coarse, Renamed),
}
KINDS = ("local", "dynamo")

Define = Callable[..., None]


@pytest.fixture(params=KINDS)
def define(request: pytest.FixtureRequest, place: Place) -> Define:
    """Change the definition, and the keyed table's keys with it: then the table is another, and empty."""
    if request.param == "dynamo":
        request.getfixturevalue("aws_environment")

    def change(record: type[Record], index: tuple[str, ...] = ()) -> None:
        place.define(record, sinks=(lake("items"), keyed("t", index=index)))
        if request.param == "dynamo":
            writer = _dynamo(place, index)
            place.home = replace(place.home, writers={**place.home.writers, "t": writer})
        else:
            held = place.root / "keyed" / "t.db"
            for file in held.parent.glob(f"{held.name}*"):
                file.unlink()

    return change


def _dynamo(place: Place, index: tuple[str, ...]) -> Any:
    contract, client = place.home.contract, Session(REGION).client("dynamodb")
    layout, name = Layout.of(contract.key, columns_of(contract)).indexed_by(index), physical_of(place.root)
    if name in client.list_tables()["TableNames"]:
        client.delete_table(TableName=name)
    make_table(Session(REGION), name, layout)
    return open_dynamo(place.root, contract.key, columns_of(contract), index)


@pytest.mark.parametrize("change", CHANGES)
def test_a_sink_that_was_made_anew_for_another_key_is_filled_by_the_replay(
    place: Place, define: Define, change: str
) -> None:
    before, after = CHANGES[change]
    define(before)
    place.put("a.csv", "1,10 1,11 2,20", minute=1)
    place.quiet()
    define(after)
    for _ in range(2):
        with pytest.raises(Outgrown, match="HR240 .*headrace replay p --all"):
            publish(place.home)
    with pytest.raises(Outgrown, match="HR240"):
        rebuild(place.home, "t")
    assert place.home.writers["t"].number() == 0
    replay(place.home, place.home.ledger.standing().values())
    place.quiet()
    assert {name: writer.number() for name, writer in place.home.writers.items()} == {"items": 2, "t": 2}
    keys = {"coarser": [1, 2], "finer": [1, 1, 2], "of another type": ["1", "2"], "renamed": [1, 2]}[change]
    at = place.home.contract.key[0]
    found = [row for key in dict.fromkeys(keys) for row in place.home.writers["t"].get("t", key)]  # type: ignore[attr-defined]
    assert [row[at] for row in found] == keys
    rebuild(place.home, "t")


def test_a_revision_that_a_killed_publisher_did_not_apply_does_not_wedge_a_changed_definition(place: Place) -> None:
    place.define(Coarse)
    place.put("a.csv", "1,10", minute=1)
    place.quiet()
    place.put("b.csv", "2,20", minute=2)
    place.killed_at("publish.recorded")
    place.define(Fine)
    with pytest.raises(Outgrown):
        publish(place.home)
    replay(place.home, place.home.ledger.in_state("decided", "standing"))
    place.quiet()
    assert place.home.ledger.head() == 3
    assert place.pairs() == [(1, 10), (2, 20)]


def test_nothing_is_compacted_under_a_shape_that_the_sinks_have_left(place: Place) -> None:
    place.define(Coarse)
    for n in range(3):
        place.put(f"{n}.csv", f"{n},{n}", minute=n)
        place.quiet()
    place.define(Fine)
    assert compact(place.home) == 0
    place.define(Coarse)
    assert compact(place.home) == 3


def test_where_nothing_stands_any_more_a_sink_is_filled_with_nothing(place: Place, define: Define) -> None:
    define(Coarse)
    place.put("a.csv", "1,10", minute=1)
    place.quiet()
    place.define(Coarse, on_delete="retract")
    place.remove("a.csv")
    place.quiet()
    define(Renamed)
    place.put("b.csv", "2,20", minute=3)
    place.quiet()
    assert place.home.writers["t"].number() == place.home.ledger.head()
    assert [row["v"] for row in place.home.writers["t"].get("t", 2)] == [20]  # type: ignore[attr-defined]


class Loose(Record, key="k"):
    k: str | None
    v: int


def test_a_new_sink_that_cannot_hold_what_stands_keeps_nothing_back_and_is_filled_by_a_replay(place: Place) -> None:
    place.define(Loose, sinks=(lake("items"),))
    place.put("a.csv", "k,v\n,10\nb,20\n", minute=1)
    place.quiet()
    place.define(Loose, sinks=(lake("items"), keyed("by_key")))
    place.put("c.csv", "k,v\nz,30\n", minute=2)
    with pytest.raises(Outgrown, match="HR242 sink 'by_key'.*headrace replay p --all"):
        place.quiet()
    assert sorted(row["v"] for row in lake_rows(place.home, "items")) == [10, 20, 30]
    replay(place.home, place.home.ledger.in_state("decided", "standing"))
    place.quiet()
    assert place.pairs() == [("b", 20), ("z", 30)]
    assert place.home.writers["by_key"].number() == place.home.ledger.head()
    assert base_rows(place.home, "rejected", "rule") == [("key",)]


def test_what_was_staged_in_other_folders_is_staged_again(place: Place) -> None:
    """Else readers that look for a value would pass its file by."""
    folders = (lake("items", partition_by=["v"]),)
    place.define(Coarse, sinks=folders)
    place.put("a.csv", "1,10 2,20", minute=1)
    place.quiet()
    place.define(Coarse, sinks=(lake("items"),))
    place.put("b.csv", "3,10", minute=2)
    with pytest.raises(Outgrown):
        place.quiet()
    assert place.home.ledger.census(place.home.contract.digest).outdated == 1
    place.define(Coarse, sinks=folders)
    place.quiet()
    assert sorted(row["k"] for row in lake_rows(place.home, "items", "v = 10")) == [1, 3]

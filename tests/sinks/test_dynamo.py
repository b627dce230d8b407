"""Revisions and rebuilds of the keyed sink on DynamoDB: what is refused, and going on where another died."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from headrace.aws.keyed import DynamoWriter
from headrace.aws.keyed_layout import CONTROL
from headrace.aws.keyed_lookup import DynamoLookup
from headrace.aws.keyed_pieces import Pace, pieces
from headrace.aws.session import Session
from headrace.engine.faults import install
from headrace.model.errors import InfrastructureError, OutOfTime
from sinks.base_files import COLUMNS, KEY, Base
from sinks.dynamo import REGION, items, open_dynamo, physical_of, rows

pytestmark = pytest.mark.usefixtures("aws_environment")


@pytest.fixture
def writer(base: Base) -> Iterator[DynamoWriter]:
    opened = open_dynamo(base.root, KEY, COLUMNS)
    yield opened
    opened.close()


# what is refused


def test_two_rows_with_one_key_stop_the_revision_and_are_told(writer: DynamoWriter, base: Base) -> None:
    twice = base.load("L1", "('a', TIMESTAMP '2025-01-01', 1), ('a', TIMESTAMP '2025-01-01', 2)")
    with pytest.raises(InfrastructureError, match=r"HR517 keyed 't': 2 rows have the key \('a', '2025-01-01T"):
        writer.apply(base.revision(twice))
    assert (writer.number(), items(writer)) == (0, [])


def test_a_key_that_another_load_holds_stops_the_revision(writer: DynamoWriter, base: Base, small_pieces: None) -> None:
    """As in SQLite. Of few keys each is looked up, of many some: here nine of ten are the other's."""
    writer.apply(base.revision([*base.hourly("a", 90, "L1"), *base.hourly("b", 5, "L2")]))
    few = base.load("L3", "('b', TIMESTAMP '2025-01-31 21:00:00', 7), ('new', TIMESTAMP '2025-01-31 21:00:00', 7)")
    with pytest.raises(InfrastructureError, match=r"HR517 .*\(b, 2025-01-31T21:00:00.000000\) is held by load L2"):
        writer.apply(replace(base.revision(few), number=2))
    many = base.hourly("a", 100, "L4")
    with pytest.raises(InfrastructureError, match=r"HR517 .* is held by load L1, which revision 2 lets stand"):
        writer.apply(replace(base.revision(many), number=2))
    assert (writer.number(), {item["_load_id"]["S"] for item in items(writer)}) == (1, {"L1", "L2"})


def test_rows_that_are_not_those_of_the_ledger_stop_the_revision(writer: DynamoWriter, base: Base) -> None:
    made = base.hourly("a", 3)
    with pytest.raises(InfrastructureError, match=r"HR518 .*3 rows came .*ledger says \+4"):
        writer.apply(base.revision([replace(made[0], rows=4)]))
    with pytest.raises(InfrastructureError, match=r"HR518 .*is missing"):
        writer.apply(replace(base.revision([replace(made[0], path="lake/gone.parquet")]), number=1))
    assert (writer.number(), items(writer)) == (0, [])


def test_a_key_that_changed_is_refused(writer: DynamoWriter, base: Base) -> None:
    writer.apply(base.revision(base.hourly("a", 2)))
    other = open_dynamo(base.root, ("asset", "value"), COLUMNS)
    with pytest.raises(InfrastructureError, match=r"HR514 .*its key was"):
        other.apply(base.revision(base.hourly("b", 2)))
    with pytest.raises(InfrastructureError, match=r"HR853 .*has the keys .*headrace deploy"):
        other.rebuild(2, base.hourly("b", 2), COLUMNS)
    assert writer.number() == 1
    other.close()


def test_a_table_that_is_not_there_or_newer_is_refused(writer: DynamoWriter, base: Base) -> None:
    client = Session(REGION).client("dynamodb")
    key = {name: {"S": CONTROL} for name in KEY}
    client.put_item(TableName=writer.physical, Item={**key, "_layout": {"N": "99"}})
    with pytest.raises(InfrastructureError, match=r"HR854 .*layout is 99"):
        writer.apply(base.revision(base.hourly("a", 2)))
    client.delete_table(TableName=writer.physical)
    with pytest.raises(InfrastructureError, match=r"HR853 .*is not there.*headrace deploy"):
        writer.number()


def test_a_lookup_tells_when_a_table_lost_everything(writer: DynamoWriter, base: Base) -> None:
    writer.apply(base.revision(base.hourly("a", 2)))
    key = {name: {"S": CONTROL} for name in KEY}
    Session(REGION).client("dynamodb").delete_item(TableName=writer.physical, Key=key)
    lookup = DynamoLookup(Session(REGION), writer.physical, "t", expected=lambda: 1)
    with pytest.raises(InfrastructureError, match=r"HR533 .*headrace rebuild t"):
        lookup.get("t", "a")


# many pieces, and those who die between them


def test_a_revision_of_many_pieces_leaves_exactly_its_rows(
    writer: DynamoWriter, base: Base, small_pieces: None
) -> None:
    first = [*base.hourly("a", 950, "L1"), *base.hourly("b", 30, "L2"), *base.hourly("c", 90, "L3")]
    writer.apply(base.revision(first))
    assert len(items(writer)) == 1070
    paths = ", ".join(f"'{base.root / f.path}'" for f in first[1:])
    left = base.write(f"SELECT * FROM read_parquet([{paths}]) WHERE _load_id <> 'L2'", {})
    corrected = base.hourly("a", 700, "L4")
    writer.apply(base.revision([*left, *corrected], removed=first, retired=("L1", "L2")))
    found = rows(writer)
    assert {load: sum(row["_load_id"] == load for row in found) for load in ("L3", "L4")} == {"L3": 90, "L4": 700}
    assert len(found) == 790
    assert {item["_revision"]["N"] for item in items(writer) if item["_load_id"]["S"] == "L3"} == {"1"}


def test_a_key_that_is_put_again_is_never_deleted(writer: DynamoWriter, base: Base) -> None:
    first = base.hourly("a", 50)
    writer.apply(base.revision(first))
    asked: list[int] = []

    def look(name: str) -> None:
        if name == "keyed.sent":
            asked.append(len(items(writer)))

    with install(look):
        writer.apply(base.revision(base.hourly("a", 40, "L2"), removed=first, retired=("L-a",)))
    assert asked == [40, 40]


def test_loads_whose_files_are_lost_are_deleted_item_by_item(writer: DynamoWriter, base: Base) -> None:
    lost, kept = base.hourly("a", 30), base.hourly("b", 5)
    writer.apply(base.revision([*lost, *kept]))
    (base.root / lost[0].path).unlink()
    with pytest.raises(InfrastructureError, match="HR518 .*is missing"):
        writer.apply(base.revision(removed=lost))
    writer.apply(replace(base.revision(removed=lost, retired=("L-a",)), number=2))
    assert {row["asset"] for row in rows(writer)} == {"b"}


def test_a_rebuild_leaves_exactly_the_rows_of_the_files(writer: DynamoWriter, base: Base, small_pieces: None) -> None:
    writer.apply(base.revision(base.hourly("a", 300)))
    Session(REGION).client("dynamodb").put_item(
        TableName=writer.physical, Item={"asset": {"S": "stranger"}, "seen": {"S": "x"}}
    )
    files = [*base.hourly("a", 150, "L2"), *base.hourly("b", 20)]
    writer.rebuild(1, files, COLUMNS)
    assert len(rows(writer)) == 170
    assert writer.get("t", "stranger") == []
    assert writer.number() == 1
    writer.rebuild(3, [], COLUMNS)
    assert (writer.number(), rows(writer)) == (3, [])


@pytest.mark.parametrize("place", ["keyed.sent", "keyed.before-commit"])
@pytest.mark.parametrize("work", ["apply", "rebuild"])
def test_what_one_began_another_finishes_from_its_last_mark(
    writer: DynamoWriter, base: Base, small_pieces: None, work: str, place: str
) -> None:
    writer.apply(base.revision(base.hourly("old", 150)))
    made = [*base.hourly("a", 450), *base.hourly("b", 50)]
    revision = base.revision(made, removed=())
    passed: list[str] = []

    def die(name: str) -> None:
        passed.append(name)
        if name == place and len(passed) >= 3:
            raise OSError("died")

    def act(with_: DynamoWriter) -> None:
        with_.apply(revision) if work == "apply" else with_.rebuild(2, made, COLUMNS)

    with install(die), pytest.raises(InfrastructureError, match="HR855 .*died"):
        act(writer)
    assert writer.number() == (1 if work == "apply" else 0)
    other = open_dynamo(base.root, KEY, COLUMNS)
    with install(passed.append):
        passed.clear()
        act(other)
    assert passed.count("keyed.sent") == {"keyed.sent": 4, "keyed.before-commit": 0}[place]
    assert other.number() == 2
    assert len(rows(other)) == (650 if work == "apply" else 500)
    other.close()


def test_a_piece_has_as_many_rows_as_lately_went_in_ten_seconds() -> None:
    now = 0.0
    pace = Pace(lambda: now)
    sizes: list[int] = []

    def sent(rows: int, seconds: float) -> None:
        nonlocal now
        pace.begin()
        now += seconds
        pace.end(rows)
        sizes.append(pace.rows)

    for seconds in (1, 1, 1):
        sent(pace.rows, seconds)
    sent(10, 9.0)  # the last rows of a revision tell nothing
    for rate in (1000, 100, 2):
        sent(pace.rows, pace.rows / rate)
    assert sizes == [5_000, 50_000, 50_000, 50_000, 10_000, 1_000, 500]


def test_pieces_follow_the_pace_and_leave_no_row_out(base: Base) -> None:
    pace, found = Pace(), list[tuple[int, object, int]]()
    files = [replace(base.hourly("a", 1)[0], rows=rows) for rows in (300, 300, 7_000, 0, 40, 10)]
    for piece in pieces(files, pace, 100):
        found.append((len(piece.files), piece.span, piece.end))
        pace.rows = 4_000
    assert found == [
        (1, (100, 300), 300),
        (1, None, 600),
        (1, (0, 4000), 4600),
        (1, (4000, 7000), 7600),
        (2, None, 7650),
    ]


@pytest.mark.parametrize("work", ["apply", "rebuild", "lost"])
def test_who_runs_out_of_time_stops_at_a_mark_and_the_next_goes_on_at_once(
    base: Base, small_pieces: None, work: str
) -> None:
    """Each life has time for three pieces; the lease would keep others out for minutes if it were not given back."""
    old, made = base.hourly("old", 150), base.hourly("a", 850)
    open_dynamo(base.root, KEY, COLUMNS).apply(base.revision(old))
    revision = base.revision(made, removed=old if work == "lost" else (), retired=("L-old",))
    for file in old if work == "lost" else ():
        (base.root / file.path).unlink()
    lives: list[int] = []

    def live() -> DynamoWriter:
        lives.append(0)
        given = {"seconds_left": lambda: 60 if lives[-1] < 3 else 19, "lease": 390}
        return open_dynamo(base.root, KEY, COLUMNS, **given)

    def count(name: str) -> None:
        lives[-1] += name in ("keyed.sent", "keyed.swept")

    with install(count):
        while True:
            writer = live()
            try:
                writer.rebuild(2, made, COLUMNS) if work == "rebuild" else writer.apply(revision)
                break
            except OutOfTime as exc:
                assert exc.code == "HR857"
    assert lives == {"apply": [3, 3, 3], "rebuild": [3, 3, 3, 2], "lost": [3, 3, 3, 2]}[work]
    assert (writer.number(), len(rows(writer))) == (2, 1000 if work == "apply" else 850)


def test_a_table_that_is_half_filled_takes_no_revision_before_it_is_filled(
    writer: DynamoWriter, base: Base, small_pieces: None
) -> None:
    def die(name: str) -> None:
        if name == "keyed.sent":
            raise OSError("died")

    made = base.hourly("a", 250)
    with install(die), pytest.raises(InfrastructureError, match="HR855"):
        writer.rebuild(1, made, COLUMNS)
    with pytest.raises(InfrastructureError, match="HR512 .*is being filled"):
        writer.apply(base.revision(base.hourly("b", 1)))
    writer.rebuild(2, [*made, *base.hourly("c", 3)], COLUMNS)
    assert (writer.number(), len(rows(writer))) == (2, 253)


def test_each_folder_of_a_test_has_a_table_of_its_own(tmp_path: Path) -> None:
    assert physical_of(tmp_path) != physical_of(tmp_path / "other")

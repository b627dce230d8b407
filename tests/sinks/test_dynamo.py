"""The keyed sink on DynamoDB: it answers as the SQLite file does, goes on where another died, and lets one write."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC
from pathlib import Path
from typing import Any

import duckdb
import pytest
from botocore.awsrequest import AWSPreparedRequest
from botocore.httpsession import URLLib3Session
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from headrace import Pipeline, Record, files, keyed
from headrace.aws import keyed as keyed_module
from headrace.aws import keyed_pieces
from headrace.aws.keyed import DynamoWriter
from headrace.aws.keyed_items import puts
from headrace.aws.keyed_layout import CONTROL, Layout, key_schema
from headrace.aws.keyed_lookup import DynamoLookup
from headrace.aws.session import Session
from headrace.contract.compile import compile_contract
from headrace.contract.query import columns_of
from headrace.engine.faults import install
from headrace.local.keyed import KeyedWriter
from headrace.model.contract import LINEAGE
from headrace.model.errors import InfrastructureError, OutOfTime, UsageError
from sinks.base_files import COLUMNS, Base
from sinks.dynamo import REGION, items, make_table, open_dynamo, physical_of, rows
from sinks.unreliable import unreliable

pytestmark = pytest.mark.usefixtures("aws_environment")

TEXT = st.text(st.characters(codec="utf-8"), max_size=8) | st.text('\x00\x01\x02 "\\/a\n\u2028\U0010ffffé', max_size=5)
NUMBERS = [0.0, -0.0, 1e-300, -1e-300, 1e-130, 9.9e125, 1e126, 1e308, 0.1, float("inf"), float("-inf"), float("nan")]
VALUES: dict[str, tuple[str, st.SearchStrategy[Any]]] = {
    "t": ("VARCHAR", TEXT),
    "i": ("BIGINT", st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 3)),
    "f": ("DOUBLE", st.floats() | st.sampled_from(NUMBERS)),
    "ok": ("BOOLEAN", st.booleans()),
    "d": ("DATE", st.dates()),
    "ts": ("TIMESTAMP", st.datetimes()),
    "tz": ("TIMESTAMPTZ", st.datetimes(timezones=st.just(UTC))),
    "u": ("UUID", st.uuids()),
    "m": ("DECIMAL(18,4)", st.decimals(-(10**13), 10**13, places=4)),
    "big": ("DECIMAL(38,0)", st.integers(-(10**38) + 1, 10**38 - 1)),
    "small": ("DECIMAL(4,4)", st.decimals("-0.9999", "0.9999", places=4)),
}
TYPES = tuple((name, kind) for name, (kind, _) in VALUES.items())
KEYS = [
    ("t",),
    ("i",),
    ("t", "t2"),
    ("t", "i"),
    ("ok", "f"),
    ("f", "ok"),
    ("u", "d", "t"),
    ("ts", "t", "i"),
    ("m", "tz"),
]


@pytest.fixture
def base(tmp_path: Path) -> Base:
    return Base(tmp_path)


@pytest.fixture
def writer(base: Base) -> Iterator[DynamoWriter]:
    opened = open_dynamo(base.root, ("asset", "seen"), COLUMNS)
    yield opened
    opened.close()


def hourly(base: Base, asset: str, hours: int, load: str = "") -> Any:
    made = f"SELECT '{asset}' AS asset, TIMESTAMP '2025-01-31 20:00:00' + to_hours(i) AS seen, i AS value"
    return base.load(load or f"L-{asset}", f"{made} FROM range({hours}) t(i)")


def values(found: list[dict[str, Any]]) -> list[Any]:
    return [item["value"] for item in found]


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (keyed_pieces, keyed_module):
        monkeypatch.setattr(module, "PIECE_ROWS", 100)


def literal(value: Any, kind: str) -> str:
    match value:
        case None:
            return "NULL"
        case str():
            return "(" + " || ".join(["''", *(f"chr({ord(c)})" for c in value)]) + ")"
        case float():
            return f"'{value!r}'::DOUBLE"
        case _:
            return f"'{value}'::{kind}"


def told(found: list[dict[str, Any]]) -> str:
    """Items with the types of their values; SQLite keeps no sign of zero."""
    return repr([{n: v + 0.0 if isinstance(v, float) else v for n, v in item.items()} for item in found])


@pytest.mark.parametrize("key", KEYS, ids="+".join)
def test_answers_are_those_of_the_sqlite_twin(key: tuple[str, ...], tmp_path: Path) -> None:
    types = (*TYPES, ("t2", "VARCHAR"))
    base = Base(tmp_path, types)
    here = KeyedWriter(tmp_path, tmp_path / "t.db", "t", key)
    there = open_dynamo(tmp_path, key, types)
    row = st.tuples(*(s if n in key else s | st.none() for n, (_, s) in VALUES.items()), TEXT)

    def identity(row: tuple[Any, ...]) -> tuple[str, ...]:
        known = dict(zip((n for n, _ in types), row, strict=True))
        return tuple(repr(known[name] + 0.0 if isinstance(known[name], float) else known[name]) for name in key)

    @settings(
        max_examples=6,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
        database=None,
        derandomize=True,
    )
    @given(st.lists(row, min_size=1, max_size=6, unique_by=identity), st.data())
    def check(made: list[tuple[Any, ...]], data: st.DataObject) -> None:
        names = [n for n, _ in types]
        made = [
            r
            for r in made
            if all(r[names.index(k)] not in ("", None) and r[names.index(k)] == r[names.index(k)] for k in key)
        ]
        if not made:
            return
        text = ", ".join("(" + ", ".join(literal(v, t) for v, (_, t) in zip(r, types, strict=True)) + ")" for r in made)
        wrote = base.load("L", text)
        for sink in (here, there):
            sink.rebuild(1, wrote, types)
        for found in made:
            partition, *sort = (found[names.index(k)] for k in key)
            asked: list[dict[str, Any]] = [{}, {"limit": 1}]
            if sort:
                other = data.draw(st.sampled_from(made))
                bounds = [tuple(r[names.index(k)] for k in key[1:]) for r in (found, other)]
                asked += [{"at": bounds[0]}, {"at": bounds[1]}, {"start": bounds[0]}, {"end": bounds[0]}]
                asked += [{"start": min(bounds, key=repr), "end": max(bounds, key=repr)}]
                asked += [{"start": bounds[0][:1], "end": bounds[0][:1], "limit": 2}]
                if key[1] in ("t", "t2", "d", "tz"):
                    prefix = str(sort[0])[: data.draw(st.integers(1, 4))]
                    asked += [{"begins_with": prefix}, {"begins_with": prefix, "end": bounds[0]}]
            for arguments in asked:
                answers = [told(sink.get("t", partition, **arguments)) for sink in (there, here)]
                assert answers[0] == answers[1]

    check()
    here.close()
    there.close()


LIMITED: dict[str, tuple[str, ...]] = {"alone": ("p",), "two": ("p", "s"), "joined": ("p", "s", "n", "s2")}
CHARACTERS = st.sampled_from(["x", "é", "𝄞", "\x00", "\x01", "\x02", "\x00headrace"])
NEAR = st.sampled_from([0, 1, 2, 500, 1000, 1024, 2047, 2048])


@pytest.fixture(scope="module")
def rows_reader() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


@pytest.mark.parametrize("key", LIMITED.values(), ids=LIMITED)
def test_what_the_limits_let_pass_dynamodb_can_hold_and_little_else(
    key: tuple[str, ...], rows_reader: duckdb.DuckDBPyConnection
) -> None:
    """Measured of the very items that are sent, with every index that a table can have and the longest of origins."""

    class Thing(Record, key=key):
        p: str
        s: str
        s2: str
        n: int
        body: str | None

    contract = compile_contract(Pipeline("p", source=files("in/"), record=Thing, sinks=[keyed("t")]))
    columns = columns_of(contract)
    layout = Layout.of(key, columns).indexed_by([name for name, _ in columns])
    longest = {"_source_file": "f" * 2049, "_source_version": "v" * 64, "_load_id": "l" * 64, "_source_row": 2**62}
    holds = " AND ".join(f"({sql})" for _, sql in contract.limits)
    texts = st.builds(
        lambda size, c, more: c * max(size // len(c.encode()) + more, 0), NEAR, CHARACTERS, st.integers(-3, 3)
    )

    @settings(max_examples=150, deadline=None, database=None)
    @given(texts, texts, texts, st.integers(-(2**63), 2**63 - 1), st.integers(380_000, 410_000), CHARACTERS)
    def check(p: str, s: str, s2: str, n: int, size: int, body: str) -> None:
        row = {"p": p, "s": s, "s2": s2, "n": n, "body": body * (size // len(body.encode())), **longest}
        chosen = ", ".join(f'${name}::{kind} AS "{name}"' for name, kind in (*columns, *LINEAGE) if name in row)
        made = f"(SELECT {chosen}, '2025-01-01 00:00:00+00'::TIMESTAMPTZ AS _arrived_at)"
        ((passes,),) = rows_reader.execute(f"SELECT {holds} FROM {made}", row).fetchall()
        ((request,),) = rows_reader.execute(puts(layout, made, 10**9, 10**9), row).fetchall()
        item = json.loads(request)["PutRequest"]["Item"]
        keys = [size_of(item[name]) for name in layout.schema]
        whole = sum(len(name.encode()) + size_of(value) for name, value in item.items())
        fits = all(0 < size <= most for size, most in zip(keys, (2048, 1024), strict=False)) and whole <= 400 * 1024
        assert fits or not passes
        spare = all(0 < size <= most for size, most in zip(keys, (2047, 1024 - 48), strict=False)) and whole < 365_000
        assert passes or not spare

    check()


def size_of(value: dict[str, Any]) -> int:
    ((kind, held),) = value.items()
    return len(held.encode()) if kind == "S" else 21


def test_numbers_that_dynamodb_has_not_come_back_as_they_were(tmp_path: Path) -> None:
    base = Base(tmp_path, (("id", "BIGINT"), ("value", "DOUBLE")))
    writer = open_dynamo(tmp_path, ("id",), base.columns)
    made = ", ".join(f"({i}, {literal(n, 'DOUBLE')})" for i, n in enumerate(NUMBERS))
    writer.apply(base.revision(base.load("L1", made)))
    assert [repr(writer.get("t", i)[0]["value"]) for i in range(len(NUMBERS))] == [repr(n) for n in NUMBERS]
    assert {next(iter(item["value"])) for item in items(writer)} == {"N", "S"}
    writer.close()


def test_a_key_can_be_anything_but_never_the_control_item(tmp_path: Path) -> None:
    base = Base(tmp_path, (("id", "VARCHAR"), ("value", "DOUBLE")))
    writer = open_dynamo(tmp_path, ("id",), base.columns)
    odd = [CONTROL, CONTROL + "\x00", CONTROL + "x", "\x00"]
    writer.apply(
        base.revision(base.load("L1", ", ".join(f"({literal(t, 'VARCHAR')}, {n})" for n, t in enumerate(odd))))
    )
    assert [writer.get("t", text)[0]["id"] for text in odd] == odd
    assert [values(writer.get("t", text)) for text in odd] == [[0], [1], [2], [3]]
    assert writer.number() == 1
    for key in ("", "x" * 3000):
        assert writer.get("t", key) == []
    writer.close()


def test_many_items_come_page_by_page_in_order(writer: DynamoWriter, base: Base) -> None:
    note = "repeat('x', 3000) AS note"
    made = f"SELECT 'a' AS asset, TIMESTAMP '2025-01-01' + to_hours(i) AS seen, i AS value, {note} FROM range(900) t(i)"
    wide = (*COLUMNS, ("note", "VARCHAR"))
    writer.apply(base.revision(base.load("L1", made, wide), columns=wide))
    assert values(writer.get("t", "a")) == list(range(900))
    assert values(writer.get("t", "a", limit=800)) == list(range(800))
    assert writer.get("t", "a", limit=0) == []


def test_a_column_added_later_shows_in_a_reader_that_was_open_before(writer: DynamoWriter, base: Base) -> None:
    writer.apply(base.revision(hourly(base, "a", 1)))
    reader = open_dynamo(base.root, ("asset", "seen"), COLUMNS)
    assert "quality" not in reader.get("t", "a")[0]
    wider = (*COLUMNS, ("quality", "VARCHAR"))
    late = base.load("L2", "('z', TIMESTAMP '2025-01-05', 1, 'good')", wider)
    writer.apply(base.revision(late, columns=wider))
    assert reader.get("t", "z")[0]["quality"] == "good"
    assert reader.get("t", "a")[0]["quality"] is None
    reader.close()


def test_sparse_indexes_find_flags_and_values(tmp_path: Path) -> None:
    columns = (*COLUMNS, ("hot", "BOOLEAN"), ("note", "VARCHAR"), ("n", "BIGINT"))
    base = Base(tmp_path, columns)
    writer = open_dynamo(tmp_path, ("asset", "seen"), columns, index=("hot", "value", "note", "n"))
    made = (
        "SELECT 'a' || i AS asset, TIMESTAMP '2025-01-01' AS seen, i AS value, i % 10 = 0 AS hot,"
        " CASE i WHEN 1 THEN '' WHEN 2 THEN repeat('x', 5000) WHEN 3 THEN 'é\"' END AS note, nullif(i, 5) AS n"
        " FROM range(100) t(i)"
    )
    writer.apply(base.revision(base.load("L1", made)))
    assert sorted(values(writer.find("t", "hot"))) == [i * 10.0 for i in range(10)]
    assert len(writer.find("t", "hot", limit=3)) == 3
    assert [i["asset"] for i in writer.find("t", "value", 7.0)] == ["a7"]
    assert [i["asset"] for i in writer.find("t", "note", 'é"')] == ["a3"]
    assert [i["asset"] for i in writer.find("t", "n", 9)] == ["a9"]
    assert writer.find("t", "n", 5) == []
    for column, value in (("hot", False), ("note", ""), ("note", "x" * 5000), ("asset", "a1"), ("none", 1)):
        with pytest.raises(UsageError, match="HR722"):
            writer.find("t", column, value)
    writer.close()


def test_an_index_that_is_new_has_every_row_before_anything_is_answered_from_it(base: Base) -> None:
    key, first = ("asset", "seen"), hourly(base, "a", 3)
    make_table(Session(REGION), physical_of(base.root), Layout.of(key, COLUMNS).indexed_by(["value"]))
    before = open_dynamo(base.root, key, COLUMNS)
    before.apply(base.revision(first))
    after, reader = (open_dynamo(base.root, key, COLUMNS, index=("value",)) for _ in "ab")
    second = base.revision(hourly(base, "b", 3))
    assert len(after.get("t", "a")) == 3
    with pytest.raises(InfrastructureError, match=r"HR856 keyed 't': the index of 'value' is new"):
        reader.find("t", "value", 1)
    assert after.number() == 0  # so the publisher fills it
    with pytest.raises(InfrastructureError, match=r"HR512 .*the index of 'value' is new.*headrace rebuild t"):
        after.apply(second)
    after.rebuild(1, first, COLUMNS)
    assert [item["asset"] for item in reader.find("t", "value", 1)] == ["a"]
    after.apply(second)
    assert (after.number(), before.number()) == (2, 2)  # an index that is taken away costs nothing
    before.apply(base.revision(hourly(base, "c", 3)))
    assert (after.number(), before.number()) == (0, 3)  # but what was written since is not in it


def test_an_index_of_a_column_that_is_new_has_every_row(base: Base) -> None:
    key, wider = ("asset", "seen"), (*COLUMNS, ("quality", "VARCHAR"))
    make_table(Session(REGION), physical_of(base.root), Layout.of(key, wider).indexed_by(["quality"]))
    open_dynamo(base.root, key, COLUMNS).apply(base.revision(hourly(base, "a", 3)))
    writer = open_dynamo(base.root, key, wider, index=("quality",))
    late = base.load("L2", "('z', TIMESTAMP '2025-01-05', 1, 'good')", wider)
    writer.apply(base.revision(late, columns=wider))
    assert (writer.number(), [item["asset"] for item in writer.find("t", "quality", "good")]) == (2, ["z"])


def test_the_keys_and_indexes_of_a_table_follow_from_the_definition() -> None:
    class Reading(Record, key=("site", "at")):
        site: str
        at: int
        odd: bool
        note: str | None

    sink = keyed("sites", index=("odd", "note"))
    definitions, keys, indexes = key_schema(Pipeline("p", source=files("in/"), record=Reading, sinks=[sink]), sink)
    assert {d["AttributeName"]: d["AttributeType"] for d in definitions} == {
        "site": "S",
        "at": "N",
        "_by_odd": "N",
        "_by_note": "S",
    }
    assert keys == [{"AttributeName": "site", "KeyType": "HASH"}, {"AttributeName": "at", "KeyType": "RANGE"}]
    assert [(i["IndexName"], [k["AttributeName"] for k in i["KeySchema"]]) for i in indexes] == [
        ("by_odd", ["site", "_by_odd"]),
        ("by_note", ["_by_note"]),
    ]


# what is refused


def test_two_rows_with_one_key_stop_the_revision_and_are_told(writer: DynamoWriter, base: Base) -> None:
    twice = base.load("L1", "('a', TIMESTAMP '2025-01-01', 1), ('a', TIMESTAMP '2025-01-01', 2)")
    with pytest.raises(InfrastructureError, match=r"HR517 keyed 't': 2 rows have the key \('a', '2025-01-01T"):
        writer.apply(base.revision(twice))
    assert (writer.number(), items(writer)) == (0, [])


def test_a_key_that_another_load_holds_stops_the_revision(writer: DynamoWriter, base: Base, small_pieces: None) -> None:
    """As in SQLite. Of few keys each is looked up, of many some: here nine of ten are the other's."""
    writer.apply(base.revision([*hourly(base, "a", 90, "L1"), *hourly(base, "b", 5, "L2")]))
    few = base.load("L3", "('b', TIMESTAMP '2025-01-31 21:00:00', 7), ('new', TIMESTAMP '2025-01-31 21:00:00', 7)")
    with pytest.raises(InfrastructureError, match=r"HR517 .*\(b, 2025-01-31T21:00:00.000000\) is held by load L2"):
        writer.apply(replace(base.revision(few), number=2))
    many = hourly(base, "a", 100, "L4")
    with pytest.raises(InfrastructureError, match=r"HR517 .* is held by load L1, which revision 2 lets stand"):
        writer.apply(replace(base.revision(many), number=2))
    assert (writer.number(), {item["_load_id"]["S"] for item in items(writer)}) == (1, {"L1", "L2"})


def test_rows_that_are_not_those_of_the_ledger_stop_the_revision(writer: DynamoWriter, base: Base) -> None:
    made = hourly(base, "a", 3)
    with pytest.raises(InfrastructureError, match=r"HR518 .*3 rows came .*ledger says \+4"):
        writer.apply(base.revision([replace(made[0], rows=4)]))
    with pytest.raises(InfrastructureError, match=r"HR518 .*is missing"):
        writer.apply(replace(base.revision([replace(made[0], path="lake/gone.parquet")]), number=1))
    assert (writer.number(), items(writer)) == (0, [])


def test_a_key_that_changed_is_refused(writer: DynamoWriter, base: Base) -> None:
    writer.apply(base.revision(hourly(base, "a", 2)))
    other = open_dynamo(base.root, ("asset", "value"), COLUMNS)
    with pytest.raises(InfrastructureError, match=r"HR514 .*its key was"):
        other.apply(base.revision(hourly(base, "b", 2)))
    with pytest.raises(InfrastructureError, match=r"HR853 .*has the keys .*headrace deploy"):
        other.rebuild(2, hourly(base, "b", 2), COLUMNS)
    assert writer.number() == 1
    other.close()


def test_a_table_that_is_not_there_or_newer_is_refused(writer: DynamoWriter, base: Base) -> None:
    client = Session(REGION).client("dynamodb")
    key = {name: {"S": CONTROL} for name in ("asset", "seen")}
    client.put_item(TableName=writer.physical, Item={**key, "_layout": {"N": "99"}})
    with pytest.raises(InfrastructureError, match=r"HR854 .*layout is 99"):
        writer.apply(base.revision(hourly(base, "a", 2)))
    client.delete_table(TableName=writer.physical)
    with pytest.raises(InfrastructureError, match=r"HR853 .*is not there.*headrace deploy"):
        writer.number()


def test_a_lookup_tells_when_a_table_lost_everything(writer: DynamoWriter, base: Base) -> None:
    writer.apply(base.revision(hourly(base, "a", 2)))
    key = {name: {"S": CONTROL} for name in ("asset", "seen")}
    Session(REGION).client("dynamodb").delete_item(TableName=writer.physical, Key=key)
    lookup = DynamoLookup(Session(REGION), writer.physical, "t", expected=lambda: 1)
    with pytest.raises(InfrastructureError, match=r"HR533 .*headrace rebuild t"):
        lookup.get("t", "a")


# many pieces, and those who die between them


def test_a_revision_of_many_pieces_leaves_exactly_its_rows(
    writer: DynamoWriter, base: Base, small_pieces: None
) -> None:
    first = [*hourly(base, "a", 950, "L1"), *hourly(base, "b", 30, "L2"), *hourly(base, "c", 90, "L3")]
    writer.apply(base.revision(first))
    assert len(items(writer)) == 1070
    paths = ", ".join(f"'{base.root / f.path}'" for f in first[1:])
    left = base.write(f"SELECT * FROM read_parquet([{paths}]) WHERE _load_id <> 'L2'", {})
    corrected = hourly(base, "a", 700, "L4")
    writer.apply(base.revision([*left, *corrected], removed=first, retired=("L1", "L2")))
    found = rows(writer)
    assert {load: sum(row["_load_id"] == load for row in found) for load in ("L3", "L4")} == {"L3": 90, "L4": 700}
    assert len(found) == 790
    assert {item["_revision"]["N"] for item in items(writer) if item["_load_id"]["S"] == "L3"} == {"1"}


def test_a_key_that_is_put_again_is_never_deleted(writer: DynamoWriter, base: Base) -> None:
    first = hourly(base, "a", 50)
    writer.apply(base.revision(first))
    asked: list[int] = []

    def look(name: str) -> None:
        if name == "keyed.sent":
            asked.append(len(items(writer)))

    with install(look):
        writer.apply(base.revision(hourly(base, "a", 40, "L2"), removed=first, retired=("L-a",)))
    assert asked == [40, 40]


def test_loads_whose_files_are_lost_are_deleted_item_by_item(writer: DynamoWriter, base: Base) -> None:
    lost, kept = hourly(base, "a", 30), hourly(base, "b", 5)
    writer.apply(base.revision([*lost, *kept]))
    (base.root / lost[0].path).unlink()
    with pytest.raises(InfrastructureError, match="HR518 .*is missing"):
        writer.apply(base.revision(removed=lost))
    writer.apply(replace(base.revision(removed=lost, retired=("L-a",)), number=2))
    assert {row["asset"] for row in rows(writer)} == {"b"}


def test_a_rebuild_leaves_exactly_the_rows_of_the_files(writer: DynamoWriter, base: Base, small_pieces: None) -> None:
    writer.apply(base.revision(hourly(base, "a", 300)))
    Session(REGION).client("dynamodb").put_item(
        TableName=writer.physical, Item={"asset": {"S": "stranger"}, "seen": {"S": "x"}}
    )
    files = [*hourly(base, "a", 150, "L2"), *hourly(base, "b", 20)]
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
    writer.apply(base.revision(hourly(base, "old", 150)))
    made = [*hourly(base, "a", 450), *hourly(base, "b", 50)]
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
    other = open_dynamo(base.root, ("asset", "seen"), COLUMNS)
    with install(passed.append):
        passed.clear()
        act(other)
    assert passed.count("keyed.sent") == {"keyed.sent": 4, "keyed.before-commit": 0}[place]
    assert other.number() == 2
    assert len(rows(other)) == (650 if work == "apply" else 500)
    other.close()


@pytest.mark.parametrize("work", ["apply", "rebuild", "lost"])
def test_who_runs_out_of_time_stops_at_a_mark_and_the_next_goes_on_at_once(
    base: Base, small_pieces: None, work: str
) -> None:
    """Each life has time for three pieces; the lease would keep others out for minutes if it were not given back."""
    old, made = hourly(base, "old", 150), hourly(base, "a", 850)
    open_dynamo(base.root, ("asset", "seen"), COLUMNS).apply(base.revision(old))
    revision = base.revision(made, removed=old if work == "lost" else (), retired=("L-old",))
    for file in old if work == "lost" else ():
        (base.root / file.path).unlink()
    lives: list[int] = []

    def live() -> DynamoWriter:
        lives.append(0)
        given = {"seconds_left": lambda: 60 if lives[-1] < 3 else 19, "lease": 390}
        return open_dynamo(base.root, ("asset", "seen"), COLUMNS, **given)

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

    made = hourly(base, "a", 250)
    with install(die), pytest.raises(InfrastructureError, match="HR855"):
        writer.rebuild(1, made, COLUMNS)
    with pytest.raises(InfrastructureError, match="HR512 .*is being filled"):
        writer.apply(base.revision(hourly(base, "b", 1)))
    writer.rebuild(2, [*made, *hourly(base, "c", 3)], COLUMNS)
    assert (writer.number(), len(rows(writer))) == (2, 253)


# one writer at a time


class Hands:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


def test_a_writer_that_may_be_alive_keeps_others_out(base: Base) -> None:
    clock = Hands()
    one, other = (open_dynamo(base.root, ("asset", "seen"), COLUMNS, lease=390, clock=clock) for _ in "ab")
    revision = base.revision(hourly(base, "a", 3))
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
    other.apply(base.revision(hourly(base, "b", 3)))
    assert other.number() == 2


@pytest.mark.parametrize("place", ["keyed.sent", "keyed.before-commit"])
def test_a_writer_that_wakes_up_too_late_changes_nothing(base: Base, small_pieces: None, place: str) -> None:
    clock = Hands()
    sleeper, other = (open_dynamo(base.root, ("asset", "seen"), COLUMNS, lease=390, clock=clock) for _ in "ab")
    first = hourly(base, "a", 350)
    revision, after = base.revision(first), base.revision(hourly(base, "b", 7), removed=first, retired=("L-a",))

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
    writer.rebuild(1, base.revision(hourly(base, "a", 150)).added, COLUMNS)
    answers: list[int] = []

    def again(name: str) -> None:
        if name == "keyed.sent":
            answers.append(URLLib3Session().send(begun[0]).status_code)

    with install(again):
        writer.apply(base.revision(hourly(base, "b", 250)))
    assert answers == [400, 400, 400]
    assert writer.number() == 2


def test_after_a_crash_nothing_is_left_out_although_a_removed_file_was_lost_meanwhile(
    writer: DynamoWriter, base: Base, small_pieces: None
) -> None:
    old, lost = hourly(base, "old", 250), hourly(base, "lost", 150)
    writer.apply(base.revision([*old, *lost]))
    revision = base.revision(hourly(base, "a", 350), removed=[*old, *lost], retired=("L-old", "L-lost"))
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
    writer = open_dynamo(base.root, ("asset", "seen"), COLUMNS, lease=390, clock=clock)
    left: list[float] = []

    def slow(name: str) -> None:
        if name == "keyed.sent":
            left.append(writer._control.read().until - clock.now)
            clock.now += 85

    with install(slow):
        writer.apply(base.revision(hourly(base, "a", 900)))
    assert len(left) == 9
    assert min(left) >= 300
    assert writer.number() == 1
    writer.close()


def test_with_every_kind_of_trouble_on_the_way_the_rows_are_those_of_sqlite(
    base: Base, aws_environment: str, monkeypatch: pytest.MonkeyPatch, small_pieces: None
) -> None:
    here = KeyedWriter(base.root, base.root / "t.db", "t", ("asset", "seen"))
    with unreliable(aws_environment, share=0.1) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
        there = open_dynamo(base.root, ("asset", "seen"), COLUMNS)
        monkeypatch.setattr(there._wire, "_doubt", 0.05)
        standing: list[Any] = []
        for n in range(6):
            gone = standing[:1] if n % 2 else []
            added = hourly(base, f"k{n}", 400, f"L{n}")
            revision = base.revision(added, removed=gone, retired=tuple(load for f in gone for load in f.loads))
            standing = [f for f in standing if f not in gone] + added
            here.apply(revision)
            there.apply(revision)
        assert [here.get("t", f"k{n}") for n in range(6)] == [there.get("t", f"k{n}") for n in range(6)]
        assert sum(server.seen[t] for t in server.troubles) >= 3
        assert len(items(there)) == 1200
        there.close()
    here.close()


def test_each_folder_of_a_test_has_a_table_of_its_own(tmp_path: Path) -> None:
    assert physical_of(tmp_path) != physical_of(tmp_path / "other")

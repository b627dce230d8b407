"""What the keyed sink on DynamoDB holds and answers: the values, keys and indexes of its SQLite twin."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from headrace import Pipeline, Record, files, keyed
from headrace.aws.keyed import DynamoWriter
from headrace.aws.keyed_items import puts
from headrace.aws.keyed_layout import CONTROL, Layout, key_schema
from headrace.aws.session import Session
from headrace.contract.compile import compile_contract
from headrace.contract.query import columns_of
from headrace.local.keyed import KeyedWriter
from headrace.model.contract import LINEAGE
from headrace.model.errors import InfrastructureError, OutOfTime, UsageError
from sinks.base_files import COLUMNS, KEY, Base
from sinks.dynamo import REGION, items, make_table, open_dynamo, physical_of

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
def writer(base: Base) -> Iterator[DynamoWriter]:
    opened = open_dynamo(base.root, KEY, COLUMNS)
    yield opened
    opened.close()


def values(found: list[dict[str, Any]]) -> list[Any]:
    return [item["value"] for item in found]


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
    writer.apply(base.revision(base.hourly("a", 1)))
    reader = open_dynamo(base.root, KEY, COLUMNS)
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
    writer = open_dynamo(tmp_path, KEY, columns, index=("hot", "value", "note", "n"))
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
    key, first = KEY, base.hourly("a", 3)
    make_table(Session(REGION), physical_of(base.root), Layout.of(key, COLUMNS).indexed_by(["value"]))
    before = open_dynamo(base.root, key, COLUMNS)
    before.apply(base.revision(first))
    after, reader = (open_dynamo(base.root, key, COLUMNS, index=("value",)) for _ in "ab")
    second = base.revision(base.hourly("b", 3))
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
    before.apply(base.revision(base.hourly("c", 3)))
    assert (after.number(), before.number()) == (0, 3)  # but what was written since is not in it


def test_an_index_of_a_column_that_is_new_has_every_row(base: Base) -> None:
    key, wider = KEY, (*COLUMNS, ("quality", "VARCHAR"))
    make_table(Session(REGION), physical_of(base.root), Layout.of(key, wider).indexed_by(["quality"]))
    open_dynamo(base.root, key, COLUMNS).apply(base.revision(base.hourly("a", 3)))
    writer = open_dynamo(base.root, key, wider, index=("quality",))
    late = base.load("L2", "('z', TIMESTAMP '2025-01-05', 1, 'good')", wider)
    writer.apply(base.revision(late, columns=wider))
    assert (writer.number(), [item["asset"] for item in writer.find("t", "quality", "good")]) == (2, ["z"])


def stopped(writer: DynamoWriter, work: Callable[[DynamoWriter], None]) -> None:
    """Begin the work with time for two of its pieces."""
    left = iter([100.0, 100.0, 1.0])
    writer._seconds_left = lambda: next(left)
    with pytest.raises(OutOfTime):
        work(writer)


def test_an_index_that_comes_while_a_table_is_filled_has_every_row(base: Base, small_pieces: None) -> None:
    made = base.hourly("a", 350)
    make_table(Session(REGION), physical_of(base.root), Layout.of(KEY, COLUMNS).indexed_by(["value"]))
    open_dynamo(base.root, KEY, COLUMNS).apply(base.revision(made))
    stopped(open_dynamo(base.root, KEY, COLUMNS), lambda writer: writer.rebuild(1, made, COLUMNS))
    after = open_dynamo(base.root, KEY, COLUMNS, index=("value",))
    after.rebuild(1, made, COLUMNS)
    assert [len(after.find("t", "value", float(value))) for value in (0, 150, 299, 349)] == [1, 1, 1, 1]
    after.close()


def test_an_index_that_comes_while_its_column_comes_has_every_row(base: Base, small_pieces: None) -> None:
    wider = (*COLUMNS, ("quality", "VARCHAR"))
    made = "SELECT 'z' AS asset, TIMESTAMP '2025-01-01' + to_hours(i) AS seen, i AS value, 'good' AS quality"
    make_table(Session(REGION), physical_of(base.root), Layout.of(KEY, wider).indexed_by(["quality"]))
    open_dynamo(base.root, KEY, COLUMNS).apply(base.revision(base.hourly("a", 3)))
    revision = base.revision(base.load("L2", f"{made} FROM range(350) t(i)", wider), columns=wider)
    stopped(open_dynamo(base.root, KEY, wider), lambda writer: writer.apply(revision))
    after = open_dynamo(base.root, KEY, wider, index=("quality",))
    after.apply(revision)
    assert (after.number(), len(after.find("t", "quality", "good"))) == (2, 350)
    after.close()


def test_items_of_another_type_are_read_as_they_are_while_a_table_is_filled(base: Base, small_pieces: None) -> None:
    old, new = ((*COLUMNS, ("n", kind)) for kind in ("BIGINT", "VARCHAR"))
    made = "SELECT 'a' AS asset, TIMESTAMP '2025-01-01' + to_hours(i) AS seen, i AS value, {} AS n FROM range(350) t(i)"
    open_dynamo(base.root, KEY, old).apply(base.revision(base.load("L1", made.format("i"), old), columns=old))
    coming = base.load("L2", made.format("'x' || i"), new)
    stopped(open_dynamo(base.root, KEY, new), lambda writer: writer.rebuild(2, coming, new))
    reader = open_dynamo(base.root, KEY, new)
    found = [row["n"] for row in reader.get("t", "a")]
    assert found == [*(f"x{n}" for n in range(300)), *range(300, 350)]
    reader.rebuild(2, coming, new)
    assert [row["n"] for row in reader.get("t", "a", limit=1)] == ["x0"]
    reader.close()


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

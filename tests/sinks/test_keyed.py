"""The keyed sink on this machine: looking up, what it refuses, and how it is filled while others read it."""

from __future__ import annotations

import math
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from headrace.engine.faults import install
from headrace.local import keyed
from headrace.local.keyed import KeyedWriter
from headrace.model.errors import InfrastructureError, UsageError
from sinks.base_files import COLUMNS, Base

TYPES = (
    ("t", "VARCHAR"),
    ("i", "BIGINT"),
    ("f", "DOUBLE"),
    ("m", "DECIMAL(18,4)"),
    ("ok", "BOOLEAN"),
    ("d", "DATE"),
    ("ts", "TIMESTAMP"),
    ("tz", "TIMESTAMPTZ"),
    ("u", "UUID"),
)
ROW = (
    "'x{i}', {i}, 1.5, 2.2500, {i} % 2 = 0, DATE '2025-01-01', TIMESTAMP '2025-01-01 10:00:00.25',"
    " TIMESTAMPTZ '2025-01-01 10:00:00.5+01:00', UUID '00000000-0000-0000-0000-00000000000{i}'"
)
VALUES = {
    "t": "x1",
    "i": 1,
    "f": 1.5,
    "m": Decimal("2.2500"),
    "ok": False,
    "d": date(2025, 1, 1),
    "ts": datetime(2025, 1, 1, 10, 0, 0, 250_000),
    "tz": datetime(2025, 1, 1, 9, 0, 0, 500_000, tzinfo=UTC),
    "u": UUID(int=1),
}


@pytest.fixture
def writer(base: Base) -> Iterator[KeyedWriter]:
    opened = writer_for(base, "asset", "seen")
    yield opened
    opened.close()


def writer_for(base: Base, *key: str, **given: Any) -> KeyedWriter:
    return KeyedWriter(base.root, base.root / "keyed/t.db", "t", key, **given)


def values(found: list[dict[str, Any]]) -> list[Any]:
    return [item["value"] for item in found]


def test_items_of_a_key_come_in_sort_order_between_inclusive_bounds(writer: KeyedWriter, base: Base) -> None:
    writer.apply(base.revision([*base.hourly("a", 9), *base.hourly("b", 9)]))
    assert values(writer.get("t", "a")) == list(range(9))
    assert values(writer.get("t", "a", limit=2)) == [0, 1]
    assert values(writer.get("t", "a", at=datetime(2025, 1, 31, 22))) == [2]
    assert values(writer.get("t", "a", begins_with="2025-02-01")) == [4, 5, 6, 7, 8]
    assert values(writer.get("t", "a", begins_with="2025-02-01 01")) == [5]
    assert values(writer.get("t", "a", start="2025-01-31T23:00:00", end="2025-02-01T01:00:00")) == [3, 4, 5]
    assert values(writer.get("t", "a", start="2025-02-01")) == [4, 5, 6, 7, 8]
    assert writer.get("t", "nobody") == []


def test_an_item_tells_its_lineage(writer: KeyedWriter, base: Base) -> None:
    writer.apply(base.revision(base.hourly("a", 1)))
    assert writer.get("t", "a") == [
        {
            "asset": "a",
            "seen": datetime(2025, 1, 31, 20),
            "value": 0.0,
            "_source_file": "L-a.csv",
            "_source_version": "v-L-a",
            "_source_row": 1,
            "_load_id": "L-a",
            "_arrived_at": datetime(2025, 1, 1, tzinfo=UTC),
        }
    ]


def test_before_the_first_revision_there_is_nothing_to_find(writer: KeyedWriter) -> None:
    assert writer.get("t", "a") == []
    assert not writer.path.exists()


def test_another_table_and_impossible_keys_are_refused(writer: KeyedWriter, base: Base) -> None:
    writer.apply(base.revision(base.hourly("a", 1)))
    with pytest.raises(UsageError, match=r"HR721 .*'other'.*try 't'"):
        writer.get("other", "a")
    with pytest.raises(UsageError, match=r"HR722 .*'seen'"):
        writer.get("t", "a", at="yesterday")
    with pytest.raises(UsageError, match="HR722 sort key"):
        writer.get("t", "a", at=("2025-01-01", "x"))


@pytest.mark.parametrize("column", [name for name, _ in TYPES])
@pytest.mark.parametrize("place", ["partition key", "lone sort key", "joined sort key"])
def test_every_type_can_stand_in_a_key_and_comes_back_exactly(tmp_path: Path, column: str, place: str) -> None:
    base = Base(tmp_path, TYPES)
    others = ["i", "t"] if column not in ("i", "t") else [c for c in ("i", "t") if c != column]
    key = {
        "partition key": (column, *others),
        "lone sort key": (others[0], column),
        "joined sort key": (others[0], column, "u" if column != "u" else "d"),
    }[place]
    writer = writer_for(base, *key)
    writer.apply(base.revision(base.load("L1", f"({ROW.format(i=1)}), ({ROW.format(i=2)})")))
    rest = tuple(VALUES[c] for c in key[1:])
    (item,) = writer.get("t", VALUES[key[0]], at=rest)
    assert {k: v for k, v in item.items() if not k.startswith("_")} == VALUES
    assert all(type(item[name]) is type(value) for name, value in VALUES.items())
    (same,) = writer.get("t", str(VALUES[key[0]]), at=tuple(str(v) for v in rest))
    assert same == item
    writer.close()


def test_leading_values_bound_a_sort_key_of_several_columns(tmp_path: Path) -> None:
    base = Base(tmp_path, (("p", "VARCHAR"), ("n", "BIGINT"), ("s", "VARCHAR"), ("value", "DOUBLE")))
    writer = writer_for(base, "p", "n", "s")
    keys = [(-5, "a"), (-5, "b"), (3, ""), (3, "a"), (3, "a\x01"), (3, "ab"), (20, "a")]
    rows = ", ".join(f"('p', {n}, {_sql(s)}, {i})" for i, (n, s) in enumerate(keys))
    writer.apply(base.revision(base.load("L1", rows)))
    assert values(writer.get("t", "p")) == list(range(7))
    assert values(writer.get("t", "p", start=3, end=3)) == [2, 3, 4, 5]
    assert values(writer.get("t", "p", start=(3, "a"), end=(3, "a\x01"))) == [3, 4]
    assert values(writer.get("t", "p", end=-5)) == [0, 1]
    assert values(writer.get("t", "p", at=(3, "ab"))) == [5]
    with pytest.raises(UsageError, match="HR722 begins_with"):
        writer.get("t", "p", begins_with="3")
    writer.close()


def _sql(text: str) -> str:
    return " || ".join(["''", *(f"chr({ord(c)})" for c in text)])


def test_a_beginning_of_the_first_sort_column_finds_its_items(tmp_path: Path) -> None:
    base = Base(tmp_path, (("p", "VARCHAR"), ("s", "VARCHAR"), ("n", "BIGINT"), ("value", "DOUBLE")))
    writer = writer_for(base, "p", "s", "n")
    texts = ["ab", "abc", "ab\x01", "b", "ab\U0010ffff", "ü"]
    writer.apply(base.revision(base.load("L1", ", ".join(f"('p', {_sql(t)}, 1, {i})" for i, t in enumerate(texts)))))
    assert sorted(values(writer.get("t", "p", begins_with="ab"))) == [0, 1, 2, 4]
    assert values(writer.get("t", "p", begins_with="ab\U0010ffff")) == [4]
    assert len(writer.get("t", "p", begins_with="")) == 6
    writer.close()


def test_a_key_of_one_column_has_one_item_and_no_sort_key(tmp_path: Path) -> None:
    base = Base(tmp_path, (("id", "BIGINT"), ("value", "DOUBLE")))
    writer = writer_for(base, "id")
    writer.apply(base.revision(base.load("L1", "(1, 10), (2, 20)")))
    assert values(writer.get("t", "2")) == [20]
    with pytest.raises(UsageError, match="HR722 sort key"):
        writer.get("t", 2, start=1)
    writer.close()


def test_numbers_that_sqlite_would_change_come_back_as_they_were(tmp_path: Path) -> None:
    base = Base(tmp_path, (("id", "BIGINT"), ("value", "DOUBLE"), ("m", "DECIMAL(38,10)")))
    numbers = ["'nan'", "'inf'", "'-inf'", "-0.0", "1e308", "NULL"]
    exact = "12345678901234567890.0123456789"
    rows = ", ".join(f"({i}, {n}::DOUBLE, {exact})" for i, n in enumerate(numbers))
    for few in (True, False):
        writer = KeyedWriter(tmp_path, tmp_path / f"{few}.db", "t", ("id",))
        if few:
            writer.apply(replace(base.revision(base.load("L1", rows)), number=1))
        else:
            writer.rebuild(1, [*base.load("L1", rows), *_many(base)], base.columns)
        read = [writer.get("t", i)[0] for i in range(6)]
        assert math.isnan(read[0]["value"])
        assert [r["value"] for r in read[1:]] == [math.inf, -math.inf, -0.0, 1e308, None]
        assert all(r["m"] == Decimal(exact) for r in read)
        writer.close()


def _many(base: Base) -> Any:
    return base.load("many", f"SELECT i + 100 AS id, i AS value, 1.5 AS m FROM range({keyed.FEW_ROWS + 1}) t(i)")


@pytest.mark.parametrize("others", [0, 2 * keyed.FEW_ROWS])
def test_two_rows_with_one_key_stop_the_revision_and_are_told(writer: KeyedWriter, base: Base, others: int) -> None:
    rows = "('a', TIMESTAMP '2025-01-01', 1), ('a', TIMESTAMP '2025-01-01', 2)"
    more = f"SELECT 'o' || i, TIMESTAMP '2025-01-01', i FROM range({others}) t(i)"
    twice = base.load("L1", f"SELECT * FROM (VALUES {rows}) v(asset, seen, value) UNION ALL {more}")
    with pytest.raises(InfrastructureError, match=r"HR517 keyed 't': 2 rows have the key \('a', '2025-01-01T"):
        writer.apply(base.revision(twice))
    assert writer.number() == 0
    assert writer.get("t", "a") == []


def test_a_row_never_overwrites_one_that_still_stands(writer: KeyedWriter, base: Base) -> None:
    writer.apply(base.revision(base.load("L1", "('a', TIMESTAMP '2025-01-01', 1)")))
    with pytest.raises(InfrastructureError, match=r"HR517 .*held by another load's row"):
        writer.apply(base.revision(base.load("L2", "('a', TIMESTAMP '2025-01-01', 2)")))
    assert (writer.number(), values(writer.get("t", "a"))) == (1, [1])


def test_rows_that_are_not_those_of_the_ledger_stop_the_revision(writer: KeyedWriter, base: Base) -> None:
    files = base.hourly("a", 3)
    with pytest.raises(InfrastructureError, match=r"HR518 .*3 rows came .*ledger says \+4"):
        writer.apply(base.revision([replace(files[0], rows=4)]))
    base.number = 0
    writer.apply(base.revision(files))
    with pytest.raises(InfrastructureError, match=r"HR518 .*no row of load L-b is in the table"):
        writer.apply(base.revision(removed=base.hourly("b", 3)))
    with sqlite3.connect(writer.path) as other:
        other.execute("DELETE FROM items WHERE value = 1")
    with pytest.raises(InfrastructureError, match=r"HR518 .*2 went"):
        writer.apply(replace(base.revision(removed=files), number=2))
    assert writer.number() == 1


def test_a_flag_s_index_finds_the_rows_where_it_is_true(tmp_path: Path) -> None:
    base = Base(tmp_path, (*COLUMNS, ("hot", "BOOLEAN")))
    writer = writer_for(base, "asset", "seen", index=("hot", "value"))
    rows = (
        "SELECT 'a' || i AS asset, TIMESTAMP '2025-01-01' AS seen, i AS value, i % 10 = 0 AS hot FROM range(100) t(i)"
    )
    writer.apply(base.revision(base.load("L1", rows)))
    assert sorted(values(writer.find("t", "hot"))) == [i * 10.0 for i in range(10)]
    assert [i["asset"] for i in writer.find("t", "value", 7.0)] == ["a7"]
    with sqlite3.connect(writer.path) as db:
        plan = db.execute("EXPLAIN QUERY PLAN SELECT * FROM items i WHERE hot = 1 AND hot = 1").fetchall()
    assert "by_hot" in str(plan)
    writer.close()


def test_a_key_that_changed_is_refused_until_the_sink_is_rebuilt(writer: KeyedWriter, base: Base) -> None:
    files = base.hourly("a", 2)
    writer.apply(base.revision(files))
    other = writer_for(base, "asset", "value")
    with pytest.raises(InfrastructureError, match=r"HR514 .*its key was"):
        other.apply(base.revision(base.hourly("b", 2)))
    other.rebuild(2, files, base.columns)
    assert len(other.get("t", "a", at=1.0)) == 1
    other.close()


def test_a_newer_file_is_refused(writer: KeyedWriter, base: Base) -> None:
    writer.apply(base.revision(base.hourly("a", 2)))
    with sqlite3.connect(writer.path) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(InfrastructureError, match=r"HR516 .*layout 99"):
        writer.number()


def test_a_large_first_revision_is_built_beside_and_then_put_in_place(
    writer: KeyedWriter, base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyed, "BULK_ROWS", 5)
    files = [*base.hourly("a", 9), *base.hourly("b", 9)]
    revision = base.revision(files)

    def fail(name: str) -> None:
        if name == "keyed.built":
            raise OSError("disk full")

    with install(fail), pytest.raises(InfrastructureError, match=r"HR519 .*disk full"):
        writer.apply(revision)
    assert writer.number() == 0
    assert not writer.path.exists()
    writer.maintain()
    assert list(writer.path.parent.iterdir()) == []
    writer.apply(revision)
    assert (writer.number(), len(writer.get("t", "b"))) == (1, 9)
    assert [p.name for p in writer.path.parent.iterdir() if "build" in p.name] == []
    writer.apply(base.revision(base.hourly("c", 2), removed=files[:1], retired=("L-a",)))
    assert [len(writer.get("t", k)) for k in "abc"] == [0, 9, 2]


def test_readers_elsewhere_keep_reading_while_the_table_is_rebuilt(writer: KeyedWriter, base: Base) -> None:
    writer.apply(base.revision(base.hourly("a", 5)))
    reader = writer_for(base, "asset", "seen")
    assert len(reader.get("t", "a")) == 5
    other = _reader(writer)
    assert _ask(other) == "5"
    writer.rebuild(2, base.hourly("a", 9), (*base.columns, ("extra", "VARCHAR")))
    assert len(reader.get("t", "a")) == 9
    assert reader.get("t", "a")[0]["extra"] is None
    assert _ask(other) == "9"
    writer.apply(replace(base.revision(base.hourly("b", 1)), number=3))
    assert _ask(other) == "9"
    assert len(reader.get("t", "b")) == 1
    assert other.stdin is not None
    other.stdin.close()
    other.wait()
    reader.close()


def _reader(writer: KeyedWriter) -> subprocess.Popen[str]:
    """Another process that looks the key up whenever it is asked."""
    program = (
        "import sys; from pathlib import Path; from headrace.local.keyed_lookup import KeyedLookup\n"
        f"lookup = KeyedLookup(Path({str(writer.path)!r}), 't')\n"
        "for _ in sys.stdin: print(len(lookup.get('t', 'a')), flush=True)"
    )
    return subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _ask(reader: subprocess.Popen[str]) -> str:
    assert reader.stdin is not None
    assert reader.stdout is not None
    reader.stdin.write("\n")
    reader.stdin.flush()
    return reader.stdout.readline().strip()


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc which file a handle is")
def test_a_built_file_is_synced_before_it_takes_its_name_and_the_folder_after(
    writer: KeyedWriter, base: Base, monkeypatch: pytest.MonkeyPatch
) -> None:
    story: list[str] = []
    sync, rename = os.fsync, os.replace

    def synced(handle: int) -> None:
        story.append(f"sync {Path(os.readlink(f'/proc/self/fd/{handle}')).name}")
        sync(handle)

    def renamed(source: Path, target: Path) -> None:
        story.append("rename")
        rename(source, target)

    files = base.hourly("a", 9)
    monkeypatch.setattr(keyed, "BULK_ROWS", 5)
    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", renamed)
    writer.apply(base.revision(files))
    assert story[-3:] == ["sync t.db.build", "rename", "sync keyed"]

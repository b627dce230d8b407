"""The lake as other engines see it, in both homes: types, odd values, snapshots, files left behind, lost answers.

Then what only the local home does: the order of syncs, and a root that was copied.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import pyarrow as pa
import pytest

from headrace.engine.faults import install
from headrace.local import disk, metadata
from headrace.local.catalog import SqliteCatalog
from headrace.model.errors import InfrastructureError
from headrace.sinks.lake import KEEP_SNAPSHOTS, LakeWriter
from sinks.base_files import Base
from sinks.homes import Home, LocalHome
from sinks.writing import local_lake

TESTS = Path(__file__).resolve().parent.parent
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
    "'{text}', {i}, 1.5, 2.2500, true, DATE '2025-01-01', TIMESTAMP '2025-01-01 10:00:00.25',"
    " TIMESTAMPTZ '2025-01-01 10:00:00.5+01:00', UUID '00000000-0000-0000-0000-00000000000{i}'"
)
NULLS = "NULL, 9, NULL, NULL, NULL, NULL, NULL, NULL, NULL"
TEXTS = ["b c/d", "50%", "a=b", "ü%20", "", "__HIVE_DEFAULT_PARTITION__", "it''s"]


def base_in(home: Home) -> Base:
    parts = (("year", "INTEGER", "year(seen)"), ("month", "INTEGER", "month(seen)"))
    return Base(home.root, partitions=parts, keep=home.keep)


def writer_in(home: Home, base: Base, **given: Any) -> LakeWriter:
    return home.lake([(n, t) for n, t, _ in base.partitions], **given)


@pytest.fixture
def base(home: Home) -> Base:
    return base_in(home)


@pytest.fixture
def writer(home: Home, base: Base) -> Iterator[LakeWriter]:
    opened = writer_in(home, base, key=("asset", "seen"), grace_seconds=0)
    yield opened
    opened.close()


@pytest.fixture
def local(tmp_path: Path) -> Iterator[tuple[LakeWriter, Base]]:
    home = LocalHome(tmp_path)
    base = base_in(home)
    opened = writer_in(home, base, key=("asset", "seen"), grace_seconds=0)
    yield opened, base
    opened.close()


def one_row(base: Base, i: int) -> Any:
    return base.load(f"L{i}", f"('a{i % 7}', TIMESTAMP '2025-01-01' + to_seconds({i}), {i})")


def metadata_files(writer: LakeWriter) -> set[str]:
    return {location.rpartition("/")[2] for location, _ in writer.folder.metadata()}


@pytest.mark.parametrize("column", [name for name, _ in TYPES])
def test_a_partition_of_any_type_reads_back_nulls_and_odd_text_included(home: Home, column: str) -> None:
    base = Base(home.root, TYPES, ((column, dict(TYPES)[column], column),), keep=home.keep)
    rows = ", ".join([*(f"({ROW.format(text=t, i=i)})" for i, t in enumerate(TEXTS)), f"({NULLS})"])
    files = base.load("L1", rows)
    writer = writer_in(home, base)
    writer.apply(base.revision(files))
    table = home.reopened()
    read = sorted(table.scan().to_arrow().to_pylist(), key=lambda row: row["i"])
    assert [row["t"] for row in read] == [*(t.replace("''", "'") for t in TEXTS), None]
    assert {k: v for k, v in read[1].items() if not k.startswith("_")} == {
        "t": "50%",
        "i": 1,
        "f": 1.5,
        "m": Decimal("2.2500"),
        "ok": True,
        "d": date(2025, 1, 1),
        "ts": datetime(2025, 1, 1, 10, 0, 0, 250_000),
        "tz": datetime(2025, 1, 1, 9, 0, 0, 500_000, tzinfo=UTC),
        "u": UUID(int=1),
    }
    paths = [str(home.root / f) for f in writer.files()]
    direct = "SELECT count(*), count(t), sum(i) FROM read_parquet(?, hive_partitioning = false)"
    assert duckdb.execute(direct, [paths]).fetchone() == (8, 7, 30)
    writer.apply(base.revision(removed=[f for f in files if f.partition[column] in (None, "9")]))
    assert home.reopened().scan().to_arrow().num_rows == 7


def test_files_with_a_column_and_without_are_read_through_the_name_mapping(
    home: Home, writer: LakeWriter, base: Base
) -> None:
    writer.apply(base.revision(one_row(base, 0)))
    wider = (*base.columns, ("quality", "VARCHAR"))
    late = base.load("L2", "('z', TIMESTAMP '2025-01-05', 1, 'good')", wider)
    writer.apply(base.revision(late, columns=wider))
    read: pa.Table = home.reopened().scan().to_arrow()
    assert sorted(zip(read["asset"].to_pylist(), read["quality"].to_pylist(), strict=True)) == [
        ("a0", None),
        ("z", "good"),
    ]


def test_other_engines_pass_files_by_through_the_key_s_ranges(home: Home, writer: LakeWriter, base: Base) -> None:
    files = [
        replace(f, ranges=((f"a{i}", f"a{i}"), ("2025-01-01", "2025-01-02")))
        for i in range(5)
        for f in one_row(base, i)
    ]
    writer.apply(base.revision(files))
    table = home.reopened()
    assert len(list(table.scan(row_filter="asset = 'a3'").plan_files())) == 1
    assert len(list(table.scan(row_filter="seen > '2025-06-01T00:00:00'").plan_files())) == 0
    assert table.scan(row_filter="asset = 'a3'").to_arrow().num_rows == 1


def test_each_revision_is_one_snapshot_that_tells_its_number(home: Home, writer: LakeWriter, base: Base) -> None:
    first = one_row(base, 1)
    writer.apply(base.revision(first))
    writer.apply(base.revision([*one_row(base, 2), *one_row(base, 3)], removed=first))
    told = [s.summary.additional_properties["headrace.revision"] for s in home.reopened().snapshots()]
    assert told == ["1", "2"]
    table = home.reopened()
    assert table.scan().to_arrow().num_rows == 2
    told_totals = table.current_snapshot().summary.additional_properties  # type: ignore[union-attr]
    assert (told_totals["total-records"], told_totals["total-data-files"]) == ("2", "2")


def test_snapshots_and_metadata_stay_few_however_many_revisions_there_were(
    home: Home, writer: LakeWriter, base: Base
) -> None:
    for i in range(75):
        writer.apply(base.revision(one_row(base, i)))
    table = home.reopened()
    assert len(table.snapshots()) <= 2 * KEEP_SNAPSHOTS
    assert writer.number() == 75
    assert 75 - 2 * KEEP_SNAPSHOTS <= writer.oldest() <= 75 - KEEP_SNAPSHOTS + 1
    manifests = table.current_snapshot().manifests(table.io)  # type: ignore[union-attr]
    assert len(manifests) <= 20
    assert table.scan().to_arrow().num_rows == 75
    writer.maintain()
    assert len(home.reopened().snapshots()) == KEEP_SNAPSHOTS
    assert len(metadata_files(writer)) <= 5 * KEEP_SNAPSHOTS
    assert (writer.number(), writer.files()) == (75, {str(f) for f in writer.files()})
    assert home.reopened().scan().to_arrow().num_rows == 75


def test_what_a_crash_left_behind_is_deleted_once_nobody_can_need_it(
    home: Home, writer: LakeWriter, base: Base
) -> None:
    writer.apply(base.revision(one_row(base, 1)))
    revision = base.revision(one_row(base, 2))

    def fail(name: str) -> None:
        if name == "lake.before-commit":
            raise OSError("gone")

    with install(fail), pytest.raises(InfrastructureError, match="HR511"):
        writer.apply(revision)
    writer.apply(revision)
    home.stray("00009-stray.metadata.json")
    home.stray("somebody-elses.puffin")
    writer_in(home, base, grace_seconds=3600).maintain()
    assert "00009-stray.metadata.json" in metadata_files(writer)
    writer.maintain()
    assert "00009-stray.metadata.json" not in metadata_files(writer)
    assert "somebody-elses.puffin" in metadata_files(writer)
    assert home.reopened().scan().to_arrow().num_rows == 2


def test_a_commit_that_landed_although_it_seemed_to_fail_is_not_made_twice(
    home: Home, writer: LakeWriter, base: Base
) -> None:
    writer.apply(base.revision(one_row(base, 1)))
    swap = writer.catalog.swap

    def unsure(before: str | None, after: str, columns: Sequence[tuple[str, str]]) -> None:
        swap(before, after, columns)
        raise ConnectionError("the answer was lost")

    writer.catalog.swap = unsure  # type: ignore[method-assign]
    revision = base.revision(one_row(base, 2))
    writer.apply(revision)
    writer.catalog.swap = swap  # type: ignore[method-assign]
    writer.apply(revision)
    assert writer.number() == 2
    assert len(home.reopened().snapshots()) == 2


def test_a_commit_of_somebody_else_on_top_does_not_hide_the_number(home: Home, writer: LakeWriter, base: Base) -> None:
    writer.apply(base.revision(one_row(base, 1)))
    table = home.reopened()
    with table.transaction() as transaction, transaction.update_snapshot().overwrite():
        pass
    assert writer.number() == 1
    writer.apply(base.revision(one_row(base, 2)))
    assert writer.number() == 2


def test_a_table_whose_history_tells_no_number_is_not_taken_for_a_new_one(
    home: Home, writer: LakeWriter, base: Base
) -> None:
    writer.apply(base.revision(one_row(base, 1)))
    table = home.reopened()
    with table.transaction() as transaction, transaction.update_snapshot().overwrite():
        pass
    table = home.reopened()
    table.maintenance.expire_snapshots().by_id(table.snapshots()[0].snapshot_id).commit()
    with pytest.raises(InfrastructureError, match=r"HR513 .*headrace rebuild t"):
        writer.number()
    writer.rebuild(1, one_row(base, 1), base.columns)
    assert writer.number() == 1


def test_other_partitions_are_refused_until_the_table_is_rebuilt(home: Home, writer: LakeWriter, base: Base) -> None:
    writer.apply(base.revision(one_row(base, 1)))
    other = home.lake([("asset", "VARCHAR")])
    files = replace(base, partitions=(("asset", "VARCHAR", "asset"),), written=50).load(
        "L2", "('b c/d', TIMESTAMP '2025-01-01', 1)"
    )
    with pytest.raises(InfrastructureError, match=r"HR514 .*partitioned by \(year, month\)"):
        other.apply(base.revision(files))
    other.rebuild(2, files, base.columns)
    assert home.reopened().scan(row_filter="asset = 'b c/d'").to_arrow().num_rows == 1


def test_a_removed_file_that_the_table_does_not_hold_stops_the_commit(writer: LakeWriter, base: Base) -> None:
    writer.apply(base.revision(one_row(base, 1)))
    with pytest.raises(InfrastructureError, match=r"HR511 .*not in the table"):
        writer.apply(base.revision(removed=one_row(base, 2)))
    assert writer.number() == 1


def test_a_computed_partition_takes_the_type_that_its_sql_casts_to(home: Home, base: Base) -> None:
    sql = [("year", 'year("seen")::INTEGER'), ("month", 'month("seen")::INTEGER')]
    writer = home.lake(sql)
    writer.apply(base.revision(one_row(base, 1)))
    writer.apply(base.revision(one_row(base, 2)))
    assert str(home.reopened().schema().find_type("year")) == "int"
    assert home.reopened().scan(row_filter="year = 2025").to_arrow().num_rows == 2


def test_in_a_copied_root_the_table_is_new_until_it_is_rebuilt(local: tuple[LakeWriter, Base], tmp_path: Path) -> None:
    writer, base = local
    files = one_row(base, 1)
    writer.apply(base.revision(files))
    elsewhere = tmp_path.parent / f"{tmp_path.name}-copy"
    for path in [p for p in tmp_path.rglob("*") if p.is_file()]:
        copy = elsewhere / path.relative_to(tmp_path)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    moved = local_lake(elsewhere, [(n, t) for n, t, _ in base.partitions])
    assert moved.number() == 0
    moved.rebuild(1, files, base.columns)
    assert moved.number() == 1
    assert LocalHome(elsewhere).reopened().location() == f"file://{elsewhere}/lake/t"
    assert writer.number() == 1
    assert LocalHome(tmp_path).reopened().location() == f"file://{tmp_path}/lake/t"


@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc which file a handle is")
def test_everything_is_synced_before_the_catalog_points_at_it(
    local: tuple[LakeWriter, Base], monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, base = local
    writer.apply(base.revision(one_row(base, 1)))
    before = metadata_files(writer)
    synced: list[str] = []
    pointer_at_sync: list[str | None] = []

    def watched(handle: int) -> None:
        synced.append(Path(os.readlink(f"/proc/self/fd/{handle}")).name)
        pointer_at_sync.append(writer.catalog.read())
        real(handle)

    real = os.fsync
    monkeypatch.setattr(metadata.os, "fsync", watched)
    pointer = writer.catalog.read()
    writer.apply(base.revision(one_row(base, 2)))
    written = metadata_files(writer) - before
    assert written <= set(synced)
    assert synced[-1] == "metadata", "the folder last: it holds the names of all the others"
    assert set(pointer_at_sync) == {pointer}, "the catalog still names the old metadata at every sync"
    assert disk.os is metadata.os


def test_the_catalog_s_sqlite_waits_for_the_disk(local: tuple[LakeWriter, Base]) -> None:
    writer, base = local
    writer.apply(base.revision(one_row(base, 1)))
    assert isinstance(writer.catalog, SqliteCatalog)
    with writer.catalog._sqlite() as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_sqlalchemy_is_not_imported_to_commit(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from sinks.writing import local_lake;"
        " w = local_lake(Path(sys.argv[1])); w.rebuild(1, [], [('a', 'VARCHAR')]); w.maintain();"
        " assert w.number() == 1; sys.exit('sqlalchemy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False, cwd=TESTS).returncode == 0

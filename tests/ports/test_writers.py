"""What every Writer promises, held against each of them, with real files, real SQLite and real Iceberg."""

from __future__ import annotations

import os
import pickle
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pytest

from headrace.aws.keyed import DynamoWriter
from headrace.engine.faults import install
from headrace.local.keyed import KeyedWriter
from headrace.model.errors import InfrastructureError
from headrace.model.loads import DataFile, Revision
from sinks import dynamo
from sinks.base_files import COLUMNS, Base
from sinks.writing import PARTITIONS, AnyWriter, open_writer

TESTS = Path(__file__).resolve().parent.parent
Rows = list[tuple[object, ...]]


@pytest.fixture(params=["lake", "keyed", "glue", "dynamo"])
def kind(request: pytest.FixtureRequest) -> str:
    if request.param in ("glue", "dynamo"):
        request.getfixturevalue("aws_environment")
    return str(request.param)


@pytest.fixture
def base(tmp_path: Path) -> Base:
    return Base(tmp_path, partitions=PARTITIONS)


@pytest.fixture
def writer(kind: str, tmp_path: Path) -> Iterator[AnyWriter]:
    opened = open_writer(kind, tmp_path)
    yield opened
    opened.close()


def contents(writer: AnyWriter, extra: str = "") -> Rows:
    """(asset, second, value, load, row) of everything the sink holds."""
    if isinstance(writer, DynamoWriter):
        names = ["asset", "seen", "value", "_load_id", "_source_row", *extra.replace(",", " ").split()]
        found = [tuple(row.get(name) for name in names) for row in dynamo.rows(writer)]
        return sorted(((a, str(s), *rest) for a, s, *rest in found), key=str)
    if isinstance(writer, KeyedWriter):
        if writer.number() == 0:
            return []
        with sqlite3.connect(writer.path) as db:
            found = db.execute(
                f"SELECT asset, seen, value, _load_id, _source_row{extra} FROM items"
                " JOIN headrace_sources ON id = _source"
            ).fetchall()
        db.close()
        return sorted(((a, s[:19].replace("T", " "), *rest) for a, s, *rest in found), key=str)
    folder: Any = writer.folder
    paths = [str(folder.root / f) for f in sorted(writer.files())]
    if not paths:
        return []
    query = (
        f"SELECT asset, seen::VARCHAR, value, _load_id, _source_row{extra} FROM read_parquet(?, union_by_name = true)"
    )
    return sorted(duckdb.execute(query, [paths]).fetchall(), key=str)


def assets(writer: AnyWriter) -> list[object]:
    return [row[0] for row in contents(writer)]


ATOMIC = ("lake", "keyed", "glue")
"""Sinks that take a revision at once. DynamoDB does not: there the number tells when a revision is complete."""


def _family(kind: str) -> str:
    """What the fault points of a kind are called."""
    return "lake" if kind in ("lake", "glue") else "keyed"


ONE = "('a', TIMESTAMP '2024-12-31 00:00:00', 1.5), ('b', TIMESTAMP '2025-01-01 00:00:00', 2.5)"
TWO = "('c', TIMESTAMP '2025-01-02 00:00:00', 3.5)"


def test_a_new_sink_is_at_zero(writer: AnyWriter) -> None:
    assert writer.number() == 0


def test_a_revision_brings_its_rows_and_its_number(writer: AnyWriter, base: Base) -> None:
    writer.apply(base.revision(base.load("L1", ONE)))
    assert writer.number() == 1
    assert contents(writer) == [
        ("a", "2024-12-31 00:00:00", 1.5, "L1", 1),
        ("b", "2025-01-01 00:00:00", 2.5, "L1", 2),
    ]


def test_what_is_removed_goes_in_the_same_step_as_what_is_added_comes(writer: AnyWriter, base: Base) -> None:
    first = base.load("L1", ONE)
    writer.apply(base.revision(first))
    corrected = base.load("L2", "('a', TIMESTAMP '2024-12-31 00:00:00', 9), ('d', TIMESTAMP '2025-01-01', 8)")
    writer.apply(base.revision(corrected, removed=first, retired=("L1",)))
    assert contents(writer) == [
        ("a", "2024-12-31 00:00:00", 9.0, "L2", 1),
        ("d", "2025-01-01 00:00:00", 8.0, "L2", 2),
    ]


def test_applying_a_number_again_changes_nothing(writer: AnyWriter, base: Base) -> None:
    revision = base.revision(base.load("L1", ONE))
    writer.apply(revision)
    writer.apply(base.revision(base.load("L2", TWO)))
    before = contents(writer)
    writer.apply(revision)
    assert (writer.number(), contents(writer)) == (2, before)


def test_a_number_that_does_not_follow_is_refused(writer: AnyWriter, base: Base) -> None:
    writer.apply(base.revision(base.load("L1", ONE)))
    with pytest.raises(InfrastructureError, match=r"HR512 .*revision 3 does not follow 1"):
        writer.apply(replace(base.revision(base.load("L3", TWO)), number=3))
    assert (writer.number(), assets(writer)) == (1, ["a", "b"])


def test_a_revision_without_a_change_still_counts(writer: AnyWriter, base: Base) -> None:
    writer.apply(base.revision())
    assert writer.number() == 1
    writer.apply(base.revision(base.load("L1", ONE)))
    writer.apply(base.revision())
    assert (writer.number(), assets(writer)) == (3, ["a", "b"])


def test_a_file_without_rows_may_come_and_go(writer: AnyWriter, tmp_path: Path) -> None:
    base = Base(tmp_path)
    empty = base.load("L1", "SELECT 'a' AS asset, TIMESTAMP '2025-01-01' AS seen, 1.0 AS value WHERE false")
    nowhere = [replace(f, partition={"year": None}) for f in empty]
    writer.apply(base.revision(nowhere))
    writer.apply(base.revision(removed=nowhere))
    assert (writer.number(), contents(writer)) == (2, [])


def test_everything_may_be_removed(writer: AnyWriter, base: Base) -> None:
    files = base.load("L1", ONE)
    writer.apply(base.revision(files))
    writer.apply(base.revision(removed=files, retired=("L1",)))
    assert (writer.number(), contents(writer)) == (2, [])
    writer.apply(base.revision(base.load("L2", ONE)))
    assert assets(writer) == ["a", "b"]


def test_compaction_moves_rows_between_files_and_changes_none(writer: AnyWriter, base: Base) -> None:
    one, two = base.load("L1", ONE), base.load("L2", TWO)
    writer.apply(base.revision(one))
    writer.apply(base.revision(two))
    before = contents(writer)
    compacted = _together(base, [*one, *two])
    writer.apply(base.revision(compacted, removed=[*one, *two]))
    assert (writer.number(), contents(writer)) == (3, before)


def test_one_load_can_be_taken_out_of_a_shared_file(writer: AnyWriter, base: Base) -> None:
    shared = _together(base, [*base.load("L1", ONE), *base.load("L2", TWO)])
    writer.apply(base.revision(shared))
    left = _together(base, shared, "WHERE _load_id <> 'L1'")
    writer.apply(base.revision(left, removed=shared, retired=("L1",)))
    assert contents(writer) == [("c", "2025-01-02 00:00:00", 3.5, "L2", 1)]


def _together(base: Base, files: Sequence[DataFile], where: str = "") -> list[DataFile]:
    paths = ", ".join(f"'{base.root / f.path}'" for f in files)
    return base.write(f"SELECT * FROM read_parquet([{paths}], hive_partitioning = false) {where}", {})


@pytest.mark.usefixtures("aws_environment")
@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.soak) for seed in range(1, 12))])
def test_after_any_revisions_all_sinks_hold_the_rows_of_the_standing_files(
    base: Base, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    sinks = [open_writer(kind, tmp_path) for kind in ("lake", "keyed", "glue", "dynamo")]
    standing: list[DataFile] = []
    keys: dict[str, int] = {}  # load -> whose keys its rows have
    for step in range(25):
        added: list[DataFile] = []
        removed: list[DataFile] = []
        name = f"L{step}"
        match chance.choice(["load", "load", "correct", "compact", "retract", "nothing"] if standing else ["load"]):
            case "load":
                added = base.load(name, _rows_of(step, chance.randint(1, 9)))
                keys[name] = step
            case "correct":  # another load brings some of the same keys; what shares a file with the old one stays
                old = chance.choice(sorted({load for f in standing for load in f.loads}))
                removed = [f for f in standing if old in f.loads]
                keys[name] = keys[old]
                left = _together(base, removed, f"WHERE _load_id <> '{old}'")
                added = [*left, *base.load(name, _rows_of(keys[old], chance.randint(1, 12)))]
            case "compact":
                removed = chance.sample(standing, k=chance.randint(1, len(standing)))
                added = _together(base, removed)
            case "retract":
                removed = chance.sample(standing, k=1)
        standing = [f for f in standing if f not in removed] + list(added)
        revision = base.revision(added, removed=removed)
        for sink in sinks:
            sink.apply(revision)
        assert [contents(sink) for sink in sinks] == [_rows_in(base, standing)] * len(sinks)
    for sink in sinks:
        sink.rebuild(99, standing, COLUMNS)
    assert [contents(sink) for sink in sinks] == [_rows_in(base, standing)] * len(sinks)


def _rows_of(load: int, n: int) -> str:
    """Keys that belong to this load alone, in two partitions."""
    rows = f"SELECT 'k{load}' AS asset, TIMESTAMP '2024-12-31 23:00:00' + to_minutes(i * 15) AS seen"
    return f"{rows}, random() AS value FROM range({n}) t(i)"


def _rows_in(base: Base, files: Sequence[DataFile]) -> Rows:
    if not files:
        return []
    query = "SELECT asset, seen::VARCHAR, value, _load_id, _source_row FROM read_parquet(?, hive_partitioning = false)"
    return sorted(base.duckdb.execute(query, [[str(base.root / f.path) for f in files]]).fetchall(), key=str)


def test_rebuilding_replaces_everything_at_the_number_given(writer: AnyWriter, base: Base) -> None:
    writer.apply(base.revision(base.load("L1", ONE)))
    writer.rebuild(7, base.load("L2", TWO), COLUMNS)
    assert (writer.number(), assets(writer)) == (7, ["c"])
    writer.apply(replace(base.revision(base.load("L3", ONE)), number=8))
    assert (writer.number(), assets(writer)) == (8, ["a", "b", "c"])


def test_a_new_sink_is_filled_by_rebuilding_it(writer: AnyWriter, base: Base) -> None:
    writer.rebuild(5, [*base.load("L1", ONE), *base.load("L2", TWO)], COLUMNS)
    assert (writer.number(), assets(writer)) == (5, ["a", "b", "c"])


def test_the_number_is_there_for_whoever_opens_the_sink_next(
    writer: AnyWriter, kind: str, base: Base, tmp_path: Path
) -> None:
    for i in range(3):
        writer.apply(base.revision(base.load(f"L{i}", f"('a{i}', TIMESTAMP '2025-01-01', {i})")))
    writer.maintain()
    writer.close()
    again = open_writer(kind, tmp_path)
    assert (again.number(), assets(again)) == (3, ["a0", "a1", "a2"])
    again.apply(base.revision(base.load("L9", TWO)))
    assert again.number() == 4
    again.close()


def test_a_column_added_later_is_null_in_older_rows(writer: AnyWriter, base: Base) -> None:
    writer.apply(base.revision(base.load("L1", ONE)))
    wider = (*COLUMNS, ("quality", "VARCHAR"))
    late = base.load("L2", "('z', TIMESTAMP '2025-01-05', 1, 'good')", wider)
    writer.apply(base.revision(late, columns=wider))
    assert [(r[0], r[-1]) for r in contents(writer, ", quality")] == [("a", None), ("b", None), ("z", "good")]
    writer.apply(base.revision(base.load("L3", "('y', TIMESTAMP '2025-01-06', 1, 'poor')", wider), columns=wider))
    assert writer.number() == 3


def test_a_sink_with_columns_added_later_can_be_rebuilt_from_all_files(writer: AnyWriter, base: Base) -> None:
    wider = (*COLUMNS, ("quality", "VARCHAR"))
    files = [*base.load("L1", ONE), *base.load("L2", "('z', TIMESTAMP '2025-01-05', 1, 'good')", wider)]
    writer.rebuild(2, files, wider)
    assert [(r[0], r[-1]) for r in contents(writer, ", quality")] == [("a", None), ("b", None), ("z", "good")]


def test_a_column_of_another_type_is_refused_until_the_sink_is_rebuilt(writer: AnyWriter, base: Base) -> None:
    writer.apply(base.revision(base.load("L1", ONE)))
    other = (("asset", "VARCHAR"), ("seen", "TIMESTAMP"), ("value", "VARCHAR"))
    texts = base.load("L2", "('z', TIMESTAMP '2025-01-05', 'high')", other)
    with pytest.raises(InfrastructureError, match=r"HR514 .*'value'.*headrace replay"):
        writer.apply(base.revision(texts, columns=other))
    assert (writer.number(), assets(writer)) == (1, ["a", "b"])
    writer.rebuild(2, texts, other)
    assert (writer.number(), contents(writer)[0][2]) == (2, "high")


def test_a_failure_before_the_commit_leaves_the_old_revision_whole(writer: AnyWriter, kind: str, base: Base) -> None:
    writer.apply(base.revision(base.load("L1", ONE)))
    revision = base.revision(base.load("L2", TWO))

    def fail(name: str) -> None:
        if name == f"{_family(kind)}.before-commit":
            raise OSError("disk full")

    with install(fail), pytest.raises(InfrastructureError, match=r"HR(511|519|855) .*disk full"):
        writer.apply(revision)
    assert writer.number() == 1
    if kind in ATOMIC:
        assert assets(writer) == ["a", "b"]
    writer.apply(revision)
    assert (writer.number(), assets(writer)) == (2, ["a", "b", "c"])


@pytest.mark.parametrize("place", ["before-commit", "after-commit"])
def test_killed_at_a_named_place_it_is_at_one_revision_or_the_other(
    kind: str, place: str, base: Base, tmp_path: Path
) -> None:
    revisions = _history(base, 3)
    done = _child(kind, tmp_path, revisions, fault=f"{_family(kind)}.{place}:2")
    assert done.wait() == -signal.SIGKILL
    _expect_whole(kind, tmp_path, revisions, reached=1 if place == "before-commit" else 2)


def test_killed_at_any_moment_it_is_at_one_revision_or_the_other(kind: str, base: Base, tmp_path: Path) -> None:
    revisions = _history(base, 30)
    chance = random.Random(kind)
    reached, kills, pace = 0, 0, 0.05  # seconds that a revision takes on this machine, as far as was seen
    while kills < 5 or not reached:
        child = _child(kind, tmp_path, revisions)
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        if chance.random() < 0.6:
            done, begun = reached, time.monotonic()
            while done <= reached:
                begun = time.monotonic()
                line = child.stdout.readline()
                assert line, "it died by itself"
                done = int(line)
            pace = min(time.monotonic() - begun, 0.5)
        time.sleep(chance.uniform(0, 1.5 * pace))
        kills += child.poll() is None
        child.kill()
        child.wait()
        number = _expect_whole(kind, tmp_path, revisions, apply=False)
        assert reached <= number < len(revisions), "it is to be killed before it is done"
        reached = number
    _expect_whole(kind, tmp_path, revisions)


def test_killed_while_it_is_rebuilt_it_holds_the_old_rows_or_the_new(kind: str, base: Base, tmp_path: Path) -> None:
    old = base.revision(base.load("L1", ONE))
    n = 60_000 if kind in ATOMIC else 6_000
    rows = f"SELECT 'r' || i AS asset, TIMESTAMP '2025-01-01' + to_seconds(i) AS seen, i AS value FROM range({n}) t(i)"
    new = base.load("L2", rows)
    chance = random.Random(kind)
    for _ in range(4):
        child = _child(kind, tmp_path, [old], rebuild=(5, new, COLUMNS))
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        time.sleep(chance.uniform(0.02, 0.5))
        child.kill()
        child.wait()
        writer = open_writer(kind, tmp_path)
        if kind in ATOMIC:
            assert (writer.number(), _loads(contents(writer))) in [(0, {}), (1, {"L1": 2}), (5, {"L2": n})]
        assert writer.number() in (0, 1, 5)
        writer.close()
    writer = open_writer(kind, tmp_path)
    if isinstance(writer, DynamoWriter):
        dynamo.outlive(writer)
    writer.rebuild(5, new, COLUMNS)
    assert (writer.number(), _loads(contents(writer))) == (5, {"L2": n})
    writer.close()


def _history(base: Base, n: int) -> list[Revision]:
    """Each revision takes out what the one before brought, and brings two files of its own."""
    revisions: list[Revision] = []
    before: list[DataFile] = []
    for i in range(n):
        rows = f"SELECT 'x' || i AS asset, TIMESTAMP '2024-12-31 23:59:00' + to_seconds({i} + i) AS seen, {i} AS value"
        files = base.load(f"L{i}", f"{rows} FROM range(200) t(i)")
        keep = base.load(f"K{i}", f"('k{i}', TIMESTAMP '2025-01-01', {i})")
        revisions.append(base.revision([*files, *keep], removed=before, retired=(f"L{i - 1}",)))
        before = files
    return revisions


def _child(
    kind: str, root: Path, revisions: list[Revision], fault: str = "", rebuild: tuple[Any, ...] = ()
) -> subprocess.Popen[str]:
    ledger = root / "revisions.pickle"
    ledger.write_bytes(pickle.dumps((kind, root, revisions, rebuild)))
    paths = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": paths} | ({"HEADRACE_FAULT": fault} if fault else {})
    command = [sys.executable, "-m", "sinks.writing", str(ledger)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def _expect_whole(
    kind: str, root: Path, revisions: list[Revision], reached: int | None = None, apply: bool = True
) -> int:
    """Whatever number the sink tells, it holds that revision exactly; then it takes the rest."""
    writer = open_writer(kind, root)
    number = writer.number()
    assert reached is None or number == reached
    if number and kind in ATOMIC:
        assert _loads(contents(writer)) == _expected(number)
    if apply:
        if isinstance(writer, DynamoWriter):
            dynamo.outlive(writer)
        for revision in revisions:
            writer.apply(revision)
        assert writer.number() == len(revisions)
        assert _loads(contents(writer)) == _expected(len(revisions))
    writer.close()
    return number


def _loads(rows: Rows) -> dict[object, int]:
    counted: dict[object, int] = {}
    for row in rows:
        counted[row[3]] = counted.get(row[3], 0) + 1
    return counted


def _expected(number: int) -> dict[object, int]:
    return {f"L{number - 1}": 200} | {f"K{i}": 1 for i in range(number)}

"""Columns and headers may have any name: also those that the engine, its readers or Headrace use themselves."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from headrace import open_project
from headrace.model.contract import LINEAGE
from headrace.model.loads import DataFile
from headrace.project.opened import Project
from headrace.project.quarantine import export
from headrace.sinks.delta import rows_of
from trials.making import workbook


def words(text: str) -> list[str]:
    return text.split()


ENGINE = words("""
rowid filename file_index oid ctid level n place path input staged accepted losers inputs contested raw rule column
value reason load a b c f i l m p r s t w record item member key row count verdict order
""")
OURS = words("""
_item _member _record _bad _filtered _cells _all _t0 _t1 _n0 _v1 _e1 _r0 _good _key _arrived _wins _keep _line _file
_path _path0 _rescued _verdict _source_file _source_version _source_row _source_line _load_id _arrived_at _reason _raw
_fired _revision _now _before _pk _sk _0 _1 column_3 id_2
""")
NUMBER = ["file_row_number", "file_name"]  # apart: a Parquet file that has the first is read in another way

DEFINITION = """
from headrace import Pipeline, Record, column, derived, files, flag, keyed, lake

class Row(Record, key="id", extra="keep"):
    id: str
{columns}
    v: int = column(ge=0)
    came: str = derived("_source_file || '#' || _source_row")

p = Pipeline("p", source=files("in/"), record=Row, sinks=[lake("t"), keyed("k")], rules=[flag("odd", "v % 2 = 1")],
             tolerate=0.9)
"""
VALUES = [("a", 1), ("b", -1), ("c", 3), ("d", -4), ("e", 5), ("e", 6)]  # b and d are rejected, e stands twice


def columns_for(names: Sequence[str]) -> str:
    """A column for each: of that name, or, where a column cannot be called so, reading that header."""
    own = [f"    {n}: int" if n[0] != "_" else f'    c{i}: int = column("{n}")' for i, n in enumerate(names)]
    return "\n".join(own)


def cell(record: int, place: int) -> int:
    """A value that no record number, no index and no other cell has by chance."""
    return 1000 * record + place + 7


def write(folder: Path, kind: str, names: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """One file, or two that are read together, as {name: records}."""
    headers = ["id", *names, "v"]
    written = {}
    for n in range(2 if kind == "csvs" else 1):
        records = [
            dict(zip(headers, [f"{key}{n}", *(cell(r, i) for i in range(len(names))), v], strict=True))
            for r, (key, v) in enumerate(VALUES, 1)
        ]
        rows = [list(r.values()) for r in records]
        name = f"{n}.{'csv' if kind == 'csvs' else kind}"
        match kind:
            case "csv" | "csvs":
                text = "".join(",".join(map(str, line)) + "\n" for line in [headers, *rows])
                (folder / name).write_text(text)
            case "json":
                (folder / name).write_text(json.dumps(records))
            case "ndjson":
                (folder / name).write_text("".join(json.dumps(r) + "\n" for r in records))
            case "parquet":
                pq.write_table(pa.table([pa.array(c) for c in zip(*rows, strict=True)], names=headers), folder / name)
            case "xlsx":
                (folder / name).write_bytes(workbook([headers, *rows]))
        written[f"in/{name}"] = records
    return written


def run(tmp_path: Path, project: Project) -> None:
    result = project.run("p", [tmp_path / "files"])
    assert not [x.cause for x in result.loads if x.cause]


KINDS = ("csv", "csvs", "json", "ndjson", "parquet", "xlsx")
CASES = [(kind, f"{whose} in {kind}", names) for kind in KINDS for whose, names in (("theirs", ENGINE), ("ours", OURS))]
CASES += [("parquet", "file_row_number in parquet", NUMBER)]


@pytest.mark.parametrize(("kind", "names"), [(k, n) for k, _, n in CASES], ids=[said for _, said, _ in CASES])
@pytest.mark.parametrize("read", [True, False], ids=["read", "unread"])
def test_rows_keep_their_numbers_and_texts(tmp_path: Path, kind: str, read: bool, names: list[str]) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "headrace.toml").write_text("")
    (tmp_path / "pipelines.py").write_text(DEFINITION.format(columns=columns_for(names) if read else ""))
    written = write(tmp_path / "files", kind, names)
    with open_project(tmp_path) as project:
        run(tmp_path, project)
        for rows in (project.sql("FROM t").rows(), [r for n in range(len(written)) for r in keyed(project, n)]):
            found = sorted((r["_source_file"], r["_source_row"]) for r in rows)
            assert found == [(file, n) for file in written for n in (1, 3, 6)]
            for row in rows:
                record = written[row["_source_file"]][row["_source_row"] - 1]
                assert row["came"] == f"{row['_source_file']}#{row['_source_row']}"
                assert values(row, names, read) == record | {"odd": record["v"] % 2 == 1}
        check_rejected(tmp_path, project, written, names, read)


def keyed(project: Project, n: int) -> list[dict[str, Any]]:
    return [row for key in "ace" for row in project.get("k", f"{key}{n}")]


def values(row: dict[str, Any], names: Sequence[str], read: bool) -> dict[str, Any]:
    """A loaded row as the record that it comes from; unread cells are in `_rescued`."""
    found = {"id": row["id"], "v": row["v"], "odd": row["odd"]}
    if not read:
        return found | {name: int(text) for name, text in json.loads(row["_rescued"]).items()}
    assert row["_rescued"] is None
    return found | {name: row[name if name[0] != "_" else f"c{i}"] for i, name in enumerate(names)}


def check_rejected(
    tmp_path: Path, project: Project, written: dict[str, list[dict[str, Any]]], names: Sequence[str], read: bool
) -> None:
    """Rejected rows are shown, explained and exported as they are; an edited export brings one of each file back."""
    rejected = project.quarantine("p")
    assert [(r["_source_file"], r["_source_row"]) for r in rejected] == [(file, n) for file in written for n in (2, 4)]
    for row in rejected:
        record = written[row["_source_file"]][row["_source_row"] - 1]
        assert (row["column"], row["value"], row["reason"]) == ("v", str(record["v"]), "v: is not >= 0")
        assert record["id"] in row["raw"] and str(record["v"]) in row["raw"] and str(record[names[-1]]) in row["raw"]
    last = rejected[-1]
    facts = project.explain(f"{last['_source_file']}:{last['_source_row']}").facts
    told = {h: str(v) for h, v in written[last["_source_file"]][3].items()}
    assert (facts["verdict"], facts["raw"], facts["cells"]) == ("rejected", last["raw"], told)
    fix = tmp_path / "fix.csv"
    with fix.open("w", newline="") as out:
        export(project.home("p"), rejected, out)
    with fix.open(newline="") as text:
        header, *lines = csv.reader(text)
    assert header[:4] == ["_source_file", "_source_version", "_source_row", "_reason"] and header[-1] == "_raw"
    own = header[4:-1]
    for line in lines:
        record = written[line[0]][int(line[2]) - 1]
        cells = dict(zip(own, line[4:-1], strict=True))
        assert cells == {h: str(v) for h, v in record.items()}
        if record["v"] == -1:
            line[4 + own.index("v")] = "100"
    with fix.open("w", newline="") as out:
        csv.writer(out).writerows([header, *lines])
    corrected = project.correct("p", fix)
    assert (corrected.rows, corrected.outcome["loaded"]) == (len(written), len(written))
    assert len(corrected.unchanged) == len(written)
    rows = project.sql("FROM t WHERE v = 100").rows()
    for row in rows:
        record = written[row["_source_file"]][1]
        assert row["_source_row"] == 2 and values(row, names, read) == record | {"v": 100, "odd": False}
    assert len(rows) == len(written) == len(project.quarantine("p"))


PARTED = """
from headrace import Pipeline, Record, files, keyed, lake, sql

class Row(Record, key="id", on_conflict="last"):
    id: str
{columns}
    v: int

p = Pipeline("p", source=files("in/"), record=Row, sinks=[lake("t", partition_by="v"), keyed("k")],
             steps=[sql("SELECT * FROM input")])
"""


@pytest.mark.parametrize("names", [ENGINE, NUMBER], ids=["theirs", "file_row_number"])
def test_rows_are_parted_contested_compacted_and_filled_in_anew(tmp_path: Path, names: list[str]) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "headrace.toml").write_text("")
    (tmp_path / "pipelines.py").write_text(PARTED.format(columns=columns_for(names)))
    written = write(tmp_path / "files", "csvs", names)
    with open_project(tmp_path) as project:
        run(tmp_path, project)
        again = tmp_path / "again.csv"
        again.write_text((tmp_path / "files" / "0.csv").read_text().replace("\na0,1007,", "\na0,999,"))
        assert project.run("p", [again]).totals["loaded"] == 5
        project.compact("p")
        project.rebuild("k")
        for row in (*project.sql("FROM t").rows(), *(r for n in range(2) for r in keyed(project, n))):
            number = row["_source_row"]
            record = dict(written["in/0.csv" if row["id"][1] == "0" else "in/1.csv"][number - 1])
            if row["id"] == "a0":
                record[names[0]] = 999
            assert {h: row[h] for h in record} == record
            assert row["_source_file"] == ("in/again.csv" if row["id"][1] == "0" else "in/1.csv")
        assert project.sql("FROM t").arrow().num_rows == 10


def test_a_part_of_a_file_is_the_same_rows_whatever_its_columns_are_called(tmp_path: Path) -> None:
    names = ["file_row_number", "filename"]
    nothing = {name: [None] * 9 for name, _ in LINEAGE}
    pq.write_table(pa.table({name: list(range(100, 109)) for name in names} | nothing), tmp_path / "f.parquet")
    file = DataFile("f.parquet", "data", 9, 0, {})
    rows = rows_of(tmp_path, [file], [(name, "BIGINT") for name in names], (3, 6))
    assert duckdb.execute(f"SELECT filename FROM {rows}").fetchall() == [(103,), (104,), (105,)]

"""Files without a contract: evidence alone decides, and every row is seen."""

from pathlib import Path

import duckdb
import pytest

from headrace.formats.probe import sniff
from headrace.formats.rows import BadItem


def test_alike_files_are_one_group_and_the_largest_comes_first(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("a;b,c\n1;2\n3;4,5\nbad\n")
    (tmp_path / "2.csv").write_text("a;b,c\n7;8\n")
    (tmp_path / "3.json").write_text('[{"x": 1, "y": {"z": 2}}]')
    db = duckdb.connect()
    paths = [tmp_path / "3.json", tmp_path / "1.csv", tmp_path / "2.csv"]
    csv, json = sniff(db, paths, tmp_path)
    assert (csv.headers, csv.rows, csv.files) == (("a", "b,c"), 3, (paths[1], paths[2]))
    assert csv.dialect.delimiter == ";"
    assert [(m.record, m.raw) for m in csv.misfits] == [(3, "bad")]
    assert db.execute(f"select _t0, _t1 from {csv.relation} order by 1").fetchall() == [
        ("1", "2"),
        ("3", "4,5"),
        ("7", "8"),
    ]
    assert (json.headers, json.rows) == (("x", "y"), 1)
    assert db.execute(f"select _t1 from {json.relation}").fetchall() == [('{"z": 2}',)]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_steady_table_is_found_below_a_preamble(tmp_path: Path, delimiter: str) -> None:
    rows = "".join(f"{n}{delimiter}{n},5{delimiter}x\n" if delimiter != "," else f"{n},{n},x\n" for n in range(50))
    (tmp_path / "x.csv").write_text(f"Report\n\nid{delimiter}price{delimiter}note\n{rows}")
    [found] = sniff(duckdb.connect(), [tmp_path / "x.csv"], tmp_path)
    assert (found.headers, found.rows, found.misfits) == (("id", "price", "note"), 50, ())


def test_one_column_stays_one_column(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("note\nhello there\nwhat: is; this\n")
    [found] = sniff(duckdb.connect(), [tmp_path / "x.csv"], tmp_path)
    assert (found.headers, found.rows) == (("note",), 2)


def test_a_bad_file_is_told_by_its_index(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("[{")
    (tmp_path / "y.csv").write_text("a\n1\n")
    with pytest.raises(BadItem) as failure:
        sniff(duckdb.connect(), [tmp_path / "y.csv", tmp_path / "x.json"], tmp_path)
    assert failure.value.index == 1

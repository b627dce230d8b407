"""Workbooks and Parquet: typed cells become the text that a person would write, exactly."""

import io
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from reading import Reader, contract, workbook

from headrace.formats.rows import BadItem


def parquet(table: pa.Table) -> bytes:
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()


def test_cells_of_a_workbook_become_exact_text(reader: Reader) -> None:
    rows = [
        ["a", "b", "c"],
        [13995.0, "007", True],
        [0.1, ("date", 40513.5), False],
        [123456789012345, " é<& ", None],
        [1e21, None, -2.50],
    ]
    assert reader.read(contract("a", "b", "c"), ("x.xlsx", workbook(rows))).rows == [
        ("13995", "007", "true"),
        ("0.1", "2010-12-01 12:00:00", "false"),
        ("123456789012345", " é<& ", None),
        ("1000000000000000000000", None, "-2.5"),
    ]


def test_lines_of_a_workbook_are_the_rows_that_the_spreadsheet_shows(reader: Reader) -> None:
    rows = [[], ["Report"], [], [None, "Size", "Name"], [None, 1, "x"], [], [None, 2, "y"]]
    read = reader.read(contract("name", "size"), ("x.xlsx", workbook(rows)))
    assert read.cells == {(0, None, 1): (None, "1", "x"), (0, None, 2): (None, "2", "y")}
    assert read.raw(0, 2) == (7, '{"column_1": null, "Size": "2", "Name": "y"}')
    pinned = reader.read(contract("other"), ("x.xlsx", workbook(rows)), pinned=read.dialects)
    assert pinned.headers == read.headers


def test_the_sheet_is_chosen_by_name(reader: Reader) -> None:
    data = workbook([["a"], [1]], sheets=("First", "Second"))
    assert reader.read(contract("a", sheet="second"), ("x.xlsx", data)).dialects[0].sheet == "Second"
    with pytest.raises(BadItem, match=r"HR415 x\.xlsx: has no sheet 'Third'; its sheets are 'First', 'Second'"):
        reader.read(contract("a", sheet="Third"), ("x.xlsx", data))


def test_a_workbook_without_rows_holds_no_records(reader: Reader) -> None:
    for rows in ([], [["a"]], [[], []]):
        read = reader.read(contract("a"), ("x.xlsx", workbook(rows)))
        assert (read.headers, read.rows) == ([("a",)], [])


def test_values_of_parquet_become_exact_text(reader: Reader) -> None:
    table = pa.table(
        {
            "i": pa.array([9223372036854775807, None], pa.int64()),
            "u": pa.array([18446744073709551615, 0], pa.uint64()),
            "f": pa.array([0.1, 13995.0], pa.float64()),
            "f32": pa.array([0.1, 1e10], pa.float32()),
            "d": pa.array([Decimal("1.10"), Decimal("-0.05")], pa.decimal128(20, 2)),
            "t": pa.array([datetime(2024, 1, 2, 3, 4, 5, 6), datetime(2024, 1, 2)], pa.timestamp("us")),
            "z": pa.array([datetime(2024, 1, 2, 3, tzinfo=UTC), None], pa.timestamp("us", "Europe/London")),
            "day": pa.array([date(2024, 2, 29), None], pa.date32()),
            "b": pa.array([True, False]),
            "s": pa.array(["", "é"]),
            "raw": pa.array(["é".encode(), b"\xff\x00"], pa.binary()),
            "nested": pa.array([{"k": [1, None], "m": "x"}, None]),
        }
    )
    assert reader.read(contract("i"), ("x.parquet", parquet(table))).rows == [
        ("9223372036854775807", "18446744073709551615", "0.1", "0.1", "1.10", "2024-01-02 03:04:05.000006")
        + ("2024-01-02 03:00:00+00:00", "2024-02-29", "true", "", "é", '{"k":[1,null],"m":"x"}'),
        (None, "0", "13995.0", "10000000000.0", "-0.05", "2024-01-02 00:00:00")
        + (None, None, "false", "é", "\\xFF\\x00", None),
    ]


def test_parquet_files_of_the_same_columns_are_one_group(reader: Reader) -> None:
    one, two = pa.table({"a": [1, 2]}), pa.table({"a": ["x"], "b": [None]})
    files = [("1.parquet", parquet(one)), ("2.parquet", parquet(two)), ("3.parquet", parquet(one.slice(0, 0)))]
    read = reader.read(contract("a"), *files, ("4.parquet", parquet(one)))
    assert len(read.groups) == 2
    assert set(read.dialects) == {0, 1, 2, 3}
    assert read.cells == {
        **{(i, None, n): (str(n),) for i in (0, 3) for n in (1, 2)},
        (1, None, 1): ("x", None),
    }
    assert read.raw(3, 2) == (2, '{"a": "2"}')


def table(kind: str, headers: list[str]) -> tuple[str, bytes]:
    row = list(range(len(headers)))
    if kind == "xlsx":
        return "x.xlsx", workbook([headers, row])
    return "x.parquet", parquet(pa.table([pa.array([v]) for v in row], names=headers))


@pytest.mark.parametrize("kind", ["xlsx", "parquet"])
def test_a_doubled_header_that_a_column_wants_kills_the_table(reader: Reader, kind: str) -> None:
    with pytest.raises(BadItem, match=r"HR408 x\.\w+: header 'b' stands twice \(columns 2 and 4\): both would be 'b'"):
        reader.read(contract("a", "b"), table(kind, ["a", "b", "c", "b"]))
    assert reader.read(contract("a"), table(kind, ["a", "b", "c", "b"])).headers == [("a", "b", "c", "b_2")]


@pytest.mark.parametrize("kind", ["xlsx", "parquet"])
def test_headers_that_differ_in_case_alone_are_told_as_written(reader: Reader, kind: str) -> None:
    read = reader.read(contract("id"), table(kind, ["id", "Amount", "amount", "amount_1"]))
    assert read.headers == [("id", "Amount", "amount", "amount_1")] and read.rows == [("0", "1", "2", "3")]


def test_top_level_columns_are_told_from_nested_ones(reader: Reader) -> None:
    nested = {"a": [{"x": {"y": 1}, "z": [1, 2]}], "B": ["u"], "b": ["v"], "c": [[{"d": 1}]]}
    read = reader.read(contract("c"), ("x.parquet", parquet(pa.table(nested))))
    assert read.headers == [("a", "B", "b", "c")] and read.rows[0][1:3] == ("u", "v")


def test_a_folder_named_like_a_partition_adds_no_column(tmp_path: Path) -> None:
    (tmp_path / "day=3").mkdir()
    read = Reader(tmp_path / "day=3").read(contract("a"), ("x.parquet", parquet(pa.table({"a": [1]}))))
    assert read.headers == [("a",)]

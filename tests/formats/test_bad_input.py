"""Each kind of bad input with its stated outcome (the table is in `headrace.formats`). JSON and packing: see there."""

from pathlib import Path

import pytest
from reading import Reader, contract, workbook, zipped

from headrace.formats.open import Item, open_input
from headrace.formats.rows import BadItem
from headrace.formats.survey import MONSTER
from headrace.model.contract import CsvSpec


@pytest.mark.parametrize("key", ["x.csv", "x.tsv", "x.json", "x.ndjson"])
@pytest.mark.parametrize("data", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_an_empty_file_holds_no_records(reader: Reader, key: str, data: bytes) -> None:
    read = reader.read(contract("a", "b"), (key, data))
    assert (read.rows, read.misfits, read.headers) == ([], [], [("a", "b")])


@pytest.mark.parametrize("data", [b"a,b\n", b"a,b", b"\xef\xbb\xbfa,b\r\n"])
def test_a_header_alone_holds_no_records(reader: Reader, data: bytes) -> None:
    read = reader.read(contract("a", "b"), ("x.csv", data))
    assert (read.rows, read.misfits, read.headers) == ([], [], [("a", "b")])


def test_a_byte_order_mark_is_no_part_of_the_first_header_or_record(reader: Reader) -> None:
    read = reader.read(contract("a", "b"), ("x.csv", b'\xef\xbb\xbf"a","b"\n1,2\nbad\n'))
    assert read.headers == [("a", "b")]
    assert read.rows == [("1", "2")]
    assert [(m.line, m.raw) for m in read.misfits] == [(3, "bad")]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_utf_16_and_32_are_read_with_or_without_a_mark(reader: Reader, encoding: str) -> None:
    read = reader.read(contract("a", "b"), ("x.csv", 'a,b\n1,é€\n2,"x\ny"\n'.encode(encoding)))
    assert read.rows == [("1", "é€"), ("2", "x\ny")]
    assert read.raw(0, 2) == (3, '2,"x\ny"')


@pytest.mark.parametrize("text", ["1,é\n", "1,Zürich\n2,Ærøskøbing\n" * 50, "1,£5 – “quoted”\n"])
def test_latin_1_is_detected_where_utf_8_fails(reader: Reader, text: str) -> None:
    read = reader.read(contract("a", "b"), ("x.csv", ("a,b\n" + text).encode("cp1252")))
    assert read.rows[0] == tuple(text.splitlines()[0].split(","))
    assert read.dialects[0].encoding == "cp1252"


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1251", "Иванов,Привет всем кто читает эту строку"),
        ("cp932", "東京都,こんにちは世界、これは日本語の文章です"),
    ],
)
def test_whole_words_of_other_scripts_are_detected(reader: Reader, encoding: str, text: str) -> None:
    read = reader.read(contract("a", "b"), ("x.csv", ("a,b\n" + f"{text}\n" * 20).encode(encoding)))
    assert read.rows[0] == tuple(text.split(","))


def test_a_declared_encoding_is_taken_or_the_file_is_dead(reader: Reader) -> None:
    declared = contract("a", "b", csv=CsvSpec(encoding="koi8-r"))
    assert reader.read(declared, ("x.csv", "a,b\n1,Привет\n".encode("koi8-r"))).rows == [("1", "Привет")]
    with pytest.raises(BadItem, match=r"HR405 x\.csv: is not cp932 throughout"):
        reader.read(contract("a", "b", csv=CsvSpec(encoding="cp932")), ("x.csv", b"a,b\n1,\x81\n"))
    with pytest.raises(BadItem, match="HR405 .*no encoding is called 'klingon'"):
        reader.read(contract("a", "b", csv=CsvSpec(encoding="klingon")), ("x.csv", b"a,b\n1,2\n"))


def test_a_nul_byte_stays_a_character_of_its_cell(reader: Reader) -> None:
    read = reader.read(contract("a", "b"), ("x.csv", b"a,b\n1,x\x00y\n2,z\n"))
    assert read.rows == [("1", "x\x00y"), ("2", "z")]
    assert read.misfits == []


def test_mixed_line_ends_each_end_a_line(reader: Reader) -> None:
    data = b'a,b\r\n1,x\n2,"p\r\nq\rr"\r3,y\r\n\r\n4,5" z\n5,"w"\r'
    read = reader.read(contract("a", "b"), ("x.csv", data))
    assert read.rows == [("1", "x"), ("2", "p\r\nq\rr"), ("3", "y"), ("4", '5" z'), ("5", "w")]
    assert read.dialects[0].newline == "mixed"
    assert read.raw(0, 2)[1] == '2,"p\r\nq\rr"'  # type: ignore[index]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_each_kind_of_line_end_alone_is_read_where_it_lies(reader: Reader, newline: str, tmp_path: Path) -> None:
    read = reader.read(contract("a", "b"), ("x.csv", newline.join(["a,b", "1,x", "", "bad", '2,"y"']).encode()))
    assert read.rows == [("1", "x"), ("2", "y")]
    assert [(m.record, m.line, m.raw) for m in read.misfits] == [(2, 4, "bad")]
    assert read.raw(0, 3) == (5, '2,"y"')
    assert not list(tmp_path.rglob("*.lf"))


def test_line_ends_inside_quotes_do_not_make_a_file_mixed(reader: Reader, tmp_path: Path) -> None:
    assert reader.read(contract("a"), ("x.csv", b'a,b\n1,"x\r\ny"\n')).rows == [("1", "x\r\ny")]
    assert reader.read(contract("a"), ("x.csv", b'a,b\r\n1,"x\ny"\r\n')).rows == [("1", "x\ny")]
    assert not list(tmp_path.rglob("*.lf"))


def test_a_quote_first_seen_at_row_67000_is_a_quote(reader: Reader) -> None:
    data = b"a,b\n" + b"".join(b"%d,x\n" % n for n in range(1, 67_000)) + b'67000,"x, y"\n67001,"p\nq"\n'
    read = reader.read(contract("a", "b"), ("x.csv", data))
    assert read.cells[0, None, 67_000] == ("67000", "x, y")
    assert read.cells[0, None, 67_001] == ("67001", "p\nq")
    assert read.raw(0, 67_001) == (67_002, '67001,"p\nq"')


def test_a_record_of_megabytes_is_a_misfit_and_costs_no_other(reader: Reader) -> None:
    data = b"a,b\n1,x\n2," + b"y" * 3_000_000 + b"\n3,z\n"
    read = reader.read(contract("a", "b"), ("x.csv", data))
    assert read.rows == [("1", "x"), ("3", "z")]
    assert read.reasons == [(2, "the record is larger than 2,000,000 bytes")]
    assert len(read.misfits[0].raw) == 3_000_002


@pytest.mark.parametrize(
    "body",
    [b"1," + b"y" * (2 * MONSTER) + b"\n", b'1,"' + b"line\n" * (MONSTER // 2), b"x" * (MONSTER + 10_000_000)],
    ids=["no line end", "a quote never closed", "nothing but one line"],
)
def test_a_monstrous_record_kills_the_file_and_says_where(reader: Reader, body: bytes) -> None:
    """DuckDB drops such a line without a word, or runs out of memory."""
    with pytest.raises(BadItem, match=r"HR406 x\.csv: the record at byte 8 is larger than 16,777,216 bytes"):
        reader.read(contract("a", "b"), ("x.csv", b"a,b\n0,w\n" + body))


def test_ten_thousand_columns_are_read(reader: Reader, tmp_path: Path) -> None:
    names = [f"column {n:05d}" for n in range(10_000)]
    path = tmp_path / "wide"
    path.write_text(",".join(names) + "\n" + ",".join(map(str, range(10_000))) + "\nshort\n")
    [rows] = open_input(reader.db, contract("column_09999"), [Item(0, "x.csv", path)], tmp_path, {})
    assert rows.headers == tuple(names)
    assert reader.db.execute(f"select _t7, _t9999 from {rows.relation}").fetchall() == [("7", "9999")]
    assert [(m.record, m.raw, m.reason) for m in rows.finish(1).misfits] == [
        (2, "short", "1 cell where the header has 10,000")
    ]


def test_cells_are_passed_on_as_text_exactly(reader: Reader) -> None:
    data = b"a,b\n13995.7,123456789012345678901234567890\n007, x \n1e999,NaN\n"
    assert reader.read(contract("a", "b"), ("x.csv", data)).rows == [
        ("13995.7", "123456789012345678901234567890"),
        ("007", " x "),
        ("1e999", "NaN"),
    ]


@pytest.mark.parametrize("key", ["x.parquet", "x.xlsx", "x.xls"])
@pytest.mark.parametrize("data", [b"", b"junk", b"PAR1 cut off", zipped({"a.txt": b"x"})])
def test_a_damaged_table_file_is_dead(reader: Reader, key: str, data: bytes) -> None:
    with pytest.raises(BadItem, match="HR413" if key == "x.parquet" else "HR414"):
        reader.read(contract("a"), (key, data))


@pytest.mark.parametrize("member", ["xl/sharedStrings.xml", "docProps/app.xml", "xl/_rels/x.rels"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_workbook_with_external_entities_is_refused_unread(reader: Reader, member: str, encoding: str) -> None:
    attack = f"<?xml version='1.0' encoding='{encoding}'?><!-- {'x' * 3000} -->\n<!DOCTYPE r [<!ENTITY e SYSTEM"
    data = workbook([["a"], ["1"]], extra={member: (attack + " 'file:///etc/passwd'>]><r>&e;</r>").encode(encoding)})
    with pytest.raises(BadItem, match=rf"HR416 x\.xlsx: {member} declares a DTD or entities"):
        reader.read(contract("a"), ("x.xlsx", data))


def test_a_workbook_that_is_a_bomb_is_refused_unread(reader: Reader) -> None:
    bomb = workbook([["a"]], extra={"xl/media/x.xml": b"<r>" + b" " * (300 << 20)})
    with pytest.raises(BadItem, match="HR416 .* would unpack to"):
        reader.read(contract("a"), ("x.xlsx", bomb))


def test_a_bad_file_is_named_by_its_index_among_good_ones(reader: Reader) -> None:
    with pytest.raises(BadItem) as failure:
        reader.read(contract("a"), ("1.csv", b"a\n1\n"), ("2.json", b"[{"), ("3.csv", b"a\n3\n"))
    assert (failure.value.index, failure.value.code) == (1, "HR409")

"""How a text file is read is decided on evidence, and RFC 4180 with a comma is believed first."""

import pytest
from reading import Reader, contract

from headrace.formats.dialect import Dialect
from headrace.formats.rows import BadItem
from headrace.model.contract import CsvSpec


@pytest.mark.parametrize("delimiter", [";", "\t", "|", ":", "^", "~"])
def test_a_delimiter_is_found_by_the_header_that_binds(reader: Reader, delimiter: str) -> None:
    data = f"name{delimiter}size\na,b{delimiter}1\n".encode()
    read = reader.read(contract("name", "size"), ("x.csv", data))
    assert read.rows == [("a,b", "1")]
    assert read.dialects[0].delimiter == delimiter


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize(("cell", "plain"), [("x", True), ("x\x1fy", False), ("\x1e", False)])
def test_cells_are_plain_only_if_no_separator_is_in_the_file(
    reader: Reader, encoding: str, cell: str, plain: bool
) -> None:
    files = [("x.csv", f"a,b\n1,{cell}\n".encode(encoding)), ("y.csv", "a,b\n2,z\n".encode(encoding))]
    for some in (files[:1], files):
        assert [group.plain for group in reader.read(contract("a", "b"), *some).groups] == [plain]


def test_commas_inside_a_comma_file_are_no_evidence_for_anything_else(reader: Reader) -> None:
    read = reader.read(contract("a", "b;c"), ("x.csv", b"a,b;c\n1;2,3\n"))
    assert read.rows == [("1;2", "3")]


def test_a_preamble_is_passed_over_to_the_header_that_binds(reader: Reader) -> None:
    data = b'Report of May\n"with, a quoted\nline"\n\nname,size\nx,1\ny\n'
    read = reader.read(contract("name", "size"), ("x.csv", data))
    assert read.rows == [("x", "1")]
    assert read.dialects[0].skip == 2
    assert read.reasons == [(2, "1 cell where the header has 2")]
    assert read.misfits[0].line == 7
    assert read.raw(0, 1) == (6, "x,1")


def test_blank_lines_before_the_header_are_no_header(reader: Reader) -> None:
    read = reader.read(contract("a", "b"), ("x.csv", b"\n\na,b\n1,2\n"))
    assert read.rows == [("1", "2")]
    assert read.raw(0, 1) == (4, "1,2")


def test_headers_are_matched_on_letters_and_digits_and_returned_as_found(reader: Reader) -> None:
    read = reader.read(contract("substation_number", "units"), ("x.csv", b" Substation Number;UNITS.\n1;kW\n"))
    assert read.headers == [(" Substation Number", "UNITS.")]


def test_without_a_header_cells_bind_in_order(reader: Reader) -> None:
    declared = contract("a", "b", csv=CsvSpec(header=False))
    read = reader.read(declared, ("x.csv", b"1;2\n3;4\n"))
    assert read.headers == [("a", "b")]
    assert read.rows == [("1", "2"), ("3", "4")]
    assert read.raw(0, 1) == (1, "1;2")


def test_a_declared_dialect_is_taken_as_it_is(reader: Reader) -> None:
    declared = contract("a", "b", csv=CsvSpec(delimiter="|", quote="'", escape="\\", skip=1, encoding="cp1252"))
    data = "x\na|b\n'1|\\'\n2'|é\n".encode("cp1252")
    read = reader.read(declared, ("x.csv", data))
    assert read.rows == [("1|'\n2", "é")]
    assert read.raw(0, 1) == (3, "'1|\\'\n2'|é")


def test_declared_delimiters_may_be_long_and_quotes_absent(reader: Reader) -> None:
    declared = contract("a", "b", csv=CsvSpec(delimiter="||", quote=""))
    read = reader.read(declared, ("x.csv", b'a||b\n"1||2|3\nbad\n4"||\n'))
    assert read.rows == [('"1', "2|3"), ('4"', None)]
    assert read.reasons == [(2, "1 cell where the header has 2")]


def test_a_suffix_is_believed_before_a_comma(reader: Reader) -> None:
    assert reader.read(contract("a"), ("x.tsv", b"a\tb,c\n1\t2\n")).rows == [("1", "2")]
    assert reader.read(contract("a"), ("x.psv", b"a|b,c\n1|2\n")).rows == [("1", "2")]


def test_a_pinned_dialect_reads_alike_whatever_the_evidence_says_now(reader: Reader) -> None:
    pinned = {0: Dialect(delimiter=";")}
    read = reader.read(contract("a", "b"), ("x.csv", b"a,b;c\n1,2;3\n"), pinned=pinned)
    assert read.headers == [("a,b", "c")]
    again = Dialect.from_dict(read.dialects[0].to_dict())
    assert again == read.dialects[0]


def test_the_dialects_of_all_members_of_a_zip_are_pinned(reader: Reader) -> None:
    from reading import zipped

    data = zipped({"m/a.csv": b"a;b\n1;2\n", "b.csv": b"a,b\n3,4\n"})
    read = reader.read(contract("a", "b"), ("x.zip", data))
    assert {name: d.delimiter for name, d in read.dialects[0].members.items()} == {"m/a.csv": ";", "b.csv": ","}
    assert Dialect.from_dict(read.dialects[0].to_dict()) == read.dialects[0]
    again = reader.read(contract("a", "b"), ("x.zip", data), pinned={0: Dialect.from_dict(read.dialects[0].to_dict())})
    assert again.cells == read.cells


def test_doubled_and_blank_headers_get_names_of_their_own(reader: Reader) -> None:
    read = reader.read(contract("id"), ("x.csv", b"id,note,,note,NOTE,\n1,2,3,4,5,6\n"))
    assert read.headers == [("id", "note", "column_3", "note_2", "NOTE", "column_6")]
    assert read.rows == [("1", "2", "3", "4", "5", "6")]


def test_a_doubled_header_that_a_column_wants_kills_the_file(reader: Reader) -> None:
    with pytest.raises(BadItem, match=r"HR408 x\.csv: header 'id' stands twice \(columns 1 and 3\)"):
        reader.read(contract("id"), ("x.csv", b"id,b,id\n1,2,3\n"))


def test_a_name_made_for_a_doubled_header_is_not_that_of_another(reader: Reader) -> None:
    read = reader.read(contract("id"), ("x.csv", b"id,n,n,n_2,,column_5\n1,2,3,4,5,6\n"))
    assert read.headers == [("id", "n", "n_3", "n_2", "column_5_2", "column_5")]


def test_headers_named_like_our_own_columns_keep_their_names(reader: Reader) -> None:
    data = b"a,_record,_item,_t0\n1,2,3,4\n"
    read = reader.read(contract("a"), ("x.csv", data), ("y.csv", data))
    assert read.headers == [("a", "_record", "_item", "_t0")]
    assert read.rows == [("1", "2", "3", "4")] * 2


def test_changed_column_order_and_set_read_as_groups_of_their_own(reader: Reader) -> None:
    files = [("1.csv", b"a,b\n1,2\n"), ("2.csv", b"b,a\n2,1\n"), ("3.csv", b"a,b,c\n1,2,3\n"), ("4.csv", b"a,b\n5,6\n")]
    read = reader.read(contract("a", "b"), *files)
    assert sorted(read.headers) == [("a", "b"), ("a", "b", "c"), ("b", "a")]
    assert read.rows == [("1", "2"), ("2", "1"), ("1", "2", "3"), ("5", "6")]


def test_an_empty_cell_is_null_only_if_the_contract_says_so(reader: Reader) -> None:
    assert reader.read(contract("a", "b"), ("x.csv", b'a,b\n,""\n')).rows == [(None, None)]
    assert reader.read(contract("a", "b", null=("NA",)), ("x.csv", b'a,b\n,""\n')).rows == [("", "")]

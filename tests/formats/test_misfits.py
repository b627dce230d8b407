"""A record without the header's shape is rejected with its text, and no other record loses its number."""

import csv
import io
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import Read, Reader, contract

from headrace.formats.rows import BadItem
from headrace.model.contract import CsvSpec

RAGGED = b'a,b\n1,x\n\n2,y,EXTRA\n3,"q\nz"\n4\n5,w\n6\n7,l\n'
PLACES = {1: ("1", "x"), 3: ("3", "q\nz"), 5: ("5", "w"), 7: ("7", "l")}


def told(read: Read, item: int) -> list[tuple[int, int, str]]:
    return [(m.record, m.line, m.raw) for m in read.misfits if m.item == item]


@pytest.mark.parametrize("tell_rows", [True, False])
def test_ragged_rows_are_misfits_and_shift_no_record_number(reader: Reader, tell_rows: bool) -> None:
    read = reader.read(contract("a", "b"), ("x.csv", RAGGED), tell_rows=tell_rows)
    assert not read.groups[0].numbered
    assert {record: cells for (_, _, record), cells in read.cells.items()} == PLACES
    assert told(read, 0) == [(2, 4, "2,y,EXTRA"), (4, 7, "4"), (6, 9, "6")]
    assert read.misfits[0].reason == "3 cells where the header has 2"
    assert read.raw(0, 3) == (5, '3,"q\nz"')


def test_ragged_rows_in_one_of_many_files_shift_no_record_number_in_any(reader: Reader) -> None:
    files = [
        ("1.csv", RAGGED),
        ("2.csv", b"a,b\n"),
        ("3.csv", b"a,b\nbad\n"),
        ("4.csv", RAGGED),
        ("5.csv", b"a,b\n8,9\n"),
    ]
    read = reader.read(contract("a", "b"), *files)
    assert len(read.groups) == 1 and read.groups[0].numbered
    expected = {(i, None, n): cells for i in (0, 3) for n, cells in PLACES.items()}
    assert read.cells == {**expected, (4, None, 1): ("8", "9")}
    assert told(read, 0) == told(read, 3) == [(2, 4, "2,y,EXTRA"), (4, 7, "4"), (6, 9, "6")]
    assert told(read, 2) == [(1, 2, "bad")]
    assert read.raw(3, 5) == (8, "5,w")


def test_an_undecodable_record_in_a_utf8_file_is_a_misfit(reader: Reader) -> None:
    data = "a,b\n1,é\n2,ü\n3,".encode() + b"\xff\n4,\xc3\xb6\n"
    read = reader.read(contract("a", "b"), ("x.csv", data))
    assert read.rows == [("1", "é"), ("2", "ü"), ("4", "ö")]
    assert read.reasons == [(3, "holds bytes that are no text in this encoding")]
    assert read.misfits[0].raw == "3,\\xff"


def test_a_record_of_broken_quotes_never_loads_its_tail_as_a_row(reader: Reader) -> None:
    """DuckDB alone would load ('y"', 'p\\nq') from the middle of the first record."""
    data = b'a,b\n"u"x,"y"z,"p\nq"\n7,8\n'
    read = reader.read(contract("a", "b"), ("x.csv", data))
    assert read.rows == [("7", "8")]
    assert told(read, 0) == [(1, 2, '"u"x,"y"z,"p\nq"')]
    assert read.dialects[0].careful
    assert read.raw(0, 2) == (4, "7,8")
    many = reader.read(contract("a", "b"), ("x.csv", data), ("y.csv", data), ("z.csv", b"a,b\n9,9\n"))
    assert many.rows == [("7", "8"), ("7", "8"), ("9", "9")]
    assert many.dialects[0].careful and not many.dialects[2].careful


def test_a_quote_inside_a_bare_cell_is_text(reader: Reader) -> None:
    read = reader.read(contract("a", "b"), ("x.csv", b'a,b\n5" pipe,x\n6" pipe,"y\nz"\n'))
    assert read.rows == [('5" pipe', "x"), ('6" pipe', "y\nz")]
    assert read.raw(0, 2) == (3, '6" pipe,"y\nz"')


def test_a_quote_never_closed_costs_the_records_up_to_the_next_quote(reader: Reader) -> None:
    read = reader.read(contract("a", "b"), ("x.csv", b'a,b\n1,"open\n2,x\n3,"y"\n4,z\n'))
    assert read.rows == [("4", "z")]
    assert told(read, 0) == [(1, 2, '1,"open\n2,x\n3,"y"')]


@pytest.mark.parametrize("end", ["\n4,z\n", "", "\n"])
@pytest.mark.parametrize("others", [0, 1, 4, 12])
def test_a_quote_never_closed_is_told_however_many_files_are_read_with_it(
    reader: Reader, others: int, end: str
) -> None:
    """With more than two files for each thread, DuckDB says nothing of a file that ends within quotes."""
    data = f'a,b\n1,x\n2,"open{end}'.encode()
    read = reader.read(contract("a", "b"), ("x.csv", data), *[("y.csv", b"a,b\n9,9\n")] * others)
    assert read.rows == [("1", "x"), *[("9", "9")] * others]
    assert told(read, 0) == [(2, 3, f'2,"open{end}'.removesuffix("\n"))]


def test_with_an_escape_of_its_own_a_doubled_quote_is_out_of_place(reader: Reader) -> None:
    """And ends no record later than DuckDB has it end."""
    wanted = contract("a", "b", csv=CsvSpec(escape="\\"))
    data = b'a,b\n1,"u""\n2,"x\\"y"\n3,"q" "r"\n4,"open'
    for others in (0, 12):
        read = reader.read(wanted, ("x.csv", data), *[("y.csv", b"a,b\n9,9\n")] * others)
        assert read.rows[0] == ("2", 'x"y') and len(read.rows) == 1 + others
        assert told(read, 0) == [(1, 2, '1,"u""'), (3, 4, '3,"q" "r"'), (4, 5, '4,"open')]


def test_a_byte_order_mark_is_no_text_of_a_first_record(reader: Reader) -> None:
    wanted = contract("a", "b", csv=CsvSpec(header=False))
    for others in (0, 1):
        read = reader.read(wanted, ("x.csv", b"\xef\xbb\xbf1,x\n"), *[("y.csv", b"9,9\n")] * others)
        assert (read.rows[0], read.raw(0, 1)) == (("1", "x"), (1, "1,x"))


CELLS = ["a", "12", '"a"', '"a,b"', '"a\nb"', ' "x"', '"x" ', '""', '"""q"""', "", '5" pipe']
BROKEN = ['"5" pipe"', '"a "b" c"', '"say "hi""', '"u', "lone,extra"]


def _file(rng: random.Random, width: int, newline: str, share: float) -> bytes:
    rows = [
        ",".join(rng.choice(BROKEN if rng.random() < share else CELLS) for _ in range(width))
        for _ in range(rng.randint(0, 12))
    ]
    return newline.join([",".join("abc"[:width]), *rows]).replace("\n", newline).replace("\r\r", "\r").encode() + b"\n"


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 10**9), width=st.integers(1, 3), crlf=st.booleans(), share=st.sampled_from([0, 0.05, 0.2]))
def test_whatever_the_quotes_every_record_is_one_row_or_one_misfit(
    tmp_path_factory: pytest.TempPathFactory, seed: int, width: int, crlf: bool, share: float
) -> None:
    rng = random.Random(seed)
    data = _file(rng, width, "\r\n" if crlf else "\n", share)
    reader = Reader(tmp_path_factory.mktemp("random"), threads=rng.choice([1, 2]))
    read = reader.read(contract(*"abc"[:width]), ("x.csv", data), tell_rows=rng.random() < 0.5)
    records = {n for _, _, n in read.cells} | {m.record for m in read.misfits}
    assert records == set(range(1, len(records) + 1))
    assert len(read.cells) + len(read.misfits) == len(records)
    for (item, _, record), cells in read.cells.items():
        found = read.raw(item, record)
        assert found is not None
        parsed = next(csv.reader(io.StringIO(found[1] + "\n", newline=""), skipinitialspace=True), []) or [""]
        assert [(c or "").strip() for c in cells] == [c.strip() for c in parsed][:width], found
    beyond = read.raw(0, len(records) + 1)
    assert beyond is None


ODD = ["\0", '"\0"', "\\", '"\\"', '"', '""', '"a""', "\xff", '"q" "r"', '" "" "', "x\ry", '"x\ry"', "\u2028"]


@st.composite
def odd_texts(draw: st.DrawFn, width: int) -> bytes:
    """A header, and behind it whatever people and broken programs write, perhaps cut off."""
    ends = st.sampled_from(["\n", "\r\n", "\r"])
    usual = draw(ends)
    end = draw(st.sampled_from([st.just(usual), st.just(usual), ends]))
    cell = st.sampled_from(CELLS + draw(st.sampled_from([[], BROKEN, ODD, BROKEN + ODD])))
    row = st.one_of(st.lists(cell, min_size=width, max_size=width), st.lists(cell, max_size=width + 1)).map(",".join)
    text = ",".join("abc"[:width]) + usual + "".join(r + draw(end) for r in draw(st.lists(row, max_size=6)))
    data = draw(st.sampled_from([b"", b"\xef\xbb\xbf"])) + text.encode().replace("\xff".encode(), b"\xff")
    return data[: draw(st.one_of(st.just(len(data)), st.integers(0, len(data))))]


def given_by(read: Read, item: int) -> object:
    rows = [(n, cells, read.raw(item, n)) for (i, _, n), cells in sorted(read.cells.items()) if i == item]
    return rows, told(read, item), [m.reason for m in read.misfits if m.item == item]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_what_a_file_gives_does_not_depend_on_its_company(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    width = data.draw(st.integers(1, 3))
    texts = data.draw(st.lists(odd_texts(width), min_size=1, max_size=3))
    reader = Reader(tmp_path_factory.mktemp("company"), threads=data.draw(st.sampled_from([1, 2])))
    spec = data.draw(st.sampled_from([CsvSpec(), CsvSpec(escape="\\"), CsvSpec(escape=""), CsvSpec(header=False)]))
    wanted = contract(*"abc"[:width], csv=spec)
    alone = {}
    for text in texts:
        try:
            alone[text] = given_by(reader.read(wanted, ("x.csv", text)), 0)
        except BadItem:
            continue  # dead, whatever came with it
    header, row = ",".join("abc"[:width]), ",".join("999"[:width])
    good = [f"{header}{end}{row}{end}".encode() for end in ("\n", "\r\n", "\r")]
    company = [*alone, *alone, *good * 5]
    together = reader.read(wanted, *((f"{n}.csv", text) for n, text in enumerate(company)))
    for n, text in enumerate(company[: 2 * len(alone)]):
        assert given_by(together, n) == alone[text], text

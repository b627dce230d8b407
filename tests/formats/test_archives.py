"""Packed files: what is inside loads like the same file unpacked, and what would explode is refused."""

import gzip
import io
import zipfile
from pathlib import Path

import pytest
import zstandard
from reading import Reader, contract, lines, zipped

from headrace.formats.archive import Limits, unpack
from headrace.formats.dialect import Dialect
from headrace.formats.rows import BadItem, Item
from headrace.model.errors import BadObject

CSV = b"a,b\n1,x\n2,y\nragged\n"


@pytest.mark.parametrize("packed", [("x.csv.gz", gzip.compress(CSV)), ("x.csv.zst", zstandard.compress(CSV))])
def test_a_packed_csv_reads_like_the_plain_one(reader: Reader, packed: tuple[str, bytes]) -> None:
    read = reader.read(contract("a", "b"), packed)
    assert read.rows == [("1", "x"), ("2", "y")]
    assert read.reasons == [(3, "1 cell where the header has 2")]
    assert read.raw(0, 2) == (3, "2,y")


def test_members_of_a_zip_count_their_own_records(reader: Reader) -> None:
    data = zipped({"b/y.csv": CSV, "x.csv": CSV, "z.ndjson": lines({"a": 1, "b": "n"}), "README": b"hello", "d/": b""})
    read = reader.read(contract("a", "b"), ("all.zip", data))
    places = {(0, "b/y.csv", 1), (0, "b/y.csv", 2), (0, "x.csv", 1), (0, "x.csv", 2), (0, "z.ndjson", 1)}
    assert set(read.cells) == places
    assert {(m.member, m.record, m.line) for m in read.misfits} == {("b/y.csv", 3, 4), ("x.csv", 3, 4)}
    assert read.raw(0, 2, "x.csv") == (3, "2,y")
    assert read.raw(0, 1, "z.ndjson") == (1, '{"a": 1, "b": "n"}')


def test_a_member_may_be_packed_once_more(reader: Reader) -> None:
    data = zipped({"x.csv.gz": gzip.compress(CSV), "d/X.CSV.ZST": zstandard.compress(CSV), "x.csv": CSV})
    read = reader.read(contract("a", "b"), ("all.zip", data))
    assert {member for _, member, _ in read.cells} == {"x.csv.gz", "d/X.CSV.ZST", "x.csv"}
    assert read.raw(0, 2, "x.csv.gz") == (3, "2,y")
    with pytest.raises(BadItem, match=r"HR402 all\.zip: compressed data is cut off"):
        reader.read(contract("a", "b"), ("all.zip", zipped({"x.csv.gz": gzip.compress(CSV)[:-3]})))


def test_members_that_are_not_read_are_kept_in_mind(reader: Reader) -> None:
    names = ("noext", "q.csv.part", "z.CSV.bak", "in.zip", "n.bin.gz")
    data = zipped({**dict.fromkeys(names, b"a,b\n5,e\n"), "x.csv": CSV, "y.ndjson": lines({"a": 1, "b": "n"})})
    read = reader.read(contract("a", "b"), ("all.zip", data))
    assert read.dialects[0].passed_over == names
    assert Dialect.from_dict(read.dialects[0].to_dict()) == read.dialects[0]
    only = r"HR404 x\.zip: holds no member of a known format, only 'noext', 'z\.bak'; known are"
    with pytest.raises(BadItem, match=only):
        reader.read(contract("a"), ("x.zip", zipped({"noext": b"", "z.bak": b""})))


def test_what_is_hidden_in_an_archive_is_no_data_as_it_is_outside(reader: Reader) -> None:
    hidden = (".hid.csv", "d/.hid.csv", ".git/x.csv", "__MACOSX/._x.csv", "d/._x.csv", ".DS_Store", "__MACOSX/x.csv")
    read = reader.read(contract("a", "b"), ("x.zip", zipped({**dict.fromkeys(hidden, CSV), "./x.csv": CSV, "d/": b""})))
    assert {member for _, member, _ in read.cells} == {"./x.csv"}
    assert read.dialects[0].passed_over == ()


def test_member_names_that_climb_out_are_only_names(reader: Reader, tmp_path: Path) -> None:
    read = reader.read(contract("a", "b"), ("x.zip", zipped({"../../evil.csv": CSV, "/etc/x.csv": CSV})))
    assert {member for _, member, _ in read.cells} == {"../../evil.csv", "/etc/x.csv"}
    assert not list(tmp_path.parent.rglob("evil.csv"))


@pytest.mark.parametrize("cut", [1, 10, -1, -8])
def test_a_truncated_gzip_is_dead(reader: Reader, cut: int) -> None:
    with pytest.raises(BadItem, match=r"HR402 x\.csv\.gz: compressed data is cut off or damaged") as failure:
        reader.read(contract("a", "b"), ("x.csv.gz", gzip.compress(CSV * 100)[:cut]))
    assert failure.value.index == 0


@pytest.mark.parametrize("cut", [5, 20, -1, -5])
def test_a_truncated_zstandard_file_is_dead(reader: Reader, cut: int) -> None:
    with pytest.raises(BadItem, match="HR402"):
        reader.read(contract("a", "b"), ("x.csv.zst", zstandard.compress(CSV * 100)[:cut]))


@pytest.mark.parametrize("name", ["x.csv.gz", "x.csv.zst", "x.ndjson.gz"])
def test_a_packed_file_without_a_byte_is_dead_and_one_that_holds_nothing_is_empty(reader: Reader, name: str) -> None:
    for key, data in ((name, b""), ("x.zip", zipped({name: b""}))):
        with pytest.raises(BadItem, match=r"HR402 .* is cut off or damaged \(it has no bytes\)"):
            reader.read(contract("a", "b"), (key, data))
    empty = zstandard.compress(b"") if name.endswith(".zst") else gzip.compress(b"")
    assert reader.read(contract("a", "b"), (name, empty)).rows == []
    assert reader.read(contract("a", "b"), ("x.csv", b"")).rows == []


def test_frames_one_after_another_are_one_file(reader: Reader) -> None:
    two = zstandard.compress(b"a,b\n1,x\n") + zstandard.compress(b"2,y\n")
    assert reader.read(contract("a", "b"), ("x.csv.zst", two)).rows == [("1", "x"), ("2", "y")]
    two = gzip.compress(b"a,b\n1,x\n") + gzip.compress(b"2,y\n")
    assert reader.read(contract("a", "b"), ("x.csv.gz", two)).rows == [("1", "x"), ("2", "y")]


def test_a_truncated_or_damaged_zip_is_dead(reader: Reader) -> None:
    data = zipped({"x.csv": CSV * 100})
    flipped = data[:60] + bytes([data[60] ^ 255]) + data[61:]
    for bad in (data[:-30], data[:40], flipped):
        with pytest.raises(BadItem, match="HR402"):
            reader.read(contract("a", "b"), ("x.zip", bad))


def test_bombs_are_refused_while_they_expand(tmp_path: Path) -> None:
    limits = Limits(ratio=10, free=1 << 20, total=1 << 30)
    zeros = bytes(4 << 20)
    for name, data in (
        ("x.csv.gz", gzip.compress(zeros)),
        ("x.csv.zst", zstandard.compress(zeros)),
        ("x.zip", zipped({"x.csv": zeros})),
        ("y.zip", zipped({"x.csv.gz": gzip.compress(zeros)})),
    ):
        path = tmp_path / "packed"
        path.write_bytes(data)
        with pytest.raises(BadObject, match=r"HR403 .* bytes expand to more than 1,048,576"):
            unpack(Item(0, name, path), tmp_path, limits)


def test_a_zip_that_is_encrypted_or_holds_nothing_known_is_dead(reader: Reader) -> None:
    with pytest.raises(BadItem, match=r"HR404 x\.zip: holds no member of a known format"):
        reader.read(contract("a"), ("x.zip", zipped({"readme": b"hi"})))
    with pytest.raises(BadItem, match=r"HR404 x\.zip: the name of its member 2 has more than 1,024 bytes"):
        reader.read(contract("a"), ("x.zip", zipped({"é" * 510 + ".csv": CSV, "é" * 511 + ".csv": CSV})))
    plain = zipped({"x.csv": CSV})
    local, central = plain.index(b"PK\3\4"), plain.index(b"PK\1\2")
    marked = bytearray(plain)
    marked[local + 6] |= 1
    marked[central + 8] |= 1
    with pytest.raises(BadItem, match=r"HR404 x\.zip!x\.csv: is encrypted"):
        reader.read(contract("a"), ("x.zip", bytes(marked)))


def test_a_zip_with_two_members_of_one_name_is_dead(reader: Reader) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        for name, text in (("x.csv", b"a\n1\n"), ("y.csv", b"a\n2\n"), ("x.csv", b"a\n3\n")):
            archive.writestr(name, text)
    with pytest.raises(BadItem, match=r"HR404 e\.zip: several members have one name, .*: 'x\.csv'; pack each"):
        reader.read(contract("a"), ("e.zip", out.getvalue()))


def test_too_many_members_are_refused(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for n in range(20):
            archive.writestr(f"{n}.csv", b"a\n")
    (tmp_path / "z").write_bytes(out.getvalue())
    with pytest.raises(BadObject, match="HR403"):
        unpack(Item(0, "x.zip", tmp_path / "z"), tmp_path, Limits(members=10))


def test_an_unknown_suffix_says_what_is_known(reader: Reader) -> None:
    for key in ("a/readme", "x.pdf", "x.pdf.gz"):
        with pytest.raises(BadItem, match=r"HR401 .*its suffix names no known format; known are \.csv"):
            reader.read(contract("a"), (key, gzip.compress(b"x")))

"""JSON and NDJSON: literals are kept, every byte is validated, a bad line costs a line and a bad document itself."""

import json
import random
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reading import Reader, contract, lines

from headrace.formats.rows import BadItem
from headrace.model.contract import Column, Type


def path(name: str, pointer: str) -> Column:
    return Column(name, Type("str"), path=pointer)


def test_values_become_text_and_numbers_keep_their_literal(reader: Reader) -> None:
    data = (
        b'[{"a": 1.10, "b": "x\\n\\u00e9\\ud83d\\ude00"}, {"a": -0, "b": null}, {"a": 1E5, "b": true},\n'
        b' {"a": 123456789012345678901234567890, "b": ""}, {"a": {"k": [1, 2.50]}, "b": "null"}, {"b": false}]'
    )
    read = reader.read(contract("a", "b"), ("x.json", data))
    assert read.rows == [
        ("1.10", "x\né😀"),
        ("-0", None),
        ("1E5", "true"),
        ("123456789012345678901234567890", ""),
        ('{"k": [1, 2.50]}', "null"),
        (None, "false"),
    ]
    assert read.raw(0, 4) == (2, '{"a": 123456789012345678901234567890, "b": ""}')


def test_keys_match_on_letters_and_digits_without_case(reader: Reader) -> None:
    read = reader.read(
        contract("site_id", "kwh"), ("x.json", b'{"siteId": "s", "k-W-h": 1}'), ("y.json", b'{"SITE ID": "t"}')
    )
    assert read.headers == [("site_id", "kwh")]
    assert read.rows == [("s", "1"), ("t", None)]


def test_pointers_reach_into_objects_and_arrays(reader: Reader) -> None:
    pipeline = contract(path("t", "/readings/0/temperature"), path("s", "/a~1b/m~0n"), path("top", "/top"), "plain")
    data = b'{"readings": [{"temperature": 1.50}], "a/b": {"m~n": "x"}, "top": 7, "plain": "p"}'
    read = reader.read(pipeline, ("x.json", data), ("y.json", b'{"readings": [], "a/b": 5}'))
    assert read.headers == [("/readings/0/temperature", "/a~1b/m~0n", "/top", "plain")]
    assert read.rows == [("1.50", "x", "7", "p"), (None, None, None, None)]


def test_a_root_leads_to_the_records(reader: Reader) -> None:
    data = b'{"meta": 1,\n "data": {"rows": [\n{"a": 1},\n{"a": 2, "x": "NaN"}]}}'
    read = reader.read(contract("a", root="/data/rows"), ("x.json", data))
    assert read.rows == [("1",), ("2",)]
    assert read.raw(0, 2) == (4, '{"a": 2, "x": "NaN"}')
    with pytest.raises(BadItem, match=r"HR412 x\.json: has nothing at its root /data/rows"):
        reader.read(contract("a", root="/data/rows"), ("x.json", b'{"data": []}'))


def test_unwanted_keys_are_kept_only_where_the_contract_asks(reader: Reader) -> None:
    data = b'[{"a": 1}, {"a": 2, "more": [1]}, {"a": 3, "less": "x"}]'
    assert reader.read(contract("a"), ("x.json", data)).headers == [("a",)]
    kept = reader.read(contract("a", extra="keep"), ("x.json", data))
    assert kept.headers == [("a", "more", "less")]
    assert kept.rows == [("1", None, None), ("2", "[1]", None), ("3", None, "x")]


@pytest.mark.parametrize(
    "bad", ["NaN", "Infinity", "-Infinity", "01", "1.", "'x'", "tru", '"\\x"', '"\\ud800"', '"\t"', ""]
)
def test_an_invalid_value_kills_a_document_and_costs_ndjson_one_line(reader: Reader, bad: str) -> None:
    with pytest.raises(BadItem, match=r"HR409 x\.json: is no valid JSON"):
        reader.read(contract("a"), ("x.json", f'[{{"a": 1}}, {{"a": {bad}}}]'.encode()))
    read = reader.read(contract("a"), ("x.ndjson", f'{{"a": 1}}\n{{"a": {bad}}}\n\n{{"a": 3}}\n'.encode()))
    assert read.cells == {(0, None, 1): ("1",), (0, None, 3): ("3",)}
    assert [(m.record, m.line, m.raw) for m in read.misfits] == [(2, 2, f'{{"a": {bad}}}')]
    assert "is no valid JSON" in read.misfits[0].reason


@pytest.mark.parametrize("data", [b'[{"a": 1}', b'{"a": 1}}', b'[{"a": 1},]', b'"text"', b"5", b"[", b"{", b'{"a"'])
def test_a_truncated_or_other_document_is_dead(reader: Reader, data: bytes) -> None:
    with pytest.raises(BadItem, match="HR409"):
        reader.read(contract("a"), ("x.json", data))


@pytest.mark.parametrize(
    "record",
    [
        '{"a": 1, "a": 2}',
        '{"a":1,"a":1}',
        '{"a" :1,"a":2}',
        '{"a": {"k": 1, "k": 2}}',
        '{"a": 1, "x": 0, "\\u0061": 3}',
    ],
)
def test_a_record_with_a_doubled_key_is_rejected(reader: Reader, record: str) -> None:
    for key, data in (("x.json", f'[{{"a": 0}},\n{record}]'), ("x.ndjson", f'{{"a": 0}}\n{record}\n')):
        read = reader.read(contract("a"), (key, data.encode()))
        assert read.cells == {(0, None, 1): ("0",)}
        assert [(m.record, m.line, m.raw) for m in read.misfits] == [(2, 2, record)]
        assert "stands twice in one object" in read.misfits[0].reason


def test_two_keys_for_one_column_are_a_misfit(reader: Reader) -> None:
    read = reader.read(contract("site_id"), ("x.json", b'[{"site_id": 1, "SiteID": 2}, {"site_id": 3}]'))
    assert read.cells == {(0, None, 2): ("3",)}
    assert "both fit column 'site_id'" in read.misfits[0].reason


def test_what_is_no_object_is_a_misfit(reader: Reader) -> None:
    read = reader.read(contract("a"), ("x.json", b'[{"a": 1}, 5, null, [1], {"a": 2}]'))
    assert read.cells == {(0, None, 1): ("1",), (0, None, 5): ("2",)}
    assert [m.raw for m in read.misfits] == ["5", "null", "[1]"]


@pytest.mark.parametrize("depth", [2_000, 100_000, 2_000_000])
def test_json_100000_deep_is_refused_and_crashes_nothing(reader: Reader, depth: int) -> None:
    for data in (b"[" * depth + b"]" * depth, b'[{"a":' + b'{"a":' * depth + b"1" + b"}" * depth + b"}]"):
        with pytest.raises(BadItem, match=r"HR410 x\.json: is nested too deep"):
            reader.read(contract("a"), ("x.json", data))
    line = b'{"a":' + b"[" * depth + b"]" * depth + b"}\n"
    read = reader.read(contract("a"), ("x.ndjson", b'{"a": 1}\n' + line))
    assert (read.rows, read.reasons) == ([("1",)], [(2, "is nested too deep")])


def test_ndjson_under_the_name_of_json_is_noticed(reader: Reader) -> None:
    read = reader.read(contract("a"), ("x.json", lines({"a": 1}, {"a": 2})))
    assert read.rows == [("1",), ("2",)]
    assert read.dialects[0].kind == "ndjson"
    one = reader.read(contract("a"), ("x.json", lines({"a": 1})))
    assert (one.rows, one.dialects[0].kind) == ([("1",)], "json")


def test_bytes_that_are_no_utf_8(reader: Reader) -> None:
    with pytest.raises(BadItem, match="HR405"):
        reader.read(contract("a"), ("x.json", b'[{"a": "\xff"}]'))
    read = reader.read(contract("a"), ("x.ndjson", b'{"a": "\xff"}\n{"a": "\xc3\xa9"}\n'))
    assert (read.rows, read.reasons) == ([("é",)], [(1, "holds bytes that are no UTF-8")])
    assert reader.read(contract("a"), ("x.json", '[{"a": "é"}]'.encode("utf-16"))).rows == [("é",)]
    assert reader.read(contract("a"), ("x.json", b'\xef\xbb\xbf[{"a": 1}]')).rows == [("1",)]


def test_lines_that_would_only_be_valid_together_are_each_rejected(reader: Reader) -> None:
    data = b'{"a":[{}\n{}]}\n{"a":1},{"a":2}\n{"a":3}\n'
    read = reader.read(contract("a"), ("x.ndjson", data))
    assert read.cells == {(0, None, 4): ("3",)}
    assert [m.record for m in read.misfits] == [1, 2, 3]


def test_large_ndjson_goes_through_scratch_and_keeps_its_places(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headrace.formats.json.LARGE", 1000)
    monkeypatch.setattr("headrace.formats.json.FLUSH", 100)
    monkeypatch.setattr("headrace.formats.json.BLOCK", 512)
    records = [{"a": n, "b": f"t{n}"} | ({"c": n} if n % 300 == 0 else {}) for n in range(1000)]
    read = reader.read(contract("a", "b", extra="keep"), ("x.ndjson", lines(*records) + b"{bad\n"))
    assert read.headers == [("a", "b", "c")]
    assert [cells[0] for cells in read.rows] == [str(n) for n in range(1000)]
    assert read.raw(0, 777) == (777, '{"a": 776, "b": "t776"}')
    assert [m.record for m in read.misfits] == [1001]


VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text())
RECORDS = st.lists(st.dictionaries(st.sampled_from(["a", "b", "c d"]), VALUES), max_size=6)


def _text(value: object) -> str | None:
    match value:
        case None:
            return None
        case str():
            return value
        case _:
            return json.dumps(value)


@settings(max_examples=150, deadline=None)
@given(batches=st.lists(RECORDS, min_size=1, max_size=4), ascii_only=st.booleans(), indent=st.sampled_from([None, 1]))
def test_the_fast_way_and_the_careful_way_agree_with_the_standard_library(
    tmp_path_factory: pytest.TempPathFactory,
    batches: list[list[dict[str, object]]],
    ascii_only: bool,
    indent: int | None,
) -> None:
    reader = Reader(tmp_path_factory.mktemp("json"))
    files = [
        (f"{i}.json", json.dumps(batch, ensure_ascii=ascii_only, indent=indent).encode("utf-8", "surrogatepass"))
        for i, batch in enumerate(batches)
    ]
    read = reader.read(contract("a", "c_d"), *files)
    expected = {
        (i, None, n): (_text(r.get("a")), _text(r.get("c d")))
        for i, batch in enumerate(batches)
        for n, r in enumerate(batch, 1)
    }
    assert read.cells == expected
    for (item, _, n), _cells in expected.items():
        found = read.raw(item, n)
        assert found is not None
        assert json.loads(found[1], parse_float=Decimal) == json.loads(
            json.dumps(batches[item][n - 1]), parse_float=Decimal
        )


def test_random_bytes_never_crash(reader: Reader) -> None:
    rng = random.Random(4)
    for _ in range(200):
        data = bytes(rng.choice(b'{}[]",:a1\\ \n\xc3') for _ in range(rng.randint(0, 40)))
        reader.read(contract("a"), ("x.ndjson", data))
        try:
            reader.read(contract("a"), ("x.json", data))
        except BadItem as exc:
            assert exc.code in ("HR405", "HR409", "HR410")


@pytest.mark.parametrize("blank", [b"\x0b", b"\x0c", b"\xa0"])
def test_only_what_json_calls_blank_may_stand_around_a_document(reader: Reader, blank: bytes) -> None:
    with pytest.raises(BadItem):
        reader.read(contract("a"), ("x.json", blank + b'{"a": 1}'), ("y.json", b'{"a": 2}'))


def test_a_key_that_a_column_names_exactly_is_meant_among_others_that_fit(reader: Reader) -> None:
    named = Column("amount", Type("str"), headers=("amount",))
    data = lines({"Amount": 1, "amount": 2})
    assert reader.read(contract(named), ("x.ndjson", data)).rows == [("2",)]
    assert len(reader.read(contract("amount"), ("x.ndjson", data)).misfits) == 1


def test_keys_that_differ_in_case_alone_are_two_columns(reader: Reader) -> None:
    read = reader.read(contract("id", extra="keep"), ("x.ndjson", lines({"id": 1, "A": 2, "a": 3, "_record": 4})))
    assert read.headers == [("id", "A", "a", "_record")] and read.rows == [("1", "2", "3", "4")]

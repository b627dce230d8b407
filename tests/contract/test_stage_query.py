"""What a row becomes: values, defaults, computed columns, checks, rules, limits, and the reasons of rejected rows."""

from __future__ import annotations

import hashlib
import uuid
from datetime import datetime
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from staging import connect, contract_of, stage

from headrace import BadObject, Csv, Pipeline, Record, column, derived, files, flag, keyed, lake, reject, skip
from headrace.contract.compile import compile_contract
from headrace.contract.query import columns_of, stage_query


class Sale(Record, key="id", extra="keep"):
    id: str
    item: str = column("Stock Code", "Item")
    note: str = "UNKNOWN"
    quantity: int = column(ge=1)
    price: Decimal | None = column(digits=(10, 2), lt=100, default=None)
    total: Decimal | None = derived("quantity * price", digits=(18, 2))
    label: str = derived("item || ':' || id")


def test_a_row_has_its_values_defaults_and_computed_columns() -> None:
    staged = stage(contract_of(Sale), ["ID", "stock_code", "Quantity", "PRICE"], [["a", "s", "2", "1.5"]])
    assert staged.rows == [
        {
            "id": "a",
            "item": "s",
            "note": "UNKNOWN",
            "quantity": 2,
            "price": Decimal("1.50"),
            "total": Decimal("3.00"),
            "label": "s:a",
            "_rescued": None,
        }
    ]


def test_a_rejected_row_tells_its_first_failure_and_all_of_them() -> None:
    headers = ["id", "item", "quantity", "price"]
    staged = stage(contract_of(Sale), headers, [["", "s", "0", "12.999"], ["a", "s", "1.5", "100"]])
    first, second = staged.rejected
    assert (first["rule"], first["column"], first["value"]) == ("required", "id", "")
    assert first["reason"].startswith("id: missing; price: not a decimal number of at most 8 digits before and 2 after")
    assert "quantity: is not >= 1" in first["reason"]
    assert (second["rule"], second["column"], second["value"]) == ("cast", "quantity", "1.5")
    assert "price: is not < 100" in second["reason"]


def test_headers_that_no_column_wants_are_kept_in_a_json_object() -> None:
    staged = stage(contract_of(Sale), ["x", "id", "item", "quantity", "y'"], [['"', "a", "s", "1", None]])
    assert staged.accepted[0]["_rescued"] == '{"x":"\\"","y\'":null}'


def test_the_first_of_the_named_headers_wins_and_the_other_is_left_over() -> None:
    staged = stage(contract_of(Sale), ["id", "Item", "Stock Code", "quantity"], [["a", "i", "s", "1"]])
    assert staged.accepted[0]["item"] == "s"
    assert staged.accepted[0]["_rescued"] == '{"Item":"i"}'


class Plain(Record):
    alpha_beta: str
    gamma: str | None = None


@pytest.mark.parametrize(
    ("headers", "extra", "code", "words"),
    [
        (["gamma", "alpha_bta"], "ignore", "HR451", "did you mean 'alpha_bta'?"),
        ([], "ignore", "HR451", "no header for 'alpha_beta'"),
        (["Alpha Beta", "ALPHA-BETA"], "ignore", "HR452", "fits 2 headers: 'Alpha Beta', 'ALPHA-BETA'"),
        (["Alpha_Beta", "alpha_beta"], "ignore", "HR452", "fits 2 headers: 'Alpha_Beta', 'alpha_beta'"),
        (["Alpha Beta", "delta"], "reject", "HR453", "headers that no column wants: 'delta'"),
    ],
)
def test_headers_that_do_not_fit_fail_the_file(headers: list[str], extra: str, code: str, words: str) -> None:
    class Strict(Plain, extra=extra):  # type: ignore[call-arg]
        pass

    with pytest.raises(BadObject) as caught:
        stage_query(contract_of(Strict), headers, "text", [])
    assert caught.value.code == code
    assert words in str(caught.value)


def test_without_a_header_columns_bind_in_order() -> None:
    source = files("in/", csv=Csv(header=False))
    contract = compile_contract(Pipeline("p", source=source, record=Plain, sinks=[lake("t")]))
    assert stage(contract, ["column_1", "column_2"], [["a", "g"]]).accepted == [{"alpha_beta": "a", "gamma": "g"}]
    assert stage(contract, ["column_1"], [["a"]]).accepted == [{"alpha_beta": "a", "gamma": None}]


class Pointed(Record):
    temperature: float | None = column(path="/readings/temperature", default=None)
    device: str


def test_json_columns_bind_by_their_path() -> None:
    staged = stage(contract_of(Pointed), ["/readings/temperature", "device"], [["21.5", "d"]])
    assert staged.accepted == [{"temperature": 21.5, "device": "d"}]


class Marked(Record, null=("", "NA", "-999")):
    a: str | None
    b: int | None
    c: int = 7


def test_texts_that_mean_null_are_null_before_anything_else() -> None:
    staged = stage(contract_of(Marked), ["a", "b", "c"], [["NA", "-999", ""], ["na", "5", "NA"], ["x", "N", "1"]])
    assert staged.accepted == [{"a": None, "b": None, "c": 7}, {"a": "na", "b": 5, "c": 7}]
    assert staged.reasons == ["b: not a whole number of 64 bits"]


class Empty(Record, null=()):
    a: str


def test_an_empty_text_is_a_value_where_no_text_means_null() -> None:
    staged = stage(contract_of(Empty), ["a"], [[""], [None]])
    assert staged.rows == [{"a": ""}, None]


class Computing(Record):
    n: int
    above: int = derived("9223372036854775805 + n")
    maybe: int | None = derived("case when n < 0 then cast('x' as integer) + n end")
    twice: float = derived("above * 2.0")


def test_sql_that_fails_on_a_row_rejects_that_row_and_no_other() -> None:
    staged = stage(contract_of(Computing), ["n"], [["1"], ["3"], ["-2"], ["2"]])
    assert [row is not None for row in staged.rows] == [True, False, False, True]
    assert [(r["n"], r["rule"], r["column"]) for r in staged.rejected] == [
        (1, "derived", "above"),
        (2, "derived", "maybe"),
    ]
    assert "its SQL fails on this row" in staged.rejected[0]["reason"]


def test_rules_reject_skip_and_flag_and_null_does_not_fire() -> None:
    class Row(Record):
        x: int | None

    rules = [
        flag("large", "x > 10"),
        reject("too_large", "large and x > 100"),
        skip("odd", "x % 2 = 1"),
        reject("fails", "x = 8 and 9223372036854775807 + x > 0"),
    ]
    cells = [["2"], ["3"], ["12"], ["102"], [None], ["103"], ["8"]]
    staged = stage(contract_of(Row, rules=rules), ["x"], cells)
    assert staged.accepted == [{"x": 2, "large": False}, {"x": 12, "large": True}, {"x": None, "large": False}]
    assert staged.filtered == 1
    assert [(r["n"], r["rule"]) for r in staged.rejected] == [(3, "too_large"), (5, "too_large"), (6, "fails")]


class Checked(Record):
    name: str = column(pattern="^[a-z]+$", min_length=2, max_length=4)
    ratio: float | None = column(check="ratio between 0 and 1 or name = 'free'")
    when: datetime | None = column(ge=datetime(2020, 1, 1), default=None)


def test_checks_hold_for_true_and_null() -> None:
    headers = ["name", "ratio", "when"]
    cells = [
        ["ab", "", ""],
        ["a", "", ""],
        ["abcde", "", ""],
        ["AB", "", ""],
        ["ab", "1.5", ""],
        ["free", "1.5", ""],
        ["ab", "", "2019-12-31 23:59:59"],
        ["ab", "nan", "2020-01-01"],
    ]
    staged = stage(contract_of(Checked), headers, cells)
    assert [r["rule"] for r in staged.rejected] == ["min_length", "max_length", "pattern", "check", "ge", "check"]
    assert len(staged.accepted) == 2


class Hashed(Record):
    id: str = column(default_sql="row_hash()")
    a: str | None
    b: int | None = None
    uid: uuid.UUID = column(default_sql="row_hash()")


def test_a_missing_id_is_computed_and_a_given_one_kept() -> None:
    cells: list[list[str | None]] = [["mine", "x", "1"], [None, "x", "1"], ["", "x", "1"]]
    staged = stage(contract_of(Hashed), ["id", "a", "b"], cells)
    ids = [row["id"] for row in staged.accepted]
    assert ids[0] == "mine" and ids[1] == ids[2] and len(ids[1]) == 32
    # id, a, b, uid joined by U+001F: the text form is MD5's digits, the UUID form has its bytes reversed
    digest = hashlib.md5("\x1f".join(["", "x", "1", ""]).encode()).digest()
    assert ids[1] == digest.hex()
    assert staged.accepted[1]["uid"] == uuid.UUID(bytes=digest[::-1])


class Prefixed(Record):
    a: str
    id: str = derived("cast(a as integer) || '-' || row_hash()")


def test_an_expression_around_a_row_hash_is_held_to_its_word_too() -> None:
    staged = stage(contract_of(Prefixed), ["a"], [["5"], ["x"]])
    assert staged.accepted == [{"a": "5", "id": "5-" + hashlib.md5(b"5").hexdigest()}]
    assert (staged.rejected[0]["rule"], staged.rejected[0]["column"]) == ("derived", "id")


class Three(Record):
    a: str | None = None
    b: str | None = None
    c: str | None = None
    h: str = derived("row_hash()")


class ThreeKept(Three, null=()):
    pass


PLAIN = st.one_of(st.none(), st.text(",|01a", max_size=4))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(PLAIN, PLAIN, PLAIN), min_size=1, max_size=40))
def test_a_hash_is_the_same_whether_cells_are_known_to_be_plain_or_not(rows: list[tuple[str | None, ...]]) -> None:
    for record in (Three, ThreeKept):
        found = [stage(contract_of(record), ["a", "b", "c"], rows, plain=plain).accepted for plain in (True, False)]
        assert found[0] == found[1]


CELL = st.one_of(st.none(), st.text("\x1f\x1e,|01a", max_size=4))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(CELL, CELL, CELL), min_size=2, max_size=60))
def test_different_cells_have_different_hashes(rows: list[tuple[str | None, ...]]) -> None:
    cells = [list(row) for row in rows]
    for record, plain in ((Three, lambda c: c or None), (ThreeKept, lambda c: c)):
        hashes = [row["h"] for row in stage(contract_of(record), ["a", "b", "c"], cells).accepted]
        said = [tuple(plain(c) for c in row) for row in rows]
        assert len(set(hashes)) == len(set(said))


def test_an_absent_column_hashes_as_a_null_one() -> None:
    contract = contract_of(Three)
    whole = stage(contract, ["a", "b", "c"], [["x", None, None]]).accepted
    part = stage(contract, ["a"], [["x"]]).accepted
    assert whole == part


class Item(Record, key=("pk", "sk")):
    pk: str
    sk: str | None
    body: str | None = None
    weight: float | None = None


def test_limits_of_a_keyed_sink_reject_rows_whatever_the_sinks() -> None:
    contract = contract_of(Item, sinks=[lake("t"), keyed("k")])
    headers = ["pk", "sk", "body", "weight"]
    cells: list[list[str | None]] = [
        ["p", "s", "b", "1"],
        ["p", "", "b", "1"],
        ["é" * 1025, "s", "b", None],
        ["p", "s" * 1025, "b", None],
        ["p", "s", "b" * 409_600, None],
        ["p", "s", "b" * 390_000, None],
        ["p", "s", "b", "nan"],
    ]
    staged = stage(contract, headers, cells)
    assert [(r["n"], r["rule"]) for r in staged.rejected] == [
        (1, "key"),
        (2, "key"),
        (3, "key"),
        (4, "size"),
        (6, "number"),
    ]
    assert stage(contract_of(Item), headers, cells[1:2]).rejected == []


class Kept(Record, key="pk", extra="keep"):
    pk: str


def test_headers_that_are_kept_count_for_the_size_of_a_row() -> None:
    contract = contract_of(Kept, sinks=[keyed("k")])
    staged = stage(contract, ["pk", "left"], [["p", "x" * 200_000], ["p", '"' * 250_000]])
    assert [(r["n"], r["rule"]) for r in staged.rejected] == [(1, "size")]
    assert staged.accepted[0]["_rescued"] == '{"left":"' + "x" * 200_000 + '"}'


def test_more_failures_than_one_word_has_bits() -> None:
    names = [f"c{i}" for i in range(150)]
    wide = type("Wide", (Record,), {"__annotations__": dict.fromkeys(names, int)})
    good, bad = ["1"] * 150, ["x"] * 150
    last = [*["1"] * 149, "x"]
    staged = stage(contract_of(wide), names, [good, last, bad])
    assert [(r["n"], r["column"], r["value"]) for r in staged.rejected] == [(1, "c149", "x"), (2, "c0", "x")]
    assert staged.rejected[1]["reason"].count(";") == 149


def test_lineage_columns_are_visible_to_expressions() -> None:
    class Traced(Record):
        a: str
        origin: str = derived("_source_file || '#' || a")

    relation = "(SELECT 'x' AS _t0, 'f.csv' AS _source_file)"
    query = stage_query(contract_of(Traced), ["a"], relation, ["_source_file"])
    with connect() as connection:
        unseen = stage_query(contract_of(Traced), ["a"], relation, [])
        assert connection.execute(f"SELECT origin FROM ({unseen.select})").fetchall() == [("f.csv#x",)]
        assert connection.execute(f"SELECT origin, _source_file FROM ({query.select})").fetchall() == [
            ("f.csv#x", "f.csv")
        ]


def test_the_columns_of_a_row_are_those_of_the_contract() -> None:
    contract = contract_of(Sale, rules=[flag("odd", "quantity % 2 = 1")])
    query = stage_query(contract, ["id", "item", "quantity"], "(SELECT '' AS _t0, '' AS _t1, '' AS _t2)", [])
    with connect() as connection:
        described = connection.execute(f"DESCRIBE {query.select}").fetchall()
    assert tuple(row[0] for row in described) == query.names
    assert [(row[0], row[1]) for row in described][:-3] == list(columns_of(contract)) == list(query.columns)
    assert [(row[0], row[1]) for row in described][-3:] == [
        ("_bad", "UBIGINT"),
        ("_filtered", "BOOLEAN"),
        ("_cells", "VARCHAR[]"),
    ]


def test_cells_are_kept_for_rejected_rows_alone() -> None:
    query = stage_query(contract_of(Plain), ["gamma", "AlphaBeta"], "(VALUES ('g', 'a'), ('h', NULL)) t(_t0, _t1)", [])
    with connect() as connection:
        assert connection.execute(f"SELECT _cells FROM ({query.select})").fetchall() == [(None,), (["h", None],)]


def test_each_cast_is_evaluated_once() -> None:
    query = stage_query(contract_of(Sale), ["id", "item", "quantity"], "text", [])
    with connect() as connection:
        connection.execute("CREATE TABLE text (_t0 VARCHAR, _t1 VARCHAR, _t2 VARCHAR)")
        plan = connection.execute(f"EXPLAIN (FORMAT json) {query.select}").fetchall()[0][1]
    assert query.select.count("TRY_CAST(") == 1
    assert plan.count('"PROJECTION"') == query.select.count("SELECT")  # merging levels would repeat their work

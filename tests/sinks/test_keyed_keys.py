"""A key is encoded alike by DuckDB and by Python, and the order of its text is the order of its values."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.model.errors import DefinitionError, UsageError
from headrace.sinks.keyed import Part, alone, alone_sql, escaped, key_of

TEXT = st.text(st.characters(codec="utf-8"), max_size=12) | st.text("\x00\x01\x02\x03 #ab", max_size=6)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "VARCHAR": TEXT,
    "BIGINT": st.integers(-(2**63), 2**63 - 1) | st.integers(-20, 20),
    "DOUBLE": st.floats(allow_nan=False) | st.sampled_from([0.0, -0.0, 1.5, -1.5]),
    "BOOLEAN": st.booleans(),
    "DATE": st.dates(),
    "TIMESTAMP": st.datetimes(),
    "TIMESTAMPTZ": st.datetimes(timezones=st.just(UTC)),
    "UUID": st.uuids(),
    "DECIMAL(18,4)": st.decimals(-(10**13), 10**13, places=4),
    "DECIMAL(38,0)": st.integers(-(10**38) + 1, 10**38 - 1).map(Decimal),
    "DECIMAL(4,4)": st.decimals("-0.9999", "0.9999", places=4),
}


@pytest.fixture(scope="module")
def database() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'Asia/Tokyo'")  # the session's zone must not matter
    return connection


def _literal(value: Any, kind: str) -> str:
    """`value` as SQL text: strings by code points, so that nothing is lost on the way."""
    if isinstance(value, str) and value.isalnum():
        return f"'{value}'"
    if isinstance(value, str):
        return " || ".join(["''", *(f"chr({ord(c)})" for c in value)])
    if isinstance(value, float):
        return f"'{value!r}'::DOUBLE"
    return f"'{value}'::{kind}"


def _ask(database: duckdb.DuckDBPyConnection, sql: str, **columns: tuple[Any, str]) -> Any:
    row = ", ".join(f'{_literal(v, t)} AS "{n}"' for n, (v, t) in columns.items())
    found = database.execute(f"SELECT {sql} FROM (SELECT {row})").fetchone()
    assert found is not None
    return found[0]


@pytest.mark.parametrize("kind", VALUES)
def test_sql_and_python_encode_a_lone_key_column_alike(kind: str, database: duckdb.DuckDBPyConnection) -> None:
    part = Part("k", kind)

    @settings(max_examples=60, deadline=None)
    @given(VALUES[kind])
    def check(value: Any) -> None:
        assert _ask(database, alone_sql(part), k=(value, kind)) == alone(part, value)

    check()


@pytest.mark.parametrize("kind", VALUES)
def test_sql_and_python_encode_a_joined_sort_key_alike(kind: str, database: duckdb.DuckDBPyConnection) -> None:
    key = key_of(("p", "a", "b"), (("p", "VARCHAR"), ("a", kind), ("b", "VARCHAR")))

    @settings(max_examples=40, deadline=None)
    @given(VALUES[kind], TEXT)
    def check(first: Any, second: str) -> None:
        sql = key.sort_sql()
        assert sql is not None
        found = _ask(database, sql, a=(first, kind), b=(second, "VARCHAR"))
        assert found == key.encode_sort((first, second))

    check()


@pytest.mark.parametrize("kind", VALUES)
def test_joined_text_sorts_as_the_values_do(kind: str) -> None:
    key = key_of(("p", "a", "b"), (("p", "VARCHAR"), ("a", kind), ("b", "BIGINT")))
    pair = st.tuples(VALUES[kind], VALUES["BIGINT"])

    @settings(max_examples=200)
    @given(pair, pair)
    def check(one: tuple[Any, int], other: tuple[Any, int]) -> None:
        first, second = str(key.encode_sort(one)).encode(), str(key.encode_sort(other)).encode()
        assert (first < second) == (_order(one) < _order(other))
        assert (first == second) == (_order(one) == _order(other))

    check()


def _order(pair: tuple[Any, int]) -> tuple[Any, int]:
    """Text compares by bytes, UUIDs by their digits."""
    first = pair[0]
    return (first.encode() if isinstance(first, str) else first, pair[1])


@pytest.mark.parametrize("kind", [k for k in VALUES if k not in ("BIGINT", "BOOLEAN", "VARCHAR")])
def test_lone_text_sorts_as_the_values_do(kind: str) -> None:
    @settings(max_examples=100)
    @given(VALUES[kind], VALUES[kind])
    def check(one: Any, other: Any) -> None:
        assert (str(alone(Part("k", kind), one)) < str(alone(Part("k", kind), other))) == (one < other)

    check()


def test_a_part_that_is_the_beginning_of_another_sorts_first() -> None:
    key = key_of(("p", "a", "b"), (("p", "VARCHAR"), ("a", "VARCHAR"), ("b", "VARCHAR")))
    pairs = [("a", "z"), ("a\x00", "a"), ("a\x01", "a"), ("a\x02", "a"), ("a\t", "a"), ("a b", "a"), ("ab", "a")]
    encoded = [str(key.encode_sort(p)) for p in pairs]
    assert encoded == sorted(encoded)


def test_text_is_read_as_the_column_it_stands_for() -> None:
    assert alone(Part("k", "BIGINT"), "42") == 42
    assert alone(Part("k", "TIMESTAMPTZ"), "2025-01-01T02:00:00+01:00") == "2025-01-01T01:00:00.000000Z"
    assert alone(Part("k", "TIMESTAMPTZ"), "2025-01-01") == "2025-01-01T00:00:00.000000Z"
    assert alone(Part("k", "DATE"), date(2025, 1, 2)) == "2025-01-02"
    assert alone(Part("k", "TIMESTAMP"), datetime(2025, 1, 2)) == "2025-01-02T00:00:00.000000"
    assert escaped("a\x01") == "a\x02\x04"


@pytest.mark.parametrize(
    ("kind", "value"),
    [("BIGINT", 1.5), ("BIGINT", "x"), ("DATE", "x"), ("DECIMAL(4,2)", "1.234"), ("UUID", "x"), ("BOOLEAN", "x"),
     ("TIMESTAMP", "2025-01-01T00:00:00+01:00"), ("VARCHAR", 7)],
)  # fmt: skip
def test_a_value_that_no_row_can_hold_is_refused(kind: str, value: Any) -> None:
    with pytest.raises(UsageError, match="HR722"):
        alone(Part("k", kind), value)


def test_a_key_must_name_columns() -> None:
    with pytest.raises(DefinitionError, match="HR203"):
        key_of((), (("a", "VARCHAR"),))
    with pytest.raises(DefinitionError, match="'b' is not a column"):
        key_of(("b",), (("a", "VARCHAR"),))

"""What the values of a file say about their columns: the facts behind `headrace init --from`.

Looks at every row, never at a sample: a guess that fails on row 67,349 is worse than none. Knows no Python source.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import duckdb

from headrace.model.formats import strptime_pattern

DATE_FORMATS = ("DD/MM/YYYY", "MM/DD/YYYY", "DD-MM-YYYY", "DD.MM.YYYY", "YYYY/MM/DD", "DD MMM YYYY", "DD-MMM-YYYY")
TIME_FORMATS = tuple(f"{d} {t}" for d in DATE_FORMATS[:5] for t in ("HH:mm", "HH:mm:ss"))

_INT = r"[+-]?(0|[1-9]\d{0,17})(\.0+)?"
_FLOAT = r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?"
_UUID = r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
_DATE = r"\d{4}-\d{2}-\d{2}"
_TIME = r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?"
_COMMA = r"[+-]?\d{1,3}(\.?\d{3})*,\d+"
_ZONED = _TIME + r"(Z|[+-]\d{2}:?\d{2})"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What all values of one column are like. `low` and `high` are in the order of the guessed kind, as text.

    `kind` is str, int, float, bool, date, datetime, uuid, dict or list; `format` how times are written if not ISO;
    `zoned` says that every time carries an offset; `doubt` names what else the values could be.
    """

    header: str
    kind: str
    rows: int
    empty: int
    distinct: int
    low: str
    high: str
    format: str | None = None
    zoned: bool = False
    decimals: int = 0
    doubt: str = ""


def gather(connection: duckdb.DuckDBPyConnection, table: str, header: str) -> Evidence:
    """Evidence of one text column of `table`; NULL and '' count as empty."""
    column = quote(header)
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE values_of AS SELECT {column} AS v, count(*) AS n FROM {table} GROUP BY 1"
    )
    rows, empty, distinct = _one(
        connection,
        "SELECT coalesce(sum(n), 0)::BIGINT, coalesce(sum(n) FILTER (v IS NULL OR v = ''), 0)::BIGINT,"
        " count(*) FILTER (v <> '') FROM values_of",
    )
    connection.execute("DELETE FROM values_of WHERE v IS NULL OR v = ''")
    if not distinct:
        return Evidence(header, "str", rows, empty, 0, "", "", doubt="always empty")
    kind, cast, fmt, doubt = _kind(connection)
    low, high = _one(connection, f"SELECT min_by(v, {cast}), max_by(v, {cast}) FROM values_of")
    decimals = 0
    if kind == "float":
        (decimals,) = _one(
            connection,
            "SELECT CASE WHEN bool_or(v ILIKE '%e%') THEN 0 ELSE max(length(regexp_extract(v, '\\.(\\d+)', 1))) END"
            " FROM values_of",
        )
    if kind in ("dict", "list") and rows == 1:
        doubt = _rows_inside(header, low)
    zoned = kind == "datetime" and _all(connection, _matches(_ZONED))
    return Evidence(header, kind, rows, empty, distinct, low, high, fmt, zoned, decimals, doubt)


def _kind(connection: duckdb.DuckDBPyConnection) -> tuple[str, str, str | None, str]:
    """(kind, expression that orders the values, format, doubt) of the values at hand."""
    ladder = (
        ("int", _matches(_INT), "v::DOUBLE"),
        ("float", f"{_matches(_FLOAT)} AND isfinite(TRY_CAST(v AS DOUBLE))", "v::DOUBLE"),
        ("bool", "lower(v) IN ('true', 'false')", "v"),
        ("uuid", _matches(_UUID), "v"),
        ("date", f"{_matches(_DATE)} AND TRY_CAST(v AS DATE) IS NOT NULL", "v"),
        ("datetime", f"{_matches(_TIME)} AND TRY_CAST(v AS TIMESTAMP) IS NOT NULL", "v"),
        ("datetime", f"{_matches(_ZONED)} AND TRY_CAST(v AS TIMESTAMPTZ) IS NOT NULL", "v::TIMESTAMPTZ"),
        ("dict", "v LIKE '{%' AND json_valid(v)", "v"),
        ("list", "v LIKE '[%' AND json_valid(v)", "v"),
    )
    for kind, test, order in ladder:
        if _all(connection, test):
            return kind, order, None, ""
    for kind, formats in (("date", DATE_FORMATS), ("datetime", TIME_FORMATS)):
        patterns = {f: strptime_pattern(f, time=kind == "datetime") for f in formats}
        fits = [f for f in formats if _all(connection, f"try_strptime(v, '{patterns[f]}') IS NOT NULL")]
        if len(fits) == 1:
            return kind, f"strptime(v, '{patterns[fits[0]]}')", fits[0], ""
        if fits:
            return "str", "v", None, f"a {kind}, but every value fits {' and '.join(fits)}: say which with format="
    return "str", "v", None, _nearly(connection)


def _nearly(connection: duckdb.DuckDBPyConnection) -> str:
    """A word on a column that almost is a number: how many values are not, and one of them."""
    if _all(connection, _matches(_COMMA)):
        return "numbers with a decimal comma: derive one with replace(…, ',', '.')::DOUBLE"
    misfits, total, example = _one(
        connection,
        f"SELECT coalesce(sum(n) FILTER (NOT {_matches(_FLOAT)}), 0)::BIGINT, sum(n)::BIGINT,"
        f" min(v) FILTER (NOT {_matches(_FLOAT)}) FROM values_of",
    )
    if 0 < misfits <= total // 10:
        return f"{misfits:,} of {total:,} values are no numbers, e.g. {example[:40]!r}"
    return "numbers with leading zeros or beyond 18 digits" if not misfits else ""


def _rows_inside(header: str, text: str) -> str:
    """A word on the list of objects that a document's only record holds: most likely those are meant to be the rows."""

    def pointer(value: Any, path: str, depth: int) -> str | None:
        if isinstance(value, list) and value and all(isinstance(x, dict) for x in value):
            return path
        inside = value.items() if isinstance(value, dict) and depth else ()
        steps = ((pointer(x, f"{path}/{k.replace('~', '~0').replace('/', '~1')}", depth - 1)) for k, x in inside)
        return next((found for found in steps if found is not None), None)

    found = pointer(json.loads(text), "/" + header.replace("~", "~0").replace("/", "~1"), 3)
    return f'it holds a list of objects: class …(Record, root="{found}") makes them the rows' if found else ""


def propose_key(
    connection: duckdb.DuckDBPyConnection, table: str, columns: list[Evidence], most: int = 4
) -> tuple[str, ...] | None:
    """The smallest set of columns that tells all rows of `table` apart, of at most `most`; None if there is none.

    Sets without empty values come first, then those that stand earlier in the file. Measures are not considered.
    """
    useful = [c for c in columns if c.distinct > 1 and c.kind not in ("float", "bool", "dict", "list")]
    useful = sorted(useful, key=lambda c: c.empty > 0)[:12]
    connection.execute(f"CREATE OR REPLACE TEMP TABLE first_rows AS FROM {table} LIMIT 50000")
    for size in range(1, most + 1):
        for chosen in combinations(useful, size):
            names = [c.header for c in chosen]
            possible = 1
            for c in chosen:
                possible *= c.distinct + (c.empty > 0)
            rows = columns[0].rows
            if possible >= rows and all(_tells_apart(connection, t, names) for t in ("first_rows", table)):
                return tuple(names)
    return None


def repeated_rows(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    """How many rows are the exact repetition of an earlier one."""
    (found,) = _one(
        connection, f"SELECT (SELECT count(*) FROM {table}) - count(*) FROM (SELECT DISTINCT * FROM {table})"
    )
    return int(found)


def _tells_apart(connection: duckdb.DuckDBPyConnection, table: str, names: list[str]) -> bool:
    # Hashes of single cells, not of joined text: cells that shift across a separator must not look alike.
    hashes = ", ".join(f"hash(coalesce({quote(n)}, ''))" for n in names)
    (same,) = _one(connection, f"SELECT count(*) = count(DISTINCT hash({hashes})) FROM {table}")
    return bool(same)


def _all(connection: duckdb.DuckDBPyConnection, test: str) -> bool:
    return not connection.execute(f"SELECT 1 FROM values_of WHERE ({test}) IS NOT TRUE LIMIT 1").fetchall()


def _matches(pattern: str) -> str:
    return f"regexp_full_match(v, '{pattern}')"


def _one(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    (row,) = connection.execute(query).fetchall()
    return tuple(row)


def quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'

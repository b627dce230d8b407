"""Queries written for DuckDB, said to Athena."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlglot

from headrace.aws.athena import translated
from headrace.aws.declare.resources import read_queries
from headrace.aws.declare.translate import to_athena
from headrace.model.errors import UsageError

TABLES = {
    "lv_data": ["asset_id", "substation_number", "timestamp", "value", "year", "month"],
    "sales": ["amount", "day"],
}


def said(query: str) -> str:
    return " ".join(to_athena(query, TABLES).split()).replace("( ", "(").replace(" )", ")")


def test_every_query_of_the_example_can_be_said(example: Path) -> None:
    queries = read_queries(example)
    assert len(queries) == 6
    columns = ["substation_name", "units", "feeder_id", "description", *TABLES["lv_data"]]
    for text in queries.values():
        assert sqlglot.parse_one(to_athena(text, {"lv_data": columns}), dialect="athena")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        # Trino knows no GROUP BY ALL, and no alias where rows are grouped or filtered.
        (
            "SELECT year, asset_id, avg(value) AS mean FROM lv_data GROUP BY ALL",
            "SELECT year, asset_id, AVG(value) AS mean FROM lv_data GROUP BY year, asset_id",
        ),
        ("SELECT count(*) FROM lv_data GROUP BY ALL", "SELECT COUNT(*) FROM lv_data"),
        (
            "SELECT value * 2 AS double, count(*) FROM lv_data WHERE double > 4 GROUP BY double HAVING count(*) > 1",
            "SELECT value * 2 AS double, COUNT(*) FROM lv_data WHERE (value * 2) > 4 GROUP BY (value * 2) "
            "HAVING COUNT(*) > 1",
        ),
        # A column of that name comes first, as in DuckDB.
        (
            "SELECT upper(asset_id) AS asset_id, count(*) FROM lv_data GROUP BY asset_id",
            "SELECT UPPER(asset_id) AS asset_id, COUNT(*) FROM lv_data GROUP BY asset_id",
        ),
        (
            "WITH w AS (SELECT 1 AS x) SELECT x + 1 AS x FROM w WHERE x = 1",
            "WITH w AS (SELECT 1 AS x) SELECT x + 1 AS x FROM w WHERE x = 1",
        ),
        # DuckDB divides whole numbers into fractions.
        (
            "SELECT count(*) / 2 FROM lv_data",
            "SELECT CAST(COUNT(*) AS DOUBLE) / 2 FROM lv_data",
        ),
        (
            "SELECT TIMESTAMPTZ '2025-05-02 06:00:00+00' FROM lv_data",
            "SELECT CAST('2025-05-02 06:00:00+00:00' AS TIMESTAMP WITH TIME ZONE) FROM lv_data",
        ),
        (
            "SELECT TIMESTAMPTZ '2025-05-02 06:00:00+05:30' FROM lv_data",
            "SELECT CAST('2025-05-02 06:00:00+05:30' AS TIMESTAMP WITH TIME ZONE) FROM lv_data",
        ),
        (
            "WITH w AS (SELECT 1 AS x) SELECT x FROM w JOIN lv_data ON year = x",
            "WITH w AS (SELECT 1 AS x) SELECT x FROM w JOIN lv_data ON year = x",
        ),
    ],
)
def test_what_trino_says_in_another_way(query: str, expected: str) -> None:
    assert said(query) == expected


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("SELECT * FROM asset_data", "asset_data is no table of the lake"),
        ("SELECT * FROM read_csv('x.csv')", "no table of the lake"),
        ("SELECT list_aggr([1], 'mad') FROM lv_data", "is not known to be a function of Athena"),
        ("SELECT *, count(*) FROM lv_data GROUP BY ALL", "names no columns"),
        ("DROP TABLE lv_data", "not one SELECT"),
        ("SELECT 1; SELECT 2", "not one SELECT"),
        ("SELECT (", ""),
        ("", "not one SELECT"),
    ],
)
def test_what_athena_cannot_do_is_refused_with_the_reason(query: str, why: str) -> None:
    with pytest.raises(UsageError, match=f"HR807 query: cannot be said to Athena: .*{why}"):
        to_athena(query, TABLES)


def test_sql_asks_athena_in_its_own_words() -> None:
    assert "GROUP BY year" in " ".join(translated("SELECT year, count(*) FROM lv_data GROUP BY ALL", TABLES).split())
    assert translated("DESCRIBE lv_data", TABLES) == "DESCRIBE lv_data"
    assert translated(" show tables; ", TABLES) == "show tables"
    explained = translated("EXPLAIN SELECT year FROM lv_data", TABLES)
    assert " ".join(explained.split()) == "EXPLAIN SELECT year FROM lv_data"
    with pytest.raises(UsageError, match="HR807"):
        translated("SUMMARIZE lv_data", TABLES)
    with pytest.raises(UsageError, match="HR807"):
        translated("SELECT list_aggr([1], 'mad') FROM lv_data", TABLES)

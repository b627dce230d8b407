"""Answers of queries, as tables."""

from __future__ import annotations

from headrace.engine.query import run_sql


def test_columns_of_one_name_keep_each_its_values() -> None:
    table = run_sql({}, "SELECT 1 AS a, 2 AS a, 3 AS a_1, 4 AS a")
    assert table.to_pylist() == [{"a": 1, "a_2": 2, "a_1": 3, "a_3": 4}]
    assert run_sql({}, "SELECT 1 AS a, 2 AS a").to_pylist() == [{"a": 1, "a_1": 2}]

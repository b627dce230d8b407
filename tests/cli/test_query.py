"""SQL that people type: it reads the tables, and reaches nothing else."""

from pathlib import Path

import duckdb
import pytest

from headrace.engine.query import Limits, QueryError, Relation, _locked, run_sql


@pytest.fixture
def tables(tmp_path: Path) -> dict[str, Relation]:
    duckdb.execute(f"COPY (SELECT 1 AS id, 'a' AS name) TO '{tmp_path}/one.parquet'")
    duckdb.execute(f"COPY (SELECT 2 AS id, 'b' AS name, 0.5::DOUBLE AS added) TO '{tmp_path}/two.parquet'")
    columns = (("id", "BIGINT"), ("name", "VARCHAR"), ("added", "DOUBLE"))
    return {
        "t": Relation(columns, (tmp_path / "one.parquet", tmp_path / "two.parquet")),
        "t__rejected": Relation((("rule", "VARCHAR"),)),
        "older": Relation(columns, (tmp_path / "one.parquet",)),
    }


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("SELECT count(*) AS n FROM t", [{"n": 2}]),
        ("FROM t ORDER BY id LIMIT 1", [{"id": 1, "name": "a", "added": None}]),
        ("WITH x AS (SELECT id FROM t) SELECT max(id) AS m FROM x", [{"m": 2}]),
        ("SELECT t.id FROM t, range(3) r(i) WHERE i = 0 ORDER BY 1", [{"id": 1}, {"id": 2}]),
        ("VALUES (1)", [{"col0": 1}]),
        ("SELECT count(*) AS n FROM T__REJECTED", [{"n": 0}]),
        ("SELECT id FROM main.t UNION SELECT 7 ORDER BY ALL", [{"id": 1}, {"id": 2}, {"id": 7}]),
        ("SELECT table_name FROM information_schema.tables ORDER BY 1 LIMIT 1", [{"table_name": "older"}]),
    ],
)
def test_a_query_reads_the_rows(tables: dict[str, Relation], query: str, rows: list[object]) -> None:
    assert run_sql(tables, query).to_pylist() == rows


def test_tables_can_be_described_shown_and_explained(tables: dict[str, Relation]) -> None:
    assert run_sql(tables, "DESCRIBE t").num_rows == 3
    assert run_sql(tables, "SUMMARIZE t").num_rows == 3
    assert run_sql(tables, "SHOW TABLES")["name"].to_pylist() == ["older", "t", "t__rejected"]
    assert "PARQUET" in str(run_sql(tables, "EXPLAIN SELECT * FROM t").to_pylist()).upper()


def test_a_table_without_files_is_empty_and_typed(tables: dict[str, Relation]) -> None:
    assert run_sql({"e": Relation((("when", "TIMESTAMPTZ"), ("n", "BIGINT")))}, "FROM e").column_names == ["when", "n"]


def test_a_file_without_a_later_column_shows_null_there(tables: dict[str, Relation]) -> None:
    assert run_sql(tables, "SELECT id, added FROM older").to_pylist() == [{"id": 1, "added": None}]


HOSTILE = [
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_parquet('x.parquet')",
    "SELECT * FROM read_json_auto('x')",
    "SELECT * FROM parquet_metadata('x')",
    "SELECT * FROM sniff_csv('/etc/passwd')",
    "SELECT * FROM '/etc/passwd'",
    'SELECT * FROM "/etc/passwd"',
    "FROM 'data.parquet'",
    "SELECT * FROM glob('/*')",
    "SELECT getenv('HOME')",
    "SELECT GETENV('HOME') FROM t",
    "SELECT current_setting('allowed_paths')",
    "SELECT * FROM duckdb_settings()",
    "SELECT * FROM query('SELECT 1')",
    "SELECT * FROM query_table('t')",
    "WITH x AS (SELECT * FROM read_text('/etc/passwd')) SELECT * FROM x",
    "WITH a AS (WITH b AS (FROM glob('/*')) FROM b) FROM a",
    "SELECT (SELECT content FROM read_text('/etc/passwd')) FROM t",
    "SELECT * FROM t WHERE id IN (SELECT 1 FROM read_blob('/etc/passwd'))",
    "SELECT * FROM t JOIN '/etc/passwd' p ON true",
    "EXPLAIN ANALYZE SELECT * FROM read_text('/etc/passwd')",
    "EXPLAIN COPY t TO 'x.csv'",
    "DESCRIBE SELECT * FROM read_text('/etc/passwd')",
    "SUMMARIZE 'x.parquet'",
    "COPY t TO '/tmp/out.csv'",
    "COPY (SELECT 1) TO '/tmp/out.parquet'",
    "ATTACH '/tmp/x.db'",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET memory_limit = '100GB'",
    "PRAGMA database_list",
    "CALL pragma_version()",
    "CREATE TABLE x (a INT)",
    "INSERT INTO t VALUES (1)",
    "DELETE FROM t",
    "DROP VIEW t",
    "EXPORT DATABASE '/tmp/x'",
    "SELECT 1; SELECT 2",
    "SELECT 1; DROP VIEW t",
    "SELECT 1 -- ;\n; COPY t TO 'x'",
    "SELECT * FROM other.t",
    "SELECT * FROM pg_catalog.pg_tables",
    "SELECT * FROM nowhere",
    "SELECT write_log('x')",
    "PREPARE p AS SELECT 1",
    "",
    "SELECT",
    "SELECT " + "(" * 100_000 + "1" + ")" * 100_000,
    "SELECT " + "NOT " * 50_000 + "true",
    "SELECT '" + "x" * 2_000_000 + "'",
    "SELECT '" + "(" * 5 + "unfinished",
]


@pytest.mark.parametrize("query", HOSTILE, ids=lambda q: q[:40])
def test_a_query_that_reaches_beyond_the_tables_is_refused(tables: dict[str, Relation], query: str) -> None:
    with pytest.raises(QueryError) as refused:
        run_sql(tables, query)
    assert refused.value.code in {"HR701", "HR702", "HR703"}


BEYOND = ("/etc", "read_", "glob(", "copy", "attach", "install", "export", "set memory", ".parquet")


@pytest.mark.parametrize("query", [q for q in HOSTILE if any(word in q.lower() for word in BEYOND)])
def test_the_lock_alone_keeps_files_and_settings_safe(tables: dict[str, Relation], query: str) -> None:
    with pytest.raises((QueryError, duckdb.Error)), _locked(tables, Limits()) as connection:
        connection.execute(query).fetchall()


def test_a_name_in_one_scope_opens_no_file_in_another(tables: dict[str, Relation]) -> None:
    with pytest.raises(QueryError, match="HR704"):
        run_sql(tables, 'SELECT * FROM (WITH "/etc/passwd" AS (SELECT 1) FROM "/etc/passwd"), "/etc/passwd"')


def test_local_python_variables_are_no_tables(tables: dict[str, Relation]) -> None:
    secret = run_sql(tables, "FROM t")
    assert secret.num_rows == 2
    with pytest.raises(QueryError, match="HR702"):
        run_sql(tables, "SELECT * FROM secret")


def test_a_query_that_takes_too_long_is_stopped(tables: dict[str, Relation]) -> None:
    endless = "SELECT count(*) FROM range(100000000000) a WHERE a.range % 7 = 1 AND sin(a.range) > 2"
    with pytest.raises(QueryError, match="HR705"):
        run_sql(tables, endless, Limits(seconds=0.5))


def test_a_query_that_needs_too_much_memory_is_refused(tables: dict[str, Relation]) -> None:
    with pytest.raises(QueryError, match="HR706"):
        run_sql(tables, "SELECT list(range) FROM range(50000000)", Limits(memory="50MB"))


def test_an_answer_that_is_too_large_is_refused(tables: dict[str, Relation]) -> None:
    with pytest.raises(QueryError, match="HR706"):
        run_sql(tables, "SELECT range FROM range(1000000)", Limits(result_bytes=100_000))


def test_an_unknown_table_suggests_the_nearest(tables: dict[str, Relation]) -> None:
    with pytest.raises(QueryError, match="did you mean 't__rejected'"):
        run_sql(tables, "FROM t_rejected")

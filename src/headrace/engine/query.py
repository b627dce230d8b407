"""SQL over the standing rows, for people who are trusted with the rows and with nothing else.

Each relation is a view over immutable Parquet files. Two fences, each enough alone for what it covers: the statement is
parsed and allow-listed before any engine sees it, and DuckDB is locked to exactly those files. `project.py` calls this.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from headrace.model.errors import HeadraceError, InfrastructureError, UsageError

SAFE_TABLE_FUNCTIONS = frozenset({"range", "generate_series", "generateseries", "unnest", "generate_subscripts"})
"""Functions that may stand where a table does: they read nothing."""

UNSAFE_FUNCTIONS = frozenset(
    {"getenv", "write_log", "current_setting", "getvariable", "query", "query_table", "pragma"}
)
"""Scalar functions that tell about, or change, the process rather than the rows."""

LONGEST = 1_000_000
"""Characters of a query: far more than a person writes, few enough to be parsed at once."""

READS = frozenset({"SELECT", "EXPLAIN", "MULTI"})
"""Kinds of statement, in DuckDB's words, that can be what is allowed; a PIVOT is MULTI."""

_EXPLAIN = re.compile(r"\s*explain\s+(analyze\s+)?", re.IGNORECASE)


class QueryError(UsageError):
    """A query that may not run, or that DuckDB refused. Codes HR7xx; nothing was changed by it."""


@dataclass(frozen=True, slots=True)
class Relation:
    """One queryable table: its columns as (name, DuckDB type), and the files that hold its rows now.

    Files may lack columns that were added later (NULL there). Without files the table is empty but typed. `without`
    names loads that do not stand any more although a file that they share with others does. `bring` makes the files be
    there; it is called if the table is asked.
    """

    columns: tuple[tuple[str, str], ...]
    files: tuple[Path, ...] = ()
    without: tuple[str, ...] = ()
    bring: Callable[[], object] = tuple


@dataclass(frozen=True, slots=True)
class Limits:
    """What one query may use. `result_bytes` bounds the answer itself, as Arrow."""

    memory: str = "1GB"
    threads: int = 2
    seconds: float = 300.0
    result_bytes: int = 1 << 30


def run_sql(tables: Mapping[str, Relation], query: str, limits: Limits = Limits()) -> pa.Table:
    """The answer to one read-only statement.

    Raises QueryError: HR701 not one readable statement, HR702 unknown table, HR703 a function or form that is not
    allowed, HR704 refused by DuckDB, HR705 took too long, HR706 too much memory or too large an answer.
    """
    asked = allow(query, tables)
    # A view reads the footer of each of its files when it is made: only those that are asked get theirs.
    needed = {name: r if name.casefold() in asked else Relation(r.columns) for name, r in tables.items()}
    for relation in needed.values():
        relation.bring()
    with _locked(needed, limits) as connection:
        return _answer(connection, query, limits)


def allow(query: str, tables: Mapping[str, Relation]) -> set[str]:
    """The names (folded) of the tables that `query` asks.

    Raises QueryError unless it is one SELECT, VALUES, DESCRIBE, SUMMARIZE, SHOW TABLES, or EXPLAIN of those.
    """
    import sqlglot
    from sqlglot import exp

    logging.getLogger("sqlglot").setLevel(logging.ERROR)
    plain = _EXPLAIN.sub("", query, count=1)
    if len(query) > LONGEST:
        raise QueryError("HR701", "query", f"is longer than {LONGEST:,} characters", "say it shorter")
    kind = _kind(query)
    try:
        statements = [s for s in sqlglot.parse(plain, dialect="duckdb") if s is not None]
    except (sqlglot.errors.SqlglotError, RecursionError) as exc:
        if kind not in READS:
            raise QueryError("HR703", "query", f"{kind} is not allowed", "queries only read: use SELECT") from exc
        found = "DuckDB reads it, but it cannot be checked before it runs"
        raise QueryError("HR701", "query", found, "say it in plainer SQL") from exc
    if len(statements) != 1:  # DuckDB reads one: the two must agree
        raise QueryError("HR701", "query", f"holds {len(statements)} statements", "give one at a time")
    root = statements[0]
    if isinstance(root, exp.Show):
        return set()
    if not isinstance(root, (exp.Query, exp.Describe, exp.Summarize, exp.Values, exp.Pivot)):
        found = root.this if isinstance(root, exp.Command) else root.key
        raise QueryError("HR703", "query", f"{str(found).upper()} is not allowed", "queries only read: use SELECT")
    if isinstance(root, (exp.Describe, exp.Summarize)) and not isinstance(root.this, (exp.Query, exp.Table)):
        raise QueryError("HR703", "query", f"{root.this.sql()} is no table", "files cannot be reached from here")
    writes = (exp.DDL, exp.DML, exp.Command, exp.Into, exp.Attach, exp.Copy, exp.Set)
    ctes = {cte.alias.casefold() for cte in root.find_all(exp.CTE)}
    for node in root.walk():
        if isinstance(node, writes) and not isinstance(node, exp.Query):
            raise QueryError("HR703", "query", f"{node.key.upper()} is not allowed", "queries only read: use SELECT")
        if isinstance(node, exp.Func):
            _allow_function(node)
        if isinstance(node, exp.Table):
            _allow_table(node, tables, ctes)
    return {node.name.casefold() for node in root.find_all(exp.Table)}


def _kind(query: str) -> str:
    """What DuckDB takes the one statement for, e.g. SELECT. Raises QueryError HR701 where it reads none, or several."""
    try:
        statements = duckdb.extract_statements(query)
    except (duckdb.Error, RecursionError) as exc:
        next = '`headrace sql "SHOW TABLES"` lists what can be asked'
        raise QueryError("HR701", "query", f"cannot be read as SQL: {_said(exc)}", next) from exc
    if not statements:
        raise QueryError("HR701", "query", "is empty", "give one SELECT")
    if len(statements) > 1:
        raise QueryError("HR701", "query", f"holds {len(statements)} statements", "give one at a time")
    return str(statements[0].type.name)


def _allow_function(node: object) -> None:
    from sqlglot import exp

    assert isinstance(node, exp.Func)
    name = node.name if isinstance(node, exp.Anonymous) else node.sql_name()
    if name.casefold() in UNSAFE_FUNCTIONS or name.casefold().startswith(("read_", "pragma_", "duckdb_")):
        raise QueryError("HR703", "query", f"function {name.lower()}() is not allowed", "it reaches beyond the tables")


def _allow_table(node: object, tables: Mapping[str, Relation], ctes: set[str]) -> None:
    from sqlglot import exp

    assert isinstance(node, exp.Table)
    if isinstance(node.this, exp.Func):
        name = node.this.name if isinstance(node.this, exp.Anonymous) else node.this.sql_name()
        if name.casefold() not in SAFE_TABLE_FUNCTIONS:
            raise QueryError(
                "HR703", "query", f"function {name.lower()}() is not allowed", "query the tables that SHOW TABLES lists"
            )
        return
    if not isinstance(node.this, exp.Identifier):
        return
    schema = node.db.casefold()
    if schema == "information_schema" and not node.catalog:
        return
    known = {name.casefold() for name in tables} | ctes
    if node.catalog or (schema and schema != "main") or node.name.casefold() not in known:
        raise QueryError("HR702", "query", f"there is no table {node.name!r}", _suggest(node.name, list(tables)))


def _suggest(name: str, known: Sequence[str]) -> str:
    import difflib

    if close := difflib.get_close_matches(name, known, 1):
        return f"did you mean {close[0]!r}?"
    return f"tables are {', '.join(known)}" if known else "no pipeline has a table"


@contextmanager
def _locked(tables: Mapping[str, Relation], limits: Limits) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that sees the views and can open no file but theirs, whatever it is asked."""
    connection = duckdb.connect(
        config={
            "memory_limit": limits.memory,
            "threads": limits.threads,
            "temp_directory": "",
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "allow_community_extensions": False,
        }
    )
    try:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET python_enable_replacements = false")
        connection.execute(f"SET allowed_paths = {_list(p for r in tables.values() for p in r.files)}")
        connection.execute("SET enable_external_access = false")
        for name, relation in tables.items():
            connection.execute(f"CREATE VIEW {_quote(name)} AS {_select(relation)}")
        connection.execute("SET lock_configuration = true")
        yield connection
    except duckdb.Error as exc:
        for name, relation in tables.items():
            if missing := [path for path in relation.files if not path.exists()]:
                found = f"{len(missing):,} of its files are missing, such as {missing[0]}"
                raise InfrastructureError("HR532", f"table {name!r}", found, "see `headrace status`") from exc
        raise _explained(exc) from exc
    finally:
        connection.close()


def _select(relation: Relation) -> str:
    empty = ", ".join(f"NULL::{kind} AS {_quote(name)}" for name, kind in relation.columns)
    if not relation.files:
        return f"SELECT {empty} WHERE false"
    # The typed empty part names every column even where no file has it yet; BY NAME lines the rest up.
    scan = f"FROM read_parquet({_list(relation.files)}, union_by_name = true, hive_partitioning = false)"
    if relation.without:
        scan += f" WHERE _load_id NOT IN (SELECT unnest({_list(relation.without)}))"
    return f"SELECT {empty} WHERE false UNION ALL BY NAME {scan}"


def _answer(connection: duckdb.DuckDBPyConnection, query: str, limits: Limits) -> pa.Table:
    late = threading.Event()

    def interrupt() -> None:
        late.set()
        connection.interrupt()

    timer = threading.Timer(limits.seconds, interrupt)
    timer.daemon = True
    timer.start()
    try:
        return _interruptible(connection, lambda: _fetched(connection, query, limits))
    except (duckdb.InterruptException, pa.ArrowException, RuntimeError) as exc:
        if late.is_set():
            raise QueryError(
                "HR705", "query", f"took longer than {limits.seconds:g} s", "narrow it down by partition columns"
            ) from exc
        raise QueryError("HR704", "query", _said(exc), "change the query") from exc
    finally:
        timer.cancel()


def _interruptible(connection: duckdb.DuckDBPyConnection, work: Callable[[], pa.Table]) -> pa.Table:
    """Do it in a thread: DuckDB keeps the one that it works in from hearing Ctrl-C, for as long as it likes."""
    with ThreadPoolExecutor(1) as pool:
        task = pool.submit(work)
        try:
            return task.result()
        except KeyboardInterrupt:
            while not task.done():  # again and again: what has not begun yet cannot be interrupted
                connection.interrupt()
                wait([task], 0.1)
            raise


def _fetched(connection: duckdb.DuckDBPyConnection, query: str, limits: Limits) -> pa.Table:
    reader = connection.sql(query).to_arrow_reader()
    batches: list[pa.RecordBatch] = []
    size = 0
    for batch in reader:
        size += batch.nbytes
        if size > limits.result_bytes:
            found = f"the answer is larger than {limits.result_bytes:,} bytes"
            raise QueryError("HR706", "query", found, "aggregate or LIMIT it")
        batches.append(batch)
    table = pa.Table.from_batches(batches, reader.schema)
    return table.rename_columns(_distinct(table.column_names))


def _explained(exc: duckdb.Error) -> HeadraceError:
    if isinstance(exc, duckdb.OutOfMemoryException):
        return QueryError("HR706", "query", "needs more memory than allowed", "narrow it down, or raise memory_limit")
    return QueryError("HR704", "query", _said(exc), "change the query")


def _said(exc: BaseException) -> str:
    """DuckDB's message in one line, with what it says to try, without the query; and which line, from the second on."""
    text, _, place = str(exc).partition("\nLINE ")
    line = place.partition(":")[0]
    told = " ".join(text.split()) or type(exc).__name__
    return f"{told} (line {line})" if line not in ("", "1") else told


def _distinct(names: Sequence[str]) -> list[str]:
    """`a, a` as `a, a_1`: each column of an answer has a name of its own, or rows as objects would lose one."""
    taken, found = set(names), []
    for n, name in enumerate(names):
        free = name
        if name in names[:n]:
            free = next(f"{name}_{i}" for i in range(1, len(names) + 1) if f"{name}_{i}" not in taken)
            taken.add(free)
        found.append(free)
    return found


def _list(texts: Iterator[Path] | Sequence[Path | str]) -> str:
    return "[" + ", ".join("'" + str(t).replace("'", "''") + "'" for t in texts) + "]"


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'

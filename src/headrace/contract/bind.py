"""`headrace check`: every SQL text of a definition is bound against empty typed tables, before any row is.

Finds what constructing a Pipeline cannot see: unknown columns and functions, results of the wrong type, and whatever
would make a row depend on the clock, on chance, on settings, on other rows or on files. Reads no data.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import duckdb

from headrace.contract.compile import compile_contract, partitions
from headrace.contract.headers import read_columns
from headrace.contract.purity import Fault, Functions, columns_in, fault_in_expression, fault_in_step
from headrace.contract.query import columns_of, stage_query
from headrace.contract.rowhash import ROW_HASH
from headrace.model.contract import LINEAGE, Column, Contract
from headrace.model.errors import DefinitionError
from headrace.model.fields import cell_name, quoted
from headrace.model.pipeline import Pipeline
from headrace.model.where import meant

Columns = Sequence[tuple[str, str]]
PLACE: Columns = (("_member", "VARCHAR"), ("_source_row", "BIGINT"))  # where a step's rows came from within the load
_INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")


@dataclass(frozen=True)
class _Text:
    """One SQL expression of a definition: where it stands, whose it is, what it sees and what it must give."""

    where: str
    what: str
    sql: str
    sees: Columns
    gives: str
    hidden: tuple[str, ...] = ()  # columns of the record that are computed later than this


def check_definition(pipeline: Pipeline) -> list[DefinitionError]:
    """Everything that is wrong with the SQL of `pipeline`; [] if it can run.

    Codes: HR207 it cannot be bound, HR208 it is not pure, HR214 a step's result does not fit, HR216 the wrong type.
    """
    try:
        contract = compile_contract(pipeline)
    except DefinitionError as exc:
        return [exc]
    with duckdb.connect(config={"enable_external_access": "false"}) as connection:
        connection.execute("SET timezone = 'UTC'")
        functions = Functions.of(connection)
        errors = [e for t in _texts(pipeline, contract) if (e := _check(connection, functions, t))]
        errors += _check_steps(connection, functions, pipeline, contract)
        return errors or _check_whole(connection, pipeline, contract)


def _texts(pipeline: Pipeline, contract: Contract) -> Iterator[_Text]:
    """All expressions, in the order in which the query evaluates them."""
    record = pipeline.record
    where = {n: f"{spec.where} {record.__name__}" for n, (_, spec) in record.__specs__.items()}
    visible = [(c.name, c.type.sql) for c in contract.columns if c.sql is None and c.default_sql is None]
    later = [c for c in contract.columns if c.sql or c.default_sql]
    for place, column in enumerate(later):
        hidden = tuple(c.name for c in later[place:])
        what = f"column {column.name!r}: " + ("derived" if column.sql else "default_sql")
        sql = column.sql or column.default_sql or ""
        yield _Text(where[column.name], what, sql, [*visible, *LINEAGE], _wanted(column), hidden)
        visible.append((column.name, column.type.sql))
    for column in contract.columns:
        for name, sql in column.checks:
            what = f"column {column.name!r}: {name}"
            yield _Text(where[column.name], what, sql, [*visible, *LINEAGE], "BOOLEAN")
    for rule in pipeline.rules:
        what = f"rule {rule.name!r}"
        yield _Text(f"{rule.where} pipeline {pipeline.name!r}", what, rule.when, [*visible, *LINEAGE], "BOOLEAN")
        if rule.kind == "flag":
            visible.append((rule.name, "BOOLEAN"))
    for name, sql in partitions(pipeline):
        place_of = f"{pipeline.where} pipeline {pipeline.name!r}"
        yield _Text(place_of, f"partition {name!r}", sql, [*visible, *LINEAGE], "")


def _wanted(column: Column) -> str:
    return "JSON" if column.type.kind == "json" else column.type.sql


def _check(connection: duckdb.DuckDBPyConnection, functions: Functions, text: _Text) -> DefinitionError | None:
    computed = "derived" in text.what or "default_sql" in text.what
    sql = ROW_HASH.sub("md5('')", text.sql) if computed else text.sql
    found = fault_in_expression(connection, functions, sql) or _unknown_column(connection, functions, text, sql)
    if found is None:
        given = _bound_type(connection, text, sql, functions)
        if isinstance(given, Fault):
            found = given
        elif text.gives == "UUID" and ROW_HASH.fullmatch(text.sql.strip()):
            return None
        else:
            found = _unfit(given, text.gives)
    if found is None:
        return None
    return DefinitionError(found.code, text.where, f"{text.what}: {found.found}", found.next)


def _unknown_column(connection: duckdb.DuckDBPyConnection, functions: Functions, text: _Text, sql: str) -> Fault | None:
    names = {name.casefold() for name, _ in text.sees}
    for name in columns_in(connection, sql):
        if name.casefold() in names or _is_lambda_parameter(sql, name):
            continue
        if name in text.hidden:
            next = "columns are computed from top to bottom: move it up"
            return Fault("HR207", f"{name!r} is not computed yet", next)
        if name.casefold() in functions.impure:
            return Fault("HR208", f"{name} gives another answer each time", "_arrived_at is the time to use")
        return Fault("HR207", f"{name!r} is not a column", meant(name, [n for n, _ in text.sees]))
    return None


def _is_lambda_parameter(sql: str, name: str) -> bool:
    return re.search(rf"\blambda\b[^:]*\b{re.escape(name)}\b[^:]*:", sql, re.IGNORECASE) is not None


def _bound_type(connection: duckdb.DuckDBPyConnection, text: _Text, sql: str, functions: Functions) -> str | Fault:
    """The type that the engine gives the expression."""
    row = ", ".join(f"CAST(NULL AS {kind}) AS {quoted(name)}" for name, kind in text.sees)
    try:
        return str(connection.execute(f"DESCRIBE SELECT ({sql}) AS it FROM (SELECT {row})").fetchall()[0][1])
    except duckdb.Error as exc:
        lines = str(exc).splitlines()
        unknown = re.search(r"Function with name (\w+) does not exist", lines[0])
        if unknown:
            next = meant(unknown.group(1), functions.known - functions.impure)
            return Fault("HR207", f"{unknown.group(1)}() is not a function", next)
        return Fault("HR207", re.sub(r"^[A-Z]\w+ Error: ", "", lines[0]), "")


def _unfit(given: str, wanted: str) -> Fault | None:
    """Why a value of type `given` cannot become `wanted` without being bent; None if it can."""
    bare, decimal = given.split("(")[0], re.fullmatch(r"DECIMAL\((\d+),(\d+)\)", given)
    if wanted in ("", given) or given in ('"NULL"', "NULL"):
        return None
    if wanted == "BIGINT":
        fits, cast = bare in _INTEGERS, "::BIGINT"
    elif wanted == "DOUBLE":
        fits, cast = bare in (*_INTEGERS, "DOUBLE", "FLOAT", "DECIMAL"), "::DOUBLE"
    elif wanted.startswith("DECIMAL"):
        scale = int(wanted.rstrip(")").split(",")[1])
        fits, cast = bare in _INTEGERS or bool(decimal and int(decimal.group(2)) <= scale), f"::{wanted}"
    elif wanted == "TIMESTAMP":
        fits, cast = bare in ("DATE", "TIMESTAMP_S", "TIMESTAMP_MS"), "::TIMESTAMP"
    elif wanted == "TIMESTAMPTZ":
        fits, cast = given == "TIMESTAMP WITH TIME ZONE", ""
    elif wanted == "JSON":
        fits, cast = given == "VARCHAR", "::JSON"
    else:
        fits, cast = False, f"::{wanted}"
    if fits:
        return None
    if wanted == "TIMESTAMPTZ":
        return Fault(
            "HR216", f"it gives {given}, not an instant", "write timezone('UTC', …) to say where it was measured"
        )
    return Fault("HR216", f"it gives {given}, not {wanted}", f"write (…){cast} if that is meant")


def _check_steps(
    connection: duckdb.DuckDBPyConnection, functions: Functions, pipeline: Pipeline, contract: Contract
) -> list[DefinitionError]:
    """SQL steps are bound over an empty `input`: the row's columns and its place. They must keep all of them."""
    errors = []
    wanted = (*PLACE, *columns_of(contract))
    columns = ", ".join(f"{quoted(name)} {kind}" for name, kind in wanted)
    connection.execute(f"CREATE TEMP TABLE input ({columns})")
    for number, step in enumerate(contract.steps, 1):
        if step.kind != "sql":
            continue
        found = fault_in_step(connection, functions, step.text) or _step_result(connection, step.text, wanted)
        if found:
            where = getattr(pipeline.steps[number - 1], "where", "") or pipeline.where
            which = f"{where} pipeline {pipeline.name!r}"
            errors.append(DefinitionError(found.code, which, f"step {number}: {found.found}", found.next))
    return errors


def _step_result(connection: duckdb.DuckDBPyConnection, query: str, wanted: Columns) -> Fault | None:
    try:
        given = {row[0]: row[1] for row in connection.execute(f"DESCRIBE {query}").fetchall()}
    except duckdb.Error as exc:
        return Fault("HR207", re.sub(r"^[A-Z]\w+ Error: ", "", str(exc).splitlines()[0]), "")
    for name, kind in wanted:
        if name not in given:
            return Fault("HR214", f"its result lacks the column {name!r}", meant(name, given))
        if found := _unfit(given[name], kind):
            return Fault("HR214", f"column {name!r}: {found.found}", found.next)
    return None


def _check_whole(
    connection: duckdb.DuckDBPyConnection, pipeline: Pipeline, contract: Contract
) -> list[DefinitionError]:
    """The staging query as it will run, over an empty file that has all headers."""
    headers = [c.path or (c.headers or (c.name,))[0] for c in read_columns(contract)]
    cells = ", ".join(f"NULL::VARCHAR AS {cell_name(i)}" for i in range(len(headers)))
    lineage = ", ".join(f"NULL::{kind} AS {quoted(name)}" for name, kind in LINEAGE)
    items = ", ".join(part for part in (cells, lineage) if part)
    try:
        query = stage_query(contract, headers, f"(SELECT {items} LIMIT 0)", [name for name, _ in LINEAGE])
        connection.execute(f"CREATE TEMP TABLE staged AS {query.select}")
        connection.execute(f"SELECT {query.rejected} FROM staged")
    except duckdb.Error as exc:
        which = f"{pipeline.where} pipeline {pipeline.name!r}"
        return [DefinitionError("HR207", which, str(exc).splitlines()[0], "")]
    return []

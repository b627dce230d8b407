"""What an SQL text uses, seen from its syntax tree: functions, columns and tables, and whether a row-wise pure
expression may. Called by `contract.bind`; it binds nothing itself.

A row must come out alike whenever and wherever it is computed: nothing may read a clock, a random source, settings,
other rows, tables or files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import duckdb

# consistent for DuckDB, but not for a row that is computed again elsewhere or later
_UNSTABLE = {"version", "hash", "current_localtime", "current_localtimestamp", "stats", "vector_type"}
_UNSTABLE |= {"current_timestamp", "current_time", "localtime", "localtimestamp"}  # words that need no parentheses


@dataclass(frozen=True)
class Functions:
    """The engine's functions by what they may be used for, in small letters."""

    impure: frozenset[str]
    aggregate: frozenset[str]
    known: frozenset[str]

    @staticmethod
    def of(connection: duckdb.DuckDBPyConnection) -> Functions:
        """Ask the engine's own catalogue; a macro is impure when its definition mentions something impure."""
        rows = connection.execute(
            "SELECT lower(function_name), function_type, stability, macro_definition FROM duckdb_functions()"
        ).fetchall()
        scalar = {name for name, kind, _, _ in rows if kind in ("scalar", "macro")}
        impure = {name for name, kind, stability, _ in rows if kind == "scalar" and stability != "CONSISTENT"}
        impure |= _UNSTABLE
        macros = [(name, set(re.findall(r"\w+", text.lower()))) for name, kind, _, text in rows if kind == "macro"]
        while more := {name for name, words in macros if words & (impure | {"select"})} - impure:
            impure |= more
        aggregate = {name for name, kind, _, _ in rows if kind in ("aggregate", "window")}
        aggregate |= {name for name, words in macros if words & aggregate} - {n for n, _ in macros if n[:5] == "list_"}
        aggregate -= {name for name, kind, _, _ in rows if kind == "scalar"}
        return Functions(frozenset(impure), frozenset(aggregate), frozenset(scalar | aggregate))


@dataclass(frozen=True)
class Fault:
    """Why an SQL text cannot be used, and what to do about it. HR207: not SQL; HR208: SQL, but not allowed here."""

    code: str
    found: str
    next: str


def parse(connection: duckdb.DuckDBPyConnection, query: str) -> dict[str, Any] | Fault:
    """The syntax tree of the one SELECT in `query`."""
    answer = json.loads(connection.execute("SELECT json_serialize_sql(?)", [query]).fetchall()[0][0])
    if answer["error"]:
        if answer.get("error_type") == "not implemented":
            return Fault("HR208", "it is not a SELECT", "definitions only read")
        return Fault("HR207", answer["error_message"].splitlines()[0], "write it as DuckDB takes it")
    if len(answer["statements"]) != 1:
        return Fault("HR208", "it is more than one statement", "write one")
    tree: dict[str, Any] = answer["statements"][0]["node"]
    return tree


def fault_in_expression(connection: duckdb.DuckDBPyConnection, functions: Functions, sql: str) -> Fault | None:
    """Why `sql` is no pure expression over one row; None if it is."""
    tree = parse(connection, f"SELECT ({sql})")
    if isinstance(tree, Fault):
        return tree
    if tree["type"] != "SELECT_NODE" or len(tree["select_list"]) != 1 or tree["from_table"]["type"] != "EMPTY":
        return Fault("HR208", "it is more than one expression", "write one expression over the row")
    for node in nodes(tree["select_list"][0]):
        kind, name = node.get("class"), str(node.get("function_name", "")).lower()
        if kind == "SUBQUERY":
            return Fault("HR208", "it asks other tables", "write an expression over the row's own columns")
        if kind == "STAR":
            return Fault("HR208", "it names all columns at once", "name the columns")
        if kind == "PARAMETER":
            return Fault("HR208", "it has a parameter", "write the value")
        if kind == "WINDOW" or name in functions.aggregate or name == "unnest":
            what = f"{name}() looks" if name else "it looks"
            return Fault("HR208", f"{what} at more than one row", "write an expression over one row")
        if kind == "FUNCTION" and (found := _impure(functions, node, name)):
            return found
    return None


def fault_in_step(connection: duckdb.DuckDBPyConnection, functions: Functions, query: str) -> Fault | None:
    """Why `query` is no pure query over `input`; None if it is."""
    tree = parse(connection, query)
    if isinstance(tree, Fault):
        return tree
    known = {"input"} | {
        entry["key"].lower() for node in nodes(tree) for entry in node.get("cte_map", {}).get("map", [])
    }
    for node in nodes(tree):
        name = str(node.get("function_name", "")).lower()
        if node.get("type") == "BASE_TABLE" and str(node.get("table_name", "")).lower() not in known:
            return Fault("HR208", f"it reads {node.get('table_name')!r}", "a step reads nothing but 'input'")
        if node.get("type") == "TABLE_FUNCTION":
            return Fault("HR208", "it calls a table function", "a step reads nothing but 'input'")
        if node.get("sample"):
            return Fault("HR208", "it takes a sample", "a step gives the same rows each time")
        if node.get("class") == "FUNCTION" and (found := _impure(functions, node, name)):
            return found
    return None


def _impure(functions: Functions, node: dict[str, Any], name: str) -> Fault | None:
    one = len(node.get("arguments", node.get("children", []))) == 1
    if name not in functions.impure and not (name == "age" and one):
        return None
    if name == "hash":
        return Fault("HR208", "hash() differs between versions of the engine", "use md5() or row_hash()")
    next = "a row must come out alike whenever it is computed: _arrived_at is the time to use"
    return Fault("HR208", f"{name}() gives another answer each time", next)


def columns_in(connection: duckdb.DuckDBPyConnection, sql: str) -> list[str]:
    """Names that an expression uses as columns, in order of appearance; [] where it does not parse."""
    tree = parse(connection, f"SELECT ({sql})")
    if isinstance(tree, Fault):
        return []
    found = [n["column_names"][0] for n in nodes(tree["select_list"]) if n.get("class") == "COLUMN_REF"]
    return list(dict.fromkeys(found))


def nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Every object in a syntax tree."""
    if isinstance(tree, dict):
        yield tree
        for value in tree.values():
            yield from nodes(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from nodes(value)

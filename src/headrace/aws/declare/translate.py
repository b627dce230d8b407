"""A query as people write it for DuckDB, in the words of Athena. Called for saved queries and by `sql --target aws`.

sqlglot does most of it; here is what it leaves as DuckDB has it and Trino refuses. Nothing is asked of AWS.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Mapping
from typing import Any

from headrace.model.errors import UsageError

TRINO = frozenset(
    {
        *("AT_TIMEZONE", "WITH_TIMEZONE", "TO_ISO8601", "FROM_ISO8601_TIMESTAMP", "FROM_ISO8601_DATE"),
        *("LAST_DAY_OF_MONTH", "DAY_OF_WEEK", "DAY_OF_YEAR", "YEAR_OF_WEEK", "MILLISECOND"),
        *("COSINE_SIMILARITY", "GEOMETRIC_MEAN", "CORR", "REGR_SLOPE", "REGR_INTERCEPT", "SKEWNESS", "KURTOSIS"),
        *("WIDTH_BUCKET", "CBRT", "DEGREES", "RADIANS", "TRUNCATE", "NORMALIZE", "SOUNDEX", "CODEPOINT", "STRPOS"),
        *("CARDINALITY", "CONTAINS", "ELEMENT_AT", "SEQUENCE", "SHUFFLE", "SLICE", "ZIP_WITH", "NUMERIC_HISTOGRAM"),
    }
)
"""Functions of Trino that sqlglot writes or passes on without knowing them (Trino's list of functions)."""


def to_athena(query: str, tables: Mapping[str, Collection[str]]) -> str:
    """`query` for Athena, checked by parsing it again. `tables`: the lake tables that it may read, with their columns.

    Raises UsageError HR807 with the reason where Athena has no such table or function, or no way to say it.
    """
    import sqlglot
    from sqlglot import exp

    logging.getLogger("sqlglot").setLevel(logging.ERROR)
    try:
        parsed = [one for one in sqlglot.parse(query, dialect="duckdb") if one is not None]
        if len(parsed) != 1 or not isinstance(parsed[0], exp.Query):
            raise _cannot("it is not one SELECT")
        tree = parsed[0]
        _known_tables(tree, tables)
        columns = {name.casefold() for names in tables.values() for name in names}
        columns |= {x.casefold() for inner in tree.find_all(exp.CTE, exp.Subquery) for x in inner.this.named_selects}
        for select in tree.find_all(exp.Select):
            _write_out_aliases(select, columns)
            _write_out_group_by_all(select)
        _complete_offsets(tree)
        text = tree.sql(dialect="athena", pretty=True, unsupported_level=sqlglot.ErrorLevel.RAISE)
        _known_functions(sqlglot.parse_one(text, dialect="athena"))
    except (sqlglot.errors.SqlglotError, RecursionError) as exc:
        raise _cannot(str(exc).split("\n")[0]) from exc
    return text


def _cannot(why: str) -> UsageError:
    return UsageError("HR807", "query", f"cannot be said to Athena: {why}", "say it in plainer SQL")


def _known_tables(tree: Any, tables: Mapping[str, Collection[str]]) -> None:
    from sqlglot import exp

    known = {name.casefold() for name in tables} | {cte.alias.casefold() for cte in tree.find_all(exp.CTE)}
    for table in tree.find_all(exp.Table):
        if table.name.casefold() not in known:
            raise _cannot(f"{table.sql(dialect='duckdb')} is no table of the lake")


def _known_functions(tree: Any) -> None:
    """A function that sqlglot does not know is one of DuckDB's that it passed on as it was."""
    from sqlglot import exp

    for function in tree.find_all(exp.Anonymous):
        if function.name.upper() in TRINO:
            continue
        raise _cannot(f"{function.name}() is not known to be a function of Athena")


def _write_out_aliases(select: Any, columns: set[str]) -> None:
    """Trino sees no alias of the SELECT list in its GROUP BY, WHERE or HAVING. A column of that name comes first."""
    from sqlglot import exp

    named = {one.alias.casefold(): one.this for one in select.expressions if isinstance(one, exp.Alias)}

    def written_out(node: Any) -> Any:
        plain = isinstance(node, exp.Column) and not node.table and node.name.casefold() not in columns
        meant = named.get(node.name.casefold()) if plain else None
        return node if meant is None else exp.paren(meant.copy()) if isinstance(meant, exp.Binary) else meant.copy()

    for clause in ("where", "group", "having"):
        if found := select.args.get(clause):
            select.set(clause, found.transform(written_out))


def _write_out_group_by_all(select: Any) -> None:
    """By every selected expression without an aggregate, as DuckDB means it."""
    from sqlglot import exp

    group = select.args.get("group")
    if group is None or not group.args.get("all"):
        return
    plain = [one.unalias() for one in select.expressions]
    if any(isinstance(one, exp.Star) or (one.find(exp.Star) and not one.find(exp.AggFunc)) for one in plain):
        raise _cannot("GROUP BY ALL of a * names no columns")
    keys = [one.copy() for one in plain if not one.find(exp.AggFunc) and not isinstance(one, exp.Literal)]
    select.set("group", exp.Group(expressions=keys) if keys else None)


def _complete_offsets(tree: Any) -> None:
    """`+00` is an offset to DuckDB; Trino wants `+00:00`."""
    from sqlglot import exp

    for cast in tree.find_all(exp.Cast):
        text = cast.this
        if cast.is_type("timestamptz") and isinstance(text, exp.Literal) and text.is_string:
            cast.set("this", exp.Literal.string(re.sub(r"([+-]\d\d)$", r"\1:00", text.this)))

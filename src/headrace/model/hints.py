"""Commands as a person can type them: every hint that names an object, a file or a table is worded here."""

from __future__ import annotations

import shlex

_WORDS = """
    all analyse analyze and anti any array as asc asof asymmetric at authorization binary both by case cast check
    collate collation column columns concurrently constraint create cross default deferrable desc describe
    distinct do else end except false fetch for foreign freeze from full generated glob group having ilike in
    initially inner intersect into is isnull join lambda lateral leading left like limit map natural not notnull
    null offset on only or order outer overlaps pivot pivot_longer pivot_wider placing positional primary qualify
    references returning right select semi show similar some struct summarize symmetric table tablesample then to
    trailing true try_cast tuple union unique unpack unpivot using variadic verbose when where window with
"""
RESERVED = frozenset(_WORDS.split())
"""What DuckDB takes for no table's name unless it is quoted (a test compares it with the engine's own list)."""


def typed(*words: object) -> str:
    """`headrace dlq show p 'in/trail .csv '`"""
    return shlex.join(["headrace", *map(str, words)])


def asking(table: str) -> str:
    """`headrace sql "SELECT * FROM readings LIMIT 10"`, with the name quoted where SQL wants that."""
    if table.lower() in RESERVED:
        return f"headrace sql 'SELECT * FROM \"{table}\" LIMIT 10'"
    return f'headrace sql "SELECT * FROM {table} LIMIT 10"'

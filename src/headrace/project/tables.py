"""Which relations people can query, and which files hold their rows now."""

from __future__ import annotations

from headrace.engine.home import Home
from headrace.engine.query import Relation
from headrace.local.ledger_history import History
from headrace.model.contract import LINEAGE
from headrace.model.loads import Shape

REJECTED = (
    *LINEAGE,
    ("_source_line", "BIGINT"),
    ("rule", "VARCHAR"),
    ("column", "VARCHAR"),
    ("value", "VARCHAR"),
    ("reason", "VARCHAR"),
    ("raw", "VARCHAR"),
)
"""Columns of `<table>__rejected`."""


def ledger_of(home: Home) -> History:
    """The ledger with its reading half, which every home's ledger has."""
    assert isinstance(home.ledger, History)
    return home.ledger


def relations(home: Home) -> dict[str, Relation]:
    """`<table>`, `<table>__rejected` and `<table>__losers` of each sink of a pipeline, over its standing files."""
    ledger = ledger_of(home)
    shape = _shape(home)
    columns = shape.columns
    names = {n for n, _ in (*columns, *LINEAGE)}
    partitions = tuple((n, _type_of(e)) for n, e in shape.partitions if n not in names)
    whole = (*columns, *LINEAGE, *partitions)

    def relation(kind: str, columns: tuple[tuple[str, str], ...]) -> Relation:
        files = ledger.files(kind)
        # The other kinds are written anew when a load of theirs leaves.
        named = {load for file in files for load in file.loads} if kind == "rejected" else set()
        gone = named - ledger.standing_among(named)
        return Relation(columns, tuple(home.root / file.path for file in files), tuple(sorted(gone)))

    three = {
        "": relation("data", whole),
        "__rejected": relation("rejected", REJECTED),
        "__losers": relation("losers", (*whole, ("_verdict", "VARCHAR"))),
    }
    return {sink.table + suffix: value for sink in home.pipeline.sinks for suffix, value in three.items()}


def _shape(home: Home) -> Shape:
    """What the tables hold, with what the definition has added since; a change that a replay waits for is not shown."""
    held, defined = home.ledger.shape(), home.shape
    if held is None:
        return defined
    return held.joined(defined) if held.admits(defined) else held


def _type_of(expression: str) -> str:
    """Partition columns that are not the row's own are parts of a time, and those are INTEGER."""
    return expression.rpartition("::")[2] or "INTEGER"

"""Which relations people can query, and which files hold their rows now."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.engine.home import Home
from headrace.engine.query import Relation
from headrace.model.contract import LINEAGE
from headrace.model.loads import DataFile, Shape

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


def relations(home: Home) -> dict[str, Relation]:
    """`<table>`, `<table>__rejected` and `<table>__losers` of each sink of a pipeline, over its standing files."""
    ledger = home.ledger
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
        return relation_over(home, columns, files, tuple(sorted(gone)))

    three = {
        "": relation("data", whole),
        "__rejected": relation("rejected", REJECTED),
        "__losers": relation("losers", (*whole, ("_verdict", "VARCHAR"))),
    }
    return {sink.table + suffix: value for sink in home.pipeline.sinks for suffix, value in three.items()}


def relation_over(
    home: Home, columns: tuple[tuple[str, str], ...], files: Sequence[DataFile], without: tuple[str, ...] = ()
) -> Relation:
    """A table over files of the base, which are brought here when it is asked."""
    paths = tuple(home.root / file.path for file in files)
    return Relation(columns, paths, without, lambda: home.files.bring(files))


def _shape(home: Home) -> Shape:
    """What the tables hold, with what the definition has added since; a change that a replay waits for is not shown."""
    held, defined = home.ledger.shape(), home.shape
    if held is None:
        return defined
    return held.joined(defined) if held.admits(defined) else held


def _type_of(expression: str) -> str:
    """Partition columns that are not the row's own are parts of a time, and those are INTEGER."""
    return expression.rpartition("::")[2] or "INTEGER"

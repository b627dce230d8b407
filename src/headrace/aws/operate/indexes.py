"""Indexes of tables that are there already: DynamoDB makes or deletes one at a time, and fills none with old rows.

A sparse index knows an item by an attribute that its writer sets, so what was written before has none. `compare.py`
tells which indexes differ; `plan` and `deploy` refuse what CloudFormation would refuse in the midst of an update.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from headrace.model.errors import UsageError

if TYPE_CHECKING:
    from headrace.aws.operate.compare import Change, Value

TABLE, PROPERTY = "AWS::DynamoDB::Table", "GlobalSecondaryIndexes"


def by_name(table: Mapping[str, Any]) -> dict[str, str]:
    """A table's indexes, each as one text with the types of its keys: any other text is another index."""
    types = {one["AttributeName"]: one["AttributeType"] for one in table.get("AttributeDefinitions", ())}
    return {one["IndexName"]: _said(one, types) for one in table.get(PROPERTY, ())}


def _said(index: Mapping[str, Any], types: Mapping[str, str]) -> str:
    keys = [f"{k['AttributeName']} ({types.get(k['AttributeName'], '?')}, {k['KeyType']})" for k in index["KeySchema"]]
    return f"{', '.join(keys)}, {index.get('Projection', {}).get('ProjectionType', 'ALL')}"


def made(values: Iterable[Value]) -> list[str]:
    """Names of indexes that a change of a table makes, anew or for the first time."""
    return [_name(value.path) for value in values if _is(value) and value.new is not None]


def gone(values: Iterable[Value]) -> list[str]:
    """Names of indexes that it deletes, also to make them anew."""
    return [_name(value.path) for value in values if _is(value) and value.old is not None]


def lacking(made: Iterable[str], table: str, pipeline: str) -> str:
    """What to know of new indexes of a table with rows."""
    said = ", ".join(f"index {name}" for name in made)
    filled = f"once the publisher of {pipeline} has put every row into it: `headrace status` says when"
    return f"{said} of {table} answers {filled}"


def refuse_several(which: str, changes: Iterable[Change]) -> None:
    """Raises UsageError HR846 for a table of which more than one index would be made or deleted."""
    for change in changes:
        if change.kind != TABLE or change.action != "changed":
            continue  # a table that is made, or made anew, may have several at once
        new, old = made(change.values), gone(change.values)
        if len(new) + len(old) > 1:
            said = [f"{verb} {', '.join(names)}" for verb, names in (("make", new), ("delete", old)) if names]
            found = f"table {change.name} would {' and '.join(said)}, and DynamoDB takes one index at a time"
            next = "declare one of these changes, `headrace deploy`, then the next"
            raise UsageError("HR846", which, found, next)


def _is(value: Value) -> bool:
    return value.path.startswith(f"{PROPERTY}.")


def _name(path: str) -> str:
    return path.removeprefix(f"{PROPERTY}.")

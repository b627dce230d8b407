"""What keyed stores can hold, as SQL over a row: rules like any other, so that all sinks hold the same rows.

The figures are DynamoDB's (Developer Guide, "Quotas"), and what is measured is the item that `aws.keyed_items` makes of
a row; the embedded store keeps to them too, so that a pipeline that runs on a laptop runs in the cloud. Called by
`contract.compile`.
"""

from __future__ import annotations

from collections.abc import Sequence

from headrace.model.contract import LINEAGE, Column
from headrace.model.fields import quoted

PARTITION_BYTES = 2048 - 1  # a text that begins like the control item's key is stored with one more
SORT_BYTES = 1024
ITEM_BYTES = 400 * 1024
INDEXES = 20
"""Most indexes of a table. Each keeps a copy of a value beside the row: there is room for that whether or not an index
is declared, so that one can be added without a row that stands being too large from then on."""
INDEX_BYTES = SORT_BYTES + len("_by_")  # longer text is in no index
_NUMBER = "1e126"  # no NaN, no infinity
_SCALAR_BYTES = 48  # the longest of our numbers, times and UUIDs as text
_STAMPS = ("_revision", "_generation")
_LINEAGE_BYTES = (
    sum(len(name) for name in (*_STAMPS, *(n for n, _ in LINEAGE)))
    + (1024 + len("!") + 1024)  # the longest object key, and a member of a zip
    + 2 * 256  # a version and a load's name
    + 4 * _SCALAR_BYTES
)
_LIFTED = "chr(0) || chr(1) || chr(2)"
"""Characters that take two in a sort key of several columns: see `sinks.keyed.ESCAPES`."""

Typed = tuple[str, str]


def keyed_limits(
    columns: Sequence[Column], key: Sequence[str], others: Sequence[Typed] = ()
) -> tuple[tuple[str, str], ...]:
    """(name, boolean SQL that must hold), named `key`, `number` or `size`. `others`: (name, DuckDB type) of what rows
    have beside the columns."""
    of = {c.name: c for c in columns}
    limits = [("key", _present(of[name])) for name in key if of[name].nullable or of[name].type.kind == "str"]
    texts = [name for name in key if of[name].type.kind == "str"]
    if key and key[0] in texts:
        limits.append(("key", f"strlen({quoted(key[0])}) <= {PARTITION_BYTES}"))
    limits += _sort(key[1:], [name for name in key[1:] if name in texts])
    floats = [quoted(c.name) for c in columns if c.type.kind == "float"]
    limits += [("number", f"coalesce(abs({name}) < {_NUMBER}, true)") for name in floats]
    kinds = [(c.name, c.type.sql) for c in columns]
    return (*limits, *_item([*kinds, *others], key))


def _present(column: Column) -> str:
    name = quoted(column.name)
    return f"{name} <> '' AND {name} IS NOT NULL" if column.type.kind == "str" else f"{name} IS NOT NULL"


def _sort(sort: Sequence[str], texts: Sequence[str]) -> list[tuple[str, str]]:
    """Several sort columns are joined, with a character between them; what a text has of such characters is lifted."""
    if not texts:
        return []
    if len(sort) == 1:
        return [("key", f"strlen({quoted(sort[0])}) <= {SORT_BYTES}")]
    room = SORT_BYTES - _SCALAR_BYTES * (len(sort) - len(texts)) - (len(sort) - 1)
    plain = " + ".join(f"coalesce(strlen(translate({quoted(n)}, {_LIFTED}, '')), 0)" for n in texts)
    whole = _bytes(texts)  # each lifted character is one that `plain` lacks
    return [("key", f"CASE WHEN {whole} <= {room // 2} THEN true ELSE 2 * ({whole}) - ({plain}) <= {room} END")]


def _item(columns: Sequence[Typed], key: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """An item is at most 400 KB: names and values together. The sum is only made where some text is long at all."""
    texts = [name for name, kind in columns if kind == "VARCHAR"]
    if not texts:
        return ()
    names = [len(name.encode()) for name, _ in columns]
    hidden = len("_pk") + len("_sk") + _SCALAR_BYTES + (SORT_BYTES if len(key) > 2 else _SCALAR_BYTES)
    copies = sum(length + INDEX_BYTES for length in sorted(names)[-INDEXES:])
    kept = sum(names) + _SCALAR_BYTES * (len(columns) - len(texts)) + hidden + _LINEAGE_BYTES + copies
    room = ITEM_BYTES - kept
    longest = f"greatest({', '.join(f'strlen({quoted(t)})' for t in texts)})"
    return (("size", f"CASE WHEN {longest} > {room // len(texts)} THEN {_bytes(texts)} <= {room} ELSE true END"),)


def _bytes(names: Sequence[str]) -> str:
    return " + ".join(f"coalesce(strlen({quoted(n)}), 0)" for n in names)

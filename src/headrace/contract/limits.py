"""What keyed stores can hold, as SQL over a row: rules like any other, so that all sinks hold the same rows.

The figures are DynamoDB's (Developer Guide, "Quotas"); the embedded store keeps to them too, so that a pipeline that
runs on a laptop runs in the cloud. Called by `contract.compile`.
"""

from __future__ import annotations

from collections.abc import Sequence

from headrace.model.contract import Column
from headrace.model.fields import quoted

PARTITION_BYTES = 2048
SORT_BYTES = 1024
ITEM_BYTES = 400 * 1024
_NUMBER = "1e126"  # no NaN, no infinity
_SCALAR_BYTES = 48  # the longest of our numbers, times and UUIDs as text


def keyed_limits(columns: Sequence[Column], key: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """(name, boolean SQL that must hold), named `key`, `number` or `size`."""
    of = {c.name: c for c in columns}
    limits = [("key", _present(of[name])) for name in key if of[name].nullable or of[name].type.kind == "str"]
    texts = [name for name in key if of[name].type.kind == "str"]
    if key and key[0] in texts:
        limits.append(("key", f"strlen({quoted(key[0])}) <= {PARTITION_BYTES}"))
    sort = [name for name in key[1:] if name in texts]
    if sort:
        others = _SCALAR_BYTES * (len(key) - 1 - len(sort)) + len(key)
        limits.append(("key", f"{_bytes(sort)} <= {SORT_BYTES - others}"))
    floats = [quoted(c.name) for c in columns if c.type.kind == "float"]
    limits += [("number", f"coalesce(abs({name}) < {_NUMBER}, true)") for name in floats]
    return (*limits, *_item(columns))


def _present(column: Column) -> str:
    name = quoted(column.name)
    return f"{name} <> '' AND {name} IS NOT NULL" if column.type.kind == "str" else f"{name} IS NOT NULL"


def _item(columns: Sequence[Column]) -> tuple[tuple[str, str], ...]:
    """An item is at most 400 KB: names and values together. The sum is only made where some text is long at all."""
    texts = [c.name for c in columns if c.type.kind in ("str", "json")]
    if not texts:
        return ()
    names = sum(len(c.name.encode()) for c in columns) + 256  # 256: the lineage columns
    room = ITEM_BYTES - names - _SCALAR_BYTES * (len(columns) - len(texts)) - 1024  # 1024: the longest object key
    longest = f"greatest({', '.join(f'strlen({quoted(t)})' for t in texts)})"
    return (("size", f"CASE WHEN {longest} > {room // len(texts)} THEN {_bytes(texts)} <= {room} ELSE true END"),)


def _bytes(names: Sequence[str]) -> str:
    return " + ".join(f"coalesce(strlen({quoted(n)}), 0)" for n in names)

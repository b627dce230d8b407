"""What `get` asks for, as conditions on the stored sort key: one meaning for SQLite and DynamoDB.

Used by the lookups of both homes, which turn the conditions into their own language. Encoding is `sinks.keyed`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from headrace.model.errors import UsageError
from headrace.sinks.keyed import AFTER, Key, escaped

Operator = Literal["=", ">=", "<=", "<"]
Condition = tuple[Operator, int | str]

_TIMES = ("TIMESTAMP", "TIMESTAMPTZ")


def conditions(key: Key, at: Any, begins_with: str | None, start: Any, end: Any) -> list[Condition]:
    """All of these must hold for the sort key of an item; none where every item of the partition is meant.

    Raises UsageError HR722 for a value that no key can hold, or for bounds where the key is one column.
    """
    if all(bound is None for bound in (at, begins_with, start, end)):
        return []
    if not key.sort:
        raise UsageError(
            "HR722", "sort key", "this table's key is one column, it has no sort key", "give the key alone"
        )
    return list(_conditions(key, at, begins_with, start, end))


def _conditions(key: Key, at: Any, begins_with: str | None, start: Any, end: Any) -> Iterator[Condition]:
    if at is not None:
        yield "=", key.encode_sort(_tuple(at))
    if begins_with:
        prefix = _prefix(key, begins_with)
        yield ">=", prefix
        yield "<", _beyond(prefix)
    if start is not None:
        yield ">=", _bound(key, start, last=False)
    if end is not None:
        yield ("<=" if len(key.sort) == 1 else "<"), _bound(key, end, last=True)


def _tuple(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _bound(key: Key, value: Any, *, last: bool) -> int | str:
    """A bound that includes `value`: in a joined key, the upper one is the least text beyond its leading values."""
    values = _tuple(value)
    if len(key.sort) == 1:
        return key.encode_sort(values)
    if len(values) > len(key.sort):
        raise UsageError("HR722", "sort key", f"{len(values)} values for {len(key.sort)} columns")
    if len(values) == len(key.sort):
        whole = key.encode_sort(values)
        return f"{whole}\x00" if last else whole
    prefix = key.encode_prefix(values)
    return prefix[:-1] + AFTER if last else prefix


def _prefix(key: Key, text: str) -> str:
    """What the sort keys meant by `begins_with` begin with."""
    first = key.sort[0]
    if first.type in _TIMES:
        return text.replace(" ", "T", 1)
    if first.type == "VARCHAR":
        return text if len(key.sort) == 1 else escaped(text)
    if first.type in ("DATE", "UUID"):
        return text
    found = f"a {first.type.lower()} has no beginning"
    raise UsageError("HR722", f"begins_with on {first.name!r}", found, "use --from and --to (in Python: start and end)")


def _beyond(prefix: str) -> str:
    """The least text above everything that begins with `prefix`, by code points."""
    kept = prefix.rstrip(chr(0x10FFFF))
    if not kept:
        return prefix + chr(0x10FFFF) * 1024  # longer than any sort key
    point = ord(kept[-1]) + 1
    return kept[:-1] + chr(0xE000 if point == 0xD800 else point)

"""JSON values as text cells: from the literals of a column to one Arrow string array.

A string is unescaped, `null` is null, everything else keeps its literal: 1.10 stays 1.10, and integers of any length
stay what they are. Called by `json`.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

_text = msgspec.json.Decoder(str)


def cell(value: bytes) -> str | None:
    """One JSON value as a cell."""
    if value[:1] == b'"':
        return _text.decode(value)
    return None if value == b"null" else value.decode()


NULL = pa.scalar(b"null", pa.binary())


def column(values: Sequence[bytes | None]) -> pa.Array:
    """A column of JSON values, already validated as UTF-8 JSON, as text; None where a record lacks the key."""
    raw = pa.array(values, pa.binary())
    quoted = pc.starts_with(raw, b'"')
    inner = pc.binary_slice(raw, 1, -1) if len(raw) else raw
    bare = pc.if_else(pc.equal(raw, NULL), pa.scalar(None, pa.binary()), raw)
    text = pc.if_else(quoted, inner, bare)
    escaped = pc.fill_null(pc.and_(quoted, pc.match_substring(raw, b"\\")), False)
    if pc.any(escaped).as_py():
        fixed = [_text.decode(v).encode() for v in raw.filter(escaped).to_pylist()]
        text = pc.replace_with_mask(text, escaped, pa.array(fixed, pa.binary()))
    return text.cast(pa.string())

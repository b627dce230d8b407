"""`row_hash()`: a deterministic id from what the source said, for rows that bring none.

MD5 over the cells of all read columns in contract order, as read (after texts that mean null became null), absent
columns as null: first the byte length of every cell, then the cells, so that no two different rows give the same
text. No load time, no file name: the same row in another file has the same id. As text it is the 32 hex digits of MD5;
as UUID the same digits in the same order. Both exist in every engine. Called by `contract.query`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from headrace.model.contract import Type

ROW_HASH = re.compile(r"\brow_hash\s*\(\s*\)", re.IGNORECASE)


def expand_row_hash(sql: str, cells: Sequence[str | None], of: Type, *, empty_is_null: bool) -> str:
    """`sql` with each `row_hash()` replaced by its meaning over `cells` (SQL names; None for an absent column)."""
    hashed = f"md5({canonical(cells, empty_is_null=empty_is_null)})"
    if of.kind == "uuid":
        hashed = f"({hashed})::UUID"
    if ROW_HASH.fullmatch(sql.strip()):
        return hashed
    return f"TRY(CAST(({ROW_HASH.sub(lambda _: hashed, sql)}) AS {of.sql}))"


def canonical(cells: Sequence[str | None], *, empty_is_null: bool) -> str:
    """SQL for the text that is hashed: `3,,5|abcdefgh` for ('abc', null, 'defgh')."""
    null = 0 if empty_is_null else -1
    lengths = ", ".join(f"coalesce(strlen({c}), {null})" if c else str(null) for c in cells)
    texts = "".join(f", {c}" for c in cells if c)
    return f"concat(concat_ws(',', {lengths}), '|'{texts})"

"""The headers of a file as names to speak of: in its own words, each once. Called by `sheet`, `excel` and `parquet`.

Which of them feeds which column is decided by `contract.headers`.
"""

from __future__ import annotations

from collections.abc import Sequence

from headrace.formats.dialect import names_of, read_columns
from headrace.model.contract import Contract
from headrace.model.errors import BadObject
from headrace.model.record import squash


def headers_of(which: str, found: Sequence[str], contract: Contract | None) -> tuple[str, ...]:
    """Names of the headers that were found in `which`.

    HR408 where one stands twice and a column wants it; without a contract each would become a column.
    """
    wanted = {squash(n): c.name for c in read_columns(contract) for n in names_of(c)} if contract else None
    first: dict[str, int] = {}
    for position, header in enumerate(found):
        if first.setdefault(header, position) == position or not header.strip():
            continue
        column = header if wanted is None else wanted.get(squash(header))
        if column is not None:
            text = f"header {header!r} stands twice (columns {first[header] + 1} and {position + 1})"
            raise BadObject("HR408", which, f"{text}: both would be {column!r}", "rename one")
    return unique_headers(found)


def unique_headers(found: Sequence[str]) -> tuple[str, ...]:
    """A repeated one becomes `name_2`, a blank one `column_7` (position from 1), unless another is called so."""
    written, names = set(found), dict[str, None]()
    for position, text in enumerate(found, 1):
        base = text if text.strip() else f"column_{position}"
        name, n = base, 2
        while name in names or (name != text and name in written):
            name, n = f"{base}_{n}", n + 1
        names[name] = None
    return tuple(names)

"""Which header of a file feeds which column. Called by `contract.query`, and by whoever wants to tell about it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from headrace.model.contract import Column, Contract
from headrace.model.errors import BadObject
from headrace.model.record import squash
from headrace.model.where import meant


def read_columns(contract: Contract) -> list[Column]:
    """The columns that come from a file, in contract order."""
    return [c for c in contract.columns if c.sql is None]


def bind_headers(contract: Contract, headers: Sequence[str]) -> dict[str, int]:
    """Index into `headers` for each read column that has one; absent optional columns are left out.

    Headers match on letters and digits, without case; where several do, only one that `column("…")` writes exactly so
    is meant for certain. The first of a column's names that is found wins. Raises BadObject: HR451 a required column
    has no header, HR452 two headers fit one column, HR453 headers are left over and the contract says extra="reject".
    A declared header-less CSV binds in order.
    """
    folded: dict[str, list[int]] = defaultdict(list)
    for index, header in enumerate(headers):
        folded[squash(header)].append(index)
    exact = {header: index for index, header in enumerate(headers)}
    bound: dict[str, int] = {}
    for column in read_columns(contract):
        found = _find(column, headers, folded, exact)
        if found is not None:
            bound[column.name] = found
    if contract.csv.header is False and not bound:
        bound = {c.name: i for i, c in enumerate(read_columns(contract)) if i < len(headers)}
    _refuse_missing(contract, headers, bound)
    left = extra_headers(headers, bound)
    if left and contract.extra == "reject":
        text = f"headers that no column wants: {_listed([headers[i] for i in left])}"
        raise BadObject("HR453", "headers", text, "add columns for them, or set extra='ignore' or 'keep'")
    return bound


def extra_headers(headers: Sequence[str], bound: Mapping[str, int]) -> list[int]:
    """Indexes of headers that feed no column."""
    used = set(bound.values())
    return [i for i in range(len(headers)) if i not in used]


def _find(
    column: Column, headers: Sequence[str], folded: Mapping[str, list[int]], exact: Mapping[str, int]
) -> int | None:
    if column.path is not None and column.path in exact:
        return exact[column.path]
    for name in column.headers or (column.name,):
        found = folded.get(squash(name), [])
        if len(found) > 1 and name in column.headers and name in exact:
            return exact[name]
        if len(found) > 1:
            text = f"column {column.name!r} fits {len(found)} headers: {_listed([headers[i] for i in found])}"
            raise BadObject("HR452", "headers", text, "rename one in the file, or name the wanted one with column('…')")
        if found:
            return found[0]
    return None


def _refuse_missing(contract: Contract, headers: Sequence[str], bound: Mapping[str, int]) -> None:
    missing = [c for c in read_columns(contract) if c.name not in bound and not c.optional]
    if not missing:
        return
    free = [headers[i] for i in extra_headers(headers, bound)]
    if not headers:
        next = "the file has no header"
    elif len(missing) == 1:
        next = meant(missing[0].name, free or headers)
    else:
        next = f"headers are {_listed(headers)}"
    named = _listed([c.headers[0] if c.headers else c.name for c in missing])
    raise BadObject("HR451", "headers", f"no header for {named}", next)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(n) for n in names[:12])
    return f"{shown} and {len(names) - 12} more" if len(names) > 12 else shown

"""Single records of an object, read again as they were read when it was loaded: text, line and cells.

Only the version that was loaded is ever shown; once the store holds another one, the answer is empty. Called by
`explain` and `quarantine export`.
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.engine.home import Home
from headrace.model.contract import Contract
from headrace.model.errors import BadObject, InfrastructureError, StoreUnavailable
from headrace.model.fields import cell_name

if TYPE_CHECKING:
    import duckdb

    from headrace.formats.dialect import Dialect
    from headrace.formats.rows import Rows


@dataclass(frozen=True, slots=True)
class Peeked:
    """One record: the physical line it starts on, its text as in the file, and its cells by header (none if ragged)."""

    line: int
    raw: str
    cells: dict[str, str | None]
    headers: tuple[str, ...] = ()


def peek(home: Home, key: str, version: str, wanted: Mapping[str, Sequence[int]]) -> dict[tuple[str, int], Peeked]:
    """(member, record) → those of the wanted records that exist, by member of a zip ("" for what is none).

    Empty when the store does not hold that version any more.
    """
    from headrace.engine.sandbox import Sandbox

    load = next((x for x in reversed(home.ledger.history(key)) if x.version == version), None)
    if load is None:
        return {}
    with tempfile.TemporaryDirectory(prefix="headrace-peek-") as scratch:
        copy = Path(scratch) / "object"
        if not _fetched(home, key, version, copy):
            return {}
        payload = {
            "contract": home.ledger.contract(load.contract).to_dict(),
            "key": key,
            "path": str(copy),
            "scratch": scratch,
            "dialect": dict(load.dialect),
            "wanted": [[member or None, list(records)] for member, records in wanted.items()],
            "memory_limit": home.settings.memory_limit,
            "threads": home.settings.threads,
        }
        with Sandbox(home.settings, writable=[Path(scratch)], preload=["headrace.formats.open"]) as child:
            answer = child.call(f"{__name__}:handle", payload, home.settings.child_timeout)
    return {
        (found["member"] or "", found["record"]): Peeked(
            found["line"], found["raw"], found["cells"], tuple(found["headers"])
        )
        for found in answer["records"]
    }


def _fetched(home: Home, key: str, version: str, into: Path) -> bool:
    """Copy that version to `into`, from the landing folder or from where `after="archive"` moved it.

    Raises StoreUnavailable: while the place cannot be read, nothing can be said of a version.
    """
    try:
        if home.store.stat(key) is not None and home.store.fetch(key, into)[1] == version:
            return True
    except StoreUnavailable:
        raise
    except (BadObject, InfrastructureError):
        pass  # it is being replaced: that version is no longer here
    return home.store.fetch_archived(key, version, into)


def handle(payload: dict[str, Any]) -> dict[str, Any]:
    """In the child: asked records of one local copy, as {"records": [{member, record, line, raw, cells, headers}]}."""
    from headrace.engine.sql import engine_connection
    from headrace.formats.dialect import Dialect
    from headrace.formats.open import open_input
    from headrace.formats.rows import Item

    scratch, wanted = Path(payload["scratch"]), dict(payload["wanted"])
    pinned = {0: Dialect.from_dict(payload["dialect"])} if payload["dialect"] else {}
    item = Item(0, payload["key"], Path(payload["path"]))
    found: list[dict[str, Any]] = []
    with engine_connection(payload["memory_limit"], payload["threads"], [scratch], scratch) as db:
        for rows in open_input(db, Contract.from_dict(payload["contract"]), [item], scratch, pinned):
            found += _read(db, rows, wanted)
            if len(found) == sum(map(len, wanted.values())):
                break
    return {"records": found}


def _read(
    db: duckdb.DuckDBPyConnection, rows: Rows, wanted: Mapping[str | None, Sequence[int]]
) -> list[dict[str, Any]]:
    from headrace.formats.dialect import pinned_for

    cells: dict[tuple[str | None, int], dict[str, str | None]] = {}
    if rows.numbered:
        names = "".join(f", {cell_name(i)}" for i in range(len(rows.headers)))
        places = [(member or "", n) for member, records in wanted.items() for n in records]
        found = db.execute(
            f"SELECT _member, _record{names} FROM {rows.relation}"
            " WHERE (coalesce(_member, ''), _record) IN (SELECT (unnest(?::VARCHAR[]), unnest(?::BIGINT[])))",
            [[member for member, _ in places], [n for _, n in places]],
        ).fetchall()
        cells = {(row[0], row[1]): dict(zip(rows.headers, row[2:], strict=True)) for row in found}
    else:
        db.execute(f"SELECT count(*) FROM {rows.relation}").fetchall()
    rows.finish()
    headers = list(rows.headers)
    return [
        {
            "member": member,
            "record": r,
            "line": line,
            "raw": raw,
            "cells": cells.get((member, r)) or _split(raw, headers, pinned_for(0, member, rows.dialects)),
            "headers": headers,
        }
        for (_, member, r), (line, raw) in rows.raw({(0, m): list(n) for m, n in wanted.items()}).items()
    ]


def _split(raw: str, headers: Sequence[str], dialect: Dialect | None) -> dict[str, str | None]:
    """Cells of one record of delimited text; none where their number is not that of the headers."""
    if dialect is None or dialect.kind != "csv":
        return {}
    quote, escape = dialect.quote or None, dialect.escape
    reader = csv.reader(
        raw.splitlines(keepends=True),
        delimiter=dialect.delimiter,
        quotechar=quote,
        quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
        doublequote=escape in ("", quote),
        escapechar=None if escape in ("", quote) else escape,
    )
    parsed = next(reader, [])
    return dict(zip(headers, parsed, strict=True)) if len(parsed) == len(headers) else {}

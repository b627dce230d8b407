"""Single records of an object, read again as they were read when it was loaded: text, line and cells.

Only the version that was loaded is ever shown; once the store holds another one, the answer is empty. Called by
`explain` and `quarantine export`.
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.engine.home import Home
from headrace.model.contract import Contract
from headrace.model.errors import BadObject, InfrastructureError, StoreUnavailable

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


def peek(home: Home, key: str, member: str, version: str, records: Sequence[int]) -> dict[int, Peeked]:
    """Records of an object, or of that member of a zip; empty when the store does not hold that version any more."""
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
            "member": member or None,
            "path": str(copy),
            "scratch": scratch,
            "dialect": dict(load.dialect),
            "records": list(records),
            "memory_limit": home.settings.memory_limit,
            "threads": home.settings.threads,
        }
        with Sandbox(home.settings, writable=[Path(scratch)], preload=["headrace.formats.open"]) as child:
            answer = child.call(f"{__name__}:handle", payload, home.settings.child_timeout)
    return {
        found["record"]: Peeked(found["line"], found["raw"], found["cells"], tuple(found["headers"]))
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
    """In the child: the asked records of one local copy, as {"records": [{record, line, raw, cells, headers}]}."""
    from headrace.engine.sql import engine_connection
    from headrace.formats.dialect import Dialect
    from headrace.formats.open import open_input
    from headrace.formats.rows import Item

    scratch, member, records = Path(payload["scratch"]), payload["member"], payload["records"]
    pinned = {0: Dialect.from_dict(payload["dialect"])} if payload["dialect"] else {}
    item = Item(0, payload["key"], Path(payload["path"]))
    with engine_connection(payload["memory_limit"], payload["threads"], [scratch], scratch) as db:
        for rows in open_input(db, Contract.from_dict(payload["contract"]), [item], scratch, pinned):
            found = _read(db, rows, member, records)
            if found:
                return {"records": found}
    return {"records": []}


def _read(
    db: duckdb.DuckDBPyConnection, rows: Rows, member: str | None, records: Sequence[int]
) -> list[dict[str, Any]]:
    from headrace.formats.dialect import pinned_for

    cells: dict[int, dict[str, str | None]] = {}
    if rows.numbered:
        names = "".join(', "' + h.replace('"', '""') + '"' for h in rows.headers)
        wanted = ", ".join(str(int(r)) for r in records)
        found = db.execute(
            f"SELECT _record{names} FROM {rows.relation}"
            f" WHERE _member IS NOT DISTINCT FROM ? AND _record IN ({wanted})",
            [member],
        ).fetchall()
        cells = {row[0]: dict(zip(rows.headers, row[1:], strict=True)) for row in found}
    else:
        db.execute(f"SELECT count(*) FROM {rows.relation}").fetchall()
    rows.finish()
    dialect = pinned_for(0, member, rows.dialects)
    headers = list(rows.headers)
    return [
        {
            "record": r,
            "line": line,
            "raw": raw,
            "cells": cells.get(r) or _split(raw, headers, dialect),
            "headers": headers,
        }
        for (_, _, r), (line, raw) in rows.raw({(0, member): list(records)}).items()
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

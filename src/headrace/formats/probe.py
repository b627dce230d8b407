"""Files seen without any contract, for `headrace init --from`: headers, and every row as text.

Not for loading: here evidence alone decides how a file is read. Called by the command line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from headrace.formats.dialect import Dialect
from headrace.formats.open import open_input
from headrace.formats.rows import Item, Misfit, Rows


@dataclass(frozen=True, slots=True)
class Probe:
    """What one group of alike files shows: `relation` is as in Rows, and may be read many times.

    `dialect` is the first file's. `rows` counts good rows, `misfits` the records that have another shape.
    """

    headers: tuple[str, ...]
    relation: str
    files: tuple[Path, ...]
    dialect: Dialect
    rows: int
    misfits: tuple[Misfit, ...]


def sniff(connection: duckdb.DuckDBPyConnection, paths: Sequence[Path], scratch: Path) -> list[Probe]:
    """Read the files whole and group those of one format, dialect and header; the largest group first.

    The rows are kept in temporary tables `probe_0`, `probe_1`, … of the connection. Raises BadItem.
    """
    items = [Item(i, path.name, path) for i, path in enumerate(paths)]
    found = [
        _probe(connection, n, rows, paths) for n, rows in enumerate(open_input(connection, None, items, scratch, {}))
    ]
    return sorted(found, key=lambda p: -p.rows)


def _probe(connection: duckdb.DuckDBPyConnection, n: int, rows: Rows, paths: Sequence[Path]) -> Probe:
    table = f"probe_{n}"
    connection.execute(f"create or replace temp table {table} as select * from {rows.relation}")
    counted = connection.execute(f"select count(*) from {table}").fetchone()
    assert counted is not None
    return Probe(
        headers=rows.headers,
        relation=table,
        files=tuple(paths[i] for i in rows.dialects),
        dialect=next(iter(rows.dialects.values())),
        rows=counted[0],
        misfits=tuple(rows.finish().misfits),
    )

"""Corrected records, put in place of what the file says before anything is cast.

A correction is a stored input, bound to one version and one record, and holds the whole row by header. It goes the
same way as every other row: a corrected record that is still wrong is rejected again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import duckdb
import pyarrow as pa

from headrace.formats.rows import Finish, Misfit, Rows
from headrace.model.fields import cell_name

Corrections = Mapping[int, Sequence[tuple[str, int, Mapping[str, str | None]]]]


class CorrectedRows:
    """Rows with some records replaced. Numbered, whatever the reader was: corrections are rare and small."""

    numbered = True
    plain = False  # a correction may hold anything
    member = None

    def __init__(self, relation: str, rows: Rows, misfits: Sequence[Misfit], raw: dict[tuple[int, str, int], str]):
        self.headers, self.item, self.dialects = rows.headers, rows.item, rows.dialects
        self.relation = relation
        self._rows, self._misfits, self._raw = rows, misfits, raw

    def finish(self, rows: int | None = None) -> Finish:
        return Finish(misfits=list(self._misfits), skipped_before=[])

    def raw(
        self, wanted: Mapping[tuple[int, str | None], Sequence[int]]
    ) -> dict[tuple[int, str | None, int], tuple[int, str]]:
        """As the reader tells it, but a corrected record shows its corrected cells."""
        found = dict(self._rows.raw(wanted))
        for (item, member, record), (line, _) in list(found.items()):
            text = self._raw.get((item, member or "", record))
            if text is not None:
                found[(item, member, record)] = (line, text)
        return found


def corrected(db: duckdb.DuckDBPyConnection, n: int, rows: Rows, corrections: Corrections) -> CorrectedRows:
    """Materialise a group as text with the corrections of its items applied."""
    if rows.numbered:
        db.execute(f"create temp table text{n} as select * from {rows.relation}")
        misfits = list(rows.finish().misfits)
    else:
        created = db.execute(f"create temp table plain{n} as select * from {rows.relation}").fetchone()
        finish = rows.finish(created[0] if created else None)
        misfits = list(finish.misfits)
        db.register(f"skips_{n}", pa.table({"place": pa.array(finish.skipped_before, pa.int64())}))
        member = "null" if rows.member is None else "'" + rows.member.replace("'", "''") + "'"
        db.execute(
            f"create temp table text{n} as select t.*, {rows.item}::integer as _item, {member}::varchar as _member,"
            f" t.rowid + 1 + (select count(*) from skips_{n} s where s.place <= t.rowid) as _record from plain{n} t"
        )
    raw: dict[tuple[int, str, int], str] = {}
    for item in [i for i in corrections if i in rows.dialects]:
        for member_name, record, cells in corrections[item]:
            _replace(db, f"text{n}", rows, item, member_name or None, record, cells)
            raw[(item, member_name, record)] = json.dumps(dict(cells), ensure_ascii=False)
            misfits = [m for m in misfits if (m.item, m.member or "", m.record) != (item, member_name, record)]
    return CorrectedRows(f"text{n}", rows, misfits, raw)


def _replace(
    db: duckdb.DuckDBPyConnection,
    table: str,
    rows: Rows,
    item: int,
    member: str | None,
    record: int,
    cells: Mapping[str, str | None],
) -> None:
    db.execute(
        f"delete from {table} where _item = ? and _member is not distinct from ? and _record = ?",
        [item, member, record],
    )
    names = ", ".join(map(cell_name, range(len(rows.headers))))
    marks = ", ".join("?" * (len(rows.headers) + 3))
    db.execute(
        f"insert into {table} ({names}, _item, _member, _record) values ({marks})",
        [*(cells.get(h) for h in rows.headers), item, member, record],
    )

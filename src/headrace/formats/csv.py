"""Delimited text into rows of text cells, by DuckDB's reader at full speed and without its sniffer.

One big file is one un-numbered `read_csv`; many small ones of one shape are read together and numbered. A record that
does not have the header's shape becomes a Misfit, never a shifted row. Called by `open`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import duckdb
import pyarrow as pa

from headrace.formats import scan
from headrace.formats.archive import Part
from headrace.formats.dialect import Dialect, pinned_for
from headrace.formats.lines import LineIndex
from headrace.formats.rows import BadItem, Blame, Finish, Group, Misfit, Place, fresh_name, literal
from headrace.formats.sheet import Sheet, mended, prepare
from headrace.model.contract import Contract
from headrace.model.errors import BadObject
from headrace.model.fields import cell_name

BIG = 8 << 20
"""Bytes from which a file is read on its own, un-numbered: grouping saves only the cost of opening."""

TOGETHER = 64 << 20
"""Bytes of small files read as one group."""


def open_csv(
    connection: duckdb.DuckDBPyConnection,
    contract: Contract | None,
    parts: Sequence[Part],
    pinned: Mapping[int, Dialect],
) -> list[OneCsv | ManyCsv]:
    """Rows of the parts, those of one dialect and header together. Raises BadItem for the unreadable ones."""
    groups: dict[tuple[object, ...], list[Sheet]] = {}
    blame = Blame()
    for part in parts:
        with blame.of(part.item):
            whole = pinned.get(part.item)
            pin = pinned_for(part.item, part.member, pinned)
            sheet = prepare(part, contract, pin, whole.members if whole else {})
            groups.setdefault(_alike(sheet), []).append(sheet)
    blame.tell()
    nulls = contract.null if contract else ("",)
    found: list[OneCsv | ManyCsv] = []
    for sheets in groups.values():
        small = [s for s in sheets if s.path.stat().st_size < BIG]
        found += [OneCsv(connection, s, nulls) for s in sheets if s.path.stat().st_size >= BIG]
        for batch in _batches(small):
            one = len(batch) == 1 and not batch[0].empty
            found.append(OneCsv(connection, batch[0], nulls) if one else ManyCsv(connection, batch, nulls))
    return found


def _alike(sheet: Sheet) -> tuple[object, ...]:
    d = sheet.dialect
    newline = "lf" if d.newline == "mixed" else d.newline
    return (sheet.headers, d.delimiter, d.quote, d.escape, d.header, newline)


def _batches(sheets: Sequence[Sheet]) -> list[list[Sheet]]:
    batches: list[list[Sheet]] = []
    size = 0
    for sheet in sheets:
        size += sheet.path.stat().st_size
        if size > TOGETHER or not batches:
            batches.append([])
            size = sheet.path.stat().st_size
        batches[-1].append(sheet)
    return batches


# -- reading ----------------------------------------------------------------------------------------------------------


def _read_csv(paths: Sequence[Path], sheet: Sheet, nulls: Sequence[str], rejects: str, more: str = "") -> str:
    """The reader, told everything: nothing is sniffed. A cell that is empty is null if the contract says so."""
    d = sheet.dialect
    columns = ", ".join(f"{cell_name(i)}: 'VARCHAR'" for i in range(len(sheet.headers)))
    files = ", ".join(literal(str(p)) for p in paths)
    newline = {"crlf": "\\r\\n", "cr": "\\r"}.get(d.newline, "\\n")
    return (
        f"read_csv([{files}], auto_detect=false, header={'true' if d.header else 'false'}, new_line={literal(newline)},"
        f" delim={literal(d.delimiter)}, quote={literal(d.quote)}, escape={literal(d.escape)},"
        f" nullstr={literal('' if '' in nulls else _NEVER)}, columns={{{columns}}}, store_rejects=true,"
        f" rejects_limit=0, rejects_line_size_limit=1, rejects_table={literal(rejects)},"
        f" rejects_scan={literal(rejects + '_scans')}{more})"
    )


_NEVER = "\x01headrace: no cell holds this\x01"


class OneCsv(Group):
    """One file, un-numbered: its n-th good row is the n-th row of the relation."""

    numbered = False

    def __init__(self, connection: duckdb.DuckDBPyConnection, sheet: Sheet, nulls: Sequence[str]) -> None:
        super().__init__(sheet.headers, {sheet.place: sheet.dialect})
        self._connection, self._sheet = connection, sheet
        self.plain = sheet.plain
        self._records: int | None = None
        self._index: LineIndex | None = None
        self.member = sheet.place[1]
        self._rejects = fresh_name("misfits")
        self.relation = _read_csv([sheet.path], sheet, nulls, self._rejects)

    def finish(self, rows: int | None = None) -> Finish:
        sheet = self._sheet
        rejected = _rejected(self._connection, self._rejects, sheet.shape.single).get(str(sheet.path), {})
        self._index = None if rows is None or sheet.dialect.careful else _line_index(sheet, rows + len(rejected))
        self._records = None if rows is None else rows + len(rejected)
        if rejected and _doubtful(sheet, rejected, None if self._index else self._records):
            raise _again(sheet)
        misfits = _misfits(sheet, rejected, self._index)
        return Finish(misfits, [m.record - 1 - n for n, m in enumerate(misfits)])

    def raw(self, wanted: Mapping[Place, Sequence[int]]) -> dict[tuple[int, str | None, int], tuple[int, str]]:
        index, records, sheet = self._index, self._records, self._sheet
        if index is None or records is None:
            return _raw([sheet], wanted)
        header = int(sheet.dialect.header)
        return {
            (*sheet.place, n): (n + header + sheet.lines_before, _text(index.text(n + header)))
            for n in wanted.get(sheet.place, ())
            if 0 < n <= records
        }


def _line_index(sheet: Sheet, records: int) -> LineIndex | None:
    """An index by line, if counting proves that lines are records: no blank one, no line end inside quotes."""
    index = LineIndex(sheet.path, sheet.shape.end, sheet.shape.newline == "crlf")
    return index if index.total == records + int(sheet.dialect.header) else None


class ManyCsv(Group):
    """Small files of one shape, read at once into a temporary table and numbered by where each file's rows begin."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, sheets: Sequence[Sheet], nulls: Sequence[str]) -> None:
        full = [s for s in sheets if not s.empty]
        table, rows, rejected = _read_together(connection, full, sheets[0].headers, nulls)
        if doubtful := _misread(full, rows, rejected):
            full = [_mended(s) if s in doubtful else s for s in full]
            table, rows, rejected = _read_together(connection, full, sheets[0].headers, nulls)
            for sheet in _misread(full, rows, rejected):
                raise _again(sheet)
        self._sheets = [*full, *(s for s in sheets if s.empty)]
        super().__init__(sheets[0].headers, {s.place: s.dialect for s in self._sheets})
        misfits = {str(s.path): _misfits(s, rejected.get(str(s.path), {})) for s in full}
        self.plain = all(s.plain for s in self._sheets)
        self._finish = Finish([m for s in full for m in misfits[str(s.path)]])
        stretches = f"{table}_stretches"
        connection.register(stretches, _stretches(full, rows, misfits))
        names = "".join(f"t.{cell_name(i)}, " for i in range(len(self.headers)))
        self.relation = (
            f"(select {names}s._item, s._member, t.rowid - s.shift as _record"
            f" from {table} t asof join {stretches} s on t.rowid >= s.start)"
        )

    def finish(self, rows: int | None = None) -> Finish:
        return self._finish

    def raw(self, wanted: Mapping[Place, Sequence[int]]) -> dict[tuple[int, str | None, int], tuple[int, str]]:
        return _raw(self._sheets, wanted)


Rejected = dict[str, dict[int, tuple[str, bool]]]
"""Per file: byte position of each rejected record → (why, in words; whether its quotes were found broken twice)."""


def _read_together(
    connection: duckdb.DuckDBPyConnection, sheets: Sequence[Sheet], headers: Sequence[str], nulls: Sequence[str]
) -> tuple[str, dict[str, tuple[int, int]], Rejected]:
    """(a temporary table of all rows, per file its first rowid and number of rows, what was rejected)."""
    table = fresh_name("csv")
    if not sheets:
        cells = ", ".join(f"null::varchar as {cell_name(i)}" for i in range(len(headers))) or "null"  # at least one
        connection.execute(f"create temp table {table} as select {cells} limit 0")
        return table, {}, {}
    reader = _read_csv([s.path for s in sheets], sheets[0], nulls, f"{table}_misfits", ", filename='_file'")
    connection.execute(f"create temp table {table} as select * from {reader}")
    rows = connection.execute(f"select _file, min(rowid), count(*) from {table} group by 1").fetchall()
    return (
        table,
        {file: (first, n) for file, first, n in rows},
        _rejected(connection, f"{table}_misfits", len(headers) == 1),
    )


def _misread(sheets: Sequence[Sheet], rows: Mapping[str, tuple[int, int]], rejected: Rejected) -> list[Sheet]:
    """Those of many files read together whose records are not all among the rows and rejects, or may be cut wrongly.

    Each with a quote in it is counted: where DuckDB has more than two files for each thread it reads every one in one
    piece, and then does not tell that a file ended within quotes. All from the open quote on would be gone.
    """
    found = []
    for sheet in sheets:
        told = rejected.get(str(sheet.path), {})
        proof = _records(sheet, rows, rejected) if told or sheet.quotes else None
        if _doubtful(sheet, told, proof):
            found.append(sheet)
    return found


def _records(sheet: Sheet, rows: Mapping[str, tuple[int, int]], rejected: Rejected) -> int:
    return rows.get(str(sheet.path), (0, 0))[1] + len(rejected.get(str(sheet.path), {}))


def _stretches(
    sheets: Sequence[Sheet], rows: Mapping[str, tuple[int, int]], misfits: Mapping[str, Sequence[Misfit]]
) -> pa.Table:
    """Where runs of rows begin whose record number is `rowid - shift`: at each file, and behind each misfit."""
    found: dict[int, tuple[int, str | None, int]] = {}
    for sheet in sheets:
        first, n = rows.get(str(sheet.path), (0, 0))
        if not n:
            continue
        found[first] = (*sheet.place, first - 1)
        for before, misfit in enumerate(misfits[str(sheet.path)]):
            good = misfit.record - 1 - before
            if good < n:
                found[first + good] = (*sheet.place, first - 2 - before)
    starts = sorted(found)
    return pa.table(
        {
            "start": pa.array(starts, pa.int64()),
            "_item": pa.array([found[s][0] for s in starts], pa.int32()),
            "_member": pa.array([found[s][1] for s in starts], pa.string()),
            "shift": pa.array([found[s][2] for s in starts], pa.int64()),
        }
    )


# -- misfits and raw text ---------------------------------------------------------------------------------------------


def _rejected(connection: duckdb.DuckDBPyConnection, table: str, single: bool) -> Rejected:
    # A record's position may be that of blank lines before it. With one column those are records of their own, so take
    # the position of the cell at fault instead.
    position = "min(e.byte_position)" if single else "e.line_byte_position"
    if connection.execute(f"select 1 from {table} limit 1").fetchone() is None:
        return {}  # nearly always: planning the query below takes longer than reading a small file
    rows = connection.execute(
        f"select s.file_path, {position} - 1, list(e.error_type::varchar order by e.byte_position),"
        f" list(e.error_message order by e.byte_position) from {table} e"
        f" join {table}_scans s using (scan_id, file_id) group by s.file_path, e.line_byte_position order by 1, 2"
    ).fetchall()
    found: Rejected = {}
    for path, at, kinds, messages in rows:
        found.setdefault(path, {})[at] = (_reason(kinds, messages), kinds.count("UNQUOTED VALUE") > 1)
    return found


def _doubtful(sheet: Sheet, rejected: Mapping[int, tuple[str, bool]], records: int | None) -> bool:
    """Whether DuckDB may have cut one broken record into several, or lost one.

    `records`: how many it told, if that needs proof.
    """
    if not sheet.dialect.careful and any(twice for _, twice in rejected.values()):
        return True
    return records is not None and not scan.holds(sheet.path, sheet.shape, records)


def _mended(sheet: Sheet) -> Sheet:
    if sheet.dialect.careful:
        raise _again(sheet)
    return mended(sheet)


def _again(sheet: Sheet) -> BadItem:
    """The item is to be read anew, mended; if it was, then nothing more can be done for it."""
    item, member = sheet.place
    dialect = replace(sheet.dialect, careful=True)
    again = dialect if member is None else Dialect(kind="zip", members={**sheet.siblings, member: dialect})
    error = BadObject(
        "HR407", sheet.part.which, "quotes are so misplaced that records cannot be told apart", "quote anew"
    )
    return BadItem(item, error, None if sheet.dialect.careful else again)


_QUOTES = "a quote is opened or closed inside a cell, or never closed"


def _reason(kinds: Sequence[str], messages: Sequence[str]) -> str:
    """DuckDB tells each missing or additional cell: the fewest and the most tell how many there are.

    Where quotes are misplaced nobody can count cells: the same is said whether `mended` found it or DuckDB.
    """
    told: dict[str, str] = {}
    cells: list[int] = []
    for kind, message in zip(kinds, messages, strict=True):
        match kind:
            case "TOO MANY COLUMNS" | "MISSING COLUMNS":
                expected, n = (int(w) for w in message.replace(":", " ").split() if w.isdigit())
                cells.append(n)
                n = max(cells) if kind == "TOO MANY COLUMNS" else min(cells)
                told["cells"] = f"{n:,} cell{'s' * (n != 1)} where the header has {expected:,}"
            case "UNQUOTED VALUE":
                return _QUOTES
            case "INVALID ENCODING":
                told[kind] = "holds bytes that are no text in this encoding"
            case "LINE SIZE OVER MAXIMUM":
                return "the record is larger than 2,000,000 bytes"
            case _:
                told[kind] = message
    return "; ".join(told.values())


def _misfits(sheet: Sheet, rejected: Mapping[int, tuple[str, bool]], index: LineIndex | None = None) -> list[Misfit]:
    positions = sorted(rejected)
    if not positions:
        return []
    if index is not None:
        numbers = [index.number_at(p) - int(sheet.dialect.header) for p in positions]
        header = int(sheet.dialect.header)
        found = {n: (n + header + sheet.lines_before, _text(index.text(n + header))) for n in numbers}
    else:
        numbers = [hit.record for hit in scan.by_offset(sheet.path, sheet.shape, positions)]
        places = _raw([sheet], {sheet.place: numbers})
        found = {n: places[*sheet.place, n] for n in numbers}
    if len(found) != len(positions):
        raise _again(sheet)
    reasons = [_QUOTES if n in sheet.broken else rejected[p][0] for n, p in zip(numbers, positions, strict=True)]
    return [Misfit(*sheet.place, n, *found[n], reason) for n, reason in zip(numbers, reasons, strict=True)]


def _raw(
    sheets: Sequence[Sheet], wanted: Mapping[Place, Sequence[int]]
) -> dict[tuple[int, str | None, int], tuple[int, str]]:
    found: dict[tuple[int, str | None, int], tuple[int, str]] = {}
    for sheet in sheets:
        numbers = sorted({n for n in wanted.get(sheet.place, ()) if n > 0})
        if numbers and not sheet.empty:
            for hit in scan.by_record(sheet.source, sheet.shape, numbers):
                found[(*sheet.place, hit.record)] = (hit.line + sheet.lines_before, _text(hit.text))
    return found


def _text(data: bytes) -> str:
    """A record as text; bytes that are none stay visible as \\xNN."""
    return data.decode("utf-8", errors="backslashreplace")

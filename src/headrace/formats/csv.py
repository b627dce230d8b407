"""Delimited text into rows of text cells, by DuckDB's reader at full speed and without its sniffer.

One big file is one un-numbered `read_csv`; many small ones of one shape are read together and numbered. A record that
does not have the header's shape becomes a Misfit, never a shifted row. Called by `open`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import duckdb
import pyarrow as pa

from headrace.formats import scan
from headrace.formats.archive import Part
from headrace.formats.dialect import HEAD, Dialect, decide, names_of, pinned_for, read_columns, records
from headrace.formats.lines import LineIndex
from headrace.formats.rows import BadItem, Finish, Group, Misfit, Place, fresh_name, literal, quoted, unique_headers
from headrace.formats.survey import MONSTER, Survey
from headrace.formats.text import one_line_end, read_as_utf8
from headrace.model.contract import Contract
from headrace.model.errors import BadObject
from headrace.model.record import squash

BIG = 8 << 20
"""Bytes from which a file is read on its own, un-numbered: grouping saves only the cost of opening."""

TOGETHER = 64 << 20
"""Bytes of small files read as one group."""


_NONE: Mapping[str, Dialect] = {}


@dataclass(frozen=True, slots=True)
class Sheet:
    """One text file ready to be read: UTF-8, one kind of line end, its header first. `lines_before` were cut off."""

    part: Part
    path: Path
    dialect: Dialect
    headers: tuple[str, ...]
    lines_before: int
    empty: bool
    siblings: Mapping[str, Dialect]  # what is pinned for members of the same zip
    source: Path  # where raw text is found: `path`, unless records were taken out of it
    broken: frozenset[int] = frozenset()

    @property
    def place(self) -> Place:
        return self.part.item, self.part.member

    @property
    def shape(self) -> scan.Shape:
        return _shape(self.dialect, self.dialect.header, len(self.headers) == 1)


def open_csv(
    connection: duckdb.DuckDBPyConnection,
    contract: Contract | None,
    parts: Sequence[Part],
    pinned: Mapping[int, Dialect],
) -> list[OneCsv | ManyCsv]:
    """Rows of the parts, those of one dialect and header together. Raises BadItem for the first unreadable one."""
    groups: dict[tuple[object, ...], list[Sheet]] = {}
    for part in parts:
        try:
            whole = pinned.get(part.item)
            pin = pinned_for(part.item, part.member, pinned)
            sheet = prepare(part, contract, pin, whole.members if whole else {})
        except BadObject as exc:
            raise BadItem(part.item, exc) from exc
        groups.setdefault(_alike(sheet), []).append(sheet)
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


# -- making a file ready ----------------------------------------------------------------------------------------------


def prepare(
    part: Part, contract: Contract | None, pinned: Dialect | None, siblings: Mapping[str, Dialect] = _NONE
) -> Sheet:
    """Decide how a part is read and make it so. HR405 encoding, HR406 a monstrous record, HR408 doubled headers."""
    spec = contract.csv if contract else None
    declared = pinned.encoding if pinned else spec.encoding if spec else None
    path, encoding, seen = read_as_utf8(part.path, part.which, part.work, declared)
    dialect = pinned or decide(_head(path), part.name, contract)
    path, newline = one_line_end(path, seen, part.work, _shape(dialect, False, False))
    dialect = replace(dialect, kind="csv", encoding=encoding, newline=newline)
    head = _head(path)
    found = next(islice(records(head, dialect), dialect.skip, None), None)
    if found is None:
        headers = unique_headers([names_of(c)[0] for c in read_columns(contract)] if contract else [])
        return Sheet(part, path, dialect, headers, 0, True, siblings, path)
    headers = _headers(part, found, dialect, contract)
    path, lines = _from_header(path, head, dialect, part.work)
    sheet = Sheet(part, path, dialect, headers, lines, False, siblings, path)
    _refuse_monsters(sheet, seen)
    return _mended(sheet) if dialect.careful else sheet


def _mended(sheet: Sheet) -> Sheet:
    """The sheet with records of misplaced quotes replaced by ones that DuckDB surely rejects, and nothing else.

    Left in, two such cells in one record make it reject a part and load the rest as a row of its own.
    """
    filler = b"x" + sheet.shape.delimiter.join([b""] * (len(sheet.headers) + 1)) + b"x"
    into = sheet.part.work.with_suffix(".mended")
    broken = scan.mend(sheet.path, sheet.shape, into, filler)
    return replace(sheet, path=into, broken=frozenset(broken), dialect=replace(sheet.dialect, careful=True))


def _shape(d: Dialect, header: bool, single: bool) -> scan.Shape:
    newline = "lf" if d.newline == "mixed" else d.newline
    return scan.Shape(d.delimiter.encode(), d.quote.encode(), d.escape.encode(), newline, header, single)


def _head(path: Path) -> str:
    with open(path, encoding="utf-8-sig", errors="replace", newline="") as file:
        return file.read(HEAD)


def _headers(part: Part, found: list[str], dialect: Dialect, contract: Contract | None) -> tuple[str, ...]:
    if not dialect.header:
        names = [names_of(c)[0] for c in read_columns(contract)] if contract else []
        return unique_headers([names[i] if i < len(names) else "" for i in range(len(found))])
    if contract is not None:
        wanted = {squash(n): c.name for c in read_columns(contract) for n in names_of(c)}
        first: dict[str, int] = {}
        for position, header in enumerate(found):
            if first.setdefault(header, position) < position and squash(header) in wanted:
                text = f"header {header!r} stands twice (columns {first[header] + 1} and {position + 1})"
                raise BadObject("HR408", part.which, f"{text}: both would be {wanted[squash(header)]!r}", "rename one")
    return unique_headers(found)


def _from_header(path: Path, head: str, dialect: Dialect, work: Path) -> tuple[Path, int]:
    """(the file from its header on, lines cut off before it): DuckDB counts what it skips in its own way."""
    data = head.encode()
    mark = 3 if path.open("rb").read(3) == b"\xef\xbb\xbf" else 0
    shape = _shape(dialect, False, False)
    start = scan.start_of(data, shape, dialect.skip)
    if start == 0:
        return path, 0
    into = work.with_suffix(".cut")
    with open(path, "rb") as source, open(into, "wb") as out:
        source.seek(start + mark)
        while chunk := source.read(1 << 20):
            out.write(chunk)
    return into, data[:start].count(shape.end)


def _refuse_monsters(sheet: Sheet, seen: Survey) -> None:
    """DuckDB loses a record larger than its buffer without a word: refuse the file instead."""
    at = seen.long_line
    if at < 0 and seen.gap:
        at = scan.monster(sheet.path, sheet.shape, MONSTER)
    if at >= 0:
        found = f"the record at byte {at:,} is larger than {MONSTER:,} bytes"
        raise BadObject(
            "HR406", sheet.part.which, found, "look for a quote that is never closed, or a file without lines"
        )


# -- reading ----------------------------------------------------------------------------------------------------------


def _read_csv(paths: Sequence[Path], sheet: Sheet, nulls: Sequence[str], rejects: str, more: str = "") -> str:
    """The reader, told everything: nothing is sniffed. A cell that is empty is null if the contract says so."""
    d = sheet.dialect
    columns = ", ".join(f"{literal(h)}: 'VARCHAR'" for h in sheet.headers)
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
        if _doubtful(sheet, rejected, None if self._index else self._records):
            raise _again(sheet)
        misfits = _misfits(sheet, rejected, self._index)
        return Finish(misfits, [m.record - 1 - n for n, m in enumerate(misfits)])

    def raw(self, wanted: Mapping[Place, Sequence[int]]) -> dict[tuple[int, str | None, int], tuple[int, str]]:
        index, records, sheet = self._index, self._records, self._sheet
        if index is None or records is None:
            return _raw([sheet], wanted)
        header = int(sheet.dialect.header)
        return {
            (*sheet.place, n): (n + header + sheet.lines_before, _text(index.text(n + header).removesuffix(b"\r")))
            for n in wanted.get(sheet.place, ())
            if 0 < n <= records
        }


def _line_index(sheet: Sheet, records: int) -> LineIndex | None:
    """An index by line, if counting proves that lines are records: no blank one, no line end inside quotes."""
    index = LineIndex(sheet.path, sheet.shape.end)
    return index if index.total == records + int(sheet.dialect.header) else None


class ManyCsv(Group):
    """Small files of one shape, read at once into a temporary table and numbered by where each file's rows begin."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, sheets: Sequence[Sheet], nulls: Sequence[str]) -> None:
        full = [s for s in sheets if not s.empty]
        table, rows, rejected = _read_together(connection, full, sheets[0].headers, nulls)
        doubtful = [s for s in full if _doubtful(s, rejected.get(str(s.path), {}), _records(s, rows, rejected))]
        if doubtful:
            full = [_mended(s) if s in doubtful else s for s in full]
            table, rows, rejected = _read_together(connection, full, sheets[0].headers, nulls)
        self._sheets = [*full, *(s for s in sheets if s.empty)]
        super().__init__(sheets[0].headers, {s.place: s.dialect for s in self._sheets})
        misfits = {str(s.path): _misfits(s, rejected.get(str(s.path), {})) for s in full}
        self._finish = Finish([m for s in full for m in misfits[str(s.path)]])
        stretches = f"{table}_stretches"
        connection.register(stretches, _stretches(full, rows, misfits))
        names = ", ".join(f"t.{quoted(h)}" for h in self.headers)
        self.relation = (
            f"(select {names}, s._item, s._member, t.rowid - s.shift as _record"
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
        cells = ", ".join(f"null::varchar as {quoted(h)}" for h in headers)
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
    """Whether DuckDB may have cut one broken record into several. `records`: how many it told, if that needs proof."""
    if not rejected or sheet.dialect.careful:
        return False
    return any(twice for _, twice in rejected.values()) or (
        records is not None and scan.count(sheet.path, sheet.shape) != records
    )


def _again(sheet: Sheet) -> BadItem:
    item, member = sheet.place
    dialect = replace(sheet.dialect, careful=True)
    again = dialect if member is None else Dialect(kind="zip", members={**sheet.siblings, member: dialect})
    error = BadObject(
        "HR407", sheet.part.which, "quotes are so misplaced that records cannot be told apart", "quote anew"
    )
    return BadItem(item, error, again)


_QUOTES = "a quote is opened or closed inside a cell, or never closed"


def _reason(kinds: Sequence[str], messages: Sequence[str]) -> str:
    """DuckDB tells each missing or additional cell: the fewest and the most tell how many there are."""
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
                told[kind] = _QUOTES
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
        found = {
            n: (n + int(sheet.dialect.header) + sheet.lines_before, _text(line.removesuffix(b"\r")))
            for n in numbers
            for line in [index.text(n + int(sheet.dialect.header))]
        }
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

"""Workbooks into rows of text cells: integers without `.0`, dates as ISO, booleans as true and false.

A workbook is a zip of XML from anybody: bombs and DTDs are refused before a parser sees them. Called by `open`.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence

import duckdb
import fastexcel
import pyarrow as pa
import pyarrow.compute as pc

from headrace.formats.archive import LIMITS, Limits, Part
from headrace.formats.dialect import PREAMBLE, Dialect, bound, names_of, pinned_for, read_columns, required
from headrace.formats.headers import headers_of, unique_headers
from headrace.formats.parquet import TableRows
from headrace.formats.rows import Blame, fresh_name, literal
from headrace.model.contract import Contract
from headrace.model.errors import BadObject
from headrace.model.fields import cell_name

UNPACKED = 4 << 30
"""Bytes that a workbook may unpack to: a full sheet of a million rows takes about 1 GB of XML."""


def open_excel(
    connection: duckdb.DuckDBPyConnection,
    contract: Contract | None,
    parts: Sequence[Part],
    pinned: Mapping[int, Dialect],
) -> list[TableRows]:
    """One TableRows per workbook. HR414 unreadable, HR415 no such sheet, HR416 refused unread."""
    found = []
    blame = Blame()
    for part in parts:
        with blame.of(part.item):
            refuse_dangerous(part)
            found.append(_open(connection, contract, part, pinned_for(part.item, part.member, pinned)))
    blame.tell()
    return found


def refuse_dangerous(part: Part, limits: Limits = LIMITS) -> None:
    """Raise HR416 for a workbook that would expand beyond reason, or whose XML declares a DTD or entities."""
    if not zipfile.is_zipfile(part.path):
        return  # .xls is no zip; anything else fails in the reader
    try:
        with zipfile.ZipFile(part.path) as book:
            unpacked = sum(i.file_size for i in book.infolist())
            packed = part.path.stat().st_size
            if (
                unpacked > min(UNPACKED, max(limits.free, packed * limits.ratio))
                or len(book.infolist()) > limits.members
            ):
                found = f"{packed:,} bytes would unpack to {unpacked:,}"
                raise BadObject("HR416", part.which, found, "export the sheet as CSV")
            for info in book.infolist():
                if info.filename.lower().endswith((".xml", ".rels", ".vml")):
                    with book.open(info) as member:
                        _refuse_dtd(part, info.filename, member.read(1 << 16))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as exc:
        raise BadObject("HR414", part.which, f"is a damaged or encrypted workbook ({exc})", "save it again") from exc


def _refuse_dtd(part: Part, name: str, head: bytes) -> None:
    """A DTD stands before the root element, or the XML is not well-formed."""
    text = head.replace(b"\0", b"")  # UTF-16 reads like ASCII without its NULs
    root = re.search(rb"<[A-Za-z_]", text)
    prolog = text[: root.start()] if root else text
    if b"<!DOCTYPE" in prolog or b"<!ENTITY" in prolog or (root is None and len(head) == 1 << 16):
        raise BadObject("HR416", part.which, f"{name} declares a DTD or entities", "save it with a spreadsheet program")


def _open(
    connection: duckdb.DuckDBPyConnection, contract: Contract | None, part: Part, pinned: Dialect | None
) -> TableRows:
    try:
        book = fastexcel.read_excel(str(part.path))
        name = _sheet(part, book.sheet_names, pinned.sheet if pinned else contract.sheet if contract else None)
        # skip_rows=0 keeps blank rows at the top: rows are then counted as the spreadsheet shows them.
        sheet = book.load_sheet(name, header_row=None, skip_rows=0, dtypes="string")
        table = pa.table(sheet.to_arrow())
    except BadObject:
        raise
    except Exception as exc:  # fastexcel's errors and its parser's panics have no common class of their own
        raise BadObject(
            "HR414", part.which, f"is no readable workbook ({str(exc).splitlines()[0]})", "save it again"
        ) from exc
    table = table.append_column("_line", pa.array(range(1, table.num_rows + 1), pa.int64()))
    start, header = _header(table, contract, pinned)
    names = headers_of(part.which, header, contract) if header else unique_headers(_names(contract))
    body = _without_blank(table.slice(start))
    return _relate(connection, part, body, names, Dialect(kind="excel", sheet=name, skip=max(start - 1, 0)))


def _sheet(part: Part, names: Sequence[str], wanted: str | None) -> str:
    if wanted is None and names:
        return names[0]
    for name in names:
        if wanted is not None and name.strip().casefold() == wanted.strip().casefold():
            return name
    raise BadObject("HR415", part.which, f"has no sheet {wanted!r}", f"its sheets are {', '.join(map(repr, names))}")


def _names(contract: Contract | None) -> list[str]:
    return [names_of(c)[0] for c in read_columns(contract)] if contract else []


def _header(table: pa.Table, contract: Contract | None, pinned: Dialect | None) -> tuple[int, list[str]]:
    """(rows up to the body, the header): the row that binds all required columns, else the first that is not blank."""
    head = [
        [v or "" for v in row]
        for row in zip(*(c.to_pylist() for c in table.slice(0, PREAMBLE).columns[:-1]), strict=True)
    ]
    if pinned is not None:
        return pinned.skip + 1, head[pinned.skip] if pinned.skip < len(head) else []
    if contract is not None and contract.csv.header is False:
        return 0, _names(contract)
    wanted = required(contract) if contract else []
    for n, row in enumerate(head):
        if wanted and bound(row, wanted) == len(wanted):
            return n + 1, row
    for n, row in enumerate(head):
        if any(cell.strip() for cell in row):
            return n + 1, row
    return len(head), []


def _without_blank(table: pa.Table) -> pa.Table:
    """Rows with at least one cell: a blank row is no record."""
    filled, empty = pa.scalar(False, pa.bool_()), pa.scalar("", pa.string())
    for column in table.columns[:-1]:
        filled = pc.or_(filled, pc.fill_null(pc.not_equal(column, empty), False))
    return table if table.num_columns == 1 else table.filter(filled)


def _relate(
    connection: duckdb.DuckDBPyConnection, part: Part, body: pa.Table, names: Sequence[str], dialect: Dialect
) -> TableRows:
    columns = list(body.columns[:-1]) or [pa.nulls(body.num_rows, pa.string()) for _ in names]
    given = pa.table(
        [*columns, pa.array(range(1, body.num_rows + 1), pa.int64()), body.column("_line")],
        names=[*map(cell_name, range(len(columns))), "_record", "_line"],
    )
    name = fresh_name("excel")
    connection.register(name, given)
    cells = ", ".join(map(cell_name, range(len(names))))
    member = literal(part.member) if part.member is not None else "null"
    row = f"{cells}, {part.item}::integer as _item, {member}::varchar as _member, _record"
    decided = {(part.item, part.member): dialect}
    lined = f"(select {row}, _line from {name})"
    return TableRows(connection, tuple(names), f"(select {row} from {name})", decided, lined)

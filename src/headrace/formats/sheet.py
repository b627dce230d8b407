"""A text file made ready for DuckDB's reader: encoding, line ends, dialect and headers decided, monsters refused.

Called by `csv`, which reads what comes out. Nothing is rewritten without evidence that it must be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from headrace.formats import scan
from headrace.formats.archive import Part
from headrace.formats.dialect import HEAD, Dialect, decide, names_of, read_columns, records
from headrace.formats.headers import headers_of, unique_headers
from headrace.formats.rows import Place
from headrace.formats.survey import MONSTER, Survey
from headrace.formats.text import one_line_end, read_as_utf8
from headrace.model.contract import Contract
from headrace.model.errors import BadObject

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
    plain: bool  # as in Rows
    quotes: bool  # whether any may occur
    source: Path  # where raw text is found: `path`, unless records were taken out of it
    broken: frozenset[int] = frozenset()

    @property
    def place(self) -> Place:
        return self.part.item, self.part.member

    @property
    def shape(self) -> scan.Shape:
        return _shape(self.dialect, self.dialect.header, len(self.headers) == 1)


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
    quotes = seen.quotes if dialect.quote == '"' else bool(dialect.quote)
    if found is None:
        headers = unique_headers([names_of(c)[0] for c in read_columns(contract)] if contract else [])
        return Sheet(part, path, dialect, headers, 0, True, siblings, not seen.separators, quotes, path)
    headers = _headers(part, found, dialect, contract)
    path, lines = _from_header(path, head, dialect, part.work)
    sheet = Sheet(part, path, dialect, headers, lines, False, siblings, not seen.separators, quotes, path)
    _refuse_monsters(sheet, seen)
    return mended(sheet) if dialect.careful else sheet


def mended(sheet: Sheet) -> Sheet:
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
    return headers_of(part.which, found, contract)


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

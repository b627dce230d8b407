"""From byte positions and record numbers back to lines and raw text, in one fast pass over a text file.

DuckDB numbers neither: it names the byte where a rejected record starts, and rows by their order. This pass knows
records as DuckDB's reader does (a quote opens only at the start of a cell, a blank line is no record) and looks
closely only at blocks where counting line ends would be wrong. Called by `csv` when something was rejected.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import NamedTuple

BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Shape:
    """What the pass must know of a dialect. `single`: one column, so that a blank line is a record (an empty cell)."""

    delimiter: bytes
    quote: bytes
    escape: bytes
    newline: str  # "lf", "crlf" or "cr"
    header: bool
    single: bool

    @property
    def end(self) -> bytes:
        return b"\r" if self.newline == "cr" else b"\n"


class Kind(Enum):
    """How the quotes of a stretch of text lie."""

    PLAIN = "none of them holds a line end"
    REGULAR = "each opens at the start of a cell or closes at the end of one"
    ODD = "only a close look tells"


class Hit(NamedTuple):
    """A record found: its number from 1, the line it starts on, its first byte (-1 where nobody asked), its bytes.

    The line end is not among them.
    """

    record: int
    line: int
    offset: int
    text: bytes


class _Line(NamedTuple):
    start: int
    text: bytes
    lines: int  # physical lines it spans
    broken: bool = False  # a quote is opened or closed inside a cell, or never closed


def by_record(path: Path, shape: Shape, wanted: Sequence[int]) -> Iterator[Hit]:
    """The records with these numbers (ascending, distinct); those that do not exist are left out."""
    todo = 0
    for block in _blocks(path, shape):
        here = bisect_right(wanted, block.record + block.records, todo)
        if here > todo:
            yield from block.at_records(wanted[todo:here])
        todo = here
        if todo == len(wanted):
            return


def by_offset(path: Path, shape: Shape, wanted: Sequence[int]) -> Iterator[Hit]:
    """For each byte position (ascending): the first record that ends behind it. Blank lines are passed over.

    A position on a line end stands for the record behind it.
    """
    todo = 0
    for block in _blocks(path, shape):
        here = bisect_left(wanted, block.offset + len(block.data), todo)
        if here > todo:
            for hit in block.at_offsets(wanted[todo:here]):
                yield hit
                todo += 1  # a position in a blank line at the end of this block is looked for in the next one
        if todo == len(wanted):
            return


def holds(path: Path, shape: Shape, records: int) -> bool:
    """Whether the file holds this many records, header not counted."""
    # Counting line ends costs next to nothing; where each line is a record, which this proves, no quote is looked at.
    total, last = int(not shape.header) - 1, shape.end
    with open(path, "rb", buffering=0) as file:
        while chunk := file.read(BLOCK):
            total += chunk.count(shape.end)
            last = chunk
    return total + (not last.endswith(shape.end)) == records or count(path, shape) == records


def count(path: Path, shape: Shape) -> int:
    """How many records the file holds, header not counted."""
    total = 0
    for block in _blocks(path, shape):
        total = block.record + block.records
    return max(total, 0)


class _Block:
    """Whole records from one stretch of the file. `record`, `line` and `offset` say what came before it."""

    def __init__(self, data: bytes, shape: Shape, record: int, line: int, offset: int, kind: Kind) -> None:
        self.data, self._shape = data, shape
        self.record, self.line, self.offset = record, line, offset
        self._kind, self._plain = kind, kind is Kind.PLAIN
        self._found: list[_Line] | None = None
        end = shape.end
        self.lines = data.count(end) + (0 if data.endswith(end) else 1)
        two = b"\n\r\n" if shape.newline == "crlf" else end + end
        blank = data.startswith((end, b"\r\n")) or two in data
        self._even = self._plain and (shape.single or not blank)  # every line is a record
        self.records = self.lines if self._even else self._count()

    def at_records(self, wanted: Sequence[int]) -> Iterator[Hit]:
        if not self._even or self.record < 0:
            sought = set(wanted)
            yield from (hit for hit in self._hits() if hit.record in sought)
            return
        lines = self.data.split(self._shape.end)
        for number in wanted:
            at = number - self.record - 1
            yield Hit(number, self.line + at + 1, -1, self._bare(lines[at]))

    def at_offsets(self, wanted: Sequence[int]) -> Iterator[Hit]:
        if not self._even or self.record < 0:
            todo = 0
            for hit in self._hits():
                while todo < len(wanted) and wanted[todo] < hit.offset + len(hit.text) + 1:
                    yield hit
                    todo += 1
            return
        data, end, passed, counted = self.data, self._shape.end, 0, 0
        for position in wanted:
            at = position - self.offset
            at += data.startswith(end, at)  # DuckDB may mean the line feed before the record
            passed, counted = passed + data.count(end, counted, at), at
            start, stop = data.rfind(end, 0, at) + 1, data.find(end, at)
            text = self._bare(data[start:] if stop < 0 else data[start:stop])
            yield Hit(self.record + passed + 1, self.line + passed + 1, self.offset + start, text)

    def broken(self) -> list[tuple[int, _Line]]:
        """(number, record) of those whose quotes are out of place."""
        if self._plain:
            return []
        record, found = self.record, []
        for line in self._logical():
            record += self._is_record(line, record)
            if line.broken and record > 0:
                found.append((record, line))
        return found

    def _bare(self, line: bytes) -> bytes:
        return line[:-1] if self._shape.newline == "crlf" and line.endswith(b"\r") else line

    def _hits(self) -> Iterator[Hit]:
        record, line = self.record, self.line
        for found in self._logical():
            if self._is_record(found, record):
                record += 1
                if record > 0:
                    yield Hit(record, line + 1, self.offset + found.start, found.text)
            line += found.lines

    def _count(self) -> int:
        if self._kind is Kind.REGULAR:
            return self._count_regular()
        n = 0
        for found in self._logical():
            n += self._is_record(found, self.record + n)
        return n

    def _count_regular(self) -> int:
        """As many lines as there are without what is inside quotes; of each quoted cell one quote is left."""
        shape = self._shape
        blank = b"\r" if shape.newline == "crlf" else b""
        data = shape.quote.join(self.data.split(shape.quote)[::2])
        if self.record < 0:
            data = data.lstrip(blank + shape.end)
        lines = data.removesuffix(shape.end).split(shape.end)
        return len(lines) - (0 if shape.single else lines.count(b"") + (bool(blank) and lines.count(blank)))

    def _is_record(self, found: _Line, record: int) -> bool:
        return bool(found.text) or (self._shape.single and record >= 0)

    def _logical(self) -> list[_Line]:
        if self._found is None:
            self._found = list(_split(self.data, self._shape) if self._plain else _walk(self.data, self._shape, True))
        return self._found


def _blocks(path: Path, shape: Shape) -> Iterator[_Block]:
    record, line, offset = (-1 if shape.header else 0), 0, 0
    rest = b""
    with open(path, "rb", buffering=0) as file:
        if file.read(3) == b"\xef\xbb\xbf":
            offset = 3
        else:
            file.seek(0)
        while True:
            fresh = file.read(max(BLOCK, len(rest)))  # a record larger than a block doubles it
            buffer = rest + fresh
            if not buffer:
                return
            cut, kind = _cut(buffer, shape, not fresh)
            if cut:
                block = _Block(buffer[:cut], shape, record, line, offset, kind)
                yield block
                record, line, offset = record + block.records, line + block.lines, offset + cut
            rest = buffer[cut:]
            if not fresh:
                return


def _cut(buffer: bytes, shape: Shape, last: bool) -> tuple[int, Kind]:
    """(end of the last whole record, what is known of the quotes up to there)."""
    end, quote = shape.end, shape.quote
    if not quote or quote not in buffer:
        return (len(buffer) if last else buffer.rfind(end) + 1), Kind.PLAIN
    if shape.escape == quote:
        pieces = buffer.split(quote)
        never_closed = last and len(pieces) % 2 == 0
        if not never_closed and _regular(pieces, shape):
            cut = len(buffer) if last else _last_end(pieces, end, len(buffer))
            return cut, Kind.REGULAR if end in b"".join(pieces[1::2]) else Kind.PLAIN
    if last:
        return len(buffer), Kind.ODD
    cut = 0
    for found in _walk(buffer, shape, False):
        cut = found.start + len(found.text) + (2 if buffer[found.start + len(found.text)] == 13 and end == b"\n" else 1)
    return cut, Kind.ODD


def _last_end(pieces: Sequence[bytes], end: bytes, size: int) -> int:
    """Byte behind the last line end that is outside quotes, given a text of `size` bytes split at its quotes."""
    behind = 0
    for i in range(len(pieces) - 1, -1, -1):
        if i % 2 == 0 and (at := pieces[i].rfind(end)) >= 0:
            return size - behind - len(pieces[i]) + at + 1
        behind += len(pieces[i]) + 1
    return 0


def _regular(pieces: Sequence[bytes], shape: Shape) -> bool:
    """Whether every quote opens at the start of a cell or closes at the end of one, so that parity tells them apart.

    `pieces` is a text that begins with a record, split at its quotes: every other piece is outside of them.
    """
    edge = (shape.delimiter, b"\n", b"\r")
    outside = pieces[::2]
    closed = len(pieces) % 2 == 1
    first = outside[0].removesuffix(b" ")
    if first and not first.endswith(edge):
        return False
    if closed and len(outside) > 1:
        last = outside[-1].lstrip(b" ")
        if last and not last.startswith(edge):
            return False
    between = list(filter(None, outside[1:-1] if closed else outside[1:]))
    quote, joined = shape.quote, shape.quote.join([b"", *between, b""])
    starts, ends = sum(joined.count(quote + e) for e in edge), sum(joined.count(e + quote) for e in edge)
    if starts == ends == len(between):
        return True  # as the loop would find, ten times as fast
    for piece in between:
        if not (piece.startswith(edge) and piece.endswith(edge)):
            bare = piece.lstrip(b" ").removesuffix(b" ")
            if not (bare.startswith(edge) and bare.endswith(edge)):
                return False
    return True


def _split(data: bytes, shape: Shape) -> Iterator[_Line]:
    end, start, crlf = shape.end, 0, shape.newline == "crlf"
    lines = data.split(end)
    if not lines[-1]:
        lines.pop()
    for text in lines:
        yield _Line(start, text[:-1] if crlf and text.endswith(b"\r") else text, 1)
        start += len(text) + 1


def _walk(data: bytes, shape: Shape, last: bool) -> Iterator[_Line]:
    """Record by record, cell by cell. Stops before a record that is not whole unless this is the last block."""
    position = 0
    while position < len(data):
        end, broken = _record_end(data, position, shape)
        if end < 0:
            if not last:
                return
            end = len(data) - data.endswith(shape.end)  # of a quote never closed: the line end is no text of its record
        text = data[position:end]
        spans = text.count(shape.end) + 1
        bare = text[:-1] if shape.newline == "crlf" and text.endswith(b"\r") else text
        yield _Line(position, bare, spans, broken)
        position = end + 1


def _record_end(data: bytes, position: int, shape: Shape) -> tuple[int, bool]:
    """(the line end that closes the record starting here, or -1 if `data` ends before; whether it is broken)."""
    end, quote, broken = shape.end, shape.quote, False
    while True:
        line_end = data.find(end, position)
        if not quote or data.find(quote, position, line_end if line_end >= 0 else len(data)) < 0:
            return line_end, broken
        start = position + data.startswith(b" ", position)  # one blank before a quote is let pass, two are text
        quoted = data.startswith(quote, start)
        if quoted:
            close = closing(data, start + 1, shape)
            if close < 0:
                return -1, True
            position = close + 1
            line_end = data.find(end, position)
        stop = line_end if line_end >= 0 else len(data)
        at = data.find(shape.delimiter, position, stop)
        # Behind a closing quote should be nothing. DuckDB rejects the record, but goes on like here: a quote in that
        # text means nothing, a delimiter begins a cell.
        broken = broken or (quoted and bool(data[position : at if at >= 0 else stop].strip(b" \r")))
        if at < 0:
            return line_end, broken
        position = at + len(shape.delimiter)


def closing(data: bytes, position: int, shape: Shape) -> int:
    quote, escape = shape.quote, shape.escape
    while True:
        at = data.find(quote, position)
        if at < 0:
            return -1
        if escape != quote and escape:
            slip = data.find(escape, position, at)
            if slip >= 0:
                position = slip + 2
                continue
        if escape != quote:
            return at  # nothing escapes it: what comes behind is text out of place
        after = at + 1
        while data.startswith(b" ", after):
            after += 1
        if not data.startswith(quote, after):
            return at
        position = after + 1  # doubled; with blanks between, DuckDB takes it for opened again


def start_of(data: bytes, shape: Shape, skip: int) -> int:
    """Where the record begins that has `skip` records before it, blank lines passed over."""
    for found in _walk(data, shape, True):
        if found.text:
            if not skip:
                return found.start
            skip -= 1
    return 0


def monster(path: Path, shape: Shape, limit: int) -> int:
    """Where the first record of more than `limit` bytes begins, or -1. Stops there, so memory stays bounded."""
    rest, offset = b"", 0
    with open(path, "rb", buffering=0) as file:
        while fresh := file.read(BLOCK):
            buffer = rest + fresh
            cut, _ = _cut(buffer, shape, False)
            offset, rest = offset + cut, buffer[cut:]
            if len(rest) > limit:
                return offset
    return -1


def mend(path: Path, shape: Shape, into: Path, filler: bytes) -> set[int]:
    """Copy the file with every broken record replaced by `filler`; returns their numbers. All others keep theirs."""
    broken: set[int] = set()
    end = b"\r\n" if shape.newline == "crlf" else shape.end
    with open(into, "wb") as out:
        for block in _blocks(path, shape):
            bad = block.broken()
            done = 0
            for number, found in bad:
                out.write(block.data[done : found.start] + filler + end)
                done = found.start + len(found.text) + len(end)
                broken.add(number)
            out.write(block.data[done:])
    return broken

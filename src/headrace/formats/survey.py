"""One cheap pass over the bytes of a text file: is it UTF-8, how do its lines end, is any record a monster?

It only ever looks (memchr speed: about 3 % of what parsing costs) and is what every departure from RFC 4180 rests on.
Called by `text`. DuckDB's reader needs it: it fails on mixed line ends, loses a line larger than its buffer without a
word, and runs out of memory on a quoted field of that size.
"""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from pathlib import Path

CHUNK = 1 << 20

MONSTER = 16 << 20
"""Bytes of one record beyond which a file is refused (DuckDB's buffer is 32 MB, and it says nothing above it)."""


@dataclass(slots=True)
class Survey:
    """What the bytes of a file show. Positions are byte offsets from 0; -1 for: nowhere."""

    size: int = 0
    lf: int = 0
    cr: int = 0
    crlf: int = 0
    utf8: bool = True
    bad_byte: int = -1
    nul: int = -1
    separators: bool = False  # U+001E or U+001F occurs
    quotes: bool = False
    gap: bool = False  # a stretch of CHUNK bytes without a line end, or without a quote after a quote was seen
    long_line: int = -1  # where a stretch of MONSTER bytes without a line end begins

    @property
    def newline(self) -> str:
        """What ends lines: "lf", "crlf", "cr", or "unsure" when more than one kind occurs anywhere."""
        if self.cr == 0:
            return "lf"
        if self.cr == self.crlf == self.lf:
            return "crlf"
        return "cr" if self.lf == 0 else "unsure"


def survey(path: Path, quote: bytes = b'"') -> Survey:
    """Read the file once, in bounded memory. Line ends are counted only if a carriage return occurs at all."""
    seen = Survey(size=path.stat().st_size)
    decoder = codecs.getincrementaldecoder("utf-8")()
    clean = True  # the decoder holds no half character
    position = last_end = 0
    held_cr = False
    with open(path, "rb", buffering=0) as file:
        while chunk := file.read(CHUNK):
            if not (clean and chunk.isascii()) and seen.utf8:
                try:
                    decoder.decode(chunk)
                    clean = decoder.getstate()[0] == b""
                except UnicodeDecodeError as exc:
                    seen.utf8, seen.bad_byte = False, position + exc.start
            if seen.nul < 0 and (at := chunk.find(b"\0")) >= 0:
                seen.nul = position + at
            seen.separators = seen.separators or b"\x1f" in chunk or b"\x1e" in chunk
            held_cr = _line_ends(seen, chunk, held_cr, position)
            last_end = _gaps(seen, chunk, position, last_end, quote)
            position += len(chunk)
    if seen.utf8 and not clean:
        seen.utf8, seen.bad_byte = False, position
    if position - last_end > MONSTER and seen.long_line < 0:
        seen.long_line = last_end
    return seen


def _line_ends(seen: Survey, chunk: bytes, held_cr: bool, position: int) -> bool:
    """Count line ends; returns whether the chunk ends in a carriage return whose line feed may follow."""
    if held_cr and chunk[0] == 10:
        seen.crlf += 1
    if seen.cr == 0 and b"\r" not in chunk:
        return False  # line feeds are counted from the first carriage return on, see below
    if seen.cr == 0 and position and seen.lf == 0:
        seen.lf = 1  # some came before: enough to tell that kinds are mixed, or the first chunk is one long line
    seen.cr += chunk.count(b"\r")
    seen.lf += chunk.count(b"\n")
    seen.crlf += chunk.count(b"\r\n")
    return chunk[-1] == 13


def _gaps(seen: Survey, chunk: bytes, position: int, last_end: int, quote: bytes) -> int:
    """Notice stretches that might hide a monstrous record; returns where the last line end was."""
    end = chunk.rfind(b"\n")
    if end < 0:
        end = chunk.rfind(b"\r")
    if end < 0:
        seen.gap = seen.gap or len(chunk) == CHUNK
        if position + len(chunk) - last_end > MONSTER and seen.long_line < 0:
            seen.long_line = last_end
    if quote:
        has_quote = quote in chunk
        seen.gap = seen.gap or (seen.quotes and not has_quote)
        seen.quotes = seen.quotes or has_quote
    return position + end + 1 if end >= 0 else last_end

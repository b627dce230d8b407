"""From any text file to one that DuckDB's reader takes: UTF-8, one kind of line end, beginning with the header.

A file that is so already is read where it lies; anything else is rewritten into scratch, and only on evidence from
`survey`. Called by `csv`, `json` (encoding alone) and `probe`.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from pathlib import Path

import charset_normalizer

from headrace.formats.scan import Shape, closing
from headrace.formats.survey import CHUNK, MONSTER, Survey, survey
from headrace.model.errors import BadObject

BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16: its mark begins alike
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

LEGACY = ("cp1252", "cp1251", "cp1253", "cp1255", "cp1256", "cp932", "gb18030", "big5", "euc_kr", "euc_jp", "koi8_r")
"""Encodings that detection may answer. Latin-1's look-alikes are left out: no evidence tells them from cp1252."""

SAMPLE = 1 << 17


def read_as_utf8(path: Path, which: str, work: Path, declared: str | None) -> tuple[Path, str, Survey]:
    """(a UTF-8 version of the file, the encoding it had, what its bytes show). HR405 if it cannot be decoded."""
    seen = survey(path)
    encoding = _encoding(path, which, seen, declared)
    if encoding == "utf-8":
        return path, encoding, seen
    into = work.with_suffix(".utf8")
    decoder = codecs.getincrementaldecoder(encoding)()
    with open(path, "rb") as source, open(into, "w", encoding="utf-8", newline="", errors="strict") as out:
        try:
            while chunk := source.read(CHUNK):
                out.write(decoder.decode(chunk))
            out.write(decoder.decode(b"", final=True))
        except UnicodeError as exc:
            found = f"is not {encoding} throughout ({exc.__class__.__name__}: {exc})"[:300]
            raise BadObject("HR405", which, found, "declare it: files(…, csv=Csv(encoding='…'))") from exc
    return into, encoding, survey(into)


def one_line_end(path: Path, seen: Survey, work: Path, shape: Shape) -> tuple[Path, str]:
    """(a version of a UTF-8 file with one kind of line end, which kind it had). Text inside quotes stays as it is."""
    if seen.newline != "unsure":
        return path, seen.newline
    lf = cr = crlf = 0
    for outside, piece in _pieces(path, shape):
        if outside and b"\r" in piece:
            both = piece.count(b"\r\n")
            crlf, cr, lf = crlf + both, cr + piece.count(b"\r") - both, lf + piece.count(b"\n") - both
        elif outside:
            lf += piece.count(b"\n")
    kinds = [name for name, n in (("lf", lf), ("crlf", crlf), ("cr", cr)) if n]
    if len(kinds) < 2:
        return path, kinds[0] if kinds else "lf"
    into = work.with_suffix(".lf")
    with open(into, "wb") as out:
        for outside, piece in _pieces(path, shape):
            out.write(piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if outside else piece)
    return into, "mixed"


_OPEN = "look for a quote that is never closed"

CONTEXT = 8
"""Bytes before a quote that tell whether it opens a cell: a delimiter or line end, perhaps a blank."""


def _pieces(path: Path, shape: Shape) -> Iterator[tuple[bool, bytes]]:
    """The file in pieces that lie outside or inside quoted cells; no piece ends between CR and LF."""
    edge = (shape.delimiter, b"\n", b"\r", b"\xef\xbb\xbf")
    buffer, at, start = b"\n", 1, 1  # as if a line end came before the file
    with open(path, "rb", buffering=0) as file:
        while True:
            chunk = file.read(CHUNK)
            buffer = buffer[max(start - CONTEXT, 0) :] + chunk
            at, start = at - max(start - CONTEXT, 0), min(start, CONTEXT)
            while shape.quote and (quote := buffer.find(shape.quote, at)) >= 0:
                before = buffer[max(quote - CONTEXT, 0) : quote]
                if not before.removesuffix(b" ").endswith(edge):
                    at = quote + len(shape.quote)
                    continue
                close = closing(buffer, quote + len(shape.quote), shape)
                if close < 0 and len(buffer) - quote > MONSTER:
                    raise BadObject("HR406", path.name, f"a quoted cell is larger than {MONSTER:,} bytes", _OPEN)
                if close < 0 and chunk:
                    at = quote
                    break
                yield True, buffer[start:quote]
                start = at = close + 1 if close >= 0 else len(buffer)
                yield False, buffer[quote:start]
            else:
                stop = len(buffer) if not chunk or not buffer.endswith((b" ", b"\r")) else len(buffer.rstrip(b" \r"))
                if stop > start:
                    yield True, buffer[start:stop]
                    start = stop
                at = start
            if not chunk:
                return


def _encoding(path: Path, which: str, seen: Survey, declared: str | None) -> str:
    """BOM first (it is evidence, a declaration only a belief), then what is declared, UTF-8, and a legacy encoding."""
    with open(path, "rb") as file:
        head = file.read(4096)
    for mark, name in BOMS:
        if head.startswith(mark):
            return name
    if declared is not None:
        try:
            name = codecs.lookup(declared).name
        except LookupError as exc:
            raise BadObject(
                "HR405", which, f"no encoding is called {declared!r}", "see Python's list of codecs"
            ) from exc
        return "utf-8" if name in ("utf-8", "ascii") and seen.utf8 else name
    if seen.nul >= 0 and (wide := _wide(head)) is not None:
        return wide
    return "utf-8" if seen.utf8 else _legacy(path, seen)


def _wide(head: bytes) -> str | None:
    """UTF-16 without a mark: in text of mostly Latin letters every other byte is NUL."""
    even, odd = head[::2].count(0), head[1::2].count(0)
    half = max(len(head) // 2, 1)
    if odd > half * 0.4 and even < half * 0.1:
        return "utf-16-le"
    return "utf-16-be" if even > half * 0.4 and odd < half * 0.1 else None


def _legacy(path: Path, seen: Survey) -> str:
    """What a file that is no UTF-8 is, from the lines that show it; cp1252 where nothing says otherwise."""
    with open(path, "rb") as file:
        file.seek(max(0, seen.bad_byte - SAMPLE // 2))
        sample = file.read(SAMPLE)
    telling = b"\n".join(line for line in sample.splitlines() if not line.isascii())
    decoded = telling.decode("utf-8", errors="replace")
    broken = decoded.count("\ufffd")
    if sum(1 for c in decoded if c > "\x7f") - broken > broken:
        return "utf-8"  # UTF-8 with damage: its records are rejected one by one
    runs = re.findall(rb"[\x80-\xff]+", telling)
    guess = "cp1252"
    if sum(map(len, runs)) > 2 * len(runs):  # whole words beyond ASCII, not single accented letters
        best = charset_normalizer.from_bytes(telling, cp_isolation=list(LEGACY)).best()
        guess = best.encoding if best is not None else guess
    for name in (guess, "cp1252"):
        if _decodes(path, name):
            return name
    return "latin-1"  # takes any byte


def _decodes(path: Path, name: str) -> bool:
    decoder = codecs.getincrementaldecoder(name)()
    with open(path, "rb") as file:
        try:
            while chunk := file.read(CHUNK):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeError:
            return False
    return True

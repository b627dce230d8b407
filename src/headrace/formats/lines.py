"""An index of line ends, for the usual text file: every physical line is one record.

That this holds is proved by counting (lines = header + good rows + misfits), so no quote has to be looked at. Called by
`csv`; where the count says otherwise, `scan` looks closely.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from pathlib import Path

STEP = 16 << 10
"""Bytes between two entries: small enough that splitting one stretch costs nothing, large enough to count fast."""


class LineIndex:
    """Cumulative line ends every STEP bytes: half a megabyte of index for a gigabyte."""

    def __init__(self, path: Path, end: bytes, crlf: bool) -> None:
        self._path, self._end, self._crlf = path, end, crlf
        self._before = array("q", [0])
        total, last = 0, b""
        with open(path, "rb", buffering=0) as file:
            while chunk := file.read(STEP * 64):
                for start in range(0, len(chunk), STEP):
                    total += chunk.count(end, start, start + STEP)
                    self._before.append(total)
                last = chunk[-1:]
        self.total = total + (last not in (b"", end))
        self._slot, self._data = -1, b""
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115  # kept for lookups, closed with the object

    def number_at(self, position: int) -> int:
        """The line (from 1) that holds this byte, or begins behind it where it is a line end."""
        slot = position // STEP
        self._file.seek(slot * STEP)
        return self._before[slot] + self._file.read(position - slot * STEP + 1).count(self._end) + 1

    def text(self, number: int) -> bytes:
        """The line of this number (from 1), without its end."""
        slot = max(bisect_left(self._before, number - 1) - 1, 0)  # the stretch that holds the line end before it
        if slot != self._slot:
            self._file.seek(slot * STEP)
            self._slot, self._data = slot, self._file.read(STEP * 2)
        before = number - 1 - self._before[slot]
        lines = self._data.split(self._end, before + 1)
        while len(lines) < before + 2 and self._grow():
            lines = self._data.split(self._end, before + 1)
        line = lines[before].removesuffix(b"\r") if self._crlf else lines[before]
        return line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line

    def _grow(self) -> bool:
        """Read on behind the data at hand, twice as far; False at the end of the file."""
        self._file.seek(self._slot * STEP + len(self._data))
        more = self._file.read(len(self._data))
        self._data += more
        return more != b""
